//! RUN: the process, what it prints, and what it changed.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::accounts::Accounts;
use super::error::{BuildError, Problem};
use super::mounts::{Absent, Prepared};
use super::process_failure::ProcessFailure;
use super::session::Session;
use super::stage::Stage;
use crate::copy;
use crate::memory;
use crate::plan::RunStep;
use crate::progress::{Event, StepRef, Stream};
use crate::rootfs::Rootfs;
use crate::run::{Company, HOSTNAME, Process};
use crate::snapshot::ChangeSet;
use crate::users::Identity;

/// How much of a failing process's last words an error repeats.
const LAST_LINES: usize = 6;

/// Runs a process and finds what it changed.
pub(crate) fn run(
    stage: &mut Stage,
    step: &RunStep,
    reference: StepRef<'_>,
    session: &Session,
) -> Result<ChangeSet, BuildError> {
    let rootfs = stage.rootfs(session)?;
    stage.settle();
    let scratch = session.workspace().subdirectory("tmp")?;
    stage
        .index(&rootfs, session)?
        .settle(&scratch)
        .map_err(Problem::Snapshot)?;
    let identity = Accounts::read(&rootfs)?.identity(step.user.as_deref())?;
    make_cwd(&rootfs, &step.cwd)?;
    let prepared = Prepared::of(step, session)?;
    let executed = execute(step, &rootfs, &identity, &prepared, reference, session);
    prepared.release(session);
    executed?;
    find_changes(stage, &rootfs, reference, session)
}

/// A working directory that is not there is made, as WORKDIR would have: its files are the step's changes.
fn make_cwd(rootfs: &Rootfs, cwd: &str) -> Result<(), BuildError> {
    copy::make_workdir(rootfs, cwd.as_bytes(), copy::Owner::default(), None)?;
    Ok(())
}

fn execute(
    step: &RunStep,
    rootfs: &Arc<Rootfs>,
    identity: &Identity,
    prepared: &Prepared,
    reference: StepRef<'_>,
    session: &Session,
) -> Result<(), BuildError> {
    let (isolation, progress) = (session.isolation.as_ref(), &session.progress);
    let isolation = isolation.expect("an isolation is chosen when a stage has a RUN");
    let argv: Vec<OsString> = step.argv.iter().map(OsString::from).collect();
    let env: Vec<(OsString, OsString)> = step
        .env
        .iter()
        .chain(&step.proxy_env)
        .map(|pair| split_pair(pair))
        .chain(prepared.device_env.iter().cloned())
        .collect();
    let process = Process {
        rootfs: rootfs.host_path(),
        argv: &argv,
        env: &env,
        cwd: Path::new(&step.cwd),
        identity,
        hostname: OsStr::new(step.sandbox.hostname.as_deref().unwrap_or(HOSTNAME)),
        script: step
            .script
            .as_ref()
            .map(|script| (Path::new(&script.path), script.content.as_bytes())),
        secret_env: &prepared.env,
        mounts: &prepared.mounts,
        sandbox: &step.sandbox,
        devices: &prepared.devices,
    };
    if isolation.abilities().company == Company::Alone {
        // It looks whether anything was changed that is not the process's.
        session.workspace().wind_up();
    }
    let last_words = LastWords::default();
    let output = |stream: Stream, line: &[u8]| {
        last_words.hear(line);
        progress.event(Event::Output {
            step: reference,
            stream,
            line,
        });
    };
    let memory = memory::Watch::begin();
    let exit = isolation.run(&process, &output, &session.cancel)?;
    if exit.success() {
        return Ok(());
    }
    let (process, details) = (step.argv.join(" "), last_words.into_lines());
    let texts: Vec<_> = details
        .iter()
        .cloned()
        .chain([process.clone()])
        .chain(script_of(step))
        .collect();
    let mut absent = prepared.absent.clone();
    absent.extend(session.supplies.unseen(rootfs.host_path(), &texts).map(Absent::Place));
    let failure = ProcessFailure {
        absent,
        shortage: memory.end(),
        ..ProcessFailure::new(process, exit)
    };
    Err(BuildError::new(failure).with_details(details))
}

fn script_of(step: &RunStep) -> Option<String> {
    step.script.as_ref().map(|script| script.content.clone())
}

fn find_changes(
    stage: &mut Stage,
    rootfs: &Rootfs,
    step: StepRef<'_>,
    session: &Session,
) -> Result<ChangeSet, BuildError> {
    if session.layering == super::session::Layering::PerStage {
        return Ok(ChangeSet::default());
    }
    let text = "Taking snapshot of full filesystem...";
    session.progress.event(Event::StepInfo { step, text });
    let started = Instant::now();
    let index = stage.index(rootfs, session)?;
    let changes = index.diff(rootfs, &session.cancel).map_err(Problem::Snapshot)?;
    let (entries, took) = (index.len(), started.elapsed());
    let text = format!(
        "snapshot of {entries} entries took {:.3} s, {} changed",
        took.as_secs_f64(),
        changes.len()
    );
    session.progress.event(Event::Debug(&text));
    Ok(changes)
}

fn split_pair(pair: &str) -> (OsString, OsString) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    (name.into(), OsString::from_vec(value.as_bytes().to_vec()))
}

/// The last lines that a process printed.
#[derive(Debug, Default)]
struct LastWords(Mutex<std::collections::VecDeque<Vec<u8>>>);

impl LastWords {
    fn hear(&self, line: &[u8]) {
        /// Enough of a line to recognise it by.
        const SHOWN: usize = 500;
        if line.trim_ascii().is_empty() {
            return;
        }
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LAST_LINES {
            lines.pop_front();
        }
        lines.push_back(line[..line.len().min(SHOWN)].to_vec());
    }

    fn into_lines(self) -> Vec<String> {
        let lines = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        lines
            .iter()
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect()
    }
}
