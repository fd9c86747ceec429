//! Isolation in place: a RUN in the container's own `/`, where nothing else will do.
//!
//! ```text
//! surroundings ─▶ stays ─┐
//! rootfs ────────────────┴─levels─▶ journal ─▶ swap: own entries ─▶ aside, the image's ─▶ /
//!                                               │  supervise ─▶ the command, all its orphans
//!                                               ◀─ swap back: the image's ─▶ rootfs, own ─▶ /
//! ```
//!
//! A container with its runtime's default seccomp profile may neither mount nor enter namespaces, and a chroot has no
//! `/proc`. So the entries of the rootfs are renamed into `/` for a RUN, and those of the container aside. They remain the
//! same files with the same inodes: a snapshot sees nothing but what the RUN did.
//!
//! Invariants: what is mounted is never renamed, removed or entered. Whatever happens, the container's own files come
//! back: by the builder, by the child that watches over the RUN when the builder is gone, or by the next build
//! ([`recover`]) when both are.

mod devices;
mod error;
mod levels;
mod look;
mod moves;
mod outside;
mod place;
mod stays;
mod supervise;
mod surroundings;
mod swap;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::FlockOperation;

pub use error::InPlaceError;

use super::namespaces::{FirstChild, command, converse, converse_or_end, outcome};
use super::placed::{Item, Placed};
use super::wire::{self, Report};
use super::{Abilities, Company, Exit, Isolation, Mount, MountSource, MountWay, Process, RunError, Stream};
use crate::cancel::Cancel;
use crate::plan::{Network, Security};
use crate::rootfs::Rootfs;
use crate::store::StateDir;
use crate::sys::credentials::{DEFAULT_CAPABILITIES, SETPCAP};
use crate::sys::{names, signals};
use devices::{Devices, Script};
use error::failed_at;
use outside::Outside;
use place::Place;
use stays::Stays;
use surroundings::Surroundings;
use swap::{Hiding, Swap};

pub(super) use supervise::main as supervise;

/// Runs every process in the `/` of the container that this is, one at a time.
#[derive(Debug)]
pub struct InPlace {
    binary: PathBuf,
    state_dir: PathBuf,
    force: bool,
    /// Held from the first look on: whoever else comes to the container waits.
    turn: Mutex<Option<File>>,
}

impl InPlace {
    /// Keeps what it moves aside in `state_dir`. With `force` it also does what may break others, or hides files of
    /// the image.
    #[must_use]
    pub fn new(state_dir: &Path, force: bool) -> Self {
        Self {
            binary: PathBuf::from("/proc/self/exe"),
            state_dir: state_dir.to_owned(),
            force,
            turn: Mutex::default(),
        }
    }

    /// Whether everything is as it must be.
    fn survey(&self) -> Result<(), InPlaceError> {
        if !rustix::process::geteuid().is_root() {
            return Err(InPlaceError::NotRoot);
        }
        Surroundings::look()?.check_is_container()?;
        if !self.force {
            surroundings::check_is_own_image(Path::new("/"))?;
        }
        let place = self.place()?;
        place.create()?;
        surroundings::check_filesystem(place.path().parent().unwrap_or(place.path()))?;
        try_rename(&place)
    }

    fn place(&self) -> Result<Place, InPlaceError> {
        let state = StateDir::open(&self.state_dir).map_err(|source| InPlaceError::State { source })?;
        Ok(Place::of(state.path()))
    }

    /// Takes the container's `/` for this build, and sees to it that no RUN finds anything in this process.
    fn take_turn(&self) -> Result<(), RunError> {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if turn.is_none() {
            *turn = Some(lock_root(FlockOperation::LockExclusive)?);
        }
        signals::refuse_tracing()?;
        names::use_hosts_and_dns();
        Ok(())
    }

    fn run_in(&self, process: &Process<'_>, talk: &Talk<'_>) -> Result<Exit, RunError> {
        let place = self.place()?;
        let rootfs = Rootfs::open(process.rootfs).map_err(|source| RunError::Rootfs {
            path: process.rootfs.to_owned(),
            source,
        })?;
        let stays = Surroundings::look()?.stays(place.path().parent().unwrap_or(place.path()));
        let hiding = match self.force {
            true => Hiding::Accepted,
            false => Hiding::Refused,
        };
        check_targets(process.mounts, &stays)?;
        let script = process.script.map(|(path, content)| Script::new(path, content));
        let mut items = process.mounts.iter().map(Item::of).collect::<Result<Vec<_>, _>>()?;
        items.extend(script.as_ref().map(Script::item));
        let devices = Devices::look()?;
        let request = supervise::Request {
            place: place.path().to_owned(),
            command: Some(command_of(process)),
        };
        let placed = Placed::place(&rootfs, &items, talk.cancel)?;
        let swap = Swap::begin(&place, rootfs.root(), &stays, hiding)?;
        if let Some(script) = &script {
            script.link()?;
        }
        let outside = Outside::note(&place, rootfs.root())?;
        let heard = (talk.output, talk.cancel);
        // A RUN may kill who watches over it.
        let end_rest = || place.end_session();
        let report = converse_or_end(&self.binary, FirstChild::Supervise, &request, heard, end_rest);
        let changed = outside.first_change();
        swap.end()?;
        devices.clean()?;
        placed.take_out(talk.cancel)?;
        let exit = outcome(report?, Some(process))?;
        match changed? {
            Some(path) if exit.success() => Err(InPlaceError::Outside { path }.into()),
            _ => Ok(exit),
        }
    }
}

