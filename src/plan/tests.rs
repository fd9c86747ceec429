//! Tables over whole Dockerfiles: a row for each rule of the language that planning implements.

mod epoch;
mod history;
mod identity;
mod metadata;
mod onbuild;
mod transfers;

use std::fmt::Write as _;

use serde_json::{Value, json};

mod mounts;

use super::*;
use crate::diagnostic::render;
use crate::dockerfile::parse;

/// Plans with a config for every image; `base` has the environment the rows speak of.
pub(super) fn plan_with(text: &str, options: &PlanOptions) -> Result<Plan, String> {
    let file = parse("Dockerfile", text.as_bytes()).map_err(|error| render(&error))?;
    let outline = outline(&file, options).map_err(|error| render(&error))?;
    let mut configs = BaseConfigs::new();
    loop {
        match plan(&outline, &configs).map_err(|error| render(&error))? {
            Planning::Ready(plan) => return Ok(plan),
            Planning::Needs(images) => {
                for need in images {
                    configs.insert(need.image.clone(), base_config(&need.image));
                }
            }
        }
    }
}

fn base_config(image: &ImageKey) -> BaseConfig {
    let config = match image.source.reference().unwrap().repository() {
        "library/base" => json!({
            "Env": ["PATH=/bin", "F=base"], "Cmd": ["old"], "User": "u", "WorkingDir": "/w", "Labels": {"a": "0", "z": "0"},
            "ExposedPorts": {"1/tcp": {}}, "Volumes": {"/v": {}}, "Shell": ["/bin/ash", "-c"], "StopSignal": "HUP",
            "Healthcheck": {"Test": ["CMD", "x"], "Interval": 5, "Retries": 1},
        }),
        "library/onbuild" => json!({"OnBuild": ["ENV T=1", "RUN trigger $T"]}),
        "library/copies" => json!({"OnBuild": ["COPY --from=other x /"]}),
        _ => json!({}),
    };
    let mut value = serde_json::to_value(&image.platform).unwrap();
    value["config"] = config;
    value["created"] = json!("2020-01-01T00:00:00Z");
    value["rootfs"] = json!({"type": "layers", "diff_ids": [Digest::of(b"layer").to_string()]});
    value["history"] = json!([{"created": "2020-01-01T00:00:00Z", "created_by": "base"}]);
    BaseConfig {
        manifest_digest: Digest::of(image.to_string().as_bytes()),
        config: ImageConfig::parse(&serde_json::to_vec(&value).unwrap()).unwrap(),
    }
}

pub(super) fn options(build_args: &[(&str, &str)]) -> PlanOptions {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    PlanOptions {
        build_args: build_args.iter().map(owned).collect(),
        target_platform: Platform::new("linux", "arm64", None),
        build_platform: Platform::new("linux", "amd64", None),
        ..PlanOptions::default()
    }
}

pub(super) fn plan_of(text: &str) -> Plan {
    plan_with(text, &options(&[])).unwrap()
}

pub(super) fn target(plan: &Plan) -> &PlannedStage {
    plan.stage(plan.products[0].stage).unwrap()
}

fn last_run(plan: &Plan) -> &RunStep {
    let run = |step: &'_ PlannedStep| matches!(step.step, Step::Run(_));
    match &target(plan).steps.iter().rfind(|step| run(step)).unwrap().step {
        Step::Run(run) => run,
        other => panic!("{other:?}"),
    }
}

/// The last RUN's variables but PATH, as one line.
fn env(text: &str, build_args: &[(&str, &str)]) -> String {
    let plan = plan_with(text, &options(build_args)).unwrap();
    let env = last_run(&plan).env.iter().filter(|entry| !entry.starts_with("PATH="));
    env.cloned().collect::<Vec<_>>().join(" ")
}

