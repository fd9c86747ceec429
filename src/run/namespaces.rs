//! Isolation by namespaces: the builder's side.

use std::ffi::{OsStr, OsString};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::Serialize;

use super::enter::{Entry, Privileges};
use super::init::GRACE;
use super::wire::{self, Report, Request, Root};
use super::{
    Abilities, Company, ENTER, Exit, Isolation, Mount, MountSource, MountWay, Process, RunError, SUPERVISE, Stream,
    Stubs, mounts, output, remedy, user_namespace,
};
use crate::cancel::{Cancel, Cancelled};
use crate::plan::{Network, Security};
use crate::sys::CallError;
use crate::sys::credentials::{ALL_CAPABILITIES, DEFAULT_CAPABILITIES};

/// What `/dev/shm` holds unless somebody says otherwise; Docker's.
const SHM_SIZE: u64 = 64 << 20;
/// How often a waiting builder looks whether it is to stop.
const CANCEL_INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};
/// How long after the grace period `init` may take to end everything before it is killed itself.
const INIT_GRACE: Duration = Duration::from_secs(1);

/// Runs every process in mount, PID, IPC and UTS namespaces of its own.
#[derive(Debug, Clone)]
pub struct Namespaces {
    binary: PathBuf,
    privileges: Privileges,
}

impl Default for Namespaces {
    /// Starts this very program again, even if its file was replaced meanwhile: the kernel's link leads to
    /// the inode.
    fn default() -> Self {
        Self::with_binary(PathBuf::from("/proc/self/exe"))
    }
}

impl Namespaces {
    /// Starts the children from `binary`, whose `main` calls [`child_main`](super::child_main).
    #[must_use]
    pub const fn with_binary(binary: PathBuf) -> Self {
        Self {
            binary,
            privileges: Privileges::Own,
        }
    }

    /// The same in a user namespace that has all user and group IDs of this process: needs no `CAP_SYS_ADMIN`, but
    /// `CAP_SETUID`, `CAP_SETGID` and `CAP_SETFCAP`, and a seccomp profile that allows it.
    #[must_use]
    pub fn in_user_namespace(self) -> Self {
        Self {
            privileges: Privileges::OfUserNamespace,
            ..self
        }
    }

    /// Does everything but running a command.
    fn attempt(&self, request: &Request) -> Result<(), RunError> {
        match converse(
            &self.binary,
            FirstChild::Enter(Entry::Namespaces(self.privileges)),
            request,
            &|_, _| (),
            &Cancel::default(),
        )? {
            Report::Ready => Ok(()),
            report => outcome(report, None).map(drop),
        }
    }
}

impl Isolation for Namespaces {
    fn name(&self) -> &'static str {
        "namespaces"
    }

    fn description(&self) -> &'static str {
        match self.privileges {
            Privileges::Own => self.name(),
            Privileges::OfUserNamespace => "namespaces (in a user namespace)",
        }
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            company: Company::Several,
            mounts: MountWay::Shown,
        }
    }

    fn probe(&self) -> Result<(), RunError> {
        self.attempt(&probe_request(Root::Empty))
    }

    fn remedy(&self, refused: &RunError) -> String {
        match self.privileges {
            Privileges::Own => remedy::of_privileged(),
            Privileges::OfUserNamespace => remedy::of_user_namespace(refused),
        }
    }

    fn can_mount(&self, source: &MountSource) -> bool {
        let mut request = probe_request(Root::Empty);
        request.mounts.push(Mount {
            target: "/sys".into(),
            read_only: false,
            source: source.clone(),
        });
        self.attempt(&request).is_ok()
    }

    fn run(
        &self,
        process: &Process<'_>,
        output: &(dyn Fn(Stream, &[u8]) + Sync),
        cancel: &Cancel,
    ) -> Result<Exit, RunError> {
        cancel.check()?;
        if process.argv.is_empty() {
            return Err(RunError::NoProgram);
        }
        let root = open_rootfs(process.rootfs)?;
        let request = request(process, Root::Directory(process.rootfs.into()));
        let stubs = Stubs::create(root.as_fd(), &mounts::mount_points(&request))?;
        let report = converse(
            &self.binary,
            FirstChild::Enter(Entry::Namespaces(self.privileges)),
            &request,
            output,
            cancel,
        )?;
        stubs.remove()?;
        outcome(report, Some(process))
    }
}

fn open_rootfs(path: &Path) -> Result<OwnedFd, RunError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| RunError::Rootfs {
        path: path.to_owned(),
        source: errno.into(),
    })
}

/// Everything that a RUN needs, without a command.
pub(super) fn probe_request(root: Root) -> Request {
    Request {
        root,
        hostname: super::HOSTNAME.into(),
        resolv_conf: None,
        hosts: None,
        script: None,
        mounts: Vec::new(),
        private_network: false,
        unmasked: false,
        shm_size: SHM_SIZE,
        devices: Vec::new(),
        command: None,
    }
}

