//! Executes a RUN step in a rootfs, isolated from the machine.
//!
//! ```text
//! run ── spawn ──▶ enter                new PID namespace; waits until its init is dead
//!  │                 │                     (and before that a user namespace, whose maps the builder writes)
//!  │                 └── spawn ──▶ init  PID 1: own mounts, IPC, UTS; pivot_root; reaps every orphan
//!  │ request ─────── socket ──────▶ │      └── spawn ──▶ the command: user, capabilities, environment
//!  ◀──────────────── report ─────── │                       │
//!  ◀──────────────── stdout, stderr ─────────────────────────
//! ```
//!
//! `enter` and `init` are this same binary, started again with a hidden argument ([`child_main`]), so
//! that no code runs between fork and exec. Descriptor 0 of both is one socket: the request travels
//! down, one report travels up, and its end tells `init` that the builder is gone.
//!
//! Invariants: when [`Isolation::run`] returns, no process of the step is alive, no mount of it exists
//! anywhere, and every mount point that was made for it is gone from the rootfs. A failure inside the
//! children arrives whole (what was done, to what, errno), or as [`RunError::Lost`], never silently.

mod attach;
mod choice;
mod chroot;
mod command;
mod emulation;
mod enter;
mod error;
mod in_place;
mod init;
mod mounts;
mod namespaces;
mod ordinary_user;
mod output;
mod placed;
mod remedy;
mod stubs;
mod system;
mod user_namespace;
mod wire;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

pub use crate::sys::CallError;
pub use attach::{Mount, MountSource, SourceKind, SourcePlace};
pub use choice::{Chosen, IsolationChoice, Refused, Site, choose};
pub use chroot::{Chroot, ChrootError};
pub use emulation::{EmulationError, probe as probe_platform, runs_natively};
pub use error::{ExecFailure, RunError};
pub use in_place::{InPlace, InPlaceError, recover};
pub use namespaces::Namespaces;
pub use ordinary_user::{MappingError, become_root, user_before, without_marker};
pub use placed::PlaceError;
pub use stubs::{Kind, MountPoint, StubError, Stubs};

use crate::cancel::Cancel;
use crate::plan::Sandbox;
pub use crate::progress::Stream;
use crate::secret::SecretValue;
use crate::users::Identity;

/// The host name a RUN sees unless the user asks for another; BuildKit's, so that what depends on it
/// (`/etc/hostname` copies, certificates) comes out the same.
pub const HOSTNAME: &str = "buildkitsandbox";

/// A way to keep a RUN apart from the machine it runs on.
pub trait Isolation: Send + Sync + fmt::Debug {
    /// The name `--isolation` knows it by.
    fn name(&self) -> &'static str;

    /// The name with what matters to people besides: two kinds of the same name differ in it.
    fn description(&self) -> &'static str {
        self.name()
    }

    /// What the builder has to arrange itself with.
    fn abilities(&self) -> Abilities;

    /// Finds out whether it works here, by doing, in a child, everything but running a command.
    ///
    /// # Errors
    /// The first thing that was refused.
    fn probe(&self) -> Result<(), RunError>;

    /// What would make it work where `refused` came of [`probe`](Self::probe).
    fn remedy(&self, refused: &RunError) -> String;

    /// Whether a process could find `source` mounted, tried by mounting it: kernels refuse some overlays.
    fn can_mount(&self, source: &MountSource) -> bool;

    /// Runs `process` to its end and hands every line it prints, without the newline, to `output`.
    ///
    /// `output` is called from two threads, one per stream. A line longer than 64 KiB arrives in
    /// pieces. What the process leaves running is killed before this returns, and the rootfs holds
    /// nothing but what the process itself wrote. Once `cancel` fires the process group gets SIGTERM
    /// and two seconds later everything is killed.
    ///
    /// # Errors
    /// [`RunError`]. A process that ran and ended, however badly, is not an error but an [`Exit`].
    fn run(
        &self,
        process: &Process<'_>,
        output: &(dyn Fn(Stream, &[u8]) + Sync),
        cancel: &Cancel,
    ) -> Result<Exit, RunError>;
}

/// What an isolation can do. The builder asks before it arranges its work, and otherwise does not know which it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Abilities {
    /// Whether stages may be built beside each other.
    pub company: Company,
    /// How a process comes to see what `RUN --mount` names.
    pub mounts: MountWay,
}

/// How many processes may be under way at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Company {
    /// As many as there are stages.
    Several,
    /// One: it holds something that exists only once, such as the machine's own `/`.
    Alone,
}

/// How a process comes to see what is mounted for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MountWay {
    /// The kernel shows it. Several processes may work on one cache at the same time.
    Shown,
    /// It is copied into the rootfs, and a cache back out of it: whoever uses a cache must have it to himself.
    Copied,
}

