//! Heredocs: rows 71 to 99. What the steps are given here, the builds `run-heredoc-*` and `c19-copy-heredocs` execute.

use rbuild::dockerfile::{Instruction, RunCommand};
use rbuild::plan::{CopySource, CopyStep, Step};

use super::{last_run, planned, refused, statements, target};

/// The last COPY or ADD after `FROM a` and `ARG V=value`.
fn copy(lines: &str) -> CopyStep {
    let plan = planned(&format!("FROM a\nARG V=value\n{lines}"));
    match target(&plan).steps.last().unwrap().step.clone() {
        Step::Copy(copy) => copy,
        other => panic!("{lines:?}: {other:?}"),
    }
}

/// `path` or `name=content` of each source.
fn sources(lines: &str) -> Vec<String> {
    let source = |source| match source {
        CopySource::Path(path) => path,
        CopySource::Heredoc { name, content } => format!("{name}={content}"),
        other => panic!("{lines:?}: {other:?}"),
    };
    copy(lines).sources.into_iter().map(source).collect()
}

/// Program and arguments of the last RUN, and its script.
fn run(lines: &str) -> (Vec<String>, Option<(String, String)>) {
    let plan = planned(&format!("FROM a\n{lines}"));
    let run = last_run(&plan).clone();
    (run.argv, run.script.map(|script| (script.path, script.content)))
}

#[test]
fn l72_l81_files_in_copy_and_add() {
    let table: &[(u32, &str, &[&str])] = &[
        (72, "COPY <<EOF /f\na\n\nb\nEOF\n", &["EOF=a\n\nb\n"]),
        (73, "COPY <<A <<B /d/\n1\nA\n2\nB\n", &["A=1\n", "B=2\n"]),
        (74, "COPY <<A <<B /d\n1\nA\n2\nB\n", &["A=1\n", "B=2\n"]),
        (75, "COPY x <<E y /d/\n1\nE\n", &["x", "y", "E=1\n"]),
        (76, "ADD <<EOF /f\na\nEOF\n", &["EOF=a\n"]),
        (77, "COPY <<EOF /f\n$V ${V} ${N:-n}\nEOF\n", &["EOF=value value n\n"]),
        (77, "COPY <<'EOF' /f\n$V\nEOF\n", &["EOF=$V\n"]),
        (77, "COPY <<\"EOF\" /f\n$V\nEOF\n", &["EOF=$V\n"]),
        (77, "COPY <<E\"O\"F /f\n$V\nEOF\n", &["EOF=$V\n"]),
        (78, "COPY <<EOF /f\n\"q\" 'q' '$V'\nEOF\n", &["EOF=\"q\" 'q' 'value'\n"]),
        (79, "COPY <<EOF /f\n\\$V \\\\ \\a\\\nb\nEOF\n", &["EOF=$V \\ a\nb\n"]),
        (
            80,
            "COPY <<'EOF' /f\n\\$V \\\\ \\a\\\nb\nEOF\n",
            &["EOF=\\$V \\\\ \\a\\\nb\n"],
        ),
        (81, "COPY <<-EOF /f\n\t\ta\n  \tb\n\tEOF\n", &["EOF=a\n  \tb\n"]),
        (82, "COPY <<EOF /f\n\tEOF\nEOF\n", &["EOF=\tEOF\n"]),
        (83, "COPY <<EOF /f\nEOF \nEOF\n", &["EOF=EOF \n"]),
        (85, "COPY << EOF /f\na\nEOF\n", &["EOF=a\n"]),
        (85, "COPY <<- EOF /f\n\ta\n\tEOF\n", &["EOF=a\n"]),
        (87, "COPY <<$EOF /f\na\n$EOF\n", &["$EOF=a\n"]),
        (96, "COPY <<'EOF' /f\n# c\na \\\nEOF\n", &["EOF=# c\na \\\n"]),
        (97, "COPY <<EOF /f\r\na\r\nEOF\r\n", &["EOF=a\r\n"]),
    ];
    for (row, lines, expected) in table {
        assert_eq!(sources(lines), *expected, "row {row}: {lines:?}");
    }
    let both = copy("COPY --chown=1:2 --chmod=600 <<EOF /f\nEOF\n");
    assert_eq!(
        (both.chown.unwrap().to_string(), both.destination),
        ("1:2".to_owned(), "/f".to_owned())
    );
}

