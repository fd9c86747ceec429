//! The container's `/dev`, which a RUN shares with everybody here: what it leaves there goes when it ends.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::error::{InPlaceError, failed_at};
use super::place;
use crate::rootfs::Dir;

const DEV: &str = "/dev";

/// What was in `/dev` before a RUN.
#[derive(Debug)]
pub(super) struct Devices {
    root: Dir,
    before: BTreeSet<Vec<u8>>,
}

impl Devices {
    /// Looks at what is there.
    pub(super) fn look() -> Result<Self, InPlaceError> {
        let root = place::open(Path::new(DEV))?;
        let before = root.names().map_err(failed_at("list", DEV))?;
        Ok(Self {
            root,
            before: before.into_iter().collect(),
        })
    }

    /// Removes what is new. Not below what was there: that is for others too (`/dev/shm` even for the whole pod).
    pub(super) fn clean(self) -> Result<(), InPlaceError> {
        for name in self.root.names().map_err(failed_at("list", DEV))? {
            if !self.before.contains(&name) {
                let path = Path::new(DEV).join(OsStr::from_bytes(&name));
                self.root.remove_all(&name).map_err(failed_at("remove", path))?;
            }
        }
        Ok(())
    }
}

/// Puts the script of a RUN into `/dev`, and returns what to execute instead of it. Runtimes mount `/dev` so that nothing
/// in it can be executed; the interpreter in its first line can, and reads the script as the kernel would have it.
pub(super) fn place_script((path, content): (&Path, &[u8]), argv: &[OsString]) -> Result<Vec<OsString>, InPlaceError> {
    let write = || {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(path, content)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
    };
    write().map_err(failed_at("write", path))?;
    let mut interpreted = match argv.first() {
        Some(program) if Path::new(program) == path => interpreter(content),
        _ => Vec::new(),
    };
    interpreted.extend(argv.iter().cloned());
    Ok(interpreted)
}

/// Program and at most one argument, which may have blanks in it (execve(2)).
fn interpreter(script: &[u8]) -> Vec<OsString> {
    let Some(line) = script.strip_prefix(b"#!") else {
        return Vec::new();
    };
    let line = line
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    let end = line
        .iter()
        .position(|byte| matches!(byte, b' ' | b'\t'))
        .unwrap_or(line.len());
    let (program, argument) = line.split_at(end);
    [program, argument.trim_ascii()]
        .into_iter()
        .filter(|part| !part.is_empty())
        .map(|part| OsStr::from_bytes(part).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_names_program_and_one_argument() {
        for (script, expected) in [
            ("#!/bin/sh\necho", &["/bin/sh"][..]),
            ("#! /usr/bin/env  -S a b \nx", &["/usr/bin/env", "-S a b"]),
            ("#!/bin/sh", &["/bin/sh"]),
            ("#!\n", &[]),
            ("echo", &[]),
        ] {
            assert_eq!(interpreter(script.as_bytes()), expected, "{script:?}");
        }
    }
}
