//! The one flag that ends a build early; checked at step, entry and chunk boundaries.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

/// Shared by every thread of a build. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicI32>);

/// The build was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted by signal {signal}")]
pub struct Cancelled {
    /// The signal that asked for the end; 0 when another part of the build failed.
    pub signal: i32,
}

/// Stands for "another thread failed": the others stop, and that thread's error is the one reported.
const FAILURE: i32 = -1;

impl Cancel {
    /// Asks every thread to stop because `signal` arrived. The first request wins.
    pub fn by_signal(&self, signal: i32) {
        let _ = self.0.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Asks every thread to stop because one of them failed.
    pub fn by_failure(&self) {
        self.by_signal(FAILURE);
    }

    /// Fails once somebody asked to stop.
    ///
    /// # Errors
    /// [`Cancelled`].
    pub fn check(&self) -> Result<(), Cancelled> {
        match self.0.load(Ordering::Relaxed) {
            0 => Ok(()),
            FAILURE => Err(Cancelled { signal: 0 }),
            signal => Err(Cancelled { signal }),
        }
    }

    /// The signal that asked for the end, if one did.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|signal| *signal > 0)
    }
}
