//! The same builds in every isolation give the same layers, byte for byte.
//!
//! Each environment is made of real parts and runs all cases one after the other: the machine itself, an ordinary user
//! with newuidmap, and containers of a real runtime with and without its seccomp profile. The layers of the first are
//! what the others are compared with. What an environment cannot do is an exception, with its reason.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::process::Output;
use support::{Registry, Sandbox, bases, cases, rbuild, runtime};

/// One way to isolate, and where it is tried.
struct Environment {
    name: &'static str,
    launcher: Launcher,
    /// What rbuild is told, and what it must say.
    flag: &'static str,
    says: &'static str,
    /// What it cannot do.
    exceptions: &'static [Exception],
}

/// A case's name, and why it is not built there.
type Exception = (&'static str, &'static str);

#[derive(Clone, Copy)]
enum Launcher {
    /// Root of the machine.
    Machine,
    /// A user with a range of IDs.
    OrdinaryUser,
    /// A user to whom nothing was given.
    UserWithoutRange,
    /// Root of a container, with these flags for the runtime.
    Container(&'static [&'static str]),
}

const MKNOD: &str = "no device can be made in a user namespace";
const IN_USER_NAMESPACE: &[Exception] = &[
    ("c16-copy-of-a-whole-root", MKNOD),
    ("c39-special-files-from-a-stage", MKNOD),
];

/// The first is the one that the others are compared with.
const ENVIRONMENTS: [Environment; 5] = [
    Environment {
        name: "privileged",
        launcher: Launcher::Machine,
        flag: "auto",
        says: "Isolation: namespaces\n",
        exceptions: &[],
    },
    Environment {
        name: "container root",
        launcher: Launcher::Container(&["--security-opt=seccomp=unconfined"]),
        flag: "auto",
        says: "Isolation: namespaces (in a user namespace)\n",
        exceptions: IN_USER_NAMESPACE,
    },
    Environment {
        name: "ordinary user",
        launcher: Launcher::OrdinaryUser,
        flag: "auto",
        says: "Isolation: namespaces\n",
        exceptions: IN_USER_NAMESPACE,
    },
    Environment {
        name: "in-place",
        launcher: Launcher::Container(&["--cap-add=MKNOD"]),
        flag: "auto",
        says: "Isolation: in-place; namespaces (in a user namespace) refused: ",
        exceptions: &[],
    },
    Environment {
        name: "chroot",
        launcher: Launcher::Container(&["--cap-add=MKNOD"]),
        flag: "chroot",
        says: "Isolation: chroot\n",
        exceptions: &[("run-without-stubs", "there is no /proc")],
    },
];

/// What all environments share: the program, the cases, and the registry with the bases.
struct Site {
    sandbox: Sandbox,
    registry: Registry,
    cases: Vec<PathBuf>,
}

#[test]
fn root_the_layers_are_the_same_in_every_isolation() {
    let site = Site::new();
    let selected = std::env::var("RBUILD_CASE").is_ok();
    assert!(selected || site.cases.len() >= 40, "only {} cases", site.cases.len());
    let expected = ENVIRONMENTS[0].layers(&site);
    cases::check_all(
        &ENVIRONMENTS[1..],
        |environment| environment.name,
        |environment| environment.compare(&site, &expected),
    );
}

/// What a build says where its choice is refused: the cause, and what would allow it.
struct Refusal {
    launcher: Launcher,
    flag: &'static str,
    says: &'static [&'static str],
}

const REFUSALS: [Refusal; 4] = [
    Refusal {
        launcher: Launcher::Container(&[]),
        flag: "namespaces",
        says: &[
            "isolation \"namespaces\" is not available here",
            "Operation not permitted",
            "securityContext.seccompProfile.type: Unconfined",
        ],
    },
    Refusal {
        launcher: Launcher::Container(&[
            "--security-opt=seccomp=unconfined",
            "--cap-drop=SETUID",
            "--cap-drop=SETGID",
        ]),
        flag: "namespaces",
        says: &["id_map of a new user namespace", "CAP_SETUID"],
    },
    Refusal {
        launcher: Launcher::Container(&["--cap-drop=MKNOD"]),
        flag: "chroot",
        says: &[
            "isolation \"chroot\" is not available here",
            "make device /dev/null",
            "CAP_MKNOD",
        ],
    },
    Refusal {
        launcher: Launcher::UserWithoutRange,
        flag: "namespaces",
        says: &[
            "/etc/subuid has no range of IDs for user builder",
            "usermod --add-subuids",
        ],
    },
];

