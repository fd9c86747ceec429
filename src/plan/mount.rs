//! `RUN --mount`: its fields expanded and checked, which is when the stage is planned and not before.
//!
//! Fields count in the order in which they stand: `required` and `size` are judged by the type seen so far.

use super::copy::resolve_path;
use super::size::parse_size;
use super::{CopyFrom, PlanProblem};
use crate::dockerfile::{self, Hint, MountField, Word, closest};

/// One `--mount`, ready to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// Absolute and clean, never `/`; `None` for a secret that is only a variable.
    pub target: Option<String>,
    /// The target as given, after expansion.
    pub written_target: String,
    /// Whether the process may not write to it.
    pub read_only: bool,
    /// What is there.
    pub kind: MountKind,
}

/// What a mount shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MountKind {
    /// A file or directory of another tree. What is written to it is thrown away.
    Bind {
        /// The tree.
        from: CopyFrom,
        /// The path in it.
        source: String,
    },
    /// A directory that outlives the build.
    Cache(CacheMount),
    /// An empty directory in memory.
    Tmpfs {
        /// How many bytes it may hold; `None` is the kernel's default.
        size: Option<u64>,
    },
    /// A file, a variable or both, with a value that nothing but the process sees.
    Secret(SecretMount),
    /// A socket of an SSH agent.
    Ssh(SshMount),
}

/// `type=cache`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CacheMount {
    /// Names the directory, together with [`Self::from`] and [`Self::ownership`].
    pub id: String,
    /// What it holds at first.
    pub from: CopyFrom,
    /// The directory within it that is mounted.
    pub source: String,
    /// What happens when two steps want it at once.
    pub sharing: Sharing,
    /// Of a new directory, when any of uid, gid and mode is given.
    pub ownership: Option<Ownership>,
}

/// `sharing=`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Sharing {
    /// All use the same directory.
    #[default]
    Shared,
    /// Whoever finds it in use gets another one.
    Private,
    /// Whoever finds it in use waits.
    Locked,
}

/// `type=secret`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecretMount {
    /// The secret's name.
    pub id: String,
    /// The variable that gets its value.
    pub env: Option<String>,
    /// Whether the step fails without it.
    pub required: bool,
    /// Of the file.
    pub ownership: Ownership,
}

/// `type=ssh`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SshMount {
    /// The agent's name.
    pub id: String,
    /// Whether the step fails without it.
    pub required: bool,
    /// Of the socket.
    pub ownership: Ownership,
}

/// Owner and permissions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ownership {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// What is wrong with a `--mount`. The wording is BuildKit's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MountProblem {
    /// `type=` of something else.
    #[error("unsupported mount type {0:?}")]
    Type(String),
    /// A key that no mount has.
    #[error("unexpected key '{key}' in '{field}'")]
    Key {
        /// In lower case.
        key: String,
        /// As written.
        field: String,
    },
    /// A key that the type seen so far does not have.
    #[error("unexpected key '{key}' for mount type '{mount_type}'")]
    KeyForType {
        /// In lower case.
        key: String,
        /// As far as known.
        mount_type: &'static str,
    },
    /// A key without the value it needs.
    #[error("invalid field '{0}' must be a key=value pair")]
    NoValue(String),
    /// A value that its key cannot take.
    #[error("invalid value for {key}: {value}")]
    Value {
        /// In lower case.
        key: String,
        /// After expansion.
        value: String,
    },
    /// `mode`, `uid` or `gid` that is no number.
    #[error("invalid value {value} for {key}")]
    Number {
        /// In lower case.
        key: &'static str,
        /// After expansion.
        value: String,
    },
    /// `sharing=` of something else.
    #[error("unsupported sharing value {0:?}")]
    Sharing(String),
    /// `sharing=` where nothing is shared.
    #[error("invalid cache sharing set for {0} mount")]
    SharingForType(&'static str),
    /// `mode`, `uid` or `gid` of what has its own.
    #[error("{key} not allowed for {mount_type:?} type mounts")]
    OwnershipForType {
        /// Which.
        key: &'static str,
        /// Of which type.
        mount_type: &'static str,
    },
    /// A secret of a stage.
    #[error("secret mount should not have a from")]
    SecretFrom,
    /// A secret without a name.
    #[error("invalid secret mount. one of source, target required")]
    SecretName,
    /// A secret with two names.
    #[error("both source and id can't be set")]
    SecretNames,
    /// An agent with a source.
    #[error("ssh does not support source")]
    SshSource,
    /// The root itself.
    #[error("invalid mount target \"/\"")]
    Target,
}

