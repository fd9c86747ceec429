//! Standard input as a file: whether it is an archive is known only after a look at it.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::error::{BuildError, Problem};
use crate::cancel::Cancel;
use crate::progress::{Event, Progress};

/// What messages call it.
pub(super) const STANDARD_INPUT: &str = "standard input";

const CHUNK: usize = 128 << 10;
/// How often a wait for input looks whether the build was interrupted.
const CANCEL_INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Writes all of standard input into the new file `path`.
pub(super) fn standard_input(path: &Path, progress: &dyn Progress, cancel: &Cancel) -> Result<(), BuildError> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(Problem::NoStandardInput.into());
    }
    progress.event(Event::FetchStart {
        source: STANDARD_INPUT,
        size: None,
    });
    let copied = copy(stdin.lock(), path, progress, cancel);
    progress.event(Event::FetchEnd {
        source: STANDARD_INPUT,
        done: copied.is_ok(),
    });
    copied
}

fn copy(mut input: impl Read + AsFd, path: &Path, progress: &dyn Progress, cancel: &Cancel) -> Result<(), BuildError> {
    let failed = |source| Problem::ReadContext {
        what: STANDARD_INPUT.to_owned(),
        source,
    };
    let mut file = File::create(path).map_err(failed)?;
    let mut buffer = vec![0; CHUNK];
    let (mut bytes, mut told) = (0, Instant::now());
    loop {
        wait_for(&input, cancel)?;
        let count = match input.read(&mut buffer) {
            Ok(0) if bytes == 0 => return Err(Problem::EmptyStandardInput.into()),
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error).into()),
        };
        file.write_all(&buffer[..count]).map_err(failed)?;
        bytes += count as u64;
        if told.elapsed() >= PROGRESS_INTERVAL {
            told = Instant::now();
            progress.event(Event::FetchProgress {
                source: STANDARD_INPUT,
                bytes,
            });
        }
    }
}

/// Returns once a read would not block, or the build is over.
fn wait_for(input: &impl AsFd, cancel: &Cancel) -> Result<(), BuildError> {
    loop {
        cancel.check()?;
        let mut polled = [PollFd::new(input, PollFlags::IN)];
        match poll(&mut polled, Some(&CANCEL_INTERVAL)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            // What is wrong with the descriptor the read will say.
            Ok(_) | Err(_) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::progress::Silent;

    #[test]
    fn a_silent_sender_does_not_outlast_the_build() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spooled");
        let (mut sender, receiver) = UnixStream::pair().unwrap();
        sender.write_all(b"begun").unwrap();
        let cancel = Cancel::default();
        let copying = std::thread::spawn({
            let (path, cancel) = (path.clone(), cancel.clone());
            move || copy(receiver, &path, &Silent, &cancel).map_err(|error| error.to_string())
        });
        while std::fs::read(&path).unwrap_or_default() != b"begun" {
            std::thread::yield_now();
        }
        cancel.by_signal(15);
        assert!(copying.join().unwrap().is_err());
    }

    #[test]
    fn all_of_it_arrives() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spooled");
        let (mut sender, receiver) = UnixStream::pair().unwrap();
        let sent = vec![7; 3 * CHUNK + 1];
        let sending = std::thread::spawn({
            let sent = sent.clone();
            move || sender.write_all(&sent)
        });
        copy(receiver, &path, &Silent, &Cancel::default()).unwrap();
        sending.join().unwrap().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), sent);
    }
}
