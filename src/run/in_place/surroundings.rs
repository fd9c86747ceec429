//! What the container is, and what of it has to stay where it is.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::{InPlaceError, failed_at};
use super::stays::{Holder, Stays};
use crate::sys::mount_table::{self, MountEntry};

/// Where the executor's image has what others start processes from: a shell, and the usual working directory.
const BUSYBOX: &str = "/busybox";
const WORKSPACE: &str = "/workspace";

/// Directories of an image with programs of its own; ours has none of them.
const DISTRIBUTION: [&str; 4] = ["/usr", "/lib", "/sbin", "/opt"];

/// Filesystems that runtimes make a container's `/` of, and nobody a machine's.
const OF_CONTAINERS: [&str; 3] = ["overlay", "fuse.fuse-overlayfs", "aufs"];
/// Files and variables that runtimes leave in containers.
const MARKS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];
const VARIABLES: [&str; 2] = ["KUBERNETES_SERVICE_HOST", "container"];

/// The machine's own, whose number is the same on every one (`PROC_PID_INIT_INO` of the kernel).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// What was found out about the container.
#[derive(Debug)]
pub(super) struct Surroundings {
    mounts: Vec<MountEntry>,
    /// What this process was started from.
    binary: Option<PathBuf>,
    working_directory: Option<PathBuf>,
    /// Whether a runtime says that it made this.
    is_marked: bool,
    /// Whether this is another PID namespace than the machine's.
    has_own_processes: bool,
}

impl Surroundings {
    /// Looks around.
    pub(super) fn look() -> Result<Self, InPlaceError> {
        Ok(Self {
            mounts: mount_table::read().map_err(failed_at("read", "/proc/self/mountinfo"))?,
            binary: fs::read_link("/proc/self/exe").ok(),
            working_directory: std::env::current_dir().ok(),
            is_marked: MARKS.iter().any(|mark| Path::new(mark).exists())
                || VARIABLES.iter().any(|name| std::env::var_os(name).is_some()),
            has_own_processes: fs::read_link("/proc/self/ns/pid")
                .is_ok_and(|namespace| namespace != Path::new(FIRST_PID_NAMESPACE)),
        })
    }

    /// Whether this is a container, whose `/` nobody needs but those who are in it. None of the signs is enough: a
    /// machine made from an image has marks too, live systems have overlays, and sandboxes have PID namespaces.
    pub(super) fn check_is_container(&self) -> Result<(), InPlaceError> {
        let signs = [self.has_layered_root(), self.is_marked, self.has_own_processes];
        match signs.iter().filter(|is_there| **is_there).count() >= 2 {
            true => Ok(()),
            false => Err(InPlaceError::NotAContainer),
        }
    }

    fn has_layered_root(&self) -> bool {
        let is_root = |mount: &&MountEntry| mount.path == Path::new("/");
        // The last line is the topmost mount.
        let root = self.mounts.iter().rfind(is_root);
        root.is_some_and(|root| OF_CONTAINERS.contains(&root.kind.as_str()))
    }

    /// What stays for a RUN.
    pub(super) fn stays(&self, state: &Path) -> Stays {
        let mut stays = Stays::default();
        for mount in &self.mounts {
            stays.keep(&mount.path, Holder::Mount);
        }
        stays.keep(state, Holder::State);
        stays.keep(Path::new(BUSYBOX), Holder::Own);
        for program in self.programs() {
            stays.keep(&program, Holder::Own);
        }
        stays.keep_emptied(Path::new(WORKSPACE));
        if let Some(directory) = &self.working_directory {
            stays.keep_emptied(directory);
        }
        stays
    }

    /// This program, and those beside it that are the same under another name or for another purpose.
    fn programs(&self) -> Vec<PathBuf> {
        let Some(binary) = &self.binary else {
            return Vec::new();
        };
        let siblings = ["executor", "warmer"].map(|name| binary.with_file_name(name));
        let is_other = |path: &PathBuf| path != binary && binary.parent() == Some(Path::new("/kaniko"));
        let siblings = siblings.into_iter().filter(is_other);
        std::iter::once(binary.clone()).chain(siblings).collect()
    }
}

/// Whether the container's image is ours, or as empty. Others would have to be moved aside file by file, while
/// somebody works with their programs.
pub(super) fn check_is_own_image(root: &Path) -> Result<(), InPlaceError> {
    let has_entries = |path: &str| {
        let path = root.join(path.trim_start_matches('/'));
        fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some())
    };
    match DISTRIBUTION.into_iter().find(|path| has_entries(path)) {
        Some(path) => Err(InPlaceError::ForeignImage { path }),
        None => Ok(()),
    }
}

/// Whether `state` is on the container's own filesystem, from which entries can be renamed into `/`.
pub(super) fn check_filesystem(state: &Path) -> Result<(), InPlaceError> {
    let place = |path: &Path| {
        let directory = super::place::open(path)?;
        let metadata = directory.metadata().map_err(failed_at("stat", path))?;
        Ok((metadata.mount, metadata.device))
    };
    match place(state)? == place(Path::new(OsStr::new("/")))? {
        true => Ok(()),
        false => Err(InPlaceError::OtherFilesystem { path: state.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(root: &str) -> Surroundings {
        let mount = |path: &str, kind: &str| MountEntry {
            path: path.into(),
            kind: kind.to_owned(),
        };
        Surroundings {
            mounts: vec![mount("/", root), mount("/proc", "proc"), mount("/etc/hosts", "ext4")],
            binary: Some("/kaniko/executor".into()),
            working_directory: Some("/builds/x".into()),
            is_marked: false,
            has_own_processes: true,
        }
    }

    #[test]
    fn one_sign_makes_no_container() {
        of("overlay").check_is_container().unwrap();
        let marked = Surroundings {
            is_marked: true,
            ..of("ext4")
        };
        marked.check_is_container().unwrap();
        let machine = Surroundings {
            has_own_processes: false,
            ..marked
        };
        for surroundings in [of("ext4"), machine] {
            let error = surroundings.check_is_container().unwrap_err();
            assert!(matches!(error, InPlaceError::NotAContainer), "{error}");
        }
    }

    #[test]
    fn distributions_are_not_ours() {
        let root = tempfile::tempdir().unwrap();
        check_is_own_image(root.path()).unwrap();
        fs::create_dir_all(root.path().join("usr/bin")).unwrap();
        let error = check_is_own_image(root.path()).unwrap_err();
        assert!(matches!(error, InPlaceError::ForeignImage { path: "/usr" }), "{error}");
    }

    #[test]
    fn what_stays() {
        let stays = of("overlay").stays(Path::new("/kaniko/state"));
        assert!(stays.any(Holder::Mount) && stays.any(Holder::State) && stays.any(Holder::Own));
        let names: Vec<_> = stays
            .iter()
            .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
            .collect();
        assert_eq!(names, ["builds", "busybox", "etc", "kaniko", "proc", "workspace"]);
    }
}
