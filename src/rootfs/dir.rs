//! An open directory and what can be done with the names in it. Nothing here follows a symlink.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, RawDir, Timestamps, Uid};
use rustix::io::Errno;

use super::metadata::{Metadata, Timestamp};

/// A file name or relative path as bytes, in the shape that system calls take.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// Wraps bytes; a zero byte makes the system call fail with `EINVAL`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl rustix::path::Arg for Name<'_> {
    fn as_str(&self) -> rustix::io::Result<&str> {
        std::str::from_utf8(self.0).map_err(|_| Errno::INVAL)
    }

    fn to_string_lossy(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.0)
    }

    fn as_cow_c_str(&self) -> rustix::io::Result<std::borrow::Cow<'_, std::ffi::CStr>> {
        self.0.as_cow_c_str().map(|s| std::borrow::Cow::Owned(s.into_owned()))
    }

    fn into_c_str<'b>(self) -> rustix::io::Result<std::borrow::Cow<'b, std::ffi::CStr>>
    where
        Self: 'b,
    {
        self.0.into_c_str()
    }

    fn into_with_c_str<T, F>(self, f: F) -> rustix::io::Result<T>
    where
        Self: Sized,
        F: FnOnce(&std::ffi::CStr) -> rustix::io::Result<T>,
    {
        self.0.into_with_c_str(f)
    }
}

/// An open directory (`O_PATH`). All operations are on single names in it, or on the directory itself.
#[derive(Debug)]
pub struct Dir(OwnedFd);

impl From<OwnedFd> for Dir {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Dir {
    /// Another handle of the same directory.
    ///
    /// # Errors
    /// Too many open files.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Metadata of the directory itself.
    ///
    /// # Errors
    /// What `statx` says.
    pub fn metadata(&self) -> io::Result<Metadata> {
        Metadata::at(self.as_fd(), Name::new(b""), AtFlags::EMPTY_PATH)
    }

    /// Metadata of `name`, `None` if there is no such entry.
    ///
    /// # Errors
    /// What `statx` says, but for absence.
    pub fn stat(&self, name: &[u8]) -> io::Result<Option<Metadata>> {
        match Metadata::at(self.as_fd(), Name::new(name), AtFlags::empty()) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The names in the directory, sorted by bytes, without `.` and `..`.
    ///
    /// # Errors
    /// What `open` or `getdents64` says.
    pub fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        self.for_each_name(|name| names.push(name.to_vec()))?;
        names.sort_unstable();
        Ok(names)
    }

    /// Calls `each` for every name in the directory, in the order of the filesystem.
    ///
    /// # Errors
    /// What `open` or `getdents64` says.
    pub fn for_each_name(&self, each: impl FnMut(&[u8])) -> io::Result<()> {
        list(&self.reopen()?, each)
    }

    /// Opens the subdirectory `name` and calls `each` for every name in it: one `open` where
    /// [`Dir::open_dir`] and [`Dir::for_each_name`] need two. `.` is the directory itself.
    ///
    /// # Errors
    /// As those two.
    pub fn list_dir(&self, name: &[u8], each: impl FnMut(&[u8])) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let readable = rustix::fs::openat(&self.0, Name::new(name), flags, Mode::empty())?;
        list(&readable, each)?;
        Ok(Self(readable))
    }

