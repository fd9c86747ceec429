//! From paths and wildcards to objects of the source tree.

use std::io;

use rustix::io::Errno;

use super::{CopyError, Source};
use crate::context::pattern::{Pattern, has_wildcard, unescape};
use crate::context::{Hits, IgnoreFile, IgnorePatterns, RuleName};
use crate::rootfs::{Dir, Metadata, ObjectId, Rootfs, RootfsError, RootfsPath};

/// A path of the source that is to be copied, its wildcards resolved.
#[derive(Debug)]
pub(super) struct Candidate {
    /// As written or matched; its last component is the name at the destination.
    path: RootfsPath,
    origin: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Named in full: it must exist.
    Written,
    /// Found by a wildcard: it exists, but a symlink among the matches may lead nowhere.
    Matched,
}

/// An existing object of the source tree.
#[derive(Debug)]
pub(super) struct Found {
    /// Its name at the destination, should it need one; empty for the root.
    pub name: Vec<u8>,
    /// Where it is, without symlinks.
    pub path: RootfsPath,
    /// Its metadata.
    pub metadata: Metadata,
    /// Itself.
    pub object: Object,
}

#[derive(Debug)]
pub(super) enum Object {
    /// A directory.
    Directory(Dir),
    /// Anything else: its directory and its name there.
    Entry(Dir, Vec<u8>),
}

/// Finds what is at `path`, without wildcards, as a COPY would: links are followed within the source, and what the
/// ignore file hides is not there. Its canonical path and its metadata.
///
/// # Errors
/// [`CopyError::NotFound`], [`CopyError::Ignored`], or what the kernel says.
pub fn find(source: &Source<'_>, path: &RootfsPath) -> Result<(RootfsPath, Metadata), CopyError> {
    let found = source.open(&Candidate {
        path: path.clone(),
        origin: Origin::Written,
    })?;
    Ok((found.path, found.metadata))
}

