//! rbuild's own image in real containers: the examples of `examples/` as the systems they are written for would run them,
//! under podman and Docker.
//!
//! One image, one registry and one daemon serve all cases. What a case needs to be like its system and is not in its
//! example is said where it is added.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod bad_input;
mod docker;
mod environments;
mod examples;
mod jenkins;
mod node;
mod pipelines;
mod step;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};

use docker::Docker;
use examples::Examples;
use node::{Node, Seccomp};
use step::Step;
use support::git::Git;
use support::registry::{Access, free_port};
use support::runtime::Container;
use support::{Registry, Sandbox, cases, executor};

/// Two stages without a compiler, for the cases whose subject is not what is built.
const SMALL_APPLICATION: &str = "ARG BASE=scratch\n\
    FROM $BASE AS build\nARG VERSION=development\n\
    RUN mkdir /out && echo \"small $VERSION\" > /out/greeting && chown 1000:1000 /out/greeting\n\
    FROM $BASE\nCOPY --from=build /out /out\nRUN test \"$(stat -c %u /out/greeting)\" = 1000\n\
    CMD [\"cat\", \"/out/greeting\"]\n";

/// What all cases share.
struct Site {
    node: Node,
    docker: Docker,
    git: Git,
    registry: Registry,
    sandbox: Sandbox,
}

impl Site {
    fn start() -> Self {
        let (registry, sandbox) = (Registry::start_with(Access::Password), Sandbox::new());
        registry.login(&sandbox);
        for base in ["small", "debian"] {
            let layout = support::bases::layout(base);
            registry.push_layout(&sandbox, &layout, &format!("base/{base}:1"));
        }
        // Examples that need no shell name the image without one; both are the same here.
        let names = ["rbuild:debug", "rbuild:1"];
        executor::build_debug(&sandbox, &registry, "base/debian:1", &names);
        let docker = Docker::start(&registry);
        docker.pull(&registry.reference("rbuild:1"));
        Self {
            node: Node::start(&registry),
            docker,
            git: Git::start(),
            registry,
            sandbox,
        }
    }

    /// The examples, for a context that is the application of `examples/hello`.
    fn examples(&self, context: &Path) -> Examples {
        Examples::new(vec![
            ("registry.example.com", self.registry.host()),
            ("git.example.com", self.git.http()),
            ("/srv/checkouts/hello", context.display().to_string()),
        ])
    }

    /// The examples, for a context that is [`SMALL_APPLICATION`]: they name another base.
    fn small_examples(&self, context: &Path) -> Examples {
        self.examples(context).with("base/debian:1", "base/small:1")
    }

    /// A copy of the application of `examples/hello`.
    fn hello(&self, name: &str) -> PathBuf {
        let context = self.sandbox.directory(name);
        let source = support::repository().join("examples/hello");
        let mut copy = self.sandbox.command("cp");
        copy.arg("-r").arg(source.join(".")).arg(&context);
        let _copied = self.sandbox.run(copy).success();
        context
    }

    /// A directory that holds [`SMALL_APPLICATION`].
    fn small(&self, name: &str) -> PathBuf {
        let _path = self.sandbox.write(&format!("{name}/Dockerfile"), SMALL_APPLICATION);
        self.sandbox.path(name)
    }

    /// What a pod's volume `docker-config` holds: the config map of the examples.
    fn docker_config(&self, name: &str) -> PathBuf {
        let examples = self.examples(Path::new("/"));
        let map = &examples.documents("kubernetes/pod.yaml")[0];
        let config = map["data"]["config.json"].as_str().unwrap();
        self.sandbox.write(&format!("{name}/config.json"), config);
        self.sandbox.path(name)
    }

    /// Expects that the image of [`SMALL_APPLICATION`] in the registry says this version.
    #[track_caller]
    fn small_says(&self, image: &str, version: &str) {
        let step = Step {
            image: self.registry.reference(image),
            ..Step::default()
        };
        assert_eq!(self.node.run(&step).success().stdout, format!("small {version}\n"));
    }

    /// Starts the image of `examples/hello` in the registry, and expects its page and this version.
    #[track_caller]
    fn hello_answers(&self, image: &str, version: &str) {
        let sandbox = Sandbox::new();
        self.registry.login(&sandbox);
        let port = free_port();
        let image = self.registry.reference(image);
        let mut container = Container::start(&sandbox, &image, &[("PORT", &port.to_string())]);
        let answer = container.get(port, "/");
        let output = container.stop();
        let page = std::fs::read_to_string(support::repository().join("examples/hello/page.html")).unwrap();
        let answer = answer.unwrap_or_else(|problem| panic!("{problem}\n{}", output.report()));
        assert!(answer.ends_with(&page), "{answer}");
        let greeting = format!("hello {version}, user 900, ");
        assert!(output.stdout.starts_with(&greeting), "{}", output.report());
    }

    /// Expects that the file's content, without anything around it, is the digest of the image in the registry.
    #[track_caller]
    fn is_digest_of(&self, content: &str, image: &str) {
        assert_eq!(content, self.registry.digest(&self.sandbox, image), "{image}");
    }
}

/// Expects the isolation that containers with this profile get.
#[track_caller]
fn is_isolated(log: &str, seccomp: Seccomp) {
    let expected = match seccomp {
        Seccomp::Unconfined => "Isolation: namespaces",
        Seccomp::RuntimeDefault => "Isolation: in-place",
    };
    assert!(log.contains(expected), "not {expected}:\n{log}");
}

struct Case {
    name: &'static str,
    check: fn(&Site),
}

const CASES: &[Case] = &[
    // The longest come first, so that the others fill the time beside them.
    case("jenkins-declarative", jenkins::declarative),
    case("kubernetes-pod", pipelines::kubernetes_pod),
    case("kubernetes-job-from-git", pipelines::job_from_git),
    case("kubernetes-job-from-stdin", pipelines::job_from_stdin),
    case("jenkins-scripted", jenkins::scripted),
    case("gitlab", pipelines::gitlab),
    case("tekton", pipelines::tekton),
    case("tekton-layout", pipelines::tekton_layout),
    case("argo", pipelines::argo),
    case("environments", environments::table),
    case("bad-input", bad_input::each_is_named),
];

const fn case(name: &'static str, check: fn(&Site)) -> Case {
    Case { name, check }
}

/// `RBUILD_CASE=text` selects the cases whose name contains the text.
#[test]
fn root_examples_do_what_they_say() {
    let wanted = std::env::var("RBUILD_CASE").unwrap_or_default();
    let selected: Vec<_> = CASES.iter().filter(|case| case.name.contains(&wanted)).collect();
    assert!(!selected.is_empty(), "no case has {wanted:?} in its name");
    let site = Site::start();
    cases::check_all(
        &selected,
        |case| case.name,
        |case| {
            (case.check)(&site);
            Ok(())
        },
    );
}
