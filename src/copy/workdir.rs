//! WORKDIR's directory.

use super::{CopyError, Owner};
use crate::rootfs::{Missing, NewDir, Obstacle, Rootfs, RootfsPath, Timestamp};

/// Makes the directory `path` and those above it, as far as they are absent: mode 0755, owned by `owner`. What exists
/// stays as it is; symlinks are followed inside the root, and dangling ones get their target made.
///
/// Returns what was made, by canonical paths, topmost first.
///
/// # Errors
/// A file is in the way, or the kernel refuses.
pub fn make_workdir(
    rootfs: &Rootfs,
    path: &[u8],
    owner: Owner,
    mtime: Option<Timestamp>,
) -> Result<Vec<RootfsPath>, CopyError> {
    let path = RootfsPath::parse_clamped(path)?;
    let new = NewDir {
        uid: owner.uid,
        gid: owner.gid,
        mtime,
        ..NewDir::default()
    };
    let resolved = rootfs.resolve_dir(&path, Missing::Create(&new), Obstacle::Fail);
    let created = resolved.map_err(CopyError::Write)?.created;
    if let Some(mtime) = mtime {
        // Making the next one below moved it.
        for path in &created {
            let dir = rootfs.open_dir(path).map_err(CopyError::Write)?;
            dir.set_own_mtime(mtime)
                .map_err(|source| CopyError::write("set the time of", path, source))?;
        }
    }
    Ok(created)
}
