//! Rows 384 to 388 of the checklist: triggers.

use super::*;

/// The texts of the target's steps with the line that an error would point to.
fn steps_of(text: &str) -> Vec<String> {
    let plan = plan_of(text);
    let steps = target(&plan).steps.iter();
    steps
        .map(|step| format!("{}: {}", step.excerpt.span().first, step.text))
        .collect()
}

#[test]
fn l384_triggers_are_stored_and_leave_no_history() {
    let text = "FROM base\nENV x=1\nONBUILD RUN echo $x\nonbuild  copy --chown=$x  a b \nONBUILD RUN <<E\n$x\n  E\nE\nONBUILD FOO";
    let plan = plan_of(text);
    let config = &target(&plan).config;
    assert_eq!(
        config.config.on_build,
        ["RUN echo $x", "copy --chown=$x  a b ", "RUN <<E\n$x\n  E\nE", "FOO"]
    );
    assert_eq!(created_by(&plan), ["base", "ENV x=1"]);
    assert!(target(&plan).steps.iter().all(|step| step.step == Step::Metadata));
}

#[test]
fn l385_l386_triggers_run_first_in_the_child_and_nowhere_else() {
    for (what, text, expected) in [
        (
            "of an image",
            "FROM onbuild\nRUN own",
            &["1: ENV T=1", "1: RUN trigger $T", "2: RUN own"][..],
        ),
        (
            "of a stage",
            "FROM a AS p\nONBUILD RUN t\nRUN x\nFROM p\nRUN own",
            &["4: RUN t", "5: RUN own"],
        ),
        (
            "not in the grandchild",
            "FROM a AS p\nONBUILD RUN t\nFROM p AS q\nFROM q\nRUN own",
            &["5: RUN own"],
        ),
        (
            "not in a child's child",
            "FROM onbuild AS p\nFROM p\nRUN own",
            &["3: RUN own"],
        ),
        (
            "in every child",
            "FROM a AS p\nONBUILD RUN t\nFROM p AS q\nFROM p\nCOPY --from=q x /",
            &["4: RUN t", "5: COPY --from=q x /"],
        ),
        (
            "not for who copies",
            "FROM a AS p\nONBUILD RUN t\nFROM a\nCOPY --from=p x /",
            &["4: COPY --from=p x /"],
        ),
        (
            "heredocs",
            "FROM a AS p\nONBUILD RUN <<E\nx\nE\nFROM p",
            &["5: RUN <<E"],
        ),
    ] {
        assert_eq!(steps_of(text), expected, "{what}");
    }
    for text in [
        "FROM onbuild",
        "FROM a AS p\nONBUILD RUN t\nFROM p",
        "FROM onbuild AS p\nFROM p",
    ] {
        assert!(target(&plan_of(text)).config.config.on_build.is_empty(), "{text}");
    }
    // A child may leave triggers of its own.
    let own = plan_of("FROM onbuild\nONBUILD RUN mine");
    assert_eq!(target(&own).config.config.on_build, ["RUN mine"]);
}

/// What a trigger says means what it means at its place in the child.
#[test]
fn l384_triggers_expand_in_the_child() {
    let plan = plan_of(
        "ARG g=1\nFROM a AS p\nENV e=2\nARG h=3\nONBUILD ARG g\nONBUILD WORKDIR /$e/$g/$h$unknown\nFROM p\nENV e=9",
    );
    assert_eq!(target(&plan).config.config.working_dir.as_deref(), Some("/2/1/3"));
    // It is read with the default escape token, whatever the file has: a last backslash means nothing.
    let plan = plan_of("# escape=`\nFROM a AS p\nONBUILD RUN a \\\nFROM p");
    assert_eq!(last_run(&plan).argv[2], "a");
    // A heredoc's body is the trigger's.
    let plan = plan_of("FROM a AS p\nONBUILD COPY <<E /f\n$HOME\nE\nFROM p\nENV HOME=late");
    let Step::Copy(copy) = &target(&plan).steps[0].step else {
        panic!("no COPY")
    };
    let content = CopySource::Heredoc {
        name: "E".to_owned(),
        content: "\n".to_owned(),
    };
    assert_eq!(copy.sources, [content]);
}

