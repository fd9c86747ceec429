//! The address of a git repository: `remote[#ref[:subdir]]`, or with a query in place of the fragment.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;

use super::address::unescape;
use crate::redact;

/// A tree of files in a git repository.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GitSource {
    /// The repository, without query and fragment; may hold a password.
    remote: String,
    /// A branch, a tag, a full name below `refs/`, or a commit; `None` is the repository's own choice.
    pub reference: Option<String>,
    /// The directory that is wanted; `None` is all of it.
    pub subdir: Option<String>,
    /// The commit, or the beginning of its name.
    pub checksum: Option<String>,
    /// Whether `.git` is wanted too; `None` was not said.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are wanted too.
    pub submodules: bool,
    /// The time of the files.
    pub mtime: Mtime,
    /// Whether [`Self::checksum`] is what to ask the server for, not only what to check.
    pub fetch_by_commit: bool,
    /// How much of the past is wanted in [`Self::keep_git_dir`].
    pub history: Past,
}

/// How much of a repository's past is fetched.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Past {
    /// So many commits of the one that is wanted, itself included.
    Commits(NonZeroU32),
    /// All of the branch or tag that is wanted.
    Branch,
    /// All branches and tags, from their beginning.
    All,
}

/// Which time files of a checkout get.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Mtime {
    /// When they were written.
    #[default]
    Checkout,
    /// That of the commit.
    Commit,
}

/// An address that contradicts itself or says something unknown. BuildKit's words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GitAddressError {
    /// `?x=y`
    #[error("unexpected query {0:?}")]
    Unknown(String),
    /// `?ref=`
    #[error("query {0:?} has no value")]
    NoValue(String),
    /// `?ref=a&ref=b`
    #[error("query {0:?} has multiple values")]
    Repeated(String),
    /// Two different values for one thing.
    #[error("{what} conflicts: {one:?} vs {other:?}")]
    Conflict {
        /// For what.
        what: &'static str,
        /// One value.
        one: String,
        /// The other.
        other: String,
    },
    /// `?branch=a&tag=b`
    #[error("branch conflicts with tag")]
    BranchAndTag,
    /// `?submodules=perhaps`
    #[error("invalid {key} value: {value:?}")]
    Value {
        /// Which key.
        key: String,
        /// As written.
        value: String,
    },
    /// `--keep-git-dir=false` beside `?keep-git-dir=true`.
    #[error("inconsistent keep-git-dir configuration")]
    KeepGitDir,
    /// A checksum that is no commit.
    #[error("invalid checksum {0:?}: it must be a commit or the beginning of one, in hexadecimal digits")]
    Checksum(String),
    /// Nothing to fetch by.
    #[error("fetch-by-commit needs the whole name of a commit as checksum")]
    FetchByCommit,
    /// An address of nothing.
    #[error("the address names no repository")]
    Empty,
}

impl GitSource {
    /// Parses an address that [`super::source_kind`] calls a git repository.
    ///
    /// # Errors
    /// [`GitAddressError`].
    pub fn parse(text: &str) -> Result<Self, GitAddressError> {
        let (address, fragment) = match text.split_once('#') {
            Some((address, fragment)) => (address, Some(fragment)),
            None => (text, None),
        };
        let (remote, query) = match address.split_once('?') {
            Some((remote, query)) => (remote, query),
            None => (address, ""),
        };
        if remote.is_empty() {
            return Err(GitAddressError::Empty);
        }
        let (reference, subdir) = fragment.map_or((None, None), parse_fragment);
        let mut source = Self {
            remote: remote.to_owned(),
            reference,
            subdir,
            checksum: None,
            keep_git_dir: None,
            submodules: true,
            mtime: Mtime::default(),
            fetch_by_commit: false,
            history: Past::Commits(NonZeroU32::MIN),
        };
        source.apply_query(&parse_query(query)?)?;
        Ok(source)
    }

    /// A submodule: one commit of a repository, with its own submodules.
    pub(super) fn of_commit(remote: String, commit: &str) -> Self {
        Self {
            remote,
            reference: Some(commit.to_owned()),
            subdir: None,
            checksum: None,
            keep_git_dir: None,
            submodules: true,
            mtime: Mtime::default(),
            fetch_by_commit: false,
            history: Past::Commits(NonZeroU32::MIN),
        }
    }

    /// The repository without password.
    pub(crate) fn shown_remote(&self) -> String {
        redact::address(&self.remote).into_owned()
    }

    /// The checksum, if it says which object to ask for; its beginning only says what to expect.
    pub(super) fn whole_checksum(&self) -> Option<&str> {
        self.checksum.as_deref().filter(|checksum| is_commit(checksum))
    }

