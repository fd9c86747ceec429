//! Change set to layer, in one pass.
//!
//! Emission follows what consumers of layers have been found to need: components in byte order, every
//! directory before what is in it, in every layer anew; whiteouts before the other entries of their
//! directory; hard links after the one name that carries the content, and never to a lower layer.

mod capability;
mod header;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;

use tar::EntryType;

use super::compress::{CompressError, Encoding, Input, compress};
use crate::cancel::{Cancel, Cancelled};
use crate::oci::{Compression, DiffId, Digest};
use crate::rootfs::xattr::Xattrs;
use crate::rootfs::{Dir, Kind, Metadata, Rootfs, RootfsPath};
use crate::snapshot::{Change, ChangeKind, ChangeSet, Fingerprinter, Fingerprints};
pub use header::DeviceError;
use header::{Entry, RECORD, padding};

/// Prefix of the names that stand for deletions.
const WHITEOUT: &[u8] = b".wh.";

/// How a layer is written.
#[derive(Clone, Debug, Default)]
pub struct LayerOptions {
    /// Compression and level.
    pub encoding: Encoding,
    /// `SOURCE_DATE_EPOCH`: times after it are written as this one, earlier ones stay.
    pub clamp_mtime: Option<i64>,
    /// Threads that compress; `None` takes as many as there are cores. The bytes do not depend on it.
    pub threads: Option<NonZeroUsize>,
}

/// A layer that was written.
#[derive(Debug)]
pub struct WrittenLayer {
    /// Digest of the tar.
    pub diff_id: DiffId,
    /// Digest of the bytes that went to the sink.
    pub digest: Digest,
    /// How many bytes went to the sink.
    pub size: u64,
    /// Size of the tar.
    pub uncompressed_size: u64,
    /// How the tar is compressed.
    pub compression: Compression,
}

/// Why no layer could be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The rootfs could not be read.
    #[error("{operation} {}", path.display_absolute())]
    Io {
        /// The operation as a verb.
        operation: &'static str,
        /// The path inside the rootfs.
        path: RootfsPath,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Somebody truncated a file while it was read.
    #[error("{} shrank from {expected} to {found} bytes while it was read", path.display_absolute())]
    Shrank {
        /// Which file.
        path: RootfsPath,
        /// Its size before.
        expected: u64,
        /// Where its content ended.
        found: u64,
    },
    /// Somebody appended to a file while it was read.
    #[error("{} grew beyond {expected} bytes while it was read", path.display_absolute())]
    Grew {
        /// Which file.
        path: RootfsPath,
        /// Its size before.
        expected: u64,
    },
    /// A name that means a deletion inside a layer.
    #[error("{} cannot be stored: names with the prefix .wh. mark deletions in layers", path.display_absolute())]
    ReservedName {
        /// Which path.
        path: RootfsPath,
    },
    /// A device number that no tar header holds.
    #[error("store {}", path.display_absolute())]
    Device {
        /// Which device node.
        path: RootfsPath,
        /// What is wrong with it.
        #[source]
        source: DeviceError,
    },
    /// The layer could not be compressed, or the sink failed.
    #[error(transparent)]
    Compress(CompressError),
    /// The build was interrupted.
    #[error("stopped")]
    Cancelled(#[from] Cancelled),
}

impl From<CompressError> for WriteError {
    fn from(error: CompressError) -> Self {
        match error {
            CompressError::Cancelled(cancelled) => Self::Cancelled(cancelled),
            error => Self::Compress(error),
        }
    }
}

/// Something that was left out of a layer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteWarning {
    /// No tar entry stands for a socket.
    #[error("{} is a socket and is left out of the layer", .0.display_absolute())]
    Socket(RootfsPath),
}

