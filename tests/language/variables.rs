//! ARG and ENV: rows 136 to 170.

use rbuild::oci::Platform;
use rbuild::plan::{Plan, PlanOptions};

use super::{config_env, options, plan_with, planned, target, variable};

type Arguments = &'static [(&'static str, &'static str)];

const NONE: Arguments = &[];

#[track_caller]
fn with(text: &str, build_args: Arguments) -> Plan {
    plan_with(text, &options(build_args)).unwrap_or_else(|report| panic!("{text:?}: {report}"))
}

/// The images a plan needs, without their registry.
fn images(plan: &Plan) -> Vec<String> {
    let name = |name: String| name.trim_start_matches("docker.io/library/").to_owned();
    plan.images.iter().map(|need| name(need.image.to_string())).collect()
}

#[test]
fn l136_l165_from_lines() {
    for (row, text, build_args, expected) in [
        (136, "ARG t=1\nFROM a:$t", NONE, &["a:1 for linux/arm64"][..]),
        (136, "ARG t=1\nFROM a:$t", &[("t", "2")], &["a:2 for linux/arm64"]),
        (
            139,
            "FROM a AS x\nARG t=1\nFROM b$t",
            NONE,
            &["b:latest for linux/arm64"],
        ),
        (140, "ARG a=1 b=$a\nFROM x:$b", NONE, &["x:1 for linux/arm64"]),
        (
            141,
            "ARG A=3\nARG B=alpine:${A}\nFROM $B",
            NONE,
            &["alpine:3 for linux/arm64"],
        ),
        (
            158,
            "FROM --platform=$BUILDPLATFORM x",
            NONE,
            &["x:latest for linux/amd64"],
        ),
        (
            159,
            "FROM a AS base-arm64\nFROM b AS base-amd64\nFROM base-${TARGETARCH}",
            NONE,
            &["a:latest for linux/arm64"],
        ),
        (
            160,
            "FROM a-$TARGETOS-$TARGETARCH",
            &[("TARGETOS", "x")],
            &["a-x-arm64:latest for linux/arm64"],
        ),
        (
            165,
            "ARG t=1\nFROM a:$t AS one\nFROM b:$t\nCOPY --from=one / /",
            NONE,
            &["a:1 for linux/arm64", "b:1 for linux/arm64"],
        ),
    ] {
        assert_eq!(images(&with(text, build_args)), expected, "row {row}: {text}");
    }
}

