//! What is checked, and what a finding does: the `check` directive, the build argument that replaces it, and comments
//! before instructions.

use std::collections::BTreeSet;

use super::rule::{Rule, Status};
use crate::diagnostic::Diagnostic;
use crate::dockerfile::{Directives, Excerpt, SourceText, Span};

/// The build argument that replaces the directive.
pub const BUILD_ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// Which rules are in force, and whether a finding is an error.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    skip: Selection,
    experimental: Selection,
    /// Whether a build with findings fails.
    pub error: bool,
}

/// What whoever starts a build says about findings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Policy {
    /// What the file says.
    #[default]
    AsWritten,
    /// They are warnings, even if the file says more.
    Warn,
    /// They end the build.
    Error,
    /// Nothing is checked.
    Off,
}

/// Rules by name; names that no rule has are not wrong, for they may be rules of other versions.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Selection {
    All,
    These(BTreeSet<String>),
}

impl Default for Selection {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl Selection {
    fn parse(value: &str) -> Self {
        match value.trim() {
            "all" => Self::All,
            names => Self::These(names.split(',').map(|name| name.trim().to_owned()).collect()),
        }
    }

    fn has(&self, rule: Rule) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => names.contains(rule.name()),
        }
    }
}

/// The directive says something else than options. The wording follows BuildKit.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OptionProblem {
    /// Not one of the three options.
    #[error("invalid check option {option:?}")]
    Unknown {
        /// As written.
        option: String,
    },
    /// Neither true nor false.
    #[error("failed to parse check option {option:?}: {value:?} is neither true nor false")]
    NotBoolean {
        /// As written.
        option: String,
        /// What stands behind the `=`.
        value: String,
    },
}

/// The options cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{problem}{}", if excerpt.is_none() { " in the build argument BUILDKIT_DOCKERFILE_CHECK" } else { "" })]
pub struct OptionsError {
    /// What is wrong.
    pub problem: OptionProblem,
    /// The directive; none if the build argument is wrong.
    pub excerpt: Option<Box<Excerpt>>,
}

impl Diagnostic for OptionsError {
    fn excerpt(&self) -> Option<&Excerpt> {
        self.excerpt.as_deref()
    }

    fn hints(&self) -> Vec<String> {
        vec!["the options are skip=RULE[,RULE…], error=true and experimental=RULE[,RULE…], separated by ;".to_owned()]
    }
}

impl Options {
    /// No rule is in force.
    #[must_use]
    pub fn silent() -> Self {
        Self {
            skip: Selection::All,
            ..Self::default()
        }
    }

    /// The options of a file: those of the build argument if it is given, else those of the directive.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn of(
        directives: &Directives,
        source: &SourceText,
        build_argument: Option<&str>,
    ) -> Result<Self, OptionsError> {
        let of_argument = |problem| OptionsError { problem, excerpt: None };
        if let Some(value) = build_argument {
            return Self::parse(value).map_err(of_argument);
        }
        let Some(directive) = &directives.check else {
            return Ok(Self::default());
        };
        // BuildKit reads a directive up to its first blank.
        let value = directive.value.split_whitespace().next().unwrap_or_default();
        Self::parse(value).map_err(|problem| OptionsError {
            problem,
            excerpt: Some(Box::new(source.excerpt(Span::line(directive.line)))),
        })
    }

    fn parse(value: &str) -> Result<Self, OptionProblem> {
        let value = value.trim();
        let mut options = Self::default();
        if value.is_empty() {
            return Ok(options);
        }
        // Not more than three parts: a further separator belongs to the last one.
        for part in value.splitn(3, ';') {
            let (key, value) = part.split_once('=').ok_or_else(|| unknown(part))?;
            match key.trim() {
                "skip" => options.skip = Selection::parse(value),
                "experimental" => options.experimental = Selection::parse(value),
                "error" => options.error = parse_bool(part, value.trim())?,
                key => return Err(unknown(key)),
            }
        }
        Ok(options)
    }

    /// The options when a policy has been given.
    #[must_use]
    pub fn under(self, policy: Policy) -> Self {
        match policy {
            Policy::AsWritten => self,
            Policy::Warn => Self { error: false, ..self },
            Policy::Error => Self { error: true, ..self },
            Policy::Off => Self::silent(),
        }
    }

    /// Whether `rule` is in force for an instruction with these comments before it.
    #[must_use]
    pub fn has(&self, rule: Rule, comments: &[String]) -> bool {
        match rule.status() {
            Status::Experimental => self.experimental.has(rule),
            Status::Default => !self.skip.has(rule) && !comments.iter().any(|comment| skips(comment, rule)),
        }
    }
}

fn unknown(option: &str) -> OptionProblem {
    OptionProblem::Unknown {
        option: option.to_owned(),
    }
}

