//! Reads an image that lies in a directory or a file: an OCI image layout, or an archive of `docker save` and its
//! relatives. Blobs are given away as soon as they are known and verified, so that they can travel while the next is read.
//!
//! ```text
//! layout ─▶ manifest, or an index with its manifests ─▶ blobs where they lie
//! archive ─▶ manifest.json ─▶ config, layers ─▶ copies in the build's blobs, gzip where they were plain ─▶ a manifest
//! ```
//!
//! An archive that rbuild wrote holds the manifest too, so that the image keeps its digest.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use serde::Deserialize;

use crate::cancel::{Cancel, Cancelled};
use crate::export::Product;
use crate::image::{Image, ImageIndex, layer_type};
use crate::layer::compress::{CompressError, compress};
use crate::layer::decompress::{DecompressError, Decompressor, Format};
use crate::layer::{Encoding, Limits};
use crate::oci::{
    Algorithm, Compression, ConfigError, Descriptor, DiffId, Digest, Digester, Document, ImageConfig, Index, Manifest,
    ManifestFormat, Raw,
};
use crate::store::{Blob, Blobs, BuildDir, ImageLayout, StoreError, archived_manifest};

/// Manifests and configs are read whole; nothing legitimate comes near.
const MAX_DOCUMENT: u64 = 8 << 20;

/// Links from one member of an archive to another that are followed.
const MAX_LINKS: u32 = 8;

const CHUNK: usize = 256 << 10;

/// Why an image at rest cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// The file or directory itself.
    #[error("cannot read it")]
    Read(#[source] io::Error),
    /// Something else.
    #[error("it is neither an OCI image layout nor an archive with a manifest.json")]
    NotAnImage,
    /// Which one is meant is not to be told.
    #[error("it holds {0} images, where exactly one is expected")]
    Several(usize),
    /// A layout, or a blob in it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A document in the archive.
    #[error("{name} in it is not valid")]
    Json {
        /// Which member.
        name: String,
        /// Line, column and what was expected.
        #[source]
        source: serde_json::Error,
    },
    /// The archive names what it does not have.
    #[error("it has no {0}, which its manifest.json names")]
    NoMember(String),
    /// A document that no image has.
    #[error("{0} in it is larger than {MAX_DOCUMENT} bytes")]
    TooLarge(String),
    /// An artifact, a chart or a signature.
    #[error("it is no image: its config is of the type {0}")]
    NotAnImageConfig(String),
    /// The config cannot be used.
    #[error("its config is invalid")]
    Config(#[source] ConfigError),
    /// The manifest.json and the config disagree.
    #[error("it has {layers} layers, but its config names {diff_ids}")]
    Layers {
        /// In the manifest.
        layers: usize,
        /// In the config.
        diff_ids: usize,
    },
    /// A layer is not what the config says.
    #[error("the layer {name} unpacks to {actual}, but the config says {expected}")]
    DiffId {
        /// Which member.
        name: String,
        /// In the config.
        expected: Box<DiffId>,
        /// Computed.
        actual: Box<DiffId>,
    },
    /// A compression that no image has.
    #[error("the layer {name} is compressed with {format}, which images do not have")]
    Compression {
        /// Which member.
        name: String,
        /// By its first bytes.
        format: Format,
    },
    /// A layer is damaged.
    #[error("{what} cannot be decompressed")]
    Decompress {
        /// Which layer, or the whole.
        what: String,
        /// Why.
        #[source]
        source: DecompressError,
    },
    /// A layer cannot be compressed.
    #[error("compress a layer")]
    Compress(#[from] CompressError),
    /// An index in an index.
    #[error("it holds an index of indexes")]
    Nested,
    /// Somebody asked for the end.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl SavedError {
    /// What to try.
    #[must_use]
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotAnImage => Some(
                "rbuild writes both: --oci-layout-path DIR, --tar-path FILE; so do `docker save` and `skopeo copy`",
            ),
            Self::Several(_) => Some("save each image into a file or directory of its own"),
            _ => None,
        }
    }
}

/// Reads the image at `path`, and gives each of its blobs to `give`. What has to be copied goes to `directory`.
pub(super) fn read(
    path: &Path,
    directory: &BuildDir,
    cancel: &Cancel,
    give: &mut dyn FnMut(Blob),
) -> Result<Product, SavedError> {
    let metadata = std::fs::metadata(path).map_err(SavedError::Read)?;
    match metadata.is_dir() {
        true => Layout {
            layout: ImageLayout::open(path)?,
            cancel,
            give,
        }
        .read(),
        false => {
            let file = plain(File::open(path).map_err(SavedError::Read)?, directory, cancel)?;
            SavedArchive::list(file)?.read(&directory.blobs()?, cancel, give)
        }
    }
}

