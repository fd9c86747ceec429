//! The command line as written: names, value grammars and help, nothing else.
//!
//! Names and grammar are those of the kaniko executor. A field's type is its grammar (see `value`);
//! [`command`] gives every field of a type the same parsing rules.

use std::any::TypeId;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::commands::{LoginArgs, LogoutArgs, PushArgs, WarmArgs};
use super::value::{Call, CallFormat, Count, GoDuration, HostPair, Int, KeyValue, KeyValues, Switch};

/// The name that messages give the program.
pub(super) const PROGRAM: &str = "rbuild";
/// How a line is written.
pub(super) const USAGE: &str = "rbuild [-f Dockerfile] [-c DIR] -d REFERENCE [OPTIONS]
       rbuild COMMAND [OPTIONS]";

/// Builds a container image from a Dockerfile, without a daemon, and pushes it.
#[derive(Parser, Debug)]
#[command(
    name = "rbuild",
    bin_name = "rbuild",
    version,
    max_term_width = 100,
    args_override_self = true,
    next_line_help = true,
    override_usage = USAGE
)]
pub(super) struct Cli {
    /// What to do instead of a build.
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) input: Input,
    #[command(flatten)]
    pub(super) output: Output,
    #[command(flatten)]
    pub(super) image: Image,
    #[command(flatten)]
    pub(super) checks: Checks,
    #[command(flatten)]
    pub(super) registry: Registry,
    #[command(flatten)]
    pub(super) cache: Cache,
    #[command(flatten)]
    pub(super) run: Run,
    #[command(flatten)]
    pub(super) execution: Execution,
    #[command(flatten)]
    pub(super) logging: Logging,
    #[command(flatten)]
    pub(super) obsolete: Obsolete,
}

/// What rbuild does besides building.
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Checks a Dockerfile, pulls nothing and builds nothing; fails if anything is found
    Check(Inspection),
    /// Lists the build arguments, secrets and SSH agents that a target takes
    Outline(Inspection),
    /// Lists the stages that can be built
    Targets(Inspection),
    /// Pushes an image that was built before: an archive or an OCI image layout
    Push(PushArgs),
    /// Fetches base images into a directory that builds share
    Warm(WarmArgs),
    /// Keeps the credentials for a registry, where Docker keeps them
    Login(LoginArgs),
    /// Forgets the credentials for a registry
    Logout(LogoutArgs),
    /// Prints the version
    Version,
    /// Prints a script that completes command lines
    Completion {
        /// Shell that the script is for
        shell: Shell,
    },
}

/// What is looked at, and how it is answered.
#[derive(Args, Debug)]
pub(super) struct Inspection {
    /// Dockerfile to look at, relative to the working directory or to the context [default: Dockerfile]
    #[arg(long, visible_alias = "dockerfile", short = 'f', value_name = "PATH")]
    pub(super) file: Option<String>,

    /// Directory whose .dockerignore counts [default: /workspace/ if it exists, else the working directory]
    #[arg(long, short = 'c', value_name = "DIR")]
    pub(super) context: Option<String>,

    /// Directory within the context to use as the context
    #[arg(long, value_name = "DIR")]
    pub(super) context_sub_path: Option<String>,

    /// Value for an ARG; KEY alone takes the environment variable of that name, if it is set
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub(super) build_arg: Vec<String>,

    /// What FROM NAME and --from=NAME mean, as for a build
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) build_context: Vec<String>,

    /// Stage to look at with those it needs, by name or number [default: check all, outline the last]
    #[arg(long, value_name = "STAGE")]
    pub(super) target: Option<String>,

    /// Platform to build for, for example linux/arm64 [default: the machine's]
    #[arg(long, visible_alias = "custom-platform", value_name = "OS/ARCH[/VARIANT]")]
    pub(super) platform: Option<String>,

    /// Text for people, or JSON
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: CallFormat,

    /// Use no colour [env: NO_COLOR]
    #[arg(long, value_name = "BOOL")]
    pub(super) no_color: Option<Switch>,
}

/// What is checked in the Dockerfile.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Checks")]
pub(super) struct Checks {
    /// What becomes of findings: a warning, an error that ends the build, or nothing [default: what the Dockerfile
    /// says, else warn]
    #[arg(long, value_name = "EFFECT")]
    pub(super) lint: Option<Lint>,

    /// Answer a question about the Dockerfile, as the command of that name does, and build nothing
    #[arg(long, value_name = "check|outline|targets[,format=json]")]
    pub(super) call: Option<Call>,

    /// Same as --call=check
    #[arg(long, value_name = "BOOL")]
    pub(super) check: Option<Switch>,
}

