//! Brings an image to its destinations: layout, archive, registries, and the files that name it.
//!
//! Everything else is written before a tag moves, and files that name the image are written last:
//! whoever finds them finds the image.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::Access;

use crate::build::request::{BuildRequest, Outputs, TextOutput};
use crate::build::{BuildError, Problem};
use crate::image::{Image, ImageIndex};
use crate::oci::{Annotated, Digest, MediaType, Reference};
use crate::progress::{Event, Progress};
use crate::registry::Client;
use crate::remote::Remote;
use crate::store::{ArchiveImage, Blob, ImageLayout, StoreError, write_archive};

/// An image with all its blobs at hand.
#[derive(Debug)]
pub struct LocalImage<'a> {
    /// The image.
    pub image: &'a Image,
    /// Its config as a blob.
    pub config: &'a Blob,
    /// Its layers, bottom first.
    pub layers: &'a [Blob],
}

/// What a build brings to its destinations.
#[derive(Debug)]
pub enum Product {
    /// One image.
    Image(Box<Image>),
    /// Images of several platforms.
    Index(Box<ImageIndex>),
}

impl Product {
    /// The digest that everybody is told.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        match self {
            Self::Image(image) => image.manifest.digest(),
            Self::Index(index) => index.index.digest(),
        }
    }

    /// The images in it.
    #[must_use]
    pub fn images(&self) -> &[Image] {
        match self {
            Self::Image(image) => std::slice::from_ref(&**image),
            Self::Index(index) => &index.images,
        }
    }

    /// What a tag points to.
    fn document(&self) -> (&[u8], MediaType) {
        match self {
            Self::Image(image) => (image.manifest.bytes(), image.format.manifest_type()),
            Self::Index(index) => (index.index.bytes(), index.format.index_type()),
        }
    }
}

