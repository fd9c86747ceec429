//! Which programs a build starts, how it ends when it is asked to, and what it is as the first process of a container.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::fs::{CWD, Mode};
use rustix::process::Signal;
use support::process::{Running, sleepers, wait_until};
use support::runtime::{self, Container};
use support::scripted::{Answer, Request, Scripted, ServedImage};
use support::{Rbuild, Registry, Sandbox, rbuild};

/// An image that ships programs a builder might be tempted to call, and archives that would need them.
#[test]
fn root_h50_nothing_of_the_rootfs_is_executed_but_run() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    registry.push_base(&sandbox, "small");
    let archive = sandbox.path("context/archive.tar.gz");
    sandbox.write("context/file", "content\n");
    let made = std::process::Command::new("tar")
        .arg("-czf")
        .arg(&archive)
        .arg("-C")
        .arg(sandbox.path("context"))
        .arg("file")
        .status();
    assert!(made.unwrap().success());
    let dockerfile = format!(
        "FROM {} AS planted\n\
         RUN mkdir -p /usr/bin && for tool in gzip unpigz xz zstd tar mount newuidmap docker-credential-x; \
         do printf '#!/bin/sh\\necho planted\\n' > /usr/bin/$tool && chmod 755 /usr/bin/$tool; done\n\
         ADD archive.tar.gz /opt/\nCOPY --chown=root:root file /usr/bin/file\nWORKDIR /made\n\
         FROM planted\nUSER root\nRUN [\"/bin/busybox\", \"true\"]\n",
        registry.reference("small:1")
    );
    let trace = sandbox.path("trace");
    let launcher = [
        "strace",
        "-f",
        "-qq",
        "-e",
        "trace=execve",
        "-o",
        trace.to_str().unwrap(),
    ];
    let _built = Rbuild::build_text(&sandbox, &dockerfile)
        .through(&launcher)
        .destination(&registry.reference("out:1"))
        .run()
        .success();
    let trace = std::fs::read_to_string(trace).unwrap();
    let program = |line: &str| line.split("execve(\"").nth(1)?.split('"').next().map(str::to_owned);
    let started: BTreeSet<String> = trace
        .lines()
        .filter(|line| line.ends_with("= 0"))
        .filter_map(program)
        .collect();
    let own = [
        support::rbuild::program().display().to_string(),
        "/proc/self/exe".to_owned(),
    ];
    let foreign: Vec<_> = started.iter().filter(|name| !own.contains(name)).collect();
    let by_run = ["/bin/busybox", "/bin/chmod", "/bin/mkdir", "/bin/sh"];
    assert!(
        foreign.iter().all(|name| by_run.contains(&name.as_str())),
        "{foreign:?}"
    );
    assert!(
        foreign.iter().any(|name| *name == "/bin/busybox"),
        "the trace saw no RUN: {started:?}"
    );
}

/// A server that falls silent at one request, and says that it has.
struct Stuck {
    server: Scripted,
    reached: Receiver<()>,
}

impl Stuck {
    /// Answers as `image` is served and takes uploads, but for what `falls_silent` picks.
    fn start(falls_silent: impl Fn(&Request, &ServedImage) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let (say, reached) = channel();
        let (say, image) = (Mutex::new(say), ServedImage::of_tar(vec![0; 1024]));
        let answer = move |request: &Request| match falls_silent(request, &image) {
            Some(answer) => {
                // The test may have seen enough.
                let _ = say.lock().unwrap().send(());
                answer
            }
            None if request.method == "POST" => Answer::status(202).header("Location", "/v2/out/blobs/uploads/1"),
            None if request.method == "HEAD" && request.path.contains("/out/") => Answer::status(404),
            None => image.answer(&request.path),
        };
        Self {
            server: Scripted::start_with_headers(answer),
            reached,
        }
    }

    fn wait_until_reached(&self) {
        self.reached.recv_timeout(Duration::from_secs(60)).unwrap();
    }
}

/// A pipe into which nobody writes, with the end that keeps it open.
fn silent_pipe(sandbox: &Sandbox) -> (PathBuf, File) {
    let path = sandbox.path("pipe");
    rustix::fs::mkfifoat(CWD, &path, Mode::from_raw_mode(0o600)).unwrap();
    let keeper = File::options().read(true).write(true).open(&path).unwrap();
    (path, keeper)
}

/// Asks `build` to end, which takes less than a server may be silent, and returns what it said.
#[track_caller]
fn ends(sandbox: &Sandbox, mut build: Running) -> String {
    build.signal(Signal::TERM);
    // Far more than it takes, and far less than any time limit of the network.
    wait_until_within(Duration::from_secs(25), || build.has_ended());
    let output = build.wait();
    assert_eq!(
        output.status.signal(),
        Some(Signal::TERM.as_raw()),
        "{}",
        output.report()
    );
    assert_eq!(sandbox.processes(), Vec::<String>::new());
    output.stderr
}