/// Writes what `changes` names, as it is in `rootfs` now, as a layer to `sink`.
///
/// The same files give the same bytes, whatever the machine, its clock and its number of cores.
///
/// `read` gets the fingerprints of the files as soon as all have been read, while the last of them are still being
/// compressed: from then on the rootfs may change.
///
/// # Errors
/// [`WriteError`]; what was written to `sink` until then is no layer.
pub fn write(
    changes: &ChangeSet,
    rootfs: &Rootfs,
    options: &LayerOptions,
    sink: impl Write + Send,
    cancel: &Cancel,
    warn: &mut dyn FnMut(WriteWarning),
    read: impl FnOnce(Fingerprints),
) -> Result<WrittenLayer, WriteError> {
    let ((), compressed) = compress(
        options.encoding,
        options.threads,
        cancel,
        sink,
        |input| -> Result<(), WriteError> {
            let mut emitter = Emitter::new(rootfs, options, input, cancel, warn)?;
            for change in emission_order(changes) {
                cancel.check()?;
                emitter.emit(change)?;
            }
            read(emitter.finish()?);
            Ok(())
        },
    )?;
    Ok(WrittenLayer {
        diff_id: compressed.diff_id,
        digest: compressed.digest,
        size: compressed.size,
        uncompressed_size: compressed.uncompressed_size,
        compression: options.encoding.compression(),
    })
}

fn emission_order(changes: &ChangeSet) -> Vec<&Change> {
    let mut order: Vec<&Change> = changes.iter().collect();
    order.sort_by(|a, b| compare_emission(a, b));
    order
}

/// By components, but deletions in a directory before everything else in it.
fn compare_emission(a: &Change, b: &Change) -> Ordering {
    let (mut left, mut right) = (a.path.components().peekable(), b.path.components().peekable());
    loop {
        match (left.next(), right.next()) {
            (Some(x), Some(y)) if x == y => {}
            (Some(x), Some(y)) => {
                let is_entry = |change: &Change, last: bool| !(last && change.kind == ChangeKind::Delete);
                let x_is_entry = is_entry(a, left.peek().is_none());
                let y_is_entry = is_entry(b, right.peek().is_none());
                return (x_is_entry, x).cmp(&(y_is_entry, y));
            }
            (x, y) => return x.cmp(&y),
        }
    }
}

/// A directory whose entry is written and whose children are being written.
struct Level {
    path: RootfsPath,
    dir: Dir,
}

/// Writes the tar.
struct Emitter<'a> {
    options: &'a LayerOptions,
    input: &'a mut Input,
    cancel: &'a Cancel,
    warn: &'a mut dyn FnMut(WriteWarning),
    /// From the root down to the directory of the last entry.
    levels: Vec<Level>,
    /// The name that carries the content of each file with several names, by device and inode.
    linked: HashMap<((u32, u32), u64), RootfsPath>,
    fingerprints: Fingerprints,
    header: Vec<u8>,
    buffer: Vec<u8>,
}

impl<'a> Emitter<'a> {
    fn new(
        rootfs: &Rootfs,
        options: &'a LayerOptions,
        input: &'a mut Input,
        cancel: &'a Cancel,
        warn: &'a mut dyn FnMut(WriteWarning),
    ) -> Result<Self, WriteError> {
        /// Large enough that system calls do not count, small enough for the cache.
        const BUFFER: usize = 256 << 10;
        let path = RootfsPath::root();
        let dir = rootfs.root().try_clone().map_err(io_error("open directory", &path))?;
        Ok(Self {
            options,
            input,
            cancel,
            warn,
            levels: vec![Level { path, dir }],
            linked: HashMap::new(),
            fingerprints: Fingerprints::default(),
            header: Vec::new(),
            buffer: vec![0; BUFFER],
        })
    }

    fn emit(&mut self, change: &Change) -> Result<(), WriteError> {
        let Some((parent, name)) = change.path.split_last() else {
            return self.emit_root();
        };
        self.enter(&parent)?;
        if name.starts_with(WHITEOUT) {
            let path = change.path.clone();
            return Err(WriteError::ReservedName { path });
        }
        match change.kind {
            ChangeKind::Delete => self.emit_whiteout(&change.path, &parent, &name),
            ChangeKind::Upsert => self.emit_object(&change.path, &name),
        }
    }

    fn finish(self) -> Result<Fingerprints, WriteError> {
        // Two zero records end the archive; padding beyond them would serve nobody.
        self.input.write_all(&[0; 2 * RECORD]).map_err(pipeline_error)?;
        Ok(self.fingerprints)
    }

