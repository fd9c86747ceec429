//! Goldens of the Dockerfile language: each folder below `testdata/dockerfile` and `testdata/plan`
//! holds a `Dockerfile` and either the `result` or the rendered `error`. `UPDATE_GOLDEN=1` rewrites
//! them.
//!
//! A plan case may have an `options` file with lines `build-arg K=V`, `label K=V`, `target NAME`,
//! `platform P`, and a `bases.json` that maps references to the `config` member of their image config.

#![expect(clippy::unwrap_used, reason = "a case that cannot be read has to fail")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use rbuild::diagnostic::render;
use rbuild::dockerfile::{Dockerfile, check_frontend, parse};
use rbuild::oci::{Digest, ImageConfig};
use rbuild::plan::{BaseConfig, BaseConfigs, ImageKey, ImageUse, PlanOptions, Planning, PlatformOrigin, outline, plan};

#[test]
fn dockerfiles_parse_as_recorded() {
    let cases = cases("testdata/dockerfile");
    assert!(cases.len() >= 30, "only {} cases", cases.len());
    for case in cases {
        let text = fs::read(case.join("Dockerfile")).unwrap();
        let outcome = check_frontend("Dockerfile", &text, None).and_then(|()| parse("Dockerfile", &text));
        check(&case, outcome.map(|file| dump(&file)).map_err(|error| render(&error)));
    }
}

#[test]
fn plans_are_as_recorded() {
    let cases = cases("testdata/plan");
    assert!(cases.len() >= 10, "only {} cases", cases.len());
    for case in cases {
        let outcome = plan_case(&case);
        check(&case, outcome);
    }
}

/// Sorted, so that a failure names the same case on every machine.
fn cases(directory: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut cases: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

fn check(case: &Path, outcome: Result<String, String>) {
    let (result, error) = (case.join("result"), case.join("error"));
    let (file, other, text) = match &outcome {
        Ok(text) => (&result, &error, text),
        Err(text) => (&error, &result, text),
    };
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(file, text).unwrap();
        let _ = fs::remove_file(other);
        return;
    }
    let expected = fs::read_to_string(file).unwrap_or_else(|_| format!("no {}", file.display()));
    assert_eq!(*text, expected, "{}", case.display());
    assert!(!other.exists(), "{} has both a result and an error", case.display());
}

fn dump(file: &Dockerfile) -> String {
    let mut text = format!("{:?}\n", file.directives);
    for arg in &file.global_args {
        let _ = writeln!(text, "{}..{} {:?}", arg.span.first, arg.span.last, arg.value);
    }
    for stage in &file.stages {
        let _ = writeln!(
            text,
            "{}..{} {:?}",
            stage.from.span.first, stage.from.span.last, stage.from.value
        );
        for statement in &stage.instructions {
            let span = statement.span;
            let _ = writeln!(text, "{}..{} {:?}", span.first, span.last, statement.instruction);
        }
    }
    text
}

fn plan_case(case: &Path) -> Result<String, String> {
    let text = fs::read(case.join("Dockerfile")).unwrap();
    let file = parse("Dockerfile", &text).map_err(|error| render(&error))?;
    let outline = outline(&file, &options(case)).map_err(|error| render(&error))?;
    let mut text = String::new();
    let mut configs = BaseConfigs::new();
    let mut rounds = vec![outline.images().to_vec()];
    loop {
        for need in rounds.pop().unwrap() {
            let purpose = match need.purpose {
                ImageUse::Base => "base",
                ImageUse::Source => "source",
            };
            let _ = writeln!(text, "fetch {purpose} {}", need.image);
            if need.purpose == ImageUse::Base {
                configs.insert(need.image.clone(), base_config(case, &need.image));
            }
        }
        match plan(&outline, &configs).map_err(|error| render(&error))? {
            Planning::Needs(images) => rounds.push(images),
            Planning::Ready(plan) => {
                let config = serde_json::to_string_pretty(&plan.products[0].config).unwrap();
                let _ = write!(text, "\n{plan}\n{config}\n");
                return Ok(text);
            }
        }
    }
}

fn options(case: &Path) -> PlanOptions {
    let mut options = PlanOptions {
        target_platform: "linux/amd64".parse().unwrap(),
        build_platform: "linux/amd64".parse().unwrap(),
        ..PlanOptions::default()
    };
    for line in fs::read_to_string(case.join("options")).unwrap_or_default().lines() {
        let (name, value) = line.split_once(' ').unwrap();
        let pair = || {
            let (key, value) = value.split_once('=').unwrap();
            (key.to_owned(), value.to_owned())
        };
        match name {
            "build-arg" => options.build_args.push(pair()),
            "label" => options.labels.push(pair()),
            "target" => options.targets.push(value.to_owned()),
            "platform" => {
                options.target_platform = value.parse().unwrap();
                options.platform_origin = PlatformOrigin::Requested;
            }
            other => panic!("unknown option {other}"),
        }
    }
    options
}

fn base_config(case: &Path, image: &ImageKey) -> BaseConfig {
    let bases = fs::read(case.join("bases.json")).unwrap_or_else(|_| b"{}".to_vec());
    let bases: serde_json::Value = serde_json::from_slice(&bases).unwrap();
    let mut config = serde_json::to_value(&image.platform).unwrap();
    config["config"] = bases[image.source.to_string()].clone();
    config["rootfs"] = serde_json::json!({"type": "layers", "diff_ids": []});
    BaseConfig {
        manifest_digest: Digest::of(image.to_string().as_bytes()),
        config: ImageConfig::parse(&serde_json::to_vec(&config).unwrap()).unwrap(),
    }
}
