//! A digest of what a tree holds, the same wherever and whenever the files were made.

use std::io::Read as _;

use super::{Dir, Kind, Metadata, Rootfs, RootfsError, RootfsPath, check_depth};
use crate::cancel::{Cancel, Cancelled};
use crate::oci::{Algorithm, Digest, Digester};

/// Why a tree could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// An entry cannot be read.
    #[error(transparent)]
    Read(#[from] RootfsError),
    /// The build was interrupted.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl Rootfs {
    /// The digest of the object at the canonical `path` and all below it: kinds, names, modes, owners, attributes,
    /// link targets, device numbers, content. Times do not count, nor does anything outside.
    ///
    /// # Errors
    /// [`ContentError`].
    pub fn content_digest(&self, path: &RootfsPath, cancel: &Cancel) -> Result<Digest, ContentError> {
        let mut content = Content {
            digester: Digester::new(Algorithm::Sha256),
            cancel,
            depth: 0,
        };
        match path.split_last() {
            None => {
                let metadata = self.root().metadata();
                let metadata = metadata.map_err(|source| RootfsError::new("stat", path, source))?;
                content.describe(&metadata);
                content.directory(self.root(), path)?;
            }
            Some((parent, name)) => content.entry(&self.open_dir(&parent)?, &name, path)?,
        }
        Ok(content.digester.finish())
    }
}

struct Content<'a> {
    digester: Digester,
    cancel: &'a Cancel,
    /// Directories that are open.
    depth: usize,
}

impl Content<'_> {
    fn entry(&mut self, parent: &Dir, name: &[u8], path: &RootfsPath) -> Result<(), ContentError> {
        let failed = |operation| move |source| RootfsError::new(operation, path, source);
        let Some(metadata) = parent.stat(name).map_err(failed("stat"))? else {
            return Err(RootfsError::new("stat", path, rustix::io::Errno::NOENT).into());
        };
        self.describe(&metadata);
        for (name, value) in parent.xattrs(Some(name)).map_err(failed("read the attributes of"))? {
            self.bytes(&name);
            self.bytes(&value);
        }
        self.number(u64::MAX);
        match metadata.kind {
            Kind::Directory => {
                let directory = parent.open_dir(name).map_err(failed("open directory"))?;
                self.directory(&directory, path)
            }
            Kind::Symlink => {
                self.bytes(&parent.read_link(name).map_err(failed("read link"))?);
                Ok(())
            }
            Kind::File => self.file(parent, name, path),
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo | Kind::Socket => Ok(()),
        }
    }

    fn directory(&mut self, directory: &Dir, path: &RootfsPath) -> Result<(), ContentError> {
        self.cancel.check()?;
        self.depth += 1;
        check_depth(self.depth, path)?;
        let names = directory.names();
        let names = names.map_err(|source| RootfsError::new("list", path, source))?;
        self.number(names.len() as u64);
        for name in names {
            self.bytes(&name);
            self.entry(directory, &name, &path.join(&name))?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn file(&mut self, parent: &Dir, name: &[u8], path: &RootfsPath) -> Result<(), ContentError> {
        let failed = |source| RootfsError::new("read", path, source);
        let mut file = parent.open_file(name).map_err(failed)?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            self.cancel.check()?;
            match file.read(&mut buffer).map_err(failed)? {
                0 => return Ok(()),
                count => self.digester.update(&buffer[..count]),
            }
        }
    }

    fn describe(&mut self, metadata: &Metadata) {
        let size = if metadata.kind == Kind::File { metadata.size } else { 0 };
        let (major, minor) = metadata.rdev;
        let numbers = [metadata.mode, metadata.uid, metadata.gid, major, minor];
        self.number(metadata.kind as u64);
        numbers.iter().for_each(|number| self.number(u64::from(*number)));
        self.number(size);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.digester.update(bytes);
    }

    fn number(&mut self, number: u64) {
        self.digester.update(&number.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    use super::*;

    fn digest(root: &Path, path: &str) -> Digest {
        let path = RootfsPath::parse_clamped(path.as_bytes()).unwrap();
        let rootfs = Rootfs::open(root).unwrap();
        rootfs.content_digest(&path, &Cancel::default()).unwrap()
    }

    #[test]
    fn l235_only_what_is_inside_counts_and_times_do_not() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("in/below")).unwrap();
        fs::write(root.join("in/file"), "content").unwrap();
        symlink("file", root.join("in/link")).unwrap();
        let before = digest(root, "in");

        fs::write(root.join("outside"), "new").unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH;
        let file = fs::File::options().write(true).open(root.join("in/file")).unwrap();
        file.set_modified(old).unwrap();
        assert_eq!(digest(root, "in"), before);

        let mut seen = vec![before];
        let changes: [&dyn Fn(); 6] = [
            &|| fs::write(root.join("in/file"), "CONTENT").unwrap(),
            &|| fs::set_permissions(root.join("in/file"), fs::Permissions::from_mode(0o600)).unwrap(),
            &|| fs::rename(root.join("in/file"), root.join("in/other")).unwrap(),
            &|| fs::write(root.join("in/below/deep"), "").unwrap(),
            &|| {
                fs::remove_file(root.join("in/link")).unwrap();
                symlink("other", root.join("in/link")).unwrap();
            },
            &|| fs::set_permissions(root.join("in"), fs::Permissions::from_mode(0o700)).unwrap(),
        ];
        for (number, change) in changes.iter().enumerate() {
            change();
            let now = digest(root, "in");
            assert!(!seen.contains(&now), "change {number}");
            seen.push(now);
        }
        assert_eq!(digest(root, "in/other"), digest(root, "in/other"));
        assert_ne!(digest(root, "/"), digest(root, "in"));
    }
    #[test]
    fn a_tree_that_is_too_deep_is_refused_and_not_the_end_of_all_descriptors() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("d/".repeat(600))).unwrap();
        let rootfs = Rootfs::open(root.path()).unwrap();
        let error = rootfs
            .content_digest(&RootfsPath::root(), &Cancel::default())
            .unwrap_err();
        let ContentError::Read(error) = error else {
            panic!("{error}")
        };
        assert_eq!(
            error.source.to_string(),
            "directories are nested more than 500 levels deep"
        );
    }
}
