//! What the target needs, ONBUILD triggers of base images included.

use std::collections::{BTreeMap, BTreeSet};

use super::error::PlanProblem;
use super::outline::{Base, ImageKey, ImageNeed, ImageUse, Outline, OutlinedStep, Triggers};
use super::{BaseConfigs, CopyFrom, PlanError, StageId};
use crate::dockerfile::{Excerpt, Instruction, parse_trigger};

/// What the targets need, as far as the configs at hand tell.
pub(super) struct Needs {
    /// The stages with the triggers that run first in them.
    pub(super) stages: BTreeMap<StageId, Vec<OutlinedStep>>,
    /// The images, in the order of the stages.
    pub(super) images: Vec<ImageNeed>,
}

/// Follows bases, copies and triggers from the targets.
pub(super) fn of_targets(outline: &Outline, configs: &BaseConfigs) -> Result<Needs, PlanError> {
    of_stages(outline, outline.targets.clone(), configs)
}

/// The same from any stages.
pub(super) fn of_stages(outline: &Outline, mut open: Vec<StageId>, configs: &BaseConfigs) -> Result<Needs, PlanError> {
    let mut stages = BTreeMap::new();
    while let Some(id) = open.pop() {
        if stages.contains_key(&id) {
            continue;
        }
        let stage = &outline.stages[id.0];
        let triggers = resolve_triggers(outline, id, configs)?;
        if let Base::Stage(base) = stage.base {
            open.push(base);
        }
        let reads = triggers.iter().chain(&stage.steps).flat_map(|step| &step.reads);
        open.extend(reads.filter_map(CopyFrom::stage));
        stages.insert(id, triggers);
    }
    let images = needed_images(outline, &stages);
    Ok(Needs { stages, images })
}

/// The triggers that the base leaves for the stage, as steps of the stage.
fn resolve_triggers(outline: &Outline, id: StageId, configs: &BaseConfigs) -> Result<Vec<OutlinedStep>, PlanError> {
    let stage = &outline.stages[id.0];
    let triggers: Vec<&str> = match &stage.base {
        _ if stage.triggers == Triggers::Dropped => Vec::new(),
        Base::Scratch => Vec::new(),
        Base::Stage(base) => own_triggers(&outline.stages[base.0].steps),
        Base::Image(image) => match configs.get(image.as_ref()) {
            Some(base) => base.config.config.on_build.iter().map(String::as_str).collect(),
            None => Vec::new(),
        },
    };
    let resolve = |trigger| {
        let statement = parse_trigger(trigger).map_err(|error| {
            let problem = PlanProblem::Trigger {
                trigger: trigger.to_owned(),
                source: error.problem,
            };
            PlanError::at(problem, stage.excerpt.clone())
        })?;
        // The text is in no file at hand; the FROM line is what brought it here.
        let step = outline.resolve_step(statement, stage.excerpt.clone())?;
        outline.check_earlier(id, &step)?;
        Ok(step)
    };
    triggers.into_iter().map(resolve).collect()
}

fn own_triggers(steps: &[OutlinedStep]) -> Vec<&str> {
    let mut triggers = Vec::new();
    for step in steps {
        if let Instruction::Onbuild(onbuild) = &step.statement.instruction {
            triggers.push(onbuild.trigger.as_str());
        }
    }
    triggers
}

fn needed_images(outline: &Outline, stages: &BTreeMap<StageId, Vec<OutlinedStep>>) -> Vec<ImageNeed> {
    let mut images = Vec::new();
    let mut known = BTreeSet::new();
    let mut add = |image: &ImageKey, purpose: ImageUse, excerpt: &Excerpt| {
        if known.insert((image.clone(), purpose)) {
            images.push(ImageNeed {
                image: image.clone(),
                purpose,
                excerpt: excerpt.clone(),
                hint: outline.names.closest_to_image(image, &outline.options),
            });
        }
    };
    for (id, triggers) in stages {
        let stage = &outline.stages[id.0];
        if let Base::Image(image) = &stage.base {
            add(image, ImageUse::Base, &stage.excerpt);
        }
        for step in triggers.iter().chain(&stage.steps) {
            for from in &step.reads {
                if let CopyFrom::Image(image) = from {
                    add(image, ImageUse::Source, &step.excerpt);
                }
            }
        }
    }
    images
}
