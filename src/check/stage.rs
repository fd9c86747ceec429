//! Rules on the instructions of a stage, with the variables and the config that they find.
//!
//! This is no planning: whatever is wrong with an instruction is passed over, for the planner says so.

use std::collections::{BTreeMap, BTreeSet};

use super::Subject;
use super::copy;
use super::finding::{Findings, Place};
use super::instruction;
use super::names::{self, Expanded};
use super::rule::Rule;
use crate::dockerfile::{
    Arg, ArgItem, Budget, Dockerfile, Env, Expandable, Instruction, KeyValue, Spelling, Statement, Word, nearest,
};
use crate::oci::{ImageConfig, Reference};
use crate::plan::{Base, Environment, ImageKey, NO_VARIABLES, StageId, StageView, ensure_path};

/// What nearly every image sets: nothing is a misspelling of it unless one knows the image.
const SET_BY_IMAGES: &str = "PATH";

/// How many variables may be what was meant; beyond that the search costs more than it helps.
const SUGGESTED: usize = 100;

/// Looks at stages in the order of the file.
pub(super) fn of_stages(subject: &Subject<'_>, stages: &[StageView<'_>], findings: &mut Findings<'_>) {
    let declared = declared_in(subject.file);
    let budget = Budget::default();
    let mut ended = BTreeMap::new();
    for view in stages {
        let mut state = begin(view, subject, &ended);
        state.environment.spend_from(&budget);
        let walk = Walk {
            subject,
            declared: &declared,
            state,
            latest: BTreeMap::new(),
            findings: &mut *findings,
        };
        ended.insert(view.id, walk.through(view));
    }
}

/// What the instructions so far have left.
#[derive(Clone)]
struct State {
    environment: Environment,
    /// Whether the variables of the base image are among them.
    base: Knowledge,
    /// What the names of variables begin with that are the unknown base's own: `NODE_` of `node`.
    prefix: Option<String>,
    shell: Setting,
    workdir: Setting,
}

/// Whether the config of the base image is at hand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Knowledge {
    Known,
    Unknown,
}

/// Whether something has been set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Setting {
    Unset,
    Set,
}

impl State {
    fn of_image(config: &ImageConfig, base: Knowledge) -> Self {
        let mut env = config.config.env.clone();
        if config.platform.os != "windows" {
            ensure_path(&mut env);
        }
        let has_shell = config.config.shell.as_ref().is_some_and(|shell| !shell.is_empty());
        Self {
            environment: Environment::of_image(&env),
            base,
            prefix: None,
            shell: if has_shell { Setting::Set } else { Setting::Unset },
            // That of a base image does not count, since it may change.
            workdir: Setting::Unset,
        }
    }
}

fn begin(view: &StageView<'_>, subject: &Subject<'_>, ended: &BTreeMap<StageId, State>) -> State {
    let nothing = |base| State::of_image(&ImageConfig::scratch(view.platform.clone()), base);
    match view.base {
        Base::Scratch => nothing(Knowledge::Known),
        Base::Image(image) => match subject.configs.get(image.as_ref()) {
            Some(base) => State::of_image(&base.config, Knowledge::Known),
            None => State {
                prefix: image.source.reference().map(own_prefix),
                ..nothing(Knowledge::Unknown)
            },
        },
        Base::Stage(id) => ended.get(id).cloned().unwrap_or_else(|| nothing(Knowledge::Unknown)),
    }
}

/// Images name variables after themselves: `node` sets `NODE_VERSION`.
fn own_prefix(image: &Reference) -> String {
    let repository = image.repository();
    let name = repository.rsplit('/').next().unwrap_or(repository);
    format!("{}_", name.to_uppercase().replace(['-', '.'], "_"))
}

/// One stage on the way through its instructions.
struct Walk<'a, 'f> {
    subject: &'a Subject<'a>,
    declared: &'a BTreeSet<&'a str>,
    state: State,
    /// Instructions of which only the last counts, by keyword.
    latest: BTreeMap<&'static str, Place<'a>>,
    findings: &'a mut Findings<'f>,
}

