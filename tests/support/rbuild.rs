//! The program under test, run the way a user runs it but with nothing inherited.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Sandbox;
use super::process::{Output, Running};

/// One `rbuild` command line in the making.
#[derive(Debug)]
pub(crate) struct Rbuild<'s> {
    sandbox: &'s Sandbox,
    command: Command,
}

impl<'s> Rbuild<'s> {
    /// A build of `dockerfile` with the files of `context`. Its store is [`store`], the sandbox's own.
    pub(crate) fn build(sandbox: &'s Sandbox, dockerfile: &Path, context: &Path) -> Self {
        let mut command = sandbox.command(program());
        command
            .arg("-f")
            .arg(dockerfile)
            .arg("-c")
            .arg(context)
            .arg("--store")
            .arg(store(sandbox));
        Self { sandbox, command }
    }

    /// A build of a Dockerfile given as text, with an empty context.
    pub(crate) fn build_text(sandbox: &'s Sandbox, dockerfile: &str) -> Self {
        let path = sandbox.write("Dockerfile", dockerfile);
        Self::build(sandbox, &path, &sandbox.directory("context"))
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<I: AsRef<std::ffi::OsStr>>(mut self, args: impl IntoIterator<Item = I>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn destination(self, reference: &str) -> Self {
        self.arg("--destination").arg(reference)
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn run(self) -> Output {
        self.sandbox.run(self.command)
    }

    /// Starts the build and returns while it is going on.
    pub(crate) fn start(self) -> Running {
        self.sandbox.start(self.command)
    }
}

/// Where builds in this sandbox keep their blobs and working directories.
pub(crate) fn store(sandbox: &Sandbox) -> PathBuf {
    sandbox.path("store")
}

/// The binary cargo has built, or the one named by `RBUILD_BIN`: another build of rbuild, or a stand-in with the
/// same command line that shows whether the tests themselves are sound.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("RBUILD_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_rbuild")), PathBuf::from)
}

/// Whether a stand-in is being run instead of rbuild.
pub(crate) fn is_stand_in() -> bool {
    std::env::var_os("RBUILD_BIN").is_some()
}
