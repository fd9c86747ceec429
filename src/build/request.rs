//! What a build is asked to do: plain values, checked against each other before anything is pulled.
//!
//! Nothing here reads the environment or the command line, and nothing below this module does either:
//! whatever the outside may decide about a build is a field. Paths are absolute.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;

use crate::check::Policy;
use crate::http::{ClientCertificate, Versions};
use crate::layer::IgnoredPaths;
use crate::oci::{Annotations, ManifestFormat, Platform, Reference};
use crate::plan::{Grants, NamedContexts, Sandbox};
use crate::registry::CredentialSources;
use crate::remote::{GitSource, ObjectSource, UrlSource};
use crate::run::IsolationChoice;
use crate::secret::SecretValue;

/// Everything one build needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildRequest {
    /// The Dockerfile.
    pub dockerfile: DockerfileSource,
    /// What ADD and COPY read from.
    pub context: Context,
    /// Values for ARG, by name. An empty value overrides a default; an absent name does not.
    pub build_args: BTreeMap<String, String>,
    /// Trees and images by the names that FROM and `--from` use for them.
    pub contexts: NamedContexts,
    /// Stages to build, by name or number. The first is exported, the others are only built; empty means the last stage.
    pub targets: Vec<String>,
    /// The platforms to build for, each once, in the order in which an index lists them; none is the machine's own.
    pub platforms: Vec<Platform>,
    /// What becomes of them.
    pub shape: Shape,
    /// Labels of the exported image; they win over LABEL.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the exported image.
    pub annotations: Annotations,
    /// Where the image goes.
    pub outputs: Outputs,
    /// What the image is made of.
    pub image: ImageOptions,
    /// How to reach registries.
    pub registry: RegistryOptions,
    /// Where RUN executes.
    pub isolation: IsolationChoice,
    /// What surrounds every RUN.
    pub sandbox: Sandbox,
    /// What a RUN may ask for.
    pub grants: Grants,
    /// Values for `RUN --mount=type=secret`, by ID.
    pub secrets: BTreeMap<String, SecretValue>,
    /// Sockets of agents for `RUN --mount=type=ssh`, by ID.
    pub ssh_agents: BTreeMap<String, PathBuf>,
    /// Directory that holds blobs, rootfs trees and locks. Created when missing.
    pub state_dir: PathBuf,
    /// Paths of the image that are not unpacked, not deleted and not put in a layer.
    pub ignored: IgnoredPaths,
    /// Files and directories of the machine that every RUN sees.
    pub run_volumes: Vec<RunVolume>,
    /// Whether the plan is shown, and whether that is all.
    pub rehearsal: Rehearsal,
    /// Whether the user accepts that the container's own files are moved aside for a RUN.
    pub force: bool,
    /// Why an ordinary user is not root of a user namespace; `None` when he is, or is no ordinary user.
    pub unmapped: Option<std::sync::Arc<crate::run::MappingError>>,
    /// What the findings of build checks do.
    pub lint: Policy,
}

/// A file or directory of the machine that every RUN sees, and that is in no layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunVolume {
    /// Where it is; it exists.
    pub source: PathBuf,
    /// Where a RUN finds it: an absolute path, not the root.
    pub target: PathBuf,
    /// Whether a RUN may change it.
    pub access: VolumeAccess,
}

/// What a RUN may do with a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VolumeAccess {
    /// Read and write.
    #[default]
    ReadWrite,
    /// Read.
    ReadOnly,
}

/// What becomes of the plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rehearsal {
    /// It is carried out.
    #[default]
    None,
    /// It is shown, and then carried out.
    PlanFirst,
    /// It is shown, and nothing is built or pushed.
    PlanOnly,
}

/// What the build brings to its destinations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// The image of one platform.
    #[default]
    Image,
    /// An index with an image for each platform, even if it is only one.
    Index,
}

