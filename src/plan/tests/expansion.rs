//! Arguments and variables, and what they make of the steps.

use super::*;

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
    assert_eq!(
        created_by(&plan).last(),
        Some(&"RUN |1 http_proxy=p /bin/sh -c x # buildkit")
    );
}
