//! Downloads that stay for the next build, so that it need only ask whether they are still the same.
//!
//! ```text
//! <state>/downloads/
//!   <sha256 of the URL>.data    the content, mode 0600, with its own modification time
//!   <sha256 of the URL>.json    ETag, modification time and digest; written last, touched at each use
//!   incoming-<random>           being downloaded
//! ```
//!
//! Builds share the directory without a lock: files come into their places by renaming, and content is taken only when
//! its digest is the one in the description. URLs are not written down, they may hold tokens.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::{RemoteError, UrlSource};
use crate::oci::{Algorithm, Digest, Digester};

/// More than this is not kept: what was not used for longest goes.
const MOST_BYTES: u64 = 2 << 30;

const READ_SIZE: usize = 128 << 10;

/// The directory.
#[derive(Clone, Debug)]
pub(super) struct KeptDownloads {
    path: PathBuf,
}

/// What is known of a kept download.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Description {
    /// As the server wrote it.
    pub(super) etag: Option<String>,
    /// Seconds since 1970.
    pub(super) modified: Option<i64>,
    pub(super) digest: String,
}

impl KeptDownloads {
    pub(super) fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// What is kept for `source`.
    pub(super) fn find(&self, source: &UrlSource) -> Option<Description> {
        let bytes = fs::read(self.file(source, "json")).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Puts the kept content at `place`; `false` when it is gone or damaged.
    pub(super) fn take(&self, source: &UrlSource, description: &Description, place: &Path) -> bool {
        let data = self.file(source, "data");
        if place_file(&data, place).is_err() {
            return false;
        }
        // A file of that name is never written to, so that what is hashed here is what is used.
        let intact = digest_of(place, &description.digest).is_ok_and(|intact| intact);
        match intact {
            true => {
                // Only a matter of what is removed first.
                let _ = File::options()
                    .append(true)
                    .open(self.file(source, "json"))
                    .and_then(|file| file.set_modified(SystemTime::now()));
            }
            false => {
                let _ = fs::remove_file(place);
            }
        }
        intact
    }

    /// A file to download into.
    pub(super) fn begin(&self) -> Result<NamedTempFile, RemoteError> {
        let mut builder = DirBuilder::new();
        let created = builder.recursive(true).mode(0o700).create(&self.path);
        created.map_err(RemoteError::io("create", &self.path))?;
        tempfile::Builder::new()
            .prefix("incoming-")
            .tempfile_in(&self.path)
            .map_err(RemoteError::io("create a file in", &self.path))
    }

    /// Keeps a whole download. That it cannot be kept is no reason to fail a build.
    pub(super) fn keep(&self, source: &UrlSource, file: NamedTempFile, description: &Description) -> io::Result<()> {
        file.persist(self.file(source, "data")).map_err(|failed| failed.error)?;
        let json = NamedTempFile::with_prefix_in("incoming-", &self.path)?;
        serde_json::to_writer(json.as_file(), description)?;
        json.persist(self.file(source, "json")).map_err(|failed| failed.error)?;
        self.sweep(MOST_BYTES)
    }

    /// Removes what was not used for longest until no more than `most` bytes are left.
    fn sweep(&self, most: u64) -> io::Result<()> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let used = fs::metadata(&path)?.modified()?;
                let size = fs::metadata(path.with_extension("data")).map_or(0, |data| data.len());
                kept.push((used, size, path));
            }
        }
        kept.sort();
        let mut total: u64 = kept.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in kept {
            if total <= most {
                break;
            }
            fs::remove_file(&path)?;
            fs::remove_file(path.with_extension("data"))?;
            total -= size;
        }
        Ok(())
    }

    fn file(&self, source: &UrlSource, extension: &str) -> PathBuf {
        let key = Digest::of(source.url().as_bytes());
        self.path.join(format!("{}.{extension}", key.hex()))
    }
}

/// A second name for a file where the filesystem allows it, else a copy with the same time.
pub(super) fn place_file(from: &Path, to: &Path) -> io::Result<()> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to)?;
    File::options()
        .write(true)
        .open(to)?
        .set_modified(fs::metadata(from)?.modified()?)
}

/// Whether the file has this digest.
fn digest_of(path: &Path, expected: &str) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut digester = Digester::new(Algorithm::Sha256);
    let mut buffer = vec![0; READ_SIZE];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digester.finish().to_string() == expected),
            count => digester.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use super::*;

    fn source(name: &str) -> UrlSource {
        UrlSource::parse(&format!("http://h/{name}"), None).unwrap()
    }

    fn keep(kept: &KeptDownloads, name: &str, content: &[u8]) -> Description {
        let mut file = kept.begin().unwrap();
        file.write_all(content).unwrap();
        let description = Description {
            etag: Some("\"1\"".to_owned()),
            modified: None,
            digest: Digest::of(content).to_string(),
        };
        kept.keep(&source(name), file, &description).unwrap();
        description
    }

    #[test]
    fn damaged_content_is_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let kept = KeptDownloads::at(&directory.path().join("downloads"));
        let place = directory.path().join("place");
        assert_eq!(kept.find(&source("a")), None);
        let description = keep(&kept, "a", b"content");
        assert_eq!(kept.find(&source("a")), Some(description.clone()));
        assert!(kept.take(&source("a"), &description, &place));
        assert_eq!(fs::read(&place).unwrap(), b"content");
        fs::remove_file(&place).unwrap();
        fs::write(kept.file(&source("a"), "data"), b"CONTENT").unwrap();
        assert!(!kept.take(&source("a"), &description, &place));
        assert!(!place.exists());
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let directory = tempfile::tempdir().unwrap();
        let kept = KeptDownloads::at(directory.path());
        for (age, name) in [(3, "a"), (9, "b"), (5, "c")] {
            keep(&kept, name, b"12345");
            let json = File::options().append(true).open(kept.file(&source(name), "json"));
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(100 - age);
            json.unwrap().set_modified(used).unwrap();
        }
        kept.sweep(10).unwrap();
        let left = ["a", "b", "c"].map(|name| kept.find(&source(name)).is_some());
        assert_eq!(left, [true, false, true]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 4);
    }
}
