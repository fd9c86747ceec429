//! Rows 153, 154, 419 to 424 and 427 of the checklist: which steps a change makes new ones. What they copy is not in
//! their identity: that is for whoever keeps results.

use super::*;

/// The target's steps that touch files: keyword and identity.
fn steps(text: &str, build_args: &[(&str, &str)]) -> Vec<(String, StepId)> {
    let plan = plan_with(text, &options(build_args)).unwrap();
    let keyword = |step: &PlannedStep| step.text.split(' ').next().unwrap().to_owned();
    changing(&plan).map(|step| (keyword(step), step.id)).collect()
}

/// The keywords of all steps of `new`, those in capitals whose identity `old` has not.
fn changed(old: &[(String, StepId)], new: &[(String, StepId)]) -> String {
    let show = |(keyword, id): &(String, StepId)| match old.iter().any(|(_, known)| known == id) {
        true => keyword.to_lowercase(),
        false => keyword.to_uppercase(),
    };
    new.iter().map(show).collect::<Vec<_>>().join(" ")
}

fn changed_files(old: &str, new: &str) -> String {
    changed(&steps(old, &[]), &steps(new, &[]))
}

#[test]
fn l419_l420_arguments() {
    let change = |text: &str| changed(&steps(text, &[("X", "1")]), &steps(text, &[("X", "2")]));
    for (what, text, expected) in [
        ("before the declaration", "FROM a\nRUN a\nARG X", "run"),
        ("unused after it", "FROM a\nARG X\nRUN a", "RUN"),
        ("undeclared", "FROM a\nRUN a", "run"),
        (
            "steps that do not expand it",
            "FROM a\nARG X\nCOPY f /\nWORKDIR /w\nRUN a",
            "copy workdir RUN",
        ),
        ("steps that do", "FROM a\nARG X\nCOPY f$X /\nRUN a", "COPY RUN"),
        ("what follows the RUN", "FROM a\nARG X\nRUN a\nCOPY f /", "RUN COPY"),
        ("a constant over it", "FROM a\nARG X\nENV X=const\nRUN a", "run"),
        ("a variable made of it", "FROM a\nARG X\nENV Y=$X\nRUN a", "RUN"),
        ("of the base stage", "FROM a AS p\nARG X\nFROM p\nRUN a", "RUN"),
        (
            "of another stage",
            "FROM a AS p\nARG X\nFROM a\nCOPY --from=p f /\nRUN a",
            "copy run",
        ),
        (
            "a source stage that ran under it",
            "FROM a AS p\nARG X\nRUN a\nFROM a\nCOPY --from=p f /",
            "COPY",
        ),
    ] {
        assert_eq!(change(text), expected, "{what}: {text}");
    }
}

#[test]
fn l421_variables() {
    for (old, new, expected) in [
        (
            "FROM a\nENV E=1\nCOPY f /\nRUN a",
            "FROM a\nENV E=2\nCOPY f /\nRUN a",
            "copy RUN",
        ),
        (
            "FROM a\nCOPY f /\nENV E=1\nRUN a",
            "FROM a\nCOPY f /\nENV E=2\nRUN a",
            "copy RUN",
        ),
        (
            "FROM a\nENV E=1\nRUN a\nCOPY f /",
            "FROM a\nENV E=2\nRUN a\nCOPY f /",
            "RUN COPY",
        ),
        ("FROM a\nENV E=1\nRUN a", "FROM a\nENV E=1 E=1\nRUN a", "run"),
        ("FROM a\nENV E=1\nCOPY f /$E", "FROM a\nENV E=2\nCOPY f /$E", "COPY"),
        ("FROM a\nENV E=1\nCOPY f /$E", "FROM a\nENV D=1\nCOPY f /$D", "copy"),
    ] {
        assert_eq!(changed_files(old, new), expected, "{new}");
    }
}

#[test]
fn l422_l423_metadata() {
    let with = |instruction: &str| format!("FROM a\nRUN a\n{instruction}\nCOPY f /x\nRUN b");
    for (instruction, expected) in [
        ("LABEL a=b", "run copy run"),
        ("CMD x", "run copy run"),
        ("ENTRYPOINT x", "run copy run"),
        ("EXPOSE 1", "run copy run"),
        ("VOLUME /v", "run copy run"),
        ("STOPSIGNAL 9", "run copy run"),
        ("HEALTHCHECK NONE", "run copy run"),
        ("MAINTAINER m", "run copy run"),
        ("ONBUILD RUN x", "run copy run"),
        ("USER u", "run copy RUN"),
        ("SHELL [\"s\"]", "run copy RUN"),
        ("WORKDIR /w", "run WORKDIR COPY RUN"),
    ] {
        assert_eq!(changed_files(&with(""), &with(instruction)), expected, "{instruction}");
    }
    let mut labelled = options(&[]);
    labelled.labels = vec![("a".to_owned(), "b".to_owned())];
    let (plan, plain) = (plan_with(&with(""), &labelled).unwrap(), plan_of(&with("")));
    assert_eq!(ids(&plan), ids(&plain));
}

