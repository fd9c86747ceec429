//! Extended attributes: which belong to an image, and how to read and set them without following symlinks.

use std::collections::BTreeMap;
use std::io;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::{Dir, Name};

/// Attributes by full name, `security.capability` for instance, in the order of their names.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// Whether an attribute is part of an image's content.
///
/// Labels of the host's policy (SELinux, EVM), of its storage (overlay, trusted, btrfs, NFS) are not;
/// an image that carried them would lie on the next machine.
#[must_use]
pub fn belongs_to_image(name: &[u8]) -> bool {
    match name {
        b"security.capability" | b"security.ima" | b"system.posix_acl_access" | b"system.posix_acl_default" => true,
        _ => name.starts_with(b"user.") && !name.starts_with(b"user.overlay."),
    }
}

impl Dir {
    /// The attributes of `name` that belong to an image; `None` names the directory itself.
    ///
    /// A filesystem without attributes has none.
    ///
    /// # Errors
    /// What `llistxattr` and `lgetxattr` say.
    pub fn xattrs(&self, name: Option<&[u8]>) -> io::Result<Xattrs> {
        let path = self.proc_path_of(name.unwrap_or(b"."));
        let mut names = Vec::new();
        loop {
            // The list may grow until it is read, then the call says ERANGE.
            let size = match rustix::fs::llistxattr_query(Name::new(&path)) {
                Ok(0) | Err(Errno::NOTSUP) => return Ok(Xattrs::new()),
                answer => answer?,
            };
            names.resize(size, 0);
            match rustix::fs::llistxattr(Name::new(&path), names.as_mut_slice()) {
                Ok(size) => {
                    names.truncate(size);
                    break;
                }
                Err(Errno::RANGE) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let kept = names.split(|b| *b == 0).filter(|name| belongs_to_image(name));
        kept.map(|name| Ok((name.to_vec(), get(&path, name)?))).collect()
    }

    /// Sets one attribute of `name`, symlinks not followed.
    ///
    /// # Errors
    /// What `lsetxattr` says: `EOPNOTSUPP` where the filesystem has none, `EPERM` for `user.*` on
    /// anything but files and directories.
    pub fn set_xattr(&self, name: Option<&[u8]>, attribute: &[u8], value: &[u8]) -> io::Result<()> {
        let path = self.proc_path_of(name.unwrap_or(b"."));
        Ok(rustix::fs::lsetxattr(
            Name::new(&path),
            Name::new(attribute),
            value,
            XattrFlags::empty(),
        )?)
    }

    /// Removes one attribute of `name`; absence is no error.
    ///
    /// # Errors
    /// What `lremovexattr` says.
    pub fn remove_xattr(&self, name: Option<&[u8]>, attribute: &[u8]) -> io::Result<()> {
        let path = self.proc_path_of(name.unwrap_or(b"."));
        match rustix::fs::lremovexattr(Name::new(&path), Name::new(attribute)) {
            Ok(()) | Err(Errno::NODATA) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn get(path: &[u8], attribute: &[u8]) -> io::Result<Vec<u8>> {
    /// `XATTR_SIZE_MAX` of Linux.
    const LARGEST: usize = 64 << 10;
    let mut value = vec![0; LARGEST];
    let size = rustix::fs::lgetxattr(Name::new(path), Name::new(attribute), value.as_mut_slice())?;
    value.truncate(size);
    Ok(value)
}
