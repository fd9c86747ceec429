//! The outline and the configs of its bases, to steps.

use std::collections::BTreeMap;

use super::error::PlanProblem;
use super::outline::OutlinedStep;
use super::stage::StageState;
use super::{
    Archives, Base, BaseConfigs, CopyFrom, CopySource, CopyStep, ImageUse, NamedTree, Onto, Outline, Part, Plan,
    PlanError, PlannedStage, PlannedStep, Planning, Platform, PlatformOrigin, Product, StageId, Step, StepId,
};
use super::{history, needs};
use crate::context::IgnorePatterns;
use crate::copy::Parents;
use crate::dockerfile::{Budget, Excerpt};
use crate::redact;

/// Plans every needed stage.
///
/// # Errors
/// Operands that do not expand or mean nothing, and features the engine does not execute yet.
pub fn plan(outline: &Outline, configs: &BaseConfigs) -> Result<Planning, PlanError> {
    let needs = needs::of_targets(outline, configs)?;
    let is_missing = |need: &&super::ImageNeed| need.purpose == ImageUse::Base && !configs.contains_key(&need.image);
    let missing: Vec<_> = needs.images.iter().filter(is_missing).cloned().collect();
    if !missing.is_empty() {
        return Ok(Planning::Needs(missing));
    }
    let mut planner = Planner {
        outline,
        configs,
        ended: BTreeMap::new(),
        budget: Budget::default(),
    };
    let mut stages = Vec::new();
    // Stages only use earlier ones, so the order of the file is an order of dependency.
    for (id, triggers) in &needs.stages {
        stages.push(planner.plan_stage(*id, triggers)?);
    }
    let product = product(outline, &stages);
    Ok(Planning::Ready(Plan {
        stages,
        products: vec![product],
        images: needs.images,
        epoch: outline.epoch(),
    }))
}

/// The image of the target, with what the command line says of it.
fn product(outline: &Outline, stages: &[PlannedStage]) -> Product {
    let (options, stage) = (&outline.options, outline.target());
    let planned = stages.iter().find(|planned| planned.id == stage);
    let mut config = planned.expect("the target is planned").config.clone();
    config.config.labels.extend(options.labels.iter().cloned());
    if options.platform_origin == PlatformOrigin::Requested {
        become_platform(&mut config.platform, &options.target_platform);
    }
    Product {
        platform: config.platform.clone(),
        stage,
        config,
    }
}

/// What the base says of variant and version stays where they are not asked for and os and architecture are the same.
fn become_platform(platform: &mut Platform, wanted: &Platform) {
    let is_other = (&platform.os, &platform.architecture) != (&wanted.os, &wanted.architecture);
    if is_other || wanted.variant.is_some() {
        platform.variant.clone_from(&wanted.variant);
    }
    if is_other || wanted.os_version.is_some() {
        platform.os_version.clone_from(&wanted.os_version);
        platform.os_features.clone_from(&wanted.os_features);
    }
    platform.os.clone_from(&wanted.os);
    platform.architecture.clone_from(&wanted.architecture);
}

struct Planner<'a> {
    outline: &'a Outline,
    configs: &'a BaseConfigs,
    /// How each planned stage ended, for those built upon it.
    ended: BTreeMap<StageId, (StageState, StepId)>,
    /// For all stages together.
    budget: Budget,
}

