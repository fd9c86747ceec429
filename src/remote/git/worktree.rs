//! From a commit to files: a repository to fetch into, the checkout, and what its files look like.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use gix::ObjectId;
use gix::index::entry::Mode;
use jiff::Timestamp;

use super::{Arrived, GitError};
use crate::remote::{GitSource, Mtime};

/// The text of this file is read whole; nothing legitimate comes near.
const MAX_MODULES_FILE: usize = 1 << 20;

/// The place of a submodule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Link {
    /// Relative to the repository's root.
    pub(super) path: String,
    pub(super) commit: ObjectId,
}

/// Makes a repository in an existing directory. No configuration but its own counts.
pub(super) fn create(directory: &Path) -> Result<gix::Repository, GitError> {
    let options = gix::create::Options::default();
    let kind = gix::create::Kind::WithWorktree;
    let opened = gix::ThreadSafeRepository::init_opts(directory, kind, options, gix::open::Options::isolated());
    let mut repository: gix::Repository = opened.map(Into::into).map_err(GitError::library)?;
    // References that are updated have a log, and somebody must have written it.
    repository
        .committer_or_set_generic_fallback()
        .map_err(GitError::library)?;
    Ok(repository)
}

/// The commit that an object is, or that an annotated tag names.
pub(super) fn peel(repository: &gix::Repository, object: ObjectId) -> Result<ObjectId, GitError> {
    let found = repository.find_object(object).map_err(GitError::library)?;
    let commit = found.peel_to_kind(gix::objs::Kind::Commit);
    commit
        .map(|commit| commit.id)
        .map_err(|_| GitError::NotACommit(object.to_string()))
}

/// When the commit was made.
pub(super) fn commit_time(repository: &gix::Repository, commit: ObjectId) -> Result<Timestamp, GitError> {
    let time = repository
        .find_commit(commit)
        .map_err(GitError::library)?
        .time()
        .map_err(GitError::library)?;
    Ok(Timestamp::from_second(time.seconds).unwrap_or_default())
}

/// Writes the commit's files beside `.git`, and says where its submodules belong.
pub(super) fn write_files(
    repository: &gix::Repository,
    commit: ObjectId,
    interrupt: &AtomicBool,
) -> Result<Vec<Link>, GitError> {
    let tree = repository
        .find_commit(commit)
        .map_err(GitError::library)?
        .tree_id()
        .map_err(GitError::library)?;
    let mut index = repository.index_from_tree(&tree).map_err(GitError::library)?;
    let from_index = gix::worktree::stack::state::attributes::Source::IdMapping;
    let mut options = repository.checkout_options(from_index).map_err(GitError::library)?;
    options.destination_is_initially_empty = true;
    let objects = repository.objects.clone().into_arc().map_err(GitError::Files)?;
    let workdir = repository.workdir().unwrap_or_else(|| repository.git_dir()).to_owned();
    let silent = gix::progress::Discard;
    let outcome = gix::worktree::state::checkout(&mut index, workdir, objects, &silent, &silent, interrupt, options)
        .map_err(GitError::library)?;
    if let Some(collision) = outcome.collisions.first() {
        return Err(GitError::Unwritable(collision.path.to_string()));
    }
    index
        .write(gix::index::write::Options::default())
        .map_err(GitError::library)?;
    let links = index.entries().iter().filter(|entry| entry.mode == Mode::COMMIT);
    Ok(links
        .map(|entry| Link {
            path: entry.path(&index).to_string(),
            commit: entry.id,
        })
        .collect())
}

/// The commit's `.gitmodules`, empty when it has none. Not the file of that name, which may be a symlink.
pub(super) fn modules_file(repository: &gix::Repository, commit: ObjectId) -> Result<Vec<u8>, GitError> {
    let tree = repository
        .find_commit(commit)
        .map_err(GitError::library)?
        .tree()
        .map_err(GitError::library)?;
    match tree.find_entry(".gitmodules") {
        Some(entry) if entry.mode().is_blob() => {
            let object = entry.object().map_err(GitError::library)?;
            Ok(object.data[..object.data.len().min(MAX_MODULES_FILE)].to_vec())
        }
        Some(_) | None => Ok(Vec::new()),
    }
}

/// Lets `.git` say what is checked out and where it came from, as a clone's does.
pub(super) fn describe_itself(
    git_dir: &Path,
    source: &GitSource,
    commit: ObjectId,
    arrived: &Arrived,
) -> Result<(), GitError> {
    let head = fs::write(git_dir.join("HEAD"), format!("{commit}\n"));
    let refs = match arrived.name.as_deref().and_then(own_name) {
        Some(name) => fs::write(git_dir.join("packed-refs"), format!("{} {name}\n", arrived.object)),
        None => Ok(()),
    };
    let remote = || {
        let url = source.shown_remote().replace('\\', "\\\\").replace('"', "\\\"");
        let mut config = File::options().append(true).open(git_dir.join("config"))?;
        writeln!(config, "[remote \"origin\"]\n\turl = \"{url}\"")
    };
    head.and(refs).and_then(|()| remote()).map_err(GitError::Files)
}

/// What a clone calls a reference of its origin.
fn own_name(name: &str) -> Option<String> {
    match (name.strip_prefix("refs/heads/"), name.strip_prefix("refs/tags/")) {
        (Some(branch), _) => Some(format!("refs/remotes/origin/{branch}")),
        (_, Some(_)) => Some(name.to_owned()),
        (None, None) => None,
    }
}

/// Gives every file and directory the mode that git knows of it, whatever the umask said, and the time asked for.
pub(super) fn set_modes_and_times(directory: &Path, mtime: Mtime, commit: Timestamp) -> io::Result<()> {
    let time = match mtime {
        Mtime::Checkout => None,
        Mtime::Commit => Some(SystemTime::from(commit)),
    };
    set_below(directory, time)
}

fn set_below(directory: &Path, time: Option<SystemTime>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            set_below(&path, time)?;
        } else if kind.is_file() {
            let executable = entry.metadata()?.permissions().mode() & 0o100 != 0;
            let mode = if executable { 0o755 } else { 0o644 };
            fs::set_permissions(&path, Permissions::from_mode(mode))?;
            if let Some(time) = time {
                File::options().write(true).open(&path)?.set_modified(time)?;
            }
        } else if let Some(time) = time {
            set_link_time(&path, time)?;
        }
    }
    fs::set_permissions(directory, Permissions::from_mode(0o755))?;
    match time {
        Some(time) => File::open(directory)?.set_modified(time),
        None => Ok(()),
    }
}

fn set_link_time(path: &Path, time: SystemTime) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT};
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: 0,
        },
    };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
