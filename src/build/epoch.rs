//! The time that stands for "now" in an image whose bytes must not depend on the clock.

use jiff::Timestamp;

use super::error::{BuildError, Problem};
use super::request::ImageOptions;
use crate::plan::{EpochSource, Outline, Plan, TreeSource};

/// Finds out the age of what SOURCE_DATE_EPOCH names, if it names something.
pub(crate) fn settle(outline: &mut Outline) -> Result<(), BuildError> {
    let age = match outline.open_epoch() {
        None => return Ok(()),
        // Files of this machine were not made at one time.
        Some(EpochSource::Context | EpochSource::Tree(TreeSource::Directory(_))) => None,
        Some(EpochSource::Tree(TreeSource::Git(source) | TreeSource::Url(source)) | EpochSource::Remote(source)) => {
            let source = source.clone();
            return Err(Problem::UnsupportedEpoch { source_name: source }.into());
        }
    };
    outline.settle_epoch(age);
    Ok(())
}

/// The time to write instead of now: the build's epoch, and without one the beginning of time if the image must be
/// reproducible.
pub(crate) fn of_image(plan: &Plan, options: &ImageOptions) -> Option<Timestamp> {
    plan.epoch.or(options.reproducible.then_some(Timestamp::UNIX_EPOCH))
}

/// The time that no file of a new layer may be later than.
pub(crate) fn of_layers(plan: &Plan, options: &ImageOptions) -> Option<Timestamp> {
    of_image(plan, options).filter(|_| options.rewrite_timestamp)
}
