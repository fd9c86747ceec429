//! RUN and its flags: a row for each rule, by the numbers of the language's checklist.

use super::*;

/// The mounts of the last RUN, as people read them.
fn mounts_of(text: &str, build_args: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let plan = plan_with(text, &options(build_args))?;
    Ok(last_run(&plan).mounts.iter().map(ToString::to_string).collect())
}

/// The one mount of a RUN in `/w` after a stage `s`.
fn mount(flag: &str) -> Result<String, String> {
    let mut mounts = mounts_of(&format!("FROM a AS s\nFROM b\nWORKDIR /w\nRUN --mount={flag} x"), &[])?;
    assert_eq!(mounts.len(), 1);
    Ok(mounts.remove(0))
}

/// What is wrong with it, the first line and the hints.
#[track_caller]
fn problem(flag: &str) -> String {
    let report = mount(flag).unwrap_err();
    let lines = report
        .lines()
        .filter(|line| line.starts_with("error: ") || line.contains("did you mean"));
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

#[test]
fn l196_l230_mounts_after_expansion() {
    for (row, flag, expected) in [
        (196, "target=/c", r#"bind "/" of the context on "/c" read-only"#),
        (197, "target=/c,rw", r#"bind "/" of the context on "/c""#),
        (197, "target=/c,ro=0", r#"bind "/" of the context on "/c""#),
        (
            197,
            "target=/c,readwrite=f",
            r#"bind "/" of the context on "/c" read-only"#,
        ),
        (
            198,
            "from=s,source=out/../o,dst=/o",
            r#"bind "/o" of stage 0 on "/o" read-only"#,
        ),
        (
            198,
            "from=S,src=o,destination=/o",
            r#"bind "/o" of stage 0 on "/o" read-only"#,
        ),
        (
            199,
            "from=0,target=/o",
            r#"bind "/" of docker.io/library/0:latest for linux/arm64 on "/o" read-only"#,
        ),
        (
            199,
            "from=img,target=/o",
            r#"bind "/" of docker.io/library/img:latest for linux/arm64 on "/o" read-only"#,
        ),
        (
            199,
            "from=scratch,target=/o",
            r#"bind "/" of scratch on "/o" read-only"#,
        ),
        (204, "type=tmpfs,target=/t", r#"tmpfs on "/t""#),
        (
            204,
            "TYPE=TMPFS,target=t,size=128m",
            r#"tmpfs of 134217728 bytes on "/w/t""#,
        ),
        (
            205,
            "type=cache,target=/c",
            r#"cache "//c" with "/" of scratch, Shared on "/c""#,
        ),
        (
            206,
            "type=cache,target=/c,id=i",
            r#"cache "/i" with "/" of scratch, Shared on "/c""#,
        ),
        (
            207,
            "type=cache,target=./x",
            r#"cache "/x" with "/" of scratch, Shared on "/w/x""#,
        ),
        (
            208,
            "type=cache,target=/c,uid=7",
            r#"cache "//c" with "/" of scratch, Shared, 7:0 mode 755 on "/c""#,
        ),
        (
            208,
            "type=cache,target=/c,mode=0700,gid=3",
            r#"cache "//c" with "/" of scratch, Shared, 0:3 mode 700 on "/c""#,
        ),
        (
            209,
            "type=cache,from=s,source=/p,target=/c",
            r#"cache "//c" with "/p" of stage 0, Shared on "/c""#,
        ),
        (
            210,
            "type=cache,target=/c,sharing=locked",
            r#"cache "//c" with "/" of scratch, Locked on "/c""#,
        ),
        (
            210,
            "type=cache,target=/c,sharing=Private,ro",
            r#"cache "//c" with "/" of scratch, Private on "/c" read-only"#,
        ),
        (
            215,
            "type=secret,id=a/b",
            r#"secret "a/b", 0:0 mode 400 on "/run/secrets/b" read-only"#,
        ),
        (
            216,
            "type=secret,id=x,target=/a/b",
            r#"secret "x", 0:0 mode 400 on "/a/b" read-only"#,
        ),
        (
            216,
            "type=secret,target=/a/b",
            r#"secret "b", 0:0 mode 400 on "/a/b" read-only"#,
        ),
        (
            216,
            "type=secret,source=y,target=b",
            r#"secret "y", 0:0 mode 400 on "/w/b" read-only"#,
        ),
        (
            217,
            "type=secret,id=x,mode=741,uid=100,gid=102",
            r#"secret "x", 100:102 mode 741 on "/run/secrets/x" read-only"#,
        ),
        (
            219,
            "type=secret,id=x,env=T",
            r#"secret "x", 0:0 mode 400, variable "T" read-only"#,
        ),
        (
            219,
            "type=secret,id=x,env=T,target=/t",
            r#"secret "x", 0:0 mode 400, variable "T" on "/t" read-only"#,
        ),
        (
            221,
            "type=secret,id=x,required",
            r#"secret "x", 0:0 mode 400, required on "/run/secrets/x" read-only"#,
        ),
        (
            225,
            "type=ssh",
            r#"ssh agent "default", 0:0 mode 600 on "/run/buildkit/ssh_agent.0" read-only"#,
        ),
        (
            225,
            "type=ssh,id=k,target=/s,mode=777,uid=5,gid=6,required=1",
            r#"ssh agent "k", 5:6 mode 777, required on "/s" read-only"#,
        ),
        (229, "type=cache", r#"cache "/." with "/" of scratch, Shared on "/w""#),
        (229, "source=x", r#"bind "/x" of the context on "/w" read-only"#),
    ] {
        assert_eq!(mount(flag), Ok(expected.to_owned()), "L{row}: {flag}");
    }
}

#[test]
fn l211_l230_mistakes_in_mounts() {
    for (row, flag, expected) in [
        (
            211,
            "type=tmpfs,target=/t,sharing=locked",
            "error: invalid cache sharing set for tmpfs mount",
        ),
        (
            211,
            "target=/t,sharing=shared",
            "error: invalid cache sharing set for bind mount",
        ),
        (
            210,
            "type=cache,target=/t,sharing=lock",
            "error: unsupported sharing value \"lock\" hint: did you mean locked?",
        ),
        (
            223,
            "type=secret,id=a,source=b",
            "error: both source and id can't be set",
        ),
        (
            223,
            "type=secret,id=a,from=s",
            "error: secret mount should not have a from",
        ),
        (
            223,
            "type=secret,id=a,sharing=shared",
            "error: invalid cache sharing set for secret mount",
        ),
        (
            223,
            "type=secret",
            "error: invalid secret mount. one of source, target required",
        ),
        (225, "type=ssh,source=x", "error: ssh does not support source"),
        (
            226,
            "required,type=secret,id=a",
            "error: unexpected key 'required' for mount type 'bind'",
        ),
        (
            226,
            "size=1m,type=tmpfs,target=/t",
            "error: unexpected key 'size' for mount type 'bind'",
        ),
        (
            227,
            "typ=tmpfs",
            "error: unexpected key 'typ' in 'typ=tmpfs' hint: did you mean type?",
        ),
        (
            227,
            "type=tmp,target=/t",
            "error: unsupported mount type \"tmp\" hint: did you mean tmpfs?",
        ),
        (227, "type=nothing", "error: unsupported mount type \"nothing\""),
        (
            228,
            "target=/t,mode=755",
            "error: mode not allowed for \"bind\" type mounts",
        ),
        (
            228,
            "type=tmpfs,target=/t,uid=1",
            "error: uid not allowed for \"tmpfs\" type mounts",
        ),
        (
            228,
            "target=/t,gid=1",
            "error: gid not allowed for \"bind\" type mounts",
        ),
        (228, "type=cache,target=/t,mode=8", "error: invalid value 8 for mode"),
        (228, "type=cache,target=/t,uid=-1", "error: invalid value -1 for uid"),
        (229, "target=/", "error: invalid mount target \"/\""),
        (229, "target=/x/..", "error: invalid mount target \"/\""),
        (230, "target=/t,ro=maybe", "error: invalid value for ro: maybe"),
        (
            230,
            "type=tmpfs,target=/t,size=big",
            "error: invalid value for size: big",
        ),
        (230, "type=ssh,required=", "error: invalid value for required: "),
        (230, "target", "error: invalid field 'target' must be a key=value pair"),
    ] {
        assert_eq!(problem(flag), expected.trim_end(), "L{row}: {flag}");
    }
}

#[test]
fn l133_l200_l231_names_and_variables_of_mounts() {
    let expanded = "FROM a\nARG t=cache p=/c i=x\nRUN --mount=type=$t,target=$p,id=${i}y z";
    assert_eq!(
        mounts_of(expanded, &[("p", "/d")]).unwrap(),
        [r#"cache "/xy" with "/" of scratch, Shared on "/d""#]
    );
    for (text, expected) in [
        (
            "FROM a AS x\nRUN --mount=from=later,target=/t y\nFROM b AS later\nFROM x",
            "cannot mount from stage \"later\" to \"/t\", stage needs to be defined before current command",
        ),
        (
            "FROM a AS x\nRUN --mount=from=x,target=t y",
            "cannot mount from stage \"x\" to \"t\", stage needs to be defined before current command",
        ),
        (
            "FROM a AS x\nRUN --mount=from=y,target=t y\nFROM x AS y",
            "circular dependency detected on stage: x",
        ),
    ] {
        let report = plan_with(text, &options(&[])).unwrap_err();
        assert!(
            report.starts_with(&format!("error: {expected}\n  Dockerfile:")),
            "{report}"
        );
    }
    // A bad key in a stage that is not needed is never seen.
    assert!(plan_with("FROM a\nRUN --mount=bad=1 x\nFROM b", &options(&[])).is_ok());
}

#[test]
fn l214_parents_are_mounted_first_and_the_first_agent_is_the_first_written() {
    let text =
        "FROM a\nRUN --mount=type=cache,target=/a/b/c --mount=type=tmpfs,target=/z --mount=type=cache,target=/a x";
    let targets: Vec<_> = last_run(&plan_of(text))
        .mounts
        .iter()
        .map(|mount| mount.target.clone().unwrap())
        .collect();
    assert_eq!(targets, ["/z", "/a", "/a/b/c"]);
    for (row, text, expected) in [
        (
            "two",
            "RUN --mount=type=ssh,target=/far/away/s --mount=type=ssh x",
            "SSH_AUTH_SOCK=/far/away/s",
        ),
        (
            "second",
            "RUN --mount=type=tmpfs,target=/t --mount=type=ssh x",
            "SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0",
        ),
        (
            "given",
            "ENV SSH_AUTH_SOCK=mine\nRUN --mount=type=ssh x",
            "SSH_AUTH_SOCK=mine",
        ),
        ("none", "RUN x", ""),
    ] {
        assert_eq!(env(&format!("FROM a\n{text}"), &[]), expected, "{row}");
    }
    let two = mounts_of("FROM a\nRUN --mount=type=ssh,target=/s --mount=type=ssh,id=k x", &[]).unwrap();
    assert!(
        two.contains(&r#"ssh agent "k", 0:0 mode 600 on "/run/buildkit/ssh_agent.1" read-only"#.to_owned()),
        "{two:?}"
    );
}

#[test]
fn l205_namespace_of_caches() {
    let text = "FROM a\nRUN --mount=type=cache,target=/c x";
    assert_eq!(
        mounts_of(text, &[("BUILDKIT_CACHE_MOUNT_NS", "mine")]).unwrap(),
        [r#"cache "mine//c" with "/" of scratch, Shared on "/c""#]
    );
}

fn granting(change: impl FnOnce(&mut PlanOptions)) -> PlanOptions {
    let mut options = options(&[]);
    change(&mut options);
    options
}

#[test]
fn l232_l233_l234_network_security_and_devices() {
    let none = options(&[]);
    let all = granting(|options| {
        options.grants.network_host = true;
        options.grants.security_insecure = true;
    });
    for (flags, options, expected) in [
        ("--network=none", &none, Ok("network none")),
        (
            "--network=host",
            &none,
            Err("--network=host needs network.host, which is not allowed"),
        ),
        ("--network=host", &all, Ok("network host")),
        (
            "--security=insecure",
            &none,
            Err("--security=insecure needs security.insecure, which is not allowed"),
        ),
        ("--security=insecure", &all, Ok("all privileges")),
        ("--security=sandbox", &none, Ok("")),
        (
            "--device=vendor.com/x=y,required",
            &none,
            Ok("device \"vendor.com/x=y\", required"),
        ),
        (
            "--device=name=vendor.com/x,required=false",
            &none,
            Ok("device \"vendor.com/x\""),
        ),
        ("--device=vendor.com/x=*", &none, Ok("device \"vendor.com/x=*\"")),
        ("--device=gpu", &none, Ok("device \"gpu\"")),
        (
            "--device=gpu,requird=1",
            &none,
            Err("unexpected key 'requird' in 'requird=1'"),
        ),
        ("--device=gpu,name=x/y", &none, Err("device name already set to gpu")),
        ("--device=required", &none, Err("device name is required")),
        (
            "--device=gpu,required=perhaps",
            &none,
            Err("invalid value for required: perhaps"),
        ),
    ] {
        let planned = plan_with(&format!("FROM a\nRUN {flags} x"), options);
        match (planned, expected) {
            (Ok(plan), Ok(expected)) => assert_eq!(last_run(&plan).sandbox.to_string(), expected, "{flags}"),
            (Err(report), Err(expected)) => {
                assert!(report.starts_with(&format!("error: {expected}\n")), "{flags}: {report}");
            }
            (planned, _) => panic!("{flags}: {planned:?}"),
        }
    }
    let report = plan_with("FROM a\nRUN --network=host x", &none).unwrap_err();
    assert!(report.contains("allow it with --allow=network.host"), "{report}");
    for (flag, text) in [
        ("--network=foo", "invalid network mode \"foo\""),
        ("--security=foo", "security \"foo\" is not valid"),
    ] {
        let report = plan_with(&format!("FROM a\nRUN {flag} x"), &none).unwrap_err();
        assert!(report.contains(text), "{report}");
    }
}

#[test]
fn surroundings_of_the_build_are_those_of_every_run() {
    let options = granting(|options| {
        options.sandbox.network = Network::None;
        options.sandbox.shm_size = Some(1 << 20);
        options.grants.network_host = true;
    });
    let sandbox = |text: &str| last_run(&plan_with(text, &options).unwrap()).sandbox.clone();
    assert_eq!(
        sandbox("FROM a\nRUN x").to_string(),
        "network none, /dev/shm of 1048576 bytes"
    );
    assert_eq!(sandbox("FROM a\nRUN --network=host x").network, Network::Host);
    let named = plan_with("FROM a\nRUN x", &super::options(&[("BUILDKIT_SANDBOX_HOSTNAME", "h")])).unwrap();
    assert_eq!(last_run(&named).sandbox.hostname.as_deref(), Some("h"));
}

/// The fingerprint of the last RUN of a Dockerfile with these flags.
fn fingerprint(flags: &str) -> Digest {
    let text = format!("FROM a AS s\nFROM c AS t\nFROM b\nRUN {flags} x");
    Step::Run(last_run(&plan_of(&text)).clone()).fingerprint()
}

/// Values of secrets and contents of caches are not known to the plan at all; that their names count, and names of
/// caches do not, is shown here.
#[test]
fn l212_l224_l235_what_identities_of_mounts_depend_on() {
    let cache = fingerprint("--mount=type=cache,target=/c");
    for same in [
        "--mount=type=cache,target=/c,id=other",
        "--mount=target=/c,type=cache,sharing=locked",
        "--mount=type=cache,dst=/x/../c",
    ] {
        assert_eq!(fingerprint(same), cache, "{same}");
    }
    let distinct = [
        "",
        "--mount=type=cache,target=/c",
        "--mount=type=cache,target=/d",
        "--mount=type=cache,target=/c,ro",
        "--mount=type=tmpfs,target=/c",
        "--mount=type=bind,target=/c",
        "--mount=type=bind,target=/c,rw",
        "--mount=type=bind,target=/c,source=d",
        "--mount=type=bind,target=/c,from=s",
        "--mount=type=secret,target=/c",
        "--mount=type=secret,target=/c,id=d",
        "--mount=type=secret,target=/c,env=E",
        "--mount=type=secret,target=/c,env=F",
        "--mount=type=ssh,target=/c",
        "--mount=type=ssh,target=/c,id=d",
        "--network=none",
        "--device=x/y=z",
    ];
    for (i, a) in distinct.iter().enumerate() {
        for (j, b) in distinct.iter().enumerate() {
            assert_eq!(fingerprint(a) == fingerprint(b), i == j, "{a:?} {b:?}");
        }
    }
    // Which stage it is does not matter to the step itself, but to its place in the chain.
    let from = |stage: &str| format!("FROM a AS s\nRUN s\nFROM c AS t\nFROM b\nRUN --mount=from={stage},target=/c x");
    let step = |stage: &str| target(&plan_of(&from(stage))).steps.last().unwrap().clone();
    assert_eq!(step("s").step.fingerprint(), step("t").step.fingerprint());
    assert_ne!(step("s").id, step("t").id);
    assert_eq!(step("s").id, step("S").id);
}

#[test]
fn mounts_make_dependencies() {
    let plan =
        plan_of("FROM a AS s\nFROM c AS t\nFROM b\nRUN --mount=from=s,target=/s --mount=type=cache,from=t,target=/t x");
    assert_eq!(target(&plan).dependencies(), [StageId(0), StageId(1)]);
    let plan = plan_of("FROM a\nRUN --mount=from=img,target=/i x");
    let sources: Vec<_> = plan
        .images
        .iter()
        .filter(|need| need.purpose == ImageUse::Source)
        .collect();
    assert_eq!(sources.len(), 1);
    assert_eq!(sources[0].image.source.to_string(), "docker.io/library/img:latest");
}

/// RUN forms: shell, exec, empty; the shell of SHELL; ENTRYPOINT and CMD have no say.
#[test]
fn l189_l192_what_is_run() {
    for (row, text, expected) in [
        (189, "RUN a b", &["/bin/sh", "-c", "a b"][..]),
        (189, "SHELL [\"/bin/bash\",\"-c\"]\nRUN a", &["/bin/bash", "-c", "a"]),
        (190, "RUN [\"a\", \"$b c\"]", &["a", "$b c"]),
        (191, "RUN", &["/bin/sh", "-c", ""]),
        (192, "ENTRYPOINT [\"e\"]\nCMD [\"c\"]\nRUN a", &["/bin/sh", "-c", "a"]),
        (
            95,
            "SHELL [\"/bin/awk\"]\nRUN <<EOF\nBEGIN { x }\nEOF",
            &["/bin/awk", "BEGIN { x }\n"],
        ),
    ] {
        let plan = plan_of(&format!("FROM a\n{text}"));
        assert_eq!(last_run(&plan).argv, expected, "L{row}: {text}");
    }
}

#[test]
fn l90_l99_scripts_of_heredocs() {
    for (row, text, script, last) in [
        (
            90,
            "RUN <<EOF\n#!/usr/bin/awk -f\nBEGIN\nEOF",
            Some("#!/usr/bin/awk -f\nBEGIN\n"),
            "/dev/pipes/EOF",
        ),
        (
            91,
            "RUN <<-X\n\t#!/bin/x\n\tb\n\tX",
            Some("#!/bin/x\nb\n"),
            "/dev/pipes/X",
        ),
        (
            92,
            "RUN cat <<A > x; cat <<B > y\na\nA\nb\nB",
            None,
            "cat <<A > x; cat <<B > y\na\nA\nb\nB",
        ),
        (
            93,
            "RUN <<EOF 3<<X 4<<Y cmd\n1\nEOF\n2\nX\n3\nY",
            None,
            "<<EOF 3<<X 4<<Y cmd\n1\nEOF\n2\nX\n3\nY",
        ),
        (94, "ENV name=n\nRUN <<'EOF'\necho $name\nEOF", None, "echo $name\n"),
        (96, "RUN <<EOF\n# comment\na \\\nb\nEOF", None, "# comment\na \\\nb\n"),
        (
            99,
            "RUN --mount=type=cache,target=/c <<EOF\necho 1\nEOF",
            None,
            "echo 1\n",
        ),
    ] {
        let plan = plan_of(&format!("FROM a\n{text}"));
        let run = last_run(&plan);
        assert_eq!(
            run.script.as_ref().map(|script| script.content.as_str()),
            script,
            "L{row}"
        );
        // A heredoc's end may have a newline or not; the shell does not care.
        assert_eq!(run.argv.last().unwrap().trim_end(), last.trim_end(), "L{row}");
    }
    let plan = plan_of("FROM a\nRUN --mount=type=cache,target=/c <<EOF\necho 1\nEOF");
    assert_eq!(last_run(&plan).mounts.len(), 1);
}
