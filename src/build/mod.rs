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
mod connect;
mod contexts;
mod epoch;
mod error;
mod fetch;
mod finished;
mod images;
mod layer_job;
mod layouts;
mod mounts;
mod pool;
mod process;
pub mod request;
mod schedule;
mod session;
mod sources;
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
pub use layouts::LayoutError;
pub use mounts::MountError;
use mounts::Supplies;
use request::{BuildRequest, LayerCompression};
use session::{LayerJobs, Layering, Session};
use sources::RemoteSources;
use stage::Lineage;
use trees::ImageTrees;
pub use upload::UploadError;
use upload::{Source, Uploader};
use workspace::Workspace;

use crate::cancel::Cancel;
use crate::context::{BuildContext, IgnoreFile};
use crate::export;
use crate::image::{self, Image, Layer, Parts};
use crate::layer::{Encoding, LayerOptions};
use crate::oci::{Annotated, Compression, Digest, ImageId, Platform};
use crate::plan::{self, CopyFrom, Plan, PlanOptions, Planning, Step};
use crate::progress::{Event, Progress};
use crate::registry::Client;
use crate::rootfs::Rootfs;
use crate::run::Isolation;
use crate::store::{Blob, StateDir};

/// What a build made.
#[derive(Clone, Copy, Debug)]
pub struct Built {
    /// Digest of the manifest.
    pub digest: Digest,
    /// Digest of the config.
    pub image_id: ImageId,
}

/// Builds what `request` asks for and brings it where it says.
///
/// # Errors
/// [`BuildError`]; then no destination has a new tag, and nothing of the build is left on disk.
pub fn run(request: &BuildRequest, progress: &Arc<dyn Progress>, cancel: &Cancel) -> Result<Built, BuildError> {
    let options = plan_options(request);
    let (dockerfile, checks) = checks::read(request, &options, &**progress)?;
    let mut outline = plan::outline(&dockerfile, &options)?;
    epoch::settle(&mut outline)?;
    let client = connect::client(&request.registry, progress, cancel)?;
    check_destinations(request, &client)?;
    let mut images = Images::new(client.clone(), Arc::clone(progress));
    images.resolve(outline.images())?;
    let plan = make_plan(&outline, &mut images)?;
    let session = open_session(request, plan, images, client.clone(), progress, cancel)?;
    let checked = checks.of_stages(&dockerfile, &outline, &session);
    match checked.and_then(|()| build_and_export(request, &session, &client)) {
        Ok(built) => session.finish().map(|()| built),
        Err(error) => Err(session.cause_of(error)),
    }
}

