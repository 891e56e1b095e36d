//! Reconciliation: what the objects of a cluster ask for is made so, as Kubernetes' controllers and its kubelet do.
//!
//! One task turns changes of the store into keys of one work queue, another handles them. Everything is level-triggered: a
//! key says only which object to look at. Nothing polls; timers exist only where Kubernetes has them (back-off, probes, deadlines).
//!
//! Not modelled: placement (affinity, tolerations), resource limits, priorities, quotas.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::kind::{self, KINDS, Kind};
use super::kubelet::{Images, Kubelet, Outside};
use super::store::{Event, EventType, Store, is_deleting, names, owner_references};
use crate::runtime::PodRuntime;
use queue::{Controller, Key, Queue};

pub mod claim;
mod cron_job;
mod deployment;
pub mod event;
mod garbage;
mod job;
mod namespace;
pub mod object;
pub mod queue;
mod replica_set;
pub mod schedule;
mod service;
mod stateful_set;

/// What a reconciler works on.
pub struct Config {
    /// The cluster's name, first part of the names of its pods and volumes in the runtime.
    pub cluster: String,
    pub store: Arc<Store>,
    pub runtime: Arc<dyn PodRuntime>,
    pub images: Arc<dyn Images>,
    /// Names that every pod resolves besides those of its own cluster.
    pub outside: BTreeMap<String, Outside>,
    /// Whether CronJobs start jobs by the clock. Off in a drill, whose outcome must not depend on the time of day.
    pub fire_schedules: bool,
    /// PEM of the API server's CA, for the ConfigMap `kube-root-ca.crt` of each namespace.
    pub root_ca: Option<String>,
    /// Generated names (`web-7c9fx`) depend on this and on the order of their making alone.
    pub seed: u64,
}

/// What all controllers use.
pub(crate) struct Context {
    cluster: String,
    store: Arc<Store>,
    runtime: Arc<dyn PodRuntime>,
    kubelet: Arc<Kubelet>,
    queue: Arc<Queue>,
    fire_schedules: bool,
    root_ca: Option<String>,
    seed: u64,
    /// How many names were generated, by owner.
    generated: Mutex<BTreeMap<String, u64>>,
    tallies: Mutex<BTreeMap<String, job::Tally>>,
}

impl Context {
    /// A name for something that `owner` makes: unused, and the same in every run with the same seed.
    fn generated_name(&self, kind: &Kind, owner: &Value) -> String {
        let (namespace, name) = names(owner);
        let key = format!("{}/{namespace}/{name}", kind.resource());
        let mut generated = self.generated.lock().unwrap_or_else(PoisonError::into_inner);
        let count = generated.entry(key.clone()).or_default();
        loop {
            *count += 1;
            let parts = [self.seed.to_string(), self.cluster.clone(), key.clone(), count.to_string()];
            let letters = object::letters(&parts.each_ref().map(String::as_str), 5);
            let generated = format!("{name}-{letters}");
            if self.store.get(&kind::POD, &namespace, &generated).is_none() {
                return generated;
            }
        }
    }

    fn with_tally<T>(&self, job: &Value, look: impl FnOnce(&mut job::Tally) -> T) -> T {
        let uid = job["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        look(self.tallies.lock().unwrap_or_else(PoisonError::into_inner).entry(uid).or_default())
    }

    fn record(&self, object: &Value, kind: &str, reason: &str, message: &str) {
        event::record(&self.store, "controller-manager", object, kind, reason, message);
    }
}

/// The running controllers and pods of one cluster.
pub struct Reconciler {
    context: Arc<Context>,
    tasks: JoinSet<()>,
    seen: watch::Receiver<u64>,
}

impl Reconciler {
    /// Starts the controllers; what the store already holds is reconciled at once.
    pub fn start(config: Config) -> Self {
        let queue = Arc::new(Queue::default());
        let kubelet = Kubelet::new(&config, queue.clone());
        let context = Arc::new(Context {
            cluster: config.cluster,
            store: config.store,
            runtime: config.runtime,
            kubelet,
            queue,
            fire_schedules: config.fire_schedules,
            root_ca: config.root_ca,
            seed: config.seed,
            generated: Mutex::default(),
            tallies: Mutex::default(),
        });
        let (tell, seen) = watch::channel(0);
        let mut tasks = JoinSet::new();
        tasks.spawn(route(context.clone(), tell));
        tasks.spawn(work(context.clone()));
        for store in foreign_stores(&config.outside, &context.store) {
            tasks.spawn(follow_names(context.clone(), store));
        }
        Self { context, tasks, seen }
    }

