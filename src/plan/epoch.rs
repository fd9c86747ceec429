//! SOURCE_DATE_EPOCH: the time that stands for "now" in an image.

use jiff::Timestamp;

use super::contexts::{ContextSource, TreeSource};
use super::environment::Environment;
use super::error::PlanProblem;
use super::outline::OutlinedStep;
use super::{Base, Outline, PlanError, StageId};
use crate::dockerfile::{Add, Dockerfile, Excerpt, Hint, Instruction, Source};
use crate::remote::{SourceKind, source_kind};

/// The argument's name.
pub(super) const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// What it may be.
const FORMS: &str =
    "it is a number of seconds, `context`, or the name of a named context or of a stage that adds one remote source";

/// What the build knows of its epoch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Epoch {
    /// There is none: the clock counts.
    Unset,
    /// This time.
    At(Timestamp),
    /// The age of something that has to be fetched first.
    Of(EpochSource),
}

/// Something whose age is the epoch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EpochSource {
    /// The build context.
    Context,
    /// A named context.
    Tree(TreeSource),
    /// What the only ADD of a stage names, a URL or a git repository, expanded.
    Remote(String),
}

impl Outline {
    /// What the epoch is the age of, as long as [`Self::settle_epoch`] has not said it.
    #[must_use]
    pub const fn open_epoch(&self) -> Option<&EpochSource> {
        match &self.epoch {
            Epoch::Of(source) => Some(source),
            Epoch::Unset | Epoch::At(_) => None,
        }
    }

    /// Says how old [`Self::open_epoch`] is; `None` if it has no age, which makes a build without an
    /// epoch. From here on the argument has the number as its value.
    pub fn settle_epoch(&mut self, age: Option<Timestamp>) {
        let value = age.map_or(String::new(), |age| age.as_second().to_string());
        if self.options.build_arg(SOURCE_DATE_EPOCH).is_some() {
            let argument = (SOURCE_DATE_EPOCH.to_owned(), value.clone());
            self.options.build_args.push(argument);
        }
        if self.globals.get(SOURCE_DATE_EPOCH).is_some() {
            self.globals.set(SOURCE_DATE_EPOCH, &value);
        }
        self.epoch = age.map_or(Epoch::Unset, Epoch::At);
    }

    /// The epoch; unset as long as it is open.
    pub(super) const fn epoch(&self) -> Option<Timestamp> {
        match self.epoch {
            Epoch::At(time) => Some(time),
            Epoch::Unset | Epoch::Of(_) => None,
        }
    }

    /// Reads the argument: of the command line, else of the global scope.
    pub(super) fn read_epoch(&mut self, dockerfile: &Dockerfile) -> Result<(), PlanError> {
        let given = self.options.build_arg(SOURCE_DATE_EPOCH);
        let value = given.or_else(|| self.globals.get(SOURCE_DATE_EPOCH));
        let Some(value) = value.filter(|value| !value.is_empty()).map(str::to_owned) else {
            return Ok(());
        };
        let written_at = match given {
            Some(_) => None,
            None => declaration(dockerfile),
        };
        match self.meaning(&value) {
            Ok(Epoch::At(time)) => self.settle_epoch(Some(time)),
            Ok(epoch) => self.epoch = epoch,
            Err(Mistake::Value) => {
                let problem = PlanProblem::Epoch { value };
                let error = match written_at {
                    Some(excerpt) => PlanError::at(problem, excerpt),
                    None => PlanError::of_options(problem),
                };
                return Err(error.with_hint(Some(Hint::Try(FORMS))));
            }
            Err(Mistake::Stage(error)) => return Err(*error),
        }
        Ok(())
    }

    fn meaning(&self, value: &str) -> Result<Epoch, Mistake> {
        if let Ok(seconds) = value.parse() {
            return Timestamp::from_second(seconds)
                .map(Epoch::At)
                .map_err(|_| Mistake::Value);
        }
        if value == "context" {
            return Ok(Epoch::Of(EpochSource::Context));
        }
        let context = self.options.contexts.find(value, &self.options.target_platform);
        match (context.map(|context| &context.source), self.names.last(value)) {
            (Some(ContextSource::Tree(tree)), _) => Ok(Epoch::Of(EpochSource::Tree(tree.clone()))),
            (Some(ContextSource::Scratch | ContextSource::Image(_)), _) | (None, None) => Err(Mistake::Value),
            (None, Some(stage)) => match self.remote_of(stage) {
                Ok(remote) => Ok(Epoch::Of(EpochSource::Remote(remote))),
                Err(error) => Err(Mistake::Stage(Box::new(error))),
            },
        }
    }

    /// What a stage adds that consists of nothing else.
    fn remote_of(&self, id: StageId) -> Result<String, PlanError> {
        let stage = &self.stages[id.0];
        let wrong = |excerpt: &Excerpt| {
            let stage = self.names.display(id);
            PlanError::at(PlanProblem::EpochStage { stage }, excerpt.clone())
        };
        if stage.base != Base::Scratch || stage.opening.is_some() {
            return Err(wrong(&stage.excerpt));
        }
        let mut environment = Environment::default();
        let mut remote = None;
        for step in &stage.steps {
            match (&step.statement.instruction, &remote) {
                (Instruction::Arg(arg), _) => {
                    for item in &arg.items {
                        let declared = environment.declare(item, &self.globals, &self.options, self.escape);
                        declared.map_err(|problem| PlanError::at(problem, step.excerpt.clone()))?;
                    }
                }
                (Instruction::Add(add), None) => match self.only_remote(add, step, &environment)? {
                    Some(source) => remote = Some(source),
                    None => return Err(wrong(&step.excerpt)),
                },
                _ => return Err(wrong(&step.excerpt)),
            }
        }
        remote.ok_or_else(|| wrong(&stage.excerpt))
    }

    /// The source of an ADD that has one, and from elsewhere.
    fn only_remote(
        &self,
        add: &Add,
        step: &OutlinedStep,
        environment: &Environment,
    ) -> Result<Option<String>, PlanError> {
        let [Source::Path(source)] = add.transfer.sources.as_slice() else {
            return Ok(None);
        };
        let expanded = environment.expand(self.escape, |expander| expander.word(source));
        let source = expanded.map_err(|problem| PlanError::at(problem, step.excerpt.clone()))?;
        Ok(match source_kind(&source) {
            SourceKind::Path => None,
            SourceKind::Url | SourceKind::Git => Some(source),
        })
    }
}

/// Why an epoch means nothing.
enum Mistake {
    Value,
    Stage(Box<PlanError>),
}

/// The last ARG before the first FROM that declares the epoch: its value counts.
fn declaration(dockerfile: &Dockerfile) -> Option<Excerpt> {
    let mut args = dockerfile.global_args.iter().rev();
    let arg = args.find(|arg| arg.value.items.iter().any(|item| item.name == SOURCE_DATE_EPOCH))?;
    Some(dockerfile.source.excerpt(arg.span))
}
