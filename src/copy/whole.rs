//! Copies a whole rootfs, for a stage that several others start from.

use super::tree::{self, Filter, From, Top};
use super::write::{Keep, Policy, Sockets, Writer};
use super::{Copied, CopyError};
use crate::cancel::Cancel;
use crate::rootfs::{Rootfs, RootfsPath};
use crate::snapshot::Fingerprints;

/// Makes `to`, which is empty, equal to `from`: content, owners, modes, attributes, hard links, devices and times, of
/// the root too. Sockets are left out; no layer can hold them. Mounts are not entered.
///
/// `known` holds fingerprints of `from`. They must all be valid now, and become those of the copies.
///
/// # Errors
/// [`CopyError`]; then `to` holds part of the copy.
pub fn copy_tree(
    from: (&Rootfs, &Fingerprints),
    to: (&Rootfs, &mut Fingerprints),
    cancel: &Cancel,
    warn: &dyn Fn(&str),
) -> Result<Copied, CopyError> {
    let root = RootfsPath::root();
    let policy = Policy {
        owner: None,
        chmod: None,
        xattrs: Keep::Yes,
        sockets: Sockets::Dropped,
    };
    let (from, known) = from;
    let (to, fingerprints) = to;
    let mut writer = Writer::new(to, policy, fingerprints, cancel, warn);
    writer.known = Some(known);
    let metadata = from.root().metadata();
    let metadata = metadata.map_err(|source| CopyError::read("stat", &root, source))?;
    let clone = |rootfs: &Rootfs| {
        let dir = rootfs.root().try_clone();
        dir.map_err(|source| CopyError::read("open directory", &root, source))
    };
    let source = From {
        dir: clone(from)?,
        path: &root,
        metadata,
        mount: Some(metadata.mount),
    };
    tree::merge(
        &mut writer,
        Filter::default(),
        source,
        (clone(to)?, root.clone()),
        Top::All,
    )?;
    Ok(writer.copied.sorted())
}
