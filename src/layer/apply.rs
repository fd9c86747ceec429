//! Applies layers to a rootfs (layer.md, "Applying changesets").
//!
//! A whiteout acts on the layers below, never on its own, and the order of a layer's entries does
//! not matter for that. So an [`Applier`] knows, while a layer lasts, which paths the layer itself wrote.

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{CWD, Mode, OFlags};

use super::attributes::{Attributes, Capabilities, XattrWarnings};
use super::decompress::Format;
use super::entry::{Entry, EntryKind};
use super::error::{ApplyError, io_error};
use super::ignored::IgnoredPaths;
use super::limits::Limits;
use super::parents::Parent;
use super::pipeline::{self, Chunks, Environment};
use super::place::{Placer, Spot, Surroundings};
use super::read::TarReader;
use super::whiteout::{EntryName, PLNK, classify};
use super::written::Written;
use crate::cancel::Cancel;
use crate::oci::{Descriptor, DiffId};
use crate::rootfs::{Dir, Rootfs, RootfsPath};
use crate::snapshot::Fingerprints;

/// Whether a layer has files that are not part of the image.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LayerKind {
    /// It has none.
    #[default]
    Plain,
    /// eStargz: a table of contents and landmarks for lazy pulling lie at the root.
    Estargz,
}

impl LayerKind {
    /// What the annotations of a layer's descriptor say.
    #[must_use]
    pub fn of(layer: &Descriptor) -> Self {
        if layer
            .annotations
            .contains_key("containerd.io/snapshot/stargz/toc.digest")
        {
            Self::Estargz
        } else {
            Self::Plain
        }
    }

    fn hides(self, path: &RootfsPath) -> bool {
        const LANDMARKS: [&[u8]; 3] = [b"stargz.index.json", b".prefetch.landmark", b".no.prefetch.landmark"];
        self == Self::Estargz && LANDMARKS.contains(&path.as_bytes())
    }
}

/// What a layer turned out to be once it was applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    /// Digest of the uncompressed stream, to be compared with the config's.
    pub diff_id: DiffId,
    /// How it was compressed.
    pub format: Format,
    /// Entries, whiteouts included.
    pub entries: u64,
    /// Bytes of the uncompressed stream.
    pub bytes: u64,
    /// Bytes of the blob.
    pub compressed_bytes: u64,
    /// Device nodes that could not be made for lack of privilege; they are not to be taken for deleted.
    pub unmade: Vec<RootfsPath>,
}

/// Applies the layers of an image to a rootfs, one after another, lowest first.
pub struct Applier<'a> {
    rootfs: &'a Rootfs,
    limits: Limits,
    fingerprints: &'a mut Fingerprints,
    warn: &'a dyn Fn(&str),
    cancel: &'a Cancel,
    xattr_warnings: XattrWarnings,
    ignored: Option<&'a IgnoredPaths>,
}

