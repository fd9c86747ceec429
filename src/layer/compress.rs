//! Compression of a stream on all cores, hashed on both sides in the same pass.
//!
//! ```text
//! caller ─blocks─▶ digest of the input ─▶ worker 0 ─┐
//!                                    ├──▶ worker 1 ─┼─▶ digest of the output, sink
//!                                    └──▶ worker n ─┘
//! ```
//!
//! The input is cut into blocks of fixed size, and every block becomes a gzip member or a zstd frame of
//! its own; RFC 1952 and RFC 8878 both define the concatenation. Block `i` goes to worker `i mod n`
//! and is fetched from there in turn, so the output depends neither on the number of workers nor on
//! timing. All channels are bounded and the buffers go round: memory depends on the number of
//! workers, never on the length of the stream.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use super::block::{BlockEncoder, block_encoder};
use crate::cancel::{Cancel, Cancelled};
use crate::oci::{Algorithm, Compression, DiffId, Digest, Digester};

/// More workers than this outrun what one thread can read and hash.
const MAX_WORKERS: usize = 8;

/// Bytes of input per gzip member. Each starts without history: at 1 MiB that costs 0.1 % of size
/// against 4 MiB, and a layer of a few MiB already occupies several cores.
const GZIP_BLOCK: usize = 1 << 20;

/// Bytes of input per zstd frame: the window of the default level. 4 MiB would save 1.4 % of the size and
/// cost twice the memory.
const ZSTD_BLOCK: usize = 2 << 20;

/// The level with ISA-L behind it, see [`super::block`]. 554 MB of Debian packages, on two cores, against
/// `gzip -6` with 181 MB in 23 s and `gzip -1` with 203 MB in 9 s:
///
/// | level | encoder | seconds | MB |
/// |---|---|---|---|
/// | 1 | ISA-L | 1.2 | 205 |
/// | 3 | zlib-rs | 4.7 | 192 |
/// | 6 | zlib-rs | 5.7 | 186 |
/// | 9 | zlib-rs | 14 | 180 |
/// | zstd 3 | zstd | 2.1 | 172 |
const DEFAULT_GZIP_LEVEL: i32 = 1;
const DEFAULT_ZSTD_LEVEL: i32 = 3;

/// A compression together with a level that it has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Encoding {
    compression: Compression,
    level: i32,
}

/// A level that a compression does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{name} has no compression level {level} (valid are {lowest} to {highest})")]
pub struct LevelError {
    /// Name of the compression.
    pub name: &'static str,
    /// The level asked for.
    pub level: i32,
    /// The lowest it has.
    pub lowest: i32,
    /// The highest it has.
    pub highest: i32,
}

impl Default for Encoding {
    fn default() -> Self {
        Self {
            compression: Compression::Gzip,
            level: DEFAULT_GZIP_LEVEL,
        }
    }
}

impl Encoding {
    /// `compression` at `level`: 1 to 9 for gzip, 1 to 22 for zstd; `None` takes the default.
    ///
    /// # Errors
    /// The compression has no such level.
    pub fn new(compression: Compression, level: Option<i32>) -> Result<Self, LevelError> {
        let (name, lowest, highest, default) = match compression {
            Compression::None => ("plain tar", 0, 0, 0),
            Compression::Gzip => ("gzip", 1, 9, DEFAULT_GZIP_LEVEL),
            Compression::Zstd => ("zstd", 1, 22, DEFAULT_ZSTD_LEVEL),
        };
        let level = level.unwrap_or(default);
        if !(lowest..=highest).contains(&level) {
            return Err(LevelError {
                name,
                level,
                lowest,
                highest,
            });
        }
        Ok(Self { compression, level })
    }

    /// The compression.
    #[must_use]
    pub const fn compression(self) -> Compression {
        self.compression
    }

    /// The level.
    #[must_use]
    pub const fn level(self) -> i32 {
        self.level
    }

    const fn block_size(self) -> usize {
        match self.compression {
            Compression::None | Compression::Gzip => GZIP_BLOCK,
            Compression::Zstd => ZSTD_BLOCK,
        }
    }
}

