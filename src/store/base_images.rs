//! Base images in a directory that builds share, filled by the warmer and read by everybody else.
//!
//! ```text
//! <directory>/
//!   sha256:<hex>/                 the image layout of one platform's image, named by the digest of its manifest
//!   .indexes/sha256:<hex>         an index that leads to such images, byte for byte
//!   .warmer-locks/<digest>.lock   flock held while that image is being fetched
//!   .warming-<digest>/            an image being fetched
//! ```
//!
//! An entry appears whole, by a rename, and is never changed afterwards; readers need no lock and no right to write. Its
//! modification time says when it was last found good.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::{Blob, Blobs, ImageLayout, StoreError, layout::write_beside, remove_tree};
use crate::cancel::{Cancel, Cancelled};
use crate::oci::{Descriptor, Digest, Document, Index, Manifest, MediaType, Raw};

const INDEXES: &str = ".indexes";
const LOCKS: &str = ".warmer-locks";

/// Between two looks at a lock that somebody else holds.
const INTERVAL: Duration = Duration::from_millis(50);

/// Such a directory.
#[derive(Debug)]
pub struct BaseImages {
    directory: PathBuf,
    ttl: Duration,
    /// Guards the images that this process has found; their layers are looked for in these.
    found: Mutex<BTreeMap<Digest, ImageLayout>>,
}

/// What is known about an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// It is there, and was found good within the time to live.
    Fresh,
    /// It is there, for longer than that.
    Expired,
    /// It is not there, or not whole.
    Missing,
}

/// An image on its way into the directory; nobody else fetches the same one meanwhile.
#[derive(Debug)]
pub struct Warming<'a> {
    images: &'a BaseImages,
    digest: Digest,
    _lock: File,
}

impl BaseImages {
    /// Uses `directory`, which need not be there. Entries that are older than `ttl` do not count.
    #[must_use]
    pub const fn new(directory: PathBuf, ttl: Duration) -> Self {
        Self {
            directory,
            ttl,
            found: Mutex::new(BTreeMap::new()),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether there is anything in it.
    #[must_use]
    pub fn is_filled(&self) -> bool {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name()).any(|name| {
            let digest = name.to_str().and_then(|name| name.parse::<Digest>().ok());
            digest.is_some()
        })
    }

    /// The manifest or index with this digest, if it is here and fresh. The layers of a manifest that was found here are
    /// found by [`blob`](Self::blob).
    ///
    /// # Errors
    /// What is damaged about an entry that is there.
    pub fn document(&self, digest: &Digest) -> Result<Option<Document>, StoreError> {
        if let Some(index) = self.index(digest)? {
            return Ok(Some(Document::Index(index)));
        }
        if self.entry(digest) != Entry::Fresh {
            return Ok(None);
        }
        let layout = ImageLayout::open(&self.path_of(digest))?;
        let document = layout.document_with(digest)?;
        self.lock_found().insert(*digest, layout);
        Ok(Some(document))
    }

    /// A config or layer of an image whose manifest was found here. Its size is checked, its bytes are not.
    #[must_use]
    pub fn blob(&self, descriptor: &Descriptor) -> Option<Blob> {
        let found = self.lock_found();
        found.values().find_map(|layout| layout.blob(descriptor).ok())
    }

    /// What is known about an image. One that lacks a layer is missing.
    #[must_use]
    pub fn entry(&self, digest: &Digest) -> Entry {
        let path = self.path_of(digest);
        let Ok(written) = fs::metadata(&path).and_then(|metadata| metadata.modified()) else {
            return Entry::Missing;
        };
        if !is_whole(&path, digest).unwrap_or(false) {
            return Entry::Missing;
        }
        // A time to come is a clock's fault, not the image's.
        let age = SystemTime::now().duration_since(written).unwrap_or_default();
        match age < self.ttl {
            true => Entry::Fresh,
            false => Entry::Expired,
        }
    }

    /// Makes the directory, open to everybody who reads.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn create(&self) -> Result<(), StoreError> {
        for path in [
            self.directory.clone(),
            self.directory.join(INDEXES),
            self.directory.join(LOCKS),
        ] {
            let created = DirBuilder::new().recursive(true).mode(0o755).create(&path);
            created.map_err(StoreError::io("create", &path))?;
        }
        Ok(())
    }