/// Writes the layout and the archive that were asked for. An archive holds one image.
///
/// # Errors
/// Which file could not be written, and why.
pub fn write_local(
    product: &Product,
    images: &[LocalImage<'_>],
    request: &BuildRequest,
    progress: &dyn Progress,
) -> Result<(), BuildError> {
    let outputs = &request.outputs;
    if let Some(path) = &outputs.oci_layout_path {
        announce(progress, path, product.digest(), || {
            Ok(write_layout(product, images, path, request).map_err(Problem::WriteImage)?)
        })?;
    }
    if let (Some(path), [local]) = (&outputs.tar_path, images) {
        announce(progress, path, local.image.manifest.digest(), || {
            let (manifest, config) = (local.image.manifest.bytes(), local.image.config.bytes());
            let tags = archive_names(&outputs.destinations);
            let written = write_archive(
                path,
                ArchiveImage {
                    manifest,
                    config,
                    layers: local.layers,
                    tags: &tags,
                },
            );
            Ok(written.map_err(Problem::WriteImage)?)
        })?;
    }
    Ok(())
}

/// An archive names its image; without a destination it gets the name that kaniko gives it.
fn archive_names(destinations: &[Reference]) -> Vec<Reference> {
    const UNSET: &str = "docker.io/unset-repo/unset-image-name:latest";
    match destinations {
        [] => vec![UNSET.parse().expect("the name is a constant")],
        named => named.to_vec(),
    }
}

fn announce(
    progress: &dyn Progress,
    path: &Path,
    digest: &Digest,
    write: impl FnOnce() -> Result<(), BuildError>,
) -> Result<(), BuildError> {
    let destination = path.display().to_string();
    progress.event(Event::Exporting(&destination));
    write()?;
    progress.event(Event::Exported {
        destination: &destination,
        digest,
    });
    Ok(())
}

fn write_layout(
    product: &Product,
    images: &[LocalImage<'_>],
    path: &Path,
    request: &BuildRequest,
) -> Result<(), StoreError> {
    let annotations = &request.annotations;
    let layout = ImageLayout::create(path)?;
    for local in images {
        for blob in local.layers.iter().chain([local.config]) {
            layout.put_blob(blob)?;
        }
    }
    let mut descriptors = Vec::new();
    for image in product.images() {
        descriptors.push(layout.put_manifest(&image.manifest)?);
    }
    let (mut descriptor, notes) = match product {
        Product::Image(image) => {
            let platform = &image.config.value().platform;
            let notes = annotations.of_image(Annotated::ManifestDescriptor, platform);
            (descriptors.remove(0), notes)
        }
        Product::Index(index) => {
            let descriptor = layout.put_index(&index.index, &index.format.index_type())?;
            (descriptor, annotations.of_index(Annotated::IndexDescriptor))
        }
    };
    descriptor.annotations.extend(notes);
    let name = request.outputs.destinations.first().and_then(Reference::tag);
    layout.point_to(descriptor, name)?;
    Ok(())
}

/// Puts the image or the index under every destination's tag. Its blobs are there already; the images of an index go
/// before it, under their digests.
///
/// # Errors
/// [`Problem::Manifest`] names the first destination that refused; those before it have the image.
pub fn push(
    product: &Product,
    destinations: &[Reference],
    client: &Client,
    progress: &dyn Progress,
) -> Result<(), BuildError> {
    let (bytes, media_type) = product.document();
    for destination in destinations {
        let name = destination.to_string();
        progress.event(Event::Exporting(&name));
        if let Product::Index(index) = product {
            for image in &index.images {
                let child = destination.with_digest(*image.manifest.digest());
                put(client, &child, image.manifest.bytes(), &image.format.manifest_type())?;
            }
        }
        put(client, destination, bytes, &media_type)?;
        progress.event(Event::Exported {
            destination: &name,
            digest: product.digest(),
        });
    }
    Ok(())
}

fn put(client: &Client, target: &Reference, bytes: &[u8], media_type: &MediaType) -> Result<(), BuildError> {
    client
        .put_manifest(target, bytes, media_type)
        .map_err(|source| Problem::Manifest {
            destination: target.clone(),
            source,
        })?;
    Ok(())
}

/// Writes the files in which pipelines look for the image's digest and names, in kaniko's formats.
///
/// # Errors
/// [`Problem::WriteFile`], or [`Problem::SendText`] for one that is an address.
pub fn write_name_files(digest: &Digest, outputs: &Outputs, remote: &Remote) -> Result<(), BuildError> {
    if let Some(output) = &outputs.digest_file {
        write_text(output, &digest.to_string(), remote)?;
    }
    if let Some(output) = &outputs.image_name_with_digest_file {
        write_text(
            output,
            &names(&outputs.destinations, digest, Reference::kaniko_name),
            remote,
        )?;
    }
    if let Some(output) = &outputs.image_name_tag_with_digest_file {
        let with_tag =
            |reference: &Reference| format!("{}:{}", reference.kaniko_name(), reference.tag().unwrap_or("latest"));
        write_text(output, &names(&outputs.destinations, digest, with_tag), remote)?;
    }
    if let (Some(directory), pushed @ [_, ..]) = (&outputs.builder_output, outputs.pushes()) {
        write_file(&directory.join("images"), &pushed_images(pushed, digest))?;
    }
    Ok(())
}

fn write_text(output: &TextOutput, text: &str, remote: &Remote) -> Result<(), BuildError> {
    match output {
        TextOutput::File(path) => write_file(path, text),
        TextOutput::Address(url) => remote.put_text(url, text).map_err(|source| {
            Problem::SendText {
                address: crate::http::redact(url),
                source,
            }
            .into()
        }),
    }
}

/// A JSON object a line, as Cloud Build reads it.
fn pushed_images(destinations: &[Reference], digest: &Digest) -> String {
    let name = |reference: &Reference| format!("{}:{}", reference.kaniko_name(), reference.tag().unwrap_or("latest"));
    let line = |reference: &Reference| {
        let (name, digest) = (serde_json::json!(name(reference)), digest.to_string());
        format!("{{\"name\":{name},\"digest\":\"{digest}\"}}\n")
    };
    destinations.iter().map(line).collect()
}

fn names(destinations: &[Reference], digest: &Digest, name: impl Fn(&Reference) -> String) -> String {
    let line = |reference| format!("{}@{digest}\n", name(reference));
    destinations.iter().map(line).collect()
}

/// Replaces `path` at once, readable by whoever takes the pipeline on. A device or a pipe
/// (`/dev/termination-log`, `/dev/stdout`) is written to, not replaced.
fn write_file(path: &Path, content: &str) -> Result<(), BuildError> {
    let failed = |source| {
        Problem::WriteFile {
            path: path.to_owned(),
            source,
        }
        .into()
    };
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => overwrite(path, content).map_err(failed),
        Ok(_) | Err(_) => replace(path, content).map_err(failed),
    }
}

/// Whether everything that `outputs` asks for on this machine can be written, before an hour is spent on building.
///
/// # Errors
/// [`Problem::Output`] names the first that cannot.
pub fn check_places(outputs: &Outputs) -> Result<(), BuildError> {
    for (origin, path) in outputs.files() {
        check_place(path).map_err(|source| Problem::Output {
            origin,
            path: path.to_owned(),
            source,
        })?;
    }
    Ok(())
}

/// A file that is there is written to, if it cannot be replaced; the directories of another one may have to be made.
fn check_place(path: &Path) -> io::Result<()> {
    let may_write = |path: &Path| rustix::fs::access(path, Access::WRITE_OK);
    if may_write(path).is_ok() {
        return Ok(());
    }
    let mut above = path.ancestors().skip(1);
    let existing = above.find(|above| above.as_os_str().is_empty() || above.symlink_metadata().is_ok());
    match existing {
        Some(above) if above.as_os_str().is_empty() => Ok(may_write(Path::new("."))?),
        Some(above) if above.is_dir() => Ok(may_write(above)?),
        Some(_) => Err(io::ErrorKind::NotADirectory.into()),
        None => Ok(()),
    }
}

fn replace(path: &Path, content: &str) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut file = match tempfile::NamedTempFile::new_in(directory) {
        // Of a directory that cannot be written, a single file may be mounted.
        Err(error) if is_refusal(&error) => return fs::write(path, content).map_err(|_| error),
        made => made?,
    };
    file.write_all(content.as_bytes())?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    match file.persist(path) {
        Ok(_) => Ok(()),
        // A file that is itself a mount point (a pod's termination log) can only be written in place.
        Err(error) if error.error.kind() == io::ErrorKind::ResourceBusy => fs::write(path, content),
        Err(error) => Err(error.error),
    }
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
    )
}

fn overwrite(path: &Path, content: &str) -> io::Result<()> {
    fs::OpenOptions::new()
        .write(true)
        .open(path)?
        .write_all(content.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_files_have_the_formats_that_pipelines_parse() {
        let destinations: Vec<Reference> = ["app:1", "127.0.0.1:5000/x/y:2"]
            .map(|text| text.parse().unwrap())
            .into();
        let digest = Digest::of(b"");
        let lines = names(&destinations, &digest, Reference::kaniko_name);
        assert_eq!(
            lines,
            format!("index.docker.io/library/app@{digest}\n127.0.0.1:5000/x/y@{digest}\n")
        );
        let line = |name: &str| format!("{{\"name\":\"{name}\",\"digest\":\"{digest}\"}}\n");
        let expected = line("index.docker.io/library/app:1") + &line("127.0.0.1:5000/x/y:2");
        assert_eq!(pushed_images(&destinations, &digest), expected);
    }

    #[test]
    fn files_are_replaced_readable_and_directories_are_made() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a/b/digest");
        for content in ["first, and longer", "second"] {
            write_file(&path, content).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        write_file(Path::new("/dev/null"), "x").unwrap();
        assert!(write_file(Path::new("/dev/null/x"), "x").is_err());
    }
}
