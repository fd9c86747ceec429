//! What a user should know about flags that were accepted and do nothing.

use super::args::Cli;
use super::options::is_on;
use super::value::Switch;

/// Something to tell before the build starts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// The build is not quite the one asked for.
    Warning(String),
    /// The build is the one asked for, without the flag's help.
    Info(String),
}

/// One line per flag that does nothing.
pub(super) fn of(cli: &Cli) -> Vec<Notice> {
    let mut notices = Vec::new();
    if is_on(cli.cache.cache) {
        let text = "layer caching is not implemented yet; --cache uses the base images of --cache-dir only";
        notices.push(Notice::Warning(text.to_owned()));
    }
    if cli.registry.credential_helpers.iter().any(|name| !name.is_empty()) {
        let text = "built-in credential helpers are not implemented yet; config.json and the helpers it names are used";
        notices.push(Notice::Warning(text.to_owned()));
    }
    let not_yet = [
        (!cli.input.ignore_path.is_empty(), "--ignore-path"),
        (
            is_on(cli.registry.push_ignore_immutable_tag_errors),
            "--push-ignore-immutable-tag-errors",
        ),
        (
            cli.registry.image_fs_extract_retry.is_some(),
            "--image-fs-extract-retry",
        ),
    ];
    for (_, flag) in not_yet.into_iter().filter(|(given, _)| *given) {
        notices.push(Notice::Warning(format!(
            "{flag} is not implemented yet; building without it"
        )));
    }
    let given = without_effect(cli).into_iter().filter(|(given, _, _)| *given);
    notices.extend(
        given.map(|(_, flag, why)| {
            Notice::Info(format!("{flag} is accepted for compatibility and has no effect: {why}"))
        }),
    );
    notices
}

/// Whether the flag was given, its name, and why it does nothing.
fn without_effect(cli: &Cli) -> [(bool, &'static str, &'static str); 12] {
    let obsolete = &cli.obsolete;
    // Switching off what is off anyway needs no comment.
    let on = is_on;
    let given = |flag: Option<Switch>| flag.is_some();
    [
        (
            obsolete.snapshot_mode.is_some(),
            "--snapshot-mode",
            "changes are always found exactly, and fast",
        ),
        (
            on(obsolete.use_new_run),
            "--use-new-run",
            "changes are always found exactly, and fast",
        ),
        (
            given(obsolete.compressed_caching),
            "--compressed-caching",
            "layers are never held in memory",
        ),
        (
            given(obsolete.ignore_var_run),
            "--ignore-var-run",
            "only what is mounted is left out of the image",
        ),
        (
            on(obsolete.force_build_metadata),
            "--force-build-metadata",
            "metadata belongs to the image's config and needs no layer",
        ),
        (
            given(obsolete.skip_unused_stages),
            "--skip-unused-stages",
            "stages that nothing needs are never built",
        ),
        (
            on(obsolete.cleanup),
            "--cleanup",
            "a build leaves nothing behind that the next one sees",
        ),
        (
            on(obsolete.pre_cleanup),
            "--pre-cleanup",
            "a build does not see the container's own files",
        ),
        (
            on(obsolete.preserve_context),
            "--preserve-context",
            "the context is never written to",
        ),
        (
            on(obsolete.materialize),
            "--materialize",
            "the image is never unpacked over the container's own files",
        ),
        (
            on(cli.execution.force),
            "--force",
            "the container's own files are not touched",
        ),
        (cli.input.bucket.is_some(), "--bucket", "--context names the context"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args;

    fn notices(line: &[&str]) -> Vec<Notice> {
        of(&args::parse(["rbuild"].iter().chain(line)).unwrap())
    }

    #[test]
    fn flags_without_effect_say_so() {
        for flag in [
            "--snapshot-mode=redo",
            "--use-new-run",
            "--compressed-caching=false",
            "--ignore-var-run=false",
            "--force-build-metadata",
            "--skip-unused-stages",
            "--cleanup",
            "--pre-cleanup",
            "--preserve-context",
            "--materialize",
            "--force",
            "--bucket=b",
        ] {
            let name = flag.split('=').next().unwrap();
            let expected = format!("{name} is accepted for compatibility and has no effect: ");
            match notices(&[flag]).as_slice() {
                [Notice::Info(text)] if text.starts_with(&expected) => {}
                other => panic!("{flag}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_changes_the_build_is_a_warning() {
        for line in [
            "--cache",
            "--cache=true",
            "--credential-helpers=ecr",
            "--ignore-path=/x",
            "--push-ignore-immutable-tag-errors",
            "--image-fs-extract-retry=1",
        ] {
            assert!(matches!(notices(&[line]).as_slice(), [Notice::Warning(_)]), "{line}");
        }
    }

    #[test]
    fn what_changes_nothing_is_silent() {
        for line in [
            &["-d", "x"][..],
            &[
                "--cache=false",
                "--cleanup=false",
                "--use-new-run=false",
                "--force=false",
            ],
            &["--credential-helpers="],
            &["--cache-repo=x", "--cache-ttl=6h"],
        ] {
            assert_eq!(notices(line), [], "{line:?}");
        }
    }
}