    /// Makes `parent` the current directory, writing the entries of directories on the way.
    fn enter(&mut self, parent: &RootfsPath) -> Result<(), WriteError> {
        while self.levels.len() > 1 && self.levels.last().is_some_and(|level| !parent.starts_with(&level.path)) {
            self.levels.pop();
        }
        let depth = self.levels.len() - 1;
        let below: Vec<Vec<u8>> = parent.components().skip(depth).map(<[u8]>::to_vec).collect();
        for name in below {
            let path = self.levels[self.levels.len() - 1].path.join(&name);
            if name.starts_with(WHITEOUT) {
                return Err(WriteError::ReservedName { path });
            }
            let metadata = self.stat(&path, &name)?;
            self.emit_directory(&path, &name, &metadata)?;
        }
        Ok(())
    }

    fn dir(&self) -> &Dir {
        &self.levels[self.levels.len() - 1].dir
    }

    fn stat(&self, path: &RootfsPath, name: &[u8]) -> Result<Metadata, WriteError> {
        let metadata = self.dir().stat(name).map_err(io_error("stat", path))?;
        metadata.ok_or_else(|| io_error("stat", path)(io::ErrorKind::NotFound.into()))
    }

    fn xattrs(&self, path: &RootfsPath, name: Option<&[u8]>) -> Result<Xattrs, WriteError> {
        self.dir().xattrs(name).map_err(io_error("read attributes of", path))
    }

    /// The root's own entry; only written when the root itself was changed.
    fn emit_root(&mut self) -> Result<(), WriteError> {
        let path = RootfsPath::root();
        let metadata = self.dir().metadata().map_err(io_error("stat", &path))?;
        let xattrs = self.xattrs(&path, None)?;
        self.emit_header(&path, &metadata, EntryType::Directory, b"./", b"", xattrs)
    }

    fn emit_whiteout(&mut self, path: &RootfsPath, parent: &RootfsPath, name: &[u8]) -> Result<(), WriteError> {
        let marker = parent.join(&[WHITEOUT, name].concat());
        // Nothing but the name means anything; zeros are the same everywhere.
        let entry = Entry {
            path: marker.as_bytes(),
            kind: EntryType::Regular,
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0,
            link: b"",
            device: (0, 0),
            xattrs: &Xattrs::new(),
        };
        self.write_header(path, &entry)
    }

    fn emit_object(&mut self, path: &RootfsPath, name: &[u8]) -> Result<(), WriteError> {
        let metadata = self.stat(path, name)?;
        match metadata.kind {
            Kind::Directory => self.emit_directory(path, name, &metadata),
            Kind::Socket => {
                (self.warn)(WriteWarning::Socket(path.clone()));
                Ok(())
            }
            Kind::File | Kind::Symlink | Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => {
                match self.first_name(path, &metadata) {
                    Some(first) => {
                        let link = first.as_bytes();
                        self.emit_header(path, &metadata, EntryType::Link, path.as_bytes(), link, Xattrs::new())
                    }
                    None => self.emit_content(path, name, &metadata),
                }
            }
        }
    }

    /// The name already written of a file with several names; otherwise `path` becomes that name.
    fn first_name(&mut self, path: &RootfsPath, metadata: &Metadata) -> Option<RootfsPath> {
        if metadata.links < 2 {
            return None;
        }
        let key = (metadata.device, metadata.inode);
        let first = self.linked.get(&key).cloned();
        if first.is_none() {
            self.linked.insert(key, path.clone());
        }
        first
    }

    fn emit_directory(&mut self, path: &RootfsPath, name: &[u8], metadata: &Metadata) -> Result<(), WriteError> {
        let dir = self.dir().open_dir(name).map_err(io_error("open directory", path))?;
        let xattrs = self.xattrs(path, Some(name))?;
        let tar_path = [path.as_bytes(), b"/"].concat();
        self.emit_header(path, metadata, EntryType::Directory, &tar_path, b"", xattrs)?;
        self.levels.push(Level {
            path: path.clone(),
            dir,
        });
        Ok(())
    }

