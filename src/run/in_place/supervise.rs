//! The child that watches over a RUN in the container's own `/`: starts the command, adopts every orphan, and ends all of
//! them when the command has ended.
//!
//! There is no PID namespace whose end would do that. If the builder is gone, the child also puts back what it moved.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use super::super::command;
use super::super::enter::{builder, errno};
use super::super::init::{GRACE, reap_until_end_of, wait_for_hangup};
use super::super::wire::{self, Command, Report};
use super::place::Place;
use crate::sys::mount::change_directory;
use crate::sys::{CallError, Context as _, descriptors, processes, signals};

/// From the builder.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct Request {
    /// Where the journal is.
    pub(super) place: PathBuf,
    /// `None`: try everything and stop there.
    pub(super) command: Option<Command>,
}

pub(in super::super) fn main() -> ExitCode {
    let Ok(builder) = builder() else {
        return ExitCode::FAILURE;
    };
    let mut place = None;
    let report = carry_out(&builder, &mut place).unwrap_or_else(|failed| failed);
    processes::end_descendants();
    if wire::send(&builder, &report).is_ok() && !has_hung_up(&builder) {
        return ExitCode::SUCCESS;
    }
    // Nobody is left who could put anything back, or be told what prevents it. The next build tries again.
    if let Some((place, watch)) = place {
        drop(watch);
        let _ = place.recover();
    }
    ExitCode::FAILURE
}

/// Both sides are a report; the error side only ends the work earlier.
fn carry_out(builder: &UnixStream, place: &mut Option<(Place, std::fs::File)>) -> Result<Report, Report> {
    // Out of the terminal's reach, and of those who signal the builder's group.
    let session = rustix::process::setsid().call(|| "setsid".to_owned())?;
    signals::restore_ignored_signals()?;
    crate::memory::spare_the_builder();
    descriptors::keep_from_children()?;
    signals::refuse_tracing()?;
    processes::adopt_orphans()?;
    let request: Request = wire::receive(builder)
        .map_err(errno)
        .call(|| "read the request".to_owned())?;
    let Some(command) = &request.command else {
        return Ok(Report::Ready);
    };
    let own = Place::at(request.place);
    let watch = own
        .watch()
        .and_then(|watch| own.note_session(session.as_raw_nonzero().get()).map(|()| watch));
    *place = Some((own, watch.map_err(|error| refused(&error))?));
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let input = command::open_input()?;
    change_directory(Path::new(&command.cwd)).map_err(|error| Report::WorkingDirectory {
        errno: error.errno.raw_os_error(),
    })?;
    command::limit(&command.limits)?;
    let pid = command::start(command, input)?;
    obey(builder, pid)?;
    Ok(reap_until_end_of(pid)?)
}

fn refused(error: &super::InPlaceError) -> Report {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    Report::Setup {
        call: error.to_string(),
        errno: source
            .and_then(std::io::Error::raw_os_error)
            .unwrap_or(Errno::IO.raw_os_error()),
    }
}

/// Listens to the builder from now on: a byte asks for an end with grace, silence for ever means that the builder
/// died. The command's end is what the first thread waits for.
fn obey(builder: &UnixStream, command: Pid) -> Result<(), CallError> {
    let call = || "start thread".to_owned();
    let mut builder = builder.try_clone().map_err(errno).call(call)?;
    let listen = move || {
        if matches!(builder.read(&mut [0]), Ok(1)) {
            // The group may be gone already while its leader is not reaped yet.
            let _ = rustix::process::kill_process_group(command, Signal::TERM);
            wait_for_hangup(&builder, GRACE);
        }
        loop {
            processes::kill_descendants();
            thread::sleep(Duration::from_millis(2));
        }
    };
    thread::Builder::new()
        .name("obey".to_owned())
        .spawn(listen)
        .map(drop)
        .map_err(errno)
        .call(call)
}

fn has_hung_up(builder: &UnixStream) -> bool {
    let mut poll_fd = [PollFd::new(builder, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut poll_fd, Some(&now)).is_ok() && poll_fd[0].revents().contains(PollFlags::HUP)
}
