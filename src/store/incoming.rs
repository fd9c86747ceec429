//! A blob that is read while it is being downloaded.
//!
//! One writer appends to a file; any number of readers follow it and block at its end. The writer
//! hashes what passes, and a reader sees the end of the stream only once digest and size were
//! found right: whoever reads to the end without an error has read the verified blob.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tempfile::NamedTempFile;

use super::{Blob, Blobs, StoreError};
use crate::oci::{Descriptor, Digest, Digester};

const CHUNK: usize = 128 << 10;

/// Why a download ended early; shared by everybody who waits for it.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// The receiving end of a download. Clones are handles on the same blob.
#[derive(Clone, Debug)]
pub struct Incoming(Arc<Shared>);

/// The sending end. Dropped without [`finish`](Self::finish) or [`fail`](Self::fail), it fails the blob.
#[derive(Debug)]
pub struct IncomingWriter {
    shared: Arc<Shared>,
    blobs: Blobs,
    /// `None` once finished or failed.
    file: Option<NamedTempFile>,
    digester: Digester,
    written: u64,
}

/// Reads a blob from its start, waiting for what has not arrived yet.
#[derive(Debug)]
pub struct IncomingReader {
    shared: Arc<Shared>,
    offset: u64,
}

/// What a reader's `io::Error` holds when the download failed.
#[derive(Debug, Clone)]
pub struct IncomingFailed {
    /// Which blob.
    pub digest: Digest,
    /// Why.
    pub cause: Cause,
}

#[derive(Debug)]
struct Shared {
    descriptor: Descriptor,
    file: File,
    /// Guards how much of the file may be read and how the download ended.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    available: u64,
    /// Whether some reader took bytes, so that they can no longer be taken back.
    consumed: bool,
    end: Option<Result<Blob, Cause>>,
}

pub(super) fn begin(
    blobs: Blobs,
    file: NamedTempFile,
    descriptor: Descriptor,
) -> Result<(IncomingWriter, Incoming), StoreError> {
    let readable = file.reopen().map_err(StoreError::io("open", file.path()))?;
    let digester = Digester::like(&descriptor.digest);
    let shared = Shared::new(descriptor, readable, None);
    let writer = IncomingWriter {
        shared: Arc::clone(&shared),
        blobs,
        file: Some(file),
        digester,
        written: 0,
    };
    Ok((writer, Incoming(shared)))
}

