//! What a source names: a path, a URL or a git repository; and how addresses are shown.

use reqwest::Url;

use crate::oci::Digest;
use crate::redact::location;

/// The name of a download whose URL has none.
const UNNAMED: &str = "__unnamed__";

/// What a source of ADD names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SourceKind {
    /// A file or directory.
    Path,
    /// A file on a web server.
    Url,
    /// A git repository.
    Git,
}

/// Tells URLs and git repositories from paths, by their looks alone.
#[must_use]
pub fn source_kind(source: &str) -> SourceKind {
    let lower = source.to_ascii_lowercase();
    if lower.starts_with("http://") || lower.starts_with("https://") {
        let path = source.split(['?', '#']).next().unwrap_or_default();
        return match path.ends_with(".git") {
            true => SourceKind::Git,
            false => SourceKind::Url,
        };
    }
    match lower.starts_with("git://") || lower.starts_with("ssh://") || is_scp_style(source) {
        true => SourceKind::Git,
        false => SourceKind::Path,
    }
}

/// `user@host:path`
pub(super) fn is_scp_style(source: &str) -> bool {
    let word = |text: &str, extra: &[char]| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(&c))
    };
    let Some((user, rest)) = source.split_once('@') else {
        return false;
    };
    let Some((host, _)) = rest.split_once(':') else {
        return false;
    };
    word(user, &['-', '_']) && word(host, &['-', '.'])
}

/// A file on a web server.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UrlSource {
    /// As written; may hold a password or a signature.
    url: String,
    /// What the file is called.
    pub name: String,
    /// What the content must have.
    pub checksum: Option<Digest>,
}

/// Text that should be a URL and is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{url:?} is no URL: {reason}")]
pub struct AddressError {
    /// As written, without password, query and fragment.
    pub url: String,
    /// What is wrong with it.
    pub reason: String,
}

impl UrlSource {
    /// The file at `url`.
    ///
    /// # Errors
    /// It is no URL.
    pub fn parse(url: &str, checksum: Option<Digest>) -> Result<Self, AddressError> {
        let refuse = |reason: String| AddressError {
            url: location(url).into_owned(),
            reason,
        };
        let parsed = Url::parse(url).map_err(|error| refuse(error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(refuse("its scheme is neither http nor https".to_owned()));
        }
        Ok(Self {
            url: url.to_owned(),
            name: file_name(&parsed),
            checksum,
        })
    }

    /// The URL, password and all.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// For messages: without password, query and fragment.
impl std::fmt::Display for UrlSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&location(&self.url))
    }
}

/// The last element of the path, unescaped. Query and fragment do not matter.
fn file_name(url: &Url) -> String {
    let path = unescape(url.path());
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    match name {
        "" | "." | ".." => UNNAMED.to_owned(),
        name if name.contains('\0') => UNNAMED.to_owned(),
        name => name.to_owned(),
    }
}

/// Resolves `%xx`. What is no UTF-8 then stays escaped.
pub(super) fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = hex.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, escaped) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l340_kinds_of_sources() {
        for (source, kind) in [
            ("a/b", SourceKind::Path),
            ("github.com/o/r", SourceKind::Path),
            ("github.com/o/r.git", SourceKind::Path),
            ("a@b", SourceKind::Path),
            ("x/y@z:1", SourceKind::Path),
            ("./git@host:x", SourceKind::Path),
            ("ftp://h/f", SourceKind::Path),
            ("http://h/f", SourceKind::Url),
            ("https://h/f.git/x", SourceKind::Url),
            ("https://h/f?x=.git", SourceKind::Url),
            ("https://h/f.git", SourceKind::Git),
            ("https://h/f.git#main:dir", SourceKind::Git),
            ("https://h/f.git?tag=v1", SourceKind::Git),
            ("git://h/f", SourceKind::Git),
            ("ssh://h/f", SourceKind::Git),
            ("git@github.com:o/r", SourceKind::Git),
        ] {
            assert_eq!(source_kind(source), kind, "{source}");
        }
    }

    #[test]
    fn l329_names_of_downloads() {
        for (url, name) in [
            ("http://h/foo", "foo"),
            ("http://h/a/b.tar.gz?x=/y#z", "b.tar.gz"),
            ("http://h/dir/", "dir"),
            ("http://h/", "__unnamed__"),
            ("http://h", "__unnamed__"),
            ("http://h?x=y", "__unnamed__"),
            ("http://h/a%20b%2Bc", "a b+c"),
            ("http://h/x/%2e%2e", "__unnamed__"),
            ("http://h/x%2fy", "y"),
            ("http://h/%ff", "%ff"),
            ("http://h/ä", "ä"),
        ] {
            assert_eq!(UrlSource::parse(url, None).unwrap().name, name, "{url}");
        }
        let error = UrlSource::parse("http://u:p@", None).unwrap_err();
        assert!(!error.to_string().contains("p@"), "{error}");
    }

    #[test]
    fn messages_show_where_a_download_is_and_not_what_allows_it() {
        let source = UrlSource::parse("https://u:pa'ss@h/c.tar?sig=secret#x", None).unwrap();
        assert_eq!(source.to_string(), "https://***@h/c.tar");
        let error = UrlSource::parse("https://u:pa'ss@h:x/?sig=secret", None).unwrap_err();
        assert!(!error.to_string().contains("ss"), "{error}");
    }
}
