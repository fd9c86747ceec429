//! From the command line and the environment to a [`BuildRequest`].
//!
//! All problems are collected, so that a user who made three mistakes learns of three. Nothing is pulled,
//! created or written here; only context and Dockerfile are looked for.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::args::{Cli, Codec, Format, Image, IsolationMode, Output};
use super::environment::{self as env, Environment};
use super::problem::{Problem, Problems};
use super::registry_options;
use super::value::{Int, KeyValue, Switch};
use crate::build::request::{BuildRequest, ImageOptions, IsolationChoice, LayerCompression, Outputs};
use crate::oci::{ManifestFormat, Platform, Reference};

/// Where the executor's image mounts the context.
const DEFAULT_CONTEXT: &str = "/workspace/";
const DEFAULT_DOCKERFILE: &str = "Dockerfile";
/// What some call it; only looked for when nothing was asked for.
const LOWER_CASE_DOCKERFILE: &str = "dockerfile";
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
        self.refuse_unsupported(cli);
        let outputs = self.outputs(&cli.output);
        let image = self.image(&cli.image);
        self.check_combinations(&outputs, &image);
        let mut build_args = self.build_args(&cli.input.build_arg);
        let source_date_epoch = self.source_date_epoch(&mut build_args);
        let platform = self.noted(cli.input.custom_platform.as_deref().map(parse_platform).transpose());
        let registry = registry_options::convert(&cli.registry, self.environment, &mut self.problems);
        let state_dir = self.state_dir(cli);
        let context = self.context(cli);
        let (dockerfile, dockerfile_name) = self.dockerfile(cli, context.as_deref())?;
        Some(BuildRequest {
            dockerfile,
            dockerfile_name,
            context: context?,
            build_args,
            targets: cli
                .input
                .target
                .iter()
                .filter(|target| !target.is_empty())
                .cloned()
                .collect(),
            platform: platform.flatten(),
            labels: map(&cli.input.label),
            annotations: map(&cli.input.annotation),
            outputs,
            image: ImageOptions {
                source_date_epoch,
                ..image
            },
            registry,
            isolation: cli
                .execution
                .isolation
                .map_or_else(IsolationChoice::default, Into::into),
            state_dir: state_dir?,
            ignore_paths: cli.input.ignore_path.clone(),
            force: is_on(cli.execution.force),
        })
    }

    /// Takes the value, or notes the problem.
    fn noted<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.problems.push(problem)).ok()
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        // Collecting the components drops `.` and doubled slashes.
        self.environment.working_directory.join(path).components().collect()
    }

    /// Whoever asks for what is not there yet must not get a build without it.
    fn refuse_unsupported(&mut self, cli: &Cli) {
        if !cli.input.secret.is_empty() {
            self.problems.push(Problem::Secret);
        }
        if is_on(cli.output.dryrun) {
            self.problems.push(Problem::DryRun);
        }
        for option in cli.input.git.iter().flat_map(|options| options.split(',')) {
            if !option.contains('=') {
                self.problems.push(Problem::GitOption(option.to_owned()));
            }
        }
    }

    fn outputs(&mut self, output: &Output) -> Outputs {
        Outputs {
            destinations: self.destinations(&output.destination),
            no_push: self.no_push(output.no_push),
            tar_path: output.tar_path.as_deref().map(|path| self.absolute(path)),
            oci_layout_path: output.oci_layout_path.as_deref().map(|path| self.absolute(path)),
            digest_file: self.output_file("--digest-file", output.digest_file.as_deref()),
            image_name_with_digest_file: self.output_file(
                "--image-name-with-digest-file",
                output.image_name_with_digest_file.as_deref(),
            ),
            image_name_tag_with_digest_file: self.output_file(
                "--image-name-tag-with-digest-file",
                output.image_name_tag_with_digest_file.as_deref(),
            ),
        }
    }

    fn destinations(&mut self, destinations: &[String]) -> Vec<Reference> {
        let parsed = destinations.iter().map(|text| parse_destination(text));
        parsed
            .filter_map(|result| result.map_err(|problem| self.problems.push(problem)).ok())
            .collect()
    }

    fn no_push(&mut self, flag: Option<Switch>) -> bool {
        match (flag, self.environment.filled(env::KANIKO_NO_PUSH)) {
            (Some(Switch(on)), _) => on,
            (None, None) => false,
            (None, Some(value)) => {
                let text = value.to_string_lossy();
                let parsed = text.parse().map_err(|source| Problem::Environment {
                    name: env::KANIKO_NO_PUSH,
                    value: text.into_owned(),
                    source,
                });
                self.noted(parsed).is_some_and(|Switch(on)| on)
            }
        }
    }

    /// The kaniko executor sends these files to `https://` addresses as well.
    fn output_file(&mut self, flag: &'static str, path: Option<&Path>) -> Option<PathBuf> {
        let path = path?;
        if path.to_string_lossy().starts_with("https://") {
            self.problems.push(Problem::OutputUrl { flag });
            return None;
        }
        Some(self.absolute(path))
    }

    fn image(&mut self, image: &Image) -> ImageOptions {
        let compression = compression(image.compression.unwrap_or(Codec::Gzip), image.compression_level);
        ImageOptions {
            compression: self.noted(compression).unwrap_or_default(),
            format: image.image_format.map(Into::into),
            reproducible: is_on(image.reproducible),
            source_date_epoch: None,
            single_snapshot: is_on(image.single_snapshot),
        }
    }

    fn check_combinations(&mut self, outputs: &Outputs, image: &ImageOptions) {
        // A destination that could not be read was meant to be one.
        let unreadable = |problem: &Problem| matches!(problem, Problem::Destination { .. });
        let named = !outputs.destinations.is_empty() || self.problems.iter().any(unreadable);
        if !named && !outputs.no_push {
            self.problems.push(Problem::NoDestination);
        }
        let name_files = [
            ("--image-name-with-digest-file", &outputs.image_name_with_digest_file),
            (
                "--image-name-tag-with-digest-file",
                &outputs.image_name_tag_with_digest_file,
            ),
        ];
        for (flag, _) in name_files.iter().filter(|(_, path)| path.is_some() && !named) {
            self.problems.push(Problem::NameFileWithoutDestination { flag });
        }
        let zstd = matches!(image.compression, LayerCompression::Zstd { .. });
        if zstd && image.format == Some(ManifestFormat::Docker) {
            self.problems.push(Problem::DockerZstd);
        }
        if outputs.tar_path.is_some() && image.format == Some(ManifestFormat::Oci) {
            self.problems.push(Problem::TarOci);
        }
        if outputs.tar_path.is_some() && zstd {
            self.problems.push(Problem::TarZstd);
        }
    }

    /// A bare name takes the variable's value; unset, it is as if it were not there.
    fn build_args(&mut self, build_args: &[String]) -> BTreeMap<String, String> {
        let mut values = BTreeMap::new();
        for text in build_args {
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (text.as_str(), self.variable(text)),
            };
            match value {
                _ if name.is_empty() => self.problems.push(Problem::BuildArg),
                Some(value) => drop(values.insert(name.to_owned(), value)),
                None => {}
            }
        }
        values
    }

    fn variable(&mut self, name: &str) -> Option<String> {
        let value = self.environment.get(name)?;
        let text = value.to_str().map(str::to_owned);
        self.noted(text.ok_or_else(|| Problem::NotUtf8 { name: name.to_owned() }))
    }

    /// The build argument wins over the environment, and empty means none. A value of the environment is a build
    /// argument too, as with BuildKit's client, so that `ARG SOURCE_DATE_EPOCH` sees it.
    fn source_date_epoch(&mut self, build_args: &mut BTreeMap<String, String>) -> Option<u64> {
        let name = env::SOURCE_DATE_EPOCH;
        if !build_args.contains_key(name) && self.environment.filled(name).is_some() {
            build_args.insert(name.to_owned(), self.variable(name)?);
        }
        let text = build_args.get(name).filter(|text| !text.is_empty())?;
        let parsed = text.parse().map_err(|_| Problem::Epoch(text.clone()));
        self.noted(parsed)
    }

    fn state_dir(&mut self, cli: &Cli) -> Option<PathBuf> {
        let environment = self.environment;
        let asked = cli.execution.store.clone().or_else(|| cli.execution.kaniko_dir.clone());
        let asked = asked.filter(|path| !path.as_os_str().is_empty());
        let default = || match environment.is_root {
            true => Some(PathBuf::from(ROOT_STATE_DIR)),
            false => environment
                .path(env::XDG_DATA_HOME)
                .or_else(|| Some(environment.path(env::HOME)?.join(".local/share")))
                .map(|data| data.join("rbuild")),
        };
        let path = asked.or_else(|| environment.path(env::KANIKO_DIR)).or_else(default);
        let path = self.noted(path.ok_or(Problem::NoStateDir))?;
        Some(self.absolute(&path))
    }

    fn context(&mut self, cli: &Cli) -> Option<PathBuf> {
        let given = cli.input.context.as_deref().unwrap_or(DEFAULT_CONTEXT);
        let local = self.noted(local_context(given, cli.input.bucket.as_deref()))?;
        let root = self.absolute(Path::new(local));
        // Always below the context, as the name says, also when written with a leading slash.
        let sub_path = cli
            .input
            .context_sub_path
            .as_deref()
            .unwrap_or_default()
            .trim_start_matches('/');
        let context: PathBuf = root.join(sub_path).components().collect();
        let problem = match fs::metadata(&context) {
            Ok(metadata) if metadata.is_dir() => return Some(context),
            Ok(_) => Problem::ContextNotADirectory(context),
            Err(source) => Problem::ContextUnreadable { path: context, source },
        };
        self.problems.push(problem);
        None
    }

    /// Path and name of the Dockerfile.
    fn dockerfile(&mut self, cli: &Cli, context: Option<&Path>) -> Option<(PathBuf, String)> {
        let asked = cli.input.dockerfile.as_deref().filter(|name| !name.is_empty());
        let name = asked.unwrap_or(DEFAULT_DOCKERFILE);
        if name.starts_with("http://") || name.starts_with("https://") {
            self.problems.push(Problem::DockerfileUrl);
            return None;
        }
        let names = match asked {
            Some(name) => vec![name],
            None => vec![DEFAULT_DOCKERFILE, LOWER_CASE_DOCKERFILE],
        };
        // The working directory comes first, unlike with docker: pipelines rely on it.
        let places = [Some(self.environment.working_directory.as_path()), context];
        let mut tried = Vec::new();
        for name in names {
            for place in places.into_iter().flatten() {
                let path: PathBuf = place.join(name).components().collect();
                if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_dir()) {
                    return Some((path, name.to_owned()));
                }
                if !tried.contains(&path) {
                    tried.push(path);
                }
            }
        }
        self.problems.push(Problem::NoDockerfile {
            name: name.to_owned(),
            tried,
        });
        None
    }
}

