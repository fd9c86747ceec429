//! What did a step change?
//!
//! An [`Index`] holds the recorded state of a rootfs. After a RUN, [`Index::diff`] walks the tree
//! once, compares one `statx` per entry with the record and reads nothing whose answer is the same:
//! user space cannot set the ctime, so equal means unchanged. Where it moved, fingerprints tell
//! whether anything of the image did. COPY, ADD and WORKDIR know what they wrote: [`Index::record`].
//!
//! Invariants: everything that changed is in the [`ChangeSet`]; what is in doubt is too (a larger
//! layer, never a wrong one); no unchanged file is opened, unless its ctime moved.

mod change;
mod clock;
mod fingerprint;
mod index;
mod record;
mod scan;
mod update;

pub(crate) use clock::wait_for_tick;

pub use change::{Change, ChangeKind, ChangeSet, ChangeSetBuilder};
pub use fingerprint::{Fingerprint, Fingerprinter, Fingerprints};
pub use index::{Index, SnapshotError, SnapshotOptions};
