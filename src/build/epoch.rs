//! The time that stands for "now" in an image whose bytes must not depend on the clock.

use jiff::Timestamp;

use super::error::BuildError;
use super::input::{Bringer, Input};
use super::request::ImageOptions;
use crate::plan::{EpochSource, Outline, Plan, TreeSource};
use crate::remote::{GitSource, SourceKind, UrlSource, source_kind};

/// Finds out the age of what SOURCE_DATE_EPOCH names, if it names something; once for all platforms that mean the same.
pub(crate) fn settle(outlines: &mut [Outline], input: &Input, bringer: &mut Bringer<'_>) -> Result<(), BuildError> {
    let mut known: Option<(EpochSource, Option<Timestamp>)> = None;
    for outline in outlines {
        let Some(source) = outline.open_epoch().cloned() else {
            continue;
        };
        let age = match &known {
            Some((same, age)) if *same == source => *age,
            _ => age_of(&source, input, bringer)?,
        };
        outline.settle_epoch(age);
        known = Some((source, age));
    }
    Ok(())
}

fn age_of(source: &EpochSource, input: &Input, bringer: &mut Bringer<'_>) -> Result<Option<Timestamp>, BuildError> {
    match source {
        EpochSource::Context => Ok(input.age),
        // Files of this machine were not made at one time.
        EpochSource::Tree(TreeSource::Directory(_)) => Ok(None),
        EpochSource::Tree(TreeSource::Git(address) | TreeSource::Url(address)) => age_of_tree(address, bringer),
        EpochSource::Remote(address) => match source_kind(address) {
            SourceKind::Url => bringer.age_of_url(&UrlSource::parse(address, None)?),
            SourceKind::Git | SourceKind::Path => age_of_tree(address, bringer),
        },
    }
}

/// The commit's time, what the server says of an archive, or the newest file in it.
fn age_of_tree(address: &str, bringer: &mut Bringer<'_>) -> Result<Option<Timestamp>, BuildError> {
    let brought = match source_kind(address) {
        SourceKind::Url => bringer.url(&UrlSource::parse(address, None)?)?,
        SourceKind::Git | SourceKind::Path => bringer.repository(&GitSource::parse(address)?)?,
    };
    Ok(brought.age)
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
