//! Real trees for the tests of snapshots and layers: how to make, change, capture and compare them.
//!
//! Nothing here uses the code under test: trees are read with `walkdir` and `std::fs`.

#![allow(dead_code, reason = "every test binary uses another part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

pub(crate) mod operations;

/// A directory for one test, with a root and room beside it.
pub(crate) struct Scratch {
    dir: tempfile::TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        Self { dir }
    }

    pub(crate) fn beside(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn mkdir(&self, path: &str) {
        fs::create_dir_all(self.path(path)).unwrap();
    }

    pub(crate) fn chmod(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn symlink(&self, target: &str, path: &str) {
        std::os::unix::fs::symlink(target, self.path(path)).unwrap();
    }

    pub(crate) fn link(&self, from: &str, to: &str) {
        fs::hard_link(self.path(from), self.path(to)).unwrap();
    }

    pub(crate) fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    pub(crate) fn remove(&self, path: &str) {
        remove(&self.path(path));
    }

    pub(crate) fn set_mtime(&self, path: &str, seconds: i64) {
        set_mtime(&self.path(path), seconds, 0);
    }
}

/// Removes whatever is there.
pub(crate) fn remove(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

pub(crate) fn set_mtime(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Everything an image keeps of an object, and its inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) kind: char,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: (i64, i64),
    pub(crate) content: Vec<u8>,
    pub(crate) rdev: u64,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) inode: u64,
    pub(crate) links: u64,
}

/// A tree, by path below its root.
pub(crate) type Tree = BTreeMap<Vec<u8>, Object>;

/// Reads all of a tree.
pub(crate) fn capture(root: &Path) -> Tree {
    let walk = walkdir::WalkDir::new(root).min_depth(1);
    walk.into_iter()
        .map(|entry| {
            let entry = entry.unwrap();
            let path = entry.path().strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            (path, object(entry.path()))
        })
        .collect()
}

fn object(path: &Path) -> Object {
    let metadata = fs::symlink_metadata(path).unwrap();
    let file_type = metadata.file_type();
    let kind = match () {
        () if file_type.is_dir() => 'd',
        () if file_type.is_symlink() => 'l',
        () if file_type.is_fifo() => 'p',
        () if file_type.is_char_device() => 'c',
        () if file_type.is_block_device() => 'b',
        () if file_type.is_socket() => 's',
        () => 'f',
    };
    let content = match kind {
        'f' => fs::read(path).unwrap(),
        'l' => fs::read_link(path).unwrap().as_os_str().as_bytes().to_vec(),
        _ => Vec::new(),
    };
    Object {
        kind,
        mode: metadata.mode() & 0o7777,
        owner: (metadata.uid(), metadata.gid()),
        mtime: (metadata.mtime(), metadata.mtime_nsec()),
        content,
        rdev: metadata.rdev(),
        xattrs: xattrs(path),
        inode: metadata.ino(),
        links: metadata.nlink(),
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 64 << 10];
    let size = rustix::fs::llistxattr(path, names.as_mut_slice()).unwrap();
    names[..size]
        .split(|b| *b == 0)
        .filter(|name| name.starts_with(b"user.") || *name == b"security.capability")
        .map(|name| {
            let mut value = vec![0; 64 << 10];
            let size = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), value.as_mut_slice()).unwrap();
            value.truncate(size);
            (name.to_vec(), value)
        })
        .collect()
}

/// Finds by comparison of all bytes what changed: `+path` and `-path`, sorted by components.
pub(crate) fn compare(old: &Tree, new: &Tree) -> BTreeSet<(Vec<Vec<u8>>, char)> {
    let mut found = BTreeMap::new();
    for (path, object) in new {
        if old.get(path).is_none_or(|before| differs(before, object)) {
            found.insert(path.clone(), '+');
        }
    }
    let inodes: BTreeSet<u64> = found
        .keys()
        .map(|path| &new[path])
        .filter(|o| o.kind != 'd')
        .map(|o| o.inode)
        .collect();
    for (path, object) in new {
        if object.kind != 'd' && inodes.contains(&object.inode) {
            found.insert(path.clone(), '+');
        }
    }
    for path in old.keys().filter(|path| !new.contains_key(*path)) {
        let parent = parent(path);
        // Only at the top of what was removed, and not where something else replaced the directory.
        if parent.is_empty() || new.get(parent).is_some_and(|object| object.kind == 'd') {
            found.insert(path.clone(), '-');
        }
    }
    found.into_iter().map(|(path, sign)| (split(&path), sign)).collect()
}