#[test]
fn arguments_and_variables() {
    const NONE: &[(&str, &str)] = &[];
    for (rule, text, build_args, expected) in [
        ("global is not visible", "ARG t=1\nFROM a\nRUN x", NONE, ""),
        ("redeclared", "ARG t=1\nFROM a\nARG t\nRUN x", NONE, "t=1"),
        (
            "stage default wins over global",
            "ARG t=1\nFROM a\nARG t=9\nRUN x",
            NONE,
            "t=9",
        ),
        (
            "build-arg wins",
            "ARG t=1\nFROM a\nARG t=9\nRUN x",
            &[("t", "5")],
            "t=5",
        ),
        (
            "last build-arg wins",
            "FROM a\nARG t\nRUN x",
            &[("t", "1"), ("t", "2")],
            "t=2",
        ),
        (
            "items see earlier items",
            "FROM a\nARG a=1 b=$a\nRUN x",
            NONE,
            "a=1 b=1",
        ),
        ("globals too", "ARG a=1 b=$a\nFROM a\nARG b\nRUN x", NONE, "b=1"),
        (
            "default not evaluated",
            "FROM a\nARG X=${Y:?e}\nRUN x",
            &[("X", "1")],
            "X=1",
        ),
        ("no value", "FROM a\nARG x\nRUN x", NONE, ""),
        ("empty value", "FROM a\nARG x=\nRUN x", NONE, "x="),
        ("empty build-arg", "FROM a\nARG x=1\nRUN x", &[("x", "")], "x="),
        (
            "build-arg is raw",
            "FROM a\nARG x\nRUN x",
            &[("x", "\"$q\"")],
            "x=\"$q\"",
        ),
        (
            "quotes are removed",
            "FROM a\nARG x=\"a b\" y='a'\nRUN x",
            NONE,
            "x=a b y=a",
        ),
        ("ENV after ARG", "FROM a\nARG F=1\nENV F=2\nRUN x", NONE, "F=2"),
        ("ARG after ENV", "FROM a\nENV F=1\nARG F=2\nRUN x", NONE, "F=2"),
        ("valueless ARG after ENV", "FROM a\nENV F=1\nARG F\nRUN x", NONE, "F=1"),
        (
            "given ARG after ENV",
            "FROM a\nENV F=1\nARG F\nRUN x",
            &[("F", "3")],
            "F=3",
        ),
        ("ARG after base env", "FROM base\nARG F=2\nRUN x", NONE, "F=2"),
        ("inherited", "FROM a AS p\nARG x=1\nFROM p\nRUN x", NONE, "x=1"),
        (
            "not by siblings",
            "FROM a AS p\nARG x=1\nFROM a\nCOPY --from=p / /\nRUN x",
            NONE,
            "",
        ),
        ("automatic needs ARG", "FROM a\nRUN x", NONE, ""),
        (
            "automatic",
            "FROM a\nARG TARGETARCH BUILDARCH\nRUN x",
            NONE,
            "TARGETARCH=arm64 BUILDARCH=amd64",
        ),
        (
            "automatic overridden",
            "FROM a\nARG TARGETOS TARGETARCH\nRUN x",
            &[("TARGETOS", "x")],
            "TARGETOS=x TARGETARCH=arm64",
        ),
        (
            "default beats automatic",
            "FROM a\nARG TARGETARCH=foo\nRUN x",
            NONE,
            "TARGETARCH=foo",
        ),
        ("no variant", "FROM a\nARG TARGETVARIANT\nRUN x", NONE, "TARGETVARIANT="),
        (
            "unnamed target",
            "FROM a\nARG TARGETSTAGE\nRUN x",
            NONE,
            "TARGETSTAGE=default",
        ),
        (
            "named target",
            "FROM a AS N\nARG TARGETSTAGE\nRUN x",
            NONE,
            "TARGETSTAGE=n",
        ),
        ("undeclared build-arg", "FROM a\nRUN x", &[("zzz", "1")], ""),
        (
            "one snapshot for ENV",
            "FROM a\nENV abc=hello\nENV abc=bye def=$abc\nRUN x",
            NONE,
            "abc=bye def=hello",
        ),
        ("ENV keys expand", "FROM a\nENV k=K\nENV $k=v\nRUN x", NONE, "k=K K=v"),
        ("legacy ENV", "FROM a\nENV k a  b\nRUN x", NONE, "k=a  b"),
        (
            "twice, in place",
            "FROM a\nENV a=1 b=2\nENV a=3\nRUN x",
            NONE,
            "a=3 b=2",
        ),
        ("not of later stages", "FROM a AS p\nARG x=1\nFROM a$x\nRUN x", NONE, ""),
    ] {
        assert_eq!(env(text, build_args), expected, "{rule}");
    }
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
        let images: Vec<String> = plan.images.iter().map(|need| need.image.to_string()).collect();
        assert_eq!(images, [expected], "{text}");
    }
}

