//! An OCI image layout: a directory that holds images (image-spec image-layout.md).
//!
//! ```text
//! <layout>/  oci-layout  index.json  blobs/sha256/<hex>
//! ```
//!
//! Blobs come first and `index.json` last, renamed into place, so a reader never sees an image whose blobs are not there.
//! Files are 0644 and directories 0755: whoever takes the layout further is seldom the user who built it.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::{Blob, StoreError};
use crate::oci::{
    Descriptor, Digest, Digester, Document, Index, Manifest, ManifestError, ManifestFormat, MediaType, Raw,
};

const VERSION: &str = "1.0.0";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Manifests and configs are read whole; nothing legitimate comes near.
const MAX_DOCUMENT: u64 = 8 << 20;

const CHUNK: usize = 128 << 10;

/// An image layout directory.
#[derive(Clone, Debug)]
pub struct ImageLayout {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Marker {
    #[serde(rename = "imageLayoutVersion")]
    version: String,
}

impl ImageLayout {
    /// Makes `path` a layout. One that is there is kept, with its blobs and its index.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        let blobs = path.join("blobs/sha256");
        let created = DirBuilder::new().recursive(true).mode(0o755).create(&blobs);
        created.map_err(StoreError::io("create", &blobs))?;
        for directory in [path, &path.join("blobs"), &blobs] {
            // The umask may have taken bits away.
            let opened = fs::set_permissions(directory, Permissions::from_mode(0o755));
            opened.map_err(StoreError::io("set the mode of", directory))?;
        }
        let layout = Self { path: path.to_owned() };
        let marker = Marker {
            version: VERSION.to_owned(),
        };
        layout.write_json(&layout.path.join("oci-layout"), &marker)?;
        Ok(layout)
    }