/// Dockerfile, context and build arguments.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Input")]
pub(super) struct Input {
    /// Dockerfile to build, relative to the working directory or to the context, or a URL [default: Dockerfile]
    #[arg(long, short = 'f', value_name = "PATH|URL")]
    pub(super) dockerfile: Option<String>,

    /// What ADD and COPY read from: a directory (PATH or dir://PATH), a tar archive (tar://PATH, tar://stdin or -), a
    /// git repository (git://HOST/REPO, https://….git, ssh://… or USER@HOST:PATH, each with #REF and #COMMIT), an
    /// archive in a cloud storage (s3://BUCKET/KEY, gs://BUCKET/OBJECT,
    /// https://ACCOUNT.blob.core.windows.net/CONTAINER/BLOB) or an archive or Dockerfile behind an http(s) URL
    /// [default: /workspace/]
    #[arg(long, short = 'c', value_name = "CONTEXT")]
    pub(super) context: Option<String>,

    /// Directory within the context to use as the context, whatever kind of context it is
    #[arg(long, value_name = "DIR")]
    pub(super) context_sub_path: Option<String>,

    /// Options of a git context, one per flag or separated by commas: branch=NAME (a tag too), single-branch=BOOL,
    /// depth=N (0 is everything), recurse-submodules=BOOL, insecure-skip-tls=BOOL
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) git: Vec<String>,

    /// Bucket of the context when there is no --context: BUCKET or BUCKET/OBJECT in Google Cloud Storage, or an s3:// or
    /// gs:// address
    #[arg(long, short = 'b', value_name = "BUCKET", hide = true)]
    pub(super) bucket: Option<String>,

    /// Value for an ARG; KEY alone takes the environment variable of that name, if it is set
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub(super) build_arg: Vec<String>,

    /// What FROM NAME and --from=NAME mean, a stage of that name included: a directory, docker-image://REF,
    /// oci-layout://DIR@DIGEST, or a git or http(s) URL
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) build_context: Vec<String>,

    /// Stage to build, by name or number; of several, the first is exported [default: the last stage]
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub(super) target: Vec<String>,

    /// Platform to build for, for example linux/arm64; several give one image index [default: the machine's]
    #[arg(
        long,
        visible_alias = "platform",
        alias = "customPlatform",
        value_name = "OS/ARCH[/VARIANT]",
        value_delimiter = ','
    )]
    pub(super) custom_platform: Vec<String>,

    /// Label for the image; wins over LABEL
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) label: Vec<KeyValue>,

    /// Annotation for the image's manifest, or, with TYPE, for its manifest, index, manifest-descriptor or
    /// index-descriptor; several types are separated by commas
    #[arg(long, value_name = "[TYPE[[PLATFORM]]:]KEY=VALUE")]
    pub(super) annotation: Vec<String>,

    /// Path in the image that is not unpacked, not deleted and put in no layer; may hold * ? [
    #[arg(long, value_name = "PATTERN")]
    pub(super) ignore_path: Vec<String>,
}

/// Where the image goes.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Output")]
pub(super) struct Output {
    /// Reference to push the image to; may be given several times
    #[arg(long, short = 'd', value_name = "REFERENCE")]
    pub(super) destination: Vec<String>,

    /// Push nothing [env: KANIKO_NO_PUSH]
    #[arg(long, value_name = "BOOL")]
    pub(super) no_push: Option<Switch>,

    /// Write the image as an archive in the docker save format
    #[arg(long, alias = "tarPath", value_name = "FILE")]
    pub(super) tar_path: Option<PathBuf>,

    /// Write the image as an OCI image layout
    #[arg(long, value_name = "DIR")]
    pub(super) oci_layout_path: Option<PathBuf>,

    /// Write the image's digest, without a newline; an https:// URL gets it with PUT, as with the next two
    #[arg(long, value_name = "FILE|URL")]
    pub(super) digest_file: Option<PathBuf>,

    /// Write a line repository@digest per destination
    #[arg(long, value_name = "FILE|URL")]
    pub(super) image_name_with_digest_file: Option<PathBuf>,

    /// Write a line repository:tag@digest per destination
    #[arg(long, value_name = "FILE|URL")]
    pub(super) image_name_tag_with_digest_file: Option<PathBuf>,

    /// Print what would be built to standard output, and build nothing [env: KANIKO_PRINT_PLAN prints it and goes on]
    #[arg(long, value_name = "BOOL")]
    pub(super) dryrun: Option<Switch>,
}

/// What the image is made of.
#[derive(Args, Debug)]
#[command(next_help_heading = "Image")]
pub(super) struct Image {
    /// Compression of new layers [default: gzip]
    #[arg(long, value_name = "CODEC")]
    pub(super) compression: Option<Codec>,

