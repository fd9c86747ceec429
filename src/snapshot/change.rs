//! What a step changed, as a value: the seam between whoever knows (a walk, COPY, ADD, WORKDIR) and the layer writer.

use std::collections::BTreeMap;

use crate::rootfs::RootfsPath;

/// What happened to a path.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ChangeKind {
    /// It was made or altered: the layer takes what is in the rootfs now.
    Upsert,
    /// It is gone, with all below it.
    Delete,
}

/// One changed path.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Change {
    /// Where.
    pub path: RootfsPath,
    /// What happened there.
    pub kind: ChangeKind,
}

/// The changes of one step, sorted by path.
///
/// No path occurs twice, and nothing is listed below a deleted path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChangeSet {
    changes: Vec<Change>,
}

impl ChangeSet {
    /// Starts an empty set for somebody who knows what was changed.
    #[must_use]
    pub fn builder() -> ChangeSetBuilder {
        ChangeSetBuilder::default()
    }

    /// The changes of other paths than these.
    #[must_use]
    pub fn without(mut self, leave_out: impl Fn(&RootfsPath) -> bool) -> Self {
        self.changes.retain(|change| !leave_out(&change.path));
        self
    }

    /// Of a walk, which finds every path once, and nothing below a deleted one; other names of a
    /// file may have been found twice.
    pub(super) fn from_unsorted(mut changes: Vec<Change>) -> Self {
        changes.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        changes.dedup();
        Self { changes }
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// How many paths changed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// The changes, sorted by path.
    pub fn iter(&self) -> std::slice::Iter<'_, Change> {
        self.changes.iter()
    }
}

impl<'a> IntoIterator for &'a ChangeSet {
    type Item = &'a Change;
    type IntoIter = std::slice::Iter<'a, Change>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Change> for ChangeSet {
    fn from_iter<I: IntoIterator<Item = Change>>(changes: I) -> Self {
        let mut builder = Self::builder();
        for change in changes {
            builder.changes.insert(change.path, change.kind);
        }
        builder.build()
    }
}

/// Collects changes in any order; what is said last of a path holds.
#[derive(Clone, Debug, Default)]
pub struct ChangeSetBuilder {
    changes: BTreeMap<RootfsPath, ChangeKind>,
}

impl ChangeSetBuilder {
    /// Notes that `path` was made or altered. Directories above it need no mention.
    pub fn upsert(&mut self, path: RootfsPath) -> &mut Self {
        self.changes.insert(path, ChangeKind::Upsert);
        self
    }

    /// Notes that `path` is gone.
    pub fn delete(&mut self, path: RootfsPath) -> &mut Self {
        self.changes.insert(path, ChangeKind::Delete);
        self
    }

    /// Sorts, and drops what a deletion further up covers. A deletion with an upsert below it is no
    /// deletion: the path must exist again.
    #[must_use]
    pub fn build(self) -> ChangeSet {
        let mut changes: Vec<Change> = Vec::with_capacity(self.changes.len());
        // A deleted path directly precedes all that is below it, and only deletions can be dropped here.
        for (path, kind) in self.changes {
            while let Some(last) = changes.last()
                && last.kind == ChangeKind::Delete
                && path.starts_with(&last.path)
                && kind == ChangeKind::Upsert
            {
                changes.pop();
            }
            let covered = changes
                .last()
                .is_some_and(|last| last.kind == ChangeKind::Delete && path.starts_with(&last.path));
            if !covered {
                changes.push(Change { path, kind });
            }
        }
        ChangeSet { changes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RootfsPath {
        RootfsPath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn sorts_and_drops_what_is_covered() {
        for (given, expected) in [
            (&["+b", "+a-b", "+a/c", "+a"][..], &["+a", "+a/c", "+a-b", "+b"][..]),
            (&["-a/b", "-a", "-a/b/c", "-b"], &["-a", "-b"]),
            (&["+a", "-a"], &["-a"]),
            (&["-a", "+a"], &["+a"]),
            (&["-a", "-a/b", "+a/c/d"], &["+a/c/d"]),
            (&["+a", "-a/b", "-a/c"], &["+a", "-a/b", "-a/c"]),
        ] {
            let mut builder = ChangeSet::builder();
            for text in given {
                match text.split_at(1) {
                    ("+", text) => builder.upsert(path(text)),
                    (_, text) => builder.delete(path(text)),
                };
            }
            let expected: Vec<_> = expected
                .iter()
                .map(|text| Change {
                    path: path(&text[1..]),
                    kind: if text.starts_with('+') {
                        ChangeKind::Upsert
                    } else {
                        ChangeKind::Delete
                    },
                })
                .collect();
            assert_eq!(builder.build().changes, expected, "{given:?}");
        }
    }
}
