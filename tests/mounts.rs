//! RUN with its flags, by the whole program: mounts, secrets, agents, network, privileges.
//!
//! What a step saw is judged by the step itself, in its shell; what it left behind by the layers of the image.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use support::{Rbuild, Sandbox};

/// A stage `base` that has a shell.
const BASE: &str =
    "FROM scratch AS base\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n";

/// A place for builds whose context holds busybox.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let busybox = sandbox.directory("context").join("busybox");
    fs::copy("/bin/busybox", busybox).expect("the package busybox-static is installed");
    sandbox
}

/// A build of `steps` upon `base`, its image in [`layout`].
fn build<'s>(sandbox: &'s Sandbox, steps: &str) -> Rbuild<'s> {
    let dockerfile = if steps.contains("FROM ") {
        format!("{BASE}{steps}")
    } else {
        format!("{BASE}FROM base\n{steps}")
    };
    Rbuild::build_text(sandbox, &dockerfile)
        .arg("--no-push")
        .arg("--oci-layout-path")
        .arg(layout(sandbox))
}

fn layout(sandbox: &Sandbox) -> PathBuf {
    sandbox.path("layout")
}

/// Every blob of the image, decompressed where it is compressed.
fn blobs(layout: &Path) -> Vec<Vec<u8>> {
    let read = |path: PathBuf| {
        let bytes = fs::read(path).unwrap();
        let mut plain = Vec::new();
        match MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut plain) {
            Ok(_) => plain,
            Err(_) => bytes,
        }
    };
    let entries = fs::read_dir(layout.join("blobs/sha256")).unwrap();
    entries.map(|entry| read(entry.unwrap().path())).collect()
}

/// The names in all layers.
fn names(layout: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for blob in blobs(layout).iter().filter(|blob| !blob.starts_with(b"{")) {
        for entry in tar::Archive::new(blob.as_slice()).entries().unwrap() {
            let path = entry.unwrap().path().unwrap().to_string_lossy().into_owned();
            names.insert(path.trim_end_matches('/').to_owned());
        }
    }
    names
}

/// The names in all layers but those of the base.
fn own_names(sandbox: &Sandbox) -> Vec<String> {
    let names = names(&layout(sandbox));
    names
        .into_iter()
        .filter(|name| name != "bin" && !name.starts_with("bin/"))
        .collect()
}

