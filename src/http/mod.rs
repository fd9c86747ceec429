//! HTTP as all of rbuild speaks it: whom TLS trusts, what a client is made of, which redirects are followed, what is worth
//! another try, and how requests and failures are shown.
//!
//! [`crate::registry`] and [`crate::remote`] stand on it; neither sets up a client of its own.

pub(crate) mod client;
#[cfg(test)]
pub(crate) mod drip;
mod failure;
pub(crate) mod flow;
pub(crate) mod redirect;
pub(crate) mod retry;
pub(crate) mod tls;

pub use client::Versions;
pub use failure::{ClientError, Failure, RequestLine, RootCause, Unanswered};
pub(crate) use failure::{host_of, redact};
pub use redirect::{LocationError, RefusedRedirect};
pub use retry::Backoff;
pub use tls::{ClientCertificate, Verification};
