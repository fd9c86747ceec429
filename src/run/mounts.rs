//! What a RUN finds mounted: the places, and how they are filled.
//!
//! Everything after [`enter_root`] names absolute paths of the new root, so a symbolic link in the image
//! cannot lead a mount out of it.

use std::ffi::OsStr;
use std::path::Path;

use rustix::fs::{CWD, FileType, Gid, Mode, Uid};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::DeviceNode;
use super::attach::Mount;
use super::stubs::MountPoint;
use super::system::System;
use super::wire::{Request, Root};
use crate::sys::mount::{
    bind_mount, change_directory, enter_own_mount, loosen_mount, make_directory, make_symlink, mount_new,
    pivot_to_working_directory, set_mount_flags,
};
use crate::sys::{CallError, Context as _};

/// Where the three kernel filesystems go.
const SYSTEM: [&str; 3] = ["/proc", "/sys", "/dev"];
pub(super) const RESOLV_CONF: &str = "/etc/resolv.conf";
pub(super) const HOSTS: &str = "/etc/hosts";

/// A character device that every program may expect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Device {
    pub(super) path: &'static str,
    pub(super) major: u32,
    pub(super) minor: u32,
}

const fn device(path: &'static str, major: u32, minor: u32) -> Device {
    Device { path, major, minor }
}

/// Their numbers are those of devices.txt of the kernel.
pub(super) const DEVICES: [Device; 6] = [
    device("/dev/null", 1, 3),
    device("/dev/zero", 1, 5),
    device("/dev/full", 1, 7),
    device("/dev/random", 1, 8),
    device("/dev/urandom", 1, 9),
    device("/dev/tty", 5, 0),
];

/// Links in `/dev`: path, target.
pub(super) const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// Files that show the machine's memory, keys and processes; Docker hides the same.
const HIDDEN_FILES: [&str; 3] = ["/proc/kcore", "/proc/keys", "/proc/timer_list"];
/// Directories that reach into the machine's firmware and devices; Docker hides the same.
const HIDDEN_DIRECTORIES: [&str; 3] = ["/proc/acpi", "/proc/scsi", "/sys/firmware"];
/// Places in `/proc` where writing changes the whole machine; read-only in Docker too.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

const STRICT: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);
pub(super) const STRICT_READ_ONLY: MountFlags = STRICT.union(MountFlags::RDONLY);

/// What must exist in the rootfs before `request` is carried out.
///
/// A mount point below another mount is no business of the rootfs.
pub(super) fn mount_points(request: &Request) -> Vec<MountPoint<'_>> {
    let files = [(RESOLV_CONF, &request.resolv_conf), (HOSTS, &request.hosts)];
    SYSTEM
        .iter()
        .map(|path| MountPoint::Directory(Path::new(path)))
        .chain(
            files
                .into_iter()
                .filter(|(_, content)| content.is_some())
                .map(|(path, _)| MountPoint::File(path.as_ref())),
        )
        .chain(uncovered(&request.mounts).map(Mount::point))
        .collect()
}

/// The mounts that lie below no other one.
fn uncovered(mounts: &[Mount]) -> impl Iterator<Item = &Mount> {
    mounts.iter().enumerate().filter_map(|(index, mount)| {
        let target = Path::new(&mount.target);
        let is_covered = |above: &Path| target != above && target.starts_with(above);
        let by_system = SYSTEM.iter().any(|path| is_covered(Path::new(path)));
        let by_others = mounts[..index].iter().any(|above| is_covered(Path::new(&above.target)));
        (!by_system && !by_others).then_some(mount)
    })
}

/// Makes `root` the root of this process, in a mount namespace that is already its own.
pub(super) fn enter_root(root: &Root) -> Result<(), CallError> {
    match root {
        Root::Directory(path) => enter_own_mount(Path::new(path))?,
        // What is prepared is not mounted upon.
        Root::Empty | Root::Prepared(_) => enter_empty_root()?,
    }
    pivot_to_working_directory()?;
    // The rootfs may lie on a filesystem that the machine mounts nosuid, nodev or noexec, as /tmp often is.
    // sudo in a RUN, and the RUN itself, must not depend on that.
    loosen_mount("/")
}

