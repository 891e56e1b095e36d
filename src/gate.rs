//! The gate: what stands between a drill and a cluster that exists. Everything that a drill asks of the cluster goes through it, from
//! the harness, from kubectl and from helm alike, and sees the namespaces of the page there, and no others.
//!
//! On a cluster that others use, each namespace of the drill has a name of its own ([`space`]); what cannot be mapped with certainty,
//! or would lead out of the drill, is refused by name ([`refuse`]). Pods are given the images that are there, the drill's name
//! server and its authority ([`pod`]), which answers are freed of again ([`answer`]). The credentials of the cluster stay with the
//! harness: what a drill has is a kubeconfig for the gate, which ends with it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::body::Body;
use futures::FutureExt as _;
use http::Request;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cluster::front::{Closing, Front, FrontConfig};
use crate::drill::stage;
use crate::environment::EnvironmentError;
use crate::kubernetes::{self, ExecRequest, Kubernetes, KubernetesError, Terminal, wait_for};
use crate::redact::Secret;
use crate::runtime::porter::attendant::{Attendant, Program};
use crate::runtime::porter::{Ask, HELPER};

mod answer;
pub mod bait;
mod body;
mod carry;
mod everywhere;
mod headers;
pub mod names;
mod operation;
mod passage;
pub mod pod;
mod query;
mod refuse;
pub mod room;
pub mod space;
pub mod sweep;
mod target;

use names::{Names, ServiceAt};
use passage::Passage;
use pod::{Furnishing, Watch};
use room::{PORTER, Rooms, STRANGER};

/// Where a gate answers inside the drill.
const API_PORT: u16 = 6443;
const NAMES_PORT: u16 = 53;
/// How long the porter may take to answer. What asks is at the other side of a cluster that does.
const ANSWERED: Duration = Duration::from_secs(15);
/// How long a pod of the gate's may take; its image may have to be pulled.
const STARTED: Duration = Duration::from_secs(120);

