//! `rbuild warm`, and the program under the name `warmer`.

use std::path::PathBuf;

use clap::Args;

use crate::build::request::DockerfileSource;
use crate::cli::args::{Logging, Registry};
use crate::cli::environment::Environment;
use crate::cli::options::{build_args, is_on};
use crate::cli::problem::{Problem, Problems, noted};
use crate::cli::value::{GoDuration, Switch};
use crate::cli::{cache_options, perform, platforms, registry_options};
use crate::diagnostic::Exit;
use crate::oci::Reference;
use crate::remote::UrlSource;
use crate::warm::{self, Existing, WarmRequest};

/// What is fetched, and where to.
#[derive(Args, Debug)]
pub(in crate::cli) struct WarmArgs {
    /// Image to fetch; may be given several times
    #[arg(long, short = 'i', value_name = "REFERENCE")]
    image: Vec<String>,

    /// Dockerfile whose base images are fetched, of all its stages
    #[arg(long, short = 'd', value_name = "PATH|URL")]
    dockerfile: Option<String>,

    /// Value for an ARG of a FROM; KEY alone takes the environment variable of that name, if it is set
    #[arg(long, value_name = "KEY[=VALUE]")]
    build_arg: Vec<String>,

    /// Directory to fill, for the --cache-dir of builds [default: /cache]
    #[arg(long, short = 'c', value_name = "DIR")]
    cache_dir: Option<PathBuf>,

    /// Age at which an image that is there is verified again [default: 336h]
    #[arg(long, value_name = "DURATION")]
    cache_ttl: Option<GoDuration>,

    /// Fetch images again that are there
    #[arg(long, short = 'f', value_name = "BOOL")]
    force: Option<Switch>,

    /// Platform of the images, for example linux/arm64 [default: the machine's]
    #[arg(
        long,
        visible_alias = "platform",
        alias = "customPlatform",
        value_name = "OS/ARCH[/VARIANT]"
    )]
    custom_platform: Option<String>,

    #[command(flatten)]
    registry: Registry,

    #[command(flatten)]
    logging: Logging,
}

/// Fills the directory.
pub(in crate::cli) fn warm(args: &WarmArgs) -> Exit {
    perform(&args.logging, |environment| convert(args, environment), warm::run)
}

fn convert(args: &WarmArgs, environment: &Environment) -> Result<WarmRequest, Problems> {
    let mut problems = Vec::new();
    if args.image.is_empty() && args.dockerfile.is_none() {
        problems.push(Problem::NothingToWarm);
    }
    let parsed = args.image.iter().map(|text| image(text));
    let images = parsed.filter_map(|image| noted(image, &mut problems)).collect();
    let dockerfile = args.dockerfile.as_deref().map(|name| dockerfile(name, environment));
    let dockerfile = dockerfile.and_then(|found| noted(found, &mut problems));
    let platform = platforms::parse(args.custom_platform.as_slice(), &mut problems);
    let request = WarmRequest {
        images,
        dockerfile,
        build_args: build_args(&args.build_arg, environment, &mut problems),
        platform: platform.into_iter().next(),
        directory: cache_options::directory(args.cache_dir.as_deref(), environment),
        ttl: cache_options::ttl(args.cache_ttl),
        existing: match is_on(args.force) {
            true => Existing::Replace,
            false => Existing::Keep,
        },
        registry: registry_options::convert(&args.registry, environment, &mut problems),
    };
    super::checked(Some(request), problems)
}

fn image(text: &str) -> Result<Reference, Problem> {
    text.parse().map_err(|source| Problem::Image {
        text: text.to_owned(),
        source,
    })
}

fn dockerfile(name: &str, environment: &Environment) -> Result<DockerfileSource, Problem> {
    if name.starts_with("http://") || name.starts_with("https://") {
        return Ok(DockerfileSource::Url(
            UrlSource::parse(name, None).map_err(Problem::Address)?,
        ));
    }
    let path = environment.absolute(name.as_ref());
    match path.is_file() {
        true => Ok(DockerfileSource::File {
            path,
            name: name.to_owned(),
        }),
        false => Err(Problem::NoDockerfile {
            name: name.to_owned(),
            tried: vec![path],
        }),
    }
}
