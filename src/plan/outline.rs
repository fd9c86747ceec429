//! Global arguments, names of stages and images, and which of them the target needs.

use std::cmp::Ordering;
use std::fmt;

use super::environment::{Variables, expand_word, global_scope};
use super::epoch::Epoch;
use super::error::PlanProblem;
use super::names::StageNames;
use super::needs::{self, Needs};
use super::{BaseConfigs, ContextSource, CopyFrom, ImageSource, NamedTree, PlanError, PlanOptions, StageId};
use crate::dockerfile::{Copy, Dockerfile, Escape, Excerpt, Hint, Instruction, Mount, StageSource, Statement, Word};
use crate::oci::{Platform, Reference};

/// An image for a platform.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ImageKey {
    /// Where it is.
    pub source: ImageSource,
    /// Which one of an index.
    pub platform: Platform,
}

impl fmt::Display for ImageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.source, self.platform)
    }
}

/// An image that has to be fetched.
#[derive(Clone, PartialEq, Debug)]
pub struct ImageNeed {
    /// Which.
    pub image: ImageKey,
    /// What for.
    pub purpose: ImageUse,
    /// The first instruction that needs it.
    pub excerpt: Excerpt,
    /// What to try if there is no such image: it may have been meant to be a stage or a context.
    pub hint: Option<Hint>,
}

/// What an image is needed for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ImageUse {
    /// FROM: config and layers.
    Base,
    /// `COPY --from` and mounts: layers only.
    Source,
}

/// What a stage starts from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(StageId),
    /// An image.
    Image(Box<ImageKey>),
}

/// A Dockerfile whose names are resolved.
#[derive(Clone, PartialEq, Debug)]
pub struct Outline {
    pub(super) stages: Vec<OutlinedStage>,
    pub(super) names: StageNames,
    /// At least one; the image is the first one's.
    pub(super) targets: Vec<StageId>,
    pub(super) globals: Variables,
    pub(super) escape: Escape,
    pub(super) options: PlanOptions,
    pub(super) epoch: Epoch,
    images: Vec<ImageNeed>,
}

/// A stage whose base is known.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct OutlinedStage {
    pub(super) base: Base,
    /// Files put on the base before anything else.
    pub(super) opening: Option<NamedTree>,
    /// Whether the triggers of the base run.
    pub(super) triggers: Triggers,
    pub(super) platform: Platform,
    /// The FROM.
    pub(super) excerpt: Excerpt,
    pub(super) steps: Vec<OutlinedStep>,
}

/// What becomes of the ONBUILD triggers of a stage's base.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Triggers {
    /// They run first.
    Run,
    /// A named context stands for the whole stage, and nothing runs in that.
    Dropped,
}

/// What a FROM starts from.
struct Start {
    base: Base,
    opening: Option<NamedTree>,
    platform: Platform,
}

impl Start {
    const fn on(base: Base, platform: Platform) -> Self {
        Self {
            base,
            opening: None,
            platform,
        }
    }
}

/// An instruction whose `--from` and `from=` are resolved.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct OutlinedStep {
    pub(super) statement: Statement,
    pub(super) excerpt: Excerpt,
    /// What it reads from, in the order in which it names them: one for a COPY or ADD, one for each
    /// mount of a RUN that names one.
    pub(super) reads: Vec<CopyFrom>,
}

impl Outline {
    /// Images the target needs as far as the file alone tells, each once for its use. The
    /// [`ImageUse::Base`] ones must have their config fetched before planning.
    #[must_use]
    pub fn images(&self) -> &[ImageNeed] {
        &self.images
    }

    /// The global arguments.
    pub(crate) const fn globals(&self) -> &Variables {
        &self.globals
    }

    /// What the command line says.
    pub(crate) const fn options(&self) -> &PlanOptions {
        &self.options
    }

    /// The stage whose image is wanted.
    #[must_use]
    pub fn target(&self) -> StageId {
        self.targets[0]
    }
}

/// Expands global arguments and FROM lines and finds what the target needs.
///
/// # Errors
/// Invalid FROM lines, also in stages that are not needed; unknown targets and cycles.
pub fn outline(dockerfile: &Dockerfile, options: &PlanOptions) -> Result<Outline, PlanError> {
    let names = StageNames::of(dockerfile);
    options.check().map_err(PlanError::of_options)?;
    let targets = names.targets(options)?;
    let globals = expand_globals(dockerfile, options, &names)?;
    let mut outline = Outline {
        stages: Vec::new(),
        names,
        targets,
        globals,
        escape: dockerfile.directives.escape,
        options: options.clone(),
        epoch: Epoch::Unset,
        images: Vec::new(),
    };
    for (number, source) in dockerfile.stages.iter().enumerate() {
        let stage = outline.resolve_stage(dockerfile, StageId(number), source)?;
        outline.stages.push(stage);
    }
    outline.read_epoch(dockerfile)?;
    outline.check_order()?;
    let Needs { images, .. } = needs::of_targets(&outline, &BaseConfigs::new())?;
    outline.images = images;
    Ok(outline)
}