    /// The same source with what the flags of ADD say.
    ///
    /// # Errors
    /// The flags contradict the address.
    pub fn with_flags(mut self, keep_git_dir: Option<bool>, checksum: Option<String>) -> Result<Self, GitAddressError> {
        if let (Some(flag), Some(query)) = (keep_git_dir, self.keep_git_dir)
            && flag != query
        {
            return Err(GitAddressError::KeepGitDir);
        }
        self.keep_git_dir = self.keep_git_dir.or(keep_git_dir);
        if let Some(checksum) = checksum {
            self.set_checksum(&checksum)?;
        }
        Ok(self)
    }

    /// The repository, password and all.
    pub(crate) fn remote(&self) -> &str {
        &self.remote
    }

    /// The repository under another address, everything else as it is.
    #[must_use]
    pub fn at(self, remote: String) -> Self {
        Self { remote, ..self }
    }

    fn apply_query(&mut self, query: &BTreeMap<String, Option<String>>) -> Result<(), GitAddressError> {
        let (mut tag, mut branch) = (None, None);
        for (key, value) in query {
            let text = || value.clone().ok_or_else(|| GitAddressError::NoValue(key.clone()));
            let flag = || parse_flag(key, value.as_deref());
            match key.as_str() {
                "ref" => agree("ref", &mut self.reference, text()?)?,
                "tag" => tag = Some(text()?),
                "branch" => branch = Some(text()?),
                "subdir" => agree("subdir", &mut self.subdir, text()?)?,
                "checksum" | "commit" => self.set_checksum(&text()?)?,
                "keep-git-dir" => self.keep_git_dir = Some(flag()?),
                "submodules" => self.submodules = flag()?,
                "fetch-by-commit" => self.fetch_by_commit = flag()?,
                "mtime" => self.mtime = parse_mtime(key, text()?)?,
                _ => return Err(GitAddressError::Unknown(key.clone())),
            }
        }
        if tag.is_some() && branch.is_some() {
            return Err(GitAddressError::BranchAndTag);
        }
        for (prefix, name) in [("refs/tags/", tag), ("refs/heads/", branch)] {
            let Some(name) = name else { continue };
            let full = match name.starts_with(prefix) {
                true => name,
                false => format!("{prefix}{name}"),
            };
            agree("ref", &mut self.reference, full)?;
        }
        if self.fetch_by_commit && !self.checksum.as_deref().is_some_and(is_commit) {
            return Err(GitAddressError::FetchByCommit);
        }
        Ok(())
    }

    fn set_checksum(&mut self, text: &str) -> Result<(), GitAddressError> {
        let checksum = text.to_ascii_lowercase();
        if checksum.is_empty() || !checksum.bytes().all(|byte| byte.is_ascii_hexdigit()) || checksum.len() > 64 {
            return Err(GitAddressError::Checksum(text.to_owned()));
        }
        agree("checksum", &mut self.checksum, checksum)
    }
}

/// The address as one writes it, without password; flags of ADD are not part of it.
impl fmt::Display for GitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact::address(&self.remote))?;
        match (&self.reference, &self.subdir) {
            (None, None) => Ok(()),
            (Some(reference), None) => write!(f, "#{reference}"),
            (reference, Some(subdir)) => write!(f, "#{}:{subdir}", reference.as_deref().unwrap_or_default()),
        }
    }
}

/// Whether a text is the whole name of a commit.
pub(super) fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `ref[:subdir]`; empty parts say nothing.
fn parse_fragment(fragment: &str) -> (Option<String>, Option<String>) {
    let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    (said(reference), said(subdir))
}

fn parse_query(query: &str) -> Result<BTreeMap<String, Option<String>>, GitAddressError> {
    let mut pairs = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text: &str| unescape(&text.replace('+', " "));
        let (key, value) = (decode(key), decode(value));
        let value = (!value.is_empty()).then_some(value);
        if pairs.insert(key.clone(), value).is_some() {
            return Err(GitAddressError::Repeated(key));
        }
    }
    Ok(pairs)
}