#[test]
fn root_l196_l204_binds_and_tmpfs_leave_nothing() {
    let sandbox = sandbox();
    sandbox.write("context/.dockerignore", ".env\nhidden/*\n!hidden/seen\n");
    for (name, content) in [
        ("a", "A"),
        (".env", "E"),
        ("hidden/h", "H"),
        ("hidden/seen", "S"),
        ("sub/s", "B"),
    ] {
        sandbox.write(&format!("context/{name}"), content);
    }
    std::os::unix::fs::chown(sandbox.path("context/a"), Some(1234), Some(1234)).unwrap();
    std::os::unix::fs::symlink("sub/s", sandbox.path("context/link")).unwrap();
    let steps = r#"
FROM base AS made
RUN mkdir -p /out/d /etc && echo F > /out/f && echo D > /out/d/x && ln -s /out/f /way && ln -s /nowhere /out/link && chown 7:8 /out/f
FROM base
RUN mkdir /empty && touch -d @1000000000 /empty && mkdir /full && echo kept > /full/kept && ln -s /full /linked
RUN --mount=target=/c test "$(cat /c/a)" = A && ! touch /c/new 2> /dev/null && test "$(stat -c %u:%g /c/a)" = 0:0
RUN --mount=target=/c ! test -e /c/.env && ! test -e /c/hidden/h && test "$(cat /c/hidden/seen)" = S
RUN --mount=target=/c,rw touch /c/new /c/sub/new && rm /c/a
RUN --mount=target=/c ! test -e /c/new && ! test -e /c/sub/new && test -e /c/a
RUN --mount=source=a,target=/file,rw echo changed > /file && test "$(cat /file)" = changed
RUN --mount=source=a,target=/x/y/file test "$(cat /x/y/file)" = A
RUN --mount=source=link,target=/file test "$(cat /file)" = B
RUN --mount=source=../../sub,target=/file test "$(cat /file/s)" = B
RUN --mount=from=made,source=out,target=/o test "$(cat /o/f /o/d/x)" = "$(printf 'F\nD')" && test "$(stat -c %u:%g /o/f)" = 7:8
RUN --mount=from=made,source=way,target=/o test "$(cat /o)" = F
RUN --mount=from=made,source=out,target=/o,rw echo G > /o/f && rm -r /o/d && test "$(ls /o)" = "$(printf 'f\nlink')"
RUN --mount=from=made,target=/o test "$(cat /o/out/f)" = F && test -e /o/out/d/x
RUN --mount=from=scratch,target=/o test -z "$(ls /o)"
RUN --mount=from=made,source=out,target=/linked test "$(cat /full/f)" = F && ! test -e /full/kept
RUN --mount=type=tmpfs,target=/t test -z "$(ls /t)" && echo x > /t/x
RUN --mount=type=tmpfs,target=/t,size=1m test -z "$(ls /t)" && ! dd if=/dev/zero of=/t/x bs=1M count=2 2> /dev/null
RUN --mount=type=tmpfs,target=/t,ro ! touch /t/x 2> /dev/null
RUN --mount=type=tmpfs,target=/empty --mount=type=tmpfs,target=/full touch /empty/x /full/x
RUN --mount=type=tmpfs,target=/p/q touch /p/beside
RUN --mount=type=tmpfs,target=/dev/mine touch /dev/mine/x
WORKDIR /w
RUN --mount=source=sub test "$(cat s)" = B
RUN --mount=source=sub,target=rel test "$(cat /w/rel/s)" = B
"#;
    let _built = build(&sandbox, steps).run().success();
    let expected = ["empty", "full", "full/kept", "linked", "p", "p/beside", "w"];
    assert_eq!(own_names(&sandbox), expected);
}

/// What runs a program in mounts of its own, which `script` makes before it executes its arguments.
fn in_own_mounts(script: &str) -> [&str; 8] {
    [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "/bin/sh",
        "-ec",
        script,
        "sh",
    ]
}

/// Where overlays do not work, in a store that lies on one or of a context that lies on too many, a copy stands in
/// for the overlay. Its filesystem is then the one of the store.
#[test]
fn root_l197_writes_are_thrown_away_without_overlays() {
    let sandbox = sandbox();
    sandbox.write("context/sub/a", "A");
    for name in ["lower", "upper", "work", "store", "middle", "top"] {
        sandbox.directory(name);
    }
    let steps = "RUN --mount=source=sub,target=/c,rw echo more >> /c/a && touch /c/new && grep -q ' /c overlay .*upperdir=upper,' /proc/mounts\n\
                 RUN --mount=source=sub,target=/c test \"$(cat /c/a)\" = A && ! test -e /c/new\n";
    let store =
        in_own_mounts("mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work store; exec \"$@\"");
    let _built = build(&sandbox, steps).through(&store).run().success();

    let steps = steps.replace("grep -q ' /c overlay .*upperdir=upper,'", "! grep -q ' /c overlay '");
    let dockerfile = sandbox.write("Dockerfile", format!("{BASE}FROM base\n{steps}"));
    let context = in_own_mounts(
        "mount -t overlay overlay -o lowerdir=context:lower middle; mount -t overlay overlay -o lowerdir=middle:lower top; exec \"$@\"",
    );
    let build = Rbuild::build(&sandbox, &dockerfile, &sandbox.path("top")).arg("--no-push");
    let _built = build.through(&context).run().success();
}

