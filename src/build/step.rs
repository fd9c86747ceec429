//! What each kind of step does to its stage.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::accounts::Accounts;
use super::archive::AddArchives;
use super::error::{BuildError, Problem};
use super::layer_job::LayerJob;
use super::process;
use super::session::{Layering, Session};
use super::sources;
use super::stage::{Addition, Stage, WithoutChanges};
use crate::copy::{self, CopyRequest, LinkedCopy};
use crate::plan::{Base, CopyStep, Onto, PlannedStage, PlannedStep, Step, WorkdirStep};
use crate::progress::{Event, StepRef};
use crate::rootfs::Rootfs;
use crate::snapshot::{ChangeSet, Fingerprints};

/// Runs every step of a stage.
pub(crate) fn run_all(stage: &mut Stage, planned: &PlannedStage, session: &Session) -> Result<(), BuildError> {
    let label = planned.label.as_str();
    let of = planned.part.of;
    let squashes =
        session.layering == Layering::PerStage && planned.steps.iter().any(|step| step.step != Step::Metadata);
    if squashes {
        record_before(stage, session)?;
    }
    for (position, step) in planned.steps.iter().enumerate() {
        session.cancel.check()?;
        let reference = StepRef {
            stage: label,
            number: planned.part.before + position + 1,
            of,
        };
        let started = Instant::now();
        session.progress.event(Event::StepStart {
            step: reference,
            text: &step.text,
        });
        announce_unpacking(stage, planned, step, reference, session);
        let layer = run_one(stage, &step.step, reference, session).map_err(|error| error.at(&step.excerpt, label))?;
        session.progress.event(Event::StepEnd {
            step: reference,
            took: started.elapsed(),
        });
        if let Some(history) = &step.history {
            stage.lineage.additions.push(Addition {
                history: history.clone(),
                layer,
                created: Timestamp::now(),
            });
        }
    }
    if squashes {
        squash(stage, (label.to_owned(), of, of), session)?;
    }
    Ok(())
}

/// The kaniko executor's words.
fn announce_unpacking(
    stage: &Stage,
    planned: &PlannedStage,
    step: &PlannedStep,
    reference: StepRef<'_>,
    session: &Session,
) {
    let unpacks = matches!(planned.base, Base::Image(_)) && step.step != Step::Metadata && stage.unpacked().is_none();
    if unpacks {
        let command = step.text.lines().next().unwrap_or_default();
        session.progress.event(Event::StepInfo {
            step: reference,
            text: &format!("Unpacking rootfs as cmd {command} requires it."),
        });
    }
}

fn run_one(
    stage: &mut Stage,
    step: &Step,
    reference: StepRef<'_>,
    session: &Session,
) -> Result<Option<LayerJob>, BuildError> {
    // COPY and WORKDIR always are a layer, as in BuildKit; of a RUN the snapshot may find nothing, and then says so.
    let (changes, without_changes) = match step {
        Step::Metadata => return Ok(None),
        Step::Run(run) => (process::run(stage, run, reference, session)?, WithoutChanges::NoLayer),
        Step::Copy(copy) => (run_copy(stage, copy, reference, session)?, WithoutChanges::EmptyLayer),
        Step::Workdir(workdir) => (
            run_workdir(stage, workdir, reference, session)?,
            WithoutChanges::EmptyLayer,
        ),
    };
    if let (Step::Copy(_) | Step::Workdir(_), Layering::PerStep) = (step, session.layering) {
        session.progress.event(Event::StepInfo {
            step: reference,
            text: "Taking snapshot of files...",
        });
    }
    match session.layering {
        Layering::PerStep => stage.add_layer(
            changes,
            without_changes,
            (reference.stage.to_owned(), reference.number, reference.of),
            session,
        ),
        Layering::PerStage => Ok(None),
    }
}

/// For one layer a stage: everything is compared with the state before its first step.
fn record_before(stage: &mut Stage, session: &Session) -> Result<(), BuildError> {
    let rootfs = stage.rootfs(session)?;
    stage.index(&rootfs, session)?;
    Ok(())
}