struct Layout<'a> {
    layout: ImageLayout,
    cancel: &'a Cancel,
    give: &'a mut dyn FnMut(Blob),
}

impl Layout<'_> {
    fn read(&mut self) -> Result<Product, SavedError> {
        let entries = self.layout.entries()?;
        let [entry] = entries.as_slice() else {
            return Err(SavedError::Several(entries.len()));
        };
        match self.layout.document(entry)? {
            Document::Manifest(manifest) => Ok(Product::Image(Box::new(self.image(manifest)?))),
            Document::Index(index) => Ok(Product::Index(Box::new(self.index(index)?))),
        }
    }

    fn index(&mut self, index: Raw<Index>) -> Result<ImageIndex, SavedError> {
        let mut images = Vec::new();
        for entry in &index.value().manifests {
            match self.layout.document(entry)? {
                Document::Manifest(manifest) => images.push(self.image(manifest)?),
                Document::Index(_) => return Err(SavedError::Nested),
            }
        }
        let docker = ManifestFormat::Docker;
        let is_docker = index.value().media_type == Some(docker.index_type());
        Ok(ImageIndex {
            format: if is_docker { docker } else { ManifestFormat::Oci },
            index,
            images,
        })
    }

    fn image(&mut self, manifest: Raw<Manifest>) -> Result<Image, SavedError> {
        let document = manifest.value();
        if !document.config.is_image_config() {
            return Err(SavedError::NotAnImageConfig(document.config.media_type.to_string()));
        }
        let config = self.layout.read(&document.config)?;
        for descriptor in document.layers.iter().chain([&document.config]) {
            self.cancel.check()?;
            self.layout.verify(descriptor)?;
            (self.give)(self.layout.blob(descriptor)?);
        }
        let format = document.format();
        let config = parse(config, "the config")?;
        Ok(Image {
            config,
            manifest,
            format,
        })
    }
}

/// A tar file whose members can be read in any order.
struct SavedArchive {
    file: File,
    members: BTreeMap<String, Member>,
}

enum Member {
    File {
        offset: u64,
        size: u64,
    },
    /// Old archives hold a layer that occurs twice as a link.
    Link(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    layers: Vec<String>,
}

/// A layer as it will be pushed.
struct Layer {
    descriptor: Descriptor,
    diff_id: DiffId,
}

impl SavedArchive {
    fn list(mut file: File) -> Result<Self, SavedError> {
        let mut members = BTreeMap::new();
        file.rewind().map_err(SavedError::Read)?;
        let mut archive = tar::Archive::new(&file);
        // What is no tar at all ends the list as well; then there is no manifest.json in it.
        let entries = archive.entries_with_seek().map_err(SavedError::Read)?;
        for entry in entries {
            let Ok(entry) = entry else { break };
            let name = normal(&String::from_utf8_lossy(&entry.path_bytes()));
            let kind = entry.header().entry_type();
            let target = entry.link_name_bytes();
            let target = target.map(|target| String::from_utf8_lossy(&target).into_owned());
            let member = match target {
                Some(target) if kind.is_symlink() => Member::Link(normal(&format!("{name}/../{target}"))),
                Some(target) if kind.is_hard_link() => Member::Link(normal(&target)),
                _ if kind.is_file() => Member::File {
                    offset: entry.raw_file_position(),
                    size: entry.size(),
                },
                _ => continue,
            };
            members.insert(name, member);
        }
        Ok(Self { file, members })
    }