/// Go's booleans; a key alone means yes.
fn parse_flag(key: &str, value: Option<&str>) -> Result<bool, GitAddressError> {
    match value {
        None | Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(true),
        Some("0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(false),
        Some(value) => Err(GitAddressError::Value {
            key: key.to_owned(),
            value: value.to_owned(),
        }),
    }
}

fn parse_mtime(key: &str, value: String) -> Result<Mtime, GitAddressError> {
    match value.as_str() {
        "checkout" => Ok(Mtime::Checkout),
        "commit" => Ok(Mtime::Commit),
        _ => Err(GitAddressError::Value {
            key: key.to_owned(),
            value,
        }),
    }
}

/// Sets what is unset; what is set must be the same.
fn agree(what: &'static str, place: &mut Option<String>, value: String) -> Result<(), GitAddressError> {
    match place {
        Some(one) if *one != value => Err(GitAddressError::Conflict {
            what,
            one: one.clone(),
            other: value,
        }),
        _ => {
            *place = Some(value);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn l338_addresses_say_what_is_wanted() {
        let parts = |text: &str| {
            let source = GitSource::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let shown = |part: Option<String>| part.unwrap_or_default();
            format!(
                "{} {} {} {}",
                source.remote,
                shown(source.reference),
                shown(source.subdir),
                shown(source.checksum)
            )
        };
        for (text, expected) in [
            ("https://h/r.git", "https://h/r.git   "),
            ("https://h/r.git#main", "https://h/r.git main  "),
            ("https://h/r.git#main:a/b", "https://h/r.git main a/b "),
            ("https://h/r.git#:a", "https://h/r.git  a "),
            ("git@h:o/r#v1", "git@h:o/r v1  "),
            ("git://h/r?ref=x&subdir=y", "git://h/r x y "),
            ("git://h/r?tag=v1", "git://h/r refs/tags/v1  "),
            ("git://h/r?tag=refs/tags/v1", "git://h/r refs/tags/v1  "),
            ("git://h/r?branch=a%2Fb", "git://h/r refs/heads/a/b  "),
            ("git://h/r?commit=ABC", "git://h/r   abc"),
            ("git://h/r?checksum=abc&ref=x", "git://h/r x  abc"),
            ("git://h/r?ref=x#x:y", "git://h/r x y "),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
        let flags = |text: &str| {
            let source = GitSource::parse(text).unwrap();
            (
                source.keep_git_dir,
                source.submodules,
                source.mtime,
                source.fetch_by_commit,
            )
        };
        assert_eq!(flags("git://h/r"), (None, true, Mtime::Checkout, false));
        let all = format!("git://h/r?keep-git-dir&submodules=0&mtime=commit&fetch-by-commit=true&commit={COMMIT}");
        assert_eq!(flags(&all), (Some(true), false, Mtime::Commit, true));
    }

    #[test]
    fn l338_conflicts_and_unknown_keys_are_errors() {
        for (text, expected) in [
            ("git://h/r?x=y", r#"unexpected query "x""#),
            ("git://h/r?ref", r#"query "ref" has no value"#),
            ("git://h/r?ref=a&ref=a", r#"query "ref" has multiple values"#),
            ("git://h/r?ref=a#b", r#"ref conflicts: "b" vs "a""#),
            ("git://h/r?subdir=a#:b", r#"subdir conflicts: "b" vs "a""#),
            ("git://h/r?tag=a#b", r#"ref conflicts: "b" vs "refs/tags/a""#),
            ("git://h/r?tag=a&branch=b", "branch conflicts with tag"),
            (
                "git://h/r?commit=abc&checksum=abd",
                r#"checksum conflicts: "abd" vs "abc""#,
            ),
            ("git://h/r?submodules=x", r#"invalid submodules value: "x""#),
            ("git://h/r?mtime=now", r#"invalid mtime value: "now""#),
            (
                "git://h/r?commit=abc&fetch-by-commit",
                "fetch-by-commit needs the whole name of a commit as checksum",
            ),
        ] {
            let error = GitSource::parse(text).map(drop).map_err(|error| error.to_string());
            assert_eq!(error, Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn l341_flags_and_query_must_agree() {
        let with = |query: &str, keep, checksum: Option<&str>| {
            let source = GitSource::parse(&format!("git://h/r{query}")).unwrap();
            let source = source.with_flags(keep, checksum.map(str::to_owned));
            source
                .map(|source| (source.keep_git_dir, source.checksum))
                .map_err(|error| error.to_string())
        };
        let inconsistent = Err("inconsistent keep-git-dir configuration".to_owned());
        assert_eq!(with("?keep-git-dir=true", Some(false), None), inconsistent);
        assert_eq!(with("?keep-git-dir=false", Some(true), None), inconsistent);
        assert_eq!(with("?keep-git-dir", Some(true), None), Ok((Some(true), None)));
        assert_eq!(with("", Some(true), None), Ok((Some(true), None)));
        assert_eq!(with("", None, Some("ABC")), Ok((None, Some("abc".to_owned()))));
        assert!(
            with("?commit=abc", None, Some("def"))
                .unwrap_err()
                .starts_with("checksum conflicts")
        );
        for wrong in ["xyz", "sha256:abc", ""] {
            assert!(
                with("", None, Some(wrong)).unwrap_err().starts_with("invalid checksum"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn addresses_are_shown_without_passwords() {
        for (text, shown) in [
            ("https://t:x@h/r.git#main:sub", "https://***@h/r.git#main:sub"),
            ("https://t:x'y@h/r.git", "https://***@h/r.git"),
            ("git://h/r?ref=x", "git://h/r#x"),
            ("git@h:o/r#:s", "git@h:o/r#:s"),
        ] {
            assert_eq!(GitSource::parse(text).unwrap().to_string(), shown);
        }
    }
}
