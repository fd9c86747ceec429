//! RUN in namespaces, against the real kernel: these tests need root.
//!
//! A rootfs of one static busybox is made for each. What must not survive a RUN is looked for by a marker
//! in its command line, what must not change is compared before and after.

#![expect(clippy::unwrap_used, reason = "the helpers below belong to tests")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use rbuild::cancel::{Cancel, Cancelled};
use rbuild::plan::Sandbox;
use rbuild::run::{ExecFailure, Exit, Isolation as _, Namespaces, Process, RunError, Stream};
use rbuild::users::Identity;

const BUSYBOX: &str = "/bin/busybox";
const PATH: (&str, &str) = ("PATH", "/usr/bin:/bin");
const APPLETS: &[&str] = &[
    "awk", "cat", "echo", "env", "false", "grep", "head", "hostname", "id", "ls", "mkdir", "mknod", "printf",
    "readlink", "rm", "setsid", "sh", "sleep", "true", "touch", "tr", "wc", "mv", "stat",
];

/// A rootfs in a directory of its own, and what one RUN in it looks like.
struct Fixture {
    directory: tempfile::TempDir,
}

/// What a RUN did.
#[derive(Debug)]
struct Ran {
    result: Result<Exit, RunError>,
    stdout: String,
    stderr: String,
}

impl Ran {
    #[track_caller]
    fn success(self) -> String {
        assert!(matches!(self.result, Ok(Exit::Code(0))), "{self:?}");
        self.stdout
    }

    #[track_caller]
    fn error(self) -> RunError {
        self.result.expect_err("the RUN should not have run")
    }
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        fill_rootfs(&fixture.rootfs());
        fixture
    }

    fn rootfs(&self) -> PathBuf {
        self.directory.path().join("rootfs")
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.rootfs().join(inside)
    }

    fn write(&self, inside: &str, content: &str) -> PathBuf {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn sh(&self, script: &str) -> Ran {
        self.run(&["/bin/sh", "-c", script])
    }

    fn run(&self, argv: &[&str]) -> Ran {
        self.run_as(argv, &root())
    }

    fn run_as(&self, argv: &[&str], identity: &Identity) -> Ran {
        run_in(
            &self.rootfs(),
            argv,
            &[PATH],
            "/",
            identity,
            &Cancel::default(),
            &|_| (),
        )
    }
}

fn fill_rootfs(rootfs: &Path) {
    fs::create_dir_all(rootfs.join("bin")).unwrap();
    fs::copy(BUSYBOX, rootfs.join("bin/busybox")).expect("the package busybox-static is installed");
    for applet in APPLETS {
        symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
    }
}

fn run_in(
    rootfs: &Path,
    argv: &[&str],
    env: &[(&str, &str)],
    cwd: &str,
    identity: &Identity,
    cancel: &Cancel,
    on_line: &(dyn Fn(&str) + Sync),
) -> Ran {
    let argv: Vec<OsString> = argv.iter().map(OsString::from).collect();
    let env: Vec<(OsString, OsString)> = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let sandbox = Sandbox::default();
    let process = Process {
        env: &env,
        cwd: Path::new(cwd),
        ..Process::new(rootfs, &argv, identity, &sandbox)
    };
    let lines = [Mutex::new(String::new()), Mutex::new(String::new())];
    let output = |stream, line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        let index = usize::from(stream == Stream::Stderr);
        lines[index].lock().unwrap().push_str(&format!("{line}\n"));
        on_line(&line);
    };
    let result = isolation().run(&process, &output, cancel);
    let [stdout, stderr] = lines.map(|text| text.into_inner().unwrap());
    Ran { result, stdout, stderr }
}

fn isolation() -> Namespaces {
    Namespaces::with_binary(env!("CARGO_BIN_EXE_rbuild").into())
}

fn root() -> Identity {
    Identity::resolve(None, None, None).unwrap()
}

/// A number that no other test and no other run of this one puts on a command line.
fn marker() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("9{:07}{:03}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Processes of the machine with `marker` in their command line.
fn processes_with(marker: &str) -> Vec<String> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read(entry.unwrap().path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(marker))
        .collect()
}

