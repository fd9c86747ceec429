//! COPY, ADD and WORKDIR over real directories.
//!
//! Trees are written as lines: `d/` a directory, `d/f=content` a file, `l->target` a symlink. Tests that need to
//! chown, mknod or set capabilities are called `root_…`; all others copy as whoever runs them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rbuild::cancel::Cancel;
use rbuild::context::{BuildContext, IgnoreFile, IgnorePatterns};
use rbuild::copy::{
    Archives, Chmod, Copied, CopyError, CopyRequest, Extraction, InlineFile, Mode, Owner, Source, copy, copy_tree,
    make_workdir,
};
use rbuild::rootfs::{Rootfs, RootfsPath, Timestamp};
use rbuild::snapshot::{Fingerprint, Fingerprints};

/// A source tree and a rootfs, side by side with a directory that nothing may touch.
struct Bench {
    temp: tempfile::TempDir,
    warnings: RefCell<Vec<String>>,
}

/// A request whose parts are owned, with the defaults of `COPY` from a context.
struct Copy<'a> {
    bench: &'a Bench,
    paths: Vec<Vec<u8>>,
    destination: &'a str,
    from: Kind,
    ignore: Option<&'a str>,
    chown: Option<Owner>,
    chmod: Option<Chmod>,
    exclude: Option<IgnorePatterns>,
    files: Vec<InlineFile>,
    mode: Mode<'a>,
    created_mtime: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Context,
    Tree,
}

impl Bench {
    fn new(source: &[&str], rootfs: &[&str]) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let bench = Self {
            temp,
            warnings: RefCell::default(),
        };
        for (dir, lines) in [
            (bench.source(), source),
            (bench.rootfs(), rootfs),
            (bench.outside(), &["canary=untouched"]),
        ] {
            fs::create_dir(&dir).unwrap();
            plant(&dir, lines);
        }
        bench
    }

    fn source(&self) -> PathBuf {
        self.temp.path().join("source")
    }

    fn rootfs(&self) -> PathBuf {
        self.temp.path().join("rootfs")
    }

    fn outside(&self) -> PathBuf {
        self.temp.path().join("outside")
    }

    fn in_source(&self, path: &str) -> PathBuf {
        self.source().join(path)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.rootfs().join(path.trim_start_matches('/'))
    }

    fn meta(&self, path: &str) -> fs::Metadata {
        fs::symlink_metadata(self.at(path)).unwrap()
    }

    fn mode(&self, path: &str) -> u32 {
        self.meta(path).mode() & 0o7777
    }

    fn copy<'a>(&'a self, paths: &[&str], destination: &'a str) -> Copy<'a> {
        Copy {
            bench: self,
            paths: paths.iter().map(|path| path.as_bytes().to_vec()).collect(),
            destination,
            from: Kind::Context,
            ignore: None,
            chown: Some(me()),
            chmod: None,
            exclude: None,
            files: Vec::new(),
            mode: Mode::Copy,
            created_mtime: None,
        }
    }
}

impl<'a> Copy<'a> {
    fn from(self, from: Kind) -> Self {
        Self { from, ..self }
    }

    fn ignore(self, rules: &'a str) -> Self {
        Self {
            ignore: Some(rules),
            ..self
        }
    }

    fn chown(self, chown: Option<Owner>) -> Self {
        Self { chown, ..self }
    }

    fn chmod(self, text: &str) -> Self {
        Self {
            chmod: Some(Chmod::parse(text).unwrap()),
            ..self
        }
    }

    fn exclude(self, rules: &[&str]) -> Self {
        Self {
            exclude: Some(IgnorePatterns::new(rules.iter().map(|rule| rule.as_bytes())).unwrap()),
            ..self
        }
    }

    fn file(mut self, name: &str, content: &str) -> Self {
        self.files.push(InlineFile {
            name: name.as_bytes().to_vec(),
            content: content.as_bytes().to_vec(),
        });
        self
    }

    fn add(self, archives: &'a dyn Archives) -> Self {
        Self {
            mode: Mode::Add(archives),
            ..self
        }
    }

    fn run(self) -> Result<Copied, CopyError> {
        self.run_with(&mut Fingerprints::default())
    }

    fn run_with(self, fingerprints: &mut Fingerprints) -> Result<Copied, CopyError> {
        let ignore = self
            .ignore
            .map(|rules| IgnoreFile::parse(".dockerignore", rules.as_bytes()).unwrap());
        let context = BuildContext::open(&self.bench.source(), ignore).unwrap();
        let request = CopyRequest {
            source: match self.from {
                Kind::Context => Source::Context(&context),
                Kind::Tree => Source::Tree(context.rootfs()),
            },
            paths: &self.paths,
            files: &self.files,
            destination: self.destination.as_bytes(),
            chown: self.chown,
            chmod: self.chmod.as_ref(),
            exclude: self.exclude.as_ref(),
            mode: self.mode,
            created_mtime: self.created_mtime,
        };
        let rootfs = Rootfs::open(&self.bench.rootfs()).unwrap();
        let warn = |text: &str| self.bench.warnings.borrow_mut().push(text.to_owned());
        copy(&request, &rootfs, fingerprints, &Cancel::default(), &warn)
    }
}

/// Whoever runs the tests: an ordinary user can give files to nobody else.
fn me() -> Owner {
    Owner {
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
    }
}

fn plant(dir: &Path, lines: &[&str]) {
    for line in lines {
        if let Some((name, target)) = line.split_once("->") {
            parents(&dir.join(name));
            symlink(target, dir.join(name)).unwrap();
        } else if let Some((name, content)) = line.split_once('=') {
            parents(&dir.join(name));
            fs::write(dir.join(name), content).unwrap();
        } else {
            fs::create_dir_all(dir.join(line)).unwrap();
        }
    }
}

fn parents(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
}

/// The tree below `dir` in the notation of `plant`, sorted; a directory only if it is empty.
fn list(dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in walkdir::WalkDir::new(dir).min_depth(1).sort_by_file_name() {
        let entry = entry.unwrap();
        let name = entry.path().strip_prefix(dir).unwrap().to_string_lossy().into_owned();
        let kind = entry.file_type();
        if kind.is_symlink() {
            lines.push(format!("{name}->{}", fs::read_link(entry.path()).unwrap().display()));
        } else if kind.is_file() {
            lines.push(format!("{name}={}", fs::read_to_string(entry.path()).unwrap()));
        } else if !kind.is_dir() {
            lines.push(format!("{name}|"));
        } else if fs::read_dir(entry.path()).unwrap().next().is_none() {
            lines.push(format!("{name}/"));
        }
    }
    lines.sort();
    lines
}

fn sorted(lines: &[&str]) -> Vec<String> {
    let mut lines: Vec<_> = lines.iter().map(|line| (*line).to_owned()).collect();
    lines.sort();
    lines
}

fn absolute(paths: &[RootfsPath]) -> Vec<String> {
    paths.iter().map(RootfsPath::display_absolute).collect()
}

