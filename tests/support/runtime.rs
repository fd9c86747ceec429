//! A real container runtime, to see that a pushed image runs.

use rustix::mount::{UnmountFlags, unmount};

use super::Sandbox;
use super::process::Output;

/// Starts the image at `reference` and returns what it printed.
///
/// The limits are named because the runtime's own defaults may exceed what the machine grants, and the runtime because
/// `crun` refuses machines that have both versions of cgroups mounted.
pub(crate) fn run_image(sandbox: &Sandbox, reference: &str, command: &[&str]) -> Output {
    let limits = "[containers]\ndefault_ulimits = [\"nofile=20000:20000\", \"nproc=4096:4096\"]\n";
    let config = sandbox.write("containers.conf", limits);
    let storage = sandbox.directory("podman");
    let mut podman = sandbox.command("podman");
    podman.env("CONTAINERS_CONF", config);
    podman
        .arg("--root")
        .arg(storage.join("root"))
        .arg("--runroot")
        .arg(storage.join("run"));
    podman.arg("--tmpdir").arg(storage.join("tmp"));
    podman.args([
        "--cgroup-manager",
        "cgroupfs",
        "--events-backend",
        "file",
        "--runtime",
        "runc",
    ]);
    podman
        .args([
            "run",
            "--rm",
            "--quiet",
            "--tls-verify=false",
            "--network=host",
            reference,
        ])
        .args(command);
    let output = sandbox.run(podman);
    // The storage library keeps its directory mounted on itself; not there when it has used another driver.
    let _already_gone = unmount(storage.join("root/overlay"), UnmountFlags::DETACH);
    output
}
