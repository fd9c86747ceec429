//! Did a RUN change what is not its image?
//!
//! Nothing can be hidden from user 0 where nothing can be mounted: `find / -name '*.a' -delete` also goes through the trees
//! of other stages and through what was moved aside. That cannot be prevented, but it shows: user space cannot set the
//! ctime.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::error::{InPlaceError, failed_at};
use super::place::{self, Place};
use crate::rootfs::{Dir, Metadata, ObjectId, Timestamp};
use crate::snapshot;

/// Trees that a RUN must leave alone.
#[derive(Debug)]
pub(super) struct Outside {
    trees: Vec<PathBuf>,
    /// What is changed from now on has a later ctime.
    since: Timestamp,
}

impl Outside {
    /// Notes what is there besides `image`: the trees of all builds, and what is aside. Everything that the builder itself
    /// changes must be done.
    pub(super) fn note(place: &Place, image: &Dir) -> Result<Self, InPlaceError> {
        let image = image.metadata().map_err(failed_at("stat", "the rootfs"))?.id();
        let mut trees = vec![place.path().join("aside")];
        let state = place.path().parent().unwrap_or(place.path());
        for build in list(&state.join("builds"))? {
            let all = build.join("rootfs");
            for tree in list(&all)? {
                if identity(&tree)? != Some(image) {
                    trees.push(tree);
                }
            }
        }
        let since = tick(place.path()).map_err(failed_at("look at the clock of", place.path()))?;
        Ok(Self { trees, since })
    }

    /// The first path that was changed since.
    pub(super) fn first_change(&self) -> Result<Option<PathBuf>, InPlaceError> {
        for tree in &self.trees {
            if !tree.exists() {
                return Ok(Some(tree.clone()));
            }
            let root = place::open(tree)?;
            let changed = self.change_below(&root).map_err(failed_at("look through", tree))?;
            if let Some(path) = changed {
                return Ok(Some(tree.join(path)));
            }
        }
        Ok(None)
    }

    fn change_below(&self, directory: &Dir) -> io::Result<Option<PathBuf>> {
        if self.is_later(&directory.metadata()?) {
            return Ok(Some(PathBuf::new()));
        }
        for name in directory.names()? {
            let Some(metadata) = directory.stat(&name)? else {
                continue;
            };
            let path = || PathBuf::from(String::from_utf8_lossy(&name).into_owned());
            if self.is_later(&metadata) {
                return Ok(Some(path()));
            }
            if metadata.is_dir()
                && let Some(below) = self.change_below(&directory.open_dir(&name)?)?
            {
                return Ok(Some(path().join(below)));
            }
        }
        Ok(None)
    }

    fn is_later(&self, metadata: &Metadata) -> bool {
        metadata.ctime > self.since
    }
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, InPlaceError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed_at("list", directory))?,
    };
    let paths: io::Result<_> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    paths.map_err(failed_at("list", directory))
}

fn identity(path: &Path) -> Result<Option<ObjectId>, InPlaceError> {
    match path.is_dir() {
        true => {
            let metadata = place::open(path)?.metadata();
            Ok(Some(metadata.map_err(failed_at("stat", path))?.id()))
        }
        false => Ok(None),
    }
}

/// The present ctime of the filesystem of `directory`, after which a later one has come.
fn tick(directory: &Path) -> io::Result<Timestamp> {
    let metadata = tempfile::tempfile_in(directory)?.metadata()?;
    let now = Timestamp {
        seconds: metadata.ctime(),
        nanoseconds: u32::try_from(metadata.ctime_nsec()).unwrap_or_default(),
    };
    snapshot::wait_for_tick(now, directory)?;
    Ok(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_changed_later_shows_wherever_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::of(directory.path());
        let trees = directory.path().join("builds/a/rootfs");
        for path in ["0/usr/lib", "1/usr/lib", "1/etc"] {
            fs::create_dir_all(trees.join(path)).unwrap();
        }
        fs::create_dir_all(place.path().join("aside/etc")).unwrap();
        fs::write(trees.join("1/usr/lib/a"), "").unwrap();
        let image = place::open(&trees.join("0")).unwrap();
        let note = || Outside::note(&place, &image).unwrap();
        let change = |outside: &Outside| outside.first_change().unwrap();
        let outside = note();
        fs::write(trees.join("0/usr/lib/own"), "").unwrap();
        assert_eq!(change(&outside), None);
        fs::remove_file(trees.join("1/usr/lib/a")).unwrap();
        assert_eq!(change(&outside), Some(trees.join("1/usr/lib")));
        let outside = note();
        fs::write(place.path().join("aside/etc/x"), "").unwrap();
        assert_eq!(change(&outside), Some(place.path().join("aside/etc")));
        let outside = note();
        fs::remove_dir_all(trees.join("1")).unwrap();
        assert_eq!(change(&outside), Some(trees.join("1")));
    }
}
