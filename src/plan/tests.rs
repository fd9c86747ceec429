//! Tables over whole Dockerfiles: a row for each rule of the language that planning implements.

mod config;
mod epoch;
mod expansion;
mod from;
mod history;
mod identity;
mod metadata;
mod mistakes;
mod mounts;
mod onbuild;
mod targets;
mod transfers;

use serde_json::{Value, json};

use super::*;
use crate::diagnostic::render;
use crate::dockerfile::parse;

fn outlined(text: &str, options: &PlanOptions) -> Result<Outline, String> {
    let file = parse("Dockerfile", text.as_bytes()).map_err(|error| render(&error))?;
    outline(&file, options).map_err(|error| render(&error))
}

/// Plans with a config for every image; `base` has the environment the rows speak of.
fn planned(outline: &Outline) -> Result<Plan, String> {
    let mut configs = BaseConfigs::new();
    loop {
        match plan(outline, &configs).map_err(|error| render(&error))? {
            Planning::Ready(plan) => return Ok(plan),
            Planning::Needs(images) => {
                for need in images {
                    configs.insert(need.image.clone(), base_config(&need.image));
                }
            }
        }
    }
}

fn base_config(image: &ImageKey) -> BaseConfig {
    let config = match image.source.reference().unwrap().repository() {
        "library/base" => json!({
            "Env": ["PATH=/bin", "F=base"], "Cmd": ["old"], "User": "u", "WorkingDir": "/w", "Labels": {"a": "0", "z": "0"},
            "ExposedPorts": {"1/tcp": {}}, "Volumes": {"/v": {}}, "Shell": ["/bin/ash", "-c"], "StopSignal": "HUP",
            "Healthcheck": {"Test": ["CMD", "x"], "Interval": 5, "Retries": 1},
        }),
        "library/onbuild" => json!({"OnBuild": ["ENV T=1", "RUN trigger $T"]}),
        "library/copies" => json!({"OnBuild": ["COPY --from=other x /"]}),
        _ => json!({}),
    };
    let mut value = serde_json::to_value(&image.platform).unwrap();
    value["config"] = config;
    value["created"] = json!("2020-01-01T00:00:00Z");
    value["rootfs"] = json!({"type": "layers", "diff_ids": [Digest::of(b"layer").to_string()]});
    value["history"] = json!([{"created": "2020-01-01T00:00:00Z", "created_by": "base"}]);
    BaseConfig {
        manifest_digest: Digest::of(image.to_string().as_bytes()),
        config: ImageConfig::parse(&serde_json::to_vec(&value).unwrap()).unwrap(),
    }
}

pub(super) fn options(build_args: &[(&str, &str)]) -> PlanOptions {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    PlanOptions {
        build_args: build_args.iter().map(owned).collect(),
        target_platform: Platform::new("linux", "arm64", None),
        build_platform: Platform::new("linux", "amd64", None),
        ..PlanOptions::default()
    }
}

pub(super) fn plan_with(text: &str, options: &PlanOptions) -> Result<Plan, String> {
    planned(&outlined(text, options)?)
}

fn plan_of(text: &str) -> Plan {
    plan_with(text, &options(&[])).unwrap()
}

fn target(plan: &Plan) -> &PlannedStage {
    plan.stage(plan.products[0].stage).unwrap()
}

fn last_run(plan: &Plan) -> &RunStep {
    let run = |step: &'_ PlannedStep| matches!(step.step, Step::Run(_));
    match &target(plan).steps.iter().rfind(|step| run(step)).unwrap().step {
        Step::Run(run) => run,
        other => panic!("{other:?}"),
    }
}

/// The last RUN's variables but PATH, as one line.
fn env(text: &str, build_args: &[(&str, &str)]) -> String {
    let plan = plan_with(text, &options(build_args)).unwrap();
    let env = last_run(&plan).env.iter().filter(|entry| !entry.starts_with("PATH="));
    env.cloned().collect::<Vec<_>>().join(" ")
}

/// The first line of the report.
fn error(text: &str) -> String {
    let report = plan_with(text, &options(&[])).unwrap_err();
    report.lines().next().unwrap_or_default().to_owned()
}

/// The target's steps that touch files.
fn changing(plan: &Plan) -> impl Iterator<Item = &PlannedStep> {
    target(plan).steps.iter().filter(|step| step.step != Step::Metadata)
}

fn ids(plan: &Plan) -> Vec<StepId> {
    changing(plan).map(|step| step.id).collect()
}

/// What the target's history says, that of its base first.
fn created_by(plan: &Plan) -> Vec<&str> {
    let history = target(plan).config.history.iter();
    history.filter_map(|entry| entry.created_by.as_deref()).collect()
}

fn images(plan: &Plan) -> Vec<String> {
    plan.images.iter().map(|need| need.image.to_string()).collect()
}
