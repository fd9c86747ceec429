//! Mounts. Callers are in a mount namespace of their own.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};

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

/// Lets programs be executed at `target`, and setuid and devices count there, as far as that can be allowed: in a user
/// namespace a mount keeps the restrictions that it had outside.
pub(crate) fn loosen_mount(target: &str) -> Result<(), CallError> {
    match set_mount_flags(target, MountFlags::empty()) {
        Err(error) if error.errno == Errno::PERM => {
            let restrictions = rustix::fs::statvfs(target)
                .call(|| format!("statvfs of {target}"))?
                .f_flag;
            match restrictions.contains(StatVfsMountFlags::NOEXEC) {
                true => Err(Errno::ACCESS)
                    .call(|| format!("execute programs in {target}: its filesystem is mounted noexec")),
                false => Ok(()),
            }
        }
        loosened => loosened,
    }
}

/// The flags that a mount has and that may not be taken away in a user namespace.
fn restrictions(mount: impl AsFd) -> rustix::io::Result<MountFlags> {
    let has = rustix::fs::fstatvfs(mount)?.f_flag;
    let flags = [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
    ];
    Ok(flags
        .into_iter()
        .filter(|(flag, _)| has.contains(*flag))
        .fold(MountFlags::empty(), |all, (_, flag)| all | flag))
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

/// A second mount of the file or directory that a descriptor stands for, in no place yet.
pub(crate) fn clone_mount(directory: impl AsFd) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(directory.as_fd(), "", flags)
}

/// Like [`clone_mount`]; `name` tells people what it is of.
pub(crate) fn clone_tree(file: impl AsFd, name: impl FnOnce() -> String) -> Result<OwnedFd, CallError> {
    clone_mount(file).call(|| format!("open_tree of {}", name()))
}

/// A second mount of the directory `path` and of all that is mounted below it, in no place yet. In a user namespace
/// nothing less can be had of a directory that has mounts below.
pub(crate) fn clone_with_mounts(path: &str) -> Result<OwnedFd, CallError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    rustix::mount::open_tree(CWD, path, flags).call(|| format!("open_tree of {path} and below"))
}

/// A second mount of the file `path`, in no place yet.
pub(crate) fn clone_file(path: &str) -> Result<OwnedFd, CallError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(CWD, path, flags).call(|| format!("open_tree of {path}"))
}

/// A new instance of filesystem `kind`, in no place yet.
pub(crate) fn new_mount(kind: &str, attributes: MountAttrFlags) -> Result<OwnedFd, CallError> {
    let make = || {
        let filesystem = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&filesystem)?;
        fsmount(&filesystem, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    make().call(|| format!("mount {kind}"))
}

/// Puts a mount that is in no place yet upon the path `target`, following links as `mount` does.
pub(crate) fn attach_at(mount: impl AsFd, target: &str) -> Result<(), CallError> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    rustix::mount::move_mount(mount.as_fd(), "", CWD, target, flags).call(|| format!("mount on {target}"))
}

/// A new tmpfs, in no place yet, which everybody may write to.
pub(crate) fn new_tmpfs(size: Option<u64>, name: impl Fn() -> String) -> Result<OwnedFd, CallError> {
    let make = || {
        let tmpfs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&tmpfs, "mode", "1777")?;
        if let Some(size) = size {
            fsconfig_set_string(&tmpfs, "size", size.to_string())?;
        }
        fsconfig_create(&tmpfs)?;
        fsmount(&tmpfs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NOSUID)
    };
    make().call(|| format!("make a tmpfs for {}", name()))
}

/// Where an overlay notes what it hides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OverlayAttributes {
    Trusted,
    Users,
}

