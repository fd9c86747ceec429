//! What a process finds mounted, where nothing can be mounted: put into the rootfs before it, and taken out after it.
//!
//! What the rootfs has in such a place is renamed aside, next to the rootfs, and renamed back. A directory that the
//! process may write to, a cache for instance, is renamed in and back out when both lie on one filesystem; what is
//! only shown is copied. Directories on the way keep their mtimes, as with [`Stubs`], so that a snapshot finds nothing of
//! all this.
//!
//! The kernel's mounts say no to more: here a process can write to what is read-only, fill what has a size, and remove or
//! replace what was placed. It does so in vain: all of that is thrown away, but for the content of a cache.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::stubs::{MountPoint, StubError, Stubs};
use super::{DeviceNode, Mount, MountSource, SourcePlace};
use crate::cancel::Cancel;
use crate::copy::{self, CopyError, CopyRequest, Mode, Parents, Source};
use crate::rootfs::{Dir, Kind, PathError, Rootfs, RootfsError, RootfsPath};
use crate::snapshot::Fingerprints;

/// What is put into a rootfs, and where.
#[derive(Debug)]
pub(super) struct Item<'a> {
    /// Absolute path inside.
    pub(super) path: &'a Path,
    pub(super) thing: Thing<'a>,
}

#[derive(Debug)]
pub(super) enum Thing<'a> {
    /// An empty directory.
    Directory { mode: u32 },
    /// A file.
    File {
        content: &'a [u8],
        owner: (u32, u32),
        mode: u32,
    },
    /// A link, in a directory that was placed before.
    Symlink { target: &'a OsStr },
    /// A device, in a directory that was placed before.
    Device(&'a DeviceNode),
    /// The directory may be moved here, and its content is kept.
    Lent(&'a SourcePlace),
    /// A copy of a file or directory.
    Copy(&'a SourcePlace),
}

impl<'a> Item<'a> {
    /// What a mount becomes here.
    pub(super) fn of(mount: &'a Mount) -> Result<Self, PlaceError> {
        let thing = match &mount.source {
            MountSource::Tree { place, .. } if mount.read_only => Thing::Copy(place),
            MountSource::Tree { place, .. } => Thing::Lent(place),
            MountSource::Tmpfs { .. } => Thing::Directory { mode: 0o1777 },
            MountSource::Secret { value, uid, gid, mode } => Thing::File {
                content: value.reveal(),
                owner: (*uid, *gid),
                mode: *mode,
            },
            MountSource::Overlay { .. } => {
                return Err(PlaceError::Io {
                    operation: "show an overlay at",
                    path: PathBuf::from(&mount.target),
                    source: Errno::OPNOTSUPP.into(),
                });
            }
        };
        Ok(Self {
            path: Path::new(&mount.target),
            thing,
        })
    }
}

/// Something could not be put into a rootfs, or not be taken out again.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// A call was refused.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// To which path, inside the rootfs or on the machine.
        path: PathBuf,
        /// Why it did not work.
        #[source]
        source: io::Error,
    },
    /// A mount point.
    #[error(transparent)]
    Stub(#[from] StubError),
    /// No path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A path of the rootfs or the source cannot be reached.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// What is to be seen there cannot be copied.
    #[error("copy what is mounted")]
    Copy(#[source] Box<CopyError>),
}

/// What was put into one rootfs. Dropped, it takes out as much as possible and keeps nothing of it.
#[derive(Debug)]
#[must_use = "everything is taken out again when this is dropped"]
pub(super) struct Placed {
    /// Holds what the rootfs had in these places. Emptied before it is dropped.
    aside: tempfile::TempDir,
    aside_dir: Dir,
    /// In the order of their making.
    spots: Vec<Spot>,
}

/// One place that was taken.
#[derive(Debug)]
struct Spot {
    parent: Dir,
    name: Vec<u8>,
    /// Inside the rootfs; for people.
    path: PathBuf,
    /// Name aside of what was here.
    before: Option<String>,
    /// Goes after what was here is back.
    stubs: Option<Stubs>,
    lent: Option<Lender>,
}

/// Where a directory came from that is put back.
#[derive(Debug)]
struct Lender {
    parent: Dir,
    name: Vec<u8>,
    /// On the machine.
    path: PathBuf,
    how: Lent,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lent {
    /// It is not where it came from.
    Moved,
    /// Both exist; the copy's content counts.
    Copied,
    /// A second name of the same file.
    Linked,
}

impl Placed {
    /// Puts `items` into `rootfs`, in their order. Below an item that was placed there may be others.
    pub(super) fn place(rootfs: &Rootfs, items: &[Item<'_>], cancel: &Cancel) -> Result<Self, PlaceError> {
        let beside = rootfs.host_path().parent().unwrap_or(Path::new("/"));
        let make = |source| io_error("make a directory in", beside)(source);
        let aside = tempfile::tempdir_in(beside).map_err(make)?;
        let aside_dir = Rootfs::open(aside.path()).and_then(|aside| aside.root().try_clone());
        let mut placed = Self {
            aside_dir: aside_dir.map_err(io_error("open", aside.path()))?,
            aside,
            spots: Vec::new(),
        };
        for item in items {
            placed.add(rootfs, item, cancel)?;
        }
        Ok(placed)
    }

    /// Takes everything out, and keeps the content of what was lent.
    pub(super) fn take_out(mut self, cancel: &Cancel) -> Result<(), PlaceError> {
        self.take_all_out(Some(cancel))
    }

    fn add(&mut self, rootfs: &Rootfs, item: &Item<'_>, cancel: &Cancel) -> Result<(), PlaceError> {
        let failed = |operation| move |source| io_error(operation, item.path)(source);
        let stubs = match point(item) {
            Some(point) => Some(Stubs::create(rootfs.root().as_fd(), &[point])?),
            None => None,
        };
        let path = RootfsPath::parse_clamped(item.path.as_os_str().as_bytes())?;
        let (parent, name) = match (&item.thing, path.split_last()) {
            // They are made where nothing is.
            (Thing::Symlink { .. } | Thing::Device(_), Some(split)) => split,
            _ => {
                let canonical = rootfs.canonicalize(&path)?;
                canonical
                    .split_last()
                    .ok_or_else(|| failed("mount on")(Errno::BUSY.into()))?
            }
        };
        let parent = rootfs.open_dir(&parent)?;
        let mtime = parent.metadata().map_err(failed("stat the parent of"))?.mtime;
        let before = match point(item) {
            Some(_) => Some(self.put_aside(&parent, &name).map_err(failed("put aside"))?),
            None => None,
        };
        // Known from here on, so that an error below takes it out again.
        self.spots.push(Spot {
            parent: parent.try_clone().map_err(failed("open the parent of"))?,
            name: name.clone(),
            path: item.path.to_owned(),
            before,
            stubs,
            lent: None,
        });
        let made = make(item, (&parent, &name), cancel);
        parent
            .set_own_mtime(mtime)
            .map_err(failed("set the time of the parent of"))?;
        if let Some(spot) = self.spots.last_mut() {
            spot.lent = made?;
        }
        Ok(())
    }

    fn put_aside(&self, parent: &Dir, name: &[u8]) -> io::Result<String> {
        let aside = self.spots.len().to_string();
        parent.rename(name, &self.aside_dir, aside.as_bytes())?;
        Ok(aside)
    }

    fn take_all_out(&mut self, keep: Option<&Cancel>) -> Result<(), PlaceError> {
        let mut first = Ok(());
        while let Some(spot) = self.spots.pop() {
            let taken = spot.take_out(&self.aside_dir, keep);
            first = first.and(taken);
        }
        first
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        // Only reached on the way out of an error, which matters more than what is left here.
        let _ = self.take_all_out(None);
        let _ = std::fs::remove_dir(self.aside.path());
    }
}

impl Spot {
    fn take_out(self, aside: &Dir, keep: Option<&Cancel>) -> Result<(), PlaceError> {
        let failed = |operation| move |source| (operation, source);
        let named = |(operation, source)| io_error(operation, &self.path)(source);
        let mtime = self
            .parent
            .metadata()
            .map_err(failed("stat the parent of"))
            .map_err(named)?
            .mtime;
        if let Some(lender) = &self.lent {
            lender.give_back((&self.parent, &self.name), keep)?;
        }
        let restore = || {
            self.parent.remove_all(&self.name).map_err(failed("take out"))?;
            if let Some(before) = &self.before {
                let back = aside.rename(before.as_bytes(), &self.parent, &self.name);
                back.map_err(failed("put back"))?;
            }
            self.parent
                .set_own_mtime(mtime)
                .map_err(failed("set the time of the parent of"))
        };
        restore().map_err(named)?;
        match self.stubs {
            Some(stubs) => Ok(stubs.remove()?),
            None => Ok(()),
        }
    }
}

impl Lender {
    /// Puts the directory back, or its content; what is in its place is not a directory when the process replaced it.
    fn give_back(&self, (parent, name): (&Dir, &[u8]), keep: Option<&Cancel>) -> Result<(), PlaceError> {
        let failed = |operation| move |source| io_error(operation, &self.path)(source);
        match (self.how, keep) {
            (Lent::Linked, _) | (Lent::Copied, None) => Ok(()),
            (Lent::Moved, _) => match parent.stat(name).map_err(failed("stat"))? {
                Some(there) if there.is_dir() => {
                    let back = parent.rename(name, &self.parent, &self.name);
                    back.map_err(failed("put back"))
                }
                _ => self.parent.create_dir(&self.name, 0o755).map_err(failed("make")),
            },
            (Lent::Copied, Some(cancel)) => {
                let of_copy = parent.open_dir(name);
                let Ok(of_copy) = of_copy else { return Ok(()) };
                let own = self.parent.open_dir(&self.name).map_err(failed("open"))?;
                for below in own.names().map_err(failed("list"))? {
                    own.remove_all(&below).map_err(failed("empty"))?;
                }
                let copy = open_descriptor(&of_copy).map_err(failed("open"))?;
                let own = Rootfs::open(&self.path).map_err(failed("open"))?;
                copy_directory(&copy, &own, cancel)
            }
        }
    }
}

/// What must exist where `item` is put; `None` where nothing may be.
fn point<'a>(item: &Item<'a>) -> Option<MountPoint<'a>> {
    match item.thing {
        Thing::Symlink { .. } | Thing::Device(_) => None,
        Thing::File { .. } => Some(MountPoint::File(item.path)),
        // Which of the two only matters to what the image lacks, and that is gone before anybody sees it.
        Thing::Directory { .. } | Thing::Lent(_) | Thing::Copy(_) => Some(MountPoint::Directory(item.path)),
    }
}

/// Makes the thing at a place where nothing is.
fn make(item: &Item<'_>, (parent, name): (&Dir, &[u8]), cancel: &Cancel) -> Result<Option<Lender>, PlaceError> {
    let failed = |operation| move |source| io_error(operation, item.path)(source);
    match &item.thing {
        Thing::Directory { mode } => make_directory(parent, name, *mode).map_err(failed("make directory"))?,
        Thing::File { content, owner, mode } => {
            let file = write_file(parent, name, content).and_then(|()| dress(parent, name, *owner, *mode));
            file.map_err(failed("make file"))?;
        }
        Thing::Symlink { target } => {
            let link = parent.create_symlink(name, target.as_bytes());
            link.map_err(failed("make link"))?;
        }
        Thing::Device(device) => make_device(parent, name, device).map_err(failed("make device"))?,
        Thing::Copy(place) => show_copy(&Found::at(place)?, (parent, name), cancel)?,
        Thing::Lent(place) => return lend(&Found::at(place)?, (parent, name), cancel).map(Some),
    }
    Ok(None)
}

fn make_directory(parent: &Dir, name: &[u8], mode: u32) -> io::Result<()> {
    parent.create_dir(name, 0o700)?;
    parent.set_mode(name, mode)
}

fn write_file(parent: &Dir, name: &[u8], content: &[u8]) -> io::Result<()> {
    io::Write::write_all(&mut parent.create_file(name, 0o600)?, content)
}

/// The mode last: a change of owner takes setuid and setgid away.
fn dress(parent: &Dir, name: &[u8], (uid, gid): (u32, u32), mode: u32) -> io::Result<()> {
    parent.set_owner(name, uid, gid)?;
    parent.set_mode(name, mode)
}

fn make_device(parent: &Dir, name: &[u8], device: &DeviceNode) -> io::Result<()> {
    let kind = match device.is_block {
        true => Kind::BlockDevice,
        false => Kind::CharDevice,
    };
    parent.create_node(name, kind, 0o600, device.number)?;
    dress(parent, name, device.owner, device.mode)
}

/// A file or directory of the machine, without links on the way.
struct Found {
    tree: Rootfs,
    /// Inside the tree.
    path: RootfsPath,
    kind: Kind,
}

impl Found {
    fn at(place: &SourcePlace) -> Result<Self, PlaceError> {
        let root = Path::new(&place.root);
        let tree = Rootfs::open(root).map_err(io_error("open", root))?;
        let path = tree.canonicalize(&RootfsPath::parse_clamped(place.path.as_bytes())?)?;
        let metadata = tree.metadata(&path)?;
        let kind = metadata
            .ok_or_else(|| io_error("open", root)(Errno::NOENT.into()))?
            .kind;
        Ok(Self { tree, path, kind })
    }

    fn host_path(&self) -> PathBuf {
        self.tree.host_path().join(OsStr::from_bytes(self.path.as_bytes()))
    }

    /// The directory that it is in, and its name there.
    fn parent(&self) -> Result<(Dir, Vec<u8>), PlaceError> {
        let path = self.host_path();
        let failed = || io_error("open the parent of", &path)(Errno::INVAL.into());
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(failed());
        };
        let parent = Rootfs::open(parent).and_then(|parent| parent.root().try_clone());
        let parent = parent.map_err(io_error("open the parent of", &path))?;
        Ok((parent, name.as_bytes().to_vec()))
    }
}

/// Moves the directory there if that is possible. A file is copied, a socket gets a second name.
fn lend(found: &Found, to: (&Dir, &[u8]), cancel: &Cancel) -> Result<Lender, PlaceError> {
    let (parent, name) = found.parent()?;
    let path = found.host_path();
    let how = match found.kind {
        Kind::Directory => match parent.rename(&name, to.0, to.1) {
            Ok(()) => Lent::Moved,
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                show_copy(found, to, cancel)?;
                Lent::Copied
            }
            Err(error) => return Err(io_error("move", &path)(error)),
        },
        Kind::Socket => {
            let linked = to.0.create_hard_link(to.1, &parent, &name);
            linked.map_err(io_error("link", &path))?;
            Lent::Linked
        }
        _ => {
            show_copy(found, to, cancel)?;
            Lent::Linked
        }
    };
    Ok(Lender {
        parent,
        name,
        path,
        how,
    })
}

fn show_copy(found: &Found, (parent, name): (&Dir, &[u8]), cancel: &Cancel) -> Result<(), PlaceError> {
    let path = found.host_path();
    if found.kind == Kind::Directory {
        make_directory(parent, name, 0o755).map_err(io_error("copy", &path))?;
        let from = Rootfs::open(&path).map_err(io_error("open", &path))?;
        let to = parent.open_dir(name).and_then(|to| open_descriptor(&to));
        return copy_directory(&from, &to.map_err(io_error("copy", &path))?, cancel);
    }
    let to = open_descriptor(parent).map_err(io_error("copy", &path))?;
    let request = CopyRequest {
        source: Source::Tree(&found.tree),
        paths: &[copy::literal(&found.path)],
        files: &[],
        destination: &[b"/", name].concat(),
        chown: None,
        chmod: None,
        exclude: None,
        parents: Parents::Dropped,
        mode: Mode::Copy,
        created_mtime: None,
    };
    let copied = copy::copy(&request, &to, &mut Fingerprints::default(), cancel, &|_| ());
    copied.map(drop).map_err(copy_error)
}

fn copy_directory(from: &Rootfs, to: &Rootfs, cancel: &Cancel) -> Result<(), PlaceError> {
    let (known, mut new) = (Fingerprints::default(), Fingerprints::default());
    copy::copy_tree((from, &known), (to, &mut new), cancel, &|_| ()).map_err(copy_error)
}

fn copy_error(error: CopyError) -> PlaceError {
    PlaceError::Copy(Box::new(error))
}

/// The directory as the root of a tree.
fn open_descriptor(dir: &Dir) -> io::Result<Rootfs> {
    use std::os::fd::AsRawFd as _;
    Rootfs::open(Path::new(&format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd())))
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PlaceError {
    let path = path.to_owned();
    move |source| PlaceError::Io {
        operation,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;
    use crate::secret::SecretValue;

    /// Path, kind and mode, mtime, inode of everything but the root.
    type Listing = Vec<(PathBuf, u32, (i64, i64), u64)>;

    fn listing(root: &Path) -> Listing {
        let mut entries: Vec<_> = walkdir::WalkDir::new(root)
            .min_depth(1)
            .into_iter()
            .map(|entry| {
                let entry = entry.unwrap();
                let meta = entry.metadata().unwrap();
                (
                    entry.into_path(),
                    meta.mode(),
                    (meta.mtime(), meta.mtime_nsec()),
                    meta.ino(),
                )
            })
            .collect();
        entries.sort();
        entries
    }

    struct Fixture {
        directory: tempfile::TempDir,
        rootfs: Rootfs,
    }

    impl Fixture {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let rootfs = Rootfs::create(&directory.path().join("rootfs")).unwrap();
            let root = rootfs.host_path();
            for folder in ["etc", "proc", "data/old", "cache"] {
                fs::create_dir_all(root.join(folder)).unwrap();
            }
            fs::write(root.join("etc/hosts"), "of the image").unwrap();
            fs::write(root.join("proc/file"), "of the image").unwrap();
            symlink("../run/resolv.conf", root.join("etc/resolv.conf")).unwrap();
            fs::create_dir_all(directory.path().join("cache/sub")).unwrap();
            fs::write(directory.path().join("cache/sub/old"), "old").unwrap();
            Self { directory, rootfs }
        }

        fn path(&self, inside: &str) -> PathBuf {
            self.rootfs.host_path().join(inside)
        }

        fn read(&self, inside: &str) -> String {
            fs::read_to_string(self.path(inside)).unwrap()
        }

        fn place(&self, items: &[Item<'_>]) -> Placed {
            Placed::place(&self.rootfs, items, &Cancel::default()).unwrap()
        }
    }

    fn file<'a>(path: &'a str, content: &'a str) -> Item<'a> {
        let owner = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let thing = Thing::File {
            content: content.as_bytes(),
            owner,
            mode: 0o640,
        };
        let path = Path::new(path);
        Item { path, thing }
    }

    fn directory(path: &str) -> Item<'_> {
        Item {
            path: Path::new(path),
            thing: Thing::Directory { mode: 0o1777 },
        }
    }

    fn source(root: &Path, path: &str) -> SourcePlace {
        SourcePlace {
            root: root.into(),
            path: path.into(),
        }
    }

    #[test]
    fn everything_is_as_it_was() {
        let fixture = Fixture::new();
        let before = listing(fixture.directory.path());
        let shared = source(fixture.directory.path(), "cache/sub");
        let mount = Mount {
            target: "/new/secret".into(),
            read_only: true,
            source: MountSource::Secret {
                value: SecretValue::new(b"hidden".to_vec()),
                uid: rustix::process::getuid().as_raw(),
                gid: rustix::process::getgid().as_raw(),
                mode: 0o400,
            },
        };
        let placed = fixture.place(&[
            directory("/proc"),
            file("/etc/hosts", "placed"),
            file("/etc/resolv.conf", "name server"),
            Item::of(&mount).unwrap(),
            directory("/data"),
            Item {
                path: Path::new("/data/below"),
                thing: Thing::Copy(&shared),
            },
            Item {
                path: Path::new("/data/link"),
                thing: Thing::Symlink {
                    target: OsStr::new("below"),
                },
            },
        ]);
        assert_eq!(fs::read_dir(fixture.path("proc")).unwrap().count(), 0);
        assert_eq!(fixture.read("etc/hosts"), "placed");
        assert_eq!(fixture.read("run/resolv.conf"), "name server");
        assert_eq!(fixture.read("new/secret"), "hidden");
        assert_eq!(fixture.read("data/link/old"), "old");
        let mode = |inside: &str| fs::metadata(fixture.path(inside)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(
            (mode("proc"), mode("etc/hosts"), mode("new/secret")),
            (0o1777, 0o640, 0o400)
        );
        // What the process does there is in vain.
        fs::write(fixture.path("etc/hosts"), "changed").unwrap();
        fs::write(fixture.path("proc/new"), "").unwrap();
        fs::write(fixture.path("data/below/new"), "").unwrap();
        placed.take_out(&Cancel::default()).unwrap();
        assert_eq!(listing(fixture.directory.path()), before);
    }

    #[test]
    fn what_the_process_writes_beside_them_stays() {
        let fixture = Fixture::new();
        let placed = fixture.place(&[file("/run/secrets/a", "x"), file("/etc/hosts", "placed")]);
        fs::write(fixture.path("run/secrets/own"), "").unwrap();
        let time = fs::metadata(fixture.path("run/secrets")).unwrap().modified().unwrap();
        placed.take_out(&Cancel::default()).unwrap();
        assert!(fixture.path("run/secrets/own").exists());
        assert!(!fixture.path("run/secrets/a").exists());
        assert_eq!(
            fs::metadata(fixture.path("run/secrets")).unwrap().modified().unwrap(),
            time
        );
        assert_eq!(fixture.read("etc/hosts"), "of the image");
    }

    /// On one filesystem the directory is moved, between two it is copied; nobody sees which.
    #[test]
    fn what_is_lent_keeps_its_content() {
        let fixture = Fixture::new();
        let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
        fs::create_dir_all(elsewhere.path().join("cache/sub")).unwrap();
        fs::write(elsewhere.path().join("cache/sub/old"), "old").unwrap();
        for root in [fixture.directory.path(), elsewhere.path()] {
            let before = listing(fixture.rootfs.host_path());
            let cache = source(root, "cache");
            let placed = fixture.place(&[Item {
                path: Path::new("/cache"),
                thing: Thing::Lent(&cache),
            }]);
            assert_eq!(fixture.read("cache/sub/old"), "old");
            fs::remove_file(fixture.path("cache/sub/old")).unwrap();
            fs::write(fixture.path("cache/new"), "new").unwrap();
            placed.take_out(&Cancel::default()).unwrap();
            assert_eq!(listing(fixture.rootfs.host_path()), before);
            assert_eq!(fs::read_to_string(root.join("cache/new")).unwrap(), "new");
            assert!(!root.join("cache/sub/old").exists());
        }
    }

    #[test]
    fn an_error_takes_everything_out_again() {
        let fixture = Fixture::new();
        let before = listing(fixture.directory.path());
        let cache = source(fixture.directory.path(), "cache");
        let missing = source(fixture.directory.path(), "missing");
        let items = [
            file("/etc/hosts", "placed"),
            Item {
                path: Path::new("/cache"),
                thing: Thing::Lent(&cache),
            },
            Item {
                path: Path::new("/data"),
                thing: Thing::Copy(&missing),
            },
        ];
        let error = Placed::place(&fixture.rootfs, &items, &Cancel::default()).unwrap_err();
        assert!(matches!(error, PlaceError::Rootfs(_)), "{error:?}");
        let root = [fixture.path(""), fixture.directory.path().join("cache")];
        assert!(root.iter().all(|path| path.exists()));
        assert_eq!(listing(fixture.directory.path()), before);
    }

    #[test]
    fn a_lent_directory_that_was_replaced_is_empty() {
        let fixture = Fixture::new();
        let cache = source(fixture.directory.path(), "cache");
        let placed = fixture.place(&[Item {
            path: Path::new("/cache"),
            thing: Thing::Lent(&cache),
        }]);
        fs::remove_dir_all(fixture.path("cache")).unwrap();
        fs::write(fixture.path("cache"), "a file").unwrap();
        placed.take_out(&Cancel::default()).unwrap();
        assert!(fixture.path("cache").is_dir());
        assert_eq!(fs::read_dir(fixture.directory.path().join("cache")).unwrap().count(), 0);
    }

    #[test]
    fn a_socket_gets_a_second_name() {
        let fixture = Fixture::new();
        let socket = fixture.directory.path().join("agent");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let agent = source(fixture.directory.path(), "agent");
        let placed = fixture.place(&[Item {
            path: Path::new("/run/agent.sock"),
            thing: Thing::Lent(&agent),
        }]);
        std::os::unix::net::UnixStream::connect(fixture.path("run/agent.sock")).unwrap();
        placed.take_out(&Cancel::default()).unwrap();
        assert!(socket.exists() && !fixture.path("run").exists());
    }
}
