//! The walking snapshot on real trees.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod tree;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use rbuild::cancel::Cancel;
use rbuild::layer::{Applier, Encoding, LayerKind, LayerOptions, Limits, write};
use rbuild::oci::Compression;
use rbuild::rootfs::{Rootfs, RootfsPath};
use rbuild::snapshot::{ChangeKind, ChangeSet, Fingerprints, Index, SnapshotOptions};
use tree::operations::{Operation, ordinary, perform, privileged};
use tree::{Scratch, apply_reference, capture, compare, portable, split};

/// A tree under observation.
struct Watched {
    scratch: Scratch,
    rootfs: Rootfs,
    index: Index,
}

impl Watched {
    /// Records what `make` made, with fingerprints as if it had been unpacked.
    fn new(make: impl FnOnce(&Scratch)) -> Self {
        Self::with_options(SnapshotOptions::default(), make)
    }

    fn with_options(options: SnapshotOptions, make: impl FnOnce(&Scratch)) -> Self {
        let scratch = Scratch::new();
        let rootfs = Rootfs::open(&scratch.root()).unwrap();
        let index = Index::build(&rootfs, &Fingerprints::default(), options, &Cancel::default()).unwrap();
        let mut watched = Self { scratch, rootfs, index };
        make(&watched.scratch);
        watched.diff();
        watched
    }

    fn diff(&mut self) -> ChangeSet {
        self.diff_and_layer().0
    }

    /// What a build does after a RUN.
    fn diff_and_layer(&mut self) -> (ChangeSet, Vec<u8>) {
        let changes = self.index.diff(&self.rootfs, &Cancel::default()).unwrap();
        let mut layer = Vec::new();
        let options = LayerOptions {
            encoding: Encoding::new(Compression::None, None).unwrap(),
            ..LayerOptions::default()
        };
        let mut fingerprints = Fingerprints::default();
        let read = |taken| fingerprints = taken;
        let cancel = Cancel::default();
        write(&changes, &self.rootfs, &options, &mut layer, &cancel, &mut |_| {}, read).unwrap();
        self.index.learn(&fingerprints);
        self.index.settle(self.scratch.beside()).unwrap();
        (changes, layer)
    }

    /// What `change` changes, as `+path` and `-path`.
    fn after(&mut self, change: impl FnOnce(&Scratch)) -> Vec<String> {
        change(&self.scratch);
        texts(&self.diff())
    }
}

fn texts(changes: &ChangeSet) -> Vec<String> {
    let text = |path: &RootfsPath| path.as_bytes().escape_ascii().to_string();
    changes
        .iter()
        .map(|change| match change.kind {
            ChangeKind::Upsert => format!("+{}", text(&change.path)),
            ChangeKind::Delete => format!("-{}", text(&change.path)),
        })
        .collect()
}

const NOTHING: [&str; 0] = [];

#[test]
fn h55_same_size_and_restored_mtime() {
    let mut watched = Watched::new(|tree| tree.write("etc/conf", "one"));
    let found = watched.after(|tree| {
        tree.set_mtime("etc/conf", 1_000_000);
    });
    assert_eq!(found, ["+etc/conf"]);
    let found = watched.after(|tree| {
        tree.write("etc/conf", "two");
        tree.set_mtime("etc/conf", 1_000_000);
    });
    assert_eq!(found, ["+etc/conf"]);
}

#[test]
fn h56_a_write_right_after_the_snapshot() {
    let mut watched = Watched::new(|tree| tree.write("f", "0000"));
    for round in 1..=1000 {
        let found = watched.after(|tree| {
            tree.write("f", format!("{round:04}"));
            tree.set_mtime("f", 1_000_000);
        });
        assert_eq!(found, ["+f"], "round {round}");
    }
}

#[test]
fn h56_without_settling_the_newest_entries_are_compared() {
    let mut watched = Watched::new(|tree| tree.write("f", "0000"));
    for round in 1..=100 {
        // Recording again makes the file's tick racy; nobody waits for the next one.
        let cancel = Cancel::default();
        watched.index.diff(&watched.rootfs, &cancel).unwrap();
        tree::set_mtime(&watched.scratch.path("f"), 1_000_000, 0);
        watched.index.diff(&watched.rootfs, &cancel).unwrap();
        fs::write(watched.scratch.path("f"), format!("{round:04}")).unwrap();
        tree::set_mtime(&watched.scratch.path("f"), 1_000_000, 0);
        let changes = watched.index.diff(&watched.rootfs, &cancel).unwrap();
        assert_eq!(texts(&changes), ["+f"], "round {round}");
    }
}

