//! What the tests of the whole program stand on: a real registry, a hermetic `rbuild`, `buildah` as the peer,
//! a real runtime, and a reader of finished images that shares no code with the program under test.
//!
//! Everything a test starts dies with the test, also when it panics or is killed: directories are temporary,
//! processes carry a parent-death signal, and [`Sandbox`] complains of mounts and processes left behind.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]

pub(crate) mod bases;
pub(crate) mod buildah;
pub(crate) mod cases;
pub(crate) mod clouds;
pub(crate) mod executor;
pub(crate) mod git;
pub(crate) mod imgdiff;
pub(crate) mod listing;
pub(crate) mod process;
pub(crate) mod rbuild;
pub(crate) mod registry;
pub(crate) mod runtime;
pub(crate) mod sandbox;
pub(crate) mod scripted;

#[allow(unused_imports, reason = "only the build cases have a peer")]
pub(crate) use buildah::Buildah;
#[allow(unused_imports, reason = "one test leaves the command line to a script")]
pub(crate) use rbuild::Rbuild;
#[allow(unused_imports, reason = "not every test needs a registry")]
pub(crate) use registry::Registry;
pub(crate) use sandbox::Sandbox;

/// The repository's own directory, where `testdata/` and `scripts/` are.
pub(crate) fn repository() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
}
