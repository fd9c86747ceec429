//! Paths of `COPY --parents`.

use super::CopyError;
use crate::context::pattern::{Pattern, has_wildcard, unescape};
use crate::rootfs::RootfsPath;

/// A path in two parts: where to look, and what of it is taken with all directories that lead there.
#[derive(Debug)]
pub(super) struct PathWithParents<'a> {
    /// Up to the pivot `/./`: a path or wildcard as any source of a copy. Without a pivot it is the root.
    pub start: &'a [u8],
    /// After it, from there; `None` takes all there is.
    pub pattern: Option<Pattern>,
    rest: RootfsPath,
}

impl<'a> PathWithParents<'a> {
    /// The first `/./` is the pivot. A `./` at the beginning is none, and neither is a `/.` at the end.
    pub(super) fn parse(written: &'a [u8]) -> Result<Self, CopyError> {
        const PIVOT: &[u8] = b"/./";
        let pivot = written.windows(PIVOT.len()).position(|window| window == PIVOT);
        let (start, rest) = match pivot {
            Some(at) => (&written[..at], &written[at + PIVOT.len()..]),
            None => (&b"/"[..], written),
        };
        let rest = RootfsPath::parse_clamped(rest)?;
        let pattern = Pattern::parse_ignore(rest.as_bytes()).map_err(|source| CopyError::Pattern {
            pattern: String::from_utf8_lossy(written).into_owned(),
            source,
        })?;
        Ok(Self {
            start,
            pattern: (!rest.is_root()).then_some(pattern),
            rest,
        })
    }

    /// The path that must exist, if it is a path and no wildcard.
    pub(super) fn literal(&self) -> Result<Option<RootfsPath>, CopyError> {
        if has_wildcard(self.start) || has_wildcard(self.rest.as_bytes()) {
            return Ok(None);
        }
        let start = RootfsPath::parse_clamped(&unescape(self.start))?;
        let rest = RootfsPath::parse_clamped(&unescape(self.rest.as_bytes()))?;
        Ok(Some(rest.below(&start)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l303_l304_l307_pivots_split_paths() {
        for (written, start, rest, literal) in [
            ("a/b", "/", "a/b", Some("a/b")),
            ("/a/b", "/", "a/b", Some("a/b")),
            ("./a/b", "/", "a/b", Some("a/b")),
            ("a/./b/c", "a", "b/c", Some("a/b/c")),
            ("/a/./b/./c", "/a", "b/c", Some("a/b/c")),
            ("/./a", "", "a", Some("a")),
            ("a/b/.", "/", "a/b", Some("a/b")),
            ("a/b/", "/", "a/b", Some("a/b")),
            ("a/./", "a", "", Some("a")),
            (".", "/", "", Some("")),
            ("../a", "/", "a", Some("a")),
            ("a*/./b", "a*", "b", None),
            ("a/./**/b", "a", "**/b", None),
            ("a\\*b/./c", "a\\*b", "c", Some("a*b/c")),
        ] {
            let path = PathWithParents::parse(written.as_bytes()).unwrap();
            assert_eq!(
                (path.start, path.rest.as_bytes()),
                (start.as_bytes(), rest.as_bytes()),
                "{written}"
            );
            assert_eq!(path.pattern.is_none(), rest.is_empty(), "{written}");
            let found = path.literal().unwrap();
            assert_eq!(
                found.as_ref().map(RootfsPath::as_bytes),
                literal.map(str::as_bytes),
                "{written}"
            );
        }
    }
}
