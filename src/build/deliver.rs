//! The last part of a build: stages become images, several images become an index, and all go where they should.

use super::error::{BuildError, Problem};
use super::layer_job::LayerJob;
use super::request::{BuildRequest, Shape};
use super::session::Session;
use super::stage::{self, Lineage};
use super::upload::Source;
use super::{Built, epoch};
use crate::export::{self, LocalImage, Product};
use crate::image::{self, Image, ImageIndex, Parts};
use crate::oci::{Annotated, DiffId, History, ManifestFormat};
use crate::plan::{self, Base};
use crate::progress::Event;
use crate::registry::Client;
use crate::store::Blob;

/// Puts the images together and brings them to every destination; the tags move last.
pub(super) fn deliver(
    request: &BuildRequest,
    lineages: &[Lineage],
    session: &Session,
    client: &Client,
) -> Result<Built, BuildError> {
    for lineage in lineages {
        submit_base_layers(lineage, session);
    }
    let format = common_format(request, lineages, session);
    request.annotations.check_format(format).map_err(Problem::Annotation)?;
    let images = session.plan.products.iter().zip(lineages);
    let images = images.map(|(product, lineage)| assemble(request, product, lineage, format, session));
    let images = images.collect::<Result<Vec<_>, _>>()?;
    let configs = images.iter().map(|image| {
        let media_type = image.format.config_type();
        Ok(session.blobs.put(media_type, image.config.bytes())?)
    });
    let configs = configs.collect::<Result<Vec<_>, BuildError>>()?;
    let product = match request.shape {
        Shape::Image => Product::Image(Box::new(images.into_iter().next().expect("a plan has a product"))),
        Shape::Index => Product::Index(Box::new(ImageIndex::of(images, &request.annotations))),
    };
    write_local(request, &product, lineages, &configs, session)?;
    if request.outputs.no_push {
        let text = "Skipping push to container registry due to --no-push flag";
        session.progress.event(Event::Info(text));
    }
    if let Some(uploader) = &session.uploader {
        for config in configs {
            uploader.submit(Source::Local(config));
        }
        uploader.finish()?;
        session.cancel.check()?;
        export::push(&product, request.outputs.pushes(), client, &*session.progress)?;
    }
    export::write_name_files(product.digest(), &request.outputs, session.sources.remote())?;
    Ok(Built {
        digest: *product.digest(),
    })
}

fn write_local(
    request: &BuildRequest,
    product: &Product,
    lineages: &[Lineage],
    configs: &[Blob],
    session: &Session,
) -> Result<(), BuildError> {
    if !request.outputs.wants_local() {
        return Ok(());
    }
    let layers = lineages.iter().map(|lineage| local_layers(lineage, session));
    let layers = layers.collect::<Result<Vec<_>, _>>()?;
    let parts = product.images().iter().zip(configs).zip(&layers);
    let images: Vec<_> = parts
        .map(|((image, config), layers)| LocalImage { image, config, layers })
        .collect();
    export::write_local(product, &images, request, &*session.progress)
}

/// Every layer of an image on disk; those of the base are fetched if no stage unpacked them.
fn local_layers(lineage: &Lineage, session: &Session) -> Result<Vec<Blob>, BuildError> {
    let mut blobs = Vec::new();
    for (image, layer) in &lineage.base_layers {
        let incoming = session.fetcher.fetch(image, layer)?;
        let failed = |source| Problem::FetchLayer {
            reference: image.clone(),
            layer: layer.digest,
            source,
        };
        blobs.push(incoming.wait().map_err(failed)?);
    }
    for job in lineage.additions.iter().filter_map(|addition| addition.layer.as_ref()) {
        blobs.push(job.wait()?.1);
    }
    Ok(blobs)
}

/// Base layers travel too, if only by a question whether they are there already.
fn submit_base_layers(lineage: &Lineage, session: &Session) {
    if let Some(uploader) = &session.uploader {
        for (image, layer) in &lineage.base_layers {
            uploader.submit(Source::Base {
                image: image.clone(),
                layer: layer.clone(),
            });
        }
    }
}

/// One family for all, since an index should not mix them: OCI unless every image would be Docker's.
fn common_format(request: &BuildRequest, lineages: &[Lineage], session: &Session) -> ManifestFormat {
    let compression = session.layer_options.encoding.compression();
    let mut formats = lineages
        .iter()
        .map(|lineage| image::choose_format(request.image.format, lineage.base_format, compression));
    match formats.all(|format| format == ManifestFormat::Docker) {
        true => ManifestFormat::Docker,
        false => ManifestFormat::Oci,
    }
}

fn assemble(
    request: &BuildRequest,
    product: &plan::Product,
    lineage: &Lineage,
    format: ManifestFormat,
    session: &Session,
) -> Result<Image, BuildError> {
    let mut config = product.config.clone();
    config.rootfs.diff_ids = base_diff_ids(session, product.stage);
    // A stage may have been built for several platforms at once; only the plan knows each one's history.
    let own = config.history.split_off(lineage.base_history.len());
    let finish = |(addition, history): (&stage::Addition, History)| -> Result<image::Addition, BuildError> {
        let layer = addition.layer.as_ref().map(LayerJob::wait).transpose()?;
        Ok(image::Addition {
            history,
            layer: layer.map(|(layer, _)| layer),
            created: addition.created,
        })
    };
    let additions = lineage.additions.iter().zip(own).map(finish);
    Ok(image::assemble(Parts {
        config,
        base_layers: lineage.base_layers.iter().map(|(_, layer)| layer.clone()).collect(),
        additions: additions.collect::<Result<_, _>>()?,
        format,
        annotations: request.annotations.of_image(Annotated::Manifest, &product.platform),
        epoch: epoch::of_image(&session.plan, &request.image),
        rewritten: epoch::of_layers(&session.plan, &request.image),
    })?)
}

/// Diff IDs of the image at the end of the FROM chain.
fn base_diff_ids(session: &Session, stage: plan::StageId) -> Vec<DiffId> {
    let planned = session
        .plan
        .stage(stage)
        .expect("the plan holds the base of every stage");
    match &planned.base {
        Base::Scratch => Vec::new(),
        Base::Image(key) => session.images.get(key).config.rootfs.diff_ids.clone(),
        Base::Stage(id) => base_diff_ids(session, *id),
    }
}
