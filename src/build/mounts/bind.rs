//! `type=bind`: a file or directory of a tree, as it is or with changes that are thrown away.
//!
//! The context is only seen through its ignore file, without the builder's own directories, and owned by root: where
//! that differs from what is on disk, the mount shows a copy, which all steps of the build share.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::error::BuildError;
use super::super::session::Session;
use super::super::trees::Tree;
use super::{MountError, Prepared};
use crate::context::{BuildContext, Hits};
use crate::copy::{self, CopyError, CopyRequest, Source};
use crate::plan::CopyFrom;
use crate::progress::Event;
use crate::rootfs::{Dir, Metadata, Rootfs, RootfsError, RootfsPath, check_depth};
use crate::run::{MountSource, MountWay, SourceKind, SourcePlace};
use crate::snapshot::Fingerprints;

/// Where a copy lies in a rootfs made for it.
const COPY: &[u8] = b"/copy";

/// How parts of the context can be shown, each found out once, by whoever asks first; the others wait for him.
#[derive(Debug, Default)]
pub(crate) struct Views(Mutex<BTreeMap<(String, RootfsPath), Arc<Slot>>>);

/// Guards the copying; holds the copy once it is whole.
type Slot = Mutex<Option<View>>;

/// How a part of the context is shown.
#[derive(Clone, Debug)]
enum View {
    AsItIs,
    Copy(Arc<Rootfs>),
}

impl Views {
    fn slot(&self, from: &CopyFrom, path: &RootfsPath) -> Arc<Slot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry((from.to_string(), path.clone())).or_default())
    }
}

/// A file or directory that can be mounted as it is.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) place: SourcePlace,
    pub(super) metadata: Metadata,
}

impl Prepared {
    /// To be read.
    pub(super) fn shown(
        &mut self,
        from: &CopyFrom,
        source: &str,
        session: &Session,
    ) -> Result<MountSource, BuildError> {
        let seen = self.see(from, source, session)?;
        Ok(MountSource::Tree {
            kind: kind(&seen.metadata),
            place: seen.place,
        })
    }

    /// To be written to, in vain.
    pub(super) fn scratched(
        &mut self,
        from: &CopyFrom,
        source: &str,
        session: &Session,
    ) -> Result<MountSource, BuildError> {
        let seen = self.see(from, source, session)?;
        let scratch = session.workspace().new_rootfs()?;
        self.scratch.push(Arc::clone(&scratch));
        if seen.metadata.is_dir() {
            let overlays = overlays(&scratch, &seen).map_err(|error| MountError::Prepare {
                path: source.to_owned(),
                source: error,
            })?;
            if session.can_mount(&overlays.trial) {
                return Ok(overlays.real);
            }
        }
        let place = copy_to(&scratch, &seen, session)?;
        Ok(MountSource::Tree {
            kind: kind(&seen.metadata),
            place,
        })
    }

    /// Finds `source` in the tree, and makes a copy of what must not be seen as it is.
    pub(super) fn see(&mut self, from: &CopyFrom, source: &str, session: &Session) -> Result<Seen, BuildError> {
        let path = RootfsPath::parse_clamped(source.as_bytes()).map_err(CopyError::from)?;
        let context = match session.tree(from)? {
            Tree::Context(context) => context,
            Tree::Rootfs(rootfs) => {
                let (path, metadata) = copy::find(&Source::Tree(&rootfs), &path)?;
                let place = place(&rootfs, &path);
                self.trees.push(rootfs);
                return Ok(Seen { place, metadata });
            }
        };
        let (path, metadata) = copy::find(&Source::Context(context), &path)?;
        let slot = session.supplies.views.slot(from, &path);
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let view = match &*slot {
            Some(view) => view.clone(),
            None => slot.insert(view(context, &path, &metadata, session)?).clone(),
        };
        let place = match view {
            View::AsItIs => place(context.rootfs(), &path),
            View::Copy(copy) => {
                let path = RootfsPath::parse_clamped(COPY).map_err(CopyError::from)?;
                let place = place(&copy, &path);
                self.trees.push(copy);
                place
            }
        };
        Ok(Seen { place, metadata })
    }
}

