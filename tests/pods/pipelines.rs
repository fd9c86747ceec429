//! Kubernetes, GitLab, Tekton and Argo.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::examples::append;
use crate::node::Seccomp;
use crate::step::{Mount, Step};
use crate::{SMALL_APPLICATION, Site};

/// Credentials from a config map, the context from the node.
pub(crate) fn kubernetes_pod(site: &Site) {
    let context = site.hello("kubernetes-pod");
    let mut documents = site.examples(&context).documents("kubernetes/pod.yaml");
    // A kubelet mounts a file for last words.
    let last_words = site.sandbox.write("last-words", "");
    let spec = &mut documents[1]["spec"];
    append(
        &mut spec["volumes"],
        json!({"name": "last-words", "hostPath": {"path": last_words, "type": "File"}}),
    );
    append(
        &mut spec["containers"][0]["volumeMounts"],
        json!({"name": "last-words", "mountPath": "/dev/termination-log"}),
    );
    let pod = site.node.play(&documents, Seccomp::Unconfined);
    let log = pod.succeeds();
    crate::is_isolated(&log, Seccomp::Unconfined);
    for tag in ["1.0", "latest"] {
        site.is_digest_of(
            &std::fs::read_to_string(&last_words).unwrap(),
            &format!("team/hello:{tag}"),
        );
    }
    site.hello_answers("team/hello:1.0", "1.0");
}

/// A part of a private repository.
pub(crate) fn job_from_git(site: &Site) {
    let repository = site.git.repository("hello.git");
    repository.write("server/Dockerfile", SMALL_APPLICATION);
    let _commit = repository.commit("one");
    // The user is the token, and there is no password.
    site.git.demand("Basic dG9rZW4tb2YtYS1yb2JvdDo=");
    let examples = site.small_examples(Path::new("/"));
    let mut job = examples.document("kubernetes/job-git.yaml");
    // There is no TLS here.
    let container = &mut job["spec"]["template"]["spec"]["containers"][0];
    append(
        &mut container["env"],
        json!({"name": "GIT_PULL_METHOD", "value": "http"}),
    );
    let config_map = examples.document("kubernetes/pod.yaml");
    let pod = site.node.play(&[config_map, job], Seccomp::Unconfined);
    let log = pod.succeeds();
    assert!(!log.contains("token-of-a-robot"), "{log}");
    site.small_says("team/hello:from-git", "development");
}

/// An archive that is sent to the container, as `kubectl attach -i` sends it.
pub(crate) fn job_from_stdin(site: &Site) {
    let context = site.small("kubernetes-stdin");
    let archive = site.sandbox.path("context.tar.gz");
    let mut tar = site.sandbox.command("tar");
    tar.arg("-czf").arg(&archive).arg("-C").arg(context).arg(".");
    let _packed = site.sandbox.run(tar).success();
    let job = site
        .small_examples(Path::new("/"))
        .document("kubernetes/job-stdin.yaml");
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        (&container["stdin"], &container["stdinOnce"]),
        (&true.into(), &true.into())
    );
    // This podman plays no pod that reads.
    let config = site.docker_config("stdin-config");
    let mut step = Step::of_container(container, |_| config.clone());
    step.stdin = Some(archive);
    let _built = site.node.run(&step).success();
    site.small_says("team/hello:from-stdin", "development");
}

/// The job writes its own credentials and has a shell of its own.
pub(crate) fn gitlab(site: &Site) {
    let context = site.small("gitlab");
    let file = site.small_examples(&context).document("gitlab/.gitlab-ci.yml");
    let job = &file["image"];
    assert_eq!(job["image"]["entrypoint"], json!([""]));
    let variables = job["variables"].as_object().unwrap().iter();
    let variables = variables.map(|(name, value)| (name.as_str(), value.as_str().unwrap().to_owned()));
    // What a runner defines.
    let predefined = [
        ("CI_PROJECT_DIR", "/builds/team/hello".to_owned()),
        ("CI_REGISTRY", site.registry.host()),
        ("CI_REGISTRY_USER", "user".to_owned()),
        ("CI_REGISTRY_PASSWORD", "secret".to_owned()),
        ("CI_REGISTRY_IMAGE", site.registry.reference("team/hello")),
        ("CI_COMMIT_TAG", "gitlab".to_owned()),
    ];
    // A runner sends the script to a shell.
    let lines: Vec<_> = texts(&job["script"]).collect();
    let script = site
        .sandbox
        .write("gitlab-script", format!("set -e\n{}\n", lines.join("\n")));
    let step = Step {
        image: job["image"]["name"].as_str().unwrap().to_owned(),
        args: vec!["sh".to_owned()],
        env: variables
            .chain(predefined)
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        mounts: vec![Mount::writable(&context, "/builds/team/hello")],
        directory: Some("/builds/team/hello".to_owned()),
        flags: vec!["--entrypoint=".to_owned()],
        stdin: Some(script),
        ..Step::default()
    };
    let built = site.docker.run(&step).success();
    crate::is_isolated(&built.stderr, Seccomp::RuntimeDefault);
    assert_eq!(job["artifacts"]["paths"], json!(["digest"]));
    let digest = std::fs::read_to_string(context.join("digest")).unwrap();
    site.is_digest_of(&digest, "team/hello:gitlab");
    site.small_says("team/hello:gitlab", "gitlab");
}

/// Results are files, and a newline would be part of them.
pub(crate) fn tekton(site: &Site) {
    let run = TaskRun::new(site, "tekton", "tekton/task.yaml");
    let image = site.registry.reference("team/hello:tekton");
    let run = run
        .param("IMAGE", &image)
        .mount(site.docker_config("tekton-config"), "/kaniko/.docker");
    run.succeeds();
    site.is_digest_of(&run.result("IMAGE_DIGEST"), "team/hello:tekton");
    assert_eq!(run.result("IMAGE_URL"), image);
    site.small_says("team/hello:tekton", "development");
}

