//! Whom we trust: the machine's certificate authorities, further ones for a host, or anybody.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::failure::ClientError;

/// Whether a server must prove who it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verification {
    /// By a certificate of an authority that we trust.
    Required,
    /// Any certificate will do.
    Skipped,
}

/// The authorities that the machine trusts, or Mozilla's list where it has none, as in an image of nothing but this
/// program. `file` and `directories`, several of them with colons between, replace the usual places.
pub(crate) fn machine_roots(file: Option<&Path>, directories: Option<&Path>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let mut add = |found: rustls_native_certs::CertificateResult| roots.add_parsable_certificates(found.certs);
    match (file, directories) {
        (None, None) => drop(add(rustls_native_certs::load_native_certs())),
        (file, directories) => {
            if file.is_some() {
                add(rustls_native_certs::load_certs_from_paths(file, None));
            }
            for directory in directories.into_iter().flat_map(std::env::split_paths) {
                add(rustls_native_certs::load_certs_from_paths(None, Some(&directory)));
            }
        }
    }
    if roots.is_empty() {
        roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    }
    roots
}

/// A certificate to show to a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientCertificate {
    /// PEM file of the certificate chain.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
}

/// TLS for one kind of server.
pub(crate) fn client_config(
    roots: RootCertStore,
    verification: Verification,
    identity: Option<&ClientCertificate>,
) -> Result<ClientConfig, ClientError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(ClientError::Tls)?;
    let builder = match verification {
        Verification::Required => builder.with_root_certificates(roots),
        Verification::Skipped => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TrustAnybody(provider))),
    };
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = read_certificates(&identity.certificate)?;
            let key = PrivateKeyDer::from_pem_file(&identity.key).map_err(unusable(&identity.key))?;
            let configured = builder.with_client_auth_cert(chain, key);
            configured.map_err(ClientError::Tls)?
        }
    };
    Ok(config)
}

/// Adds the authorities in a PEM file.
pub(crate) fn add_authorities(roots: &mut RootCertStore, path: &Path) -> Result<(), ClientError> {
    for certificate in read_certificates(path)? {
        roots.add(certificate).map_err(|error| unusable(path)(error))?;
    }
    Ok(())
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(unusable(path))?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(unusable(path))?;
    match certificates.is_empty() {
        true => Err(unusable(path)(std::io::Error::other("the file has no PEM certificate"))),
        false => Ok(certificates),
    }
}

fn unusable<E: Into<Box<dyn std::error::Error + Send + Sync>>>(path: &Path) -> impl Fn(E) -> ClientError {
    let path = path.to_owned();
    move |source| ClientError::Certificate {
        path: path.clone(),
        source: source.into(),
    }
}

/// Still demands that the handshake is signed with the key of the certificate shown.
#[derive(Debug)]
struct TrustAnybody(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