#[test]
fn l137_l170_what_a_process_sees() {
    for (row, text, build_args, name, expected) in [
        (137, "ARG t=1\nFROM a\nRUN x", NONE, "t", None),
        (138, "ARG t=1\nFROM a\nARG t\nRUN x", NONE, "t", Some("1")),
        (138, "ARG t=1\nFROM a\nARG t=9\nRUN x", NONE, "t", Some("9")),
        (138, "ARG t=1\nFROM a\nARG t=9\nRUN x", &[("t", "5")], "t", Some("5")),
        (138, "ARG t=1\nFROM a\nARG t\nRUN x", &[("t", "5")], "t", Some("5")),
        (140, "FROM a\nARG a=1 b=$a\nRUN x", NONE, "b", Some("1")),
        (
            142,
            "ARG FOO=${FOO:?msg}\nFROM a\nARG FOO\nRUN x",
            &[("FOO", "1")],
            "FOO",
            Some("1"),
        ),
        (143, "FROM a\nARG X=${Y:?e}\nRUN x", &[("X", "1")], "X", Some("1")),
        (144, "FROM a\nARG x\nRUN x", NONE, "x", None),
        (144, "FROM a\nARG x=\nRUN x", NONE, "x", Some("")),
        (144, "FROM a\nARG x=1\nRUN x", &[("x", "")], "x", Some("")),
        (145, "FROM a\nARG x\nRUN x", &[("x", "\"q\" $y")], "x", Some("\"q\" $y")),
        (146, "FROM a\nARG x=\"a b\"\nRUN x", NONE, "x", Some("a b")),
        (146, "FROM a\nARG x='a'\nRUN x", NONE, "x", Some("a")),
        (147, "FROM a\nARG F=1\nENV F=2\nRUN x", NONE, "F", Some("2")),
        (148, "FROM a\nENV F=1\nARG F=2\nRUN x", NONE, "F", Some("2")),
        (149, "FROM a\nENV F=1\nARG F\nRUN x", NONE, "F", Some("1")),
        (149, "FROM a\nENV F=1\nARG F\nRUN x", &[("F", "3")], "F", Some("3")),
        (150, "FROM base\nRUN x", NONE, "F", Some("1")),
        (150, "FROM base\nARG F=2\nRUN x", NONE, "F", Some("2")),
        (151, "FROM a AS p\nARG x=1\nFROM p\nRUN x", NONE, "x", Some("1")),
        (
            151,
            "FROM a AS p\nARG x=1\nFROM a\nCOPY --from=p / /\nRUN x",
            NONE,
            "x",
            None,
        ),
        (153, "FROM a\nRUN x", &[("http_proxy", "p")], "HTTP_PROXY", Some("p")),
        (153, "FROM a\nRUN x", &[("http_proxy", "p")], "http_proxy", Some("p")),
        (
            155,
            "FROM a\nRUN x",
            &[("HTTP_PROXY", "u"), ("http_proxy", "l")],
            "HTTP_PROXY",
            Some("l"),
        ),
        (156, "FROM a\nRUN x", &[("ALL_PROXY", "p")], "all_proxy", Some("p")),
        (156, "FROM a\nRUN x", &[("no_proxy", "p")], "NO_PROXY", Some("p")),
        (156, "FROM a\nRUN x", &[("FTP_PROXY", "p")], "ftp_proxy", Some("p")),
        (157, "FROM a\nRUN x", NONE, "TARGETARCH", None),
        (157, "FROM a\nARG TARGETARCH\nRUN x", NONE, "TARGETARCH", Some("arm64")),
        (
            160,
            "FROM a\nARG TARGETOS TARGETARCH\nRUN x",
            &[("TARGETOS", "x")],
            "TARGETARCH",
            Some("arm64"),
        ),
        (
            161,
            "FROM a\nARG TARGETARCH=foo\nRUN x",
            NONE,
            "TARGETARCH",
            Some("foo"),
        ),
        (162, "FROM a\nARG TARGETVARIANT\nRUN x", NONE, "TARGETVARIANT", Some("")),
        (
            163,
            "FROM a\nARG TARGETSTAGE\nRUN x",
            NONE,
            "TARGETSTAGE",
            Some("default"),
        ),
        (
            163,
            "FROM a AS Name\nARG TARGETSTAGE\nRUN x",
            NONE,
            "TARGETSTAGE",
            Some("name"),
        ),
        (164, "FROM a\nRUN x", &[("zzz", "1")], "zzz", None),
        (
            169,
            "FROM a\nENV PATH=/x:$PATH\nRUN x",
            NONE,
            "PATH",
            Some("/x:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ),
        (
            169,
            "FROM base\nENV PATH=/x:$PATH\nRUN x",
            NONE,
            "PATH",
            Some("/x:/bin"),
        ),
        // ARGs that are for the builder and never variables: section 3.2.
        (
            152,
            "FROM a\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nRUN x",
            NONE,
            "BUILDKIT_SBOM_SCAN_STAGE",
            None,
        ),
        (
            152,
            "FROM a\nARG BUILDKIT_SBOM_SCAN_CONTEXT\nRUN x",
            &[("BUILDKIT_SBOM_SCAN_CONTEXT", "1")],
            "BUILDKIT_SBOM_SCAN_CONTEXT",
            None,
        ),
    ] {
        let plan = with(text, build_args);
        assert_eq!(variable(&plan, name), expected, "row {row}: {text:?} {build_args:?}");
    }
}

#[test]
fn l148_l168_the_environment_of_the_image() {
    const DEFAULT: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    for (row, text, expected) in [
        (148, "FROM a\nENV F=1\nARG F=2", &[DEFAULT, "F=1"][..]),
        (152, "FROM a\nARG x=1\nENV y=2\nRUN x", &[DEFAULT, "y=2"]),
        (167, "FROM a\nENV a=1 b=2\nENV a=3", &[DEFAULT, "a=3", "b=2"]),
        (168, "FROM a", &[DEFAULT]),
        (168, "FROM base", &["PATH=/bin", "F=1"]),
        (168, "FROM windows", &[]),
    ] {
        assert_eq!(config_env(&planned(text)), expected, "row {row}: {text}");
    }
}

#[test]
fn l142_l166_mistakes() {
    for (row, text, problem) in [
        (142, "ARG FOO=${FOO:?msg}\nFROM a", "FOO: msg"),
        (143, "FROM a\nARG X=${Y:?e}", "Y: e"),
        (166, "RUN x\nFROM a", "no build stage in current context"),
        (166, "ARG a=1\nENV b=$a\nFROM a", "no build stage in current context"),
    ] {
        let report = plan_with(text, &options(NONE)).unwrap_err();
        assert!(report.contains(problem), "row {row}: {report}");
    }
}

/// History and identity stay as they are, unless the file declares the variable.
#[test]
fn l153_l154_proxies_leave_no_trace() {
    let trace = |text: &str, build_args: Arguments| {
        let plan = with(text, build_args);
        let target = target(&plan);
        let step = target.steps.last().unwrap();
        (target.config.history.clone(), step.id)
    };
    let given: Arguments = &[("http_proxy", "p")];
    let silent = "FROM a\nRUN x";
    assert_eq!(trace(silent, given), trace(silent, NONE), "row 153");
    let declared = "FROM a\nARG http_proxy\nRUN x";
    let (history, id) = trace(declared, given);
    assert_ne!(id, trace(declared, NONE).1, "row 154");
    let created_by = history.last().unwrap().created_by.as_deref();
    assert_eq!(
        created_by,
        Some("RUN |1 http_proxy=p /bin/sh -c x # buildkit"),
        "row 154"
    );
}

#[test]
fn l162_l163_platforms_and_targets() {
    let text = "FROM a AS one\nARG TARGETVARIANT TARGETPLATFORM TARGETSTAGE\nRUN x\nFROM one AS two";
    let with = |options: PlanOptions| plan_with(text, &options).unwrap();
    let arm = with(PlanOptions {
        target_platform: Platform::new("linux", "arm", None),
        ..options(NONE)
    });
    assert_eq!(run_variable(&arm, "TARGETVARIANT"), Some("v7"), "row 162");
    assert_eq!(run_variable(&arm, "TARGETPLATFORM"), Some("linux/arm/v7"), "row 162");
    assert_eq!(run_variable(&arm, "TARGETSTAGE"), Some("two"), "row 163");
    let requested = with(PlanOptions {
        targets: vec!["one".to_owned()],
        ..options(NONE)
    });
    assert_eq!(run_variable(&requested, "TARGETSTAGE"), Some("one"), "row 163");
}

/// The variable in the first stage, which has the RUN.
fn run_variable<'p>(plan: &'p Plan, name: &str) -> Option<&'p str> {
    let steps = plan.stages[0].steps.iter();
    let run = steps.filter_map(|step| match &step.step {
        rbuild::plan::Step::Run(run) => Some(run),
        _ => None,
    });
    let entries = run.flat_map(|run| &run.env).filter_map(|entry| entry.split_once('='));
    entries.filter(|(key, _)| *key == name).map(|(_, value)| value).next()
}
