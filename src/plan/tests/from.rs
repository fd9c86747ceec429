//! FROM and named contexts: what names mean.

use std::path::Path;

use super::*;

/// What the target starts from.
fn base(text: &str) -> String {
    match &target(&plan_of(text)).base {
        Base::Scratch => "scratch".to_owned(),
        Base::Stage(id) => format!("stage {id}"),
        Base::Image(image) => image.source.to_string(),
    }
}

/// What the target's only copy reads.
fn copied_from(text: &str) -> String {
    let plan = plan_of(text);
    let from = target(&plan).steps.iter().find_map(|step| step.step.sources().next());
    from.unwrap().to_string()
}

#[test]
fn l171_l173_the_form_of_from() {
    const WORDS: &str = "FROM requires either one or three arguments";
    const NAME: &str = "invalid name for build stage: ";
    for (text, message) in [
        ("FROM", WORDS),
        ("FROM a b", WORDS),
        ("FROM a XX b", WORDS),
        ("FROM a AS", WORDS),
        ("FROM a AS b c", WORDS),
        ("FROM a AS 1x", NAME),
        ("FROM a AS _x", NAME),
        ("FROM a AS x/y", NAME),
        ("FROM a AS x$y", NAME),
        ("FROM a AS é", NAME),
    ] {
        assert!(error(text).contains(message), "{text}: {}", error(text));
    }
    for (written, name) in [("B", "b"), ("x_y-z.1", "x_y-z.1"), ("a1", "a1")] {
        for word in ["as", "AS", "As"] {
            let plan = plan_of(&format!("FROM a {word} {written}"));
            assert_eq!(target(&plan).name.as_deref(), Some(name));
        }
    }
    assert_eq!(copied_from("FROM a as B\nFROM x\nCOPY --from=b / /"), "stage 0");
}

#[test]
fn l174_l178_names_of_stages() {
    for (row, text, expected) in [
        (174, "FROM x AS Base\nFROM base", "stage 0"),
        (176, "FROM x\nFROM 0", "docker.io/library/0:latest"),
        (177, "FROM golang AS golang\nFROM golang", "stage 0"),
        (178, "FROM a AS s\nFROM b AS s\nFROM s", "stage 1"),
        (178, "FROM a AS s\nFROM s AS s\nFROM s", "stage 1"),
        // The name of a stage may come from an argument.
        (174, "ARG n=base\nFROM x AS base\nFROM ${n}", "stage 0"),
        // A stage may take a word of the language's.
        (179, "FROM a AS scratch\nFROM scratch", "stage 0"),
    ] {
        assert_eq!(base(text), expected, "L{row} {text}");
    }
    for (row, text, expected) in [
        (175, "FROM x AS Base\nFROM y\nCOPY --from=BASE / /", "stage 0"),
        (177, "FROM golang AS golang\nFROM y\nCOPY --from=golang / /", "stage 0"),
        (178, "FROM a AS s\nFROM b AS s\nFROM y\nCOPY --from=s / /", "stage 1"),
        (176, "FROM a\nFROM b AS s\nFROM y\nCOPY --from=1 / /", "stage 1"),
    ] {
        assert_eq!(copied_from(text), expected, "L{row} {text}");
    }
    let report = plan_with("FROM x AS Base\nFROM Base", &options(&[])).unwrap_err();
    assert!(report.contains("\"Base\" is neither a stage nor an image"), "{report}");
    assert!(
        report.contains("must be lowercase") && report.contains("did you mean base?"),
        "{report}"
    );
    let of_target = |name: &str| {
        let options = PlanOptions {
            targets: vec![name.to_owned()],
            ..options(&[])
        };
        plan_with("FROM x AS Base\nFROM y", &options).map(|plan| plan.products[0].stage)
    };
    assert_eq!(of_target("BASE"), Ok(StageId(0)));
    assert!(of_target("basse").unwrap_err().contains("did you mean base?"));
}

#[test]
fn l179_scratch_has_a_directory_and_a_path() {
    let plan = plan_of("FROM scratch\nLABEL a=b");
    let config = &target(&plan).config.config;
    assert_eq!(config.working_dir.as_deref(), Some("/"));
    assert_eq!(
        config.env,
        ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    );
    assert!(target(&plan).steps.iter().all(|step| step.step == Step::Metadata));
}

