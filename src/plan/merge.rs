//! Plans for several platforms as one: what comes out the same for several is there once.
//!
//! ```text
//! linux/amd64:  build: COPY . .  RUN go $TARGETARCH      build 1/2 ─┬▶ linux/amd64 build 2/2
//! linux/arm64:  build: COPY . .  RUN go $TARGETARCH  ─▶             └▶ linux/arm64 build 2/2
//! ```
//!
//! Two steps come out the same when their identities are equal, and for a RUN also the platform it runs on: a
//! program may ask for that. A stage whose first steps come out the same and whose later ones do not becomes a part
//! that is shared and parts that are built upon it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::{Base, CopyFrom, Part, Plan, PlannedStage, StageId, Step, StepId};
use crate::oci::Platform;

/// What may be shared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Granularity {
    /// The steps up to the first that differs.
    Steps,
    /// Whole stages only, for builds in which a stage must not fall into parts.
    Stages,
}

/// Makes one plan of the plans of one Dockerfile for several platforms. Its images are theirs, in their order.
///
/// # Panics
/// Without a plan.
#[must_use]
pub fn merge(mut plans: Vec<Plan>, granularity: Granularity) -> Plan {
    if plans.len() == 1 {
        return plans.remove(0);
    }
    let mut merger = Merger {
        granularity,
        platforms: plans.iter().map(Plan::platform).cloned().collect(),
        places: vec![BTreeMap::new(); plans.len()],
        stages: Vec::new(),
    };
    let ids: BTreeSet<StageId> = plans
        .iter()
        .flat_map(|plan| &plan.stages)
        .map(|stage| stage.id)
        .collect();
    for id in ids {
        merger.add(id, &plans);
    }
    let Merger { places, stages, .. } = merger;
    let mut merged = plans[0].clone();
    merged.stages = stages;
    merged.images = distinct(plans.iter().flat_map(|plan| &plan.images));
    merged.products = Vec::new();
    for (plan, places) in plans.into_iter().zip(places) {
        for mut product in plan.products {
            product.stage = places[&product.stage];
            merged.products.push(product);
        }
    }
    merged
}

fn distinct<'a, T: Clone + PartialEq + 'a>(items: impl Iterator<Item = &'a T>) -> Vec<T> {
    let mut distinct: Vec<T> = Vec::new();
    for item in items {
        if !distinct.contains(item) {
            distinct.push(item.clone());
        }
    }
    distinct
}

impl Plan {
    /// What the plan of one platform is for.
    fn platform(&self) -> &Platform {
        &self.products[0].platform
    }
}

/// A stage as one of the plans has it, its base and sources already those of the merged plan.
struct Variant {
    plan: usize,
    stage: PlannedStage,
}

/// What two steps must have in common to be one.
#[derive(PartialEq, Eq)]
struct Identity<'a> {
    id: StepId,
    runs_on: Option<&'a Platform>,
    leaves_history: bool,
}

impl Variant {
    fn identity(&self, position: usize) -> Option<Identity<'_>> {
        let step = self.stage.steps.get(position)?;
        Some(Identity {
            id: step.id,
            runs_on: matches!(step.step, Step::Run(_)).then_some(&self.stage.platform),
            leaves_history: step.history.is_some(),
        })
    }

    /// How many of the steps from `done` on come out the same as those of `other`.
    fn common(&self, other: &Self, done: usize) -> usize {
        let same = |at: &usize| self.identity(*at).is_some() && self.identity(*at) == other.identity(*at);
        (done..).take_while(same).count()
    }
}

struct Merger {
    granularity: Granularity,
    /// Of each plan.
    platforms: Vec<Platform>,
    /// For each plan, where its stages have come to be complete.
    places: Vec<BTreeMap<StageId, StageId>>,
    stages: Vec<PlannedStage>,
}

impl Merger {
    /// Adds the stage `id` of all plans that have it.
    fn add(&mut self, id: StageId, plans: &[Plan]) {
        let mut variants = Vec::new();
        for (plan, of) in plans.iter().enumerate() {
            if let Some(stage) = of.stage(id) {
                let mut stage = stage.clone();
                stage.renumber(&self.places[plan]);
                variants.push(Variant { plan, stage });
            }
        }
        self.place(id, variants, 0);
    }

    /// Adds what follows after the first `done` steps, which these variants have in common.
    fn place(&mut self, id: StageId, variants: Vec<Variant>, done: usize) {
        for mut group in self.alike(variants, done) {
            let common = group.iter().map(|variant| variant.common(&group[0], done)).min();
            let end = done + common.unwrap_or_default();
            if group.iter().any(|variant| variant.stage.steps.len() > end) {
                let shared = self.push(&group, done..end);
                for variant in &mut group {
                    variant.stage.base = Base::Stage(shared);
                }
                self.place(id, group, end);
                continue;
            }
            let place = match group[0].stage.base {
                Base::Stage(shared) if done > 0 && end == done => shared,
                _ => self.push(&group, done..end),
            };
            for variant in &group {
                self.places[variant.plan].insert(id, place);
            }
        }
    }

