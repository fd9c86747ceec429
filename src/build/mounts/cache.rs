//! `type=cache`: a directory of the store that outlives the build.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::super::error::BuildError;
use super::super::session::Session;
use super::bind::{Seen, copy_into};
use super::{MountError, Prepared};
use crate::copy::{CopyError, Source};
use crate::oci::Digest;
use crate::plan::{CacheMount, CopyFrom, MountKind, Ownership, RunStep, Sharing};
use crate::progress::Event;
use crate::rootfs::{Rootfs, RootfsPath};
use crate::run::{MountSource, SourceKind, SourcePlace};
use crate::store::CacheUse;

/// A new directory has these unless the mount says otherwise.
const DEFAULT: Ownership = Ownership {
    uid: 0,
    gid: 0,
    mode: 0o755,
};

/// What of a cache is mounted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CachePart {
    /// All of it.
    Whole,
    /// What the mount names as its source.
    Source,
}

impl Prepared {
    /// Takes every cache that the step mounts, each once and in the order of their keys: two steps that lock
    /// several of the same can then not wait for each other.
    pub(super) fn hold_caches(&mut self, step: &RunStep, session: &Session) -> Result<(), BuildError> {
        let mut wanted: BTreeMap<String, (CacheUse, &CacheMount, Option<Seen>)> = BTreeMap::new();
        for (index, mount) in step.mounts.iter().enumerate() {
            let MountKind::Cache(cache) = &mount.kind else {
                continue;
            };
            let base = self.base_of(cache, session)?;
            let how = match cache.sharing {
                // What is copied back by two at once would be neither's.
                Sharing::Shared if session.copies_mounts() => CacheUse::Locked,
                Sharing::Shared => CacheUse::Shared,
                Sharing::Private => CacheUse::Private,
                Sharing::Locked => CacheUse::Locked,
            };
            let key = key(cache, base.as_ref(), session)?;
            let part = match base {
                // What is taken from another tree has its place in the key, and is the whole directory.
                Some(_) => CachePart::Whole,
                None => CachePart::Source,
            };
            self.cache_of_mount.insert(index, (key.clone(), part));
            let entry = wanted.entry(key).or_insert((how, cache, base));
            entry.0 = entry.0.max(how);
        }
        for (key, (how, cache, base)) in wanted {
            let fill = |root: &Rootfs| fill(root, cache, base.as_ref(), session);
            let busy = || {
                let text = format!("waiting for the cache {:?}, which another step uses", cache.id);
                session.progress.event(Event::Info(&text));
            };
            let caches = &session.supplies.caches;
            let held = caches.acquire(&key, how, &session.cancel, &busy, fill)?;
            self.caches.insert(key, held);
        }
        Ok(())
    }

    /// The directory of a cache that is held for the step's mount with this index.
    ///
    /// What its first content would be is not looked up again: it may have changed while the step waited.
    pub(super) fn cached(&self, index: usize, cache: &CacheMount) -> Result<MountSource, BuildError> {
        let (key, part) = self.cache_of_mount.get(&index).expect("hold_caches saw every mount");
        let held = self.caches.get(key).expect("every cache of the step is held");
        let path = match part {
            CachePart::Whole => ".".to_owned(),
            CachePart::Source => inside(held.root(), cache)?,
        };
        Ok(MountSource::Tree {
            place: SourcePlace {
                root: held.root().host_path().into(),
                path: path.into(),
            },
            kind: SourceKind::Directory,
        })
    }

    /// What a new directory holds at first.
    fn base_of(&mut self, cache: &CacheMount, session: &Session) -> Result<Option<Seen>, BuildError> {
        match &cache.from {
            CopyFrom::Scratch => Ok(None),
            from => Ok(Some(self.see(from, &cache.source, session)?)),
        }
    }
}

/// Names the directory: the cache's ID, what it holds at first, and its owner where that was asked for.
fn key(cache: &CacheMount, base: Option<&Seen>, session: &Session) -> Result<String, BuildError> {
    let mut text = format!("{:?}", cache.id);
    if let Some(ownership) = &cache.ownership {
        text += &format!(" {ownership}");
    }
    if let Some(base) = base {
        let tree = open(base)?;
        let path = path(base)?;
        let content = tree.content_digest(&path, &session.cancel).map_err(content_problem)?;
        text += &format!(" {:?} {content}", cache.source);
    }
    Ok(Digest::of(text.as_bytes()).hex())
}

fn content_problem(error: crate::rootfs::ContentError) -> BuildError {
    match error {
        crate::rootfs::ContentError::Read(error) => BuildError::new(error),
        crate::rootfs::ContentError::Cancelled(cancelled) => BuildError::new(cancelled),
    }
}

fn open(base: &Seen) -> Result<Rootfs, BuildError> {
    let opened = Rootfs::open(Path::new(&base.place.root));
    Ok(opened.map_err(|source| MountError::Prepare {
        path: base.place.path.display().to_string(),
        source,
    })?)
}

fn path(base: &Seen) -> Result<RootfsPath, BuildError> {
    Ok(RootfsPath::parse_clamped(base.place.path.as_encoded_bytes()).map_err(CopyError::from)?)
}

fn fill(root: &Rootfs, cache: &CacheMount, base: Option<&Seen>, session: &Session) -> Result<(), BuildError> {
    let mut ownership = cache.ownership.unwrap_or(DEFAULT);
    // An owner of its own means a new, empty directory.
    if let (Some(base), None) = (base, cache.ownership) {
        if !base.metadata.is_dir() {
            let (id, path) = (cache.id.clone(), cache.source.clone());
            return Err(MountError::CacheOfFile { id, path }.into());
        }
        copy_into(&Source::Tree(&open(base)?), &path(base)?, b"/", root, session)?;
        ownership = Ownership {
            uid: base.metadata.uid,
            gid: base.metadata.gid,
            mode: base.metadata.mode,
        };
    }
    let own = || -> std::io::Result<()> {
        root.root().set_own_owner(ownership.uid, ownership.gid)?;
        root.root().set_own_mode(ownership.mode)
    };
    own().map_err(|source| MountError::Prepare {
        path: cache.id.clone(),
        source,
    })?;
    Ok(())
}

/// The path of `source` in the cache. Unlike other trees a cache is written to by builds that know nothing of each
/// other, so a link in it that leads out is refused, not clamped.
fn inside(root: &Rootfs, cache: &CacheMount) -> Result<String, BuildError> {
    let path = cache.source.trim_start_matches('/');
    if path.is_empty() {
        return Ok(".".to_owned());
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(root.root(), path, flags, Mode::empty(), resolve) {
        Ok(_) => Ok(path.to_owned()),
        Err(errno) => Err(MountError::CacheSource {
            path: cache.source.clone(),
            id: cache.id.clone(),
            source: errno.into(),
        }
        .into()),
    }
}
