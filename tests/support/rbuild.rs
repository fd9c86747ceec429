//! The program under test, run the way a user runs it but with nothing inherited.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Sandbox;
use super::process::{Output, Running};

/// One `rbuild` command line in the making.
#[derive(Debug)]
pub(crate) struct Rbuild<'s> {
    sandbox: &'s Sandbox,
    launcher: Vec<OsString>,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    stdin: Option<PathBuf>,
}

impl<'s> Rbuild<'s> {
    /// A build of `dockerfile` with the files of `context`. Its store is [`store`], the sandbox's own.
    pub(crate) fn build(sandbox: &'s Sandbox, dockerfile: &Path, context: &Path) -> Self {
        Self::bare(sandbox).arg("-f").arg(dockerfile).arg("-c").arg(context)
    }

    /// A command line that says nothing but where the store is.
    pub(crate) fn bare(sandbox: &'s Sandbox) -> Self {
        let rbuild = Self {
            sandbox,
            launcher: Vec::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            stdin: None,
        };
        rbuild.arg("--store").arg(store(sandbox))
    }

    /// Reads standard input from a file.
    pub(crate) fn stdin(mut self, path: &Path) -> Self {
        self.stdin = Some(path.to_owned());
        self
    }

    /// A build of a Dockerfile given as text, with the files of `context` in the sandbox.
    pub(crate) fn build_text(sandbox: &'s Sandbox, dockerfile: &str) -> Self {
        let path = sandbox.write("Dockerfile", dockerfile);
        Self::build(sandbox, &path, &sandbox.directory("context"))
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.arguments.push(arg.as_ref().to_owned());
        self
    }

    pub(crate) fn args<I: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = I>) -> Self {
        self.arguments
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub(crate) fn destination(self, reference: &str) -> Self {
        self.arg("--destination").arg(reference)
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Starts the program through another one that executes it, such as `setpriv`.
    pub(crate) fn through(mut self, launcher: &[&str]) -> Self {
        self.launcher = launcher.iter().map(OsString::from).collect();
        self
    }

    pub(crate) fn run(self) -> Output {
        self.sandbox.run(self.command())
    }

    /// Starts the build and returns while it is going on.
    pub(crate) fn start(self) -> Running {
        self.sandbox.start(self.command())
    }

    fn command(&self) -> Command {
        let mut words = self.launcher.iter().cloned().chain([program().into_os_string()]);
        let mut command = self.sandbox.command(words.next().unwrap());
        command.args(words).args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(path) = &self.stdin {
            command.stdin(std::fs::File::open(path).unwrap());
        }
        command
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
