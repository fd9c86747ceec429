//! The program as a pipeline meets it: arguments in, text and exit code out.
//!
//! Every run has a home, a working directory and an environment of its own. Nothing here gets as far as a
//! build: each line either asks for help or has something wrong with it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends where its own set-up fails"
)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A place to run the program in: `context/Dockerfile` and nothing else.
struct TestEnv {
    dir: tempfile::TempDir,
}

/// What a run left.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    stdout: String,
    stderr: String,
    exit: String,
}

impl TestEnv {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("context")).unwrap();
        fs::write(dir.path().join("context/Dockerfile"), "FROM scratch\n").unwrap();
        Self { dir }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.dir.path());
        command
    }

    fn rbuild<S: AsRef<str>>(&self, args: &[S]) -> Outcome {
        self.run(self.command(Path::new(PROGRAM)).args(args.iter().map(AsRef::as_ref)))
    }

    fn run(&self, command: &mut Command) -> Outcome {
        let Output { status, stdout, stderr } = command.output().unwrap();
        Outcome {
            stdout: self.filtered(stdout),
            stderr: self.filtered(stderr),
            exit: status
                .code()
                .map_or_else(|| status.to_string(), |code| code.to_string()),
        }
    }

    /// The text without what differs from run to run.
    fn filtered(&self, text: Vec<u8>) -> String {
        let text = String::from_utf8(text).unwrap();
        let text = text.replace(&self.dir.path().display().to_string(), "[DIR]");
        let text = text.replace(env!("CARGO_PKG_VERSION"), "[VERSION]");
        text.lines().map(|line| without_time(line) + "\n").collect()
    }
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_rbuild");

/// Replaces the time of a log record.
fn without_time(line: &str) -> String {
    for start in ["\"time\":\"", "time=\""] {
        if let Some((before, rest)) = line.split_once(start) {
            let (_, after) = rest.split_once('"').unwrap();
            return format!("{before}{start}[TIME]\"{after}");
        }
    }
    line.to_owned()
}

/// Each directory of `testdata/cli` is a run: `args` and `env` (one per line) go in, and `Dockerfile` and `dockerignore`
/// if the run is to find others; `stdout`, `stderr` and `exit` come out.
/// `UPDATE_GOLDEN=1` writes what came out.
#[test]
fn golden_runs() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/cli");
    let mut names: Vec<PathBuf> = fs::read_dir(cases)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    assert!(!names.is_empty());
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let wrong: Vec<_> = names.iter().filter(|case| !golden_run(case, update)).collect();
    assert!(
        wrong.is_empty(),
        "differ (UPDATE_GOLDEN=1 accepts what came out): {wrong:#?}"
    );
}

fn golden_run(case: &Path, update: bool) -> bool {
    let lines = |name| fs::read_to_string(case.join(name)).unwrap_or_default();
    let environment = TestEnv::new();
    for (name, place) in [("Dockerfile", "Dockerfile"), ("dockerignore", ".dockerignore")] {
        if let Ok(text) = fs::read(case.join(name)) {
            fs::write(environment.dir.path().join("context").join(place), text).unwrap();
        }
    }
    let mut command = environment.command(Path::new(PROGRAM));
    command.args(lines("args").lines());
    command.envs(lines("env").lines().map(|line| line.split_once('=').unwrap()));
    let outcome = environment.run(&mut command);
    let files = [
        ("stdout", outcome.stdout),
        ("stderr", outcome.stderr),
        ("exit", outcome.exit + "\n"),
    ];
    for (name, text) in files.iter().filter(|_| update) {
        fs::write(case.join(name), text).unwrap();
    }
    let differ = files.iter().filter(|(name, text)| lines(name) != *text);
    differ
        .inspect(|(name, text)| eprintln!("{}: {name}:\n{text}", case.display()))
        .count()
        == 0
}

