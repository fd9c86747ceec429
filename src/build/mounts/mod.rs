//! What `RUN --mount` asks for, made ready for one step: trees to bind, caches held, secrets, agents.
//!
//! Everything that a step holds for its mounts is in [`Prepared`] and is given back when that is dropped.

mod agent;
mod bind;
mod cache;
mod devices;
mod error;
mod volume;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent::Agent;
use cache::CachePart;
pub use error::MountError;

pub(crate) use bind::Views;

use super::error::BuildError;
use super::request::{BuildRequest, RunVolume};
use super::session::Session;
use crate::plan::{self, DeviceGrant, MountKind, RunStep, SecretMount, SshMount};
use crate::rootfs::Rootfs;
use crate::run::{DeviceNode, Mount, MountSource};
use crate::secret::SecretValue;
use crate::store::{CacheMount, CacheMounts};

/// What a build has for the mounts of its steps.
#[derive(Debug)]
pub(crate) struct Supplies {
    /// Values of secrets, by ID.
    pub(crate) secrets: BTreeMap<String, SecretValue>,
    /// Sockets of agents, by ID.
    pub(crate) ssh_agents: BTreeMap<String, PathBuf>,
    /// Which devices a step may have.
    pub(crate) device_grant: DeviceGrant,
    /// Where caches are.
    pub(crate) caches: CacheMounts,
    /// Parts of the context as mounts show them.
    pub(crate) views: Views,
    /// What every step sees of the machine.
    volumes: Vec<RunVolume>,
    /// What of the machine a step may miss.
    outside: Vec<PathBuf>,
}

impl Supplies {
    /// What `request` hands in.
    pub(crate) fn new(request: &BuildRequest, caches: CacheMounts) -> Self {
        Self {
            secrets: request.secrets.clone(),
            ssh_agents: request.ssh_agents.clone(),
            device_grant: request.grants.devices.clone(),
            caches,
            views: Views::default(),
            volumes: request.run_volumes.clone(),
            outside: volume::outside(request),
        }
    }

    /// What of the machine a failed step named and did not see: `texts` are its command and its last words.
    pub(crate) fn unseen(&self, rootfs: &Path, texts: &[String]) -> Option<PathBuf> {
        volume::unseen(&self.outside, &self.volumes, rootfs, texts)
    }
}

/// Something that a step would have liked to have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Absent {
    /// The secret of this ID.
    Secret(String),
    /// The SSH agent of this ID.
    Agent(String),
    /// A file or directory of the machine, which it names and does not see.
    Place(PathBuf),
}

impl Absent {
    /// What to try.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Secret(id) => format!(
                "the secret {id} that this RUN mounts was not handed in; if it is needed: --secret=id={id},src=FILE or \
                 --secret=id={id},env=VARIABLE"
            ),
            Self::Agent(id) => {
                format!("the SSH agent {id} that this RUN mounts was not handed in; if it is needed: --ssh={id}")
            }
            Self::Place(place) => {
                let place = place.display();
                format!(
                    "a RUN does not see {place} of this machine; if it is meant to, add --run-volume={place} (:ro behind it for \
                     reading only)"
                )
            }
        }
    }
}

/// The mounts of one step, ready to be made.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// In their order.
    pub(crate) mounts: Vec<Mount>,
    /// Variables that devices bring along.
    pub(crate) device_env: Vec<(OsString, OsString)>,
    /// Secrets that are variables.
    pub(crate) env: Vec<(OsString, SecretValue)>,
    /// In `/dev`.
    pub(crate) devices: Vec<DeviceNode>,
    /// What nobody handed in, and nobody insisted on.
    pub(crate) absent: Vec<Absent>,
    caches: BTreeMap<String, CacheMount>,
    /// Key and part of the cache that is mounted, by the index of the mount.
    cache_of_mount: BTreeMap<usize, (String, CachePart)>,
    agents: Vec<Agent>,
    /// Trees that are read; alive until the step has ended.
    trees: Vec<Arc<Rootfs>>,
    /// Made for this step alone.
    scratch: Vec<Arc<Rootfs>>,
}

impl Prepared {
    /// Makes ready what `step` mounts. Waits for caches that others have locked.
    pub(crate) fn of(step: &RunStep, session: &Session) -> Result<Self, BuildError> {
        let mut prepared = Self {
            mounts: volume::mounts(&session.supplies.volumes),
            ..Self::default()
        };
        prepared.hold_caches(step, session)?;
        for (index, mount) in step.mounts.iter().enumerate() {
            prepared.add(index, mount, session)?;
        }
        prepared.add_devices(&step.sandbox.devices, session)?;
        Ok(prepared)
    }

    /// Gives back what the step held.
    pub(crate) fn release(self, session: &Session) {
        for scratch in self.scratch {
            session.workspace().remove_in_background(scratch);
        }
    }

    fn add(&mut self, index: usize, mount: &plan::Mount, session: &Session) -> Result<(), BuildError> {
        let (source, read_only) = match &mount.kind {
            MountKind::Bind { from, source } => {
                let source = match mount.read_only {
                    true => self.shown(from, source, session)?,
                    false => self.scratched(from, source, session)?,
                };
                (source, mount.read_only)
            }
            MountKind::Cache(cache) => (self.cached(index, cache)?, mount.read_only),
            MountKind::Tmpfs { size } => (MountSource::Tmpfs { size: *size }, mount.read_only),
            MountKind::Secret(secret) => match self.secret(secret, session)? {
                Some(source) => (source, true),
                None => return Ok(()),
            },
            MountKind::Ssh(ssh) => match self.agent(ssh, session)? {
                Some(source) => (source, false),
                None => return Ok(()),
            },
        };
        if let Some(target) = &mount.target {
            self.mounts.push(Mount {
                target: target.into(),
                read_only,
                source,
            });
        }
        Ok(())
    }

    /// The file; `None` when there is no such secret and nobody insists.
    fn secret(&mut self, secret: &SecretMount, session: &Session) -> Result<Option<MountSource>, BuildError> {
        let value = session.supplies.secrets.get(&secret.id);
        if value.is_none() {
            let id = secret.id.clone();
            if secret.required {
                return Err(MountError::NoSecret { id }.into());
            }
            self.absent.push(Absent::Secret(id));
        }
        if let Some(name) = &secret.env {
            let value = value.cloned().unwrap_or_else(|| SecretValue::new(Vec::new()));
            if value.reveal().contains(&0) {
                let id = secret.id.clone();
                return Err(MountError::SecretNotText { id }.into());
            }
            self.env.push((name.into(), value));
        }
        let plan::Ownership { uid, gid, mode } = secret.ownership;
        Ok(value
            .cloned()
            .map(|value| MountSource::Secret { value, uid, gid, mode }))
    }

    fn agent(&mut self, ssh: &SshMount, session: &Session) -> Result<Option<MountSource>, BuildError> {
        let Some(socket) = session.supplies.ssh_agents.get(&ssh.id) else {
            let id = ssh.id.clone();
            if ssh.required {
                return Err(MountError::NoAgent { id }.into());
            }
            self.absent.push(Absent::Agent(id));
            return Ok(None);
        };
        let parent = session.workspace().subdirectory("agents")?;
        let agent = Agent::forward(socket, &parent, ssh.ownership).map_err(|source| MountError::Agent {
            id: ssh.id.clone(),
            source,
        })?;
        let source = agent.source();
        self.agents.push(agent);
        Ok(Some(source))
    }
}
