//! From the command line and the environment to a [`BuildRequest`].
//!
//! All problems are collected, so that a user who made three mistakes learns of three. Nothing is pulled,
//! created or written here; only context and Dockerfile are looked for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::args::{Checks, Cli, Input, IsolationMode, Lint};
use super::environment::{self as env, Environment};
use super::problem::{Problem, Problems, noted};
use super::registry_options;
use super::run_options;
use super::value::{Call, CallFormat, KeyValue, Method, Switch};
use super::{cache_options, output_options};
use super::{locate, platforms};
use crate::build::request::{BuildRequest, Context, DockerfileSource, Shape};
use crate::check::Policy;
use crate::context::pattern::BadPattern;
use crate::layer::IgnoredPaths;
use crate::oci::{Annotations, Platform};
use crate::plan::{NamedContexts, PlanOptions};
use crate::run::IsolationChoice;

/// State directory of root.
const ROOT_STATE_DIR: &str = "/var/lib/rbuild";

/// Checks a command line that asks for a build and makes a request of it.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn convert(cli: &Cli, environment: &Environment) -> Result<BuildRequest, Problems> {
    let mut conversion = Conversion {
        environment,
        problems: Vec::new(),
    };
    let request = conversion.request(cli);
    match (request, conversion.problems) {
        (Some(request), problems) if problems.is_empty() => Ok(request),
        (_, problems) => Err(Problems(problems)),
    }
}

/// Where an earlier build may have kept its state: where this one does, and where one does that is asked for nothing else.
pub(super) fn state_dirs(cli: &Cli, environment: &Environment) -> Vec<PathBuf> {
    let usual = environment.is_root.then(|| PathBuf::from(ROOT_STATE_DIR));
    // Why there is none is told when the line is converted.
    let own = state_dir(asked_state_dir(cli), environment).ok();
    let other = usual.filter(|usual| own.as_ref() != Some(usual));
    own.into_iter().chain(other).collect()
}

/// A Dockerfile that is only looked at.
#[derive(Debug)]
pub(super) struct Inspected {
    /// The Dockerfile; it exists.
    pub(super) dockerfile: PathBuf,
    /// The Dockerfile as the user named it, for messages.
    pub(super) dockerfile_name: String,
    /// The directory whose ignore file counts; it exists.
    pub(super) context: PathBuf,
    /// Arguments, target and platforms.
    pub(super) plan: PlanOptions,
    /// What findings do.
    pub(super) policy: Policy,
}

/// Checks a command line that asks about a Dockerfile.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn convert_inspected(
    input: &Input,
    lint: Option<Lint>,
    environment: &Environment,
) -> Result<Inspected, Problems> {
    let mut conversion = Conversion {
        environment,
        problems: Vec::new(),
    };
    let inspected = conversion.inspected(input, lint);
    match (inspected, conversion.problems) {
        (Some(inspected), problems) if problems.is_empty() => Ok(inspected),
        (_, problems) => Err(Problems(problems)),
    }
}

/// The question that a command line for a build asks instead.
pub(super) fn call(checks: &Checks) -> Option<Call> {
    let check = is_on(checks.check).then_some(Call {
        method: Method::Check,
        format: CallFormat::Text,
    });
    checks.call.or(check)
}

fn targets(input: &Input) -> Vec<String> {
    let given = input.target.iter().filter(|target| !target.is_empty());
    given.cloned().collect()
}

fn policy(lint: Option<Lint>) -> Policy {
    match lint {
        None => Policy::AsWritten,
        Some(Lint::Warn) => Policy::Warn,
        Some(Lint::Error) => Policy::Error,
        Some(Lint::Off) => Policy::Off,
    }
}

/// Whether a boolean flag was given and is true.
pub(super) fn is_on(flag: Option<Switch>) -> bool {
    flag.is_some_and(|Switch(on)| on)
}

/// Collects what is wrong on the way. A step that finds a problem goes on with a stand-in, or gives
/// `None` where there is none.
struct Conversion<'a> {
    environment: &'a Environment,
    problems: Vec<Problem>,
}

