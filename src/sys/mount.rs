//! Mounts. Callers are in a mount namespace of their own.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

use super::{CallError, Context as _};

/// Mounts a new instance of filesystem `kind` on `target`.
pub(crate) fn mount_new(kind: &str, target: &str, flags: MountFlags, data: &str) -> Result<(), CallError> {
    let call = || format!("mount {kind} on {target} ({data:?})");
    let data = CString::new(data).map_err(|_| rustix::io::Errno::INVAL).call(call)?;
    rustix::mount::mount(kind, target, kind, flags, data.as_c_str()).call(call)
}

/// Shows the file or directory `source` at `target` too, without what is mounted below it.
pub(crate) fn bind_mount(source: &str, target: &str) -> Result<(), CallError> {
    rustix::mount::mount_bind(source, target).call(|| format!("bind {source} on {target}"))
}

/// Sets the flags of the one mount at `target`; its filesystem and other mounts of it keep theirs.
pub(crate) fn set_mount_flags(target: &str, flags: MountFlags) -> Result<(), CallError> {
    rustix::mount::mount_remount(target, MountFlags::BIND | flags, c"")
        .call(|| format!("remount {target} with flags {:#x}", flags.bits()))
}

/// Cuts every mount of this namespace off from the namespace it was copied from.
pub(crate) fn make_all_private() -> Result<(), CallError> {
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .call(|| "make / and all below it private".to_owned())
}

/// Mounts the directory `path` upon itself and makes the new mount the working directory.
///
/// `pivot_root` demands a mount point. The clone is not recursive: whatever is mounted below `path`
/// is the machine's and stays outside.
pub(crate) fn enter_own_mount(path: &Path) -> Result<(), CallError> {
    let directory = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .call(|| format!("open {path:?}"))?;
    let clone = clone_mount(&directory).call(|| format!("open_tree of {path:?}"))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(&clone, "", &directory, "", flags).call(|| format!("move_mount onto {path:?}"))?;
    rustix::process::fchdir(&clone).call(|| format!("enter the mount of {path:?}"))
}

fn clone_mount(directory: impl AsFd) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(directory.as_fd(), "", flags)
}

/// Makes the working directory, which must be the root of a mount, the root of this mount namespace,
/// and lets go of the old root and everything mounted in it.
pub(crate) fn pivot_to_working_directory() -> Result<(), CallError> {
    // With the same directory twice the old root ends up stacked on the new one, so no directory has
    // to be made in the rootfs to hold it (pivot_root(2), "pivot_root(".", ".")").
    rustix::process::pivot_root(".", ".").call(|| "pivot_root(\".\", \".\")".to_owned())?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).call(|| "detach the old root".to_owned())?;
    change_directory(Path::new("/"))
}

/// Makes `path` the working directory of this process.
pub(crate) fn change_directory(path: &Path) -> Result<(), CallError> {
    rustix::process::chdir(path).call(|| format!("enter directory {path:?}"))
}

/// Makes the directory `path`.
pub(crate) fn make_directory(path: &str, mode: u32) -> Result<(), CallError> {
    rustix::fs::mkdir(path, Mode::from_raw_mode(mode)).call(|| format!("make directory {path}"))
}

/// Makes a character device that everybody may use.
pub(crate) fn make_device(path: &str, major: u32, minor: u32) -> Result<(), CallError> {
    let device = rustix::fs::makedev(major, minor);
    let mode = Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(CWD, path, rustix::fs::FileType::CharacterDevice, mode, device)
        .call(|| format!("make device {path} ({major}:{minor})"))
}

/// Makes the symbolic link `path`.
pub(crate) fn make_symlink(target: &str, path: &str) -> Result<(), CallError> {
    rustix::fs::symlink(target, path).call(|| format!("link {path} to {target}"))
}
