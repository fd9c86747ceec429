//! Isolation by chroot alone, for containers that may do nothing else: on request, or where everything better is refused.
//!
//! Nothing is mounted, so there is no `/proc` and no `/sys`, the devices are made with mknod, and what a RUN mounts is put
//! into the rootfs before it and taken out after it. No namespace is entered: processes see the network, the host name
//! and the process numbers of the container. What they leave running is ended by the child that waits for them.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

use super::enter::Entry;
use super::mounts::{DEVICES, HOSTS, LINKS, RESOLV_CONF};
use super::namespaces::{FirstChild, converse, outcome, probe_request, request};
use super::placed::{Item, PlaceError, Placed, Thing};
use super::wire::{Report, Root};
use super::{
    Abilities, Company, DeviceNode, Exit, Isolation, MountSource, MountWay, Process, RunError, Stream, remedy,
};
use crate::cancel::Cancel;
use crate::plan::Network;
use crate::rootfs::Rootfs;
use crate::store::{StateDir, StoreError};
use crate::sys::credentials::SYS_CHROOT;

/// What takes a namespace.
const NAMESPACES: &str =
    "use --isolation=namespaces, which a container allows with securityContext.seccompProfile.type: Unconfined";

/// What stands in the way of a chroot.
#[derive(Debug, thiserror::Error)]
pub enum ChrootError {
    /// Something that only a namespace can give.
    #[error("isolation \"chroot\" cannot give {0}")]
    Impossible(&'static str),
    /// The state directory cannot be used.
    #[error("open the state directory")]
    State(#[source] StoreError),
    /// A directory for the probe.
    #[error("make a directory in {}", path.display())]
    Directory {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The device was made but is none.
    #[error("use {}: the state directory is on a filesystem that has no devices (nodev)", path.display())]
    NoDevices {
        /// The device.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ChrootError {
    /// What to try.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Impossible(_) => Some(NAMESPACES),
            Self::NoDevices { .. } => Some("name a directory on another filesystem: --store=/DIRECTORY"),
            Self::State(_) | Self::Directory { .. } => None,
        }
    }
}

/// Runs every process in the rootfs and in no namespace.
#[derive(Debug)]
pub struct Chroot {
    binary: PathBuf,
    state_dir: PathBuf,
}

impl Chroot {
    /// Tries it in `state_dir`, where every rootfs is.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self {
            binary: PathBuf::from("/proc/self/exe"),
            state_dir: state_dir.to_owned(),
        }
    }

    /// The same, but starts the children from `binary`.
    #[must_use]
    pub fn with_binary(self, binary: PathBuf) -> Self {
        Self { binary, ..self }
    }

    fn try_in(&self, directory: &Path) -> Result<(), RunError> {
        let failed = |source| ChrootError::Directory {
            path: directory.to_owned(),
            source,
        };
        let rootfs = Rootfs::create(&directory.join("rootfs")).map_err(failed)?;
        let devices = devices();
        let cancel = Cancel::default();
        let placed = Placed::place(&rootfs, &system_items(&devices), &cancel)?;
        let null = rootfs.host_path().join("dev/null");
        let opened = OpenOptions::new().write(true).open(&null);
        opened.map_err(|source| ChrootError::NoDevices { path: null, source })?;
        let request = probe_request(Root::Prepared(rootfs.host_path().into()));
        let report = converse(
            &self.binary,
            FirstChild::Enter(Entry::Nothing),
            &request,
            &|_, _| (),
            &cancel,
        )?;
        placed.take_out(&cancel)?;
        match report {
            Report::Ready => Ok(()),
            report => outcome(report, None).map(drop),
        }
    }
}

