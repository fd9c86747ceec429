//! The plan for people to read, in the words of the kaniko executor's `--dryrun`.

use std::fmt::Write as _;

use super::request::{BuildRequest, TextOutput};
use crate::plan::{Base, Plan, PlannedStage, StageId, Step};

/// What would be built, and where it would go.
pub(super) fn text(plan: &Plan, request: &BuildRequest) -> String {
    let mut text = String::new();
    for stage in &plan.stages {
        add_stage(&mut text, stage, plan);
    }
    for line in results(request) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{line}");
    }
    text
}

fn add_stage(text: &mut String, stage: &PlannedStage, plan: &Plan) {
    let base = match &stage.base {
        Base::Scratch => "scratch".to_owned(),
        Base::Image(key) => key.source.to_string(),
        Base::Stage(id) => label(*id, plan),
    };
    let _ = write!(text, "FROM {base}");
    let _ = match &stage.name {
        Some(name) => writeln!(text, " AS {name}"),
        None => writeln!(text),
    };
    let wants_files = stage.steps.iter().any(|step| step.step != Step::Metadata);
    if let (Base::Image(_), true) = (&stage.base, wants_files) {
        let _ = writeln!(text, "  UNPACK {base}");
    }
    for step in &stage.steps {
        let _ = writeln!(text, "{}", step.text);
    }
    let others = || plan.stages.iter().filter(|other| other.id != stage.id);
    if others().any(|other| other.base == Base::Stage(stage.id)) {
        let _ = writeln!(text, "SAVE STAGE {}", stage.label);
    }
    if others().any(|other| other.reads(stage.id)) {
        let _ = writeln!(text, "SAVE FILES {}", stage.label);
    }
    text.push('\n');
}

fn label(id: StageId, plan: &Plan) -> String {
    plan.stage(id)
        .map_or_else(|| id.to_string(), |stage| stage.label.clone())
}

fn results(request: &BuildRequest) -> Vec<String> {
    let outputs = &request.outputs;
    let mut lines = Vec::new();
    let texts = [
        &outputs.digest_file,
        &outputs.image_name_with_digest_file,
        &outputs.image_name_tag_with_digest_file,
    ];
    let files = texts.into_iter().flatten().filter_map(|output| match output {
        TextOutput::File(path) => Some(path),
        TextOutput::Address(_) => None,
    });
    for path in [&outputs.oci_layout_path, &outputs.tar_path]
        .into_iter()
        .flatten()
        .chain(files)
    {
        lines.push(format!("WRITE {}", path.display()));
    }
    let destinations: Vec<_> = outputs.pushes().iter().map(ToString::to_string).collect();
    if !destinations.is_empty() {
        lines.push(format!("PUSH [{}]", destinations.join(", ")));
    }
    lines
}
