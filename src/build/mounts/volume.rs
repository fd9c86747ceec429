//! `--run-volume`: files and directories of the machine that every RUN sees.
//!
//! Pipelines of the kaniko executor find the pod's volumes in a RUN, because there RUN has the pod's own root. Here it
//! has not; who needs one of them says so, and whose RUN fails for lack of one is told how.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::super::request::{BuildRequest, Context, RunVolume, VolumeAccess};
use crate::run::{Mount, MountSource, SourceKind, SourcePlace};

/// Where the kaniko executor's images keep what pipelines put there.
const USUAL: [&str; 2] = ["/kaniko", "/workspace"];

/// Mounts that every container has, and of which a RUN has its own.
const OF_EVERY_ROOT: [&str; 4] = ["/proc", "/sys", "/dev", "/etc"];

/// The mounts of all volumes, in an order in which none hides another.
pub(super) fn mounts(volumes: &[RunVolume]) -> Vec<Mount> {
    let mut volumes: Vec<_> = volumes.iter().collect();
    volumes.sort_by(|a, b| a.target.cmp(&b.target));
    volumes.into_iter().map(mount).collect()
}

fn mount(volume: &RunVolume) -> Mount {
    let (place, kind) = match (
        volume.source.is_dir(),
        volume.source.parent(),
        volume.source.file_name(),
    ) {
        (false, Some(parent), Some(name)) => (place(parent, name), SourceKind::File),
        _ => (place(&volume.source, OsStr::new("/")), SourceKind::Directory),
    };
    Mount {
        target: volume.target.clone().into(),
        read_only: volume.access == VolumeAccess::ReadOnly,
        source: MountSource::Tree { place, kind },
    }
}

fn place(root: &Path, path: &OsStr) -> SourcePlace {
    SourcePlace {
        root: root.into(),
        path: path.into(),
    }
}

/// Directories of the machine that somebody might take for visible in a RUN: longest first.
pub(super) fn outside(request: &BuildRequest) -> Vec<PathBuf> {
    let context = match &request.context {
        Context::Directory(path) => Some(path.clone()),
        Context::Fetched(_) => None,
    };
    let mut places: Vec<_> = USUAL.iter().map(PathBuf::from).chain(context).collect();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    places.extend(mount_points(&table));
    places.retain(|place| place != Path::new("/") && place.exists());
    places.sort_by_key(|place| std::cmp::Reverse(place.as_os_str().len()));
    places.dedup();
    places
}

/// Mount points that only this container has. Names with odd characters are written differently there and left out.
fn mount_points(table: &str) -> Vec<PathBuf> {
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    let points = points.filter(|point| !point.contains('\\')).map(PathBuf::from);
    let is_own = |point: &PathBuf| !OF_EVERY_ROOT.iter().any(|system| point.starts_with(system));
    points.filter(is_own).collect()
}

/// The first of `outside` that one of `texts` names and that is not in `rootfs` nor given as a volume.
pub(super) fn unseen(outside: &[PathBuf], volumes: &[RunVolume], rootfs: &Path, texts: &[String]) -> Option<PathBuf> {
    let is_given = |place: &Path| volumes.iter().any(|volume| place.starts_with(&volume.target));
    let is_inside = |place: &Path| {
        let below = place.strip_prefix("/").unwrap_or(place);
        fs::symlink_metadata(rootfs.join(below)).is_ok()
    };
    let is_named = |place: &Path| {
        let name = place.to_string_lossy();
        texts.iter().any(|text| names_path(text, &name))
    };
    let mut candidates = outside.iter().filter(|place| is_named(place));
    candidates.find(|place| !is_given(place) && !is_inside(place)).cloned()
}

/// Whether `path` stands in `text` as a path of its own or as the beginning of one.
fn names_path(text: &str, path: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    text.match_indices(path).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + path.len()..].chars().next();
        !before.is_some_and(|c| is_part(c) || c == '/') && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_named_as_a_whole() {
        for (text, expected) in [
            ("cat /kaniko/netrc", true),
            ("cat '/kaniko'", true),
            ("X=/kaniko", true),
            ("cat /kanikos/x", false),
            ("cat /opt/kaniko/x", false),
            ("cat x/kaniko", false),
            ("cat /kaniko-x", false),
        ] {
            assert_eq!(names_path(text, "/kaniko"), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_there_and_not_given_is_unseen() {
        let rootfs = tempfile::tempdir().unwrap();
        fs::create_dir(rootfs.path().join("workspace")).unwrap();
        let outside = ["/kaniko/x", "/kaniko", "/workspace"].map(PathBuf::from);
        let look = |volumes: &[RunVolume], text: &str| unseen(&outside, volumes, rootfs.path(), &[text.to_owned()]);
        assert_eq!(look(&[], "ls /kaniko/x/y"), Some("/kaniko/x".into()));
        assert_eq!(look(&[], "ls /kaniko"), Some("/kaniko".into()));
        assert_eq!(look(&[], "ls /workspace"), None, "the image has one");
        let given = RunVolume {
            source: "/kaniko".into(),
            target: "/kaniko".into(),
            access: VolumeAccess::ReadOnly,
        };
        assert_eq!(look(&[given], "ls /kaniko/x"), None);
    }

    #[test]
    fn mounts_of_every_container_are_no_volumes() {
        let table = "1 0 0:1 / / rw - overlay o rw\n2 1 0:2 / /proc rw - proc p rw\n\
                     3 1 0:3 /a /etc/hosts rw - ext4 e rw\n4 1 0:4 / /home/jenkins/agent rw - ext4 e rw\n\
                     5 1 0:5 / /odd\\040name rw - ext4 e rw\n";
        let points: Vec<_> = mount_points(table).into_iter().collect();
        assert_eq!(points, [PathBuf::from("/"), PathBuf::from("/home/jenkins/agent")]);
    }
}
