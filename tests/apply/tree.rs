//! A rootfs beside a directory that nothing may ever touch.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rbuild::cancel::Cancel;
use rbuild::layer::{Applied, Applier, ApplyError, ArchiveExtractor, Extracted, LayerKind, Limits, Owner};
use rbuild::rootfs::{Rootfs, RootfsPath};
use rbuild::snapshot::Fingerprints;

pub(crate) struct Tree {
    temp: tempfile::TempDir,
    rootfs: Rootfs,
    outside: BTreeMap<String, String>,
    pub(crate) limits: Limits,
    pub(crate) warnings: RefCell<Vec<String>>,
    pub(crate) fingerprints: RefCell<Fingerprints>,
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    fn within(temp: tempfile::TempDir) -> Self {
        let outside = temp.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("canary"), "untouched").unwrap();
        fs::create_dir(outside.join("directory")).unwrap();
        let rootfs = Rootfs::create(&temp.path().join("root")).unwrap();
        let mut tree = Self {
            outside: BTreeMap::new(),
            temp,
            rootfs,
            limits: Limits::default(),
            warnings: RefCell::default(),
            fingerprints: RefCell::default(),
        };
        tree.outside = describe(&tree.outside());
        tree
    }

    /// A tree within the rootfs of another one, which may be on another filesystem.
    pub(crate) fn on(other: &Self) -> Self {
        Self::within(tempfile::tempdir_in(other.root()).unwrap())
    }

    /// The same with the component walk instead of `openat2`.
    pub(crate) fn walked() -> Self {
        let mut tree = Self::new();
        tree.rootfs = tree.rootfs.without_openat2();
        tree
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.temp.path().join("root")
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub(crate) fn outside(&self) -> PathBuf {
        self.temp.path().join("outside")
    }

    pub(crate) fn try_apply(&self, layer: impl Read + Send, kind: LayerKind) -> Result<Applied, ApplyError> {
        let warn = |text: &str| self.warnings.borrow_mut().push(text.to_owned());
        let mut fingerprints = self.fingerprints.borrow_mut();
        let cancel = Cancel::default();
        let answer = Applier::new(&self.rootfs, self.limits, &mut fingerprints, &warn, &cancel).apply(layer, kind);
        self.assert_outside_untouched();
        answer
    }

    #[track_caller]
    pub(crate) fn apply(&self, layer: &[u8]) -> Applied {
        self.try_apply(layer, LayerKind::Plain)
            .unwrap_or_else(|error| panic!("{}", render(&error)))
    }

    /// The rendered error of a layer that must be refused.
    #[track_caller]
    pub(crate) fn refuse(&self, layer: &[u8]) -> String {
        match self.try_apply(layer, LayerKind::Plain) {
            Ok(_) => panic!("the layer was applied"),
            Err(error) => render(&error),
        }
    }

    pub(crate) fn try_extract(&self, archive: &[u8], target: &str, owner: Owner) -> Result<Extracted, ApplyError> {
        let warn = |text: &str| self.warnings.borrow_mut().push(text.to_owned());
        let mut fingerprints = self.fingerprints.borrow_mut();
        let cancel = Cancel::default();
        let target = RootfsPath::parse(target.as_bytes()).unwrap();
        let mut extractor = ArchiveExtractor::new(&self.rootfs, self.limits, &mut fingerprints, &warn, &cancel);
        let answer = extractor.extract(archive, &target, owner);
        self.assert_outside_untouched();
        answer
    }

    /// Every object of the rootfs by path, with all that a layer can say of it.
    pub(crate) fn describe(&self) -> BTreeMap<String, String> {
        describe(&self.root())
    }

    /// The paths in the rootfs, separated by blanks.
    pub(crate) fn names(&self) -> String {
        self.describe().into_keys().collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn read(&self, path: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(path)).unwrap()).into_owned()
    }

    pub(crate) fn stat(&self, path: &str) -> fs::Metadata {
        fs::symlink_metadata(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(crate) fn mode(&self, path: &str) -> u32 {
        self.stat(path).mode() & 0o7777
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.path(path)).is_ok()
    }

    pub(crate) fn xattr(&self, path: &str, name: &str) -> Option<Vec<u8>> {
        let mut value = vec![0; 65536];
        let size = rustix::fs::lgetxattr(self.path(path), name, value.as_mut_slice()).ok()?;
        value.truncate(size);
        Some(value)
    }

    #[track_caller]
    fn assert_outside_untouched(&self) {
        assert_eq!(
            describe(&self.outside()),
            self.outside,
            "something outside the rootfs changed"
        );
        let beside: Vec<_> = fs::read_dir(self.temp.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(beside.len(), 2, "something was left beside the rootfs: {beside:?}");
    }
}

/// The error with its causes, as people see it.
pub(crate) fn render(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Gives its bytes in small, uneven pieces, as a network does.
pub(crate) struct Dribble<'a>(pub(crate) &'a [u8], pub(crate) usize);

impl Read for Dribble<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.1 = self.1 % 97 + 1;
        let length = self.1.min(self.0.len()).min(out.len());
        out[..length].copy_from_slice(&self.0[..length]);
        self.0 = &self.0[length..];
        Ok(length)
    }
}

fn describe(root: &Path) -> BTreeMap<String, String> {
    let entries = walkdir::WalkDir::new(root).min_depth(1);
    entries
        .into_iter()
        .map(|entry| {
            let entry = entry.unwrap();
            let relative = entry.path().strip_prefix(root).unwrap().as_os_str().as_bytes();
            (relative.escape_ascii().to_string(), describe_one(entry.path()))
        })
        .collect()
}

fn describe_one(path: &Path) -> String {
    let stat = fs::symlink_metadata(path).unwrap();
    let kind = stat.file_type();
    let what = if kind.is_file() {
        format!("file {}", fs::read(path).unwrap().escape_ascii())
    } else if kind.is_symlink() {
        format!(
            "symlink {}",
            fs::read_link(path).unwrap().as_os_str().as_bytes().escape_ascii()
        )
    } else if kind.is_dir() {
        "directory".to_owned()
    } else if kind.is_fifo() {
        "fifo".to_owned()
    } else {
        format!("device {:x}", stat.rdev())
    };
    let (mode, uid, gid) = (stat.mode() & 0o7777, stat.uid(), stat.gid());
    let links = if kind.is_dir() { 0 } else { stat.nlink() };
    format!(
        "{mode:o} {uid}:{gid} {}.{:09} x{links} {what}",
        stat.mtime(),
        stat.mtime_nsec()
    )
}