    /// Compression level: 1 to 9 for gzip, 1 to 22 for zstd; -1 and 0 are the codec's default
    #[arg(long, value_name = "LEVEL")]
    pub(super) compression_level: Option<Int>,

    /// Format of manifest, config and layers [default: the base image's]
    #[arg(long, value_name = "FORMAT")]
    pub(super) image_format: Option<Format>,

    /// Leave every time out of the image, so that equal inputs give equal digests: what would be now is
    /// SOURCE_DATE_EPOCH (from the environment, a build argument or an ARG before the first FROM), else 1970
    #[arg(long, value_name = "BOOL")]
    pub(super) reproducible: Option<Switch>,

    /// With a SOURCE_DATE_EPOCH, cut file times in new layers that are later down to it [default: true]
    #[arg(long, value_name = "BOOL")]
    pub(super) rewrite_timestamp: Option<Switch>,

    /// Make one layer per stage
    #[arg(long, value_name = "BOOL")]
    pub(super) single_snapshot: Option<Switch>,
}

/// How registries are reached.
#[derive(Args, Debug)]
#[command(next_help_heading = "Registry")]
pub(super) struct Registry {
    /// Push over plain HTTP
    #[arg(long, value_name = "BOOL")]
    pub(super) insecure: Option<Switch>,

    /// Pull over plain HTTP
    #[arg(long, value_name = "BOOL")]
    pub(super) insecure_pull: Option<Switch>,

    /// Registry to speak plain HTTP to
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(super) insecure_registry: Vec<String>,

    /// Verify no TLS certificate
    #[arg(long, value_name = "BOOL")]
    pub(super) skip_tls_verify: Option<Switch>,

    /// Verify no TLS certificate when pulling
    #[arg(long, value_name = "BOOL")]
    pub(super) skip_tls_verify_pull: Option<Switch>,

    /// Registry whose TLS certificate is not verified
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(super) skip_tls_verify_registry: Vec<String>,

    /// Certificate authority (PEM) of a registry
    #[arg(long, value_name = "HOST=FILE")]
    pub(super) registry_certificate: Vec<KeyValue>,

    /// Client certificate and key (PEM) for a registry
    #[arg(long, value_name = "HOST=CERT,KEY")]
    pub(super) registry_client_cert: Vec<HostPair>,

    /// Where to look first for images of a registry [env: KANIKO_REGISTRY_MAP]
    #[arg(long, value_name = "HOST=HOST[/PREFIX][;…]")]
    pub(super) registry_map: Vec<KeyValues>,

    /// Where to look first for images of Docker Hub [env: KANIKO_REGISTRY_MIRROR]
    #[arg(long, value_name = "HOST[/PREFIX]")]
    pub(super) registry_mirror: Vec<String>,

    /// Fail when no mirror has an image, instead of asking its own registry
    #[arg(long, value_name = "BOOL")]
    pub(super) skip_default_registry_fallback: Option<Switch>,

    /// Further tries of a push, on top of the 5 made anyway [default: 0]
    #[arg(long, value_name = "N")]
    pub(super) push_retry: Option<Count>,

    /// Further tries of a pull, on top of the 5 made anyway [default: 0]
    #[arg(long, value_name = "N")]
    pub(super) image_download_retry: Option<Count>,

    /// Further tries of unpacking a base image [default: 0]
    #[arg(long, value_name = "N")]
    pub(super) image_fs_extract_retry: Option<Count>,

    /// Count a tag that exists and must not change as pushed
    #[arg(long, value_name = "BOOL")]
    pub(super) push_ignore_immutable_tag_errors: Option<Switch>,

    /// Start without asking the registry whether the push is allowed
    #[arg(long, value_name = "BOOL")]
    pub(super) skip_push_permission_check: Option<Switch>,

    /// Built-in credential helper to use, env or gitlab; empty for none [default: all]
    #[arg(long, value_name = "NAME")]
    pub(super) credential_helpers: Vec<String>,
}

/// The layer cache.
#[derive(Args, Debug)]
#[command(next_help_heading = "Cache")]
pub(super) struct Cache {
    /// Use base images of --cache-dir (layers of earlier builds are not reused yet: everything is built)
    #[arg(long, value_name = "BOOL")]
    pub(super) cache: Option<Switch>,

    /// Repository that holds cached layers
    #[arg(long, value_name = "REPOSITORY")]
    pub(super) cache_repo: Option<String>,