impl<'a> Source<'a> {
    pub(super) const fn rootfs(&self) -> &'a Rootfs {
        match self {
            Self::Context(context) => context.rootfs(),
            Self::Tree(rootfs) => rootfs,
        }
    }

    pub(super) const fn ignore(&self) -> Option<&'a IgnoreFile> {
        match self {
            Self::Context(context) => context.ignore(),
            Self::Tree(_) => None,
        }
    }

    /// What counts as absent, with all that is in it.
    pub(super) fn hidden_objects(&self) -> &'a [ObjectId] {
        match self {
            Self::Context(context) => context.hidden(),
            Self::Tree(_) => &[],
        }
    }

    /// Whether the canonical `path` lies in what counts as absent.
    fn is_absent_by_decree(&self, path: &RootfsPath) -> Result<bool, CopyError> {
        if self.hidden_objects().is_empty() {
            return Ok(false);
        }
        for path in path.ancestors().skip(1).chain([path.clone()]) {
            let metadata = self.rootfs().metadata(&path).map_err(CopyError::Read)?;
            if metadata.is_some_and(|metadata| self.hidden_objects().contains(&metadata.id())) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    const fn tree(&self) -> &'static str {
        match self {
            Self::Context(_) => "the build context",
            Self::Tree(_) => "the source image or stage",
        }
    }

    fn patterns(&self) -> Option<&'a IgnorePatterns> {
        self.ignore().map(|file| &file.patterns)
    }

    /// Resolves wildcards: the paths to copy, in the lexical order of a walk. Only a wildcard may find nothing.
    pub(super) fn candidates(&self, written: &[u8]) -> Result<Vec<Candidate>, CopyError> {
        let path = RootfsPath::parse_clamped(written)?;
        let literal = path
            .components()
            .take_while(|component| !has_wildcard(component))
            .count();
        if literal == path.components().count() {
            return Ok(vec![self.written(path)?]);
        }
        let base = RootfsPath::from_components(path.components().take(literal));
        let wild = RootfsPath::from_components(path.components().skip(literal));
        let pattern = Pattern::parse(wild.as_bytes()).map_err(|source| CopyError::Pattern {
            pattern: String::from_utf8_lossy(written).into_owned(),
            source,
        })?;
        self.matches(&base, &pattern)
    }

    /// Finds the object of a candidate, symlinks followed, its last component too. A dangling symlink among the
    /// matches of a wildcard is the object itself.
    pub(super) fn open(&self, candidate: &Candidate) -> Result<Found, CopyError> {
        let written = &candidate.path;
        let path = match self.rootfs().canonicalize(written) {
            Ok(path) => path,
            Err(error) if candidate.origin == Origin::Matched && leads_nowhere(&error) => written.clone(),
            Err(error) if is_absent(&error) => return Err(self.not_found(written)),
            Err(error) => return Err(CopyError::Read(error)),
        };
        let path = self.leaving_decreed(candidate, path)?;
        let (metadata, object) = self.object(&path)?.ok_or_else(|| self.not_found(written))?;
        if let Some(rule) = self.hidden(written, &path, &object)? {
            return Err(self.ignored(written, rule));
        }
        Ok(Found {
            name: written.name().unwrap_or_default().to_vec(),
            path,
            metadata,
            object,
        })
    }

    /// The canonical path of a candidate, unless it lies in what counts as absent. The walk for a wildcard has not
    /// entered that, but a symlink among its matches may, and then is one that leads nowhere.
    fn leaving_decreed(&self, candidate: &Candidate, path: RootfsPath) -> Result<RootfsPath, CopyError> {
        match candidate.origin {
            Origin::Matched if path == candidate.path => Ok(path),
            _ if !self.is_absent_by_decree(&path)? => Ok(path),
            Origin::Matched => Ok(candidate.path.clone()),
            Origin::Written => Err(CopyError::Own {
                source_path: lossy_absolute(&candidate.path),
                tree: self.tree(),
            }),
        }
    }

    /// Makes sure that something visible is at `path`; a symlink at its end is that thing itself.
    pub(super) fn require(&self, path: &RootfsPath) -> Result<(), CopyError> {
        let Some((parent, name)) = path.split_last() else {
            return Ok(());
        };
        if self.rootfs().metadata(path).map_err(CopyError::Read)?.is_none() {
            return Err(self.not_found(path));
        }
        let parent = self.rootfs().canonicalize(&parent).map_err(CopyError::Read)?;
        let there = parent.join(&name);
        if self.is_absent_by_decree(&there)? {
            return Err(CopyError::Own {
                source_path: lossy_absolute(path),
                tree: self.tree(),
            });
        }
        let (_, object) = self.object(&there)?.ok_or_else(|| self.not_found(path))?;
        match self.hidden(path, &there, &object)? {
            Some(rule) => Err(self.ignored(path, rule)),
            None => Ok(()),
        }
    }

    /// A plain path: as written or, if that does not exist, without its escapes.
    fn written(&self, path: RootfsPath) -> Result<Candidate, CopyError> {
        let escaped = path.as_bytes().contains(&b'\\') && self.rootfs().canonicalize(&path).is_err();
        Ok(Candidate {
            path: if escaped {
                RootfsPath::parse_clamped(&unescape(path.as_bytes()))?
            } else {
                path
            },
            origin: Origin::Written,
        })
    }

    fn matches(&self, base: &RootfsPath, pattern: &Pattern) -> Result<Vec<Candidate>, CopyError> {
        let base = match self.rootfs().canonicalize(base) {
            Ok(base) => base,
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            Err(error) => return Err(CopyError::Read(error)),
        };
        let Some((_, Object::Directory(dir))) = self.object(&base)? else {
            return Ok(Vec::new());
        };
        if self.is_absent_by_decree(&base)? {
            return Ok(Vec::new());
        }
        let mut search = Search {
            base: &base,
            pattern,
            hidden: self.hidden_objects(),
            patterns: self.patterns(),
            found: Vec::new(),
        };
        let hits = search.patterns.map(|patterns| patterns.judge_path(&base).hits);
        search.visit(&dir, &RootfsPath::root(), &hits.unwrap_or_default())?;
        let candidate = |path| Candidate {
            path,
            origin: Origin::Matched,
        };
        Ok(search.found.into_iter().map(candidate).collect())
    }

    /// For a wildcard that finds nothing: the ignore file and its rule that hide what it would match.
    pub(super) fn hider(&self, written: &[u8]) -> Result<Option<(&'a IgnoreFile, RuleName)>, CopyError> {
        let Some(file) = self.ignore() else {
            return Ok(None);
        };
        let all = Self::Tree(self.rootfs()).candidates(written)?;
        let judged = all.first().map(|candidate| file.patterns.judge_path(&candidate.path));
        let rule = judged.and_then(|judgement| file.patterns.culprit(&judgement));
        Ok(rule.map(|rule| (file, rule)))
    }

    /// What is at the canonical `path`.
    fn object(&self, path: &RootfsPath) -> Result<Option<(Metadata, Object)>, CopyError> {
        let rootfs = self.rootfs();
        let Some((parent, name)) = path.split_last() else {
            let root = rootfs.root();
            let metadata = root
                .metadata()
                .map_err(|source| CopyError::read("stat", path, source))?;
            let root = root
                .try_clone()
                .map_err(|source| CopyError::read("open directory", path, source))?;
            return Ok(Some((metadata, Object::Directory(root))));
        };
        let parent = rootfs.open_dir(&parent).map_err(CopyError::Read)?;
        let metadata = parent
            .stat(&name)
            .map_err(|source| CopyError::read("stat", path, source))?;
        Ok(match metadata {
            Some(metadata) if metadata.is_dir() => {
                let dir = parent
                    .open_dir(&name)
                    .map_err(|source| CopyError::read("open directory", path, source))?;
                Some((metadata, Object::Directory(dir)))
            }
            Some(metadata) => Some((metadata, Object::Entry(parent, name))),
            None => None,
        })
    }

    /// The rule that hides an object. Both its name as written and what that leads to must be visible.
    fn hidden(&self, written: &RootfsPath, path: &RootfsPath, object: &Object) -> Result<Option<RuleName>, CopyError> {
        let Some(patterns) = self.patterns() else {
            return Ok(None);
        };
        for name in [written, path] {
            let judgement = patterns.judge_path(name);
            let Some(rule) = patterns.culprit(&judgement) else {
                continue;
            };
            let visible = match object {
                Object::Directory(dir) => holds_visible(patterns, dir, name, &judgement.hits)?,
                Object::Entry(..) => false,
            };
            if !visible {
                return Ok(Some(rule));
            }
        }
        Ok(None)
    }

    fn ignored(&self, written: &RootfsPath, rule: RuleName) -> CopyError {
        CopyError::Ignored {
            source_path: lossy_absolute(written),
            tree: self.tree(),
            ignore_file: self.ignore().map(|file| file.name.clone()).unwrap_or_default(),
            rule,
        }
    }

    fn not_found(&self, written: &RootfsPath) -> CopyError {
        let (suggestion, present) = self.neighbours(written);
        CopyError::NotFound {
            source_path: lossy_absolute(written),
            tree: self.tree(),
            suggestion,
            present,
        }
    }

    /// What is where the path ends to exist: the name most like the missing one, and the first few. Only a hint, so
    /// that no error comes from here.
    fn neighbours(&self, written: &RootfsPath) -> (Option<String>, Vec<String>) {
        /// Enough to see what kind of directory it is.
        const SHOWN: usize = 5;
        let depth = written.components().count();
        let prefixes = (0..depth)
            .rev()
            .map(|depth| RootfsPath::from_components(written.components().take(depth)));
        let Some((parent, dir)) = prefixes.into_iter().find_map(|path| {
            let dir = self.rootfs().open_dir(&path).ok()?;
            Some((path, dir))
        }) else {
            return (None, Vec::new());
        };
        let hits = self
            .patterns()
            .map(|patterns| patterns.judge_path(&parent).hits)
            .unwrap_or_default();
        let mut names = dir.names().unwrap_or_default();
        names.retain(|name| {
            let path = parent.join(name);
            self.patterns()
                .is_none_or(|patterns| !patterns.judge(&hits, path.as_bytes()).is_excluded())
        });
        let missing = written
            .components()
            .nth(parent.components().count())
            .unwrap_or_default();
        let nearest = names
            .iter()
            .filter(|name| *name != missing)
            .map(|name| (distance(missing, name), name))
            .min()
            .filter(|(distance, _)| *distance <= missing.len().div_ceil(3));
        let suggestion = nearest.map(|(_, name)| lossy_absolute(&parent.join(name)));
        let shown = names.iter().take(SHOWN).map(|name| lossy_absolute(&parent.join(name)));
        (suggestion, shown.collect())
    }
}

