//! The kube environment: a cluster that exists. The drill has namespaces of its own there, and reaches nothing of it but through its
//! gates ([`crate::gate`]), one for each cluster of the page's.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::served::{Bait, HOME, certificate_error, cluster_names, merged};
use super::{Clusters, EnvironmentError};
use crate::authority::{Authority, Certificate};
use crate::drill::station;
use crate::environment::run_directory::{self, RunDirectory};
use crate::gate::names::ServiceAt;
use crate::gate::room::{DRILL, Marks, Rooms};
use crate::gate::space::Naming;
use crate::gate::{self, Gate, GateConfig, Trouble, sweep};
use crate::kubernetes::Kubernetes;
use crate::redact::Secret;
use crate::scenario::EnvironmentName;

mod context;
pub mod kind;
mod lack;
mod presence;
mod provided;
pub mod survey;

pub use context::{Connection, Contexts, connect, version};
use kind::Throwaway;
use provided::provided;

/// What a kube environment is made from.
pub struct KubeConfig {
    /// Of the drill; names its directory, and what it has on the cluster.
    pub name: String,
    pub contexts: Contexts,
    /// What the cluster calls an image, by the reference that manifests use, the drill's own among them.
    pub images: BTreeMap<String, String>,
    pub digests: BTreeMap<String, String>,
    /// As [`super::local::LocalConfig`] has them.
    pub outside: BTreeMap<String, String>,
    pub clusters: Vec<String>,
    pub services: BTreeMap<String, (String, String, String)>,
    pub namespace: String,
    /// The cluster itself, where it was made for this drill.
    pub throwaway: Option<Throwaway>,
    /// Whether the cluster must be one that redrill serves itself.
    pub served: bool,
}

/// A drill's place on a cluster.
pub struct Kube {
    pub clusters: Clusters,
    pub digests: BTreeMap<String, String>,
    kubeconfig: Secret,
    authority: Authority,
    directory: PathBuf,
    bait: Bait,
    /// Of somebody in the same cluster who is not of the drill.
    stranger: SocketAddr,
    /// redrill's own, as the cluster calls it.
    own_image: String,
    trouble: Trouble,
    lost: CancellationToken,
    seen: presence::Seen,
    throwaway: Mutex<Option<Throwaway>>,
    name: EnvironmentName,
    provided: Vec<(&'static str, &'static str)>,
    running: Mutex<Option<Running>>,
}

struct Running {
    /// By the page's name of the cluster.
    gates: BTreeMap<String, Watched>,
    marks: Marks,
    directory: RunDirectory,
}

/// A gate, and who tells when the drill's end of it has gone.
struct Watched {
    gate: Gate,
    watch: AbortHandle,
}

impl Kube {
    /// Makes the drill's first namespaces and opens its gates. What was made before an error goes with it.
    pub async fn start(mut config: KubeConfig) -> Result<Self, EnvironmentError> {
        let throwaway = config.throwaway.take();
        match Self::open(config, throwaway.is_some()).await {
            Ok(kube) => {
                *kube.throwaway.lock().await = throwaway;
                Ok(kube)
            }
            Err(error) => {
                if let Some(throwaway) = throwaway {
                    throwaway.delete().await?;
                }
                Err(error)
            }
        }
    }

    async fn open(config: KubeConfig, is_throwaway: bool) -> Result<Self, EnvironmentError> {
        let directory = RunDirectory::make(&config.name)?;
        let authority = Authority::new(&format!("redrill {}", config.name)).map_err(certificate_error)?;
        let marks = marks(&config.name, &directory);
        let names = cluster_names(&config.clusters);
        let mut connections = BTreeMap::new();
        for name in &names {
            let connection = connect(&config.contexts, name).await?;
            if config.served && !connection.kubernetes.is_redrills().await? {
                let reason = "redrill does not serve it, so its images are not this machine's programs".to_owned();
                return Err(EnvironmentError::Failed { doing: format!("use the cluster {name}"), reason });
            }
            connections.insert(name.clone(), connection);
        }
        let started = open(&config, &marks, &authority, &connections, &names).await;
        match started {
            Ok(Opened { gates, clusters, kubeconfig, trouble, stranger }) => {
                let lost = CancellationToken::new();
                let gates = gates.into_iter().map(|(name, gate)| (name, watched(gate, &trouble, &lost))).collect();
                let path = directory.path().to_owned();
                let running = Mutex::new(Some(Running { gates, marks, directory }));
                Ok(Self {
                    clusters,
                    digests: config.digests,
                    kubeconfig,
                    authority,
                    directory: path,
                    bait: Bait::lay()?,
                    stranger,
                    own_image: config.images.get(station::IMAGE).cloned().unwrap_or_default(),
                    trouble,
                    lost,
                    seen: presence::Seen::default(),
                    throwaway: Mutex::default(),
                    name: if is_throwaway { EnvironmentName::Kind } else { EnvironmentName::Kube },
                    provided: provided(config.contexts.dedicated, config.served),
                    running,
                })
            }
            Err(error) => {
                for connection in connections.values() {
                    // What could not be removed `redrill gc` finds by its marks.
                    if let Err(error) = sweep::sweep(&connection.kubernetes, &marks.drill).await {
                        tracing::warn!(%error, "what was made of a drill is still there");
                    }
                }
                drop(directory.remove().await);
                Err(error)
            }
        }
    }