    /// Directory that holds base images, filled by `rbuild warm` [default: /cache]
    #[arg(long, value_name = "DIR")]
    pub(super) cache_dir: Option<PathBuf>,

    /// Age at which a cached layer or base image is not used any more [default: 336h]
    #[arg(long, value_name = "DURATION")]
    pub(super) cache_ttl: Option<GoDuration>,

    /// Cache layers of COPY and ADD
    #[arg(long, value_name = "BOOL")]
    pub(super) cache_copy_layers: Option<Switch>,

    /// Cache layers of RUN
    #[arg(long, value_name = "BOOL")]
    pub(super) cache_run_layers: Option<Switch>,

    /// Only read the cache
    #[arg(long, value_name = "BOOL")]
    pub(super) no_push_cache: Option<Switch>,
}

/// What RUN sees and may do.
#[derive(Args, Debug)]
#[command(next_help_heading = "RUN")]
pub(super) struct Run {
    /// Secret for RUN --mount=type=secret, from a file or an environment variable
    #[arg(long, value_name = "id=ID[,src=FILE|,env=NAME]")]
    pub(super) secret: Vec<String>,

    /// Agent for RUN --mount=type=ssh; without a socket, the one of SSH_AUTH_SOCK
    #[arg(long, value_name = "default|ID[=SOCKET]")]
    pub(super) ssh: Vec<String>,

    /// File or directory of this machine that every RUN sees, at the same path or at TARGET, and no layer holds: a
    /// cache, a workspace or a token that a pod mounts; may be given several times
    #[arg(long, value_name = "PATH[:TARGET][:ro]")]
    pub(super) run_volume: Vec<String>,

    /// Network of every RUN that does not say otherwise: default and host are the machine's, none is loopback only
    #[arg(long, value_name = "MODE")]
    pub(super) network: Option<String>,

    /// Allow what a RUN asks for: network.host, security.insecure, device or device=NAME
    #[arg(long, value_name = "ENTITLEMENT")]
    pub(super) allow: Vec<String>,

    /// Line for /etc/hosts
    #[arg(long, value_name = "NAME:ADDRESS")]
    pub(super) add_host: Vec<String>,

    /// Limit of a resource, for example nofile=1024:2048; -1 is unlimited
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub(super) ulimit: Vec<String>,

    /// Size of /dev/shm [default: 64m]
    #[arg(long, value_name = "SIZE")]
    pub(super) shm_size: Option<String>,
}

/// Where and how a build executes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Snapshot and isolation")]
pub(super) struct Execution {
    /// Where RUN executes: namespaces of its own, the container's own /, a chroot, or the first of these that works
    /// [default: auto]
    #[arg(long, value_name = "MODE")]
    pub(super) isolation: Option<IsolationMode>,

    /// Directory for blobs and root filesystems [default: /var/lib/rbuild for root, else ~/.local/share/rbuild]
    #[arg(long, value_name = "DIR")]
    pub(super) store: Option<PathBuf>,

    /// Same as --store [env: KANIKO_DIR]
    #[arg(long, value_name = "DIR")]
    pub(super) kaniko_dir: Option<PathBuf>,

    /// In the container's own /: also where its image has programs of its own, or mounts hide files of the image
    #[arg(long, value_name = "BOOL")]
    pub(super) force: Option<Switch>,
}

/// What is told, and how.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Logging")]
pub(super) struct Logging {
    /// Live lines or plain ones [default: auto, which is tty on a terminal]
    #[arg(long, value_name = "STYLE")]
    pub(super) progress: Option<ProgressStyle>,

    /// Print errors and warnings only
    #[arg(long, value_name = "BOOL")]
    pub(super) quiet: Option<Switch>,

    /// Use no colour [env: NO_COLOR]
    #[arg(long, value_name = "BOOL")]
    pub(super) no_color: Option<Switch>,

    /// Lowest level that is printed [default: info]
    #[arg(long, short = 'v', value_name = "LEVEL")]
    pub(super) verbosity: Option<Verbosity>,

    /// Form of a log line: for people, key=value, or JSON [default: color]
    #[arg(long, value_name = "FORMAT")]
    pub(super) log_format: Option<LogFormat>,

    /// Start each line with the time
    #[arg(long, value_name = "BOOL")]
    pub(super) log_timestamp: Option<Switch>,
}

/// Flags of the kaniko executor that have nothing left to do.
#[derive(Args, Debug)]
#[command(next_help_heading = "Accepted for compatibility, without effect")]
pub(super) struct Obsolete {
    /// Changes are always found exactly
    #[arg(long, alias = "snapshotMode", value_name = "MODE")]
    pub(super) snapshot_mode: Option<SnapshotMode>,

