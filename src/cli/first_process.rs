//! The first process of a container has duties that a builder should not have: it inherits every orphan, the kernel keeps
//! signals from it, and when it is gone nobody can say why.
//!
//! So as PID 1 the program starts itself once more, as the builder, and does nothing but wait:
//!
//! ```text
//! runtime ─signals─▶ PID 1 ─signals─▶ rbuild (the builder) ──▶ the children of a RUN
//!                      ◀──── every end: the builder's is passed on, an orphan's is forgotten
//! ```
//!
//! The two never wait for the same process. When PID 1 ends, the kernel ends everything that is left in the container.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use signal_hook::consts::{SIGCHLD, SIGQUIT};
use signal_hook::iterator::Signals;

use super::{display, settings, signals};
use crate::cli::args::Logging;
use crate::cli::environment::Environment;
use crate::diagnostic::{Diagnostic, Exit};
use crate::memory::{Shortage, Watch};

/// Does the duties of PID 1 until the builder has ended, if this is PID 1. `None` if it is not, or if no builder could
/// be started: then this process has to be the builder.
pub(super) fn serve(line: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    if !rustix::process::getpid().is_init() {
        return None;
    }
    // What the environment holds is nobody's business in the container. On failure nothing is worse than before.
    let _ = crate::sys::signals::refuse_tracing();
    let memory = Watch::begin();
    let forwarded = signals::wanted().into_iter().chain([SIGQUIT, SIGCHLD]);
    // Before the builder exists, so that neither its end nor a signal for it is missed.
    let mut signals = Signals::new(forwarded).ok()?;
    let builder = start(line).ok()?;
    let status = wait_for(&builder, &mut signals);
    Some(ExitCode::from(passed_on(status, &memory)))
}

fn start(line: impl IntoIterator<Item = OsString>) -> io::Result<Child> {
    let mut line = line.into_iter();
    let name = line.next().unwrap_or_else(|| "rbuild".into());
    // A group of its own, so that what a terminal sends to its foreground does not come twice.
    let builder = Command::new("/proc/self/exe")
        .arg0(name)
        .args(line)
        .process_group(0)
        .spawn()?;
    if io::stdin().is_terminal() {
        // Else Ctrl-C reaches this process, which passes it on.
        let _ = rustix::termios::tcsetpgrp(io::stdin(), Pid::from_child(&builder));
    }
    Ok(builder)
}

/// Passes signals on, and reaps whoever has ended, until that is the builder.
fn wait_for(builder: &Child, signals: &mut Signals) -> WaitStatus {
    let builder = Pid::from_child(builder);
    loop {
        for signal in signals.wait() {
            match Signal::from_named_raw(signal) {
                Some(signal) if signal != Signal::CHILD => {
                    // It cannot be gone: it has not been reaped.
                    let _ = rustix::process::kill_process(builder, signal);
                }
                _ => {}
            }
        }
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid == builder {
                return status;
            }
        }
    }
}

/// The exit code that says how the builder ended, as a shell would. An end that it could not explain itself is
/// explained.
fn passed_on(status: WaitStatus, memory: &Watch) -> u8 {
    let Some(signal) = status.terminating_signal() else {
        let code = status.exit_status().and_then(|code| u8::try_from(code).ok());
        return code.unwrap_or(Exit::Failure.code());
    };
    if signal == Signal::KILL.as_raw() {
        let settings = settings(&Logging::default(), &Environment::of_process().unwrap_or_default());
        let shortage = memory.end();
        display::print_error(settings, &Killed { shortage });
    }
    Exit::Interrupted(signal).code()
}

/// The builder is gone without a word.
#[derive(Debug, thiserror::Error)]
#[error("the build was killed by signal 9 (SIGKILL)")]
struct Killed {
    shortage: Shortage,
}

impl Diagnostic for Killed {
    fn hints(&self) -> Vec<String> {
        match self.shortage {
            Shortage::Hit(limit) => vec![limit.to_string()],
            Shortage::None => Vec::new(),
            Shortage::Unknown => {
                vec![
                    "the kernel may have ended it for want of memory; if so, raise the memory limit of the container"
                        .to_owned(),
                ]
            }
        }
    }
}
