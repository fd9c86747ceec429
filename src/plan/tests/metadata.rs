//! Rows 361 to 383 and 186 of the checklist: what instructions leave in the config.

use super::*;

/// The target's config as JSON.
fn config_of(text: &str) -> Value {
    serde_json::to_value(&target(&plan_of(text)).config).unwrap()
}

fn check(rows: &[(&str, &str, Value)]) {
    for (text, pointer, expected) in rows {
        let config = config_of(text);
        let found = config.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(found, expected, "{pointer} of {text}");
    }
}

#[test]
fn l361_labels() {
    check(&[
        ("FROM base\nLABEL a=1 a=2", "/config/Labels/a", json!("2")),
        (
            "FROM base\nLABEL \"two words\"='x y'",
            "/config/Labels/two words",
            json!("x y"),
        ),
        (
            "FROM base AS p\nLABEL a=1\nFROM p\nLABEL b=2",
            "/config/Labels",
            json!({"a": "1", "b": "2", "z": "0"}),
        ),
        (
            "FROM base AS p\nLABEL a=1\nFROM scratch\nCOPY --from=p /x /",
            "/config/Labels",
            Value::Null,
        ),
    ]);
}

#[test]
fn l362_exposed_ports_are_normal() {
    check(&[
        (
            "FROM a\nEXPOSE 80 53/udp 8080/TCP 90-92 70/sctp",
            "/config/ExposedPorts",
            json!({"80/tcp": {}, "53/udp": {}, "8080/tcp": {}, "90/tcp": {}, "91/tcp": {}, "92/tcp": {}, "70/sctp": {}}),
        ),
        (
            "FROM base\nEXPOSE 127.0.0.1:80:90",
            "/config/ExposedPorts",
            json!({"1/tcp": {}, "90/tcp": {}}),
        ),
    ]);
}

#[test]
fn l364_volumes_are_metadata() {
    let plan = plan_of("FROM a\nVOLUME /a /b\nVOLUME [\"/c d\", \" /e \"]");
    let volumes = serde_json::to_value(&target(&plan).config.config.volumes).unwrap();
    assert_eq!(volumes, json!({"/a": {}, "/b": {}, "/c d": {}, "/e": {}}));
    assert!(target(&plan).steps.iter().all(|step| step.step == Step::Metadata));
}

#[test]
fn l366_l370_commands_and_entrypoints() {
    let shell = json!(["/bin/sh", "-c", "a b"]);
    check(&[
        ("FROM a\nCMD a b", "/config/Cmd", shell.clone()),
        ("FROM a\nCMD a b", "/config/ArgsEscaped", json!(true)),
        ("FROM a\nCMD [\"a\", \"$b\"]", "/config/Cmd", json!(["a", "$b"])),
        ("FROM a\nENTRYPOINT a b", "/config/Entrypoint", shell),
        ("FROM a\nENTRYPOINT a b", "/config/ArgsEscaped", Value::Null),
        ("FROM base\nCMD []", "/config/Cmd", Value::Null),
        // An ENTRYPOINT clears what came from elsewhere.
        ("FROM base\nENTRYPOINT [\"e\"]", "/config/Cmd", Value::Null),
        ("FROM base\nENTRYPOINT []", "/config/Cmd", Value::Null),
        ("FROM base\nENTRYPOINT []", "/config/Entrypoint", Value::Null),
        (
            "FROM a AS p\nENTRYPOINT [\"e\"]\nFROM p\nENTRYPOINT []",
            "/config/Entrypoint",
            Value::Null,
        ),
        (
            "FROM a AS p\nCMD [\"c\"]\nFROM p\nENTRYPOINT [\"e\"]",
            "/config/Cmd",
            Value::Null,
        ),
        (
            "FROM base\nCMD [\"c\"]\nENTRYPOINT [\"e\"]",
            "/config/Cmd",
            json!(["c"]),
        ),
        (
            "FROM base\nENTRYPOINT [\"e\"]\nCMD [\"c\"]",
            "/config/Cmd",
            json!(["c"]),
        ),
        (
            "FROM base\nENTRYPOINT [\"e\"]\nCMD [\"c\"]\nENTRYPOINT [\"f\"]",
            "/config/Cmd",
            json!(["c"]),
        ),
        // A trigger's CMD is the child's own.
        (
            "FROM a AS p\nONBUILD CMD [\"c\"]\nFROM p\nENTRYPOINT [\"e\"]",
            "/config/Cmd",
            json!(["c"]),
        ),
        // SHELL counts from where it stands, and in images and stages built upon it.
        (
            "FROM a\nCMD x\nSHELL [\"s\", \"-c\"]",
            "/config/Cmd",
            json!(["/bin/sh", "-c", "x"]),
        ),
        (
            "FROM a\nSHELL [\"s\", \"-c\"]\nCMD x",
            "/config/Cmd",
            json!(["s", "-c", "x"]),
        ),
        ("FROM a\nSHELL [\"s\", \"-c\"]", "/config/Shell", json!(["s", "-c"])),
        (
            "FROM base\nENTRYPOINT x",
            "/config/Entrypoint",
            json!(["/bin/ash", "-c", "x"]),
        ),
        (
            "FROM a AS p\nSHELL [\"s\"]\nFROM p\nENTRYPOINT x",
            "/config/Entrypoint",
            json!(["s", "x"]),
        ),
    ]);
}

