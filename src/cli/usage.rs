//! Errors in the grammar of the command line, and the help.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::value::Switch;
use crate::diagnostic::Diagnostic;

/// What the parser says when there is nothing to build.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Help or version, for standard output.
    Text(String),
    /// The command line is wrong.
    Usage(UsageError),
}

/// A command line that does not follow the grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct UsageError {
    message: String,
    hints: Vec<String>,
}

impl Diagnostic for UsageError {
    fn hints(&self) -> Vec<String> {
        self.hints.clone()
    }
}

impl From<clap::Error> for Refusal {
    fn from(error: clap::Error) -> Self {
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Self::Text(error.render().to_string()),
            ErrorKind::InvalidSubcommand => Self::Usage(positional(&error)),
            _ => {
                let mut usage = rendered(&error.render().to_string());
                if let Some(flag) = unknown_flag(&error) {
                    usage.message = format!("unknown flag: {flag}");
                }
                Self::Usage(match hint_for_docker_users(&error) {
                    Some(hint) => UsageError {
                        hints: vec![hint.to_owned()],
                        ..usage
                    },
                    None => usage,
                })
            }
        }
    }
}

/// To the parser, a word that belongs to no flag is a subcommand; to the user it rarely is one.
fn positional(error: &clap::Error) -> UsageError {
    let word = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) => word.as_str(),
        _ => "",
    };
    let hint = match word.parse::<Switch>() {
        Ok(_) => format!("a flag that is on or off takes its value behind an equals sign: --cache={word}"),
        Err(_) => "the build context is given with --context, the Dockerfile with --dockerfile".to_owned(),
    };
    UsageError {
        message: format!("unexpected argument '{word}' found"),
        hints: vec![hint],
    }
}

/// The kaniko executor calls only that an unknown flag which looks like one.
fn unknown_flag(error: &clap::Error) -> Option<&str> {
    match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(flag))) => {
            Some(flag).filter(|flag| flag.starts_with('-'))
        }
        _ => None,
    }
    .map(String::as_str)
}

/// What takes the place of a flag of `docker build` here.
fn hint_for_docker_users(error: &clap::Error) -> Option<&'static str> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    match (error.kind(), flag.as_str()) {
        (ErrorKind::UnknownArgument, "-t" | "--tag") => Some("the image is named by --destination, as it is pushed"),
        (ErrorKind::UnknownArgument, "-o" | "--output" | "--load") => {
            Some("an image is written to files by --oci-layout-path and --tar-path")
        }
        (ErrorKind::UnknownArgument, "--push") => Some("an image is pushed to every --destination"),
        (ErrorKind::UnknownArgument, "--file") => Some("the Dockerfile is given with -f or --dockerfile"),
        (ErrorKind::UnknownArgument, "--no-cache" | "--pull") => {
            Some("leave it out: without --cache everything is built, and base images are looked up each time")
        }
        _ => None,
    }
}

/// Keeps the message and the tips of the parser's text and drops the usage, which fills a screen.
fn rendered(text: &str) -> UsageError {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let relevant = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let (tips, message): (Vec<_>, Vec<_>) = relevant
        .filter(|line| !line.trim().is_empty())
        .partition(|line| line.trim_start().starts_with("tip:"));
    UsageError {
        message: message.join("\n"),
        hints: tips
            .iter()
            .map(|tip| tip.trim_start().trim_start_matches("tip:").trim().to_owned())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args;

    fn usage(line: &[&str]) -> UsageError {
        match Refusal::from(args::parse(["rbuild"].iter().chain(line)).unwrap_err()) {
            Refusal::Usage(usage) => usage,
            Refusal::Text(text) => panic!("{line:?} printed {text}"),
        }
    }

    #[test]
    fn a_boolean_does_not_take_the_next_argument() {
        let error = usage(&["--cache", "true"]);
        assert_eq!(error.message, "unexpected argument 'true' found");
        assert_eq!(
            error.hints,
            ["a flag that is on or off takes its value behind an equals sign: --cache=true"]
        );
    }

    #[test]
    fn flags_of_docker_are_answered_with_those_of_here() {
        for (line, message, hint) in [
            (&["-t", "app:1", "."][..], "unknown flag: -t", "--destination"),
            (&["--tag=app:1"], "unknown flag: --tag", "--destination"),
            (&["--output=type=local"], "unknown flag: --output", "--oci-layout-path"),
            (&["--file", "Dockerfile"], "unknown flag: --file", "-f"),
            (&["--no-cache"], "unknown flag: --no-cache", "leave it out"),
        ] {
            let error = usage(line);
            assert_eq!(error.message, message, "{line:?}");
            let [found] = error.hints.as_slice() else {
                panic!("{line:?}: {:?}", error.hints);
            };
            assert!(found.contains(hint), "{line:?}: {found}");
        }
    }

    #[test]
    fn messages_name_the_flag_and_the_value() {
        for (line, message, hints) in [
            (&["--cachee"][..], "unknown flag: --cachee", 1),
            (&["."], "unexpected argument '.' found", 1),
            (
                &["--dockerfile"],
                "a value is required for '--dockerfile <PATH|URL>' but none was supplied",
                0,
            ),
            (
                &["--cache=maybe"],
                "invalid value 'maybe' for '--cache[=<BOOL>]': expected one of true, false, t, f, 1, 0",
                0,
            ),
        ] {
            let error = usage(line);
            assert_eq!(
                (error.message.as_str(), error.hints.len()),
                (message, hints),
                "{line:?}"
            );
        }
    }
}