/// Where the Dockerfile is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DockerfileSource {
    /// A file of this machine; it exists.
    File {
        /// Where.
        path: PathBuf,
        /// As the user named it, for messages.
        name: String,
    },
    /// In a context that is yet to be fetched: the first of these names that it has.
    InContext(Vec<String>),
    /// On a web server.
    Url(UrlSource),
}

/// What ADD and COPY read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Context {
    /// A directory of this machine, sub-path included; it exists.
    Directory(PathBuf),
    /// Something else, which becomes a directory of the build's own.
    Fetched(FetchedContext),
}

/// A context that has to be fetched or unpacked first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedContext {
    /// What.
    pub source: RemoteContext,
    /// The directory in it that is the context; empty for all of it.
    pub sub_path: String,
    /// Whether the certificate of its repository's server is not verified.
    pub skip_tls_verify: bool,
    /// Whether its ignore file counts.
    pub ignore_file: IgnoreFileUse,
}

/// Whether the ignore file of a fetched context counts. It does for the forms that only the kaniko executor knows, as there,
/// and does not for those that BuildKit knows, as there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IgnoreFileUse {
    /// As in a directory.
    Applied,
    /// Who packed or committed the files has chosen them.
    Unused,
}

/// Kinds of contexts that are no directories of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteContext {
    /// The files of a commit.
    Git(GitSource),
    /// An archive; or a single file, which is the Dockerfile.
    Url(UrlSource),
    /// An archive in a cloud storage.
    Object(ObjectSource),
    /// An archive, compressed or not.
    Archive(PathBuf),
    /// An archive on standard input.
    Stdin {
        /// Whether what is no archive is a Dockerfile.
        may_be_dockerfile: bool,
    },
}

/// For messages: nothing secret.
impl fmt::Display for RemoteContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Git(source) => source.fmt(f),
            Self::Url(source) => source.fmt(f),
            Self::Object(source) => source.fmt(f),
            Self::Archive(path) => path.display().fmt(f),
            Self::Stdin { .. } => f.write_str("standard input"),
        }
    }
}

/// Where the image, its digest and its names go. At least a destination, or `no_push`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// References to push to; every one has a tag and no digest. They also name the image in an archive.
    pub destinations: Vec<Reference>,
    /// Whether the destinations are only names and nothing is sent to a registry.
    pub no_push: bool,
    /// Archive in the `docker save` format.
    pub tar_path: Option<PathBuf>,
    /// OCI image layout directory.
    pub oci_layout_path: Option<PathBuf>,
    /// Receives the manifest's digest, without a newline.
    pub digest_file: Option<TextOutput>,
    /// Receives a line `<repository>@<digest>` per destination.
    pub image_name_with_digest_file: Option<TextOutput>,
    /// Receives a line `<repository>:<tag>@<digest>` per destination.
    pub image_name_tag_with_digest_file: Option<TextOutput>,
    /// Directory for a file `images` with a JSON object per image that was pushed (`BUILDER_OUTPUT` of Cloud Build).
    pub builder_output: Option<PathBuf>,
}

/// Who is told what the image is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextOutput {
    /// A file of this machine.
    File(PathBuf),
    /// A server, with PUT.
    Address(Url),
}

impl Outputs {
    /// The destinations that are pushed to.
    #[must_use]
    pub fn pushes(&self) -> &[Reference] {
        if self.no_push { &[] } else { &self.destinations }
    }

    /// Everything that is written on this machine, with the flag or variable that asks for it.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let texts = [
            ("--digest-file", &self.digest_file),
            ("--image-name-with-digest-file", &self.image_name_with_digest_file),
            (
                "--image-name-tag-with-digest-file",
                &self.image_name_tag_with_digest_file,
            ),
        ];
        let places = [
            ("--tar-path", self.tar_path.as_deref()),
            ("--oci-layout-path", self.oci_layout_path.as_deref()),
            ("BUILDER_OUTPUT", self.builder_output.as_deref()),
        ];
        let texts = texts.map(|(origin, output)| match output {
            Some(TextOutput::File(path)) => (origin, Some(path.as_path())),
            Some(TextOutput::Address(_)) | None => (origin, None),
        });
        let all = places.into_iter().chain(texts);
        all.filter_map(|(origin, path)| Some((origin, path?)))
    }

    /// Whether the image goes to a file or directory of this machine.
    #[must_use]
    pub const fn wants_local(&self) -> bool {
        self.tar_path.is_some() || self.oci_layout_path.is_some()
    }
}

