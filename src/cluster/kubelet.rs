//! The kubelet's part: each pod is driven by one task from its creation to its removal.
//!
//! A name of a Service resolves in each pod to the addresses of its ready endpoints, kept up to date in the pod's hosts file.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::kind::POD;
use super::reconcile::queue::{Controller, Key, Queue};
use super::reconcile::{Config, event};
use super::store::{Store, is_deleting, names};
use crate::runtime::{ContainerId, Image, PodId, PodRuntime};
use pod::PodWorker;

mod config;
mod container;
mod environment;
mod hosts;
mod pod;
mod probes;
mod restart;
mod state;
mod volumes;

/// The only node, on which every pod runs.
pub const NODE: &str = "redrill";

/// How long the tasks of killed pods may take beyond their grace before they are given up at the end of a cluster.
const KILL: Duration = Duration::from_secs(10);

/// Finds images by the reference that a container names.
pub trait Images: Send + Sync {
    /// The image, or why there is none (shown as `ErrImagePull`).
    fn resolve(&self, reference: &str) -> Result<Image, String>;
}

/// What a name from outside the cluster stands for.
#[derive(Clone)]
pub enum Outside {
    /// The ready endpoints of a Service of this or another cluster of the drill.
    Service {
        store: Arc<Store>,
        namespace: String,
        service: String,
    },
    Address(IpAddr),
}

/// The runtime's name of a pod object.
pub fn pod_id(cluster: &str, pod: &Value) -> PodId {
    let (namespace, name) = names(pod);
    PodId(format!("{cluster}/{namespace}/{name}/{}", pod["metadata"]["uid"].as_str().unwrap_or_default()))
}

/// The runtime's name of a container of a pod object.
pub fn container_id(cluster: &str, pod: &Value, container: &str) -> ContainerId {
    ContainerId { pod: pod_id(cluster, pod), container: container.to_owned() }
}

/// Namespace and name.
type PodName = (String, String);

/// All pods of one cluster.
pub struct Kubelet {
    cluster: String,
    store: Arc<Store>,
    runtime: Arc<dyn PodRuntime>,
    images: Arc<dyn Images>,
    outside: BTreeMap<String, Outside>,
    queue: Arc<Queue>,
    workers: Mutex<BTreeMap<PodName, Arc<PodWorker>>>,
    tasks: Mutex<JoinSet<()>>,
    /// Ticks when a Secret, a ConfigMap or a claim changes: pods that wait for one look again.
    changes: watch::Sender<u64>,
}

impl Kubelet {
    pub(super) fn new(config: &Config, queue: Arc<Queue>) -> Arc<Self> {
        Arc::new(Self {
            cluster: config.cluster.clone(),
            store: config.store.clone(),
            runtime: config.runtime.clone(),
            images: config.images.clone(),
            outside: config.outside.clone(),
            queue,
            workers: Mutex::default(),
            tasks: Mutex::default(),
            changes: watch::channel(0).0,
        })
    }

    fn workers(&self) -> MutexGuard<'_, BTreeMap<PodName, Arc<PodWorker>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names of the pods that have a task.
    pub(super) fn pods(&self) -> Vec<PodName> {
        self.workers().keys().cloned().collect()
    }

    /// Whether this very pod still has a task, and with it perhaps mounts.
    pub(super) fn knows(&self, pod: &Value) -> bool {
        self.workers().get(&names(pod)).is_some_and(|worker| worker.is_for(pod))
    }

    pub(super) fn wake(&self) {
        self.changes.send_modify(|tick| *tick += 1);
    }

    /// Brings the task of a pod in line with its object: starts one, tells one to stop.
    pub(super) fn sync(self: &Arc<Self>, namespace: &str, name: &str) {
        let pod = self.store.get(&POD, namespace, name);
        let key = (namespace.to_owned(), name.to_owned());
        let mut workers = self.workers();
        match (pod, workers.get(&key)) {
            (None, None) => {}
            // Removed, or removed and made anew, behind the task's back: the end of the task brings the key again.
            (None, Some(worker)) => worker.stop(Duration::ZERO),
            (Some(pod), Some(worker)) if !worker.is_for(&pod) => worker.stop(Duration::ZERO),
            (Some(pod), Some(worker)) if is_deleting(&pod) => worker.stop(grace(&pod)),
            (Some(_), Some(_)) => {}
            (Some(pod), None) if is_deleting(&pod) => self.store.remove(&POD, namespace, names(&pod).1.as_str()),
            (Some(pod), None) => {
                let worker = Arc::new(PodWorker::new(self.clone(), pod));
                workers.insert(key, worker.clone());
                let mut tasks = self.tasks();
                while tasks.try_join_next().is_some() {}
                tasks.spawn(worker.run());
            }
        }
    }

    /// Called by a task when nothing of its pod is left in the runtime.
    fn ended(&self, worker: &PodWorker) {
        let key = worker.name();
        self.workers().remove(&key);
        if let Some(pod) = self.store.get(&POD, &key.0, &key.1).filter(|pod| worker.is_for(pod) && is_deleting(pod)) {
            let (namespace, name) = names(&pod);
            self.store.remove(&POD, &namespace, &name);
        }
        self.queue.add(Key::new(Controller::Pod, &key.0, &key.1));
    }

    /// Tells a running pod the present addresses of names.
    pub(super) async fn sync_hosts(&self, namespace: &str, name: &str) {
        let worker = self.workers().get(&(namespace.to_owned(), name.to_owned())).cloned();
        if let Some(worker) = worker {
            worker.refresh_hosts().await;
        }
    }

    /// Kills all pods and returns when their tasks have ended, at the latest some seconds later.
    pub(super) async fn stop(&self) {
        for worker in self.workers().values() {
            worker.stop(Duration::ZERO);
        }
        let mut tasks = std::mem::take(&mut *self.tasks());
        let all = async { while tasks.join_next().await.is_some() {} };
        if timeout(KILL, all).await.is_err() {
            tracing::warn!(cluster = %self.cluster, "pods did not end in time");
            tasks.shutdown().await;
        }
        let left: Vec<_> = self.workers().values().cloned().collect();
        for worker in left {
            worker.remove().await;
        }
    }

    fn record(&self, pod: &Value, kind: &str, reason: &str, message: &str) {
        event::record(&self.store, "kubelet", pod, kind, reason, message);
    }
}

/// The grace of a deletion under way.
fn grace(pod: &Value) -> Duration {
    let seconds = pod["metadata"]["deletionGracePeriodSeconds"].as_u64();
    Duration::from_secs(seconds.unwrap_or(30))
}