/// A new overlay, in no place yet: shows `lower`, and keeps changes in the directories `upper` and `work` of
/// `scratch`.
pub(crate) fn new_overlay(
    lower: impl AsFd,
    scratch: impl AsFd,
    name: impl Fn() -> String,
) -> Result<OwnedFd, CallError> {
    let make = |attributes: OverlayAttributes| {
        let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        // By descriptor, since the overlay's own grammar gives colons and commas a meaning.
        let by_descriptor = |file: &dyn AsFd| format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
        let scratch = by_descriptor(&scratch);
        fsconfig_set_string(&overlay, "lowerdir", by_descriptor(&lower))?;
        fsconfig_set_string(&overlay, "upperdir", format!("{scratch}/upper"))?;
        fsconfig_set_string(&overlay, "workdir", format!("{scratch}/work"))?;
        if attributes == OverlayAttributes::Users {
            fsconfig_set_flag(&overlay, "userxattr")?;
        }
        fsconfig_create(&overlay)?;
        fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    };
    // The attributes of its own kind belong to the machine's root alone.
    make(OverlayAttributes::Trusted)
        .or_else(|_| make(OverlayAttributes::Users))
        .call(|| format!("make an overlay of {}", name()))
}

/// Puts a mount that is in no place yet upon `target`.
pub(crate) fn attach_mount(mount: impl AsFd, target: impl AsFd, name: impl Fn() -> String) -> Result<(), CallError> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount.as_fd(), "", target.as_fd(), "", flags).call(|| format!("mount on {}", name()))
}

/// This process's descriptors as a directory of `/proc`. It stays what it is whatever is mounted on `/proc` later.
#[derive(Debug)]
pub(crate) struct OwnDescriptors(OwnedFd);

impl OwnDescriptors {
    /// To be called while `/proc` is the kernel's own.
    pub(crate) fn open() -> Result<Self, CallError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open("/proc/self/fd", flags, Mode::empty());
        directory.map(Self).call(|| "open /proc/self/fd".to_owned())
    }

    /// Sets the flags of a mount that is in its place. Leaves the working directory elsewhere: the old `mount`
    /// takes no descriptor to start from, and `mount_setattr` is missing before Linux 5.12.
    pub(crate) fn set_flags_of(
        &self,
        mount: impl AsFd,
        flags: MountFlags,
        name: impl Fn() -> String,
    ) -> Result<(), CallError> {
        rustix::process::fchdir(&self.0).call(|| "enter /proc/self/fd".to_owned())?;
        let number = mount.as_fd().as_raw_fd().to_string();
        let remount = |flags| rustix::mount::mount_remount(&number, MountFlags::BIND | flags, c"");
        remount(flags)
            .or_else(|errno| match errno {
                Errno::PERM => remount(flags | restrictions(&mount)?),
                other => Err(other),
            })
            .call(|| format!("remount {} with flags {:#x}", name(), flags.bits()))
    }
}

/// Makes the working directory, which must be the root of a mount, the root of this mount namespace,
/// and lets go of the old root and everything mounted in it.
pub(crate) fn pivot_to_working_directory() -> Result<(), CallError> {
    // With the same directory twice the old root ends up stacked on the new one, so no directory has
    // to be made in the rootfs to hold it (pivot_root(2), "pivot_root(".", ".")").
    match rustix::process::pivot_root(".", ".") {
        Ok(()) => rustix::mount::unmount(".", UnmountFlags::DETACH).call(|| "detach the old root".to_owned())?,
        // Seccomp profiles that allow mounts do not all allow this. The old root stays, below the new one, where no path
        // leads to.
        Err(Errno::PERM) => {
            rustix::mount::mount_move(".", "/").call(|| "move the new root upon /".to_owned())?;
            rustix::process::chroot(".").call(|| "chroot into the new root".to_owned())?;
        }
        Err(errno) => return Err(errno).call(|| "pivot_root(\".\", \".\")".to_owned()),
    }
    change_directory(Path::new("/"))
}

/// Makes the directory `path` the root of this process, with all that is mounted in it.
pub(crate) fn chroot_into(path: &Path) -> Result<(), CallError> {
    change_directory(path)?;
    rustix::process::chroot(".").call(|| format!("chroot into {path:?}"))
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
