//! Where submodules are: `.gitmodules`, and addresses relative to the repository's own. Pure.

use std::collections::BTreeMap;

use super::GitError;
use crate::redact;
use crate::remote::{SourceKind, source_kind};

/// Addresses by path, from the text of a `.gitmodules`.
pub(super) fn parse(text: &[u8]) -> Result<BTreeMap<String, String>, GitError> {
    let text = String::from_utf8_lossy(text);
    let file = gix::config::File::try_from(text.as_ref()).map_err(GitError::library)?;
    let mut addresses = BTreeMap::new();
    for section in file.sections_by_name("submodule").into_iter().flatten() {
        if let (Some(path), Some(url)) = (section.value("path"), section.value("url")) {
            addresses.insert(path.to_string(), url.to_string());
        }
    }
    Ok(addresses)
}

/// The address of a submodule of `parent`. A relative one starts at the parent's address; one on this machine would
/// make a stranger's repository read our files.
pub(super) fn resolve(parent: &str, address: &str) -> Result<String, GitError> {
    let absolute = match address.starts_with("./") || address.starts_with("../") {
        true => join(parent, address),
        false => Some(address.to_owned()),
    };
    let absolute = absolute.filter(|address| source_kind(address) != SourceKind::Path);
    absolute.ok_or_else(|| GitError::SubmoduleAddress(redact::address(address).into_owned()))
}

fn join(parent: &str, relative: &str) -> Option<String> {
    let mut base = parent.trim_end_matches('/').to_owned();
    let mut rest = relative;
    loop {
        if let Some(tail) = rest.strip_prefix("./") {
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix("../") {
            base = without_last(&base)?;
            rest = tail;
        } else {
            break;
        }
    }
    let separator = if base.ends_with(':') { "" } else { "/" };
    Some(format!("{base}{separator}{rest}"))
}

/// The address one level up; the host stays.
fn without_last(address: &str) -> Option<String> {
    let path_at = match address.split_once("://") {
        Some((scheme, rest)) => scheme.len() + 3 + rest.find('/')?,
        None => address.find(':')? + 1,
    };
    let (host, path) = address.split_at(path_at);
    if path.is_empty() {
        return None;
    }
    let end = path.rfind('/').unwrap_or_default();
    Some(format!("{host}{}", &path[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_by_path() {
        let text = b"[submodule \"a\"]\n\tpath = lib/a\n\turl = https://h/a.git\n[submodule \"b\"]\n\turl = ../b\n\
                     \tpath = \"b c\"\n[core]\n\tpath = x\n[submodule \"half\"]\n\tpath = y\n";
        let expected = [("lib/a", "https://h/a.git"), ("b c", "../b")];
        let expected: BTreeMap<_, _> = expected.map(|(path, url)| (path.to_owned(), url.to_owned())).into();
        assert_eq!(parse(text).unwrap(), expected);
        assert!(parse(b"[submodule").is_err());
    }

    #[test]
    fn relative_addresses_start_at_the_parents() {
        for (parent, address, expected) in [
            ("https://h/o/r.git", "https://x/y.git", Some("https://x/y.git")),
            ("https://h/o/r.git", "../s.git", Some("https://h/o/s.git")),
            ("https://h/o/r.git/", "../../p/s.git", Some("https://h/p/s.git")),
            ("https://h/o/r.git", "./s.git", Some("https://h/o/r.git/s.git")),
            ("git@h:o/r", "../s", Some("git@h:o/s")),
            ("git@h:r", "../s", Some("git@h:s")),
            ("git://h:99/r", "../s", Some("git://h:99/s")),
            ("https://h/r.git", "../../../s.git", None),
            ("https://h/r.git", "/etc", None),
            ("https://h/r.git", "file:///etc", None),
            ("https://h/r.git", "s", None),
        ] {
            assert_eq!(resolve(parent, address).ok().as_deref(), expected, "{parent} {address}");
        }
    }
}
