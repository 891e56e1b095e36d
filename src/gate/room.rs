//! The namespaces of a drill: made, marked and closed by redrill before anything is in them, and taken away by what they are marked
//! with. No other namespace is ever asked for anything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::pod::{AUTHORITIES, BUNDLE};
use super::space::{Naming, TooLong};
use crate::kubernetes::{self, Kubernetes, KubernetesError};

/// Of a drill, on each of its namespaces and on what it has of the cluster as a whole.
pub const DRILL: &str = "redrill.dev/drill";
/// Of a drill, on those of its namespaces that reach one another.
const INSIDE: &str = "redrill.dev/inside";
/// Of redrill's own objects in them, which nobody else touches.
pub const OWN: &str = "redrill.dev/own";
/// Annotations that tell whether the run lives: which one, where, and the lock that it holds there.
pub const RUN: &str = "redrill.dev/run";
pub const HOST: &str = "redrill.dev/host";
pub const LOCK: &str = "redrill.dev/lock";
/// Namespaces of redrill's own beside those of the page: the gate's porter, and of what nothing inside may reach.
pub const PORTER: &str = "redrill-porter";
pub const STRANGER: &str = "redrill-stranger";
pub const RESERVED: [&str; 2] = [PORTER, STRANGER];
/// The policy that closes a namespace.
pub const ISOLATION: &str = "redrill-isolation";

/// How long a cluster may take to give a namespace its service account.
const SETTLED: Duration = Duration::from_secs(60);

/// Whose namespaces they are.
#[derive(Debug, Clone)]
pub struct Marks {
    /// Short, and like no other drill's.
    pub drill: String,
    pub run: String,
    pub host: String,
    pub lock: String,
}

/// The namespaces of one cluster of a drill.
pub struct Rooms {
    kubernetes: Kubernetes,
    naming: Naming,
    marks: Marks,
    /// In PEM, for every pod to trust.
    authority: String,
    /// Those that are there, by their names on the cluster, with their uids.
    there: Mutex<BTreeMap<String, String>>,
    /// Whether the page, or its system, has quotas of its own.
    quota: AtomicBool,
}

impl Rooms {
    pub fn new(kubernetes: Kubernetes, naming: Naming, marks: Marks, authority: String) -> Self {
        Self { kubernetes, naming, marks, authority, there: Mutex::default(), quota: AtomicBool::default() }
    }

    pub fn kubernetes(&self) -> &Kubernetes {
        &self.kubernetes
    }

    pub fn naming(&self) -> &Naming {
        &self.naming
    }

    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    pub fn real(&self, documented: &str) -> Result<String, TooLong> {
        self.naming.real(documented)
    }

    fn there(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.there.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this drill made the namespace.
    pub fn owns(&self, real: &str) -> bool {
        self.there().contains_key(real)
    }

    /// Of a namespace that this drill made.
    pub fn uid(&self, real: &str) -> Option<String> {
        self.there().get(real).cloned()
    }

    /// Told of every quota that is made or changed through the gate: what it refuses is the page's doing.
    pub fn quota_of_the_page(&self) {
        self.quota.store(true, Ordering::Relaxed);
    }

    pub fn has_quota_of_the_page(&self) -> bool {
        self.quota.load(Ordering::Relaxed)
    }

    /// Names on the cluster, sorted.
    pub fn all(&self) -> Vec<String> {
        self.there().keys().cloned().collect()
    }

    /// Of those, the page's.
    pub fn of_the_page(&self) -> Vec<String> {
        let reserved = RESERVED.map(|own| self.real(own).unwrap_or_default());
        self.all().into_iter().filter(|name| !reserved.contains(name)).collect()
    }

    /// Makes one for the drill itself.
    pub async fn make(&self, documented: &str) -> Result<String, KubernetesError> {
        let (name, mut namespace) = self.namespace(documented)?;
        self.mark_inside(&mut namespace);
        let created = self.kubernetes.create(&namespace).await?;
        self.settle_in(&created).await?;
        Ok(name)
    }

    /// One that is about to be made, and its name.
    fn namespace(&self, documented: &str) -> Result<(String, Value), KubernetesError> {
        let name = self.real(documented).map_err(|error| KubernetesError::Refused(error.to_string()))?;
        let mut namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.mark(&mut namespace);
        if RESERVED.contains(&documented) {
            namespace["metadata"]["labels"][OWN] = json!("true");
        }
        Ok((name, namespace))
    }

    /// Marks what is about to be created.
    pub fn mark(&self, object: &mut Value) {
        let Marks { drill, run, host, lock } = &self.marks;
        object["metadata"]["labels"][DRILL] = json!(drill);
        for (name, value) in [(RUN, run), (HOST, host), (LOCK, lock)] {
            object["metadata"]["annotations"][name] = json!(value);
        }
    }

    /// Makes one that is the drill's and stands for all that is not: nothing inside may reach what is in it.
    pub async fn make_outside(&self, documented: &str) -> Result<String, KubernetesError> {
        let (name, namespace) = self.namespace(documented)?;
        self.kubernetes.create(&namespace).await?;
        self.kubernetes.get_soon(kubernetes::SERVICE_ACCOUNT, &name, "default", SETTLED).await?;
        Ok(name)
    }

    /// Marks a namespace that is about to be created as one of those that reach one another.
    pub fn mark_inside(&self, namespace: &mut Value) {
        namespace["metadata"]["labels"][INSIDE] = json!(self.marks.drill);
    }

    /// Takes over a namespace that was just created: closes it and lays the drill's authority out, before anything is in it.
    pub async fn settle_in(&self, created: &Value) -> Result<(), KubernetesError> {
        let field = |name: &str| created["metadata"][name].as_str().unwrap_or_default().to_owned();
        let name = field("name");
        self.there().insert(name.clone(), field("uid"));
        match self.kubernetes.create(&self.isolation(&name)).await {
            // What then is open, the probe finds before any data lands.
            Ok(_) | Err(KubernetesError::NotServed { .. }) => {}
            Err(error) => return Err(error),
        }
        self.kubernetes.create(&self.authorities(&name)).await?;
        // Without it no pod is admitted.
        self.kubernetes.get_soon(kubernetes::SERVICE_ACCOUNT, &name, "default", SETTLED).await.map(drop)
    }

    /// Pods reach those of the same drill, and nothing else: no name server of the cluster's, no API, no node, no network beyond.
    fn isolation(&self, namespace: &str) -> Value {
        let peer = json!({"namespaceSelector": {"matchLabels": {INSIDE: self.marks.drill}}});
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": ISOLATION, "namespace": namespace, "labels": {OWN: "true"}},
            "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [peer]}]},
        })
    }

    fn authorities(&self, namespace: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": AUTHORITIES, "namespace": namespace, "labels": {OWN: "true"}},
            "data": {BUNDLE: self.authority},
        })
    }
}
