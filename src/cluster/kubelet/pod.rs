//! One pod, from its creation to its removal.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use super::container::{self, End};
use super::hosts::{self, Table};
use super::restart::{Backoff, RestartPolicy};
use super::state::{ContainerState, PodState, Run};
use super::volumes::{Volumes, empty_dirs};
use super::{Kubelet, NODE, PodName, pod_id};
use crate::cluster::kind::POD;
use crate::cluster::reconcile::object::set_condition;
use crate::cluster::store::{names, now};
use crate::runtime::{ContainerId, HostEntry, PodId, PodSandbox};

/// The task of one pod, and what others ask it.
pub struct PodWorker {
    pub(super) kubelet: Arc<Kubelet>,
    /// As it was when the task began; its spec does not change.
    pod: Arc<Value>,
    pub(super) spec: PodSpec,
    pub(super) id: PodId,
    policy: RestartPolicy,
    state: Mutex<PodState>,
    /// Grace, once the pod is to stop.
    stop: watch::Sender<Option<Duration>>,
    /// What the runtime was told last; held while it is told.
    hosts: tokio::sync::Mutex<Option<Vec<HostEntry>>>,
}

impl PodWorker {
    pub(super) fn new(kubelet: Arc<Kubelet>, pod: Arc<Value>) -> Self {
        let parsed = serde_json::from_value::<PodSpec>(pod["spec"].clone());
        let (spec, refused) = match parsed {
            Ok(spec) => (spec, None),
            Err(error) => (PodSpec::default(), Some(error.to_string())),
        };
        let mut state = PodState::new(&spec);
        state.refused = refused;
        Self {
            id: pod_id(&kubelet.cluster, &pod),
            policy: RestartPolicy::of(spec.restart_policy.as_deref()),
            state: Mutex::new(state),
            stop: watch::channel(None).0,
            hosts: tokio::sync::Mutex::default(),
            kubelet,
            pod,
            spec,
        }
    }

    pub(super) fn name(&self) -> PodName {
        names(&self.pod)
    }

    pub(super) fn is_for(&self, pod: &Value) -> bool {
        self.pod["metadata"]["uid"] == pod["metadata"]["uid"]
    }

    /// The object as it is now.
    pub(super) fn current(&self) -> Arc<Value> {
        let (namespace, name) = self.name();
        let current = self.kubelet.store.get(&POD, &namespace, &name);
        current.filter(|pod| self.is_for(pod)).unwrap_or_else(|| self.pod.clone())
    }

    pub(super) fn container_id(&self, container: &str) -> ContainerId {
        ContainerId { pod: self.id.clone(), container: container.to_owned() }
    }

    pub(super) fn address(&self) -> Option<IpAddr> {
        self.with_state(|state| state.address)
    }

    /// Has the pod end within this grace. A further call can only shorten it.
    pub(super) fn stop(&self, grace: Duration) {
        self.stop.send_if_modified(|stop| {
            let shorter = stop.is_none_or(|present| grace < present);
            if shorter {
                *stop = Some(grace);
            }
            shorter
        });
    }

    pub(super) fn stops(&self) -> watch::Receiver<Option<Duration>> {
        self.stop.subscribe()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.borrow().is_some()
    }

    /// Completes once the pod is to stop.
    pub(super) async fn stopping(&self) {
        // The sender is this worker's own, so that it cannot be gone.
        let _ = self.stop.subscribe().wait_for(Option::is_some).await;
    }

    /// The grace asked for, or the pod's own.
    pub(super) fn grace(&self) -> Duration {
        let own = self.spec.termination_grace_period_seconds.and_then(|grace| u64::try_from(grace).ok()).unwrap_or(30);
        (*self.stop.borrow()).unwrap_or(Duration::from_secs(own))
    }

    pub(super) fn record(&self, kind: &str, reason: &str, message: &str) {
        self.kubelet.record(&self.pod, kind, reason, message);
    }

