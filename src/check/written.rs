//! Rules on what is written: they need nothing but the text, and some not even all of it.

use std::collections::BTreeSet;

use super::finding::{Findings, Place};
use super::options;
use super::rule::Rule;
use crate::dockerfile::{Arg, Attempt, Dockerfile, Instruction, Span, Spelling, StageSource};

/// An instruction of any kind, as far as these rules look at it.
struct Written<'a> {
    span: Span,
    spelling: &'a Spelling,
    what: What<'a>,
}

#[derive(Clone, Copy)]
enum What<'a> {
    From,
    Arg(&'a Arg),
    Maintainer,
    Other,
}

/// What the parser says of each instruction, up to a mistake.
pub(super) fn of_instructions(file: &Attempt, findings: &mut Findings<'_>) {
    for written in in_order(file) {
        let Written { span, spelling, what } = written;
        let place = Place::of(span, spelling);
        if let Some(line) = spelling.empty_continuation {
            let place = Place {
                span: Span::line(line),
                ..place
            };
            findings.add(place, Rule::NoEmptyContinuation, ["Empty continuation line".to_owned()]);
        }
        findings.add(place, Rule::StageNameCasing, stage_name_casing(spelling));
        findings.add(place, Rule::FromAsCasing, from_as_casing(spelling));
        findings.add(place, Rule::MaintainerDeprecated, maintainer_deprecated(what));
        findings.add(
            place,
            Rule::InvalidDefinitionDescription,
            definition_description(spelling, what),
        );
    }
}

/// What can be said when the whole file has been read.
pub(super) fn of_file(file: &Dockerfile, findings: &mut Findings<'_>) {
    let mut names = BTreeSet::new();
    for stage in &file.stages {
        let place = Place::of(stage.from.span, &stage.from.spelling);
        let name = stage.from.value.name.as_deref();
        findings.add(place, Rule::ReservedStageName, name.and_then(reserved_stage_name));
        let seen = name.filter(|name| !names.insert(*name));
        findings.add(place, Rule::DuplicateStageName, seen.map(duplicate_stage_name));
    }
    let majority = Case::of_majority(keywords(&file.stages).map(|(_, spelling)| spelling));
    for (span, spelling) in keywords(&file.stages) {
        let place = Place::of(span, spelling);
        findings.add(
            place,
            Rule::ConsistentInstructionCasing,
            instruction_casing(spelling, majority),
        );
    }
}

fn in_order(file: &Attempt) -> impl Iterator<Item = Written<'_>> {
    let globals = file.global_args.iter().map(|arg| Written {
        span: arg.span,
        spelling: &arg.spelling,
        what: What::Arg(&arg.value),
    });
    globals.chain(file.stages.iter().flat_map(|stage| {
        let from = Written {
            span: stage.from.span,
            spelling: &stage.from.spelling,
            what: What::From,
        };
        let rest = stage.instructions.iter().map(|statement| Written {
            span: statement.span,
            spelling: &statement.spelling,
            what: match &statement.instruction {
                Instruction::Arg(arg) => What::Arg(arg),
                Instruction::Maintainer(_) => What::Maintainer,
                _ => What::Other,
            },
        });
        std::iter::once(from).chain(rest)
    }))
}

/// The keywords of the stages; BuildKit does not count those before the first.
fn keywords(stages: &[StageSource]) -> impl Iterator<Item = (Span, &Spelling)> {
    stages.iter().flat_map(|stage| {
        let rest = stage.instructions.iter();
        let rest = rest.map(|statement| (statement.span, &statement.spelling));
        std::iter::once((stage.from.span, &stage.from.spelling)).chain(rest)
    })
}

fn stage_name_casing(spelling: &Spelling) -> Option<String> {
    let name = &spelling.alias.as_ref()?.name;
    (*name != name.to_lowercase()).then(|| format!("Stage name '{name}' should be lowercase"))
}

/// A FROM in mixed case is another rule's business.
fn from_as_casing(spelling: &Spelling) -> Option<String> {
    let (from, keyword) = (&spelling.keyword, &spelling.alias.as_ref()?.keyword);
    let matches = match Case::of(from) {
        Case::Lower => Case::of(keyword) == Case::Lower,
        Case::Upper => Case::of(keyword) == Case::Upper,
        Case::Mixed => true,
    };
    (!matches).then(|| format!("'{keyword}' and '{from}' keywords' casing do not match"))
}

fn maintainer_deprecated(what: What<'_>) -> Option<String> {
    let text = "Maintainer instruction is deprecated in favor of using label";
    matches!(what, What::Maintainer).then(|| text.to_owned())
}

/// The last comment, unless it is about checks, begins with a name that the instruction defines.
fn definition_description(spelling: &Spelling, what: What<'_>) -> Option<String> {
    let names: Vec<String> = match what {
        What::From => spelling.alias.iter().map(|alias| alias.name.to_lowercase()).collect(),
        What::Arg(arg) => arg.items.iter().map(|item| item.name.clone()).collect(),
        What::Maintainer | What::Other => return None,
    };
    let mut comments = spelling.comments.iter().rev();
    let comment = comments.find(|comment| options::in_comment(comment).is_none())?;
    let first = comment.split(' ').next()?;
    if names.iter().any(|name| name == first) {
        return None;
    }
    let keyword = spelling.keyword.to_uppercase();
    let name = match names.as_slice() {
        [] => return None,
        [name] => name,
        _ => "<arg_key>",
    };
    Some(format!(
        "Comment for {keyword} should follow the format: `# {name} <description>`"
    ))
}

fn reserved_stage_name(name: &str) -> Option<String> {
    matches!(name, "scratch" | "context")
        .then(|| format!("Stage name should not use the same name as reserved stage {name:?}"))
}

fn duplicate_stage_name(name: &str) -> String {
    format!("Duplicate stage name {name:?}, stage names should be unique")
}

/// How a word is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Case {
    Lower,
    Upper,
    Mixed,
}

impl Case {
    fn of(word: &str) -> Self {
        if word == word.to_lowercase() {
            Self::Lower
        } else if word == word.to_uppercase() {
            Self::Upper
        } else {
            Self::Mixed
        }
    }

    /// The case of most keywords; upper case if there are as many of either.
    fn of_majority<'a>(spellings: impl Iterator<Item = &'a Spelling>) -> Self {
        let (mut lower, mut upper) = (0, 0);
        for spelling in spellings {
            match Self::of(&spelling.keyword) {
                Self::Lower => lower += 1,
                Self::Upper => upper += 1,
                Self::Mixed => {}
            }
        }
        if lower > upper { Self::Lower } else { Self::Upper }
    }
}

fn instruction_casing(spelling: &Spelling, majority: Case) -> Option<String> {
    let keyword = &spelling.keyword;
    let name = match majority {
        Case::Lower => "lowercase",
        Case::Upper | Case::Mixed => "uppercase",
    };
    (Case::of(keyword) != majority)
        .then(|| format!("Command '{keyword}' should match the case of the command majority ({name})"))
}
