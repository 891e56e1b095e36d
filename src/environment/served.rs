//! What environments have in common whose clusters redrill serves itself: one cluster of a drill or several, names that lead from
//! one to another, and the kubeconfig of the operator.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;

use super::{Clusters, EnvironmentError};
use crate::cluster::kubelet::Outside;
use crate::cluster::store::Store;
use crate::cluster::{Cluster, ClusterConfig};
use crate::drill::station;
use crate::kubernetes::Kubernetes;
use crate::redact::Secret;
use crate::runtime::{Image, PodRuntime, RuntimeError};

/// The cluster of a drill that has one, and the context that runbooks find.
pub const CLUSTER: &str = "default";
/// The cluster of the drill's own pods, where the system has several.
pub(super) const HOME: &str = "redrill";
/// Where the first cluster's API answers inside the drill's network; the others follow.
const API_PORT: u16 = 6443;

/// How pods reach what the harness serves.
#[async_trait]
pub(super) trait Door: PodRuntime {
    /// The address under which they do.
    fn address(&self) -> IpAddr;
    /// Opens a port of it. What comes in arrives at the listener that is given, or at one of loopback.
    async fn open(&self, port: u16, loopback: SocketAddr) -> Result<Option<TcpListener>, RuntimeError>;
}

/// What the clusters of a drill are served from.
pub(super) struct Served<R> {
    /// By the reference that manifests use, the drill's own among them.
    pub images: BTreeMap<String, Image>,
    /// Outside host names, and the Services of the drill's own namespace that stand for them.
    pub outside: BTreeMap<String, String>,
    /// Of a system of several, each a context of the operator's; the first is the current one.
    pub clusters: Vec<String>,
    /// Services of those (cluster, namespace, name), under the names that the drill's own pods reach them by.
    pub services: BTreeMap<String, (String, String, String)>,
    /// Of the operator's contexts.
    pub namespace: String,
    pub seed: u64,
    pub runtime: Arc<R>,
}

/// Clusters that are served, and what reaches them.
pub(super) struct Serving {
    pub clusters: Clusters,
    pub kubeconfig: Secret,
    pub running: Running,
}

/// By name.
pub(super) struct Running(Vec<(String, Cluster)>);

impl Running {
    /// Ends all of them.
    pub async fn stop(self) {
        join_all(self.0.iter().map(|(_, cluster)| cluster.stop())).await;
    }
}

/// Ends one of them for good. Errs where there is no such cluster any more.
pub(super) async fn lose(running: Option<&mut Running>, cluster: &str) -> Result<(), EnvironmentError> {
    let lost = running.and_then(|Running(running)| {
        let index = running.iter().position(|(name, _)| name == cluster)?;
        Some(running.remove(index).1)
    });
    let doing = format!("lose the cluster {cluster}");
    let Some(lost) = lost else { return Err(EnvironmentError::Failed { doing, reason: "it is not there".into() }) };
    lost.stop().await;
    Ok(())
}

