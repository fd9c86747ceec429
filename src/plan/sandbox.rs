//! What surrounds a RUN besides files: network, privileges, names, limits. Part of it needs a grant.

use std::net::IpAddr;

use super::{Device, PlanProblem};
use crate::dockerfile::{Network, Security};

/// The surroundings of one RUN; as an option of the build, what every RUN starts from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sandbox {
    /// What network it sees.
    pub network: Network,
    /// What it may do.
    pub security: Security,
    /// Its host name, unless it is the usual one.
    pub hostname: Option<String>,
    /// More lines for `/etc/hosts`: name and address.
    pub hosts: Vec<(String, IpAddr)>,
    /// Limits of resources.
    pub ulimits: Vec<Ulimit>,
    /// Bytes that `/dev/shm` may hold.
    pub shm_size: Option<u64>,
    /// Devices it gets.
    pub devices: Vec<Device>,
}

/// `--ulimit name=soft[:hard]`.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Ulimit {
    /// `nofile` for instance.
    pub name: UlimitName,
    /// `None` is unlimited.
    pub soft: Option<u64>,
    /// `None` is unlimited.
    pub hard: Option<u64>,
}

/// The limits that Linux has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[expect(missing_docs, reason = "the names are those of setrlimit(2)")]
pub enum UlimitName {
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

impl UlimitName {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Core,
        Self::Cpu,
        Self::Data,
        Self::Fsize,
        Self::Locks,
        Self::Memlock,
        Self::Msgqueue,
        Self::Nice,
        Self::Nofile,
        Self::Nproc,
        Self::Rss,
        Self::Rtprio,
        Self::Rttime,
        Self::Sigpending,
        Self::Stack,
    ];

    /// The name as Docker writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Cpu => "cpu",
            Self::Data => "data",
            Self::Fsize => "fsize",
            Self::Locks => "locks",
            Self::Memlock => "memlock",
            Self::Msgqueue => "msgqueue",
            Self::Nice => "nice",
            Self::Nofile => "nofile",
            Self::Nproc => "nproc",
            Self::Rss => "rss",
            Self::Rtprio => "rtprio",
            Self::Rttime => "rttime",
            Self::Sigpending => "sigpending",
            Self::Stack => "stack",
        }
    }
}

/// What a RUN may only have when the user says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entitlement {
    /// The machine's network.
    NetworkHost,
    /// All privileges.
    SecurityInsecure,
    /// Devices.
    Device,
}

impl Entitlement {
    /// What to try when it is not granted.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::NetworkHost => "allow it with --allow=network.host",
            Self::SecurityInsecure => "allow it with --allow=security.insecure",
            Self::Device => "allow it with --allow=device, or --allow=device=NAME for this one",
        }
    }
}

impl std::fmt::Display for Entitlement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NetworkHost => "network.host",
            Self::SecurityInsecure => "security.insecure",
            Self::Device => "device",
        })
    }
}

/// What the user lets a RUN have that it asks for (`--allow`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Grants {
    /// `network.host`.
    pub network_host: bool,
    /// `security.insecure`.
    pub security_insecure: bool,
    /// `device`.
    pub devices: DeviceGrant,
}

impl DeviceGrant {
    /// Whether it covers `device`.
    #[must_use]
    pub fn covers(&self, device: &Device) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Named(names) => names.iter().any(|name| device.is_granted_by(name)),
        }
    }
}

/// Which devices are granted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum DeviceGrant {
    /// None.
    #[default]
    None,
    /// Those that these names stand for.
    Named(Vec<String>),
    /// All.
    All,
}

impl Sandbox {
    /// Whether the user lets the step have it. Devices are judged when the machine's are known.
    pub(super) fn check(&self, asked: Network, grants: &Grants) -> Result<(), PlanProblem> {
        let ungranted = |flag: String, entitlement| Err(PlanProblem::NotGranted { flag, entitlement });
        if asked == Network::Host && !grants.network_host {
            return ungranted("--network=host".to_owned(), Entitlement::NetworkHost);
        }
        if self.security == Security::Insecure && !grants.security_insecure {
            return ungranted("--security=insecure".to_owned(), Entitlement::SecurityInsecure);
        }
        Ok(())
    }
}
