//! Base images: made once per machine by `scripts/bases`, kept in its cache.

use std::path::PathBuf;
use std::process::Command;

/// The OCI layout of the base image `name`, made when it is missing. Its tag is `1`.
pub(crate) fn layout(name: &str) -> PathBuf {
    // This one command sees the machine's own environment: the cache is in the caller's home.
    let made = Command::new(super::repository().join("scripts/bases"))
        .arg(name)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "scripts/bases {name}: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    PathBuf::from(String::from_utf8(made.stdout).unwrap().trim()).join(name)
}
