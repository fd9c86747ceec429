//! The memory limit of the container that this is, and whether the kernel had to enforce it.
//!
//! A kernel that ends a process for want of memory tells nobody: the process is simply gone, killed by SIGKILL as by
//! anybody else. But the control group counts such ends, and who compares two counts knows.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Watches the memory from one moment to another.
#[derive(Debug)]
#[must_use = "what has happened is said at the end"]
pub struct Watch {
    group: Option<Group>,
    /// The count when the watch began.
    before: u64,
}

/// Whether there was too little memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shortage {
    /// Nothing was ended for want of memory.
    None,
    /// Something was.
    Hit(Limit),
    /// The kernel does not show it here.
    Unknown,
}

/// What limits the memory. Displays as what happened and what to do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// Bytes; `None` if the group itself has no limit.
    bytes: Option<u64>,
    /// The file that sets it.
    file: &'static str,
}

/// A control group that counts.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Group {
    directory: PathBuf,
    version: &'static Version,
}

/// The two kinds of control groups.
#[derive(PartialEq, Eq, Debug)]
struct Version {
    /// Where its tree is mounted, relative to the root.
    mounts: &'static [&'static str],
    /// What stands between the first two colons of its line in `/proc/self/cgroup`.
    controller: Option<&'static str>,
    events: &'static str,
    limit: &'static str,
}

const FIRST: Version = Version {
    mounts: &["sys/fs/cgroup/memory"],
    controller: Some("memory"),
    events: "memory.oom_control",
    limit: "memory.limit_in_bytes",
};
const SECOND: Version = Version {
    mounts: &["sys/fs/cgroup", "sys/fs/cgroup/unified"],
    controller: None,
    events: "memory.events",
    limit: "memory.max",
};

/// Groups of the first version say "no limit" with the largest number of pages.
const UNLIMITED: u64 = 1 << 60;

/// Where a process says how gladly it would be ended for want of memory; proc(5).
const VICTIM_SCORE: &str = "/proc/self/oom_score_adj";
/// As if it used half of the memory more than it does. The most that can be said is 1000.
const PREFERENCE: i32 = 500;

/// Lets the kernel end this process, and those that it starts from now on, rather than the builder: of them the
/// builder can tell, of itself nobody.
pub(crate) fn spare_the_builder() {
    let now = fs::read_to_string(VICTIM_SCORE).ok();
    let now = now.and_then(|score| score.trim().parse::<i32>().ok()).unwrap_or(0);
    // Where it cannot be said the largest process is ended, which is rarely the builder.
    let _ = fs::write(VICTIM_SCORE, now.saturating_add(PREFERENCE).min(1000).to_string());
}

impl Watch {
    /// Begins.
    pub fn begin() -> Self {
        Self::of(Group::find(Path::new("/")))
    }

    fn of(group: Option<Group>) -> Self {
        let before = group.as_ref().and_then(Group::killed).unwrap_or_default();
        Self { group, before }
    }

    /// What has happened since.
    #[must_use]
    pub fn end(&self) -> Shortage {
        let now = self.group.as_ref().and_then(|group| Some((group, group.killed()?)));
        match now {
            Some((group, killed)) if killed > self.before => Shortage::Hit(group.limit()),
            Some(_) => Shortage::None,
            None => Shortage::Unknown,
        }
    }
}

impl Group {
    /// This process's own, below `root`.
    fn find(root: &Path) -> Option<Self> {
        let table = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
        [&FIRST, &SECOND].into_iter().find_map(|version| {
            let path = version.path_in(&table)?;
            let mounts = version.mounts.iter().map(|mount| root.join(mount));
            // A container sees its own group where the machine sees the topmost one, whatever its path says.
            let directories = mounts.flat_map(|mount| [mount.join(path.trim_start_matches('/')), mount]);
            let mut groups = directories.map(|directory| Self { directory, version });
            groups.find(|group| group.killed().is_some())
        })
    }

