//! Sources that are not on this machine: files behind URLs and git repositories, for ADD and for build contexts.
//!
//! ```text
//! text ─address─▶ UrlSource | GitSource | ObjectSource          pure; the plan holds these
//!    UrlSource ─http─▶ a file, kept with its ETag for the next build
//!    GitSource ─git──▶ a tree of files of one commit
//!    ObjectSource ─cloud─▶ a file
//! ```
//!
//! Invariants: nothing arrives under its final name before its checksum was found right; a password or token in an
//! address is never shown; what a server sends stays in the directory that it was fetched for.

mod address;
mod cloud;
mod error;
mod fetch;
mod git;
mod git_address;
mod http;
mod kept;
mod web;

pub use address::{AddressError, SourceKind, UrlSource, source_kind};
pub use cloud::{CloudAddressError, CloudError, CloudSettings, ObjectSource, Refusal};
pub use error::RemoteError;
pub use fetch::{Fetched, Remote, RemoteOptions};
pub use git::GitError;
pub use git_address::{GitAddressError, GitSource, Mtime, Past};
