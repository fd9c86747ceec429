//! Moves entries of one directory into another, so that they stay the same files.

use std::io;

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::levels::{Fate, Level};
use super::look::Look;
use crate::rootfs::{Dir, Name};

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
    match rustix::fs::renameat_with(from, Name::new(name), to, Name::new(name), RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(errno @ (Errno::XDEV | Errno::EXIST)) => match from.open_dir(name) {
            Ok(source) => move_piecemeal(from, name, (&source, to)),
            Err(_) => Err(errno.into()),
        },
        Err(errno) => Err(errno.into()),
    }
}

fn move_piecemeal(from: &Dir, name: &[u8], (source, to): (&Dir, &Dir)) -> io::Result<()> {
    let look = Look::of(source)?;
    match to.create_dir(name, 0o700) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    let target = to.open_dir(name)?;
    // Now, since it may never come to the end; and then, since the entries move the time.
    look.apply(&target)?;
    for below in source.names()? {
        move_entry(source, &below, &target)?;
    }
    from.remove_dir(name)?;
    look.apply(&target)
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
    for name in image.names()? {
        match level.fate(&name) {
            Fate::Stays => {}
            Fate::Moves => move_entry(image, &name, to)?,
            Fate::IsLevel(below) => bring_image(below, &image.open_dir(&name)?, &to.open_dir(&name)?)?,
        }
    }
    look.apply(to)
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
