//! Paths of an image that a build leaves alone (`--ignore-path`).

use crate::context::pattern::{BadPattern, Pattern};
use crate::rootfs::RootfsPath;

/// Patterns for paths that are neither unpacked nor put in a layer, each with everything below.
///
/// A pattern is a path from the root of the image; each of its components may hold `*`, `?` and `[…]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IgnoredPaths(Vec<Pattern>);

impl IgnoredPaths {
    /// Adds a pattern. Slashes at either end do not matter.
    ///
    /// # Errors
    /// The pattern is none, or names the root itself.
    pub fn add(&mut self, pattern: &str) -> Result<(), BadPattern> {
        let components = pattern.split('/').filter(|part| !part.is_empty() && *part != ".");
        let pattern = components.collect::<Vec<_>>().join("/");
        if pattern.is_empty() {
            return Err(BadPattern);
        }
        self.0.push(Pattern::parse(pattern.as_bytes())?);
        Ok(())
    }

    /// Whether `path`, or a directory above it, is one of them.
    #[must_use]
    pub fn cover(&self, path: &RootfsPath) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let bytes = path.as_bytes();
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let mut ends = ends.map(|(end, _)| end).chain([bytes.len()]);
        ends.any(|end| self.0.iter().any(|pattern| pattern.matches(&bytes[..end])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_a_path_and_all_below() {
        let mut ignored = IgnoredPaths::default();
        for pattern in ["/var/cache/", "opt/*/tmp", "/[ab]"] {
            ignored.add(pattern).unwrap();
        }
        for (path, expected) in [
            ("var/cache", true),
            ("var/cache/a/b", true),
            ("var/cache2", false),
            ("var", false),
            ("srv/var/cache", false),
            ("opt/x/tmp/f", true),
            ("opt/x/y/tmp", false),
            ("a", true),
            ("b/c", true),
            ("c", false),
            ("", false),
        ] {
            let path = RootfsPath::parse(path.as_bytes()).unwrap();
            assert_eq!(ignored.cover(&path), expected, "{path:?}");
        }
        assert!(!IgnoredPaths::default().cover(&RootfsPath::parse(b"a").unwrap()));
        for wrong in ["", "/", "/.", "a[", "[]"] {
            assert!(ignored.add(wrong).is_err(), "{wrong}");
        }
    }
}