impl std::fmt::Debug for Applier<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Applier")
            .field("rootfs", &self.rootfs.host_path())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl<'a> Applier<'a> {
    /// Applies to `rootfs`; records the fingerprint of every regular file it writes.
    pub fn new(
        rootfs: &'a Rootfs,
        limits: Limits,
        fingerprints: &'a mut Fingerprints,
        warn: &'a dyn Fn(&str),
        cancel: &'a Cancel,
    ) -> Self {
        Self {
            rootfs,
            limits,
            fingerprints,
            warn,
            cancel,
            xattr_warnings: XattrWarnings::default(),
            ignored: None,
        }
    }

    /// Leaves these paths as they are.
    #[must_use]
    pub const fn ignoring(mut self, ignored: &'a IgnoredPaths) -> Self {
        self.ignored = Some(ignored);
        self
    }

    /// Applies one layer from the bytes of its blob, compressed or not, and reads them to their end.
    ///
    /// Verifying the blob's digest and size is the business of `layer`, an error of which ends the
    /// work; comparing the diff ID is the caller's. After an error the rootfs is unusable.
    ///
    /// # Errors
    /// The blob cannot be read or decompressed, is no valid layer, or the kernel refuses something.
    pub fn apply(&mut self, layer: impl Read + Send, kind: LayerKind) -> Result<Applied, ApplyError> {
        let environment = Environment {
            limits: self.limits,
            cancel: self.cancel,
        };
        let ((entries, unmade), stream) = pipeline::run(layer, environment, |chunks| self.unpack(chunks, kind))?;
        Ok(Applied {
            diff_id: stream.diff_id,
            format: stream.format,
            entries,
            bytes: stream.bytes,
            compressed_bytes: stream.compressed_bytes,
            unmade,
        })
    }

    fn unpack(&mut self, chunks: &mut Chunks, kind: LayerKind) -> Result<(u64, Vec<RootfsPath>), ApplyError> {
        let surroundings = Surroundings {
            rootfs: self.rootfs,
            fingerprints: self.fingerprints,
            warn: self.warn,
            cancel: self.cancel,
            xattr_warnings: &mut self.xattr_warnings,
        };
        let attributes = Attributes {
            owner: None,
            capabilities: Capabilities::Required,
        };
        let mut unpacking = Unpacking {
            placer: Placer::new(surroundings, attributes, Written::Upper(HashSet::new())),
            kind,
            plnk: None,
            ignored: self.ignored,
        };
        let mut tar = TarReader::new(chunks);
        let mut entries = 0;
        while let Some(entry) = tar.next_entry()? {
            self.cancel.check()?;
            entries += 1;
            if entries > self.limits.entries {
                return Err(ApplyError::TooManyEntries {
                    limit: self.limits.entries,
                });
            }
            unpacking.entry(&entry, &mut tar)?;
        }
        unpacking.placer.finish()?;
        Ok((entries, unpacking.placer.unmade))
    }
}

/// One layer while it is applied.
struct Unpacking<'a> {
    placer: Placer<'a>,
    kind: LayerKind,
    plnk: Option<Plnk>,
    ignored: Option<&'a IgnoredPaths>,
}

/// Files of AUFS that later entries link to, in a directory that vanishes with the layer's end.
struct Plnk {
    parent: Rc<Parent>,
    _directory: tempfile::TempDir,
}