impl<R: Door + 'static> Served<R> {
    /// Serves all clusters and connects to them.
    pub async fn start(self) -> Result<Serving, EnvironmentError> {
        let names = cluster_names(&self.clusters);
        // All there before the first starts, since each looks names up in others.
        let stores: Stores = names.iter().map(|name| (name.clone(), Arc::default())).collect();
        let (mut running, mut clients, mut kubeconfigs) = (Vec::new(), Vec::new(), Vec::new());
        for (name, port) in names.iter().zip(API_PORT..) {
            let loopback = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .map_err(EnvironmentError::io("listen on loopback for the harness's own client"))?;
            let on_loopback = loopback.local_addr().map_err(EnvironmentError::io("listen on loopback"))?;
            let inside = self.runtime.open(port, on_loopback).await?;
            let cluster = Cluster::start(ClusterConfig {
                name: name.clone(),
                store: stores[name].clone(),
                runtime: self.runtime.clone(),
                images: self.images.clone(),
                outside: self.outside(name, &names[0], &stores),
                listeners: std::iter::once(loopback).chain(inside).collect(),
                addresses: vec![self.runtime.address()],
                seed: self.seed,
            })
            .map_err(|error| failed("serve the cluster", &error))?;
            let client = cluster.client().await.map_err(|error| failed("connect to the cluster", &error))?;
            clients.push((name.clone(), Kubernetes::connect(client).await?));
            if name != HOME {
                let address = SocketAddr::new(self.runtime.address(), port);
                let kubeconfig = cluster.kubeconfig(address, name, &self.namespace);
                kubeconfigs.push(kubeconfig.map_err(|error| failed("make the operator's kubeconfig", &error))?);
            }
            running.push((name.clone(), cluster));
        }
        let home = clients[0].1.clone();
        let clusters = Clusters { home, named: clients.into_iter().collect() };
        let kubeconfig = merged(&kubeconfigs).map_err(|error| failed("make the operator's kubeconfig", &error))?;
        Ok(Serving { clusters, kubeconfig, running: Running(running) })
    }

    /// Outside names lead to the stores that stand beside the prober; its own cluster knows the system's Services too.
    fn outside(&self, cluster: &str, home: &str, stores: &Stores) -> BTreeMap<String, Outside> {
        let service = |store: &Arc<Store>, namespace: &str, service: &str| Outside::Service {
            store: store.clone(),
            namespace: namespace.to_owned(),
            service: service.to_owned(),
        };
        let names = self.outside.iter();
        let mut outside: BTreeMap<String, Outside> =
            names.map(|(host, name)| (host.clone(), service(&stores[home], station::NAMESPACE, name))).collect();
        if cluster == home {
            for (host, (cluster, namespace, name)) in &self.services {
                let store = stores.get(cluster).cloned().unwrap_or_default();
                outside.insert(host.clone(), service(&store, namespace, name));
            }
        }
        outside
    }
}

/// By cluster.
type Stores = BTreeMap<String, Arc<Store>>;

/// The cluster of the drill's own pods first.
pub(super) fn cluster_names(of_system: &[String]) -> Vec<String> {
    match of_system.is_empty() {
        true => vec![CLUSTER.to_owned()],
        false => std::iter::once(HOME.to_owned()).chain(of_system.iter().cloned()).collect(),
    }
}

/// One kubeconfig with the contexts of all; the first one's is the current one.
pub(super) fn merged(kubeconfigs: &[Secret]) -> Result<Secret, serde_yaml_ng::Error> {
    use serde_yaml_ng::{Value, from_str, to_string};
    let mut all = Value::Null;
    for kubeconfig in kubeconfigs {
        let next: Value = from_str(kubeconfig.expose())?;
        if all.is_null() {
            all = next;
            continue;
        }
        for list in ["clusters", "users", "contexts"] {
            if let (Some(all), Some(next)) = (all[list].as_sequence_mut(), next[list].as_sequence()) {
                all.extend(next.iter().cloned());
            }
        }
    }
    to_string(&all).map(Secret::new)
}

/// Something that answers on this machine, which nothing inside may reach.
pub(super) struct Bait(TcpListener);

impl Bait {
    pub fn lay() -> Result<Self, EnvironmentError> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0));
        listener.map(Self).map_err(EnvironmentError::io("listen for the isolation probe"))
    }

    /// This machine under every address it has, and under those in `others`, on a port that answers, and an address that no
    /// route may lead to (TEST-NET-1 of RFC 5737, which exists nowhere).
    pub fn addresses(&self, others: &[IpAddr]) -> Vec<String> {
        let port = self.0.local_addr().map_or(0, |address| address.port());
        let mut all = own_addresses();
        all.extend(others);
        all.sort();
        all.dedup();
        let mut addresses: Vec<String> =
            all.into_iter().map(|address| SocketAddr::new(address, port).to_string()).collect();
        addresses.push("192.0.2.1:443".to_owned());
        addresses
    }
}

/// Every address of this machine's interfaces, loopback left out: inside, loopback is the pod's own.
fn own_addresses() -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for interface in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let address =
            interface.address.as_ref().and_then(|address| address.as_sockaddr_in()).map(|address| address.ip());
        if let Some(address) = address.filter(|address| !address.is_loopback()) {
            addresses.push(IpAddr::V4(address));
        }
    }
    addresses
}

pub(super) fn certificate_error(error: rcgen::Error) -> EnvironmentError {
    failed("make the drill's certificates", &error)
}

fn failed(doing: &str, error: &dyn std::error::Error) -> EnvironmentError {
    EnvironmentError::Failed { doing: doing.to_owned(), reason: crate::error::chain(error) }
}
