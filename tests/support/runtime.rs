//! A real container runtime, to see that a pushed image runs.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};

use super::Sandbox;
use super::process::{Output, Running};

/// How long a server may take to listen, and to answer.
const PATIENCE: Duration = Duration::from_secs(90);

/// Starts the image at `reference` and returns what it printed.
pub(crate) fn run_image(sandbox: &Sandbox, reference: &str, command: &[&str]) -> Output {
    run_image_with(sandbox, reference, &[], command)
}

/// The same with more flags for podman.
pub(crate) fn run_image_with(sandbox: &Sandbox, reference: &str, flags: &[&str], command: &[&str]) -> Output {
    let mut podman = podman_run(sandbox, flags);
    podman.arg(reference).args(command);
    let output = sandbox.run(podman);
    release_storage(sandbox);
    output
}

/// Name of the one container of a sandbox.
const CONTAINER: &str = "container";

/// A container that goes on until it is stopped. Its sandbox is its own: stopping ends every container there.
#[derive(Debug)]
pub(crate) struct Container<'s> {
    sandbox: &'s Sandbox,
    podman: Running,
}

impl<'s> Container<'s> {
    /// Starts the image at `reference` with these variables added to its environment.
    pub(crate) fn start(sandbox: &'s Sandbox, reference: &str, env: &[(&str, &str)]) -> Self {
        let variables: Vec<_> = env
            .iter()
            .map(|(name, value)| format!("--env={name}={value}"))
            .collect();
        let flags: Vec<_> = variables.iter().map(String::as_str).collect();
        Self::start_with(sandbox, reference, &flags, &[])
    }

    /// The same with more flags for podman, and another command.
    pub(crate) fn start_with(sandbox: &'s Sandbox, reference: &str, flags: &[&str], command: &[&str]) -> Self {
        let mut podman = podman_run(sandbox, flags);
        podman.args(["--name", CONTAINER]).arg(reference).args(command);
        Self {
            sandbox,
            podman: sandbox.start(podman),
        }
    }

    /// Its first process, as this machine sees it. Waits until there is one.
    pub(crate) fn pid(&mut self) -> u32 {
        loop {
            let mut inspect = podman(self.sandbox);
            inspect.args(["inspect", "--format", "{{.State.Pid}}", CONTAINER]);
            match self.sandbox.run(inspect).stdout.trim().parse() {
                Ok(pid) if pid != 0 => return pid,
                _ => assert!(!self.has_ended(), "the container has ended"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs a command in it.
    pub(crate) fn exec(&self, command: &[&str]) -> Output {
        self.sandbox.run(self.exec_command(command))
    }

    /// Starts a command in it.
    pub(crate) fn start_exec(&self, command: &[&str]) -> Running {
        self.sandbox.start(self.exec_command(command))
    }

    fn exec_command(&self, command: &[&str]) -> Command {
        let mut exec = podman(self.sandbox);
        exec.args(["exec", CONTAINER]).args(command);
        exec
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.podman.has_ended()
    }

    /// Asks its first process to end, by this signal, and returns what became of it.
    pub(crate) fn end_by(self, signal: &str) -> Output {
        let mut kill = podman(self.sandbox);
        kill.args(["kill", "--signal", signal, CONTAINER]);
        let _killed = self.sandbox.run(kill).success();
        let output = self.podman.wait();
        release_storage(self.sandbox);
        output
    }

    /// What it answers on this port of the machine, as soon as it listens there.
    pub(crate) fn get(&mut self, port: u16, path: &str) -> Result<String, String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let deadline = Instant::now() + PATIENCE;
        loop {
            match TcpStream::connect(address) {
                Ok(stream) => return exchange(stream, path).map_err(|error| format!("GET {path}: {error}")),
                Err(_) if self.podman.has_ended() => return Err("the container ended before it listened".to_owned()),
                Err(_) if Instant::now() > deadline => return Err(format!("nobody listens on port {port}")),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Ends it and returns what it printed.
    pub(crate) fn stop(self) -> Output {
        let mut kill = podman(self.sandbox);
        kill.args(["kill", "--all"]);
        // One that has ended by itself cannot be killed; its output tells.
        let _killed_or_gone = self.sandbox.run(kill);
        let output = self.podman.wait();
        release_storage(self.sandbox);
        output
    }
}

fn exchange(mut stream: TcpStream, path: &str) -> std::io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    // In one piece: who has heard enough answers and goes.
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn podman_run(sandbox: &Sandbox, flags: &[&str]) -> Command {
    let mut podman = podman(sandbox);
    podman.args(["run", "--rm", "--quiet", "--tls-verify=false", "--network=host"]);
    podman.args(["--no-healthcheck"]).args(flags);
    podman
}

/// The limits are named because the runtime's own defaults may exceed what the machine grants, and the runtime because
/// `crun` refuses machines that have both versions of cgroups mounted.
pub(crate) fn podman(sandbox: &Sandbox) -> Command {
    let limits = "[containers]\ndefault_ulimits = [\"nofile=20000:20000\", \"nproc=4096:4096\"]\n";
    let config = sandbox.path("containers.conf");
    // Another command may be reading it.
    if !config.exists() {
        let _path = sandbox.write("containers.conf", limits);
    }
    let storage = sandbox.directory("podman");
    let mut podman = sandbox.command("podman");
    podman.env("CONTAINERS_CONF", config);
    for (flag, folder) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
        podman.arg(flag).arg(storage.join(folder));
    }
    podman.args([
        "--cgroup-manager",
        "cgroupfs",
        "--events-backend",
        "file",
        "--runtime",
        "runc",
    ]);
    podman
}

/// The storage library keeps its directory mounted on itself; not there when it has used another driver. What watched the
/// container ends a moment after it.
pub(crate) fn release_storage(sandbox: &Sandbox) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !sandbox.processes().is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    let _already_gone = unmount(sandbox.directory("podman").join("root/overlay"), UnmountFlags::DETACH);
}