/// What to run, and as whom.
#[derive(Clone, Copy, Debug)]
pub struct Process<'a> {
    /// Path on the host of the directory that becomes `/`.
    pub rootfs: &'a Path,
    /// Program and arguments. A program without `/` is looked up in the environment's PATH, inside.
    pub argv: &'a [OsString],
    /// The whole environment; the last of several equal names counts. HOME is added when absent.
    pub env: &'a [(OsString, OsString)],
    /// Working directory inside the rootfs; must exist.
    pub cwd: &'a Path,
    /// User, groups and home directory.
    pub identity: &'a Identity,
    /// What `uname -n` says inside; see [`HOSTNAME`].
    pub hostname: &'a OsStr,
    /// A program that is there, with mode 0755, for the length of the step: its absolute path, in a
    /// directory directly below `/dev`, and its content.
    pub script: Option<(&'a Path, &'a [u8])>,
    /// Variables over those of `env`.
    pub secret_env: &'a [(OsString, SecretValue)],
    /// What it finds mounted, what lies above another mount first. Mount points that are missing are made, and
    /// are gone afterwards.
    pub mounts: &'a [Mount],
    /// Network, privileges, limits. Its host name and devices are not looked at: they are fields here.
    pub sandbox: &'a Sandbox,
    /// Devices besides those that every process finds.
    pub devices: &'a [DeviceNode],
}

impl<'a> Process<'a> {
    /// A program in `/` of `rootfs` that gets no variables, mounts or devices.
    #[must_use]
    pub fn new(rootfs: &'a Path, argv: &'a [OsString], identity: &'a Identity, sandbox: &'a Sandbox) -> Self {
        Self {
            rootfs,
            argv,
            env: &[],
            cwd: Path::new("/"),
            identity,
            hostname: OsStr::new(HOSTNAME),
            script: None,
            secret_env: &[],
            mounts: &[],
            sandbox,
            devices: &[],
        }
    }
}

/// A device that a process finds in `/dev`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeviceNode {
    /// Absolute path inside.
    pub path: OsString,
    /// Whether it is a block device; a character device otherwise.
    pub is_block: bool,
    /// Major and minor number.
    pub number: (u32, u32),
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// It exited with this code.
    Code(u8),
    /// This signal killed it.
    Signal(i32),
}

impl Exit {
    /// Whether the step succeeded.
    #[must_use]
    pub const fn success(self) -> bool {
        matches!(self, Self::Code(0))
    }

    /// The code a shell would report: the exit code, or 128 plus the signal.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            #[expect(
                clippy::cast_sign_loss,
                clippy::cast_possible_truncation,
                reason = "signals are 1 to 64"
            )]
            Self::Signal(signal) => 128u8.wrapping_add(signal as u8),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code: {code}"),
            Self::Signal(signal) => match signal_hook::low_level::signal_name(*signal) {
                Some(name) => write!(f, "killed by signal {signal} ({name})"),
                None => write!(f, "killed by signal {signal}"),
            },
        }
    }
}

/// First hidden argument: enter the namespaces.
const ENTER: &str = "--rbuild-enter";
/// First hidden argument: watch over a RUN that has no namespaces.
const SUPERVISE: &str = "--rbuild-supervise";
/// First hidden argument: be PID 1 of a RUN.
const INIT: &str = "--rbuild-init";

/// Acts as a child of [`Isolation::run`] when the arguments say that this process is one.
///
/// Must be called first in `main`, before any thread exists and before anything reads the environment.
/// `None` means that this is an ordinary start.
pub fn child_main(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter().skip(1);
    match args.next()?.to_str()? {
        ENTER => Some(enter::main(enter::Entry::of_argument(&args.next()?)?)),
        INIT => Some(init::main()),
        SUPERVISE => Some(in_place::supervise()),
        ordinary_user::MAP => Some(ordinary_user::map_main(args.collect())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        for (exit, code, text) in [
            (Exit::Code(0), 0, "exit code: 0"),
            (Exit::Code(3), 3, "exit code: 3"),
            (Exit::Signal(9), 137, "killed by signal 9 (SIGKILL)"),
            (Exit::Signal(15), 143, "killed by signal 15 (SIGTERM)"),
            (Exit::Signal(40), 168, "killed by signal 40"),
        ] {
            assert_eq!((exit.code(), exit.to_string().as_str()), (code, text));
            assert_eq!(exit.success(), code == 0);
        }
    }

    #[test]
    fn ordinary_arguments_are_not_a_child() {
        for args in [&["rbuild"][..], &["rbuild", "-f", ENTER], &["rbuild", ""], &[]] {
            assert!(child_main(args.iter().map(OsString::from)).is_none(), "{args:?}");
        }
    }
}