/// Puts everything that the stage's steps changed into the layer of the last step that could change anything.
fn squash(stage: &mut Stage, step: (String, usize, usize), session: &Session) -> Result<(), BuildError> {
    let rootfs = stage.rootfs(session)?;
    let changes = stage
        .index(&rootfs, session)?
        .diff(&rootfs, &session.cancel)
        .map_err(Problem::Snapshot)?;
    let job = stage.add_layer(changes, WithoutChanges::NoLayer, step, session)?;
    if let Some(last) = stage
        .lineage
        .additions
        .iter_mut()
        .rev()
        .find(|addition| !addition.history.empty_layer)
    {
        last.layer = job;
    }
    Ok(())
}

fn run_copy(
    stage: &mut Stage,
    step: &CopyStep,
    reference: StepRef<'_>,
    session: &Session,
) -> Result<ChangeSet, BuildError> {
    let rootfs = stage.rootfs(session)?;
    let tree = session.tree(&step.from)?;
    let chown = step
        .chown
        .as_ref()
        .map(|owner| Accounts::read(&rootfs)?.owner(owner))
        .transpose()?;
    let parts = sources::parts(step, session)?;
    let archives = AddArchives::new(&*session.progress);
    let request = CopyRequest {
        source: tree.as_source(),
        paths: &[],
        files: &[],
        destination: step.destination.as_bytes(),
        chown,
        chmod: step.chmod.as_ref(),
        exclude: Some(&step.exclude).filter(|patterns| !patterns.is_empty()),
        parents: step.parents,
        mode: copy::Mode::Copy,
        created_mtime: None,
    };
    stage.settle();
    let mut fingerprints = Fingerprints::default();
    let warn = |text: &str| {
        let step = reference;
        session.progress.event(Event::StepWarning { step, text });
    };
    let apart = match step.onto {
        Onto::Stage => None,
        Onto::Nothing => Some(session.workspace().new_rootfs()?),
    };
    let mut linked = apart.as_deref().map(LinkedCopy::new);
    let mut changes = ChangeSet::builder();
    for part in &parts {
        let request = part.request(&request, step.archives, &archives);
        let copied = match &mut linked {
            None => copy::copy(&request, &rootfs, &mut fingerprints, &session.cancel, &warn)?,
            Some(linked) => linked.copy(&request, &mut fingerprints, &session.cancel, &warn)?,
        };
        for path in copied.removed {
            changes.delete(path);
        }
        for path in copied.written {
            changes.upsert(path);
        }
    }
    if let Some(linked) = linked {
        linked.lay_upon(&rootfs, &mut fingerprints, &session.cancel)?;
    }
    if let Some(apart) = apart {
        session.workspace().remove_in_background(apart);
    }
    note(stage, &rootfs, changes.build(), fingerprints, session)
}

fn run_workdir(
    stage: &mut Stage,
    step: &WorkdirStep,
    reference: StepRef<'_>,
    session: &Session,
) -> Result<ChangeSet, BuildError> {
    let rootfs = stage.rootfs(session)?;
    let warn = |text: &str| {
        let step = reference;
        session.progress.event(Event::StepWarning { step, text });
    };
    let owner = match &step.owner {
        Some(owner) => Accounts::read(&rootfs)?.owner_or_root(owner, &warn),
        None => copy::Owner::default(),
    };
    stage.settle();
    let mtime = step.mtime.map(crate::rootfs::Timestamp::from_seconds);
    let created = copy::make_workdir(&rootfs, step.path.as_bytes(), owner, mtime)?;
    let changes = created.into_iter().fold(ChangeSet::builder(), |mut changes, path| {
        changes.upsert(path);
        changes
    });
    note(stage, &rootfs, changes.build(), Fingerprints::default(), session)
}

/// Enters into the stage's record what a step wrote, unless one comparison at the end will find it.
fn note(
    stage: &mut Stage,
    rootfs: &Arc<Rootfs>,
    changes: ChangeSet,
    fingerprints: Fingerprints,
    session: &Session,
) -> Result<ChangeSet, BuildError> {
    if session.layering == Layering::PerStep {
        stage.record(rootfs, &changes, fingerprints)?;
    }
    Ok(changes)
}
