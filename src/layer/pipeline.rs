//! Three threads joined by bounded channels: decompress, hash, and the caller's own that writes files.
//!
//! ```text
//! decompress ─chunk─┬─▶ hash ──────┐
//!     ▲             └─▶ the caller ┤
//!     └────────── empty buffers ◀──┘
//! ```
//!
//! A chunk is shared by both consumers; whoever lets go of it last returns its buffer to the pool, so
//! memory is [`BUFFERS`] × [`CHUNK`] whatever the stream.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, ScopedJoinHandle};

use super::decompress::{DecompressError, Decompressor, Format};
use super::error::ApplyError;
use super::limits::Limits;
use crate::cancel::Cancel;
use crate::oci::{Algorithm, DiffId, Digester};

/// Bytes of a chunk: a multiple of the tar block, and small enough for both consumers to find it in the cache.
const CHUNK: usize = 256 << 10;
/// Chunks in flight. More gained nothing; fewer let the decompressor wait for a slow file.
const BUFFERS: usize = 16;

/// What the stream turned out to be.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) format: Format,
    pub(super) diff_id: DiffId,
    pub(super) bytes: u64,
    pub(super) compressed_bytes: u64,
}

/// What a pipeline needs besides its stream.
#[derive(Clone, Copy)]
pub(super) struct Environment<'a> {
    pub(super) limits: Limits,
    pub(super) cancel: &'a Cancel,
}

/// Decompresses `stream` for `consume` and to its end, hashing all of it.
///
/// The first cause wins: an error of the stream over the truncation that `consume` makes of it.
pub(super) fn run<T>(
    stream: impl Read + Send,
    environment: Environment<'_>,
    consume: impl FnOnce(&mut Chunks) -> Result<T, ApplyError>,
) -> Result<(T, Stream), ApplyError> {
    let stop = Arc::new(AtomicBool::new(false));
    let (to_caller, for_caller) = sync_channel(BUFFERS);
    let (to_hash, for_hash) = sync_channel(BUFFERS);
    let (recycle, pool) = sync_channel(BUFFERS);
    std::thread::scope(|scope| {
        // Dropped on every path out of the scope, panics included: it stops and empties the line.
        let mut chunks = Chunks::new(for_caller, recycle.clone(), Arc::clone(&stop));
        let line = Line {
            pool,
            caller: to_caller,
            hash: to_hash,
            stop,
        };
        let decompress = Builder::new()
            .name("layer-decompress".into())
            .spawn_scoped(scope, move || decompress(stream, environment, &line))
            .map_err(ApplyError::Thread)?;
        let hash = Builder::new()
            .name("layer-hash".into())
            .spawn_scoped(scope, move || hash(&for_hash, &recycle))
            .map_err(ApplyError::Thread)?;
        let consumed = consume(&mut chunks);
        if consumed.is_ok() {
            chunks.drain();
        }
        drop(chunks);
        let decompressed = join(decompress)?;
        let diff_id = join(hash);
        let value = consumed?;
        Ok((
            value,
            Stream {
                format: decompressed.format,
                diff_id,
                bytes: decompressed.bytes,
                compressed_bytes: decompressed.compressed_bytes,
            },
        ))
    })
}

/// A panic of a worker goes on in the caller's thread.
fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

type Chunk = Arc<Vec<u8>>;

/// The decompressor's ends of the channels.
struct Line {
    pool: Receiver<Vec<u8>>,
    caller: SyncSender<Chunk>,
    hash: SyncSender<Chunk>,
    stop: Arc<AtomicBool>,
}

impl Line {
    /// Gives the chunk to both consumers and keeps no share in it: whoever lets go last must be one
    /// of them, or the buffer is lost to the pool.
    fn send(&self, chunk: Chunk) {
        // Both live until this thread has hung up.
        let _ = self.hash.send(Arc::clone(&chunk));
        let _ = self.caller.send(chunk);
    }
}

struct Decompressed {
    format: Format,
    bytes: u64,
    compressed_bytes: u64,
}

fn decompress(stream: impl Read, environment: Environment<'_>, line: &Line) -> Result<Decompressed, ApplyError> {
    let mut decompressor = Decompressor::new(stream, environment.limits)?;
    let mut bytes = 0;
    let mut made = 0;
    while !line.stop.load(Ordering::Relaxed) {
        environment.cancel.check()?;
        let Some(mut buffer) = next_buffer(&line.pool, &mut made) else {
            break;
        };
        let filled = decompressor.fill(&mut buffer)?;
        bytes += filled as u64;
        buffer.truncate(filled);
        if filled > 0 {
            line.send(Arc::new(buffer));
        }
        if filled < CHUNK {
            break;
        }
    }
    Ok(Decompressed {
        format: decompressor.format(),
        bytes,
        compressed_bytes: decompressor.compressed_bytes(),
    })
}