/// What went wrong between the gate and its cluster, if anything did: then what a drill found out may not be the page's doing.
#[derive(Clone, Default)]
pub struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    /// The first is what counts.
    pub fn note(&self, what: &str) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| what.to_owned());
    }

    pub fn what(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a gate needs to open.
pub struct GateConfig {
    /// Of the cluster, as the page knows it.
    pub cluster: String,
    pub client: kube::Client,
    pub rooms: Arc<Rooms>,
    /// What the cluster calls an image, by the reference that manifests use.
    pub images: BTreeMap<String, String>,
    /// redrill's own, as the cluster calls it.
    pub porter_image: String,
    /// Names that lead to Services of this drill, here or in another of its clusters.
    pub outside: BTreeMap<String, ServiceAt>,
    /// Whether the cluster is this drill's alone.
    pub owns_cluster: bool,
    pub trouble: Trouble,
}

/// An open gate.
pub struct Gate {
    pub rooms: Arc<Rooms>,
    pub trouble: Trouble,
    front: Front,
    furnishing: Arc<Furnishing>,
    porter: Attendant,
    address: IpAddr,
    _names: JoinSet<()>,
}

impl Gate {
    /// Starts the porter in a namespace of its own and opens the gate on both sides.
    pub async fn open(config: GateConfig) -> Result<Self, EnvironmentError> {
        let GateConfig { cluster, client, rooms, images, porter_image, outside, owns_cluster, trouble } = config;
        let kubernetes = rooms.kubernetes().clone();
        let namespace = rooms.make(PORTER).await?;
        kubernetes.create(&pod(PORTER, &namespace, &porter_image, json!(["sleep", "infinity"]))).await?;
        let address = running(&kubernetes, PORTER, &namespace).await?;
        let porter = attend(&kubernetes, &namespace).await?;
        let furnishing = Arc::new(Furnishing { images, name_server: address.to_string(), watch: OnceLock::new() });
        let closing = Closing::default();
        let scopes =
            kubernetes.served().map(|(kind, abilities)| ((kind.group, kind.version, kind.plural), abilities.scope));
        let passage = Arc::new(Passage {
            client,
            rooms: rooms.clone(),
            furnishing: furnishing.clone(),
            scopes: scopes.collect(),
            owns_cluster,
            made: Mutex::default(),
            trouble: trouble.clone(),
            closing: closing.clone(),
        });
        let loopback = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let loopback = loopback.map_err(EnvironmentError::io("listen on loopback for the harness's own client"))?;
        let inside = loopback.local_addr().map_err(EnvironmentError::io("listen on loopback"))?;
        let names = vec!["kubernetes".to_owned(), "kubernetes.default".to_owned(), "kubernetes.default.svc".to_owned()];
        let front = FrontConfig { name: cluster, listeners: vec![loopback], names, addresses: vec![address] };
        let answer = Arc::new(move |request: Request<Body>| passage.clone().take(request).boxed());
        let front = Front::open(front, closing, answer).map_err(|error| failed("open the gate", &error))?;
        porter.listen(API_PORT, inside).await?;
        let is_proxied = !kubernetes.is_redrills().await?;
        let served = Names { rooms: rooms.clone(), outside, is_proxied }.serve().await;
        let (names_at, serving) = served.map_err(EnvironmentError::io("serve the drill's names"))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(serving);
        porter.listen_for_names(NAMES_PORT, names_at).await?;
        Ok(Self { rooms, trouble, front, furnishing, porter, address, _names: tasks })
    }

    /// A client of this process, which sees what the page would.
    pub async fn client(&self) -> Result<Kubernetes, EnvironmentError> {
        let client = self.front.kube_client().await.map_err(|error| failed("connect to the gate", &error))?;
        Ok(Kubernetes::connect(client).await?)
    }

    /// For whoever is inside the drill.
    pub fn kubeconfig(&self, context: &str, namespace: &str) -> Result<Secret, EnvironmentError> {
        let address = SocketAddr::new(self.address, API_PORT);
        let kubeconfig = self.front.kubeconfig(address, context, namespace);
        kubeconfig.map(Secret::new).map_err(|error| failed("make the operator's kubeconfig", &error))
    }

    /// For whoever is on this machine, as the harness is.
    pub fn kubeconfig_on_loopback(&self, context: &str, namespace: &str) -> Result<Secret, EnvironmentError> {
        let kubeconfig = self.front.loopback().and_then(|address| self.front.kubeconfig(address, context, namespace));
        kubeconfig.map(Secret::new).map_err(|error| failed("make a kubeconfig for the gate", &error))
    }

    /// Completes when the connection to the drill's porter has ended, and with it what everything inside depends on.
    pub fn ended(&self) -> CancellationToken {
        self.porter.ended()
    }

    /// Whether the porter is there now. The end of its connection is heard a moment after the end of others that went the same way.
    pub async fn is_attended(&self) -> bool {
        tokio::time::timeout(ANSWERED, self.porter.done(Ask::Ping)).await.is_ok_and(|answered| answered.is_ok())
    }

    /// From now on nothing of the system begins in a pod from which this address can be reached.
    pub fn watch(&self, image: &str, stranger: SocketAddr) {
        // Told once: the drill's stranger stays where he is.
        let _ = self.furnishing.watch.set(Watch { image: image.to_owned(), stranger });
    }

    /// Answers nobody any more.
    pub async fn close(&self) {
        self.front.close().await;
    }
}

/// Puts somebody up outside the drill, in the same cluster, who answers whoever reaches him; where that is.
pub async fn stranger(rooms: &Rooms, image: &str) -> Result<SocketAddr, EnvironmentError> {
    let kubernetes = rooms.kubernetes();
    let namespace = rooms.make_outside(STRANGER).await?;
    let argv = json!(["redrill", bait::HELPER, bait::PORT.to_string()]);
    let mut stranger = pod(STRANGER, &namespace, image, argv);
    stranger["spec"]["containers"][0]["readinessProbe"] =
        json!({"tcpSocket": {"port": bait::PORT}, "periodSeconds": 1});
    kubernetes.create(&stranger).await?;
    Ok(SocketAddr::new(running(kubernetes, STRANGER, &namespace).await?, bait::PORT))
}

fn pod(name: &str, namespace: &str, image: &str, argv: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {room::OWN: "true"}},
        "spec": {
            "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false, "dnsPolicy": "Default",
            "containers": [{"name": "redrill", "image": image, "imagePullPolicy": "IfNotPresent", "command": argv}],
        },
    })
}

/// Waits until a pod of the gate's is ready; its address.
async fn running(kubernetes: &Kubernetes, name: &str, namespace: &str) -> Result<IpAddr, KubernetesError> {
    wait_for(&format!("{name} ready"), STARTED, async || {
        let pod = kubernetes.get(kubernetes::POD, namespace, name).await?.unwrap_or_default();
        let address = pod["status"]["podIP"].as_str().and_then(|address| address.parse().ok());
        Ok(match address.filter(|_| stage::is_ready(&pod)) {
            Some(address) => Ok(address),
            None => Err(stage::pod_state(&pod)),
        })
    })
    .await
}

async fn attend(kubernetes: &Kubernetes, namespace: &str) -> Result<Attendant, KubernetesError> {
    let argv = ["redrill", HELPER];
    let request = ExecRequest { namespace, pod: PORTER, container: None, argv: &argv, terminal: Terminal::No };
    let (exit, (stdin, stdout)) = kubernetes.exec(&request).await?.split();
    Ok(Attendant::of(Program { stdin, stdout, stderr: None, held: exit.map(drop).boxed() }))
}

fn failed(doing: &str, error: &dyn std::error::Error) -> EnvironmentError {
    EnvironmentError::Failed { doing: doing.to_owned(), reason: crate::error::chain(error) }
}
