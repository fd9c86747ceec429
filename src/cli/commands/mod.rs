//! What rbuild does besides building and looking: `warm`, `push`, `login` and `logout`.
//!
//! Each has its flags, which become a request, which is carried out under the eyes of a display.

mod login;
mod push;
mod warm;

pub(super) use login::{LoginArgs, LogoutArgs, login, logout};
pub(super) use push::{PushArgs, push};
pub(super) use warm::{WarmArgs, warm};

use super::problem::{Problem, Problems};

/// The request, if nothing was wrong on the way to it.
fn checked<T>(request: Option<T>, problems: Vec<Problem>) -> Result<T, Problems> {
    match request {
        Some(request) if problems.is_empty() => Ok(request),
        _ => Err(Problems(problems)),
    }
}
