//! Pushes an image that was built before: `rbuild push`.

use std::path::PathBuf;
use std::sync::Arc;

use super::error::{BuildError, Problem};
use super::fetch::Fetcher;
use super::request::{Outputs, RegistryOptions};
use super::upload::{Source, Uploader};
use super::{Built, check_destinations, connect, saved};
use crate::cancel::Cancel;
use crate::export;
use crate::progress::Progress;
use crate::remote::Remote;
use crate::store::StateDir;

/// What goes where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushRequest {
    /// An OCI image layout, or an archive of `docker save`.
    pub path: PathBuf,
    /// At least one destination, and files that name the image.
    pub outputs: Outputs,
    /// How registries are reached.
    pub registry: RegistryOptions,
    /// Directory for what has to be copied. Created when missing.
    pub state_dir: PathBuf,
}

/// Brings the image to every destination.
///
/// # Errors
/// [`BuildError`]; then no destination has a new tag.
pub fn run(request: &PushRequest, progress: &Arc<dyn Progress>, cancel: &Cancel) -> Result<Built, BuildError> {
    let client = connect::client(&request.registry, progress, cancel)?;
    check_destinations(&request.outputs, &request.registry, &client)?;
    let state = |source| Problem::State {
        path: request.state_dir.clone(),
        source,
    };
    let directory = StateDir::open(&request.state_dir).and_then(|state| state.begin(&**progress));
    let directory = directory.map_err(state)?;
    let blobs = directory.blobs().map_err(state)?;
    let threads = |source| Problem::System {
        what: "start the transfer threads",
        source,
    };
    let fetcher = Fetcher::start(client.clone(), blobs.clone()).map_err(threads)?;
    let destinations = request.outputs.pushes();
    let uploader = Uploader::start(client.clone(), fetcher, destinations, cancel.clone()).map_err(threads)?;
    let read = saved::read(&request.path, &directory, cancel, &mut |blob| {
        uploader.submit(Source::Local(blob));
    });
    // An upload that failed ends the reading too.
    let product = match (read, uploader.finish()) {
        (_, Err(error)) => return Err(error.into()),
        (Ok(product), Ok(())) => product,
        (Err(source), Ok(())) => {
            let path = request.path.clone();
            return Err(Problem::Saved { path, source }.into());
        }
    };
    cancel.check()?;
    export::push(&product, destinations, &client, &**progress)?;
    let kept = request.state_dir.join("downloads");
    let options = connect::remote_options(&request.registry);
    let remote = Remote::new(options, &kept, Arc::clone(progress), cancel.clone());
    export::write_name_files(product.digest(), &request.outputs, &remote)?;
    let digest = *product.digest();
    directory.remove()?;
    Ok(Built { digest })
}