impl Isolation for Chroot {
    fn name(&self) -> &'static str {
        "chroot"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            company: Company::Several,
            mounts: MountWay::Copied,
        }
    }

    fn probe(&self) -> Result<(), RunError> {
        let state = StateDir::open(&self.state_dir).map_err(ChrootError::State)?;
        let directory = tempfile::tempdir_in(state.path()).map_err(|source| ChrootError::Directory {
            path: state.path().to_owned(),
            source,
        })?;
        self.try_in(directory.path())
    }

    fn remedy(&self, refused: &RunError) -> String {
        let own = match refused {
            RunError::Chroot(error) => error.hint().map(str::to_owned),
            _ => None,
        };
        own.unwrap_or_else(remedy::of_chroot)
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
        let rootfs = Rootfs::open(process.rootfs).map_err(|source| RunError::Rootfs {
            path: process.rootfs.to_owned(),
            source,
        })?;
        let mut request = request(process, Root::Prepared(process.rootfs.into()));
        if let Some(command) = &mut request.command {
            // With it a root leaves its chroot.
            command.capabilities &= !SYS_CHROOT;
        }
        let devices = devices();
        let mut items = system_items(&devices);
        items.extend(process.devices.iter().map(|device| Item {
            path: Path::new(&device.path),
            thing: Thing::Device(device),
        }));
        let script = process.script.map(|(path, content)| file(path, content, 0o755));
        let resolv_conf = request.resolv_conf.as_deref();
        let resolv_conf = resolv_conf.map(|content| file(Path::new(RESOLV_CONF), content, 0o644));
        let hosts = request.hosts.as_deref();
        let hosts = hosts.map(|content| file(Path::new(HOSTS), content, 0o644));
        items.extend([script, resolv_conf, hosts].into_iter().flatten());
        let mounts = process.mounts.iter().map(Item::of);
        items.extend(mounts.collect::<Result<Vec<_>, PlaceError>>()?);
        let placed = Placed::place(&rootfs, &items, cancel)?;
        // What was placed is taken out and a cache kept, however the process ends.
        let report = converse(
            &self.binary,
            FirstChild::Enter(Entry::Nothing),
            &request,
            output,
            cancel,
        );
        placed.take_out(&Cancel::default())?;
        outcome(report?, Some(process))
    }
}

/// Refuses what takes a namespace, instead of running without it.
fn check_possible(process: &Process<'_>) -> Result<(), ChrootError> {
    let sandbox = process.sandbox;
    let asked = [
        (sandbox.network == Network::None, "a RUN without network"),
        (sandbox.hostname.is_some(), "a host name of its own"),
        (sandbox.shm_size.is_some(), "a /dev/shm of its own size"),
    ];
    match asked.into_iter().find(|(is_asked, _)| *is_asked) {
        Some((_, what)) => Err(ChrootError::Impossible(what)),
        None => Ok(()),
    }
}

/// The devices that every program may expect.
fn devices() -> Vec<DeviceNode> {
    let node = |device: &super::mounts::Device| DeviceNode {
        path: OsString::from(device.path),
        is_block: false,
        number: (device.major, device.minor),
        mode: 0o666,
        owner: (0, 0),
    };
    DEVICES.iter().map(node).collect()
}

/// What stands where the kernel's filesystems would be mounted: what the process writes there is not the image's.
fn system_items(devices: &[DeviceNode]) -> Vec<Item<'_>> {
    let directory = |path: &'static str, mode| Item {
        path: Path::new(path),
        thing: Thing::Directory { mode },
    };
    let links = LINKS.iter().map(|(path, target)| Item {
        path: Path::new(path),
        thing: Thing::Symlink {
            target: OsStr::new(target),
        },
    });
    let nodes = devices.iter().map(|device| Item {
        path: Path::new(&device.path),
        thing: Thing::Device(device),
    });
    [
        directory("/proc", 0o555),
        directory("/sys", 0o555),
        directory("/dev", 0o755),
    ]
    .into_iter()
    .chain(nodes)
    .chain(links)
    .chain([directory("/dev/pts", 0o755), directory("/dev/shm", 0o1777)])
    .collect()
}

const fn file<'a>(path: &'a Path, content: &'a [u8], mode: u32) -> Item<'a> {
    Item {
        path,
        thing: Thing::File {
            content,
            owner: (0, 0),
            mode,
        },
    }
}