impl Unpacking<'_> {
    fn entry(&mut self, entry: &Entry, tar: &mut TarReader<&mut Chunks>) -> Result<(), ApplyError> {
        let path = RootfsPath::parse(&entry.path)?;
        let invalid = |_| ApplyError::Whiteout {
            entry: path.display_absolute(),
        };
        match classify(&path).map_err(invalid)? {
            EntryName::Normal if self.ignores(&path) => Ok(()),
            EntryName::Normal => self.normal(entry, &path, tar),
            EntryName::Whiteout(target) if self.ignores(&target) => Ok(()),
            EntryName::Whiteout(target) => {
                self.warn_of_odd_whiteout(entry);
                self.whiteout(&target)
            }
            EntryName::Opaque(directory) if self.ignores(&directory) => Ok(()),
            EntryName::Opaque(directory) => {
                self.warn_of_odd_whiteout(entry);
                self.opaque(&directory)
            }
            EntryName::Plnk(name) => self.plnk_file(entry, name, tar),
            EntryName::Metadata => Ok(()),
        }
    }

    fn ignores(&self, path: &RootfsPath) -> bool {
        self.ignored.is_some_and(|ignored| ignored.cover(path))
    }

    fn normal(&mut self, entry: &Entry, path: &RootfsPath, tar: &mut TarReader<&mut Chunks>) -> Result<(), ApplyError> {
        let Some((parent, name)) = path.split_last() else {
            return self.root(entry);
        };
        if self.kind.hides(path) {
            return Ok(());
        }
        let mtime = self.placer.attributes.mtime(entry, self.placer.warn);
        let spot = self.placer.spot(&parent, name, mtime)?;
        if entry.kind == EntryKind::HardLink {
            return self.hard_link(entry, &spot);
        }
        self.placer.place(entry, path, &spot, tar)
    }

    fn root(&mut self, entry: &Entry) -> Result<(), ApplyError> {
        if entry.kind == EntryKind::Directory {
            return self.placer.place_root(entry);
        }
        // A symlink here would send every later entry elsewhere.
        Err(ApplyError::Root {
            entry: entry.display_path(),
        })
    }

    fn hard_link(&mut self, entry: &Entry, spot: &Spot) -> Result<(), ApplyError> {
        let link_path = |source| ApplyError::LinkPath {
            entry: spot.path.display_absolute(),
            source,
        };
        let target = RootfsPath::parse(&entry.link).map_err(link_path)?;
        if self.ignores(&target) {
            (self.placer.warn)(&format!(
                "{} is a link to {}, which is ignored; it is left out as well",
                spot.path.display_absolute(),
                target.display_absolute()
            ));
            return Ok(());
        }
        match (target.split_last(), &self.plnk) {
            (Some((parent, name)), Some(plnk)) if parent.as_bytes() == PLNK => {
                let missing = || ApplyError::LinkTargetMissing {
                    entry: spot.path.display_absolute(),
                    target: target.display_absolute(),
                };
                let source = Spot::new(Rc::clone(&plnk.parent), name);
                self.placer.link_spot(&source, spot, missing, missing)
            }
            _ => self.placer.place_link(&target, spot),
        }
    }

    fn whiteout(&mut self, target: &RootfsPath) -> Result<(), ApplyError> {
        let Some((parent, name)) = target.split_last() else {
            return Ok(());
        };
        let Some(spot) = self.placer.existing_spot(&parent, name)? else {
            return Ok(());
        };
        if !self.placer.written.contains(&spot.path) {
            return self.placer.remove(&spot);
        }
        // A directory of this layer replaces the one below: nothing of that one shows through.
        match spot.parent.dir.open_dir(&spot.name) {
            Ok(dir) => self.placer.remove_lower(&Rc::new(Parent::new(dir, spot.path))),
            Err(_) => Ok(()),
        }
    }

    fn opaque(&mut self, directory: &RootfsPath) -> Result<(), ApplyError> {
        match self.placer.existing_parent(directory)? {
            Some(parent) => self.placer.remove_lower(&parent),
            None => Ok(()),
        }
    }

    fn plnk_file(&mut self, entry: &Entry, name: Vec<u8>, tar: &mut TarReader<&mut Chunks>) -> Result<(), ApplyError> {
        if entry.kind != EntryKind::File {
            return Ok(());
        }
        let parent = match &self.plnk {
            Some(plnk) => Rc::clone(&plnk.parent),
            None => {
                let made = make_plnk(self.placer.rootfs)?;
                Rc::clone(&self.plnk.insert(made).parent)
            }
        };
        let path = RootfsPath::from_components([PLNK, &name]);
        self.placer.place(entry, &path, &Spot::new(parent, name), tar)
    }

    fn warn_of_odd_whiteout(&self, entry: &Entry) {
        if entry.kind != EntryKind::File || entry.size != 0 {
            let path = entry.display_path();
            (self.placer.warn)(&format!(
                "whiteout {path} is not an empty file; it is a whiteout all the same"
            ));
        }
    }
}

/// Beside the rootfs, since hard links do not cross filesystems, and not in it, where a build could see it.
fn make_plnk(rootfs: &Rootfs) -> Result<Plnk, ApplyError> {
    let path = RootfsPath::from_components([PLNK]);
    let beside = rootfs.host_path().parent().unwrap_or(Path::new("/"));
    let make = || {
        let directory = tempfile::Builder::new().prefix(".plnk-").tempdir_in(beside)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, directory.path(), flags, Mode::empty())?;
        Ok((directory, fd))
    };
    let (directory, fd) = make().map_err(io_error("create directory for", &path))?;
    let parent = Parent::new(Dir::from(fd), path);
    // It vanishes; nobody wants its time back.
    parent.recorded.set(true);
    Ok(Plnk {
        parent: Rc::new(parent),
        _directory: directory,
    })
}
