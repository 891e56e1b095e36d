//! The local environment: a served cluster whose pods are sandboxed processes of this machine.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::Mutex;

use super::{Clusters, EnvironmentError};
use crate::authority::{Authority, Certificate};
use crate::cluster::kubelet::Outside;
use crate::cluster::store::Store;
use crate::cluster::{Cluster, ClusterConfig};
use crate::drill::station;
use crate::environment::run_directory::RunDirectory;
use crate::kubernetes::Kubernetes;
use crate::redact::Secret;
use crate::runtime::process::ProcessRuntime;
use crate::runtime::{Image, ImageFile};
use crate::sandbox::SandboxConfig;

/// How long pods may take to stop before they are killed at the end of a drill.
const GRACE: Duration = Duration::from_secs(3);
/// The cluster of a drill that has one, and the context that runbooks find.
pub const CLUSTER: &str = "default";
/// Where the packages of the `aws` program are shown on the workstation.
const AWSCLI: &str = "/opt/awscli";
/// The cluster of the drill's own pods, where the system has several.
const HOME: &str = "redrill";
/// Where the first cluster's API answers inside the drill's network; the others follow.
const API_PORT: u16 = 6443;

/// What a local environment is made from.
pub struct LocalConfig {
    /// Of the drill; names its directory.
    pub name: String,
    /// redrill itself: the fabric, and what the drill's own pods run.
    pub program: PathBuf,
    /// By the reference that manifests use.
    pub images: BTreeMap<String, Image>,
    /// Outside host names, and the Services of the drill's own namespace that stand for them.
    pub outside: BTreeMap<String, String>,
    /// Of a system of several, each a context of the operator's; the first is the current one.
    pub clusters: Vec<String>,
    /// Services of those (cluster, namespace, name), under the names that the drill's own pods reach them by.
    pub services: BTreeMap<String, (String, String, String)>,
    /// Shown to the operator.
    pub kubectl: Option<PathBuf>,
    /// Further programs of the operator's, by name.
    pub programs: BTreeMap<String, PathBuf>,
    /// The program that stands for Google Cloud Storage.
    pub gcs_server: Option<PathBuf>,
    /// A folder of Python packages with the program `aws`, for the operator of an account.
    pub awscli: Option<PathBuf>,
    /// Of the operator's contexts.
    pub namespace: String,
    pub seed: u64,
}

/// A running local environment.
pub struct Local {
    pub clusters: Clusters,
    kubeconfig: Secret,
    authority: Authority,
    directory: PathBuf,
    /// Something that answers on this machine, which nothing inside may reach.
    bait: TcpListener,
    running: Mutex<Option<Running>>,
}

struct Running {
    clusters: Vec<(String, Cluster)>,
    runtime: Arc<ProcessRuntime>,
    directory: RunDirectory,
}