/// A walk for the matches of a wildcard below `base`.
struct Search<'s> {
    base: &'s RootfsPath,
    pattern: &'s Pattern,
    patterns: Option<&'s IgnorePatterns>,
    hidden: &'s [ObjectId],
    found: Vec<RootfsPath>,
}

impl Search<'_> {
    /// Visits the entries of `dir`, which is `at` below the base. What matches is not searched further.
    fn visit(&mut self, dir: &Dir, at: &RootfsPath, hits: &Hits) -> Result<(), CopyError> {
        let path = at.below(self.base);
        let names = dir.names().map_err(|source| CopyError::read("list", &path, source))?;
        let depth = if at.is_root() { 0 } else { at.components().count() };
        let deeper = self.pattern.most_slashes().is_none_or(|slashes| depth < slashes);
        for name in names {
            let relative = at.join(&name);
            let matched = self.pattern.matches(relative.as_bytes());
            if !matched && !deeper {
                continue;
            }
            let path = relative.below(self.base);
            if self.hides(dir, &name, &path)? {
                continue;
            }
            let judgement = self.patterns.map(|patterns| patterns.judge(hits, path.as_bytes()));
            let excluded = judgement.as_ref().is_some_and(crate::context::Judgement::is_excluded);
            let hits = judgement.map(|judgement| judgement.hits).unwrap_or_default();
            if matched && !excluded {
                self.found.push(path);
                continue;
            }
            let below = match dir.open_dir(&name) {
                Ok(below) => below,
                Err(error) if is_no_directory(&error) => continue,
                Err(error) => return Err(CopyError::read("open directory", &path, error)),
            };
            match (matched, self.patterns) {
                (true, Some(patterns)) if holds_visible(patterns, &below, &path, &hits)? => self.found.push(path),
                (false, Some(patterns)) if excluded && !patterns.may_include_below(path.as_bytes()) => {}
                (true, _) => {}
                (false, _) => self.visit(&below, &relative, &hits)?,
            }
        }
        Ok(())
    }
}