    fn read(&mut self, blobs: &Blobs, cancel: &Cancel, give: &mut dyn FnMut(Blob)) -> Result<Product, SavedError> {
        const LIST: &str = "manifest.json";
        if !self.members.contains_key(LIST) {
            return Err(SavedError::NotAnImage);
        }
        let items: Vec<Item> = serde_json::from_slice(&self.document(LIST)?).map_err(|source| SavedError::Json {
            name: LIST.to_owned(),
            source,
        })?;
        let [item] = items.as_slice() else {
            return Err(SavedError::Several(items.len()));
        };
        let config_bytes = self.document(&item.config)?;
        let config: Raw<ImageConfig> = parse(config_bytes, &item.config)?;
        let diff_ids = &config.value().rootfs.diff_ids;
        if diff_ids.len() != item.layers.len() {
            return Err(SavedError::Layers {
                layers: item.layers.len(),
                diff_ids: diff_ids.len(),
            });
        }
        let mut layers = Vec::new();
        let mut known: BTreeMap<&str, Layer> = BTreeMap::new();
        for (name, expected) in item.layers.iter().zip(diff_ids) {
            cancel.check()?;
            let layer = match known.remove(name.as_str()) {
                Some(layer) => layer,
                None => self.layer(name, blobs, cancel, give)?,
            };
            if layer.diff_id != *expected {
                return Err(SavedError::DiffId {
                    name: name.clone(),
                    expected: Box::new(*expected),
                    actual: Box::new(layer.diff_id),
                });
            }
            layers.push(layer.descriptor.clone());
            known.insert(name, layer);
        }
        let manifest = match self.manifest(&config, &layers)? {
            Some(manifest) => manifest,
            None => manifest_of(&config, layers),
        };
        let format = manifest.value().format();
        give(blobs.put(format.config_type(), config.bytes())?);
        Ok(Product::Image(Box::new(Image {
            config,
            manifest,
            format,
        })))
    }

    /// Copies a layer to where it is pushed from; one that is plain is compressed.
    fn layer(
        &mut self,
        name: &str,
        blobs: &Blobs,
        cancel: &Cancel,
        give: &mut dyn FnMut(Blob),
    ) -> Result<Layer, SavedError> {
        let mut content = self.open(name)?;
        let mut magic = [0; Format::MAGIC];
        let read = io::Read::read(&mut content, &mut magic).map_err(SavedError::Read)?;
        let format = Format::detect(&magic[..read]);
        let content = self.open(name)?;
        let (layer, blob) = match format {
            Format::Plain => compressed(content, blobs, cancel)?,
            Format::Gzip => copied(content, name, Compression::Gzip, blobs, cancel)?,
            Format::Zstd => copied(content, name, Compression::Zstd, blobs, cancel)?,
            Format::Bzip2 | Format::Xz => {
                let name = name.to_owned();
                return Err(SavedError::Compression { name, format });
            }
        };
        give(blob);
        Ok(layer)
    }

    /// The manifest that rbuild put beside the image, if it is that of these parts.
    fn manifest(
        &mut self,
        config: &Raw<ImageConfig>,
        layers: &[Descriptor],
    ) -> Result<Option<Raw<Manifest>>, SavedError> {
        let names: Vec<String> = self.members.keys().cloned().collect();
        let same = |ours: &Descriptor, theirs: &Descriptor| ours.digest == theirs.digest && ours.size == theirs.size;
        for name in names {
            let Some(hex) = archived_manifest(&name) else { continue };
            let Ok(manifest) = Raw::<Manifest>::parse(self.document(&name)?) else {
                continue;
            };
            let value = manifest.value();
            let fits = manifest.digest().hex() == hex
                && value.config.digest == *config.digest()
                && value.layers.len() == layers.len()
                && value.layers.iter().zip(layers).all(|(ours, theirs)| same(ours, theirs));
            if fits {
                return Ok(Some(manifest));
            }
        }
        Ok(None)
    }

    fn document(&mut self, name: &str) -> Result<Vec<u8>, SavedError> {
        let mut bytes = Vec::new();
        let mut content = self.open(name)?;
        if content.limit() > MAX_DOCUMENT {
            return Err(SavedError::TooLarge(name.to_owned()));
        }
        content.read_to_end(&mut bytes).map_err(SavedError::Read)?;
        Ok(bytes)
    }

