//! A plan for people to read.

use std::fmt;

use super::{
    Archives, Base, CopyFrom, CopySource, CopyStep, Mount, MountKind, Network, Onto, Ownership, Plan, PlannedStage,
    PlannedStep, RunStep, Sandbox, Security, Step,
};
use crate::copy::Parents;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, stage) in self.stages.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            stage.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for PlannedStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stage {}", self.id)?;
        if let Some(name) = &self.name {
            write!(f, " {name:?}")?;
        }
        match &self.base {
            Base::Scratch => writeln!(f, " from scratch for {}", self.platform)?,
            Base::Stage(id) => writeln!(f, " from stage {id} for {}", self.platform)?,
            Base::Image(image) => writeln!(f, " from {image}")?,
        }
        self.steps.iter().try_for_each(|step| write!(f, "{step}"))
    }
}

impl fmt::Display for PlannedStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.excerpt.span().first;
        match &self.step {
            Step::Metadata => return writeln!(f, "  {line:>3}: {}", self.text),
            Step::Run(_) | Step::Copy(_) | Step::Workdir(_) => {
                writeln!(f, "  {line:>3}: {} [{}]", self.text, self.id.digest().short())?;
            }
        }
        match &self.step {
            Step::Metadata => Ok(()),
            Step::Run(run) => run.fmt(f),
            Step::Copy(copy) => copy.fmt(f),
            Step::Workdir(workdir) => {
                write!(f, "       create {:?}", workdir.path)?;
                match &workdir.owner {
                    Some(owner) => writeln!(f, " owned by {owner}"),
                    None => writeln!(f),
                }
            }
        }
    }
}

impl fmt::Display for RunStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "       run {:?} in {:?}", self.argv, self.cwd)?;
        match &self.user {
            Some(user) => writeln!(f, " as {user}")?,
            None => writeln!(f)?,
        }
        for entry in &self.env {
            writeln!(f, "       env {entry:?}")?;
        }
        for entry in &self.proxy_env {
            writeln!(f, "       proxy {entry:?}")?;
        }
        if let Some(script) = &self.script {
            writeln!(f, "       script {:?} {:?}", script.path, script.content)?;
        }
        for mount in &self.mounts {
            writeln!(f, "       mount {mount}")?;
        }
        match self.sandbox == Sandbox::default() {
            true => Ok(()),
            false => writeln!(f, "       with {}", self.sandbox),
        }
    }
}

impl fmt::Display for CopyFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Context => write!(f, "the context"),
            Self::Scratch => write!(f, "scratch"),
            Self::Stage(id) => write!(f, "stage {id}"),
            Self::Tree(tree) => write!(f, "the context {} ({})", tree.name, tree.source),
            Self::Image(image) => write!(f, "{image}"),
        }
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            MountKind::Bind { from, source } => write!(f, "bind {source:?} of {from}")?,
            MountKind::Cache(cache) => {
                write!(
                    f,
                    "cache {:?} with {:?} of {}, {:?}",
                    cache.id, cache.source, cache.from, cache.sharing
                )?;
                if let Some(ownership) = &cache.ownership {
                    write!(f, ", {ownership}")?;
                }
            }
            MountKind::Tmpfs { size: None } => write!(f, "tmpfs")?,
            MountKind::Tmpfs { size: Some(size) } => write!(f, "tmpfs of {size} bytes")?,
            MountKind::Secret(secret) => {
                write!(f, "secret {:?}, {}", secret.id, secret.ownership)?;
                if let Some(env) = &secret.env {
                    write!(f, ", variable {env:?}")?;
                }
                write!(f, "{}", if secret.required { ", required" } else { "" })?;
            }
            MountKind::Ssh(ssh) => {
                write!(f, "ssh agent {:?}, {}", ssh.id, ssh.ownership)?;
                write!(f, "{}", if ssh.required { ", required" } else { "" })?;
            }
        }
        if let Some(target) = &self.target {
            write!(f, " on {target:?}")?;
        }
        write!(f, "{}", if self.read_only { " read-only" } else { "" })
    }
}

/// What is not as usual.
impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        match self.network {
            Network::Default => {}
            Network::None => parts.push("network none".to_owned()),
            Network::Host => parts.push("network host".to_owned()),
        }
        match self.security {
            Security::Sandbox => {}
            Security::Insecure => parts.push("all privileges".to_owned()),
        }
        parts.extend(self.hostname.iter().map(|name| format!("host name {name:?}")));
        parts.extend(
            self.hosts
                .iter()
                .map(|(name, address)| format!("host {name:?} at {address}")),
        );
        let number = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
        parts.extend(self.ulimits.iter().map(|limit| {
            format!(
                "limit {}={}:{}",
                limit.name.as_str(),
                number(limit.soft),
                number(limit.hard)
            )
        }));
        parts.extend(self.shm_size.iter().map(|size| format!("/dev/shm of {size} bytes")));
        parts.extend(self.devices.iter().map(|device| {
            let required = if device.required { ", required" } else { "" };
            format!("device {:?}{required}", device.name)
        }));
        f.write_str(&parts.join(", "))
    }
}

impl fmt::Display for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} mode {:o}", self.uid, self.gid, self.mode)
    }
}

impl fmt::Display for CopyStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "       copy from {} to {:?}", self.from, self.destination)?;
        if let Some(owner) = &self.chown {
            write!(f, " owned by {owner}")?;
        }
        if let Some(mode) = &self.chmod {
            write!(f, " mode {mode}")?;
        }
        match self.parents {
            Parents::Dropped => {}
            Parents::Kept => write!(f, " with parents")?,
        }
        match self.onto {
            Onto::Stage => {}
            Onto::Nothing => write!(f, " as a layer of its own")?,
        }
        match self.archives {
            Archives::Keep => writeln!(f)?,
            Archives::Extract => writeln!(f, " extracting archives")?,
            Archives::ExtractDownloads => writeln!(f, " extracting archives and downloads")?,
        }
        for rule in self.exclude.texts() {
            writeln!(f, "       exclude {rule:?}")?;
        }
        for source in &self.sources {
            match source {
                CopySource::Path(path) => writeln!(f, "       source {path:?}")?,
                CopySource::Heredoc { name, content } => writeln!(f, "       source <<{name} {content:?}")?,
                CopySource::Url(source) => {
                    write!(f, "       source {source} as {:?}", source.name)?;
                    match &source.checksum {
                        Some(checksum) => writeln!(f, " with {checksum}")?,
                        None => writeln!(f)?,
                    }
                }
                CopySource::Git(source) => {
                    write!(f, "       source repository {source}")?;
                    if let Some(checksum) = &source.checksum {
                        write!(f, " at {checksum}")?;
                    }
                    if source.keep_git_dir == Some(true) {
                        write!(f, " with .git")?;
                    }
                    match source.submodules {
                        true => writeln!(f)?,
                        false => writeln!(f, " without submodules")?,
                    }
                }
            }
        }
        Ok(())
    }
}
