//! Rows 402 to 406 of the checklist: what SOURCE_DATE_EPOCH may say.

use std::path::Path;

use super::*;

/// What the epoch of a file is: a number, what it is the age of, or nothing.
fn epoch_of(text: &str, build_args: &[(&str, &str)]) -> Result<String, String> {
    let outline = outline_of(text, build_args)?;
    Ok(match outline.open_epoch() {
        Some(source) => format!("{source:?}"),
        None => match planned(&outline)?.epoch {
            Some(time) => time.as_second().to_string(),
            None => String::new(),
        },
    })
}

fn outline_of(text: &str, build_args: &[(&str, &str)]) -> Result<Outline, String> {
    let mut options = options(build_args);
    for context in [
        "dir=/d",
        "repository=https://h/r.git#v1",
        "base-image=docker-image://b:1",
    ] {
        options.contexts.add(context, Path::new("/")).unwrap();
    }
    outlined(text, &options)
}

#[test]
fn l402_where_the_epoch_comes_from() {
    let global = "ARG SOURCE_DATE_EPOCH=5\nFROM a";
    for (text, build_args, expected) in [
        ("FROM a", &[][..], ""),
        ("FROM a", &[("SOURCE_DATE_EPOCH", "7")], "7"),
        ("FROM a", &[("SOURCE_DATE_EPOCH", "")], ""),
        ("FROM a", &[("SOURCE_DATE_EPOCH", "-7")], "-7"),
        (global, &[], "5"),
        (global, &[("SOURCE_DATE_EPOCH", "7")], "7"),
        (global, &[("SOURCE_DATE_EPOCH", "")], ""),
        ("ARG T=6\nARG SOURCE_DATE_EPOCH=$T\nFROM a", &[], "6"),
        ("ARG SOURCE_DATE_EPOCH=\nFROM a", &[], ""),
        ("ARG SOURCE_DATE_EPOCH\nFROM a", &[], ""),
        // A stage's argument is only a variable.
        ("FROM a\nARG SOURCE_DATE_EPOCH=5", &[], ""),
    ] {
        assert_eq!(epoch_of(text, build_args).unwrap(), expected, "{text} {build_args:?}");
    }
}

#[test]
fn l403_l405_what_the_epoch_may_be() {
    let stage = "FROM scratch AS src\nARG v=1\nADD https://h/$v /\nFROM a";
    for (value, text, expected) in [
        ("context", "FROM a", "Context"),
        ("dir", "FROM a", "Tree(Directory(\"/d\"))"),
        ("repository", "FROM a", "Tree(Git(\"https://h/r.git#v1\"))"),
        ("src", stage, "Remote(\"https://h/1\")"),
        ("SRC", stage, "Remote(\"https://h/1\")"),
        (
            "s",
            "FROM scratch AS s\nADD git@h:r.git /x\nFROM a",
            "Remote(\"git@h:r.git\")",
        ),
        // A context that replaces a stage counts for it.
        ("dir", "FROM a AS dir\nFROM b", "Tree(Directory(\"/d\"))"),
    ] {
        let found = epoch_of(text, &[("SOURCE_DATE_EPOCH", value)]);
        assert_eq!(found.unwrap(), expected, "{value} in {text}");
    }
    let rule = "SOURCE_DATE_EPOCH stage \"s\" must be FROM scratch with exactly one ADD of one remote source";
    for (value, text, expected, line) in [
        ("abc", "FROM a", "invalid SOURCE_DATE_EPOCH: abc", 0),
        ("1.5", "FROM a", "invalid SOURCE_DATE_EPOCH: 1.5", 0),
        (
            "99999999999999999",
            "FROM a",
            "invalid SOURCE_DATE_EPOCH: 99999999999999999",
            0,
        ),
        ("base-image", "FROM a", "invalid SOURCE_DATE_EPOCH: base-image", 0),
        (
            "",
            "ARG A=1\nARG SOURCE_DATE_EPOCH=abc\nFROM a",
            "invalid SOURCE_DATE_EPOCH: abc",
            2,
        ),
        ("s", "FROM a AS s\nADD https://h/x /", rule, 1),
        ("s", "FROM scratch AS s\nARG x\nFROM a", rule, 1),
        ("s", "FROM scratch AS s\nCOPY x /", rule, 2),
        ("s", "FROM scratch AS s\nADD x /", rule, 2),
        ("s", "FROM scratch AS s\nADD https://h/x https://h/y /", rule, 2),
        ("s", "FROM scratch AS s\nADD <<E /x\nE", rule, 2),
        ("s", "FROM scratch AS s\nADD https://h/x /\nADD https://h/y /", rule, 3),
        ("s", "FROM scratch AS s\nADD https://h/x /\nENV a=b", rule, 3),
    ] {
        let build_args = [("SOURCE_DATE_EPOCH", value)];
        let build_args = if value.is_empty() { &[][..] } else { &build_args };
        let report = epoch_of(text, build_args).unwrap_err();
        assert!(report.starts_with(&format!("error: {expected}\n")), "{text}: {report}");
        let is_located = report.contains(&format!("  Dockerfile:{line}\n"));
        assert_eq!(is_located, line > 0, "{text}: {report}");
        let says_what_it_may_be = report.contains("\nhint: it is a number of seconds");
        assert_eq!(says_what_it_may_be, expected != rule, "{text}: {report}");
    }
}

#[test]
fn l406_stages_see_the_number() {
    let seen = |text: &str, value: Option<&str>, age: Option<i64>| {
        let argument = value.map(|value| ("SOURCE_DATE_EPOCH", value));
        let mut outline = outline_of(text, argument.as_slice()).unwrap();
        if outline.open_epoch().is_some() {
            outline.settle_epoch(age.map(|second| Timestamp::from_second(second).unwrap()));
            assert_eq!(outline.open_epoch(), None);
        }
        let plan = planned(&outline).unwrap();
        assert_eq!(plan.epoch.map(Timestamp::as_second), age);
        let env = &last_run(&plan).env;
        env.iter()
            .find_map(|entry| entry.strip_prefix("SOURCE_DATE_EPOCH=").map(str::to_owned))
    };
    let some = |text: &str| Some(text.to_owned());
    let global = "ARG SOURCE_DATE_EPOCH=context\nFROM a\nARG SOURCE_DATE_EPOCH\nRUN x";
    let local = "FROM a\nARG SOURCE_DATE_EPOCH\nRUN x";
    assert_eq!(seen(local, None, None), None);
    assert_eq!(seen(local, Some("+7"), Some(7)), some("7"));
    assert_eq!(seen(local, Some("context"), Some(8)), some("8"));
    assert_eq!(seen(local, Some("context"), None), some(""));
    assert_eq!(seen(global, None, Some(9)), some("9"));
    assert_eq!(seen(global, Some("context"), Some(9)), some("9"));
    assert_eq!(
        seen("FROM a\nRUN x", Some("7"), Some(7)),
        None,
        "only where it is declared"
    );
}

#[test]
fn l401_directories_of_workdir_have_the_epoch() {
    let mtime = |build_args| {
        let plan = plan_with("FROM a\nWORKDIR /d", &options(build_args)).unwrap();
        match &target(&plan).steps[0].step {
            Step::Workdir(step) => step.mtime,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(mtime(&[]), None);
    assert_eq!(mtime(&[("SOURCE_DATE_EPOCH", "7")]), Some(7));
}
