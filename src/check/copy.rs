//! CopyIgnoredFile: a source that the ignore file hides.

use crate::context::IgnorePatterns;
use crate::dockerfile::{Source, Transfer, Word};
use crate::remote::{SourceKind, source_kind};
use crate::rootfs::RootfsPath;

/// The sources that are no heredocs.
pub(super) fn paths(transfer: &Transfer) -> Vec<&Word> {
    transfer
        .sources
        .iter()
        .filter_map(|source| match source {
            Source::Path(word) => Some(word),
            Source::Heredoc(_) => None,
        })
        .collect()
}

/// With rules that include again, what a directory holds cannot be told from the rules alone.
pub(super) fn ignored_file(verb: &str, source: &str, patterns: &IgnorePatterns) -> Option<String> {
    if source_kind(source) != SourceKind::Path || patterns.includes_again() {
        return None;
    }
    let path = clean(source);
    let ignored = match path.trim_start_matches('/') {
        "" | "." => patterns.excludes_every_entry(),
        inner => patterns
            .judge_path(&RootfsPath::root().join(inner.as_bytes()))
            .is_excluded(),
    };
    ignored.then(|| format!("Attempting to {verb} file {path:?} that is excluded by .dockerignore"))
}

/// Without doubled slashes, `.` and `..` where they change nothing.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut components: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            // The root is its own parent.
            ".." => drop(components.pop()),
            component => components.push(component),
        }
    }
    match (rooted, components.join("/")) {
        (true, path) => format!("/{path}"),
        (false, path) if path.is_empty() => ".".to_owned(),
        (false, path) => path,
    }
}