/// A context above the store is shown without it.
#[test]
fn root_the_store_is_no_part_of_a_context() {
    let sandbox = sandbox();
    sandbox.write("sub/a", "A");
    let steps = r#"
FROM base
COPY . /all
RUN test -e /all/sub/a && ! test -e /all/store
RUN --mount=target=/c test -e /c/sub/a && ! test -e /c/store
RUN --mount=target=/c,rw test -e /c/sub/a && ! test -e /c/store && touch /c/sub/new
RUN --mount=from=named,target=/c,rw test -e /c/sub/a && ! test -e /c/store && touch /c/sub/new
RUN --mount=type=cache,from=named,target=/c test -e /c/sub/a && ! test -e /c/store
"#;
    let base = BASE.replace("COPY busybox", "COPY context/busybox");
    let dockerfile = sandbox.write("Dockerfile", format!("{base}{steps}"));
    let build = || {
        let build = Rbuild::build(&sandbox, &dockerfile, &sandbox.path("."));
        build.arg("--no-push").arg("--build-context=named=.").run()
    };
    let _built = build().success();
    assert!(!sandbox.path("sub/new").exists());
    sandbox.write(
        "Dockerfile",
        format!("{base}FROM base\nRUN --mount=source=store/builds,target=/c true\n"),
    );
    let words = ["\"/store/builds\": not found in the build context", "--store"];
    let _failed = build().failure_with(&words);
}

/// A named context is a tree like others.
#[test]
fn root_l199_named_contexts_are_mounted() {
    let sandbox = sandbox();
    sandbox.write("named/file", "N");
    sandbox.write("named/.dockerignore", "hidden\n");
    sandbox.write("named/hidden", "H");
    let steps = "RUN --mount=from=named,target=/n test \"$(cat /n/file)\" = N && ! test -e /n/hidden\n\
                 RUN --mount=type=cache,from=named,target=/n test \"$(cat /n/file)\" = N\n";
    let _built = build(&sandbox, steps)
        .arg("--build-context=named=named")
        .run()
        .success();
}

#[test]
fn root_l196_what_cannot_be_mounted_says_why() {
    let sandbox = sandbox();
    sandbox.write("context/.dockerignore", ".env\n");
    sandbox.write("context/.env", "E");
    for (step, words) in [
        (
            "RUN --mount=source=none,target=/c true",
            &["Dockerfile:5", "\"/none\": not found in the build context"][..],
        ),
        (
            "RUN --mount=source=.env,target=/c true",
            &["\"/.env\": not found in the build context: excluded by .dockerignore"],
        ),
        (
            "RUN --mount=from=base,source=etc/none,target=/c true",
            &["\"/etc/none\": not found in the source image or stage"],
        ),
        (
            "RUN --mount=type=secret,id=mine,required true",
            &["Dockerfile:5", "secret mine: not found", "--secret=id=mine"],
        ),
        (
            "RUN --mount=type=ssh,id=mine,required true",
            &["no SSH key \"mine\" forwarded from the client", "--ssh=mine"],
        ),
        (
            "RUN --mount=type=cache,target=/c ln -s / /c/out && ln -s ../.. /c/up\nRUN --mount=type=cache,id=/c,source=out/etc,target=/x true",
            &["Dockerfile:6", "\"/out/etc\": not found in the cache"],
        ),
        (
            "RUN --mount=type=cache,id=/c,source=up,target=/x true",
            &["\"/up\": not found in the cache"],
        ),
        (
            "RUN --mount=from=base,source=bin,target=/bin/busybox true",
            &[
                "Dockerfile:5",
                "a directory is to be mounted on \"/bin/busybox\", which is a file",
                "source= name one file",
            ],
        ),
        (
            "RUN --mount=from=base,source=bin/busybox,target=/bin true",
            &["a file is to be mounted on \"/bin\", which is a directory", "/bin/NAME"],
        ),
        (
            "RUN --mount=type=tmpfs,target=/t --mount=from=base,source=bin,target=/proc/uptime true",
            &["a directory is to be mounted on \"/proc/uptime\", which is a file"],
        ),
        (
            "RUN --device=example.com/none=x,required true",
            &["required device \"example.com/none=x\" is not registered", "/etc/cdi"],
        ),
        (
            "RUN --network=host true",
            &["--network=host needs network.host", "--allow=network.host"],
        ),
    ] {
        let _failed = build(&sandbox, &format!("{step}\n")).run().failure_with(words);
    }
    assert!(sandbox.mounts().is_empty());
}