fn touch(path: &Path, seconds: i64) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds.unsigned_abs());
    let times = fs::FileTimes::new().set_modified(time);
    fs::File::open(path).unwrap().set_times(times).unwrap();
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The error with all its causes.
fn story(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Source, rootfs, paths, destination, and the rootfs afterwards.
type Row<'a> = (&'a [&'a str], &'a [&'a str], &'a [&'a str], &'a str, &'a [&'a str]);

fn expect(rows: &[Row<'_>]) {
    for (source, rootfs, paths, destination, expected) in rows {
        for from in [Kind::Context, Kind::Tree] {
            let bench = Bench::new(source, rootfs);
            let what = format!("{from:?} COPY {paths:?} {destination:?} from {source:?} over {rootfs:?}");
            let result = bench.copy(paths, destination).from(from).run();
            assert!(result.is_ok(), "{what}: {}", story(&result.unwrap_err()));
            assert_eq!(list(&bench.rootfs()), sorted(expected), "{what}");
            assert_eq!(list(&bench.source()), sorted(source), "{what}: the source changed");
            assert_eq!(list(&bench.outside()), ["canary=untouched"], "{what}");
        }
    }
}

#[test]
fn a_file_goes_to_a_path_or_into_a_directory() {
    expect(&[
        (&["f=1"], &[], &["f"], "/d", &["d=1"]),
        (&["f=1"], &[], &["f"], "/d/", &["d/f=1"]),
        (&["f=1"], &[], &["f"], "/d/.", &["d/f=1"]),
        (&["f=1"], &["d/"], &["f"], "/d", &["d/f=1"]),
        (&["f=1"], &[], &["f"], "/a/b/c", &["a/b/c=1"]),
        (&["f=1"], &[], &["f"], "/", &["f=1"]),
        (&["f=1"], &["d=old"], &["f"], "/d", &["d=1"]),
        (&["f=1"], &["d/f=old"], &["f"], "/d", &["d/f=1"]),
        (&["a=1", "b=2"], &[], &["a", "b"], "/x", &["x=2"]),
        (&["a=1", "b=2"], &[], &["a", "b"], "/x/", &["x/a=1", "x/b=2"]),
        (&["f=1"], &[], &["f/."], "/d", &["d=1"]),
        (&["ü+%=1"], &[], &["ü+%"], "/", &["ü+%=1"]),
    ]);
}

#[test]
fn a_directory_gives_its_contents() {
    for spelling in ["dir", "dir/", "dir/.", "/dir", "../dir", "./x/../dir"] {
        expect(&[(&["dir/f=1", "dir/s/g=2"], &[], &[spelling], "/x", &["x/f=1", "x/s/g=2"])]);
    }
    expect(&[
        (
            &["dir1/f=1", "dir2/g=2", "other/h=3"],
            &[],
            &["dir*"],
            "/x/",
            &["x/f=1", "x/g=2"],
        ),
        (&["a/f=1", "b"], &[], &[""], "/d/", &["d/a/f=1", "d/b/"]),
        (&["a/f=1"], &[], &["."], "/", &["a/f=1"]),
        (
            &["a/f=1"],
            &["a/f=old", "a/g=kept"],
            &["."],
            "/",
            &["a/f=1", "a/g=kept"],
        ),
        (&["a/"], &[], &["a"], "/new", &["new/"]),
        (&["d/f=1"], &["e=file"], &["d"], "/x/y/z", &["e=file", "x/y/z/f=1"]),
    ]);
}

#[test]
fn wildcards_match_in_lexical_order_below_their_prefix() {
    expect(&[
        (
            &["a.go=1", "b.go=2", "c.rs=3"],
            &[],
            &["*.go"],
            "/g/",
            &["g/a.go=1", "g/b.go=2"],
        ),
        (&["f1.go=1", "foo2.go=2"], &[], &["f?.go"], "/x", &["x=1"]),
        (&["b=2", "a=1", "c=3"], &[], &["?"], "/x", &["x=3"]),
        (
            &["s/1/x/foo=1", "s/2/x/foo=2", "s/x/foo=3"],
            &[],
            &["s/*/x/foo"],
            "/d/",
            &["d/foo=2"],
        ),
        (&["s/1/foo=1", "s/t/u/foo=2", "foo=3"], &[], &["**/foo"], "/d/", &[]),
        (
            &["s/foo=1", "s/t/foo=2", "foo=3"],
            &[],
            &["**/foo"],
            "/d/",
            &["d/foo=1"],
        ),
        (&[".dot=1", "f=2"], &[], &["*"], "/d/", &["d/.dot=1", "d/f=2"]),
        (
            &["arr[0].txt=1", "arr0.txt=2"],
            &[],
            &["arr[[]0].txt"],
            "/d/",
            &["d/arr[0].txt=1"],
        ),
        (&["a*b=1", "axb=2"], &[], &["a\\*b"], "/d/", &["d/a*b=1"]),
        (
            &["a*b=1", "a*c=2", "axb=3"],
            &[],
            &["a\\*?"],
            "/d/",
            &["d/a*b=1", "d/a*c=2"],
        ),
        (&["foo=1"], &[], &["foo", "nomatch*"], "/", &["foo=1"]),
        (&["foo=1"], &[], &["nomatch*"], "/d/", &[]),
        (&["foo=1"], &[], &["no/such/dir/*"], "/d/", &[]),
        (&["l->real", "real/a=1"], &[], &["l/*"], "/d/", &["d/a=1"]),
        (&["l->real", "real/a=1"], &[], &["?/a"], "/d/", &[]),
    ]);
}

#[test]
fn c13_symlinks_named_as_sources_are_followed_and_others_kept() {
    expect(&[
        (&["l->f", "f=1"], &[], &["l"], "/d/", &["d/l=1"]),
        (&["l->/s/f", "s/f=1"], &[], &["l"], "/d/", &["d/l=1"]),
        (&["l->s", "s/f=1"], &[], &["l"], "/d", &["d/f=1"]),
        (&["l->s", "s/f=1"], &[], &["l/f"], "/d/", &["d/f=1"]),
        (&["l->m", "m->f", "f=1"], &[], &["l"], "/d/", &["d/l=1"]),
        (
            &["d/l->f", "d/f=1", "d/gone->nowhere"],
            &[],
            &["d"],
            "/",
            &["l->f", "f=1", "gone->nowhere"],
        ),
        (
            &["l1->f", "l2->s", "f=1", "s/g=2"],
            &[],
            &["l*"],
            "/d/",
            &["d/l1=1", "d/g=2"],
        ),
        (
            &["l->../../outside/canary", "outside/canary=inside"],
            &[],
            &["l"],
            "/d/",
            &["d/l=inside"],
        ),
        (&["l->../../../../../s", "s/f=1"], &[], &["l"], "/d/", &["d/f=1"]),
    ]);
}

#[test]
fn c13_copying_a_link_twice_leaves_its_target_alone() {
    let bench = Bench::new(&["t/l->f", "t/f=1", "n->f2", "f2=2"], &[]);
    for _ in 0..2 {
        bench.copy(&["t"], "/tree").run().unwrap();
        bench.copy(&["n"], "/named/").run().unwrap();
        assert_eq!(list(&bench.rootfs()), sorted(&["tree/l->f", "tree/f=1", "named/n=2"]));
        assert_eq!(list(&bench.source()), sorted(&["t/l->f", "t/f=1", "n->f2", "f2=2"]));
    }
}

#[test]
fn c14_destination_symlinks_are_followed_inside_the_root() {
    expect(&[
        (&["f=1"], &["l->real", "real/"], &["f"], "/l/", &["l->real", "real/f=1"]),
        (&["f=1"], &["l->real", "real/"], &["f"], "/l", &["l->real", "real/f=1"]),
        (
            &["f=1"],
            &["l->/real", "real/x=0"],
            &["f"],
            "/l/sub/f",
            &["l->/real", "real/x=0", "real/sub/f=1"],
        ),
        (
            &["d/f=1"],
            &["l->real", "real/x=0"],
            &["d"],
            "/l",
            &["l->real", "real/f=1", "real/x=0"],
        ),
        (&["f=1"], &["l->gone"], &["f"], "/l/", &["l->gone", "gone/f=1"]),
        (
            &["f=1"],
            &["l->/deep/gone"],
            &["f"],
            "/l",
            &["l->/deep/gone", "deep/gone=1"],
        ),
        (&["d/f=1"], &["l->gone"], &["d"], "/l", &["l->gone", "gone/f=1"]),
        (&["f=1"], &["l->old", "old=0"], &["f"], "/l", &["l->old", "old=1"]),
        (
            &["f=1"],
            &["l->../../outside"],
            &["f"],
            "/l/canary",
            &["l->../../outside", "outside/canary=1"],
        ),
        (
            &["f=1"],
            &["a->b/../c", "b->x/y", "x/y/", "x/c/"],
            &["f"],
            "/a/",
            &["a->b/../c", "b->x/y", "x/y/", "x/c/f=1"],
        ),
    ]);
}

#[test]
fn replaced_links_do_not_touch_what_they_point_to() {
    expect(&[
        (&["d/n=1"], &["n->keep", "keep=0"], &["d"], "/", &["n=1", "keep=0"]),
        (
            &["n=1"],
            &["x/n->keep", "x/keep=0"],
            &["n"],
            "/x/",
            &["x/n=1", "x/keep=0"],
        ),
        (&["d/n->new"], &["n=0"], &["d"], "/", &["n->new"]),
        (&["d/n->new"], &["n->old"], &["d"], "/", &["n->new"]),
    ]);
    let bench = Bench::new(&["f=1"], &["f=0"]);
    fs::hard_link(bench.at("f"), bench.at("other")).unwrap();
    bench.copy(&["f"], "/").run().unwrap();
    assert_eq!(list(&bench.rootfs()), sorted(&["f=1", "other=0"]));
}

#[test]
fn what_is_in_the_way_is_named() {
    for (source, rootfs, paths, destination, expected) in [
        (
            &["d/f=1"][..],
            &["x=0"][..],
            &["d"][..],
            "/x",
            "cannot copy to non-directory: /x",
        ),
        (&["d/f=1"], &["x=0"], &["d"], "/x/", "cannot copy to non-directory: /x"),
        (&["f=1"], &["x=0"], &["f"], "/x/", "cannot copy to non-directory: /x"),
        (&["f=1"], &["x=0"], &["f"], "/x/y", "Not a directory"),
        (
            &["d/s/f=1"],
            &["s->real", "real/"],
            &["d"],
            "/",
            "cannot copy to non-directory: /s",
        ),
        (&["d/s/f=1"], &["s=0"], &["d"], "/", "cannot copy to non-directory: /s"),
        (
            &["d/s=1"],
            &["s/"],
            &["d"],
            "/",
            "cannot replace to directory /s with file",
        ),
        (
            &["f=1"],
            &["d/f/"],
            &["f"],
            "/d",
            "cannot replace to directory /d/f with file",
        ),
        (
            &["d/s->x"],
            &["s/"],
            &["d"],
            "/",
            "cannot replace to directory /s with file",
        ),
        (&["f=1"], &["l->l"], &["f"], "/l", "symbolic links"),
    ] {
        let bench = Bench::new(source, rootfs);
        let error = story(&bench.copy(paths, destination).run().unwrap_err());
        assert!(error.contains(expected), "COPY {paths:?} {destination}: {error}");
    }
}

#[test]
fn c21_missing_sources_are_errors_with_a_hint() {
    let bench = Bench::new(&["app/main.rs=1", "app/lib.rs=2", "README=3"], &[]);
    for (path, expected, hint) in [
        (
            "missing",
            "\"/missing\": not found in the build context",
            "there is \"/README\"".replace('"', ""),
        ),
        (
            "app/mian.rs",
            "\"/app/mian.rs\": not found",
            "did you mean \"/app/main.rs\"?".into(),
        ),
        (
            "app/sub/x",
            "\"/app/sub/x\": not found",
            "there is /app/lib.rs, /app/main.rs".into(),
        ),
        ("readme", "\"/readme\": not found", "did you mean \"/README\"?".into()),
        ("README/x", "\"/README/x\": not found", "there is /README, /app".into()),
    ] {
        let error = bench.copy(&[path], "/").run().unwrap_err();
        assert!(
            matches!(error, CopyError::NotFound { .. }) && error.to_string().contains(expected),
            "{error}"
        );
        let found = error.hint().unwrap();
        assert!(found.starts_with(&hint), "{path}: {found}");
    }
    let error = bench.copy(&["a[b"], "/").run().unwrap_err();
    assert_eq!(story(&error), "source \"a[b\": syntax error in pattern");
    assert!(list(&bench.rootfs()).is_empty());
}

#[test]
fn c21_ignored_sources_are_errors_that_name_the_rule() {
    for (rules, path, rule) in [
        ("*.log", "a.log", Some("line 1: *.log")),
        ("x\n*.log\n", "*.log", Some("line 2: *.log")),
        ("secret\n", "secret", Some("line 1: secret")),
        ("secret\n", "secret/key", Some("line 1: secret")),
        ("secret\n", "link", Some("line 1: secret")),
        ("link\n", "link", Some("line 1: link")),
        ("secret\n!secret/public", "secret", None),
        ("secret\n!secret/public", "secr*", None),
        ("secret\n!secret/public", "secret/public", None),
        ("secret\n!secret/public", "secret/key", Some("line 1: secret")),
        ("*\n", "*", Some("line 1: *")),
        ("*\n", "nomatch*", None),
    ] {
        let bench = Bench::new(
            &[
                "a.log=1",
                "b.log=2",
                "secret/key=3",
                "secret/public=4",
                "link->secret/key",
            ],
            &[],
        );
        match (bench.copy(&[path], "/d/").ignore(rules).run(), rule) {
            (Ok(_), None) => assert!(!bench.at("/d/key").exists(), "{rules:?} {path}"),
            (Err(error @ CopyError::Ignored { .. }), Some(rule)) => {
                let text = error.to_string();
                assert!(
                    text.contains(&format!("\"/{path}\"")) && text.contains(rule),
                    "{rules:?} {path}: {text}"
                );
                assert!(text.contains(".dockerignore") && error.hint().is_some(), "{text}");
            }
            (result, _) => panic!("{rules:?} {path}: {result:?}"),
        }
    }
    let bench = Bench::new(&["a=1"], &[]);
    bench.copy(&["."], "/d/").ignore("*").run().unwrap();
    bench.copy(&["z*"], "/d/").run().unwrap();
    assert_eq!(bench.warnings.borrow().len(), 2, "{:?}", bench.warnings);
    assert!(bench.warnings.borrow()[0].contains(".dockerignore"));
}

#[test]
fn c40_ignore_cases_hold_for_real_trees() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/ignore");
    for case in fs::read_dir(root).unwrap() {
        let case = case.unwrap().path();
        let read = |name: &str| fs::read_to_string(case.join(name)).unwrap();
        let (rules, tree) = (read("ignore"), read("tree"));
        let bench = Bench::new(&[], &[]);
        for line in tree.lines() {
            let path = bench.in_source(line);
            if line.ends_with('/') {
                fs::create_dir_all(&path).unwrap();
            } else if !path.exists() {
                parents(&path);
                fs::write(&path, "").unwrap();
            }
        }
        bench.copy(&["."], "/").ignore(&rules).run().unwrap();
        let mut found: Vec<_> = walkdir::WalkDir::new(bench.rootfs())
            .min_depth(1)
            .into_iter()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let name = entry
                    .path()
                    .strip_prefix(bench.rootfs())
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                name + if entry.file_type().is_dir() { "/" } else { "" }
            })
            .collect();
        found.sort();
        let expected = read("expected");
        let expected: Vec<_> = expected.lines().collect();
        assert_eq!(found, sorted(&expected), "{}", case.display());
    }
}

