//! A container as a manifest describes it, and how an engine is told to start one.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// What is to run, and on what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Step {
    pub(crate) image: String,
    pub(crate) command: Vec<String>,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) directory: Option<String>,
    pub(crate) user: Option<u64>,
    /// More flags for the engine.
    pub(crate) flags: Vec<String>,
    pub(crate) stdin: Option<PathBuf>,
}

/// A directory of the machine that the container sees.
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    pub(crate) source: PathBuf,
    pub(crate) target: String,
    pub(crate) read_only: bool,
}

impl Mount {
    pub(crate) fn writable(source: &Path, target: &str) -> Self {
        Self {
            source: source.to_owned(),
            target: target.to_owned(),
            read_only: false,
        }
    }
}

impl Step {
    /// Reads a container of a pod, or what Tekton and Argo call one. `volume` says where a volume of that name is.
    ///
    /// A member that nothing here acts on is a failure: an example must not hold what no test has tried.
    pub(crate) fn of_container(container: &Value, volume: impl Fn(&str) -> PathBuf) -> Self {
        let mut step = Self::default();
        for (member, value) in container.as_object().unwrap() {
            match member.as_str() {
                "image" => step.image = text(value),
                "command" => step.command = texts(value),
                "args" => step.args = texts(value),
                "env" => step.env = variables(value),
                "workingDir" => step.directory = Some(text(value)),
                "volumeMounts" => step.mounts = mounts(value, &volume),
                "securityContext" => step.user = user(value),
                "name" | "stdin" | "stdinOnce" => {}
                // What Tekton writes into a file and starts.
                "script" => {
                    let shell = text(value).lines().next().unwrap().trim_start_matches("#!").to_owned();
                    step.command = vec![shell, "-c".to_owned(), text(value)];
                }
                unknown => panic!("no test knows what {unknown} of {container} does"),
            }
        }
        step
    }

    /// The words behind `run` of podman and docker.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = self.flags.clone();
        words.extend(self.env.iter().map(|(name, value)| format!("--env={name}={value}")));
        words.extend(self.mounts.iter().map(|mount| {
            let mode = if mount.read_only { ":ro" } else { "" };
            format!("--volume={}:{}{mode}", mount.source.display(), mount.target)
        }));
        words.extend(self.directory.iter().map(|directory| format!("--workdir={directory}")));
        words.extend(self.user.iter().map(|user| format!("--user={user}")));
        let mut command = self.command.iter().cloned();
        words.extend(command.next().map(|program| format!("--entrypoint={program}")));
        if self.stdin.is_some() {
            words.push("--interactive".to_owned());
        }
        words.push(self.image.clone());
        words.extend(command);
        words.extend(self.args.iter().cloned());
        words
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(text).collect()
}

fn variables(value: &Value) -> Vec<(String, String)> {
    let pair = |variable: &Value| (text(&variable["name"]), text(&variable["value"]));
    value.as_array().unwrap().iter().map(pair).collect()
}

fn mounts(value: &Value, volume: &impl Fn(&str) -> PathBuf) -> Vec<Mount> {
    let mount = |mount: &Value| Mount {
        source: volume(mount["name"].as_str().unwrap()),
        target: text(&mount["mountPath"]),
        read_only: mount["readOnly"].as_bool().unwrap_or_default(),
    };
    value.as_array().unwrap().iter().map(mount).collect()
}

fn user(security: &Value) -> Option<u64> {
    let members: Vec<_> = security.as_object().unwrap().keys().collect();
    assert_eq!(members, ["runAsUser"], "no test knows what the others do");
    security["runAsUser"].as_u64()
}
