//! The acceptance list: every row of the specifications' checklists names the test that would fail without it.
//!
//! `testdata/acceptance.tsv` has a line `row<TAB>test<TAB>what the test shows` for each; `H` rows are the checklist of
//! layers, snapshots and manifests, `C` rows the list of kaniko's faults. A test is the name of a test function, or
//! `builds/CASE` for a folder of `testdata/builds/`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const LAYER_ROWS: u32 = 80;
const PAIN_ROWS: u32 = 39;

#[test]
fn every_row_is_there_once() {
    let mut counts: BTreeMap<String, usize> = wanted_rows().map(|row| (row, 0)).collect();
    for row in rows() {
        let count = counts
            .get_mut(&row.id)
            .unwrap_or_else(|| panic!("there is no row {}", row.id));
        *count += 1;
    }
    let missing: Vec<_> = counts
        .iter()
        .filter(|(_, count)| **count == 0)
        .map(|(id, _)| id)
        .collect();
    let repeated: Vec<_> = counts
        .iter()
        .filter(|(_, count)| **count > 1)
        .map(|(id, _)| id)
        .collect();
    assert!(
        missing.is_empty() && repeated.is_empty(),
        "missing: {missing:?}, repeated: {repeated:?}"
    );
}

#[test]
fn every_named_test_exists_and_runs() {
    let tests = test_functions();
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/builds");
    let exists = |name: &str| match name.strip_prefix("builds/") {
        Some(case) => cases.join(case).join("Dockerfile").exists(),
        None => tests.contains(name),
    };
    let absent: Vec<_> = rows()
        .into_iter()
        .filter(|row| !exists(&row.test))
        .map(|row| format!("{} {}", row.id, row.test))
        .collect();
    assert!(absent.is_empty(), "no such tests, or ignored ones: {absent:#?}");
}

#[test]
fn every_row_says_what_its_test_shows() {
    for row in rows() {
        assert!(!row.note.trim().is_empty(), "{}: no note", row.id);
    }
}

struct Row {
    id: String,
    test: String,
    note: String,
}

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/acceptance.tsv")).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
            [id, test, note] => Row {
                id: id.to_owned(),
                test: test.to_owned(),
                note: note.to_owned(),
            },
            _ => panic!("not three columns: {line:?}"),
        })
        .collect()
}

fn wanted_rows() -> impl Iterator<Item = String> {
    let layers = (1..=LAYER_ROWS).map(|number| format!("H{number}"));
    layers.chain((1..=PAIN_ROWS).map(|number| format!("C{number}")))
}

/// Names of the functions below a test attribute that no ignore attribute disables, in `src/` and `tests/`.
fn test_functions() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["src", "tests"]
        .iter()
        .flat_map(|folder| walkdir::WalkDir::new(root.join(folder)).into_iter().flatten());
    let sources = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "rs"));
    sources
        .flat_map(|file| tests_of(&std::fs::read_to_string(file.path()).unwrap()))
        .collect()
}

fn tests_of(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut is_test, mut is_ignored) = (false, false);
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[") || line.starts_with("//") || line.is_empty() {
            is_test |= line.starts_with("#[test]");
            is_ignored |= line.starts_with("#[ignore");
            continue;
        }
        let name = line.strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next());
        if let Some(name) = name.filter(|_| is_test && !is_ignored) {
            names.push(name.to_owned());
        }
        (is_test, is_ignored) = (false, false);
    }
    names
}

#[test]
fn a_disabled_test_does_not_count() {
    let source = "#[test]\nfn runs() {}\n#[test]\n#[ignore]\nfn sleeps() {}\nfn helper() {}\n    /// Doc.\n    #[test]\n    fn inner() {}\n";
    assert_eq!(tests_of(source), ["runs", "inner"]);
}