    /// Opens a layout to read from it.
    ///
    /// # Errors
    /// [`StoreError::NotALayout`], [`StoreError::Io`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let not_a_layout = |reason| StoreError::NotALayout {
            path: path.to_owned(),
            reason,
        };
        let marker = path.join("oci-layout");
        let bytes = match fs::read(&marker) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(not_a_layout("it has no file oci-layout".to_owned()));
            }
            other => other.map_err(StoreError::io("read", &marker))?,
        };
        let Marker { version } =
            serde_json::from_slice(&bytes).map_err(|source| StoreError::Json { path: marker, source })?;
        match version.starts_with("1.") {
            true => Ok(Self { path: path.to_owned() }),
            false => Err(not_a_layout(format!("its version is {version}"))),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a blob: a hard link where the filesystem allows, else a copy. Idempotent.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn put_blob(&self, blob: &Blob) -> Result<(), StoreError> {
        let path = self.blob_path(blob.digest());
        if fs::metadata(&path).is_ok_and(|found| found.len() == blob.size()) {
            return Ok(());
        }
        match fs::hard_link(blob.path(), &path) {
            Ok(()) => Ok(()),
            Err(_) => self.write_file(&path, &mut blob.open()?),
        }
    }

    /// Makes `manifest` the layout's only image, under `name` if there is one. Its blobs must have been put before.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn write_image(&self, manifest: &Raw<Manifest>, name: Option<&str>) -> Result<Descriptor, StoreError> {
        let descriptor = self.put_manifest(manifest)?;
        self.point_to(descriptor, name)
    }

    /// Adds a manifest under its digest alone.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn put_manifest(&self, manifest: &Raw<Manifest>) -> Result<Descriptor, StoreError> {
        let document = manifest.value();
        let media_type = document.media_type.clone();
        let media_type = media_type.unwrap_or_else(|| document.format().manifest_type());
        let descriptor = Descriptor::new(media_type, *manifest.digest(), manifest.bytes().len() as u64);
        self.write_file(&self.blob_path(&descriptor.digest), &mut manifest.bytes())?;
        Ok(descriptor)
    }

    /// Adds an index under its digest alone.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn put_index(&self, index: &Raw<Index>, media_type: &MediaType) -> Result<Descriptor, StoreError> {
        let descriptor = Descriptor::new(media_type.clone(), *index.digest(), index.bytes().len() as u64);
        self.write_file(&self.blob_path(&descriptor.digest), &mut index.bytes())?;
        Ok(descriptor)
    }

    /// Makes what `descriptor` names the layout's only image, under `name` if there is one.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn point_to(&self, mut descriptor: Descriptor, name: Option<&str>) -> Result<Descriptor, StoreError> {
        let annotation = name.map(|name| (REF_NAME.to_owned(), name.to_owned()));
        descriptor.annotations.extend(annotation);
        let index = Index::new(ManifestFormat::Oci, vec![descriptor.clone()]);
        self.write_json(&self.path.join("index.json"), &index)?;
        Ok(descriptor)
    }

    /// What `index.json` holds under `name`: usually one image, but tools also write one for each platform.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Json`].
    pub fn named(&self, name: &str) -> Result<Vec<Descriptor>, StoreError> {
        let mut entries = self.entries()?;
        entries.retain(|entry| entry.annotations.get(REF_NAME).is_some_and(|given| given == name));
        Ok(entries)
    }

    /// Everything that `index.json` holds.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Json`].
    pub fn entries(&self) -> Result<Vec<Descriptor>, StoreError> {
        let path = self.path.join("index.json");
        let bytes = fs::read(&path).map_err(StoreError::io("read", &path))?;
        let index: Index = serde_json::from_slice(&bytes).map_err(|source| StoreError::Json { path, source })?;
        Ok(index.manifests)
    }

    /// The manifest or index that `descriptor` names, verified.
    ///
    /// # Errors
    /// Whatever is wrong with the file.
    pub fn document(&self, descriptor: &Descriptor) -> Result<Document, StoreError> {
        let bytes = self.read(descriptor)?;
        Document::parse(bytes, Some(descriptor.media_type.as_ref())).map_err(|source| StoreError::Manifest {
            path: self.blob_path(&descriptor.digest),
            source,
        })
    }

    /// The manifest or index with this digest, verified; `index.json` need not name it.
    ///
    /// # Errors
    /// Whatever is wrong with the file.
    pub fn document_with(&self, digest: &Digest) -> Result<Document, StoreError> {
        let path = self.blob_path(digest);
        let size = fs::metadata(&path).map_err(StoreError::io("inspect", &path))?.len();
        let bytes = self.read(&Descriptor::new(MediaType::from(""), *digest, size))?;
        Document::parse(bytes, None).map_err(|source| StoreError::Manifest { path, source })
    }

    /// The manifest of the image called `name`, or of the only one.
    ///
    /// # Errors
    /// [`StoreError::NoSuchImage`], and whatever is wrong with the files.
    pub fn manifest(&self, name: Option<&str>) -> Result<Raw<Manifest>, StoreError> {
        let entries = match name {
            Some(name) => self.named(name)?,
            None => self.entries()?,
        };
        let only = name.is_some() || entries.len() == 1;
        let Some(descriptor) = entries.first().filter(|_| only) else {
            return Err(self.no_such_image(name.unwrap_or("(the only one)")));
        };
        match self.document(descriptor)? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(_) => Err(StoreError::Manifest {
                path: self.blob_path(&descriptor.digest),
                source: ManifestError::Unknown(descriptor.media_type.to_string()),
            }),
        }
    }

    /// The error of a name that is not there.
    #[must_use]
    pub fn no_such_image(&self, name: &str) -> StoreError {
        StoreError::NoSuchImage {
            path: self.path.clone(),
            name: name.to_owned(),
        }
    }

    /// The blob that `descriptor` names. Its size is checked here, its bytes only by whoever reads them.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Size`].
    pub fn blob(&self, descriptor: &Descriptor) -> Result<Blob, StoreError> {
        let path = self.blob_path(&descriptor.digest);
        let actual = fs::metadata(&path).map_err(StoreError::io("inspect", &path))?.len();
        match actual == descriptor.size {
            true => Ok(Blob::at(descriptor.clone(), path)),
            false => Err(StoreError::Size {
                digest: Box::new(descriptor.digest),
                expected: descriptor.size,
                actual,
            }),
        }
    }

    /// A small blob, verified.
    ///
    /// # Errors
    /// [`StoreError::Size`], [`StoreError::Digest`], [`StoreError::Io`].
    pub fn read(&self, descriptor: &Descriptor) -> Result<Vec<u8>, StoreError> {
        let blob = self.blob(descriptor)?;
        let mut bytes = Vec::new();
        let mut limited = blob.open()?.take(MAX_DOCUMENT);
        limited
            .read_to_end(&mut bytes)
            .map_err(StoreError::io("read", blob.path()))?;
        let mut digester = Digester::like(&descriptor.digest);
        digester.update(&bytes);
        check_digest(descriptor, digester)?;
        Ok(bytes)
    }

    /// Reads a blob of any size and compares it with its descriptor.
    ///
    /// # Errors
    /// [`StoreError::Size`], [`StoreError::Digest`], [`StoreError::Io`].
    pub fn verify(&self, descriptor: &Descriptor) -> Result<(), StoreError> {
        let blob = self.blob(descriptor)?;
        let mut file = blob.open()?;
        let mut digester = Digester::like(&descriptor.digest);
        let mut buffer = vec![0; CHUNK];
        loop {
            match file.read(&mut buffer).map_err(StoreError::io("read", blob.path()))? {
                0 => break,
                read => digester.update(&buffer[..read]),
            }
        }
        check_digest(descriptor, digester)
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path
            .join("blobs")
            .join(digest.algorithm().name())
            .join(digest.hex())
    }

    fn write_json(&self, path: &Path, value: &impl Serialize) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(value).map_err(|source| StoreError::Json {
            path: path.to_owned(),
            source,
        })?;
        self.write_file(path, &mut bytes.as_slice())
    }

    fn write_file(&self, path: &Path, content: &mut dyn Read) -> Result<(), StoreError> {
        write_beside(path, |file| io::copy(content, file).map(drop))
    }
}