#[test]
fn l371_stop_signals() {
    for signal in ["SIGTERM", "term", "9", "RTMIN+3", "sigrtmax-14"] {
        check(&[(
            &format!("FROM a\nSTOPSIGNAL {signal}"),
            "/config/StopSignal",
            json!(signal),
        )]);
    }
    for (text, message) in [
        ("FROM a\nSTOPSIGNAL 0", "invalid signal: 0"),
        ("FROM a\nENV s=FOO\nSTOPSIGNAL $s", "invalid signal: FOO"),
        (
            "FROM --platform=windows/amd64 a\nSTOPSIGNAL 9",
            "STOPSIGNAL is not supported for windows",
        ),
    ] {
        let report = plan_with(text, &options(&[])).unwrap_err();
        assert!(report.starts_with(&format!("error: {message}\n")), "{report}");
    }
}

#[test]
fn l372_l374_health_checks() {
    let full = "HEALTHCHECK --interval=1s --timeout=1m30s --start-period=2h --start-interval=1ms --retries=4 CMD a";
    check(&[
        (
            "FROM base\nHEALTHCHECK NONE",
            "/config/Healthcheck",
            json!({"Test": ["NONE"]}),
        ),
        (
            "FROM a\nSHELL [\"s\"]\nHEALTHCHECK CMD x",
            "/config/Healthcheck",
            json!({"Test": ["CMD-SHELL", "x"]}),
        ),
        (
            "FROM a\nHEALTHCHECK CMD [\"x\", \"y\"]",
            "/config/Healthcheck",
            json!({"Test": ["CMD", "x", "y"]}),
        ),
        (
            "FROM a\nHEALTHCHECK --interval=0s CMD x",
            "/config/Healthcheck",
            json!({"Test": ["CMD-SHELL", "x"]}),
        ),
        (
            &format!("FROM a\n{full}"),
            "/config/Healthcheck",
            json!({
                "Test": ["CMD-SHELL", "a"], "Interval": 1_000_000_000, "Timeout": 90_000_000_000_i64,
                "StartPeriod": 7_200_000_000_000_i64, "StartInterval": 1_000_000, "Retries": 4,
            }),
        ),
        (
            &format!("FROM base\n{full}\nHEALTHCHECK --retries=2 CMD b"),
            "/config/Healthcheck",
            json!({"Test": ["CMD-SHELL", "b"], "Retries": 2}),
        ),
    ]);
}

