//! The peer whose images ours are compared with.

use std::path::Path;

use super::Sandbox;

/// `overlayfs`, as `statfs` names it.
const OVERLAYFS: u64 = 0x794c_7630;

/// A `buildah` with storage of its own.
#[derive(Debug)]
pub(crate) struct Buildah<'s> {
    sandbox: &'s Sandbox,
}

impl<'s> Buildah<'s> {
    pub(crate) fn new(sandbox: &'s Sandbox) -> Self {
        Self { sandbox }
    }

    /// Builds a Dockerfile and pushes the result, or says why not.
    ///
    /// Docker grants CAP_MKNOD, Debian's buildah does not.
    ///
    /// The image has Docker's format: OCI's config has no place for a health check, a shell or triggers.
    pub(crate) fn build_and_push(
        &self,
        dockerfile: &Path,
        context: &Path,
        args: &[String],
        destination: &str,
    ) -> Result<(), String> {
        let mut build = self.command();
        build.args([
            "bud",
            "--quiet",
            "--isolation",
            "chroot",
            "--layers=false",
            "--identity-label=false",
            "--cap-add=CAP_MKNOD",
            "--format",
            "docker",
        ]);
        build
            .args(["--tls-verify=false", "--tag", destination, "--file"])
            .arg(dockerfile)
            .args(args)
            .arg(context);
        self.run(build)?;
        let mut push = self.command();
        push.args(["push", "--quiet", "--tls-verify=false", destination]);
        self.run(push)
    }

    fn run(&self, command: std::process::Command) -> Result<(), String> {
        let output = self.sandbox.run(command);
        if output.status.success() {
            Ok(())
        } else {
            Err(output.report())
        }
    }

    fn command(&self) -> std::process::Command {
        let storage = self.sandbox.directory("buildah");
        // Kernel overlays do not stack on the overlay that a container's own root is.
        let stacked = rustix::fs::statfs(&storage).is_ok_and(|fs| u64::try_from(fs.f_type) == Ok(OVERLAYFS));
        let mut command = self.sandbox.command("buildah");
        command
            .arg("--root")
            .arg(storage.join("root"))
            .arg("--runroot")
            .arg(storage.join("runroot"));
        command.args(["--storage-driver", if stacked { "vfs" } else { "overlay" }]);
        command
    }
}
