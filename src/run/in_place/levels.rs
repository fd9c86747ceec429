//! The directories that the container and an image have in common for the time of a RUN.
//!
//! Where nothing stays, a directory is moved whole. Where something does, the directory itself stays too, gets the look
//! of the image's directory for the time, and only its entries change places: a [`Level`].

use std::io;

use serde::{Deserialize, Serialize};

use super::error::{InPlaceError, failed};
use super::look::Look;
use super::moves;
use super::stays::{Holder, Stay, Stays};
use crate::rootfs::{Dir, RootfsPath};

/// A directory that stays, and what in it stays as well.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Level {
    /// How the container's directory looks.
    pub(super) look: Look,
    whole: Vec<Vec<u8>>,
    below: Vec<(Vec<u8>, Level)>,
}

/// What becomes of a name at a level.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate<'l> {
    Moves,
    Stays,
    IsLevel(&'l Level),
}

/// What a plan is made of.
pub(super) struct Survey<'a> {
    /// A directory on the container's own filesystem that holds a full one; see [`moves::is_movable`].
    pub(super) full: &'a Dir,
    /// Paths at which files of the image cannot be seen, since something is mounted there.
    pub(super) hidden: Vec<RootfsPath>,
}

impl Level {
    pub(super) fn fate(&self, name: &[u8]) -> Fate<'_> {
        if let Some((_, level)) = self.below.iter().find(|(below, _)| below == name) {
            return Fate::IsLevel(level);
        }
        match self.whole.iter().any(|whole| whole == name) {
            true => Fate::Stays,
            false => Fate::Moves,
        }
    }

    pub(super) fn below(&self) -> impl Iterator<Item = (&[u8], &Self)> {
        self.below.iter().map(|(name, level)| (name.as_slice(), level))
    }
}

impl Survey<'_> {
    /// Plans how the entries of `own` give way to those of `image`. Changes nothing.
    pub(super) fn plan(
        &mut self,
        (own, image): (&Dir, Option<&Dir>),
        stays: &Stays,
        path: &RootfsPath,
    ) -> Result<Level, InPlaceError> {
        let mut level = Level {
            look: Look::of(own).map_err(failed("look at", path))?,
            whole: Vec::new(),
            below: Vec::new(),
        };
        for (name, stay) in stays.iter() {
            let path = path.join(name);
            let Some(metadata) = own.stat(name).map_err(failed("stat", &path))? else {
                continue;
            };
            let counterpart = image.map(|image| Counterpart::of(image, name)).transpose();
            let counterpart = counterpart
                .map_err(failed("look at the image's", &path))?
                .unwrap_or(Counterpart::Nothing);
            match stay {
                Stay::Whole(holder) => {
                    if self.stays_whole(*holder, &counterpart, &path)? {
                        level.whole.push(name.to_vec());
                    }
                }
                Stay::Within(_) if !metadata.is_dir() => {}
                Stay::Within(stays) => {
                    let own_below = own.open_dir(name).map_err(failed("open", &path))?;
                    let below = match &counterpart {
                        Counterpart::Directory(image) => Some(self.plan((&own_below, Some(image)), stays, &path)?),
                        Counterpart::Nothing => Some(self.plan((&own_below, None), stays, &path)?),
                        Counterpart::Other => {
                            self.check_gives_way(own, name, stays, &path)?;
                            None
                        }
                    };
                    level.below.extend(below.map(|below| (name.to_vec(), below)));
                }
            }
        }
        Ok(level)
    }

    fn stays_whole(
        &mut self,
        holder: Holder,
        counterpart: &Counterpart,
        path: &RootfsPath,
    ) -> Result<bool, InPlaceError> {
        match (holder, counterpart) {
            (_, Counterpart::Nothing) => Ok(true),
            (Holder::Own, _) => Ok(false),
            (Holder::State, _) => Err(InPlaceError::StateInTheWay { path: path.clone() }),
            (Holder::Mount, Counterpart::Directory(image)) => {
                let is_empty = image.names().map_err(failed("list the image's", path))?.is_empty();
                if !is_empty && !is_of_kernel(path) {
                    self.hidden.push(path.clone());
                }
                Ok(true)
            }
            (Holder::Mount, Counterpart::Other) => Ok(true),
        }
    }

    /// Whether a directory can be moved although something in it would stay: what is mounted in it moves along.
    fn check_gives_way(&self, own: &Dir, name: &[u8], stays: &Stays, path: &RootfsPath) -> Result<(), InPlaceError> {
        if stays.any(Holder::State) {
            return Err(InPlaceError::StateInTheWay { path: path.clone() });
        }
        let moves = moves::is_movable(own, name, self.full).map_err(failed("try to move", path))?;
        match moves || !stays.any(Holder::Mount) {
            true => Ok(()),
            false => Err(InPlaceError::MountInTheWay { path: path.clone() }),
        }
    }
}

/// What the image has at a path.
enum Counterpart {
    Nothing,
    Directory(Dir),
    Other,
}

impl Counterpart {
    fn of(image: &Dir, name: &[u8]) -> io::Result<Self> {
        Ok(match image.stat(name)? {
            None => Self::Nothing,
            Some(metadata) if metadata.is_dir() => Self::Directory(image.open_dir(name)?),
            Some(_) => Self::Other,
        })
    }
}

/// Every process finds something else there than what an image has; nobody expects its files.
fn is_of_kernel(path: &RootfsPath) -> bool {
    [b"proc".as_slice(), b"sys", b"dev"].contains(&path.as_bytes())
}
