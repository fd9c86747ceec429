//! The kernel's verbs in our terms, and the only place where `unsafe` may appear.

#[cfg(target_arch = "x86_64")]
pub(crate) mod igzip;
