//! The first child: starts `init` in a new PID namespace and outlives it.

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use rustix::io::Errno;

use super::INIT;
use super::wire::{self, Report};
use crate::sys::{CallError, Context as _, descriptors, namespaces, processes, signals};

/// The builder reads the exit code only when there was no report.
const BROKEN: u8 = 125;

/// What is entered on the way to a RUN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    /// A PID namespace.
    Namespaces(Privileges),
    /// Nothing: whoever waits for `init` also ends what it leaves behind.
    Nothing,
}

/// Where the privileges come from that namespaces and mounts need.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Privileges {
    /// We have them: `CAP_SYS_ADMIN`.
    Own,
    /// A user namespace of the process's own gives them.
    OfUserNamespace,
}

impl Entry {
    const ALL: [Self; 3] = [
        Self::Namespaces(Privileges::Own),
        Self::Namespaces(Privileges::OfUserNamespace),
        Self::Nothing,
    ];

    /// The second hidden argument.
    pub(super) const fn argument(self) -> &'static str {
        match self {
            Self::Namespaces(Privileges::Own) => "pid",
            Self::Namespaces(Privileges::OfUserNamespace) => "user",
            Self::Nothing => "none",
        }
    }

    /// What the argument asks for.
    pub(super) fn of_argument(argument: &OsStr) -> Option<Self> {
        Self::ALL.into_iter().find(|entry| argument == entry.argument())
    }
}

pub(super) fn main(entry: Entry) -> ExitCode {
    let Ok(builder) = builder() else {
        return ExitCode::from(BROKEN);
    };
    match run_init(&builder, entry) {
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
fn run_init(builder: &UnixStream, entry: Entry) -> Result<(), CallError> {
    signals::restore_ignored_signals()?;
    crate::memory::spare_the_builder();
    descriptors::keep_from_children()?;
    match entry {
        Entry::Namespaces(Privileges::Own) => {}
        Entry::Namespaces(Privileges::OfUserNamespace) => become_root_of_namespace(builder)?,
        Entry::Nothing => return run_init_here(),
    }
    // Not before: where what a process may do changes, the kernel forgets the wish.
    signals::die_with_parent()?;
    signals::refuse_tracing()?;
    namespaces::enter_pid_namespace()?;
    start_init()
}

/// Without a PID namespace nobody ends what the command leaves behind but its subreaper. That must not die with the
/// builder: `init` hears of the builder's end, and ends.
fn run_init_here() -> Result<(), CallError> {
    signals::refuse_tracing()?;
    processes::adopt_orphans()?;
    let ended = start_init();
    processes::end_descendants();
    ended
}

fn start_init() -> Result<(), CallError> {
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
