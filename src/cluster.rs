//! The in-memory cluster: the part of a Kubernetes API that kubectl and helm need, and what reconciles it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

pub use default::pull_policy;

use crate::redact::Secret;
use crate::runtime::{Image, PodRuntime};
use front::FrontError;
use kubelet::{Images, Outside};
use reconcile::{Config, Reconciler};
use serve::{Containers, Server, ServerConfig};
use store::Store;

mod apply;
mod default;
pub mod discovery;
pub mod front;
mod go;
pub mod kind;
pub mod kubelet;
mod openapi;
pub mod patch;
pub mod protobuf;
pub mod reconcile;
pub mod refuse;
mod schema;
mod selector;
pub mod serve;
mod status;
pub mod store;
mod strict;
mod table;
pub mod tls;
mod validate;

/// What a cluster is made from.
pub struct ClusterConfig {
    pub name: String,
    /// What it holds; other clusters of the drill may look names up in it.
    pub store: Arc<Store>,
    pub runtime: Arc<dyn PodRuntime>,
    /// By the reference that manifests use.
    pub images: BTreeMap<String, Image>,
    /// Outside host names, and what each stands for.
    pub outside: BTreeMap<String, Outside>,
    /// Where the API is served; one on loopback for the harness.
    pub listeners: Vec<TcpListener>,
    /// Under which pods call it, besides those of the listeners.
    pub addresses: Vec<IpAddr>,
    /// Generated names follow from it.
    pub seed: u64,
}

/// A cluster that is served and reconciled. Dropping it stops serving; [`Cluster::stop`] ends its pods, too.
pub struct Cluster {
    server: Server,
    reconciler: Mutex<Option<Reconciler>>,
}

impl Cluster {
    /// Must be called in a tokio runtime.
    pub fn start(config: ClusterConfig) -> Result<Self, FrontError> {
        let store = config.store;
        let server = Server::start(ServerConfig {
            store: store.clone(),
            containers: Containers { cluster: config.name.clone(), runtime: config.runtime.clone() },
            listeners: config.listeners,
            names: vec!["kubernetes".to_owned(), "kubernetes.default".to_owned(), "kubernetes.default.svc".to_owned()],
            addresses: config.addresses,
        })?;
        let reconciler = Reconciler::start(Config {
            cluster: config.name,
            store: store.clone(),
            runtime: config.runtime,
            images: Arc::new(Known(config.images)),
            outside: config.outside,
            fire_schedules: false,
            root_ca: None,
            seed: config.seed,
        });
        Ok(Self { server, reconciler: Mutex::new(Some(reconciler)) })
    }

    /// A client of this process, as the cluster's administrator.
    pub async fn client(&self) -> Result<kube::Client, FrontError> {
        self.server.kube_client().await
    }

    /// A kubeconfig for whoever reaches the API at `address`.
    pub fn kubeconfig(&self, address: SocketAddr, context: &str, namespace: &str) -> Result<Secret, FrontError> {
        self.server.kubeconfig(address, context, namespace).map(Secret::new)
    }

    /// Kills the pods, then ends the API: nobody inside gets to do anything more, as in a disaster. Safe to call again.
    pub async fn stop(&self) {
        let reconciler = self.reconciler.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reconciler) = reconciler {
            reconciler.stop().await;
        }
        self.server.stop().await;
    }
}

/// Images that are known by their reference, and no others.
struct Known(BTreeMap<String, Image>);

impl Images for Known {
    fn resolve(&self, reference: &str) -> Result<Image, String> {
        self.0
            .get(reference)
            .cloned()
            .ok_or_else(|| format!("no image `{reference}` in this drill: bind it in the scenario's `images`"))
    }
}