#[test]
fn l180_l184_from_lines_are_checked_whether_needed_or_not() {
    for (row, from, message) in [
        (180, "FROM \"\"", "base name (\"\") should not be blank"),
        (180, "FROM ${BLANK}", "base name (${BLANK}) should not be blank"),
        (
            181,
            "FROM UPPER/Case:",
            "\"UPPER/Case:\" is neither a stage nor an image",
        ),
        (181, "FROM a:b:c", "\"a:b:c\" is neither a stage nor an image"),
        (182, "FROM $UNDEF", "base name ($UNDEF) should not be blank"),
        (182, "FROM ${UNDEF:?missing}", "failed to process \"${UNDEF:?missing}\""),
        (
            183,
            "FROM --platform=$UNDEF x",
            "empty platform value from expression $UNDEF",
        ),
        (184, "FROM --platform=linux/ x", "failed to parse platform linux/"),
        (184, "FROM --platform=a/b/c/d x", "failed to parse platform a/b/c/d"),
    ] {
        for text in [
            from.to_owned(),
            format!("{from}\nFROM a"),
            format!("FROM a\n{from} AS u\nFROM a"),
        ] {
            let line = error(&text);
            assert!(line.starts_with(&format!("error: {message}")), "L{row} {text}: {line}");
        }
    }
    // An image that is nowhere is nobody's concern as long as nobody needs it.
    let plan = plan_of("FROM nowhere.example/none:1 AS unused\nFROM a");
    assert_eq!(plan.images.len(), 1);
    // A word of FROM without a value besides others is empty, as in every expansion.
    assert_eq!(base("FROM a:1$UNDEF"), "docker.io/library/a:1");
}

#[test]
fn l185_digests_pin() {
    let digest = Digest::of(b"x").to_string();
    for name in ["a", "a:tag"] {
        let plan = plan_of(&format!("FROM {name}@{digest}"));
        let reference = plan.images[0].image.source.reference().unwrap();
        assert_eq!(reference.identifier(), digest, "{name}");
    }
}

#[test]
fn l186_l187_what_a_stage_inherits() {
    for (row, text) in [(186, "FROM base"), (187, "FROM base AS p\nFROM p")] {
        let plan = plan_of(text);
        let config: Value = serde_json::to_value(&target(&plan).config.config).unwrap();
        for (member, expected) in [
            ("Env", json!(["PATH=/bin", "F=base"])),
            ("Cmd", json!(["old"])),
            ("User", json!("u")),
            ("WorkingDir", json!("/w")),
            ("Labels", json!({"a": "0", "z": "0"})),
            ("ExposedPorts", json!({"1/tcp": {}})),
            ("Volumes", json!({"/v": {}})),
            ("Shell", json!(["/bin/ash", "-c"])),
            ("StopSignal", json!("HUP")),
        ] {
            assert_eq!(config[member], expected, "L{row} {member}");
        }
        assert_eq!(config["Healthcheck"]["Interval"], json!(5), "L{row}");
    }
    for text in [
        "FROM onbuild",
        "FROM onbuild AS p\nFROM p",
        "FROM a AS p\nONBUILD RUN x\nFROM p",
    ] {
        assert_eq!(target(&plan_of(text)).config.config.on_build, [] as [&str; 0], "{text}");
    }
    let plan = plan_of("FROM a AS p\nONBUILD RUN x\nFROM p AS q\nFROM q");
    assert_eq!(target(&plan).steps.len(), 0, "grandchildren have no triggers");
    let kept = plan_of("FROM a\nCMD c\nENTRYPOINT e");
    let config = &target(&kept).config.config;
    assert!(config.cmd.is_some() && config.entrypoint.is_some());
}

#[test]
fn l188_a_base_alone_is_the_base() {
    let plan = plan_of("FROM base");
    assert_eq!(target(&plan).steps, []);
    let history = &target(&plan).config.history;
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].created_by.as_deref(), Some("base"));
}

