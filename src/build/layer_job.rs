//! Layers that are written while the build goes on.
//!
//! A step's files must be read before the next step may change them, and no longer: once they are
//! read, compressing, hashing and storing what was read goes on beside the next step.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::error::{BuildError, Problem};
use crate::cancel::Cancel;
use crate::image::{Layer, layer_type};
use crate::layer::{LayerOptions, WrittenLayer};
use crate::oci::{Descriptor, ManifestFormat};
use crate::progress::{Event, Progress, StepRef};
use crate::rootfs::Rootfs;
use crate::snapshot::{ChangeSet, Fingerprints};
use crate::store::{Blob, Blobs};

/// A layer on its way. Clones wait for the same one.
#[derive(Clone, Debug)]
pub(crate) struct LayerJob(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Guards how the job ended.
    end: Mutex<Option<Result<(Layer, Blob), Taken>>>,
    ended: Condvar,
}

impl Shared {
    fn end(&self, end: Result<(Layer, Blob), BuildError>) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end.map_err(Some));
        self.ended.notify_all();
    }
}

/// Dropped by a panic only: nobody may wait for a layer that never comes.
struct EndOnPanic<'a> {
    shared: &'a Shared,
    cancel: &'a Cancel,
}

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        self.shared.end(Err(BuildError::new(Problem::System {
            what: "write a layer",
            source: std::io::Error::other("its thread panicked; this is a bug of rbuild"),
        })));
        self.cancel.by_failure();
    }
}

/// The problem, until the first who waits for the job takes it.
type Taken = Option<BuildError>;

/// Tells when the rootfs may change again. The lock is never waited for: only the owner receives.
#[derive(Debug)]
pub(crate) struct Reading(Mutex<Receiver<Fingerprints>>);

impl Reading {
    /// Waits until the job has read every file, and hands over the fingerprints that it took.
    /// A job that failed has read all it ever will; its error is found at its end.
    pub(crate) fn finish(self) -> Fingerprints {
        let receiver = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        receiver.recv().unwrap_or_default()
    }
}

/// What a job needs to know.
#[derive(Debug)]
pub(crate) struct LayerTask {
    /// What the step changed.
    pub(crate) changes: ChangeSet,
    /// Where it is.
    pub(crate) rootfs: Arc<Rootfs>,
    /// How to write it.
    pub(crate) options: LayerOptions,
    /// Where the blob goes.
    pub(crate) blobs: Blobs,
    /// Who is told.
    pub(crate) progress: Arc<dyn Progress>,
    /// Who may end it.
    pub(crate) cancel: Cancel,
    /// The step: stage, number, of how many.
    pub(crate) step: (String, usize, usize),
}

impl LayerJob {
    /// Starts to write a layer; `done` is called with the blob as soon as it exists.
    pub(crate) fn start(
        task: LayerTask,
        done: impl FnOnce(&Blob) + Send + 'static,
    ) -> std::io::Result<(Self, Reading)> {
        let shared = Arc::new(Shared {
            end: Mutex::new(None),
            ended: Condvar::new(),
        });
        let (read, reading) = channel();
        let job = Self(Arc::clone(&shared));
        std::thread::Builder::new().name("layer".to_owned()).spawn(move || {
            let on_panic = EndOnPanic {
                shared: &shared,
                cancel: &task.cancel,
            };
            let end = task.write(|fingerprints| drop(read.send(fingerprints)));
            match &end {
                Ok((_, blob)) => done(blob),
                Err(_) => task.cancel.by_failure(),
            }
            std::mem::forget(on_panic);
            shared.end(end);
        })?;
        Ok((job, Reading(Mutex::new(reading))))
    }

    /// Waits until the job has ended, however it did.
    pub(crate) fn wait_for_end(&self) {
        let mut end = self.0.end.lock().unwrap_or_else(PoisonError::into_inner);
        while end.is_none() {
            end = self.0.ended.wait(end).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What ended the job, if it failed and nobody was told yet.
    pub(crate) fn take_failure(&self) -> Option<BuildError> {
        match &mut *self.0.end.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(Err(problem)) => problem.take(),
            Some(Ok(_)) | None => None,
        }
    }

    /// Waits for the layer.
    pub(crate) fn wait(&self) -> Result<(Layer, Blob), BuildError> {
        let mut end = self.0.end.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match &mut *end {
                Some(Ok(layer)) => return Ok(layer.clone()),
                Some(Err(problem)) => {
                    return Err(problem
                        .take()
                        .unwrap_or(BuildError::new(crate::cancel::Cancelled { signal: 0 })));
                }
                None => end = self.0.ended.wait(end).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl LayerTask {
    fn write(&self, read: impl FnOnce(Fingerprints) + Send) -> Result<(Layer, Blob), BuildError> {
        let mut blob = self.blobs.create()?;
        let (stage, number, of) = &self.step;
        let step = StepRef {
            stage,
            number: *number,
            of: *of,
        };
        let mut warn = |warning: crate::layer::WriteWarning| {
            let text = &warning.to_string();
            self.progress.event(Event::StepWarning { step, text });
        };
        let written = crate::layer::write(
            &self.changes,
            &self.rootfs,
            &self.options,
            &mut blob,
            &self.cancel,
            &mut warn,
            read,
        )
        .map_err(Problem::WriteLayer)?;
        let layer = describe(&written);
        let blob = blob.commit(layer.descriptor.clone())?;
        self.progress.event(Event::Layer {
            step,
            digest: &written.digest,
            size: written.size,
        });
        Ok((layer, blob))
    }
}

/// OCI's media type; an image in Docker's format relabels it.
fn describe(written: &WrittenLayer) -> Layer {
    let media_type = layer_type(ManifestFormat::Oci, written.compression).expect("OCI has a type for each compression");
    Layer {
        descriptor: Descriptor::new(media_type, written.digest, written.size),
        diff_id: written.diff_id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_thread_is_an_error_for_those_who_wait() {
        let shared = Arc::new(Shared {
            end: Mutex::new(None),
            ended: Condvar::new(),
        });
        let job = LayerJob(Arc::clone(&shared));
        let cancel = Cancel::default();
        let thread = std::thread::spawn({
            let cancel = cancel.clone();
            move || {
                let _on_panic = EndOnPanic {
                    shared: &shared,
                    cancel: &cancel,
                };
                panic!("of a test");
            }
        });
        assert_eq!(job.wait().unwrap_err().to_string(), "write a layer");
        assert!(thread.join().is_err());
        assert!(cancel.check().is_err());
    }
}
