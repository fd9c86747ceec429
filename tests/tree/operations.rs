//! Generated changes of a tree.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::set_mtime;

/// One thing that a command might do. What is impossible at the moment does nothing.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Write(Place, u8, u16),
    /// Other content of the same size, with the old mtime.
    Forge(Place),
    Touch(Place, u32),
    Mkdir(Place),
    Symlink(Place, u8),
    Fifo(Place),
    Link(Place, Place),
    Rename(Place, Place),
    /// A copy with the same content and times takes the file's place.
    Replace(Place),
    Remove(Place),
    /// There and back: nothing may be found.
    Bounce(Place),
    Chmod(Place, u16),
    Xattr(Place, u8),
    Chown(Place, u16),
    Device(Place, u8),
}

/// A path of up to three components from a small set, so that operations meet.
pub(crate) type Place = Vec<u8>;

const NAMES: [&[u8]; 8] = [
    b"a",
    b"b",
    b"a-b",
    b"a b",
    b"\xff\xfe",
    "\u{fc}".as_bytes(),
    b"x\ny",
    b".wh",
];

pub(crate) fn path(root: &Path, place: &Place) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    let names = place
        .iter()
        .map(|at| std::ffi::OsStr::from_bytes(NAMES[usize::from(*at) % NAMES.len()]));
    names.fold(root.to_owned(), |path, name| path.join(name))
}

fn place() -> impl Strategy<Value = Place> {
    // Mostly the first few names: the more collisions, the more cases.
    prop::collection::vec(prop_oneof![3 => 0..3_u8, 1 => 0..8_u8], 1..=3)
}

/// Operations that every user can do.
pub(crate) fn ordinary() -> BoxedStrategy<Operation> {
    prop_oneof![
        4 => (place(), any::<u8>(), 0..2000_u16).prop_map(|(p, seed, size)| Operation::Write(p, seed, size)),
        2 => place().prop_map(Operation::Forge),
        1 => (place(), 1..2_000_000_000_u32).prop_map(|(p, time)| Operation::Touch(p, time)),
        4 => place().prop_map(Operation::Mkdir),
        2 => (place(), any::<u8>()).prop_map(|(p, target)| Operation::Symlink(p, target)),
        1 => place().prop_map(Operation::Fifo),
        3 => (place(), place()).prop_map(|(from, to)| Operation::Link(from, to)),
        3 => (place(), place()).prop_map(|(from, to)| Operation::Rename(from, to)),
        1 => place().prop_map(Operation::Replace),
        3 => place().prop_map(Operation::Remove),
        1 => place().prop_map(Operation::Bounce),
        1 => (place(), 0..0o10000_u16).prop_map(|(p, mode)| Operation::Chmod(p, mode | 0o700)),
        2 => (place(), 0..4_u8).prop_map(|(p, value)| Operation::Xattr(p, value)),
    ]
    .boxed()
}

/// Also those that only root can do.
pub(crate) fn privileged() -> BoxedStrategy<Operation> {
    prop_oneof![
        8 => ordinary(),
        1 => (place(), any::<u16>()).prop_map(|(p, owner)| Operation::Chown(p, owner)),
        1 => (place(), any::<u8>()).prop_map(|(p, minor)| Operation::Device(p, minor)),
    ]
    .boxed()
}

pub(crate) fn perform(root: &Path, operation: &Operation) {
    // Failure is part of the game: no such directory, not empty, a loop.
    let _ = attempt(root, operation);
}

fn attempt(root: &Path, operation: &Operation) -> std::io::Result<()> {
    use Operation as O;
    let at = |place| path(root, place);
    match operation {
        O::Write(p, seed, size) => fs::write(real(&at(p))?, content(*seed, usize::from(*size))),
        O::Forge(p) => {
            let file = real(&at(p))?;
            let metadata = fs::symlink_metadata(&file)?;
            let mut content = fs::read(&file)?;
            content.iter_mut().for_each(|byte| *byte ^= 0x55);
            fs::write(&file, content)?;
            set_mtime(&file, metadata.mtime(), metadata.mtime_nsec());
            Ok(())
        }
        O::Touch(p, time) => {
            fs::symlink_metadata(at(p))?;
            set_mtime(&at(p), i64::from(*time), i64::from(*time % 1000));
            Ok(())
        }
        O::Mkdir(p) => fs::create_dir(at(p)),
        O::Symlink(p, target) => std::os::unix::fs::symlink(format!("../t{target}"), at(p)),
        O::Fifo(p) => mknod(&at(p), rustix::fs::FileType::Fifo, 0),
        O::Link(from, to) => {
            rustix::fs::linkat(
                rustix::fs::CWD,
                at(from),
                rustix::fs::CWD,
                at(to),
                rustix::fs::AtFlags::empty(),
            )?;
            Ok(())
        }
        O::Rename(from, to) => fs::rename(at(from), at(to)),
        O::Replace(p) => {
            let (file, copy) = (real(&at(p))?, root.join("copy"));
            let metadata = fs::symlink_metadata(&file)?;
            fs::copy(&file, &copy)?;
            set_mtime(&copy, metadata.mtime(), metadata.mtime_nsec());
            fs::rename(copy, file)
        }
        O::Remove(p) => {
            if fs::symlink_metadata(at(p))?.is_dir() {
                fs::remove_dir_all(at(p))
            } else {
                fs::remove_file(at(p))
            }
        }
        O::Bounce(p) => {
            let (there, mode) = (root.join("bounced"), fs::symlink_metadata(at(p))?.mode());
            fs::rename(at(p), &there)?;
            fs::rename(&there, at(p))?;
            let file = real(&at(p))?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o701))?;
            fs::set_permissions(&file, fs::Permissions::from_mode(mode & 0o7777))
        }
        O::Chmod(p, mode) => {
            if fs::symlink_metadata(at(p))?.is_symlink() {
                return Ok(());
            }
            fs::set_permissions(at(p), fs::Permissions::from_mode((*mode).into()))
        }
        O::Xattr(p, 0) => Ok(rustix::fs::lremovexattr(at(p), "user.test")?),
        O::Xattr(p, value) => {
            let value = [*value, b'\n', 0];
            Ok(rustix::fs::lsetxattr(
                at(p),
                "user.test",
                &value,
                rustix::fs::XattrFlags::empty(),
            )?)
        }
        O::Chown(p, owner) => lchown(at(p), Some((*owner).into()), Some(u32::from(*owner) << 8)),
        O::Device(p, minor) => mknod(&at(p), rustix::fs::FileType::CharacterDevice, *minor),
    }
}

/// The path itself, unless a symlink is there: it points out of the tree.
fn real(path: &Path) -> std::io::Result<PathBuf> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(std::io::ErrorKind::InvalidInput.into()),
        _ => Ok(path.to_owned()),
    }
}

fn mknod(path: &Path, kind: rustix::fs::FileType, minor: u8) -> std::io::Result<()> {
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    let device = if minor == 0 {
        0
    } else {
        rustix::fs::makedev(1, minor.into())
    };
    Ok(rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, device)?)
}

fn content(seed: u8, size: usize) -> Vec<u8> {
    (0..size)
        .map(|at| seed.wrapping_mul(31).wrapping_add((at % 251) as u8))
        .collect()
}
