//! A stage while it is planned: its config and variables, and what each instruction does to them.

use jiff::Timestamp;

use super::copy::{Owner, destination, resolve_path};
use super::environment::{Environment, ensure_path};
use super::error::PlanProblem;
use super::mount::{self, Mount, MountKind, Surroundings};
use super::outline::OutlinedStep;
use super::{
    Archives, CopyFrom, CopySource, CopyStep, Device, Onto, Outline, RunStep, Sandbox, ScriptFile, Step, WorkdirStep,
    history, metadata,
};
use crate::context::IgnorePatterns;
use crate::copy::Parents;
use crate::dockerfile::{
    Add, Arg, Command, Copy, Escape, Heredoc, Instruction, Network, Quoting, Run, RunCommand, Source, Transfer, Word,
    Workdir,
};
use crate::oci::{History, ImageConfig, Platform};
use crate::redact;
use crate::remote::{GitSource, SourceKind, UrlSource, source_kind};
use crate::rootfs::Chmod;

/// Where the builder puts scripts of `RUN <<EOF` that start with `#!`.
const SCRIPT_DIRECTORY: &str = "/dev/pipes/";

/// What an instruction comes to: a step, and its history unless it leaves none.
pub(super) type Applied = (Step, Option<History>);

/// Config and variables after the last instruction.
#[derive(Clone, Debug)]
pub(super) struct StageState {
    pub(super) config: ImageConfig,
    pub(super) environment: Environment,
    /// Whether this stage itself has a CMD, which an ENTRYPOINT then leaves alone.
    pub(super) has_cmd: bool,
    /// The platform, if no image is at the end of the FROM chain.
    scratch_for: Option<Box<Platform>>,
}

impl StageState {
    /// Begins with the config of an image, or that of `scratch`.
    pub(super) fn begin(mut config: ImageConfig) -> Self {
        config.created = None;
        config.platform = config.platform.normalised();
        config.rootfs.diff_ids.clear();
        // The triggers have become steps of this stage.
        config.config.on_build.clear();
        if config.platform.os != "windows" {
            ensure_path(&mut config.config.env);
        }
        Self {
            environment: Environment::of_image(&config.config.env),
            config,
            has_cmd: false,
            scratch_for: None,
        }
    }

    /// Begins on nothing.
    pub(super) fn begin_on_scratch(platform: Platform) -> Self {
        Self {
            scratch_for: Some(Box::new(platform.clone())),
            ..Self::begin(ImageConfig::scratch(platform))
        }
    }

    /// What a stage built upon this one begins with.
    pub(super) fn inherited(&self) -> Self {
        let mut state = self.clone();
        state.config.config.on_build.clear();
        state.has_cmd = false;
        state
    }

    /// Applies one instruction.
    pub(super) fn apply(&mut self, outlined: &OutlinedStep, outline: &Outline) -> Result<Applied, PlanProblem> {
        let escape = outline.escape;
        match &outlined.statement.instruction {
            Instruction::Run(run) => self.run(run, outlined, outline),
            Instruction::Copy(copy) => self.copy(copy, outlined, escape),
            Instruction::Add(add) => self.add(add, outlined, escape),
            Instruction::Workdir(workdir) => self.workdir(workdir, outline),
            Instruction::Arg(arg) => self.arg(arg, outline),
            Instruction::Env(env) => metadata::env(self, &env.pairs, escape),
            Instruction::Label(label) => metadata::label(self, &label.pairs, escape),
            Instruction::Cmd(command) => Ok(metadata::cmd(self, command)),
            Instruction::Entrypoint(command) => Ok(metadata::entrypoint(self, command)),
            Instruction::Expose(expose) => metadata::expose(self, &expose.ports, escape),
            Instruction::Healthcheck(check) => Ok(metadata::healthcheck(self, check)),
            Instruction::Maintainer(maintainer) => Ok(metadata::maintainer(self, &maintainer.author)),
            Instruction::Onbuild(onbuild) => Ok(metadata::onbuild(self, &onbuild.trigger)),
            Instruction::Shell(shell) => Ok(metadata::shell(self, &shell.argv)),
            Instruction::Stopsignal(stopsignal) => metadata::stopsignal(self, &stopsignal.signal, escape),
            Instruction::User(user) => metadata::user(self, &user.user, escape),
            Instruction::Volume(volume) => metadata::volume(self, &volume.paths, escape),
        }
    }

