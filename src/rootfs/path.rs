//! Paths inside a rootfs: bytes, relative to its root, normalised.

use std::cmp::Ordering;
use std::fmt;

use super::Name;

/// A path inside a rootfs without leading slash, `.`, `..` or empty components. The root is empty.
///
/// Ordered component by component, so that a directory is followed by its own entries: `a`, `a/b`, `a-b`.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct RootfsPath(Box<[u8]>);

/// Why bytes are no path inside a rootfs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// More `..` than components before them.
    #[error("path {0:?} climbs above the root")]
    Escapes(String),
    /// A zero byte cannot be in a file name.
    #[error("path {0:?} contains a zero byte")]
    Nul(String),
    /// `NAME_MAX` of Linux is 255 bytes.
    #[error("path {path:?} has a component of {length} bytes (the limit is 255)")]
    ComponentTooLong {
        /// As given.
        path: String,
        /// Its length in bytes.
        length: usize,
    },
    /// `PATH_MAX` of Linux is 4096 bytes.
    #[error("path {path:?}… has {length} bytes (the limit is 4096)")]
    TooLong {
        /// Its beginning.
        path: String,
        /// Its length in bytes.
        length: usize,
    },
}

impl RootfsPath {
    /// The root itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// Normalises `bytes` without looking at any filesystem: drops slashes in excess and `.`, and
    /// lets `..` take back the component before it.
    ///
    /// # Errors
    /// [`PathError`]; a path that climbs above the root is refused, never clamped.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        Self::normalise(bytes, |lossy| Err(PathError::Escapes(lossy)))
    }

    /// As [`RootfsPath::parse`], but `..` at the root stays at the root, as in the kernel. For paths
    /// that the Dockerfile's author wrote.
    ///
    /// # Errors
    /// [`PathError`], never [`PathError::Escapes`].
    pub fn parse_clamped(bytes: &[u8]) -> Result<Self, PathError> {
        Self::normalise(bytes, |_| Ok(()))
    }

    fn normalise(bytes: &[u8], above_root: impl Fn(String) -> Result<(), PathError>) -> Result<Self, PathError> {
        let lossy = || String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        if bytes.contains(&0) {
            return Err(PathError::Nul(lossy()));
        }
        if bytes.len() > 4096 {
            return Err(PathError::TooLong {
                path: lossy(),
                length: bytes.len(),
            });
        }
        let mut path: Vec<u8> = Vec::with_capacity(bytes.len());
        for component in bytes.split(|b| *b == b'/') {
            match component {
                b"" | b"." => {}
                b".." if path.is_empty() => above_root(lossy())?,
                b".." => path.truncate(path.iter().rposition(|b| *b == b'/').unwrap_or(0)),
                _ if component.len() > 255 => {
                    return Err(PathError::ComponentTooLong {
                        path: lossy(),
                        length: component.len(),
                    });
                }
                _ => {
                    if !path.is_empty() {
                        path.push(b'/');
                    }
                    path.extend_from_slice(component);
                }
            }
        }
        Ok(Self(path.into()))
    }

    /// A path of one component that is known to be a file name.
    pub(crate) fn from_components<'a>(components: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut path = Vec::new();
        for component in components {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(component);
        }
        Self(path.into())
    }

    /// The bytes, without leading slash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    #[must_use]
    pub const fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components from the root down.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|component| !component.is_empty())
    }

    /// The path of `name` in this directory.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        let mut path = Vec::with_capacity(self.0.len() + 1 + name.len());
        path.extend_from_slice(&self.0);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        Self(path.into())
    }

    /// This path below `base`.
    #[must_use]
    pub fn below(&self, base: &Self) -> Self {
        if self.is_root() {
            base.clone()
        } else {
            base.join(&self.0)
        }
    }

    /// The directory that holds this path; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.split_last().map(|(parent, _)| parent)
    }

    /// The last component; `None` for the root.
    #[must_use]
    pub fn name(&self) -> Option<&[u8]> {
        self.components().next_back()
    }

    /// Directory and last component; `None` for the root.
    #[must_use]
    pub fn split_last(&self) -> Option<(Self, Vec<u8>)> {
        if self.is_root() {
            return None;
        }
        match self.0.iter().rposition(|b| *b == b'/') {
            Some(slash) => Some((Self(self.0[..slash].into()), self.0[slash + 1..].to_vec())),
            None => Some((Self::root(), self.0.to_vec())),
        }
    }

    /// Every directory above this path, the root first, the path itself not.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        let slashes = self.0.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        let root = (!self.is_root()).then_some(0);
        root.into_iter().chain(slashes).map(|end| Self(self.0[..end].into()))
    }

    /// Whether this is `base` or below it, by components: `a-b` is not below `a`.
    #[must_use]
    pub fn starts_with(&self, base: &Self) -> bool {
        match self.0.strip_prefix(base.as_bytes()) {
            Some(rest) => base.is_root() || rest.is_empty() || rest[0] == b'/',
            None => false,
        }
    }

    /// With a leading slash and escaped, as people want to read it.
    #[must_use]
    pub fn display_absolute(&self) -> String {
        format!("/{}", self.0.escape_ascii())
    }

    pub(super) fn as_name_or_dot(&self) -> Name<'_> {
        if self.is_root() {
            Name::new(b".")
        } else {
            Name::new(&self.0)
        }
    }
}

