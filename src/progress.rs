//! What a build tells whoever watches it. The engine emits [`Event`]s; only `cli` draws them.

use std::fmt;
use std::time::Duration;

use crate::check::Finding;
use crate::oci::{Digest, Reference};

/// Receives events from any thread. Must not block the worker that calls it.
pub trait Progress: Send + Sync + fmt::Debug {
    /// Takes note of one event.
    fn event(&self, event: Event<'_>);
}

/// Names one step for the whole build: stage and position.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StepRef<'a> {
    /// Name of the stage, or its number as text when it has none.
    pub stage: &'a str,
    /// Position within the stage, from 1.
    pub number: usize,
    /// Steps in the stage.
    pub of: usize,
}

/// Which stream of a RUN a line came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Which way a blob travels.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transfer {
    /// From a registry.
    Download,
    /// To a registry.
    Upload,
}

/// How a blob came to be where it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransferEnd {
    /// Its bytes travelled.
    Done,
    /// It was there already.
    Exists,
    /// The registry linked it from another of its repositories.
    Mounted,
    /// It failed; the error is reported elsewhere.
    Failed,
}

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The isolation was chosen; the text says which and why no stronger one.
    Isolation(&'a str),
    /// A base image is being resolved.
    Resolving(&'a Reference),
    /// A base image was resolved to this manifest.
    Resolved(&'a Reference, &'a Digest),
    /// A blob begins to travel.
    TransferStart {
        /// Which way.
        transfer: Transfer,
        /// Which blob.
        digest: &'a Digest,
        /// Its size in bytes.
        size: u64,
    },
    /// More bytes of a blob travelled; `bytes` counts from its start.
    TransferProgress {
        /// Which way.
        transfer: Transfer,
        /// Which blob.
        digest: &'a Digest,
        /// Bytes so far.
        bytes: u64,
    },
    /// A blob arrived, or did not.
    TransferEnd {
        /// Which way.
        transfer: Transfer,
        /// Which blob.
        digest: &'a Digest,
        /// How it ended.
        end: TransferEnd,
    },
    /// A source of ADD or a context begins to arrive.
    FetchStart {
        /// Its address, safe to show.
        source: &'a str,
        /// Its size in bytes, when that is known.
        size: Option<u64>,
    },
    /// More of a source arrived; `bytes` counts from its start.
    FetchProgress {
        /// Its address.
        source: &'a str,
        /// Bytes so far.
        bytes: u64,
    },
    /// A source arrived, or did not; the error is reported elsewhere.
    FetchEnd {
        /// Its address.
        source: &'a str,
        /// Whether all of it is here.
        done: bool,
    },
    /// A request is tried again.
    Retry {
        /// What was being done.
        what: &'a str,
        /// Why it did not work.
        cause: &'a str,
        /// Which try comes next, from 2.
        attempt: u32,
        /// When.
        wait: Duration,
    },
    /// What would be built, for people to read.
    Plan(&'a str),
    /// A stage begins.
    StageStart {
        /// Its name or number.
        stage: &'a str,
        /// What FROM names.
        base: &'a str,
        /// Its place in the file, from 0.
        index: usize,
        /// The same of the stage that it is built upon.
        base_index: Option<usize>,
    },
    /// A step begins; `text` is the instruction after expansion.
    StepStart {
        /// Which one.
        step: StepRef<'a>,
        /// The instruction.
        text: &'a str,
    },
    /// A RUN printed a line, without its newline. Untrusted bytes.
    Output {
        /// Which step.
        step: StepRef<'a>,
        /// Where it printed.
        stream: Stream,
        /// What it printed.
        line: &'a [u8],
    },
    /// A step ended well.
    StepEnd {
        /// Which one.
        step: StepRef<'a>,
        /// How long it took.
        took: Duration,
    },
    /// A layer is complete.
    Layer {
        /// Which step made it.
        step: StepRef<'a>,
        /// Digest of the compressed blob.
        digest: &'a Digest,
        /// Size of the compressed blob in bytes.
        size: u64,
    },
    /// The image is being written to a destination.
    Exporting(&'a str),
    /// The image is at a destination.
    Exported {
        /// The reference or path.
        destination: &'a str,
        /// Digest of the manifest.
        digest: &'a Digest,
    },
    /// A build check found something in the Dockerfile.
    Finding(&'a Finding),
    /// Something the user should know that does not end the build.
    Warning(&'a str),
    /// The same about one step.
    StepWarning {
        /// Which step.
        step: StepRef<'a>,
        /// What the user should know.
        text: &'a str,
    },
    /// Something worth a line.
    Info(&'a str),
    /// The same about one step.
    StepInfo {
        /// Which step.
        step: StepRef<'a>,
        /// What happens.
        text: &'a str,
    },
    /// Something for `--verbosity=debug`.
    Debug(&'a str),
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _event: Event<'_>) {}
}