#[test]
fn root_l193_a_failing_process_is_told_with_its_code() {
    let sandbox = sandbox();
    let step = "RUN --mount=type=secret,id=token exit 3\n";
    let failed = build(&sandbox, step).run().code(3);
    let words = "error building image: process \"/bin/sh -c exit 3\" did not complete successfully: exit code: 3\n";
    assert!(
        failed.stderr.contains(words) && failed.stderr.contains("Dockerfile:5 (stage \"1\")"),
        "{}",
        failed.report()
    );
    assert!(
        failed.stderr.contains("hint: the secret token that") && failed.stderr.contains("--secret=id=token,src=FILE"),
        "{}",
        failed.report()
    );
}

#[test]
fn root_l205_l214_caches_outlive_builds() {
    let sandbox = sandbox();
    let steps = r#"
FROM base AS made
RUN mkdir -p /p/q && echo initial > /p/q/file && chmod 750 /p
FROM base AS other
RUN --mount=type=cache,target=/foo/bar --mount=type=cache,target=/foo/bar/baz touch /foo/bar/baz/there
FROM base
RUN --mount=type=cache,target=/c test "$(stat -c %a:%u:%g /c)" = 755:0:0 && echo line >> /c/log
RUN --mount=type=cache,target=/c test -s /c/log && echo line >> /c/log
RUN --mount=type=cache,target=/elsewhere,id=/c test -s /elsewhere/log
RUN --mount=type=cache,target=/d ! test -e /d/log
RUN --mount=type=cache,target=/c,ro ! touch /c/x 2> /dev/null
RUN --mount=type=cache,target=/c,uid=7,gid=8,mode=0700 test "$(stat -c %a:%u:%g /c)" = 700:7:8 && ! test -e /c/log
RUN --mount=type=cache,target=/c,from=made,source=/p test "$(cat /c/q/file)" = initial && test "$(stat -c %a /c)" = 750 && echo x >> /c/q/grown
RUN --mount=type=cache,target=/c,from=made,source=/p test -s /c/q/grown
RUN --mount=type=cache,target=/c,from=made,source=/p,mode=0711 test -e /c/q
RUN --mount=type=cache,target=/c mkdir -p /c/in/side && echo s > /c/in/side/file
RUN --mount=type=cache,target=/part,id=/c,source=in/side test "$(cat /part/file)" = s
WORKDIR /one
RUN --mount=type=cache,target=x echo shared > x/file
WORKDIR /two
RUN --mount=type=cache,target=x test "$(cat x/file)" = shared
RUN --mount=type=cache,target=/foo/bar --mount=type=cache,target=/foo/bar/baz touch /foo/bar/baz/here
RUN --mount=type=cache,target=/l,id=lock,sharing=locked --mount=type=cache,target=/m,id=lock touch /l/x && test -e /m/x
COPY --from=other /bin/true /true
"#;
    for lines in [2, 4] {
        let output = build(
            &sandbox,
            &format!("{steps}RUN --mount=type=cache,target=/c echo lines $(wc -l < /c/log)\n"),
        );
        let output = output.run();
        assert!(output.status.success(), "{}", output.report());
        assert!(
            output.stderr.contains(&format!("lines {lines}\n")),
            "{}",
            output.report()
        );
    }
    assert_eq!(
        own_names(&sandbox),
        ["one", "p", "p/q", "p/q/file", "true", "two"][..1]
            .to_vec()
            .into_iter()
            .chain(["true", "two"])
            .collect::<Vec<_>>()
    );
    // Another namespace has its own caches.
    let apart = build(&sandbox, "RUN --mount=type=cache,target=/c ! test -e /c/log\n");
    let _built = apart.arg("--build-arg=BUILDKIT_CACHE_MOUNT_NS=apart").run().success();
}

