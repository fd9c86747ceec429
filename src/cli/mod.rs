//! The command line program: the only reader of arguments and environment, the only writer to the terminal.
//!
//! ```text
//! argv ─args─▶ Cli ─options─▶ BuildRequest ─▶ build ─▶ exit code
//!                 └─notices      │ events ─display─▶ standard error
//!                                └ errors ─report──▶ standard error
//! ```

mod args;
mod cache_options;
mod commands;
mod context;
mod display;
mod environment;
mod first_process;
mod git_options;
mod inspect;
mod locate;
mod name;
mod notices;
mod options;
mod output_options;
mod platforms;
mod problem;
mod registry_options;
mod report;
mod run_options;
mod sanitize;
mod signals;
#[cfg(test)]
mod site;
mod usage;
mod value;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use self::args::{Cli, Command, Input, Inspection, Logging};
use self::display::{Display, Settings, Sink};
use self::environment::Environment;
use self::notices::Notice;
use self::problem::Problems;
use self::usage::{Refusal, UsageError};
use self::value::{Call, Method};
use crate::build;
use crate::build::request::BuildRequest;
use crate::cancel::Cancel;
use crate::diagnostic::{Diagnostic, Exit};
use crate::progress::{Event, Progress};
use crate::run::{InPlaceError, IsolationChoice, MappingError};

/// Runs the program. Dies by the signal that asked it to end, if one did.
#[must_use]
pub fn main() -> ExitCode {
    // The children of a RUN are this program too; they come first, before any thread exists.
    if let Some(code) = crate::run::child_main(std::env::args_os()) {
        return code;
    }
    if let Some(code) = first_process::serve(std::env::args_os()) {
        return code;
    }
    let exit = run(crate::run::without_marker(std::env::args_os().collect()).into_iter());
    if let Exit::Interrupted(signal) = exit {
        signals::die_by(signal);
    }
    ExitCode::from(exit.code())
}

fn run(line: impl Iterator<Item = OsString>) -> Exit {
    let (name, line) = name::of(line);
    match args::parse(&line).map_err(Refusal::from) {
        Err(Refusal::Text(text)) => print(&text),
        Err(Refusal::Usage(error)) => report_usage(&error, &args::command_of(&line)),
        Ok(cli) => match &cli.command {
            Some(Command::Version) => print(name.version()),
            Some(Command::Completion { shell }) => print(&args::completion(*shell)),
            Some(Command::Push(args)) => commands::push(args),
            Some(Command::Warm(args)) => commands::warm(args),
            Some(Command::Login(args)) => commands::login(args),
            Some(Command::Logout(args)) => commands::logout(args),
            Some(Command::Check(inspection)) => inspect_alone(Method::Check, inspection),
            Some(Command::Outline(inspection)) => inspect_alone(Method::Outline, inspection),
            Some(Command::Targets(inspection)) => inspect_alone(Method::Targets, inspection),
            None => match options::call(&cli.checks) {
                Some(call) => inspect_for(call, &cli.input, cli.checks.lint, &cli.logging, args::PROGRAM),
                None => build_from(&cli),
            },
        },
    }
}

/// Standard output carries data only. A reader that has seen enough is not an error.
fn print(data: &str) -> Exit {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(data.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Exit::Success,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Success,
        Err(error) => {
            let settings = settings(&Logging::default(), &Environment::of_process().unwrap_or_default());
            fail(settings, &ProcessError::Output(error))
        }
    }
}

/// One of the commands that only look.
fn inspect_alone(method: Method, inspection: &Inspection) -> Exit {
    let command = format!("{} {}", args::PROGRAM, method.name());
    let call = Call {
        method,
        format: inspection.format,
    };
    let input = Input {
        dockerfile: inspection.file.clone(),
        context: inspection.context.clone(),
        context_sub_path: inspection.context_sub_path.clone(),
        build_arg: inspection.build_arg.clone(),
        build_context: inspection.build_context.clone(),
        target: inspection.target.iter().cloned().collect(),
        custom_platform: inspection.platform.iter().cloned().collect(),
        ..Input::default()
    };
    let logging = Logging {
        no_color: inspection.no_color,
        ..Logging::default()
    };
    inspect_for(call, &input, None, &logging, &command)
}

fn inspect_for(call: Call, input: &Input, lint: Option<args::Lint>, logging: &Logging, command: &str) -> Exit {
    let environment = match environment(logging) {
        Ok(environment) => environment,
        Err(exit) => return exit,
    };
    let settings = settings(logging, &environment);
    let inspected = match options::convert_inspected(input, lint, &environment) {
        Ok(inspected) => inspected,
        Err(problems) => return report_problems(settings, &problems, command),
    };
    let palette = Settings::new(logging, &environment, Sink::of_stdout()).palette();
    inspect::run(call, &inspected, palette, settings)
}

fn environment(logging: &Logging) -> Result<Environment, Exit> {
    Environment::of_process().map_err(|source| {
        let settings = settings(logging, &Environment::default());
        fail(settings, &ProcessError::WorkingDirectory(source))
    })
}