/// Mounts `/proc`, `/sys` and `/dev` with Docker's content and restrictions, and the two files of the
/// network configuration.
pub(super) fn mount_all(request: &Request, system: &System) -> Result<(), CallError> {
    system.attach_proc()?;
    system.attach_sys(request.unmasked)?;
    fill_dev(request.shm_size, system)?;
    system.cover_processes()?;
    request.devices.iter().try_for_each(make_requested)?;
    if let Some((path, content)) = &request.script {
        show_script(Path::new(path), content)?;
    }
    if !request.unmasked {
        hide_machine()?;
    }
    for (path, content) in [(RESOLV_CONF, &request.resolv_conf), (HOSTS, &request.hosts)] {
        if let Some(content) = content {
            mount_file(path, content)?;
        }
    }
    Ok(())
}

fn enter_empty_root() -> Result<(), CallError> {
    // Any directory of the machine would do, and /proc is the one that must exist.
    mount_new("tmpfs", "/proc", MountFlags::empty(), "mode=755,size=64k")?;
    change_directory(Path::new("/proc"))?;
    ["proc", "sys", "dev"]
        .iter()
        .try_for_each(|name| make_directory(name, 0o755))
}

fn fill_dev(shm_size: u64, system: &System) -> Result<(), CallError> {
    mount_new("tmpfs", "/dev", MountFlags::NOSUID, "mode=755,size=64m")?;
    let mut devices = DEVICES.iter().enumerate();
    devices.try_for_each(|(index, device)| system.make_device(index, device))?;
    LINKS.iter().try_for_each(|(path, target)| make_symlink(target, path))?;
    make_directory("/dev/pts", 0o755)?;
    let noexec = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount_new(
        "devpts",
        "/dev/pts",
        noexec,
        "newinstance,ptmxmode=0666,mode=0620,gid=5",
    )?;
    make_directory("/dev/shm", 0o1777)?;
    mount_new("tmpfs", "/dev/shm", STRICT, &format!("mode=1777,size={shm_size}"))
}

/// Makes a device that the step asked for, with the directories above it.
fn make_requested(device: &DeviceNode) -> Result<(), CallError> {
    let path = Path::new(&device.path);
    let call = || format!("make device {}", path.display());
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)
            .map_err(super::enter::errno)
            .call(call)?;
    }
    let kind = if device.is_block {
        FileType::BlockDevice
    } else {
        FileType::CharacterDevice
    };
    let number = rustix::fs::makedev(device.number.0, device.number.1);
    let mode = Mode::from_raw_mode(device.mode);
    rustix::fs::mknodat(CWD, path, kind, mode, number).call(call)?;
    let (uid, gid) = (Uid::from_raw(device.owner.0), Gid::from_raw(device.owner.1));
    rustix::fs::chown(path, Some(uid), Some(gid)).call(call)
}

/// Puts a program into `/dev`, which is gone with the step.
fn show_script(path: &Path, content: &[u8]) -> Result<(), CallError> {
    if let Some(directory) = path.parent() {
        make_directory(directory.to_string_lossy().as_ref(), 0o755)?;
    }
    write_new(path.as_os_str(), content).call(|| format!("write {}", path.display()))?;
    rustix::fs::chmod(path, Mode::from_raw_mode(0o755)).call(|| format!("chmod {}", path.display()))
}

fn hide_machine() -> Result<(), CallError> {
    for path in HIDDEN_FILES {
        if_present(bind_mount("/dev/null", path))?;
    }
    for path in HIDDEN_DIRECTORIES {
        if_present(mount_new("tmpfs", path, STRICT_READ_ONLY, "size=0"))?;
    }
    for path in READ_ONLY {
        if if_present(bind_mount(path, path))? {
            set_mount_flags(path, STRICT_READ_ONLY)?;
        }
    }
    Ok(())
}

/// Whether it was there: which of these a kernel has depends on its configuration.
fn if_present(mounted: Result<(), CallError>) -> Result<bool, CallError> {
    match mounted {
        Ok(()) => Ok(true),
        Err(error) if error.errno == Errno::NOENT => Ok(false),
        Err(error) => Err(error),
    }
}

/// Shows a read-only file with `content` at `path`, through whatever links the image has there.
fn mount_file(path: &str, content: &[u8]) -> Result<(), CallError> {
    // A bind mount outlives the name it was made from, so the file lives in /dev only this long. It is no
    // file of the host, whose inode would be visible inside.
    let source = "/dev/.mount";
    write_new(OsStr::new(source), content).call(|| format!("write {source} for {path}"))?;
    bind_mount(source, path)?;
    rustix::fs::unlink(source).call(|| format!("remove {source}"))?;
    set_mount_flags(path, STRICT_READ_ONLY)
}

fn write_new(path: &OsStr, content: &[u8]) -> rustix::io::Result<()> {
    std::fs::write(path, content).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
