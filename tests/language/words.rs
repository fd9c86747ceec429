//! Keywords, flags, splitting and JSON: rows 37 to 70.

use super::{planned, refused, statements, target};

#[test]
fn l37_l68_mistakes() {
    for (row, line, texts) in [
        (
            37,
            "FOO bar",
            &["dockerfile parse error on line 2: unknown instruction: FOO\n"][..],
        ),
        (38, "FNTRYPOINT x", &["did you mean ENTRYPOINT?"]),
        (38, "fntrypoint x", &["did you mean entrypoint?"]),
        (39, "COPY --foo=1 a b", &["unknown flag: --foo\n"]),
        (
            40,
            "RUN --mont=type=cache x",
            &["unknown flag: --mont", "did you mean --mount?"],
        ),
        (41, "COPY --chown 1:1 a b", &["missing a value on flag: --chown"]),
        (
            42,
            "COPY --chown=1 --chown=2 a b",
            &["duplicate flag specified: --chown"],
        ),
        (44, "COPY --link= a b", &["missing a value on flag: --link"]),
        (
            44,
            "COPY --link=yes a b",
            &["expecting boolean value for flag --link, not: yes"],
        ),
        (
            45,
            "COPY --link=$X a b",
            &["expecting boolean value for flag --link, not: $X"],
        ),
        (47, "CMD --foo", &["unknown flag: --foo"]),
        (47, "RUN --foo x", &["unknown flag: --foo"]),
        (47, "ENTRYPOINT --x", &["unknown flag: --x"]),
        (50, "MAINTAINER --boo x", &["unknown flag: --boo"]),
        (
            52,
            "ENV a=b c",
            &["Syntax error - can't find = in \"c\". Must be of the form: name=value"],
        ),
        (53, "ENV a", &["ENV must have two arguments"]),
        (53, "ENV", &["ENV requires at least one argument"]),
        (54, "ENV =b", &["ENV names can not be blank"]),
        (54, "ARG =b", &["ARG names can not be blank"]),
        (54, "LABEL =b", &["LABEL names can not be blank"]),
        (58, "COPY a", &["COPY requires at least two arguments"]),
        (58, "ADD", &["ADD requires at least two arguments"]),
        (59, "WORKDIR", &["WORKDIR requires exactly one argument"]),
        (59, "USER", &["USER requires exactly one argument"]),
        (59, "STOPSIGNAL", &["STOPSIGNAL requires exactly one argument"]),
        (59, "MAINTAINER", &["MAINTAINER requires exactly one argument"]),
        (
            64,
            "CMD [\"a\",1]",
            &["when using JSON array syntax, arrays must be comprised of strings only"],
        ),
        (
            64,
            "RUN [\"a\",null]",
            &["when using JSON array syntax, arrays must be comprised of strings only"],
        ),
        (
            64,
            "COPY [\"a\",[\"b\"]]",
            &["when using JSON array syntax, arrays must be comprised of strings only"],
        ),
        (
            64,
            "VOLUME [{}]",
            &["when using JSON array syntax, arrays must be comprised of strings only"],
        ),
        (67, "RUN []", &["RUN in exec form requires at least one element"]),
        (67, "SHELL []", &["SHELL requires at least one argument"]),
        (
            68,
            "SHELL bash -c",
            &["SHELL requires the arguments to be in JSON form"],
        ),
    ] {
        let report = refused(&format!("FROM a\n{line}\n"));
        for text in texts {
            assert!(report.contains(text), "row {row}: {line}: {report}");
        }
        assert!(report.contains(&format!("\n  >>> 2 | {line}\n")), "row {row}: {report}");
    }
}

/// The instruction of a line, as it is printed for debugging.
fn shown(line: &str) -> String {
    format!("{:?}", statements(&format!("FROM a\n{line}\n"))[0].instruction)
}

