//! The command line program: the only reader of arguments and environment, the only writer to the terminal.
//!
//! ```text
//! argv ─args─▶ Cli ─options─▶ BuildRequest ─▶ build ─▶ exit code
//!                 └─notices      │ events ─display─▶ standard error
//!                                └ errors ─report──▶ standard error
//! ```

mod args;
mod display;
mod environment;
mod locate;
mod notices;
mod options;
mod problem;
mod registry_options;
mod report;
mod sanitize;
mod signals;
#[cfg(test)]
mod site;
mod usage;
mod value;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use self::args::{Cli, Command, Logging};
use self::display::{Display, Settings, Sink};
use self::environment::Environment;
use self::notices::Notice;
use self::problem::Problems;
use self::usage::{Refusal, UsageError};
use crate::build;
use crate::cancel::Cancel;
use crate::diagnostic::{Diagnostic, Exit};
use crate::progress::{Event, Progress};

/// Runs the program. Dies by the signal that asked it to end, if one did.
#[must_use]
pub fn main() -> ExitCode {
    // The children of a RUN are this program too; they come first, before any thread exists.
    if let Some(code) = crate::run::child_main(std::env::args_os()) {
        return code;
    }
    let exit = run(std::env::args_os());
    if let Exit::Interrupted(signal) = exit {
        signals::die_by(signal);
    }
    ExitCode::from(exit.code())
}

fn run(line: impl Iterator<Item = OsString>) -> Exit {
    match args::parse(line).map_err(Refusal::from) {
        Err(Refusal::Text(text)) => print(&text),
        Err(Refusal::Usage(error)) => report_usage(&error),
        Ok(cli) => match cli.command {
            Some(Command::Version) => print(concat!("rbuild ", env!("CARGO_PKG_VERSION"), "\n")),
            None => build_from(&cli),
        },
    }
}

/// Standard output carries data only. A reader that has seen enough is not an error.
fn print(data: &str) -> Exit {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(data.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Exit::Success,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Success,
        Err(_) => Exit::Failure,
    }
}

fn build_from(cli: &Cli) -> Exit {
    let environment = match Environment::of_process() {
        Ok(environment) => environment,
        Err(source) => {
            return fail(
                settings(&cli.logging, &Environment::default()),
                &Startup::WorkingDirectory(source),
            );
        }
    };
    let settings = settings(&cli.logging, &environment);
    let request = match options::convert(cli, &environment) {
        Ok(request) => request,
        Err(problems) => return report_problems(settings, &problems),
    };
    let cancel = Cancel::default();
    if let Err(source) = signals::watch(cancel.clone()) {
        return fail(settings, &Startup::Signals(source));
    }
    let display = Display::start(settings);
    let progress = display.progress();
    give_notices(cli, &*progress);
    let result = build::run(&request, &progress, &cancel);
    display.finish();
    match (result, cancel.signal()) {
        (Ok(_), _) => Exit::Success,
        (Err(error), None) => fail(settings, &error),
        (Err(error), Some(signal)) => {
            fail(settings, &error);
            Exit::Interrupted(signal)
        }
    }
}

fn settings(logging: &Logging, environment: &Environment) -> Settings {
    Settings::new(logging, environment, Sink::of_stderr())
}

fn give_notices(cli: &Cli, progress: &dyn Progress) {
    for notice in notices::of(cli) {
        progress.event(match &notice {
            Notice::Warning(text) => Event::Warning(text),
            Notice::Info(text) => Event::Info(text),
        });
    }
}

fn fail(settings: Settings, error: &(impl Diagnostic + ?Sized)) -> Exit {
    display::print_error(settings, error);
    error.exit()
}

fn report_usage(error: &UsageError) -> Exit {
    // The flags that would say how to print are among those that could not be read.
    let settings = settings(&Logging::default(), &Environment::of_process().unwrap_or_default());
    let exit = fail(settings, error);
    display::print_help_pointer(settings);
    exit
}

fn report_problems(settings: Settings, Problems(problems): &Problems) -> Exit {
    for problem in problems {
        display::print_error(settings, problem);
    }
    display::print_help_pointer(settings);
    Exit::Failure
}

/// The program could not get going.
#[derive(Debug, thiserror::Error)]
enum Startup {
    #[error("cannot read the working directory")]
    WorkingDirectory(#[source] io::Error),
    #[error("cannot watch for signals")]
    Signals(#[source] io::Error),
}

impl Diagnostic for Startup {}
