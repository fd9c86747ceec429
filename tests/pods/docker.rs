//! A Docker daemon of the test's own.

use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::Signal;

use crate::step::Step;
use crate::support::process::{Output, Running};
use crate::support::{Registry, Sandbox};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// Debian's, whatever else is on the path.
const CLIENT: &str = "/usr/bin/docker";

/// Stopped, and its storage removed, when dropped.
#[derive(Debug)]
pub(crate) struct Docker {
    daemon: Option<Running>,
    sandbox: Sandbox,
}

impl Docker {
    /// Without a bridge and rules of a firewall, so that the machine's network stays as it is.
    pub(crate) fn start(registry: &Registry) -> Self {
        let sandbox = Sandbox::new();
        registry.login(&sandbox);
        let mut dockerd = sandbox.command("/usr/sbin/dockerd");
        dockerd.args(["--iptables=false", "--ip-forward=false", "--bridge=none"]);
        for (flag, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            dockerd.arg(flag).arg(sandbox.path(name));
        }
        dockerd.arg("--host").arg(socket(&sandbox));
        let mut daemon = sandbox.start(dockerd);
        let deadline = Instant::now() + PATIENCE;
        while !client(&sandbox, &["version".to_owned()], None).status.success() {
            let is_hopeless = daemon.has_ended() || Instant::now() > deadline;
            assert!(!is_hopeless, "dockerd does not start: {}", daemon.stderr_so_far());
            std::thread::sleep(Duration::from_millis(50));
        }
        Self {
            daemon: Some(daemon),
            sandbox,
        }
    }

    /// Runs a container to its end.
    pub(crate) fn run(&self, step: &Step) -> Output {
        let mut words: Vec<_> = ["run", "--rm", "--network=host"].map(str::to_owned).into();
        words.extend(step.words());
        client(&self.sandbox, &words, step.stdin.as_deref())
    }

    /// Fetches an image for all containers that are to run.
    pub(crate) fn pull(&self, image: &str) {
        let words = ["pull", "--quiet", image].map(str::to_owned);
        let _pulled = client(&self.sandbox, &words, None).success();
    }
}

fn socket(sandbox: &Sandbox) -> String {
    format!("unix://{}", sandbox.path("socket").display())
}

fn client(sandbox: &Sandbox, words: &[String], stdin: Option<&std::path::Path>) -> Output {
    let mut docker = sandbox.command(CLIENT);
    docker.arg("--host").arg(socket(sandbox)).args(words);
    if let Some(stdin) = stdin {
        docker.stdin(std::fs::File::open(stdin).unwrap());
    }
    sandbox.run(docker)
}

impl Drop for Docker {
    fn drop(&mut self) {
        let Some(daemon) = self.daemon.take() else { return };
        daemon.signal(Signal::TERM);
        let _ended = daemon.wait();
        let _not_there = unmount(self.sandbox.path("exec/netns/default"), UnmountFlags::DETACH);
    }
}
