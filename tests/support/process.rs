//! Processes that cannot outlive the test that started them.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A hung program is a failed test, not a hung suite.
const DEADLINE: Duration = Duration::from_secs(600);

/// Waits for something that other processes do.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !reached() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Processes of this machine called `sleep SECONDS`.
pub(crate) fn sleepers(seconds: &str) -> Vec<PathBuf> {
    let wanted = format!("sleep\0{seconds}\0").into_bytes();
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    processes
        .filter(|process| std::fs::read(process.join("cmdline")).is_ok_and(|line| line == wanted))
        .collect()
}

/// A command with an empty environment that the kernel kills when the calling thread ends.
///
/// The death signal is set by `setpriv`, which then becomes the program: the process id is the program's own.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8");
    command.stdin(Stdio::null());
    command
}

/// A program that has been started and writes into files, so that a grandchild which keeps a descriptor open cannot
/// make the reader wait.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    line: String,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// What a finished program left behind.
#[derive(Debug)]
#[must_use = "a program's outcome has to be checked"]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    line: String,
}

/// Starts `command` with its output in new files under `directory`.
pub(crate) fn start(mut command: Command, directory: &Path) -> Running {
    let line = format!("{command:?}");
    let file = || {
        tempfile::Builder::new()
            .prefix("output-")
            .tempfile_in(directory)
            .unwrap()
            .keep()
            .unwrap()
    };
    let ((out, stdout), (err, stderr)): ((File, _), (File, _)) = (file(), file());
    let child = command
        .stdout(out)
        .stderr(err)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
    Running {
        child,
        line,
        stdout,
        stderr,
    }
}

/// Runs `command` to its end.
pub(crate) fn run(command: Command, directory: &Path) -> Output {
    start(command, directory).wait()
}

impl Running {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What the program has written to stderr so far.
    pub(crate) fn stderr_so_far(&self) -> String {
        lossy(&self.stderr)
    }

    /// The same of stdout.
    pub(crate) fn stdout_so_far(&self) -> String {
        lossy(&self.stdout)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Whether the program has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end, and kills the program when it is overdue.
    pub(crate) fn wait(mut self) -> Output {
        let pid = self.pid();
        let (done, overdue) = channel::<()>();
        let watchdog = std::thread::spawn(move || {
            let late = overdue.recv_timeout(DEADLINE) == Err(RecvTimeoutError::Timeout);
            if late {
                let _gone_meanwhile = kill_process(pid, Signal::KILL);
            }
            late
        });
        let status = self.child.wait().unwrap();
        drop(done);
        let (stdout, stderr) = (lossy(&self.stdout), lossy(&self.stderr));
        assert!(
            !watchdog.join().unwrap(),
            "{} did not end within {DEADLINE:?}\n{stderr}",
            self.line
        );
        Output {
            status,
            stdout,
            stderr,
            line: self.line.clone(),
        }
    }
}

impl Output {
    /// Expects that nothing the program wrote contains one of these.
    #[track_caller]
    pub(crate) fn without(self, secrets: &[&str]) -> Self {
        for secret in secrets {
            let told = self.stdout.contains(secret) || self.stderr.contains(secret);
            assert!(!told, "{secret:?} was shown\n{}", self.report());
        }
        self
    }

    /// Expects exit code 0.
    #[track_caller]
    pub(crate) fn success(self) -> Self {
        assert!(self.status.success(), "expected success\n{}", self.report());
        self
    }

    /// Expects this exit code.
    #[track_caller]
    pub(crate) fn code(self, expected: i32) -> Self {
        assert_eq!(self.status.code(), Some(expected), "unexpected exit\n{}", self.report());
        self
    }

    /// Expects one of these exit codes and gives it.
    #[track_caller]
    pub(crate) fn code_in(&self, expected: &[i32]) -> i32 {
        let code = self.status.code().filter(|code| expected.contains(code));
        code.unwrap_or_else(|| panic!("unexpected exit\n{}", self.report()))
    }

    /// Expects exit code 1 and one error on stderr that contains each of `texts`, in any case of letters.
    #[track_caller]
    pub(crate) fn failure_with(self, texts: &[&str]) -> Self {
        let output = self.code(1);
        let said = output.stderr.to_lowercase();
        for text in texts {
            assert!(
                said.contains(&text.to_lowercase()),
                "stderr lacks {text:?}\n{}",
                output.report()
            );
        }
        for panic in ["panicked at", "rust_backtrace"] {
            assert!(
                !said.contains(panic),
                "a panic is not an error message\n{}",
                output.report()
            );
        }
        let errors = said
            .lines()
            .filter(|line| line.trim_start().starts_with("error"))
            .count();
        assert!(
            errors <= 1,
            "{errors} errors where one was expected\n{}",
            output.report()
        );
        output
    }

    /// The command line, the outcome and everything the program wrote.
    pub(crate) fn report(&self) -> String {
        let how = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or_default()),
        };
        format!(
            "$ {}\n{how}\n--- stdout\n{}\n--- stderr\n{}",
            self.line, self.stdout, self.stderr
        )
    }
}

fn lossy(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
}