    /// The cluster was seen to close the drill: from now on each pod of the system is watched to be closed before anything begins in it.
    pub async fn closed(&self) {
        let running = self.running.lock().await;
        for Watched { gate, .. } in running.iter().flat_map(|running| running.gates.values()) {
            gate.watch(&self.own_image, self.stranger);
        }
    }

    pub fn name(&self) -> EnvironmentName {
        self.name
    }

    pub fn operator_kubeconfig(&self) -> Secret {
        self.kubeconfig.clone()
    }

    pub fn certificate(&self, hosts: &[&str]) -> Result<Certificate, EnvironmentError> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        self.authority.server(&hosts).map_err(certificate_error)
    }

    /// With a pod's of another namespace. Not the nodes' and the API's: whatever policies say, a node and the pods on it reach one
    /// another (Kubernetes, "Network Policies"), and nobody inside has credentials for either.
    pub fn outside_addresses(&self) -> Vec<String> {
        let mut addresses = self.bait.addresses(&[]);
        addresses.push(self.stranger.to_string());
        addresses
    }

    /// Policies are carried out after they are accepted, by something that may answer in another's place. A cluster that has none
    /// never closes a drill.
    pub fn closes_within(&self) -> Duration {
        let has_policies = self.clusters.home().served().any(|(kind, _)| kind.kind == "NetworkPolicy");
        if has_policies { Duration::from_secs(30) } else { Duration::ZERO }
    }

    /// What stands between the page and the cluster.
    pub fn provided(&self) -> &[(&'static str, &'static str)] {
        &self.provided
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Errs where there is no such cluster any more.
    pub async fn lose(&self, cluster: &str) -> Result<(), EnvironmentError> {
        let mut running = self.running.lock().await;
        let lost = running.as_mut().and_then(|running| Some((running.gates.remove(cluster)?, running.marks.clone())));
        let doing = format!("lose the cluster {cluster}");
        let Some((Watched { gate, watch }, marks)) = lost else {
            return Err(EnvironmentError::Failed { doing, reason: "it is not there".into() });
        };
        watch.abort();
        gate.close().await;
        let names = gate.rooms.all();
        let selector = format!("{DRILL}={}", marks.drill);
        let is_meant = |name: &str| names.iter().any(|meant| meant == name);
        let left = sweep::namespaces(gate.rooms.kubernetes(), &selector, is_meant).await?;
        match left.is_empty() {
            true => Ok(()),
            false => Err(EnvironmentError::Failed { doing, reason: format!("still there: {}", left.join(", ")) }),
        }
    }

    /// Closes the gates, then takes away what the drill has on the cluster, then the files, and says what is still there.
    pub async fn tear_down(&self) -> Result<Vec<String>, EnvironmentError> {
        let Some(Running { gates, marks, directory }) = self.running.lock().await.take() else {
            return Ok(Vec::new());
        };
        let mut clusters: BTreeMap<String, Kubernetes> = BTreeMap::new();
        for Watched { gate, watch } in gates.values() {
            watch.abort();
            gate.close().await;
            clusters.insert(gate.rooms.kubernetes().address().to_owned(), gate.rooms.kubernetes().clone());
        }
        drop(gates);
        if let Some(throwaway) = self.throwaway.lock().await.take() {
            // With all that is in it.
            let mut left = throwaway.delete().await?;
            left.extend(directory.remove().await?);
            return Ok(left);
        }
        let mut left = Vec::new();
        for kubernetes in clusters.values() {
            left.extend(sweep::sweep(kubernetes, &marks.drill).await?);
        }
        if left.is_empty() {
            left.extend(directory.remove().await?);
        }
        left.sort();
        Ok(left)
    }
}

struct Opened {
    gates: BTreeMap<String, Gate>,
    clusters: Clusters,
    kubeconfig: Secret,
    trouble: Trouble,
    stranger: SocketAddr,
}

