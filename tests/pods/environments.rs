//! Which isolation each kind of container gets, as the README says it.

use crate::step::{Mount, Step};
use crate::support::process::Output;
use crate::support::{Rbuild, repository};
use crate::{SMALL_APPLICATION, Site};

/// The heading of the README's table.
const HEADING: &str = "| where | docker | pod | isolation |\n|---|---|---|---|\n";

/// One environment: its name, and what docker and a pod call it.
struct Environment {
    place: &'static str,
    docker: &'static [&'static str],
    pod: &'static str,
    /// What is said where no build is possible.
    refusal: &'static [&'static str],
}

const ENVIRONMENTS: &[Environment] = &[
    works(
        "Kubernetes, as it comes",
        &["--security-opt=seccomp=unconfined"],
        "nothing",
    ),
    works(
        "Docker, as it comes; Kubernetes with the runtime's seccomp profile",
        &[],
        "`seccompProfile.type: RuntimeDefault`",
    ),
    works(
        "the same, with only the capabilities that the files of an image need",
        &[
            "--cap-drop=ALL",
            "--cap-add=CHOWN",
            "--cap-add=DAC_OVERRIDE",
            "--cap-add=FOWNER",
            "--cap-add=SETGID",
            "--cap-add=SETUID",
        ],
        "`capabilities: {drop: [ALL], add: [CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETUID]}`",
    ),
    works(
        "with CAP_SYS_ADMIN",
        &["--cap-add=SYS_ADMIN"],
        "`capabilities: {add: [SYS_ADMIN]}`",
    ),
    works("privileged", &["--privileged"], "`privileged: true`"),
    works(
        "read-only root, a volume for the store",
        &[
            "--read-only",
            "--volume=/var/lib/rbuild",
            "--security-opt=seccomp=unconfined",
        ],
        "`readOnlyRootFilesystem: true`, an `emptyDir` at `/var/lib/rbuild`",
    ),
    works(
        "the same with the runtime's seccomp profile",
        &["--read-only", "--volume=/var/lib/rbuild"],
        "the same with `seccompProfile.type: RuntimeDefault`",
    ),
    refused(
        "read-only root, no volume",
        &["--read-only", "--security-opt=seccomp=unconfined"],
        "`readOnlyRootFilesystem: true`",
        &[
            "/var/lib/rbuild",
            "read-only file system",
            "emptydir",
            "--store",
            "readonlyrootfilesystem",
        ],
    ),
    refused(
        "no capabilities",
        &["--cap-drop=ALL"],
        "`capabilities: {drop: [ALL]}`",
        &["operation not permitted", "securitycontext.capabilities", "CHOWN"],
    ),
    refused(
        "another user than root",
        &["--user=1000"],
        "`runAsUser: 1000`",
        &["newuidmap", "runasuser: 0"],
    ),
];

const fn works(place: &'static str, docker: &'static [&'static str], pod: &'static str) -> Environment {
    refused(place, docker, pod, &[])
}

const fn refused(
    place: &'static str,
    docker: &'static [&'static str],
    pod: &'static str,
    refusal: &'static [&'static str],
) -> Environment {
    Environment {
        place,
        docker,
        pod,
        refusal,
    }
}

/// Builds the same in each of them, and on the machine itself; the images do not differ.
pub(crate) fn table(site: &Site) {
    let outside = on_the_machine(site);
    let mut table = format!("{HEADING}| root on a machine | | | {} |\n", isolation(&outside.stderr));
    let expected = pushed(&outside.stderr);
    for environment in ENVIRONMENTS {
        let output = environment.build(site);
        let isolation = if environment.refusal.is_empty() {
            let output = output.success();
            assert_eq!(pushed(&output.stderr), expected, "{}", output.report());
            isolation(&output.stderr)
        } else {
            let _refused = output.failure_with(environment.refusal);
            "none".to_owned()
        };
        table.push_str(&environment.row(&isolation));
    }
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    assert!(readme.contains(&table), "README.md does not hold this table:\n{table}");
}

impl Environment {
    fn build(&self, site: &Site) -> Output {
        let step = Step {
            image: site.registry.reference("rbuild:1"),
            args: arguments(site).into(),
            mounts: vec![
                Mount::writable(&site.small("environments"), "/workspace"),
                Mount::writable(&site.docker_config("environments-config"), "/kaniko/.docker"),
            ],
            flags: self.docker.iter().map(|&flag| flag.to_owned()).collect(),
            ..Step::default()
        };
        // Docker gives a privileged container what not every machine has; podman gives it what there is.
        if self.docker == ["--privileged"] {
            return site.node.run(&step);
        }
        site.docker.run(&step)
    }

    fn row(&self, isolation: &str) -> String {
        let flags = match self.docker {
            [] => "nothing".to_owned(),
            flags => format!("`{}`", flags.join(" ")),
        };
        format!("| {} | {flags} | {} | {isolation} |\n", self.place, self.pod)
    }
}

fn on_the_machine(site: &Site) -> Output {
    let context = site.small("environments-machine");
    let dockerfile = site.sandbox.write("environments-machine/Dockerfile", SMALL_APPLICATION);
    let build = Rbuild::build(&site.sandbox, &dockerfile, &context);
    build
        .env("HOME", site.sandbox.path("home"))
        .args(arguments(site))
        .run()
        .success()
}

fn arguments(site: &Site) -> [String; 3] {
    let registry = site.registry.host();
    [
        format!("--build-arg=BASE={registry}/base/small:1"),
        "--reproducible".to_owned(),
        format!("--destination={registry}/team/environments:1"),
    ]
}

/// What the build has chosen, without why it did not choose another.
fn isolation(log: &str) -> String {
    let line = log.lines().find_map(|line| line.strip_prefix("Isolation: ")).unwrap();
    line.split(';').next().unwrap().to_owned()
}

fn pushed(log: &str) -> &str {
    log.lines().find_map(|line| line.strip_prefix("Pushed ")).unwrap()
}