impl MountProblem {
    /// What was probably meant.
    pub(super) fn hint(&self) -> Option<Hint> {
        match self {
            Self::Type(value) => closest(value, TYPES.map(Type::name)),
            Self::Key { key, .. } => closest(key, KEYS),
            Self::Sharing(value) => closest(value, SHARINGS.map(|(name, _)| name)),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Type {
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

const TYPES: [Type; 5] = [Type::Bind, Type::Cache, Type::Tmpfs, Type::Secret, Type::Ssh];

const SHARINGS: [(&str, Sharing); 3] = [
    ("shared", Sharing::Shared),
    ("private", Sharing::Private),
    ("locked", Sharing::Locked),
];

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

impl Type {
    const fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Tmpfs => "tmpfs",
            Self::Secret => "secret",
            Self::Ssh => "ssh",
        }
    }
}

/// What a mount's surroundings say about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings<'a> {
    /// The working directory.
    pub(crate) cwd: &'a str,
    /// What stands before the name of every cache.
    pub(crate) cache_namespace: &'a str,
    /// The tree that `from=` names.
    pub(crate) from: Option<&'a CopyFrom>,
    /// How many SSH mounts of the same RUN come before this one.
    pub(crate) ssh_before: usize,
}

impl Mount {
    /// The tree it reads.
    #[must_use]
    pub const fn reads(&self) -> Option<&CopyFrom> {
        match &self.kind {
            MountKind::Bind { from, .. } | MountKind::Cache(CacheMount { from, .. }) => Some(from),
            MountKind::Tmpfs { .. } | MountKind::Secret(_) | MountKind::Ssh(_) => None,
        }
    }

    pub(super) const fn reads_mut(&mut self) -> Option<&mut CopyFrom> {
        match &mut self.kind {
            MountKind::Bind { from, .. } | MountKind::Cache(CacheMount { from, .. }) => Some(from),
            MountKind::Tmpfs { .. } | MountKind::Secret(_) | MountKind::Ssh(_) => None,
        }
    }

    /// Expands and checks one mount.
    pub(crate) fn plan(
        written: &dockerfile::Mount,
        around: Surroundings<'_>,
        expand: impl Fn(&Word) -> Result<String, PlanProblem>,
    ) -> Result<Self, PlanProblem> {
        let mut fields = Fields::default();
        for field in &written.fields {
            fields.take(field, &expand)?;
        }
        fields.check()?;
        Ok(fields.into_mount(around)?)
    }
}

/// Sorts mounts so that what lies above another comes first; those of one depth keep their order.
pub(super) fn sort(mounts: &mut [Mount]) {
    let depth = |mount: &Mount| {
        let target = mount.target.as_deref().unwrap_or_default();
        target.split('/').filter(|part| !part.is_empty()).count()
    };
    mounts.sort_by_key(depth);
}

/// What the fields say, one by one.
#[derive(Default)]
struct Fields {
    mount_type: Option<Type>,
    source: String,
    target: String,
    has_from: bool,
    read_only: Option<bool>,
    id: String,
    sharing: Option<Sharing>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    size: Option<u64>,
    required: bool,
    env: Option<String>,
}

impl Fields {
    fn mount_type(&self) -> Type {
        self.mount_type.unwrap_or(Type::Bind)
    }

