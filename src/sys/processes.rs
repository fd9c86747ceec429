//! The processes that can be seen here, and how they descend from each other.

use std::collections::BTreeMap;
use std::fs;

use rustix::process::{Pid, RawPid, Signal, WaitOptions};

use super::{CallError, Context as _};

/// What `/proc/<pid>/stat` says of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ProcessEntry {
    pub(crate) pid: RawPid,
    pub(crate) parent: RawPid,
    pub(crate) session: RawPid,
    /// Whether its first thread has ended; others may go on.
    pub(crate) is_zombie: bool,
}

/// Makes this process the parent of all orphans among its descendants, daemons in sessions of their own included.
pub(crate) fn adopt_orphans() -> Result<(), CallError> {
    let own = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(own)).call(|| "prctl(PR_SET_CHILD_SUBREAPER)".to_owned())
}

/// Kills every descendant of this process and waits for its end. It must have [adopted its
/// orphans](adopt_orphans), and no other thread of it may wait for children.
pub(crate) fn end_descendants() {
    loop {
        kill_descendants();
        if !reap_some() {
            return;
        }
    }
}

/// Kills every descendant of this process once. It must have [adopted its orphans](adopt_orphans).
pub(crate) fn kill_descendants() {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    for pid in descendants(&all(), own) {
        kill(pid);
    }
}

/// Kills every process of a session, and those that it starts meanwhile.
pub(crate) fn end_session(session: RawPid) {
    end_all(|process| process.session == session);
}

/// Kills every process that can gain these capabilities and no others. Whoever this process started with fewer than its
/// own is among them, and so are all that descend from those, in whatever session: nobody gets them back.
pub(crate) fn end_bounded_by(capabilities: u64) {
    if bounding_set("self") != Some(capabilities) {
        end_all(|process| bounding_set(&process.pid.to_string()) == Some(capabilities));
    }
}

fn end_all(is_meant: impl Fn(&ProcessEntry) -> bool) {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    loop {
        let processes = all();
        let alive = processes
            .iter()
            .filter(|process| process.pid != own && !process.is_zombie);
        let mut meant = alive.filter(|process| is_meant(process)).peekable();
        if meant.peek().is_none() {
            return;
        }
        meant.for_each(|process| kill(process.pid));
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// The capabilities that a process can gain; `None` when it is gone.
pub(crate) fn bounding_set(process: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("CapBnd:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

/// Reaps what is dead already, or else waits for the next end. Whether there may be more.
fn reap_some() -> bool {
    let mut options = WaitOptions::empty();
    loop {
        match rustix::process::wait(options) {
            Ok(Some(_)) => options = WaitOptions::NOHANG,
            Ok(None) | Err(rustix::io::Errno::INTR) => return true,
            // Without children there are no descendants either: their orphans would be ours.
            Err(_) => return false,
        }
    }
}

fn kill(pid: RawPid) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may be gone by itself.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

fn all() -> Vec<ProcessEntry> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let pids = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    pids.filter_map(|pid| parse(&fs::read(format!("/proc/{pid}/stat")).ok()?))
        .collect()
}

/// proc(5): `pid (name) state parent group session …`, where the name may hold anything.
fn parse(stat: &[u8]) -> Option<ProcessEntry> {
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let pid = std::str::from_utf8(&stat[..open]).ok()?.trim().parse().ok()?;
    let mut rest = std::str::from_utf8(stat.get(close + 1..)?)
        .ok()?
        .split_ascii_whitespace();
    let is_zombie = rest.next()? == "Z";
    let parent = rest.next()?.parse().ok()?;
    let session = rest.nth(1)?.parse().ok()?;
    Some(ProcessEntry {
        pid,
        parent,
        session,
        is_zombie,
    })
}

/// Those that descend from `ancestor`, in no order.
fn descendants(processes: &[ProcessEntry], ancestor: RawPid) -> Vec<RawPid> {
    let mut children: BTreeMap<RawPid, Vec<RawPid>> = BTreeMap::new();
    for process in processes {
        children.entry(process.parent).or_default().push(process.pid);
    }
    let mut found = Vec::new();
    let mut pending = vec![ancestor];
    while let Some(parent) = pending.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            found.push(child);
            pending.push(child);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn process(pid: RawPid, parent: RawPid, session: RawPid) -> ProcessEntry {
        ProcessEntry {
            pid,
            parent,
            session,
            is_zombie: false,
        }
    }

    #[test]
    fn lines_of_proc() {
        for (line, expected) in [
            ("7 (sh) S 1 7 5 0 -1", Some(process(7, 1, 5))),
            ("7 (a) b) (c) R 2 7 6 0", Some(process(7, 2, 6))),
            (
                "7 (sh) Z 1 7 5 0",
                Some(ProcessEntry {
                    is_zombie: true,
                    ..process(7, 1, 5)
                }),
            ),
            ("7 (sh", None),
            ("", None),
        ] {
            assert_eq!(parse(line.as_bytes()), expected, "{line:?}");
        }
    }

    #[test]
    fn children_and_theirs_and_nobody_else() {
        let processes = [
            process(1, 0, 1),
            process(2, 1, 1),
            process(3, 2, 1),
            process(4, 3, 4),
            process(5, 1, 1),
        ];
        let mut found = descendants(&processes, 2);
        found.sort_unstable();
        assert_eq!(found, [3, 4]);
    }
}