fn differs(old: &Object, new: &Object) -> bool {
    let kept = |o: &Object| (o.kind, o.mode, o.owner, o.content.clone(), o.xattrs.clone());
    if kept(old) != kept(new) {
        return true;
    }
    if new.kind == 'd' {
        return false;
    }
    let regrouped = old.inode != new.inode && (old.links > 1 || new.links > 1);
    old.mtime != new.mtime || old.rdev != new.rdev || regrouped
}

pub(crate) fn split(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|b| *b == b'/').map(<[u8]>::to_vec).collect()
}

fn parent(path: &[u8]) -> &[u8] {
    path.iter()
        .rposition(|b| *b == b'/')
        .map_or(b"".as_slice(), |slash| &path[..slash])
}

/// What of a tree a layer carries: times in whole seconds, none for directories, links as groups of names.
pub(crate) fn portable(tree: &Tree) -> BTreeMap<String, String> {
    let group = |object: &Object| -> Vec<String> {
        let same = |o: &&Object| o.inode == object.inode && o.kind != 'd';
        tree.iter()
            .filter(|(_, o)| same(o))
            .map(|(path, _)| path.escape_ascii().to_string())
            .collect()
    };
    tree.iter()
        .map(|(path, o)| {
            let mtime = if o.kind == 'd' { 0 } else { o.mtime.0 };
            let names = if o.kind != 'd' && o.links > 1 {
                group(o)
            } else {
                Vec::new()
            };
            let content = o.content.escape_ascii();
            let (kind, mode, owner, rdev, xattrs) = (o.kind, o.mode, o.owner, o.rdev, &o.xattrs);
            let text = format!("{kind} {mode:o} {owner:?} {mtime} {rdev} {xattrs:?} {names:?} {content}");
            (path.escape_ascii().to_string(), text)
        })
        .collect()
}

/// Applies a plain layer by the book: deletions first, then everything in order. For comparison with the real applier.
pub(crate) fn apply_reference(layer: &[u8], root: &Path) {
    let mut directory_times = Vec::new();
    for pass in [Pass::Deletions, Pass::Additions] {
        for member in members(layer) {
            // With its slash, a directory's name would mean what a symlink there points to.
            let path = member.path.strip_suffix(b"/").unwrap_or(&member.path);
            let path = root.join(OsStr::from_bytes(path));
            let name = path
                .file_name()
                .map(|name| name.as_bytes().to_vec())
                .unwrap_or_default();
            match (pass, name.strip_prefix(b".wh.")) {
                (Pass::Deletions, Some(name)) => remove(&path.with_file_name(OsStr::from_bytes(name))),
                (Pass::Additions, None) => add(&member, &path, root, &mut directory_times),
                _ => {}
            }
        }
    }
    for (path, mtime) in directory_times {
        set_mtime(&path, mtime, 0);
    }
}

#[derive(Clone, Copy)]
enum Pass {
    Deletions,
    Additions,
}

/// One entry of a plain layer, PAX records taken into account.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) header: tar::Header,
    pub(crate) pax: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) content: Vec<u8>,
}

impl Member {
    fn number(&self, key: &str, in_header: u64) -> i64 {
        let in_pax = self
            .pax
            .get(key.as_bytes())
            .map(|text| std::str::from_utf8(text).unwrap().parse().unwrap());
        in_pax.unwrap_or(in_header as i64)
    }

    pub(crate) fn mtime(&self) -> i64 {
        self.number("mtime", self.header.mtime().unwrap())
    }

