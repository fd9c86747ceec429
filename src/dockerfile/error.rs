//! What is wrong with a Dockerfile, where, and what was probably meant.

use crate::diagnostic::Diagnostic;
use std::error::Error;

use super::excerpt::Excerpt;

/// A mistake in the text of a Dockerfile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseError {
    /// What is wrong.
    pub problem: ParseProblem,
    /// Where; the whole file when there is no line to show.
    pub excerpt: Option<Box<Excerpt>>,
    /// What was probably meant.
    pub hint: Option<Hint>,
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.excerpt {
            // Not a mistake in the text, but in who reads it.
            _ if matches!(self.problem, ParseProblem::Frontend { .. }) => write!(f, "{}", self.problem),
            Some(excerpt) => write!(
                f,
                "dockerfile parse error on line {}: {}",
                excerpt.span().first,
                self.problem
            ),
            None => write!(f, "{}", self.problem),
        }
    }
}

impl Error for ParseError {}

/// What is wrong with the text. The wording follows BuildKit, since people search for it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseProblem {
    /// No bytes.
    #[error("the Dockerfile cannot be empty")]
    Empty,
    /// Comments and blank lines only.
    #[error("file with no instructions")]
    NoInstructions,
    /// ARG only.
    #[error("dockerfile contains no stages to build")]
    NoStages,
    /// A physical line beyond the limit.
    #[error("dockerfile line greater than max allowed size of {limit}")]
    LineTooLong {
        /// In bytes.
        limit: usize,
    },
    /// An instruction or heredoc body that is not text.
    #[error("the line is not valid UTF-8")]
    NotUtf8,
    /// `# syntax=` of another language.
    #[error("the frontend {frontend:?} is not available, only docker/dockerfile is")]
    Frontend {
        /// As written, without its options.
        frontend: String,
    },
    /// A directive twice.
    #[error("only one {name} parser directive can be used")]
    DuplicateDirective {
        /// In lower case.
        name: String,
    },
    /// `# escape=` with anything but the two tokens.
    #[error("invalid escape token '{token}' does not match ` or \\")]
    InvalidEscape {
        /// As written.
        token: String,
    },
    /// No such keyword.
    #[error("unknown instruction: {keyword}")]
    UnknownInstruction {
        /// As written.
        keyword: String,
    },
    /// No such flag on this instruction.
    #[error("unknown flag: --{flag}")]
    UnknownFlag {
        /// Without dashes.
        flag: String,
    },
    /// A flag without `=value`.
    #[error("missing a value on flag: --{flag}")]
    MissingFlagValue {
        /// Without dashes.
        flag: String,
    },
    /// A flag that may stand only once.
    #[error("duplicate flag specified: --{flag}")]
    DuplicateFlag {
        /// Without dashes.
        flag: String,
    },
    /// A boolean flag with some other value.
    #[error("expecting boolean value for flag --{flag}, not: {value}")]
    NotBoolean {
        /// Without dashes.
        flag: String,
        /// As written.
        value: String,
    },
    /// No argument, or several.
    #[error("{keyword} requires exactly one argument")]
    ExactlyOne {
        /// The instruction.
        keyword: &'static str,
    },
    /// No argument.
    #[error("{keyword} requires at least one argument")]
    AtLeastOne {
        /// The instruction.
        keyword: &'static str,
    },
    /// ADD or COPY without a destination.
    #[error(
        "{keyword} requires at least two arguments, but only one was provided. Destination could not be determined"
    )]
    AtLeastTwo {
        /// The instruction.
        keyword: &'static str,
    },
    /// A JSON array with numbers, objects or the like.
    #[error("when using JSON array syntax, arrays must be comprised of strings only")]
    NotStrings,
    /// `ENV x`.
    #[error("{keyword} must have two arguments")]
    MissingValue {
        /// The instruction.
        keyword: &'static str,
    },
    /// `ENV a=b c`.
    #[error("Syntax error - can't find = in {word:?}. Must be of the form: name=value")]
    NoEquals {
        /// As written.
        word: String,
    },
    /// `ENV =x`.
    #[error("{keyword} names can not be blank")]
    BlankName {
        /// The instruction.
        keyword: &'static str,
    },
    /// FROM with two words, for instance.
    #[error("FROM requires either one or three arguments")]
    FromArguments,
    /// A name behind AS that cannot be one.
    #[error("invalid name for build stage: {name:?}, name can't start with a number or contain symbols")]
    InvalidStageName {
        /// As written.
        name: String,
    },
    /// An instruction before the first FROM.
    #[error("no build stage in current context")]
    NoCurrentStage,
    /// SHELL in shell form.
    #[error("SHELL requires the arguments to be in JSON form")]
    ShellNotJson,
    /// `VOLUME [""]`.
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    /// `RUN []`.
    #[error("{keyword} in exec form requires at least one element")]
    EmptyExec {
        /// The instruction.
        keyword: &'static str,
    },
    /// The file ends within a heredoc.
    #[error("unterminated heredoc {delimiter}")]
    UnterminatedHeredoc {
        /// What would have ended it.
        delimiter: String,
    },
    /// A heredoc as the last argument.
    #[error("{keyword} cannot accept a heredoc as a destination")]
    HeredocDestination {
        /// The instruction.
        keyword: &'static str,
    },
    /// `COPY --from=$x`.
    #[error(
        "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround"
    )]
    VariableInFrom,
    /// `RUN --mount=from=$x`.
    #[error("'from' doesn't support variable expansion, define alias stage instead")]
    VariableInMountFrom,
    /// Quotes out of place in a mount option.
    #[error("invalid mount option {value:?}: a quote must begin and end a field")]
    MalformedMount {
        /// As written.
        value: String,
    },
    /// `--network=` of something else.
    #[error("invalid network mode {mode:?}")]
    InvalidNetwork {
        /// As written.
        mode: String,
    },
    /// `--security=` of something else.
    #[error("security {mode:?} is not valid")]
    InvalidSecurity {
        /// As written.
        mode: String,
    },
    /// `HEALTHCHECK NONE x`.
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthcheckNoneArguments,
    /// `HEALTHCHECK CMD`.
    #[error("Missing command after HEALTHCHECK CMD")]
    HealthcheckMissingCommand,
    /// `HEALTHCHECK foo`.
    #[error("Unknown type {kind:?} in HEALTHCHECK (try CMD)")]
    HealthcheckType {
        /// In upper case.
        kind: String,
    },
    /// Below a millisecond.
    #[error("Interval {flag:?} cannot be less than 1ms")]
    ShortInterval {
        /// Without dashes.
        flag: &'static str,
    },
    /// Not a Go duration.
    #[error("invalid duration {value:?} for --{flag} (for example 1m30s)")]
    InvalidDuration {
        /// Without dashes.
        flag: &'static str,
        /// As written.
        value: String,
    },
    /// Not a number.
    #[error("invalid number {value:?} for --retries")]
    InvalidRetries {
        /// As written.
        value: String,
    },
    /// Below zero.
    #[error("--retries cannot be negative ({value})")]
    NegativeRetries {
        /// As written.
        value: i64,
    },
    /// `ONBUILD ONBUILD`.
    #[error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    OnbuildChained,
    /// `ONBUILD FROM` and `ONBUILD MAINTAINER`.
    #[error("{keyword} isn't allowed as an ONBUILD trigger")]
    OnbuildForbidden {
        /// In upper case.
        keyword: String,
    },
}

