//! The API server of one cluster: HTTPS with client certificates, over listeners that it is given.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::store::Store;
use super::tls::{self, TlsError};
use crate::authority::Authority;
use crate::runtime::{ContainerId, PodId, PodRuntime};

mod answer;
mod body;
mod call;
mod delete;
mod duplicate;
mod exec;
mod logs;
mod read;
mod route;
mod scale;
mod spool;
mod watch;
mod write;

/// A client that has not finished its TLS handshake by then is dropped.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The user that clients of the kubeconfig are.
const USER: &str = "kubernetes-admin";

/// Where the containers of a cluster's pods are, for exec and logs.
#[derive(Clone)]
pub struct Containers {
    pub cluster: String,
    pub runtime: Arc<dyn PodRuntime>,
}

impl Containers {
    /// The id of a pod of this cluster: `cluster/namespace/name/uid`.
    pub fn pod_id(&self, pod: &Value) -> PodId {
        let field = |name: &str| pod["metadata"][name].as_str().unwrap_or_default();
        PodId(format!("{}/{}/{}/{}", self.cluster, field("namespace"), field("name"), field("uid")))
    }

    fn container_id(&self, pod: &Value, container: &str) -> ContainerId {
        ContainerId { pod: self.pod_id(pod), container: container.to_owned() }
    }
}

/// What a server needs to start.
pub struct ServerConfig {
    pub store: Arc<Store>,
    pub containers: Containers,
    /// Bound already, in whatever network namespace; one on loopback is where [`Server::kube_client`] goes.
    pub listeners: Vec<TcpListener>,
    /// Names and addresses by which clients call the server, besides those of the listeners.
    pub names: Vec<String>,
    pub addresses: Vec<IpAddr>,
}

/// Why a server did not start, or gives no client.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
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

/// What every request sees.
struct Api {
    store: Arc<Store>,
    containers: Containers,
    stop: CancellationToken,
    sessions: TaskTracker,
}

/// A running API server. Dropping it stops it without waiting; [`Server::stop`] waits.
pub struct Server {
    authority: Authority,
    cluster: String,
    addresses: Vec<SocketAddr>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Begins to serve; returns once every listener is being accepted from. Must be called in a tokio runtime.
    pub fn start(config: ServerConfig) -> Result<Self, ServeError> {
        let ServerConfig { store, containers, listeners, names, addresses } = config;
        let authority = Authority::new(&format!("{} authority", containers.cluster)).map_err(TlsError::from)?;
        let mut bound = Vec::new();
        for listener in &listeners {
            bound.push(listener.local_addr().map_err(ServeError::Listener)?);
        }
        let mut all: Vec<IpAddr> = bound.iter().map(SocketAddr::ip).chain(addresses).collect();
        all.sort_unstable();
        all.dedup();
        let acceptor = TlsAcceptor::from(Arc::new(tls::server(&authority, &names, &all)?));
        let cluster = containers.cluster.clone();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let api = Arc::new(Api { store, containers, stop: stop.clone(), sessions: tasks.clone() });
        for listener in listeners {
            listener.set_nonblocking(true).map_err(ServeError::Listener)?;
            let listener = tokio::net::TcpListener::from_std(listener).map_err(ServeError::Listener)?;
            tasks.spawn(accept(listener, acceptor.clone(), api.clone()));
        }
        Ok(Self { authority, cluster, addresses: bound, stop, tasks })
    }

    /// A kubeconfig (YAML) that reaches the server at `address` with a certificate of its own inside: a secret.
    pub fn kubeconfig(&self, address: SocketAddr, context: &str, namespace: &str) -> Result<String, ServeError> {
        use base64::Engine;
        let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let client = self.authority.client(USER, "system:masters").map_err(TlsError::from)?;
        let user = format!("{context}-admin");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": context, "preferences": {},
            "clusters": [{"name": self.cluster, "cluster": {"server": format!("https://{address}"),
                "certificate-authority-data": base64(&self.authority.certificate())}}],
            "users": [{"name": user, "user": {"client-certificate-data": base64(&client.certificate),
                "client-key-data": base64(client.key.expose())}}],
            "contexts": [{"name": context, "context": {"cluster": self.cluster, "user": user, "namespace": namespace}}],
        });
        Ok(serde_yaml_ng::to_string(&config)?)
    }

    /// The address of the listener on loopback.
    pub fn loopback(&self) -> Result<SocketAddr, ServeError> {
        self.addresses.iter().copied().find(|address| address.ip().is_loopback()).ok_or(ServeError::NoLoopback)
    }

    /// A client of this process, over the listener on loopback.
    pub async fn kube_client(&self) -> Result<kube::Client, ServeError> {
        let kubeconfig = serde_yaml_ng::from_str(&self.kubeconfig(self.loopback()?, "harness", "default")?)?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await?;
        Ok(kube::Client::try_from(config)?)
    }

    /// Ends every connection, watch and session, and returns when they have ended.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: tokio::net::TcpListener, acceptor: TlsAcceptor, api: Arc<Api>) {
    loop {
        let accepted = tokio::select! {
            () = api.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => drop(api.sessions.spawn(connection(stream, acceptor.clone(), api.clone()))),
            // Out of descriptors, say: others will be closed; an accept that fails at once must not spin.
            Err(error) => {
                tracing::warn!(%error, "accept a connection of the API server");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: tokio::net::TcpStream, acceptor: TlsAcceptor, api: Arc<Api>) {
    // Exec sends many small frames, which must not wait for each other.
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake with a client of the API server"),
        Err(_) => return tracing::debug!("a client of the API server did not finish its TLS handshake"),
    };
    let stop = api.stop.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let api = api.clone();
        async move { Ok::<Response<Body>, std::convert::Infallible>(route::handle(api, request.map(Body::new)).await) }
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
