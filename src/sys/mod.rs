//! The kernel's verbs in our terms, and the only place where `unsafe` may appear.
//!
//! Every function is one system call or a fixed handful, and its error names the call with its
//! arguments ([`CallError`]). Nothing here decides anything.

pub(crate) mod credentials;
pub(crate) mod descriptors;
#[cfg(target_arch = "x86_64")]
pub(crate) mod igzip;
#[cfg(target_arch = "x86_64")]
pub(crate) mod inflate;
pub(crate) mod mount;
pub(crate) mod mount_table;
pub(crate) mod names;
pub(crate) mod namespaces;
pub(crate) mod network;
pub(crate) mod processes;
pub(crate) mod signals;

use rustix::io::Errno;

/// A system call that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{call}")]
pub struct CallError {
    /// The call and its arguments, for people.
    pub call: String,
    /// What the kernel said.
    #[source]
    pub errno: Errno,
}

impl CallError {
    /// The kernel's answer as an I/O error.
    #[must_use]
    pub fn io(&self) -> std::io::Error {
        self.errno.into()
    }
}

/// Attaches the call to a bare errno. The text is only built on failure.
pub(crate) trait Context<T> {
    fn call(self, call: impl FnOnce() -> String) -> Result<T, CallError>;
}

impl<T> Context<T> for rustix::io::Result<T> {
    fn call(self, call: impl FnOnce() -> String) -> Result<T, CallError> {
        self.map_err(|errno| CallError { call: call(), errno })
    }
}
