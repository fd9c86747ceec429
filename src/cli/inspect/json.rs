//! Answers as JSON. Names and nesting are those of the answers of BuildKit's frontend, so that what reads them reads
//! these.

use serde::Serialize;

use crate::build::BuildError;
use crate::check::Finding;
use crate::describe::{Grant, Parameters, Target};
use crate::diagnostic::Diagnostic as _;
use crate::dockerfile::{SourceText, Span};

/// The lines of a file.
#[derive(Serialize)]
struct Location {
    #[serde(rename = "sourceName")]
    source_name: String,
    ranges: [Range; 1],
}

#[derive(Serialize)]
struct Range {
    start: Position,
    end: Position,
}

#[derive(Serialize)]
struct Position {
    line: u32,
}

impl Location {
    fn new(name: &str, span: Span) -> Self {
        let (start, end) = (Position { line: span.first }, Position { line: span.last });
        Self {
            source_name: name.to_owned(),
            ranges: [Range { start, end }],
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Check<'a> {
    warnings: Vec<Warning<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_error: Option<Mistake>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Warning<'a> {
    rule_name: &'a str,
    description: &'a str,
    detail: &'a str,
    help: &'a str,
    location: Location,
}

#[derive(Serialize)]
struct Mistake {
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<Location>,
}

/// Warnings, and the mistake that ended the check early if there was one.
pub(super) fn of_check(findings: &[Finding], error: Option<&BuildError>) -> String {
    let warnings = findings.iter().map(|finding| Warning {
        rule_name: finding.rule.name(),
        description: finding.rule.description(),
        detail: &finding.message,
        help: finding.rule.advice(),
        location: Location::new(finding.excerpt.name(), finding.excerpt.span()),
    });
    let mistake = |error: &BuildError| Mistake {
        message: error.to_string(),
        location: error
            .excerpt()
            .map(|excerpt| Location::new(excerpt.name(), excerpt.span())),
    };
    pretty(&Check {
        warnings: warnings.collect(),
        build_error: error.map(mistake),
    })
}

#[derive(Serialize)]
struct Outline<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    args: Vec<Arg<'a>>,
    secrets: Vec<Needed<'a>>,
    ssh: Vec<Needed<'a>>,
}

#[derive(Serialize)]
struct Arg<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    location: Location,
}

#[derive(Serialize)]
struct Needed<'a> {
    name: &'a str,
    required: bool,
    location: Location,
}

/// The parameters of a target.
pub(super) fn of_parameters(parameters: &Parameters, source: &SourceText) -> String {
    let args = parameters.args.iter().map(|found| Arg {
        name: &found.name,
        value: found.value.as_deref(),
        description: found.description.as_deref(),
        location: Location::new(source.name(), found.span),
    });
    pretty(&Outline {
        name: parameters.target.as_deref(),
        description: parameters.description.as_deref(),
        args: args.collect(),
        secrets: needed(&parameters.secrets, source),
        ssh: needed(&parameters.ssh, source),
    })
}

fn needed<'a>(grants: &'a [Grant], source: &SourceText) -> Vec<Needed<'a>> {
    let needed = grants.iter().map(|grant| Needed {
        name: &grant.id,
        required: grant.required,
        location: Location::new(source.name(), grant.span),
    });
    needed.collect()
}

#[derive(Serialize)]
struct Targets<'a> {
    targets: Vec<Stage<'a>>,
}

#[derive(Serialize)]
struct Stage<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    default: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    base: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'a str>,
    location: Location,
}

/// The stages of a file.
pub(super) fn of_targets(targets: &[Target], source: &SourceText) -> String {
    let stages = targets.iter().map(|target| Stage {
        name: target.name.as_deref(),
        default: target.is_default,
        description: target.description.as_deref(),
        base: &target.base,
        platform: target.platform.as_deref(),
        location: Location::new(source.name(), target.span),
    });
    pretty(&Targets {
        targets: stages.collect(),
    })
}

fn pretty(answer: &impl Serialize) -> String {
    // Strings, numbers and lists always serialise.
    serde_json::to_string_pretty(answer).unwrap_or_default() + "\n"
}
