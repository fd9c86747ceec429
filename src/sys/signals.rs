//! Signals and the ties between parent and child.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::process::{DumpableBehavior, Signal};

use super::{CallError, Context as _};

/// Where the kernel lists the ignored signals of this process.
const STATUS: &str = "/proc/self/status";

/// Signals that are not ours to handle: std ignores SIGPIPE in this process and gives children the default
/// back; 32 and 33 belong to glibc's threads, whose posix_spawn ignores them in every child and whose
/// sigaction refuses them.
const OTHERS_CARE: [i32; 3] = [Signal::PIPE.as_raw(), 32, 33];

/// Lets no inherited "ignore this signal" through to programs executed from here: `rbuild &` in a script
/// ignores SIGINT, `nohup` SIGHUP, and an ignored SIGCHLD would even take the exit status from us.
pub(crate) fn restore_ignored_signals() -> Result<(), CallError> {
    let status = std::fs::read_to_string(STATUS)
        .map_err(|error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO))
        .call(|| format!("read {STATUS}"))?;
    for number in signals_in(ignored_signals(&status)).filter(|number| !OTHERS_CARE.contains(number)) {
        // exec turns a handled signal back to its default, and only an ignored one stays ignored; so any
        // handler will do.
        signal_hook::flag::register(number, Arc::new(AtomicBool::new(false)))
            .map_err(|error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::INVAL))
            .call(|| format!("handle signal {number}"))?;
    }
    Ok(())
}

/// The `SigIgn` mask of a `/proc/<pid>/status`; empty when there is none.
fn ignored_signals(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

fn signals_in(mask: u64) -> impl Iterator<Item = i32> {
    (1..=64).filter(move |number| mask & (1 << (number - 1)) != 0)
}

/// Has the kernel kill this process when the thread that started it ends.
pub(crate) fn die_with_parent() -> Result<(), CallError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).call(|| "prctl(PR_SET_PDEATHSIG)".to_owned())
}

/// Keeps other processes, of the same user too, from tracing this one or opening what its `/proc` entries
/// lead to (its executable is the host's file).
pub(crate) fn refuse_tracing() -> Result<(), CallError> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).call(|| "prctl(PR_SET_DUMPABLE)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mask_of_ignored_signals() {
        for (status, mask) in [
            ("Name:\tx\nSigIgn:\t0000000000001000\nSigCgt:\t1\n", 0x1000),
            ("SigIgn:\tffffffffffffffff\n", u64::MAX),
            ("SigIgn:\tnonsense\n", 0),
            ("SigBlk:\t1\n", 0),
            ("", 0),
        ] {
            assert_eq!(ignored_signals(status), mask, "{status:?}");
        }
    }

    #[test]
    fn members_of_a_mask() {
        for (mask, signals) in [(0, &[][..]), (1, &[1]), (0x8000_0000_0000_1000, &[13, 64])] {
            assert_eq!(signals_in(mask).collect::<Vec<_>>(), signals, "{mask:x}");
        }
    }
}