/// What becomes of a flag with a good value.
enum Fate {
    /// Nothing to complain about.
    Taken,
    /// Not implemented, and too important to leave out: the line ends the run.
    Refused(&'static str),
}

use Fate::{Refused, Taken};

/// What to expect of a flag's bad value.
enum Bad {
    /// This value is refused.
    Value(&'static str),
    /// Every value is good, but there must be one.
    Missing,
}

use Bad::{Missing, Value};

/// The executor's flags in the order of its documentation, then ours.
const FLAGS: &[(&str, &str, Bad, Fate)] = &[
    // Input.
    ("--dockerfile", "context/Dockerfile", Value("nowhere"), Taken),
    ("-f", "context/Dockerfile", Value("nowhere"), Taken),
    ("--context", "context", Value("nowhere"), Taken),
    ("-c", "dir://context", Value("s3://"), Taken),
    ("--context-sub-path", ".", Value("nowhere"), Taken),
    ("--bucket", "name", Missing, Taken),
    ("-b", "name", Missing, Taken),
    ("--git", "branch=main", Value("branch"), Taken),
    ("--build-arg", "A=b=c,d", Missing, Taken),
    ("--build-context", "a=docker-image://b", Value("a"), Taken),
    ("--target", "build,test", Missing, Taken),
    ("--custom-platform", "linux/arm/v7", Value("a/b/c/d"), Taken),
    ("--customPlatform", "linux/arm64", Value("a/b/c/d"), Taken),
    ("--secret", "id=a,src=context/Dockerfile", Value("id=a,type=b"), Taken),
    (
        "--ssh",
        "a=context/Dockerfile",
        Value("a=nowhere"),
        Refused("error: --ssh a: "),
    ),
    ("--run-volume", "context:/workspace:ro", Value("nowhere"), Taken),
    ("--network", "none", Value("bridge"), Taken),
    ("--allow", "network.host", Value("everything"), Taken),
    ("--add-host", "a:10.0.0.1", Value("a"), Taken),
    ("--ulimit", "nofile=1:2", Value("nofile"), Taken),
    ("--shm-size", "64m", Value("large"), Taken),
    ("--label", "k=v", Value("k"), Taken),
    ("--annotation", "k=v", Value("k"), Taken),
    ("--ignore-path", "/var/ca*", Value("/["), Taken),
    ("--ignore-var-run", "true", Value("maybe"), Taken),
    ("--whitelist-var-run", "false", Value("maybe"), Taken),
    // Output.
    ("--destination", "127.0.0.1:5000/app:1", Value("UPPER"), Taken),
    ("-d", "app", Value("app@sha256:0"), Taken),
    ("--no-push", "true", Value("maybe"), Taken),
    ("--tar-path", "image.tar", Missing, Taken),
    ("--tarPath", "image.tar", Missing, Taken),
    ("--oci-layout-path", "layout", Missing, Taken),
    ("--digest-file", "/dev/termination-log", Value("https://"), Taken),
    (
        "--image-name-with-digest-file",
        "https://example.com/names",
        Value("https://"),
        Taken,
    ),
    ("--image-name-tag-with-digest-file", "names", Value("https://"), Taken),
    ("--compression", "zstd", Value("lzma"), Taken),
    ("--compression-level", "-1", Value("10"), Taken),
    ("--image-format", "oci", Value("appc"), Taken),
    ("--reproducible", "t", Value("maybe"), Taken),
    ("--rewrite-timestamp", "false", Value("maybe"), Taken),
    ("--single-snapshot", "T", Value("maybe"), Taken),
    ("--force-build-metadata", "1", Value("maybe"), Taken),
    ("--skip-unused-stages", "TRUE", Value("maybe"), Taken),
    // Cache.
    ("--cache", "True", Value("yes"), Taken),
    ("--cache-repo", "oci:/cache", Missing, Taken),
    ("--cache-dir", "/cache", Missing, Taken),
    ("--cache-ttl", "1h30m", Value("14d"), Taken),
    ("--cache-copy-layers", "0", Value("maybe"), Taken),
    ("--cache-run-layers", "f", Value("maybe"), Taken),
    ("--compressed-caching", "F", Value("maybe"), Taken),
    ("--no-push-cache", "FALSE", Value("maybe"), Taken),
    // Registry.
    ("--insecure", "False", Value("maybe"), Taken),
    ("--insecure-pull", "true", Value("maybe"), Taken),
    ("--insecure-registry", "127.0.0.1:5000", Value("a/b"), Taken),
    ("--skip-tls-verify", "true", Value("maybe"), Taken),
    ("--skip-tls-verify-pull", "true", Value("maybe"), Taken),
    ("--skip-tls-verify-registry", "r.example", Value("a b"), Taken),
    ("--registry-certificate", "r.example=/ca.pem", Value("/ca.pem"), Taken),
    (
        "--registry-client-cert",
        "r.example=/c,/k",
        Value("r.example=/c"),
        Taken,
    ),
    (
        "--registry-map",
        "docker.io=m.example/hub;quay.io=n.example",
        Value("docker.io"),
        Taken,
    ),
    (
        "--registry-mirror",
        "https://m.example:5000/hub/",
        Value("https://"),
        Taken,
    ),
    ("--skip-default-registry-fallback", "true", Value("maybe"), Taken),
    ("--push-retry", "0x3", Value("-1"), Taken),
    ("--image-download-retry", "3", Value("three"), Taken),
    ("--image-fs-extract-retry", "3", Value("1.5"), Taken),
    ("--push-ignore-immutable-tag-errors", "true", Value("maybe"), Taken),
    ("--skip-push-permission-check", "true", Value("maybe"), Taken),
    ("--credential-helpers", "", Missing, Taken),
    // Snapshot, filesystem, process.
    ("--snapshot-mode", "redo", Value("fast"), Taken),
    ("--snapshotMode", "time", Value("fast"), Taken),
    ("--use-new-run", "true", Value("maybe"), Taken),
    ("--force", "true", Value("maybe"), Taken),
    ("--cleanup", "true", Value("maybe"), Taken),
    ("--pre-cleanup", "true", Value("maybe"), Taken),
    ("--preserve-context", "true", Value("maybe"), Taken),
    ("--materialize", "true", Value("maybe"), Taken),
    ("--kaniko-dir", "/kaniko", Missing, Taken),
    ("--dryrun", "true", Value("maybe"), Taken),
    ("--verbosity", "warning", Value("loud"), Taken),
    ("-v", "debug", Value("loud"), Taken),
    ("--log-format", "text", Value("xml"), Taken),
    ("--log-timestamp", "true", Value("maybe"), Taken),
    // Ours.
    ("--platform", "linux/amd64", Value("a/b/c/d"), Taken),
    ("--lint", "error", Value("strict"), Taken),
    ("--call", "outline,format=json", Value("build"), Taken),
    ("--check", "true", Value("maybe"), Taken),
    ("--isolation", "in-place", Value("vm"), Taken),
    ("--store", "/var/lib/rbuild", Missing, Taken),
    ("--progress", "plain", Value("fancy"), Taken),
    ("--quiet", "true", Value("maybe"), Taken),
    ("--no-color", "true", Value("maybe"), Taken),
];

/// Makes a line fail however good the flag under test is, and comes last of all problems that
/// only grammar can beat.
const SENTINEL: &str = "--build-arg==x";
const SENTINEL_ERROR: &str = "--build-arg needs a name before the =";

/// The line around the flag under test: complete, but for the sentinel.
fn line_with(flag: &[String]) -> Vec<String> {
    let has = |names: &[&str]| flag.iter().any(|word| names.iter().any(|name| word.starts_with(name)));
    let mut line = flag.to_vec();
    if !has(&["--context=", "--context ", "-c"]) && flag[0] != "--context" {
        line.push("--context=context".to_owned());
    }
    if !has(&["--destination", "-d", "--no-push"]) || has(&["--no-push-cache", "--digest-file"]) {
        line.push("--destination=app".to_owned());
    }
    line.push(SENTINEL.to_owned());
    line
}

/// Whether the flag is one that is on or off: such a flag stands alone, and takes no second word.
fn is_switch(bad: &Bad) -> bool {
    matches!(bad, Value("maybe" | "yes"))
}

#[test]
fn every_flag_takes_its_values() {
    let environment = TestEnv::new();
    for (flag, good, bad, fate) in FLAGS {
        let mut spellings = match flag.starts_with("--") {
            true => vec![vec![format!("{flag}={good}")]],
            false => vec![vec![format!("{flag}={good}")], vec![format!("{flag}{good}")]],
        };
        spellings.push(match is_switch(bad) {
            true => vec![(*flag).to_owned()],
            false => vec![(*flag).to_owned(), (*good).to_owned()],
        });
        for spelling in spellings {
            let outcome = environment.rbuild(&line_with(&spelling));
            let refusals: Vec<_> = outcome.stderr.lines().filter(|line| is_error(line)).collect();
            let mut expected = vec![SENTINEL_ERROR.to_owned()];
            if let Refused(text) = fate {
                expected.insert(0, (*text).to_owned());
            }
            let matches =
                refusals.len() == expected.len() && refusals.iter().zip(&expected).all(|(a, b)| a.contains(b));
            assert!(matches, "{spelling:?}: {}", outcome.stderr);
            assert_eq!(outcome.exit, "1", "{spelling:?}");
        }
    }
}

/// A headline, in whichever format the flags asked for.
fn is_error(line: &str) -> bool {
    line.starts_with("error: ") || line.contains("level=error")
}

#[test]
fn every_flag_refuses_other_values() {
    let environment = TestEnv::new();
    for (flag, _, bad, _) in FLAGS {
        let (line, value) = match bad {
            Value(value) => (line_with(&[format!("{flag}={value}")]), *value),
            Missing => (vec![(*flag).to_owned()], ""),
        };
        let outcome = environment.rbuild(&line);
        // Whoever reads the error must find in it what to change.
        let named =
            plain(&outcome.stderr).contains(&plain(flag)) || (!value.is_empty() && outcome.stderr.contains(value));
        let errors = outcome
            .stderr
            .lines()
            .filter(|line| is_error(line) && !line.contains(SENTINEL_ERROR))
            .count();
        assert!(named && errors == 1, "{line:?}: {}", outcome.stderr);
        assert_eq!((outcome.exit.as_str(), outcome.stdout.as_str()), ("1", ""), "{line:?}");
    }
}

/// Old and new spellings of a flag look the same: `--tarPath` and `--tar-path`.
fn plain(text: &str) -> String {
    text.to_lowercase().replace('-', "")
}

#[test]
fn a_switch_takes_no_second_word() {
    let environment = TestEnv::new();
    for (flag, ..) in FLAGS.iter().filter(|(_, _, bad, _)| is_switch(bad)) {
        let outcome = environment.rbuild(&[flag, "true"]);
        assert!(
            outcome.stderr.starts_with("error: unexpected argument 'true' found\n"),
            "{flag}: {}",
            outcome.stderr
        );
        assert_eq!(outcome.exit, "1", "{flag}");
    }
}

#[test]
fn help_names_flags_that_are_tried_here() {
    let help = TestEnv::new().rbuild(&["--help"]).stdout;
    // Flags begin with a dash; their explanations stand on lines of their own.
    let headings = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let words = headings.flat_map(|line| line.split([' ', ',', '[', ']', '=']));
    let untried: Vec<_> = words
        .filter(|word| word.starts_with("--") && !["--help", "--version"].contains(word))
        .filter(|word| FLAGS.iter().all(|(flag, ..)| flag != word))
        .collect();
    assert!(untried.is_empty(), "{untried:?}");
}

#[test]
fn the_executor_is_the_same_program() {
    let environment = TestEnv::new();
    let executor = environment.dir.path().join("executor");
    std::os::unix::fs::symlink(PROGRAM, &executor).unwrap();
    for line in [&["--help"][..], &["--version"], &["version", "--help"], &["--nonsense"]] {
        let as_executor = environment.run(environment.command(&executor).args(line));
        assert_eq!(as_executor, environment.rbuild(line), "{line:?}");
    }
    // Scripts take it apart at its colon or its blanks.
    let version = environment.run(environment.command(&executor).arg("version"));
    assert_eq!(version.stdout, "Kaniko version :  v[VERSION]-rbuild\n");
    assert_eq!(environment.rbuild(&["version"]).stdout, "rbuild [VERSION]\n");
}

#[test]
fn the_warmer_is_the_same_program() {
    let environment = TestEnv::new();
    let warmer = environment.dir.path().join("warmer");
    std::os::unix::fs::symlink(PROGRAM, &warmer).unwrap();
    for line in [&["--help"][..], &[], &["-i", "UPPER"], &["-c", "x", "-d", "missing"]] {
        let as_warmer = environment.run(environment.command(&warmer).args(line));
        let as_command = environment.rbuild(&[&["warm"], line].concat());
        assert_eq!(as_warmer, as_command, "{line:?}");
    }
}

#[test]
fn completion_is_a_script_for_each_shell() {
    for shell in ["bash", "fish", "powershell", "zsh"] {
        let outcome = TestEnv::new().rbuild(&["completion", shell]);
        assert_eq!((outcome.exit.as_str(), outcome.stderr.as_str()), ("0", ""), "{shell}");
        for word in ["rbuild", "destination", "oci-layout-path", "password-stdin"] {
            assert!(outcome.stdout.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let environment = TestEnv::new();
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let status = environment
        .command(Path::new(PROGRAM))
        .arg("--help")
        .stdout(writer)
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn standard_output_that_takes_nothing_is_an_error() {
    let environment = TestEnv::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = environment
        .command(Path::new(PROGRAM))
        .arg("--help")
        .stdout(full)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.starts_with("error: cannot write to standard output\n"), "{said}");
}
