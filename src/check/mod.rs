//! Build checks: what is legal in a Dockerfile and yet probably not meant. Pure.
//!
//! ```text
//! text ─attempt─▶ written()   what the text alone says, up to a mistake
//!      ─parse──▶  file()      what the whole file says: names of stages, arguments of FROM
//!      ─outline─▶ stages()    what instructions say with their variables; in a build those of needed stages, and with
//!                             the configs of the base images
//! ```
//!
//! A rule is a small function that says what it found; [`Rule`] is the table of them, [`Options`] says which are in
//! force. Rules and texts are BuildKit's. Nothing here stops at a mistake: whoever plans the build reports it.
//!
//! Without the config of a base image (`rbuild check` pulls nothing) a variable may be one that the image sets. Then
//! it is undefined only if the file speaks against that: it is declared elsewhere in it, nearly the same name is set,
//! or it is not written in capitals.

mod copy;
mod finding;
mod from;
mod instruction;
mod names;
mod options;
mod rule;
mod stage;
#[cfg(test)]
mod tests;
mod written;

pub use finding::Finding;
use finding::Findings;
pub use options::{BUILD_ARGUMENT, OptionProblem, Options, OptionsError, Policy};
pub use rule::{Rule, Status};

use crate::context::IgnorePatterns;
use crate::diagnostic::Diagnostic;
use crate::dockerfile::{Attempt, Dockerfile, Excerpt};
use crate::plan::{BaseConfigs, Outline, PlanError, PlanOptions, Scope};

/// A file with what is known around it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The file.
    pub file: &'a Dockerfile,
    /// The same with its names resolved.
    pub outline: &'a Outline,
    /// The configs of base images, those that were fetched.
    pub configs: &'a BaseConfigs,
    /// What the ignore file of the context hides, if it has one.
    pub ignore: Option<&'a IgnorePatterns>,
}

/// What the text alone says, as far as it could be read.
#[must_use]
pub fn written(file: &Attempt, options: &Options) -> Vec<Finding> {
    let mut findings = Findings::new(&file.source, options);
    written::of_instructions(file, &mut findings);
    findings.into_sorted()
}

/// What the whole file says, whether its stages are needed or not.
#[must_use]
pub fn file(file: &Dockerfile, plan_options: &PlanOptions, options: &Options) -> Vec<Finding> {
    let mut findings = Findings::new(&file.source, options);
    written::of_file(file, &mut findings);
    from::of_file(file, plan_options, &mut findings);
    findings.into_sorted()
}

/// What the instructions of the stages in `scope` say.
///
/// # Errors
/// Triggers of ONBUILD that the planner refuses as well.
pub fn stages(subject: &Subject<'_>, scope: Scope, options: &Options) -> Result<Vec<Finding>, PlanError> {
    let stages = subject.outline.stages(scope, subject.configs)?;
    let mut findings = Findings::new(&subject.file.source, options);
    stage::of_stages(subject, &stages, &mut findings);
    Ok(findings.into_sorted())
}

/// There are findings, and they count as errors.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("lint violation found for rules: {}", names(rules))]
pub struct Violation {
    rules: Vec<Rule>,
    first: Box<Excerpt>,
}

impl Violation {
    /// The violation that `findings` are, if there are any.
    #[must_use]
    pub fn of(findings: &[Finding]) -> Option<Self> {
        let first = findings.iter().min_by_key(|finding| finding.line())?;
        let mut rules: Vec<Rule> = findings.iter().map(|finding| finding.rule).collect();
        rules.sort_unstable();
        rules.dedup();
        Some(Self {
            rules,
            first: Box::new(first.excerpt.clone()),
        })
    }
}

fn names(rules: &[Rule]) -> String {
    let names: Vec<&str> = rules.iter().map(|rule| rule.name()).collect();
    names.join(", ")
}

impl Diagnostic for Violation {
    fn excerpt(&self) -> Option<&Excerpt> {
        Some(&self.first)
    }
}