    pub(crate) fn owner(&self) -> (u32, u32) {
        let uid = self.number("uid", self.header.uid().unwrap());
        (uid as u32, self.number("gid", self.header.gid().unwrap()) as u32)
    }

    pub(crate) fn xattrs(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let xattr =
            |(key, value): (&Vec<u8>, &Vec<u8>)| Some((key.strip_prefix(b"SCHILY.xattr.")?.to_vec(), value.clone()));
        self.pax.iter().filter_map(xattr).collect()
    }
}

/// The entries of a plain layer. The `tar` crate finds them; PAX records are split here, since it stops at newlines.
pub(crate) fn members(layer: &[u8]) -> Vec<Member> {
    let mut members = Vec::new();
    let mut pax = BTreeMap::new();
    let mut archive = tar::Archive::new(layer);
    for entry in archive.entries().unwrap().raw(true) {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if entry.header().entry_type() == tar::EntryType::XHeader {
            pax = pax_records(&content);
            continue;
        }
        let pax = std::mem::take(&mut pax);
        let link = || {
            entry
                .link_name_bytes()
                .map(|link| link.into_owned())
                .unwrap_or_default()
        };
        members.push(Member {
            path: pax
                .get(b"path".as_slice())
                .cloned()
                .unwrap_or_else(|| entry.path_bytes().into_owned()),
            link: pax.get(b"linkpath".as_slice()).cloned().unwrap_or_else(link),
            header: entry.header().clone(),
            pax,
            content,
        });
    }
    members
}

fn pax_records(mut bytes: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut records = BTreeMap::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|b| *b == b' ').unwrap();
        let length: usize = std::str::from_utf8(&bytes[..space]).unwrap().parse().unwrap();
        let record = bytes[space + 1..length].strip_suffix(b"\n").unwrap();
        let equals = record.iter().position(|b| *b == b'=').unwrap();
        records.insert(record[..equals].to_vec(), record[equals + 1..].to_vec());
        bytes = &bytes[length..];
    }
    records
}

fn add(member: &Member, path: &Path, root: &Path, directory_times: &mut Vec<(PathBuf, i64)>) {
    use tar::EntryType as T;
    let header = &member.header;
    let kind = header.entry_type();
    let is_directory = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    if !(kind.is_dir() && is_directory) {
        remove(path);
    }
    let (xattrs, (uid, gid)) = (member.xattrs(), member.owner());
    let link = OsStr::from_bytes(&member.link);
    match kind {
        T::Regular => fs::write(path, &member.content).unwrap(),
        T::Directory if is_directory => {}
        T::Directory => fs::create_dir(path).unwrap(),
        T::Symlink => std::os::unix::fs::symlink(link, path).unwrap(),
        T::Link => return rustix::fs::linkat(CWD, root.join(link), CWD, path, AtFlags::empty()).unwrap(),
        T::Fifo => node(path, rustix::fs::FileType::Fifo, (0, 0)),
        T::Char => {
            let device = (
                header.device_major().unwrap().unwrap(),
                header.device_minor().unwrap().unwrap(),
            );
            node(path, rustix::fs::FileType::CharacterDevice, device);
        }
        other => panic!("unexpected entry type {other:?}"),
    }
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).unwrap();
    for (name, value) in &xattrs {
        rustix::fs::lsetxattr(path, OsStr::from_bytes(name), value, rustix::fs::XattrFlags::empty()).unwrap();
    }
    if kind.is_dir() {
        for name in self::xattrs(path).keys().filter(|name| !xattrs.contains_key(*name)) {
            rustix::fs::lremovexattr(path, OsStr::from_bytes(name)).unwrap();
        }
        directory_times.push((path.to_owned(), member.mtime()));
    }
    if !kind.is_symlink() {
        fs::set_permissions(path, fs::Permissions::from_mode(header.mode().unwrap())).unwrap();
    }
    set_mtime(path, member.mtime(), 0);
}

fn node(path: &Path, kind: rustix::fs::FileType, device: (u32, u32)) {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let device = rustix::fs::makedev(device.0, device.1);
    rustix::fs::mknodat(CWD, path, kind, mode, device).unwrap();
}