async fn open(
    config: &KubeConfig,
    marks: &Marks,
    authority: &Authority,
    connections: &BTreeMap<String, Connection>,
    names: &[String],
) -> Result<Opened, EnvironmentError> {
    let several = names.len() > 1;
    let rooms: BTreeMap<&str, Arc<Rooms>> = names
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let naming = match config.contexts.dedicated {
                true => Naming::AsDocumented,
                false => Naming::mapped(&marks.drill, several.then_some(index)),
            };
            let kubernetes = connections[name].kubernetes.clone();
            (name.as_str(), Arc::new(Rooms::new(kubernetes, naming, marks.clone(), authority.certificate())))
        })
        .collect();
    let trouble = Trouble::default();
    let gates = names.iter().map(|name| {
        Gate::open(GateConfig {
            cluster: name.clone(),
            client: connections[name].client.clone(),
            rooms: rooms[name.as_str()].clone(),
            images: config.images.clone(),
            porter_image: config.images.get(station::IMAGE).cloned().unwrap_or_default(),
            outside: outside(config, name, &names[0], &rooms),
            owns_cluster: config.contexts.dedicated,
            trouble: trouble.clone(),
        })
    });
    let image = config.images.get(station::IMAGE).cloned().unwrap_or_default();
    let (gates, stranger) =
        futures::future::try_join(try_join_all(gates), gate::stranger(&rooms[names[0].as_str()], &image)).await?;
    let gates: BTreeMap<String, Gate> = names.iter().cloned().zip(gates).collect();
    let mut clients = BTreeMap::new();
    let mut kubeconfigs = Vec::new();
    for name in names {
        clients.insert(name.clone(), gates[name].client().await?);
        if name != HOME {
            kubeconfigs.push(gates[name].kubeconfig(name, &config.namespace)?);
        }
    }
    let clusters = Clusters { home: clients[&names[0]].clone(), named: clients };
    let kubeconfig = merged(&kubeconfigs).map_err(|error| EnvironmentError::Failed {
        doing: "make the operator's kubeconfig".to_owned(),
        reason: error.to_string(),
    })?;
    Ok(Opened { gates, clusters, kubeconfig, trouble, stranger })
}

/// Outside names lead to the stores that stand beside the prober; its own cluster knows the system's Services too.
fn outside(
    config: &KubeConfig,
    cluster: &str,
    home: &str,
    rooms: &BTreeMap<&str, Arc<Rooms>>,
) -> BTreeMap<String, ServiceAt> {
    let at = |cluster: &str, namespace: &str, name: &str| ServiceAt {
        rooms: rooms.get(cluster).unwrap_or(&rooms[home]).clone(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let stores = config.outside.iter().map(|(host, name)| (host.clone(), at(home, station::NAMESPACE, name)));
    let mut outside: BTreeMap<String, ServiceAt> = stores.collect();
    if cluster == home {
        let services = config.services.iter();
        outside.extend(services.map(|(host, (cluster, namespace, name))| (host.clone(), at(cluster, namespace, name))));
    }
    outside
}

fn watched(gate: Gate, trouble: &Trouble, lost: &CancellationToken) -> Watched {
    let (ended, trouble, lost) = (gate.ended(), trouble.clone(), lost.clone());
    let watch = tokio::spawn(async move {
        ended.cancelled().await;
        trouble.note("the connection to the drill's porter has ended");
        lost.cancel();
    });
    Watched { gate, watch: watch.abort_handle() }
}

fn marks(name: &str, directory: &RunDirectory) -> Marks {
    Marks {
        drill: blake3::hash(format!("{name} {}", run_directory::host()).as_bytes()).to_hex()[..10].to_owned(),
        run: name.to_owned(),
        host: run_directory::host(),
        lock: directory.lock_path().display().to_string(),
    }
}

/// Takes away what dead runs of this machine have on the cluster: what was removed, and what is still there.
pub async fn sweep_dead_runs(contexts: &Contexts) -> Result<(Vec<String>, Vec<String>), EnvironmentError> {
    let (mut removed, mut left) = (Vec::new(), Vec::new());
    for connection in contexts.all().await? {
        for (drill, run) in sweep::dead(&connection.kubernetes).await? {
            let still_there = sweep::sweep(&connection.kubernetes, &drill).await?;
            if still_there.is_empty() {
                removed.push(format!("what the run {run} had on the cluster"));
            }
            left.extend(still_there.into_iter().map(|what| format!("{what} of the run {run}")));
        }
    }
    Ok((removed, left))
}
