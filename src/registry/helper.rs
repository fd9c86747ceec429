//! Runs a credential helper: `docker-credential-<name> get`, the server's name on its input, JSON on its output.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const MAX_OUTPUT: u64 = 64 << 10;

/// What a helper printed, and whether it calls that a success.
pub(super) struct HelperOutput {
    pub(super) succeeded: bool,
    pub(super) text: String,
}

/// Asks `program` about `server`.
///
/// It gets its own process group, so that nothing of it outlives the time it has.
pub(super) fn run(program: &Path, server: &str, timeout: Duration) -> Result<HelperOutput, String> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("cannot be run: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input says so by what it answers.
        let _ = stdin.write_all(server.as_bytes());
    }
    let text = read_output(&mut child, timeout);
    if text.is_none() {
        kill_group(&child);
    }
    let status = child.wait().map_err(|error| format!("cannot be waited for: {error}"))?;
    let text = text.ok_or_else(|| format!("gave no answer within {} s", timeout.as_secs()))?;
    Ok(HelperOutput {
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