#[test]
fn c41_ignore_rules_leave_other_stages_alone() {
    let bench = Bench::new(&["keep=1", "drop=2"], &[]);
    bench
        .copy(&["."], "/")
        .ignore("*\n!keep")
        .from(Kind::Tree)
        .run()
        .unwrap();
    assert_eq!(list(&bench.rootfs()), ["drop=2", "keep=1"]);
}

#[test]
fn c43_the_ignore_file_is_read_though_it_ignores_itself() {
    let bench = Bench::new(
        &[".dockerignore=.dockerignore\nDockerfile\n", "Dockerfile=FROM x", "f=1"],
        &[],
    );
    let source = Rootfs::open(&bench.source()).unwrap();
    let ignore = IgnoreFile::find(Some(&bench.in_source("Dockerfile")), &source)
        .unwrap()
        .unwrap();
    let rules = fs::read_to_string(bench.in_source(".dockerignore")).unwrap();
    assert_eq!(ignore.name, ".dockerignore");
    bench.copy(&["."], "/").ignore(&rules).run().unwrap();
    assert_eq!(list(&bench.rootfs()), ["f=1"]);
    assert!(bench.copy(&["Dockerfile"], "/").ignore(&rules).run().is_err());
    bench.copy(&["."], "/").run().unwrap();
    assert!(bench.at("Dockerfile").exists() && bench.at(".dockerignore").exists());
}

