//! The independent comparison of two images. It lives outside the repository: what judges us is not ours to change.

use std::path::PathBuf;

use super::Sandbox;

/// The differences between two registry references, one a line; empty when the images are the same.
pub(crate) fn differences(sandbox: &Sandbox, a: &str, b: &str) -> Result<Vec<String>, String> {
    let mut command = sandbox.command("python3");
    command.arg(program()).args(["--max", "100000", a, b]);
    let output = sandbox.run(command);
    match output.status.code() {
        Some(0 | 1) => Ok(output.stdout.lines().map(str::to_owned).collect()),
        _ => Err(output.report()),
    }
}

/// `RBUILD_IMGDIFF`, or `shared/tools/imgdiff` beside one of the directories the checkout is in.
fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("RBUILD_IMGDIFF") {
        return named.into();
    }
    let beside = super::repository()
        .ancestors()
        .skip(1)
        .map(|parent| parent.join("shared/tools/imgdiff"));
    beside.into_iter().find(|path| path.exists()).unwrap_or_else(|| {
        panic!("imgdiff is neither in ../shared/tools beside the checkout nor named by RBUILD_IMGDIFF")
    })
}
