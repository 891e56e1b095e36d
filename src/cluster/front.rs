//! The front of an API: HTTPS with client certificates over listeners that it is given, and kubeconfigs for whoever may come in.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::json;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::tls::{self, TlsError};
use crate::authority::Authority;

/// A client that has not finished its TLS handshake by then is dropped.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The user that clients of the kubeconfig are.
const USER: &str = "kubernetes-admin";

/// Why a front did not open, or gives no client.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("take over the API server's listener")]
    Listener(#[source] std::io::Error),
    #[error("the API server has no listener on loopback for a client of this process")]
    NoLoopback,
    #[error("read the kubeconfig that was just made")]
    Kubeconfig(#[from] serde_yaml_ng::Error),
    #[error("make a client from the kubeconfig")]
    Config(#[from] kube::config::KubeconfigError),
    #[error("make a client")]
    Client(#[from] kube::Error),
}

/// What a front needs to open.
pub struct FrontConfig {
    /// Of the cluster behind it, as kubeconfigs call it.
    pub name: String,
    /// Bound already, in whatever network namespace; one on loopback is where [`Front::kube_client`] goes.
    pub listeners: Vec<TcpListener>,
    /// Names and addresses by which clients call the server, besides those of the listeners.
    pub names: Vec<String>,
    pub addresses: Vec<IpAddr>,
}

/// What ends with a front, and what it waits for.
#[derive(Clone, Default)]
pub struct Closing {
    pub stop: CancellationToken,
    pub sessions: TaskTracker,
}

/// Answers every request, one way or the other.
pub type Answer = Arc<dyn Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// An open front. Dropping it closes it without waiting; [`Front::close`] waits.
pub struct Front {
    authority: Authority,
    name: String,
    addresses: Vec<SocketAddr>,
    closing: Closing,
}

impl Front {
    /// Opens it; returns once every listener is being accepted from. Must be called in a tokio runtime.
    pub fn open(config: FrontConfig, closing: Closing, answer: Answer) -> Result<Self, FrontError> {
        let FrontConfig { name, listeners, names, addresses } = config;
        let authority = Authority::new(&format!("{name} authority")).map_err(TlsError::from)?;
        let mut bound = Vec::new();
        for listener in &listeners {
            bound.push(listener.local_addr().map_err(FrontError::Listener)?);
        }
        let mut all: Vec<IpAddr> = bound.iter().map(SocketAddr::ip).chain(addresses).collect();
        all.sort_unstable();
        all.dedup();
        let acceptor = TlsAcceptor::from(Arc::new(tls::server(&authority, &names, &all)?));
        for listener in listeners {
            listener.set_nonblocking(true).map_err(FrontError::Listener)?;
            let listener = tokio::net::TcpListener::from_std(listener).map_err(FrontError::Listener)?;
            closing.sessions.spawn(accept(listener, acceptor.clone(), closing.clone(), answer.clone()));
        }
        Ok(Self { authority, name, addresses: bound, closing })
    }

    /// A kubeconfig (YAML) that reaches the server at `address` with a certificate of its own inside: a secret.
    pub fn kubeconfig(&self, address: SocketAddr, context: &str, namespace: &str) -> Result<String, FrontError> {
        use base64::Engine;
        let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let client = self.authority.client(USER, "system:masters").map_err(TlsError::from)?;
        let user = format!("{context}-admin");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": context, "preferences": {},
            "clusters": [{"name": self.name, "cluster": {"server": format!("https://{address}"),
                "certificate-authority-data": base64(&self.authority.certificate())}}],
            "users": [{"name": user, "user": {"client-certificate-data": base64(&client.certificate),
                "client-key-data": base64(client.key.expose())}}],
            "contexts": [{"name": context, "context": {"cluster": self.name, "user": user, "namespace": namespace}}],
        });
        Ok(serde_yaml_ng::to_string(&config)?)
    }

    /// The address of the listener on loopback.
    pub fn loopback(&self) -> Result<SocketAddr, FrontError> {
        self.addresses.iter().copied().find(|address| address.ip().is_loopback()).ok_or(FrontError::NoLoopback)
    }

    /// A client of this process, over the listener on loopback.
    pub async fn kube_client(&self) -> Result<kube::Client, FrontError> {
        let kubeconfig = serde_yaml_ng::from_str(&self.kubeconfig(self.loopback()?, "harness", "default")?)?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await?;
        Ok(kube::Client::try_from(config)?)
    }

    /// Ends every connection, watch and session, and returns when they have ended.
    pub async fn close(&self) {
        self.closing.stop.cancel();
        self.closing.sessions.close();
        self.closing.sessions.wait().await;
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.closing.stop.cancel();
    }
}

async fn accept(listener: tokio::net::TcpListener, acceptor: TlsAcceptor, closing: Closing, answer: Answer) {
    loop {
        let accepted = tokio::select! {
            () = closing.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(stream, acceptor.clone(), closing.stop.clone(), answer.clone());
                drop(closing.sessions.spawn(connection));
            }
            // Out of descriptors, say: others will be closed; an accept that fails at once must not spin.
            Err(error) => {
                tracing::warn!(%error, "accept a connection of the API server");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: tokio::net::TcpStream, acceptor: TlsAcceptor, stop: CancellationToken, answer: Answer) {
    // Exec sends many small frames, which must not wait for each other.
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake with a client of the API server"),
        Err(_) => return tracing::debug!("a client of the API server did not finish its TLS handshake"),
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer.clone();
        async move { Ok::<Response<Body>, std::convert::Infallible>(answer(request.map(Body::new)).await) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::select! {
        () = stop.cancelled() => {}
        served = serving => if let Err(error) = served {
            tracing::debug!(%error, "a connection of the API server ended");
        }
    }
}