    /// Divides variants into groups that go on in the same way.
    fn alike(&self, variants: Vec<Variant>, done: usize) -> Vec<Vec<Variant>> {
        let go_on_alike = |a: &Variant, b: &Variant| match self.granularity {
            Granularity::Steps => a.identity(done) == b.identity(done),
            Granularity::Stages => {
                let rest = a.stage.steps.len() - done;
                rest == b.stage.steps.len() - done && a.common(b, done) == rest
            }
        };
        let mut groups: Vec<Vec<Variant>> = Vec::new();
        for variant in variants {
            let is_of = |group: &&mut Vec<Variant>| {
                group[0].stage.base == variant.stage.base && go_on_alike(&group[0], &variant)
            };
            match groups.iter_mut().find(is_of) {
                Some(group) => group.push(variant),
                None => groups.push(vec![variant]),
            }
        }
        groups
    }

    /// Adds a part of a stage that `group` has in common.
    fn push(&mut self, group: &[Variant], steps: Range<usize>) -> StageId {
        let id = StageId(self.stages.len());
        let mut stage = group[0].stage.clone();
        stage.part = Part {
            before: steps.start,
            of: stage.steps.len(),
        };
        stage.steps = stage.steps.drain(steps).collect();
        stage.id = id;
        if group.len() < self.platforms.len() {
            let platforms = group.iter().map(|variant| self.platforms[variant.plan].to_string());
            stage.label = format!("{} {}", platforms.collect::<Vec<_>>().join(","), stage.label);
        }
        self.stages.push(stage);
        id
    }
}