impl Conversion<'_> {
    fn request(&mut self, cli: &Cli) -> Option<BuildRequest> {
        let (outputs, image) = output_options::convert(&cli.output, &cli.image, self.environment, &mut self.problems);
        let run = run_options::convert(&cli.run, self.environment, &mut self.problems);
        let mut build_args = build_args(&cli.input.build_arg, self.environment, &mut self.problems);
        self.add_epoch(&mut build_args);
        let contexts = self.contexts(&cli.input.build_context);
        let platforms = platforms::parse(&cli.input.custom_platform, &mut self.problems);
        let shape = platforms::shape(&platforms, &build_args, &outputs, &mut self.problems);
        let mut registry = registry_options::convert(&cli.registry, self.environment, &mut self.problems);
        registry.base_images = cache_options::base_images(&cli.cache, self.environment);
        let state_dir = self.noted(state_dir(asked_state_dir(cli), self.environment));
        let context = self.noted(locate::context(
            &cli.input,
            keeps_git_dir(&build_args),
            self.environment,
        ));
        let found = locate::dockerfile(&cli.input, context.as_ref(), self.environment);
        let dockerfile = self.noted(found)??;
        Some(BuildRequest {
            dockerfile,
            context: context?,
            build_args,
            contexts,
            targets: targets(&cli.input),
            platforms,
            shape,
            labels: map(&cli.input.label),
            annotations: self.annotations(&cli.input.annotation, shape),
            outputs,
            image,
            registry,
            isolation: cli
                .execution
                .isolation
                .map_or_else(IsolationChoice::default, Into::into),
            sandbox: run.sandbox,
            grants: run.grants,
            secrets: run.secrets,
            ssh_agents: run.ssh_agents,
            run_volumes: run.volumes,
            state_dir: state_dir?,
            ignored: self.ignored(&cli.input.ignore_path),
            rehearsal: output_options::rehearsal(&cli.output, self.environment),
            force: is_on(cli.execution.force),
            unmapped: None,
            lint: policy(cli.checks.lint),
        })
    }

    fn inspected(&mut self, input: &Input, lint: Option<Lint>) -> Option<Inspected> {
        let mut build_args = build_args(&input.build_arg, self.environment, &mut self.problems);
        self.add_epoch(&mut build_args);
        let contexts = self.contexts(&input.build_context);
        // Who looks at a file for several platforms sees it as the first has it.
        let platform = platforms::parse(&input.custom_platform, &mut self.problems)
            .into_iter()
            .next();
        let context = match (locate::context(input, false, self.environment), &input.context) {
            // Nobody said that there is a context, and a look needs none.
            (Err(_), None) => Some(Context::Directory(self.environment.working_directory.clone())),
            (found, _) => self.noted(found),
        };
        let found = locate::dockerfile(input, context.as_ref(), self.environment);
        let dockerfile = self.noted(found)??;
        let local = match (dockerfile, context?) {
            (DockerfileSource::File { path, name }, Context::Directory(context)) => Ok((path, name, context)),
            _ => Err(Problem::InspectRemote),
        };
        let (dockerfile, dockerfile_name, context) = self.noted(local)?;
        Some(Inspected {
            dockerfile,
            dockerfile_name,
            context,
            plan: PlanOptions {
                build_args: build_args.into_iter().collect(),
                targets: targets(input),
                target_platform: platform.unwrap_or_else(Platform::host),
                contexts,
                ..PlanOptions::default()
            },
            policy: policy(lint),
        })
    }

    fn noted<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        noted(result, &mut self.problems)
    }

    fn contexts(&mut self, written: &[String]) -> NamedContexts {
        let mut contexts = NamedContexts::default();
        for text in written {
            let added = contexts.add(text, &self.environment.working_directory);
            self.noted(added.map_err(|source| Problem::BuildContext {
                text: text.clone(),
                source,
            }));
        }
        contexts
    }

    fn annotations(&mut self, written: &[String], shape: Shape) -> Annotations {
        let mut annotations = Annotations::default();
        for text in written {
            let added = annotations.add(text);
            self.noted(added.map_err(|source| Problem::Annotation {
                text: text.clone(),
                source,
            }));
        }
        if shape == Shape::Image {
            self.noted(annotations.check_without_index().map_err(Problem::AnnotationOfIndex));
        }
        annotations
    }

    fn ignored(&mut self, patterns: &[String]) -> IgnoredPaths {
        let mut ignored = IgnoredPaths::default();
        for pattern in patterns {
            let added = ignored.add(pattern);
            self.noted(added.map_err(|BadPattern| Problem::IgnorePath(pattern.clone())));
        }
        ignored
    }

    /// A value of the environment is a build argument too, as with BuildKit's client; one that is given wins. What it
    /// means is for the plan to say: it may be the name of a stage.
    fn add_epoch(&mut self, build_args: &mut BTreeMap<String, String>) {
        let name = env::SOURCE_DATE_EPOCH;
        if !build_args.contains_key(name)
            && self.environment.filled(name).is_some()
            && let Some(value) = variable(name, self.environment, &mut self.problems)
        {
            build_args.insert(name.to_owned(), value);
        }
    }
}

