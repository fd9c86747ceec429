//! Mounts that a step asks for: their sources are opened while the machine's files can still be seen, and
//! attached once the root is the step's own.
//!
//! Both ends are resolved beneath a root, the source beneath the tree it belongs to and the target beneath the
//! new root, so no symbolic link leads a mount anywhere else.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::mount::MountFlags;
use serde::{Deserialize, Serialize};

use super::stubs::{Kind, MountPoint, StubError, Stubs};
use crate::secret::SecretValue;
use crate::sys::mount::{OwnDescriptors, attach_mount, clone_tree, new_overlay, new_tmpfs};
use crate::sys::{CallError, Context as _};

/// Something that a process finds mounted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path inside, clean.
    pub target: OsString,
    /// Whether the process may not write to it.
    pub read_only: bool,
    /// What is there.
    pub source: MountSource,
}

/// Name of a secret's file until it is mounted, in the step's `/dev`.
const SECRET: &str = ".secret";

/// What a mount shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum MountSource {
    /// A file or directory of the machine.
    Tree {
        /// Where it is.
        place: SourcePlace,
        /// What it is; the mount point must be the same.
        kind: SourceKind,
    },
    /// A directory of the machine that stays as it is: changes go to the directory `upper` in `scratch`, beside
    /// which there is an empty directory `work`.
    Overlay {
        /// Where the directory is.
        lower: SourcePlace,
        /// Path on the host.
        scratch: OsString,
    },
    /// An empty directory in memory.
    Tmpfs {
        /// How many bytes it may hold.
        size: Option<u64>,
    },
    /// A file in memory.
    Secret {
        /// Its content.
        value: SecretValue,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
        /// Its permission bits.
        mode: u32,
    },
}

/// A file or directory of the machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SourcePlace {
    /// Path on the host of the tree it belongs to.
    pub root: OsString,
    /// Its path in that tree; no link in it leads out.
    pub path: OsString,
}

/// What a source is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SourceKind {
    /// A directory.
    Directory,
    /// Anything else.
    File,
}

impl Mount {
    /// What must exist in the rootfs for it.
    pub(super) fn point(&self) -> MountPoint<'_> {
        let target = Path::new(&self.target);
        match &self.source {
            MountSource::Tree {
                kind: SourceKind::File, ..
            }
            | MountSource::Secret { .. } => MountPoint::File(target),
            MountSource::Tree {
                kind: SourceKind::Directory,
                ..
            }
            | MountSource::Overlay { .. }
            | MountSource::Tmpfs { .. } => MountPoint::Directory(target),
        }
    }
}

/// A mount that is not in any place yet; `None` is made when it is needed.
pub(super) type Opened = Option<OwnedFd>;

/// Opens the sources of `mounts`. To be called while the machine's files can be seen, in a mount namespace
/// that is cut off from the machine's.
pub(super) fn open_sources(mounts: &[Mount]) -> Result<Vec<Opened>, CallError> {
    mounts.iter().map(|mount| open_source(&mount.source)).collect()
}

fn open_source(source: &MountSource) -> Result<Opened, CallError> {
    match source {
        MountSource::Tree { place, .. } => {
            let file = open_place(place)?;
            clone_tree(&file, || place.display()).map(Some)
        }
        MountSource::Overlay { lower, scratch } => {
            let scratch = open_directory(scratch)?;
            new_overlay(&open_place(lower)?, &scratch, || lower.display()).map(Some)
        }
        MountSource::Tmpfs { .. } | MountSource::Secret { .. } => Ok(None),
    }
}

impl SourcePlace {
    fn display(&self) -> String {
        Path::new(&self.root)
            .join(Path::new(&self.path).strip_prefix("/").unwrap_or(Path::new(&self.path)))
            .display()
            .to_string()
    }
}

fn open_place(place: &SourcePlace) -> Result<OwnedFd, CallError> {
    let root = open_directory(&place.root)?;
    resolve(root.as_fd(), Path::new(&place.path)).call(|| format!("open {}", place.display()))
}

fn open_directory(path: &OsStr) -> Result<OwnedFd, CallError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).call(|| format!("open {}", path.display()))
}

/// Opens what is at `path`, every link of it taken relative to `root`.
fn resolve(root: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)
}

/// What the mounts are made with. It is opened before the first of them is in its place: they may lie on
/// `/proc` and `/dev`, whose paths mean something else from then on.
struct Tools {
    root: OwnedFd,
    /// In memory.
    dev: OwnedFd,
    descriptors: OwnDescriptors,
}