impl Local {
    /// Makes the sandbox, serves the cluster into it, and connects to it. What was made before an error goes with it.
    pub async fn start(config: LocalConfig) -> Result<Self, EnvironmentError> {
        let directory = RunDirectory::make(&config.name)?;
        let authority = Authority::new(&format!("redrill {}", config.name)).map_err(certificate_error)?;
        let mut sandbox = SandboxConfig::new(directory.path(), &config.name)?;
        sandbox.trusted_ca = Some(authority.certificate());
        sandbox.program.clone_from(&config.program);
        let runtime = Arc::new(ProcessRuntime::start(sandbox).await?);
        let bait = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))
            .map_err(EnvironmentError::io("listen for the isolation probe"))?;
        let served = Served {
            images: with_own_images(&config),
            stores: cluster_names(&config.clusters).into_iter().map(|name| (name, Arc::default())).collect(),
            runtime: runtime.clone(),
            config,
        };
        let (running, clusters, kubeconfig) = served.start().await?;
        let path = directory.path().to_owned();
        let running = Mutex::new(Some(Running { clusters: running, runtime, directory }));
        Ok(Self { clusters, kubeconfig, authority, directory: path, bait, running })
    }

    pub fn operator_kubeconfig(&self) -> Secret {
        self.kubeconfig.clone()
    }

    pub fn certificate(&self, hosts: &[&str]) -> Result<Certificate, EnvironmentError> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        self.authority.server(&hosts).map_err(certificate_error)
    }

    /// This machine under every address it has, on a port that answers, and an address that no route may lead to
    /// (TEST-NET-1 of RFC 5737, which exists nowhere).
    pub fn outside_addresses(&self) -> Vec<String> {
        let port = self.bait.local_addr().map_or(0, |address| address.port());
        let mut addresses: Vec<String> =
            own_addresses().into_iter().map(|address| SocketAddr::new(address, port).to_string()).collect();
        addresses.push("192.0.2.1:443".to_owned());
        addresses
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Errs where there is no such cluster any more.
    pub async fn lose(&self, cluster: &str) -> Result<(), EnvironmentError> {
        let mut running = self.running.lock().await;
        let lost = running.as_mut().and_then(|running| {
            let index = running.clusters.iter().position(|(name, _)| name == cluster)?;
            Some(running.clusters.remove(index).1)
        });
        let doing = format!("lose the cluster {cluster}");
        let Some(lost) = lost else { return Err(EnvironmentError::Failed { doing, reason: "it is not there".into() }) };
        lost.stop(GRACE).await;
        Ok(())
    }

    /// Ends the clusters, the sandbox, then the files, and says what is still there.
    pub async fn tear_down(&self) -> Result<Vec<String>, EnvironmentError> {
        let Some(Running { clusters, runtime, directory }) = self.running.lock().await.take() else {
            return Ok(Vec::new());
        };
        join_all(clusters.iter().map(|(_, cluster)| cluster.stop(GRACE))).await;
        let mut left = runtime.shutdown(GRACE).await;
        left.extend(directory.remove().await?);
        left.sort();
        Ok(left)
    }
}

/// The cluster of the drill's own pods first.
fn cluster_names(of_system: &[String]) -> Vec<String> {
    match of_system.is_empty() {
        true => vec![CLUSTER.to_owned()],
        false => std::iter::once(HOME.to_owned()).chain(of_system.iter().cloned()).collect(),
    }
}

/// What the clusters of a drill are served from.
struct Served {
    config: LocalConfig,
    images: BTreeMap<String, Image>,
    /// By cluster; all there before the first starts, since each looks names up in others.
    stores: BTreeMap<String, Arc<Store>>,
    runtime: Arc<ProcessRuntime>,
}

impl Served {
    async fn start(self) -> Result<(Vec<(String, Cluster)>, Clusters, Secret), EnvironmentError> {
        let mut running = Vec::new();
        let mut clients = Vec::new();
        let mut kubeconfigs = Vec::new();
        for (name, port) in cluster_names(&self.config.clusters).iter().zip(API_PORT..) {
            let bridge = SocketAddr::new(self.runtime.bridge_address(), port);
            let inside = self.runtime.listen(bridge).await?;
            let loopback = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .map_err(EnvironmentError::io("listen on loopback for the harness's own client"))?;
            let cluster = Cluster::start(ClusterConfig {
                name: name.clone(),
                store: self.store(name),
                runtime: self.runtime.clone(),
                images: self.images.clone(),
                outside: self.outside(name),
                listeners: vec![loopback, inside],
                seed: self.config.seed,
            })
            .map_err(|error| failed("serve the cluster", &error))?;
            let client = cluster.client().await.map_err(|error| failed("connect to the cluster", &error))?;
            clients.push((name.clone(), Kubernetes::connect(client).await?));
            if name != HOME {
                let kubeconfig = cluster.kubeconfig(bridge, name, &self.config.namespace);
                kubeconfigs.push(kubeconfig.map_err(|error| failed("make the operator's kubeconfig", &error))?);
            }
            running.push((name.clone(), cluster));
        }
        let home = clients[0].1.clone();
        let clusters = Clusters { home, named: clients.into_iter().collect() };
        let kubeconfig = merged(&kubeconfigs).map_err(|error| failed("make the operator's kubeconfig", &error))?;
        Ok((running, clusters, kubeconfig))
    }

