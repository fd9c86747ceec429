//! Images for several platforms, and for others than the machine's own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::path::PathBuf;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::Value;
use support::{Rbuild, Registry, Sandbox, listing};

/// `skopeo inspect` of `location`, as JSON.
fn inspect(sandbox: &Sandbox, location: &str, arguments: &[&str]) -> Value {
    let mut skopeo = sandbox.command("skopeo");
    skopeo.args(arguments).args(["inspect", "--tls-verify=false"]);
    if arguments.is_empty() {
        skopeo.arg("--raw");
    } else {
        skopeo.arg("--config");
    }
    skopeo.arg(location);
    serde_json::from_str(&sandbox.run(skopeo).success().stdout).unwrap()
}

const SEVERAL: &str = "FROM --platform=$BUILDPLATFORM @BASE@ AS build\n\
    RUN echo made once > /common && echo this is done once\n\
    ARG TARGETARCH\n\
    RUN echo this is done for $TARGETARCH && echo $TARGETARCH > /arch\n\
    FROM scratch\n\
    ARG TARGETPLATFORM\n\
    LABEL for=$TARGETPLATFORM\n\
    COPY --from=build /common /arch /\n";

#[test]
fn root_several_platforms_give_an_index_and_share_what_they_can() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    registry.push_base(&sandbox, "small");
    let dockerfile = SEVERAL.replace("@BASE@", &registry.reference("small:1"));
    let (layout, digest_file) = (sandbox.path("layout"), sandbox.path("digest"));
    let build = Rbuild::build_text(&sandbox, &dockerfile)
        .args(["--platform=linux/amd64,linux/arm64", "--custom-platform=linux/arm/v7"])
        .args(["--annotation=m=1", "--annotation=index,index-descriptor:i=2"])
        .arg("--annotation=manifest-descriptor[linux/arm64]:d=3")
        .arg("--oci-layout-path")
        .arg(&layout)
        .arg("--digest-file")
        .arg(&digest_file)
        .destination(&registry.reference("out:1"))
        .destination(&registry.reference("other:2"));
    let built = build.run().success();
    let lines: Vec<_> = built
        .stderr
        .lines()
        .filter(|line| line.contains("] this is done"))
        .collect();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert_eq!(lines[0], "[build 1/3] this is done once");
    for (platform, arch) in [
        ("linux/amd64", "amd64"),
        ("linux/arm64", "arm64"),
        ("linux/arm/v7", "arm"),
    ] {
        let line = format!("[{platform} build 3/3] this is done for {arch}");
        assert!(lines.contains(&line.as_str()), "{lines:#?}");
    }
    let digest = std::fs::read_to_string(digest_file).unwrap();
    for name in ["out:1", "other:2"] {
        assert_eq!(registry.digest(&sandbox, name), digest);
    }
    for location in [
        format!("docker://{}", registry.reference("other:2")),
        format!("oci:{}:1", layout.display()),
    ] {
        let index = inspect(&sandbox, &location, &[]);
        assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json", "{index}");
        assert_eq!(index["annotations"], serde_json::json!({"i": "2"}));
        assert_eq!(index["manifests"][1]["annotations"], serde_json::json!({"d": "3"}));
        assert!(index["manifests"][0]["annotations"].is_null());
        let platforms: Vec<_> = index["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| &entry["platform"])
            .collect();
        assert_eq!(
            platforms,
            [
                &serde_json::json!({"os": "linux", "architecture": "amd64"}),
                &serde_json::json!({"os": "linux", "architecture": "arm64"}),
                &serde_json::json!({"os": "linux", "architecture": "arm", "variant": "v7"}),
            ]
        );
        for (arch, variant, label) in [
            ("amd64", "", "linux/amd64"),
            ("arm64", "", "linux/arm64"),
            ("arm", "v7", "linux/arm/v7"),
        ] {
            let chosen = [
                format!("--override-arch={arch}"),
                format!("--override-variant={variant}"),
            ];
            let chosen: Vec<_> = chosen.iter().map(String::as_str).collect();
            let config = inspect(&sandbox, &location, &chosen);
            assert_eq!(config["architecture"], arch);
            assert_eq!(config["config"]["Labels"]["for"], label);
            assert_eq!(
                config["history"][0]["created_by"],
                format!("ARG TARGETPLATFORM={label}")
            );
            assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 1);
        }
    }
}

#[test]
fn root_an_index_of_one_platform_where_it_is_asked_for() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    sandbox.write("context/file", "x");
    let build = |arguments: &[&str]| {
        let build = Rbuild::build_text(&sandbox, "FROM scratch\nCOPY file /\n").args(arguments);
        let _built = build.destination(&registry.reference("out:1")).run().success();
        inspect(&sandbox, &format!("docker://{}", registry.reference("out:1")), &[])
    };
    let index = build(&["--build-arg=BUILDKIT_MULTI_PLATFORM=1", "--platform=linux/riscv64"]);
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(index["manifests"][0]["platform"]["architecture"], "riscv64");
    let docker = build(&["--platform=linux/riscv64,linux/amd64", "--image-format=docker"]);
    assert_eq!(
        docker["mediaType"],
        "application/vnd.docker.distribution.manifest.list.v2+json"
    );
    let layer = |index: &Value, at: usize| {
        let digest = index["manifests"][at]["digest"].as_str().unwrap().to_owned();
        let manifest = inspect(
            &sandbox,
            &format!("docker://{}@{digest}", registry.reference("out")),
            &[],
        );
        manifest["layers"][0]["digest"].clone()
    };
    assert_eq!(layer(&docker, 0), layer(&docker, 1), "a copy onto nothing is made once");
    assert!(build(&["--platform=linux/riscv64"])["manifests"].is_null());
}