    /// Anything but a directory, under its first name.
    fn emit_content(&mut self, path: &RootfsPath, name: &[u8], metadata: &Metadata) -> Result<(), WriteError> {
        let xattrs = self.xattrs(path, Some(name))?;
        let (kind, link) = match metadata.kind {
            Kind::File => return self.emit_file(path, name, metadata, xattrs),
            Kind::Symlink => {
                let target = self.dir().read_link(name).map_err(io_error("read symlink", path))?;
                (EntryType::Symlink, target)
            }
            Kind::CharDevice => (EntryType::Char, Vec::new()),
            Kind::BlockDevice => (EntryType::Block, Vec::new()),
            Kind::Fifo => (EntryType::Fifo, Vec::new()),
            Kind::Directory | Kind::Socket => return Ok(()),
        };
        self.emit_header(path, metadata, kind, path.as_bytes(), &link, xattrs)
    }

    fn emit_file(
        &mut self,
        path: &RootfsPath,
        name: &[u8],
        metadata: &Metadata,
        xattrs: Xattrs,
    ) -> Result<(), WriteError> {
        let mut file = self.dir().open_file(name).map_err(io_error("open", path))?;
        let fingerprint_xattrs = xattrs.clone();
        self.emit_header(path, metadata, EntryType::Regular, path.as_bytes(), b"", xattrs)?;
        let mut fingerprinter = Fingerprinter::default();
        let mut read = 0;
        // Read to the end rather than to the size, to notice growth.
        loop {
            let count = file.read(&mut self.buffer).map_err(io_error("read", path))?;
            if count == 0 {
                break;
            }
            self.cancel.check()?;
            read += count as u64;
            if read > metadata.size {
                let (path, expected) = (path.clone(), metadata.size);
                return Err(WriteError::Grew { path, expected });
            }
            fingerprinter.update(&self.buffer[..count]);
            self.input.write_all(&self.buffer[..count]).map_err(pipeline_error)?;
        }
        if read < metadata.size {
            return Err(WriteError::Shrank {
                path: path.clone(),
                expected: metadata.size,
                found: read,
            });
        }
        self.input.write_all(padding(read)).map_err(pipeline_error)?;
        let fingerprint = fingerprinter.finish(&fingerprint_xattrs);
        self.fingerprints.insert(metadata.inode, fingerprint);
        Ok(())
    }

    /// Writes the header of `path`, which the tar calls `tar_path`.
    fn emit_header(
        &mut self,
        path: &RootfsPath,
        metadata: &Metadata,
        kind: EntryType,
        tar_path: &[u8],
        link: &[u8],
        mut xattrs: Xattrs,
    ) -> Result<(), WriteError> {
        capability::make_portable(&mut xattrs);
        let is_device = matches!(kind, EntryType::Char | EntryType::Block);
        let seconds = metadata.mtime.seconds;
        let entry = Entry {
            path: tar_path,
            kind,
            // Linux has no permissions on symlinks; others might show some.
            mode: if kind == EntryType::Symlink {
                0o777
            } else {
                metadata.mode
            },
            uid: metadata.uid,
            gid: metadata.gid,
            size: if kind == EntryType::Regular { metadata.size } else { 0 },
            mtime: self.options.clamp_mtime.map_or(seconds, |epoch| seconds.min(epoch)),
            link,
            device: if is_device { metadata.rdev } else { (0, 0) },
            xattrs: &xattrs,
        };
        self.write_header(path, &entry)
    }

    fn write_header(&mut self, path: &RootfsPath, entry: &Entry<'_>) -> Result<(), WriteError> {
        self.header.clear();
        entry.encode(&mut self.header).map_err(|source| WriteError::Device {
            path: path.clone(),
            source,
        })?;
        self.input.write_all(&self.header).map_err(pipeline_error)
    }
}

fn io_error<'p>(operation: &'static str, path: &'p RootfsPath) -> impl FnOnce(io::Error) -> WriteError + 'p {
    move |source| WriteError::Io {
        operation,
        path: path.clone(),
        source,
    }
}

/// The pipeline ended early; its own error takes this one's place.
fn pipeline_error(source: io::Error) -> WriteError {
    WriteError::Compress(CompressError::Encode(source))
}