/// Properties of the image's bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageOptions {
    /// How new layers are compressed.
    pub compression: LayerCompression,
    /// Family of media types; `None` inherits from the base image.
    pub format: Option<ManifestFormat>,
    /// Whether no time of this build may enter the image.
    pub reproducible: bool,
    /// Whether file times later than the build's epoch (`SOURCE_DATE_EPOCH`) are cut down to it in new layers.
    pub rewrite_timestamp: bool,
    /// Whether a stage becomes one layer.
    pub single_snapshot: bool,
}

/// Codec and level of new layers. `None` leaves the level to the codec's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerCompression {
    /// RFC 1952.
    Gzip {
        /// 1 to 9.
        level: Option<u8>,
    },
    /// RFC 8878; only in an OCI manifest.
    Zstd {
        /// 1 to 22.
        level: Option<u8>,
    },
}

impl Default for LayerCompression {
    fn default() -> Self {
        Self::Gzip { level: None }
    }
}

/// How registries are reached. Hosts are `host[:port]`; Docker Hub is `docker.io`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryOptions {
    /// Whether pushes use plain HTTP.
    pub insecure: bool,
    /// Whether pulls use plain HTTP.
    pub insecure_pull: bool,
    /// Hosts that are spoken to in plain HTTP.
    pub insecure_registries: BTreeSet<String>,
    /// Whether no certificate is verified.
    pub skip_tls_verify: bool,
    /// Whether no certificate is verified on pulls.
    pub skip_tls_verify_pull: bool,
    /// Hosts whose certificates are not verified.
    pub skip_tls_verify_registries: BTreeSet<String>,
    /// Certificate authorities (PEM) by host, in addition to the machine's.
    pub certificates: BTreeMap<String, PathBuf>,
    /// Client certificates by host.
    pub client_certificates: BTreeMap<String, ClientCertificate>,
    /// Where to look first for images of a host, in this order.
    pub mirrors: BTreeMap<String, Vec<Mirror>>,
    /// Whether an image that no mirror has is not looked for at its own host.
    pub skip_default_registry_fallback: bool,
    /// Further tries of a push.
    pub push_retry: u32,
    /// Further tries of a pull.
    pub image_download_retry: u32,
    /// Further tries of unpacking a base image.
    pub image_fs_extract_retry: u32,
    /// Whether a tag that exists and must not change counts as pushed.
    pub push_ignore_immutable_tag_errors: bool,
    /// Whether the build starts without asking the registry if a push is allowed.
    pub skip_push_permission_check: bool,
    /// Which versions of HTTP may be spoken.
    pub http_versions: Versions,
    /// What calls us, for the `User-Agent` of requests.
    pub client_type: Option<String>,
    /// A PEM file of certificate authorities instead of the machine's (`SSL_CERT_FILE`).
    pub certificate_file: Option<PathBuf>,
    /// The same for a directory, or several with colons between (`SSL_CERT_DIR`).
    pub certificate_directory: Option<PathBuf>,
    /// Where credentials may be.
    pub credentials: CredentialSources,
    /// Where images may be found that a warmer has brought.
    pub base_images: Option<KeptImages>,
}

/// A directory of images that builds share; see [`crate::store::BaseImages`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptImages {
    /// The directory; need not exist.
    pub directory: PathBuf,
    /// The age at which an image does not count any more.
    pub ttl: Duration,
}

/// A registry that holds another one's images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Its `host[:port]`.
    pub host: String,
    /// What stands before the repository on it; empty, or without slashes at either end.
    pub prefix: String,
}
