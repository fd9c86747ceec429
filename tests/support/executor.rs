//! The image that ships rbuild, made from the program under test as a user makes it: by `scripts/image`.

use std::path::PathBuf;

use super::{Registry, Sandbox, rbuild};

/// Builds the debug image on `base` and pushes it under each of the names.
pub(crate) fn build_debug(sandbox: &Sandbox, registry: &Registry, base: &str, names: &[&str]) {
    let mut references = names.iter().map(|name| registry.reference(name));
    let mut script = sandbox.command(super::repository().join("scripts/image"));
    script.arg("debug").arg(references.next().unwrap());
    script.args(references.map(|reference| format!("--destination={reference}")));
    script
        .env("RBUILD_BIN", stripped(sandbox))
        .env("RBUILD_BASE", registry.reference(base));
    let _built = sandbox.run(script).success();
}

/// The program under test without what only a debugger reads.
fn stripped(sandbox: &Sandbox) -> PathBuf {
    let path = sandbox.path("rbuild");
    let mut strip = sandbox.command("strip");
    strip.arg("-o").arg(&path).arg(rbuild::program());
    let _stripped = sandbox.run(strip).success();
    path
}