/// Puts every mount in its place, in their order. What a mount point lacks below another mount is made there.
pub(super) fn attach_all(mounts: &[Mount], opened: Vec<Opened>) -> Result<(), CallError> {
    if mounts.is_empty() {
        return Ok(());
    }
    let tools = Tools {
        root: open_directory(OsStr::new("/"))?,
        dev: open_directory(OsStr::new("/dev"))?,
        descriptors: OwnDescriptors::open()?,
    };
    for (mount, opened) in mounts.iter().zip(opened) {
        let target = || mount.target.display().to_string();
        match (&mount.source, opened) {
            (_, Some(opened)) => tools.attach(mount, &opened)?,
            (MountSource::Tmpfs { size }, None) => tools.attach(mount, &new_tmpfs(*size, target)?)?,
            (MountSource::Secret { value, uid, gid, mode }, None) => {
                let file = NewFile::create(tools.dev.as_fd())
                    .and_then(|file| Ok((file.fill(value.reveal(), (*uid, *gid), *mode)?, file)));
                let (source, _named) = file.call(|| format!("make the file for {}", target()))?;
                tools.attach(mount, &source)?;
            }
            (MountSource::Tree { .. } | MountSource::Overlay { .. }, None) => {}
        }
    }
    rustix::process::fchdir(&tools.root).call(|| "enter directory /".to_owned())
}

impl Tools {
    fn attach(&self, mount: &Mount, source: &OwnedFd) -> Result<(), CallError> {
        let target = || mount.target.display().to_string();
        make_point(self.root.as_fd(), mount)?;
        let place = resolve(self.root.as_fd(), Path::new(&mount.target)).call(|| format!("open {}", target()))?;
        attach_mount(source, &place, target)?;
        self.descriptors.set_flags_of(source, flags(mount), target)
    }
}

fn make_point(root: BorrowedFd<'_>, mount: &Mount) -> Result<(), CallError> {
    Stubs::make_in_mounts(root, mount.point()).map_err(|error| {
        let target = mount.target.display();
        let make = format!("make mount point {target}");
        let (call, errno) = match error {
            StubError::Kind { found: Kind::File, .. } => (error.to_string(), Errno::NOTDIR),
            StubError::Kind { .. } => (error.to_string(), Errno::ISDIR),
            StubError::Call { source, .. } => match super::enter::errno(source) {
                Errno::XDEV => (
                    format!("{make}: a symbolic link in another mount leads it into the image's own files"),
                    Errno::XDEV,
                ),
                errno => (make, errno),
            },
        };
        CallError { call, errno }
    })
}

fn flags(mount: &Mount) -> MountFlags {
    let writable = match &mount.source {
        MountSource::Secret { mode, .. } => {
            let kept = MountFlags::NOSUID | MountFlags::NODEV;
            if mode & 0o111 == 0 {
                kept | MountFlags::NOEXEC
            } else {
                kept
            }
        }
        MountSource::Tmpfs { .. } => MountFlags::NOSUID,
        MountSource::Tree { .. } | MountSource::Overlay { .. } => MountFlags::empty(),
    };
    match mount.read_only {
        true => writable | MountFlags::RDONLY,
        false => writable,
    }
}

/// A file in the step's `/dev`. It has a name as long as this lives: a mount cannot be attached any more once its
/// file has none, and stays when the name goes.
struct NewFile<'a> {
    dev: BorrowedFd<'a>,
    file: OwnedFd,
}

impl<'a> NewFile<'a> {
    fn create(dev: BorrowedFd<'a>) -> rustix::io::Result<Self> {
        let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dev, SECRET, create, Mode::from_raw_mode(0o600))?;
        Ok(Self { dev, file })
    }

    /// A mount of it, in no place yet, with this content.
    fn fill(&self, content: &[u8], (uid, gid): (u32, u32), mode: u32) -> rustix::io::Result<OwnedFd> {
        let mut rest = content;
        while !rest.is_empty() {
            let written = rustix::io::write(&self.file, rest)?;
            rest = &rest[written..];
        }
        // The mode last: a change of owner takes setuid and setgid away.
        rustix::fs::fchown(&self.file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(mode))?;
        let place = rustix::fs::openat(self.dev, SECRET, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        crate::sys::mount::clone_mount(&place)
    }
}

impl Drop for NewFile<'_> {
    fn drop(&mut self) {
        // It is in memory, and goes with the step in any case.
        let _ = rustix::fs::unlinkat(self.dev, SECRET, AtFlags::empty());
    }
}