#[test]
fn c44_the_context_is_only_read() {
    let bench = Bench::new(&["a=1", "d/b=2", "drop/c=3", "l->a"], &[]);
    let state = |bench: &Bench| {
        let entries = walkdir::WalkDir::new(bench.source()).sort_by_file_name().into_iter();
        entries
            .map(|entry| {
                let meta = entry.unwrap().metadata().unwrap();
                (
                    meta.ino(),
                    meta.mode(),
                    meta.ctime_nsec(),
                    meta.atime_nsec(),
                    meta.nlink(),
                )
            })
            .collect::<Vec<_>>()
    };
    let before = state(&bench);
    bench.copy(&["."], "/x").ignore("drop").chmod("600").run().unwrap();
    bench.copy(&["l", "d"], "/y/").run().unwrap();
    // Directories may be read by anyone who lists them; all else is untouched to the access time.
    let files = |state: &[(u64, u32, i64, i64, u64)]| {
        let mut state = state.to_vec();
        for entry in &mut state {
            entry.3 *= i64::from(entry.1 & 0o170_000 == 0o100_000);
        }
        state
    };
    assert_eq!(files(&before), files(&state(&bench)));
}

#[test]
fn c45_many_files_and_rules() {
    let bench = Bench::new(&[], &[]);
    for dir in 0..30 {
        let dir = bench.in_source(&format!("d{dir}"));
        fs::create_dir(&dir).unwrap();
        for file in 0..100 {
            fs::write(dir.join(format!("f{file}")), "").unwrap();
        }
    }
    let mut rules: String = (0..40).map(|n| format!("**/no{n}/*.x\n")).collect();
    rules.push_str("d1\n!d1/f7\n**/f3?\nd2?/f*\n!**/f99\n");
    let copied = bench.copy(&["."], "/").ignore(&rules).run().unwrap();
    // d2 to d9, d0 and d10 to d19: 19 directories of 100 less f30 to f39; d1: f7 and f99; d20 to d29: f99.
    let files = list(&bench.rootfs()).len();
    assert_eq!(files, 19 * 90 + 2 + 10);
    assert_eq!(copied.written.len(), files + 30 + 1);
}

#[test]
fn c01_existing_destinations_keep_mode_and_owner() {
    for (paths, destination) in [
        (&["f"][..], "/tmp/"),
        (&["f"], "/tmp"),
        (&["d"], "/tmp"),
        (&["d/."], "/tmp/"),
        (&["."], "/"),
    ] {
        for octal in [None, Some("700")] {
            let bench = Bench::new(&["f=1", "d/tmp2/g=2"], &["tmp/"]);
            chmod(&bench.at("tmp"), 0o1777);
            chmod(&bench.rootfs(), 0o751);
            let mut copy = bench.copy(paths, destination);
            if let Some(octal) = octal {
                copy = copy.chmod(octal);
            }
            copy.run().unwrap();
            assert_eq!(
                (bench.mode("tmp"), bench.mode("/")),
                (0o1777, 0o751),
                "{paths:?} {destination}"
            );
        }
    }
}

#[test]
fn nested_directories_take_the_source_and_the_top_takes_its_time() {
    let bench = Bench::new(&["d/n/f=1"], &["x/n/", "x/other/"]);
    chmod(&bench.in_source("d"), 0o700);
    chmod(&bench.in_source("d/n"), 0o750);
    chmod(&bench.in_source("d/n/f"), 0o4751);
    touch(&bench.in_source("d/n/f"), 1_000);
    touch(&bench.in_source("d/n"), 2_000);
    touch(&bench.in_source("d"), 3_000);
    for destination in ["/x", "/new"] {
        bench.copy(&["d"], destination).run().unwrap();
        let at = |name: &str| bench.meta(&format!("{destination}{name}"));
        assert_eq!(
            (at("").mode() & 0o7777, at("").mtime()),
            (0o755, 3_000),
            "{destination}"
        );
        assert_eq!(
            (at("/n").mode() & 0o7777, at("/n").mtime()),
            (0o750, 2_000),
            "{destination}"
        );
        assert_eq!(
            (at("/n/f").mode() & 0o7777, at("/n/f").mtime()),
            (0o4751, 1_000),
            "{destination}"
        );
    }
}

#[test]
fn c12_times_are_copied_to_the_nanosecond() {
    let bench = Bench::new(&["f=1", "d/l->f", "d/g=2"], &[]);
    let before = |name: &str| fs::symlink_metadata(bench.in_source(name)).unwrap();
    for from in [Kind::Context, Kind::Tree] {
        bench.copy(&["f", "d"], "/x/").from(from).run().unwrap();
        for (source, copied) in [("f", "x/f"), ("d/l", "x/l"), ("d/g", "x/g"), ("d", "x")] {
            let (a, b) = (before(source), bench.meta(copied));
            assert_eq!((a.mtime(), a.mtime_nsec()), (b.mtime(), b.mtime_nsec()), "{source}");
        }
    }
}

#[test]
fn c05_c07_octal_chmod_for_created_parents_and_copied_entries() {
    let bench = Bench::new(&["d/n/f=1", "d/l->n"], &["old/kept=0"]);
    chmod(&bench.in_source("d/n/f"), 0o600);
    chmod(&bench.at("old/kept"), 0o640);
    chmod(&bench.at("old"), 0o711);
    bench.copy(&["d"], "/a/b").chmod("770").run().unwrap();
    for path in ["a", "a/b", "a/b/n", "a/b/n/f"] {
        assert_eq!(bench.mode(path), 0o770, "{path}");
    }
    assert_eq!(bench.mode("a/b/l"), 0o777);
    bench.copy(&["d"], "/old").chmod("0644").run().unwrap();
    for (path, mode) in [
        ("old", 0o711),
        ("old/kept", 0o640),
        ("old/n", 0o644),
        ("old/n/f", 0o644),
    ] {
        assert_eq!(bench.mode(path), mode, "{path}");
    }
}

#[test]
fn c06_unreadable_modes_do_not_stop_the_copy() {
    let bench = Bench::new(&["d/s/f=1", "d/s/t/g=2", "d/h=3"], &[]);
    bench.copy(&["d"], "/a/b/").chmod("700").run().unwrap();
    let bench = Bench::new(&["d/s/f=1", "d/s/t/g=2", "d/h=3"], &["a/b/"]);
    bench.copy(&["d"], "/a/b").chmod("400").run().unwrap();
    for path in ["a/b/s", "a/b/h"] {
        assert_eq!(bench.mode(path), 0o400, "{path}");
    }
    chmod(&bench.at("a/b/s"), 0o700);
    assert_eq!((bench.mode("a/b/s/f"), bench.mode("a/b/s/t")), (0o400, 0o400));
    chmod(&bench.at("a/b/s/t"), 0o700);
}