    /// Returns once every change up to now has been looked at and nothing more follows from it without time passing
    /// or a container doing something. Container starts under way are not waited for.
    pub async fn settled(&self) {
        let mut seen = self.seen.clone();
        loop {
            let version = self.context.store.resource_version();
            // The sender lives as long as the routing task; after `stop` there is nothing to wait for.
            if seen.wait_for(|seen| *seen >= version).await.is_err() {
                return;
            }
            if self.context.queue.is_idle() && self.context.store.resource_version() == version {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Ends the controllers, then kills all pods and removes the volumes of all claims. Returns in bounded time: as much as the
    /// runtime takes to kill and remove. What could not be removed is in the runtime's inventory.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        self.context.kubelet.stop().await;
        let (_, claims) = self.context.store.list(&kind::CLAIM, None);
        for claim in claims {
            let (namespace, name) = names(&claim);
            let volume = claim::volume_id(&self.context.cluster, &namespace, &name);
            if let Err(error) = self.context.runtime.remove_volume(&volume).await {
                tracing::warn!(%error, volume = %volume.0, "volume not removed");
            }
        }
    }
}

fn foreign_stores(outside: &BTreeMap<String, Outside>, own: &Arc<Store>) -> Vec<Arc<Store>> {
    let mut stores: Vec<Arc<Store>> = Vec::new();
    for target in outside.values() {
        if let Outside::Service { store, .. } = target
            && !stores.iter().chain([own]).any(|known| Arc::ptr_eq(known, store))
        {
            stores.push(store.clone());
        }
    }
    stores
}

/// Handles keys one after the other. Those that wait for the runtime run beside it, never two of one key.
async fn work(context: Arc<Context>) {
    let mut waiting = JoinSet::new();
    loop {
        let key = context.queue.next().await;
        let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
        match key.controller {
            Controller::Deployment => deployment::reconcile(&context, namespace, name),
            Controller::ReplicaSet => replica_set::reconcile(&context, namespace, name),
            Controller::StatefulSet => stateful_set::reconcile(&context, namespace, name),
            Controller::Job => job::reconcile(&context, namespace, name),
            Controller::CronJob => cron_job::reconcile(&context, namespace, name),
            Controller::Namespace => namespace::reconcile(&context, name),
            Controller::Service => service::reconcile(&context, namespace, name),
            Controller::Garbage => garbage::collect(&context),
            Controller::Pod => context.kubelet.sync(namespace, name),
            Controller::Claim | Controller::Hosts => {
                waiting.spawn(wait_for_runtime(context.clone(), key));
                while waiting.try_join_next().is_some() {}
                continue;
            }
        }
        context.queue.done(&key);
        // Sources of time and of other tasks get their turn even when keys never run out.
        tokio::task::yield_now().await;
    }
}

async fn wait_for_runtime(context: Arc<Context>, key: Key) {
    if key.controller == Controller::Claim {
        claim::reconcile(&context, &key.namespace, &key.name).await;
    } else {
        context.kubelet.sync_hosts(&key.namespace, &key.name).await;
    }
    context.queue.done(&key);
}

/// Turns changes into keys. After falling behind it looks at everything again.
async fn route(context: Arc<Context>, seen: watch::Sender<u64>) {
    loop {
        let version = context.store.resource_version();
        look_at_everything(&context);
        let Some((missed, mut events)) = context.store.watch(version) else { continue };
        for event in missed {
            changed(&context, &event);
        }
        seen.send_replace(version);
        loop {
            match events.recv().await {
                Ok(event) => {
                    changed(&context, &event);
                    seen.send_replace(event.resource_version);
                }
                Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => return,
            }
        }
    }
}

fn look_at_everything(context: &Context) {
    for kind in KINDS {
        for object in context.store.list(kind, None).1 {
            let (namespace, name) = names(&object);
            context.queue.add_all(own_key(kind, &namespace, &name));
        }
    }
    for (namespace, name) in context.kubelet.pods() {
        context.queue.add(Key::new(Controller::Pod, &namespace, &name));
    }
    context.queue.add(Key::new(Controller::Garbage, "", ""));
    context.kubelet.wake();
    follow_pods(context);
}

fn own_key(kind: &Kind, namespace: &str, name: &str) -> Option<Key> {
    let controller = match () {
        () if kind == &kind::DEPLOYMENT => Controller::Deployment,
        () if kind == &kind::REPLICA_SET => Controller::ReplicaSet,
        () if kind == &kind::STATEFUL_SET => Controller::StatefulSet,
        () if kind == &kind::JOB => Controller::Job,
        () if kind == &kind::CRON_JOB => Controller::CronJob,
        () if kind == &kind::NAMESPACE => Controller::Namespace,
        () if kind == &kind::CLAIM => Controller::Claim,
        () if kind == &kind::SERVICE => Controller::Service,
        () if kind == &kind::POD => Controller::Pod,
        () => return None,
    };
    Some(Key::new(controller, namespace, name))
}

/// Everything that has to be looked at after one change.
fn changed(context: &Context, event: &Event) {
    let queue = &context.queue;
    let object = &event.object;
    let (namespace, name) = names(object);
    if event.kind == &kind::EVENT && event.event != EventType::Deleted {
        return;
    }
    queue.add_all(own_key(event.kind, &namespace, &name));
    for owner in owner_references(object) {
        let field = |field: &str| owner[field].as_str().unwrap_or_default();
        if let Some(kind) = kind::of_manifest(field("apiVersion"), field("kind")) {
            queue.add_all(own_key(kind, &namespace, field("name")));
        }
    }
    if event.event == EventType::Deleted {
        queue.add(Key::new(Controller::Namespace, "", &namespace));
    }
    let owned = owner_references(object).next().is_some();
    if event.event == EventType::Deleted || is_deleting(object) || event.event == EventType::Added && owned {
        queue.add(Key::new(Controller::Garbage, "", ""));
    }
    if event.kind == &kind::POD {
        pod_changed(context, event, &namespace);
    } else if [&kind::SECRET, &kind::CONFIG_MAP, &kind::CLAIM].contains(&event.kind) {
        context.kubelet.wake();
    } else if [&kind::ENDPOINTS, &kind::SERVICE].contains(&event.kind) {
        follow_pods(context);
    }
}

fn pod_changed(context: &Context, event: &Event, namespace: &str) {
    // All of them: which one selected the pod before a change of its labels is not known any more.
    for service in context.store.list(&kind::SERVICE, Some(namespace)).1 {
        context.queue.add(Key::new(Controller::Service, namespace, &names(&service).1));
    }
    if event.event == EventType::Deleted || object::is_finished(&event.object) {
        for claim in claim::claims_of(&event.object) {
            context.queue.add(Key::new(Controller::Claim, namespace, claim));
        }
        // Recreate waits for the last pod to be gone, and the status of its set, which counts none that is going, says nothing of it.
        context.queue.add_all(deployment::of_pod(&context.store, &event.object));
    }
    if event.event == EventType::Added && object::controller_of(&event.object).is_none() {
        for set in context.store.list(&kind::REPLICA_SET, Some(namespace)).1 {
            if object::selects(&set["spec"]["selector"], &event.object["metadata"]["labels"]) {
                context.queue.add(Key::new(Controller::ReplicaSet, namespace, &names(&set).1));
            }
        }
    }
}

/// Has the names of all running pods looked at.
fn follow_pods(context: &Context) {
    for (namespace, name) in context.kubelet.pods() {
        context.queue.add(Key::new(Controller::Hosts, &namespace, &name));
    }
}

/// Follows another cluster for the names that pods of this one have from it.
async fn follow_names(context: Arc<Context>, store: Arc<Store>) {
    loop {
        let Some((_, mut events)) = store.watch(store.resource_version()) else { continue };
        follow_pods(&context);
        loop {
            match events.recv().await {
                Ok(event) if event.kind == &kind::ENDPOINTS => follow_pods(&context),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => return,
            }
        }
    }
}