pub(super) fn request(process: &Process<'_>, root: Root) -> Request {
    let sandbox = process.sandbox;
    Request {
        root,
        hostname: process.hostname.to_owned(),
        // The network is the machine's, so its resolver is too. A machine without one has no say.
        resolv_conf: std::fs::read("/etc/resolv.conf").ok(),
        hosts: Some(hosts(process.hostname, &sandbox.hosts)),
        script: process.script.map(|(path, content)| (path.into(), content.to_vec())),
        mounts: process.mounts.to_vec(),
        private_network: sandbox.network == Network::None,
        unmasked: sandbox.security == Security::Insecure,
        shm_size: sandbox.shm_size.unwrap_or(SHM_SIZE),
        devices: process.devices.to_vec(),
        command: Some(command(process)),
    }
}

/// What is started in the end, with Docker's capabilities.
pub(super) fn command(process: &Process<'_>) -> wire::Command {
    let (identity, sandbox) = (process.identity, process.sandbox);
    let mut env = process.env.to_vec();
    if !env.iter().any(|(name, _)| name == "HOME") {
        env.push(("HOME".into(), identity.home.clone()));
    }
    wire::Command {
        argv: process.argv.to_vec(),
        env,
        secret_env: process.secret_env.to_vec(),
        limits: sandbox.ulimits.clone(),
        cwd: OsString::from(process.cwd),
        uid: identity.uid,
        gid: identity.gid,
        groups: identity.groups.clone(),
        capabilities: match sandbox.security {
            Security::Insecure => ALL_CAPABILITIES,
            Security::Sandbox => DEFAULT_CAPABILITIES,
        },
    }
}

/// The machine's `/etc/hosts`, more lines, and the process's own host name, without which sudo complains.
fn hosts(hostname: &OsStr, more: &[(String, IpAddr)]) -> Vec<u8> {
    let mut hosts = std::fs::read("/etc/hosts").unwrap_or_else(|_| b"127.0.0.1\tlocalhost\n::1\tlocalhost\n".to_vec());
    if hosts.last().is_some_and(|byte| *byte != b'\n') {
        hosts.push(b'\n');
    }
    for (name, address) in more {
        hosts.extend_from_slice(format!("{address}\t{name}\n").as_bytes());
    }
    hosts.extend_from_slice(b"127.0.0.1\t");
    hosts.extend_from_slice(hostname.as_bytes());
    hosts.push(b'\n');
    hosts
}

/// What the first child does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FirstChild {
    /// It enters namespaces.
    Enter(Entry),
    /// It watches over the command where there are none.
    Supervise,
}

/// Starts the children, hands them `request` and returns their report once they and all that they started
/// are dead and their output is delivered.
pub(super) fn converse(
    binary: &Path,
    first: FirstChild,
    request: &impl Serialize,
    output: &(dyn Fn(Stream, &[u8]) + Sync),
    cancel: &Cancel,
) -> Result<Report, RunError> {
    converse_or_end(binary, first, request, (output, cancel), || ())
}

/// Who hears what children say, and who stops them.
type Talk<'a> = (&'a (dyn Fn(Stream, &[u8]) + Sync), &'a Cancel);

/// The same where the children are not sure to take with them what they started: when there is no report, `end_rest`
/// ends it. Its output would never come to an end otherwise.
pub(super) fn converse_or_end(
    binary: &Path,
    first: FirstChild,
    request: &impl Serialize,
    (output, cancel): Talk<'_>,
    end_rest: impl FnOnce(),
) -> Result<Report, RunError> {
    let start = |source| RunError::Start {
        binary: binary.to_owned(),
        source,
    };
    let (mut children, pipes) = Children::start(binary, first).map_err(start)?;
    thread::scope(|scope| {
        for (name, stream, pipe) in [
            ("stdout", Stream::Stdout, pipes.stdout),
            ("stderr", Stream::Stderr, pipes.stderr),
        ] {
            thread::Builder::new()
                .name(name.to_owned())
                .spawn_scoped(scope, move || output::split_lines(pipe, |line| output(stream, line)))
                .map_err(start)?;
        }
        if first == FirstChild::Enter(Entry::Namespaces(Privileges::OfUserNamespace))
            && let Some(refused) = children.map_ids()?
        {
            return Ok(refused);
        }
        // If they are dead already, their report says why; or nothing does, and they are lost.
        let _ = wire::send(&children.socket, request);
        children.wait_for_report(cancel).inspect_err(|_| end_rest())
    })
}

/// `enter`, and through it everything else. Dropping it ends them all and waits for their end.
struct Children {
    enter: Child,
    socket: UnixStream,
}

