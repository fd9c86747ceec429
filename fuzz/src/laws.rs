//! What holds for every input. A violation is a panic; so is any other panic.
//!
//! Also compiled into the tests, which replay recorded inputs.

use super::diagnostic::render;
use super::dockerfile::{
    Budget, Dockerfile, Escape, Expandable, Expander, Instruction, ParseError, Span, Word, check_frontend, parse,
    parse_trigger,
};

/// Any bytes as a Dockerfile.
pub fn parsing(text: &[u8]) {
    if let Err(error) = check_frontend("Dockerfile", text, None) {
        report_is_printable(&error);
    }
    match parse("Dockerfile", text) {
        Ok(file) => spans_lie_in_order(&file, text),
        Err(error) => report_is_printable(&error),
    }
}

/// Lines `NAME=value` set variables as ENV does, each with the ones before; every line is expanded in every way.
pub fn expansion(text: &str) {
    let budget = small_budget();
    let mut variables: Vec<(&str, String)> = Vec::new();
    for line in text.lines() {
        let lookup = |name: &str| {
            let found = variables.iter().rfind(|(key, _)| *key == name);
            found.map(|(_, value)| value.clone())
        };
        let expander = |escape| Expander::new(escape, &lookup).spending(&budget);
        for escape in [Escape::Backslash, Escape::Backtick] {
            let words = expander(escape).words(&Word::new(line));
            let word = expander(escape).word(&Word::new(line));
            // The budget may end between the two.
            if let (Ok(words), Ok(word)) = (words, word) {
                words_are_those_of_the_text(&words, &word);
            }
            let _ = expander(escape).heredoc(line);
        }
        let assigned = line.split_once('=').and_then(|(name, value)| {
            let value = expander(Escape::Backslash).word(&Word::new(value));
            Some((name, value.ok()?))
        });
        variables.extend(assigned);
    }
}

/// One of a mebibyte: what happens at its end is the same, and comes sooner.
fn small_budget() -> Budget {
    let budget = Budget::default();
    budget.spend(Budget::BYTES - (1 << 20)).expect("a new budget is whole");
    budget
}

fn spans_lie_in_order(file: &Dockerfile, text: &[u8]) {
    let lines = text.split(|b| *b == b'\n').count();
    let mut last = 0;
    let mut check = |span: Span| {
        assert!(
            last < span.first && span.first <= span.last && span.last as usize <= lines,
            "{span:?}"
        );
        last = span.last;
    };
    file.global_args.iter().for_each(|arg| check(arg.span));
    assert!(!file.stages.is_empty());
    for stage in &file.stages {
        check(stage.from.span);
        for statement in &stage.instructions {
            check(statement.span);
            operands_are_usable(&statement.instruction, file.directives.escape);
        }
    }
}

/// Operands expand, and triggers parse, to something or to an error.
fn operands_are_usable(instruction: &Instruction, escape: Escape) {
    let lookup = |name: &str| (!name.starts_with('u')).then(|| name.repeat(2));
    let mut expander = Expander::new(escape, &lookup);
    for expandable in instruction.expandables() {
        let _ = match expandable {
            Expandable::Word(word) => expander.word(word),
            Expandable::Heredoc(body) => expander.heredoc(&body),
        };
    }
    if let Instruction::Onbuild(onbuild) = instruction
        && let Err(error) = parse_trigger(&onbuild.trigger)
    {
        report_is_printable(&error);
    }
}

fn report_is_printable(error: &ParseError) {
    let report = render(error);
    assert!(report.starts_with("error: ") && report.ends_with('\n'));
    let is_plain = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    assert!(report.chars().all(is_plain), "{report:?}");
}

/// The words are what lies between blanks of the text, blanks that quotes protect included.
fn words_are_those_of_the_text(words: &[String], text: &str) {
    assert!(words.iter().all(|word| !word.is_empty()));
    let without_blanks = |text: &str| text.split_whitespace().collect::<String>();
    assert_eq!(without_blanks(&words.concat()), without_blanks(text));
}