/// This process's view of the mounts at or below `directory`.
fn mounts_below(directory: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table
        .lines()
        .filter(|line| line.contains(directory.to_str().unwrap()))
        .map(str::to_owned)
        .collect()
}

/// `/proc/<pid>/status` with plain spaces, and without the two signals that belong to glibc's threads, which its
/// posix_spawn ignores in every child.
fn readable(status: &str) -> Vec<String> {
    let without_libc = |line: &str| match line.strip_prefix("SigIgn:\t") {
        Some(mask) => format!(
            "SigIgn: {:016x}",
            u64::from_str_radix(mask, 16).unwrap() & !0x1_8000_0000
        ),
        None => line.replace('\t', " "),
    };
    status.lines().map(without_libc).collect()
}

/// Every path below `directory` with its mtime, owner, mode and inode.
fn listing(directory: &Path) -> BTreeSet<(PathBuf, i64, i64, u32, u32, u64)> {
    let mut entries = BTreeSet::new();
    for entry in walkdir::WalkDir::new(directory) {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        let path = entry.into_path();
        entries.insert((
            path,
            meta.mtime(),
            meta.mtime_nsec(),
            meta.uid(),
            meta.mode(),
            meta.ino(),
        ));
    }
    entries
}

#[test]
fn root_probe_succeeds() {
    isolation().probe().unwrap();
}

#[test]
fn root_exit_codes_and_signals() {
    let fixture = Fixture::new();
    for (script, exit) in [
        ("true", Exit::Code(0)),
        ("", Exit::Code(0)),
        ("exit 3", Exit::Code(3)),
        ("exit 255", Exit::Code(255)),
        ("kill -9 $$", Exit::Signal(9)),
        ("kill -TERM $$", Exit::Signal(15)),
        ("kill -HUP $$", Exit::Signal(1)),
        // The group of the command does not hold its parent.
        ("trap '' TERM; kill -TERM 0; exit 4", Exit::Code(4)),
        // PID 1 does not die of what the command sends it.
        ("kill -9 1; kill -INT 1; kill -USR1 1; exit 5", Exit::Code(5)),
    ] {
        let ran = fixture.sh(script);
        assert_eq!(ran.result.as_ref().ok(), Some(&exit), "{script}: {ran:?}");
    }
}

#[test]
fn root_output_is_split_by_stream_and_line() {
    let fixture = Fixture::new();
    let ran = fixture.sh("echo one; echo two >&2; printf 'a\\0b\\n\\nlast'");
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("one\na\0b\n\nlast\n", "two\n")
    );
    let long = fixture.sh("head -c 150000 /dev/zero | tr '\\0' x");
    let lengths: Vec<usize> = long.stdout.lines().map(str::len).collect();
    assert_eq!(lengths, [65_536, 65_536, 150_000 - 2 * 65_536]);
}

#[test]
fn root_environment_is_exact() {
    let fixture = Fixture::new();
    let cat = |env: &[(&str, &str)]| {
        let argv = ["/bin/cat", "/proc/self/environ"];
        let ran = run_in(&fixture.rootfs(), &argv, env, "/", &root(), &Cancel::default(), &|_| ());
        ran.success()
            .trim_end()
            .split_terminator('\0')
            .map(str::to_owned)
            .collect::<BTreeSet<_>>()
    };
    let set = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(cat(&[]), set(&["HOME=/"]));
    assert_eq!(
        cat(&[("HOME", "/h"), ("A", "x=y z"), ("E", ""), ("A", "last")]),
        set(&["HOME=/h", "A=last", "E="])
    );
}

#[test]
fn root_home_is_the_users() {
    let fixture = Fixture::new();
    let identity = Identity::resolve(Some("app"), Some(b"app:x:7:8::/srv/app:\n"), None).unwrap();
    assert_eq!(
        fixture.run_as(&["sh", "-c", "echo $HOME"], &identity).success(),
        "/srv/app\n"
    );
}

