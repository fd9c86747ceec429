//! `/proc`, `/sys` and the devices, taken while the machine's own can still be seen.
//!
//! The kernel gives a user namespace a fresh `/proc` only where it sees a whole one, and a fresh `/sys` only with a
//! network of its own; a container's `/proc` has masks, and in a user namespace no device can be made. What cannot be had
//! fresh is the container's own, with its masks. In such a `/proc` processes have the numbers of the container:
//! `/proc/self` is right, `/proc/$$` is not, and everybody else's directory is covered.

use std::ffi::OsString;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountFlags};

use super::mounts::{Device, STRICT_READ_ONLY};
use crate::sys::mount::{
    attach_at, bind_mount, clone_file, clone_with_mounts, make_device, make_directory, mount_new, new_mount,
    set_mount_flags,
};
use crate::sys::{CallError, Context as _};

/// Where the machine's control groups are; a fresh `/sys` has an empty directory there.
const CONTROL_GROUPS: &str = "/sys/fs/cgroup";
/// Covers what must not be read.
const COVER: &str = "/dev/.cover";

/// The filesystems of the kernel, in no place yet.
#[derive(Debug)]
pub(super) struct System {
    proc: Tree,
    sys: Tree,
    /// By position among the devices; `None` where the machine has no such device.
    devices: Vec<Option<OwnedFd>>,
}

#[derive(Debug)]
enum Tree {
    /// Shows this namespace alone.
    Fresh(OwnedFd),
    /// The machine's.
    Shared(OwnedFd),
}

impl System {
    /// To be called in the new namespaces, before the root is left.
    pub(super) fn take(devices: &[Device]) -> Result<Self, CallError> {
        let strict =
            MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        Ok(Self {
            proc: Tree::of("proc", "/proc", strict)?,
            sys: Tree::of("sysfs", "/sys", strict)?,
            devices: devices.iter().map(|device| clone_file(device.path).ok()).collect(),
        })
    }

    /// Mounts `/proc`.
    pub(super) fn attach_proc(&self) -> Result<(), CallError> {
        attach_at(self.proc.mount(), "/proc")
    }

    /// Mounts `/sys`, in which nothing can be changed unless `writable`.
    pub(super) fn attach_sys(&self, writable: bool) -> Result<(), CallError> {
        attach_at(self.sys.mount(), "/sys")?;
        if matches!(self.sys, Tree::Shared(_)) && std::fs::exists(CONTROL_GROUPS).unwrap_or(false) {
            mount_new("tmpfs", CONTROL_GROUPS, STRICT_READ_ONLY, "size=0")?;
        }
        match writable {
            true => Ok(()),
            false => set_mount_flags("/sys", STRICT_READ_ONLY),
        }
    }

    /// Makes a device that everybody may use, or shows the machine's.
    pub(super) fn make_device(&self, index: usize, device: &Device) -> Result<(), CallError> {
        let made = make_device(device.path, device.major, device.minor);
        match (made, self.devices.get(index).and_then(Option::as_ref)) {
            (Err(error), Some(mount)) if error.errno == Errno::PERM => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                rustix::fs::openat(CWD, device.path, flags, Mode::from_raw_mode(0o666))
                    .call(|| format!("make file {}", device.path))?;
                attach_at(mount, device.path)
            }
            (made, _) => made,
        }
    }

    /// Covers the directories of all processes and threads of a shared `/proc` that are there now, except this one's own:
    /// their command lines could be read. To be called when `/dev` is in its place.
    pub(super) fn cover_processes(&self) -> Result<(), CallError> {
        if matches!(self.proc, Tree::Fresh(_)) {
            return Ok(());
        }
        make_directory(COVER, 0o555)?;
        let own = std::fs::read_link("/proc/self").unwrap_or_default().into_os_string();
        for process in numbers_in("/proc").into_iter().filter(|process| *process != own) {
            let directory = format!("/proc/{}", process.display());
            for thread in numbers_in(&format!("{directory}/task")) {
                cover(&format!("/proc/{}", thread.display()))?;
            }
        }
        rustix::fs::rmdir(COVER).call(|| format!("remove {COVER}"))
    }
}

impl Tree {
    fn of(kind: &str, path: &str, strict: MountAttrFlags) -> Result<Self, CallError> {
        match new_mount(kind, strict) {
            Ok(mount) => Ok(Self::Fresh(mount)),
            Err(error) if error.errno == Errno::PERM => clone_with_mounts(path).map(Self::Shared).map_err(|_| error),
            Err(error) => Err(error),
        }
    }

    const fn mount(&self) -> &OwnedFd {
        match self {
            Self::Fresh(mount) | Self::Shared(mount) => mount,
        }
    }
}

/// Names that are numbers; none when the directory is gone.
fn numbers_in(directory: &str) -> Vec<OsString> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name()));
    names
        .filter(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .collect()
}

fn cover(directory: &str) -> Result<(), CallError> {
    match bind_mount(COVER, directory) {
        // It has ended meanwhile.
        Err(error) if matches!(error.errno, Errno::NOENT | Errno::SRCH) => Ok(()),
        Err(error) => Err(error),
        Ok(()) => set_mount_flags(directory, MountFlags::RDONLY | MountFlags::NOSUID),
    }
}
