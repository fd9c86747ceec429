//! Looks at a Dockerfile and builds nothing: `rbuild check`, `outline` and `targets`, and `--call`. What is found goes to
//! standard output, as text or as JSON; a mistake in the file goes to standard error.

mod json;
mod table;

use std::fs;

use super::display::{self, Palette, Settings};
use super::options::Inspected;
use super::value::{Call, CallFormat, Method};
use super::{print, report};
use crate::build::{BuildError, Problem};
use crate::check::{self, BUILD_ARGUMENT, Finding, Options, Subject, Violation};
use crate::context::IgnoreFile;
use crate::describe::{parameters, targets};
use crate::diagnostic::{Diagnostic as _, Exit};
use crate::dockerfile::{self, Attempt};
use crate::plan::{self, BaseConfigs, PlanOptions, Scope};
use crate::rootfs::Rootfs;

/// Answers a call.
pub(super) fn run(call: Call, inspected: &Inspected, palette: Palette, errors: Settings) -> Exit {
    let answer = match call.method {
        Method::Check => return show_check(call.format, &check_file(inspected), palette, errors),
        Method::Outline => show_outline(call.format, inspected),
        Method::Targets => show_targets(call.format, inspected),
    };
    match answer {
        Ok(text) => print(&text),
        Err(error) => {
            display::print_error(errors, &error);
            error.exit()
        }
    }
}

fn show_targets(format: CallFormat, inspected: &Inspected) -> Result<String, BuildError> {
    let file = attempt(inspected)?.complete()?;
    let targets = targets(&file);
    Ok(match format {
        CallFormat::Text => table::of_targets(&targets),
        CallFormat::Json => json::of_targets(&targets, &file.source),
    })
}

fn show_outline(format: CallFormat, inspected: &Inspected) -> Result<String, BuildError> {
    let file = attempt(inspected)?.complete()?;
    let outline = plan::outline(&file, &inspected.plan)?;
    let parameters = parameters(&file, &outline)?;
    Ok(match format {
        CallFormat::Text => table::of_parameters(&parameters),
        CallFormat::Json => json::of_parameters(&parameters, &file.source),
    })
}

fn show_check(format: CallFormat, checked: &Checked, palette: Palette, errors: Settings) -> Exit {
    let text = match format {
        CallFormat::Text => as_text(checked, palette),
        CallFormat::Json => json::of_check(&checked.findings, checked.error.as_ref()),
    };
    let printed = print(&text);
    if let (CallFormat::Text, Some(error)) = (format, &checked.error) {
        display::print_error(errors, error);
    }
    match (&checked.error, checked.findings.is_empty()) {
        (None, true) => printed,
        _ => Exit::Failure,
    }
}

/// What checks found, and what kept them from finding more.
struct Checked {
    findings: Vec<Finding>,
    error: Option<BuildError>,
}

/// Checks all stages, or those that the target needs if there is one.
fn check_file(inspected: &Inspected) -> Checked {
    let mut findings = Vec::new();
    let error = collect(inspected, &mut findings).err();
    findings.sort_by_key(|finding: &Finding| (finding.line(), finding.rule));
    Checked { findings, error }
}

fn collect(inspected: &Inspected, findings: &mut Vec<Finding>) -> Result<(), BuildError> {
    let attempt = attempt(inspected)?;
    let options = options_of(&attempt, &inspected.plan)?.under(inspected.policy);
    findings.extend(check::written(&attempt, &options));
    let file = attempt.complete()?;
    findings.extend(check::file(&file, &inspected.plan, &options));
    let outline = plan::outline(&file, &inspected.plan)?;
    let ignore = ignore_file(inspected)?;
    let subject = Subject {
        file: &file,
        outline: &outline,
        configs: &BaseConfigs::new(),
        ignore: ignore.as_ref().map(|file| &file.patterns),
    };
    let scope = match inspected.plan.targets.is_empty() {
        true => Scope::File,
        false => Scope::Target,
    };
    findings.extend(check::stages(&subject, scope, &options)?);
    match Violation::of(findings).filter(|_| options.error) {
        Some(violation) => Err(violation.into()),
        None => Ok(()),
    }
}

fn attempt(inspected: &Inspected) -> Result<Attempt, BuildError> {
    let path = &inspected.dockerfile;
    let text = fs::read(path).map_err(|source| Problem::ReadDockerfile {
        path: path.clone(),
        source,
    })?;
    let syntax = inspected.plan.build_arg("BUILDKIT_SYNTAX");
    dockerfile::check_frontend(&inspected.dockerfile_name, &text, syntax)?;
    Ok(dockerfile::attempt(&inspected.dockerfile_name, &text))
}

fn options_of(attempt: &Attempt, plan: &PlanOptions) -> Result<Options, BuildError> {
    let argument = plan.build_arg(BUILD_ARGUMENT);
    Ok(Options::of(&attempt.directives, &attempt.source, argument)?)
}

fn ignore_file(inspected: &Inspected) -> Result<Option<IgnoreFile>, BuildError> {
    let path = &inspected.context;
    let tree = Rootfs::open(path).map_err(|source| Problem::Context {
        path: path.clone(),
        source,
    })?;
    Ok(IgnoreFile::find(Some(&inspected.dockerfile), &tree)?)
}

fn as_text(checked: &Checked, palette: Palette) -> String {
    let found = checked.findings.iter();
    let mut text: String = found
        .map(|finding| report::render_warning(finding, palette) + "\n\n")
        .collect();
    match (checked.findings.len(), &checked.error) {
        (0, None) => text.push_str("Check complete, no warnings found.\n"),
        (0, Some(_)) => {}
        (1, _) => text.push_str("Check complete, 1 warning has been found!\n"),
        (count, _) => text.push_str(&format!("Check complete, {count} warnings have been found!\n")),
    }
    text
}
