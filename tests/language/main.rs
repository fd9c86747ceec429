//! The text level of the Dockerfile language: rows of its checklist as tables, each with its number.
//!
//! What a table says of a plan is what a step is given: `RunStep` holds the whole environment of a process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod errors;
mod expansion;
mod file;
mod fuzzed;
mod growth;
mod heredocs;
mod variables;
mod words;

use rbuild::diagnostic::render;
use rbuild::dockerfile::{Dockerfile, Statement, parse};
use rbuild::oci::{Digest, ImageConfig, Platform};
use rbuild::plan::{BaseConfig, BaseConfigs, Plan, PlanOptions, PlannedStage, Planning, RunStep, Step, outline, plan};

/// Parses what has to be a Dockerfile.
#[track_caller]
fn parsed(text: &str) -> Dockerfile {
    parse("Dockerfile", text.as_bytes()).unwrap_or_else(|error| panic!("{text:?}: {}", render(&error)))
}

/// The report about a text that has to be none.
#[track_caller]
fn refused(text: &str) -> String {
    match parse("Dockerfile", text.as_bytes()) {
        Ok(_) => panic!("{text:?} is accepted"),
        Err(error) => render(&error),
    }
}

/// The instructions of the first stage.
fn statements(text: &str) -> Vec<Statement> {
    parsed(text).stages.swap_remove(0).instructions
}

/// Options with these build arguments, from amd64 for arm64.
fn options(build_args: &[(&str, &str)]) -> PlanOptions {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    PlanOptions {
        build_args: build_args.iter().map(owned).collect(),
        target_platform: Platform::new("linux", "arm64", None),
        build_platform: Platform::new("linux", "amd64", None),
        ..PlanOptions::default()
    }
}

/// Plans; every image there is has the same small config.
fn plan_with(text: &str, options: &PlanOptions) -> Result<Plan, String> {
    let file = parse("Dockerfile", text.as_bytes()).map_err(|error| render(&error))?;
    let outline = outline(&file, options).map_err(|error| render(&error))?;
    let mut configs = BaseConfigs::new();
    loop {
        match plan(&outline, &configs).map_err(|error| render(&error))? {
            Planning::Ready(plan) => return Ok(plan),
            Planning::Needs(images) => {
                for need in images {
                    let config = base_config(&need.image.platform, &need.image.to_string());
                    configs.insert(need.image, config);
                }
            }
        }
    }
}

/// `FROM base` sets variables, `FROM onbuild` leaves triggers, `FROM windows` is for Windows.
fn base_config(platform: &Platform, name: &str) -> BaseConfig {
    let config = match name {
        name if name.contains("/base:") => serde_json::json!({"Env": ["PATH=/bin", "F=1"]}),
        name if name.contains("/onbuild:") => serde_json::json!({"OnBuild": ["RUN <<EOF\nx\nEOF", "ENV broken"]}),
        _ => serde_json::json!({}),
    };
    let mut value = serde_json::to_value(platform).unwrap();
    if name.contains("/windows:") {
        value["os"] = "windows".into();
    }
    value["config"] = config;
    value["rootfs"] = serde_json::json!({"type": "layers", "diff_ids": []});
    BaseConfig {
        manifest_digest: Digest::of(name.as_bytes()),
        config: ImageConfig::parse(&serde_json::to_vec(&value).unwrap()).unwrap(),
    }
}

#[track_caller]
fn planned(text: &str) -> Plan {
    plan_with(text, &options(&[])).unwrap_or_else(|report| panic!("{text:?}: {report}"))
}

fn target(plan: &Plan) -> &PlannedStage {
    plan.stage(plan.products[0].stage).unwrap()
}

/// The last RUN of the target.
fn last_run(plan: &Plan) -> &RunStep {
    let run = |step: &'_ Step| matches!(step, Step::Run(_));
    match &target(plan).steps.iter().rfind(|step| run(&step.step)).unwrap().step {
        Step::Run(run) => run,
        other => panic!("{other:?}"),
    }
}

/// The `Env` of the target's config.
fn config_env(plan: &Plan) -> Vec<String> {
    target(plan).config.config.env.clone()
}

/// What the process of the last RUN sees of a variable, proxies included.
fn variable<'p>(plan: &'p Plan, name: &str) -> Option<&'p str> {
    let run = last_run(plan);
    let entries = run.proxy_env.iter().chain(&run.env);
    entries
        .filter_map(|entry| entry.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}
