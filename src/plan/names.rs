//! What names and numbers of stages mean.

use super::contexts::familiar;
use super::error::PlanProblem;
use super::outline::ImageKey;
use super::{ContextSource, CopyFrom, NamedTree, PlanError, PlanOptions, StageId};
use crate::dockerfile::{Dockerfile, Excerpt, Hint, closest};
use crate::oci::Reference;

/// The names of all stages in order, in lower case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct StageNames(Vec<Option<String>>);

impl StageNames {
    pub(super) fn of(dockerfile: &Dockerfile) -> Self {
        let stages = dockerfile.stages.iter();
        Self(stages.map(|stage| stage.from.value.name.clone()).collect())
    }

    /// The stage's name, if it has one.
    pub(super) fn get(&self, id: StageId) -> Option<&str> {
        self.0.get(id.0)?.as_deref()
    }

    /// The stage's name, else its number.
    pub(super) fn display(&self, id: StageId) -> String {
        self.get(id).map_or_else(|| id.to_string(), str::to_owned)
    }

    /// The latest stage of this name before `id`. The case counts: BuildKit compares what FROM says
    /// with names it has lower-cased.
    pub(super) fn before(&self, id: StageId, name: &str) -> Option<StageId> {
        let mut earlier = self.0[..id.0].iter();
        earlier.rposition(|stage| stage.as_deref() == Some(name)).map(StageId)
    }

    /// The last stage of this name in the file, whatever the case.
    pub(super) fn last(&self, name: &str) -> Option<StageId> {
        let name = name.to_lowercase();
        let mut stages = self.0.iter();
        stages
            .rposition(|stage| stage.as_deref() == Some(name.as_str()))
            .map(StageId)
    }

    /// What `--from` means: a number, a stage, a named context, else an image.
    pub(super) fn resolve_source(
        &self,
        name: &str,
        options: &PlanOptions,
        excerpt: &Excerpt,
    ) -> Result<CopyFrom, PlanError> {
        let at = |problem| PlanError::at(problem, excerpt.clone());
        if let Ok(index) = name.parse::<i64>() {
            return match usize::try_from(index) {
                Ok(number) if number < self.0.len() => Ok(CopyFrom::Stage(StageId(number))),
                Ok(_) | Err(_) => Err(at(PlanProblem::StageIndex { index })),
            };
        }
        self.resolve_named_source(name, options, excerpt)
    }

    /// What `from=` of a mount means: a stage, a named context, else an image. A number is a name like others.
    pub(super) fn resolve_named_source(
        &self,
        name: &str,
        options: &PlanOptions,
        excerpt: &Excerpt,
    ) -> Result<CopyFrom, PlanError> {
        let at = |problem| PlanError::at(problem, excerpt.clone());
        if let Some(stage) = self.last(name) {
            return Ok(CopyFrom::Stage(stage));
        }
        if name == "scratch" {
            return Ok(CopyFrom::Scratch);
        }
        let image = |source| {
            let platform = options.target_platform.clone();
            CopyFrom::Image(Box::new(ImageKey { source, platform }))
        };
        if let Some(context) = options.contexts.find(name, &options.target_platform) {
            return Ok(match &context.source {
                ContextSource::Scratch => CopyFrom::Scratch,
                ContextSource::Image(source) => image(source.clone()),
                ContextSource::Tree(source) => CopyFrom::Tree(Box::new(NamedTree {
                    name: context.name.clone(),
                    source: source.clone(),
                })),
            });
        }
        match name.parse::<Reference>() {
            Ok(reference) => Ok(image(reference.into())),
            Err(source) => {
                let problem = PlanProblem::Reference {
                    name: name.to_owned(),
                    source,
                };
                Err(at(problem).with_hint(self.closest(name, options)))
            }
        }
    }

    /// The stages `--target` means, the last one when it is not given. At least one, and the first is the image's.
    pub(super) fn targets(&self, options: &PlanOptions) -> Result<Vec<StageId>, PlanError> {
        if options.targets.is_empty() {
            return Ok(vec![StageId(self.0.len().saturating_sub(1))]);
        }
        options.targets.iter().map(|target| self.target(target)).collect()
    }

    /// A name, else a number, as kaniko's users write it.
    fn target(&self, target: &str) -> Result<StageId, PlanError> {
        let by_number = || target.parse().ok().filter(|number| *number < self.0.len()).map(StageId);
        self.last(target).or_else(by_number).ok_or_else(|| {
            let target = target.to_owned();
            let hint = closest(&target, self.all()).unwrap_or_else(|| self.list());
            PlanError::of_options(PlanProblem::UnknownTarget { target }).with_hint(Some(hint))
        })
    }

    /// The value of TARGETSTAGE.
    pub(super) fn target_stage(&self, options: &PlanOptions) -> String {
        let last = || self.0.last().cloned().flatten();
        options
            .targets
            .first()
            .cloned()
            .or_else(last)
            .unwrap_or_else(|| "default".to_owned())
    }

    /// The stage or the context that an image may have been meant to be: names without a registry look alike.
    pub(super) fn closest_to_image(&self, image: &ImageKey, options: &PlanOptions) -> Option<Hint> {
        let name = familiar(image.source.reference()?);
        (!name.contains(['/', ':', '@'])).then(|| self.closest(&name, options))?
    }

    /// The stage or the context that `name` may have been meant to be.
    pub(super) fn closest(&self, name: &str, options: &PlanOptions) -> Option<Hint> {
        match self.last(name).and_then(|id| self.get(id)) {
            Some(same) if same == name => Some(Hint::Try(
                "the stage of that name is further down in the file, and FROM can only name an earlier one",
            )),
            // Only the case is wrong, and only FROM minds it.
            Some(same) => Some(Hint::DidYouMean(same.to_owned())),
            None => {
                let mut contexts = options.contexts.names();
                let same = contexts.find(|context| context.eq_ignore_ascii_case(name));
                let same = same.map(|context| Hint::DidYouMean(context.to_owned()));
                same.or_else(|| closest(name, self.all().chain(options.contexts.names())))
            }
        }
    }

    /// What `--target` takes.
    fn list(&self) -> Hint {
        let stages: Vec<_> = (0..self.0.len()).map(|number| self.display(StageId(number))).collect();
        Hint::one_of("stages", &stages)
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flatten().map(String::as_str)
    }
}