    fn open(&mut self, name: &str) -> Result<io::Take<&File>, SavedError> {
        let mut found = normal(name);
        for _ in 0..MAX_LINKS {
            match self.members.get(&found) {
                Some(Member::File { offset, size }) => {
                    (&self.file).seek(SeekFrom::Start(*offset)).map_err(SavedError::Read)?;
                    return Ok((&self.file).take(*size));
                }
                Some(Member::Link(target)) => found = target.clone(),
                None => break,
            }
        }
        Err(SavedError::NoMember(name.to_owned()))
    }
}

/// Docker's manifest, as kaniko makes it, unless a layer needs the other format.
fn manifest_of(config: &Raw<ImageConfig>, layers: Vec<Descriptor>) -> Raw<Manifest> {
    let zstd = layer_type(ManifestFormat::Oci, Compression::Zstd);
    let is_oci = layers.iter().any(|layer| Some(&layer.media_type) == zstd.as_ref());
    let format = if is_oci {
        ManifestFormat::Oci
    } else {
        ManifestFormat::Docker
    };
    let typed = |mut layer: Descriptor| {
        if is_oci && Some(&layer.media_type) != zstd.as_ref() {
            layer.media_type = layer_type(ManifestFormat::Oci, Compression::Gzip).unwrap_or(layer.media_type);
        }
        layer
    };
    let config = Descriptor::new(format.config_type(), *config.digest(), config.bytes().len() as u64);
    let layers = layers.into_iter().map(typed).collect();
    Raw::write(Manifest::new(format, config, layers))
}

fn parse(bytes: Vec<u8>, name: &str) -> Result<Raw<ImageConfig>, SavedError> {
    ImageConfig::parse(&bytes).map_err(SavedError::Config)?;
    Raw::parse(bytes).map_err(|source| SavedError::Json {
        name: name.to_owned(),
        source,
    })
}

/// Media type of a layer in a manifest that we make; zstd exists in one format alone.
fn descriptor(compression: Compression, digest: Digest, size: u64) -> Descriptor {
    let format = match compression {
        Compression::Zstd => ManifestFormat::Oci,
        Compression::Gzip | Compression::None => ManifestFormat::Docker,
    };
    let media_type = layer_type(format, compression).expect("every compression is in one of the formats");
    Descriptor::new(media_type, digest, size)
}

fn compressed(mut content: io::Take<&File>, blobs: &Blobs, cancel: &Cancel) -> Result<(Layer, Blob), SavedError> {
    let mut writer = blobs.create()?;
    let (_, done) = compress(Encoding::default(), None, cancel, &mut writer, |input| {
        io::copy(&mut content, input).map_err(SavedError::Read)
    })?;
    let descriptor = descriptor(Compression::Gzip, done.digest, done.size);
    let layer = Layer {
        descriptor: descriptor.clone(),
        diff_id: done.diff_id,
    };
    Ok((layer, writer.commit(descriptor)?))
}

fn copied(
    content: io::Take<&File>,
    name: &str,
    compression: Compression,
    blobs: &Blobs,
    cancel: &Cancel,
) -> Result<(Layer, Blob), SavedError> {
    let size = content.limit();
    let mut writer = blobs.create()?;
    let mut copy = Copy {
        content,
        writer: &mut writer,
        digester: Digester::new(Algorithm::Sha256),
    };
    let failed = |source| SavedError::Decompress {
        what: format!("the layer {name}"),
        source,
    };
    let mut unpacked = Digester::new(Algorithm::Sha256);
    let mut decompressor = Decompressor::new(&mut copy, Limits::default()).map_err(failed)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        cancel.check()?;
        match decompressor.fill(&mut buffer).map_err(failed)? {
            0 => break,
            read => unpacked.update(&buffer[..read]),
        }
    }
    drop(decompressor);
    // What stands behind the compressed data is part of the blob too.
    io::copy(&mut copy, &mut io::sink()).map_err(SavedError::Read)?;
    let descriptor = descriptor(compression, copy.digester.finish(), size);
    let layer = Layer {
        descriptor: descriptor.clone(),
        diff_id: DiffId::new(unpacked.finish()),
    };
    Ok((layer, writer.commit(descriptor)?))
}

/// Keeps and hashes what is read through it.
struct Copy<'a, R, W> {
    content: R,
    writer: &'a mut W,
    digester: Digester,
}

impl<R: Read, W: io::Write> Read for Copy<'_, R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        self.writer.write_all(&buffer[..count])?;
        self.digester.update(&buffer[..count]);
        Ok(count)
    }
}

/// The file without its compression, which archives on their way often have.
fn plain(mut file: File, directory: &BuildDir, cancel: &Cancel) -> Result<File, SavedError> {
    let mut magic = [0; Format::MAGIC];
    let read = file.read(&mut magic).map_err(SavedError::Read)?;
    if Format::detect(&magic[..read]) == Format::Plain {
        return Ok(file);
    }
    file.rewind().map_err(SavedError::Read)?;
    let failed = |source| SavedError::Decompress {
        what: "it".to_owned(),
        source,
    };
    let mut decompressor = Decompressor::new(file, Limits::default()).map_err(failed)?;
    let mut unpacked = tempfile::tempfile_in(directory.path()).map_err(SavedError::Read)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        cancel.check()?;
        match decompressor.fill(&mut buffer).map_err(failed)? {
            0 => break,
            read => unpacked.write_all(&buffer[..read]).map_err(SavedError::Read)?,
        }
    }
    Ok(unpacked)
}

/// A member's name without what tools write before it, and without `..`.
fn normal(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