#[test]
fn root_user_groups_and_umask() {
    let fixture = Fixture::new();
    let passwd = b"app:x:1000:50::/srv/app:/bin/sh\n";
    let group = b"staff:x:50:\naudio:x:29:app\n";
    for (spec, expected) in [
        (None, "0 0 0"),
        (Some("app"), "1000 50 50 29"),
        (Some("app:audio"), "1000 29 29"),
        (Some("1234"), "1234 0 0"),
        (Some("1:2"), "1 2 2"),
    ] {
        let identity = Identity::resolve(spec, Some(passwd), Some(group)).unwrap();
        let script = "echo $(id -u) $(id -g) $(id -G); umask";
        assert_eq!(
            fixture.run_as(&["sh", "-c", script], &identity).success(),
            format!("{expected}\n0022\n"),
            "{spec:?}"
        );
    }
}

#[test]
fn root_capabilities_are_dockers() {
    let fixture = Fixture::new();
    let status = |identity: &Identity| {
        let argv = ["grep", "-E", "^(Cap|NoNewPrivs|SigBlk|SigIgn)", "/proc/self/status"];
        let text = fixture.run_as(&argv, identity).success();
        readable(&text.replace("00000000a80425fb", "docker"))
    };
    let zero = "0000000000000000";
    let signals = [format!("SigBlk: {zero}"), format!("SigIgn: {zero}")];
    let expected = |held: &str| {
        let mut lines = signals.to_vec();
        lines.extend([
            format!("CapInh: {zero}"),
            format!("CapPrm: {held}"),
            format!("CapEff: {held}"),
            "CapBnd: docker".to_owned(),
            format!("CapAmb: {zero}"),
            "NoNewPrivs: 0".to_owned(),
        ]);
        lines
    };
    assert_eq!(status(&root()), expected("docker"));
    assert_eq!(
        status(&Identity::resolve(Some("1000"), None, None).unwrap()),
        expected(zero)
    );
}

#[test]
fn root_no_descriptor_is_inherited() {
    let fixture = Fixture::new();
    // One that our own parent could have leaked: open, and not marked to be closed.
    let leaked = File::open("/dev/zero").unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    let script = "ls /proc/$$/fd; readlink /proc/$$/fd/0; true";
    assert_eq!(fixture.sh(script).success(), "0\n1\n2\n/dev/null\n");
}

#[test]
fn root_processes_are_isolated() {
    let fixture = Fixture::new();
    let script = "echo $$; cd /proc; echo [0-9]*; tr '\\0' ' ' < 1/cmdline; echo; set -- $(cat self/stat); echo tty $7";
    let stdout = fixture.sh(script).success();
    let lines: Vec<&str> = stdout.lines().collect();
    let pids: Vec<u32> = lines[1].split(' ').map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 2, "{pids:?}");
    assert_eq!((pids[0], pids[1].to_string().as_str()), (1, lines[0]));
    assert_eq!(&lines[2..], ["rbuild --rbuild-init ", "tty 0"]);
    // The way from PID 1 to the host's executable is closed.
    for link in ["/proc/1/exe", "/proc/1/fd/0", "/proc/1/root"] {
        assert!(
            !matches!(fixture.run(&["readlink", link]).result, Ok(Exit::Code(0))),
            "{link}"
        );
    }
    let group = fixture
        .sh("set -- $(cat /proc/$$/stat); test $5 = $$ && test $6 = 1")
        .result;
    assert!(matches!(group, Ok(Exit::Code(0))), "{group:?}");
}

#[test]
fn root_daemons_are_dead_on_return() {
    let fixture = Fixture::new();
    let marker = marker();
    let script = format!(
        "setsid sleep {marker} & setsid sh -c 'trap \"\" TERM HUP; sleep {marker}; :' & \
         sh -c 'setsid sh -c \"while :; do echo x >> /log; sleep {marker}; done\" &' ; \
         until test -s /log; do :; done"
    );
    // They hold the output open as well, which must not keep the RUN from ending.
    fixture.sh(&script).success();
    assert_eq!(processes_with(&marker), Vec::<String>::new());
}

