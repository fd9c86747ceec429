//! What stays where it is in the container while an image's files take the place of all the rest.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

/// Why something stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Holder {
    /// Something is mounted there. It cannot be renamed, and is not ours.
    Mount,
    /// It is where the executor works: what was moved aside lies in it.
    State,
    /// It is a program or place that whoever starts the next process here relies on. An image that has the same
    /// path needs it more.
    Own,
}

/// What becomes of a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Stay {
    /// It stays, with all below it.
    Whole(Holder),
    /// The directory stays, and of its entries those that are listed.
    Within(Stays),
}

/// Names of one directory that stay in some way.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Stays(BTreeMap<Vec<u8>, Stay>);

impl Stays {
    /// Lets `path` stay, absolute and without links, and the directories above it.
    pub(super) fn keep(&mut self, path: &Path, holder: Holder) {
        let names = names(path);
        let Some((last, above)) = names.split_last() else {
            return;
        };
        let Some(stays) = self.within(above) else {
            return;
        };
        match stays.0.get(*last) {
            // What is mounted says more than what it is for: nobody can move it.
            Some(Stay::Whole(_)) if holder != Holder::Mount => {}
            _ => {
                stays.0.insert(last.to_vec(), Stay::Whole(holder));
            }
        }
    }

    /// Lets the directory `path` stay, but not what is in it.
    pub(super) fn keep_emptied(&mut self, path: &Path) {
        self.within(&names(path));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &Stay)> {
        self.0.iter().map(|(name, stay)| (name.as_slice(), stay))
    }

    /// Whether one of the paths is held for this reason.
    pub(super) fn any(&self, holder: Holder) -> bool {
        self.0.values().any(|stay| match stay {
            Stay::Whole(found) => *found == holder,
            Stay::Within(stays) => stays.any(holder),
        })
    }

    /// Whether `path` is, or lies in, something that stays whole.
    pub(super) fn cover(&self, path: &Path) -> bool {
        let mut stays = self;
        for name in names(path) {
            match stays.0.get(name) {
                Some(Stay::Whole(_)) => return true,
                Some(Stay::Within(below)) => stays = below,
                None => return false,
            }
        }
        false
    }

    /// The stays in the directory that `names` lead to; `None` when it lies in something that stays whole.
    fn within(&mut self, names: &[&[u8]]) -> Option<&mut Self> {
        let mut stays = self;
        for name in names {
            let stay = stays.0.entry(name.to_vec());
            match stay.or_insert_with(|| Stay::Within(Self::default())) {
                Stay::Whole(_) => return None,
                Stay::Within(below) => stays = below,
            }
        }
        Some(stays)
    }
}

fn names(path: &Path) -> Vec<&[u8]> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.as_bytes()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(stays: &Stays, path: &str) -> Vec<String> {
        let mut all = Vec::new();
        for (name, stay) in stays.iter() {
            let path = format!("{path}/{}", String::from_utf8_lossy(name));
            match stay {
                Stay::Whole(holder) => all.push(format!("{path} {holder:?}")),
                Stay::Within(below) => {
                    all.push(format!("{path}/"));
                    all.extend(lines(below, &path));
                }
            }
        }
        all
    }

    #[test]
    fn what_lies_in_something_whole_needs_no_mention() {
        let mut stays = Stays::default();
        for (path, holder) in [
            ("/", Holder::Mount),
            ("/proc", Holder::Mount),
            ("/proc/sys", Holder::Mount),
            ("/etc/hosts", Holder::Mount),
            ("/var/lib/rbuild", Holder::State),
            ("/var/lib/rbuild/x", Holder::Mount),
            ("/kaniko/executor", Holder::Own),
            ("/kaniko", Holder::Mount),
            ("/busybox", Holder::Mount),
            ("/busybox", Holder::Own),
        ] {
            stays.keep(Path::new(path), holder);
        }
        stays.keep_emptied(Path::new("/workspace"));
        stays.keep_emptied(Path::new("/proc/1"));
        assert_eq!(
            lines(&stays, ""),
            [
                "/busybox Mount",
                "/etc/",
                "/etc/hosts Mount",
                "/kaniko Mount",
                "/proc Mount",
                "/var/",
                "/var/lib/",
                "/var/lib/rbuild State",
                "/workspace/"
            ]
        );
        for (path, is_covered) in [
            ("/etc/hosts", true),
            ("/proc/x/y", true),
            ("/etc/x", false),
            ("/etc", false),
        ] {
            assert_eq!(stays.cover(Path::new(path)), is_covered, "{path}");
        }
        assert!(stays.any(Holder::State) && !stays.any(Holder::Own));
    }
}
