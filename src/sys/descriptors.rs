//! Inherited file descriptors.
#![expect(unsafe_code, reason = "descriptors known only by number")]

use std::os::fd::{BorrowedFd, RawFd};

use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::FdFlags;

use super::{CallError, Context as _};

/// Marks every descriptor above 2 to be closed on exec, so that what our own parent leaked into us (a
/// shell's `3>log`, a CI runner's pipes) goes no further. Must be called before the process has threads.
pub(crate) fn keep_from_children() -> Result<(), CallError> {
    // Only open descriptors are listed, however high the limit; std opens nothing without CLOEXEC.
    let path = "/proc/self/fd";
    let call = || format!("list {path}");
    let directory = rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .call(call)?;
    let mut buffer = Vec::with_capacity(4096);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry.call(call)?;
        let number = entry
            .file_name()
            .to_str()
            .ok()
            .and_then(|name| name.parse::<RawFd>().ok());
        if let Some(number) = number.filter(|number| *number > 2) {
            close_on_exec(number).call(|| format!("set CLOEXEC on descriptor {number}"))?;
        }
    }
    Ok(())
}

fn close_on_exec(number: RawFd) -> rustix::io::Result<()> {
    // SAFETY: the kernel just listed the descriptor as open, and this process has no other thread that could
    // close it before the call below, for which alone the borrow lives.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_setfd(descriptor, FdFlags::CLOEXEC)
}
