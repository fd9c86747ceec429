//! Turns the names and numbers of USER and `--chown` into ids, by the rootfs's own `/etc/passwd` and
//! `/etc/group`.
//!
//! Pure functions over the bytes of the two files, which anybody may have written: a line that is not an
//! entry is skipped, never guessed at (reading a broken uid as 0 would make its user root).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

/// Who a process runs as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Every group, the primary one first.
    pub groups: Vec<u32>,
    /// Value for HOME when the environment has none.
    pub home: OsString,
}

/// Who a file belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ownership {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// Why a user specification has no ids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// No such user.
    #[error("unable to find user {name}: no matching entries in passwd file")]
    UnknownUser {
        /// The name as given.
        name: String,
        /// A name that exists and looks like it.
        suggestion: Option<String>,
    },
    /// No such group.
    #[error("unable to find group {name}: no matching entries in group file")]
    UnknownGroup {
        /// The name as given.
        name: String,
        /// A name that exists and looks like it.
        suggestion: Option<String>,
    },
    /// A name is to be looked up and the rootfs has no file to do it in.
    #[error("unable to find {name}: the rootfs has no {file}")]
    NoDatabase {
        /// The name as given.
        name: String,
        /// The missing file.
        file: &'static str,
    },
    /// A number that is no id.
    #[error("id {id} is out of range (0 to {max})")]
    OutOfRange {
        /// The number as given.
        id: String,
        /// The largest that is allowed.
        max: u32,
    },
}
