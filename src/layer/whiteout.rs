//! Names that mean something else than a file of that name (layer.md, "Whiteouts").

use crate::rootfs::RootfsPath;

const PREFIX: &[u8] = b".wh.";
/// AUFS's own bookkeeping, which old Docker versions shipped.
const META_PREFIX: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Where AUFS kept files with several names; entries of the same layer link to them.
pub(super) const PLNK: &[u8] = b".wh..wh.plnk";

/// What the path of a layer's entry means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum EntryName {
    /// A file, directory or other object.
    Normal,
    /// This path of the layers below is gone.
    Whiteout(RootfsPath),
    /// Everything of the layers below in this directory is gone.
    Opaque(RootfsPath),
    /// A file of AUFS that later entries link to, by its name.
    Plnk(Vec<u8>),
    /// Other bookkeeping of AUFS, of no meaning to anybody else.
    Metadata,
}

/// A name that starts like a whiteout and is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct InvalidWhiteout;

/// Tells what the path of an entry means.
pub(super) fn classify(path: &RootfsPath) -> Result<EntryName, InvalidWhiteout> {
    if !path.components().any(|component| component.starts_with(PREFIX)) {
        return Ok(EntryName::Normal);
    }
    let Some((parent, name)) = path.split_last() else {
        return Ok(EntryName::Normal);
    };
    if parent.as_bytes() == PLNK {
        return Ok(EntryName::Plnk(name));
    }
    if parent.components().any(|component| component.starts_with(META_PREFIX)) {
        return Ok(EntryName::Metadata);
    }
    if parent.components().any(|component| component.starts_with(PREFIX)) {
        return Err(InvalidWhiteout);
    }
    match name.strip_prefix(PREFIX) {
        None => Ok(EntryName::Normal),
        Some(_) if name == OPAQUE => Ok(EntryName::Opaque(parent)),
        Some(_) if name.starts_with(META_PREFIX) => Ok(EntryName::Metadata),
        Some(b"" | b"." | b"..") => Err(InvalidWhiteout),
        Some(target) => Ok(EntryName::Whiteout(parent.join(target))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_specification_and_of_aufs() {
        let path = |text: &str| RootfsPath::parse(text.as_bytes()).unwrap();
        for (text, expected) in [
            ("a/b", Ok(EntryName::Normal)),
            ("a/.whatever", Ok(EntryName::Normal)),
            ("a/x.wh.y", Ok(EntryName::Normal)),
            (".wh.a", Ok(EntryName::Whiteout(path("a")))),
            ("a/.wh.b", Ok(EntryName::Whiteout(path("a/b")))),
            ("a/.wh.b/", Ok(EntryName::Whiteout(path("a/b")))),
            ("a/.wh..b", Ok(EntryName::Whiteout(path("a/.b")))),
            ("a/.wh....", Ok(EntryName::Whiteout(path("a/...")))),
            (".wh..wh..opq", Ok(EntryName::Opaque(path("")))),
            ("a/b/.wh..wh..opq", Ok(EntryName::Opaque(path("a/b")))),
            (".wh..wh.aufs", Ok(EntryName::Metadata)),
            (".wh..wh.orph/x", Ok(EntryName::Metadata)),
            (".wh..wh.plnk", Ok(EntryName::Metadata)),
            (".wh..wh.plnk/104.1", Ok(EntryName::Plnk(b"104.1".to_vec()))),
            (".wh.", Err(InvalidWhiteout)),
            ("a/.wh..", Err(InvalidWhiteout)),
            ("a/.wh...", Err(InvalidWhiteout)),
            (".wh.a/b", Err(InvalidWhiteout)),
        ] {
            assert_eq!(classify(&path(text)), expected, "{text}");
        }
    }
}