#[test]
fn c08_symbolic_chmod_starts_from_each_entry() {
    let bench = Bench::new(&["d/plain=1", "d/tool=2", "d/s/"], &[]);
    for (path, mode) in [("d/plain", 0o600), ("d/tool", 0o700), ("d/s", 0o700)] {
        chmod(&bench.in_source(path), mode);
    }
    bench.copy(&["d"], "/a/b").chmod("u=rwX,go=rX").run().unwrap();
    for (path, mode) in [
        ("a", 0o755),
        ("a/b", 0o755),
        ("a/b/plain", 0o644),
        ("a/b/tool", 0o755),
        ("a/b/s", 0o755),
    ] {
        assert_eq!(bench.mode(path), mode, "{path}");
    }
}

#[test]
fn c10_hard_links_stay_hard_links() {
    for from in [Kind::Context, Kind::Tree] {
        let bench = Bench::new(&["d/a=1", "d/s/", "alone=2"], &[]);
        fs::hard_link(bench.in_source("d/a"), bench.in_source("d/s/b")).unwrap();
        fs::hard_link(bench.in_source("d/a"), bench.in_source("c")).unwrap();
        let copied = bench.copy(&["d", "c", "alone"], "/x/").from(from).run().unwrap();
        let inodes: Vec<_> = ["x/a", "x/s/b", "x/c"]
            .iter()
            .map(|path| bench.meta(path).ino())
            .collect();
        assert!(inodes.iter().all(|inode| *inode == inodes[0]), "{inodes:?}");
        assert_eq!((bench.meta("x/a").nlink(), bench.meta("x/alone").nlink()), (3, 1));
        assert_eq!(
            absolute(&copied.written),
            ["/x", "/x/a", "/x/alone", "/x/c", "/x/s", "/x/s/b"]
        );
        // And once more over what is there.
        bench.copy(&["d", "c"], "/x/").from(from).run().unwrap();
        assert_eq!(bench.meta("x/a").nlink(), 3);
        // Two names of one file, copied to one place.
        bench.copy(&["d/a", "c"], "/y").from(from).run().unwrap();
        assert_eq!(
            (
                fs::read_to_string(bench.at("y")).unwrap().as_str(),
                bench.meta("y").nlink()
            ),
            ("1", 1)
        );
    }
}

#[test]
fn a_replaced_first_name_is_no_link_target() {
    let bench = Bench::new(&["d1/a=1", "d2/a=2", "d2/b=unused"], &[]);
    fs::remove_file(bench.in_source("d2/b")).unwrap();
    fs::hard_link(bench.in_source("d1/a"), bench.in_source("d2/b")).unwrap();
    bench.copy(&["d1", "d2"], "/").run().unwrap();
    assert_eq!(list(&bench.rootfs()), ["a=2", "b=1"]);
}

#[test]
fn c15_links_that_lead_nowhere_are_copied_as_they_are() {
    let tree = [
        "d/self->self",
        "d/gone->/no/where",
        "d/up->../../../..",
        "d/a->b",
        "d/b->a",
    ];
    let expected = ["self->self", "gone->/no/where", "up->../../../..", "a->b", "b->a"];
    expect(&[
        (&tree, &[], &["d"], "/", &expected),
        (
            &["self->self", "gone->/no/where", "f=1"],
            &[],
            &["*"],
            "/",
            &["self->self", "gone->/no/where", "f=1"],
        ),
    ]);
    let bench = Bench::new(&["gone->nowhere"], &[]);
    assert!(matches!(
        bench.copy(&["gone"], "/").run(),
        Err(CopyError::NotFound { .. })
    ));
}

#[test]
fn c22_absolute_links_of_the_context_resolve_inside_it() {
    let bench = Bench::new(
        &[
            "etc/resolv.conf->/run/resolv.conf",
            "run/resolv.conf=inside",
            "passwd->/etc/passwd",
        ],
        &[],
    );
    bench.copy(&["etc/resolv.conf"], "/").run().unwrap();
    assert_eq!(list(&bench.rootfs()), ["resolv.conf=inside"]);
    for path in ["passwd", "../../../../etc/passwd", "/etc/passwd"] {
        assert!(
            matches!(bench.copy(&[path], "/").run(), Err(CopyError::NotFound { .. })),
            "{path}"
        );
    }
    plant(
        &bench.source(),
        &["hosts->../../../../../../../../etc/hosts", "etc/hosts=of the context"],
    );
    bench.copy(&["hosts"], "/").run().unwrap();
    assert_eq!(fs::read_to_string(bench.at("hosts")).unwrap(), "of the context");
}