struct Pipes {
    stdout: io::PipeReader,
    stderr: io::PipeReader,
}

impl Children {
    fn start(binary: &Path, first: FirstChild) -> io::Result<(Self, Pipes)> {
        let (socket, theirs) = UnixStream::pair()?;
        let (stdout, stdout_writer) = io::pipe()?;
        let (stderr, stderr_writer) = io::pipe()?;
        let mut enter = Command::new(binary);
        enter
            .arg0("rbuild")
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(stdout_writer)
            .stderr(stderr_writer);
        match first {
            // A process group of its own keeps the terminal's Ctrl-C, meant for the builder, from killing it.
            FirstChild::Enter(entry) => enter.arg(ENTER).arg(entry.argument()).process_group(0),
            // It begins a session, which the leader of a group cannot.
            FirstChild::Supervise => enter.arg(SUPERVISE),
        };
        let enter = enter.spawn()?;
        Ok((Self { enter, socket }, Pipes { stdout, stderr }))
    }

    /// Writes the maps of the user namespace that `enter` makes; its report if it cannot make one.
    fn map_ids(&mut self) -> Result<Option<Report>, RunError> {
        match wire::receive(&self.socket) {
            Ok(Report::Unmapped) => {}
            Ok(refused) => return Ok(Some(refused)),
            Err(error) => return Err(RunError::Lost(error.to_string())),
        }
        // It waits for as long as we do not hang up, and whoever reads its output waits for it.
        user_namespace::map_all(self.enter.id()).inspect_err(|_| self.hang_up())?;
        // A write error means that it is gone, which whoever waits for the report will find.
        let _ = io::Write::write_all(&mut &self.socket, &[wire::MAPPED]);
        Ok(None)
    }

    fn hang_up(&self) {
        // It fails when the other side has done the same.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }

    fn wait_for_report(&mut self, cancel: &Cancel) -> Result<Report, RunError> {
        let cancelled = self.wait_until_readable(cancel);
        let report = wire::receive(&self.socket);
        let status = self.enter.wait();
        match (cancelled, report) {
            (Some(cancelled), _) => Err(cancelled.into()),
            (None, Ok(report)) => Ok(report),
            (None, Err(error)) => Err(RunError::Lost(match status {
                Ok(status) => format!("{error} ({status})"),
                Err(_) => error.to_string(),
            })),
        }
    }

    /// Waits for the report, or for the end of all who could send one; when `cancel` fires, sees to it that
    /// it comes soon.
    fn wait_until_readable(&mut self, cancel: &Cancel) -> Option<Cancelled> {
        let mut asked: Option<(Cancelled, Instant)> = None;
        loop {
            let mut poll = [PollFd::new(&self.socket, PollFlags::IN)];
            match rustix::event::poll(&mut poll, Some(&CANCEL_INTERVAL)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) | Err(_) => return asked.map(|(cancelled, _)| cancelled),
            }
            match (asked, cancel.check()) {
                (None, Err(cancelled)) => {
                    // A write error means that they are ending already.
                    let _ = io::Write::write_all(&mut &self.socket, &[wire::TERMINATE]);
                    asked = Some((cancelled, Instant::now()));
                }
                (Some((_, since)), _) if since.elapsed() > GRACE + INIT_GRACE => {
                    // `init` is stuck before it could listen. The kernel kills it when `enter` dies.
                    let _ = self.enter.kill();
                }
                _ => {}
            }
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        // Without the builder's end of the socket `init` ends everything; after `wait_for_report` it already has.
        self.hang_up();
        let _ = self.enter.wait();
    }
}

/// What a report means for the caller.
pub(super) fn outcome(report: Report, process: Option<&Process<'_>>) -> Result<Exit, RunError> {
    let program = || {
        process
            .and_then(|process| process.argv.first())
            .map(|name| name.to_string_lossy().into_owned())
    };
    let cwd = || process.map(|process| process.cwd.to_owned()).unwrap_or_default();
    match report {
        Report::Exited(code) => Ok(Exit::Code(code)),
        Report::Killed(signal) => Ok(Exit::Signal(signal)),
        Report::Ready | Report::Unmapped => Err(RunError::Lost("no command was started".to_owned())),
        Report::Setup { call, errno } => Err(CallError {
            call,
            errno: Errno::from_raw_os_error(errno),
        }
        .into()),
        Report::WorkingDirectory { errno } => Err(RunError::WorkingDirectory {
            path: cwd(),
            source: io::Error::from_raw_os_error(errno),
        }),
        Report::Exec { failure, errno } => Err(RunError::Exec {
            program: program().unwrap_or_default(),
            failure,
            source: io::Error::from_raw_os_error(errno),
        }),
    }
}