#[test]
fn l424_l427_bases() {
    let change = |text: &str| changed_files(&format!("FROM a\n{text}"), &format!("FROM b\n{text}"));
    assert_eq!(change("RUN a\nCOPY f /"), "RUN COPY");
    assert_eq!(change("COPY --link f /"), "copy");
    assert_eq!(change("COPY --link f /\nRUN a"), "copy RUN");
    assert_eq!(
        change("RUN a\nCOPY --link f /\nCOPY --link g /\nCOPY h /"),
        "RUN copy copy COPY"
    );

    // What counts of an image is what it is, not what it is called.
    let steps_on = |content: &str| {
        let file = parse("Dockerfile", b"FROM a:latest\nRUN a").unwrap();
        let outline = outline(&file, &options(&[])).unwrap();
        let image = outline.images()[0].image.clone();
        let base = BaseConfig {
            manifest_digest: Digest::of(content.as_bytes()),
            ..base_config(&image)
        };
        match plan(&outline, &BaseConfigs::from([(image, base)])).unwrap() {
            Planning::Ready(plan) => ids(&plan),
            Planning::Needs(images) => panic!("{images:?}"),
        }
    };
    // On nothing, a RUN depends on the platform, and a COPY does not.
    let on_scratch = |text: &str| {
        changed_files(
            &format!("FROM --platform=linux/amd64 scratch\n{text}"),
            &format!("FROM --platform=linux/s390x scratch AS p\nFROM p\n{text}"),
        )
    };
    assert_eq!(on_scratch("COPY f /\nRUN a"), "copy RUN");
    assert_eq!(steps_on("one"), steps_on("one"));
    assert_ne!(steps_on("one"), steps_on("another"));
}

#[test]
fn l153_l154_proxies() {
    for (text, expected) in [
        ("FROM a\nRUN a", "run"),
        ("FROM a\nARG http_proxy\nRUN a", "RUN"),
        ("FROM a\nARG http_proxy\nCOPY f /\nRUN a", "copy RUN"),
    ] {
        let without = steps(text, &[]);
        assert_eq!(
            changed(&without, &steps(text, &[("http_proxy", "p")])),
            expected,
            "{text}"
        );
    }
}

/// Section 8: of a copy's source the base name counts, besides its content.
#[test]
fn what_a_copy_s_result_depends_on() {
    let fingerprint = |copy: &str| {
        let plan = plan_of(&format!("FROM a\n{copy}"));
        target(&plan).steps[0].step.fingerprint()
    };
    let reference = fingerprint("COPY a/b/f /x");
    for same in ["COPY c/f /x", "COPY f /x", "COPY /f/ /x"] {
        assert_eq!(fingerprint(same), reference, "{same}");
    }
    for other in [
        "COPY a/b/g /x",
        "COPY a/b/f /y",
        "COPY a/b/f /x/",
        "COPY a/b/f f /x",
        "COPY --chown=1 a/b/f /x",
        "COPY --chmod=1 a/b/f /x",
        "COPY --exclude=e a/b/f /x",
        "COPY --parents a/b/f /x",
        "COPY --link a/b/f /x",
        "ADD a/b/f /x",
    ] {
        assert_ne!(fingerprint(other), reference, "{other}");
    }
    assert_ne!(
        fingerprint("COPY --parents a/f /x"),
        fingerprint("COPY --parents b/f /x")
    );
    // The steps themselves are two.
    let id = |copy: &str| ids(&plan_of(&format!("FROM a\n{copy}")));
    assert_ne!(id("COPY a/b/f /x"), id("COPY c/f /x"));
}

#[test]
fn what_identities_depend_on() {
    let base = "FROM a\nARG x=1\nCOPY f /\nRUN one\nENV e=1\nRUN two";
    let count_same = |text: &str| {
        let (old, new) = (ids(&plan_of(base)), ids(&plan_of(text)));
        old.iter().zip(&new).take_while(|(a, b)| a == b).count()
    };
    for (what, text, same) in [
        ("nothing", base, 3),
        (
            "metadata",
            "FROM a\nARG x=1\nLABEL l=1\nCOPY f /\nCMD y\nRUN one\nENV e=1\nEXPOSE 1\nRUN two",
            3,
        ),
        (
            "white space and comments",
            "FROM a\nARG x=1\n\n# c\nCOPY   f  /\nRUN one\nENV e=1\nRUN two",
            3,
        ),
        ("ARG", "FROM a\nARG x=2\nCOPY f /\nRUN one\nENV e=1\nRUN two", 1),
        ("ENV", "FROM a\nARG x=1\nCOPY f /\nRUN one\nENV e=2\nRUN two", 2),
        (
            "USER",
            "FROM a\nARG x=1\nCOPY f /\nRUN one\nENV e=1\nUSER u\nRUN two",
            2,
        ),
        ("base", "FROM b\nARG x=1\nCOPY f /\nRUN one\nENV e=1\nRUN two", 0),
        (
            "destination",
            "FROM a\nARG x=1\nCOPY f /g\nRUN one\nENV e=1\nRUN two",
            0,
        ),
    ] {
        assert_eq!(count_same(text), same, "{what}");
    }
    let copied = |run: &str| ids(&plan_of(&format!("FROM a AS p\nRUN {run}\nFROM a\nCOPY --from=p / /")));
    assert_ne!(copied("x"), copied("y"));
}
