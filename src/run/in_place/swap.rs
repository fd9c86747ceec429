//! An image's files in the container's own `/`, for as long as a RUN works.

use std::io;

use super::error::{InPlaceError, failed_at};
use super::levels::Survey;
use super::moves;
use super::place::{self, Journal, Owner, Place};
use super::stays::Stays;
use crate::machine::{self, OtherFiles};
use crate::rootfs::{Dir, RootfsPath};

/// The image's files are in `/`. Dropped, they are back where they came from, and the container's own in their place.
#[derive(Debug)]
pub(super) struct Swap<'a> {
    place: &'a Place,
    image: &'a Dir,
    root: Dir,
    journal: Journal,
    is_over: bool,
    _others: OtherFiles,
}

/// What is in the way of a RUN that sees its image and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hiding {
    /// Something mounted hides files of the image: an error.
    Refused,
    /// The user knows.
    Accepted,
}

impl<'a> Swap<'a> {
    /// Puts the entries of `image`, a directory on the same filesystem, into `/`.
    pub(super) fn begin(place: &'a Place, image: &'a Dir, stays: &Stays, hiding: Hiding) -> Result<Self, InPlaceError> {
        let others = machine::other_files();
        let root = place::root()?;
        let full = place.full()?;
        let mut survey = Survey {
            full: &full,
            hidden: Vec::new(),
        };
        let level = survey.plan((&root, Some(image)), stays, &RootfsPath::root())?;
        if let (Some(path), Hiding::Refused) = (survey.hidden.into_iter().next(), hiding) {
            return Err(InPlaceError::Hidden { path });
        }
        let mut swap = Self {
            place,
            image,
            root,
            journal: Journal {
                owner: Owner::Container,
                root: level,
            },
            is_over: false,
            _others: others,
        };
        place.begin(&swap.journal)?;
        match swap.exchange() {
            Ok(()) => Ok(swap),
            // What went wrong first is what matters; the rest is tried again by whoever comes next.
            Err(error) => {
                let _ = swap.end_now();
                Err(error)
            }
        }
    }

    fn exchange(&mut self) -> Result<(), InPlaceError> {
        let level = &self.journal.root;
        moves::take_out(level, &self.root, &self.place.aside()?)
            .map_err(failed_at("move aside the container's own files of", "/"))?;
        self.journal.owner = Owner::Image;
        self.place
            .write(&self.journal)
            .inspect_err(|_| self.journal.owner = Owner::Container)?;
        moves::bring_image(&self.journal.root, self.image, &self.root)
            .map_err(failed_at("move the files of the image to", "/"))
    }

    /// Puts everything back.
    pub(super) fn end(mut self) -> Result<(), InPlaceError> {
        self.end_now()
    }

    fn end_now(&mut self) -> Result<(), InPlaceError> {
        if std::mem::replace(&mut self.is_over, true) {
            return Ok(());
        }
        if self.journal.owner == Owner::Image {
            if let Err(error) = self.take_image() {
                // The container comes first; the build has failed in any case.
                self.place
                    .recover()
                    .map_err(|error| InPlaceError::NotRecovered(Box::new(error)))?;
                let lost = failed_at("move the files of the image back from", "/")(error);
                return Err(InPlaceError::ImageLost(Box::new(lost)));
            }
            self.place.return_to_container(&mut self.journal)?;
        }
        self.place.restore(&self.journal.root, &self.root)
    }

    fn take_image(&self) -> io::Result<()> {
        moves::take_image(&self.journal.root, &self.root, self.image)
    }
}

impl Drop for Swap<'_> {
    fn drop(&mut self) {
        // Only reached on the way out of another error; the next build finds the journal.
        let _ = self.end_now();
    }
}