    /// How many processes the kernel has ended for want of memory.
    fn killed(&self) -> Option<u64> {
        let events = fs::read_to_string(self.directory.join(self.version.events)).ok()?;
        let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "))?;
        count.trim().parse().ok()
    }

    fn limit(&self) -> Limit {
        let bytes = fs::read_to_string(self.directory.join(self.version.limit)).ok();
        let bytes = bytes.and_then(|bytes| bytes.trim().parse().ok());
        Limit {
            bytes: bytes.filter(|bytes| *bytes < UNLIMITED),
            file: self.version.limit,
        }
    }
}

impl Version {
    /// The path of this process's group; cgroups(7): `number:controllers:path`.
    fn path_in<'a>(&self, table: &'a str) -> Option<&'a str> {
        table.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let is_it = match self.controller {
                Some(wanted) => controllers.split(',').any(|name| name == wanted),
                None => controllers.is_empty(),
            };
            is_it.then_some(path)
        })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the kernel ended a process for want of memory: ")?;
        match self.bytes {
            Some(bytes) => write!(
                f,
                "the memory limit of this container is {} MiB ({}); raise it (resources.limits.memory of a pod, --memory of \
                 docker and podman), or let the step use less",
                bytes >> 20,
                self.file
            ),
            None => f.write_str(
                "this container has no limit of its own, so the machine, or the pod as a whole, has no more; give it more, or \
                 let the step use less",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A container with the first version, whose path is the machine's; one with the second; a machine.
    #[test]
    fn an_end_for_want_of_memory_is_seen_wherever_the_group_is() {
        const FIRST: &str = "oom_kill_disable 0\nunder_oom 0\noom_kill ";
        const SECOND: &str = "low 0\nmax 12\noom 1\noom_kill ";
        for (table, events, before, limit, value) in [
            (
                "5:cpu,memory:/docker/x\n0::/\n",
                "sys/fs/cgroup/memory/memory.oom_control",
                FIRST,
                "sys/fs/cgroup/memory/memory.limit_in_bytes",
                "268435456\n",
            ),
            (
                "0::/\n",
                "sys/fs/cgroup/memory.events",
                SECOND,
                "sys/fs/cgroup/memory.max",
                "268435456\n",
            ),
            (
                "4:memory:/a\n0::/a/b\n",
                "sys/fs/cgroup/unified/a/b/memory.events",
                SECOND,
                "sys/fs/cgroup/unified/a/b/memory.max",
                "268435456\n",
            ),
        ] {
            let root = tempfile::tempdir().unwrap();
            write(root.path(), "proc/self/cgroup", table);
            write(root.path(), events, &format!("{before}3\n"));
            write(root.path(), limit, value);
            let watch = Watch::of(Group::find(root.path()));
            assert_eq!(watch.end(), Shortage::None, "{events}");
            write(root.path(), events, &format!("{before}4\n"));
            let Shortage::Hit(found) = watch.end() else {
                panic!("{events}");
            };
            assert_eq!(found.bytes, Some(256 << 20));
            assert!(
                found.to_string().contains("this container is 256 MiB (memory."),
                "{found}"
            );
        }
    }

    #[test]
    fn no_limit_is_not_a_large_one() {
        for (version, text) in [(&FIRST, "9223372036854771712\n"), (&SECOND, "max\n")] {
            let root = tempfile::tempdir().unwrap();
            write(root.path(), version.limit, text);
            let directory = root.path().to_owned();
            assert_eq!(Group { directory, version }.limit().bytes, None);
        }
    }

    #[test]
    fn what_cannot_be_seen_is_not_denied() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Watch::of(Group::find(root.path())).end(), Shortage::Unknown);
        write(root.path(), "proc/self/cgroup", "0::/\n");
        assert_eq!(Watch::of(Group::find(root.path())).end(), Shortage::Unknown);
    }
}
