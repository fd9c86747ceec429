//! ADD's archives, by the extractor of layers.

use std::fs::File;
use std::io;

use crate::cancel::Cancel;
use crate::copy::{Archives, Copied, Extraction};
use crate::layer::{ArchiveExtractor, Limits, Owner, detect_archive};
use crate::progress::{Event, Progress};
use crate::snapshot::Fingerprints;

/// Recognises and extracts what ADD names.
#[derive(Debug)]
pub(crate) struct AddArchives<'a>(&'a dyn Progress);

impl<'a> AddArchives<'a> {
    pub(crate) const fn new(progress: &'a dyn Progress) -> Self {
        Self(progress)
    }
}

impl Archives for AddArchives<'_> {
    fn recognise(&self, file: &File) -> io::Result<bool> {
        detect_archive(&mut &*file)
    }

    fn extract(
        &self,
        file: File,
        extraction: &Extraction<'_>,
        fingerprints: &mut Fingerprints,
        cancel: &Cancel,
    ) -> Result<Copied, Box<dyn std::error::Error + Send + Sync>> {
        let owner = match extraction.chown {
            Some(owner) => Owner::Fixed {
                uid: owner.uid,
                gid: owner.gid,
            },
            None => Owner::Archive,
        };
        let warn = |text: &str| self.0.event(Event::Warning(text));
        let mut extractor = ArchiveExtractor::new(extraction.rootfs, Limits::default(), fingerprints, &warn, cancel);
        let extracted = extractor.extract(file, extraction.into, owner)?;
        Ok(Copied {
            written: extracted.created,
            removed: Vec::new(),
        })
    }
}