#[test]
fn h57_each_attribute_alone() {
    let mut watched = Watched::new(|tree| {
        tree.write("file", "content");
        tree.mkdir("dir");
        tree.symlink("a", "link");
    });
    assert_eq!(watched.after(|tree| tree.chmod("file", 0o600)), ["+file"]);
    assert_eq!(watched.after(|tree| tree.chmod("dir", 0o700)), ["+dir"]);
    let set = |path: &Path, value: &[u8]| {
        rustix::fs::lsetxattr(path, "user.x", value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    assert_eq!(watched.after(|tree| set(&tree.path("file"), b"1")), ["+file"]);
    assert_eq!(watched.after(|tree| set(&tree.path("file"), b"2")), ["+file"]);
    assert_eq!(watched.after(|tree| set(&tree.path("dir"), b"1")), ["+dir"]);
    let found = watched.after(|tree| {
        let mtime = fs::symlink_metadata(tree.path("link")).unwrap().modified().unwrap();
        let seconds = mtime.duration_since(std::time::UNIX_EPOCH).unwrap();
        tree.remove("link");
        tree.symlink("b", "link");
        tree::set_mtime(
            &tree.path("link"),
            seconds.as_secs() as i64,
            seconds.subsec_nanos().into(),
        );
    });
    assert_eq!(found, ["+link"]);
    assert_eq!(watched.after(|tree| tree.chmod("", 0o711)), ["+"]);
}

#[test]
fn root_h57_owner_capability_and_device() {
    let mut watched = Watched::new(|tree| {
        tree.write("file", "content");
        run(
            "mknod",
            &[&tree.path("node"), Path::new("c"), Path::new("1"), Path::new("3")],
        );
    });
    assert_eq!(watched.after(|tree| chown(tree, "file", 7, 0)), ["+file"]);
    assert_eq!(watched.after(|tree| chown(tree, "file", 7, 8)), ["+file"]);
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let found = watched.after(|tree| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::lsetxattr(tree.path("file"), "security.capability", &capability, flags).unwrap();
    });
    assert_eq!(found, ["+file"]);
    let found = watched.after(|tree| {
        tree.remove("node");
        run(
            "mknod",
            &[&tree.path("node"), Path::new("c"), Path::new("1"), Path::new("5")],
        );
    });
    assert_eq!(found, ["+node"]);
}

#[test]
fn h58_there_and_back_is_no_change() {
    let mut watched = Watched::new(|tree| {
        tree.write("d/file", "content");
        tree.write("d/other", "content");
        tree.symlink("x", "d/link");
        tree.chmod("d/file", 0o644);
    });
    let found = watched.after(|tree| {
        tree.chmod("d/file", 0o600);
        tree.chmod("d/file", 0o644);
        fs::read(tree.path("d/file")).unwrap();
        tree.rename("d/other", "moved");
        tree.rename("moved", "d/other");
        tree.rename("d/link", "link");
        tree.rename("link", "d/link");
        tree.rename("d", "e");
        tree.rename("e", "d");
        tree.link("d/file", "second");
        tree.remove("second");
    });
    assert_eq!(found, NOTHING);
}

#[test]
fn h59_touch() {
    let mut watched = Watched::new(|tree| tree.write("d/file", "content"));
    assert_eq!(watched.after(|tree| tree.set_mtime("d/file", 5)), ["+d/file"]);
    assert_eq!(watched.after(|tree| tree.set_mtime("d", 5)), NOTHING);
}

#[test]
fn h60_renames() {
    let mut watched = Watched::new(|tree| {
        tree.write("d/sub/file", "content");
        tree.write("one", "1");
        tree.write("two", "2");
        for path in ["one", "two"] {
            tree.set_mtime(path, 5);
        }
    });
    let found = watched.after(|tree| tree.rename("d", "e"));
    assert_eq!(found, ["-d", "+e", "+e/sub", "+e/sub/file"]);
    let found = watched.after(|tree| {
        tree.rename("one", "three");
        tree.rename("two", "one");
        tree.rename("three", "two");
    });
    assert_eq!(found, ["+one", "+two"]);
}

#[test]
fn h61_nothing_remains_of_what_came_and_went() {
    let mut watched = Watched::new(|tree| tree.write("d/file", "content"));
    let found = watched.after(|tree| {
        tree.write("d/tmp/x/y", "1");
        tree.remove("d/tmp");
    });
    assert_eq!(found, NOTHING);
    assert_eq!(watched.after(|_| {}), NOTHING);
}

#[test]
fn h62_hard_links() {
    let mut watched = Watched::new(|tree| tree.write("b/old", "content"));
    assert_eq!(watched.after(|tree| tree.link("b/old", "a")), ["+a", "+b/old"]);
    assert_eq!(watched.after(|tree| tree.write("a", "changed")), ["+a", "+b/old"]);
    assert_eq!(watched.after(|tree| tree.remove("a")), ["-a"]);
    watched.after(|tree| tree.link("b/old", "c"));
    let found = watched.after(|tree| {
        fs::copy(tree.path("c"), tree.path("copy")).unwrap();
        tree.rename("copy", "c");
    });
    assert_eq!(found, ["+c"]);
}

#[test]
fn type_changes_and_deletions() {
    let mut watched = Watched::new(|tree| {
        tree.write("dir/sub/file", "1");
        tree.write("file", "1");
        tree.write("again/old", "1");
        tree.write("again/kept", "1");
        tree.write("gone/deep/file", "1");
    });
    let found = watched.after(|tree| {
        tree.remove("dir");
        tree.symlink("file", "dir");
        tree.remove("file");
        tree.write("file/child", "1");
        tree.remove("gone");
        let kept = fs::read(tree.path("again/kept")).unwrap();
        tree.remove("again");
        tree.write("again/kept", kept);
        tree.write("again/new", "1");
    });
    // The directory made again has the attributes of the old one; what is in it is compared.
    let expected = [
        "+again/kept",
        "-again/old",
        "+again/new",
        "+dir",
        "+file",
        "+file/child",
        "-gone",
    ];
    let sorted = |changes: &[String]| changes.iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(sorted(&found), sorted(&expected.map(str::to_owned)));
    assert_eq!(watched.after(|_| {}), NOTHING);
}

#[test]
fn sockets_are_no_content() {
    let mut watched = Watched::new(|tree| tree.write("file", "1"));
    let bind = |path: &Path| drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    let found = watched.after(|tree| {
        bind(&tree.path("socket"));
        tree.remove("file");
        bind(&tree.path("file"));
    });
    assert_eq!(found, ["-file", "+socket"]);
    assert_eq!(watched.after(|tree| tree.remove("socket")), NOTHING);
}

#[test]
fn excluded_paths_stay_as_they_were() {
    let excluded = ["own", "var/run"].map(|path| RootfsPath::parse(path.as_bytes()).unwrap());
    let options = SnapshotOptions {
        excluded: excluded.to_vec(),
        ..SnapshotOptions::default()
    };
    let mut watched = Watched::with_options(options, |tree| {
        tree.write("own/file", "1");
        tree.write("var/runner/file", "1");
    });
    let found = watched.after(|tree| {
        tree.write("own/file", "2");
        tree.write("own/more", "2");
        tree.write("var/run/x", "2");
        tree.write("var/runner/x", "2");
    });
    assert_eq!(found, ["+var/runner/x"]);
    assert_eq!(watched.after(|tree| tree.remove("own")), NOTHING);
}

#[test]
fn root_h63_mounts() {
    let mut watched = Watched::new(|tree| {
        tree.write("var/run/old", "1");
        tree.write("var/runner/old", "1");
        tree.write("src/file", "1");
        tree.mkdir("a b");
        tree.write("etc/resolv.conf", "base");
        tree.write("etc/hosts", "base");
    });
    let mounts = Mounts::default();
    let found = watched.after(|tree| {
        mounts.add(&["-t", "tmpfs", "none"], &tree.path("var/run"));
        tree.write("var/run/new", "1");
        tree.mkdir("var/run/nested");
        mounts.add(&["-t", "tmpfs", "none"], &tree.path("var/run/nested"));
        mounts.add(&["--bind", tree.path("src").to_str().unwrap()], &tree.path("a b"));
        // Of the same filesystem and over a file: only the mount's number tells.
        tree.write("src/resolv", "host");
        mounts.add(
            &["--bind", tree.path("src/resolv").to_str().unwrap()],
            &tree.path("etc/resolv.conf"),
        );
        tree.mkdir("mnt");
        tree.write("var/runner/new", "1");
    });
    assert_eq!(found, ["+mnt", "+src/resolv", "+var/runner/new"]);
    drop(mounts);
    assert_eq!(watched.after(|_| {}), NOTHING);
}

/// Mounts that end with the test, the last first.
#[derive(Default)]
struct Mounts(std::cell::RefCell<Vec<std::path::PathBuf>>);

impl Mounts {
    fn add(&self, arguments: &[&str], target: &Path) {
        let status = Command::new("mount").args(arguments).arg(target).status().unwrap();
        assert!(status.success());
        self.0.borrow_mut().push(target.to_owned());
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        for target in self.0.borrow_mut().drain(..).rev() {
            let _ = Command::new("umount").arg(target).status();
        }
    }
}

#[test]
fn recording_known_changes_needs_no_walk() {
    let mut watched = Watched::new(|tree| {
        tree.write("app/old", "1");
        tree.write("app/replaced/below/file", "1");
        tree.write("z", "1");
    });
    watched.scratch.write("app/new/deep/file", "2");
    watched.scratch.remove("app/replaced");
    watched.scratch.write("app/replaced", "2");
    watched.scratch.remove("app/old");
    let path = |text: &str| RootfsPath::parse(text.as_bytes()).unwrap();
    let mut changes = ChangeSet::builder();
    changes
        .upsert(path("app/new/deep/file"))
        .upsert(path("app/replaced"))
        .delete(path("app/old"));
    watched.index.record(&watched.rootfs, &changes.build()).unwrap();
    watched.index.settle(watched.scratch.beside()).unwrap();
    assert_eq!(watched.index.len(), 7, "root, app, new, deep, file, replaced, z");
    assert_eq!(watched.after(|_| {}), NOTHING);
    assert_eq!(
        watched.after(|tree| tree.write("app/new/deep/file", "3")),
        ["+app/new/deep/file"]
    );
}

#[test]
fn touched_files_are_equal_under_a_clamped_time() {
    let options = SnapshotOptions {
        clamp_mtime: Some(1000),
        ..SnapshotOptions::default()
    };
    let mut watched = Watched::with_options(options, |tree| {
        tree.write("new", "1");
        tree.write("old", "1");
        tree.set_mtime("old", 500);
    });
    assert_eq!(watched.after(|tree| tree.set_mtime("new", 2000)), NOTHING);
    assert_eq!(watched.after(|tree| tree.set_mtime("old", 2000)), ["+old"]);
}

#[test]
fn an_interrupted_walk_leaves_the_record() {
    let mut watched = Watched::new(|tree| tree.write("d/file", "1"));
    watched.scratch.write("d/file", "changed");
    let cancel = Cancel::default();
    cancel.by_signal(2);
    assert!(watched.index.diff(&watched.rootfs, &cancel).is_err());
    assert_eq!(watched.after(|_| {}), ["+d/file"]);
}

#[test]
fn the_record_stays_small() {
    let mut watched = Watched::new(|tree| {
        for dir in 0..100 {
            tree.mkdir(&format!("directory-{dir}"));
            for file in 0..100 {
                fs::write(tree.path(&format!("directory-{dir}/some-file-{file}.txt")), b"").unwrap();
            }
        }
    });
    let per_file = watched.index.heap_bytes() / watched.index.len();
    assert!(per_file <= 100, "{per_file} bytes per file");
    let before = watched.index.heap_bytes();
    for _ in 0..3 {
        watched.after(|tree| {
            tree.rename("directory-1", "other");
            tree.rename("directory-2", "directory-1");
            tree.rename("other", "directory-2");
        });
    }
    assert!(watched.index.heap_bytes() < before + 10_000, "grows without more files");
}

const STRACED: &str = "RBUILD_TEST_STRACED_TREE";

#[test]
fn h70_unchanged_files_cost_one_statx() {
    const FILES: usize = 5000;
    let scratch = Scratch::new();
    for file in 0..FILES {
        scratch.write(&format!("d{}/f{file}", file % 50), "content");
    }
    let log = scratch.beside().join("strace");
    let status = Command::new("strace")
        .args(["-f", "-o", log.to_str().unwrap(), "-e"])
        .arg(
            "trace=open,openat,openat2,statx,stat,newfstatat,lstat,fstat,readlinkat,getxattr,lgetxattr,llistxattr,read",
        )
        .arg(std::env::current_exe().unwrap())
        .args(["h70_straced", "--exact", "--ignored", "--test-threads=1"])
        .env(STRACED, scratch.root())
        .stdout(std::process::Stdio::null())
        .status()
        .expect("strace is installed");
    assert!(status.success());
    let log = fs::read_to_string(log).unwrap();
    let walk = log
        .split("/marker-begin")
        .nth(1)
        .unwrap()
        .split("/marker-end")
        .next()
        .unwrap();
    let count = |needle: &str| walk.lines().filter(|line| line.contains(needle)).count();
    // The standard library looks at control groups to count the cores; that is not the walk.
    let named = |call: &str, name: &str| {
        let lines = walk.lines().filter(|line| line.contains(call));
        lines.filter(|line| line.contains(&format!(", \"{name}"))).count()
    };
    assert_eq!(named("statx(", "f"), FILES);
    assert_eq!(named("statx(", "d"), 50);
    assert_eq!(named("open", "f"), 0);
    assert_eq!(named("open", "d"), 50);
    for call in ["readlinkat(", "lgetxattr("] {
        assert_eq!(count(call), 0, "{call}");
    }
    assert!(count("llistxattr(") <= 1, "only the root's");
}

#[test]
#[ignore = "runs under strace, started by another test"]
fn h70_straced() {
    let Some(root) = std::env::var_os(STRACED) else { return };
    let rootfs = Rootfs::open(Path::new(&root)).unwrap();
    let cancel = Cancel::default();
    let options = SnapshotOptions::default();
    let mut index = Index::build(&rootfs, &Fingerprints::default(), options, &cancel).unwrap();
    index.settle(Path::new(&root).parent().unwrap()).unwrap();
    let _ = fs::File::open("/marker-begin");
    let changes = index.diff(&rootfs, &cancel).unwrap();
    let _ = fs::File::open("/marker-end");
    assert!(changes.is_empty());
}

/// Both laws on one trace: rounds of operations on `a`, each followed by a snapshot and a layer for `b`.
fn check_laws(rounds: &[Vec<Operation>]) -> Result<(), TestCaseError> {
    let mut watched = Watched::new(|_| {});
    let [reference, replica] = ["reference", "replica"].map(|name| watched.scratch.beside().join(name));
    fs::create_dir(&reference).unwrap();
    let rootfs = Rootfs::create(&replica).unwrap();
    for operations in rounds {
        let before = capture(&watched.scratch.root());
        for operation in operations {
            perform(&watched.scratch.root(), operation);
        }
        let after = capture(&watched.scratch.root());
        let (changes, layer) = watched.diff_and_layer();
        let found: BTreeSet<_> = changes
            .iter()
            .filter(|change| !change.path.is_root())
            .map(|change| {
                let sign = if change.kind == ChangeKind::Upsert { '+' } else { '-' };
                (split(change.path.as_bytes()), sign)
            })
            .collect();
        prop_assert_eq!(found, compare(&before, &after), "snapshot differs from full comparison");
        apply_reference(&layer, &reference);
        apply(&layer, &rootfs);
        for (root, applier) in [(&reference, "the reference"), (&replica, "ours")] {
            prop_assert_eq!(portable(&capture(root)), portable(&after), "applied by {}", applier);
        }
    }
    Ok(())
}

/// Unpacks a layer as a build would, with a fresh applier as for each layer of an image.
fn apply(layer: &[u8], rootfs: &Rootfs) {
    let (mut fingerprints, cancel) = (Fingerprints::default(), Cancel::default());
    let warn = |text: &str| panic!("{text}");
    let mut applier = Applier::new(rootfs, Limits::default(), &mut fingerprints, &warn, &cancel);
    applier.apply(layer, LayerKind::Plain).unwrap();
}

fn rounds(operation: BoxedStrategy<Operation>) -> impl Strategy<Value = Vec<Vec<Operation>>> {
    prop::collection::vec(prop::collection::vec(operation, 1..25), 2..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn h68_walk_finds_what_a_full_comparison_finds(rounds in rounds(ordinary())) {
        check_laws(&rounds)?;
    }

    #[test]
    fn root_h68_walk_finds_what_a_full_comparison_finds(rounds in rounds(privileged())) {
        prop_assert!(rustix::process::geteuid().is_root(), "operations that fail would prove nothing");
        check_laws(&rounds)?;
    }
}

fn chown(tree: &Scratch, path: &str, uid: u32, gid: u32) {
    std::os::unix::fs::lchown(tree.path(path), Some(uid), Some(gid)).unwrap();
}

fn run(program: &str, arguments: &[&Path]) {
    assert!(Command::new(program).args(arguments).status().unwrap().success());
}
