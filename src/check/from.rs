//! Rules on FROM: its arguments and its platform.

use std::collections::BTreeSet;

use super::finding::{Findings, Place};
use super::names::{self, Expanded};
use super::rule::Rule;
use crate::dockerfile::{Dockerfile, Escape, From, Word, nearest};
use crate::oci::{Platform, Reference};
use crate::plan::{PlanOptions, Variables, default_globals, globals};

/// What every FROM says, needed or not. A file whose global arguments cannot be expanded is left to the planner.
pub(super) fn of_file(file: &Dockerfile, options: &PlanOptions, findings: &mut Findings<'_>) {
    let escape = file.directives.escape;
    if let Ok(defaults) = default_globals(file, options) {
        for stage in &file.stages {
            let place = Place::of(stage.from.span, &stage.from.spelling);
            let message = invalid_default_arg(&stage.from.value.image, &defaults, escape);
            findings.add(place, Rule::InvalidDefaultArgInFrom, message);
        }
    }
    let Ok(globals) = globals(file, options) else {
        return;
    };
    let items = file.global_args.iter().flat_map(|arg| &arg.value.items);
    let declared: BTreeSet<&str> = items.map(|item| item.name.as_str()).collect();
    for stage in &file.stages {
        let place = Place::of(stage.from.span, &stage.from.spelling);
        let from = &stage.from.value;
        for word in std::iter::once(&from.image).chain(&from.platform) {
            let messages = undefined_args(word, &declared, &globals, escape);
            findings.add(place, Rule::UndefinedArgInFrom, messages);
        }
        if let Some(platform) = &from.platform {
            let expanded = names::expand(platform, &globals, escape);
            let redundant = redundant_target_platform(platform, &expanded, &globals);
            findings.add(place, Rule::RedundantTargetPlatform, redundant);
            let constant = constant_platform(from, &expanded);
            findings.add(place, Rule::FromPlatformFlagConstDisallowed, constant);
        }
    }
}

fn invalid_default_arg(image: &Word, defaults: &Variables, escape: Escape) -> Option<String> {
    let name = names::expand(image, defaults, escape).text?;
    let written = image.as_written();
    name.parse::<Reference>()
        .is_err()
        .then(|| format!("Default value for ARG {written} results in empty or invalid base image name"))
}

fn undefined_args(word: &Word, declared: &BTreeSet<&str>, globals: &Variables, escape: Escape) -> Vec<String> {
    let used = names::expand(word, globals, escape).names;
    let unknown = used.unset.iter().filter(|name| !declared.contains(name.as_str()));
    let message = |name: &String| {
        let candidates = globals.names().chain(declared.iter().copied());
        let suggestion = nearest(name, candidates).map(|near| format!(" (did you mean {near}?)"));
        format!(
            "FROM argument '{name}' is not declared{}",
            suggestion.unwrap_or_default()
        )
    };
    unknown.map(message).collect()
}

/// Nothing but the variable itself: its value may still differ where another one is part of the word.
fn redundant_target_platform(written: &Word, expanded: &Expanded, globals: &Variables) -> Option<String> {
    const NAME: &str = "TARGETPLATFORM";
    let only = expanded.names.unset.is_empty() && expanded.names.set.iter().map(String::as_str).eq([NAME]);
    if !only || expanded.text.as_deref() != globals.get(NAME) {
        return None;
    }
    let written = written.as_written();
    Some(format!(
        "Setting platform to predefined {written} in FROM is redundant as this is the default behavior"
    ))
}

/// A stage that says its platform in its name is meant for it.
fn constant_platform(from: &From, expanded: &Expanded) -> Option<String> {
    if !expanded.names.set.is_empty() || !expanded.names.unset.is_empty() {
        return None;
    }
    let text = expanded.text.as_deref()?;
    let platform: Platform = text.parse().ok()?;
    let name = from.name.as_deref().unwrap_or_default();
    let says_so = name.contains(&platform.os) || name.contains(&platform.architecture);
    (!says_so).then(|| format!("FROM --platform flag should not use constant value {text:?}"))
}