    /// Changes are always found exactly
    #[arg(long, value_name = "BOOL")]
    pub(super) use_new_run: Option<Switch>,

    /// Layers are never held in memory
    #[arg(long, value_name = "BOOL")]
    pub(super) compressed_caching: Option<Switch>,

    /// Only real mounts are left out of the image
    #[arg(long, alias = "whitelist-var-run", value_name = "BOOL")]
    pub(super) ignore_var_run: Option<Switch>,

    /// Metadata instructions never make a layer
    #[arg(long, value_name = "BOOL")]
    pub(super) force_build_metadata: Option<Switch>,

    /// Unused stages are never built
    #[arg(long, value_name = "BOOL")]
    pub(super) skip_unused_stages: Option<Switch>,

    /// Nothing is left to clean up
    #[arg(long, value_name = "BOOL")]
    pub(super) cleanup: Option<Switch>,

    /// Nothing has to be cleaned up first
    #[arg(long, value_name = "BOOL")]
    pub(super) pre_cleanup: Option<Switch>,

    /// The context is never touched
    #[arg(long, value_name = "BOOL")]
    pub(super) preserve_context: Option<Switch>,

    /// The image is never unpacked into the container
    #[arg(long, value_name = "BOOL")]
    pub(super) materialize: Option<Switch>,
}

/// `--compression`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Gzip,
    Zstd,
}

/// `--image-format`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Docker,
    Oci,
}

/// `--lint`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lint {
    Warn,
    Error,
    Off,
}

/// `--isolation`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IsolationMode {
    Auto,
    Namespaces,
    Chroot,
    InPlace,
}

/// `--progress`.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ProgressStyle {
    #[default]
    Auto,
    Plain,
    Tty,
}

/// `--verbosity`, most severe first.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Verbosity {
    Panic,
    Fatal,
    Error,
    #[value(alias = "warning")]
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// `--log-format`.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LogFormat {
    Text,
    #[default]
    Color,
    Json,
}

/// `--snapshot-mode`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SnapshotMode {
    Full,
    Redo,
    Time,
}

/// Parses a command line, the program's name included.
///
/// # Errors
/// The command line is wrong, or asks for nothing but help.
pub(super) fn parse(line: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&command().try_get_matches_from(line)?)
}

/// The program as messages name it, and the command that `line` is for, right or wrong.
pub(super) fn command_of(line: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> String {
    let parsed = command().ignore_errors(true).try_get_matches_from(line).ok();
    match parsed.as_ref().and_then(clap::ArgMatches::subcommand_name) {
        Some(name) => format!("{PROGRAM} {name}"),
        None => PROGRAM.to_owned(),
    }
}

/// The parser, with the rules that hold for every flag of a kind.
fn command() -> clap::Command {
    let command = Cli::command().mut_args(with_grammar);
    let command = command.mut_subcommands(|command| {
        let command = command.args_override_self(true).next_line_help(true);
        command.mut_args(with_grammar)
    });
    command.mut_subcommand("warm", |command| {
        // Taken, since a pipeline gives the same flags everywhere, but without a meaning.
        PUSH_FLAGS
            .iter()
            .fold(command, |command, flag| command.mut_arg(flag, |arg| arg.hide(true)))
    })
}

/// Flags of registries that are about pushing.
const PUSH_FLAGS: [&str; 5] = [
    "insecure",
    "push_retry",
    "image_fs_extract_retry",
    "push_ignore_immutable_tag_errors",
    "skip_push_permission_check",
];

/// A script for `shell` that completes command lines.
pub(super) fn completion(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "rbuild", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

fn with_grammar(arg: clap::Arg) -> clap::Arg {
    if arg.get_value_parser().type_id() == TypeId::of::<Switch>() {
        // `--cache true` must not be read as `--cache=true`: Go's flags never do.
        arg.num_args(0..=1).require_equals(true).default_missing_value("true")
    } else if arg.get_action().takes_values() && !arg.is_positional() {
        // A value-taking flag takes the next argument whatever it looks like: `--compression-level -1`.
        arg.allow_hyphen_values(true)
    } else {
        arg
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_line_has_a_command_too() {
        for (line, command) in [
            (&["rbuild", "--cachee"][..], "rbuild"),
            (&["rbuild", "."], "rbuild"),
            (&["rbuild", "-c", "check"], "rbuild"),
            (&["rbuild", "check", "--destination=x"], "rbuild check"),
            (&["rbuild", "--cache", "targets", "--target"], "rbuild targets"),
            (&["executor", "outline", "--format=x"], "rbuild outline"),
        ] {
            assert_eq!(command_of(line), command, "{line:?}");
        }
    }
}
