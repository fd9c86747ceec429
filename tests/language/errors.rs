//! What errors show: rows 440 to 444, and how many of them are recorded.

use std::path::Path;

use super::{options, plan_with, refused};

#[test]
fn l440_l441_file_line_and_marked_lines() {
    let report = refused("FROM a\nRUN x\nENV \\\n  a=b \\\n  c\nRUN y\n");
    let expected = "error: dockerfile parse error on line 3: Syntax error - can't find = in \"c\". Must be of the form: name=value\n  \
                    Dockerfile:3\n      2 | RUN x\n  >>> 3 | ENV \\\n  >>> 4 |   a=b \\\n  >>> 5 |   c\n      6 | RUN y\n\
                    hint: quote a value that has blanks: NAME=\"a value\"\n";
    assert_eq!(report, expected);
    let heredoc = refused("FROM a\nCOPY --x <<E /f\nbody\nE\n");
    assert!(
        heredoc.contains("  >>> 2 | COPY --x <<E /f\n  >>> 3 | body\n  >>> 4 | E\n"),
        "{heredoc}"
    );
}

#[test]
fn l442_near_misses_get_a_suggestion() {
    for (what, text, suggestion) in [
        ("instruction", "FROM a\nCOYP a b", Some("COPY")),
        ("two edits", "FROM a\nENTRYPIONT a", Some("ENTRYPOINT")),
        ("three edits", "FROM a\nENTRYABCNT a", None),
        ("flag", "FROM a\nCOPY --chwon=1 a b", Some("--chown")),
        ("flag, three edits", "FROM a\nCOPY --abcdn=1 a b", None),
        (
            "mount type",
            "FROM a\nRUN --mount=type=cahce,target=/x y",
            Some("cache"),
        ),
        (
            "mount key",
            "FROM a\nRUN --mount=type=cache,traget=/x y",
            Some("target"),
        ),
        (
            "stage of COPY",
            "FROM a AS build\nFROM a\nCOPY --from=Biuld / /",
            Some("build"),
        ),
        ("stage of FROM", "FROM a AS build\nFROM BUILD", Some("build")),
        ("variable", "FROM a\nARG VERSION=1\nENV V=${VERSOIN:?}", Some("VERSION")),
        ("global variable", "ARG VERSION=1\nFROM a:${VERSOIN:?}", Some("VERSION")),
        ("variable unlike any", "FROM a\nENV V=${QQQQ:?}", None),
    ] {
        let report = plan_with(text, &options(&[])).unwrap_err();
        let found = report
            .split_once("did you mean ")
            .and_then(|(_, rest)| rest.split_once('?'));
        assert_eq!(found.map(|(word, _)| word), suggestion, "{what}: {report}");
    }
    let target = rbuild::plan::PlanOptions {
        targets: vec!["biuld".to_owned()],
        ..options(&[])
    };
    let report = plan_with("FROM a AS build", &target).unwrap_err();
    assert!(report.contains("did you mean build?"), "{report}");
}

#[test]
fn l444_errors_of_triggers_point_to_the_from_line() {
    for text in ["FROM onbuild\nRUN x", "# c\n\nFROM onbuild AS y\nRUN x"] {
        let report = plan_with(text, &options(&[])).unwrap_err();
        let line = text.lines().position(|line| line.starts_with("FROM")).unwrap() + 1;
        assert!(report.contains(&format!("\n  Dockerfile:{line}\n")), "{report}");
        assert!(report.contains(&format!("  >>> {line} | FROM onbuild")), "{report}");
        assert!(
            report.contains("ENV broken") && report.contains("ENV must have two arguments"),
            "{report}"
        );
    }
}

/// The acceptance list calls for sixty recorded reports; a deleted one must not go unnoticed.
#[test]
fn at_least_sixty_reports_are_recorded() {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let recorded = |folder: &str, file: &str| {
        let cases = std::fs::read_dir(testdata.join(folder)).unwrap();
        let reports = cases.filter_map(|case| std::fs::read_to_string(case.unwrap().path().join(file)).ok());
        reports.filter(|report| report.contains("error: ")).count()
    };
    let count = recorded("dockerfile", "error") + recorded("plan", "error") + recorded("cli", "stderr");
    assert!(count >= 80, "only {count} recorded reports");
    // Those about the text of a Dockerfile show it.
    for folder in ["dockerfile", "plan"] {
        for case in std::fs::read_dir(testdata.join(folder)).unwrap() {
            let case = case.unwrap().path();
            let report = std::fs::read_to_string(case.join("error")).unwrap_or_default();
            let is_of_options = case.join("options").exists() || case.ends_with("error-empty");
            assert!(
                report.is_empty() || is_of_options || report.contains("  >>> "),
                "{}: no line is marked",
                case.display()
            );
        }
    }
}