#[test]
fn images_that_may_be_misspelt_stages_or_contexts() {
    let hint = |text: &str| {
        let mut options = options(&[]);
        options.contexts.add("assets=.", Path::new("/")).unwrap();
        let plan = plan_with(text, &options).unwrap();
        plan.images.last().unwrap().hint.as_ref().map(ToString::to_string)
    };
    for (text, expected) in [
        ("FROM a AS builder\nFROM bulder", "did you mean builder?"),
        (
            "FROM a AS builder\nFROM b\nCOPY --from=biulder / /",
            "did you mean builder?",
        ),
        ("FROM asets", "did you mean assets?"),
        ("FROM b\nCOPY --from=assetts / /", "did you mean assets?"),
        (
            "FROM later AS x\nFROM a AS later\nFROM x",
            "the stage of that name is further down in the file, and FROM can only name an earlier one",
        ),
    ] {
        assert_eq!(hint(text).as_deref(), Some(expected), "{text}");
    }
    for text in [
        "FROM debian",
        "FROM a AS builder\nFROM h.io/bulder",
        "FROM a AS builder\nFROM bulder:1",
    ] {
        assert_eq!(hint(text), None, "{text}");
    }
}

/// What the stages start from and what they copy, with `--build-context` lines.
fn with_contexts(text: &str, contexts: &[&str]) -> Result<Plan, String> {
    let mut options = options(&[]);
    for written in contexts {
        options.contexts.add(written, Path::new("/here")).unwrap();
    }
    plan_with(text, &options)
}

#[test]
fn l355_contexts_replace_images_in_from_and_copy() {
    let context = ["base=docker-image://other:1"];
    for text in [
        "FROM base\nRUN x",
        "FROM base:latest\nRUN x",
        "FROM docker.io/library/base\nRUN x",
        "FROM scratch\nCOPY --from=base / /",
        "FROM scratch\nONBUILD COPY --from=base / /\nFROM base\nRUN x",
    ] {
        let plan = with_contexts(text, &context).unwrap();
        assert_eq!(images(&plan), ["docker.io/library/other:1 for linux/arm64"], "{text}");
    }
}

#[test]
fn names_are_looked_up_in_buildkits_order() {
    let contexts = [
        "st=docker-image://replaced",
        "im=docker-image://named",
        "7=docker-image://seven",
    ];
    for (rule, text, expected) in [
        ("a stage before a context", "FROM a AS im\nFROM im", "stage 0"),
        ("a stage that a context replaces", "FROM a AS st\nFROM st", "stage 0"),
        ("scratch before all", "FROM scratch", "scratch"),
        (
            "a context before an image",
            "FROM im",
            "docker.io/library/named:latest for linux/arm64",
        ),
        (
            "a later stage is none",
            "FROM im\nFROM a AS im",
            "docker.io/library/named:latest for linux/arm64",
        ),
        (
            "numbers name no stage in FROM",
            "FROM a\nFROM 0",
            "docker.io/library/0:latest for linux/arm64",
        ),
        (
            "a context may be a number in FROM",
            "FROM 7",
            "docker.io/library/seven:latest for linux/arm64",
        ),
    ] {
        let plan = with_contexts(text, &contexts[1..]).unwrap();
        let shown = plan.to_string();
        let wanted = format!("from {expected}");
        assert!(shown.contains(&wanted), "{rule}: {shown}");
    }
    for (rule, from, expected) in [
        ("a number is a stage", "0", "stage 0"),
        ("a stage", "IM", "stage 1"),
        ("a context", "7x", "docker.io/library/named:latest for linux/arm64"),
        ("an image", "img", "docker.io/library/img:latest for linux/arm64"),
    ] {
        let text = format!("FROM a AS x\nFROM b AS im\nFROM scratch\nCOPY --from={from} / /");
        let shown = with_contexts(&text, &["im=.", "7x=docker-image://named", "0=."])
            .unwrap()
            .to_string();
        assert!(shown.contains(&format!("copy from {expected}")), "{rule}: {shown}");
    }
}