#[test]
fn l43_l70_what_instructions_hold() {
    for (row, line, parts) in [
        (43, "COPY --exclude=b --exclude=a x y", &[r#"exclude: ["b", "a"]"#][..]),
        (43, "RUN --device=b --device=a x", &[r#"devices: ["b", "a"]"#]),
        (
            43,
            "RUN --mount=target=/b --mount=target=/a x",
            &[r#"Word("/b")"#, r#"Word("/a")"#],
        ),
        (44, "COPY --link a b", &["link: true"]),
        (44, "COPY --link=true a b", &["link: true"]),
        (44, "COPY --link=TRUE a b", &["link: true"]),
        (44, "COPY --link=false a b", &["link: false"]),
        (
            46,
            "COPY -- --src /d/",
            &[r#"[Path(Word("--src"))]"#, r#"destination: Word("/d/")"#],
        ),
        (47, "CMD -- --foo", &[r#"Cmd(Shell("--foo"))"#]),
        (48, "COPY --chown=\"a b\" x y", &[r#"chown: Some(Word("a b"))"#]),
        (48, "COPY --chown='a\"b' x y", &[r#"chown: Some(Word("a\"b"))"#]),
        (
            49,
            "ARG --junk x=1",
            &[r#"ArgItem { name: "x", default: Some(Word("1")) }"#],
        ),
        (49, "STOPSIGNAL --junk 9", &[r#"signal: Word("9")"#]),
        (49, "HEALTHCHECK --junk NONE", &["Healthcheck(None)"]),
        (
            51,
            "ENV a b  c",
            &[r#"[KeyValue { key: Word("a"), value: Word("b  c") }]"#],
        ),
        (
            51,
            "ENV ONE TWO= THREE=x",
            &[r#"[KeyValue { key: Word("ONE"), value: Word("TWO= THREE=x") }]"#],
        ),
        (55, "ENV a=b=c", &[r#"key: Word("a"), value: Word("b=c")"#]),
        (
            56,
            "LABEL \"k.x\"=\"v w\"",
            &[r#"key: Word("\"k.x\""), value: Word("\"v w\"")"#],
        ),
        (
            57,
            "ARG a b=c",
            &[r#"ArgItem { name: "a", default: None }, ArgItem { name: "b", default: Some(Word("c")) }"#],
        ),
        (60, "WORKDIR a b", &[r#"path: Word("a b")"#]),
        (60, "USER a b", &[r#"user: Word("a b")"#]),
        (
            61,
            "COPY [\"a b\",\"/x\"]",
            &[r#"[Path(Word("a b"))]"#, r#"destination: Word("/x")"#],
        ),
        (62, "RUN [\"a\",\"b\"]", &[r#"Line(Exec(["a", "b"]))"#]),
        (62, "RUN [ \"a\" ,\t\"b\" ] ", &[r#"Line(Exec(["a", "b"]))"#]),
        (63, "CMD ['a']", &[r#"Shell("['a']")"#]),
        (63, "CMD [\"a\"] x", &[r#"Shell("[\"a\"] x")"#]),
        (63, "CMD [\"a\",]", &[r#"Shell("[\"a\",]")"#]),
        (63, "ENTRYPOINT []oops", &[r#"Entrypoint(Shell("[]oops"))"#]),
        (
            65,
            "CMD [\"\\n\\t\\/\\u2603\\\"\"]",
            &["Exec([\"\\n\\t/\u{2603}\\\"\"])"],
        ),
        (66, "RUN [\"c:\\windows\"]", &[r#"Line(Shell("[\"c:\\windows\"]"))"#]),
        (67, "CMD []", &["Cmd(Exec([]))"]),
        (69, "RUN [\"echo\",\"$X\"]", &[r#"Exec(["echo", "$X"])"#]),
    ] {
        let instruction = shown(line);
        for part in parts {
            assert!(instruction.contains(part), "row {row}: {line}: {instruction}");
        }
    }
}

#[test]
fn l56_l70_what_expansion_makes_of_it() {
    for (row, text, expected) in [
        (56, "FROM a\nLABEL \"k.x\"=\"v w\"", "LABEL k.x=v w"),
        (60, "FROM a\nWORKDIR a b", "WORKDIR /a b"),
        (61, "FROM a\nCOPY [\"a b\",\"/x\"]", "COPY a b /x # buildkit"),
        (61, "FROM a\nCOPY \"a\" /x", "COPY a /x # buildkit"),
        (69, "FROM a\nARG SRC=s\nCOPY [\"$SRC\",\"/x\"]", "COPY s /x # buildkit"),
        (
            69,
            "FROM a\nARG X=s\nRUN [\"echo\",\"$X\"]",
            "RUN |1 X=s echo $X # buildkit",
        ),
        (70, "FROM a\nARG V=/v\nVOLUME [\"${V}\"]", "VOLUME [/v]"),
    ] {
        let plan = planned(text);
        let history = target(&plan).config.history.last().unwrap();
        assert_eq!(history.created_by.as_deref(), Some(expected), "row {row}: {text}");
    }
    let report = super::plan_with("FROM a\nCOPY \"a b\" /x", &super::options(&[])).unwrap_err();
    assert!(report.contains("looking for matching double-quote"), "row 61: {report}");
}