impl Search<'_> {
    fn hides(&self, dir: &Dir, name: &[u8], path: &RootfsPath) -> Result<bool, CopyError> {
        if self.hidden.is_empty() {
            return Ok(false);
        }
        let metadata = dir.stat(name).map_err(|source| CopyError::read("stat", path, source))?;
        Ok(metadata.is_some_and(|metadata| self.hidden.contains(&metadata.id())))
    }
}

/// Whether an excluded directory holds anything that is included again.
fn holds_visible(patterns: &IgnorePatterns, dir: &Dir, path: &RootfsPath, hits: &Hits) -> Result<bool, CopyError> {
    if !patterns.may_include_below(path.as_bytes()) {
        return Ok(false);
    }
    let names = dir.names().map_err(|source| CopyError::read("list", path, source))?;
    for name in names {
        let path = path.join(&name);
        let judgement = patterns.judge(hits, path.as_bytes());
        if !judgement.is_excluded() {
            return Ok(true);
        }
        match dir.open_dir(&name) {
            Ok(below) if holds_visible(patterns, &below, &path, &judgement.hits)? => return Ok(true),
            Ok(_) => {}
            Err(error) if is_no_directory(&error) => {}
            Err(error) => return Err(CopyError::read("open directory", &path, error)),
        }
    }
    Ok(false)
}

fn errno(error: &io::Error) -> Option<Errno> {
    Errno::from_io_error(error)
}

fn is_no_directory(error: &io::Error) -> bool {
    matches!(errno(error), Some(Errno::NOTDIR | Errno::LOOP | Errno::NOENT))
}

fn is_absent(error: &RootfsError) -> bool {
    matches!(errno(&error.source), Some(Errno::NOENT | Errno::NOTDIR))
}

fn leads_nowhere(error: &RootfsError) -> bool {
    is_absent(error) || errno(&error.source) == Some(Errno::LOOP)
}

/// With a leading slash, as BuildKit writes it; the error's format escapes it.
fn lossy_absolute(path: &RootfsPath) -> String {
    format!("/{}", String::from_utf8_lossy(path.as_bytes()))
}

/// Edits between two names, the case of letters not counted.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(!from.eq_ignore_ascii_case(to));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