/// A stream that was compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Compressed {
    /// Digest of the input.
    pub diff_id: DiffId,
    /// Bytes of input.
    pub uncompressed_size: u64,
    /// Digest of the output.
    pub digest: Digest,
    /// Bytes of output.
    pub size: u64,
}

/// Why a stream could not be compressed.
#[derive(Debug, thiserror::Error)]
pub enum CompressError {
    /// The sink took no more.
    #[error("write compressed data")]
    Sink(#[source] io::Error),
    /// The compressor gave up.
    #[error("compress")]
    Encode(#[source] io::Error),
    /// The system gave no thread.
    #[error("start a thread for compression")]
    Thread(#[source] io::Error),
    /// The build was interrupted.
    #[error("stopped")]
    Cancelled(#[from] Cancelled),
}

/// Compresses what `produce` writes into `sink`.
///
/// The bytes depend on the input and the encoding alone. An error of the pipeline comes before the
/// error that `produce` returns, since it is then the cause.
///
/// # Errors
/// [`CompressError`], or what `produce` returns.
pub fn compress<T, E>(
    encoding: Encoding,
    threads: Option<NonZeroUsize>,
    cancel: &Cancel,
    sink: impl Write + Send,
    produce: impl FnOnce(&mut Input) -> Result<T, E>,
) -> Result<(T, Compressed), E>
where
    E: From<CompressError>,
{
    let workers = worker_count(encoding, threads);
    thread::scope(|scope| {
        let (free_sender, free) = channel();
        let (blocks_sender, blocks) = sync_channel(1);
        let mut to_workers = Vec::with_capacity(workers);
        let mut from_workers = Vec::with_capacity(workers);
        for number in 0..workers {
            let (job_sender, jobs) = sync_channel(1);
            let (done_sender, done) = sync_channel(1);
            let (spare_sender, spare) = channel();
            let free = free_sender.clone();
            spawn(scope, &format!("compress-{number}"), move || {
                encode_blocks(encoding, &jobs, &free, &done_sender, &spare)
            })?;
            to_workers.push(job_sender);
            from_workers.push((done, spare_sender));
        }
        drop(free_sender);
        let digest = spawn(scope, "digest", move || digest_blocks(&blocks, &to_workers))?;
        let drain = spawn(scope, "drain", move || drain_blocks(&from_workers, sink, cancel))?;

        // Every worker holds one block, another waits for it, one is being hashed and one is filled.
        let mut input = Input::new(blocks_sender, free, encoding.block_size(), 2 * workers + 2);
        let produced = produce(&mut input);
        let input_ended = match &produced {
            Ok(_) => input.finish(),
            Err(_) => Ok(()),
        };
        drop(input);

        let digested = join(digest);
        let (digest, size) = join(drain)?;
        let value = produced?;
        // A broken channel without an error of the drain cannot be; if it is, it must not pass for success.
        input_ended.map_err(CompressError::Encode)?;
        let (diff_id, uncompressed_size) = digested;
        let compressed = Compressed {
            diff_id: DiffId::new(diff_id),
            uncompressed_size,
            digest,
            size,
        };
        Ok((value, compressed))
    })
}

/// Where the data to be compressed is written.
#[derive(Debug)]
pub struct Input {
    block: Vec<u8>,
    block_size: usize,
    /// Buffers that may still be made; after that they come back from the workers.
    unmade: usize,
    free: Receiver<Vec<u8>>,
    blocks: SyncSender<Vec<u8>>,
    sent: bool,
}

impl Input {
    fn new(blocks: SyncSender<Vec<u8>>, free: Receiver<Vec<u8>>, block_size: usize, buffers: usize) -> Self {
        Self {
            block: Vec::new(),
            block_size,
            unmade: buffers,
            free,
            blocks,
            sent: false,
        }
    }

    /// Room in the current block, never empty; [`Input::advance`] says how much of it was used.
    pub(super) fn space(&mut self) -> io::Result<&mut Vec<u8>> {
        if self.block.len() == self.block_size {
            self.send()?;
        }
        Ok(&mut self.block)
    }

    /// How many bytes the current block still takes.
    pub(super) fn room(&self) -> usize {
        self.block_size - self.block.len()
    }

    fn send(&mut self) -> io::Result<()> {
        let block = std::mem::take(&mut self.block);
        self.blocks.send(block).map_err(|_| pipeline_ended())?;
        self.sent = true;
        self.block = match self.free.try_recv() {
            Ok(block) => block,
            Err(_) if self.unmade > 0 => {
                self.unmade -= 1;
                Vec::new()
            }
            Err(_) => self.free.recv().map_err(|_| pipeline_ended())?,
        };
        self.block.clear();
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        // An empty stream still needs a member: zero bytes are not gzip.
        if !self.block.is_empty() || !self.sent {
            let block = std::mem::take(&mut self.block);
            self.blocks.send(block).map_err(|_| pipeline_ended())?;
        }
        Ok(())
    }
}

impl Write for Input {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.space()?;
        let taken = bytes.len().min(self.room());
        self.block.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn pipeline_ended() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the compression pipeline ended")
}

fn worker_count(encoding: Encoding, threads: Option<NonZeroUsize>) -> usize {
    match encoding.compression {
        Compression::None => 1,
        Compression::Gzip | Compression::Zstd => threads
            .or_else(|| thread::available_parallelism().ok())
            .map_or(1, NonZeroUsize::get)
            .min(MAX_WORKERS),
    }
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    name: &str,
    body: impl FnOnce() -> T + Send + 'scope,
) -> Result<thread::ScopedJoinHandle<'scope, T>, CompressError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn_scoped(scope, body)
        .map_err(CompressError::Thread)
}

fn join<T>(handle: thread::ScopedJoinHandle<'_, T>) -> T {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Hashes the input and deals it out, block `i` to worker `i mod n`.
fn digest_blocks(blocks: &Receiver<Vec<u8>>, workers: &[SyncSender<Vec<u8>>]) -> (Digest, u64) {
    let mut digester = Digester::new(Algorithm::Sha256);
    let mut size = 0;
    for (block, worker) in blocks.iter().zip(workers.iter().cycle()) {
        digester.update(&block);
        size += block.len() as u64;
        if worker.send(block).is_err() {
            break;
        }
    }
    (digester.finish(), size)
}

type Encoded = Result<Vec<u8>, CompressError>;

fn encode_blocks(
    encoding: Encoding,
    jobs: &Receiver<Vec<u8>>,
    free: &Sender<Vec<u8>>,
    done: &SyncSender<Encoded>,
    spare: &Receiver<Vec<u8>>,
) {
    let mut encoder: Option<Box<dyn BlockEncoder>> = None;
    for mut block in jobs {
        let mut output = spare.try_recv().unwrap_or_default();
        output.clear();
        // Made for the first block: most layers are small and occupy one worker.
        let encoded = match &mut encoder {
            Some(encoder) => encoder.encode(&mut block, &mut output),
            None => block_encoder(encoding).and_then(|made| encoder.insert(made).encode(&mut block, &mut output)),
        };
        // Nobody takes it back once the caller is done.
        let _ = free.send(block);
        let answer = encoded.map(|()| output).map_err(CompressError::Encode);
        let failed = answer.is_err();
        if done.send(answer).is_err() || failed {
            return;
        }
    }
}

/// Fetches the encoded blocks in turn, hashes them and hands them to the sink.
fn drain_blocks(
    workers: &[(Receiver<Encoded>, Sender<Vec<u8>>)],
    mut sink: impl Write,
    cancel: &Cancel,
) -> Result<(Digest, u64), CompressError> {
    let mut digester = Digester::new(Algorithm::Sha256);
    let mut size = 0;
    for (done, spare) in workers.iter().cycle() {
        // The first worker without another block marks the end: all after it have none either.
        let Ok(encoded) = done.recv() else { break };
        let bytes = encoded?;
        cancel.check()?;
        digester.update(&bytes);
        sink.write_all(&bytes).map_err(CompressError::Sink)?;
        size += bytes.len() as u64;
        let _ = spare.send(bytes);
    }
    sink.flush().map_err(CompressError::Sink)?;
    Ok((digester.finish(), size))
}