    fn take(
        &mut self,
        field: &MountField,
        expand: impl Fn(&Word) -> Result<String, PlanProblem>,
    ) -> Result<(), PlanProblem> {
        let key = field.key.as_str();
        let Some(word) = &field.value else {
            return Ok(self.take_key(key)?);
        };
        let value = match key {
            "from" => word.as_written().to_owned(),
            _ => expand(word)?,
        };
        let invalid = || MountProblem::Value {
            key: key.to_owned(),
            value: value.clone(),
        };
        match key {
            "type" => self.mount_type = Some(parse_type(&value)?),
            "from" => self.has_from = !value.is_empty(),
            "source" | "src" => self.source = value,
            "target" | "dst" | "destination" => self.target = value,
            "readonly" | "ro" => self.read_only = Some(parse_bool(&value).ok_or_else(invalid)?),
            "readwrite" | "rw" => self.read_only = Some(!parse_bool(&value).ok_or_else(invalid)?),
            "required" => {
                self.allow(key, &[Type::Secret, Type::Ssh])?;
                self.required = parse_bool(&value).ok_or_else(invalid)?;
            }
            "size" => {
                self.allow(key, &[Type::Tmpfs])?;
                self.size = Some(parse_size(&value).ok_or_else(invalid)?);
            }
            "id" => self.id = value,
            "sharing" => self.sharing = Some(parse_sharing(&value)?),
            "mode" => self.mode = Some(parse_number("mode", &value, 8)?),
            "uid" => self.uid = Some(parse_number("uid", &value, 10)?),
            "gid" => self.gid = Some(parse_number("gid", &value, 10)?),
            "env" => self.env = Some(value),
            _ => {
                let field = format!("{key}={}", word.as_written());
                let key = key.to_owned();
                return Err(MountProblem::Key { key, field }.into());
            }
        }
        Ok(())
    }

    /// A key that stands alone.
    fn take_key(&mut self, key: &str) -> Result<(), MountProblem> {
        match key {
            "readonly" | "ro" => self.read_only = Some(true),
            "readwrite" | "rw" => self.read_only = Some(false),
            "required" => {
                self.allow(key, &[Type::Secret, Type::Ssh])?;
                self.required = true;
            }
            _ => return Err(MountProblem::NoValue(key.to_owned())),
        }
        Ok(())
    }

    fn allow(&self, key: &str, types: &[Type]) -> Result<(), MountProblem> {
        if types.contains(&self.mount_type()) {
            return Ok(());
        }
        Err(MountProblem::KeyForType {
            key: key.to_owned(),
            mount_type: self.mount_type().name(),
        })
    }

    /// What can only be judged when all fields are known.
    fn check(&self) -> Result<(), MountProblem> {
        let mount_type = self.mount_type();
        if matches!(mount_type, Type::Bind | Type::Tmpfs) {
            for (key, value) in [("mode", self.mode), ("uid", self.uid), ("gid", self.gid)] {
                if value.is_some() {
                    let mount_type = mount_type.name();
                    return Err(MountProblem::OwnershipForType { key, mount_type });
                }
            }
        }
        if self.sharing.is_some() && mount_type != Type::Cache {
            return Err(MountProblem::SharingForType(mount_type.name()));
        }
        match mount_type {
            Type::Secret if self.has_from => Err(MountProblem::SecretFrom),
            Type::Secret if self.source.is_empty() && self.target.is_empty() && self.id.is_empty() => {
                Err(MountProblem::SecretName)
            }
            Type::Secret if !self.source.is_empty() && !self.id.is_empty() => Err(MountProblem::SecretNames),
            Type::Ssh if !self.source.is_empty() => Err(MountProblem::SshSource),
            _ => Ok(()),
        }
    }

    fn into_mount(self, around: Surroundings<'_>) -> Result<Mount, MountProblem> {
        let mount_type = self.mount_type();
        let default_read_only = !matches!(mount_type, Type::Cache | Type::Tmpfs);
        Ok(Mount {
            target: self.absolute_target(around)?,
            read_only: self.read_only.unwrap_or(default_read_only),
            written_target: self.target.clone(),
            kind: match mount_type {
                Type::Bind => MountKind::Bind {
                    from: around.from.cloned().unwrap_or(CopyFrom::Context),
                    source: resolve_path("/", &self.source),
                },
                Type::Cache => MountKind::Cache(self.cache(around)),
                Type::Tmpfs => MountKind::Tmpfs {
                    size: self.size.filter(|size| *size > 0),
                },
                Type::Secret => MountKind::Secret(SecretMount {
                    id: self.secret_id(),
                    required: self.required,
                    ownership: self.ownership(0o400),
                    env: self.env,
                }),
                Type::Ssh => MountKind::Ssh(SshMount {
                    required: self.required,
                    ownership: self.ownership(0o600),
                    id: if self.id.is_empty() {
                        "default".to_owned()
                    } else {
                        self.id
                    },
                }),
            },
        })
    }

