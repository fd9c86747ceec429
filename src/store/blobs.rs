//! A directory of blobs named by their digests.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::NamedTempFile;

use super::{Incoming, IncomingWriter, StoreError};
use crate::oci::{Descriptor, Digest, MediaType};

/// Blobs by digest. Clones share the directory.
#[derive(Clone, Debug)]
pub struct Blobs {
    path: Arc<Path>,
}

/// A whole blob on disk. It stays readable as long as its directory does.
#[derive(Clone, Debug)]
pub struct Blob {
    descriptor: Descriptor,
    path: PathBuf,
}

/// Bytes on their way to become a blob. Dropped without [`commit`](Self::commit) they vanish.
///
/// Unbuffered: hand it pieces of some size.
#[derive(Debug)]
pub struct BlobWriter {
    blobs: Blobs,
    file: NamedTempFile,
}

impl Blobs {
    /// Opens the directory `path`, creating it if need be.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        for algorithm in ["sha256", "sha512"] {
            let directory = path.join(algorithm);
            fs::create_dir_all(&directory).map_err(StoreError::io("create", &directory))?;
        }
        Ok(Self { path: path.into() })
    }

    /// Starts a blob whose digest is not known yet.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn create(&self) -> Result<BlobWriter, StoreError> {
        Ok(BlobWriter {
            blobs: self.clone(),
            file: self.temporary()?,
        })
    }

    /// Starts a blob that is read while it is still being downloaded.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn incoming(&self, descriptor: &Descriptor) -> Result<(IncomingWriter, Incoming), StoreError> {
        super::incoming::begin(self.clone(), self.temporary()?, descriptor.clone())
    }

    /// Stores a small blob, an image config for instance.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn put(&self, media_type: MediaType, bytes: &[u8]) -> Result<Blob, StoreError> {
        let descriptor = Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64);
        let mut writer = self.create()?;
        writer
            .write_all(bytes)
            .map_err(StoreError::io("write", writer.file.path()))?;
        writer.commit(descriptor)
    }

    /// The blob that `descriptor` names, if it is here whole.
    #[must_use]
    pub fn get(&self, descriptor: &Descriptor) -> Option<Blob> {
        let path = self.path_of(&descriptor.digest);
        let is_here = fs::metadata(&path).is_ok_and(|found| found.len() == descriptor.size);
        is_here.then(|| Blob {
            descriptor: descriptor.clone(),
            path,
        })
    }

    /// A blob that must be here.
    pub(super) fn find(&self, descriptor: Descriptor) -> Result<Blob, StoreError> {
        let path = self.path_of(&descriptor.digest);
        fs::metadata(&path).map_err(StoreError::io("find", &path))?;
        Ok(Blob { descriptor, path })
    }

    /// Renames a finished temporary file to its digest. A blob that is there already is replaced by itself.
    pub(super) fn keep(&self, file: NamedTempFile, descriptor: Descriptor) -> Result<Blob, StoreError> {
        let path = self.path_of(&descriptor.digest);
        let mode = Permissions::from_mode(0o644);
        file.as_file()
            .set_permissions(mode)
            .map_err(StoreError::io("set the mode of", file.path()))?;
        file.persist(&path)
            .map_err(|failed| StoreError::io("rename into place", &path)(failed.error))?;
        Ok(Blob { descriptor, path })
    }

    fn temporary(&self) -> Result<NamedTempFile, StoreError> {
        tempfile::Builder::new()
            .prefix("incoming-")
            .tempfile_in(&self.path)
            .map_err(StoreError::io("create a file in", &self.path))
    }

    fn path_of(&self, digest: &Digest) -> PathBuf {
        self.path.join(digest.algorithm().name()).join(digest.hex())
    }
}

impl Blob {
    /// Media type, digest and size.
    #[must_use]
    pub const fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The digest.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.descriptor.digest
    }

    /// The size in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.descriptor.size
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same bytes under another descriptor, for a manifest of the other family.
    #[must_use]
    pub fn with_media_type(mut self, media_type: MediaType) -> Self {
        self.descriptor.media_type = media_type;
        self
    }

    /// Opens the content from its start.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn open(&self) -> Result<File, StoreError> {
        File::open(&self.path).map_err(StoreError::io("open", &self.path))
    }

    pub(super) const fn at(descriptor: Descriptor, path: PathBuf) -> Self {
        Self { descriptor, path }
    }
}

impl BlobWriter {
    /// Gives the bytes their name. Whoever wrote them hashed them too: only the size is checked here.
    ///
    /// # Errors
    /// [`StoreError::Size`] and [`StoreError::Io`].
    pub fn commit(self, descriptor: Descriptor) -> Result<Blob, StoreError> {
        let metadata = self.file.as_file().metadata();
        let actual = metadata.map_err(StoreError::io("inspect", self.file.path()))?.len();
        if actual != descriptor.size {
            return Err(StoreError::Size {
                digest: Box::new(descriptor.digest),
                expected: descriptor.size,
                actual,
            });
        }
        self.blobs.keep(self.file, descriptor)
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn blobs() -> (tempfile::TempDir, Blobs) {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(&directory.path().join("blobs")).unwrap();
        (directory, blobs)
    }

    fn descriptor(bytes: &[u8]) -> Descriptor {
        Descriptor::new(MediaType::ImageLayer, Digest::of(bytes), bytes.len() as u64)
    }

    #[test]
    fn commits_under_the_digest_twice_and_reads_back() {
        let (_directory, blobs) = blobs();
        for _ in 0..2 {
            let mut writer = blobs.create().unwrap();
            writer.write_all(b"content").unwrap();
            writer.commit(descriptor(b"content")).unwrap();
        }
        let blob = blobs.get(&descriptor(b"content")).unwrap();
        let mut text = String::new();
        blob.open().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
        assert_eq!(fs::metadata(blob.path()).unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn an_abandoned_or_short_writer_leaves_nothing() {
        let (directory, blobs) = blobs();
        blobs.create().unwrap().write_all(b"lost").unwrap();
        let mut short = blobs.create().unwrap();
        short.write_all(b"shor").unwrap();
        let refused = short.commit(descriptor(b"short"));
        assert!(matches!(
            refused,
            Err(StoreError::Size {
                actual: 4,
                expected: 5,
                ..
            })
        ));
        let left: Vec<_> = fs::read_dir(directory.path().join("blobs/sha256")).unwrap().collect();
        assert!(left.is_empty());
        assert_eq!(fs::read_dir(directory.path().join("blobs")).unwrap().count(), 2);
        assert!(blobs.get(&descriptor(b"short")).is_none());
    }
}
