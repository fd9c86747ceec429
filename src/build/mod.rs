//! Executes a build: Dockerfile in, image at its destinations.
//!
//! ```text
//! request ─▶ Dockerfile ─▶ outline ─▶ base configs ─▶ plan
//!    plan ─▶ stages beside each other, each after those it needs ─▶ layers, uploaded while the next step runs
//!    layers + config ─▶ image ─▶ destinations, layout, archive, digest files
//! ```
//!
//! The work happens in a directory of the build's own, which is gone when the build is, however it ended.

mod accounts;
mod archive;
mod checks;
pub(crate) mod connect;
mod contexts;
mod deliver;
mod epoch;
mod error;
mod fetch;
mod finished;
mod foreign;
mod images;
mod input;
mod layer_job;
mod layouts;
mod mounts;
mod pool;
mod process;
mod process_failure;
pub mod push;
mod rehearsal;
pub mod request;
mod saved;
mod schedule;
mod session;
mod sources;
mod spool;
mod stage;
mod step;
mod trees;
mod upload;
mod workspace;

use std::sync::Arc;

use jiff::Timestamp;

use contexts::NamedTrees;
pub use error::{BuildError, Problem};
use fetch::Fetcher;
use finished::Finished;
use images::Images;
use input::{Bringer, Ignoring, Input};
pub use layouts::LayoutError;
use mounts::Supplies;
pub use mounts::{Absent, MountError};
pub use process_failure::ProcessFailure;
use request::{BuildRequest, LayerCompression, Outputs, RegistryOptions, Rehearsal};
pub use saved::SavedError;
use session::{LayerJobs, Layering, Session};
use sources::RemoteSources;
use trees::ImageTrees;
pub use upload::UploadError;
use upload::Uploader;
use workspace::Workspace;

use crate::cancel::Cancel;
use crate::context::{BuildContext, IgnoreFile};
use crate::layer::{Encoding, LayerOptions};
use crate::oci::{Compression, Digest, Platform};
use crate::plan::{self, CopyFrom, Granularity, Plan, PlanOptions, Planning, PlatformOrigin, Step};
use crate::progress::{Event, Progress};
use crate::registry::Client;
use crate::remote::Remote;
use crate::rootfs::Rootfs;
use crate::run::Isolation;
use crate::store::{BuildDir, StateDir};

/// What a build made.
#[derive(Clone, Copy, Debug)]
pub struct Built {
    /// Digest of the manifest, or of the index.
    pub digest: Digest,
}

/// Builds what `request` asks for and brings it where it says; nothing if only the plan was asked for.
///
/// # Errors
/// [`BuildError`]; then no destination has a new tag, and nothing of the build is left on disk.
pub fn run(request: &BuildRequest, progress: &Arc<dyn Progress>, cancel: &Cancel) -> Result<Option<Built>, BuildError> {
    let remote = connect::remote(request, progress, cancel);
    let mut bringer = Bringer::new(request, &remote, &**progress, cancel);
    let input = bringer.input()?;
    let options = all_options(request);
    let (dockerfile, checks) = checks::read(request, &input, &options[0], &**progress)?;
    let outlines = options.iter().map(|options| plan::outline(&dockerfile, options));
    let mut outlines = outlines.collect::<Result<Vec<_>, _>>()?;
    epoch::settle(&mut outlines, &input, &mut bringer)?;
    let client = connect::client(&request.registry, progress, cancel)?;
    if request.rehearsal != Rehearsal::PlanOnly {
        crate::export::check_places(&request.outputs)?;
        check_destinations(&request.outputs, &request.registry, &client)?;
    }
    let mut images = Images::new(client.clone(), Arc::clone(progress));
    let needs: Vec<_> = outlines.iter().flat_map(plan::Outline::images).cloned().collect();
    images.resolve(&needs)?;
    let plan = make_plan(&outlines, &mut images, granularity(request))?;
    if request.rehearsal != Rehearsal::None {
        progress.event(Event::Plan(&rehearsal::text(&plan, request)));
    }
    if request.rehearsal == Rehearsal::PlanOnly {
        return Ok(None);
    }
    let isolation = choose_isolation(request, &plan, &**progress)?;
    let context = open_context(&input, &plan, &mut bringer, &**progress)?;
    let named_trees = NamedTrees::open(&plan, &mut bringer)?;
    let (state, directory) = bringer.into_state()?;
    let opened = Opened {
        request,
        plan,
        images,
        isolation,
        context,
        named_trees,
        state,
        directory,
        remote,
    };
    let session = open_session(opened, client.clone(), progress, cancel)?;
    let outcome = checks.of_stages(&dockerfile, &outlines, &session).and_then(|()| {
        session.check_platforms()?;
        let lineages = session.build_stages()?;
        deliver::deliver(request, &lineages, &session, &client)
    });
    match outcome {
        Ok(built) => session.finish().map(|()| Some(built)),
        Err(error) => Err(session.cause_of(error)),
    }
}