impl<'a> Walk<'a, '_> {
    fn through(mut self, view: &'a StageView<'a>) -> State {
        let from = &self.subject.file.stages[view.id.0].from;
        let place = Place::of(from.span, &from.spelling);
        if let Base::Image(image) = view.base {
            let message = self.base_image_platform(image, &from.value.image);
            self.findings.add(place, Rule::InvalidBaseImagePlatform, message);
        }
        for trigger in &view.triggers {
            self.step(trigger, place);
        }
        for statement in &view.instructions {
            self.step(statement, Place::of(statement.span, &statement.spelling));
        }
        self.state
    }

    fn base_image_platform(&self, image: &ImageKey, written: &Word) -> Option<String> {
        let actual = &self.subject.configs.get(image)?.config.platform;
        let outline = self.subject.outline;
        let escape = self.subject.file.directives.escape;
        let name = names::expand(written, outline.globals(), escape).text?;
        let expected = &image.platform;
        let differs = expected.os != actual.os || expected.architecture != actual.architecture;
        differs.then(|| {
            let (actual, expected) = (actual.to_string(), expected.to_string());
            format!("Base image {name} was pulled with platform {actual:?}, expected {expected:?} for current build")
        })
    }

    fn step(&mut self, statement: &Statement, place: Place<'a>) {
        let keyword = statement.spelling.keyword.as_str();
        for text in statement.instruction.expandables() {
            self.expand(&text, place);
        }
        match &statement.instruction {
            Instruction::Arg(arg) => self.arg(arg, place),
            Instruction::Env(env) => self.env(env, &statement.spelling, place),
            Instruction::Label(_) => self.separator(&statement.spelling, place),
            Instruction::Cmd(command) | Instruction::Entrypoint(command) => {
                if self.state.shell == Setting::Unset {
                    let message = instruction::json_args_recommended(command, keyword);
                    self.findings.add(place, Rule::JSONArgsRecommended, message);
                }
                self.last_counts(statement, place);
            }
            Instruction::Healthcheck(_) => self.last_counts(statement, place),
            Instruction::Workdir(workdir) => {
                if self.state.workdir == Setting::Unset {
                    let path = self.word(&workdir.path);
                    let message = path.and_then(|path| instruction::workdir_relative_path(&path));
                    self.findings.add(place, Rule::WorkdirRelativePath, message);
                }
                self.state.workdir = Setting::Set;
            }
            Instruction::Expose(expose) => {
                let ports: Vec<String> = expose.ports.iter().flat_map(|port| self.words(port)).collect();
                let casing = ports.iter().filter_map(|port| instruction::expose_proto_casing(port));
                self.findings.add(place, Rule::ExposeProtoCasing, casing);
                let format = ports.iter().filter_map(|port| instruction::expose_invalid_format(port));
                self.findings.add(place, Rule::ExposeInvalidFormat, format);
            }
            Instruction::Copy(copy) if copy.from.is_none() => {
                let messages = self.ignored("Copy", &copy::paths(&copy.transfer));
                self.findings.add(place, Rule::CopyIgnoredFile, messages);
            }
            Instruction::Add(add) => {
                let messages = self.ignored("Add", &copy::paths(&add.transfer));
                self.findings.add(place, Rule::CopyIgnoredFile, messages);
            }
            Instruction::Shell(_) => self.state.shell = Setting::Set,
            Instruction::Copy(_)
            | Instruction::Maintainer(_)
            | Instruction::Onbuild(_)
            | Instruction::Run(_)
            | Instruction::Stopsignal(_)
            | Instruction::User(_)
            | Instruction::Volume(_) => {}
        }
    }

    /// Items of one ARG see those before them.
    fn arg(&mut self, arg: &Arg, place: Place<'_>) {
        for item in &arg.items {
            let secret = instruction::secret("ARG", &item.name);
            self.findings.add(place, Rule::SecretsUsedInArgOrEnv, secret);
            self.declare(item, place);
        }
    }

    fn declare(&mut self, item: &ArgItem, place: Place<'_>) {
        let outline = self.subject.outline;
        let options = outline.options();
        let escape = self.subject.file.directives.escape;
        // A default that a build argument overrides is not evaluated.
        if let (Some(default), None) = (&item.default, options.build_arg(&item.name)) {
            self.expand(&Expandable::Word(default), place);
        }
        let _ = self.state.environment.declare(item, outline.globals(), options, escape);
    }

    fn env(&mut self, env: &Env, spelling: &Spelling, place: Place<'_>) {
        self.separator(spelling, place);
        let escape = self.subject.file.directives.escape;
        for name in self.state.environment.set_all(&env.pairs, escape) {
            let secret = instruction::secret("ENV", &name);
            self.findings.add(place, Rule::SecretsUsedInArgOrEnv, secret);
        }
    }

    fn separator(&mut self, spelling: &Spelling, place: Place<'_>) {
        let message = instruction::legacy_key_value_format(spelling);
        self.findings.add(place, Rule::LegacyKeyValueFormat, message);
    }

    /// The earlier one is the one that does not count.
    fn last_counts(&mut self, statement: &Statement, place: Place<'a>) {
        let Some(earlier) = self.latest.insert(statement.instruction.keyword(), place) else {
            return;
        };
        let message = instruction::multiple_instructions(&statement.spelling.keyword);
        self.findings
            .add(earlier, Rule::MultipleInstructionsDisallowed, [message]);
    }

    fn ignored(&self, verb: &str, sources: &[&Word]) -> Vec<String> {
        let Some(patterns) = self.subject.ignore else {
            return Vec::new();
        };
        let sources = sources.iter().filter_map(|source| self.word(source));
        sources
            .filter_map(|source| copy::ignored_file(verb, &source, patterns))
            .collect()
    }

    /// Expands a text and says which of its variables nobody has set.
    fn expand(&mut self, text: &Expandable<'_>, place: Place<'_>) {
        let Expanded { names, .. } = self.expanded(text);
        let messages: Vec<String> = names.unset.iter().filter_map(|name| self.undefined(name)).collect();
        self.findings.add(place, Rule::UndefinedVar, messages);
    }

    fn undefined(&self, name: &str) -> Option<String> {
        let environment = &self.state.environment;
        if environment.is_declared(name) || NO_VARIABLES.contains(&name) {
            return None;
        }
        let candidates = environment.variables.names().filter(|name| self.may_be_meant(name));
        let near = nearest(name, candidates.take(SUGGESTED));
        if self.state.base == Knowledge::Unknown && near.is_none() && !self.is_ours(name) {
            return None;
        }
        let suggestion = near.map(|near| format!(" (did you mean ${near}?)")).unwrap_or_default();
        Some(format!("Usage of undefined variable '${name}'{suggestion}"))
    }

    /// Whether a variable may be suggested instead of another one. What is near to a variable of an image that nobody
    /// has fetched (`GOPATH` to `PATH`) may be one of the image's too.
    fn may_be_meant(&self, name: &str) -> bool {
        match self.state.base {
            Knowledge::Known => true,
            Knowledge::Unknown => name != SET_BY_IMAGES && self.declared.contains(name),
        }
    }

    /// Whether the image, whose config nobody has fetched, is unlikely to set a variable: the file itself declares it
    /// somewhere, or it has none of the capitals in which images write theirs.
    fn is_ours(&self, name: &str) -> bool {
        let prefix = self.state.prefix.as_deref();
        if prefix.is_some_and(|prefix| name.starts_with(prefix)) {
            return false;
        }
        self.declared.contains(name) || !name.contains(char::is_uppercase)
    }

    fn expanded(&self, text: &Expandable<'_>) -> Expanded {
        let escape = self.subject.file.directives.escape;
        names::of_expandable(text, &self.state.environment.variables, escape)
    }

    fn word(&self, word: &Word) -> Option<String> {
        self.expanded(&Expandable::Word(word)).text
    }

    fn words(&self, word: &Word) -> Vec<String> {
        let escape = self.subject.file.directives.escape;
        let expanded = self.state.environment.expand(escape, |expander| expander.words(word));
        expanded.unwrap_or_default()
    }
}

/// Names that the file gives to arguments and variables, wherever. One that is only extended is not the file's own.
fn declared_in(file: &Dockerfile) -> BTreeSet<&str> {
    let globals = file.global_args.iter().flat_map(|arg| &arg.value.items);
    let mut names: BTreeSet<&str> = globals.map(|item| item.name.as_str()).collect();
    for statement in file.stages.iter().flat_map(|stage| &stage.instructions) {
        match &statement.instruction {
            Instruction::Arg(arg) => names.extend(arg.items.iter().map(|item| item.name.as_str())),
            Instruction::Env(env) => {
                let given = env.pairs.iter().filter(|pair| !extends_itself(pair));
                names.extend(given.map(|pair| pair.key.as_written()));
            }
            _ => {}
        }
    }
    names
}

/// `LD_LIBRARY_PATH=/x:$LD_LIBRARY_PATH`
fn extends_itself(pair: &KeyValue) -> bool {
    let (name, value) = (pair.key.as_written(), pair.value.as_written());
    let uses = |(at, _): (usize, &str)| {
        let before = &value[..at];
        before.ends_with('$') || before.ends_with("${")
    };
    value.match_indices(name).any(uses)
}