/// Looks at a part of the context, and copies it if it must not be shown as it is.
fn view(context: &BuildContext, path: &RootfsPath, metadata: &Metadata, session: &Session) -> Result<View, BuildError> {
    if is_as_it_should_be(context, path, metadata)? {
        return Ok(View::AsItIs);
    }
    let copy = session.workspace().new_rootfs()?;
    copy_source(&Source::Context(context), path, metadata, &copy, session)?;
    Ok(View::Copy(copy))
}

impl Session {
    /// Whether the steps of this build see copies of what they mount.
    pub(super) fn copies_mounts(&self) -> bool {
        let isolation = self.isolation.as_ref();
        isolation.is_some_and(|isolation| isolation.abilities().mounts == MountWay::Copied)
    }

    fn can_mount(&self, source: &MountSource) -> bool {
        let isolation = self.isolation.as_ref();
        isolation.is_some_and(|isolation| isolation.can_mount(source))
    }
}

fn kind(metadata: &Metadata) -> SourceKind {
    match metadata.is_dir() {
        true => SourceKind::Directory,
        false => SourceKind::File,
    }
}

fn place(rootfs: &Rootfs, path: &RootfsPath) -> SourcePlace {
    use std::os::unix::ffi::OsStringExt as _;
    let path = match path.is_root() {
        true => b".".to_vec(),
        false => path.as_bytes().to_vec(),
    };
    SourcePlace {
        root: rootfs.host_path().into(),
        path: std::ffi::OsString::from_vec(path),
    }
}

/// Two overlays of one directory.
struct Overlays {
    /// To be tried: whether the kernel takes it depends on the filesystems of both its sides, and on how overlays and
    /// directories lie upon and in each other.
    trial: MountSource,
    /// The one for the step. It has directories of its own: some kernels give them to one mount only.
    real: MountSource,
}

fn overlays(scratch: &Rootfs, lower: &Seen) -> std::io::Result<Overlays> {
    let overlay = |name: &str| {
        let scratch = scratch.host_path().join(name);
        fs::create_dir(&scratch)?;
        make_overlay_directories(&scratch, &lower.metadata)?;
        Ok::<_, std::io::Error>(MountSource::Overlay {
            lower: lower.place.clone(),
            scratch: scratch.into(),
        })
    };
    Ok(Overlays {
        trial: overlay("trial")?,
        real: overlay("real")?,
    })
}

/// What an overlay needs; its root looks like the directory it covers.
fn make_overlay_directories(scratch: &Path, lower: &Metadata) -> std::io::Result<()> {
    let (upper, work) = (scratch.join("upper"), scratch.join("work"));
    fs::create_dir(&upper)?;
    fs::create_dir(&work)?;
    chown(&upper, Some(lower.uid), Some(lower.gid))?;
    fs::set_permissions(&upper, fs::Permissions::from_mode(lower.mode))
}

fn copy_to(scratch: &Rootfs, seen: &Seen, session: &Session) -> Result<SourcePlace, BuildError> {
    let prepare = |source| MountError::Prepare {
        path: seen.place.path.display().to_string(),
        source,
    };
    let tree = Rootfs::open(Path::new(&seen.place.root)).map_err(prepare)?;
    let path = RootfsPath::parse_clamped(seen.place.path.as_encoded_bytes()).map_err(CopyError::from)?;
    copy_source(&Source::Tree(&tree), &path, &seen.metadata, scratch, session)?;
    let copy = RootfsPath::parse_clamped(COPY).map_err(CopyError::from)?;
    Ok(place(scratch, &copy))
}