/// What planning is told for each platform, in the order of the request.
fn all_options(request: &BuildRequest) -> Vec<PlanOptions> {
    match request.platforms.as_slice() {
        [] => vec![plan_options(request, Platform::host(), PlatformOrigin::Default)],
        requested => requested
            .iter()
            .map(|platform| plan_options(request, platform.clone(), PlatformOrigin::Requested))
            .collect(),
    }
}

/// One layer a stage leaves nothing that parts of a stage could share.
const fn granularity(request: &BuildRequest) -> Granularity {
    match request.image.single_snapshot {
        true => Granularity::Stages,
        false => Granularity::Steps,
    }
}

fn plan_options(request: &BuildRequest, target_platform: Platform, platform_origin: PlatformOrigin) -> PlanOptions {
    let own = |map: &std::collections::BTreeMap<String, String>| {
        map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    PlanOptions {
        build_args: own(&request.build_args),
        targets: request.targets.clone(),
        target_platform,
        platform_origin,
        build_platform: Platform::host(),
        labels: own(&request.labels),
        contexts: request.contexts.clone(),
        sandbox: request.sandbox.clone(),
        grants: request.grants.clone(),
    }
}

/// Asks every destination whether it would take a push, before an hour is spent on building.
fn check_destinations(outputs: &Outputs, registry: &RegistryOptions, client: &Client) -> Result<(), BuildError> {
    if registry.skip_push_permission_check {
        return Ok(());
    }
    for destination in outputs.pushes() {
        client.check_push(destination).map_err(|source| Problem::Destination {
            destination: destination.clone(),
            source,
        })?;
    }
    Ok(())
}

/// Plans for every platform, and makes one plan of all.
fn make_plan(outlines: &[plan::Outline], images: &mut Images, granularity: Granularity) -> Result<Plan, BuildError> {
    let plans = outlines.iter().map(|outline| plan_one(outline, images));
    Ok(plan::merge(plans.collect::<Result<_, _>>()?, granularity))
}

/// Plans, and fetches the configs of images that only ONBUILD triggers name, until nothing is open.
fn plan_one(outline: &plan::Outline, images: &mut Images) -> Result<Plan, BuildError> {
    loop {
        match plan::plan(outline, images.configs())? {
            Planning::Needs(needs) => images.resolve(&needs)?,
            Planning::Ready(plan) => {
                images.resolve(&plan.images)?;
                return Ok(plan);
            }
        }
    }
}

/// What a session begins with.
struct Opened<'a> {
    request: &'a BuildRequest,
    plan: Plan,
    images: Images,
    isolation: Option<Arc<dyn Isolation>>,
    context: Option<BuildContext>,
    named_trees: NamedTrees,
    state: StateDir,
    directory: BuildDir,
    remote: Remote,
}