    /// The argument vector of a command.
    pub(super) fn argv(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(argv) => argv.clone(),
            Command::Shell(line) => {
                let mut argv = match &self.config.config.shell {
                    Some(shell) if !shell.is_empty() => shell.clone(),
                    Some(_) | None => vec!["/bin/sh".to_owned(), "-c".to_owned()],
                };
                argv.push(line.clone());
                argv
            }
        }
    }

    pub(super) fn word(&self, word: &Word, escape: Escape) -> Result<String, PlanProblem> {
        self.environment.expand(escape, |expander| expander.word(word))
    }

    /// The working directory; a relative one of a base image starts at the root.
    fn cwd(&self) -> String {
        match self.config.config.working_dir.as_deref() {
            None | Some("") => "/".to_owned(),
            Some(absolute) if absolute.starts_with('/') => absolute.to_owned(),
            Some(relative) => resolve_path("/", relative),
        }
    }

    fn run(&self, run: &Run, outlined: &OutlinedStep, outline: &Outline) -> Result<Applied, PlanProblem> {
        let mut mounts = self.mounts(run, outlined, outline)?;
        let env = self.run_env(&mounts)?;
        mount::sort(&mut mounts);
        let (command, script) = match &run.command {
            RunCommand::Line(command) => (command.clone(), None),
            RunCommand::Body(heredoc) => self.body_command(heredoc),
        };
        let argv = self.argv(&command);
        let history = history::layer(&history::run(&argv, &self.environment.declared()));
        let step = RunStep {
            argv,
            env,
            proxy_env: outline.options.proxies(),
            cwd: self.cwd(),
            user: self.config.config.user.clone(),
            script,
            mounts,
            sandbox: sandbox(run, outline)?,
            platform: self.scratch_for.clone(),
        };
        Ok((Step::Run(step), Some(history)))
    }

    /// With the socket of the first SSH agent, unless the stage has one.
    fn run_env(&self, mounts: &[Mount]) -> Result<Vec<String>, PlanProblem> {
        const NAME: &str = "SSH_AUTH_SOCK=";
        let mut env = self.environment.of_process()?;
        let mut agents = mounts.iter().filter(|mount| matches!(mount.kind, MountKind::Ssh(_)));
        if let Some(target) = agents.next().and_then(|mount| mount.target.as_ref())
            && !env.iter().any(|entry| entry.starts_with(NAME))
        {
            env.push(format!("{NAME}{target}"));
        }
        Ok(env)
    }

    fn mounts(&self, run: &Run, outlined: &OutlinedStep, outline: &Outline) -> Result<Vec<Mount>, PlanProblem> {
        let cwd = self.cwd();
        let mut named = outlined.reads.iter();
        let mut mounts: Vec<Mount> = Vec::new();
        for written in &run.mounts {
            let around = Surroundings {
                cwd: &cwd,
                cache_namespace: outline.options.build_arg("BUILDKIT_CACHE_MOUNT_NS").unwrap_or_default(),
                from: written.from().and_then(|_| named.next()),
                ssh_before: mounts
                    .iter()
                    .filter(|mount| matches!(mount.kind, MountKind::Ssh(_)))
                    .count(),
            };
            mounts.push(Mount::plan(written, around, |word| self.word(word, outline.escape))?);
        }
        Ok(mounts)
    }

    /// A heredoc that is the whole command goes to the shell, unless it names its interpreter.
    fn body_command(&self, heredoc: &Heredoc) -> (Command, Option<ScriptFile>) {
        let content = heredoc.content();
        match content.starts_with("#!") && self.config.platform.os != "windows" {
            true => {
                let path = format!("{SCRIPT_DIRECTORY}{}", heredoc.name);
                let command = Command::Shell(path.clone());
                (command, Some(ScriptFile { path, content }))
            }
            false => (Command::Shell(content), None),
        }
    }

    fn copy(&self, copy: &Copy, outlined: &OutlinedStep, escape: Escape) -> Result<Applied, PlanProblem> {
        let parents = match copy.parents {
            true => Parents::Kept,
            false => Parents::Dropped,
        };
        let transfer = self.transfer(("COPY", parents), &copy.transfer, outlined, escape)?;
        for source in &transfer.step.sources {
            if let CopySource::Path(path) = source {
                let url = redact::location(path).into_owned();
                match source_kind(path) {
                    SourceKind::Path => {}
                    SourceKind::Url => return Err(PlanProblem::CopyUrl { url }),
                    SourceKind::Git => return Err(PlanProblem::CopyGit { url }),
                }
            }
        }
        Ok(transfer.applied())
    }

    fn add(&self, add: &Add, outlined: &OutlinedStep, escape: Escape) -> Result<Applied, PlanProblem> {
        let mut transfer = self.transfer(("ADD", Parents::Dropped), &add.transfer, outlined, escape)?;
        let checksum = add.checksum.as_ref().map(|word| self.word(word, escape)).transpose()?;
        let checksum = checksum.filter(|text| !text.is_empty());
        if checksum.is_some() {
            check_checksum_sources(&transfer.step.sources)?;
        }
        let sources = transfer.step.sources.into_iter();
        let sources = sources.map(|source| remote_source(source, checksum.as_deref(), add.keep_git_dir));
        transfer.step.sources = sources.collect::<Result<_, _>>()?;
        transfer.step.archives = match add.unpack {
            None => Archives::Extract,
            Some(true) => Archives::ExtractDownloads,
            Some(false) => Archives::Keep,
        };
        Ok(transfer.applied())
    }

    fn transfer(
        &self,
        (keyword, parents): (&str, Parents),
        transfer: &Transfer,
        outlined: &OutlinedStep,
        escape: Escape,
    ) -> Result<PlannedTransfer, PlanProblem> {
        let optional = |word: &Option<Word>| match word {
            Some(word) => self.word(word, escape),
            None => Ok(String::new()),
        };
        let (chown, chmod) = (optional(&transfer.chown)?, optional(&transfer.chmod)?);
        let owner = Owner::parse(&chown);
        // BuildKit ignores --link beside --chmod.
        let onto = match transfer.link && chmod.is_empty() {
            true => Onto::Nothing,
            false => Onto::Stage,
        };
        if let (Onto::Nothing, Some(name)) = (onto, owner.as_ref().and_then(Owner::name)) {
            return Err(PlanProblem::LinkOwner { name: name.to_owned() });
        }
        let sources = transfer.sources.iter().map(|source| self.source(source, escape));
        let sources = sources.collect::<Result<Vec<_>, _>>()?;
        let written = self.word(&transfer.destination, escape)?;
        Ok(PlannedTransfer {
            created_by: created_by((keyword, parents), &chown, &chmod, &sources, &written),
            step: CopyStep {
                from: outlined.reads.first().cloned().unwrap_or(CopyFrom::Context),
                sources,
                destination: destination(&self.cwd(), &written),
                chown: owner,
                chmod: (!chmod.is_empty()).then(|| Chmod::parse(&chmod)).transpose()?,
                exclude: exclude(&transfer.exclude)?,
                parents,
                onto,
                archives: Archives::Keep,
            },
        })
    }

    fn source(&self, source: &Source, escape: Escape) -> Result<CopySource, PlanProblem> {
        match source {
            Source::Path(word) => Ok(CopySource::Path(self.word(word, escape)?)),
            Source::Heredoc(heredoc) => {
                let content = heredoc.content();
                let content = match heredoc.quoting {
                    Quoting::Raw => content,
                    Quoting::Expand => self.environment.expand(escape, |expander| expander.heredoc(&content))?,
                };
                let name = heredoc.name.clone();
                Ok(CopySource::Heredoc { name, content })
            }
        }
    }

    fn workdir(&mut self, workdir: &Workdir, outline: &Outline) -> Result<Applied, PlanProblem> {
        let written = self.word(&workdir.path, outline.escape)?;
        // BuildKit stores an absolute path as it is written.
        let path = match written.starts_with('/') {
            true => written,
            false => resolve_path(&self.cwd(), &written),
        };
        let created_by = format!("WORKDIR {path}");
        self.config.config.working_dir = Some(path.clone());
        if path == "/" {
            return Ok((Step::Metadata, Some(history::metadata(created_by))));
        }
        let owner = self.config.config.user.as_deref().and_then(Owner::parse);
        let mtime = outline.epoch().map(Timestamp::as_second);
        let step = Step::Workdir(WorkdirStep { path, owner, mtime });
        Ok((step, Some(history::plain_layer(created_by))))
    }

    fn arg(&mut self, arg: &Arg, outline: &Outline) -> Result<Applied, PlanProblem> {
        let mut shown = Vec::new();
        for item in &arg.items {
            let value = self
                .environment
                .declare(item, &outline.globals, &outline.options, outline.escape)?;
            shown.push(match value {
                Some(value) => format!("{}={value}", item.name),
                None => item.name.clone(),
            });
        }
        let created_by = format!("ARG {}", shown.join(" "));
        Ok((Step::Metadata, Some(history::metadata(created_by))))
    }
}