#[track_caller]
fn wait_until_within(limit: Duration, mut reached: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + limit;
    while !reached() {
        assert!(std::time::Instant::now() < deadline, "overdue");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn builds(sandbox: &Sandbox) -> usize {
    fs::read_dir(rbuild::store(sandbox).join("builds")).map_or(0, Iterator::count)
}

#[test]
fn root_sigterm_ends_a_build_whatever_it_waits_for() {
    type Pick = fn(&Request, &ServedImage) -> Option<Answer>;
    let manifest: Pick = |request, _| request.path.contains("/manifests/").then(Answer::silence);
    let layer: Pick = |request, image| {
        let answer = || image.answer(&request.path).stuck_at(10);
        (request.method == "GET" && image.is_layer(&request.path)).then(answer)
    };
    let any: Pick = |_, _| Some(Answer::silence());
    let upload: Pick = |request, _| matches!(request.method.as_str(), "PUT" | "PATCH").then(Answer::silence);
    for (what, dockerfile, pick) in [
        ("manifest", "FROM HOST/base:1\nRUN x\n", manifest),
        ("layer", "FROM HOST/base:1\nRUN x\n", layer),
        ("url", "FROM scratch\nADD http://HOST/file /\n", any),
        ("git", "FROM scratch\nADD http://HOST/repository.git /\n", any),
        ("upload", "FROM scratch\nCOPY Dockerfile /\n", upload),
    ] {
        let (stuck, sandbox) = (Stuck::start(pick), Sandbox::new());
        sandbox.write("context/Dockerfile", "");
        let host = stuck.server.host();
        let build = Rbuild::build_text(&sandbox, &dockerfile.replace("HOST", &host))
            .arg("--skip-push-permission-check")
            .destination(&format!("{host}/out:1"));
        let running = build.start();
        stuck.wait_until_reached();
        let said = ends(&sandbox, running);
        assert!(said.contains("interrupted by signal 15"), "{what}: {said}");
        assert_eq!(builds(&sandbox), 0, "{what}");
    }
}

#[test]
fn root_sigterm_ends_a_build_whatever_it_works_on() {
    let sandbox = Sandbox::new();
    let file = File::create(sandbox.directory("context").join("large")).unwrap();
    file.set_len(100 << 30).unwrap();
    let build = Rbuild::build_text(&sandbox, "FROM scratch\nCOPY large /\n").arg("--no-push");
    let running = build.start();
    wait_until("it copies", || running.stderr_so_far().contains("COPY large"));
    let said = ends(&sandbox, running);
    assert!(said.contains("interrupted by signal 15"), "{said}");
    assert_eq!(builds(&sandbox), 0);

    // Nothing comes, and then not even the end that the build is asked for: nobody can interrupt the opening of a pipe.
    let (pipe, keeper) = silent_pipe(&sandbox);
    let running = Rbuild::bare(&sandbox)
        .args(["--no-push", "--context", "tar://stdin"])
        .stdin(&pipe)
        .start();
    wait_until("it reads", || builds(&sandbox) == 1);
    let said = ends(&sandbox, running);
    assert!(said.contains("interrupted by signal 15"), "{said}");
    drop(keeper);
    let running = Rbuild::build(&sandbox, &pipe, &sandbox.directory("context"))
        .arg("--no-push")
        .start();
    wait_until("it waits for a writer", || is_in_open(&running));
    let said = ends(&sandbox, running);
    assert!(said.contains("stopped before everything was taken away"), "{said}");
}

/// Whether its first thread sleeps in the opening of a pipe.
fn is_in_open(running: &Running) -> bool {
    let path = format!("/proc/{}/wchan", running.pid().as_raw_nonzero());
    fs::read_to_string(path).is_ok_and(|place| place.contains("wait_for_partner"))
}

/// A container's root with busybox and the program, as in a debug image.
fn container_root(sandbox: &Sandbox) -> String {
    let root = sandbox.directory("root");
    for directory in [
        "busybox",
        "kaniko",
        "tmp",
        "workspace",
        "var/lib/rbuild",
        "var/run/secrets",
    ] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("busybox/busybox")).expect("the package busybox-static is installed");
    fs::copy(rbuild::program(), root.join("kaniko/executor")).unwrap();
    fs::copy("/bin/busybox", sandbox.directory("context").join("busybox")).unwrap();
    root.display().to_string()
}

/// What every Dockerfile in these containers begins with.
const BASE: &str = "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n";

/// Leaves an orphan to the first process and waits until that has reaped it.
const ORPHAN: &str = r#"
b=/busybox/busybox
pid=$($b sh -c "$b sleep 0.1 > /dev/null & echo \$!")
i=0
while [ -d /proc/$pid ] && [ $i -lt 300 ]; do $b sleep 0.1; i=$((i+1)); done
[ ! -d /proc/$pid ]
"#;

fn volume(from: &Path, to: &str, options: &str) -> String {
    format!("--volume={}:{to}:{options}", from.display())
}

#[test]
fn root_the_first_process_of_a_container_reaps_and_passes_signals_on() {
    let sandbox = Sandbox::new();
    let root = container_root(&sandbox);
    let (daemon, sleeper) = (format!("8{}", std::process::id()), format!("9{}", std::process::id()));
    // The token of a service account, and the pod's environment, are no business of a RUN.
    let hidden = "test ! -e /var/run/secrets && test ! -e /kaniko && ! env | grep TOKEN";
    let steps = format!(
        "RUN {hidden} && (setsid sleep {daemon} > /dev/null 2>&1 &)\nRUN trap '' TERM; setsid sleep {sleeper} & sleep {sleeper}\n"
    );
    sandbox.write("context/Dockerfile", format!("{BASE}{steps}"));
    sandbox.write("secrets/token", "t");
    let volumes = [
        volume(&sandbox.path("context"), "/workspace", "rw"),
        volume(&sandbox.directory("state"), "/var/lib/rbuild", "rw"),
        volume(&sandbox.path("secrets"), "/var/run/secrets", "ro"),
    ];
    let mut flags = vec![
        "--rootfs",
        "--privileged",
        "--read-only",
        "--env=POD_TOKEN=t",
        "--stop-timeout=5",
    ];
    flags.extend(volumes.iter().map(String::as_str));
    let container = Container::start_with(&sandbox, &root, &flags, &["/kaniko/executor", "--no-push"]);
    wait_until("the RUN sleeps", || sleepers(&sleeper).len() == 2);
    assert_eq!(sleepers(&daemon), Vec::<PathBuf>::new());
    let _reaped = container.exec(&["/busybox/busybox", "sh", "-c", ORPHAN]).success();
    let output = container.end_by("TERM").code(143);
    assert!(
        output.stderr.contains("interrupted by signal 15"),
        "{}",
        output.report()
    );
    assert_eq!(sleepers(&sleeper), Vec::<PathBuf>::new());
    assert_eq!(fs::read_dir(sandbox.path("state/builds")).unwrap().count(), 0);
}

#[test]
fn root_a_layer_larger_than_the_memory_and_a_run_that_wants_more() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    let root = container_root(&sandbox);
    let base = registry.reference("large:1");
    sandbox.write("context/.dockerignore", "*\n!busybox\n");
    let fill = "RUN dd if=/dev/urandom of=/large bs=1M count=150 && truncate -s 300M /sparse && dd if=/dev/zero of=/empty bs=1M count=100\n";
    sandbox.write("context/large", format!("{BASE}{fill}"));
    sandbox.write(
        "context/copy",
        format!("FROM {base} AS from\nFROM {base}\nCOPY --from=from /large /copy\nRUN cmp /large /copy\n"),
    );
    sandbox.write(
        "context/greedy",
        format!("{BASE}RUN tail /dev/zero; echo code $?; exit 1\n"),
    );
    sandbox.write("context/killed", format!("{BASE}RUN exec tail /dev/zero\n"));
    let script = format!(
        "cd /workspace; e=/kaniko/executor; $e -f large -d {base} && $e -f copy -d {} || exit 7\n\
         $e -f greedy --no-push; echo greedy $?; $e -f killed --no-push; echo killed $?\n\
         $e -f killed --no-push --store /store; echo store $?; $e -f killed --no-push --digest-file /d/f; echo digest $?\n\
         $e -f killed --no-push <&-; echo stdin $?",
        registry.reference("copy:1")
    );
    let volumes = [
        volume(&sandbox.path("context"), "/workspace", "ro"),
        volume(&sandbox.directory("state"), "/var/lib/rbuild", "rw"),
    ];
    let mut flags = vec![
        "--rootfs",
        "--privileged",
        "--read-only",
        "--read-only-tmpfs=false",
        "--memory=128m",
        "--memory-swap=128m",
    ];
    flags.extend(volumes.iter().map(String::as_str));
    let output = runtime::run_image_with(&sandbox, &root, &flags, &["/busybox/busybox", "sh", "-c", &script]).success();
    for code in ["greedy 1", "killed 255", "store 1", "digest 1", "stdin 255"] {
        assert!(
            output.stdout.lines().any(|line| line == code),
            "{code}: {}",
            output.report()
        );
    }
    for (words, count) in [
        ("killed by signal 9 (SIGKILL)", 2),
        ("= code 137", 1),
        (
            "hint: the kernel ended a process for want of memory: the memory limit of this container is 128 MiB",
            3,
        ),
        (": use the state directory /store", 1),
        ("hint: choose a directory that can be written with --store", 1),
        (": --digest-file: /d/f cannot be written", 1),
    ] {
        let found = output.stderr.lines().filter(|line| line.contains(words)).count();
        assert_eq!(found, count, "{words}: {}", output.report());
    }
    assert_eq!(fs::read_dir(sandbox.path("state/builds")).unwrap().count(), 0);
}