/// What Go takes for a boolean.
fn parse_bool(option: &str, value: &str) -> Result<bool, OptionProblem> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        value => Err(OptionProblem::NotBoolean {
            option: option.to_owned(),
            value: value.to_owned(),
        }),
    }
}

/// The options in a comment `check=… // reason`. One that cannot be read is only a comment.
pub(super) fn in_comment(comment: &str) -> Option<&str> {
    let (name, value) = comment.split_once('=')?;
    name.trim()
        .eq_ignore_ascii_case("check")
        .then(|| value.split_whitespace().next().unwrap_or_default())
}

fn skips(comment: &str, rule: Rule) -> bool {
    let options = in_comment(comment).and_then(|value| Options::parse(value).ok());
    options.is_some_and(|options| options.skip.has(rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Rule = Rule::StageNameCasing;
    const B: Rule = Rule::FromAsCasing;
    const X: Rule = Rule::InvalidDefinitionDescription;

    fn of_directive(value: &str) -> Result<Options, OptionsError> {
        let text = format!("# check={value}\nFROM scratch");
        let file = crate::dockerfile::parse("Dockerfile", text.as_bytes()).unwrap();
        Options::of(&file.directives, &file.source, None)
    }

    #[test]
    fn l20_l21_what_a_directive_turns_off() {
        for (value, [a, b, x], error) in [
            ("skip=all", [false, false, false], false),
            ("skip=all;error=true", [false, false, false], true),
            ("skip=StageNameCasing", [false, true, false], false),
            ("skip=StageNameCasing,FromAsCasing", [false, false, false], false),
            ("skip=StageNameCasing, FromAsCasing", [false, true, false], false),
            ("skip=NoSuchRule;error=1", [true, true, false], true),
            ("error=F", [true, true, false], false),
            ("experimental=all", [true, true, true], false),
            (
                "skip=all;experimental=InvalidDefinitionDescription",
                [false, false, true],
                false,
            ),
            ("experimental=StageNameCasing", [true, true, false], false),
            ("error=true; skip=all", [true, true, false], true),
        ] {
            let options = match of_directive(value) {
                Ok(options) => options,
                // The blank ends the directive, and what is left is not an option.
                Err(error) if value.contains("; ") => {
                    assert_eq!(error.problem, unknown(""));
                    continue;
                }
                Err(error) => panic!("{value}: {error}"),
            };
            let has = [A, B, X].map(|rule| options.has(rule, &[]));
            assert_eq!((has, options.error), ([a, b, x], error), "{value}");
        }
    }

    #[test]
    fn l22_what_is_no_option() {
        for (value, expected) in [
            ("foo=1", "invalid check option \"foo\""),
            ("skip", "invalid check option \"skip\""),
            ("skip=all;", "invalid check option \"\""),
            (
                "error=yes",
                "failed to parse check option \"error=yes\": \"yes\" is neither true nor false",
            ),
            (
                "skip=A;skip=B;error=true;error=true",
                "failed to parse check option \"error=true;error=true\": \"true;error=true\" is neither true nor false",
            ),
        ] {
            let error = of_directive(value).unwrap_err();
            assert_eq!(error.to_string(), expected, "{value}");
            assert_eq!(error.excerpt().unwrap().span(), Span::line(1));
        }
        let error = Options::of(&Directives::default(), &SourceText::new("f", b""), Some("x=1")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid check option \"x\" in the build argument BUILDKIT_DOCKERFILE_CHECK"
        );
        assert_eq!(error.excerpt(), None);
    }

    #[test]
    fn l432_the_build_argument_replaces_the_directive() {
        let file = crate::dockerfile::parse("f", b"# check=skip=all;error=true\nFROM scratch").unwrap();
        let options = |argument| Options::of(&file.directives, &file.source, argument).unwrap();
        let replaced = options(Some("skip=FromAsCasing"));
        assert!(replaced.has(A, &[]) && !replaced.has(B, &[]) && !replaced.error);
        // Given but empty, it still replaces.
        assert_eq!(options(Some("")), Options::default());
        assert!(!options(None).has(A, &[]));
    }

    #[test]
    fn l430_comments_before_an_instruction() {
        let options = Options::default();
        for (comment, [a, b]) in [
            ("check=skip=StageNameCasing // because", [false, true]),
            ("check=skip=StageNameCasing,FromAsCasing", [false, false]),
            ("check=skip=all // why", [false, false]),
            ("Check = skip=all", [false, false]),
            ("check=skip=StageNameCasing, FromAsCasing", [false, true]),
            ("check=foo", [true, true]),
            ("a check=skip=all", [true, true]),
        ] {
            let comments = ["more".to_owned(), comment.to_owned()];
            assert_eq!([A, B].map(|rule| options.has(rule, &comments)), [a, b], "{comment}");
        }
    }
}
