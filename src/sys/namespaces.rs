//! Namespaces and what belongs to them.
#![expect(unsafe_code, reason = "unshare")]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use rustix::thread::UnshareFlags;

use super::{CallError, Context as _};

/// Moves this process into a user namespace of its own, in which nobody is anybody until its maps are written. Must
/// happen before it has threads.
pub(crate) fn enter_user_namespace() -> Result<(), CallError> {
    unshare(UnshareFlags::NEWUSER, "CLONE_NEWUSER")
}

/// Makes the next child of this thread PID 1 of a new PID namespace.
pub(crate) fn enter_pid_namespace() -> Result<(), CallError> {
    unshare(UnshareFlags::NEWPID, "CLONE_NEWPID")
}

/// Moves this process into mount, IPC and UTS namespaces of its own. Must happen before it has threads.
pub(crate) fn enter_private_namespaces() -> Result<(), CallError> {
    let flags = UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    unshare(flags, "CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS")
}

/// Moves this process into a network namespace of its own, in which nothing is switched on.
pub(crate) fn enter_private_network() -> Result<(), CallError> {
    unshare(UnshareFlags::NEWNET, "CLONE_NEWNET")
}

fn unshare(flags: UnshareFlags, names: &str) -> Result<(), CallError> {
    debug_assert!(!flags.contains(UnshareFlags::FILES));
    // SAFETY: only `FILES` is dangerous (a thread would see another descriptor table than its siblings);
    // the callers above never pass it.
    unsafe { rustix::thread::unshare_unsafe(flags) }.call(|| format!("unshare({names})"))
}

/// Names the UTS namespace.
pub(crate) fn set_hostname(name: &OsStr) -> Result<(), CallError> {
    rustix::system::sethostname(name.as_bytes()).call(|| format!("set host name {name:?}"))
}
