//! Files, directives and logical lines: rows 1 to 36. Directives have their tables beside their code.

use super::{parsed, refused, statements};

/// `first..last text` of each instruction of the first stage.
fn lines(text: &str) -> Vec<String> {
    let line = |statement: super::Statement| {
        let span = statement.span;
        format!("{}..{} {}", span.first, span.last, statement.text)
    };
    statements(text).into_iter().map(line).collect()
}

#[test]
fn l1_l2_byte_order_marks() {
    assert_eq!(parsed("\u{feff}FROM a\n").stages[0].from.value.image.as_written(), "a");
    let directives = parsed("\u{feff}# syntax=s\n# escape=`\nFROM a\n").directives;
    assert_eq!(directives.syntax.unwrap().value, "s");
    assert_eq!(directives.escape.token(), '`');
    assert_eq!(lines("FROM a\nRUN \u{feff}x"), ["2..2 RUN \u{feff}x"]);
    assert!(refused("FROM a\n\u{feff}RUN x").contains("unknown instruction: \u{feff}RUN"));
}

#[test]
fn l3_carriage_returns_before_line_feeds_do_not_count() {
    let text =
        "# syntax=a\nARG x\nFROM a\nRUN a \\\n  b\n# c\n\nENV a=b \\\n\n c=d\nCOPY <<E /\nbody\nE\nCMD [\"x\"]\n";
    let (unix, dos) = (parsed(text), parsed(&text.replace('\n', "\r\n")));
    assert_eq!(unix.directives, dos.directives);
    assert_eq!(unix.global_args, dos.global_args);
    let without_bodies = |file: &super::Dockerfile| format!("{:?}", file.stages).replace("body\\r\\n", "body\\n");
    assert_eq!(without_bodies(&unix), without_bodies(&dos));
}

#[test]
fn l4_l7_files_that_are_no_dockerfiles() {
    let long = "x".repeat(65_535);
    for (row, text, problem) in [
        (
            4,
            format!("FROM a\nRUN {long}"),
            "dockerfile line greater than max allowed size of 65535",
        ),
        (
            4,
            format!("FROM a\n# {long}\n"),
            "dockerfile line greater than max allowed size of 65535",
        ),
        (
            4,
            format!("FROM a\nRUN <<E\n{long}\nE\n"),
            "dockerfile line greater than max allowed size of 65535",
        ),
        (5, String::new(), "the Dockerfile cannot be empty"),
        (6, "# a\n\n  # b\n".to_owned(), "file with no instructions"),
        (6, " \t\n\n".to_owned(), "file with no instructions"),
        (7, "ARG x=y\n".to_owned(), "dockerfile contains no stages to build"),
    ] {
        let report = refused(&text);
        assert!(report.contains(problem), "row {row}: {report}");
        assert!(report.contains("  Dockerfile:"), "row {row}: no place: {report}");
    }
    let fits = format!("FROM a\nRUN {}\n", &long[..65_530]);
    assert_eq!(statements(&fits).len(), 1);
}

#[test]
fn l10_escape_decides_what_continues() {
    let text = "# escape=`\nFROM a\nWORKDIR C:\\\nRUN a `\nb\n";
    assert_eq!(lines(text), ["3..3 WORKDIR C:\\", "4..5 RUN a b"]);
}

#[test]
fn l23_l35_logical_lines() {
    let table: &[(u32, &str, &[&str])] = &[
        (23, " \t RUN a\n\t# c\n  RUN b", &["2..2 RUN a", "4..4 RUN b"]),
        (23, "\u{a0}RUN a", &["2..2 RUN a"]),
        (24, "run a\nRun a\nRUN a", &["2..2 run a", "3..3 Run a", "4..4 RUN a"]),
        (25, "RUN a # b", &["2..2 RUN a # b"]),
        (26, "RUN a \\\n# c\n  # d\nb", &["2..5 RUN a b"]),
        (27, "# a \\\nRUN b", &["3..3 RUN b"]),
        (27, "RUN a \\\n# c \\\nb", &["2..4 RUN a b"]),
        (28, "RUN a \\\n  b", &["2..3 RUN a   b"]),
        (29, "RUN echo hello\\\nworld", &["2..3 RUN echo helloworld"]),
        (30, "RUN a \\ \t\nb", &["2..3 RUN a b"]),
        (31, "RUN a \\\\\nRUN b", &["2..2 RUN a \\\\", "3..3 RUN b"]),
        (32, "RUN a \\\\\\\nRUN b", &["2..2 RUN a \\\\\\", "3..3 RUN b"]),
        (33, "RUN a \\\n\\\n  \\ \nb", &["2..5 RUN a   b"]),
        (34, "RUN a \\\n\n \t\nb", &["2..5 RUN a b"]),
        (35, "RUN a \\", &["2..2 RUN a "]),
        (35, "RUN a \\\n", &["2..2 RUN a "]),
    ];
    for (row, text, expected) in table {
        assert_eq!(lines(&format!("FROM a\n{text}")), *expected, "row {row}: {text:?}");
    }
    // The keyword's case does not matter for what it means.
    let meanings: Vec<_> = statements("FROM a\nrun a\nRun a\nRUN a")
        .into_iter()
        .map(|s| s.instruction)
        .collect();
    assert!(meanings.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn l36_errors_show_all_lines_of_an_instruction() {
    let report = refused("FROM a\nCOPY \\\n  # c\n  only\nRUN x\n");
    let expected =
        "  Dockerfile:2\n      1 | FROM a\n  >>> 2 | COPY \\\n  >>> 3 |   # c\n  >>> 4 |   only\n      5 | RUN x\n";
    assert!(report.contains(expected), "{report}");
}
