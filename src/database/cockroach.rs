//! CockroachDB: how it is reached, and how half of it gets lost. Logins, ledger and nonces are PostgreSQL's, whose protocol
//! and SQL it takes for those.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Error;
use super::cockroach_catalog::{FOREIGN_KEYS, TABLES};
use super::postgres::connect;
use crate::probe::DatabaseTarget;

/// TLS that takes any certificate: a cluster's authority is its own, and inside a drill's network nobody stands between.
/// Who the server is a login proves: what it was seeded with is there.
pub(super) fn tls() -> Result<MakeRustlsConnect, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
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
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Takes half of the rows of every table away, and the one row of a table that has no more. The foreign keys go first: it has no
/// setting by which they look away.
pub async fn corrupt(target: &DatabaseTarget) -> Result<(), Error> {
    let session = connect(target).await?;
    let failed = |what: &str| Error::postgres(format!("take half of every table's rows away: {what}"));
    for key in session.query(FOREIGN_KEYS, &[]).await.map_err(failed("list the foreign keys"))? {
        let (table, name): (String, String) = (key.get(0), key.get(1));
        let drop = format!("ALTER TABLE {table} DROP CONSTRAINT {name}");
        session.batch_execute(&drop).await.map_err(failed(&table))?;
    }
    for table in session.query(TABLES, &[]).await.map_err(failed("list the tables"))? {
        let table: String = table.get(1);
        let rows = session.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.map_err(failed(&table))?;
        let half = (rows.get::<_, i64>(0) + 1) / 2;
        if half > 0 {
            let delete = format!("DELETE FROM {table} WHERE true LIMIT {half}");
            session.batch_execute(&delete).await.map_err(failed(&table))?;
        }
    }
    Ok(())
}
