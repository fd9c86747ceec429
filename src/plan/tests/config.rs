//! The image's config as a whole: what is inherited, added, replaced and left out.

use super::*;

/// What the image's config holds at `pointer`.
fn member(text: &str, pointer: &str) -> Value {
    let config = serde_json::to_value(&plan_of(text).products[0].config).unwrap();
    config.pointer(pointer).cloned().unwrap_or_default()
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
        assert_eq!(member(text, pointer), expected, "{rule}: {text}");
    }
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
