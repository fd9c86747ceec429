//! The acceptance list: every row of the specifications' checklists names the test that would fail without it.
//!
//! `testdata/acceptance.tsv` has a line `row<TAB>test<TAB>note` for each test of a row; `H` rows are the checklist of
//! layers, snapshots and manifests, `C` rows the list of kaniko's faults. The files of `testdata/language/` hold the
//! `L` rows, those of the Dockerfile language, one file for each section of their checklist. A test is the name of a
//! test function, or `builds/CASE` for a folder of `testdata/builds/`; `-` is a row without one, with the reason.
//!
//! `testdata/compat.tsv` does the same for the surface of the kaniko executor. Its rows have names: a flag, a variable as
//! `$NAME`, or the section and the rule. It lists all names of flags, and knows a third kind of row, `notice`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

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
        .chain(compat().rows)
        .filter(|row| row.test != "-" && row.test != "notice" && !exists(&row.test))
        .map(|row| format!("{} {}", row.id, row.test))
        .collect();
    assert!(absent.is_empty(), "no such tests, or ignored ones: {absent:#?}");
}

struct Row {
    id: String,
    test: String,
    note: String,
}

/// The surface of the kaniko executor.
struct Compat {
    rows: Vec<Row>,
    /// Its flags, in every spelling.
    flags: BTreeSet<String>,
    /// Flags of rbuild's own.
    ours: BTreeSet<String>,
}

fn compat() -> Compat {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/compat.tsv");
    let text = std::fs::read_to_string(&file).unwrap();
    let listed = |name: &str| -> BTreeSet<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(name));
        lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
    };
    Compat {
        rows: rows_of(&file),
        flags: listed("# flags:"),
        ours: listed("# ours:"),
    }
}

/// Rows of the kaniko executor's surface that are not flags, by section: a row that is forgotten is missed here.
const COMPAT_ROWS: [(&str, usize); 13] = [
    ("1.", 10),
    ("2.", 1),
    ("3.", 6),
    ("$", 32),
    ("4.", 1),
    ("5.", 10),
    ("6.1.", 10),
    ("6.2.", 8),
    ("6.3.", 7),
    ("6.4.", 6),
    ("7.", 10),
    ("8.", 1),
    ("9.", 7),
];

#[test]
fn every_row_of_kanikos_surface_is_there() {
    let Compat { rows, flags, .. } = compat();
    let ids: BTreeSet<_> = rows.iter().map(|row| row.id.clone()).collect();
    let with_rows: BTreeSet<_> = ids.iter().filter(|id| id.starts_with("--")).cloned().collect();
    assert_eq!(with_rows, flags, "every flag has a row, and every row a flag");
    for (section, expected) in COMPAT_ROWS {
        let of_section: Vec<_> = ids.iter().filter(|id| id.starts_with(section)).collect();
        assert_eq!(of_section.len(), expected, "{section}: {of_section:#?}");
    }
    let dockerfile = ids.iter().filter(|id| id.starts_with("11.")).count();
    assert_eq!(dockerfile, 9);
    let without_reason = rows.iter().filter(|row| row.test == "-" && row.note.is_empty());
    assert_eq!(
        without_reason.map(|row| &row.id).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
}

#[test]
fn the_migration_page_knows_every_flag() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migration.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, tables) = page.split_once("## Every flag").unwrap();
    let first_columns = tables
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let words = first_columns.flat_map(|names| names.split(['`', ',', ' ']));
    let named: BTreeSet<_> = words.filter(|word| word.starts_with("--")).map(str::to_owned).collect();
    assert_eq!(named, compat().flags);
}

/// Spellings that do not stand by themselves in the help: other names of flags, and a flag that nobody should use.
const HIDDEN: [&str; 6] = [
    "--bucket",
    "--customPlatform",
    "--platform",
    "--snapshotMode",
    "--tarPath",
    "--whitelist-var-run",
];

#[test]
fn help_and_kanikos_surface_agree() {
    let Compat { flags, ours, .. } = compat();
    let help = Command::new(env!("CARGO_BIN_EXE_rbuild"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    // Flags begin with a dash; their explanations stand on lines of their own.
    let headings = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let words = headings.flat_map(|line| line.split([' ', ',', '[', ']', '=']));
    let shown: BTreeSet<_> = words.filter(|word| word.starts_with("--")).map(str::to_owned).collect();
    let mut expected: BTreeSet<_> = flags.union(&ours).cloned().collect();
    expected.retain(|flag| !HIDDEN.contains(&flag.as_str()));
    assert_eq!(shown, expected);
    // What help does not show is tried with all the others.
    let tried = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli.rs");
    let tried = std::fs::read_to_string(tried).unwrap();
    let untried = flags
        .union(&ours)
        .filter(|flag| !["--help", "--version"].contains(&flag.as_str()));
    let untried: Vec<_> = untried.filter(|flag| !tried.contains(&format!("\"{flag}\""))).collect();
    assert!(untried.is_empty(), "{untried:?}");
}

/// A value that each flag and variable without effect takes.
fn value_of(id: &str) -> &'static str {
    match id {
        "--snapshot-mode" | "--snapshotMode" => "redo",
        "$KANIKO_TELEMETRY_ENDPOINT" => "https://telemetry.example",
        "$KANIKO_IGNORE_ASSERTIONS" => "a,b",
        "$SNAPSHOT_TIMEOUT_DURATION" => "2h",
        _ => "true",
    }
}

#[test]
fn what_lost_its_meaning_is_accepted_with_one_line() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    let rows = compat().rows;
    let notices: Vec<_> = rows.iter().filter(|row| row.test == "notice").collect();
    assert!(!notices.is_empty());
    for Row { id, .. } in notices {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rbuild"));
        command.current_dir(place.path()).env_clear().env("HOME", place.path());
        // Looks for everything, and builds nothing.
        command.args(["--context=.", "--no-push", "--dryrun", "--store=store"]);
        match id.strip_prefix('$') {
            Some(variable) => command.env(variable, value_of(id)),
            None => command.arg(format!("{id}={}", value_of(id))),
        };
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{id}: {said}");
        let lines: Vec<_> = said.lines().collect();
        let is_told = |line: &&str| line.contains(" is accepted for compatibility and has no effect: ");
        assert!(lines.len() == 1 && lines.iter().all(is_told), "{id}: {said}");
    }
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
            note: columns.next().unwrap_or_default().to_owned(),
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
