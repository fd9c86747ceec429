//! Whom we trust: the machine's certificate authorities, further ones for a registry, or anybody.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::error::RegistryError;
use super::options::{ClientCertificate, RegistryOptions};

/// Whether a server must prove who it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Verification {
    /// By a certificate of an authority that we trust.
    Required,
    /// Any certificate will do.
    Skipped,
}

/// The authorities that the machine trusts, or Mozilla's list where it has none, as in an image of nothing but this
/// program.
pub(super) fn machine_roots(options: &RegistryOptions) -> RootCertStore {
    let file = options.certificate_file.as_deref();
    let directory = options.certificate_directory.as_deref();
    let found = match (file, directory) {
        (None, None) => rustls_native_certs::load_native_certs(),
        (file, directory) => rustls_native_certs::load_certs_from_paths(file, directory),
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    }
    roots
}

/// TLS for one kind of registry.
pub(super) fn client_config(
    roots: RootCertStore,
    verification: Verification,
    identity: Option<&ClientCertificate>,
) -> Result<ClientConfig, RegistryError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(RegistryError::Tls)?;
    let builder = match verification {
        Verification::Required => builder.with_root_certificates(roots),
        Verification::Skipped => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TrustAnybody(provider))),
    };
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = read_certificates(&identity.certificate)?;
            let key = PrivateKeyDer::from_pem_file(&identity.key).map_err(unusable(&identity.key))?;
            let configured = builder.with_client_auth_cert(chain, key);
            configured.map_err(RegistryError::Tls)?
        }
    };
    // A preconfigured backend gets no ALPN from the HTTP client.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Adds the authorities in a PEM file.
pub(super) fn add_authorities(roots: &mut RootCertStore, path: &Path) -> Result<(), RegistryError> {
    for certificate in read_certificates(path)? {
        roots.add(certificate).map_err(|error| unusable(path)(error))?;
    }
    Ok(())
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, RegistryError> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(unusable(path))?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(unusable(path))?;
    match certificates.is_empty() {
        true => Err(unusable(path)(std::io::Error::other("the file has no PEM certificate"))),
        false => Ok(certificates),
    }
}

fn unusable<E: Into<Box<dyn std::error::Error + Send + Sync>>>(path: &Path) -> impl Fn(E) -> RegistryError {
    let path = path.to_owned();
    move |source| RegistryError::Certificate {
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
