//! Extracts archives into a directory of a rootfs, as `ADD` does with local ones.
//!
//! An archive is not a layer: `.wh.` names are files, its root is the target directory, and the
//! target's attributes are not the archive's business. Paths and links in it are confined to
//! the rootfs in the same way.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom};

use super::attributes::{Attributes, Capabilities, XattrWarnings};
use super::decompress::Decompressor;
use super::entry::{Entry, EntryKind};
use super::error::{ApplyError, io_error};
use super::header::{BLOCK, TarHeader, is_zero};
use super::limits::Limits;
use super::pipeline::{self, Chunks, Environment};
use super::place::{Placer, Spot, Surroundings};
use super::read::TarReader;
use super::written::Written;
use crate::cancel::Cancel;
use crate::rootfs::{Missing, NewDir, Obstacle, Rootfs, RootfsPath};
use crate::snapshot::Fingerprints;

/// Whose the extracted files are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Owner {
    /// The numbers in the archive.
    #[default]
    Archive,
    /// One owner and group for every entry.
    Fixed {
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

/// What an extraction did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extracted {
    /// Canonical paths that were made or changed, sorted.
    pub created: Vec<RootfsPath>,
    /// Entries in the archive.
    pub entries: u64,
    /// Bytes of the uncompressed archive.
    pub bytes: u64,
}

/// Extracts archives into a rootfs.
pub struct ArchiveExtractor<'a> {
    rootfs: &'a Rootfs,
    limits: Limits,
    fingerprints: &'a mut Fingerprints,
    warn: &'a dyn Fn(&str),
    cancel: &'a Cancel,
    xattr_warnings: XattrWarnings,
}

impl std::fmt::Debug for ArchiveExtractor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArchiveExtractor")
            .field("rootfs", &self.rootfs.host_path())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl<'a> ArchiveExtractor<'a> {
    /// Extracts into `rootfs`; records the fingerprint of every regular file it writes.
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
        }
    }

    /// Extracts `archive`, compressed or not, into the directory `target`, whose symlinks are
    /// followed. A missing target is made with mode 0755 and `owner`; directories that are missing
    /// above or below it belong to root.
    ///
    /// A directory onto a directory merges and takes the entry's attributes; anything else replaces
    /// what is there. An entry that leaves the archive's root by `..` is an error.
    ///
    /// # Errors
    /// The archive is none, or the kernel refuses something. What was extracted before stays.
    pub fn extract(
        &mut self,
        archive: impl Read + Send,
        target: &RootfsPath,
        owner: Owner,
    ) -> Result<Extracted, ApplyError> {
        let environment = Environment {
            limits: self.limits,
            cancel: self.cancel,
        };
        let unpack = |chunks: &mut Chunks| self.unpack(chunks, target, owner);
        let ((entries, created), stream) = pipeline::run(archive, environment, unpack)?;
        Ok(Extracted {
            created: created.into_iter().collect(),
            entries,
            bytes: stream.bytes,
        })
    }

    fn unpack(
        &mut self,
        chunks: &mut Chunks,
        target: &RootfsPath,
        owner: Owner,
    ) -> Result<(u64, BTreeSet<RootfsPath>), ApplyError> {
        let (target, made) = self.make_target(target, owner)?;
        let attributes = Attributes {
            owner: match owner {
                Owner::Archive => None,
                Owner::Fixed { uid, gid } => Some((uid, gid)),
            },
            capabilities: Capabilities::BestEffort,
        };
        let surroundings = Surroundings {
            rootfs: self.rootfs,
            fingerprints: self.fingerprints,
            warn: self.warn,
            cancel: self.cancel,
            xattr_warnings: &mut self.xattr_warnings,
        };
        let mut placer = Placer::new(surroundings, attributes, Written::Listed(made));
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
            extract_entry(&mut placer, &entry, &target, &mut tar)?;
        }
        placer.finish()?;
        match placer.written {
            Written::Listed(paths) => Ok((entries, paths)),
            Written::Upper(_) => Ok((entries, BTreeSet::new())),
        }
    }

    /// The canonical path of the target directory, and what had to be made for it.
    fn make_target(&self, target: &RootfsPath, owner: Owner) -> Result<(RootfsPath, BTreeSet<RootfsPath>), ApplyError> {
        let resolved = self
            .rootfs
            .resolve_dir(target, Missing::Create(&NewDir::default()), Obstacle::Fail)?;
        if let (Owner::Fixed { uid, gid }, true) = (owner, resolved.created.contains(&resolved.path)) {
            let set = resolved.dir.set_own_owner(uid, gid);
            set.map_err(io_error("set owner of", &resolved.path))?;
        }
        Ok((resolved.path, resolved.created.into_iter().collect()))
    }
}

fn extract_entry(
    placer: &mut Placer<'_>,
    entry: &Entry,
    target: &RootfsPath,
    tar: &mut TarReader<&mut Chunks>,
) -> Result<(), ApplyError> {
    let inside = RootfsPath::parse(&entry.path)?;
    if inside.is_root() {
        return match entry.kind {
            EntryKind::Directory => Ok(()),
            _ => Err(ApplyError::Root {
                entry: entry.display_path(),
            }),
        };
    }
    let path = inside.below(target);
    let Some((parent, name)) = path.split_last() else {
        return Ok(());
    };
    let mtime = placer.attributes.mtime(entry, placer.warn);
    let spot = placer.spot(&parent, name, mtime)?;
    if entry.kind == EntryKind::HardLink {
        return hard_link(placer, entry, target, &spot);
    }
    placer.place(entry, &path, &spot, tar)
}

fn hard_link(placer: &mut Placer<'_>, entry: &Entry, target: &RootfsPath, spot: &Spot) -> Result<(), ApplyError> {
    let link = RootfsPath::parse(&entry.link).map_err(|source| ApplyError::LinkPath {
        entry: spot.path.display_absolute(),
        source,
    })?;
    placer.place_link(&link.below(target), spot)
}

/// Whether a file is an archive that `ADD` extracts: its bytes decompress to a tar header. Its
/// name does not matter. Leaves the file at its beginning.
///
/// # Errors
/// The file cannot be read. That it cannot be decompressed means that it is no archive.
pub fn detect_archive(file: &mut (impl Read + Seek)) -> io::Result<bool> {
    let start = file.stream_position()?;
    let answer = starts_with_header(&mut *file);
    file.seek(SeekFrom::Start(start))?;
    answer
}

fn starts_with_header(file: &mut impl Read) -> io::Result<bool> {
    use super::decompress::DecompressError;
    let mut block = [0; BLOCK];
    let filled = Decompressor::new(file, Limits::default()).and_then(|mut decompressor| decompressor.fill(&mut block));
    match filled {
        Ok(BLOCK) => Ok(!is_zero(&block) && TarHeader::parse(&block).is_ok()),
        Ok(_) => Ok(false),
        Err(DecompressError::Read(error)) => Err(error),
        Err(_) => Ok(false),
    }
}