impl Incoming {
    /// A blob that is here already.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn complete(blob: Blob) -> Result<Self, StoreError> {
        let file = blob.open()?;
        Ok(Self(Shared::new(blob.descriptor().clone(), file, Some(Ok(blob)))))
    }

    /// What is coming.
    #[must_use]
    pub fn descriptor(&self) -> &Descriptor {
        &self.0.descriptor
    }

    /// A reader from the first byte. Each is independent of the others.
    #[must_use]
    pub fn reader(&self) -> IncomingReader {
        IncomingReader {
            shared: Arc::clone(&self.0),
            offset: 0,
        }
    }

    /// Blocks until the blob is whole and verified, or failed.
    ///
    /// # Errors
    /// What ended the download.
    pub fn wait(&self) -> Result<Blob, Cause> {
        let mut state = self.0.lock();
        loop {
            if let Some(end) = &state.end {
                return end.clone();
            }
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl IncomingWriter {
    /// What is being written.
    #[must_use]
    pub fn descriptor(&self) -> &Descriptor {
        &self.shared.descriptor
    }

    /// Bytes taken so far.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Adds the next bytes and wakes the readers.
    ///
    /// # Errors
    /// [`StoreError::Size`] when there are more than the descriptor says; [`StoreError::Io`].
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.write(bytes)?;
        self.reveal();
        Ok(())
    }

    fn reveal(&self) {
        self.shared.lock().available = self.written;
        self.shared.changed.notify_all();
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let expected = self.shared.descriptor.size;
        let written = self.written + bytes.len() as u64;
        if written > expected {
            return Err(StoreError::Size {
                digest: Box::new(self.shared.descriptor.digest),
                expected,
                actual: written,
            });
        }
        if let Some(file) = &mut self.file {
            file.write_all(bytes).map_err(StoreError::io("write", file.path()))?;
        }
        self.digester.update(bytes);
        self.written = written;
        Ok(())
    }

    /// Discards everything written, to start over; `false` when a reader has taken some of it, which
    /// cannot be undone.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn restart(&mut self) -> Result<bool, StoreError> {
        let mut state = self.shared.lock();
        if state.consumed {
            return Ok(false);
        }
        state.available = 0;
        drop(state);
        if let Some(file) = &mut self.file {
            let path = file.path().to_owned();
            let truncated = file.as_file().set_len(0).and_then(|()| io::Seek::rewind(file));
            truncated.map_err(StoreError::io("truncate", path))?;
        }
        self.digester = Digester::like(&self.shared.descriptor.digest);
        self.written = 0;
        Ok(true)
    }

    /// Takes all bytes of a blob that is on this machine already.
    ///
    /// # Errors
    /// As [`append`](Self::append), [`StoreError::Io`].
    pub fn append_all(&mut self, blob: &Blob) -> Result<(), StoreError> {
        read_all(blob, |bytes| self.append(bytes))
    }

    /// The same for a blob that may be damaged: readers get nothing of it before it is verified, so that it can still be
    /// had from elsewhere after [`restart`](Self::restart).
    ///
    /// # Errors
    /// As [`append_all`](Self::append_all) and [`verify`](Self::verify).
    pub fn append_verified(&mut self, blob: &Blob) -> Result<(), StoreError> {
        read_all(blob, |bytes| self.write(bytes))?;
        self.verify()?;
        self.reveal();
        Ok(())
    }

    /// Verifies size and digest of what was written, without ending the download.
    ///
    /// # Errors
    /// [`StoreError::Size`] and [`StoreError::Digest`].
    pub fn verify(&self) -> Result<(), StoreError> {
        let Descriptor { digest, size, .. } = self.shared.descriptor;
        if self.written != size {
            return Err(StoreError::Size {
                digest: Box::new(digest),
                expected: size,
                actual: self.written,
            });
        }
        let actual = self.digester.clone().finish();
        match actual == digest {
            true => Ok(()),
            false => Err(StoreError::Digest {
                expected: Box::new(digest),
                actual: Box::new(actual),
            }),
        }
    }

    /// Verifies the blob, gives it its name and lets readers see its end.
    ///
    /// # Errors
    /// As [`verify`](Self::verify), and [`StoreError::Io`]. The readers are left waiting for [`fail`](Self::fail).
    pub fn finish(&mut self) -> Result<Blob, StoreError> {
        self.verify()?;
        let descriptor = self.shared.descriptor.clone();
        let blob = match self.file.take() {
            Some(file) => self.blobs.keep(file, descriptor)?,
            // Finished before.
            None => self.blobs.find(descriptor)?,
        };
        self.shared.end(Ok(blob.clone()));
        Ok(blob)
    }

    /// Ends the download with an error that every reader and waiter gets.
    pub fn fail(self, cause: Cause) {
        self.shared.end(Err(cause));
    }
}

fn read_all(blob: &Blob, mut take: impl FnMut(&[u8]) -> Result<(), StoreError>) -> Result<(), StoreError> {
    let mut file = blob.open()?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer).map_err(StoreError::io("read", blob.path()))? {
            0 => return Ok(()),
            read => take(&buffer[..read])?,
        }
    }
}

impl Drop for IncomingWriter {
    fn drop(&mut self) {
        self.shared.end(Err(Arc::new(Abandoned)));
    }
}

impl Read for IncomingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut state = self.shared.lock();
        let available = loop {
            if let Some(Err(cause)) = &state.end {
                return Err(io::Error::other(IncomingFailed {
                    digest: self.shared.descriptor.digest,
                    cause: Arc::clone(cause),
                }));
            }
            if state.available > self.offset {
                state.consumed = true;
                break state.available - self.offset;
            }
            if state.end.is_some() {
                return Ok(0);
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        drop(state);
        let length = usize::try_from(available).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.shared.file.read_at(&mut buffer[..length], self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

impl Shared {
    fn new(descriptor: Descriptor, file: File, end: Option<Result<Blob, Cause>>) -> Arc<Self> {
        let available = if end.is_some() { descriptor.size } else { 0 };
        let state = State {
            available,
            consumed: false,
            end,
        };
        Arc::new(Self {
            descriptor,
            file,
            state: Mutex::new(state),
            changed: Condvar::new(),
        })
    }

    /// A panic elsewhere leaves the state whole: every change to it is one assignment.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first end counts.
    fn end(&self, end: Result<Blob, Cause>) {
        self.lock().end.get_or_insert(end);
        self.changed.notify_all();
    }
}

impl fmt::Display for IncomingFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blob {} did not arrive", self.digest)
    }
}

impl Error for IncomingFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}

