//! The first child: starts `init` in a new PID namespace and outlives it.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use rustix::io::Errno;

use super::INIT;
use super::namespaces::Privileges;
use super::wire::{self, Report};
use crate::sys::{CallError, Context as _, descriptors, namespaces, signals};

/// The builder reads the exit code only when there was no report.
const BROKEN: u8 = 125;

pub(super) fn main(privileges: Privileges) -> ExitCode {
    let Ok(builder) = builder() else {
        return ExitCode::from(BROKEN);
    };
    match run_init(&builder, privileges) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If the builder is gone there is nobody left to tell.
            let _ = wire::send(&builder, &Report::from(error));
            ExitCode::from(BROKEN)
        }
    }
}

/// The socket to the builder: descriptor 0, so that no number has to be agreed on, and the command's own
/// standard input replaces it.
pub(super) fn builder() -> std::io::Result<UnixStream> {
    Ok(std::io::stdin().as_fd().try_clone_to_owned()?.into())
}

/// Returns when `init` is dead, which is when the kernel has killed and reaped everything in its namespace.
fn run_init(builder: &UnixStream, privileges: Privileges) -> Result<(), CallError> {
    signals::die_with_parent()?;
    signals::restore_ignored_signals()?;
    descriptors::keep_from_children()?;
    if privileges == Privileges::OfUserNamespace {
        become_root_of_namespace(builder)?;
        // What a process may do has changed, and with that the kernel forgets the wish.
        signals::die_with_parent()?;
    }
    signals::refuse_tracing()?;
    namespaces::enter_pid_namespace()?;
    let mut init = Command::new("/proc/self/exe");
    init.arg0("rbuild").arg(INIT).env_clear();
    init.spawn()
        .and_then(|mut init| init.wait())
        .map(drop)
        .map_err(errno)
        .call(|| "start init".to_owned())
}

/// Enters a user namespace and waits until the builder has written its maps.
fn become_root_of_namespace(builder: &UnixStream) -> Result<(), CallError> {
    namespaces::enter_user_namespace()?;
    let call = || "wait for the maps of user and group IDs".to_owned();
    wire::send(builder, &Report::Unmapped).map_err(errno).call(call)?;
    let mut answer = [0];
    (&mut &*builder).read_exact(&mut answer).map_err(errno).call(call)
}

/// Errors of std without a number come from its own checks of the arguments.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::INVAL)
}