/// The global arguments of a file.
///
/// # Errors
/// A default that cannot be expanded.
pub(crate) fn globals(dockerfile: &Dockerfile, options: &PlanOptions) -> Result<Variables, PlanError> {
    expand_globals(dockerfile, options, &StageNames::of(dockerfile))
}

/// The global arguments as they are when no build argument is given for one that the file declares.
pub(crate) fn default_globals(dockerfile: &Dockerfile, options: &PlanOptions) -> Result<Variables, PlanError> {
    let args = dockerfile.global_args.iter().flat_map(|arg| &arg.value.items);
    let declared: Vec<&str> = args.map(|item| item.name.as_str()).collect();
    let mut options = options.clone();
    options
        .build_args
        .retain(|(name, _)| !declared.contains(&name.as_str()));
    globals(dockerfile, &options)
}

fn expand_globals(dockerfile: &Dockerfile, options: &PlanOptions, names: &StageNames) -> Result<Variables, PlanError> {
    let args = dockerfile.global_args.iter();
    let items = args.flat_map(|arg| arg.value.items.iter().map(|item| (item, arg.span)));
    let automatic = options.automatic(&names.target_stage(options));
    global_scope(items, automatic, options, dockerfile.directives.escape)
        .map_err(|(problem, hint, span)| PlanError::at(problem, dockerfile.source.excerpt(span)).with_hint(hint))
}

impl Outline {
    fn resolve_stage(
        &self,
        dockerfile: &Dockerfile,
        id: StageId,
        source: &StageSource,
    ) -> Result<OutlinedStage, PlanError> {
        let excerpt = dockerfile.source.excerpt(source.from.span);
        let from = &source.from.value;
        let at = |problem| {
            let hint = self.globals.hint(&problem);
            PlanError::at(problem, excerpt.clone()).with_hint(hint)
        };
        let platform = self.resolve_platform(from.platform.as_ref()).map_err(at)?;
        let base = expand_word(&self.globals, self.escape, &from.image).map_err(at)?;
        if base.is_empty() {
            let written = from.image.as_written().to_owned();
            return Err(at(PlanProblem::BlankBase { written }));
        }
        if let Some(start) = self.replacement(id, &platform) {
            return Ok(OutlinedStage {
                base: start.base,
                opening: start.opening,
                triggers: Triggers::Dropped,
                platform,
                excerpt,
                steps: Vec::new(),
            });
        }
        let Start {
            base,
            opening,
            platform,
        } = self.resolve_base(id, base, platform, &excerpt)?;
        let mut steps = Vec::new();
        for statement in &source.instructions {
            let excerpt = dockerfile.source.excerpt(statement.span);
            steps.push(self.resolve_step(statement.clone(), excerpt)?);
        }
        Ok(OutlinedStage {
            base,
            opening,
            triggers: Triggers::Run,
            platform,
            excerpt,
            steps,
        })
    }

    /// Resolves the names an instruction uses. Stages further down are found too: the order is
    /// checked when the whole file is known, since a cycle is the better explanation.
    pub(super) fn resolve_step(&self, statement: Statement, excerpt: Excerpt) -> Result<OutlinedStep, PlanError> {
        let reads = match &statement.instruction {
            Instruction::Copy(Copy { from: Some(name), .. }) => {
                vec![self.names.resolve_source(name, &self.options, &excerpt)?]
            }
            Instruction::Copy(_) | Instruction::Add(_) => vec![CopyFrom::Context],
            Instruction::Run(run) => {
                let names = run.mounts.iter().filter_map(Mount::from);
                let resolve = |name| self.names.resolve_named_source(name, &self.options, &excerpt);
                names.map(resolve).collect::<Result<_, _>>()?
            }
            _ => Vec::new(),
        };
        Ok(OutlinedStep {
            statement,
            excerpt,
            reads,
        })
    }

    /// What stands for the whole stage: the context that has its name.
    fn replacement(&self, id: StageId, platform: &Platform) -> Option<Start> {
        self.named(self.names.get(id)?, platform)
    }

