//! The rbuild executor.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = rbuild::run::child_main(std::env::args_os()) {
        return code;
    }
    ExitCode::SUCCESS
}