/// Two builds at once, in two processes.
#[test]
fn root_l210_locked_waits_and_others_go_elsewhere() {
    let sandbox = sandbox();
    let holding = "RUN --mount=type=cache,target=/c,sharing=locked touch /c/held; for n in $(seq 300); do test -e /c/go && break; sleep 0.1; done; echo first >> /c/order\n";
    let first = build(&sandbox, holding).start();
    let caches = sandbox.path("store/cache-mounts");
    let slot = wait_for(|| {
        let key = fs::read_dir(&caches).ok()?.next()?.unwrap().path();
        Some(key.join("0/root")).filter(|root| root.join("held").exists())
    });
    let elsewhere = "RUN --mount=type=cache,target=/c,sharing=private ! test -e /c/held && touch /c/mine\n\
                     RUN --mount=type=cache,target=/c,sharing=shared ! test -e /c/held && test -e /c/mine\n";
    let _built = build(&sandbox, elsewhere).run().success();
    assert!(slot.with_file_name("root").exists() && slot.join("../../1/root/mine").exists());
    let second = build(
        &sandbox,
        "RUN --mount=type=cache,target=/c,sharing=locked echo second >> /c/order\n",
    )
    .start();
    wait_for(|| {
        second
            .stderr_so_far()
            .contains("waiting for the cache \"//c\"")
            .then_some(())
    });
    assert!(!slot.join("order").exists());
    fs::write(slot.join("go"), "").unwrap();
    let _built = first.wait().success();
    let _built = second.wait().success();
    assert_eq!(fs::read_to_string(slot.join("order")).unwrap(), "first\nsecond\n");
    let alone = "RUN --mount=type=cache,target=/c,sharing=private test -s /c/order && ! test -e /c/mine\n";
    let _built = build(&sandbox, alone).run().success();
}

fn wait_for<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(value) = ready() {
            return value;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("waited in vain");
}

/// Split, so that this source file and the command lines of the test hold the value nowhere.
fn secret_value() -> String {
    ["correct", "horse", "battery"].join("~")
}