    /// Where it goes. A secret without a target has a place of its own, unless it is a variable.
    fn absolute_target(&self, around: Surroundings<'_>) -> Result<Option<String>, MountProblem> {
        let target = match self.mount_type() {
            Type::Secret if self.target.is_empty() && self.env.is_some() => return Ok(None),
            Type::Secret if self.target.is_empty() => format!("/run/secrets/{}", base_name(&self.secret_id())),
            Type::Ssh if self.target.is_empty() => format!("/run/buildkit/ssh_agent.{}", around.ssh_before),
            _ => resolve_path(around.cwd, &self.target),
        };
        match target.as_str() {
            "/" => Err(MountProblem::Target),
            _ => Ok(Some(target)),
        }
    }

    fn secret_id(&self) -> String {
        let named = [&self.source, &self.id].into_iter().find(|name| !name.is_empty());
        named.cloned().unwrap_or_else(|| base_name(&self.target).to_owned())
    }

    fn cache(&self, around: Surroundings<'_>) -> CacheMount {
        let id = match self.id.as_str() {
            "" => clean(&self.target),
            id => id.to_owned(),
        };
        let source = resolve_path("/", &self.source);
        let is_owned = self.uid.or(self.gid).or(self.mode).is_some();
        let ownership = (source == "/" && is_owned).then(|| self.ownership(0o755));
        CacheMount {
            id: format!("{}/{id}", around.cache_namespace),
            // With an owner of its own the directory is a new one, whatever `from` says.
            from: around.from.cloned().unwrap_or(CopyFrom::Scratch),
            source,
            sharing: self.sharing.unwrap_or_default(),
            ownership,
        }
    }

    fn ownership(&self, mode: u32) -> Ownership {
        Ownership {
            uid: self.uid.unwrap_or(0),
            gid: self.gid.unwrap_or(0),
            mode: self.mode.unwrap_or(mode) & 0o7777,
        }
    }
}

fn parse_type(value: &str) -> Result<Type, MountProblem> {
    let lower = value.to_lowercase();
    let known = TYPES.into_iter().find(|mount_type| mount_type.name() == lower);
    known.ok_or_else(|| MountProblem::Type(value.to_owned()))
}

fn parse_sharing(value: &str) -> Result<Sharing, MountProblem> {
    let lower = value.to_lowercase();
    let known = SHARINGS.into_iter().find(|(name, _)| *name == lower);
    known
        .map(|(_, sharing)| sharing)
        .ok_or_else(|| MountProblem::Sharing(value.to_owned()))
}

/// Go's booleans.
pub(super) fn parse_bool(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

fn parse_number(key: &'static str, value: &str, radix: u32) -> Result<u32, MountProblem> {
    // Rust would take a sign.
    let digits = Some(value).filter(|value| value.chars().all(|c| c.is_digit(radix)));
    digits
        .and_then(|digits| u32::from_str_radix(digits, radix).ok())
        .ok_or_else(|| MountProblem::Number {
            key,
            value: value.to_owned(),
        })
}

/// The last component.
fn base_name(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    trimmed.rsplit('/').next().unwrap_or(trimmed)
}

/// Removes `.`, `..` and empty components, but stays relative if it was.
fn clean(path: &str) -> String {
    if path.starts_with('/') {
        return resolve_path("/", path);
    }
    let mut components: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." if components.last().is_some_and(|last| *last != "..") => drop(components.pop()),
            component => components.push(component),
        }
    }
    match components.is_empty() {
        true => ".".to_owned(),
        false => components.join("/"),
    }
}