#[test]
fn c39_sockets_and_fifos() {
    let bench = Bench::new(&["d/f=1"], &[]);
    let _socket = std::os::unix::net::UnixListener::bind(bench.in_source("d/socket")).unwrap();
    let fifo = bench.in_source("d/fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o640.into(), 0).unwrap();
    bench.copy(&["d"], "/x").run().unwrap();
    assert_eq!(list(&bench.rootfs()), ["x/f=1", "x/fifo|", "x/socket="]);
    bench.copy(&["d/fifo"], "/y").run().unwrap();
    assert_eq!(list(&bench.rootfs())[3], "y|");
    let target = Bench::new(&[], &[]);
    let ends = (
        Rootfs::open(&bench.source()).unwrap(),
        Rootfs::open(&target.rootfs()).unwrap(),
    );
    let mut fingerprints = Fingerprints::default();
    let from = (&ends.0, &Fingerprints::default());
    copy_tree(from, (&ends.1, &mut fingerprints), &Cancel::default(), &|_| ()).unwrap();
    assert_eq!(list(&target.rootfs()), ["d/f=1", "d/fifo|"]);
}

#[test]
fn c19_heredocs_become_files() {
    let bench = Bench::new(&["f=1"], &["d/"]);
    bench
        .copy(&[], "/d")
        .file("a", "one\n")
        .file("b", "two\n")
        .run()
        .unwrap();
    bench.copy(&["f"], "/n/").file("f", "later").chmod("u+x").run().unwrap();
    bench
        .copy(&[], "/plain")
        .file("EOF", "text")
        .chmod("600")
        .run()
        .unwrap();
    assert_eq!(
        list(&bench.rootfs()),
        sorted(&["d/a=one\n", "d/b=two\n", "n/f=later", "plain=text"])
    );
    assert_eq!(
        (bench.mode("d/a"), bench.mode("n/f"), bench.mode("plain")),
        (0o644, 0o744, 0o600)
    );
}

#[test]
fn exclude_is_relative_to_each_source_directory() {
    let tree = ["s/a.txt=1", "s/b.md=2", "s/n/c.txt=3", "s/n/d.md=4"];
    for (rules, paths, expected) in [
        (&["*.txt"][..], &["s"][..], &["b.md=2", "n/c.txt=3", "n/d.md=4"][..]),
        (&["**/*.txt"], &["s"], &["b.md=2", "n/d.md=4"]),
        (&["n"], &["s"], &["a.txt=1", "b.md=2"]),
        (&["n/*"], &["s"], &["a.txt=1", "b.md=2", "n/"]),
        (&["*"], &["s"], &[]),
        (&["**", "!n/d.md"], &["s"], &["n/d.md=4"]),
        (&["*.txt"], &["s/a.txt", "s/n"], &["a.txt=1", "d.md=4"]),
    ] {
        let bench = Bench::new(&tree, &[]);
        bench.copy(paths, "/").exclude(rules).run().unwrap();
        assert_eq!(list(&bench.rootfs()), sorted(expected), "{rules:?} {paths:?}");
    }
    let bench = Bench::new(&tree, &[]);
    bench.copy(&["s"], "/d").exclude(&["*"]).run().unwrap();
    assert_eq!(list(&bench.rootfs()), ["d/"]);
}

#[test]
fn what_was_written_is_told_by_canonical_paths() {
    let bench = Bench::new(&["d/f=1", "d/s/g=2", "h=3"], &["link->real", "real/old=0", "real/s/"]);
    let written = |copy: Copy<'_>| absolute(&copy.run().unwrap().written);
    assert_eq!(
        written(bench.copy(&["d"], "/link")),
        ["/real", "/real/f", "/real/s", "/real/s/g"]
    );
    assert_eq!(
        written(bench.copy(&["h"], "/link/new/dir/")),
        ["/real/new", "/real/new/dir", "/real/new/dir/h"]
    );
    assert_eq!(written(bench.copy(&["h"], "/link/old")), ["/real/old"]);
    assert_eq!(written(bench.copy(&["h", "h"], "/x/../h2")), ["/h2"]);
    assert_eq!(written(bench.copy(&["nothing*"], "/none/")), [""; 0]);
}

#[test]
fn fingerprints_are_those_of_the_copies() {
    let bench = Bench::new(&["d/f=content", "d/l->f", "d/n/"], &[]);
    let mut fingerprints = Fingerprints::default();
    bench.copy(&["d"], "/x").run_with(&mut fingerprints).unwrap();
    let none = rbuild::rootfs::xattr::Xattrs::new();
    for (path, content) in [("x/f", &b"content"[..]), ("x/l", b"f"), ("x/n", b"")] {
        let taken = fingerprints.get(bench.meta(path).ino());
        assert_eq!(taken, Some(Fingerprint::of(content, &none)), "{path}");
    }
    // A large file has none, and not that of the file that had its inode before.
    let large = vec![b'x'; 3 << 20];
    fs::write(bench.in_source("large"), &large).unwrap();
    for inode in 0..200_000 {
        fingerprints.insert(inode, Fingerprint::of(b"stale", &none));
    }
    bench.copy(&["large"], "/").run_with(&mut fingerprints).unwrap();
    assert_eq!(fs::read(bench.at("large")).unwrap(), large);
    fingerprints.insert(bench.meta("large").ino(), Fingerprint::of(b"stale", &none));
    fs::remove_file(bench.at("large")).unwrap();
    bench.copy(&["large"], "/").run_with(&mut fingerprints).unwrap();
    assert_eq!(fingerprints.get(bench.meta("large").ino()), None);
}

#[test]
fn an_interrupt_ends_the_copy() {
    let bench = Bench::new(&["d/f=1"], &[]);
    let context = BuildContext::open(&bench.source(), None).unwrap();
    let rootfs = Rootfs::open(&bench.rootfs()).unwrap();
    let cancel = Cancel::default();
    cancel.by_signal(2);
    let request = CopyRequest {
        source: Source::Context(&context),
        paths: &[b"d".to_vec()],
        files: &[],
        destination: b"/",
        chown: Some(me()),
        chmod: None,
        exclude: None,
        mode: Mode::Copy,
        created_mtime: None,
    };
    let result = copy(&request, &rootfs, &mut Fingerprints::default(), &cancel, &|_| ());
    assert!(matches!(result, Err(CopyError::Cancelled(_))), "{result:?}");
    assert!(list(&bench.rootfs()).is_empty());
}

#[test]
fn a_rootfs_inside_its_own_context_is_left_out() {
    let bench = Bench::new(&["f=1"], &[]);
    let inner = bench.in_source("state/rootfs");
    fs::create_dir_all(&inner).unwrap();
    let context = BuildContext::open(&bench.source(), None).unwrap();
    let rootfs = Rootfs::open(&inner).unwrap();
    let request = CopyRequest {
        source: Source::Context(&context),
        paths: &[b".".to_vec()],
        files: &[],
        destination: b"/x/",
        chown: Some(me()),
        chmod: None,
        exclude: None,
        mode: Mode::Copy,
        created_mtime: None,
    };
    copy(
        &request,
        &rootfs,
        &mut Fingerprints::default(),
        &Cancel::default(),
        &|_| (),
    )
    .unwrap();
    assert_eq!(list(&inner), ["x/f=1", "x/state/"]);
}

#[test]
fn made_directories_take_the_given_time() {
    let bench = Bench::new(&["d/f=1", "g=2"], &["old/"]);
    touch(&bench.in_source("d"), 5);
    let copy = |paths: &[&str], destination: &'static str| Copy {
        created_mtime: Some(Timestamp::from_seconds(9)),
        ..bench.copy(paths, destination)
    };
    copy(&["g"], "/a/b/").file("h", "3").run().unwrap();
    copy(&["d"], "/c/d").run().unwrap();
    for (path, mtime) in [("a", 9), ("a/b", 9), ("a/b/h", 9), ("c", 9), ("c/d", 5)] {
        assert_eq!(bench.meta(path).mtime(), mtime, "{path}");
    }
}

/// Takes files that begin with `ARCHIVE` for archives of one entry.
#[derive(Debug)]
struct Toy;

impl Archives for Toy {
    fn recognise(&self, mut file: &fs::File) -> std::io::Result<bool> {
        let mut content = String::new();
        file.read_to_string(&mut content)?;
        Ok(content.starts_with("ARCHIVE"))
    }

    fn extract(
        &self,
        mut file: fs::File,
        extraction: &Extraction<'_>,
        _: &mut Fingerprints,
        _: &Cancel,
    ) -> Result<Copied, Box<dyn std::error::Error + Send + Sync>> {
        let mut content = String::new();
        file.read_to_string(&mut content)?;
        let name = content.strip_prefix("ARCHIVE ").ok_or("damaged")?;
        let dir = extraction.rootfs.open_dir(extraction.into)?;
        dir.create_file(name.as_bytes(), 0o600)?;
        Ok(Copied {
            written: vec![extraction.into.join(name.as_bytes())],
            removed: vec![extraction.into.join(b"gone")],
        })
    }
}

#[test]
fn c17_c18_add_extracts_what_is_an_archive_and_copies_the_rest() {
    let bench = Bench::new(
        &[
            "a.tar=ARCHIVE one",
            "b=ARCHIVE two",
            "c.tar.gz=",
            "d/e.tar=ARCHIVE three",
            "l->b",
        ],
        &["x/"],
    );
    chmod(&bench.at("x"), 0o1777);
    let copied = bench.copy(&["a.tar", "c.tar.gz"], "/x").add(&Toy).run().unwrap();
    assert_eq!(list(&bench.rootfs()), sorted(&["x/one=", "x/c.tar.gz="]));
    assert_eq!(absolute(&copied.removed), ["/x/gone"]);
    assert_eq!(bench.mode("x"), 0o1777);
    // Without a slash too the destination of an archive is a directory, and `--chmod` is not for it.
    bench.copy(&["l"], "/y/z").add(&Toy).chmod("700").run().unwrap();
    bench.copy(&["d"], "/w").add(&Toy).run().unwrap();
    bench.copy(&["a.tar"], "/v").run().unwrap();
    let expected = [
        "x/one=",
        "x/c.tar.gz=",
        "y/z/two=",
        "w/e.tar=ARCHIVE three",
        "v=ARCHIVE one",
    ];
    assert_eq!(list(&bench.rootfs()), sorted(&expected));
    assert_eq!((bench.mode("y"), bench.mode("y/z")), (0o755, 0o755));
    plant(&bench.source(), &["bad=ARCHIVE"]);
    let error = story(&bench.copy(&["bad"], "/u").add(&Toy).run().unwrap_err());
    assert_eq!(error, "extract \"/bad\" to /u: damaged");
}