#[test]
fn root_l215_l224_secrets_are_seen_by_their_step_and_nowhere_else() {
    let (sandbox, value) = (sandbox(), secret_value());
    sandbox.write("token", &value);
    let sum = "test \"$(md5sum < $FILE)\" = \"$(md5sum < /run/secrets/token)\"";
    let steps = format!(
        r#"
RUN --mount=type=secret,id=token test "$(stat -c %a:%u:%g /run/secrets/token)" = 400:0:0 && test -s /run/secrets/token && ! sh -c 'echo x > /run/secrets/token' 2> /dev/null
RUN --mount=type=secret,id=token grep -q ' /run/secrets/token tmpfs ro,nosuid,nodev,noexec' /proc/mounts
RUN --mount=type=secret,id=token,mode=741,uid=100,gid=102,target=/a/b test "$(stat -c %a:%u:%g /a/b)" = 741:100:102 && ! grep -q '/a/b.*noexec' /proc/mounts
RUN --mount=type=secret,id=token --mount=type=secret,target=/a/token FILE=/a/token; {sum}
RUN --mount=type=secret,id=token,env=T test ${{#T}} = 21 && ! test -e /run/secrets
RUN --mount=type=secret,id=token,env=T,target=/t --mount=type=secret,id=token test "$T" = "$(cat /t)" && FILE=/t; {sum}
RUN --mount=type=secret,id=none,env=T test "${{T-unset}}" = "" && ! test -e /run/secrets
ENV T=public
RUN --mount=type=secret,id=token,env=T test ${{#T}} = 21
RUN --mount=type=secret,id=fromenv,env=T test ${{#T}} = 21
RUN test "$T" = public && ! test -e /run && ! test -e /a && ! test -e /t
WORKDIR /w
RUN --mount=type=secret,id=token,target=rel test -s /w/rel
USER 1000
RUN --mount=type=secret,id=token,uid=1000 test -s /run/secrets/token
RUN --mount=type=secret,id=token,target=/etc/token,required=true ! cat /etc/token 2> /dev/null
"#
    );
    let with_secrets = |build: Rbuild<'_>| {
        let build = build.args([
            "--secret",
            "id=token,src=token",
            "--secret=id=fromenv,env=TOKEN",
            "--verbosity=trace",
        ]);
        build.env("TOKEN", &value).run()
    };
    let built = with_secrets(build(&sandbox, &steps));
    assert!(built.status.success(), "{}", built.report().replace(&value, "SECRET"));
    assert_eq!(own_names(&sandbox), ["w"]);

    let failing = "RUN --mount=type=secret,id=token,env=T --mount=type=secret,id=fromenv false\n";
    let failed = with_secrets(build(&sandbox, failing));
    assert!(!failed.status.success());
    let broken = with_secrets(build(&sandbox, "RUN --mount=type=secret,id=token,target=/bin true\n"));
    assert!(!broken.status.success());
    let inexistent = with_secrets(build(&sandbox, "RUN --mount=type=secret,id=token,env=T [\"/none\"]\n"));
    assert!(!inexistent.status.success());

    for output in [&built, &failed, &broken, &inexistent] {
        assert!(
            !output.stderr.contains(&value) && !output.stdout.contains(&value),
            "the log tells the secret"
        );
    }
    for blob in blobs(&layout(&sandbox)) {
        assert!(!contains(&blob, value.as_bytes()), "the image tells the secret");
    }
    assert_store_lacks(&sandbox, &value);
}

fn assert_store_lacks(sandbox: &Sandbox, value: &str) {
    for entry in walkdir::WalkDir::new(sandbox.path("store")) {
        let path = entry.unwrap().into_path();
        if path.is_file() {
            assert!(
                !contains(&fs::read(&path).unwrap(), value.as_bytes()),
                "{} tells the secret",
                path.display()
            );
        }
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// A link in a mount leads a mount point back into the rootfs, where it would stay.
#[test]
fn root_mount_points_below_a_mount_are_not_made_in_the_image() {
    let sandbox = sandbox();
    sandbox.directory("context/tree");
    std::os::unix::fs::symlink("/opt/new", sandbox.path("context/tree/sub")).unwrap();
    let led = "RUN --mount=type=bind,source=tree,target=/m --mount=type=tmpfs,target=/m/sub/x true\n";
    let _failed = build(&sandbox, led)
        .run()
        .failure_with(&["make mount point /m/sub/x", "image's own files"]);
    let _built = build(&sandbox, &format!("RUN mkdir -p /opt/new/x\n{led}"))
        .run()
        .success();
}

/// The machine's `/run` is the test's own.
#[test]
fn root_l234_devices_bring_sorted_mounts_and_no_nodes_into_the_image() {
    let sandbox = sandbox();
    sandbox.write(
        "cdi/x.json",
        r#"{"cdiVersion": "0.6.0", "kind": "x.com/dev",
        "containerEdits": {"mounts": [
            {"hostPath": "/usr", "containerPath": "/opt/bin"},
            {"hostPath": "/usr", "containerPath": "/opt", "options": ["ro"]}]},
        "devices": [
            {"name": "a", "containerEdits": {"deviceNodes": [{"path": "/dev/xa", "hostPath": "/dev/null"}]}},
            {"name": "b"}]}"#,
    );
    sandbox.write(
        "cdi/y.json",
        r#"{"cdiVersion": "0.6.0", "kind": "y.com/dev",
        "devices": [{"name": "a", "containerEdits": {"deviceNodes": [{"path": "/opt/x", "hostPath": "/dev/null"}]}}]}"#,
    );
    let mount = "mount -t tmpfs none /run && mkdir /run/cdi && cp cdi/* /run/cdi && exec \"$@\"";
    let launcher = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "/bin/sh",
        "-c",
        mount,
        "sh",
    ];
    let device = |step: &str| build(&sandbox, step).arg("--allow=device").through(&launcher).run();
    let outside = device("RUN --device=y.com/dev=a true\n");
    let _failed = outside.failure_with(&["\"/opt/x\" does not lie below /dev"]);
    let twice = "RUN --device=x.com/dev=* test -c /dev/xa && test \"$(grep -c ' /opt ' /proc/mounts)\" = 1 && test -d /opt/bin/bin\n";
    let _built = device(twice).success();
}

/// A mount may lie on `/proc` and `/dev`, which mounts are made with.
#[test]
fn root_mounts_upon_proc_and_dev_bend_no_other_mount() {
    let (sandbox, value) = (sandbox(), secret_value());
    sandbox.write("token", &value);
    sandbox.write("context/sub/a", "A");
    let steps = r#"
FROM base AS evil
RUN mkdir -p /self/fd && for n in $(seq 0 63); do ln -s /dev/shm /self/fd/$n; done
FROM base
RUN ln -s proc /p
RUN --mount=type=bind,from=evil,target=/proc --mount=type=bind,source=sub,target=/sub ! touch /sub/new 2> /dev/null && test "$(cat /sub/a)" = A
RUN --mount=type=bind,from=evil,target=/p --mount=type=bind,source=sub,target=/sub ! touch /sub/new 2> /dev/null && touch /dev/shm/new
RUN --mount=type=tmpfs,target=/proc test -z "$(ls /proc)" && touch /proc/x
RUN --mount=type=tmpfs,target=/dev test -z "$(ls -A /dev)" && test -z "$(cat)" && touch /dev/x
"#;
    let with_secret = |steps: &str| build(&sandbox, steps).arg("--secret=id=token,src=token").run();
    let _built = with_secret(steps).success();
    assert!(!sandbox.path("context/sub/new").exists());
    let failing = "RUN --mount=type=cache,target=/dev --mount=type=secret,id=token,target=/etc true\n";
    let _failed = with_secret(failing).failure_with(&["/etc"]);
    assert_store_lacks(&sandbox, &value);
}

#[test]
fn root_l225_agents() {
    let sandbox = sandbox();
    let _agent = UnixListener::bind(sandbox.path("agent")).unwrap();
    let steps = r#"
RUN --mount=type=ssh test "$SSH_AUTH_SOCK" = /run/buildkit/ssh_agent.0 && test -S $SSH_AUTH_SOCK && test "$(stat -c %a:%u:%g $SSH_AUTH_SOCK)" = 600:0:0
RUN --mount=type=ssh,id=mine,target=/s,mode=777,uid=5,gid=6,required test "$SSH_AUTH_SOCK" = /s && test "$(stat -c %a:%u:%g /s)" = 777:5:6
RUN --mount=type=ssh,id=other test "$SSH_AUTH_SOCK" = /run/buildkit/ssh_agent.0 && ! test -e /run
RUN ! test -e /run && ! test -e /s && test -z "$SSH_AUTH_SOCK"
"#;
    let build = build(&sandbox, steps).args(["--ssh=default", "--ssh", "mine=agent"]);
    let _built = build.env("SSH_AUTH_SOCK", sandbox.path("agent")).run().success();
    assert_eq!(own_names(&sandbox), Vec::<String>::new());
}

#[test]
fn root_l232_l233_network_privileges_and_limits() {
    let sandbox = sandbox();
    let caps = |mask: &str| format!("grep -q '^CapBnd:.*{mask}$' /proc/self/status");
    let steps = format!(
        r#"
RUN --network=none test "$(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ')" = lo && ip link show lo | grep -q UP
RUN --network=host test -e /proc/net/dev
RUN {} && ! sh -c 'echo 1 > /proc/sys/vm/drop_caches' 2> /dev/null
RUN --security=insecure ! {} && mkdir /m && mount -t tmpfs none /m && umount /m && rmdir /m && test -w /proc/sys/vm/drop_caches
RUN grep -q '^10.1.2.3[[:blank:]]example$' /etc/hosts && test $(hostname) = named && test $(ulimit -n) = 100 && test $(ulimit -Hn) = 200
RUN test $(df -k /dev/shm | tail -n 1 | awk '{{ print $2 }}') = 2048
RUN --device=example.com/none=x true
"#,
        caps("a80425fb"),
        caps("00000000a80425fb"),
    );
    let line = [
        "--allow=network.host",
        "--allow=security.insecure",
        "--allow=device",
        "--add-host=example:10.1.2.3",
        "--ulimit=nofile=100:200",
        "--shm-size=2m",
        "--build-arg=BUILDKIT_SANDBOX_HOSTNAME=named",
    ];
    let _built = build(&sandbox, &steps).args(line).run().success();
    let closed = build(&sandbox, "RUN test \"$(grep -c : /proc/net/dev)\" = 1\n");
    let _built = closed.arg("--network=none").run().success();
}
