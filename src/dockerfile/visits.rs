//! How many bytes the scanners of the parser look at. Counted in tests, where it shows, without a clock, that the work grows
//! with the file and no faster; nothing otherwise.

/// To be called by whatever looks at each byte of a text, with its length.
#[cfg(not(test))]
pub(super) const fn count(_bytes: usize) {}

#[cfg(test)]
thread_local! {
    static COUNT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
pub(super) fn count(bytes: usize) {
    // A text of no bytes is still a visit.
    COUNT.with(|count| count.set(count.get() + bytes as u64 + 1));
}

/// What `work` makes the scanners look at.
#[cfg(test)]
pub(super) fn during(work: impl FnOnce()) -> u64 {
    let before = COUNT.get();
    work();
    COUNT.get() - before
}