impl ParseProblem {
    /// What to do about it, where the text does not say it itself.
    pub(super) const fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::Empty | Self::NoInstructions | Self::NoStages => {
                "a Dockerfile needs a FROM; `FROM scratch` starts from nothing"
            }
            Self::LineTooLong { .. } => {
                "break the line with a trailing \\, or keep its content in a file and COPY that"
            }
            Self::NotUtf8 => "save the file as UTF-8",
            Self::MissingFlagValue { .. } => "a flag and its value are one word: --flag=value",
            Self::NotBoolean { .. } => "write the flag alone, or with =true or =false; variables are not expanded here",
            Self::AtLeastTwo { .. } | Self::HeredocDestination { .. } => "the last argument is the destination",
            Self::NotStrings => "quote every element: [\"a\", \"1\"]",
            Self::MissingValue { .. } => "write NAME=value",
            Self::NoEquals { .. } => "quote a value that has blanks: NAME=\"a value\"",
            Self::FromArguments => "write FROM image, or FROM image AS name",
            Self::InvalidStageName { .. } => "begin with a letter, go on with letters, digits, - _ or .",
            Self::NoCurrentStage => "only ARG may stand before the first FROM",
            Self::ShellNotJson => "write SHELL [\"/bin/bash\", \"-c\"]",
            Self::UnterminatedHeredoc { .. } => {
                "the delimiter must stand alone on a line, without blanks around it (<<- allows tabs before it)"
            }
            Self::HealthcheckNoneArguments | Self::HealthcheckMissingCommand => {
                "write HEALTHCHECK CMD command, or HEALTHCHECK NONE"
            }
            Self::OnbuildChained | Self::OnbuildForbidden { .. } => {
                "a trigger is one instruction other than FROM, MAINTAINER and ONBUILD"
            }
            Self::InvalidNetwork { .. } => "the modes are default, none and host",
            Self::InvalidSecurity { .. } => "the modes are sandbox and insecure",
            Self::UnknownFlag { .. } => "if it belongs to the arguments, end the flags with -- before it",
            Self::UnknownInstruction { .. } => {
                "a line that goes on from the one above needs a \\ at the end of that one"
            }
            Self::Frontend { .. }
            | Self::DuplicateDirective { .. }
            | Self::InvalidEscape { .. }
            | Self::DuplicateFlag { .. }
            | Self::ExactlyOne { .. }
            | Self::AtLeastOne { .. }
            | Self::BlankName { .. }
            | Self::EmptyExec { .. }
            | Self::EmptyVolume
            | Self::VariableInFrom
            | Self::VariableInMountFrom
            | Self::MalformedMount { .. }
            | Self::HealthcheckType { .. }
            | Self::ShortInterval { .. }
            | Self::InvalidDuration { .. }
            | Self::InvalidRetries { .. }
            | Self::NegativeRetries { .. } => return None,
        })
    }
}