/// ADD or COPY with its history.
struct PlannedTransfer {
    step: CopyStep,
    created_by: String,
}

impl PlannedTransfer {
    fn applied(self) -> Applied {
        (Step::Copy(self.step), Some(history::layer(&self.created_by)))
    }
}

/// The patterns of `--exclude`.
fn exclude(patterns: &[String]) -> Result<IgnorePatterns, PlanProblem> {
    let compiled = IgnorePatterns::new(patterns.iter().map(String::as_bytes));
    compiled.map_err(|(index, source)| PlanProblem::Exclude {
        pattern: patterns.get(index).cloned().unwrap_or_default(),
        source,
    })
}

fn created_by(
    (keyword, parents): (&str, Parents),
    chown: &str,
    chmod: &str,
    sources: &[CopySource],
    destination: &str,
) -> String {
    let mut words = vec![keyword.to_owned()];
    match parents {
        Parents::Kept => words.push("--parents".to_owned()),
        Parents::Dropped => {}
    }
    for (flag, value) in [("--chown", chown), ("--chmod", chmod)] {
        if !value.is_empty() {
            words.push(format!("{flag}={value}"));
        }
    }
    words.extend(sources.iter().map(|source| match source {
        CopySource::Path(path) => redact::address(path).into_owned(),
        // With its query, as BuildKit has it.
        CopySource::Url(source) => redact::address(source.url()).into_owned(),
        CopySource::Git(source) => source.to_string(),
        CopySource::Heredoc { name, .. } => format!("<<{name}"),
    }));
    words.push(destination.to_owned());
    words.join(" ")
}

