//! Where the image goes and in which form: destinations, files, layers.

use std::path::{Path, PathBuf};

use reqwest::Url;

use super::args::{Codec, Format, Image, Output};
use super::environment::{self as env, Environment};
use super::options::is_on;
use super::problem::{Problem, noted};
use super::value::{Int, Switch};
use crate::build::request::{ImageOptions, LayerCompression, Outputs, Rehearsal, TextOutput};
use crate::oci::{ManifestFormat, Reference};

/// Reads the flags; what is wrong with them, or with several together, goes to `problems`.
pub(super) fn convert(
    output: &Output,
    image: &Image,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> (Outputs, ImageOptions) {
    let outputs = outputs(output, environment, problems);
    let image = image_options(image, problems);
    check_combinations(&outputs, &image, problems);
    (outputs, image)
}

/// Reads the flags that say where the image goes.
pub(super) fn outputs(output: &Output, environment: &Environment, problems: &mut Vec<Problem>) -> Outputs {
    let destinations = destinations(&output.destination, problems);
    let no_push = no_push(output.no_push, environment, problems);
    let mut text = |flag, path: &Option<PathBuf>| text_output(flag, path.as_deref()?, environment, problems);
    Outputs {
        destinations,
        no_push,
        tar_path: output.tar_path.as_deref().map(|path| environment.absolute(path)),
        oci_layout_path: output.oci_layout_path.as_deref().map(|path| environment.absolute(path)),
        digest_file: text("--digest-file", &output.digest_file),
        image_name_with_digest_file: text("--image-name-with-digest-file", &output.image_name_with_digest_file),
        image_name_tag_with_digest_file: text(
            "--image-name-tag-with-digest-file",
            &output.image_name_tag_with_digest_file,
        ),
        builder_output: environment
            .path(env::BUILDER_OUTPUT)
            .map(|path| environment.absolute(&path)),
    }
}

fn destinations(destinations: &[String], problems: &mut Vec<Problem>) -> Vec<Reference> {
    let parsed = destinations.iter().map(|text| parse_destination(text));
    parsed.filter_map(|result| noted(result, problems)).collect()
}

fn no_push(flag: Option<Switch>, environment: &Environment, problems: &mut Vec<Problem>) -> bool {
    match (flag, environment.filled(env::KANIKO_NO_PUSH)) {
        (Some(Switch(on)), _) => on,
        (None, None) => false,
        (None, Some(value)) => {
            let text = value.to_string_lossy();
            let parsed = text.parse().map_err(|source| Problem::Environment {
                name: env::KANIKO_NO_PUSH,
                value: text.into_owned(),
                source,
            });
            // Unreadable, it was meant to say something; a complaint about destinations would mislead.
            noted(parsed, problems).is_none_or(|Switch(on)| on)
        }
    }
}

/// A file, or as with the kaniko executor an `https://` address.
fn text_output(
    flag: &'static str,
    path: &Path,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Option<TextOutput> {
    match path.to_str().filter(|text| text.starts_with("https://")) {
        None => Some(TextOutput::File(environment.absolute(path))),
        Some(address) => {
            let url = Url::parse(address).map_err(|error| Problem::OutputAddress {
                flag,
                reason: error.to_string(),
            });
            noted(url, problems).map(TextOutput::Address)
        }
    }
}

/// What a line says of the plan; without the flag the variable only shows it.
pub(super) fn rehearsal(output: &Output, environment: &Environment) -> Rehearsal {
    match output.dryrun {
        Some(Switch(true)) => Rehearsal::PlanOnly,
        _ if environment.is_on(env::KANIKO_PRINT_PLAN) => Rehearsal::PlanFirst,
        _ => Rehearsal::None,
    }
}

fn image_options(image: &Image, problems: &mut Vec<Problem>) -> ImageOptions {
    let codec = image.compression.unwrap_or(Codec::Gzip);
    let compression = level(codec, image.compression_level);
    ImageOptions {
        compression: with_level(codec, noted(compression, problems).flatten()),
        format: image.image_format.map(Into::into),
        reproducible: is_on(image.reproducible),
        rewrite_timestamp: image.rewrite_timestamp.is_none_or(|Switch(on)| on),
        single_snapshot: is_on(image.single_snapshot),
    }
}

fn check_combinations(outputs: &Outputs, image: &ImageOptions, problems: &mut Vec<Problem>) {
    // A destination that could not be read was meant to be one.
    let unreadable = |problem: &Problem| matches!(problem, Problem::Destination { .. });
    let named = !outputs.destinations.is_empty() || problems.iter().any(unreadable);
    if !named && !outputs.no_push {
        problems.push(Problem::NoDestination);
    }
    let name_files = [
        ("--image-name-with-digest-file", &outputs.image_name_with_digest_file),
        (
            "--image-name-tag-with-digest-file",
            &outputs.image_name_tag_with_digest_file,
        ),
    ];
    for (flag, _) in name_files.iter().filter(|(_, path)| path.is_some() && !named) {
        problems.push(Problem::NameFileWithoutDestination { flag });
    }
    let zstd = matches!(image.compression, LayerCompression::Zstd { .. });
    if zstd && image.format == Some(ManifestFormat::Docker) {
        problems.push(Problem::DockerZstd);
    }
    if outputs.tar_path.is_some() && image.format == Some(ManifestFormat::Oci) {
        problems.push(Problem::TarOci);
    }
    if image.reproducible && !image.rewrite_timestamp {
        problems.push(Problem::ReproducibleTimes);
    }
    if outputs.tar_path.is_some() && zstd {
        problems.push(Problem::TarZstd);
    }
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

/// Levels of -1 and 0 leave it to the codec, as with the kaniko executor.
fn level(codec: Codec, level: Option<Int>) -> Result<Option<u8>, Problem> {
    let (name, allowed) = match codec {
        Codec::Gzip => ("gzip", 1..=9),
        Codec::Zstd => ("zstd", 1..=22),
    };
    let Some(Int(level)) = level.filter(|level| !matches!(level, Int(-1 | 0))) else {
        return Ok(None);
    };
    let fits = u8::try_from(level).ok().filter(|level| allowed.contains(level));
    fits.map(Some).ok_or(Problem::Level {
        codec: name,
        level,
        allowed,
    })
}

fn with_level(codec: Codec, level: Option<u8>) -> LayerCompression {
    match codec {
        Codec::Gzip => LayerCompression::Gzip { level },
        Codec::Zstd => LayerCompression::Zstd { level },
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::site::Site;

    #[test]
    fn a_flag_wins_over_its_variable() {
        let no_push = |site: Site, line: &[&str]| site.convert(line).map(|request| request.outputs.no_push);
        for (value, line, expected) in [
            (None, &[][..], Ok(false)),
            (Some("true"), &[], Ok(true)),
            (Some("1"), &["--no-push=false"], Ok(false)),
            (Some("false"), &["--no-push"], Ok(true)),
            (Some("nonsense"), &["--no-push"], Ok(true)),
            (Some(""), &[], Ok(false)),
            (
                Some("yes"),
                &[],
                Err(vec![
                    "environment variable KANIKO_NO_PUSH has the invalid value \"yes\"".to_owned(),
                ]),
            ),
        ] {
            let site = match value {
                Some(value) => Site::new().with(env::KANIKO_NO_PUSH, value),
                None => Site::new(),
            };
            assert_eq!(no_push(site, line), expected, "{value:?} {line:?}");
        }
    }

    #[test]
    fn levels_are_checked_against_the_codec() {
        for (line, expected) in [
            (&[][..], Ok(LayerCompression::Gzip { level: None })),
            (&["--compression-level=-1"], Ok(LayerCompression::Gzip { level: None })),
            (
                &["--compression-level", "-1"],
                Ok(LayerCompression::Gzip { level: None }),
            ),
            (&["--compression-level=0"], Ok(LayerCompression::Gzip { level: None })),
            (
                &["--compression-level=9"],
                Ok(LayerCompression::Gzip { level: Some(9) }),
            ),
            (&["--compression-level=10"], Err(("gzip", 10))),
            (
                &["--compression=zstd", "--compression-level=22"],
                Ok(LayerCompression::Zstd { level: Some(22) }),
            ),
            (
                &["--compression=zstd", "--compression-level=0"],
                Ok(LayerCompression::Zstd { level: None }),
            ),
            (&["--compression=zstd", "--compression-level=23"], Err(("zstd", 23))),
            (&["--compression=zstd", "--compression-level=-2"], Err(("zstd", -2))),
        ] {
            let result = Site::new().convert(line).map(|request| request.image.compression);
            match expected {
                Ok(compression) => assert_eq!(result, Ok(compression), "{line:?}"),
                Err((codec, level)) => {
                    let expected = format!("--compression-level {level} is out of range for {codec} (");
                    assert!(result.unwrap_err()[0].starts_with(&expected), "{line:?}");
                }
            }
        }
    }

    #[test]
    fn results_go_to_files_and_addresses() {
        let site = Site::new().with(env::BUILDER_OUTPUT, "out");
        let line = ["--digest-file=https://u:p@h/x?y", "--image-name-with-digest-file=names"];
        let outputs = site.convert(&line).unwrap().outputs;
        let address = Url::parse("https://u:p@h/x?y").unwrap();
        assert_eq!(outputs.digest_file, Some(TextOutput::Address(address)));
        let names = TextOutput::File(site.path("names"));
        assert_eq!(outputs.image_name_with_digest_file, Some(names));
        assert_eq!(outputs.builder_output, Some(site.path("out")));
    }

    #[test]
    fn a_plan_is_asked_for_by_flag_or_variable() {
        let rehearsal = |value: &str, line: &[&str]| {
            let site = Site::new().with(env::KANIKO_PRINT_PLAN, value);
            site.convert(line).unwrap().rehearsal
        };
        assert_eq!(rehearsal("", &[]), Rehearsal::None);
        assert_eq!(rehearsal("1", &[]), Rehearsal::PlanFirst);
        assert_eq!(rehearsal("1", &["--dryrun=false"]), Rehearsal::PlanFirst);
        assert_eq!(rehearsal("", &["--dryrun"]), Rehearsal::PlanOnly);
    }

    #[test]
    fn combinations_that_cannot_work_are_refused() {
        let destination = "--destination=r.example/app";
        for (line, expected) in [
            (&[][..], &["you must provide --destination, or use --no-push"][..]),
            (
                &["--no-push=false"],
                &["you must provide --destination, or use --no-push"],
            ),
            (&["--no-push", "--digest-file=d"], &[]),
            (
                &["--no-push", "--image-name-with-digest-file=d"],
                &["--image-name-with-digest-file needs a --destination"],
            ),
            (
                &["--no-push", "--image-name-tag-with-digest-file=d"],
                &["--image-name-tag-with-digest-file needs a --destination"],
            ),
            (
                &[
                    destination,
                    "--image-name-with-digest-file=d",
                    "--image-name-tag-with-digest-file=e",
                ],
                &[],
            ),
            (
                &["--destination=UP"],
                &["--destination \"UP\" is not a name to push to"],
            ),
            (
                &[destination, "--compression=zstd", "--image-format=docker"],
                &["--image-format=docker cannot hold --compression=zstd layers"],
            ),
            (
                &[destination, "--tar-path=t", "--image-format=oci"],
                &["--tar-path writes an archive in Docker's format, which --image-format=oci excludes"],
            ),
            (
                &[destination, "--tar-path=t", "--compression=zstd"],
                &["--tar-path writes an archive in Docker's format, which cannot hold --compression=zstd layers"],
            ),
            (&[destination, "--tarPath=t", "--image-format=docker"], &[]),
            (
                &[destination, "--reproducible", "--rewrite-timestamp=false"],
                &["--reproducible excludes --rewrite-timestamp=false"],
            ),
            (&[destination, "--reproducible=false", "--rewrite-timestamp=false"], &[]),
            (&[destination, "--digest-file=https://x/y", "--dryrun"], &[]),
            (
                &[destination, "--digest-file=https://"],
                &["--digest-file names no address: empty host"],
            ),
            (
                &[destination, "--build-arg==x"],
                &["--build-arg needs a name before the ="],
            ),
            (&[destination, "--git=depth=1,branch=main"], &[]),
            (
                &[destination, "--git=depth"],
                &["invalid git flag, must be in the key=value format: depth"],
            ),
        ] {
            let line = [&["--context=context"], line].concat();
            let problems = Site::new().convert_bare(&line).err().unwrap_or_default();
            assert_eq!(problems, expected, "{line:?}");
        }
    }
}
