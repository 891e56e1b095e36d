//! The S3 store: `redrill __s3`, s3s over a directory, behind TLS.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;

use crate::redact::Secret;

mod bucket_directory;

use bucket_directory::BucketDirectory;

/// Who may use the store, from the environment: arguments can be read by everyone on a machine.
const ACCESS_KEY: &str = "REDRILL_S3_ACCESS_KEY";
const SECRET_KEY: &str = "REDRILL_S3_SECRET_KEY";

/// A client that has not finished its handshake by then is none.
pub(super) const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Usage(#[from] clap::Error),
    #[error("the environment lacks {0}")]
    NoCredentials(&'static str),
    #[error("read {path}")]
    Pem { path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("use the certificate and its key")]
    Tls(#[from] rustls::Error),
    #[error("{doing}")]
    Io { doing: String, source: io::Error },
    #[error("open {root} as a store: {reason}")]
    Open { root: PathBuf, reason: String },
}

/// Serves S3 from a directory.
#[derive(Debug, Parser)]
#[command(name = "__s3", no_binary_name = true)]
pub struct Arguments {
    /// Address to listen on
    #[arg(long)]
    listen: SocketAddr,
    /// Directory that holds the buckets
    #[arg(long)]
    root: PathBuf,
    /// Buckets to make at the start
    #[arg(long, value_delimiter = ',')]
    buckets: Vec<String>,
    /// Certificate chain in PEM; without it plain HTTP is served
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key in PEM
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

/// `redrill __s3`: serves until SIGTERM or SIGINT. `arguments` come without the program's and the helper's name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Result<(), Error> {
    let arguments = Arguments::try_parse_from(arguments)?;
    let credentials = Credentials::from_environment(ACCESS_KEY, SECRET_KEY)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|source| Error::Io { doing: "start".into(), source })?;
    runtime.block_on(async {
        let store = Store::open(&arguments.root, &arguments.buckets, credentials)?;
        let tls = match (&arguments.tls_cert, &arguments.tls_key) {
            (Some(certificate), Some(key)) => Some(tls(certificate, key)?),
            (None, _) | (_, None) => None,
        };
        let listening = |source| Error::Io { doing: format!("listen on {}", arguments.listen), source };
        let listener = TcpListener::bind(arguments.listen).await.map_err(listening)?;
        tokio::select! {
            () = store.serve(listener, tls) => Ok(()),
            stopped = asked_to_stop() => stopped.map_err(|source| Error::Io { doing: "wait for signals".into(), source }),
        }
    })
}

/// Both signals by hand: the first process of a pod has no default for them.
pub(super) async fn asked_to_stop() -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// An access key and its secret.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub access_key: String,
    pub secret_key: Secret,
}

impl Credentials {
    /// From these variables.
    pub fn from_environment(access_key: &'static str, secret_key: &'static str) -> Result<Self, Error> {
        let read = |name| std::env::var(name).map_err(|_| Error::NoCredentials(name));
        Ok(Self { access_key: read(access_key)?, secret_key: Secret::new(read(secret_key)?) })
    }
}

/// Serves TLS with this certificate chain and key, both PEM files.
pub fn tls(certificate: &Path, key: &Path) -> Result<TlsAcceptor, Error> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Pem { path, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain: Vec<_> = chain.map_err(unreadable(certificate))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Buckets in a directory, for whoever has the credentials.
#[derive(Debug, Clone)]
pub struct Store {
    service: S3Service,
}

impl Store {
    /// Makes the buckets that are not there yet.
    pub fn open(root: &Path, buckets: &[String], credentials: Credentials) -> Result<Self, Error> {
        for bucket in buckets {
            let path = root.join(bucket);
            let making = |source| Error::Io { doing: format!("make bucket {}", path.display()), source };
            std::fs::create_dir_all(&path).map_err(making)?;
        }
        let failed = |reason: String| Error::Open { root: root.to_owned(), reason };
        let files = FileSystem::new(root).map_err(|error| failed(format!("{error:?}")))?;
        let mut builder = S3ServiceBuilder::new(BucketDirectory::new(root.to_owned(), files));
        builder.set_auth(SimpleAuth::from_single(credentials.access_key, credentials.secret_key.expose()));
        Ok(Self { service: builder.build() })
    }

    /// Serves connections until the future is dropped. A connection that breaks is its client's problem.
    pub async fn serve(&self, listener: TcpListener, tls: Option<TlsAcceptor>) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(connection(stream, tls.clone(), self.service.clone()));
                }
                // Out of descriptors, most likely: connections that end give some back.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, service: S3Service) {
    // Replies to small requests would otherwise wait for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    match tls {
        None => exchange(stream, service).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_DEADLINE, tls.accept(stream)).await {
                exchange(stream, service).await;
            }
        }
    }
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, service: S3Service) {
    // What went wrong is what the client was told, or the client is gone.
    drop(Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
}
