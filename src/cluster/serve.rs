//! The API server of one cluster, behind its [`Front`].

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;

use axum::body::Body;
use futures::FutureExt as _;
use http::Request;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::front::{Closing, Front, FrontConfig, FrontError};
use super::store::Store;
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
    /// As [`FrontConfig`] has them.
    pub listeners: Vec<TcpListener>,
    pub names: Vec<String>,
    pub addresses: Vec<IpAddr>,
}

/// What every request sees.
struct Api {
    store: Arc<Store>,
    containers: Containers,
    stop: CancellationToken,
    sessions: TaskTracker,
}

/// A running API server. Dropping it stops it without waiting; [`Server::stop`] waits.
pub struct Server(Front);

impl Server {
    /// Begins to serve; returns once every listener is being accepted from. Must be called in a tokio runtime.
    pub fn start(config: ServerConfig) -> Result<Self, FrontError> {
        let ServerConfig { store, containers, listeners, names, addresses } = config;
        let closing = Closing::default();
        let front = FrontConfig { name: containers.cluster.clone(), listeners, names, addresses };
        let Closing { stop, sessions } = closing.clone();
        let api = Arc::new(Api { store, containers, stop, sessions });
        let answer = Arc::new(move |request: Request<Body>| route::handle(api.clone(), request).boxed());
        Front::open(front, closing, answer).map(Self)
    }

    /// As [`Front::kubeconfig`].
    pub fn kubeconfig(&self, address: SocketAddr, context: &str, namespace: &str) -> Result<String, FrontError> {
        self.0.kubeconfig(address, context, namespace)
    }

    /// The address of the listener on loopback.
    pub fn loopback(&self) -> Result<SocketAddr, FrontError> {
        self.0.loopback()
    }

    /// A client of this process, over the listener on loopback.
    pub async fn kube_client(&self) -> Result<kube::Client, FrontError> {
        self.0.kube_client().await
    }

    /// Ends every connection, watch and session, and returns when they have ended.
    pub async fn stop(&self) {
        self.0.close().await;
    }
}