/// Advice printed after an error, apart from its text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hint {
    /// The nearest known word.
    DidYouMean(String),
    /// A sentence.
    Try(&'static str),
    /// The words that are known, and what they are.
    OneOf(String),
}

/// How many words a hint lists.
const LISTED: usize = 10;

impl Hint {
    /// What there is of a kind, the `words` of `what`, as far as a line has room for it.
    #[must_use]
    pub fn one_of(what: &str, words: &[String]) -> Self {
        let listed = &words[..words.len().min(LISTED)];
        let all = format!("{what} are {}", listed.join(", "));
        Self::OneOf(match words.len() - listed.len() {
            0 => all,
            more => format!("{all} and {more} more"),
        })
    }
}

impl std::fmt::Display for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::DidYouMean(word) => write!(f, "did you mean {word}?"),
            Self::Try(advice) => f.write_str(advice),
            Self::OneOf(words) => write!(f, "the {words}"),
        }
    }
}

impl Diagnostic for ParseError {
    fn excerpt(&self) -> Option<&Excerpt> {
        self.excerpt.as_deref()
    }

    fn hints(&self) -> Vec<String> {
        self.hint.iter().map(ToString::to_string).collect()
    }
}

/// The candidate nearest to `word`, if fewer than three edits away and not `word` itself.
#[must_use]
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<Hint> {
    let word = word.to_lowercase();
    let distance = |candidate: &'a str| (edit_distance(&word, &candidate.to_lowercase()), candidate);
    let (distance, nearest) = candidates.into_iter().map(distance).min_by_key(|(d, _)| *d)?;
    (1..3).contains(&distance).then(|| Hint::DidYouMean(nearest.to_owned()))
}

/// The same where case counts, as it does in names of variables.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |candidate: &'a str| (edit_distance(word, candidate), candidate);
    let (distance, nearest) = candidates.into_iter().map(distance).min_by_key(|(d, _)| *d)?;
    (1..3).contains(&distance).then_some(nearest)
}

/// Levenshtein's distance. Words far longer than any candidate are not worth the quadratic work.
fn edit_distance(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > 8 || a.len() > 256 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_within_two_edits() {
        let hint = |word: &str| closest(word, ["RUN", "ENTRYPOINT", "ENV"]);
        for (word, expected) in [
            ("FNTRYPOINT", Some("ENTRYPOINT")),
            ("fntrypoint", Some("ENTRYPOINT")),
            ("RUNN", Some("RUN")),
            ("EV", Some("ENV")),
            ("RUN", None),
            ("NOTHING", None),
            ("", None),
        ] {
            assert_eq!(hint(word), expected.map(|w| Hint::DidYouMean(w.to_owned())), "{word}");
        }
    }
}
