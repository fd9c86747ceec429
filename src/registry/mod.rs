//! skeleton
#![allow(clippy::unimplemented, missing_docs, unused_variables, missing_debug_implementations)]
mod options;
use crate::cancel::Cancel;
use crate::oci::{Descriptor, Digest, ImageConfig, Manifest, MediaType, Platform, Raw, Reference};
use crate::progress::{Progress, TransferEnd};
use crate::store::{Blob, IncomingWriter};
pub use options::{Backoff, ClientCertificate, RegistryOptions, Timeouts};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, thiserror::Error)]
#[error("registry")]
pub struct RegistryError {}
impl RegistryError {
    pub fn hint(&self) -> Option<String> {
        None
    }
}
#[derive(Clone, Debug, Default)]
pub struct CredentialSources {
    pub docker_auth_config: Option<String>,
    pub registry_auth_file: Option<PathBuf>,
    pub docker_config: Option<PathBuf>,
    pub xdg_runtime_dir: Option<PathBuf>,
    pub xdg_config_home: Option<PathBuf>,
    pub home: Option<PathBuf>,
    pub uid: u32,
    pub path: Option<std::ffi::OsString>,
}
#[derive(Debug)]
pub struct Credentials {}
impl Credentials {
    pub fn new(sources: CredentialSources) -> Self {
        unimplemented!()
    }
    pub fn anonymous() -> Self {
        unimplemented!()
    }
}
#[derive(Clone, Debug)]
pub struct ResolvedImage {
    pub reference: Reference,
    pub manifest: Raw<Manifest>,
    pub config: ImageConfig,
    pub config_bytes: Vec<u8>,
    pub index_digest: Option<Digest>,
}
#[derive(Clone, Debug)]
pub struct Client {}
impl Client {
    pub fn new(
        options: RegistryOptions,
        credentials: Credentials,
        progress: Arc<dyn Progress>,
        cancel: Cancel,
    ) -> Result<Self, RegistryError> {
        unimplemented!()
    }
    pub fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<ResolvedImage, RegistryError> {
        unimplemented!()
    }
    pub fn download(&self, reference: &Reference, writer: IncomingWriter) -> Result<Blob, Arc<RegistryError>> {
        unimplemented!()
    }
    pub fn check_push(&self, target: &Reference) -> Result<(), RegistryError> {
        unimplemented!()
    }
    pub fn push_blob(
        &self,
        target: &Reference,
        blob: &Blob,
        mount_from: Option<&Reference>,
    ) -> Result<TransferEnd, RegistryError> {
        unimplemented!()
    }
    pub fn put_manifest(
        &self,
        target: &Reference,
        bytes: &[u8],
        media_type: &MediaType,
    ) -> Result<Digest, RegistryError> {
        unimplemented!()
    }
}
