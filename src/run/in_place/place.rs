//! Where the container's own files lie while an image's are in their place, and the journal that tells.
//!
//! ```text
//! <state>/in-place/journal   what stays, and whose files are in / now; absent when nothing is moved
//!                  journal.return  what the journal becomes in the end
//!                  aside/    the container's own files
//!                  trash/    what a killed RUN left
//!                  lock      held by whoever watches over a RUN
//!                  session   the session of its processes
//! ```
//!
//! The journal is written beside its name and renamed, before anything is moved. In `/` there are either files of
//! the container alone or, besides what stays, files of the image alone: nobody has to guess whose a file is.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::error::{InPlaceError, failed_at};
use super::levels::Level;
use super::{CAPABILITIES, moves};
use crate::rootfs::{Dir, Rootfs};
use crate::sys::processes;

/// Whose files are in `/`, besides those that stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Owner {
    /// The container's; those that are not there are aside.
    Container,
    /// The image's; those that are not there have not come yet, or are back.
    Image,
}

/// What must be known to put everything back.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Journal {
    pub(super) owner: Owner,
    pub(super) root: Level,
}

/// The directory of a state directory that belongs to this isolation.
#[derive(Clone, Debug)]
pub(super) struct Place(PathBuf);

impl Place {
    /// That of the state directory `state`.
    pub(super) fn of(state: &Path) -> Self {
        Self(state.join("in-place"))
    }

    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn create(&self) -> Result<(), InPlaceError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let mut builder = fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&self.0);
        made.map_err(failed_at("create", &self.0))
    }

    /// A directory in it, created when missing.
    pub(super) fn directory(&self, name: &str) -> Result<Dir, InPlaceError> {
        let path = self.0.join(name);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(failed_at("create", &path))?,
        }
        open(&path)
    }

    pub(super) fn aside(&self) -> Result<Dir, InPlaceError> {
        self.directory("aside")
    }

    /// See [`moves::is_movable`].
    pub(super) fn full(&self) -> Result<Dir, InPlaceError> {
        let name = String::from_utf8_lossy(moves::FULL);
        self.directory("probe")?;
        self.directory(&format!("probe/{name}"))?;
        self.directory(&format!("probe/{name}/entry"))?;
        self.directory("probe")
    }

    /// Writes down that something is about to be moved, and what is to be written when the container's files come back:
    /// a RUN may leave no space for that.
    pub(super) fn begin(&self, journal: &Journal) -> Result<(), InPlaceError> {
        self.clear_trash()?;
        self.write_to(&self.journal_of_return(), journal)?;
        self.write(journal)
    }

    /// Writes down what is about to happen.
    pub(super) fn write(&self, journal: &Journal) -> Result<(), InPlaceError> {
        self.write_to(&self.journal(), journal)
    }

    fn write_to(&self, path: &Path, journal: &Journal) -> Result<(), InPlaceError> {
        let new = self.0.join("journal.new");
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec(journal)?)?;
            file.sync_data()?;
            fs::rename(&new, path)
        };
        write().map_err(failed_at("write", path))
    }

    /// From now on `/` is the container's again, as the journal that began this said.
    pub(super) fn return_to_container(&self, journal: &mut Journal) -> Result<(), InPlaceError> {
        journal.owner = Owner::Container;
        let path = self.journal();
        match fs::rename(self.journal_of_return(), &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.write(journal),
            renamed => renamed.map_err(failed_at("write", &path)),
        }
    }

    /// Everything is where it belongs.
    pub(super) fn forget(&self) -> Result<(), InPlaceError> {
        let path = self.journal();
        fs::remove_file(&path).map_err(failed_at("remove", &path))?;
        self.remove("journal.return")?;
        self.remove("aside")?;
        self.clear_trash()
    }

    /// Removes what a recovery that was killed has left of a RUN: the next one could not move the same names there.
    fn clear_trash(&self) -> Result<(), InPlaceError> {
        self.remove("trash")
    }

    fn remove(&self, name: &str) -> Result<(), InPlaceError> {
        let path = self.0.join(name);
        let parent = File::open(&self.0).map_err(failed_at("open", &self.0))?;
        use std::os::fd::AsFd as _;
        crate::store::remove_tree(parent.as_fd(), name.as_ref())
            .map_err(|error| failed_at("remove", path)(error.source))
    }

    fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    fn journal_of_return(&self) -> PathBuf {
        self.0.join("journal.return")
    }

    fn read(&self) -> Result<Option<Journal>, InPlaceError> {
        let path = self.journal();
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(failed_at("read", &path))?,
        };
        let journal = serde_json::from_slice(&text);
        journal
            .map(Some)
            .map_err(|error| failed_at("read", &path)(error.into()))
    }

    /// Watches over a RUN from now on, as long as the file lives: until then nobody else puts anything back.
    pub(super) fn watch(&self) -> Result<File, InPlaceError> {
        let path = self.0.join("lock");
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(failed_at("open", &path))?;
        let locked = rustix::fs::flock(&file, FlockOperation::LockExclusive);
        locked.map_err(io::Error::from).map_err(failed_at("lock", &path))?;
        Ok(file)
    }

    /// Notes the session of a RUN's processes.
    pub(super) fn note_session(&self, session: i32) -> Result<(), InPlaceError> {
        let path = self.0.join("session");
        fs::write(&path, session.to_string()).map_err(failed_at("write", &path))
    }

    /// That of the last RUN.
    fn session(&self) -> Option<i32> {
        fs::read_to_string(self.0.join("session")).ok()?.parse().ok()
    }

    /// Ends what is left of the last RUN.
    pub(super) fn end_session(&self) {
        if let Some(session) = self.session() {
            processes::end_session(session);
        }
        // Those that left the session.
        if let Some(own) = processes::bounding_set("self") {
            processes::end_bounded_by(own & CAPABILITIES);
        }
    }

    /// Whether this isolation was ever used with this state directory.
    pub(super) fn exists(&self) -> bool {
        self.0.is_dir()
    }

    /// Puts everything back that a killed build has moved, after ending what it left running. Whether there was any.
    pub(super) fn recover(&self) -> Result<bool, InPlaceError> {
        if !self.journal().exists() {
            return Ok(false);
        }
        let _watch = self.watch()?;
        // Whoever watched may have done it.
        let Some(mut journal) = self.read()? else {
            return Ok(false);
        };
        self.end_session();
        let root = root()?;
        if journal.owner == Owner::Image {
            let trash = self.directory("trash")?;
            moves::take_out(&journal.root, &root, &trash)
                .map_err(failed_at("move away the files of the image in", "/"))?;
            self.return_to_container(&mut journal)?;
        }
        self.restore(&journal.root, &root)?;
        Ok(true)
    }

    /// Moves the container's own files back into `/`, where there is nothing else but what stays.
    pub(super) fn restore(&self, level: &Level, root: &Dir) -> Result<(), InPlaceError> {
        let back = moves::bring_back(level, &self.aside()?, root).and_then(|()| moves::restore_looks(level, root));
        back.map_err(failed_at("move back the container's own files to", "/"))?;
        self.forget()
    }
}