#[test]
fn l356_a_context_replaces_the_stage_of_its_name() {
    let text = "FROM a AS one\nENV E=1\nRUN x\nONBUILD RUN never\nFROM one\nCOPY --from=one f /";
    let plan = with_contexts(text, &["one=docker-image://other"]).unwrap();
    assert_eq!(plan.stages[0].steps, []);
    assert_eq!(images(&plan), ["docker.io/library/other:latest for linux/arm64"]);
    assert_eq!(target(&plan).steps.len(), 1, "the replaced stage has no triggers");
    assert_eq!(target(&plan).base, Base::Stage(StageId(0)));

    let plan = with_contexts(text, &["one=dir"]).unwrap();
    let steps: Vec<_> = plan.stages[0].steps.iter().map(|step| step.text.as_str()).collect();
    assert_eq!(steps, ["FROM one"]);
    let config = &target(&plan).config.config;
    assert_eq!(config.working_dir.as_deref(), Some("/"));
    assert_eq!(
        config.env,
        ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    );

    // The FROM is still checked, though nobody needs what it names.
    for (from, message) in [
        ("$NONE", "should not be blank"),
        ("--platform=$NONE a", "empty platform value"),
    ] {
        let error = with_contexts(&format!("FROM {from} AS one\nRUN x"), &["one=dir"]).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
    // A mistake in instructions that are skipped is none.
    let text = "FROM a AS one\nCOPY --from=9 x /\nFROM one";
    assert!(with_contexts(text, &["one=dir"]).is_ok());
    assert!(with_contexts(text, &[]).is_err());
}

#[test]
fn directories_as_bases_become_a_layer() {
    let plan = with_contexts("FROM files\nLABEL a=b\nFROM files:latest", &["files=./sub"]).unwrap();
    assert_eq!(target(&plan).base, Base::Scratch);
    let Step::Copy(copy) = &target(&plan).steps[0].step else {
        panic!("{plan}");
    };
    assert_eq!(
        copy.from,
        CopyFrom::Tree(Box::new(NamedTree {
            name: "files".to_owned(),
            source: TreeSource::Directory("/here/sub".into()),
        }))
    );
    let history = &target(&plan).config.history;
    assert_eq!(history[0].created_by.as_deref(), Some("FROM files # buildkit"));
    let other = with_contexts("FROM files", &["files=./other"]).unwrap();
    assert_ne!(ids(&plan), ids(&other), "the place is part of the identity");
}

#[test]
fn l358_an_empty_root_has_no_layer() {
    let plan = with_contexts("FROM base\nENV a=b", &["base=docker-image://scratch"]).unwrap();
    assert_eq!(target(&plan).base, Base::Scratch);
    assert_eq!(target(&plan).steps.len(), 1);
}

#[test]
fn from_lines_use_the_global_scope() {
    for (text, build_args, expected) in [
        ("ARG t=1\nFROM a:$t", &[][..], "docker.io/library/a:1 for linux/arm64"),
        (
            "ARG t=1\nFROM a:$t",
            &[("t", "2")],
            "docker.io/library/a:2 for linux/arm64",
        ),
        (
            "FROM --platform=$BUILDPLATFORM a",
            &[],
            "docker.io/library/a:latest for linux/amd64",
        ),
        (
            "FROM a-${TARGETARCH}",
            &[],
            "docker.io/library/a-arm64:latest for linux/arm64",
        ),
        ("FROM 0", &[], "docker.io/library/0:latest for linux/arm64"),
        ("FROM \"a\"", &[], "docker.io/library/a:latest for linux/arm64"),
    ] {
        let plan = plan_with(text, &options(build_args)).unwrap();
        assert_eq!(images(&plan), [expected], "{text}");
    }
}

/// What an image is for: what was asked for; else its base says it.
#[test]
fn l409_the_platform_of_the_image() {
    use PlatformOrigin::{Default, Requested};
    for (origin, asked, text, expected) in [
        (Requested, "linux/arm64", "FROM a", "linux/arm64"),
        (Requested, "linux/arm64", "FROM --platform=linux/s390x a", "linux/arm64"),
        (
            Requested,
            "linux/arm64",
            "FROM --platform=linux/s390x scratch",
            "linux/arm64",
        ),
        (
            Requested,
            "linux/arm/v6",
            "FROM --platform=linux/arm/v7 a",
            "linux/arm/v6",
        ),
        (
            Requested,
            "linux/amd64",
            "FROM --platform=linux/amd64/v3 a",
            "linux/amd64/v3",
        ),
        (Default, "linux/amd64", "FROM a", "linux/amd64"),
        (Default, "linux/amd64", "FROM --platform=linux/s390x a", "linux/s390x"),
        (
            Default,
            "linux/amd64",
            "FROM --platform=linux/s390x a AS b\nFROM b",
            "linux/s390x",
        ),
        (Default, "linux/amd64", "FROM scratch", "linux/amd64"),
    ] {
        let options = PlanOptions {
            target_platform: asked.parse().unwrap(),
            platform_origin: origin,
            ..options(&[])
        };
        let plan = plan_with(text, &options).unwrap();
        let product = &plan.products[0];
        assert_eq!(product.platform.to_string(), expected, "{origin:?} {asked} {text}");
        assert_eq!(product.config.platform, product.platform);
    }
}
