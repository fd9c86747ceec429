//! Starts the command of a RUN: looks it up, becomes its user, executes it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::Access;
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, setrlimit};

use super::enter::errno;
use super::error::ExecFailure;
use super::wire::{Command, Report};
use crate::plan::{Ulimit, UlimitName};
use crate::secret::SecretValue;
use crate::sys::{CallError, Context as _, credentials};

/// Where programs are looked up when the environment has no PATH; the default of the image config too.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a command reads: nothing. To be opened before the step's own mounts, which may cover `/dev`, are in their
/// places.
pub(super) fn open_input() -> Result<File, CallError> {
    let path = "/dev/null";
    File::open(path).map_err(errno).call(|| format!("open {path}"))
}

/// Starts `command` as a child of this process, in a process group of its own, with `input` as its standard input.
///
/// User and capabilities belong to a thread in Linux, and a child inherits those of the thread that starts
/// it. So one thread gives them up, starts the command and ends, while the rest of `init` keeps its own:
/// no code has to run between fork and exec.
pub(super) fn start(command: &Command, input: File) -> Result<Pid, Report> {
    thread::scope(|scope| {
        let starter = thread::Builder::new()
            .name("start".to_owned())
            .spawn_scoped(scope, || {
                become_user_of(command)?;
                execute(command, input)
            })
            .map_err(errno)
            .call(|| "start thread".to_owned())?;
        starter
            .join()
            .unwrap_or_else(|_| Err(failed(ExecFailure::Other, Errno::INVAL)))
    })
}

/// Sets the limits of this process, and so of all that it starts.
pub(super) fn limit(limits: &[Ulimit]) -> Result<(), CallError> {
    for limit in limits {
        let new = Rlimit {
            current: limit.soft,
            maximum: limit.hard,
        };
        setrlimit(resource(limit.name), new).call(|| format!("set the limit {}", limit.name.as_str()))?;
    }
    Ok(())
}

const fn resource(name: UlimitName) -> Resource {
    match name {
        UlimitName::Core => Resource::Core,
        UlimitName::Cpu => Resource::Cpu,
        UlimitName::Data => Resource::Data,
        UlimitName::Fsize => Resource::Fsize,
        UlimitName::Locks => Resource::Locks,
        UlimitName::Memlock => Resource::Memlock,
        UlimitName::Msgqueue => Resource::Msgqueue,
        UlimitName::Nice => Resource::Nice,
        UlimitName::Nofile => Resource::Nofile,
        UlimitName::Nproc => Resource::Nproc,
        UlimitName::Rss => Resource::Rss,
        UlimitName::Rtprio => Resource::Rtprio,
        UlimitName::Rttime => Resource::Rttime,
        UlimitName::Sigpending => Resource::Sigpending,
        UlimitName::Stack => Resource::Stack,
    }
}

fn become_user_of(command: &Command) -> Result<(), CallError> {
    credentials::limit_capabilities(command.capabilities)?;
    credentials::become_user(command.uid, command.gid, &command.groups)
}

fn execute(command: &Command, input: File) -> Result<Pid, Report> {
    let (name, arguments) = command
        .argv
        .split_first()
        .ok_or(failed(ExecFailure::NotFound, Errno::NOENT))?;
    let mut env = command.env.clone();
    let revealed = |value: &SecretValue| OsStr::from_bytes(value.reveal()).to_owned();
    env.extend(
        command
            .secret_env
            .iter()
            .map(|(name, value)| (name.clone(), revealed(value))),
    );
    let program = find(name, &env)?;
    let child = std::process::Command::new(&program)
        .arg0(name)
        .args(arguments)
        .env_clear()
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(input)
        .process_group(0)
        .spawn()
        .map_err(|error| exec_failed(&program, error))?;
    Ok(Pid::from_child(&child))
}

/// The path to execute for `name`, by the rules of execvp(3) but without its fallback to a shell.
fn find(name: &OsStr, env: &[(OsString, OsString)]) -> Result<PathBuf, Report> {
    if name.is_empty() {
        return Err(failed(ExecFailure::NotFound, Errno::NOENT));
    }
    if name.as_bytes().contains(&b'/') {
        return Ok(PathBuf::from(name));
    }
    let path = env
        .iter()
        .rev()
        .find(|(name, _)| name == "PATH")
        .map(|(_, value)| value.as_os_str());
    let mut failure = failed(ExecFailure::NotFound, Errno::NOENT);
    for directory in path
        .unwrap_or(OsStr::new(DEFAULT_PATH))
        .as_bytes()
        .split(|byte| *byte == b':')
    {
        // An empty member of PATH means the working directory.
        let directory = if directory.is_empty() {
            OsStr::new(".")
        } else {
            OsStr::from_bytes(directory)
        };
        let candidate = Path::new(directory).join(name);
        if !candidate.is_file() {
            continue;
        }
        if rustix::fs::access(&candidate, Access::EXEC_OK).is_ok() {
            return Ok(candidate);
        }
        failure = failed(ExecFailure::Denied, Errno::ACCESS);
    }
    Err(failure)
}

fn exec_failed(program: &Path, error: io::Error) -> Report {
    let errno = errno(error);
    let failure = match errno {
        // The kernel says ENOENT for a missing interpreter as well.
        Errno::NOENT if program.is_file() => ExecFailure::NoInterpreter,
        Errno::NOENT | Errno::NOTDIR => ExecFailure::NotFound,
        Errno::ACCESS | Errno::PERM | Errno::ISDIR => ExecFailure::Denied,
        Errno::NOEXEC => ExecFailure::Format,
        _ => ExecFailure::Other,
    };
    failed(failure, errno)
}

fn failed(failure: ExecFailure, errno: Errno) -> Report {
    Report::Exec {
        failure,
        errno: errno.raw_os_error(),
    }
}
