//! A temporary directory that notices what a build has left in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{UnmountFlags, unmount};
use tempfile::TempDir;

/// One test's place in the file system: home, temporary files and stores of every program it runs.
///
/// Dropping it fails the test when something is still mounted below it or a process still lives in it.
#[derive(Debug)]
pub(crate) struct Sandbox {
    directory: TempDir,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("sandbox-").tempdir().unwrap();
        for name in ["home", "tmp", "output"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        Self { directory }
    }

    /// A path below the sandbox, not created.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file below the sandbox, with the directories it needs.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A directory below the sandbox, created when missing.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// A command at home here: see [`super::process::command`].
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = super::process::command(program);
        command
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .current_dir(self.directory.path());
        command
    }

    /// Runs `command` to its end, its output kept here.
    pub(crate) fn run(&self, command: Command) -> super::process::Output {
        super::process::run(command, &self.path("output"))
    }

    /// Starts `command`, its output kept here.
    pub(crate) fn start(&self, command: Command) -> super::process::Running {
        super::process::start(command, &self.path("output"))
    }

    /// Mount points below the sandbox, innermost first.
    pub(crate) fn mounts(&self) -> Vec<PathBuf> {
        mounts_below(self.directory.path())
    }

    /// Processes that have their root, working directory or executable below the sandbox.
    pub(crate) fn processes(&self) -> Vec<String> {
        processes_below(self.directory.path())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let (mounts, processes) = (self.mounts(), self.processes());
        for mount in &mounts {
            let _already_reported = unmount(mount, UnmountFlags::DETACH);
        }
        if !std::thread::panicking() {
            assert!(mounts.is_empty(), "left mounted: {mounts:?}");
            assert!(processes.is_empty(), "left running: {processes:?}");
        }
    }
}

fn mounts_below(directory: &Path) -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from);
    let mut below: Vec<_> = points
        .filter(|point| point.starts_with(directory) && point != directory)
        .collect();
    below.reverse();
    below
}

fn processes_below(directory: &Path) -> Vec<String> {
    let lives_here = |process: &Path| {
        ["root", "cwd", "exe"]
            .iter()
            .any(|link| std::fs::read_link(process.join(link)).is_ok_and(|target| target.starts_with(directory)))
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    processes
        .filter(|process| lives_here(process))
        .map(|process| {
            let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
            format!(
                "{}: {}",
                process.display(),
                String::from_utf8_lossy(&line).replace('\0', " ")
            )
        })
        .collect()
}
