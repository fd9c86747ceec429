//! Images that a warmer has brought here: a registry is only asked what a tag points to.

use super::pull::{Pull, digest_like};
use super::{Inner, RegistryError};
use crate::http::retry::describe;
use crate::oci::{Descriptor, Digest, Document};
use crate::progress::Event;
use crate::store::{BaseImages, Blob, Entry, IncomingWriter};

/// The kept manifest or index that `identifier` means now. `expected` is the digest asked for, if it was one.
pub(super) fn document(
    pull: &Pull<'_>,
    identifier: &str,
    expected: Option<&Digest>,
) -> Result<Option<Document>, RegistryError> {
    // Where nothing is kept, a question about the tag would only come on top.
    let Some(images) = images(pull.inner).filter(|images| images.is_filled()) else {
        return Ok(None);
    };
    let digest = match expected {
        Some(digest) => Some(*digest),
        None => pull.digest_of(identifier)?,
    };
    let Some(digest) = digest else {
        return Ok(None);
    };
    let found = images.document(&digest).unwrap_or_else(|error| {
        let here = images.directory().display();
        let text = format!("the copy of {digest} in {here} is not used: {}", describe(&error));
        pull.inner.warn(&text);
        None
    });
    match &found {
        Some(Document::Manifest(_)) => {
            let text = format!(
                "Found {} ({digest}) in {}",
                pull.reference,
                images.directory().display()
            );
            pull.inner.progress.event(Event::Info(&text));
        }
        None if images.entry(&digest) == Entry::Expired => {
            let text = format!("Cache entry expired: {} ({digest})", pull.reference);
            pull.inner.progress.event(Event::Info(&text));
        }
        Some(Document::Index(_)) | None => {}
    }
    Ok(found)
}

/// The config of a kept image, verified.
pub(super) fn config(inner: &Inner, descriptor: &Descriptor) -> Option<Vec<u8>> {
    let blob = images(inner)?.blob(descriptor)?;
    let bytes = std::fs::read(blob.path()).ok()?;
    (digest_like(&descriptor.digest, &bytes) == descriptor.digest).then_some(bytes)
}

/// Gives `writer` a layer of a kept image. `None` when it is not kept, or damaged: then the registry has to give it.
pub(super) fn take_blob(inner: &Inner, writer: &mut IncomingWriter) -> Option<Blob> {
    let blob = images(inner)?.blob(writer.descriptor())?;
    let taken = writer.append_verified(&blob).and_then(|()| writer.finish());
    taken
        .map_err(|error| {
            let cause = describe(&error);
            let text = format!(
                "{} is damaged and not used: {cause}; run the warmer with --force",
                blob.path().display()
            );
            inner.warn(&text);
            // Nobody has read of it. If it cannot be taken back, the download will say so.
            let _ = writer.restart();
        })
        .ok()
}

fn images(inner: &Inner) -> Option<&BaseImages> {
    inner.options.base_images.as_deref()
}