/// Values for ARG. A bare name takes the variable's value; unset, it is as if it were not there.
pub(super) fn build_args(
    written: &[String],
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for text in written {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text.as_str(), variable(text, environment, problems)),
        };
        match value {
            _ if name.is_empty() => problems.push(Problem::BuildArg),
            Some(value) => drop(values.insert(name.to_owned(), value)),
            None => {}
        }
    }
    values
}

fn variable(name: &str, environment: &Environment, problems: &mut Vec<Problem>) -> Option<String> {
    let value = environment.get(name)?;
    let text = value.to_str().map(str::to_owned);
    noted(text.ok_or_else(|| Problem::NotUtf8 { name: name.to_owned() }), problems)
}

fn asked_state_dir(cli: &Cli) -> Option<&Path> {
    let flags = &cli.execution;
    flags.store.as_deref().or(flags.kaniko_dir.as_deref())
}

/// The directory for everything that a build keeps on disk.
///
/// # Errors
/// None was asked for, and there is no place for one.
pub(super) fn state_dir(asked: Option<&Path>, environment: &Environment) -> Result<PathBuf, Problem> {
    let asked = asked.filter(|path| !path.as_os_str().is_empty());
    let default = || match environment.is_root {
        true => Some(PathBuf::from(ROOT_STATE_DIR)),
        false => environment
            .path(env::XDG_DATA_HOME)
            .or_else(|| Some(environment.path(env::HOME)?.join(".local/share")))
            .map(|data| data.join("rbuild")),
    };
    let path = asked.map(Path::to_owned);
    let path = path.or_else(|| environment.path(env::KANIKO_DIR)).or_else(default);
    Ok(environment.absolute(&path.ok_or(Problem::NoStateDir)?))
}

/// BuildKit's way to ask for `.git` in a context.
fn keeps_git_dir(build_args: &BTreeMap<String, String>) -> bool {
    let value = build_args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR");
    value.is_some_and(|value| value.parse().is_ok_and(|Switch(on)| on))
}

fn map(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|pair| (pair.key.clone(), pair.value.clone()))
        .collect()
}