fn map(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|pair| (pair.key.clone(), pair.value.clone()))
        .collect()
}

fn parse_platform(text: &str) -> Result<Platform, Problem> {
    text.parse().map_err(Problem::Platform)
}

/// A digest is what a push finds out; it cannot be asked for.
fn parse_destination(text: &str) -> Result<Reference, Problem> {
    let reference: Reference = text.parse().map_err(|source| Problem::Destination {
        text: text.to_owned(),
        source: Some(source),
    })?;
    match reference.digest() {
        None => Ok(reference),
        Some(_) => Err(Problem::Destination {
            text: text.to_owned(),
            source: None,
        }),
    }
}

/// A level of -1 leaves it to the codec.
fn compression(codec: Codec, level: Option<Int>) -> Result<LayerCompression, Problem> {
    let (name, allowed) = match codec {
        Codec::Gzip => ("gzip", 0..=9),
        Codec::Zstd => ("zstd", 1..=22),
    };
    let level = match level {
        None | Some(Int(-1)) => None,
        Some(Int(level)) => {
            let fits = u8::try_from(level).ok().filter(|level| allowed.contains(level));
            Some(fits.ok_or(Problem::Level {
                codec: name,
                level,
                allowed,
            })?)
        }
    };
    Ok(match codec {
        Codec::Gzip => LayerCompression::Gzip { level },
        Codec::Zstd => LayerCompression::Zstd { level },
    })
}

/// The path of a context that is a directory of ours.
fn local_context<'a>(given: &'a str, bucket: Option<&str>) -> Result<&'a str, Problem> {
    /// Sources of the kaniko executor that are not directories.
    const REMOTE: &[&str] = &["tar", "git", "s3", "gs", "https"];
    if given.is_empty() {
        return Err(match bucket {
            Some(bucket) => Problem::ContextScheme(bucket.to_owned()),
            None => Problem::NoContext,
        });
    }
    match given.split_once("://") {
        None => Ok(given),
        Some(("dir", "")) => Err(Problem::NoContext),
        Some(("dir", path)) => Ok(path),
        Some((scheme, _)) if REMOTE.contains(&scheme) => Err(Problem::ContextScheme(without_password(given))),
        Some(_) => Err(Problem::ContextUnknown(without_password(given))),
    }
}

/// The address without what may be a user's name and password.
fn without_password(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else {
        return address.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}{path}"),
        None => address.to_owned(),
    }
}

impl From<Format> for ManifestFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Docker => Self::Docker,
            Format::Oci => Self::Oci,
        }
    }
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