/// A checksum is that of one download or one commit.
fn check_checksum_sources(sources: &[CopySource]) -> Result<(), PlanProblem> {
    let paths = sources.iter().filter_map(|source| match source {
        CopySource::Path(path) => Some(source_kind(path)),
        CopySource::Heredoc { .. } | CopySource::Url(_) | CopySource::Git(_) => None,
    });
    match paths.collect::<Vec<_>>().as_slice() {
        [SourceKind::Path] => Err(PlanProblem::ChecksumLocal),
        [_] => Ok(()),
        _ => Err(PlanProblem::ChecksumSources),
    }
}

/// A path that looks like an address becomes what it is the address of.
fn remote_source(
    source: CopySource,
    checksum: Option<&str>,
    keep_git_dir: Option<bool>,
) -> Result<CopySource, PlanProblem> {
    let CopySource::Path(path) = &source else {
        return Ok(source);
    };
    match source_kind(path) {
        SourceKind::Path => Ok(source),
        SourceKind::Url => {
            let checksum = checksum.map(str::parse).transpose().map_err(PlanProblem::Checksum)?;
            Ok(CopySource::Url(UrlSource::parse(path, checksum)?))
        }
        SourceKind::Git => {
            let source = GitSource::parse(path)?.with_flags(keep_git_dir, checksum.map(str::to_owned))?;
            Ok(CopySource::Git(source))
        }
    }
}

/// What surrounds a RUN: the build's options, and over them its own flags.
fn sandbox(run: &Run, outline: &Outline) -> Result<Sandbox, PlanProblem> {
    let options = &outline.options;
    let devices = run.devices.iter().map(|text| Device::parse(text));
    let mut sandbox = Sandbox {
        security: run.security,
        devices: devices.collect::<Result<_, _>>()?,
        ..options.sandbox.clone()
    };
    sandbox.check(run.network, &options.grants)?;
    if run.network != Network::Default {
        sandbox.network = run.network;
    }
    if let Some(hostname) = options.build_arg("BUILDKIT_SANDBOX_HOSTNAME") {
        sandbox.hostname = Some(hostname.to_owned()).filter(|name| !name.is_empty());
    }
    Ok(sandbox)
}
