//! podman as a cluster of one node.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::step::Step;
use crate::support::process::Output;
use crate::support::{Registry, Sandbox, runtime};

/// Plays pods and runs containers. What a registry gives is kept for all of them.
#[derive(Debug)]
pub(crate) struct Node {
    sandbox: Sandbox,
}

/// Which system calls a container may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seccomp {
    /// All: what Kubernetes does unless a pod or the kubelet says otherwise.
    Unconfined,
    /// Those of the runtime's own profile: `seccompProfile: {type: RuntimeDefault}`.
    RuntimeDefault,
}

impl Node {
    pub(crate) fn start(registry: &Registry) -> Self {
        let sandbox = Sandbox::new();
        registry.login(&sandbox);
        // Writes the configuration that commands side by side only read.
        let _podman = runtime::podman(&sandbox);
        Self { sandbox }
    }

    /// Creates what the documents describe: config maps, and one pod with one container.
    pub(crate) fn play(&self, documents: &[Value], seccomp: Seccomp) -> Pod<'_> {
        let documents: Vec<_> = documents.iter().map(|document| fitted(document, seccomp)).collect();
        let pod = documents.iter().find(|document| document["kind"] == "Pod").unwrap();
        let name = pod["metadata"]["name"].as_str().unwrap();
        let container = pod["spec"]["containers"][0]["name"].as_str().unwrap();
        let texts: Vec<_> = documents.iter().map(Value::to_string).collect();
        let manifest = self.sandbox.write(&format!("{name}.yaml"), texts.join("\n---\n"));
        let pod = Pod {
            node: self,
            container: format!("{name}-{container}"),
            manifest,
        };
        let manifest = pod.manifest.to_str().unwrap();
        let _created = self.podman(&["kube", "play", "--tls-verify=false", manifest]).success();
        pod
    }

    /// Runs a container to its end.
    pub(crate) fn run(&self, step: &Step) -> Output {
        let mut podman = runtime::podman(&self.sandbox);
        podman.args(["run", "--rm", "--quiet", "--tls-verify=false", "--network=host"]);
        podman.args(step.words());
        if let Some(stdin) = &step.stdin {
            podman.stdin(std::fs::File::open(stdin).unwrap());
        }
        self.sandbox.run(podman)
    }

    fn podman(&self, words: &[&str]) -> Output {
        let mut podman = runtime::podman(&self.sandbox);
        podman.args(words);
        self.sandbox.run(podman)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        runtime::release_storage(&self.sandbox);
    }
}

/// What this podman does not do as a cluster would: the network is the machine's, a job is its pod, and the profile is named
/// by an annotation.
fn fitted(document: &Value, seccomp: Seccomp) -> Value {
    let mut document = match document["kind"].as_str().unwrap() {
        "Job" => json!({"apiVersion": "v1", "kind": "Pod", "metadata": document["metadata"],
            "spec": document["spec"]["template"]["spec"]}),
        _ => document.clone(),
    };
    if document["kind"] == "Pod" {
        document["spec"]["hostNetwork"] = true.into();
        if seccomp == Seccomp::Unconfined {
            let container = document["spec"]["containers"][0]["name"].as_str().unwrap();
            let annotation = format!("container.seccomp.security.alpha.kubernetes.io/{container}");
            document["metadata"]["annotations"] = json!({annotation: "unconfined"});
        }
    }
    document
}

/// A pod that was created. Taken down when dropped.
#[derive(Debug)]
pub(crate) struct Pod<'n> {
    node: &'n Node,
    container: String,
    manifest: PathBuf,
}

impl Pod<'_> {
    /// Waits for its end, expects exit code 0, and returns what it has said.
    #[track_caller]
    pub(crate) fn succeeds(&self) -> String {
        let code = self.node.podman(&["wait", &self.container]).success().stdout;
        let log = self.log();
        assert_eq!(code.trim(), "0", "{} failed:\n{log}", self.container);
        log
    }

    fn log(&self) -> String {
        let said = self.node.podman(&["logs", &self.container]).success();
        said.stdout + &said.stderr
    }

    /// Runs a command in it.
    pub(crate) fn exec(&self, directory: &str, env: &[(String, String)], command: &[&str]) -> Output {
        let variables: Vec<_> = env
            .iter()
            .map(|(name, value)| format!("--env={name}={value}"))
            .collect();
        let mut words = vec!["exec", "--workdir", directory];
        words.extend(variables.iter().map(String::as_str));
        words.push(&self.container);
        words.extend(command);
        self.node.podman(&words)
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        let down = self.node.podman(&["kube", "down", self.manifest.to_str().unwrap()]);
        if !std::thread::panicking() {
            let _taken_down = down.success();
        }
    }
}