/// Copies a file or directory to [`COPY`] in an empty rootfs.
fn copy_source(
    source: &Source<'_>,
    path: &RootfsPath,
    metadata: &Metadata,
    to: &Rootfs,
    session: &Session,
) -> Result<(), BuildError> {
    copy_into(source, path, COPY, to, session)?;
    if metadata.is_dir() {
        let owner = match source {
            Source::Context(_) => (0, 0),
            Source::Tree(_) => (metadata.uid, metadata.gid),
        };
        let name = COPY.strip_prefix(b"/").unwrap_or(COPY);
        let same = || -> std::io::Result<()> {
            to.root().set_owner(name, owner.0, owner.1)?;
            to.root().set_mode(name, metadata.mode)
        };
        same().map_err(|source| MountError::Prepare {
            path: path.display_absolute(),
            source,
        })?;
    }
    Ok(())
}

/// Copies a file, or what is in a directory.
pub(super) fn copy_into(
    source: &Source<'_>,
    path: &RootfsPath,
    destination: &[u8],
    to: &Rootfs,
    session: &Session,
) -> Result<(), BuildError> {
    let request = CopyRequest {
        source: *source,
        paths: &[copy::literal(path)],
        files: &[],
        destination,
        chown: None,
        chmod: None,
        exclude: None,
        mode: copy::Mode::Copy,
        parents: copy::Parents::Dropped,
        created_mtime: None,
    };
    let warn = |text: &str| session.progress.event(Event::Warning(text));
    copy::copy(&request, to, &mut Fingerprints::default(), &session.cancel, &warn)?;
    Ok(())
}

/// Whether the context's own files can be shown: nothing is hidden, all belongs to root, and nothing is mounted.
fn is_as_it_should_be(context: &BuildContext, path: &RootfsPath, metadata: &Metadata) -> Result<bool, BuildError> {
    let belongs_to_root = |metadata: &Metadata| (metadata.uid, metadata.gid) == (0, 0);
    if !belongs_to_root(metadata) {
        return Ok(false);
    }
    let hits = match context.ignore() {
        None => Hits::default(),
        Some(ignore) => {
            let judgement = ignore.patterns.judge_path(path);
            if judgement.is_excluded() {
                return Ok(false);
            }
            judgement.hits
        }
    };
    if !metadata.is_dir() {
        return Ok(true);
    }
    let directory = context.rootfs().open_dir(path).map_err(CopyError::Read)?;
    let below = |dir: &Dir, at: &RootfsPath, hits: &Hits| all_below(context, metadata.mount, (dir, at, hits), 1);
    Ok(below(&directory, path, &hits).map_err(CopyError::Read)?)
}

fn all_below(
    context: &BuildContext,
    mount: u64,
    (directory, at, hits): (&Dir, &RootfsPath, &Hits),
    depth: usize,
) -> Result<bool, RootfsError> {
    check_depth(depth, at)?;
    let names = directory.names();
    for name in names.map_err(|source| RootfsError::new("list", at, source))? {
        let path = at.join(&name);
        let failed = |operation| {
            let path = &path;
            move |source| RootfsError::new(operation, path, source)
        };
        let judgement = context
            .ignore()
            .map(|ignore| ignore.patterns.judge(hits, path.as_bytes()));
        if judgement.as_ref().is_some_and(crate::context::Judgement::is_excluded) {
            return Ok(false);
        }
        // What vanishes meanwhile is not missed.
        let Some(metadata) = directory.stat(&name).map_err(failed("stat"))? else {
            continue;
        };
        if (metadata.uid, metadata.gid, metadata.mount) != (0, 0, mount) || context.hidden().contains(&metadata.id()) {
            return Ok(false);
        }
        if metadata.is_dir() {
            let below = directory.open_dir(&name).map_err(failed("open directory"))?;
            let hits = judgement.map(|judgement| judgement.hits).unwrap_or_default();
            if !all_below(context, mount, (&below, &path, &hits), depth + 1)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
