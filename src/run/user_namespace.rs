//! The maps of user and group IDs of a child's user namespace, written from outside.

use std::fs;

use rustix::io::Errno;

use super::enter::errno;
use crate::sys::{CallError, Context as _};

/// The files of `/proc/<pid>` that hold the maps.
const MAPS: [&str; 2] = ["gid_map", "uid_map"];

/// Gives the process's user namespace all IDs that this process has, each the same inside and outside: what the process
/// writes has then the owners that it says, wherever that is looked at from.
pub(super) fn map_all(process: u32) -> Result<(), CallError> {
    for map in MAPS {
        let own = format!("/proc/self/{map}");
        let own = fs::read_to_string(&own).map_err(errno).call(|| format!("read {own}"))?;
        let path = format!("/proc/{process}/{map}");
        let written = identity(&own).ok_or(Errno::INVAL);
        let written = written.and_then(|map| fs::write(&path, map).map_err(errno));
        written.call(|| format!("write the {map} of a new user namespace"))?;
    }
    Ok(())
}

/// Maps every ID that `map` has inside to itself. `None` if that is no map.
fn identity(map: &str) -> Option<String> {
    let ranges = map.lines().map(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        let (first, _outside, count) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(format!("{first} {first} {count}\n"))
    });
    ranges.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_mapped_to_itself() {
        for (own, expected) in [
            ("         0          0 4294967295\n", Some("0 0 4294967295\n")),
            ("0 1000 1\n1 100000 65536\n", Some("0 0 1\n1 1 65536\n")),
            ("", Some("")),
            ("0 0\n", None),
            ("a b c\n", None),
        ] {
            assert_eq!(identity(own).as_deref(), expected, "{own:?}");
        }
    }
}
