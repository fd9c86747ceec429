//! The second child, PID 1 of the RUN: prepares the root, starts the command, reaps every orphan.
//!
//! When it exits, the kernel kills whatever else lives in the PID namespace, daemons in sessions of their
//! own included, and the private mounts vanish with the last of them.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use super::enter::{builder, errno};
use super::system::System;
use super::wire::{self, Report, Request, Root};
use super::{attach, command, mounts};
use crate::sys::mount::{change_directory, chroot_into, make_all_private};
use crate::sys::{CallError, Context as _, namespaces, network, signals};

/// How long the command has to end after SIGTERM.
pub(super) const GRACE: Duration = Duration::from_secs(2);

pub(super) fn main() -> ExitCode {
    let Ok(builder) = builder() else {
        return ExitCode::FAILURE;
    };
    let report = carry_out(&builder).unwrap_or_else(|failed| failed);
    match wire::send(&builder, &report) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Both sides are a report; the error side only ends the work earlier.
fn carry_out(builder: &UnixStream) -> Result<Report, Report> {
    signals::die_with_parent()?;
    signals::refuse_tracing()?;
    let request: Request = wire::receive(builder)
        .map_err(errno)
        .call(|| "read the request".to_owned())?;
    let input = isolate(&request)?;
    let Some(command) = &request.command else {
        return Ok(Report::Ready);
    };
    change_directory(Path::new(&command.cwd)).map_err(|error| Report::WorkingDirectory {
        errno: error.errno.raw_os_error(),
    })?;
    command::limit(&command.limits)?;
    let pid = command::start(command, input)?;
    obey(builder, pid)?;
    Ok(reap_until_end_of(pid)?)
}

/// Returns the command's standard input.
fn isolate(request: &Request) -> Result<File, CallError> {
    if let Root::Prepared(root) = &request.root {
        return confine(Path::new(root));
    }
    namespaces::enter_private_namespaces()?;
    // Out of the terminal's reach: its signals are for the builder, which decides what becomes of them.
    rustix::process::setsid().call(|| "setsid".to_owned())?;
    namespaces::set_hostname(OsStr::new(&request.hostname))?;
    if request.private_network {
        namespaces::enter_private_network()?;
        network::raise_loopback()?;
    }
    make_all_private()?;
    let sources = attach::open_sources(&request.mounts)?;
    let system = System::take(&mounts::DEVICES)?;
    mounts::enter_root(&request.root)?;
    rustix::process::umask(Mode::empty());
    mounts::mount_all(request, &system)?;
    let input = command::open_input()?;
    attach::attach_all(&request.mounts, sources)?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    Ok(input)
}

/// All the isolation there is without namespaces. Returns the command's standard input.
fn confine(root: &Path) -> Result<File, CallError> {
    rustix::process::setsid().call(|| "setsid".to_owned())?;
    chroot_into(root)?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    command::open_input()
}

/// Listens to the builder from now on: a byte asks for an end with grace, silence for ever means that the
/// builder died, and then so does everything here.
fn obey(builder: &UnixStream, command: Pid) -> Result<(), CallError> {
    let call = || "start thread".to_owned();
    let mut builder = builder.try_clone().map_err(errno).call(call)?;
    let listen = move || {
        if matches!(builder.read(&mut [0]), Ok(1)) {
            // The group may be gone already while its leader is not reaped yet.
            let _ = rustix::process::kill_process_group(command, Signal::TERM);
            wait_for_hangup(&builder, GRACE);
        }
        std::process::exit(1);
    };
    thread::Builder::new()
        .name("obey".to_owned())
        .spawn(listen)
        .map(drop)
        .map_err(errno)
        .call(call)
}

pub(super) fn wait_for_hangup(builder: &UnixStream, at_most: Duration) {
    let timeout = Timespec::try_from(at_most).ok();
    // Whatever comes of it, time is up.
    let _ = rustix::event::poll(&mut [PollFd::new(builder, PollFlags::IN)], timeout.as_ref());
}

/// Reaps whatever ends, until the command has.
pub(super) fn reap_until_end_of(command: Pid) -> Result<Report, CallError> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == command => return Ok(ended(status)),
            // An orphan that was handed to us.
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).call(|| format!("wait for process {command}")),
        }
    }
}

fn ended(status: WaitStatus) -> Report {
    match (status.exit_status(), status.terminating_signal()) {
        (_, Some(signal)) => Report::Killed(signal),
        // The kernel keeps the low eight bits only.
        (code, None) => Report::Exited(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)),
    }
}