impl From<IsolationMode> for IsolationChoice {
    fn from(mode: IsolationMode) -> Self {
        match mode {
            IsolationMode::Auto => Self::Auto,
            IsolationMode::Namespaces => Self::Namespaces,
            IsolationMode::Chroot => Self::Chroot,
            IsolationMode::InPlace => Self::InPlace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::request::{ImageOptions, LayerCompression, Outputs, Rehearsal, TextOutput};
    use crate::cli::site::Site;
    use crate::oci::{Annotated, ManifestFormat};
    use crate::plan::{Grants, Sandbox};
    use crate::registry::{BuiltinHelper, CredentialSources};

    #[test]
    fn a_plain_line_becomes_a_plain_request() {
        let site = Site::new();
        let request = site.convert(&[]).unwrap();
        let expected = BuildRequest {
            sandbox: Sandbox::default(),
            grants: Grants::default(),
            secrets: BTreeMap::new(),
            ssh_agents: BTreeMap::new(),
            dockerfile: DockerfileSource::File {
                path: site.path("context/Dockerfile"),
                name: "Dockerfile".to_owned(),
            },
            context: Context::Directory(site.path("context")),
            build_args: BTreeMap::new(),
            contexts: NamedContexts::default(),
            targets: Vec::new(),
            platforms: Vec::new(),
            shape: Shape::Image,
            labels: BTreeMap::new(),
            annotations: Annotations::default(),
            outputs: Outputs {
                destinations: vec!["r.example/app:latest".parse().unwrap()],
                ..Outputs::default()
            },
            image: ImageOptions {
                rewrite_timestamp: true,
                ..ImageOptions::default()
            },
            registry: crate::build::request::RegistryOptions {
                credentials: CredentialSources {
                    helpers: BuiltinHelper::ALL.to_vec(),
                    ..CredentialSources::default()
                },
                ..crate::build::request::RegistryOptions::default()
            },
            isolation: IsolationChoice::Auto,
            state_dir: PathBuf::from("/var/lib/rbuild"),
            ignored: IgnoredPaths::default(),
            rehearsal: Rehearsal::None,
            run_volumes: Vec::new(),
            force: false,
            unmapped: None,
            lint: Policy::AsWritten,
        };
        assert_eq!(request, expected);
    }

    #[test]
    fn values_arrive() {
        let site = Site::new().with("FROM_ENVIRONMENT", "e").with("EMPTY", "");
        let line = [
            "--build-arg=A=1",
            "--build-arg=A=2=3",
            "--build-arg=B=",
            "--build-arg=FROM_ENVIRONMENT",
            "--build-arg=EMPTY",
            "--build-arg=UNSET",
            "--target=a,b",
            "--target=c",
            "--platform=linux/arm/v7,linux/amd64",
            "--custom-platform=linux/arm",
            "--label=k=v=w",
            "--annotation=k=v",
            "--compression=zstd",
            "--compression-level=0x13",
            "--image-format=oci",
            "--reproducible",
            "--single-snapshot=true",
            "--oci-layout-path=./out/",
            "--digest-file=/abs/digest",
            "--isolation=in-place",
            "--ignore-path=/a,b",
            "--force",
        ];
        let request = site.convert(&line).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = BTreeMap::from([
            pair("A", "2=3"),
            pair("B", ""),
            pair("EMPTY", ""),
            pair("FROM_ENVIRONMENT", "e"),
        ]);
        assert_eq!(request.build_args, expected);
        assert_eq!(request.targets, ["a", "b", "c"]);
        let platforms: Vec<_> = request.platforms.iter().map(ToString::to_string).collect();
        assert_eq!(platforms, ["linux/arm/v7", "linux/amd64"]);
        assert_eq!(request.shape, Shape::Index);
        assert_eq!(request.labels, BTreeMap::from([pair("k", "v=w")]));
        let notes = request.annotations.of_image(Annotated::Manifest, &Platform::host());
        assert_eq!(notes, BTreeMap::from([pair("k", "v")]));
        assert_eq!(request.image.compression, LayerCompression::Zstd { level: Some(19) });
        assert_eq!(request.image.format, Some(ManifestFormat::Oci));
        assert!(request.image.reproducible && request.image.single_snapshot && request.force);
        assert_eq!(request.outputs.oci_layout_path, Some(site.path("out")));
        assert_eq!(
            request.outputs.digest_file,
            Some(TextOutput::File(PathBuf::from("/abs/digest")))
        );
        assert_eq!(request.isolation, IsolationChoice::InPlace);
        let mut ignored = IgnoredPaths::default();
        ignored.add("/a,b").unwrap();
        assert_eq!(request.ignored, ignored);
    }

    #[test]
    fn the_state_directory_has_an_order() {
        let user = |mut site: Site| {
            site.environment.is_root = false;
            site
        };
        let state_dir = |site: &Site, line: &[&str]| site.convert(line).map(|request| request.state_dir);
        let home = || user(Site::new()).with(env::HOME, "/home/u");
        assert_eq!(
            state_dir(&home(), &[]),
            Ok(PathBuf::from("/home/u/.local/share/rbuild"))
        );
        let data = home().with(env::XDG_DATA_HOME, "/data");
        assert_eq!(state_dir(&data, &[]), Ok(PathBuf::from("/data/rbuild")));
        let kaniko = data.with(env::KANIKO_DIR, "/kaniko");
        assert_eq!(state_dir(&kaniko, &[]), Ok(PathBuf::from("/kaniko")));
        assert_eq!(state_dir(&kaniko, &["--kaniko-dir=k"]), Ok(kaniko.path("k")));
        assert_eq!(
            state_dir(&kaniko, &["--kaniko-dir=k", "--store=s"]),
            Ok(kaniko.path("s"))
        );
        let problem = "there is no place for the state directory: neither HOME nor XDG_DATA_HOME is set";
        assert_eq!(state_dir(&user(Site::new()), &[]), Err(vec![problem.to_owned()]));
    }

    #[test]
    fn the_epoch_of_a_build_argument_wins() {
        let epoch = |site: Site, line: &[&str]| {
            let request = site.convert(line).unwrap();
            request.build_args.get(env::SOURCE_DATE_EPOCH).cloned()
        };
        let with = |value| Site::new().with(env::SOURCE_DATE_EPOCH, value);
        let text = |value: &str| Some(value.to_owned());
        assert_eq!(epoch(Site::new(), &[]), None);
        assert_eq!(epoch(with("7"), &[]), text("7"));
        assert_eq!(epoch(with(""), &[]), None);
        assert_eq!(epoch(with("7"), &["--build-arg=SOURCE_DATE_EPOCH=8"]), text("8"));
        assert_eq!(epoch(with("7"), &["--build-arg=SOURCE_DATE_EPOCH="]), text(""));
        assert_eq!(epoch(with("context"), &[]), text("context"));
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let line = [
            "--context=nowhere",
            "--platform=a/b/c/d",
            "--compression-level=99",
            "--secret=src=a",
        ];
        let problems = Site::new().convert_bare(&line).unwrap_err();
        assert_eq!(problems.len(), 5, "{problems:#?}");
    }
}