impl PlannedStage {
    /// Puts the numbers that stages have elsewhere in the place of their numbers here.
    fn renumber(&mut self, numbers: &BTreeMap<StageId, StageId>) {
        let renumber = |id: &mut StageId| *id = numbers[id];
        if let Base::Stage(id) = &mut self.base {
            renumber(id);
        }
        for from in self.steps.iter_mut().flat_map(|step| step.step.sources_mut()) {
            if let CopyFrom::Stage(id) = from {
                renumber(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{options, plan_with};
    use super::super::{PlanOptions, PlannedStep, PlatformOrigin, Product};
    use super::*;

    fn plans(text: &str, platforms: &[&str]) -> Vec<Plan> {
        let of = |platform: &&str| {
            let options = PlanOptions {
                target_platform: platform.parse().unwrap(),
                platform_origin: PlatformOrigin::Requested,
                ..options(&[])
            };
            plan_with(text, &options).unwrap()
        };
        platforms.iter().map(of).collect()
    }

    /// Each stage as `label: base; steps`, and the stages of the products.
    fn shown(plan: &Plan) -> (Vec<String>, Vec<usize>) {
        let stage = |stage: &PlannedStage| {
            let base = match &stage.base {
                Base::Scratch => "scratch".to_owned(),
                Base::Stage(id) => format!("stage {id}"),
                Base::Image(image) => image.platform.to_string(),
            };
            let words = |step: &PlannedStep| step.text.clone();
            let steps: Vec<_> = stage.steps.iter().map(words).collect();
            let Part { before, of } = stage.part;
            format!("{}: {base}; {before}/{of} {}", stage.label, steps.join(", "))
        };
        let products = plan.products.iter().map(|product| product.stage.0);
        (plan.stages.iter().map(stage).collect(), products.collect())
    }

    #[test]
    fn what_is_the_same_is_built_once() {
        let cases: [(&str, &str, &[&str], &[usize]); 7] = [
            (
                "a stage for the build platform splits where the target matters",
                "FROM --platform=$BUILDPLATFORM go AS b\nCOPY s /s\nARG TARGETARCH\nRUN make\nFROM a\nCOPY --from=b /s /",
                &[
                    "b: linux/amd64; 0/3 COPY s /s, ARG TARGETARCH",
                    "linux/amd64 b: stage 0; 2/3 RUN make",
                    "linux/arm64 b: stage 0; 2/3 RUN make",
                    "linux/amd64 1: linux/amd64; 0/1 COPY --from=b /s /",
                    "linux/arm64 1: linux/arm64; 0/1 COPY --from=b /s /",
                ],
                &[3, 4],
            ),
            (
                "nothing depends on the target",
                "FROM --platform=$BUILDPLATFORM go AS b\nRUN make\nFROM scratch\nCOPY --from=b /s /",
                &["b: linux/amd64; 0/1 RUN make", "1: scratch; 0/1 COPY --from=b /s /"],
                &[1, 1],
            ),
            (
                "a RUN on scratch depends on the platform",
                "FROM scratch\nCOPY s /s\nRUN [\"/s\"]",
                &[
                    "0: scratch; 0/2 COPY s /s",
                    "linux/amd64 0: stage 0; 1/2 RUN [\"/s\"]",
                    "linux/arm64 0: stage 0; 1/2 RUN [\"/s\"]",
                ],
                &[1, 2],
            ),
            (
                "an ARG alone does not part what only copies",
                "FROM scratch\nARG TARGETARCH\nCOPY s /s",
                &["0: scratch; 0/2 ARG TARGETARCH, COPY s /s"],
                &[0, 0],
            ),
            (
                "another source is another copy",
                "FROM scratch\nARG TARGETARCH\nCOPY s-$TARGETARCH /s",
                &[
                    "0: scratch; 0/2 ARG TARGETARCH",
                    "linux/amd64 0: stage 0; 1/2 COPY s-$TARGETARCH /s",
                    "linux/arm64 0: stage 0; 1/2 COPY s-$TARGETARCH /s",
                ],
                &[1, 2],
            ),
            (
                "a part may be built upon for its own sake",
                "FROM scratch AS b\nCOPY s /s\nFROM b\nARG TARGETARCH\nCOPY $TARGETARCH /t",
                &[
                    "b: scratch; 0/1 COPY s /s",
                    "1: stage 0; 0/2 ARG TARGETARCH",
                    "linux/amd64 1: stage 1; 1/2 COPY $TARGETARCH /t",
                    "linux/arm64 1: stage 1; 1/2 COPY $TARGETARCH /t",
                ],
                &[2, 3],
            ),
            (
                "other bases",
                "FROM a\nCOPY s /s",
                &[
                    "linux/amd64 0: linux/amd64; 0/1 COPY s /s",
                    "linux/arm64 0: linux/arm64; 0/1 COPY s /s",
                ],
                &[0, 1],
            ),
        ];
        for (rule, text, stages, products) in cases {
            let merged = merge(plans(text, &["linux/amd64", "linux/arm64"]), Granularity::Steps);
            let (found, of) = shown(&merged);
            assert_eq!(found, stages, "{rule}");
            assert_eq!(of, products, "{rule}");
        }
    }

    #[test]
    fn stages_that_some_platforms_need_alone() {
        let text = "ARG TARGETARCH\nFROM scratch AS for-arm64\nCOPY a /\nFROM scratch AS for-amd64\nCOPY b /\n\
                    FROM for-$TARGETARCH\nCOPY c /";
        let merged = merge(plans(text, &["linux/arm64", "linux/amd64"]), Granularity::Steps);
        let (stages, products) = shown(&merged);
        assert_eq!(
            stages,
            [
                "linux/arm64 for-arm64: scratch; 0/1 COPY a /",
                "linux/amd64 for-amd64: scratch; 0/1 COPY b /",
                "linux/arm64 2: stage 0; 0/1 COPY c /",
                "linux/amd64 2: stage 1; 0/1 COPY c /",
            ]
        );
        assert_eq!(products, [2, 3]);
    }

    #[test]
    fn stages_that_may_not_fall_into_parts_are_shared_whole_or_not_at_all() {
        let text = "FROM scratch AS b\nCOPY s /s\nFROM b\nCOPY t /t\nARG TARGETARCH\nCOPY $TARGETARCH /u";
        let merged = merge(plans(text, &["linux/amd64", "linux/arm64"]), Granularity::Stages);
        let (stages, products) = shown(&merged);
        assert_eq!(
            stages,
            [
                "b: scratch; 0/1 COPY s /s",
                "linux/amd64 1: stage 0; 0/3 COPY t /t, ARG TARGETARCH, COPY $TARGETARCH /u",
                "linux/arm64 1: stage 0; 0/3 COPY t /t, ARG TARGETARCH, COPY $TARGETARCH /u",
            ]
        );
        assert_eq!(products, [1, 2]);
    }

    #[test]
    fn each_product_keeps_its_config_and_each_image_its_need() {
        let text = "FROM scratch AS b\nFROM a\nARG TARGETARCH\nLABEL arch=$TARGETARCH\nCOPY --from=other / /";
        let platforms = ["linux/amd64", "linux/arm64", "linux/arm/v7"];
        let single = plans(text, &platforms);
        let merged = merge(single.clone(), Granularity::Steps);
        for ((product, plan), platform) in merged.products.iter().zip(&single).zip(platforms) {
            let Product { config, .. } = product;
            assert_eq!(*config, plan.products[0].config, "{platform}");
            assert_eq!(config.config.labels["arch"], product.platform.architecture);
            assert_eq!(product.platform.to_string(), platform);
        }
        assert_eq!(merged.images.len(), 2 * platforms.len());
        assert_eq!(merge(vec![single[0].clone()], Granularity::Steps), single[0]);
    }
}