#[test]
fn l71_l97_commands_of_run() {
    let shell = |text: &str| (vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()], None);
    let script = |text: &str| {
        (
            shell("/dev/pipes/EOF").0,
            Some(("/dev/pipes/EOF".to_owned(), text.to_owned())),
        )
    };
    let awk = "#!/usr/bin/awk -f\nBEGIN\n";
    for (row, lines, expected) in [
        (71, "RUN <<EOF\na\nb\nEOF\n".to_owned(), shell("a\nb\n")),
        (90, format!("RUN <<EOF\n{awk}EOF\n"), script(awk)),
        (
            91,
            "RUN <<-EOF\n\t#!/usr/bin/awk -f\n\tBEGIN\n\tEOF\n".to_owned(),
            script(awk),
        ),
        (
            92,
            "RUN cat <<A > x; cat <<B > y\n1\nA\n2\nB\n".to_owned(),
            shell("cat <<A > x; cat <<B > y\n1\nA\n2\nB"),
        ),
        (
            93,
            "RUN <<EOF 3<<X 4<<Y cmd\n1\nEOF\n2\nX\n3\nY\n".to_owned(),
            shell("<<EOF 3<<X 4<<Y cmd\n1\nEOF\n2\nX\n3\nY"),
        ),
        (
            94,
            "ARG name=n\nRUN <<'EOF'\n$name \"q\"\nEOF\n".to_owned(),
            shell("$name \"q\"\n"),
        ),
        (
            94,
            "ARG name=n\nRUN <<EOF\n$name \\$x\nEOF\n".to_owned(),
            shell("$name \\$x\n"),
        ),
        (
            96,
            "RUN <<EOF\n# c\n\na \\\n  b\nEOF\n".to_owned(),
            shell("# c\n\na \\\n  b\n"),
        ),
        (97, "RUN <<EOF\r\na\r\nEOF\r\n".to_owned(), shell("a\r\n")),
        (
            97,
            "RUN cat <<EOF > /x\r\na\r\nEOF\r\n".to_owned(),
            shell("cat <<EOF > /x\na\r\nEOF"),
        ),
    ] {
        assert_eq!(run(&lines), expected, "row {row}: {lines:?}");
    }
    let awk = run("SHELL [\"/bin/awk\"]\nRUN <<EOF\nBEGIN { exit }\nEOF\n");
    assert_eq!(
        awk,
        (vec!["/bin/awk".to_owned(), "BEGIN { exit }\n".to_owned()], None),
        "row 95"
    );
    let mounted = statements("FROM a\nRUN --mount=type=cache,target=/c <<EOF\na\nEOF\n");
    let Instruction::Run(run) = &mounted[0].instruction else {
        panic!("row 99");
    };
    assert_eq!(run.mounts.len(), 1, "row 99");
    assert!(
        matches!(&run.command, RunCommand::Body(body) if body.body == "a\n"),
        "row 99"
    );
}

#[test]
fn l84_l89_no_heredocs_and_broken_ones() {
    for (row, lines, problem) in [
        (82, "COPY <<EOF /f\n\tEOF\n", "unterminated heredoc EOF"),
        (83, "RUN <<EOF\nEOF \n", "unterminated heredoc EOF"),
        (84, "RUN <<EOF\na\n", "unterminated heredoc EOF"),
        (88, "USER <<X\nx\nX\n", "unknown instruction: x"),
        (88, "CMD <<X\nx\nX\n", "unknown instruction: x"),
        (
            89,
            "COPY a <<EOF\nx\nEOF\n",
            "COPY cannot accept a heredoc as a destination",
        ),
    ] {
        let report = refused(&format!("FROM a\n{lines}"));
        assert!(report.contains(problem), "row {row}: {report}");
    }
    for (row, line) in [
        (86, "RUN cat <<<EOF"),
        (86, "RUN echo \"<<EOF\""),
        (86, "RUN [\"<<EOF\"]"),
        (86, "RUN echo $((1<<2)) $(( 1 << 2 ))"),
        (88, "USER <<X"),
    ] {
        let found = statements(&format!("FROM a\n{line}\nCMD x\n"));
        assert_eq!(found.len(), 2, "row {row}: {line}");
    }
}

#[test]
fn l98_triggers_hold_their_bodies() {
    let plan = planned("FROM a AS p\nONBUILD RUN <<EOF\nx\ny\nEOF\nFROM p");
    assert_eq!(plan.stages[0].config.config.on_build, ["RUN <<EOF\nx\ny\nEOF"]);
    assert_eq!(last_run(&plan).argv, ["/bin/sh", "-c", "x\ny\n"]);
}
