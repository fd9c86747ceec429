//! File capabilities as they travel.

use crate::rootfs::xattr::Xattrs;

/// The attribute's name.
const NAME: &[u8] = b"security.capability";
/// Revision 3 names the user namespace that the capability is valid in, by its root's id; revision 2
/// has no such field and is valid in every namespace that sees the file's owner.
const REVISION_2: u32 = 0x0200_0000;
const REVISION_3: u32 = 0x0300_0000;
const REVISION_MASK: u32 = 0xff00_0000;
const SIZE_3: usize = 24;
const SIZE_2: usize = 20;

/// Drops the owning namespace from a file capability: it is the builder's and means nothing elsewhere.
pub(super) fn make_portable(xattrs: &mut Xattrs) {
    let Some(value) = xattrs.get_mut(NAME) else { return };
    let Some(magic) = value.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes)) else {
        return;
    };
    if value.len() == SIZE_3 && magic & REVISION_MASK == REVISION_3 {
        let magic = (magic & !REVISION_MASK) | REVISION_2;
        value[..4].copy_from_slice(&magic.to_le_bytes());
        value.truncate(SIZE_2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h32_revision_3_becomes_revision_2() {
        let bits = [0, 4, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let v3 = [&[1, 0, 0, 3][..], &bits, &[0xe8, 3, 0, 0]].concat();
        let v2 = [&[1, 0, 0, 2][..], &bits].concat();
        let mut xattrs = Xattrs::from([(NAME.to_vec(), v3)]);
        make_portable(&mut xattrs);
        assert_eq!(xattrs[NAME], v2);
        make_portable(&mut xattrs);
        assert_eq!(xattrs[NAME], v2);
    }
}