#[test]
fn the_final_config() {
    for (rule, text, pointer, expected) in [
        ("inherited", "FROM base", "/config/Cmd", json!(["old"])),
        ("inherited", "FROM base", "/config/User", json!("u")),
        ("inherited", "FROM base", "/config/Shell", json!(["/bin/ash", "-c"])),
        ("triggers are consumed", "FROM onbuild", "/config/OnBuild", Value::Null),
        ("created is not inherited", "FROM base", "/created", Value::Null),
        ("layers are the driver's", "FROM base", "/rootfs/diff_ids", json!([])),
        ("platform", "FROM base", "/architecture", json!("arm64")),
        (
            "no ARG in Env",
            "FROM a\nARG x=1\nENV y=2",
            "/config/Env/1",
            json!("y=2"),
        ),
        (
            "default PATH",
            "FROM a",
            "/config/Env/0",
            json!("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ),
        ("PATH kept", "FROM base", "/config/Env/0", json!("PATH=/bin")),
        (
            "PATH extended",
            "FROM base\nENV PATH=/x:$PATH",
            "/config/Env/0",
            json!("PATH=/x:/bin"),
        ),
        (
            "ENV stays under ARG",
            "FROM a\nENV F=1\nARG F=2",
            "/config/Env/1",
            json!("F=1"),
        ),
        (
            "later LABEL wins",
            "FROM base\nLABEL a=1\nLABEL a=2",
            "/config/Labels",
            json!({"a": "2", "z": "0"}),
        ),
        (
            "LABEL keys expand",
            "FROM a\nENV k=K\nLABEL $k=v",
            "/config/Labels",
            json!({"K": "v"}),
        ),
        (
            "not from copied stages",
            "FROM a AS p\nLABEL a=1\nFROM a\nCOPY --from=p / /",
            "/config/Labels",
            Value::Null,
        ),
        (
            "ports add up",
            "FROM base\nEXPOSE 80-81/UDP",
            "/config/ExposedPorts",
            json!({"1/tcp": {}, "80/udp": {}, "81/udp": {}}),
        ),
        (
            "ports of a variable",
            "FROM a\nARG P=\"3 4/udp\"\nEXPOSE $P",
            "/config/ExposedPorts",
            json!({"3/tcp": {}, "4/udp": {}}),
        ),
        ("no ports", "FROM a\nEXPOSE $U", "/config/ExposedPorts", Value::Null),
        (
            "volumes add up",
            "FROM base\nENV x=/x\nVOLUME [\"${x}\"]\nVOLUME /y /z",
            "/config/Volumes",
            json!({"/v": {}, "/x": {}, "/y": {}, "/z": {}}),
        ),
        ("CMD", "FROM a\nCMD a b", "/config/Cmd", json!(["/bin/sh", "-c", "a b"])),
        (
            "CMD under SHELL",
            "FROM base\nCMD a",
            "/config/Cmd",
            json!(["/bin/ash", "-c", "a"]),
        ),
        (
            "CMD is not expanded",
            "FROM a\nCMD [\"$x\"]",
            "/config/Cmd",
            json!(["$x"]),
        ),
        ("CMD marks", "FROM a\nCMD [\"x\"]", "/config/ArgsEscaped", json!(true)),
        (
            "ENTRYPOINT clears",
            "FROM base\nENTRYPOINT [\"e\"]",
            "/config/Cmd",
            Value::Null,
        ),
        (
            "CMD after",
            "FROM base\nENTRYPOINT [\"e\"]\nCMD [\"c\"]",
            "/config/Cmd",
            json!(["c"]),
        ),
        (
            "CMD before",
            "FROM base\nCMD [\"c\"]\nENTRYPOINT [\"e\"]",
            "/config/Cmd",
            json!(["c"]),
        ),
        (
            "CMD of a base stage",
            "FROM a AS p\nCMD [\"c\"]\nFROM p\nENTRYPOINT [\"e\"]",
            "/config/Cmd",
            Value::Null,
        ),
        (
            "ENTRYPOINT []",
            "FROM a\nENTRYPOINT [\"e\"]\nENTRYPOINT []",
            "/config/Entrypoint",
            Value::Null,
        ),
        (
            "SHELL",
            "FROM a\nSHELL [\"s\"]\nENTRYPOINT x",
            "/config/Entrypoint",
            json!(["s", "x"]),
        ),
        (
            "STOPSIGNAL",
            "FROM a\nARG s=term\nSTOPSIGNAL $s",
            "/config/StopSignal",
            json!("term"),
        ),
        (
            "HEALTHCHECK shell",
            "FROM a\nHEALTHCHECK CMD x $y",
            "/config/Healthcheck/Test",
            json!(["CMD-SHELL", "x $y"]),
        ),
        (
            "HEALTHCHECK exec",
            "FROM a\nHEALTHCHECK CMD [\"x\"]",
            "/config/Healthcheck/Test",
            json!(["CMD", "x"]),
        ),
        (
            "HEALTHCHECK replaces all",
            "FROM base\nHEALTHCHECK NONE",
            "/config/Healthcheck",
            json!({"Test": ["NONE"]}),
        ),
        ("MAINTAINER", "FROM a\nMAINTAINER $x y", "/author", json!("$x y")),
        ("USER", "FROM a\nARG u=x\nUSER $u:1", "/config/User", json!("x:1")),
        (
            "WORKDIR chain",
            "FROM a\nWORKDIR /a\nWORKDIR b\nWORKDIR ../c",
            "/config/WorkingDir",
            json!("/a/c"),
        ),
        (
            "WORKDIR as written",
            "FROM a\nWORKDIR /x/",
            "/config/WorkingDir",
            json!("/x/"),
        ),
        ("WORKDIR ~", "FROM a\nWORKDIR ~", "/config/WorkingDir", json!("/~")),
        (
            "ONBUILD",
            "FROM a\nONBUILD RUN $x",
            "/config/OnBuild",
            json!(["RUN $x"]),
        ),
        (
            "ONBUILD in the child",
            "FROM a AS p\nONBUILD ENV c=1\nFROM p",
            "/config/Env/1",
            json!("c=1"),
        ),
        (
            "not in the grandchild",
            "FROM a AS p\nONBUILD USER x\nFROM p AS q\nUSER y\nFROM q",
            "/config/User",
            json!("y"),
        ),
        ("scratch", "FROM scratch", "/config/WorkingDir", json!("/")),
        (
            "base history first",
            "FROM base\nENV a=b",
            "/history/0/created_by",
            json!("base"),
        ),
        (
            "own history after",
            "FROM base\nENV a=b",
            "/history/1",
            json!({"created_by": "ENV a=b", "comment": "buildkit.dockerfile.v0", "empty_layer": true}),
        ),
        (
            "stages share history",
            "FROM base AS p\nENV a=b\nFROM p\nENV c=d",
            "/history/2/created_by",
            json!("ENV c=d"),
        ),
        (
            "no history of ONBUILD",
            "FROM a\nONBUILD RUN x",
            "/history/1",
            Value::Null,
        ),
    ] {
        let plan = plan_of(text);
        let config = serde_json::to_value(&plan.products[0].config).unwrap();
        assert_eq!(
            *config.pointer(pointer).unwrap_or(&Value::Null),
            expected,
            "{rule}: {text}"
        );
    }
}

#[test]
fn mistakes() {
    for (text, message) in [
        ("FROM a\nLABEL $x=1", "LABEL names can not be blank"),
        ("FROM a\nVOLUME $x", "VOLUME specified can not be an empty string"),
        ("FROM a\nSTOPSIGNAL $x", "invalid signal: "),
        (
            "FROM a\nENV P=\"3 4\"\nEXPOSE \"$P\"",
            "invalid port: \"3 4\": invalid containerPort: 3 4",
        ),
        ("FROM a\nCOPY git@h:x /y", "source can't be a git ref for COPY"),
        ("FROM a\nENV u=http://h/x\nCOPY $u /y", "source can't be a URL for COPY"),
        (
            "FROM a\nADD --checksum=sha256:0 a b /y",
            "checksum can't be specified for multiple sources",
        ),
        (
            "FROM a\nADD --checksum=sha256:0 a /y",
            "checksum requires HTTP(S) or Git sources",
        ),
        ("FROM a\nCOPY https://u:p@h/x /y", "source can't be a URL for COPY"),
        (
            "FROM a\nCOPY https://h/r.git#main /y",
            "source can't be a git ref for COPY",
        ),
        (
            "FROM a\nCOPY --chmod=zz a /y",
            "invalid chmod parameter: 'zz': invalid syntax",
        ),
        ("FROM a\nCOPY --from=-1 a /y", "invalid stage index -1"),
        ("FROM a\nCOPY <<E /x\n${\nE", "failed to process"),
        ("FROM \"\"", "base name (\"\") should not be blank"),
        ("ARG x=1\nFROM $y", "base name ($y) should not be blank"),
        (
            "FROM a AS one\nARG t=1\nFROM b:$t",
            "\"b:\" is neither a stage nor an image",
        ),
        (
            "FROM a AS one\nFROM one AS two\nCOPY --from=three / /\nFROM two AS three",
            "circular dependency detected on stage: two",
        ),
    ] {
        let report = plan_with(text, &options(&[])).unwrap_err();
        let first = report.lines().next().unwrap();
        assert!(first.starts_with(&format!("error: {message}")), "{text}: {report}");
        assert!(report.contains("  Dockerfile:"), "no excerpt: {report}");
    }
}

#[test]
fn steps_after_expansion() {
    let shown = |text: &str| {
        let plan = plan_of(text);
        target(&plan).steps.last().unwrap().to_string()
    };
    for (text, expected) in [
        ("FROM base\nRUN x", r#"run ["/bin/ash", "-c", "x"] in "/w" as u"#),
        ("FROM base\nRUN [\"x\", \"$y\"]", r#"run ["x", "$y"] in "/w" as u"#),
        ("FROM base\nRUN", r#"run ["/bin/ash", "-c", ""] in "/w" as u"#),
        (
            "FROM a\nENTRYPOINT [\"e\"]\nRUN x",
            r#"run ["/bin/sh", "-c", "x"] in "/""#,
        ),
        ("FROM base\nCOPY x y", r#"copy from the context to "/w/y""#),
        ("FROM base\nCOPY x $e", r#"copy from the context to "/w/""#),
        (
            "FROM base\nCOPY --chown=$F:1 x y",
            r#"copy from the context to "/w/y" owned by base:1"#,
        ),
        (
            "FROM a\nARG m=go=u\nCOPY --chmod=$m x /",
            r#"copy from the context to "/" mode go=u"#,
        ),
        ("FROM a\nADD x /", r#"copy from the context to "/" extracting archives"#),
        ("FROM base\nUSER 1000\nWORKDIR d", r#"create "/w/d" owned by 1000"#),
        (
            "FROM a\nCOPY --from=other:1 x /",
            r#"copy from docker.io/library/other:1 for linux/arm64 to "/""#,
        ),
        (
            "FROM a\nCOPY --from=stage-0 x /",
            r#"copy from docker.io/library/stage-0:latest for linux/arm64 to "/""#,
        ),
    ] {
        let step = shown(text);
        let line = step.lines().nth(1).unwrap_or_default().trim();
        assert_eq!(line, expected, "{text}");
    }
    assert_eq!(target(&plan_of("FROM a\nWORKDIR /")).steps[0].step, Step::Metadata);
}

#[test]
fn only_what_the_target_needs() {
    let text = "FROM a AS one\nRUN x\nFROM b AS two\nCOPY --from=src:1 / /\nFROM c AS three\nCOPY --from=one / /\nFROM three AS four\nFROM d";
    for (wanted, stages, images) in [
        ("three", vec![0, 2], "a c"),
        ("FOUR", vec![0, 2, 3], "a c"),
        ("two", vec![1], "b src"),
        ("0", vec![0], "a"),
        ("4", vec![4], "d"),
        ("two,0", vec![0, 1], "a b src"),
        ("0,three,one", vec![0, 2], "a c"),
    ] {
        let options = PlanOptions {
            targets: wanted.split(',').map(str::to_owned).collect(),
            ..options(&[])
        };
        let plan = plan_with(text, &options).unwrap();
        let ids: Vec<usize> = plan.stages.iter().map(|stage| stage.id.0).collect();
        assert_eq!(ids, stages, "{wanted}");
        let mut shown = String::new();
        for need in &plan.images {
            let _ = write!(
                shown,
                "{} ",
                need.image
                    .source
                    .reference()
                    .unwrap()
                    .repository()
                    .trim_start_matches("library/")
            );
        }
        assert_eq!(shown.trim(), images, "{wanted}");
    }
    for (wanted, target) in [("two,0", 1), ("0,three,one", 0), ("THREE,four", 2)] {
        let options = PlanOptions {
            targets: wanted.split(',').map(str::to_owned).collect(),
            labels: vec![("l".to_owned(), "of the target".to_owned())],
            ..options(&[])
        };
        let plan = plan_with(text, &options).unwrap();
        assert_eq!(
            plan.products[0].stage,
            StageId(target),
            "{wanted}: the first is exported"
        );
        assert_eq!(plan.products[0].config.config.labels["l"], "of the target", "{wanted}");
        let labelled = plan
            .stages
            .iter()
            .any(|stage| stage.config.config.labels.contains_key("l"));
        assert!(!labelled, "{wanted}: a label is of the image alone");
    }
    let plan = plan_of(text);
    assert_eq!(plan.products[0].stage, StageId(4));
    assert_eq!(plan.images[0].purpose, ImageUse::Base);
}

#[test]
fn triggers_run_first_and_point_to_from() {
    let plan = plan_of("\nFROM onbuild\nRUN own");
    let stage = target(&plan);
    let texts: Vec<&str> = stage.steps.iter().map(|step| step.text.as_str()).collect();
    assert_eq!(texts, ["ENV T=1", "RUN trigger $T", "RUN own"]);
    assert_eq!(stage.steps[1].excerpt.span().first, 2);
    assert_eq!(stage.steps[2].excerpt.span().first, 3);
}

#[test]
fn labels_of_the_command_line() {
    let mut options = options(&[]);
    options.labels = vec![("a".to_owned(), "cli".to_owned())];
    let text = "FROM base AS p\nFROM p\nLABEL a=file b=file\nRUN x";
    let labelled = plan_with(text, &options).unwrap();
    assert_eq!(labelled.products[0].config.config.labels["a"], "cli");
    assert_eq!(labelled.products[0].config.config.labels["b"], "file");
    assert_eq!(labelled.stages[0].config.config.labels["a"], "0");
    assert_eq!(ids(&labelled), ids(&plan_of(text)), "labels are in no identity");
}

pub(super) fn ids(plan: &Plan) -> Vec<StepId> {
    let runs = target(plan).steps.iter().filter(|step| step.step != Step::Metadata);
    runs.map(|step| step.id).collect()
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

#[test]
fn proxies_reach_processes_and_nothing_else() {
    let with = options(&[("http_proxy", "p")]);
    let text = "FROM a\nRUN x";
    let plan = plan_with(text, &with).unwrap();
    assert_eq!(last_run(&plan).proxy_env, ["HTTP_PROXY=p", "http_proxy=p"]);
    assert_eq!(ids(&plan), ids(&plan_of(text)));
    assert_eq!(target(&plan).config, target(&plan_of(text)).config);
    let declared = "FROM a\nARG http_proxy\nRUN x";
    let plan = plan_with(declared, &with).unwrap();
    assert_ne!(ids(&plan), ids(&plan_of(declared)));
    let history = target(&plan).config.history.last().unwrap().created_by.clone();
    assert_eq!(history.as_deref(), Some("RUN |1 http_proxy=p /bin/sh -c x # buildkit"));
}

#[test]
fn dependencies_of_stages() {
    let plan = plan_of("FROM a AS p\nFROM b AS q\nFROM p\nCOPY --from=q x /\nCOPY --from=q y /");
    assert_eq!(target(&plan).dependencies(), [StageId(0), StageId(1)]);
}

/// Every prefix of a file that uses everything: an error or a plan, never a panic.
#[test]
fn damaged_files_do_not_panic() {
    let text = "ARG a=b\nFROM --platform=linux/$a onbuild AS x\nCOPY --chown=a:1 --chmod=u=rwX <<E *.c d/.\n${a%b}\nE\n\
                EXPOSE 1-2:3-4/udp $a\nUSER $a:é\nWORKDIR ../é\nHEALTHCHECK --interval=1s CMD x\nSTOPSIGNAL RTMIN+1\n\
                FROM x\nCOPY --from=0 --chmod=é / /\nONBUILD RUN é\nENTRYPOINT [\"é\"]\nVOLUME /é\n";
    let mut planned = 0;
    for (end, _) in text.char_indices() {
        planned += usize::from(plan_with(&text[..end], &options(&[("a", "arm64")])).is_ok());
    }
    assert!(planned > 20, "only {planned} prefixes were planned");
}

#[test]
fn l333_l334_checksums_belong_to_one_download_or_commit() {
    let sha = "0".repeat(64);
    let error = |line: &str| {
        let text = format!("FROM a\n{line}").replace("SHA", &sha);
        let rendered = plan_with(&text, &options(&[])).unwrap_err().replace(&sha, "SHA");
        let told = |line: &&str| line.starts_with("error: ") || line.starts_with("  = ");
        let lines: Vec<&str> = rendered.lines().filter(told).collect();
        lines.join("").replace("error: ", "").replace("  = ", ": ")
    };
    for (line, expected) in [
        (
            "ADD --checksum=sha256:SHA a /d",
            "checksum requires HTTP(S) or Git sources",
        ),
        (
            "ADD --checksum=sha256:SHA github.com/o/r /d",
            "checksum requires HTTP(S) or Git sources",
        ),
        (
            "ADD --checksum=sha256:SHA http://h/a http://h/b /d/",
            "checksum can't be specified for multiple sources",
        ),
        (
            "ADD --checksum=sha256:SHA http://h/a b /d/",
            "checksum can't be specified for multiple sources",
        ),
        (
            "ADD --checksum=md5:0123 http://h/a /d",
            r#"invalid checksum: digest "md5:0123" uses an unsupported algorithm (sha256 and sha512 are supported)"#,
        ),
        (
            "ADD --checksum=unknown:SHA http://h/a /d",
            r#"invalid checksum: digest "unknown:SHA" uses an unsupported algorithm (sha256 and sha512 are supported)"#,
        ),
        (
            "ADD --checksum=SHA http://h/a /d",
            r#"invalid checksum: digest "SHA" has no algorithm (expected sha256:<64 hex digits>)"#,
        ),
        (
            "ADD --checksum=sha256:0 http://h/a /d",
            r#"invalid checksum: digest "sha256:0" must have 64 lower-case hexadecimal digits after the colon"#,
        ),
        (
            "ADD --checksum=xyz git://h/a /d",
            r#"invalid checksum "xyz": it must be a commit or the beginning of one, in hexadecimal digits"#,
        ),
        (
            "ADD --keep-git-dir=false git://h/a?keep-git-dir=true /d",
            "inconsistent keep-git-dir configuration",
        ),
        ("ADD git://h/a?x=y /d", r#"unexpected query "x""#),
    ] {
        assert_eq!(error(line), expected, "{line}");
    }
}

#[test]
fn l328_l331_unpack_decides_about_downloads() {
    for (flag, archives) in [
        ("", Archives::Extract),
        ("--unpack ", Archives::ExtractDownloads),
        ("--unpack=true ", Archives::ExtractDownloads),
        ("--unpack=false ", Archives::Keep),
    ] {
        let plan = plan_of(&format!("FROM a\nADD {flag}http://h/x.tar /d"));
        match &target(&plan).steps[0].step {
            Step::Copy(copy) => assert_eq!(copy.archives, archives, "{flag}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn passwords_in_addresses_are_not_shown() {
    let text = "FROM a\nARG token\nADD https://me:secret@h/x https://${token}@h/y /d/";
    let plan = plan_with(text, &options(&[("token", "secret")])).unwrap();
    let shown = format!("{plan}");
    assert!(!shown.contains("secret"), "{shown}");
    assert!(shown.contains("source https://***@h/x as \"x\""), "{shown}");
    let steps = &target(&plan).steps;
    let history = steps[1].history.as_ref().unwrap().created_by.clone();
    assert_eq!(
        history.as_deref(),
        Some("ADD https://***@h/x https://***@h/y /d/ # buildkit")
    );
    assert!(!steps[1].text.contains("secret"), "{}", steps[1].text);
    assert!(!steps[1].excerpt.to_string().contains("secret"), "{}", steps[1].excerpt);
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