#[test]
fn what_only_an_index_can_have_needs_one() {
    let sandbox = Sandbox::new();
    sandbox.write("context/file", "x");
    for (arguments, said) in [
        (&["--annotation=index:a=1"][..], "annotation"),
        (
            &["--platform=linux/amd64,linux/arm64", "--tar-path=/dev/null"],
            "--tar-path",
        ),
        (
            &[
                "--platform=linux/amd64,linux/arm64",
                "--build-arg=BUILDKIT_MULTI_PLATFORM=0",
            ],
            "BUILDKIT_MULTI_PLATFORM=false and 2 platforms",
        ),
        (&["--build-arg=BUILDKIT_MULTI_PLATFORM=x"], "neither true nor false"),
        (&["--platform=linux/amd64,a/b/c/d"], "a/b/c/d"),
    ] {
        let build = Rbuild::build_text(&sandbox, "FROM scratch\nCOPY file /\n").args(arguments);
        let _refused = build.arg("--no-push").run().failure_with(&[said]);
    }
}

/// The kernel's table of emulators, mounted for one test.
struct Binfmt {
    directory: PathBuf,
}

const HANDLER: &str = "rbuild-test-arm64";

impl Binfmt {
    /// `None` where mounting it is not allowed: then nothing can be tried but the error.
    fn mount(sandbox: &Sandbox) -> Option<Self> {
        let directory = sandbox.directory("binfmt");
        let mounted = mount("binfmt_misc", &directory, "binfmt_misc", MountFlags::empty(), None);
        mounted.ok().map(|()| Self { directory })
    }

    /// Whether something else than this test takes programs of `architecture`, in QEMU's spelling.
    fn knows(&self, architecture: &str) -> bool {
        self.directory.join(format!("qemu-{architecture}")).exists()
    }

    fn register(&self, flags: &str) {
        self.unregister();
        let magic = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00";
        let mask = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff";
        let line = format!(":{HANDLER}:M::{magic}:{mask}:/usr/bin/qemu-aarch64-static:{flags}");
        std::fs::write(self.directory.join("register"), line).unwrap();
    }

    fn unregister(&self) {
        let _not_there = std::fs::write(self.directory.join(HANDLER), "-1");
    }
}

impl Drop for Binfmt {
    fn drop(&mut self) {
        self.unregister();
        unmount(&self.directory, UnmountFlags::empty()).unwrap();
    }
}

/// One test for all of it: the table of emulators is the machine's.
#[test]
fn root_run_for_another_platform_needs_an_emulator_that_works_inside() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    registry.push_base(&sandbox, "small-arm64");
    let dockerfile = format!(
        "FROM {}\nRUN uname -m > /machine && read machine < /machine && echo under $machine && chown app /machine\n",
        registry.reference("small-arm64:1")
    );
    let image = registry.reference("out:1");
    let build = |platform: &[&str]| {
        let build = Rbuild::build_text(&sandbox, &dockerfile).args(platform);
        build.destination(&image).run()
    };
    let binfmt = Binfmt::mount(&sandbox);
    // Where the machine has an emulator of its own, neither its absence nor its faults can be tried.
    if !binfmt.as_ref().is_some_and(|binfmt| binfmt.knows("aarch64")) {
        for platform in [&[][..], &["--platform=linux/arm64"]] {
            let refused = build(platform).failure_with(&[
                "RUN for linux/arm64 cannot be executed on this linux/amd64 machine",
                "Dockerfile:2",
                "no binfmt_misc handler for it is registered",
                "qemu-user-static",
                "--install arm64",
            ]);
            assert!(!refused.stderr.contains("Building stage"), "{}", refused.stderr);
        }
    }
    assert_eq!(registry.tags("out"), Vec::<String>::new());
    let Some(binfmt) = binfmt.filter(|binfmt| !binfmt.knows("aarch64")) else {
        return;
    };
    binfmt.register("");
    let _not_inside = build(&[]).failure_with(&["without the flag F"]);
    binfmt.register("F");
    let built = build(&[]).success();
    assert!(built.stderr.contains("[0 1/1] under aarch64\n"), "{}", built.stderr);
    let files = listing::of_reference(&sandbox, &image);
    let machine = "/machine file 0644 1000:0 \"aarch64\\n\"";
    assert!(files.iter().any(|line| line == machine), "{files:#?}");
    let config = inspect(&sandbox, &format!("docker://{image}"), &["--override-arch=arm64"]);
    assert_eq!(
        config["architecture"], "arm64",
        "the base's platform, as nobody asked for another"
    );
}
