//! COPY, ADD and WORKDIR: what they do to a rootfs.
//!
//! Two trees are at work, the source (the build context, a stage, an image) and the destination rootfs. Both are
//! untrusted and both are entered through [`Rootfs`] alone: a symlink in either resolves inside its own root. The
//! source is only read, and of its entries only regular files are opened; devices and FIFOs are made anew from
//! their numbers, so that neither `/dev/full` nor a FIFO without a writer can hang a build.
//!
//! What happened is told in canonical paths ([`Copied`]), so that the snapshot needs no walk.
//!
//! ```text
//! paths ─source─▶ objects that exist ─destination─▶ file or directory ─tree─▶ entries ─write─▶ rootfs
//! ```

mod destination;
mod error;
mod link;
mod parents;
mod source;
mod tree;
mod whole;
mod workdir;
mod write;

use std::fs::File;

use crate::cancel::Cancel;
use crate::context::{BuildContext, IgnorePatterns};
use crate::rootfs::{Chmod, Rootfs, RootfsPath, Timestamp};
use crate::snapshot::Fingerprints;

pub use error::CopyError;
pub use link::LinkedCopy;
pub use source::find;
pub use whole::copy_tree;
pub use workdir::make_workdir;

/// One COPY or ADD with everything resolved that needs the plan: variables, stages, users.
#[derive(Clone, Copy, Debug)]
pub struct CopyRequest<'a> {
    /// Where `paths` are.
    pub source: Source<'a>,
    /// Paths and wildcards as written; each is found from the root of the source, whatever WORKDIR says.
    pub paths: &'a [Vec<u8>],
    /// Heredocs; written after all `paths`.
    pub files: &'a [InlineFile],
    /// Absolute path; a trailing `/` or `/.` says that it is a directory.
    pub destination: &'a [u8],
    /// `--chown`; `None` keeps the owner a stage or an image gave, and is 0:0 for all else.
    pub chown: Option<Owner>,
    /// `--chmod`.
    pub chmod: Option<&'a Chmod>,
    /// `--exclude`: relative to the root of each source directory. A path that is itself a file is copied all the same.
    pub exclude: Option<&'a IgnorePatterns>,
    /// `--parents`.
    pub parents: Parents,
    /// Which of the two instructions this is.
    pub mode: Mode<'a>,
    /// Modification time of directories and heredocs that are made; `None` is now.
    pub created_mtime: Option<Timestamp>,
}

/// The tree that is copied from. Its kind decides about owners and extended attributes.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// The build context, or a named local one: ignore rules apply, all is owned by 0:0, without attributes.
    Context(&'a BuildContext),
    /// A stage or an image: owners and attributes are kept.
    Tree(&'a Rootfs),
}

/// User and group as numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A heredoc that becomes a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InlineFile {
    /// File name; what the delimiter says.
    pub name: Vec<u8>,
    /// Content after expansion.
    pub content: Vec<u8>,
}

/// What becomes of the directories that lead to a source.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Parents {
    /// A source arrives by its own name.
    #[default]
    Dropped,
    /// `--parents`: a source arrives by its whole path, or by what of it stands after the first `/./`.
    Kept,
}

/// COPY copies archives, ADD extracts them.
#[derive(Clone, Copy, Debug)]
pub enum Mode<'a> {
    /// COPY, and `ADD --unpack=false`.
    Copy,
    /// ADD.
    Add(&'a dyn Archives),
}

/// Recognises and extracts the archives that ADD names.
pub trait Archives: std::fmt::Debug {
    /// Whether the content of `file` is an archive. It may read as it likes; the file is opened anew for extraction.
    ///
    /// # Errors
    /// The file cannot be read. What merely starts like an archive is an answer, not an error.
    fn recognise(&self, file: &File) -> std::io::Result<bool>;

    /// Extracts `file`.
    ///
    /// # Errors
    /// The archive is damaged or hostile, or the rootfs refuses an entry.
    fn extract(
        &self,
        file: File,
        extraction: &Extraction<'_>,
        fingerprints: &mut Fingerprints,
        cancel: &Cancel,
    ) -> Result<Copied, Box<dyn std::error::Error + Send + Sync>>;
}

/// Where and how an archive is extracted.
#[derive(Clone, Copy, Debug)]
pub struct Extraction<'a> {
    /// The rootfs.
    pub rootfs: &'a Rootfs,
    /// An existing directory in it, without symlinks; its own metadata must not change.
    pub into: &'a RootfsPath,
    /// Owner of every entry; `None` takes the archive's numbers.
    pub chown: Option<Owner>,
}

/// What changed, by canonical paths: sorted, each once.
///
/// A directory that only gained or lost a name is not listed, though its mtime moved.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Copied {
    /// Made, overwritten, or given other metadata; directories made on the way included.
    pub written: Vec<RootfsPath>,
    /// Gone without a successor of the same name.
    pub removed: Vec<RootfsPath>,
}

/// Does to `rootfs` what a COPY or ADD says.
///
/// A directory is merged into the destination; a file replaces a file or symlink of its name (the symlink's target
/// stays as it is); a hard link between two copied files stays one. After an error the destination holds part of
/// the copy.
///
/// # Errors
/// [`CopyError`].
pub fn copy(
    request: &CopyRequest<'_>,
    rootfs: &Rootfs,
    fingerprints: &mut Fingerprints,
    cancel: &Cancel,
    warn: &dyn Fn(&str),
) -> Result<Copied, CopyError> {
    let mut copier = destination::Copier::new(request, rootfs, fingerprints, cancel, warn)?;
    copier.copy_all()?;
    copier.finish()
}

/// The path as a source of a copy, in which `*` and others are wildcards.
#[must_use]
pub fn literal(path: &RootfsPath) -> Vec<u8> {
    let mut text = b"/".to_vec();
    for byte in path.as_bytes() {
        if matches!(byte, b'*' | b'?' | b'[' | b'\\') {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    text
}

impl Copied {
    fn sorted(mut self) -> Self {
        for paths in [&mut self.written, &mut self.removed] {
            paths.sort_unstable();
            paths.dedup();
        }
        self
    }
}
