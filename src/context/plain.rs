//! The ignore algorithm once more, as plainly as it can be said, to judge the real one by.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::{IgnoreFile, IgnorePatterns};
use crate::rootfs::RootfsPath;

/// A cleaned pattern and whether it re-includes.
#[derive(Clone, Debug)]
struct Rule {
    includes: bool,
    pattern: String,
}

/// Whether `path` is excluded: every entry from the first directory down is judged with one bit for each rule.
fn is_excluded(rules: &[Rule], path: &str) -> bool {
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    let mut parent = vec![false; rules.len()];
    let mut matched = false;
    for entry in ends.map(|end| &path[..end]) {
        let mut bits = vec![false; rules.len()];
        matched = false;
        for (number, rule) in rules.iter().enumerate() {
            let could_change = rule.includes == matched;
            if parent[number] || (could_change && matches(&rule.pattern, entry)) {
                bits[number] = true;
                matched = !rule.includes;
            }
        }
        parent = bits;
    }
    matched
}

/// A pattern is a regular expression, except that those with stars only at one end are compared as texts.
fn matches(pattern: &str, path: &str) -> bool {
    let is_text = |text: &str| !text.contains(['*', '?', '[', ']', '\\']);
    match (pattern.strip_prefix("**"), pattern.strip_suffix("**")) {
        _ if is_text(pattern) => path == pattern,
        (Some(rest), _) if is_text(rest) => {
            path.ends_with(rest) || rest.strip_prefix('/').is_some_and(|rest| path == rest)
        }
        (_, Some(start)) if is_text(start) => path.starts_with(start),
        _ => {
            let path: Vec<char> = path.chars().collect();
            follows(&pattern.chars().collect::<Vec<_>>(), &path)
        }
    }
}

/// Whether all of `path` is what all of `pattern` says.
fn follows(pattern: &[char], path: &[char]) -> bool {
    let one = |rest: &[char], fits: bool| fits && follows(rest, &path[1..]);
    let head = path.first();
    match pattern {
        [] => path.is_empty(),
        ['*', '*'] | ['*', '*', '/'] => true,
        ['*', '*', '/', rest @ ..] | ['*', '*', rest @ ..] => {
            let below = path.iter().enumerate().filter(|(_, c)| **c == '/');
            follows(rest, path) || below.into_iter().any(|(slash, _)| follows(rest, &path[slash + 1..]))
        }
        ['*', rest @ ..] => follows(rest, path) || one(pattern, head.is_some_and(|c| *c != '/')),
        ['?', rest @ ..] => one(rest, head.is_some_and(|c| *c != '/')),
        ['\\', literal, rest @ ..] => one(rest, head == Some(literal)),
        ['[', '^', member, ']', rest @ ..] => one(rest, head.is_some_and(|c| c != member)),
        ['[', low, '-', high, ']', rest @ ..] => one(rest, head.is_some_and(|c| (low..=high).contains(&c))),
        ['[', first, second, ']', rest @ ..] => one(rest, head.is_some_and(|c| c == first || c == second)),
        ['[', member, ']', rest @ ..] => one(rest, head == Some(member)),
        [literal, rest @ ..] => one(rest, head == Some(literal)),
    }
}

fn compile(rules: &[Rule]) -> IgnorePatterns {
    let mut text = String::new();
    for rule in rules {
        let _ = writeln!(text, "{}{}", if rule.includes { "!" } else { "" }, rule.pattern);
    }
    IgnoreFile::parse("ignore", text.as_bytes()).unwrap().patterns
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let component = proptest::sample::select(vec![
        "a", "b", "c", "ab", "a.b", "*", "*", "**", "**", "a*", "*b", "?", "a?", "[ab]", "[a-c]", "[^a]", "**a", "a**",
        "***", "\\a", "\\*", "*.b",
    ]);
    let pattern = proptest::collection::vec(component, 1..4).prop_map(|components| components.join("/"));
    let rule = (any::<bool>(), pattern).prop_map(|(includes, pattern)| Rule { includes, pattern });
    proptest::collection::vec(rule, 0..6)
}

fn paths() -> impl Strategy<Value = String> {
    let name = proptest::sample::select(vec!["a", "b", "c", "ab", "a.b", "aa", "*", "é"]);
    proptest::collection::vec(name, 1..6).prop_map(|names| names.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn l344_l349_ignore_rules_decide_as_the_plain_algorithm_does(rules in rules(), path in paths()) {
        let judgement = compile(&rules).judge_path(&RootfsPath::parse(path.as_bytes()).unwrap());
        prop_assert_eq!(judgement.is_excluded(), is_excluded(&rules, &path));
    }

    /// What allows a walk to leave out a directory that is excluded.
    #[test]
    fn nothing_is_included_where_nothing_can_be(rules in rules(), path in paths()) {
        let patterns = compile(&rules);
        let names: Vec<&str> = path.split('/').collect();
        for depth in 1..names.len() {
            let above = names[..depth].join("/");
            if is_excluded(&rules, &above) && !patterns.may_include_below(above.as_bytes()) {
                prop_assert!(is_excluded(&rules, &path), "{} is included below {}", path, above);
            }
        }
    }
}

#[test]
fn the_plain_algorithm_knows_the_examples() {
    let exclude = |pattern: &str| Rule {
        includes: false,
        pattern: pattern.to_owned(),
    };
    let include = |pattern: &str| Rule {
        includes: true,
        pattern: pattern.to_owned(),
    };
    assert!(is_excluded(&[exclude("foo/x"), include("foo")], "foo/x"));
    assert!(!is_excluded(&[exclude("dir"), include("dir/keep")], "dir/keep/x"));
    assert!(is_excluded(&[exclude("dir"), include("dir/keep")], "dir/other"));
    assert!(is_excluded(&[exclude("**/x")], "x") && is_excluded(&[exclude("x/**")], "x/y"));
    assert!(!is_excluded(&[exclude("x/**")], "x"));
}
