//! The pod of Jenkins' kubernetes plugin: a container that waits, in which Jenkins starts one script after the other.

use serde_json::json;

use crate::Site;
use crate::examples::{Examples, append};
use crate::node::{Pod, Seccomp};

const WORKSPACE: &str = "/home/jenkins/agent/workspace/hello";
const BUILD_NUMBER: &str = "17";

/// The application, another image from the same container, and what a pipeline of long ago says.
pub(crate) fn declarative(site: &Site) {
    let context = site.hello("jenkins/workspace/hello");
    let examples = site.examples(&context);
    let pipeline = Pipeline::read(&examples, "jenkins/Jenkinsfile.declarative");
    // The strict profile: all builds happen in the container's own root.
    let pod = agent(site, &examples, "jenkins", Seccomp::RuntimeDefault);
    let said = pipeline.run(&pod);
    crate::is_isolated(&said[0], Seccomp::RuntimeDefault);
    let digest = site.registry.digest(&site.sandbox, "team/hello:17");
    assert!(said[0].contains(&format!("built {digest}")), "{said:?}");

    // A build that fails gives the pipeline the code of its RUN, and harms nothing.
    let broken = "printf 'FROM %s\\nRUN rm -rf /srv /bin/[ab]* && exit 3\\n' $REGISTRY/base/small:1 > broken
        /kaniko/executor -f `pwd`/broken -c `pwd` --destination=$REGISTRY/team/broken:1";
    let failed = pod
        .exec(WORKSPACE, &pipeline.env, &["/busybox/sh", "-e", "-c", broken])
        .code(3);
    assert!(failed.stderr.contains("exit code: 3"), "{}", failed.report());
    assert_eq!(site.registry.tags("team/broken"), Vec::<String>::new());

    let usual = format!(
        "/kaniko/executor -f `pwd`/page.Dockerfile -c `pwd` --insecure --skip-tls-verify --cache=true \
         --destination={}/app:pp2",
        site.registry.host()
    );
    let built = pod.exec(WORKSPACE, &[], &["/busybox/sh", "-c", &usual]).success();
    let notices: Vec<_> = built.stderr.lines().filter(|line| line.contains("--cache")).collect();
    assert!(notices.len() <= 1, "{notices:#?}");
    assert_eq!(site.registry.tags("app"), ["pp2"]);

    site.hello_answers("team/hello:17", BUILD_NUMBER);
}

/// The other syntax, in a pod that may have namespaces.
pub(crate) fn scripted(site: &Site) {
    let context = site.small("jenkins-scripted/workspace/hello");
    let examples = site.small_examples(&context);
    let pipeline = Pipeline::read(&examples, "jenkins/Jenkinsfile.scripted");
    let pod = agent(site, &examples, "jenkins-scripted", Seccomp::Unconfined);
    let said = pipeline.run(&pod);
    crate::is_isolated(&said[0], Seccomp::Unconfined);
    let digest = site.registry.digest(&site.sandbox, "team/hello:scripted");
    let image = site.registry.reference("team/hello:scripted");
    assert!(said[1].contains(&format!("{image}@{digest}\n")), "{said:?}");
    site.small_says("team/hello:scripted", BUILD_NUMBER);
}

/// The pod of the example with what the plugin adds: a name, and the workspace that all containers share.
fn agent<'s>(site: &'s Site, examples: &Examples, name: &str, seccomp: Seccomp) -> Pod<'s> {
    let mut pod = examples.document("jenkins/pod.yaml");
    pod["metadata"] = json!({"name": name});
    let volume = json!({"name": "workspace-volume", "hostPath": {"path": site.sandbox.path(name)}});
    append(&mut pod["spec"]["volumes"], volume);
    let mount = json!({"name": "workspace-volume", "mountPath": "/home/jenkins/agent"});
    append(&mut pod["spec"]["containers"][0]["volumeMounts"], mount);
    let config_map = examples.document("kubernetes/pod.yaml");
    site.node.play(&[config_map, pod], seccomp)
}

/// What a Jenkinsfile makes a pod do.
struct Pipeline {
    env: Vec<(String, String)>,
    scripts: Vec<String>,
}

impl Pipeline {
    fn read(examples: &Examples, path: &str) -> Self {
        let text = examples.text(path);
        assert!(text.contains("'pod.yaml'"), "{path} names another pod");
        let pipeline = Self {
            env: environment(&text),
            scripts: scripts(&text),
        };
        let containers = text.matches("container(name: 'kaniko', shell: '/busybox/sh')").count();
        assert_eq!(containers, pipeline.scripts.len(), "{path}");
        pipeline.with_env("BUILD_NUMBER", BUILD_NUMBER)
    }

    fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs the scripts as Jenkins does: by the program that the first line names, else by `sh -xe`.
    fn run(&self, pod: &Pod<'_>) -> Vec<String> {
        let run = |script: &String| {
            let first = script.lines().next().unwrap_or_default();
            let mut words: Vec<_> = first.strip_prefix("#!").unwrap_or("sh -xe").split(' ').collect();
            words.extend(["-c", script]);
            let output = pod.exec(WORKSPACE, &self.env, &words).success();
            output.stdout + &output.stderr
        };
        self.scripts.iter().map(run).collect()
    }
}

/// The variables of `environment {…}` and `withEnv([…])`.
fn environment(text: &str) -> Vec<(String, String)> {
    let mut env = Vec::new();
    if let Some(block) = between(text, "environment {", "}") {
        for line in block.lines().filter(|line| !line.trim().is_empty()) {
            let (name, value) = line.split_once('=').unwrap();
            env.push((name.trim().to_owned(), value.trim().trim_matches('\'').to_owned()));
        }
    }
    if let Some(list) = between(text, "withEnv([", "])") {
        for item in list.split(", ") {
            let (name, value) = item.trim_matches('\'').split_once('=').unwrap();
            env.push(match name.strip_suffix("+EXTRA") {
                None => (name.to_owned(), value.to_owned()),
                // Put before what the image has.
                Some(name) => (name.to_owned(), format!("{value}:/usr/local/bin:/kaniko:/busybox")),
            });
        }
    }
    env
}

/// What stands behind each `sh`, as Groovy reads it.
fn scripts(text: &str) -> Vec<String> {
    let mut scripts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(" sh '") {
        rest = &rest[at + " sh ".len()..];
        let quote = if rest.starts_with("'''") { "'''" } else { "'" };
        let end = rest[quote.len()..].find(quote).unwrap() + quote.len();
        scripts.push(unescaped(&rest[quote.len()..end]));
        rest = &rest[end + quote.len()..];
    }
    scripts
}

fn between<'t>(text: &'t str, start: &str, end: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split_once(end)?.0)
}

fn unescaped(literal: &str) -> String {
    let mut text = String::new();
    let mut letters = literal.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('\\') => text.push('\\'),
                Some('\n') => {}
                other => panic!("no test knows what \\{other:?} is in {literal}"),
            },
            _ => text.push(letter),
        }
    }
    text
}
