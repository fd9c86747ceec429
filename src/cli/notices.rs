//! What a user should know about flags that were accepted and do nothing.

use super::args::Cli;
use super::environment::{self as env, Environment};
use super::options::is_on;
use super::value::Switch;
use crate::registry::BuiltinHelper;

/// Something to tell before the build starts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// The build is not quite the one asked for.
    Warning(String),
    /// The build is the one asked for, without the flag's help.
    Info(String),
}

/// One line per flag or variable that does nothing.
pub(super) fn of(cli: &Cli, environment: &Environment) -> Vec<Notice> {
    let mut notices = Vec::new();
    if is_on(cli.cache.cache) {
        let text = "layer caching is not implemented yet; --cache uses the base images of --cache-dir only";
        notices.push(Notice::Warning(text.to_owned()));
    }
    let helpers = cli.registry.credential_helpers.iter().filter(|name| !name.is_empty());
    notices.extend(helpers.filter_map(|name| helper_notice(name)));
    let given = without_effect(cli).into_iter().filter(|(given, _, _)| *given);
    notices.extend(
        given.map(|(_, flag, why)| {
            Notice::Info(format!("{flag} is accepted for compatibility and has no effect: {why}"))
        }),
    );
    notices.extend(of_environment(environment));
    notices
}

/// What is to be said of a credential helper asked for by name.
fn helper_notice(name: &str) -> Option<Notice> {
    match name {
        _ if BuiltinHelper::ALL.iter().any(|helper| helper.name() == name) => None,
        "google" | "ecr" | "acr" => Some(Notice::Warning(format!(
            "the credential helper {name} is not built in yet; config.json and the helpers it names are used"
        ))),
        _ => Some(Notice::Warning(format!(
            "there is no built-in credential helper {name:?} (env and gitlab are known)"
        ))),
    }
}

/// Variables of the kaniko executor that have nothing left to do. Its feature flags share a line: there are forty.
fn of_environment(environment: &Environment) -> Vec<Notice> {
    let given = WITHOUT_EFFECT
        .iter()
        .filter(|(name, kind, _)| match kind {
            Kind::Switch => environment.is_on(name),
            Kind::Text => environment.filled(name).is_some(),
        })
        .map(|(name, _, why)| format!("{name} is accepted for compatibility and has no effect: {why}"));
    let mut texts: Vec<_> = given.collect();
    let flags = environment.texts().map(|(name, _)| name);
    let flags = flags.filter(|name| name.starts_with("FF_KANIKO_") && *name != env::FF_KANIKO_DISABLE_HTTP2);
    let flags: Vec<_> = flags.collect();
    if let [first, more @ ..] = flags.as_slice() {
        let others = match more.len() {
            0 => String::new(),
            count => format!(" (and {count} more)"),
        };
        texts.push(format!(
            "{first}{others} is accepted for compatibility and has no effect: the better behaviour is always on"
        ));
    }
    texts.into_iter().map(Notice::Info).collect()
}

/// When a variable says something.
enum Kind {
    /// When it is true.
    Switch,
    /// When it is not empty.
    Text,
}

/// Name, when it says something, and why it does nothing.
const WITHOUT_EFFECT: [(&str, Kind, &str); 6] = [
    ("KANIKO_CLEANUP", Kind::Switch, CLEANUP),
    ("KANIKO_PRE_CLEANUP", Kind::Switch, PRE_CLEANUP),
    ("KANIKO_PRESERVE_CONTEXT", Kind::Switch, PRESERVE_CONTEXT),
    ("KANIKO_TELEMETRY_ENDPOINT", Kind::Text, "nothing is sent to anybody"),
    ("KANIKO_IGNORE_ASSERTIONS", Kind::Text, "there are none to ignore"),
    (
        "SNAPSHOT_TIMEOUT_DURATION",
        Kind::Text,
        "a snapshot takes the time it needs, which is seconds",
    ),
];
const CLEANUP: &str = "a build leaves nothing behind that the next one sees";
const PRE_CLEANUP: &str = "a build does not see the container's own files";
const PRESERVE_CONTEXT: &str = "the context is never written to";

