//! COPY, ADD and WORKDIR over real directories.
//!
//! Trees are written as words: `d/` a directory, `d/f=content` a file, `l->target` a symlink. Tests that need to
//! chown, mknod or set capabilities are called `root_…`; all others copy as whoever runs them.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail like tests")]

mod link;
mod metadata;
mod parents;
mod placement;
mod sources;
mod whole;

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rbuild::cancel::Cancel;
use rbuild::context::{BuildContext, IgnoreFile, IgnorePatterns};
use rbuild::copy::{
    Archives, Copied, CopyError, CopyRequest, InlineFile, LinkedCopy, Mode, Owner, Parents, Source, copy,
};
use rbuild::rootfs::{Chmod, Rootfs, RootfsPath, Timestamp};
use rbuild::snapshot::Fingerprints;

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
    parents: Parents,
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
    fn new(source: &str, rootfs: &str) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let bench = Self {
            temp,
            warnings: RefCell::default(),
        };
        for (dir, lines) in [
            (bench.source(), source),
            (bench.rootfs(), rootfs),
            (bench.outside(), "canary=untouched"),
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
            parents: Parents::Dropped,
            files: Vec::new(),
            mode: Mode::Copy,
            created_mtime: None,
        }
    }

    /// The copy that `row` speaks of worked and changed nothing but the rootfs.
    #[track_caller]
    fn expect(&self, result: Result<Copied, CopyError>, source: &str, outcome: &str, row: &str) {
        if let Err(error) = result {
            panic!("{row}: {}", story(&error));
        }
        assert_eq!(list(&self.rootfs()), sorted(outcome), "{row}");
        assert_eq!(list(&self.source()), sorted(source), "{row}");
        assert_eq!(list(&self.outside()), "canary=untouched", "{row}");
    }
}

impl Drop for Bench {
    /// Opens what a test closed, or its temporary directory could not be removed by an ordinary user.
    fn drop(&mut self) {
        for entry in walkdir::WalkDir::new(self.temp.path()).into_iter().flatten() {
            if entry.file_type().is_dir() {
                let _ = fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700));
            }
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

    fn parents(self) -> Self {
        Self {
            parents: Parents::Kept,
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
        let cancel = Cancel::default();
        self.execute(|request, rootfs, warn| copy(request, rootfs, fingerprints, &cancel, warn))
    }

    /// As with `--link`.
    fn link(self, fingerprints: &mut Fingerprints) -> Result<Copied, CopyError> {
        let apart = self.bench.temp.path().join("apart");
        let root = Rootfs::create(&apart).unwrap();
        let cancel = Cancel::default();
        let copied = self.execute(|request, rootfs, warn| {
            let mut linked = LinkedCopy::new(&root);
            let copied = linked.copy(request, fingerprints, &cancel, warn)?;
            linked.lay_upon(rootfs, fingerprints, &cancel)?;
            Ok(copied)
        });
        fs::remove_dir_all(apart).unwrap();
        copied
    }

    fn execute(
        self,
        carry_out: impl FnOnce(&CopyRequest<'_>, &Rootfs, &dyn Fn(&str)) -> Result<Copied, CopyError>,
    ) -> Result<Copied, CopyError> {
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
            parents: self.parents,
            mode: self.mode,
            created_mtime: self.created_mtime,
        };
        let rootfs = Rootfs::open(&self.bench.rootfs()).unwrap();
        let warn = |text: &str| self.bench.warnings.borrow_mut().push(text.to_owned());
        carry_out(&request, &rootfs, &warn)
    }
}

/// Whoever runs the tests: an ordinary user can give files to nobody else.
fn me() -> Owner {
    Owner {
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
    }
}

fn plant(dir: &Path, words: &str) {
    for word in words.split_whitespace() {
        if let Some((name, target)) = word.split_once("->") {
            parents(&dir.join(name));
            symlink(target, dir.join(name)).unwrap();
        } else if let Some((name, content)) = word.split_once('=') {
            parents(&dir.join(name));
            fs::write(dir.join(name), content).unwrap();
        } else {
            fs::create_dir_all(dir.join(word)).unwrap();
        }
    }
}

fn parents(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
}

/// The tree below `dir` in the notation of `plant`, sorted; a directory only if it is empty, and `name|` for a FIFO.
fn list(dir: &Path) -> String {
    let mut words = Vec::new();
    for entry in walkdir::WalkDir::new(dir).min_depth(1) {
        let entry = entry.unwrap();
        let name = entry.path().strip_prefix(dir).unwrap().to_string_lossy().into_owned();
        let kind = entry.file_type();
        if kind.is_symlink() {
            words.push(format!("{name}->{}", fs::read_link(entry.path()).unwrap().display()));
        } else if kind.is_file() {
            words.push(format!("{name}={}", fs::read_to_string(entry.path()).unwrap()));
        } else if !kind.is_dir() {
            words.push(format!("{name}|"));
        } else if fs::read_dir(entry.path()).unwrap().next().is_none() {
            words.push(format!("{name}/"));
        }
    }
    words.sort();
    words.join(" ")
}

fn sorted(words: &str) -> String {
    let mut words: Vec<_> = words.split_whitespace().collect();
    words.sort_unstable();
    words.join(" ")
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

fn owner(bench: &Bench, path: &str) -> (u32, u32) {
    let meta = bench.meta(path);
    (meta.uid(), meta.gid())
}

fn give(path: &Path, uid: u32, gid: u32) {
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).unwrap();
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

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// One copy in five fields: source, rootfs, paths (`""` is the empty one), destination, and the rootfs afterwards or the
/// error.
struct Row<'a> {
    bench: Bench,
    source: &'a str,
    paths: Vec<&'a str>,
    destination: &'a str,
    outcome: &'a str,
}

impl<'a> Row<'a> {
    fn parse(row: &'a str) -> Self {
        let fields: Vec<_> = row.split('|').map(str::trim).collect();
        let [source, rootfs, paths, destination, outcome] = fields[..] else {
            panic!("five fields: {row}");
        };
        let paths = paths.split_whitespace().map(|path| path.trim_matches('"'));
        Self {
            bench: Bench::new(source, rootfs),
            source,
            paths: paths.collect(),
            destination,
            outcome,
        }
    }
}

/// Every row must work, from a context and from a stage, and change nothing but the rootfs.
fn expect(rows: &[&str]) {
    for text in rows {
        for from in [Kind::Context, Kind::Tree] {
            let row = Row::parse(text);
            let result = row.bench.copy(&row.paths, row.destination).from(from).run();
            row.bench
                .expect(result, row.source, row.outcome, &format!("{from:?} {text}"));
        }
    }
}