    /// Opens the subdirectory `name`.
    ///
    /// # Errors
    /// Absent, or no directory (`ENOTDIR`, also for a symlink).
    pub fn open_dir(&self, name: &[u8]) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(
            &self.0,
            Name::new(name),
            flags,
            Mode::empty(),
        )?))
    }

    /// Opens the regular file `name` for reading. Never blocks on a FIFO, never triggers a device.
    ///
    /// # Errors
    /// Absent, or not a regular file.
    pub fn open_file(&self, name: &[u8]) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let place = rustix::fs::openat(
            &self.0,
            Name::new(name),
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let mode = rustix::fs::fstat(&place)?.st_mode;
        if FileType::from_raw_mode(mode) != FileType::RegularFile {
            return Err(io::Error::other("not a regular file"));
        }
        let file = match rustix::fs::openat(&self.0, Name::new(name), flags | OFlags::NOATIME, Mode::empty()) {
            // O_NOATIME is for the owner of the file alone.
            Err(Errno::PERM) => rustix::fs::openat(&self.0, Name::new(name), flags, Mode::empty())?,
            answer => answer?,
        };
        Ok(File::from(file))
    }

    /// Makes the regular file `name` and opens it for writing; fails if anything has that name.
    ///
    /// # Errors
    /// `EEXIST`, or what else `open` says.
    pub fn create_file(&self, name: &[u8], mode: u32) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(
            &self.0,
            Name::new(name),
            flags,
            Mode::from_raw_mode(mode),
        )?))
    }

    /// Makes the directory `name`.
    ///
    /// # Errors
    /// What `mkdir` says.
    pub fn create_dir(&self, name: &[u8], mode: u32) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(
            &self.0,
            Name::new(name),
            Mode::from_raw_mode(mode),
        )?)
    }

    /// Makes the symlink `name` with `target`, which is kept byte for byte.
    ///
    /// # Errors
    /// What `symlink` says.
    pub fn create_symlink(&self, name: &[u8], target: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(Name::new(target), &self.0, Name::new(name))?)
    }

    /// Makes `name` another name of `target` in `target_dir`; a symlink there is linked itself.
    ///
    /// # Errors
    /// What `link` says.
    pub fn create_hard_link(&self, name: &[u8], target_dir: &Self, target: &[u8]) -> io::Result<()> {
        let flags = AtFlags::empty();
        Ok(rustix::fs::linkat(
            &target_dir.0,
            Name::new(target),
            &self.0,
            Name::new(name),
            flags,
        )?)
    }

    /// Makes a FIFO or a device node.
    ///
    /// # Errors
    /// What `mknod` says; devices need privilege.
    pub fn create_node(&self, name: &[u8], kind: super::Kind, mode: u32, device: (u32, u32)) -> io::Result<()> {
        let file_type = match kind {
            super::Kind::CharDevice => FileType::CharacterDevice,
            super::Kind::BlockDevice => FileType::BlockDevice,
            super::Kind::Fifo => FileType::Fifo,
            super::Kind::Socket => FileType::Socket,
            super::Kind::File | super::Kind::Directory | super::Kind::Symlink => return Err(Errno::INVAL.into()),
        };
        let device = rustix::fs::makedev(device.0, device.1);
        Ok(rustix::fs::mknodat(
            &self.0,
            Name::new(name),
            file_type,
            Mode::from_raw_mode(mode),
            device,
        )?)
    }

    /// Where the symlink `name` points, byte for byte.
    ///
    /// # Errors
    /// Absent, or no symlink (`EINVAL`).
    pub fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.0, Name::new(name), Vec::new())?.into_bytes())
    }

    /// Renames `name` to `to` in `to_dir`, replacing what is there.
    ///
    /// # Errors
    /// What `rename` says.
    pub fn rename(&self, name: &[u8], to_dir: &Self, to: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::renameat(
            &self.0,
            Name::new(name),
            &to_dir.0,
            Name::new(to),
        )?)
    }

    /// Removes the name of anything but a directory.
    ///
    /// # Errors
    /// What `unlink` says.
    pub fn remove_file(&self, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, Name::new(name), AtFlags::empty())?)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// What `rmdir` says.
    pub fn remove_dir(&self, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, Name::new(name), AtFlags::REMOVEDIR)?)
    }

    /// Removes whatever has `name`, with all below it; absence is no error. Symlinks are removed,
    /// not followed, and a mount point stops the removal with `EBUSY` or `EXDEV`.
    ///
    /// # Errors
    /// What the kernel says of the first entry that stays.
    pub fn remove_all(&self, name: &[u8]) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.0, Name::new(name), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // POSIX wants EPERM for a directory, Linux answers EISDIR.
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(errno.into()),
        }
        let own = self.metadata()?.mount;
        let child = self.open_dir(name)?;
        if child.metadata()?.mount != own {
            return Err(Errno::XDEV.into());
        }
        for below in child.names()? {
            child.remove_all(&below)?;
        }
        self.remove_dir(name)
    }

    /// Sets owner and group of `name`; clears setuid, setgid and file capabilities on the way.
    ///
    /// # Errors
    /// What `chown` says.
    pub fn set_owner(&self, name: &[u8], uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::chownat(
            &self.0,
            Name::new(name),
            Some(uid),
            Some(gid),
            flags,
        )?)
    }

    /// Sets the permission bits of `name`, which must not be a symlink.
    ///
    /// # Errors
    /// What `chmod` says; `EOPNOTSUPP` for a symlink.
    pub fn set_mode(&self, name: &[u8], mode: u32) -> io::Result<()> {
        let place = rustix::fs::openat(
            &self.0,
            Name::new(name),
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        if FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode) == FileType::Symlink {
            return Err(Errno::OPNOTSUPP.into());
        }
        // fchmodat2 with AT_SYMLINK_NOFOLLOW exists only since Linux 6.6; the descriptor's entry in
        // /proc is the object itself on every kernel.
        Ok(rustix::fs::chmodat(
            CWD,
            proc_path(&place).as_str(),
            Mode::from_raw_mode(mode),
            AtFlags::empty(),
        )?)
    }

    /// Sets the mtime of `name`; its atime becomes the same.
    ///
    /// # Errors
    /// What `utimensat` says.
    pub fn set_mtime(&self, name: &[u8], mtime: Timestamp) -> io::Result<()> {
        let times = Timestamps {
            last_access: mtime.to_timespec(),
            last_modification: mtime.to_timespec(),
        };
        Ok(rustix::fs::utimensat(
            &self.0,
            Name::new(name),
            &times,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    /// Sets owner and group of the directory itself.
    ///
    /// # Errors
    /// What `chown` says.
    pub fn set_own_owner(&self, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        Ok(rustix::fs::chownat(
            &self.0,
            "",
            Some(uid),
            Some(gid),
            AtFlags::EMPTY_PATH,
        )?)
    }

    /// Sets the permission bits of the directory itself.
    ///
    /// # Errors
    /// What `chmod` says.
    pub fn set_own_mode(&self, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::fchmod(self.reopen()?, Mode::from_raw_mode(mode))?)
    }

    /// Sets the mtime of the directory itself; its atime becomes the same.
    ///
    /// # Errors
    /// What `utimensat` says.
    pub fn set_own_mtime(&self, mtime: Timestamp) -> io::Result<()> {
        let times = Timestamps {
            last_access: mtime.to_timespec(),
            last_modification: mtime.to_timespec(),
        };
        Ok(rustix::fs::futimens(self.reopen()?, &times)?)
    }

    /// The path that names `name` in this directory for calls that take no descriptor.
    pub(super) fn proc_path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = proc_path(&self.0).into_bytes();
        path.push(b'/');
        path.extend_from_slice(name);
        path
    }

    /// The same directory, opened for reading: `O_PATH` allows neither `getdents64` nor `fchmod`.
    fn reopen(&self) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.0, ".", flags, Mode::empty())
    }
}

fn list(readable: &OwnedFd, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    /// Holds some 800 entries; larger buffers gained nothing on ext4.
    const BUFFER: usize = 32 << 10;
    let mut buffer = Vec::with_capacity(BUFFER);
    let mut entries = RawDir::new(readable, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        match entry?.file_name().to_bytes() {
            b"." | b".." => {}
            name => each(name),
        }
    }
    Ok(())
}

/// Opens for reading the regular file that an `O_PATH` descriptor stands for.
pub(super) fn reopen_file(place: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(
        CWD,
        proc_path(place).as_str(),
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

fn proc_path(fd: &OwnedFd) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}