#[test]
fn root_a_refused_choice_names_the_setting() {
    let site = Site::of(&["FROM $REGISTRY/small:1\nRUN true\n"]);
    for refusal in &REFUSALS {
        let said = refusal.launcher.build(&site, refusal.flag);
        for text in refusal.says {
            assert!(said.contains(text), "{}: {text:?} is not in\n{said}", refusal.flag);
        }
    }
}

/// The executor's files, environment and processes are none of a RUN's business, even where /proc is the container's.
#[test]
fn root_a_run_sees_nothing_of_the_executor() {
    let site = Site::of(&["FROM $REGISTRY/small:1\n\
        RUN test ! -e /kaniko && test ! -e /busybox && ! env | grep -q HIDDEN\n\
        RUN ! cat /proc/[0-9]*/environ 2>/dev/null | grep -aq HIDDEN\n\
        RUN ! cat /proc/[0-9]*/cmdline 2>/dev/null | grep -aq no-pus[h]\n\
        RUN test \"$(cat /proc/self/comm)\" = cat && grep -q Uid /proc/self/status\n"]);
    for launcher in [
        Launcher::Machine,
        Launcher::OrdinaryUser,
        Launcher::Container(&["--security-opt=seccomp=unconfined", "--env=VARIABLE=HIDDEN"]),
    ] {
        let said = launcher.build(&site, "namespaces");
        assert!(said.contains("Skipping push"), "{said}");
    }
}

impl Site {
    /// One that builds Dockerfiles given as text.
    fn of(dockerfiles: &[&str]) -> Self {
        let mut site = Self::new();
        let cases = dockerfiles.iter().enumerate().map(|(number, text)| {
            let path = site
                .sandbox
                .write(&format!("own/{number}/Dockerfile"), format!("ARG REGISTRY\n{text}"));
            path.parent().unwrap().to_owned()
        });
        site.cases = cases.collect();
        site
    }

    fn new() -> Self {
        let sandbox = Sandbox::new();
        let registry = Registry::start();
        registry.push_base(&sandbox, "small");
        // An ordinary user may read neither the checkout nor the base images' cache.
        let world = fs::Permissions::from_mode(0o755);
        fs::set_permissions(root_of(&sandbox), world).unwrap();
        fs::copy(rbuild::program(), sandbox.path("rbuild")).unwrap();
        for (from, to) in [
            (support::repository().join("testdata/builds"), "cases"),
            (bases::layout("small"), "layout"),
        ] {
            let mut copy = sandbox.command("cp");
            copy.arg("-r").arg(from).arg(sandbox.path(to));
            let _copied = sandbox.run(copy).success();
            let mut open = sandbox.command("chmod");
            open.arg("-R").arg("a+rX").arg(sandbox.path(to));
            let _open = sandbox.run(open).success();
        }
        let cases = cases::selected(&sandbox.path("cases"))
            .into_iter()
            .filter(|case| is_plain(case));
        Self {
            cases: cases.collect(),
            sandbox,
            registry,
        }
    }

    /// A shell script that builds every case and keeps what each printed and wrote in `output`.
    fn script(&self, flag: &str, output: &Path) -> String {
        let lines = self.cases.iter().map(|case| {
            let name = cases::name(case);
            let context = match case.join("context").exists() {
                true => case.join("context"),
                false => self.sandbox.directory("empty"),
            };
            let args = fs::read_to_string(case.join("args")).unwrap_or_default();
            let args = args
                .lines()
                .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
                .map(|arg| format!("'{}'", self.filled_in(arg, case)))
                .collect::<Vec<_>>()
                .join(" ");
            let dockerfile = fs::read_to_string(case.join("Dockerfile")).unwrap();
            let filled = self.sandbox.write(&format!("dockerfiles/{name}"), self.filled_in(&dockerfile, case));
            format!(
                "$RBUILD --isolation={flag} --progress=plain -f {} -c {} --no-push --oci-layout-path={} --rewrite-timestamp \
                 --build-arg=SOURCE_DATE_EPOCH=1700000000 --build-arg=REGISTRY={} {args} > {} 2>&1\n",
                filled.display(),
                context.display(),
                output.join(name).display(),
                self.registry.host(),
                output.join(format!("{name}.log")).display(),
            )
        });
        lines.collect::<String>() + "true\n"
    }

