//! A body that is read on another thread, so that a wait for the next bytes ends with the build and not with the server's
//! patience.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use crate::cancel::Cancel;

const CHUNK: usize = 128 << 10;
/// Chunks that wait to be read: memory does not grow with the body.
const WAITING: usize = 2;
const CANCEL_INTERVAL: Duration = Duration::from_millis(100);

type Chunk = io::Result<Vec<u8>>;

/// Reads from `R`. The thread ends with the body, or at the first chunk that nobody wants.
#[derive(Debug)]
pub(crate) struct Flow<R> {
    state: State<R>,
    cancel: Cancel,
}

#[derive(Debug)]
enum State<R> {
    /// Nobody has read yet.
    Still(Option<R>),
    Flowing {
        chunks: Receiver<Chunk>,
        current: Vec<u8>,
        /// Bytes of it that were read.
        used: usize,
    },
}

impl<R: Read + Send + 'static> Flow<R> {
    pub(crate) const fn new(reader: R, cancel: Cancel) -> Self {
        Self {
            state: State::Still(Some(reader)),
            cancel,
        }
    }

    fn start(&mut self) -> io::Result<()> {
        if let State::Still(reader) = &mut self.state
            && let Some(reader) = reader.take()
        {
            let (sender, chunks) = sync_channel(WAITING);
            thread::Builder::new()
                .name("http-body".to_owned())
                .spawn(move || send_all(reader, &sender))?;
            self.state = State::Flowing {
                chunks,
                current: Vec::new(),
                used: 0,
            };
        }
        Ok(())
    }
}

fn send_all(mut reader: impl Read, sender: &SyncSender<Chunk>) {
    loop {
        let mut chunk = vec![0; CHUNK];
        let read = match reader.read(&mut chunk) {
            Ok(0) => return,
            Ok(count) => {
                chunk.truncate(count);
                Ok(chunk)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let was_last = read.is_err();
        if sender.send(read).is_err() || was_last {
            return;
        }
    }
}

impl<R: Read + Send + 'static> Read for Flow<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.start()?;
        let State::Flowing { chunks, current, used } = &mut self.state else {
            return Ok(0);
        };
        while *used == current.len() {
            match chunks.recv_timeout(CANCEL_INTERVAL) {
                Ok(chunk) => (*current, *used) = (chunk?, 0),
                Err(RecvTimeoutError::Timeout) => self.cancel.check().map_err(io::Error::other)?,
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
        }
        let count = (&current[*used..]).read(buffer)?;
        *used += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn all_of_it_comes_in_order_and_so_does_the_error() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
        let sent: Vec<u8> = (0..5 * CHUNK + 3).map(|number| (number % 251) as u8).collect();
        let mut flow = Flow::new(io::Cursor::new(sent.clone()).chain(Failing), Cancel::default());
        let mut received = Vec::new();
        let error = flow.read_to_end(&mut received).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(received, sent);
        assert_eq!(flow.read(&mut [0]).unwrap(), 0, "it is over");
    }

    #[test]
    fn silence_ends_with_the_build() {
        let (mut sender, receiver) = UnixStream::pair().unwrap();
        sender.write_all(b"x").unwrap();
        let cancel = Cancel::default();
        let mut flow = Flow::new(receiver, cancel.clone());
        assert_eq!(flow.read(&mut [0]).unwrap(), 1);
        cancel.by_signal(15);
        let error = flow.read(&mut [0]).unwrap_err();
        assert!(error.to_string().contains("signal 15"), "{error}");
    }
}