#[test]
fn l375_l376_author_and_user_are_kept_as_written() {
    check(&[
        ("FROM base\nENV x=1\nMAINTAINER $x <y>", "/author", json!("$x <y>")),
        ("FROM base\nMAINTAINER y", "/config/Labels", json!({"a": "0", "z": "0"})),
        ("FROM a AS p\nMAINTAINER y\nFROM p", "/author", json!("y")),
        ("FROM a\nUSER no such user", "/config/User", json!("no such user")),
        ("FROM base\nUSER $none", "/config/User", Value::Null),
    ]);
}

#[test]
fn l379_l381_working_directories() {
    check(&[
        (
            "FROM a\nWORKDIR a\nWORKDIR b\nWORKDIR c",
            "/config/WorkingDir",
            json!("/a/b/c"),
        ),
        ("FROM base\nWORKDIR x", "/config/WorkingDir", json!("/w/x")),
        ("FROM a\nWORKDIR /a/b\nWORKDIR ..", "/config/WorkingDir", json!("/a")),
        ("FROM a\nWORKDIR /a\nWORKDIR ../../..", "/config/WorkingDir", json!("/")),
        ("FROM base\nWORKDIR $unset", "/config/WorkingDir", json!("/w")),
        ("FROM a\nWORKDIR /a/../b/", "/config/WorkingDir", json!("/a/../b/")),
        (
            "FROM a\nWORKDIR /a/../b/\nWORKDIR c",
            "/config/WorkingDir",
            json!("/b/c"),
        ),
        ("FROM a\nWORKDIR /two words", "/config/WorkingDir", json!("/two words")),
    ]);
    let plan = plan_of("FROM a\nWORKDIR /\nWORKDIR x\nWORKDIR ..");
    let steps = &target(&plan).steps;
    let is_layer: Vec<_> = steps.iter().map(|step| step.step != Step::Metadata).collect();
    assert_eq!(is_layer, [false, true, false]);
    let empty: Vec<_> = steps
        .iter()
        .map(|step| step.history.as_ref().unwrap().empty_layer)
        .collect();
    assert_eq!(empty, [true, false, true]);
}

/// The directory that a new one belongs to comes from USER by the rules of `--chown`.
#[test]
fn l380_owners_of_working_directories() {
    for (user, owner) in [
        ("USER 1000", "1000"),
        ("USER 1000:5", "1000:5"),
        ("USER app", "app"),
        ("USER app:staff", "app:staff"),
        ("USER root", "0"),
        ("", ""),
    ] {
        let plan = plan_of(&format!("FROM a\n{user}\nWORKDIR d"));
        let Step::Workdir(step) = &target(&plan).steps.last().unwrap().step else {
            panic!("no WORKDIR");
        };
        let shown = step.owner.as_ref().map_or(String::new(), ToString::to_string);
        assert_eq!(shown, owner, "{user}");
    }
}

/// What a base image calls its platform is said in the one way in which we say it.
#[test]
fn the_platform_of_a_base_is_normalised() {
    let platform = |text: &str| {
        let mut config = base_config(&outline_image()).config;
        config.platform = serde_json::from_str(text).unwrap();
        stage::StageState::begin(config).config.platform.to_string()
    };
    assert_eq!(
        platform(r#"{"os": "linux", "architecture": "arm64", "variant": "v8"}"#),
        "linux/arm64"
    );
    assert_eq!(platform(r#"{"os": "linux", "architecture": "x86_64"}"#), "linux/amd64");
    assert_eq!(
        platform(r#"{"os": "linux", "architecture": "arm", "variant": "v6"}"#),
        "linux/arm/v6"
    );
}

fn outline_image() -> ImageKey {
    plan_of("FROM a").images[0].image.clone()
}

#[test]
fn l383_a_base_s_working_directory_is_not_made() {
    let plan = plan_of("FROM base\nCOPY f d\nENV a=b");
    assert!(
        !target(&plan)
            .steps
            .iter()
            .any(|step| matches!(step.step, Step::Workdir(_)))
    );
    assert_eq!(target(&plan).config.config.working_dir.as_deref(), Some("/w"));
}