    fn filled_in(&self, text: &str, case: &Path) -> String {
        text.replace("@REGISTRY@", &self.registry.host())
            .replace("@CASE@", &case.display().to_string())
            .replace("@LAYOUT@", &self.sandbox.path("layout").display().to_string())
    }
}

/// Beginnings of the names of the cases that are about what a RUN finds and leaves.
const ABOUT_RUN: [&str; 6] = ["run-", "c1", "c2", "c3", "context-named-mounts", "dockerignore-bind"];
/// These print process numbers, or as much as they have time for.
const NEVER_THE_SAME: [&str; 2] = ["run-namespaces", "c31-daemons-are-ended"];

/// Whether a case is about RUN, needs nothing but the small base, and has a RUN.
fn is_plain(case: &Path) -> bool {
    let name = cases::name(case);
    if NEVER_THE_SAME.contains(&name) || !ABOUT_RUN.iter().any(|beginning| name.starts_with(beginning)) {
        return false;
    }
    let dockerfile = fs::read_to_string(case.join("Dockerfile")).unwrap();
    let needs_more = dockerfile.contains("/debian:1")
        || ["archives", "base.Dockerfile"]
            .iter()
            .any(|file| case.join(file).exists());
    !needs_more && dockerfile.lines().any(|line| line.trim_start().starts_with("RUN"))
}

impl Environment {
    /// Digests of the layers of every case, by its name.
    fn layers(&self, site: &Site) -> BTreeMap<String, Result<Vec<String>, String>> {
        let output = site
            .sandbox
            .directory(&format!("output-{}", self.name.replace(' ', "-")));
        let mut mode = site.sandbox.command("chmod");
        mode.arg("777").arg(&output);
        let _public = site.sandbox.run(mode).success();
        let script = site.sandbox.write(
            &format!("{}.sh", output.file_name().unwrap().display()),
            site.script(self.flag, &output),
        );
        let own = Sandbox::new();
        let ran = self.launcher.run(site, &own, &script, &output);
        assert!(ran.status.success(), "{}: {}", self.name, ran.report());
        let built = site.cases.iter().map(|case| {
            let name = cases::name(case);
            let log = fs::read_to_string(output.join(format!("{name}.log"))).unwrap_or_default();
            let layers = match log.contains(self.says) || !log.contains("Isolation: ") {
                true => layers_of(&output.join(name)).ok_or(log),
                false => Err(format!("expected {:?}\n{log}", self.says)),
            };
            (name.to_owned(), layers)
        });
        built.collect()
    }

    fn compare(&self, site: &Site, expected: &BTreeMap<String, Result<Vec<String>, String>>) -> Result<(), String> {
        let mut differences = Vec::new();
        for (name, layers) in self.layers(site) {
            let exception = self.exceptions.iter().find(|(case, _)| name == *case);
            match (layers, &expected[&name], exception) {
                (_, Err(log), _) => differences.push(format!("{name}: not built by the first\n{log}")),
                (Ok(layers), Ok(expected), None) if layers == *expected => {}
                (Ok(layers), Ok(expected), Some((_, reason))) if layers == *expected => {
                    differences.push(format!("{name}: the same, although {reason}"));
                }
                (_, _, Some(_)) => {}
                (Ok(layers), Ok(expected), None) => {
                    differences.push(format!("{name}: {layers:#?} instead of {expected:#?}"));
                }
                (Err(log), Ok(_), None) => differences.push(format!("{name}: {log}")),
            }
        }
        match differences.as_slice() {
            [] => Ok(()),
            differences => Err(differences.join("\n")),
        }
    }
}

impl Launcher {
    /// Builds the one case of a site and returns what was said.
    fn build(self, site: &Site, flag: &str) -> String {
        let own = Sandbox::new();
        let output = own.directory("built");
        let world = fs::Permissions::from_mode(0o777);
        fs::set_permissions(&output, world).unwrap();
        let script = site.sandbox.write("own.sh", site.script(flag, &output));
        let ran = self.run(site, &own, &script, &output);
        assert!(ran.status.success(), "{}", ran.report());
        fs::read_to_string(output.join("0.log")).unwrap()
    }