fn open_session(
    opened: Opened<'_>,
    client: Client,
    progress: &Arc<dyn Progress>,
    cancel: &Cancel,
) -> Result<Session, BuildError> {
    let Opened {
        request,
        plan,
        directory,
        ..
    } = opened;
    let state = |source| Problem::State {
        path: request.state_dir.clone(),
        source,
    };
    let blobs = directory.blobs().map_err(state)?;
    let layer_options = layer_options(request, &plan)?;
    let threads = |source| Problem::System {
        what: "start the transfer threads",
        source,
    };
    let fetcher = Fetcher::start(client.clone(), blobs.clone()).map_err(threads)?;
    let uploader = match request.outputs.pushes() {
        [] => None,
        destinations => {
            let uploader = Uploader::start(client, Arc::clone(&fetcher), destinations, cancel.clone());
            Some(Arc::new(uploader.map_err(threads)?))
        }
    };
    Ok(Session {
        plan,
        images: opened.images,
        fetcher,
        uploader,
        blobs,
        workspace: Some(Workspace::new(directory)),
        isolation: opened.isolation,
        context: opened.context,
        named_trees: opened.named_trees,
        layer_options,
        layering: if request.image.single_snapshot {
            Layering::PerStage
        } else {
            Layering::PerStep
        },
        progress: Arc::clone(progress),
        cancel: cancel.clone(),
        finished: Finished::default(),
        image_trees: ImageTrees::default(),
        sources: RemoteSources::new(opened.remote),
        layer_jobs: LayerJobs::default(),
        supplies: Supplies::new(request, opened.state.cache_mounts()),
        ignored: request.ignored.clone(),
        unpack_retries: request.registry.image_fs_extract_retry,
    })
}

fn choose_isolation(
    request: &BuildRequest,
    plan: &Plan,
    progress: &dyn Progress,
) -> Result<Option<Arc<dyn Isolation>>, BuildError> {
    let Some((stage, step)) = plan.stages.iter().find_map(|stage| {
        let run = stage.steps.iter().find(|step| matches!(step.step, Step::Run(_)))?;
        Some((stage, run))
    }) else {
        return Ok(None);
    };
    let site = crate::run::Site {
        state_dir: &request.state_dir,
        force: request.force,
        unmapped: request.unmapped.as_ref(),
    };
    let chosen = crate::run::choose(request.isolation, site).map_err(|error| {
        let others = error.others().to_vec();
        BuildError::new(error)
            .with_details(others)
            .at(&step.excerpt, &stage.label)
    })?;
    for refused in &chosen.refused {
        progress.event(Event::Debug(&refused.to_string()));
    }
    progress.event(Event::Isolation(&chosen.summary()));
    Ok(Some(Arc::from(chosen.isolation)))
}

fn open_context(
    input: &Input,
    plan: &Plan,
    bringer: &mut Bringer<'_>,
    progress: &dyn Progress,
) -> Result<Option<BuildContext>, BuildError> {
    let steps = plan.stages.iter().flat_map(|stage| &stage.steps);
    if !steps.into_iter().any(|step| step.step.reads(&CopyFrom::Context)) {
        return Ok(None);
    }
    let path = &input.context;
    let tree = Rootfs::open(path).map_err(|source| Problem::Context {
        path: path.clone(),
        source,
    })?;
    let ignore = match input.ignoring {
        Ignoring::BesideDockerfile => IgnoreFile::find(Some(&input.dockerfile), &tree)?,
        Ignoring::BesideDockerfileInContext => IgnoreFile::find_in_context(&input.dockerfile_name, &tree)?,
        Ignoring::InContext => IgnoreFile::in_context(&tree)?,
        Ignoring::Nothing => None,
    };
    if let Some(ignore) = &ignore {
        progress.event(Event::Info(&format!("Using dockerignore file: {}", ignore.name)));
    }
    Ok(Some(
        BuildContext::new(tree, ignore).hiding(&bringer.own_directories()?),
    ))
}

fn layer_options(request: &BuildRequest, plan: &Plan) -> Result<LayerOptions, BuildError> {
    let (compression, level) = match request.image.compression {
        LayerCompression::Gzip { level } => (Compression::Gzip, level),
        LayerCompression::Zstd { level } => (Compression::Zstd, level),
    };
    Ok(LayerOptions {
        encoding: Encoding::new(compression, level.map(i32::from))?,
        clamp_mtime: epoch::of_layers(plan, &request.image).map(Timestamp::as_second),
        ..LayerOptions::default()
    })
}