fn build_from(cli: &Cli) -> Exit {
    let environment = match environment(&cli.logging) {
        Ok(environment) => environment,
        Err(exit) => return exit,
    };
    let settings = settings(&cli.logging, &environment);
    if let Err(error) = recover(cli, &environment, settings) {
        return fail(settings, &error);
    }
    let unmapped = match become_root_if_wanted(cli, &environment) {
        Some(error) if error.is_final() => return fail(settings, &ProcessError::Mapping(error)),
        unmapped => unmapped.map(Arc::new),
    };
    let convert = |environment: &Environment| {
        let request = options::convert(cli, environment)?;
        Ok(BuildRequest { unmapped, ..request })
    };
    perform(&cli.logging, convert, |request, progress, cancel| {
        give_notices(cli, &environment, &**progress);
        if let Some(unmapped) = &request.unmapped {
            progress.event(Event::Warning(&format!(
                "an ordinary user cannot give files to others: {unmapped} ({})",
                unmapped.remedy()
            )));
        }
        let progress: Arc<dyn Progress> = Arc::new(PlanPrinter(Arc::clone(progress)));
        build::run(request, &progress, cancel)
    })
}

/// Makes a request and carries it out, shown by a display and ended by signals.
fn perform<R, T, E: Diagnostic>(
    logging: &Logging,
    convert: impl FnOnce(&Environment) -> Result<R, Problems>,
    act: impl FnOnce(&R, &Arc<dyn Progress>, &Cancel) -> Result<T, E>,
) -> Exit {
    let environment = match environment(logging) {
        Ok(environment) => environment,
        Err(exit) => return exit,
    };
    let settings = settings(logging, &environment);
    let request = match convert(&environment) {
        Ok(request) => request,
        Err(problems) => return report_problems(settings, &problems, args::PROGRAM),
    };
    let cancel = Cancel::default();
    let overdue = move || display::print_error(settings, &ProcessError::Overdue);
    if let Err(source) = signals::watch(cancel.clone(), signals::PATIENCE, overdue) {
        return fail(settings, &ProcessError::Signals(source));
    }
    let display = Display::start(settings);
    let progress = display.progress();
    let result = act(&request, &progress, &cancel);
    display.finish();
    match (result, cancel.signal()) {
        (Ok(_), _) => Exit::Success,
        (Err(error), None) => {
            display::print_failure(settings, &error);
            error.exit()
        }
        (Err(error), Some(signal)) => {
            display::print_failure(settings, &error);
            Exit::Interrupted(signal)
        }
    }
}

/// The files that a build is asked for may be where a killed build has left them.
fn recover(cli: &Cli, environment: &Environment, settings: Settings) -> Result<(), InPlaceError> {
    let say = |text| {
        let display = Display::start(settings);
        display.progress().event(Event::Info(text));
        display.finish();
    };
    let waiting = || say("waiting for another build, which works in place in this container");
    let state_dirs = options::state_dirs(cli, environment);
    let state_dirs: Vec<&Path> = state_dirs.iter().map(PathBuf::as_path).collect();
    if crate::run::recover(&state_dirs, waiting)? {
        say("put back the container's own files, which a killed build had moved aside");
    }
    Ok(())
}

/// An ordinary user builds as root of a user namespace, unless he asks for what needs none. Does not return when that
/// works: this program starts again.
fn become_root_if_wanted(cli: &Cli, environment: &Environment) -> Option<MappingError> {
    let choice = cli
        .execution
        .isolation
        .map_or_else(IsolationChoice::default, Into::into);
    let by_choice = matches!(choice, IsolationChoice::Auto | IsolationChoice::Namespaces);
    let is_wanted = by_choice && !environment.is_root && !environment.is_mapped;
    is_wanted.then(crate::run::become_root)
}

fn settings(logging: &Logging, environment: &Environment) -> Settings {
    Settings::new(logging, environment, Sink::of_stderr())
}

/// Puts the plan, which is data, on standard output and leaves the rest to the display.
#[derive(Debug)]
struct PlanPrinter(Arc<dyn Progress>);

impl Progress for PlanPrinter {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Plan(text) => drop(print(text)),
            event => self.0.event(event),
        }
    }
}

fn give_notices(cli: &Cli, environment: &Environment, progress: &dyn Progress) {
    for notice in notices::of(cli, environment) {
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

fn report_usage(error: &UsageError, command: &str) -> Exit {
    // The flags that would say how to print are among those that could not be read.
    let settings = settings(&Logging::default(), &Environment::of_process().unwrap_or_default());
    let exit = fail(settings, error);
    display::print_help_pointer(settings, command);
    exit
}

fn report_problems(settings: Settings, Problems(problems): &Problems, command: &str) -> Exit {
    for problem in problems {
        display::print_error(settings, problem);
    }
    display::print_help_pointer(settings, command);
    Exit::Failure
}

/// What the process itself cannot do.
#[derive(Debug, thiserror::Error)]
enum ProcessError {
    #[error("cannot read the working directory")]
    WorkingDirectory(#[source] io::Error),
    #[error("cannot watch for signals")]
    Signals(#[source] io::Error),
    #[error("stopped before everything was taken away")]
    Overdue,
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    #[error("an ordinary user cannot become root of a user namespace")]
    Mapping(#[source] MappingError),
}

impl Diagnostic for ProcessError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Mapping(error) => vec![error.remedy()],
            Self::Overdue => {
                vec!["the next build removes the rest, if it has the same state directory (--store)".to_owned()]
            }
            Self::WorkingDirectory(_) | Self::Signals(_) | Self::Output(_) => Vec::new(),
        }
    }
}