fn command_of(process: &Process<'_>) -> wire::Command {
    let mut command = command(process);
    if process.sandbox.security == Security::Sandbox {
        command.capabilities = CAPABILITIES;
    }
    command
}

/// Refuses what could not be seen: it would lie in something that the container has mounted.
fn check_targets(mounts: &[Mount], stays: &Stays) -> Result<(), InPlaceError> {
    match mounts
        .iter()
        .map(|mount| Path::new(&mount.target))
        .find(|target| stays.cover(target))
    {
        Some(target) => Err(InPlaceError::Covered {
            path: target.to_owned(),
        }),
        None => Ok(()),
    }
}

/// Who hears what the process says, and who stops it.
struct Talk<'a> {
    output: &'a (dyn Fn(Stream, &[u8]) + Sync),
    cancel: &'a Cancel,
}

/// Docker's but for one that next to nobody needs: who has less than others cannot look into their environment, memory
/// or files, even with the same user. And who has just these was started by a RUN.
const CAPABILITIES: u64 = DEFAULT_CAPABILITIES & !SETPCAP;

impl Isolation for InPlace {
    fn name(&self) -> &'static str {
        "in-place"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            company: Company::Alone,
            mounts: MountWay::Copied,
        }
    }

    fn probe(&self) -> Result<(), RunError> {
        self.survey()?;
        let request = supervise::Request {
            place: self.state_dir.clone(),
            command: None,
        };
        let (quiet, cancel) = (|_, _: &[u8]| (), Cancel::default());
        match converse(&self.binary, FirstChild::Supervise, &request, &quiet, &cancel)? {
            Report::Ready => self.take_turn(),
            report => outcome(report, None).map(drop),
        }
    }

    fn remedy(&self, refused: &RunError) -> String {
        match refused {
            RunError::InPlace(error) => error.hint().unwrap_or_else(|| error::REMEDY.to_owned()),
            _ => error::REMEDY.to_owned(),
        }
    }

    fn can_mount(&self, source: &MountSource) -> bool {
        !matches!(source, MountSource::Overlay { .. })
    }

    fn run(
        &self,
        process: &Process<'_>,
        output: &(dyn Fn(Stream, &[u8]) + Sync),
        cancel: &Cancel,
    ) -> Result<Exit, RunError> {
        cancel.check()?;
        if process.argv.is_empty() {
            return Err(RunError::NoProgram);
        }
        check_possible(process)?;
        self.take_turn()?;
        self.run_in(process, &Talk { output, cancel })
    }
}

/// Refuses what takes a namespace, instead of running without it.
fn check_possible(process: &Process<'_>) -> Result<(), InPlaceError> {
    let sandbox = process.sandbox;
    let asked = [
        (sandbox.network == Network::None, "a RUN without network"),
        (sandbox.hostname.is_some(), "a host name of its own"),
        (!sandbox.hosts.is_empty(), "a hosts file of its own"),
        (sandbox.shm_size.is_some(), "a /dev/shm of its own"),
        (!process.devices.is_empty(), "a device of its own"),
    ];
    match asked.into_iter().find(|(is_asked, _)| *is_asked) {
        Some((_, what)) => Err(InPlaceError::Impossible(what)),
        None => Ok(()),
    }
}

/// Renames a directory into `/` and back.
fn try_rename(place: &Place) -> Result<(), InPlaceError> {
    const NAME: &str = ".rbuild-probe";
    let (own, there) = (place.path().join(NAME), Path::new("/").join(NAME));
    match fs::create_dir(&own) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(failed_at("create", &own))?,
    }
    fs::rename(&own, &there).map_err(failed_at("rename a directory to", &there))?;
    fs::remove_dir(&there).map_err(failed_at("remove", &there))
}

/// A lock on the container's `/`, which is the same for everybody in it.
fn lock_root(how: FlockOperation) -> Result<File, InPlaceError> {
    let root = File::open("/").map_err(failed_at("open", "/"))?;
    let locked = rustix::fs::flock(&root, how);
    locked.map_err(io::Error::from).map_err(failed_at("lock", "/"))?;
    Ok(root)
}

/// What a build does before it looks at any file of a container.
///
/// Waits for a build that works in place, after calling `waiting`. Then puts back what a killed one moved aside, with
/// its state in one of `state_dirs`. Whether there was any.
///
/// # Errors
/// [`InPlaceError::NotRecovered`].
pub fn recover(state_dirs: &[&Path], waiting: impl FnOnce()) -> Result<bool, InPlaceError> {
    let places: Vec<Place> = state_dirs
        .iter()
        .map(|state| Place::of(state))
        .filter(Place::exists)
        .collect();
    if places.is_empty() {
        return Ok(false);
    }
    if lock_root(FlockOperation::NonBlockingLockShared).is_err() {
        waiting();
        lock_root(FlockOperation::LockShared)?;
    }
    let mut found = false;
    for place in places {
        let recovered = place.recover();
        found |= recovered.map_err(|error| InPlaceError::NotRecovered(Box::new(error)))?;
    }
    Ok(found)
}