/// What one step has written the next one reads, as another user.
pub(crate) fn tekton_layout(site: &Site) {
    let run = TaskRun::new(site, "tekton-layout", "tekton/task-layout.yaml");
    let run = run.mount(site.docker_config("tekton-layout-config"), "/kaniko/.docker");
    run.succeeds();
    let index = std::fs::read_to_string(run.workspace.join("image/index.json")).unwrap();
    assert!(index.contains(&run.result("IMAGE_DIGEST")), "{index}");
}

/// A task with its workspace `source`, as Tekton runs it: the steps one after the other.
struct TaskRun<'s> {
    site: &'s Site,
    task: Value,
    workspace: PathBuf,
    results: PathBuf,
    variables: Vec<(String, String)>,
    mounts: Vec<Mount>,
}

impl<'s> TaskRun<'s> {
    fn new(site: &'s Site, name: &str, example: &str) -> Self {
        let workspace = site.small(name);
        let results = site.sandbox.directory(&format!("{name}-results"));
        let task = site.small_examples(&workspace).document(example);
        let mut variables = vec![("workspaces.source.path".to_owned(), "/workspace/source".to_owned())];
        for result in names(&task["spec"]["results"]) {
            variables.push((format!("results.{result}.path"), format!("/tekton/results/{result}")));
        }
        for param in task["spec"]["params"].as_array().unwrap() {
            if let Some(default) = param["default"].as_str() {
                variables.push((
                    format!("params.{}", param["name"].as_str().unwrap()),
                    default.to_owned(),
                ));
            }
        }
        let mounts = vec![
            Mount::writable(&workspace, "/workspace/source"),
            Mount::writable(&results, "/tekton/results"),
        ];
        Self {
            site,
            task,
            workspace,
            results,
            variables,
            mounts,
        }
    }

    fn param(mut self, name: &str, value: &str) -> Self {
        self.variables.push((format!("params.{name}"), value.to_owned()));
        self
    }

    /// Binds a workspace that the task wants at this path.
    fn mount(mut self, source: PathBuf, path: &str) -> Self {
        let workspaces = self.task["spec"]["workspaces"].as_array().unwrap();
        assert!(workspaces.iter().any(|workspace| workspace["mountPath"] == path));
        self.mounts.push(Mount::writable(&source, path));
        self
    }

    fn succeeds(&self) {
        for step in self.task["spec"]["steps"].as_array().unwrap() {
            let mut step = Step::of_container(step, |name| panic!("a step mounts {name}"));
            step.args = step.args.iter().flat_map(|arg| self.argument(arg)).collect();
            step.command = step.command.iter().map(|word| self.filled(word)).collect();
            step.directory = step.directory.map(|directory| self.filled(&directory));
            step.mounts.clone_from(&self.mounts);
            step.flags.push("--security-opt=seccomp=unconfined".to_owned());
            let _done = self.site.docker.run(&step).success();
        }
    }

    /// An array stands for as many arguments as it has.
    fn argument(&self, arg: &str) -> Vec<String> {
        match arg {
            "$(params.EXTRA_ARGS[*])" => {
                let base = self.site.registry.reference("base/small:1");
                vec![format!("--build-arg=BASE={base}"), "--reproducible".to_owned()]
            }
            _ => vec![self.filled(arg)],
        }
    }

    fn filled(&self, text: &str) -> String {
        let fill = |text: String, (name, value): &(String, String)| text.replace(&format!("$({name})"), value);
        self.variables.iter().fold(text.to_owned(), fill)
    }

    fn result(&self, name: &str) -> String {
        std::fs::read_to_string(self.results.join(name)).unwrap()
    }
}

/// Parameters, a source that Argo checks out, and an output that it reads from a file.
pub(crate) fn argo(site: &Site) {
    let context = site.small("argo");
    let workflow = site.small_examples(&context).document("argo/workflow.yaml");
    let template = &workflow["spec"]["templates"][0];
    assert_eq!(workflow["spec"]["entrypoint"], template["name"]);
    let config = site.docker_config("argo-config");
    assert_eq!(workflow["spec"]["volumes"][0]["name"], "docker-config");
    let mut step = Step::of_container(&template["container"], |_| config.clone());
    let artifact = &template["inputs"]["artifacts"][0];
    step.mounts
        .push(Mount::writable(&context, artifact["path"].as_str().unwrap()));
    for parameter in workflow["spec"]["arguments"]["parameters"].as_array().unwrap() {
        let placeholder = format!("{{{{workflow.parameters.{}}}}}", parameter["name"].as_str().unwrap());
        for arg in &mut step.args {
            *arg = arg.replace(&placeholder, parameter["value"].as_str().unwrap());
        }
    }
    // Argo's own program starts the command, and reads the output when it has ended.
    let output = template["outputs"]["parameters"][0]["valueFrom"]["path"]
        .as_str()
        .unwrap();
    let wrapper = ["/busybox/sh", "-ec", "\"$@\" >&2; cat \"$0\"", output].map(str::to_owned);
    step.command.splice(0..0, wrapper);
    let built = site.node.run(&step).success();
    crate::is_isolated(&built.stderr, Seccomp::RuntimeDefault);
    site.is_digest_of(&built.stdout, "team/hello:argo");
    site.small_says("team/hello:argo", "development");
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap())
}

fn names(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|item| item["name"].as_str().unwrap())
}