    fn run(self, site: &Site, own: &Sandbox, script: &Path, output: &Path) -> Output {
        match self {
            Self::Machine => {
                let mut shell = own.command("sh");
                shell.arg(script);
                let program = format!(
                    "{} --store={}",
                    site.sandbox.path("rbuild").display(),
                    own.path("store").display()
                );
                shell.env("RBUILD", program);
                own.run(shell)
            }
            Self::OrdinaryUser => own.run(as_ordinary_user(site, own, script, "builder:200000:65536\n")),
            Self::UserWithoutRange => own.run(as_ordinary_user(site, own, script, "other:200000:65536\n")),
            Self::Container(flags) => run_in_container(flags, site, own, script, output),
        }
    }
}

/// The files that name users are replaced in a mount namespace of the command's own; newuidmap is the machine's.
fn as_ordinary_user(site: &Site, own: &Sandbox, script: &Path, ranges: &str) -> Command {
    let home = own.directory("user");
    let mut give = own.command("chown");
    give.arg("4242:4242").arg(&home);
    let _given = own.run(give).success();
    let world = fs::Permissions::from_mode(0o755);
    fs::set_permissions(root_of(own), world).unwrap();
    let text = |path: &str, more: &str| fs::read_to_string(path).unwrap_or_default() + more;
    let mounts = [
        ("passwd", text("/etc/passwd", "builder:x:4242:4242::/:/bin/sh\n")),
        ("group", text("/etc/group", "builder:x:4242:\n")),
        ("subuid", ranges.to_owned()),
        ("subgid", ranges.to_owned()),
    ]
    .map(|(name, content)| {
        let path = own.write(name, content);
        format!(
            "[ -e /etc/{name} ] || touch /etc/{name}; mount --bind {} /etc/{name}; ",
            path.display()
        )
    });
    let become_user = "exec setpriv --reuid=4242 --regid=4242 --clear-groups \"$@\"";
    let mut command = own.command("unshare");
    command.args(["--mount", "sh", "-ec", &(mounts.concat() + become_user), "sh", "sh"]);
    command
        .arg(script)
        .env("HOME", &home)
        .env("RBUILD", site.sandbox.path("rbuild"));
    command
}

/// A container whose image is like the executor's: the program, and a busybox.
fn run_in_container(flags: &[&str], site: &Site, own: &Sandbox, script: &Path, output: &Path) -> Output {
    let rootfs = own.directory("rootfs");
    for directory in ["busybox", "kaniko", "etc", "proc", "sys", "dev", "tmp"] {
        fs::create_dir_all(rootfs.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", rootfs.join("busybox/busybox")).expect("the package busybox-static is installed");
    symlink("busybox", rootfs.join("busybox/sh")).unwrap();
    fs::copy(site.sandbox.path("rbuild"), rootfs.join("kaniko/executor")).unwrap();
    let inside = |path: &Path| path.display().to_string();
    let volumes = [
        format!("--volume={0}:{0}:ro", inside(&root_of(&site.sandbox))),
        format!("--volume={0}:{0}", inside(output)),
    ];
    let mut all: Vec<&str> = flags.to_vec();
    all.extend(volumes.iter().map(String::as_str));
    all.extend(["--env=RBUILD=/kaniko/executor", "--rootfs"]);
    runtime::run_image_with(own, &inside(&rootfs), &all, &["/busybox/sh", &inside(script)])
}

/// Digests of the layers of the one image in a layout.
fn layers_of(layout: &Path) -> Option<Vec<String>> {
    let index = json(&layout.join("index.json"))?;
    let manifest = index["manifests"][0]["digest"].as_str()?.replace(':', "/");
    let manifest = json(&layout.join("blobs").join(manifest))?;
    let layers = manifest["layers"].as_array()?.iter();
    layers
        .map(|layer| layer["digest"].as_str().map(str::to_owned))
        .collect()
}

fn json(path: &Path) -> Option<serde_json::Value> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn root_of(sandbox: &Sandbox) -> PathBuf {
    sandbox.path("root").parent().unwrap().to_owned()
}
