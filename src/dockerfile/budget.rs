//! How much text one Dockerfile may expand to.
//!
//! A few lines of `ENV a=$a$a` ask for more memory than there is; this is where they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Comparisons of a pattern that cost as much as a byte of text.
const COMPARISONS_PER_BYTE: usize = 16;

/// What is left of the text that expansions may yield; clones share it.
#[derive(Clone, Debug)]
pub struct Budget(Arc<AtomicUsize>);

/// A budget that is used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the variables of this Dockerfile expand to more than {} MiB of text", Budget::BYTES >> 20)]
pub struct Exhausted;

impl Budget {
    /// What a new one holds. No file that is meant well comes near it: a thousand RUN instructions with 60 KiB of environment
    /// each do.
    pub const BYTES: usize = 64 << 20;

    /// Takes `bytes` from what is left.
    ///
    /// # Errors
    /// If there is less.
    pub fn spend(&self, bytes: usize) -> Result<(), Exhausted> {
        let less = |left: usize| left.checked_sub(bytes);
        let spent = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        spent.map(drop).map_err(|_| Exhausted)
    }

    /// Pays for comparing characters with a pattern.
    pub(super) fn spend_comparisons(&self, comparisons: usize) -> Result<(), Exhausted> {
        self.spend(comparisons / COMPARISONS_PER_BYTE)
    }

    /// In bytes.
    pub(super) fn left(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(Self::BYTES)))
    }
}

/// What is left says nothing about the values beside which it is kept.
impl PartialEq for Budget {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Budget {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_spend_the_same() {
        let budget = Budget::default();
        budget.clone().spend(Budget::BYTES - 1).unwrap();
        budget.spend(2).unwrap_err();
        budget.spend(1).unwrap();
        assert_eq!(budget.spend(1), Err(Exhausted));
        assert_eq!(budget.left(), 0);
    }
}
