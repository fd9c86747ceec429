//! What can go wrong in a copy, in the words of its instruction.

use std::io;

use crate::cancel::Cancelled;
use crate::context::RuleName;
use crate::context::pattern::BadPattern;
use crate::rootfs::{PathError, RootfsError, RootfsPath};

/// A COPY, ADD or WORKDIR that did not work.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A source without wildcards does not exist.
    #[error("{source_path:?}: not found in {tree}")]
    NotFound {
        /// As written, from the root of the source.
        source_path: String,
        /// Which tree was searched, for people.
        tree: &'static str,
        /// A name that exists and is almost the one asked for.
        suggestion: Option<String>,
        /// Some of what is there instead, in the deepest directory of the path that exists.
        present: Vec<String>,
    },
    /// The source exists and the ignore file hides it.
    #[error("{source_path:?}: not found in {tree}: excluded by {ignore_file}, {rule}")]
    Ignored {
        /// As written.
        source_path: String,
        /// Which tree was searched, for people.
        tree: &'static str,
        /// Name of the ignore file.
        ignore_file: String,
        /// Its rule that decided.
        rule: RuleName,
    },
    /// The source lies in a directory that the builder works in.
    #[error("{source_path:?}: not found in {tree}: it belongs to the builder's own state directory")]
    Own {
        /// As written.
        source_path: String,
        /// Which tree was searched, for people.
        tree: &'static str,
    },
    /// A wildcard is malformed.
    #[error("source {pattern:?}")]
    Pattern {
        /// As written.
        pattern: String,
        /// What is wrong.
        #[source]
        source: BadPattern,
    },
    /// A source or the destination can be no path.
    #[error("unusable path")]
    Path(#[from] PathError),
    /// A directory would go where something else is.
    #[error("cannot copy to non-directory: {}", path.display_absolute())]
    NonDirectory {
        /// What is in the way.
        path: RootfsPath,
    },
    /// A file would go where a directory is.
    #[error("cannot replace to directory {} with file", path.display_absolute())]
    DirectoryInTheWay {
        /// The directory.
        path: RootfsPath,
    },
    /// A source tree is deeper than paths can be long.
    #[error("{}… is longer than a path can be", path.display_absolute())]
    TooDeep {
        /// Where the copy stopped.
        path: RootfsPath,
    },
    /// The source cannot be read.
    #[error("read the source")]
    Read(#[source] RootfsError),
    /// The destination cannot be written.
    #[error("write the destination")]
    Write(#[source] RootfsError),
    /// A local archive cannot be extracted.
    #[error("extract {archive:?} to {}", into.display_absolute())]
    Extract {
        /// The archive, from the root of the source.
        archive: String,
        /// Where to.
        into: RootfsPath,
        /// What the extractor said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The build ends early.
    #[error("stopped")]
    Cancelled(#[from] Cancelled),
}

impl CopyError {
    /// What the user could try, if it is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound {
                suggestion: Some(suggestion),
                ..
            } => Some(format!("did you mean {suggestion:?}?")),
            Self::NotFound { present, .. } if !present.is_empty() => Some(format!("there is {}", present.join(", "))),
            Self::Ignored { ignore_file, rule, .. } => Some(format!(
                "add a later line that starts with `!` to {ignore_file}, or drop its line {}",
                rule.line
            )),
            Self::Own { .. } => Some("choose a directory outside of the context with --store".to_owned()),
            _ => None,
        }
    }

    pub(super) fn read(operation: &'static str, path: &RootfsPath, source: impl Into<io::Error>) -> Self {
        Self::Read(RootfsError::new(operation, path, source))
    }

    pub(super) fn write(operation: &'static str, path: &RootfsPath, source: impl Into<io::Error>) -> Self {
        Self::Write(RootfsError::new(operation, path, source))
    }
}
