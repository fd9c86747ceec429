//! What builds say about users, triggers and times that no case of `testdata/builds` can hold: errors, and several
//! builds that are compared.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use support::{Rbuild, Registry, Sandbox};

/// A registry with the small base, and a place to build.
fn site() -> (Registry, Sandbox) {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    registry.push_base(&sandbox, "small");
    (registry, sandbox)
}

fn set_mtime(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

#[test]
fn root_l376_l378_users_are_looked_up_by_run() {
    let (registry, sandbox) = site();
    let base = registry.reference("small:1");
    let bare = format!("FROM {base} AS tools\nFROM scratch\nCOPY --from=tools /bin /bin");
    for (dockerfile, texts) in [
        (
            format!("FROM {base}\nUSER nobody-here\nWORKDIR /made\nCOPY --chown=1 . /"),
            &[][..],
        ),
        (
            format!("FROM {base}\nUSER nobody-here\nCMD x\nRUN true"),
            &[
                "Dockerfile:4",
                "unable to find user nobody-here: no matching entries in passwd file",
            ],
        ),
        (
            format!("FROM {base}\nUSER app:no-group\nRUN true"),
            &[
                "Dockerfile:3",
                "unable to find group no-group: no matching entries in group file",
            ],
        ),
        (
            format!("{bare}\nUSER root\nRUN [\"/bin/true\"]"),
            &["Dockerfile:5", "unable to find root"],
        ),
        (format!("{bare}\nUSER 0\nRUN [\"/bin/true\"]"), &[]),
        (format!("{bare}\nRUN [\"/bin/true\"]"), &[]),
    ] {
        let output = Rbuild::build_text(&sandbox, &dockerfile).arg("--no-push").run();
        match texts {
            [] => drop(output.success()),
            texts => drop(output.failure_with(texts)),
        }
    }
}

#[test]
fn root_l387_l444_a_trigger_that_fails_points_to_its_from() {
    let (registry, sandbox) = site();
    let base = registry.reference("small:1");
    let dockerfile = format!("FROM {base} AS parent\nONBUILD RUN exit 7\n\nFROM parent AS child\nRUN true");
    let build = Rbuild::build_text(&sandbox, &dockerfile).arg("--no-push");
    let failed = build.run().code(7);
    for text in ["Dockerfile:4", "FROM parent AS child", "exit code: 7"] {
        assert!(failed.stderr.contains(text), "{}", failed.report());
    }
}

#[test]
fn root_l403_an_epoch_that_means_nothing() {
    let sandbox = Sandbox::new();
    // Nothing is asked of a registry that is not there.
    let dockerfile = "FROM 127.0.0.1:1/none\nRUN true";
    let build = || Rbuild::build_text(&sandbox, dockerfile).arg("--no-push");
    let expected = ["invalid SOURCE_DATE_EPOCH: abc"];
    let _failed = build().env("SOURCE_DATE_EPOCH", "abc").run().failure_with(&expected);
    let _failed = build()
        .arg("--build-arg=SOURCE_DATE_EPOCH=abc")
        .run()
        .failure_with(&expected);
}

/// Two builds whose files have other times are one image, unless the times are to stay.
#[test]
fn root_l407_l408_one_epoch_is_one_image() {
    const EPOCH: u64 = 1_500_000_000;
    let (registry, sandbox) = site();
    let dockerfile = format!(
        "FROM {}\nLABEL a=b\nWORKDIR /w\nRUN echo x > x\nCOPY late early /w/\nADD late /w/added\n",
        registry.reference("small:1")
    );
    let digest = |late: u64, early: u64, arguments: &[&str]| {
        set_mtime(&sandbox.write("context/late", "late"), late);
        set_mtime(&sandbox.write("context/early", "early"), early);
        let build = Rbuild::build_text(&sandbox, &dockerfile).destination(&registry.reference("out:1"));
        let _built = build
            .args(arguments)
            .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
            .run()
            .success();
        registry.digest(&sandbox, "out:1")
    };
    let reference = digest(EPOCH + 1, 1000, &[]);
    assert_eq!(digest(EPOCH + 2, 1000, &[]), reference, "later times are cut");
    assert_eq!(
        digest(EPOCH + 3, 1000, &["--rewrite-timestamp"]),
        reference,
        "on request too"
    );
    assert_ne!(digest(EPOCH + 1, 1001, &[]), reference, "earlier times stay");
    let kept = ["--rewrite-timestamp=false"];
    assert_ne!(
        digest(EPOCH + 1, 1000, &kept),
        digest(EPOCH + 2, 1000, &kept),
        "all stay"
    );

    let _rebuilt = digest(EPOCH + 1, 1000, &[]);
    let layers = |name: &str| {
        let mut skopeo = sandbox.command("skopeo");
        skopeo.args(["inspect", "--raw", "--tls-verify=false"]);
        skopeo.arg(format!("docker://{}", registry.reference(name)));
        let manifest: Value = serde_json::from_str(&sandbox.run(skopeo).success().stdout).unwrap();
        manifest["layers"].as_array().unwrap().clone()
    };
    assert_eq!(
        layers("out:1")[0],
        layers("small:1")[0],
        "the base's layer is left alone"
    );
}
