//! What did a step change?

mod fingerprint;

pub use fingerprint::{Fingerprint, Fingerprinter, Fingerprints};
