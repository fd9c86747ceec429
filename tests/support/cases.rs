//! Folders of test data that are found by listing, checked side by side.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The folders below `directory`, by name. `RBUILD_CASE=text` selects those whose name contains the text.
pub(crate) fn selected(directory: &Path) -> Vec<PathBuf> {
    let wanted = std::env::var("RBUILD_CASE").unwrap_or_default();
    let mut folders: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() && name(path).contains(&wanted))
        .collect();
    folders.sort();
    assert!(!folders.is_empty(), "no case has {wanted:?} in its name");
    folders
}

/// The last component of a case's path.
pub(crate) fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// Checks the cases on as many threads as there are processors, and fails when one of them failed.
pub(crate) fn check_all<C: Sync>(
    cases: &[C],
    name: impl Fn(&C) -> &str,
    check: impl Fn(&C) -> Result<(), String> + Sync,
) {
    let queue = Mutex::new(cases.iter());
    let failures = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let next = || queue.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(case) = next() {
                    // What panics is one case's failure; the other cases are still to be seen.
                    let outcome = catch_unwind(AssertUnwindSafe(|| check(case)));
                    if let Err(failure) = outcome.unwrap_or_else(|panic| Err(message(&*panic))) {
                        failures.lock().unwrap().push((case, failure));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let reports: Vec<_> = failures
        .iter()
        .map(|(case, failure)| format!("--- {}\n{failure}\n", name(case)))
        .collect();
    assert!(
        reports.is_empty(),
        "{} of {} cases failed\n{}",
        reports.len(),
        cases.len(),
        reports.concat()
    );
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked").to_owned()
}