fn check_digest(descriptor: &Descriptor, digester: Digester) -> Result<(), StoreError> {
    let actual = digester.finish();
    match actual == descriptor.digest {
        true => Ok(()),
        false => Err(StoreError::Digest {
            expected: Box::new(descriptor.digest),
            actual: Box::new(actual),
        }),
    }
}

/// Writes a file of mode 0644 beside its name and renames it.
pub(super) fn write_beside(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), StoreError> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut file = NamedTempFile::new_in(directory).map_err(StoreError::io("create a file in", directory))?;
    write(file.as_file_mut()).map_err(StoreError::io("write", path))?;
    file.flush().map_err(StoreError::io("write", path))?;
    let opened = file.as_file().set_permissions(Permissions::from_mode(0o644));
    opened.map_err(StoreError::io("set the mode of", path))?;
    let persisted = file.persist(path);
    persisted.map_err(|failed| StoreError::io("rename into place", path)(failed.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Blobs;

    /// A layout with one image, as `name`.
    fn layout(directory: &Path, name: Option<&str>) -> (ImageLayout, Raw<Manifest>, Blob) {
        let blobs = Blobs::open(&directory.join("blobs")).unwrap();
        let config = blobs.put(MediaType::ImageConfig, b"{}").unwrap();
        let layer = blobs.put(MediaType::ImageLayer, b"layer").unwrap();
        let manifest = Manifest::new(
            ManifestFormat::Oci,
            config.descriptor().clone(),
            vec![layer.descriptor().clone()],
        );
        let manifest = Raw::write(manifest);
        let layout = ImageLayout::create(&directory.join("layout")).unwrap();
        for blob in [&config, &layer, &layer] {
            layout.put_blob(blob).unwrap();
        }
        layout.write_image(&manifest, name).unwrap();
        (layout, manifest, layer)
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let directory = tempfile::tempdir().unwrap();
        let (written, manifest, layer) = layout(directory.path(), Some("app:1"));
        let layout = ImageLayout::open(written.path()).unwrap();
        for name in [Some("app:1"), None] {
            assert_eq!(layout.manifest(name).unwrap().bytes(), manifest.bytes());
        }
        assert_eq!(layout.read(layer.descriptor()).unwrap(), b"layer");
        assert!(matches!(
            layout.manifest(Some("app:2")),
            Err(StoreError::NoSuchImage { .. })
        ));
    }

    #[test]
    fn everybody_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let (layout, _, layer) = layout(directory.path(), None);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        for name in ["", "blobs", "blobs/sha256"] {
            assert_eq!(mode(&layout.path().join(name)), 0o755, "{name}");
        }
        for name in ["index.json", "oci-layout"] {
            assert_eq!(mode(&layout.path().join(name)), 0o644, "{name}");
        }
        assert_eq!(mode(&layout.blob_path(layer.digest())), 0o644);
        assert_eq!(
            fs::read_dir(layout.path()).unwrap().count(),
            3,
            "temporary files stayed"
        );
    }

    #[test]
    fn damage_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let (layout, manifest, layer) = layout(directory.path(), None);
        let damage = |descriptor: &Descriptor, bytes: &[u8]| {
            let path = layout.blob_path(&descriptor.digest);
            fs::remove_file(&path).unwrap();
            fs::write(path, bytes).unwrap();
        };
        damage(layer.descriptor(), b"LAYER");
        assert!(matches!(
            layout.read(layer.descriptor()),
            Err(StoreError::Digest { .. })
        ));
        damage(layer.descriptor(), b"longer than it was");
        assert!(matches!(layout.blob(layer.descriptor()), Err(StoreError::Size { .. })));
        let size = manifest.bytes().len();
        let descriptor = Descriptor::new(MediaType::ImageManifest, *manifest.digest(), size as u64);
        damage(&descriptor, &vec![b' '; size]);
        assert!(matches!(layout.manifest(None), Err(StoreError::Digest { .. })));
        fs::write(layout.path().join("index.json"), "{").unwrap();
        assert!(matches!(layout.manifest(None), Err(StoreError::Json { .. })));
        let absent = Descriptor::new(MediaType::ImageLayer, Digest::of(b"absent"), 6);
        assert!(matches!(layout.blob(&absent), Err(StoreError::Io { .. })));
    }

    #[test]
    fn other_directories_are_no_layout() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(
            ImageLayout::open(directory.path()),
            Err(StoreError::NotALayout { .. })
        ));
        fs::write(directory.path().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
        assert!(matches!(
            ImageLayout::open(directory.path()),
            Err(StoreError::NotALayout { .. })
        ));
    }
}