/// Whether the flag was given, its name, and why it does nothing.
fn without_effect(cli: &Cli) -> [(bool, &'static str, &'static str); 11] {
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
        (on(obsolete.cleanup), "--cleanup", CLEANUP),
        (on(obsolete.pre_cleanup), "--pre-cleanup", PRE_CLEANUP),
        (on(obsolete.preserve_context), "--preserve-context", PRESERVE_CONTEXT),
        (
            on(obsolete.materialize),
            "--materialize",
            "the image is never unpacked over the container's own files",
        ),
        (
            cli.input.bucket.is_some() && cli.input.context.as_ref().is_some_and(|context| !context.is_empty()),
            "--bucket",
            "--context names the context",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args;

    fn notices(line: &[&str]) -> Vec<Notice> {
        of(
            &args::parse(["rbuild"].iter().chain(line)).unwrap(),
            &Environment::default(),
        )
    }

    #[test]
    fn variables_without_effect_say_so() {
        let cli = args::parse(["rbuild"]).unwrap();
        let notices = |name: &str, value: &str| of(&cli, &Environment::default().with(name, value));
        for (name, value) in [
            ("KANIKO_CLEANUP", "1"),
            ("KANIKO_PRE_CLEANUP", "true"),
            ("KANIKO_PRESERVE_CONTEXT", "T"),
            ("KANIKO_TELEMETRY_ENDPOINT", "https://t.example"),
            ("KANIKO_IGNORE_ASSERTIONS", "a,b"),
            ("SNAPSHOT_TIMEOUT_DURATION", "2h"),
            ("FF_KANIKO_COPY_AS_ROOT", "0"),
        ] {
            let expected = format!("{name} is accepted for compatibility and has no effect: ");
            match notices(name, value).as_slice() {
                [Notice::Info(text)] if text.starts_with(&expected) => {}
                other => panic!("{name}: {other:?}"),
            }
        }
        for (name, value) in [
            ("KANIKO_CLEANUP", "false"),
            ("KANIKO_CLEANUP", "nonsense"),
            ("FF_KANIKO_DISABLE_HTTP2", "1"),
            ("container", "docker"),
            ("STACKLOG_PATH", "/x"),
        ] {
            assert_eq!(notices(name, value), [], "{name}");
        }
        let environment = Environment::default()
            .with("FF_KANIKO_A", "1")
            .with("FF_KANIKO_B", "1")
            .with("FF_KANIKO_C", "0");
        let one = "FF_KANIKO_A (and 2 more) is accepted for compatibility and has no effect: the better behaviour is always on";
        assert_eq!(of(&cli, &environment), [Notice::Info(one.to_owned())]);
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
    fn a_bucket_beside_a_context_says_so() {
        let expected = "--bucket is accepted for compatibility and has no effect: --context names the context";
        let expected = Notice::Info(expected.to_owned());
        assert_eq!(notices(&["--bucket=b", "--context=c"]), [expected]);
    }

    #[test]
    fn what_changes_the_build_is_a_warning() {
        for line in [
            "--cache",
            "--cache=true",
            "--credential-helpers=ecr",
            "--credential-helpers=keychain",
        ] {
            assert!(matches!(notices(&[line]).as_slice(), [Notice::Warning(_)]), "{line}");
        }
    }

    #[test]
    fn what_changes_nothing_is_silent() {
        for line in [
            &["-d", "x"][..],
            &["--force"],
            &["--bucket=b"],
            &["--bucket=b", "--context="],
            &["--cache=false", "--cleanup=false", "--use-new-run=false"],
            &["--credential-helpers="],
            &["--credential-helpers=env", "--credential-helpers=gitlab"],
            &["--ignore-path=/x", "--image-fs-extract-retry=1"],
            &["--cache-repo=x", "--cache-ttl=6h"],
        ] {
            assert_eq!(notices(line), [], "{line:?}");
        }
    }
}