    fn store(&self, cluster: &str) -> Arc<Store> {
        self.stores.get(cluster).cloned().unwrap_or_default()
    }

    /// Outside names lead to the stores that stand beside the prober; its own cluster knows the system's Services too.
    fn outside(&self, cluster: &str) -> BTreeMap<String, Outside> {
        let names = cluster_names(&self.config.clusters);
        let home = self.store(&names[0]);
        let service = |store: &Arc<Store>, namespace: &str, service: &str| Outside::Service {
            store: store.clone(),
            namespace: namespace.to_owned(),
            service: service.to_owned(),
        };
        let stores = self.config.outside.iter();
        let mut outside: BTreeMap<String, Outside> =
            stores.map(|(host, name)| (host.clone(), service(&home, station::NAMESPACE, name))).collect();
        if cluster == names[0] {
            for (host, (cluster, namespace, name)) in &self.config.services {
                outside.insert(host.clone(), service(&self.store(cluster), namespace, name));
            }
        }
        outside
    }
}

/// One kubeconfig with the contexts of all; the first one's is the current one.
fn merged(kubeconfigs: &[Secret]) -> Result<Secret, serde_yaml_ng::Error> {
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

/// The drill's own images: redrill itself, a workstation with kubectl, and a store's server.
fn with_own_images(config: &LocalConfig) -> BTreeMap<String, Image> {
    let LocalConfig { program, kubectl, programs, gcs_server, awscli, .. } = config;
    let mut images = config.images.clone();
    let show = |source: &Path, name: &str| ImageFile {
        source: source.to_owned(),
        target: format!("/usr/local/bin/{name}").into(),
    };
    let image = |reference: &str, files: Vec<ImageFile>| {
        let path = "/usr/local/bin:/usr/lib/postgresql/15/bin:/usr/bin:/bin:/usr/sbin:/sbin".to_owned();
        let env = vec![("PATH".to_owned(), path), ("LANG".to_owned(), "C.UTF-8".to_owned())];
        let cmd = vec!["sleep".to_owned(), "infinity".to_owned()];
        Image { reference: reference.to_owned(), cmd, env, files, ..Image::default() }
    };
    images.insert(station::IMAGE.to_owned(), image(station::IMAGE, vec![show(program, "redrill")]));
    let mut shown: Vec<ImageFile> = kubectl.iter().map(|kubectl| show(kubectl, "kubectl")).collect();
    shown.extend(programs.iter().map(|(name, program)| show(program, name)));
    let mut workstation = image(station::WORKSTATION_IMAGE, shown);
    if let Some(packages) = awscli {
        workstation.files.push(ImageFile { source: packages.to_owned(), target: AWSCLI.into() });
        workstation.files.push(show(&packages.join("bin/aws"), "aws"));
        workstation.env.push(("PYTHONPATH".to_owned(), AWSCLI.to_owned()));
    }
    images.insert(station::WORKSTATION_IMAGE.to_owned(), workstation);
    let server = gcs_server.iter().map(|server| show(server, "fake-gcs-server")).collect();
    images.insert(station::GCS_IMAGE.to_owned(), image(station::GCS_IMAGE, server));
    images
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
    addresses.sort();
    addresses.dedup();
    addresses
}

fn certificate_error(error: rcgen::Error) -> EnvironmentError {
    failed("make the drill's certificates", &error)
}

fn failed(doing: &str, error: &dyn std::error::Error) -> EnvironmentError {
    EnvironmentError::Failed { doing: doing.to_owned(), reason: crate::error::chain(error) }
}
