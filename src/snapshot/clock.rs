//! The clock that a filesystem stamps its files with.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW};

use super::record::nanoseconds;
use crate::rootfs::Timestamp;

/// What the probe showed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Probed {
    /// Changes get a ctime after the given one from now on.
    Later,
    /// They still do not; their ctime would be this one.
    NotLater(i64),
    /// The probe is on another filesystem, with a clock of its own.
    Elsewhere,
}

/// Waits until changes on the filesystem of `directory` are stamped later than `time`, or it is
/// clear that this does not happen soon.
pub(crate) fn wait_for_tick(time: Timestamp, directory: &Path) -> io::Result<()> {
    use std::os::linux::fs::MetadataExt as _;
    let device = std::fs::metadata(directory)?.st_dev();
    let device = (rustix::fs::major(device), rustix::fs::minor(device));
    let ctime = nanoseconds(time);
    wait_past(ctime, device, directory).map(drop)
}

/// Waits until a change on the filesystem of `probe_dir`, which should be `device`, is stamped later than `ctime`.
pub(super) fn wait_past(ctime: i64, device: (u32, u32), probe_dir: &Path) -> io::Result<Probed> {
    /// Two ticks at the slowest rate in use, 100 Hz.
    const LONGEST: Duration = Duration::from_millis(20);
    const PAUSE: Duration = Duration::from_micros(200);
    let probe = tempfile::tempfile_in(probe_dir)?;
    let start = Instant::now();
    loop {
        let (now, probe_device) = touch(&probe)?;
        if probe_device != device {
            return Ok(Probed::Elsewhere);
        }
        if now > ctime {
            return Ok(Probed::Later);
        }
        if start.elapsed() > LONGEST {
            return Ok(Probed::NotLater(now));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Changes the probe, and says what ctime that gave it, and where it is.
fn touch(probe: &std::fs::File) -> io::Result<(i64, (u32, u32))> {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    };
    let times = Timestamps {
        last_access: now,
        last_modification: now,
    };
    rustix::fs::futimens(probe.as_fd(), &times)?;
    let stat = rustix::fs::fstat(probe.as_fd())?;
    let ctime = nanoseconds(Timestamp {
        seconds: stat.st_ctime,
        // Below one thousand million on every filesystem.
        nanoseconds: stat.st_ctime_nsec as u32,
    });
    let device = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
    Ok((ctime, device))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::linux::fs::MetadataExt as _;

    #[test]
    fn h67_a_clock_that_was_set_back_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let raw = std::fs::metadata(dir.path()).unwrap().st_dev();
        let device = (rustix::fs::major(raw), rustix::fs::minor(raw));
        assert_eq!(wait_past(0, device, dir.path()).unwrap(), Probed::Later);
        assert!(matches!(
            wait_past(i64::MAX, device, dir.path()).unwrap(),
            Probed::NotLater(_)
        ));
        assert_eq!(wait_past(0, (0, 0), dir.path()).unwrap(), Probed::Elsewhere);
    }
}
