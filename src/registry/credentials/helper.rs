//! Runs a credential helper: `docker-credential-<name> get`, the server's name on its input, JSON on its output; `store`
//! takes that JSON on its input, `erase` the server's name.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value};

use super::config::member;
use super::{Credential, CredentialError};
use crate::secret::SecretText;

const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_OUTPUT: u64 = 64 << 10;

const FAILED: &str = "ended with an error";

/// The programs that keep credentials for others.
#[derive(Debug)]
pub(super) struct Helpers {
    path: Option<OsString>,
    pub(super) timeout: Duration,
}

/// What a helper printed, and whether it calls that a success.
struct Output {
    succeeded: bool,
    text: String,
}

impl Helpers {
    /// Those in the directories of `path`.
    pub(super) const fn new(path: Option<OsString>) -> Self {
        Self { path, timeout: TIMEOUT }
    }

    /// What the helper `name` knows about `server`.
    pub(super) fn ask(&self, name: &str, server: &str) -> Result<Option<Credential>, CredentialError> {
        let output = self.call(name, "get", server.as_bytes())?;
        match output.succeeded {
            true => parse_answer(&output.text).map_err(|text| problem(name, text)),
            false if is_not_found(&output.text) => Ok(None),
            // Its text is not ours to show: it may hold anything.
            false => Err(problem(name, FAILED)),
        }
    }

    /// Lets the helper `name` keep a credential.
    pub(super) fn store(
        &self,
        name: &str,
        server: &str,
        user: &str,
        password: &SecretText,
    ) -> Result<(), CredentialError> {
        let entry = serde_json::json!({"ServerURL": server, "Username": user, "Secret": password.reveal()});
        match self.call(name, "store", entry.to_string().as_bytes())?.succeeded {
            true => Ok(()),
            false => Err(problem(name, FAILED)),
        }
    }

    /// Lets the helper `name` forget a credential; whether it knew one.
    pub(super) fn erase(&self, name: &str, server: &str) -> Result<bool, CredentialError> {
        let output = self.call(name, "erase", server.as_bytes())?;
        match output.succeeded {
            true => Ok(true),
            false if is_not_found(&output.text) => Ok(false),
            false => Err(problem(name, FAILED)),
        }
    }

    fn call(&self, name: &str, verb: &str, input: &[u8]) -> Result<Output, CredentialError> {
        let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if name.is_empty() || !name.bytes().all(valid) {
            return Err(problem(name, "has a name that is none"));
        }
        let program = self.find(name).ok_or_else(|| problem(name, "is not in PATH"))?;
        run(&program, verb, input, self.timeout).map_err(|text| problem(name, &text))
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        let file = format!("docker-credential-{name}");
        std::env::split_paths(self.path.as_ref()?)
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join(&file))
            .find(|path| path.is_file())
    }
}

fn problem(name: &str, problem: &str) -> CredentialError {
    CredentialError::Helper {
        name: name.escape_default().to_string(),
        problem: problem.to_owned(),
    }
}

/// Calls `program` with `input`.
///
/// It gets its own process group, so that nothing of it outlives the time it has.
fn run(program: &Path, verb: &str, input: &[u8], timeout: Duration) -> Result<Output, String> {
    let mut child = Command::new(program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("cannot be run: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input says so by what it answers.
        let _ = stdin.write_all(input);
    }
    let text = read_output(&mut child, timeout);
    if text.is_none() {
        kill_group(&child);
    }
    let status = child.wait().map_err(|error| format!("cannot be waited for: {error}"))?;
    let text = text.ok_or_else(|| format!("gave no answer within {} s", timeout.as_secs()))?;
    Ok(Output {
        succeeded: status.success(),
        text,
    })
}

fn read_output(child: &mut Child, timeout: Duration) -> Option<String> {
    let stdout = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What could not be read is not there to be parsed.
        let _ = stdout.take(MAX_OUTPUT).read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    let bytes = receiver.recv_timeout(timeout).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn kill_group(child: &Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        // It may have ended in this moment.
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}

fn parse_answer(text: &str) -> Result<Option<Credential>, &'static str> {
    let answer: Map<String, Value> = serde_json::from_str(text).map_err(|_| "answered something that is not JSON")?;
    let text = |name| {
        member(&answer, name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    match (text("Username"), text("Secret")) {
        (user, secret) if user.is_empty() && secret.is_empty() => Ok(None),
        (user, secret) => Ok(Some(Credential::of(user, secret))),
    }
}

/// The protocol has no code for "I know none", only these texts.
fn is_not_found(text: &str) -> bool {
    [
        "credentials not found",
        "no credentials server URL",
        "no credentials username",
    ]
    .iter()
    .any(|known| text.contains(known))
}