/// The thread that downloaded is gone.
#[derive(Debug, thiserror::Error)]
#[error("the download was abandoned")]
struct Abandoned;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::oci::MediaType;

    fn start(content: &[u8]) -> (tempfile::TempDir, IncomingWriter, Incoming) {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(directory.path()).unwrap();
        let descriptor = Descriptor::new(MediaType::ImageLayer, Digest::of(content), content.len() as u64);
        let (writer, incoming) = blobs.incoming(&descriptor).unwrap();
        (directory, writer, incoming)
    }

    fn cause(error: &io::Error) -> String {
        let failed = error.get_ref().unwrap().downcast_ref::<IncomingFailed>().unwrap();
        failed.source().unwrap().to_string()
    }

    #[test]
    fn readers_follow_the_writer() {
        let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let (_directory, mut writer, incoming) = start(&content);
        let read_all = |incoming: &Incoming| {
            let mut reader = incoming.reader();
            move || {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).map(|_| bytes)
            }
        };
        thread::scope(|scope| {
            let readers = [0, 1].map(|_| scope.spawn(read_all(&incoming)));
            for piece in content.chunks(7_777) {
                writer.append(piece).unwrap();
            }
            writer.finish().unwrap();
            for reader in readers {
                assert_eq!(reader.join().unwrap().unwrap(), content);
            }
        });
        let blob = incoming.wait().unwrap();
        assert_eq!(std::fs::read(blob.path()).unwrap(), content);
        assert_eq!(read_all(&Incoming::complete(blob).unwrap())().unwrap(), content);
    }

    /// The reader gets the first piece while the second does not exist yet.
    #[test]
    fn bytes_are_readable_before_the_end() {
        let (_directory, mut writer, incoming) = start(b"onetwo");
        let (sender, receiver) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut reader = incoming.reader();
                let mut buffer = [0; 16];
                while let Ok(count @ 1..) = reader.read(&mut buffer) {
                    sender.send(buffer[..count].to_vec()).unwrap();
                }
            });
            writer.append(b"one").unwrap();
            assert_eq!(receiver.recv().unwrap(), b"one");
            writer.append(b"two").unwrap();
            assert_eq!(receiver.recv().unwrap(), b"two");
            writer.finish().unwrap();
        });
    }

    #[test]
    fn wrong_bytes_never_look_complete() {
        let (directory, mut writer, incoming) = start(b"right");
        writer.append(b"wrong").unwrap();
        let error = writer.finish().unwrap_err();
        assert!(matches!(error, StoreError::Digest { .. }));
        writer.fail(Arc::new(error));
        let mut bytes = Vec::new();
        let error = incoming.reader().read_to_end(&mut bytes).unwrap_err();
        assert!(cause(&error).contains("has the digest"), "{error:?}");
        assert!(incoming.wait().is_err());
        assert_eq!(std::fs::read_dir(directory.path().join("sha256")).unwrap().count(), 0);
    }

    #[test]
    fn too_many_and_too_few_bytes_are_refused() {
        let (_directory, mut writer, _incoming) = start(b"four");
        assert!(matches!(writer.append(b"fives"), Err(StoreError::Size { .. })));
        writer.append(b"fo").unwrap();
        assert!(matches!(writer.finish(), Err(StoreError::Size { actual: 2, .. })));
    }

    #[test]
    fn a_failure_reaches_readers_that_wait() {
        let (_directory, writer, incoming) = start(b"never");
        thread::scope(|scope| {
            let reader = scope.spawn(|| incoming.reader().read(&mut [0; 1]).unwrap_err());
            let waiter = scope.spawn(|| incoming.wait().unwrap_err());
            writer.fail(Arc::new(io::Error::other("cable cut")));
            assert_eq!(cause(&reader.join().unwrap()), "cable cut");
            assert_eq!(waiter.join().unwrap().to_string(), "cable cut");
        });
    }

    #[test]
    fn an_abandoned_writer_fails_its_readers() {
        let (_directory, writer, incoming) = start(b"never");
        drop(writer);
        assert_eq!(incoming.wait().unwrap_err().to_string(), "the download was abandoned");
    }

    #[test]
    fn starting_over_is_possible_until_somebody_has_read() {
        let (_directory, mut writer, incoming) = start(b"right");
        writer.append(b"wrong").unwrap();
        assert!(writer.restart().unwrap());
        writer.append(b"rig").unwrap();
        let mut reader = incoming.reader();
        assert_eq!(reader.read(&mut [0; 9]).unwrap(), 3);
        assert!(!writer.restart().unwrap());
        writer.append(b"ht").unwrap();
        writer.finish().unwrap();
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "ht");
    }
}
