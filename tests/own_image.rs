//! The image that ships rbuild, built by rbuild from the repository's own Dockerfile.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::path::Path;

use support::{Rbuild, Registry, Sandbox, listing, rbuild, runtime};

#[test]
fn root_rbuild_builds_its_own_image() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    let dockerfile = Path::new(env!("CARGO_MANIFEST_DIR")).join("Dockerfile");
    let context = sandbox.directory("context");
    sandbox.directory("context/dist");
    std::fs::copy(rbuild::program(), context.join("dist/rbuild")).unwrap();
    let image = registry.reference("rbuild:1");
    let build = Rbuild::build(&sandbox, &dockerfile, &context)
        .arg("--build-arg=BINARY=prebuilt")
        .destination(&image);
    let _built = build.run().success();
    let files = listing::of_reference(&sandbox, &image);
    assert!(
        files
            .iter()
            .any(|line| line.starts_with("/kaniko/executor file 0755 0:0")),
        "{files:#?}"
    );
    assert!(!files.iter().any(|line| line.starts_with("/rbuild ")), "{files:#?}");
    let said = runtime::run_image(&sandbox, &image, &["version"]).success();
    assert_eq!(said.stdout.trim(), concat!("rbuild ", env!("CARGO_PKG_VERSION")));
}