    fn with_state<T>(&self, look: impl FnOnce(&mut PodState) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what is known of one container and writes the status.
    pub(super) fn update(&self, container: &str, change: impl FnOnce(&mut ContainerState)) {
        self.with_state(|state| state.container(container).map(change));
        self.publish();
    }

    pub(super) fn wait_with(&self, container: &Container, reason: &'static str, message: &str) {
        let message = message.to_owned();
        self.update(&container.name, |state| state.run = Run::Waiting { reason, message });
    }

    fn publish(&self) {
        let (namespace, name) = self.name();
        // One writer at a time, or an older status could overtake a newer one.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.kubelet.store.modify(&POD, &namespace, &name, |pod| {
            if self.is_for(pod) {
                pod["status"] = state.status(&self.id.0, self.policy, &pod["status"]);
            }
        });
        if let Err(error) = written {
            tracing::debug!(%error, pod = %self.id.0, "status not written");
        }
    }

    /// The whole life of the pod. Returns when nothing of it is left.
    pub(super) async fn run(self: Arc<Self>) {
        if self.is_refused() {
            self.publish();
        } else if self.prepare().await && self.initialize().await {
            let containers = self.spec.containers.iter();
            join_all(containers.map(|container| container::run(&self, container, self.policy))).await;
            self.publish();
        }
        self.stopping().await;
        self.with_state(|state| state.ending = true);
        self.publish();
        self.remove().await;
        self.kubelet.ended(&self);
    }

    fn is_refused(&self) -> bool {
        let refused = self.with_state(|state| state.refused.clone());
        if let Some(message) = &refused {
            self.record("Warning", "Failed", &format!("Error: {message}"));
        }
        refused.is_some()
    }

    /// Everything up to the first container. `false` when the pod is stopped meanwhile.
    async fn prepare(&self) -> bool {
        if !self.wait_until(|volumes| volumes.unbound_claim(), |message| self.cannot_schedule(message)).await {
            return false;
        }
        self.schedule();
        let failed_mount = |message: &str| self.record("Warning", "FailedMount", message);
        if !self.wait_until(|volumes| volumes.missing(), failed_mount).await {
            return false;
        }
        self.make_sandbox().await
    }

    /// Waits until nothing is missing any more, saying each time what is. `false` when the pod is stopped meanwhile.
    async fn wait_until(&self, missing: impl Fn(&Volumes<'_>) -> Option<String>, tell: impl Fn(&str)) -> bool {
        let mut changes = self.kubelet.changes.subscribe();
        loop {
            if self.is_stopping() {
                return false;
            }
            changes.borrow_and_update();
            let (store, cluster, pod) = (&*self.kubelet.store, self.kubelet.cluster.as_str(), self.current());
            let volumes = Volumes { store, cluster, pod: &pod, id: &self.id, spec: &self.spec };
            match missing(&volumes) {
                None => return true,
                Some(message) => tell(&message),
            }
            tokio::select! {
                Ok(()) = changes.changed() => {}
                () = self.stopping() => return false,
            }
        }
    }

    fn cannot_schedule(&self, message: &str) {
        let (namespace, name) = self.name();
        let message = format!("0/1 nodes are available: {message}.");
        self.record("Warning", "FailedScheduling", &message);
        // A pod that is gone needs no condition.
        let _ = self.kubelet.store.modify(&POD, &namespace, &name, |pod| {
            pod["status"]["phase"] = json!("Pending");
            set_condition(&mut pod["status"], "PodScheduled", false, "Unschedulable", &message);
        });
    }

    fn schedule(&self) {
        let (namespace, name) = self.name();
        // Gone meanwhile: the task is told to stop.
        let _ = self.kubelet.store.modify(&POD, &namespace, &name, |pod| {
            if self.is_for(pod) {
                pod["spec"]["nodeName"] = json!(NODE);
            }
        });
        self.record("Normal", "Scheduled", &format!("Successfully assigned {namespace}/{name} to {NODE}"));
        self.with_state(|state| {
            state.scheduled = true;
            state.start_time = Some(now());
        });
        self.publish();
    }

    /// Makes volumes and network, again after a pause when the runtime fails. `false` when the pod is stopped meanwhile.
    async fn make_sandbox(&self) -> bool {
        let mut backoff = Backoff::default();
        backoff.after(tokio::time::Instant::now());
        loop {
            if self.is_stopping() {
                return false;
            }
            match self.try_sandbox().await {
                Ok(()) => return true,
                Err(error) => {
                    self.record("Warning", "FailedCreatePodSandBox", &format!("Failed to create pod sandbox: {error}"));
                }
            }
            tokio::select! {
                () = sleep(backoff.after(tokio::time::Instant::now())) => {}
                () = self.stopping() => return false,
            }
        }
    }

    async fn try_sandbox(&self) -> Result<(), crate::runtime::RuntimeError> {
        for volume in empty_dirs(&self.id, &self.spec) {
            self.kubelet.runtime.create_volume(&volume).await?;
        }
        let sandbox = PodSandbox {
            id: self.id.clone(),
            hostname: self.hostname(),
            hosts: self.table(None),
            resolver: hosts::resolver(&self.spec),
        };
        let address = self.kubelet.runtime.create_pod(&sandbox).await?;
        self.with_state(|state| state.address = Some(address));
        self.publish();
        self.refresh_hosts().await;
        Ok(())
    }

    fn hostname(&self) -> String {
        // Host names end at 63 letters, pod names do not.
        let name = self.spec.hostname.clone().unwrap_or_else(|| self.name().1);
        name.chars().take(63).collect::<String>().trim_end_matches(['-', '.']).to_owned()
    }

    fn table(&self, own: Option<IpAddr>) -> Vec<HostEntry> {
        // Who has name servers of his own asks them.
        let mut table = match hosts::resolver(&self.spec) {
            None => Table::of(&self.kubelet.store, &self.kubelet.outside, &self.name().0),
            Some(_) => Table::default(),
        };
        for alias in self.spec.host_aliases.iter().flatten() {
            if let Ok(address) = alias.ip.parse() {
                alias.hostnames.iter().flatten().for_each(|name| table.add(address, name.clone()));
            }
        }
        if let Some(address) = own {
            table.add(address, self.hostname());
        }
        table.entries()
    }

    /// Tells the runtime the present addresses of names, if they are others than before.
    pub(super) async fn refresh_hosts(&self) {
        let mut told = self.hosts.lock().await;
        let Some(address) = self.address() else { return };
        let entries = self.table(Some(address));
        if told.as_ref() == Some(&entries) {
            return;
        }
        match self.kubelet.runtime.set_hosts(&self.id, &entries).await {
            Ok(()) => *told = Some(entries),
            Err(error) => tracing::warn!(%error, pod = %self.id.0, "names not updated"),
        }
    }

    /// Runs the init containers, each to its end. `false` when one failed for good or the pod is stopped.
    async fn initialize(&self) -> bool {
        for container in self.spec.init_containers.iter().flatten() {
            if container::run(self, container, self.policy.for_init()).await != End::Succeeded {
                self.publish();
                return false;
            }
        }
        true
    }

    /// Takes the pod out of the runtime.
    pub(super) async fn remove(&self) {
        let hosts = self.hosts.lock().await;
        self.with_state(|state| state.address = None);
        drop(hosts);
        let runtime = &self.kubelet.runtime;
        if let Err(error) = runtime.remove_pod(&self.id).await {
            tracing::warn!(%error, pod = %self.id.0, "pod not removed");
        }
        for volume in empty_dirs(&self.id, &self.spec) {
            if let Err(error) = runtime.remove_volume(&volume).await {
                tracing::warn!(%error, volume = %volume.0, "volume not removed");
            }
        }
    }
}