impl Ord for RootfsPath {
    fn cmp(&self, other: &Self) -> Ordering {
        // Names hold no zero byte, so a slash that counts as zero ends a component before any longer one.
        let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
        let differing = self.0.iter().zip(&other.0).find(|(a, b)| a != b);
        match differing {
            Some((a, b)) => rank(*a).cmp(&rank(*b)),
            None => self.0.len().cmp(&other.0.len()),
        }
    }
}

impl PartialOrd for RootfsPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for RootfsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.display_absolute())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> String {
        String::from_utf8(RootfsPath::parse(text.as_bytes()).unwrap().as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn normalises_lexically() {
        for (text, expected) in [
            ("x", "x"),
            ("./x", "x"),
            ("/x", "x"),
            ("x//y", "x/y"),
            ("x/./y/", "x/y"),
            ("a/../b", "b"),
            ("a/b/../../c", "c"),
            (".", ""),
            ("/", ""),
            ("", ""),
            ("a/..", ""),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn refuses_escapes_and_limits() {
        for text in ["..", "../x", "a/../../b", "/..", "a/b/../../../c"] {
            assert!(
                matches!(RootfsPath::parse(text.as_bytes()), Err(PathError::Escapes(_))),
                "{text:?}"
            );
            assert!(RootfsPath::parse_clamped(text.as_bytes()).is_ok(), "{text:?}");
        }
        assert!(matches!(RootfsPath::parse(b"a\0b"), Err(PathError::Nul(_))));
        assert!(matches!(
            RootfsPath::parse(&[b'a'; 256]),
            Err(PathError::ComponentTooLong { length: 256, .. })
        ));
        assert!(RootfsPath::parse(&[b'a'; 255]).is_ok());
        let deep = b"a/".repeat(2049);
        assert!(matches!(RootfsPath::parse(&deep), Err(PathError::TooLong { .. })));
    }

    #[test]
    fn orders_by_components() {
        let mut paths: Vec<_> = ["a-b", "a/b", "a", "b", "a/b-c", "a/b/c"]
            .map(|p| RootfsPath::parse(p.as_bytes()).unwrap())
            .into();
        paths.sort();
        let texts: Vec<_> = paths
            .iter()
            .map(|p| String::from_utf8_lossy(p.as_bytes()).into_owned())
            .collect();
        assert_eq!(texts, ["a", "a/b", "a/b/c", "a/b-c", "a-b", "b"]);
    }

    #[test]
    fn ancestors_and_prefixes() {
        let path = RootfsPath::parse(b"a/b/c").unwrap();
        let ancestors: Vec<_> = path.ancestors().map(|p| p.display_absolute()).collect();
        assert_eq!(ancestors, ["/", "/a", "/a/b"]);
        assert_eq!(RootfsPath::root().ancestors().count(), 0);
        let a = RootfsPath::parse(b"a").unwrap();
        assert!(path.starts_with(&a) && a.starts_with(&a) && a.starts_with(&RootfsPath::root()));
        assert!(!RootfsPath::parse(b"a-b").unwrap().starts_with(&a));
    }
}
