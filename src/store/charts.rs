//! The chart repository: `redrill __charts`, the files of a directory behind TLS, for whoever asks.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::serve::Listener;
use clap::Parser;
use http::{Method, Request, Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::s3;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Usage(#[from] clap::Error),
    #[error(transparent)]
    Tls(#[from] s3::Error),
    #[error("{doing}")]
    Io { doing: String, source: io::Error },
}

/// Serves the files of a directory.
#[derive(Debug, Parser)]
#[command(name = "__charts", no_binary_name = true)]
pub struct Arguments {
    /// Address to listen on
    #[arg(long)]
    listen: SocketAddr,
    /// Directory with index.yaml and the charts
    #[arg(long)]
    root: PathBuf,
    /// Certificate chain in PEM
    #[arg(long)]
    tls_cert: PathBuf,
    /// The certificate's private key in PEM
    #[arg(long)]
    tls_key: PathBuf,
}

/// `redrill __charts`: serves until SIGTERM or SIGINT. `arguments` come without the program's and the helper's name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Result<(), Error> {
    let Arguments { listen, root, tls_cert, tls_key } = Arguments::try_parse_from(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| Error::Io { doing: "start".into(), source })?;
    runtime.block_on(async {
        let tls = s3::tls(&tls_cert, &tls_key)?;
        let listening = |source| Error::Io { doing: format!("listen on {listen}"), source };
        let listener = TcpListener::bind(listen).await.map_err(listening)?;
        let root: Arc<Path> = root.into();
        let files = axum::Router::new().fallback(move |request: Request<Body>| {
            let root = root.clone();
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            async move { answer(&root, &method, &path).await }
        });
        let served = async { axum::serve(Encrypted { listener, tls }, files).await };
        tokio::select! {
            ended = served => ended.map_err(|source| Error::Io { doing: "serve".into(), source }),
            stopped = s3::asked_to_stop() => stopped.map_err(|source| Error::Io { doing: "wait for signals".into(), source }),
        }
    })
}

/// Connections behind TLS; those that do not get so far are dropped.
struct Encrypted {
    listener: TcpListener,
    tls: TlsAcceptor,
}

impl Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            if let Ok(Ok(stream)) = tokio::time::timeout(s3::HANDSHAKE_DEADLINE, self.tls.accept(stream)).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

async fn answer(root: &Path, method: &Method, path: &str) -> Response<Body> {
    let status = |status: StatusCode| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        response
    };
    if method != Method::GET {
        return status(StatusCode::METHOD_NOT_ALLOWED);
    }
    // One flat directory: no name leads out of it.
    let name = path.trim_start_matches('/');
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return status(StatusCode::NOT_FOUND);
    }
    match tokio::fs::read(root.join(name)).await {
        Ok(bytes) => Response::new(Body::from(bytes)),
        Err(_) => status(StatusCode::NOT_FOUND),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_of_the_directory_are_served_and_no_others() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("charts")).unwrap();
        std::fs::write(place.path().join("charts/index.yaml"), "entries: {}").unwrap();
        std::fs::write(place.path().join("secret"), "x").unwrap();
        let ask = async |method: &str, path: &str| {
            let method = method.parse().unwrap();
            answer(&place.path().join("charts"), &method, path).await.status().as_u16()
        };
        assert_eq!(ask("GET", "/index.yaml").await, 200);
        for path in ["/", "/other", "/../secret", "//secret", "/.."] {
            assert_eq!(ask("GET", path).await, 404, "{path}");
        }
        assert_eq!(ask("PUT", "/index.yaml").await, 405);
    }
}
