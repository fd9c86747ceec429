//! What a COPY or ADD copies, one tree at a time: given paths, heredocs, and what ADD has fetched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::{BuildError, Problem};
use super::session::Session;
use crate::context::BuildContext;
use crate::copy::{self, CopyRequest, InlineFile};
use crate::plan::{Archives, CopySource, CopyStep};
use crate::remote::{GitSource, Remote, UrlSource};

/// Sources that are copied together. A step's parts are copied in order; later ones overwrite earlier ones.
#[derive(Debug)]
pub(crate) enum Part {
    /// Out of the tree that the step names, and heredocs.
    Given {
        paths: Vec<Vec<u8>>,
        files: Vec<InlineFile>,
    },
    /// A download or a repository.
    Fetched(Arc<FetchedTree>),
}

/// A source that was fetched, ready to be copied from.
#[derive(Debug)]
pub(crate) struct FetchedTree {
    tree: BuildContext,
    /// What of the tree is meant.
    path: Vec<Vec<u8>>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Download,
    Repository,
}

/// The parts of a step, everything remote fetched.
pub(crate) fn parts(step: &CopyStep, session: &Session) -> Result<Vec<Part>, BuildError> {
    let mut parts = Vec::new();
    for source in &step.sources {
        match source {
            CopySource::Path(path) => given(&mut parts).0.push(path.clone().into_bytes()),
            CopySource::Heredoc { name, content } => given(&mut parts).1.push(InlineFile {
                name: name.clone().into_bytes(),
                content: content.clone().into_bytes(),
            }),
            CopySource::Url(source) => parts.push(Part::Fetched(session.download(source)?)),
            CopySource::Git(source) => parts.push(Part::Fetched(session.check_out(source)?)),
        }
    }
    Ok(parts)
}

/// The last part, if paths and heredocs may still join it, else a new one.
fn given(parts: &mut Vec<Part>) -> (&mut Vec<Vec<u8>>, &mut Vec<InlineFile>) {
    if !matches!(parts.last(), Some(Part::Given { .. })) {
        parts.push(Part::Given {
            paths: Vec::new(),
            files: Vec::new(),
        });
    }
    match parts.last_mut() {
        Some(Part::Given { paths, files }) => (paths, files),
        Some(Part::Fetched(_)) | None => unreachable!("such a part was pushed above when it was missing"),
    }
}

impl Part {
    /// `step`, the request for the whole step, narrowed to this part.
    pub(crate) fn request<'a>(
        &'a self,
        step: &CopyRequest<'a>,
        archives: Archives,
        extractor: &'a dyn copy::Archives,
    ) -> CopyRequest<'a> {
        let (extracts, request) = match self {
            Self::Given { paths, files } => {
                let extracts = matches!(archives, Archives::Extract | Archives::ExtractDownloads);
                (extracts, CopyRequest { paths, files, ..*step })
            }
            Self::Fetched(fetched) => {
                let extracts = archives == Archives::ExtractDownloads && fetched.kind == Kind::Download;
                let request = CopyRequest {
                    source: copy::Source::Context(&fetched.tree),
                    paths: &fetched.path,
                    files: &[],
                    ..*step
                };
                (extracts, request)
            }
        };
        CopyRequest {
            mode: match extracts {
                true => copy::Mode::Add(extractor),
                false => copy::Mode::Copy,
            },
            ..request
        }
    }
}

/// Sources of this build, each fetched once, by whoever asks first; the others wait for him.
#[derive(Debug)]
pub(crate) struct RemoteSources {
    remote: Remote,
    /// Guards the list, not the fetching.
    slots: Mutex<BTreeMap<Source, Arc<Slot>>>,
    /// Names the directories.
    count: AtomicUsize,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Source {
    Url(UrlSource),
    Git(GitSource),
}

/// Guards the fetching; holds the tree once it is whole.
type Slot = Mutex<Option<Arc<FetchedTree>>>;

impl RemoteSources {
    /// Fetches with `remote`.
    pub(crate) fn new(remote: Remote) -> Self {
        Self {
            remote,
            slots: Mutex::default(),
            count: AtomicUsize::default(),
        }
    }

    /// What fetches.
    pub(crate) const fn remote(&self) -> &Remote {
        &self.remote
    }

    fn once(
        &self,
        source: Source,
        fetch: impl FnOnce(&Remote) -> Result<FetchedTree, BuildError>,
    ) -> Result<Arc<FetchedTree>, BuildError> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(source).or_default())
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = &*slot {
            return Ok(Arc::clone(tree));
        }
        let tree = Arc::new(fetch(&self.remote)?);
        *slot = Some(Arc::clone(&tree));
        Ok(tree)
    }
}

impl Session {
    fn download(&self, source: &UrlSource) -> Result<Arc<FetchedTree>, BuildError> {
        self.sources.once(Source::Url(source.clone()), |remote| {
            let directory = self.source_directory()?;
            remote.download(source, &directory)?;
            Ok(FetchedTree {
                tree: open(&directory)?,
                path: vec![escape_wildcards(source.name.as_bytes())],
                kind: Kind::Download,
            })
        })
    }

    /// A directory of its own for one source.
    fn source_directory(&self) -> Result<PathBuf, BuildError> {
        let number = self.sources.count.fetch_add(1, Ordering::Relaxed);
        self.workspace().subdirectory(&format!("sources/{number}"))
    }

    fn check_out(&self, source: &GitSource) -> Result<Arc<FetchedTree>, BuildError> {
        self.sources.once(Source::Git(source.clone()), |remote| {
            let directory = self.source_directory()?;
            remote.check_out(source, &directory)?;
            let subdir = source.subdir.as_deref().unwrap_or_default();
            Ok(FetchedTree {
                tree: open(&directory)?,
                path: vec![escape_wildcards(subdir.as_bytes())],
                kind: Kind::Repository,
            })
        })
    }
}

/// What was fetched counts as a context: its owners and attributes are nobody's, and no ignore file applies.
fn open(directory: &Path) -> Result<BuildContext, BuildError> {
    let opened = BuildContext::open(directory, None).map_err(|error| Problem::System {
        what: "open what was fetched",
        source: error.source,
    });
    Ok(opened?)
}

/// A name that means itself where a pattern may stand.
fn escape_wildcards(name: &[u8]) -> Vec<u8> {
    let escaped = name.iter().flat_map(|byte| match byte {
        b'*' | b'?' | b'[' | b']' | b'\\' => vec![b'\\', *byte],
        byte => vec![*byte],
    });
    escaped.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_sources_join_until_something_is_fetched() {
        let mut parts = Vec::new();
        given(&mut parts).0.push(b"a".to_vec());
        given(&mut parts).0.push(b"b".to_vec());
        assert!(matches!(parts.as_slice(), [Part::Given { paths, .. }] if paths.len() == 2));
    }

    #[test]
    fn names_of_downloads_are_no_patterns() {
        assert_eq!(escape_wildcards(br"a[1]*?\"), br"a\[1\]\*\?\\");
    }
}
