//! `rbuild push`: an image that was built before goes to a registry.

use std::path::PathBuf;

use clap::Args;

use crate::build::push::{self, PushRequest};
use crate::cli::args::{Logging, Output, Registry};
use crate::cli::environment::Environment;
use crate::cli::options::state_dir;
use crate::cli::problem::{Problem, Problems, noted};
use crate::cli::value::Switch;
use crate::cli::{output_options, perform, registry_options};
use crate::diagnostic::Exit;

/// What is pushed, and where to.
#[derive(Args, Debug)]
pub(in crate::cli) struct PushArgs {
    /// Image that was built before: an archive (of --tar-path or docker save), or an OCI image layout
    #[arg(value_name = "FILE|DIR")]
    path: PathBuf,

    /// Reference to push the image to; may be given several times
    #[arg(long, short = 'd', value_name = "REFERENCE")]
    destination: Vec<String>,

    /// Write the image's digest, without a newline; an https:// URL gets it with PUT, as with the next two
    #[arg(long, value_name = "FILE|URL")]
    digest_file: Option<PathBuf>,

    /// Write a line repository@digest per destination
    #[arg(long, value_name = "FILE|URL")]
    image_name_with_digest_file: Option<PathBuf>,

    /// Write a line repository:tag@digest per destination
    #[arg(long, value_name = "FILE|URL")]
    image_name_tag_with_digest_file: Option<PathBuf>,

    /// Directory for blobs on their way [default: /var/lib/rbuild for root, else ~/.local/share/rbuild]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,

    #[command(flatten)]
    registry: Registry,

    #[command(flatten)]
    logging: Logging,
}

/// Pushes the image.
pub(in crate::cli) fn push(args: &PushArgs) -> Exit {
    perform(&args.logging, |environment| convert(args, environment), push::run)
}

fn convert(args: &PushArgs, environment: &Environment) -> Result<PushRequest, Problems> {
    let mut problems = Vec::new();
    if args.destination.is_empty() {
        problems.push(Problem::NowhereToPush);
    }
    let output = Output {
        destination: args.destination.clone(),
        // A variable that keeps builds from pushing is not meant for this.
        no_push: Some(Switch(false)),
        digest_file: args.digest_file.clone(),
        image_name_with_digest_file: args.image_name_with_digest_file.clone(),
        image_name_tag_with_digest_file: args.image_name_tag_with_digest_file.clone(),
        ..Output::default()
    };
    let outputs = output_options::outputs(&output, environment, &mut problems);
    let registry = registry_options::convert(&args.registry, environment, &mut problems);
    let state_dir = noted(state_dir(args.store.as_deref(), environment), &mut problems);
    let request = state_dir.map(|state_dir| PushRequest {
        path: environment.absolute(&args.path),
        outputs,
        registry,
        state_dir,
    });
    super::checked(request, problems)
}
