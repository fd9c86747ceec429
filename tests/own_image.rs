//! The images that ship rbuild, built by rbuild from the repository's own Dockerfile: first on this machine by
//! `scripts/image`, then by the image itself.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::collections::BTreeSet;

use serde_json::Value;
use support::{Registry, Sandbox, executor, listing, runtime};

/// What a registry stores for one of the images must be smaller.
const LARGEST: u64 = 25_000_000;

const ENVIRONMENT: [&str; 6] = [
    "HOME=/root",
    "USER=root",
    "PATH=/usr/local/bin:/kaniko",
    "SSL_CERT_DIR=/kaniko/ssl/certs",
    "DOCKER_CONFIG=/kaniko/.docker/",
    "DOCKER_CREDENTIAL_GCR_CONFIG=/kaniko/.config/gcloud/docker_credential_gcr_config.json",
];

/// What every one of them holds, as listings begin.
const COMMON: [&str; 7] = [
    "/etc/nsswitch.conf file 0644 0:0",
    "/kaniko dir 0777 0:0",
    "/kaniko/.docker dir 0777 0:0",
    "/kaniko/executor file 0755 0:0",
    "/kaniko/ssl/certs/ca-certificates.crt file 0644 0:0",
    "/kaniko/warmer symlink",
    "/workspace dir 0755 0:0",
];

struct Site {
    registry: Registry,
    sandbox: Sandbox,
}

impl Site {
    fn config(&self, image: &str) -> Value {
        let mut skopeo = self.sandbox.command("skopeo");
        skopeo.args(["inspect", "--tls-verify=false", "--config"]);
        skopeo.arg(format!("docker://{}", self.registry.reference(image)));
        serde_json::from_str(&self.sandbox.run(skopeo).success().stdout).unwrap()
    }

    fn compressed_size(&self, image: &str) -> u64 {
        let mut skopeo = self.sandbox.command("skopeo");
        skopeo.args(["inspect", "--tls-verify=false", "--raw"]);
        skopeo.arg(format!("docker://{}", self.registry.reference(image)));
        let manifest: Value = serde_json::from_str(&self.sandbox.run(skopeo).success().stdout).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter();
        layers.map(|layer| layer["size"].as_u64().unwrap()).sum()
    }

    fn check(&self, image: &str, entrypoint: &str, environment: &[&str], more: &[&str]) -> Vec<String> {
        let files = listing::of_reference(&self.sandbox, &self.registry.reference(image));
        for expected in COMMON.iter().chain(more) {
            let is_there = files.iter().any(|line| line.starts_with(expected));
            assert!(is_there, "{image} lacks {expected}: {files:#?}");
        }
        let size = self.compressed_size(image);
        assert!(size < LARGEST, "{image} has {size} bytes");
        let config = &self.config(image)["config"];
        let variables = config["Env"].as_array().unwrap().iter();
        let variables: BTreeSet<_> = variables.map(|variable| variable.as_str().unwrap()).collect();
        assert_eq!(variables, environment.iter().copied().collect(), "{image}");
        assert_eq!(config["Entrypoint"], serde_json::json!([entrypoint]), "{image}");
        assert_eq!(config["WorkingDir"], "/workspace", "{image}");
        files
    }
}

#[test]
fn root_rbuild_builds_its_own_images_and_they_build_themselves() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    registry.push_base(&sandbox, "debian");
    let base = registry.reference("debian:1");
    executor::build_debug(&sandbox, &registry, "debian:1", &["rbuild:debug"]);
    let site = Site { registry, sandbox };

    let mut environment = ENVIRONMENT;
    environment[2] = "PATH=/usr/local/bin:/kaniko:/busybox";
    let shell = [
        "/bin/sh symlink",
        "/busybox/busybox file 0755 0:0",
        "/busybox/cat symlink",
        "/busybox/sh symlink",
    ];
    let _files = site.check("rbuild:debug", "/kaniko/executor", &environment, &shell);
    let volumes = &site.config("rbuild:debug")["config"]["Volumes"];
    assert_eq!(*volumes, serde_json::json!({"/busybox": {}}));

    // The image builds the others as a pipeline would: from its shell, and with itself as the source of the binary.
    let context = site.sandbox.directory("context");
    std::fs::copy(support::repository().join("Dockerfile"), context.join("Dockerfile")).unwrap();
    let base = format!("--build-arg=BASE={base}");
    let binary = format!("--build-arg=BINARY={}", site.registry.reference("rbuild:debug"));
    let mount = format!("--volume={}:/workspace:ro", context.display());
    let executor = site.registry.reference("rbuild:executor");
    let warmer = site.registry.reference("rbuild:warmer");
    // The second build in this container spares itself what the first has done.
    let script = format!(
        "set -e; /kaniko/executor {base} {binary} --target executor --destination {executor}; \
         /kaniko/executor --build-context common=docker-image://{executor} --target warmer --destination {warmer}"
    );
    let flags = [mount.as_str(), "--entrypoint="];
    let debug = site.registry.reference("rbuild:debug");
    let _built = runtime::run_image_with(&site.sandbox, &debug, &flags, &["/busybox/sh", "-c", &script]).success();

    let files = site.check("rbuild:executor", "/kaniko/executor", &ENVIRONMENT, &[]);
    assert!(files.iter().all(|line| !line.starts_with("/b")), "{files:#?}");
    let _files = site.check("rbuild:warmer", "/kaniko/warmer", &ENVIRONMENT, &[]);
    let said = runtime::run_image(&site.sandbox, &executor, &["version"]).success();
    let version = concat!("Kaniko version :  v", env!("CARGO_PKG_VERSION"), "-rbuild");
    assert_eq!(said.stdout.trim(), version);

    let cache = site.sandbox.directory("cache");
    let mount = format!("--volume={}:/cache", cache.display());
    let _warmed = runtime::run_image_with(&site.sandbox, &warmer, &[&mount], &["--image", &executor]).success();
    let digest = site.registry.digest(&site.sandbox, "rbuild:executor");
    assert!(cache.join(&digest).join("index.json").is_file(), "{digest}");
}
