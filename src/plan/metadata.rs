//! Instructions that change the config and no file.

use super::environment::set_entry;
use super::error::PlanProblem;
use super::stage::{Applied, StageState};
use super::{Step, history, ports, signals};
use crate::dockerfile::{Command, Escape, Healthcheck, KeyValue, Word};
use crate::oci::HealthCheck;

fn applied(created_by: String) -> Applied {
    (Step::Metadata, Some(history::metadata(created_by)))
}

/// All pairs see the variables as they were before the instruction.
fn expand_pairs(
    state: &StageState,
    keyword: &'static str,
    pairs: &[KeyValue],
    escape: Escape,
) -> Result<Vec<(String, String)>, PlanProblem> {
    let expand = |pair: &KeyValue| {
        let key = state.word(&pair.key, escape)?;
        match key.is_empty() {
            true => Err(PlanProblem::BlankName { keyword }),
            false => Ok((key, state.word(&pair.value, escape)?)),
        }
    };
    pairs.iter().map(expand).collect()
}

fn show_pairs(keyword: &str, pairs: &[(String, String)]) -> String {
    let shown: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{keyword} {}", shown.join(" "))
}

pub(super) fn env(state: &mut StageState, pairs: &[KeyValue], escape: Escape) -> Result<Applied, PlanProblem> {
    let pairs = expand_pairs(state, "ENV", pairs, escape)?;
    for (key, value) in &pairs {
        set_entry(&mut state.config.config.env, key, value);
        state.environment.variables.set(key, value);
    }
    Ok(applied(show_pairs("ENV", &pairs)))
}

pub(super) fn label(state: &mut StageState, pairs: &[KeyValue], escape: Escape) -> Result<Applied, PlanProblem> {
    let pairs = expand_pairs(state, "LABEL", pairs, escape)?;
    let created_by = show_pairs("LABEL", &pairs);
    state.config.config.labels.extend(pairs);
    Ok(applied(created_by))
}

pub(super) fn cmd(state: &mut StageState, command: &Command) -> Applied {
    let argv = state.argv(command);
    let created_by = history::quoted_list("CMD", &argv);
    state.config.config.cmd = (!argv.is_empty()).then_some(argv);
    state.config.config.args_escaped = true;
    state.has_cmd = true;
    applied(created_by)
}

pub(super) fn entrypoint(state: &mut StageState, command: &Command) -> Applied {
    let argv = state.argv(command);
    let created_by = history::quoted_list("ENTRYPOINT", &argv);
    state.config.config.entrypoint = (!argv.is_empty()).then_some(argv);
    // A CMD meant for another entrypoint would be nonsense as its arguments.
    if !state.has_cmd {
        state.config.config.cmd = None;
    }
    applied(created_by)
}

pub(super) fn expose(state: &mut StageState, ports: &[Word], escape: Escape) -> Result<Applied, PlanProblem> {
    let mut exposed = Vec::new();
    for port in ports {
        for word in state.environment.expand(escape, |expander| expander.words(port))? {
            exposed.extend(ports::parse(&word)?);
        }
    }
    exposed.sort();
    exposed.dedup();
    let created_by = history::plain_list("EXPOSE", &exposed);
    let members = exposed.into_iter().map(|port| (port, Default::default()));
    state.config.config.exposed_ports.extend(members);
    Ok(applied(created_by))
}

pub(super) fn volume(state: &mut StageState, paths: &[Word], escape: Escape) -> Result<Applied, PlanProblem> {
    let mut volumes = Vec::new();
    for path in paths {
        let path = state.word(path, escape)?;
        if path.trim().is_empty() {
            return Err(PlanProblem::EmptyVolume);
        }
        volumes.push(path);
    }
    let created_by = history::plain_list("VOLUME", &volumes);
    let members = volumes.into_iter().map(|path| (path, Default::default()));
    state.config.config.volumes.extend(members);
    Ok(applied(created_by))
}

pub(super) fn healthcheck(state: &mut StageState, check: &Healthcheck) -> Applied {
    let check = match check {
        Healthcheck::None => HealthCheck {
            test: vec!["NONE".to_owned()],
            ..HealthCheck::default()
        },
        Healthcheck::Check {
            command,
            interval,
            timeout,
            start_period,
            start_interval,
            retries,
        } => HealthCheck {
            test: test_of(command),
            interval: *interval,
            timeout: *timeout,
            start_period: *start_period,
            start_interval: *start_interval,
            retries: *retries,
        },
    };
    let created_by = history::healthcheck(&check);
    state.config.config.healthcheck = Some(check);
    applied(created_by)
}

/// SHELL does not matter here: the runtime brings its own.
fn test_of(command: &Command) -> Vec<String> {
    match command {
        Command::Shell(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
        Command::Exec(argv) => std::iter::once("CMD".to_owned()).chain(argv.iter().cloned()).collect(),
    }
}

pub(super) fn maintainer(state: &mut StageState, author: &str) -> Applied {
    state.config.author = Some(author.to_owned());
    applied(format!("MAINTAINER {author}"))
}

/// Leaves no history: the trigger is for others.
pub(super) fn onbuild(state: &mut StageState, trigger: &str) -> Applied {
    state.config.config.on_build.push(trigger.to_owned());
    (Step::Metadata, None)
}

pub(super) fn shell(state: &mut StageState, argv: &[String]) -> Applied {
    state.config.config.shell = Some(argv.to_vec());
    applied(history::plain_list("SHELL", argv))
}

pub(super) fn stopsignal(state: &mut StageState, signal: &Word, escape: Escape) -> Result<Applied, PlanProblem> {
    let signal = state.word(signal, escape)?;
    if state.config.platform.os == "windows" {
        return Err(PlanProblem::SignalOnWindows);
    }
    signals::check(&signal)?;
    let created_by = format!("STOPSIGNAL {signal}");
    state.config.config.stop_signal = Some(signal);
    Ok(applied(created_by))
}

pub(super) fn user(state: &mut StageState, user: &Word, escape: Escape) -> Result<Applied, PlanProblem> {
    let user = state.word(user, escape)?;
    let created_by = format!("USER {user}");
    state.config.config.user = (!user.is_empty()).then_some(user);
    Ok(applied(created_by))
}