    /// What a context called `name` means as a base.
    fn named(&self, name: &str, platform: &Platform) -> Option<Start> {
        let context = self.options.contexts.find(name, platform)?;
        let platform = platform.clone();
        Some(match &context.source {
            ContextSource::Image(source) => Start::on(image(source.clone(), &platform), platform),
            ContextSource::Scratch => Start::on(Base::Scratch, platform),
            ContextSource::Tree(source) => Start {
                base: Base::Scratch,
                opening: Some(NamedTree {
                    name: context.name.clone(),
                    source: source.clone(),
                }),
                platform,
            },
        })
    }

    fn resolve_base(
        &self,
        id: StageId,
        name: String,
        platform: Platform,
        excerpt: &Excerpt,
    ) -> Result<Start, PlanError> {
        if let Some(stage) = self.names.before(id, &name) {
            // A stage keeps the platform it was built for.
            let platform = self.stages[stage.0].platform.clone();
            return Ok(Start::on(Base::Stage(stage), platform));
        }
        if name == "scratch" {
            return Ok(Start::on(Base::Scratch, platform));
        }
        if let Some(start) = self.named(&name, &platform) {
            return Ok(start);
        }
        match name.parse::<Reference>() {
            Ok(reference) => Ok(Start::on(image(reference.into(), &platform), platform)),
            Err(source) => {
                let hint = self.names.closest(&name, &self.options);
                Err(PlanError::at(PlanProblem::Reference { name, source }, excerpt.clone()).with_hint(hint))
            }
        }
    }

    fn resolve_platform(&self, written: Option<&Word>) -> Result<Platform, PlanProblem> {
        let Some(written) = written else {
            return Ok(self.options.target_platform.clone());
        };
        let platform = expand_word(&self.globals, self.escape, written)?;
        if platform.is_empty() {
            let written = written.as_written().to_owned();
            return Err(PlanProblem::EmptyPlatform { written });
        }
        platform
            .parse()
            .map_err(|source| PlanProblem::Platform { platform, source })
    }

    /// Every stage may use earlier ones only, whether it is needed or not.
    fn check_order(&self) -> Result<(), PlanError> {
        if let Some((stage, step)) = self.find_cycle() {
            let stage = self.names.display(stage);
            return Err(PlanError::at(PlanProblem::Circular { stage }, step.excerpt.clone()));
        }
        for (number, stage) in self.stages.iter().enumerate() {
            for step in &stage.steps {
                self.check_earlier(StageId(number), step)?;
            }
        }
        Ok(())
    }

    pub(super) fn check_earlier(&self, stage: StageId, step: &OutlinedStep) -> Result<(), PlanError> {
        if matches!(step.statement.instruction, Instruction::Run(_)) {
            // The error names the target, which is known when the stage is planned.
            return Ok(());
        }
        for source in step.reads.iter().filter_map(CopyFrom::stage) {
            let problem = match source.cmp(&stage) {
                Ordering::Less => continue,
                Ordering::Equal => PlanProblem::Circular {
                    stage: self.names.display(stage),
                },
                Ordering::Greater => PlanProblem::LaterStage {
                    source_stage: self.names.display(source),
                    stage: self.names.display(stage),
                },
            };
            return Err(PlanError::at(problem, step.excerpt.clone()));
        }
        Ok(())
    }

    /// A copy or mount that closes a circle. Circles need an edge to a later stage, so one search from the
    /// source of each such edge back to its stage finds them all.
    fn find_cycle(&self) -> Option<(StageId, &OutlinedStep)> {
        for (number, stage) in self.stages.iter().enumerate() {
            for step in &stage.steps {
                let is_run = matches!(step.statement.instruction, Instruction::Run(_));
                let closes = |source: StageId| match source.0.cmp(&number) {
                    Ordering::Less => false,
                    // A mount of the own stage is explained as one of a stage that is not there yet.
                    Ordering::Equal => !is_run,
                    Ordering::Greater => self.reaches(source, StageId(number)),
                };
                if step.reads.iter().filter_map(CopyFrom::stage).any(closes) {
                    return Some((StageId(number), step));
                }
            }
        }
        None
    }

    fn reaches(&self, from: StageId, to: StageId) -> bool {
        let mut seen = vec![false; self.stages.len()];
        let mut open = vec![from];
        while let Some(id) = open.pop() {
            if id == to {
                return true;
            }
            if std::mem::replace(&mut seen[id.0], true) {
                continue;
            }
            let stage = &self.stages[id.0];
            if let Base::Stage(base) = stage.base {
                open.push(base);
            }
            let reads = stage.steps.iter().flat_map(|step| &step.reads);
            open.extend(reads.filter_map(CopyFrom::stage));
        }
        false
    }
}

fn image(source: ImageSource, platform: &Platform) -> Base {
    Base::Image(Box::new(ImageKey {
        source,
        platform: platform.clone(),
    }))
}
