//! Which paths a stream has written, for those that must leave them alone.

use std::collections::{BTreeSet, HashSet};

use xxhash_rust::xxh3::xxh3_128;

use crate::rootfs::RootfsPath;

/// What this stream has written, by canonical path.
#[derive(Debug)]
pub(super) enum Written {
    /// For whiteouts, which act on lower layers only: 128-bit hashes of the paths and of everything
    /// above them, so that memory is 16 bytes an entry and a table's slack.
    Upper(HashSet<u128>),
    /// For a change set: the paths.
    Listed(BTreeSet<RootfsPath>),
}

impl Written {
    pub(super) fn add(&mut self, path: &RootfsPath) {
        match self {
            Self::Upper(hashes) => {
                if hashes.insert(xxh3_128(path.as_bytes())) {
                    let mut above = path.as_bytes();
                    while let Some(slash) = above.iter().rposition(|byte| *byte == b'/') {
                        above = &above[..slash];
                        // Whatever is in the set has everything above it in the set.
                        if !hashes.insert(xxh3_128(above)) {
                            break;
                        }
                    }
                }
            }
            Self::Listed(paths) => {
                paths.insert(path.clone());
            }
        }
    }

    /// Whether this stream wrote the path or something below it.
    pub(super) fn contains(&self, path: &RootfsPath) -> bool {
        match self {
            Self::Upper(hashes) => hashes.contains(&xxh3_128(path.as_bytes())),
            Self::Listed(paths) => paths.contains(path),
        }
    }
}