    /// Waits until nobody else fetches the image with this digest, and keeps others from it.
    ///
    /// # Errors
    /// [`StoreError::Io`]; `cancel` was asked for.
    pub fn warm<E: From<StoreError> + From<Cancelled>>(
        &self,
        digest: &Digest,
        cancel: &Cancel,
    ) -> Result<Warming<'_>, E> {
        let path = self.directory.join(LOCKS).join(format!("{digest}.lock"));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        let lock = rustix::fs::open(&path, flags, mode).map_err(StoreError::errno("open", &path))?;
        loop {
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK | Errno::INTR) => {
                    cancel.check()?;
                    std::thread::sleep(INTERVAL);
                }
                Err(errno) => return Err(StoreError::errno("lock", &path)(errno).into()),
            }
        }
        Ok(Warming {
            images: self,
            digest: *digest,
            _lock: File::from(lock),
        })
    }

    /// Notes that an entry, all of whose bytes are read and verified here, is still good. Whoever calls this holds its
    /// lock.
    ///
    /// # Errors
    /// Whatever is wrong with it.
    pub fn renew(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.path_of(digest);
        let layout = ImageLayout::open(&path)?;
        if let Document::Manifest(manifest) = layout.document_with(digest)? {
            let manifest = manifest.value();
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                layout.verify(blob)?;
            }
        }
        let directory = File::open(&path).map_err(StoreError::io("open", &path))?;
        let touched = directory.set_modified(SystemTime::now());
        touched.map_err(StoreError::io("set the time of", &path))
    }

    /// Keeps an index, so that nobody has to ask for it as long as its tag does not move.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn keep_index(&self, index: &Raw<Index>) -> Result<(), StoreError> {
        let path = self.index_path(index.digest());
        write_beside(&path, |file| io::Write::write_all(file, index.bytes()))
    }

    fn index(&self, digest: &Digest) -> Result<Option<Raw<Index>>, StoreError> {
        let path = self.index_path(digest);
        let bytes = match fs::read(&path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            other => other.map_err(StoreError::io("read", &path))?,
        };
        let actual = Digest::of(&bytes);
        if actual != *digest {
            return Err(StoreError::Digest {
                expected: Box::new(*digest),
                actual: Box::new(actual),
            });
        }
        let index = Raw::parse(bytes).map_err(|source| StoreError::Json { path, source })?;
        Ok(Some(index))
    }

    fn path_of(&self, digest: &Digest) -> PathBuf {
        self.directory.join(digest.to_string())
    }

    fn index_path(&self, digest: &Digest) -> PathBuf {
        self.directory.join(INDEXES).join(digest.to_string())
    }

    fn lock_found(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, ImageLayout>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the manifest, the config and all layers are there in their sizes.
fn is_whole(path: &Path, digest: &Digest) -> Result<bool, StoreError> {
    let layout = ImageLayout::open(path)?;
    let Document::Manifest(manifest) = layout.document_with(digest)? else {
        return Ok(false);
    };
    let manifest = manifest.value();
    let mut blobs = manifest.layers.iter().chain([&manifest.config]);
    Ok(blobs.all(|blob| layout.blob(blob).is_ok()))
}

impl Warming<'_> {
    /// Makes an empty layout to put the image into, and removes what a killed warmer left of it. The second value takes
    /// the layout's blobs as they arrive.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn begin(&self) -> Result<(ImageLayout, Blobs), StoreError> {
        let path = self.temporary();
        self.remove(&path)?;
        let layout = ImageLayout::create(&path)?;
        let blobs = Blobs::open(&path.join("blobs"))?;
        Ok((layout, blobs))
    }

    /// Makes the image with this manifest, whose blobs are all there, an entry of the directory.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn finish(
        self,
        layout: &ImageLayout,
        manifest: &Raw<Manifest>,
        config: (&MediaType, &[u8]),
        blobs: &Blobs,
    ) -> Result<(), StoreError> {
        blobs.put(config.0.clone(), config.1)?;
        layout.write_image(manifest, None)?;
        let images = self.images;
        let (path, old) = (images.path_of(&self.digest), self.temporary().with_extension("old"));
        self.remove(&old)?;
        match fs::rename(&path, &old) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(StoreError::io("rename", &path))?,
        }
        fs::rename(layout.path(), &path).map_err(StoreError::io("rename", layout.path()))?;
        self.remove(&old)
    }

    /// Removes what there is of an image that could not be fetched.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn give_up(self) -> Result<(), StoreError> {
        self.remove(&self.temporary())
    }

    fn temporary(&self) -> PathBuf {
        self.images.directory.join(format!(".warming-{}", self.digest))
    }

    fn remove(&self, path: &Path) -> Result<(), StoreError> {
        let directory = &self.images.directory;
        let parent = File::open(directory).map_err(StoreError::io("open", directory))?;
        let name = path.file_name().unwrap_or_default();
        remove_tree(parent.as_fd(), name)
            .map_err(|error| StoreError::io("remove", directory.join(error.path))(error.source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::ManifestFormat;

    const LONG: Duration = Duration::from_secs(3600);

    #[derive(Debug)]
    struct Failed;

    impl From<StoreError> for Failed {
        fn from(error: StoreError) -> Self {
            panic!("{error}: {:?}", std::error::Error::source(&error))
        }
    }

    impl From<Cancelled> for Failed {
        fn from(_: Cancelled) -> Self {
            Self
        }
    }

    fn lock<'a>(images: &'a BaseImages, digest: &Digest, cancel: &Cancel) -> Result<Warming<'a>, Failed> {
        images.warm(digest, cancel)
    }

    /// Keeps an image of one layer; its manifest.
    fn keep(images: &BaseImages) -> Raw<Manifest> {
        images.create().unwrap();
        let config = b"{}";
        let digest_of = |bytes: &[u8], kind| Descriptor::new(kind, Digest::of(bytes), bytes.len() as u64);
        let manifest = Raw::write(Manifest::new(
            ManifestFormat::Oci,
            digest_of(config, MediaType::ImageConfig),
            vec![digest_of(b"layer", MediaType::ImageLayer)],
        ));
        let warming = lock(images, manifest.digest(), &Cancel::default()).unwrap();
        let (layout, blobs) = warming.begin().unwrap();
        blobs.put(MediaType::ImageLayer, b"layer").unwrap();
        warming
            .finish(&layout, &manifest, (&MediaType::ImageConfig, config), &blobs)
            .unwrap();
        manifest
    }

    fn site() -> (tempfile::TempDir, BaseImages) {
        let directory = tempfile::tempdir().unwrap();
        let images = BaseImages::new(directory.path().join("cache"), LONG);
        (directory, images)
    }

    #[test]
    fn an_image_is_found_with_its_blobs() {
        let (_directory, images) = site();
        assert!(!images.is_filled());
        for _ in 0..2 {
            let manifest = keep(&images);
            assert!(images.is_filled());
            assert_eq!(images.entry(manifest.digest()), Entry::Fresh);
        }
        let manifest = keep(&images);
        let layer = &manifest.value().layers[0];
        let others = BaseImages::new(images.directory().to_owned(), LONG);
        assert!(others.blob(layer).is_none(), "nobody asked for its image");
        let document = others.document(manifest.digest()).unwrap().unwrap();
        assert_eq!(document.bytes(), manifest.bytes());
        assert!(others.blob(layer).is_some() && others.blob(&manifest.value().config).is_some());
        assert!(others.document(&Digest::of(b"other")).unwrap().is_none());
        let names = fs::read_dir(images.directory()).unwrap().count();
        assert_eq!(names, 3, "the image, locks and indexes; nothing temporary");
    }

    #[test]
    fn an_old_image_does_not_count_until_it_is_renewed() {
        let (_directory, images) = site();
        let manifest = keep(&images);
        let path = images.path_of(manifest.digest());
        let long_ago = SystemTime::UNIX_EPOCH + LONG;
        File::open(&path).unwrap().set_modified(long_ago).unwrap();
        assert_eq!(images.entry(manifest.digest()), Entry::Expired);
        assert!(images.document(manifest.digest()).unwrap().is_none());
        images.renew(manifest.digest()).unwrap();
        assert_eq!(images.entry(manifest.digest()), Entry::Fresh);
    }

    #[test]
    fn damage_is_missed_or_found() {
        let (_directory, images) = site();
        let manifest = keep(&images);
        let layer = &manifest.value().layers[0];
        let layout = ImageLayout::open(&images.path_of(manifest.digest())).unwrap();
        let path = layout.blob(layer).unwrap().path().to_owned();
        fs::write(&path, b"LAYER").unwrap();
        assert!(matches!(
            images.renew(manifest.digest()),
            Err(StoreError::Digest { .. })
        ));
        fs::remove_file(path).unwrap();
        assert_eq!(images.entry(manifest.digest()), Entry::Missing);
    }

    #[test]
    fn indexes_are_kept_and_verified() {
        let (_directory, images) = site();
        images.create().unwrap();
        let index = Raw::write(Index::new(ManifestFormat::Oci, Vec::new()));
        images.keep_index(&index).unwrap();
        let found = images.document(index.digest()).unwrap().unwrap();
        assert!(matches!(found, Document::Index(_)));
        fs::write(images.index_path(index.digest()), "{}").unwrap();
        assert!(matches!(
            images.document(index.digest()),
            Err(StoreError::Digest { .. })
        ));
    }

    #[test]
    fn an_image_is_fetched_once_at_a_time() {
        let (_directory, images) = site();
        images.create().unwrap();
        let digest = Digest::of(b"x");
        let cancel = Cancel::default();
        let first = lock(&images, &digest, &cancel).unwrap();
        cancel.by_failure();
        assert!(
            lock(&images, &digest, &cancel).is_err(),
            "it waits until it is cancelled"
        );
        drop(first);
        assert!(lock(&images, &digest, &cancel).is_ok());
    }
}