fn plan_options(request: &BuildRequest) -> PlanOptions {
    let own = |map: &std::collections::BTreeMap<String, String>| {
        map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    PlanOptions {
        build_args: own(&request.build_args),
        targets: request.targets.clone(),
        target_platform: request.platform.clone().unwrap_or_else(Platform::host),
        build_platform: Platform::host(),
        labels: own(&request.labels),
        contexts: request.contexts.clone(),
        sandbox: request.sandbox.clone(),
        grants: request.grants.clone(),
    }
}

/// Asks every destination whether it would take a push, before an hour is spent on building.
fn check_destinations(request: &BuildRequest, client: &Client) -> Result<(), BuildError> {
    if request.outputs.no_push || request.registry.skip_push_permission_check {
        return Ok(());
    }
    for destination in &request.outputs.destinations {
        client.check_push(destination).map_err(|source| Problem::Destination {
            destination: destination.clone(),
            source,
        })?;
    }
    Ok(())
}

/// Plans, and fetches the configs of images that only ONBUILD triggers name, until nothing is open.
fn make_plan(outline: &plan::Outline, images: &mut Images) -> Result<Plan, BuildError> {
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

fn open_session(
    request: &BuildRequest,
    plan: Plan,
    images: Images,
    client: Client,
    progress: &Arc<dyn Progress>,
    cancel: &Cancel,
) -> Result<Session, BuildError> {
    let isolation = choose_isolation(request, &plan, &**progress)?;
    let context = open_context(request, &plan)?;
    let state = |source| Problem::State {
        path: request.state_dir.clone(),
        source,
    };
    let state_dir = StateDir::open(&request.state_dir).map_err(state)?;
    let directory = state_dir.begin(&**progress).map_err(state)?;
    let blobs = directory.blobs().map_err(state)?;
    let named_trees = NamedTrees::open(&plan)?;
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
        images,
        fetcher,
        uploader,
        blobs,
        workspace: Some(Workspace::new(directory)),
        isolation,
        context,
        named_trees,
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
        sources: RemoteSources::new(connect::remote(request, progress, cancel)),
        layer_jobs: LayerJobs::default(),
        supplies: Supplies::new(request, state_dir.cache_mounts()),
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
    let isolation = crate::run::choose(request.isolation)
        .map_err(|error| BuildError::new(error).at(&step.excerpt, &session::stage_label(stage)))?;
    progress.event(Event::Isolation(isolation.name()));
    Ok(Some(Arc::from(isolation)))
}

fn open_context(request: &BuildRequest, plan: &Plan) -> Result<Option<BuildContext>, BuildError> {
    let steps = plan.stages.iter().flat_map(|stage| &stage.steps);
    if !steps.into_iter().any(|step| step.step.reads(&CopyFrom::Context)) {
        return Ok(None);
    }
    let path = &request.context;
    let tree = Rootfs::open(path).map_err(|source| Problem::Context {
        path: path.clone(),
        source,
    })?;
    let ignore = IgnoreFile::find(Some(&request.dockerfile), &tree)?;
    Ok(Some(BuildContext::new(tree, ignore)))
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

fn build_and_export(request: &BuildRequest, session: &Session, client: &Client) -> Result<Built, BuildError> {
    let target = session.build_stages()?;
    submit_base_layers(&target, session);
    let image = assemble(request, &target, session)?;
    deliver(&image, &target, request, session, client)?;
    Ok(Built {
        digest: *image.manifest.digest(),
        image_id: image.id(),
    })
}

/// Brings the image to every destination; the tags move last.
fn deliver(
    image: &Image,
    target: &Lineage,
    request: &BuildRequest,
    session: &Session,
    client: &Client,
) -> Result<(), BuildError> {
    let config = session.blobs.put(image.format.config_type(), image.config.bytes())?;
    if request.outputs.wants_local() {
        let layers = local_layers(target, session)?;
        let local = export::LocalImage {
            image,
            config: &config,
            layers: &layers,
        };
        export::write_local(&local, &request.outputs, &*session.progress)?;
    }
    if request.outputs.no_push {
        session
            .progress
            .event(Event::Info("Skipping push to container registry due to --no-push flag"));
    }
    if let Some(uploader) = &session.uploader {
        uploader.submit(Source::Local(config));
        uploader.finish()?;
        session.cancel.check()?;
        export::push_manifests(image, request.outputs.pushes(), client, &*session.progress)?;
    }
    export::write_name_files(image, &request.outputs)
}

/// Every layer of the image on disk; those of the base are fetched if no stage unpacked them.
fn local_layers(target: &Lineage, session: &Session) -> Result<Vec<Blob>, BuildError> {
    let mut blobs = Vec::new();
    for (image, layer) in &target.base_layers {
        let incoming = session.fetcher.fetch(image, layer)?;
        let failed = |source| Problem::FetchLayer {
            reference: image.clone(),
            layer: layer.digest,
            source,
        };
        blobs.push(incoming.wait().map_err(failed)?);
    }
    for job in target.additions.iter().filter_map(|addition| addition.layer.as_ref()) {
        blobs.push(job.wait()?.1);
    }
    Ok(blobs)
}

/// Base layers travel too, if only by a question whether they are there already.
fn submit_base_layers(target: &Lineage, session: &Session) {
    if let Some(uploader) = &session.uploader {
        for (image, layer) in &target.base_layers {
            uploader.submit(Source::Base {
                image: image.clone(),
                layer: layer.clone(),
            });
        }
    }
}

fn assemble(request: &BuildRequest, target: &Lineage, session: &Session) -> Result<Image, BuildError> {
    let planned = session
        .plan
        .stage(session.plan.target)
        .expect("the plan holds its target");
    let mut config = planned.config.clone();
    config.history.clone_from(&target.base_history);
    config.rootfs.diff_ids = base_diff_ids(session, planned);
    let finish = |addition: &stage::Addition| -> Result<image::Addition, BuildError> {
        let layer = addition.layer.as_ref().map(layer_job::LayerJob::wait).transpose()?;
        let layer: Option<Layer> = layer.map(|(layer, _)| layer);
        Ok(image::Addition {
            history: addition.history.clone(),
            layer,
            created: addition.created,
        })
    };
    let additions = target.additions.iter().map(finish).collect::<Result<Vec<_>, _>>()?;
    Ok(image::assemble(Parts {
        config,
        base_layers: target.base_layers.iter().map(|(_, layer)| layer.clone()).collect(),
        additions,
        format: image::choose_format(
            request.image.format,
            target.base_format,
            session.layer_options.encoding.compression(),
        ),
        annotations: request.annotations.of_image(Annotated::Manifest, &planned.platform),
        epoch: epoch::of_image(&session.plan, &request.image),
        rewritten: epoch::of_layers(&session.plan, &request.image),
    })?)
}

/// Diff IDs of the image at the end of the FROM chain.
fn base_diff_ids(session: &Session, planned: &plan::PlannedStage) -> Vec<crate::oci::DiffId> {
    match &planned.base {
        plan::Base::Scratch => Vec::new(),
        plan::Base::Image(key) => session.images.get(key).config.rootfs.diff_ids.clone(),
        plan::Base::Stage(id) => {
            let base = session.plan.stage(*id).expect("the plan holds the base of every stage");
            base_diff_ids(session, base)
        }
    }
}
