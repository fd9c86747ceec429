//! The acceptance list: every row of the specifications' checklists names the test that would fail without it.
//!
//! `testdata/acceptance.tsv` has a line `row<TAB>test<TAB>note` for each test of a row; `H` rows are the checklist of
//! layers, snapshots and manifests, `C` rows the list of kaniko's faults. The files of `testdata/language/` hold the
//! `L` rows, those of the Dockerfile language, one file for each section of their checklist. A test is the name of a
//! test function, or `builds/CASE` for a folder of `testdata/builds/`; `-` is a row without one, with the reason.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeSet;
use std::path::Path;

const LAYER_ROWS: u32 = 80;
const PAIN_ROWS: u32 = 39;
const LANGUAGE_ROWS: u32 = 444;

/// Rows about what this version does not do; their note says what. A row leaves this list with its test.
const NOT_YET: [&str; 7] = ["L416", "L417", "L418", "L425", "L426", "H69", "H80"];

#[test]
fn every_row_has_a_test() {
    let listed: BTreeSet<String> = rows().into_iter().map(|row| row.id).collect();
    let wanted: BTreeSet<String> = wanted_rows().collect();
    let missing: Vec<_> = wanted.difference(&listed).collect();
    let unknown: Vec<_> = listed.difference(&wanted).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "missing: {missing:?}, unknown: {unknown:?}"
    );
}

#[test]
fn rows_without_a_test_are_those_known() {
    let without: Vec<_> = rows()
        .into_iter()
        .filter(|row| row.test == "-")
        .map(|row| row.id)
        .collect();
    assert_eq!(without, NOT_YET);
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
        .filter(|row| row.test != "-" && !exists(&row.test))
        .map(|row| format!("{} {}", row.id, row.test))
        .collect();
    assert!(absent.is_empty(), "no such tests, or ignored ones: {absent:#?}");
}

struct Row {
    id: String,
    test: String,
}

fn rows() -> Vec<Row> {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let sections = std::fs::read_dir(testdata.join("language")).unwrap();
    let mut files: Vec<_> = sections.map(|section| section.unwrap().path()).collect();
    files.push(testdata.join("acceptance.tsv"));
    files.iter().flat_map(|file| rows_of(file)).collect()
}

fn rows_of(file: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let row = |line: &str| {
        let mut columns = line.split('\t');
        let mut column = || {
            columns
                .next()
                .unwrap_or_else(|| panic!("not two columns: {line:?}"))
                .to_owned()
        };
        Row {
            id: column(),
            test: column(),
        }
    };
    lines.map(row).collect()
}

fn wanted_rows() -> impl Iterator<Item = String> {
    let layers = (1..=LAYER_ROWS).map(|number| format!("H{number}"));
    let pains = (1..=PAIN_ROWS).map(|number| format!("C{number}"));
    let language = (1..=LANGUAGE_ROWS).map(|number| format!("L{number}"));
    layers.chain(pains).chain(language)
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
