//! How to talk to which registry, as plain data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::http::{Backoff, ClientCertificate, Versions};
use crate::store::BaseImages;

/// How to talk to registries. Hosts are written as in a reference, with their port.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// Push to any registry over plain HTTP or with an unverified certificate.
    pub insecure_push: bool,
    /// The same for pulls.
    pub insecure_pull: bool,
    /// The same for these hosts, both ways.
    pub insecure_registries: BTreeSet<String>,
    /// Verify no certificates, whichever way content travels.
    pub skip_tls_verify: bool,
    /// Pull without verifying certificates.
    pub skip_tls_verify_pull: bool,
    /// Do not verify the certificates of these hosts.
    pub skip_tls_verify_registries: BTreeSet<String>,
    /// Host to a PEM file of certificate authorities to trust in addition.
    pub registry_certificates: BTreeMap<String, PathBuf>,
    /// Host to the certificate that we show it.
    pub client_certificates: BTreeMap<String, ClientCertificate>,
    /// Tried in this order before Docker Hub: `host[:port][/path]`.
    pub mirrors: Vec<String>,
    /// Host to what is tried before it, in order: `host[:port][/path]`.
    pub maps: BTreeMap<String, Vec<String>>,
    /// Never look for an image in its own registry when it has mirrors.
    pub skip_default_registry_fallback: bool,
    /// Further tries of a push that failed for a reason worth trying again.
    pub push_retry: u32,
    /// The same for a pull.
    pub download_retry: u32,
    /// Time between tries.
    pub backoff: Backoff,
    /// How long to wait for whom.
    pub timeouts: Timeouts,
    /// Which versions of HTTP may be spoken.
    pub http_versions: Versions,
    /// Whether a tag that exists and must not change counts as pushed.
    pub ignore_immutable_tags: bool,
    /// `User-Agent` of every request.
    pub user_agent: String,
    /// Where the machine's certificate authorities are, instead of the usual places (`SSL_CERT_FILE`).
    pub certificate_file: Option<PathBuf>,
    /// The same for a directory (`SSL_CERT_DIR`).
    pub certificate_directory: Option<PathBuf>,
    /// Images that are on this machine already; only their tags are asked for.
    pub base_images: Option<Arc<BaseImages>>,
}

/// How long to wait for whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// For a connection, name resolution included.
    pub connect: Duration,
    /// For the head of an answer, and for the next bytes of a body.
    pub idle: Duration,
    /// For the answer to a commit: registries hash or copy gigabytes before they give it.
    pub commit: Duration,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            insecure_push: false,
            insecure_pull: false,
            insecure_registries: BTreeSet::new(),
            skip_tls_verify: false,
            skip_tls_verify_pull: false,
            skip_tls_verify_registries: BTreeSet::new(),
            registry_certificates: BTreeMap::new(),
            client_certificates: BTreeMap::new(),
            mirrors: Vec::new(),
            maps: BTreeMap::new(),
            skip_default_registry_fallback: false,
            push_retry: 5,
            download_retry: 5,
            backoff: Backoff::default(),
            timeouts: Timeouts::default(),
            http_versions: Versions::All,
            ignore_immutable_tags: false,
            user_agent: user_agent(None),
            certificate_file: None,
            certificate_directory: None,
            base_images: None,
        }
    }
}

/// What requests say of who sends them; `client` is what calls us, if it has a name.
#[must_use]
pub fn user_agent(client: Option<&str>) -> String {
    const OWN: &str = concat!("rbuild/", env!("CARGO_PKG_VERSION"));
    match client {
        None => OWN.to_owned(),
        Some(client) => format!("{OWN},{client}"),
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            commit: Duration::from_secs(600),
        }
    }
}
