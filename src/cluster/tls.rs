//! TLS of a cluster's API: whoever speaks to it shows a certificate of its authority.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

use crate::authority::Authority;

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("make a certificate")]
    Certificate(#[from] rcgen::Error),
    #[error("read a certificate just made")]
    Pem(#[from] rustls::pki_types::pem::Error),
    #[error("configure TLS")]
    Tls(#[from] rustls::Error),
    #[error("trust the cluster's own authority")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// For a server reached under these names and addresses. A client without a certificate of the authority is turned away in
/// the handshake. HTTP/1.1 stays on offer beside HTTP/2, because WebSockets need it.
pub fn server(authority: &Authority, names: &[String], addresses: &[IpAddr]) -> Result<rustls::ServerConfig, TlsError> {
    let all: Vec<String> = names.iter().cloned().chain(addresses.iter().map(IpAddr::to_string)).collect();
    let made = authority.server(&all)?;
    let certificate = CertificateDer::from_pem_slice(made.certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(made.key.expose().as_bytes())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.der())?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
