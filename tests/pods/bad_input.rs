//! What is wrong with a pod ends its build with one clear error that names the setting, and exit code 1.

use std::path::{Path, PathBuf};

use crate::Site;
use crate::step::{Mount, Step};
use crate::support::cases;

const CONFIG: &str = "/kaniko/.docker";

/// A bare pod's container, and what becomes of it.
struct Bench<'s> {
    site: &'s Site,
    step: Step,
    spoilt: Vec<Spoilt>,
}

/// One that cannot build, and what its error says.
struct Spoilt {
    name: &'static str,
    step: Step,
    texts: &'static [&'static str],
}

pub(crate) fn each_is_named(site: &Site) {
    let mut bench = Bench::new(site);
    bench.credentials();
    bench.contexts();
    bench.archives();
    bench.space();
    cases::check_all(
        &bench.spoilt,
        |spoilt| spoilt.name,
        |spoilt| {
            let _failed = site.docker.run(&spoilt.step).failure_with(spoilt.texts);
            Ok(())
        },
    );
    assert_eq!(site.registry.tags("team/bad"), Vec::<String>::new());
}

impl<'s> Bench<'s> {
    fn new(site: &'s Site) -> Self {
        let step = Step {
            image: site.registry.reference("rbuild:1"),
            args: vec![
                format!("--build-arg=BASE={}", site.registry.reference("base/small:1")),
                format!("--destination={}", site.registry.reference("team/bad:1")),
            ],
            mounts: vec![
                Mount::writable(&site.small("bad-context"), "/workspace"),
                Mount::writable(&site.docker_config("bad-config"), CONFIG),
            ],
            flags: vec!["--security-opt=seccomp=unconfined".to_owned()],
            ..Step::default()
        };
        Self {
            site,
            step,
            spoilt: Vec::new(),
        }
    }

    /// No config, a config map that is not there but optional, one of something else, a slip of the pen, a wrong password.
    fn credentials(&mut self) {
        let none: &'static [&str] = &["401", "no credentials for 127.0.0.1", "/kaniko/.docker/config.json"];
        self.add("no docker config", self.mounting(CONFIG, None), none);
        let directory = |path: PathBuf| path.parent().unwrap().to_owned();
        let config =
            |name: &str, content: &str| directory(self.site.sandbox.write(&format!("{name}/config.json"), content));
        let host = self.site.registry.host();
        let password = |auth: &str| format!("{{\"auths\": {{\"{host}\": {{\"auth\": \"{auth}\"}}}}}}");
        let configs: [(_, PathBuf, &'static [&str]); 5] = [
            ("no config map", self.site.sandbox.directory("config-empty"), none),
            (
                "malformed docker config",
                config("config-malformed", "{\"auths\": {"),
                &["/kaniko/.docker/config.json", "not valid JSON", "line 1"],
            ),
            (
                "password in clear",
                config("config-clear", &password("user:secret")),
                &["/kaniko/.docker/config.json", "base64"],
            ),
            (
                "docker config that is a directory",
                directory(self.site.sandbox.directory("config-directory/config.json")),
                &["/kaniko/.docker/config.json", "is a directory"],
            ),
            (
                "wrong password",
                config("config-wrong", &password("dXNlcjp3cm9uZw==")),
                &["401", "did not accept the user \"user\""],
            ),
        ];
        for (name, directory, texts) in configs {
            self.add(name, self.mounting(CONFIG, Some(&directory)), texts);
        }
    }

    /// Not there, empty, no archive at the path, nothing on standard input.
    fn contexts(&mut self) {
        let empty = self.site.sandbox.directory("context-empty");
        let empty = self.mounting("/workspace", Some(&empty));
        self.add("empty context", empty, &["/workspace/Dockerfile", "--dockerfile"]);
        let flags: [(_, _, &'static [&str]); 4] = [
            ("absent context", "--context=dir:///nowhere", &["/nowhere", "--context"]),
            (
                "absent archive",
                "--context=tar:///workspace/context.tar.gz",
                &["/workspace/context.tar.gz", "no such file"],
            ),
            (
                "standard input that is closed",
                "--context=tar://stdin",
                &["standard input, which is empty", "tar -cz"],
            ),
            (
                "unknown kind of context",
                "--context=ftp://somewhere/context",
                &["ftp://", "git://", "tar://"],
            ),
        ];
        for (name, flag, texts) in flags {
            self.add(name, self.saying(flag), texts);
        }
    }

    /// Sent over standard input: no archive, and one that leads outside.
    fn archives(&mut self) {
        let sandbox = &self.site.sandbox;
        let text = sandbox.write("text", "this is no archive\n".repeat(100));
        let outside = sandbox.path("outside.tar.gz");
        let context = self.site.small("context-outside/inner");
        let _evil = sandbox.write("context-outside/evil", "evil");
        let mut tar = sandbox.command("tar");
        tar.arg("-czPf").arg(&outside).arg("-C").arg(context);
        tar.args(["Dockerfile", "../evil"]);
        let _packed = sandbox.run(tar).success();
        let archives: [(_, _, &'static [&str]); 2] = [
            ("text for an archive", text, &["standard input", "archive"]),
            ("archive that leads outside", outside, &["../evil"]),
        ];
        for (name, archive, texts) in archives {
            let mut step = self.saying("--context=tar://stdin");
            step.stdin = Some(archive);
            self.add(name, step, texts);
        }
    }

    /// A store without room for the base image.
    fn space(&mut self) {
        let mut step = self.step.clone();
        step.flags.push("--tmpfs=/var/lib/rbuild:size=1m".to_owned());
        self.add(
            "no space",
            step,
            &["no space left on device", "/var/lib/rbuild", "--store"],
        );
    }

    fn add(&mut self, name: &'static str, step: Step, texts: &'static [&'static str]) {
        self.spoilt.push(Spoilt { name, step, texts });
    }

    fn saying(&self, flag: &str) -> Step {
        let mut step = self.step.clone();
        step.args.push(flag.to_owned());
        step
    }

    /// With something else, or nothing, mounted at `target`.
    fn mounting(&self, target: &str, source: Option<&Path>) -> Step {
        let mut step = self.step.clone();
        step.mounts.retain(|mount| mount.target != target);
        step.mounts.extend(source.map(|source| Mount::writable(source, target)));
        step
    }
}
