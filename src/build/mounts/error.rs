//! Why a mount could not be made ready.

use std::io;
use std::path::PathBuf;

use crate::plan::Entitlement;

/// A mount of a RUN that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// Nobody handed in the secret.
    #[error("secret {id}: not found")]
    NoSecret {
        /// Its ID.
        id: String,
    },
    /// A variable cannot hold it.
    #[error("secret {id} holds a zero byte and cannot be a variable")]
    SecretNotText {
        /// Its ID.
        id: String,
    },
    /// Nobody handed in the agent.
    #[error("no SSH key {id:?} forwarded from the client")]
    NoAgent {
        /// Its ID.
        id: String,
    },
    /// The agent cannot be forwarded.
    #[error("forward the SSH agent {id:?}")]
    Agent {
        /// Its ID.
        id: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The part of a cache that is to be mounted.
    #[error("{path:?}: not found in the cache {id:?}")]
    CacheSource {
        /// As given.
        path: String,
        /// The cache's name.
        id: String,
        /// What the kernel said; a link that leads out is refused with `EXDEV`.
        #[source]
        source: io::Error,
    },
    /// A cache begins with a file.
    #[error("cache {id:?} cannot begin with {path:?}, which is no directory")]
    CacheOfFile {
        /// The cache's name.
        id: String,
        /// As given.
        path: String,
    },
    /// The machine has no such device.
    #[error("required device {name:?} is not registered")]
    NoDevice {
        /// As asked for.
        name: String,
    },
    /// The user has not allowed the device.
    #[error("--device={name} needs {}, which is not allowed", Entitlement::Device)]
    DeviceNotGranted {
        /// As asked for.
        name: String,
    },
    /// A file that describes devices is damaged.
    #[error("read the device specification {}", path.display())]
    DeviceSpec {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// A device node of a specification.
    #[error("device {name:?}: {node}")]
    DeviceNode {
        /// As asked for.
        name: String,
        /// Path of the node.
        node: String,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// A device node would be made in the image.
    #[error("device {name:?}: its node {node:?} does not lie below /dev")]
    DeviceOutsideDev {
        /// As asked for.
        name: String,
        /// Path of the node.
        node: String,
    },
    /// A directory or file for the mount cannot be made.
    #[error("prepare a mount of {path:?}")]
    Prepare {
        /// What is mounted.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl MountError {
    /// What to try.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NoSecret { id } => Some(format!(
                "hand it in with --secret=id={id},src=FILE or --secret=id={id},env=VARIABLE"
            )),
            Self::SecretNotText { .. } => Some("mount it as a file: leave env= out".to_owned()),
            Self::NoAgent { id } => Some(format!("hand it in with --ssh={id}, or --ssh={id}=SOCKET")),
            Self::CacheSource { .. } => {
                Some("source= is a directory inside the cache; a mount of the whole cache can make it first".to_owned())
            }
            Self::NoDevice { .. } => {
                Some("devices are described by CDI files (JSON) in /etc/cdi and /var/run/cdi".to_owned())
            }
            Self::DeviceNotGranted { .. } => Some(Entitlement::Device.remedy().to_owned()),
            Self::DeviceSpec { .. }
            | Self::DeviceNode { .. }
            | Self::DeviceOutsideDev { .. }
            | Self::Agent { .. }
            | Self::CacheOfFile { .. }
            | Self::Prepare { .. } => None,
        }
    }
}