/// The container's `/`.
pub(super) fn root() -> Result<Dir, InPlaceError> {
    open(Path::new("/"))
}

pub(super) fn open(path: &Path) -> Result<Dir, InPlaceError> {
    let opened = Rootfs::open(path).and_then(|rootfs| rootfs.root().try_clone());
    opened.map_err(failed_at("open", path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::rootfs::RootfsPath;
    use crate::run::in_place::levels::Survey;
    use crate::run::in_place::stays::Stays;

    fn begun(place: &Place) -> Journal {
        let (full, own) = (place.full().unwrap(), open(place.path()).unwrap());
        let mut survey = Survey {
            full: &full,
            hidden: Vec::new(),
        };
        let root = survey.plan((&own, None), &Stays::default(), &RootfsPath::root());
        let journal = Journal {
            owner: Owner::Container,
            root: root.unwrap(),
        };
        place.begin(&journal).unwrap();
        journal
    }

    fn owner(place: &Place) -> Owner {
        place.read().unwrap().unwrap().owner
    }

    #[test]
    fn a_full_disk_neither_spoils_the_journal_nor_keeps_the_container_away() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::at(directory.path().to_owned());
        let mut journal = begun(&place);
        let fill = || symlink("/dev/full", directory.path().join("journal.new")).unwrap();
        journal.owner = Owner::Image;
        fill();
        let error = place.write(&journal).unwrap_err();
        assert!(matches!(error, InPlaceError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull));
        assert_eq!(owner(&place), Owner::Container);
        fs::remove_file(directory.path().join("journal.new")).unwrap();
        place.write(&journal).unwrap();
        assert_eq!(owner(&place), Owner::Image);
        fill();
        place.return_to_container(&mut journal).unwrap();
        assert_eq!((owner(&place), journal.owner), (Owner::Container, Owner::Container));
        place.forget().unwrap();
        assert!(place.read().unwrap().is_none() && !place.journal_of_return().exists());
    }

    #[test]
    fn what_a_killed_recovery_left_is_gone_when_the_next_run_begins() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::at(directory.path().to_owned());
        let left = directory.path().join("trash/usr/bin");
        fs::create_dir_all(&left).unwrap();
        let _journal = begun(&place);
        assert!(!directory.path().join("trash").exists());
    }
}