impl Planner<'_> {
    fn plan_stage(&mut self, id: StageId, triggers: &[OutlinedStep]) -> Result<PlannedStage, PlanError> {
        let stage = &self.outline.stages[id.0];
        let (mut state, mut last) = self.begin(id);
        state.environment.spend_from(&self.budget);
        let platform = state.config.platform.clone();
        let mut steps = Vec::new();
        if let Some(tree) = &stage.opening {
            let step = opening_step(tree, last, &stage.excerpt);
            last = step.id;
            state.config.history.extend(step.history.clone());
            steps.push(step);
        }
        for outlined in triggers.iter().chain(&stage.steps) {
            let (step, history) = state.apply(outlined, self.outline).map_err(|problem| {
                let hint = state.environment.variables.hint(&problem);
                PlanError::hinted(problem, &outlined.excerpt).or_hint(hint)
            })?;
            self.check_mounts(id, &step)
                .map_err(|problem| PlanError::at(problem, outlined.excerpt.clone()))?;
            let sources = || step.sources().filter_map(|from| self.last_step_of(from));
            // A layer of its own does not depend on what is below; what follows depends on both.
            let id = match step.onto() {
                Onto::Stage => last.then(&step, sources()),
                Onto::Nothing => StepId::of_nothing().then(&step, sources()),
            };
            last = last.then(&step, sources());
            state.config.history.extend(history.clone());
            steps.push(PlannedStep {
                id,
                step,
                history,
                text: redact::userinfo(outlined.statement.text.trim_end()).into_owned(),
                excerpt: outlined.excerpt.clone(),
            });
        }
        self.ended.insert(id, (state.clone(), last));
        Ok(PlannedStage {
            id,
            name: self.outline.names.get(id).map(str::to_owned),
            label: self.outline.names.display(id),
            part: Part {
                before: 0,
                of: steps.len(),
            },
            base: stage.base.clone(),
            platform,
            excerpt: stage.excerpt.clone(),
            steps,
            config: state.config,
        })
    }

    /// The state before the first step. Configs are complete and earlier stages planned by now.
    fn begin(&self, id: StageId) -> (StageState, StepId) {
        let stage = &self.outline.stages[id.0];
        match &stage.base {
            Base::Scratch => {
                let state = StageState::begin_on_scratch(stage.platform.clone());
                (state, StepId::of_scratch())
            }
            Base::Image(image) => {
                let base = &self.configs[image.as_ref()];
                let begin = StepId::of_image(&base.manifest_digest);
                (StageState::begin(base.config.clone()), begin)
            }
            Base::Stage(base) => {
                let (state, last) = &self.ended[base];
                (state.inherited(), *last)
            }
        }
    }

    /// A mount may show earlier stages only.
    fn check_mounts(&self, id: StageId, step: &Step) -> Result<(), PlanProblem> {
        let Step::Run(run) = step else {
            return Ok(());
        };
        for mount in &run.mounts {
            if let Some(source) = mount.reads().and_then(CopyFrom::stage)
                && source >= id
            {
                return Err(PlanProblem::LaterMount {
                    source_stage: self.outline.names.display(source),
                    target: mount.written_target.clone(),
                });
            }
        }
        Ok(())
    }

    fn last_step_of(&self, from: &CopyFrom) -> Option<StepId> {
        match from {
            CopyFrom::Stage(id) => self.ended.get(id).map(|(_, last)| *last),
            CopyFrom::Image(image) => Some(StepId::of_source(image)),
            CopyFrom::Tree(tree) => Some(StepId::of_tree(tree)),
            CopyFrom::Context | CopyFrom::Scratch => None,
        }
    }
}

/// A base that is a tree of files is `scratch` with a layer that holds them.
fn opening_step(tree: &NamedTree, last: StepId, excerpt: &Excerpt) -> PlannedStep {
    let text = format!("FROM {}", tree.name);
    let step = Step::Copy(CopyStep {
        from: CopyFrom::Tree(Box::new(tree.clone())),
        sources: vec![CopySource::Path("/".to_owned())],
        destination: "/".to_owned(),
        chown: None,
        chmod: None,
        exclude: IgnorePatterns::default(),
        parents: Parents::Dropped,
        onto: Onto::Stage,
        archives: Archives::Keep,
    });
    PlannedStep {
        id: last.then(&step, Some(StepId::of_tree(tree))),
        step,
        history: Some(history::layer(&text)),
        text,
        excerpt: excerpt.clone(),
    }
}