#[test]
fn l387_sources_of_triggers_are_the_child_s() {
    let source = |text: &str| {
        let plan = plan_of(text);
        let stages: Vec<usize> = plan.stages.iter().map(|stage| stage.id.0).collect();
        let Some(Step::Copy(copy)) = target(&plan).steps.first().map(|step| &step.step) else {
            panic!("no COPY in {text}")
        };
        let from = match &copy.from {
            CopyFrom::Stage(id) => format!("stage {id}"),
            CopyFrom::Image(image) => image.source.reference().unwrap().repository().to_owned(),
            other => format!("{other:?}"),
        };
        format!("{from} with {stages:?}")
    };
    for (text, expected) in [
        // `copies` is `ONBUILD COPY --from=other x /`.
        ("FROM a AS other\nFROM copies", "stage 0 with [0, 1]"),
        ("FROM a AS unused\nFROM copies", "library/other with [1]"),
        ("FROM a AS other\nFROM b AS OTHER\nFROM copies", "stage 1 with [1, 2]"),
        ("FROM a AS p\nONBUILD COPY --from=0 x /\nFROM p", "stage 0 with [0, 1]"),
        (
            "FROM a AS p\nONBUILD COPY --from=Q x /\nFROM b AS q\nFROM p",
            "stage 1 with [0, 1, 2]",
        ),
        // The new dependency's base has triggers of its own, which the outline could not know.
        ("FROM onbuild AS other\nFROM copies", "stage 0 with [0, 1]"),
    ] {
        assert_eq!(source(text), expected, "{text}");
    }
    for (text, message) in [
        ("FROM copies\nFROM a AS other", "target"),
        ("FROM copies AS other", "circular dependency detected on stage: other"),
        (
            "FROM copies AS first\nFROM a AS other\nFROM first",
            "cannot copy from stage \"other\", it needs to be defined before current stage \"first\"",
        ),
        (
            "FROM a AS p\nONBUILD COPY --from=7 x /\nFROM p",
            "invalid stage index 7",
        ),
        (
            "FROM a AS p\nONBUILD COPY --from=$x y /\nFROM p",
            "ONBUILD trigger \"COPY --from=$x y /\"",
        ),
    ] {
        match (message, plan_with(text, &options(&[]))) {
            ("target", outcome) => assert!(outcome.is_ok(), "{outcome:?}"),
            (_, outcome) => {
                let report = outcome.unwrap_err();
                assert!(report.starts_with(&format!("error: {message}")), "{report}");
            }
        }
    }
}

#[test]
fn l388_l444_mistakes_of_triggers() {
    for (text, message, line) in [
        (
            "FROM a\nONBUILD ONBUILD RUN x",
            "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
            2,
        ),
        ("FROM a\nONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger", 2),
        (
            "FROM a\nONBUILD MAINTAINER x",
            "MAINTAINER isn't allowed as an ONBUILD trigger",
            2,
        ),
        (
            "FROM a\nonbuild maintainer x",
            "MAINTAINER isn't allowed as an ONBUILD trigger",
            2,
        ),
        ("FROM a\nONBUILD ENV X", "ENV must have two arguments", 2),
        // What only shows when it runs is said of the line that brought it in.
        (
            "FROM a AS p\nONBUILD FOO\n\nFROM p\nRUN x",
            "ONBUILD trigger \"FOO\"",
            4,
        ),
        (
            "FROM a AS p\nONBUILD STOPSIGNAL 0\n\nFROM p\nRUN x",
            "invalid signal: 0",
            4,
        ),
        (
            "FROM a AS p\nONBUILD RUN --foo x\nFROM p\nRUN x",
            "ONBUILD trigger \"RUN --foo x\"",
            3,
        ),
    ] {
        let report = plan_with(text, &options(&[])).unwrap_err();
        assert!(report.contains(message), "{text}: {report}");
        assert!(report.contains(&format!("  Dockerfile:{line}\n")), "{text}: {report}");
    }
}

#[test]
fn triggers_run_first_and_point_to_from() {
    assert_eq!(
        steps_of(
            "
FROM onbuild
RUN own"
        ),
        ["2: ENV T=1", "2: RUN trigger $T", "3: RUN own"]
    );
}
