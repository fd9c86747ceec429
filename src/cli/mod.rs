//! The command line program: the only reader of arguments and environment, the only writer to the terminal.

mod args;
mod environment;
mod value;

use std::process::ExitCode;

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    use clap::FromArgMatches as _;
    let m = args::command().get_matches();
    println!("{:?}", args::Cli::from_arg_matches(&m));
    ExitCode::SUCCESS
}