/// A full-length buffer: a used one if there is one, a new one until all are made, then a wait.
fn next_buffer(pool: &Receiver<Vec<u8>>, made: &mut usize) -> Option<Vec<u8>> {
    let mut buffer = match pool.try_recv() {
        Ok(buffer) => buffer,
        Err(_) if *made < BUFFERS => {
            *made += 1;
            Vec::new()
        }
        Err(_) => pool.recv().ok()?,
    };
    // Only the last chunk of a stream is short, so this clears a buffer once.
    buffer.resize(CHUNK, 0);
    Some(buffer)
}

fn hash(chunks: &Receiver<Chunk>, recycle: &SyncSender<Vec<u8>>) -> DiffId {
    let mut digester = Digester::new(Algorithm::Sha256);
    for chunk in chunks {
        digester.update(&chunk);
        release(chunk, recycle);
    }
    DiffId::new(digester.finish())
}

/// Lets go of a chunk; `into_inner` gives the buffer to exactly one of the two consumers.
fn release(chunk: Chunk, recycle: &SyncSender<Vec<u8>>) {
    if let Some(buffer) = Arc::into_inner(chunk) {
        // The pool has room for every buffer; without a receiver nobody needs this one.
        let _ = recycle.send(buffer);
    }
}

/// The decompressed stream as the caller reads it.
#[derive(Debug)]
pub(super) struct Chunks {
    chunks: Receiver<Chunk>,
    recycle: SyncSender<Vec<u8>>,
    stop: Arc<AtomicBool>,
    current: Option<Chunk>,
    at: usize,
}

impl Chunks {
    fn new(chunks: Receiver<Chunk>, recycle: SyncSender<Vec<u8>>, stop: Arc<AtomicBool>) -> Self {
        Self {
            chunks,
            recycle,
            stop,
            current: None,
            at: 0,
        }
    }

    /// Takes everything up to the end of the stream.
    fn drain(&mut self) {
        while self.advance() {}
    }

    /// Moves on to the next chunk; not at the end.
    fn advance(&mut self) -> bool {
        if let Some(chunk) = self.current.take() {
            release(chunk, &self.recycle);
        }
        self.at = 0;
        self.current = self.chunks.recv().ok();
        self.current.is_some()
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        // The decompressor may be waiting for a buffer: they go back until it has seen the flag.
        self.stop.store(true, Ordering::Relaxed);
        self.drain();
    }
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let used_up = self.current.as_ref().is_none_or(|chunk| self.at == chunk.len());
        if used_up {
            self.advance();
        }
        Ok(self.current.as_ref().map_or(&[], |chunk| &chunk[self.at..]))
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for Chunks {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(out.len());
        out[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl From<DecompressError> for ApplyError {
    fn from(error: DecompressError) -> Self {
        Self::Decompress(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Far more chunks than buffers, so that a buffer that is lost stops the line.
    const LENGTH: u64 = (CHUNK * BUFFERS * 3 + 5) as u64;

    fn run_with(consume: impl FnOnce(&mut Chunks) -> Result<u64, ApplyError>) -> Result<(u64, Stream), ApplyError> {
        let environment = Environment {
            limits: Limits::default(),
            cancel: &Cancel::default(),
        };
        run(io::repeat(7).take(LENGTH), environment, consume)
    }

    #[test]
    fn every_buffer_comes_back() {
        for _ in 0..20 {
            let (read, stream) = run_with(|chunks| Ok(io::copy(chunks, &mut io::sink()).unwrap())).unwrap();
            assert_eq!((read, stream.bytes, stream.compressed_bytes), (LENGTH, LENGTH, LENGTH));
        }
    }

    #[test]
    fn a_consumer_may_stop_early() {
        let mut whole = Digester::new(Algorithm::Sha256);
        whole.update(&vec![7; LENGTH as usize]);
        let (_, stream) = run_with(|_| Ok(0)).unwrap();
        assert_eq!(stream.diff_id, DiffId::new(whole.finish()));
        let refused = run_with(|_| Err(ApplyError::TooManyEntries { limit: 1 }));
        assert!(matches!(refused, Err(ApplyError::TooManyEntries { limit: 1 })));
        let panicked = std::panic::catch_unwind(|| run_with(|_| panic!("for the test")).is_ok());
        assert!(panicked.is_err());
    }

    #[test]
    fn cancelling_ends_the_line() {
        let cancel = Cancel::default();
        cancel.by_signal(15);
        let environment = Environment {
            limits: Limits::default(),
            cancel: &cancel,
        };
        let answer = run(io::repeat(7), environment, |chunks| {
            io::copy(chunks, &mut io::sink()).unwrap();
            Ok(())
        });
        assert!(matches!(answer, Err(ApplyError::Cancelled(_))));
    }
}