#[test]
fn c37_workdir_keeps_links_and_what_exists() {
    let bench = Bench::new(&[], &["link->real", "real/", "gone->/made/here", "file=1"]);
    chmod(&bench.at("real"), 0o700);
    let rootfs = Rootfs::open(&bench.rootfs()).unwrap();
    let make = |path: &str| make_workdir(&rootfs, path.as_bytes(), me(), Some(Timestamp::from_seconds(7)));
    for (path, created) in [
        ("/", &[][..]),
        ("/link", &[]),
        ("/link/a/b", &["/real/a", "/real/a/b"]),
        ("/link/a/b/", &[]),
        ("/gone/x", &["/made", "/made/here", "/made/here/x"]),
        ("/x/../y", &["/y"]),
        ("../z", &["/z"]),
    ] {
        assert_eq!(absolute(&make(path).unwrap()), created, "{path}");
    }
    assert_eq!(
        (bench.mode("real"), bench.mode("real/a"), bench.mode("made")),
        (0o700, 0o755, 0o755)
    );
    for path in ["real/a", "real/a/b", "made", "y"] {
        assert_eq!(bench.meta(path).mtime(), 7, "{path}");
    }
    assert!(bench.meta("link").is_symlink() && bench.meta("gone").is_symlink());
    assert!(make("/file").is_err() && make("/file/x").is_err());
}

#[test]
fn deep_trees_end_with_an_error() {
    let bench = Bench::new(&["d/"], &[]);
    let name = "n".repeat(250);
    let mut dir = fs::File::open(bench.in_source("d")).unwrap();
    for _ in 0..20 {
        rustix::fs::mkdirat(&dir, &name, 0o755.into()).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY;
        dir = fs::File::from(rustix::fs::openat(&dir, &name, flags, 0.into()).unwrap());
    }
    let result = bench.copy(&["d"], "/").run();
    assert!(matches!(result, Err(CopyError::TooDeep { .. })), "{result:?}");
    for root in [bench.source(), bench.rootfs()] {
        let rootfs = Rootfs::open(&root).unwrap();
        for name in rootfs.root().names().unwrap() {
            rootfs.root().remove_all(&name).unwrap();
        }
    }
}

/// Everything about a tree that a copy keeps, by an independent walk. Inode numbers become the first name that has them.
fn portrait(root: &Path) -> BTreeMap<Vec<u8>, (u32, u32, u32, i64, i64, Vec<u8>, Vec<u8>)> {
    let mut first_names = BTreeMap::new();
    let mut portrait = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        let name = entry.path().strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        let content = match meta.file_type() {
            kind if kind.is_file() => fs::read(entry.path()).unwrap(),
            kind if kind.is_symlink() => fs::read_link(entry.path()).unwrap().as_os_str().as_bytes().to_vec(),
            _ => format!("{:?}", meta.rdev()).into_bytes(),
        };
        let first = first_names.entry(meta.ino()).or_insert_with(|| name.clone()).clone();
        let facts = (
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec(),
            content,
            first,
        );
        portrait.insert(name, facts);
    }
    portrait
}

#[derive(Clone, Debug)]
enum Node {
    Directory(u32),
    File(Vec<u8>, u32),
    Symlink(String),
    HardLink(usize),
}

fn node() -> impl Strategy<Value = Node> {
    prop_oneof![
        (0o700..0o1000_u32).prop_map(|mode| Node::Directory(mode | 0o700)),
        (prop::collection::vec(any::<u8>(), 0..2000), 0o400..0o10000_u32)
            .prop_map(|(content, mode)| Node::File(content, mode | 0o400)),
        "[a-c./]{1,8}".prop_map(Node::Symlink),
        (0..12_usize).prop_map(Node::HardLink),
    ]
}

/// Makes what can be made; what collides is left out.
fn grow(root: &Path, nodes: &[(Vec<u8>, Node)]) {
    let mut files = Vec::new();
    let mut modes = Vec::new();
    for (name, node) in nodes {
        let path = root.join(std::ffi::OsStr::from_bytes(name));
        let _ = fs::create_dir_all(path.parent().unwrap());
        if fs::symlink_metadata(&path).is_ok() || !path.parent().unwrap().is_dir() {
            continue;
        }
        match node {
            Node::Directory(mode) => {
                fs::create_dir(&path).unwrap();
                modes.push((path, *mode));
            }
            Node::File(content, mode) => {
                fs::write(&path, content).unwrap();
                modes.push((path.clone(), *mode));
                files.push(path);
            }
            Node::Symlink(target) => symlink(target, &path).unwrap(),
            Node::HardLink(number) if !files.is_empty() => {
                fs::hard_link(&files[number % files.len()], &path).unwrap();
            }
            Node::HardLink(_) => {}
        }
    }
    for (path, mode) in modes.into_iter().rev() {
        chmod(&path, mode);
        touch(&path, i64::from(mode) * 1_000);
    }
}

/// Names with bytes that are no UTF-8, and with what patterns and shells find special.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let component = prop::sample::select(vec![
        &b"a"[..],
        b"b",
        b"c",
        b"-",
        b"*",
        b"\xff\xfe",
        b".wh.a",
        b" ",
        b"\n",
    ]);
    prop::collection::vec(component, 1..4).prop_map(|components| components.join(&b'/'))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, fork: false, ..ProptestConfig::default() })]

    #[test]
    fn copies_equal_their_sources(nodes in prop::collection::vec((name(), node()), 0..25)) {
        let bench = Bench::new(&[], &[]);
        grow(&bench.source(), &nodes);
        let source = portrait(&bench.source());

        let copied = bench.copy(&["."], "/x/").from(Kind::Tree).chown(None).run().unwrap();
        let mut copy = portrait(&bench.at("x"));
        // The top keeps a mode of its own.
        let top = copy.get_mut(&b""[..]).unwrap();
        prop_assert_eq!(top.3, source[&b""[..]].3);
        top.0 = source[&b""[..]].0;
        prop_assert_eq!(&copy, &source);
        prop_assert_eq!(copied.written.len(), source.len());

        let whole = bench.temp.path().join("whole");
        let ends = (Rootfs::open(&bench.source()).unwrap(), Rootfs::create(&whole).unwrap());
        let mut fingerprints = Fingerprints::default();
        let from = (&ends.0, &Fingerprints::default());
        copy_tree(from, (&ends.1, &mut fingerprints), &Cancel::default(), &|_| ()).unwrap();
        prop_assert_eq!(portrait(&whole), source);
    }
}

#[test]
fn copy_tree_takes_over_fingerprints() {
    let bench = Bench::new(&["f=1", "d/g=2"], &[]);
    let ends = (
        Rootfs::open(&bench.source()).unwrap(),
        Rootfs::open(&bench.rootfs()).unwrap(),
    );
    let marker = Fingerprint::of(b"taken earlier", &rbuild::rootfs::xattr::Xattrs::new());
    let mut known = Fingerprints::default();
    known.insert(fs::metadata(bench.in_source("f")).unwrap().ino(), marker);
    let mut fingerprints = Fingerprints::default();
    copy_tree(
        (&ends.0, &known),
        (&ends.1, &mut fingerprints),
        &Cancel::default(),
        &|_| (),
    )
    .unwrap();
    assert_eq!(list(&bench.rootfs()), list(&bench.source()));
    assert_eq!(fingerprints.get(bench.meta("f").ino()), Some(marker));
    let taken = Fingerprint::of(b"2", &rbuild::rootfs::xattr::Xattrs::new());
    assert_eq!(fingerprints.get(bench.meta("d/g").ino()), Some(taken));
}

fn owner(bench: &Bench, path: &str) -> (u32, u32) {
    let meta = bench.meta(path);
    (meta.uid(), meta.gid())
}

fn give(path: &Path, uid: u32, gid: u32) {
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).unwrap();
}