#[test]
fn root_orphans_are_reaped() {
    let fixture = Fixture::new();
    let script = "for i in 1 2 3 4 5 6 7 8 9; do (true & true &) ; done
        for try in $(awk 'BEGIN { for (i = 0; i < 1000; i++) print i }'); do
            grep -ls '^State:.Z' /proc/[0-9]*/status > /dev/null || exit 0
            sleep 0.01
        done
        exit 1";
    fixture.sh(script).success();
}

#[test]
fn root_hostname() {
    let fixture = Fixture::new();
    let before = rustix::system::uname().nodename().to_owned();
    assert_eq!(
        fixture.sh("hostname; grep -c buildkitsandbox /etc/hosts").success(),
        "buildkitsandbox\n1\n"
    );
    assert_eq!(rustix::system::uname().nodename(), before.as_c_str());
}

#[test]
fn root_working_directory() {
    let fixture = Fixture::new();
    fixture.write("file", "");
    fs::create_dir_all(fixture.path("a/b")).unwrap();
    symlink("/a", fixture.path("link")).unwrap();
    symlink("/../../../..", fixture.path("up")).unwrap();
    let pwd = |cwd: &str| {
        run_in(
            &fixture.rootfs(),
            &["sh", "-c", "pwd -P"],
            &[PATH],
            cwd,
            &root(),
            &Cancel::default(),
            &|_| (),
        )
    };
    for (cwd, expected) in [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/link/b", "/a/b"),
        ("/../..", "/"),
        ("/up", "/"),
    ] {
        assert_eq!(pwd(cwd).success().trim_end(), expected, "{cwd}");
    }
    for (cwd, errno) in [
        ("/missing", rustix::io::Errno::NOENT),
        ("/file", rustix::io::Errno::NOTDIR),
    ] {
        match pwd(cwd).error() {
            RunError::WorkingDirectory { path, source } => {
                assert_eq!(
                    (path.to_str(), source.raw_os_error()),
                    (Some(cwd), Some(errno.raw_os_error()))
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn root_programs_that_cannot_be_executed() {
    let fixture = Fixture::new();
    let executable = |inside: &str, content: &str| {
        fs::set_permissions(fixture.write(inside, content), fs::Permissions::from_mode(0o755)).unwrap();
    };
    executable("bin/orphan", "#!/bin/nothing\n");
    executable("bin/text", "echo hello\n");
    fixture.write("bin/plain", "#!/bin/sh\n");
    for (program, failure, code) in [
        ("foo", ExecFailure::NotFound, 127),
        ("", ExecFailure::NotFound, 127),
        ("/bin/foo", ExecFailure::NotFound, 127),
        ("bin/foo", ExecFailure::NotFound, 127),
        ("/bin/sh/foo", ExecFailure::NotFound, 127),
        ("/bin/orphan", ExecFailure::NoInterpreter, 127),
        ("orphan", ExecFailure::NoInterpreter, 127),
        ("/bin/plain", ExecFailure::Denied, 126),
        ("plain", ExecFailure::Denied, 126),
        ("/bin", ExecFailure::Denied, 126),
        ("/bin/text", ExecFailure::Format, 126),
    ] {
        let error = fixture.run(&[program]).error();
        assert_eq!(error.exit_code(), Some(code), "{program}: {error:?}");
        match &error {
            RunError::Exec {
                program: named,
                failure: found,
                ..
            } => assert_eq!((named.as_str(), *found), (program, failure)),
            other => panic!("{program}: {other:?}"),
        }
    }
    let error = fixture.run(&["foo"]).error();
    assert_eq!(
        error.to_string(),
        "exec \"foo\": no such file or directory in the rootfs"
    );
    fs::remove_file(fixture.path("bin/sh")).unwrap();
    assert!(fixture.sh("true").error().hint().unwrap().contains("no shell"));
}

#[test]
fn root_path_is_searched_inside() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.path("first")).unwrap();
    fs::create_dir(fixture.path("first/tool")).unwrap();
    fixture.write("second/tool", "#!/bin/sh\necho not executable\n");
    let tool = fixture.write("third/tool", "#!/bin/sh\necho $0\n");
    fs::set_permissions(tool, fs::Permissions::from_mode(0o755)).unwrap();
    let path = [("PATH", "/none"), ("PATH", "/first:/second:/third:/bin")];
    let ran = run_in(
        &fixture.rootfs(),
        &["tool"],
        &path,
        "/",
        &root(),
        &Cancel::default(),
        &|_| (),
    );
    assert_eq!(ran.success(), "/third/tool\n");
    // With no PATH at all the default of images counts.
    let ran = run_in(
        &fixture.rootfs(),
        &["true"],
        &[],
        "/",
        &root(),
        &Cancel::default(),
        &|_| (),
    );
    ran.success();
}

#[test]
fn root_system_mounts() {
    let fixture = Fixture::new();
    let table = fixture.sh("awk '{ print $5, $6 }' /proc/self/mountinfo").success();
    let places: BTreeSet<&str> = table.lines().filter_map(|line| line.split(' ').next()).collect();
    for place in [
        "/",
        "/proc",
        "/sys",
        "/dev",
        "/dev/pts",
        "/dev/shm",
        "/etc/hosts",
        "/etc/resolv.conf",
        "/proc/sys",
    ] {
        assert!(places.contains(place), "{place} in {table}");
    }
    // Nothing of the machine: all else is a cover of something in /proc or /sys.
    for place in places
        .iter()
        .filter(|place| !place.starts_with("/proc/") && !place.starts_with("/sys/"))
    {
        assert!(
            [
                "/",
                "/proc",
                "/sys",
                "/dev",
                "/dev/pts",
                "/dev/shm",
                "/etc/hosts",
                "/etc/resolv.conf"
            ]
            .contains(place)
        );
    }
    for script in [
        "echo x > /dev/null",
        "test $(head -c 8 /dev/urandom | wc -c) = 8",
        "test -c /dev/tty && test -c /dev/pts/ptmx && test -c /dev/full && test -c /dev/zero && test -c /dev/random",
        "echo x > /dev/stderr && echo x | cat /dev/stdin && test -d /dev/fd",
        "touch /dev/shm/x && test $(stat -c %a /dev/shm) = 1777",
        "test -z \"$(cat /proc/kcore)\"",
        "! echo 1 > /proc/sys/kernel/panic && ! echo h > /proc/sysrq-trigger",
        "! touch /sys/x && test -d /sys/class",
        "! echo x > /etc/resolv.conf && ! echo x >> /etc/hosts && ! rm /etc/hosts && ! mv /etc/hosts /h",
        "mknod /n c 1 3 && rm /n",
    ] {
        fixture.sh(script).success();
    }
    let identity = Identity::resolve(Some("1000"), None, None).unwrap();
    fixture
        .run_as(
            &["sh", "-c", "cat /etc/resolv.conf /etc/hosts && echo > /dev/null"],
            &identity,
        )
        .success();
}

#[test]
fn root_machine_is_not_visible() {
    let fixture = Fixture::new();
    let secret = tempfile::NamedTempFile::new().unwrap();
    let path = secret.path().to_str().unwrap();
    assert!(matches!(fixture.run(&["cat", path]).result, Ok(Exit::Code(1))));
    let inside = fixture.sh("echo /*").success();
    assert_eq!(inside, "/bin /dev /etc /proc /sys\n");
}

#[test]
fn root_mount_points_vanish() {
    let fixture = Fixture::new();
    let before = listing(&fixture.rootfs());
    fixture.run(&["/bin/busybox", "true"]).success();
    assert_eq!(listing(&fixture.rootfs()), before);
    fixture.run(&["nothing"]).error();
    assert_eq!(listing(&fixture.rootfs()), before, "also after an error");
    assert_eq!(mounts_below(fixture.directory.path()), Vec::<String>::new());
}

#[test]
fn root_files_of_the_image_are_covered_not_touched() {
    let fixture = Fixture::new();
    for name in ["etc/resolv.conf", "etc/hosts"] {
        fixture.write(name, "the image's\n");
    }
    fixture.write("dev/null", "a file\n");
    let before = listing(&fixture.rootfs());
    let host = fs::read_to_string("/etc/resolv.conf").unwrap();
    assert_eq!(fixture.sh("cat /etc/resolv.conf").success(), host);
    assert_eq!(listing(&fixture.rootfs()), before);
    assert_eq!(fs::read_to_string(fixture.path("etc/hosts")).unwrap(), "the image's\n");
}

#[test]
fn root_resolv_conf_behind_links() {
    let host = fs::read_to_string("/etc/resolv.conf").unwrap();
    let outside = tempfile::tempdir().unwrap();
    for target in [
        "../run/systemd/resolve/stub-resolv.conf",
        "/run/resolvconf/resolv.conf",
        "../../../../../../run/resolv.conf",
        outside.path().join("resolv.conf").to_str().unwrap(),
    ] {
        let fixture = Fixture::new();
        fs::create_dir(fixture.path("etc")).unwrap();
        symlink(target, fixture.path("etc/resolv.conf")).unwrap();
        let before = listing(&fixture.rootfs());
        assert_eq!(fixture.sh("cat /etc/resolv.conf").success(), host, "{target}");
        assert_eq!(listing(&fixture.rootfs()), before, "{target}");
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn root_links_do_not_lead_mounts_out() {
    let outside = tempfile::tempdir().unwrap();
    let fixture = Fixture::new();
    for name in ["etc", "dev", "sys"] {
        symlink(outside.path().join(name), fixture.path(name)).unwrap();
    }
    let before = listing(&fixture.rootfs());
    fixture.sh("echo x > /dev/null; cat /etc/hosts").success();
    assert_eq!(listing(&fixture.rootfs()), before);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(mounts_below(outside.path()), Vec::<String>::new());
}

#[test]
fn root_what_the_command_writes_stays() {
    let fixture = Fixture::new();
    let etc = fixture.path("etc");
    fixture.sh("touch /etc/mine; mkdir -p /run/x").success();
    let names: Vec<_> = fs::read_dir(&etc)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["mine"]);
    assert_eq!(fs::metadata(&etc).unwrap().mode() & 0o7777, 0o755);
    assert!(fixture.path("run/x").is_dir());

    // A directory that the command changed keeps the time of that change.
    rustix::fs::utimensat(rustix::fs::CWD, &etc, &long_ago(), rustix::fs::AtFlags::empty()).unwrap();
    fixture.sh("touch /etc/other").success();
    assert!(fs::metadata(&etc).unwrap().mtime() > 1_000_000);
}

fn long_ago() -> rustix::fs::Timestamps {
    let time = rustix::fs::Timespec {
        tv_sec: 1000,
        tv_nsec: 0,
    };
    rustix::fs::Timestamps {
        last_access: time,
        last_modification: time,
    }
}

#[test]
fn root_cancel_asks_first() {
    let fixture = Fixture::new();
    let cancel = Cancel::default();
    let script = "trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
    let on_line = |line: &str| {
        if line == "ready" {
            cancel.by_signal(15);
        }
    };
    let ran = run_in(
        &fixture.rootfs(),
        &["sh", "-c", script],
        &[PATH],
        "/",
        &root(),
        &cancel,
        &on_line,
    );
    assert_eq!(ran.stdout, "ready\nasked\n");
    assert!(matches!(ran.error(), RunError::Cancelled(Cancelled { signal: 15 })));
}

#[test]
fn root_cancel_kills_what_does_not_listen() {
    let fixture = Fixture::new();
    let before = listing(&fixture.rootfs());
    let marker = marker();
    let cancel = Cancel::default();
    let script = format!("trap '' TERM; setsid sleep {marker} & echo ready; while :; do sleep {marker}; done");
    let on_line = |_: &str| cancel.by_failure();
    let ran = run_in(
        &fixture.rootfs(),
        &["sh", "-c", &script],
        &[PATH],
        "/",
        &root(),
        &cancel,
        &on_line,
    );
    assert!(matches!(ran.error(), RunError::Cancelled(Cancelled { signal: 0 })));
    assert_eq!(processes_with(&marker), Vec::<String>::new());
    assert_eq!(listing(&fixture.rootfs()), before);
}

#[test]
fn root_cancelled_before_the_start() {
    let fixture = Fixture::new();
    let cancel = Cancel::default();
    cancel.by_signal(2);
    let ran = run_in(
        &fixture.rootfs(),
        &["touch", "/ran"],
        &[PATH],
        "/",
        &root(),
        &cancel,
        &|_| (),
    );
    assert!(matches!(ran.error(), RunError::Cancelled(Cancelled { signal: 2 })));
    assert!(!fixture.path("ran").exists());
}

#[test]
fn root_setup_errors_name_the_call() {
    let fixture = Fixture::new();
    fixture.write("proc", "not a directory");
    let error = fixture.sh("true").error();
    match &error {
        RunError::Stubs(stub) => assert!(stub.to_string().contains("\"/proc\""), "{stub}"),
        other => panic!("{other:?}"),
    }
    let missing = run_in(
        &fixture.path("missing"),
        &["true"],
        &[],
        "/",
        &root(),
        &Cancel::default(),
        &|_| (),
    );
    assert!(matches!(missing.error(), RunError::Rootfs { .. }));
    let none = fixture.run(&[]);
    assert!(matches!(none.error(), RunError::NoProgram));
}

#[test]
fn root_a_binary_that_is_not_ours_is_an_error() {
    let fixture = Fixture::new();
    let (rootfs, argv) = (fixture.rootfs(), ["true".into()]);
    let (identity, sandbox) = (root(), Sandbox::default());
    let process = Process::new(&rootfs, &argv, &identity, &sandbox);
    let run = |binary: &str| {
        Namespaces::with_binary(binary.into())
            .run(&process, &|_, _| (), &Cancel::default())
            .unwrap_err()
    };
    assert!(matches!(run("/bin/true"), RunError::Lost(_)));
    assert!(matches!(run("/nonexistent"), RunError::Start { .. }));
}

/// Runs `helper` of this test binary in a process of its own, over `rootfs`.
fn helper(name: &str, rootfs: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "--ignored", "--nocapture", "--test-threads=1", name])
        .env("RBUILD_TEST_ROOTFS", rootfs);
    command
}

fn helper_rootfs() -> PathBuf {
    std::env::var_os("RBUILD_TEST_ROOTFS")
        .expect("started by another test")
        .into()
}

#[test]
#[ignore = "started by root_killed_builder_leaves_nothing"]
fn helper_blocks() {
    // Both the command and a daemon hold the pipe open for as long as they live.
    let script = "exec 3> /pipe; setsid sh -c 'trap \"\" TERM HUP; echo x >&3; while :; do sleep 1000; done' & \
                  while :; do sleep 1000; done";
    run_in(
        &helper_rootfs(),
        &["sh", "-c", script],
        &[PATH],
        "/",
        &root(),
        &Cancel::default(),
        &|_| (),
    )
    .success();
}

/// Waits until there is something to read, or the last writer is gone. The limit only keeps a broken build
/// from hanging.
fn wait_for_event(pipe: &File) {
    let mut poll = [rustix::event::PollFd::new(pipe, rustix::event::PollFlags::IN)];
    let limit = rustix::time::Timespec { tv_sec: 60, tv_nsec: 0 };
    assert_eq!(
        rustix::event::poll(&mut poll, Some(&limit)),
        Ok(1),
        "nothing happened for a minute"
    );
}

#[test]
fn root_killed_builder_leaves_nothing() {
    let fixture = Fixture::new();
    let pipe = fixture.path("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let mut builder = helper("helper_blocks", &fixture.rootfs())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::RDONLY;
    let mut pipe = File::from(rustix::fs::open(&pipe, flags, rustix::fs::Mode::empty()).unwrap());
    wait_for_event(&pipe);
    pipe.read_exact(&mut [0; 2]).unwrap();
    builder.kill().unwrap();
    builder.wait().unwrap();
    // The end of the pipe is the death of its last holder; a survivor would keep the test from ending.
    wait_for_event(&pipe);
    assert_eq!(pipe.read(&mut [0]).unwrap(), 0);
    assert_eq!(mounts_below(fixture.directory.path()), Vec::<String>::new());
    // The stubs it could not remove do not keep the next one from working.
    fixture.sh("true").success();
}

/// Not a test of time, but the means to see it: `cargo test --test run -- --ignored measure --nocapture`.
#[test]
#[ignore = "prints how long a RUN takes"]
fn root_measure() {
    let fixture = Fixture::new();
    let runs = 200;
    let start = std::time::Instant::now();
    for _ in 0..runs {
        fixture.run(&["true"]).success();
    }
    println!("{:?} per RUN", start.elapsed() / runs);
}

#[test]
#[ignore = "started by root_many_runs_leak_nothing"]
fn helper_runs_a_hundred() {
    let rootfs = helper_rootfs();
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let run = |argv: &[&str]| {
        run_in(&rootfs, argv, &[PATH], "/", &root(), &Cancel::default(), &|_| ())
            .result
            .is_ok()
    };
    assert!(run(&["true"]));
    let before = open();
    for _ in 0..50 {
        assert!(run(&["true"]));
        assert!(!run(&["missing"]));
    }
    assert_eq!(open(), before);
}

#[test]
fn root_many_runs_leak_nothing() {
    let fixture = Fixture::new();
    let ended = helper("helper_runs_a_hundred", &fixture.rootfs()).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
    assert_eq!(mounts_below(fixture.directory.path()), Vec::<String>::new());
}

#[test]
#[ignore = "started by root_ignored_signals_are_restored and root_rootfs_on_restricted_filesystem"]
fn helper_prints_signals() {
    let argv = ["grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status"];
    let stdout = run_in(
        &helper_rootfs(),
        &argv,
        &[PATH],
        "/",
        &root(),
        &Cancel::default(),
        &|_| (),
    )
    .success();
    assert_eq!(
        readable(&stdout),
        ["SigBlk: 0000000000000000", "SigIgn: 0000000000000000"]
    );
}

/// Runs a shell script that ends by executing the helper as `"$@"`.
fn through_shell(script: &str, helper: &Command) -> std::process::Output {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script, "sh"])
        .arg(helper.get_program())
        .args(helper.get_args());
    for (name, value) in helper.get_envs() {
        shell.env(name, value.unwrap());
    }
    shell.output().unwrap()
}

#[test]
fn root_ignored_signals_are_restored() {
    let fixture = Fixture::new();
    let script = "trap '' HUP INT QUIT USR1 CHLD TSTP; exec \"$@\"";
    let ended = through_shell(script, &helper("helper_prints_signals", &fixture.rootfs()));
    assert!(ended.status.success(), "{ended:?}");
}

#[test]
fn root_rootfs_on_restricted_filesystem() {
    let directory = tempfile::tempdir().unwrap();
    let rootfs = directory.path().join("rootfs");
    // In a mount namespace of its own, so that the machine never sees the mount.
    let script = format!(
        "exec unshare -m sh -c 'mount -t tmpfs -o noexec,nosuid,nodev tmpfs {0} && mkdir -p {0}/rootfs/bin && \
         cp /bin/busybox {0}/rootfs/bin/grep && exec \"$@\"' sh \"$@\"",
        directory.path().display()
    );
    let ended = through_shell(&script, &helper("helper_prints_signals", &rootfs));
    assert!(
        ended.status.success(),
        "{}{}",
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr)
    );
}

#[test]
#[ignore = "started by root_unprivileged_probe_says_what_was_refused"]
fn helper_probe_is_refused() {
    let error = isolation().probe().unwrap_err();
    match error {
        RunError::Setup(call) => assert_eq!(
            (call.call.as_str(), call.errno),
            ("unshare(CLONE_NEWPID)", rustix::io::Errno::PERM)
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn root_unprivileged_probe_says_what_was_refused() {
    let fixture = Fixture::new();
    let ended = helper("helper_probe_is_refused", &fixture.rootfs())
        .uid(65534)
        .gid(65534)
        .output()
        .unwrap();
    assert!(ended.status.success(), "{ended:?}");
}
