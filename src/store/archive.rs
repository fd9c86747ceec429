//! The archive that `docker save` writes and `docker load`, `podman load` and `skopeo` read.
//!
//! ```text
//! <config hex>.json   <layer hex>.tar.gz …   <manifest hex>.image-manifest.json   manifest.json
//! ```
//!
//! Loaders find everything through `manifest.json` and recognise a layer's compression by its first bytes, so gzip
//! and zstd layers go in as they are; engines of before 2021 refuse zstd.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use serde::Serialize;

use super::{Blob, StoreError, layout::write_beside};
use crate::oci::{Digest, MediaTypeExt, Reference};

/// An image for [`write_archive`].
#[derive(Clone, Copy, Debug)]
pub struct ArchiveImage<'a> {
    /// Bytes of the manifest under which the image is pushed; loaders do not look at it, `rbuild push` does.
    pub manifest: &'a [u8],
    /// Bytes of the image config.
    pub config: &'a [u8],
    /// Bottom layer first. One digest may occur more than once.
    pub layers: &'a [Blob],
    /// The names it gets when it is loaded.
    pub tags: &'a [Reference],
}

const MANIFEST_SUFFIX: &str = ".image-manifest.json";

/// The digest, in hexadecimal, that a member has by its name, if it is the manifest of an archive's image.
#[must_use]
pub fn archived_manifest(name: &str) -> Option<&str> {
    name.strip_suffix(MANIFEST_SUFFIX)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// Writes `path`, beside its name first. The same image gives the same bytes.
///
/// # Errors
/// [`StoreError::Io`].
pub fn write_archive(path: &Path, image: ArchiveImage<'_>) -> Result<(), StoreError> {
    let layers: Vec<File> = image.layers.iter().map(Blob::open).collect::<Result<_, _>>()?;
    write_beside(path, |file| write_entries(file, image, layers))
}

fn write_entries(file: &mut File, image: ArchiveImage<'_>, layers: Vec<File>) -> io::Result<()> {
    let mut archive = tar::Builder::new(BufWriter::with_capacity(1 << 20, file));
    let config = format!("{}.json", Digest::of(image.config).hex());
    append(&mut archive, &config, image.config.len() as u64, image.config)?;
    let mut written = BTreeSet::new();
    for (blob, file) in image.layers.iter().zip(layers) {
        if written.insert(*blob.digest()) {
            append(&mut archive, &layer_name(blob), blob.size(), file)?;
        }
    }
    let manifest = format!("{}{MANIFEST_SUFFIX}", Digest::of(image.manifest).hex());
    append(&mut archive, &manifest, image.manifest.len() as u64, image.manifest)?;
    let items = [Item {
        config,
        repo_tags: image.tags.iter().map(tag).collect(),
        layers: image.layers.iter().map(layer_name).collect(),
    }];
    let manifest = serde_json::to_vec(&items)?;
    append(
        &mut archive,
        "manifest.json",
        manifest.len() as u64,
        manifest.as_slice(),
    )?;
    archive.into_inner()?.flush()
}

/// No clock and no user of this machine in the header.
fn append(archive: &mut tar::Builder<impl Write>, name: &str, size: u64, content: impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    archive.append_data(&mut header, name, content.take(size))
}

fn layer_name(blob: &Blob) -> String {
    use crate::oci::Compression;
    let format = blob.descriptor().media_type.layer_format();
    let suffix = match format.map(|format| format.compression) {
        Some(Compression::None) => "tar",
        Some(Compression::Zstd) => "tar.zst",
        Some(Compression::Gzip) | None => "tar.gz",
    };
    format!("{}.{suffix}", blob.digest().hex())
}

/// Loaders refuse a digest in a tag.
fn tag(reference: &Reference) -> String {
    format!("{}:{}", reference.name(), reference.tag().unwrap_or("latest"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::oci::MediaType;
    use crate::store::Blobs;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Two different layers, one of them twice.
    fn write(directory: &Path, name: &str) -> std::path::PathBuf {
        let blobs = Blobs::open(&directory.join("blobs")).unwrap();
        let tar = |name: &str| {
            let mut builder = tar::Builder::new(Vec::new());
            append(&mut builder, name, 1, &b"x"[..]).unwrap();
            builder.into_inner().unwrap()
        };
        let tars = [tar("one"), tar("two"), tar("one")];
        let layers = tars
            .each_ref()
            .map(|tar| blobs.put(MediaType::ImageLayerGzip, &gzip(tar)).unwrap());
        let diff_ids = tars.each_ref().map(|tar| Digest::of(tar).to_string());
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "config": {"Env": ["A=b"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let path = directory.join(name);
        let image = ArchiveImage {
            manifest: b"{}",
            config: &serde_json::to_vec(&config).unwrap(),
            layers: &layers,
            tags: &[
                "127.0.0.1:5000/app:1".parse().unwrap(),
                "h.example/app".parse().unwrap(),
            ],
        };
        write_archive(&path, image).unwrap();
        path
    }

    #[test]
    fn the_same_image_gives_the_same_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let [a, b] = ["a.tar", "b.tar"].map(|name| std::fs::read(write(directory.path(), name)).unwrap());
        assert_eq!(a, b);
        let mut archive = tar::Archive::new(a.as_slice());
        let names: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().into_owned())
            .collect();
        assert_eq!(names.len(), 5, "{names:?}");
        assert_eq!(names.last().unwrap(), Path::new("manifest.json"));
    }

    #[test]
    fn skopeo_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = write(directory.path(), "image.tar");
        let target = directory.path().join("copy");
        let copied = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "-q"])
            .arg(format!("docker-archive:{}:127.0.0.1:5000/app:1", path.display()))
            .arg(format!("dir:{}", target.display()))
            .output()
            .unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        let inspected = Command::new("skopeo")
            .arg("inspect")
            .arg(format!("dir:{}", target.display()))
            .output()
            .unwrap();
        let inspected: serde_json::Value = serde_json::from_slice(&inspected.stdout).unwrap();
        assert_eq!(inspected["Layers"].as_array().unwrap().len(), 3);
        assert_eq!(inspected["Env"][0], "A=b");
    }
}