#[test]
fn root_c02_the_context_is_owned_by_root_in_the_image() {
    let bench = Bench::new(&["f=1", "d/s/g=2", "d/l->g"], &["d/s/"]);
    for path in ["f", "d", "d/s", "d/s/g", "d/l"] {
        give(&bench.in_source(path), 1000, 1001);
    }
    give(&bench.at("d/s"), 7, 7);
    bench.copy(&["f"], "/new/").chown(None).file("h", "x").run().unwrap();
    bench.copy(&["d"], "/d").chown(None).run().unwrap();
    for path in ["new", "new/f", "new/h", "d/s", "d/s/g", "d/l"] {
        assert_eq!(owner(&bench, path), (0, 0), "{path}");
    }
}

#[test]
fn root_c03_stages_keep_owner_mode_and_attributes() {
    let bench = Bench::new(&["d/s/f=1", "d/s/l->f"], &[]);
    for (path, uid) in [("d", 10), ("d/s", 11), ("d/s/f", 12), ("d/s/l", 13)] {
        give(&bench.in_source(path), uid, uid + 100);
    }
    chmod(&bench.in_source("d/s/f"), 0o6755);
    chmod(&bench.in_source("d/s"), 0o3775);
    chmod(&bench.in_source("d"), 0o700);
    bench.copy(&["d"], "/a/b").from(Kind::Tree).chown(None).run().unwrap();
    for (path, expected) in [("a", 0), ("a/b", 0), ("a/b/s", 11), ("a/b/s/f", 12), ("a/b/s/l", 13)] {
        let gid = if expected == 0 { 0 } else { expected + 100 };
        assert_eq!(owner(&bench, path), (expected, gid), "{path}");
    }
    assert_eq!(
        (bench.mode("a/b"), bench.mode("a/b/s"), bench.mode("a/b/s/f")),
        (0o755, 0o3775, 0o6755)
    );
}

#[test]
fn root_c04_chown_gives_away_what_it_makes_and_nothing_else() {
    let bench = Bench::new(&["d/s/f=1", "d/l->s"], &["old/kept=0"]);
    give(&bench.at("old"), 5, 5);
    let owner_of_copy = Some(Owner { uid: 1, gid: 2 });
    for from in [Kind::Context, Kind::Tree] {
        bench
            .copy(&["d"], "/old/new/deep")
            .from(from)
            .chown(owner_of_copy)
            .run()
            .unwrap();
        bench
            .copy(&["d"], "/old")
            .from(from)
            .chown(owner_of_copy)
            .file("h", "x")
            .run()
            .unwrap();
        for path in [
            "old/new",
            "old/new/deep",
            "old/new/deep/s/f",
            "old/s",
            "old/s/f",
            "old/l",
            "old/h",
        ] {
            assert_eq!(owner(&bench, path), (1, 2), "{path}");
        }
        assert_eq!((owner(&bench, "old"), owner(&bench, "old/kept")), ((5, 5), (0, 0)));
    }
}

#[test]
fn root_c09_attributes_and_capabilities_survive_from_stages_only() {
    let bench = Bench::new(&["d/f=1", "d/s/"], &[]);
    // Version 2, cap_net_raw permitted and effective.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let source = Rootfs::open(&bench.in_source("d")).unwrap();
    source
        .root()
        .set_xattr(Some(b"f"), b"security.capability", &capability)
        .unwrap();
    source.root().set_xattr(Some(b"s"), b"user.note", b"kept").unwrap();
    give(&bench.in_source("d/s"), 3, 3);
    let xattrs = |at: &str, name: &[u8]| Rootfs::open(&bench.at(at)).unwrap().root().xattrs(Some(name)).unwrap();
    let mut fingerprints = Fingerprints::default();
    bench
        .copy(&["d"], "/x")
        .from(Kind::Tree)
        .chown(Some(Owner { uid: 9, gid: 9 }))
        .run_with(&mut fingerprints)
        .unwrap();
    assert_eq!(
        xattrs("x", b"f").get(&b"security.capability"[..]).map(Vec::as_slice),
        Some(&capability[..])
    );
    assert_eq!(
        xattrs("x", b"s").get(&b"user.note"[..]).map(Vec::as_slice),
        Some(&b"kept"[..])
    );
    let expected = Fingerprint::of(b"1", &xattrs("x", b"f"));
    assert_eq!(fingerprints.get(bench.meta("x/f").ino()), Some(expected));
    bench.copy(&["d"], "/y").chown(None).run().unwrap();
    assert!(xattrs("y", b"f").is_empty() && xattrs("y", b"s").is_empty());
}

#[test]
fn root_c16_devices_are_made_anew_and_never_read() {
    let bench = Bench::new(&["dev/", "proc/"], &[]);
    for (name, minor) in [("full", 7), ("zero", 5)] {
        let device = rustix::fs::makedev(1, minor);
        let kind = rustix::fs::FileType::CharacterDevice;
        let path = bench.in_source("dev").join(name);
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, 0o666.into(), device).unwrap();
    }
    bench.copy(&["/"], "/x").from(Kind::Tree).chown(None).run().unwrap();
    bench
        .copy(&["/dev/full"], "/y")
        .from(Kind::Tree)
        .chown(None)
        .run()
        .unwrap();
    for (path, minor) in [("x/dev/full", 7), ("x/dev/zero", 5), ("y", 7)] {
        assert_eq!(bench.meta(path).rdev(), rustix::fs::makedev(1, minor), "{path}");
    }
    assert!(bench.at("x/proc").is_dir());
}

#[test]
fn root_c23_a_replaced_file_loses_its_owner() {
    let bench = Bench::new(&["f=1", "g=2"], &["f=0", "g=0"]);
    give(&bench.at("f"), 33, 0);
    give(&bench.at("g"), 0, 33);
    bench.copy(&["f", "g"], "/").chown(None).run().unwrap();
    assert_eq!((owner(&bench, "f"), owner(&bench, "g")), ((0, 0), (0, 0)));
}

#[test]
fn root_c34_workdir_belongs_to_the_user() {
    let bench = Bench::new(&[], &["a/"]);
    let rootfs = Rootfs::open(&bench.rootfs()).unwrap();
    make_workdir(&rootfs, b"/a/b/c", Owner { uid: 1000, gid: 1000 }, None).unwrap();
    for (path, id) in [("a", 0), ("a/b", 1000), ("a/b/c", 1000)] {
        assert_eq!(owner(&bench, path), (id, id), "{path}");
    }
}

#[test]
fn root_copy_tree_keeps_everything() {
    let bench = Bench::new(&["d/f=1", "d/l->f", "e/"], &[]);
    fs::hard_link(bench.in_source("d/f"), bench.in_source("e/again")).unwrap();
    fs::write(bench.in_source("large"), vec![7; 2 << 20]).unwrap();
    let device = rustix::fs::makedev(1, 3);
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(rustix::fs::CWD, bench.in_source("null"), kind, 0o666.into(), device).unwrap();
    for (path, uid) in [("", 4), ("d", 5), ("d/f", 6), ("d/l", 7), ("null", 8)] {
        give(&bench.in_source(path), uid, uid + 1);
    }
    chmod(&bench.in_source("d/f"), 0o4711);
    chmod(&bench.source(), 0o711);
    touch(&bench.source(), 77);
    let ends = (
        Rootfs::open(&bench.source()).unwrap(),
        Rootfs::open(&bench.rootfs()).unwrap(),
    );
    ends.0.root().set_xattr(Some(b"d"), b"user.note", b"kept").unwrap();
    let mut fingerprints = Fingerprints::default();
    let from = (&ends.0, &Fingerprints::default());
    copy_tree(from, (&ends.1, &mut fingerprints), &Cancel::default(), &|_| ()).unwrap();
    assert_eq!(portrait(&bench.rootfs()), portrait(&bench.source()));
    assert_eq!(
        ends.1.root().xattrs(Some(b"d")).unwrap(),
        ends.0.root().xattrs(Some(b"d")).unwrap()
    );
}
