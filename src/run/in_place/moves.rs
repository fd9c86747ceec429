//! Moves entries of one directory into another, so that they stay the same files.

use std::collections::HashMap;
use std::io;

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::levels::{Fate, Level};
use super::look::Look;
use crate::rootfs::{Dir, Name, ObjectId};

/// See [`is_movable`].
pub(super) const FULL: &[u8] = b"full";

/// Whether `name` can be renamed out of its directory. Nothing is moved: `full` has a directory of the name [`FULL`] that
/// is not empty, onto which nothing can be renamed, and overlayfs refuses a directory of a lower layer before it looks.
pub(super) fn is_movable(from: &Dir, name: &[u8], full: &Dir) -> io::Result<bool> {
    match rustix::fs::renameat(from, Name::new(name), full, Name::new(FULL)) {
        Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ISDIR) => Ok(true),
        Err(Errno::XDEV) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Moves `name` to the directory `to`, where nothing has that name, or a directory that takes up what is in it.
///
/// What cannot be renamed in one piece, a directory of an image's lower layer on overlayfs, is made anew over there, and
/// its files are renamed one by one.
pub(super) fn move_entry(from: &Dir, name: &[u8], to: &Dir) -> io::Result<()> {
    move_with(&mut Links::default(), from, name, to)
}

fn move_with(links: &mut Links, from: &Dir, name: &[u8], to: &Dir) -> io::Result<()> {
    match rustix::fs::renameat_with(from, Name::new(name), to, Name::new(name), RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(errno @ (Errno::XDEV | Errno::EXIST)) => match from.open_dir(name) {
            Ok(source) => move_piecemeal(links, (from, name), &source, to),
            Err(_) => Err(errno.into()),
        },
        Err(errno) => Err(errno.into()),
    }
}

fn move_piecemeal(links: &mut Links, (from, name): (&Dir, &[u8]), source: &Dir, to: &Dir) -> io::Result<()> {
    let look = Look::of(source)?;
    match to.create_dir(name, 0o700) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    let target = to.open_dir(name)?;
    // Now, since it may never come to the end; and then, since the entries move the time.
    look.apply(&target)?;
    for below in source.names()? {
        if !links.link(source, &below, &target)? {
            move_with(links, source, &below, &target)?;
        }
    }
    from.remove_dir(name)?;
    look.apply(&target)
}

/// Files with several names that were moved under one of them. Overlayfs makes a file of its own of each name of a lower
/// layer's file that is renamed.
#[derive(Default)]
struct Links(HashMap<ObjectId, (Dir, Vec<u8>)>);

impl Links {
    /// Each of them keeps a directory open.
    const MOST: usize = 200;

    /// Gives the file another name if it was moved before, and otherwise remembers where it is about to be.
    fn link(&mut self, from: &Dir, name: &[u8], to: &Dir) -> io::Result<bool> {
        let Some(metadata) = from
            .stat(name)?
            .filter(|metadata| metadata.links > 1 && !metadata.is_dir())
        else {
            return Ok(false);
        };
        if let Some((directory, first)) = self.0.get(&metadata.id()) {
            to.create_hard_link(name, directory, first)?;
            from.remove_file(name)?;
            return Ok(true);
        }
        if self.0.len() < Self::MOST {
            self.0.insert(metadata.id(), (to.try_clone()?, name.to_vec()));
        }
        Ok(false)
    }
}

/// Moves what does not stay from the container's directory `from` to `to`, in which the levels are made as they are
/// needed.
pub(super) fn take_out(level: &Level, from: &Dir, to: &Dir) -> io::Result<()> {
    for name in from.names()? {
        match (level.fate(&name), directory(from, &name)?) {
            (Fate::Stays, _) => {}
            (Fate::IsLevel(below), Some(from)) => {
                if has_moving(below, &from)? {
                    take_out(below, &from, &open_or_make(to, &name)?)?;
                }
            }
            // What stays in a level keeps its directory; one in which nothing does may have been replaced.
            (Fate::Moves | Fate::IsLevel(_), _) => move_entry(from, &name, to)?,
        }
    }
    Ok(())
}

/// Moves what does not stay from `from` into the container's directory `to`.
pub(super) fn bring_back(level: &Level, from: &Dir, to: &Dir) -> io::Result<()> {
    for name in from.names()? {
        match level.fate(&name) {
            Fate::Stays => {}
            Fate::Moves => move_entry(from, &name, to)?,
            Fate::IsLevel(below) => bring_back(below, &from.open_dir(&name)?, &open_or_make(to, &name)?)?,
        }
    }
    Ok(())
}

/// Moves the image's entries into the container's directory `to`, and makes that look like the image's.
pub(super) fn bring_image(level: &Level, image: &Dir, to: &Dir) -> io::Result<()> {
    let look = Look::of(image)?;
    for (name, below) in level.below() {
        if image.stat(name)?.is_none() {
            make_plain(below, &to.open_dir(name)?)?;
        }
    }
    for name in image.names()? {
        match level.fate(&name) {
            Fate::Stays => {}
            Fate::Moves => move_entry(image, &name, to)?,
            Fate::IsLevel(below) => bring_image(below, &image.open_dir(&name)?, &to.open_dir(&name)?)?,
        }
    }
    look.apply(to)
}

/// Takes the container's look from directories that the image does not have. If the process puts something in them, the
/// image gets them as if it had made them.
fn make_plain(level: &Level, directory: &Dir) -> io::Result<()> {
    for (name, below) in level.below() {
        make_plain(below, &directory.open_dir(name)?)?;
    }
    Look::of(directory)?.plain().apply(directory)
}

/// The way back of [`bring_image`], with all that has become of the entries and of the look.
pub(super) fn take_image(level: &Level, from: &Dir, image: &Dir) -> io::Result<()> {
    let look = Look::of(from)?;
    for (name, _) in level.below() {
        // The directory in which nothing stays may have been removed, or replaced.
        if directory(from, name)?.is_none() {
            image.remove_all(name)?;
        }
    }
    for name in from.names()? {
        match (level.fate(&name), directory(from, &name)?) {
            (Fate::Stays, _) => {}
            (Fate::IsLevel(below), Some(from)) => {
                // A directory that the image does not have is none of its business until something is put in it.
                if image.stat(&name)?.is_some() || has_moving(below, &from)? {
                    take_image(below, &from, &open_or_make(image, &name)?)?;
                }
            }
            (Fate::Moves | Fate::IsLevel(_), _) => move_entry(from, &name, image)?,
        }
    }
    look.apply(image)
}

/// Gives the container's directories their own looks again.
pub(super) fn restore_looks(level: &Level, parent: &Dir) -> io::Result<()> {
    for (name, below) in level.below() {
        restore_looks(below, &open_or_make(parent, name)?)?;
    }
    level.look.apply(parent)
}

fn has_moving(level: &Level, parent: &Dir) -> io::Result<bool> {
    for name in parent.names()? {
        let moves = match (level.fate(&name), directory(parent, &name)?) {
            (Fate::Stays, _) => false,
            (Fate::IsLevel(below), Some(child)) => has_moving(below, &child)?,
            (Fate::Moves | Fate::IsLevel(_), _) => true,
        };
        if moves {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `name`, if it is a directory.
fn directory(parent: &Dir, name: &[u8]) -> io::Result<Option<Dir>> {
    match parent.stat(name)? {
        Some(metadata) if metadata.is_dir() => parent.open_dir(name).map(Some),
        _ => Ok(None),
    }
}

fn open_or_make(parent: &Dir, name: &[u8]) -> io::Result<Dir> {
    match parent.create_dir(name, 0o755) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    parent.open_dir(name)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::rootfs::{Rootfs, RootfsPath, Timestamp};
    use crate::run::in_place::InPlaceError;
    use crate::run::in_place::levels::Survey;
    use crate::run::in_place::stays::{Holder, Stays};

    /// A container and an image, side by side.
    struct Fixture {
        directory: tempfile::TempDir,
    }

    const OWN: [&str; 8] = [
        "etc/hosts",
        "etc/nsswitch.conf",
        "kaniko/.docker/config.json",
        "kaniko/executor",
        "var/lib/state/x",
        "var/run/secrets/token",
        "bin/sh",
        "workspace/file",
    ];
    const OF_IMAGE: [&str; 5] = ["etc/hosts", "etc/passwd", "usr/bin/sh", "var/lib/dpkg/status", "top"];

    impl Fixture {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            for (side, files) in [("own", OWN.as_slice()), ("image", &OF_IMAGE)] {
                for file in files {
                    let path = directory.path().join(side).join(file);
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, format!("{side} {file}")).unwrap();
                }
            }
            let path = |name: &str| directory.path().join(name);
            symlink("usr/bin", path("image/bin")).unwrap();
            symlink("../run", path("image/var/run")).unwrap();
            fs::create_dir_all(path("aside")).unwrap();
            fs::create_dir_all(path("probe/full/x")).unwrap();
            for own in ["own/etc", "own/kaniko"] {
                fs::set_permissions(path(own), fs::Permissions::from_mode(0o700)).unwrap();
            }
            for old in ["own", "own/etc", "own/workspace", "image/etc", "image"] {
                let root = Rootfs::open(&path(old)).unwrap();
                root.root().set_own_mtime(Timestamp::from_seconds(1000)).unwrap();
            }
            Self { directory }
        }

        fn dir(&self, name: &str) -> Dir {
            let rootfs = Rootfs::open(&self.directory.path().join(name)).unwrap();
            rootfs.root().try_clone().unwrap()
        }

        fn path(&self, path: &str) -> PathBuf {
            self.directory.path().join(path)
        }

        fn plan(&self) -> Result<Level, InPlaceError> {
            let mut stays = Stays::default();
            stays.keep(Path::new("/etc/hosts"), Holder::Mount);
            stays.keep(Path::new("/var/run/secrets"), Holder::Mount);
            stays.keep(Path::new("/var/lib/state"), Holder::State);
            stays.keep(Path::new("/kaniko/executor"), Holder::Own);
            stays.keep(Path::new("/absent"), Holder::Own);
            stays.keep_emptied(Path::new("/workspace"));
            let full = self.dir("probe");
            let mut survey = Survey {
                full: &full,
                hidden: Vec::new(),
            };
            let level = survey.plan(
                (&self.dir("own"), Some(&self.dir("image"))),
                &stays,
                &RootfsPath::root(),
            )?;
            assert_eq!(survey.hidden, []);
            Ok(level)
        }

        /// Paths with kind and mode, time, content or target.
        fn listing(&self, side: &str) -> Vec<String> {
            let root = self.path(side);
            let mut lines: Vec<_> = walkdir::WalkDir::new(&root)
                .into_iter()
                .map(|entry| {
                    let entry = entry.unwrap();
                    let metadata = entry.metadata().unwrap();
                    let content = match metadata.file_type() {
                        kind if kind.is_file() => fs::read_to_string(entry.path()).unwrap(),
                        kind if kind.is_symlink() => fs::read_link(entry.path()).unwrap().display().to_string(),
                        _ => String::new(),
                    };
                    let path = entry.path().strip_prefix(&root).unwrap().display();
                    let time = (metadata.mtime(), metadata.mtime_nsec());
                    format!("{path} {:o} {time:?} {content}", metadata.mode())
                })
                .collect();
            lines.sort();
            lines
        }

        fn names(&self, path: &str) -> Vec<String> {
            let names = self.dir(path).names().unwrap();
            names
                .iter()
                .map(|name| String::from_utf8_lossy(name).into_owned())
                .collect()
        }
    }

    #[test]
    fn the_image_is_seen_and_everything_comes_back() {
        let fixture = Fixture::new();
        let (own, image) = (fixture.listing("own"), fixture.listing("image"));
        let level = fixture.plan().unwrap();
        let (root, rootfs, aside) = (fixture.dir("own"), fixture.dir("image"), fixture.dir("aside"));
        take_out(&level, &root, &aside).unwrap();
        bring_image(&level, &rootfs, &root).unwrap();
        assert_eq!(
            fixture.names("own"),
            ["bin", "etc", "kaniko", "top", "usr", "var", "workspace"]
        );
        assert_eq!(fixture.names("own/etc"), ["hosts", "passwd"]);
        assert_eq!(fixture.names("own/kaniko"), ["executor"]);
        assert_eq!(fixture.names("own/var"), ["lib", "run"]);
        assert_eq!(fixture.names("own/var/lib"), ["dpkg", "state"]);
        assert_eq!(fixture.names("own/workspace"), Vec::<String>::new());
        assert_eq!(fs::read_link(fixture.path("own/bin")).unwrap(), Path::new("usr/bin"));
        let etc = fs::metadata(fixture.path("own/etc")).unwrap();
        assert_eq!((etc.mode() & 0o777, etc.mtime()), (0o755, 1000));
        assert_eq!(
            fs::read_to_string(fixture.path("own/etc/hosts")).unwrap(),
            "own etc/hosts"
        );
        take_image(&level, &root, &rootfs).unwrap();
        bring_back(&level, &aside, &root).unwrap();
        restore_looks(&level, &root).unwrap();
        assert_eq!(fixture.listing("own"), own);
        assert_eq!(fixture.listing("image"), image);
    }

    #[test]
    fn what_a_process_did_belongs_to_the_image() {
        let fixture = Fixture::new();
        let own = fixture.listing("own");
        let level = fixture.plan().unwrap();
        let (root, rootfs, aside) = (fixture.dir("own"), fixture.dir("image"), fixture.dir("aside"));
        take_out(&level, &root, &aside).unwrap();
        bring_image(&level, &rootfs, &root).unwrap();
        let path = |path: &str| fixture.path("own").join(path);
        fs::write(path("etc/new"), "").unwrap();
        fs::remove_file(path("top")).unwrap();
        fs::remove_dir(path("workspace")).unwrap();
        symlink("elsewhere", path("workspace")).unwrap();
        fs::write(path("kaniko/made"), "").unwrap();
        fs::set_permissions(path("etc"), fs::Permissions::from_mode(0o711)).unwrap();
        take_image(&level, &root, &rootfs).unwrap();
        bring_back(&level, &aside, &root).unwrap();
        restore_looks(&level, &root).unwrap();
        assert_eq!(fixture.listing("own"), own);
        assert_eq!(
            fixture.names("image"),
            ["bin", "etc", "kaniko", "usr", "var", "workspace"]
        );
        assert_eq!(fixture.names("image/etc"), ["hosts", "new", "passwd"]);
        assert_eq!(fixture.names("image/kaniko"), ["made"]);
        assert_eq!(
            fs::metadata(fixture.path("image/kaniko")).unwrap().mode() & 0o777,
            0o755
        );
        assert_eq!(
            fs::read_link(fixture.path("image/workspace")).unwrap(),
            Path::new("elsewhere")
        );
        assert_eq!(fs::metadata(fixture.path("image/etc")).unwrap().mode() & 0o777, 0o711);
    }

    /// As after a kill: the entries are half on their way, and are first taken away or brought back.
    #[test]
    fn whatever_is_half_done_comes_back() {
        for moved in 0..=6 {
            let fixture = Fixture::new();
            let own = fixture.listing("own");
            let level = fixture.plan().unwrap();
            let (root, rootfs, aside) = (fixture.dir("own"), fixture.dir("image"), fixture.dir("aside"));
            if moved < 3 {
                // Some of the container's own are aside, one of them in part.
                for name in [b"bin".as_slice(), b"kaniko"].into_iter().take(moved) {
                    let target = open_or_make(&aside, name).unwrap();
                    for below in root.open_dir(name).unwrap().names().unwrap() {
                        if below != b"executor" {
                            move_entry(&root.open_dir(name).unwrap(), &below, &target).unwrap();
                        }
                    }
                }
            } else {
                take_out(&level, &root, &aside).unwrap();
                for name in [b"usr".as_slice(), b"bin", b"top"].into_iter().take(moved - 3) {
                    move_entry(&rootfs, name, &root).unwrap();
                }
                let trash = open_or_make(&aside, b"..trash").unwrap();
                take_out(&level, &root, &trash).unwrap();
                aside.remove_all(b"..trash").unwrap();
            }
            bring_back(&level, &aside, &root).unwrap();
            restore_looks(&level, &root).unwrap();
            let without_times = |lines: &[String]| -> Vec<String> {
                let line = |line: &String| line.split(" (").next().unwrap_or_default().to_owned();
                lines.iter().map(line).collect()
            };
            assert_eq!(
                without_times(&fixture.listing("own")),
                without_times(&own),
                "{moved} moved"
            );
        }
    }

    #[test]
    fn what_cannot_give_way_is_said_before_anything_moves() {
        let fixture = Fixture::new();
        fs::write(fixture.path("image/var/lib/state"), "of the image").unwrap();
        let error = fixture.plan().unwrap_err();
        assert!(matches!(error, InPlaceError::StateInTheWay { .. }), "{error}");
    }
}
