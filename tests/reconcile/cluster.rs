//! A cluster with a fake runtime, and waiting for what tests expect of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use redrill::cluster::kind::{self, Kind, NAMESPACE, POD};
use redrill::cluster::kubelet::{Images, Outside};
use redrill::cluster::reconcile::{Config, Reconciler};
use redrill::cluster::store::{DeleteOptions, Propagation, Store};
use redrill::runtime::Image;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::fake::FakeRuntime;

struct AnyImage;

impl Images for AnyImage {
    fn resolve(&self, reference: &str) -> Result<Image, String> {
        if reference.starts_with("absent") {
            return Err(format!("{reference} is not among the images"));
        }
        Ok(Image { reference: reference.to_owned(), entrypoint: vec!["serve".to_owned()], ..Image::default() })
    }
}

pub struct Cluster {
    pub store: Arc<Store>,
    pub runtime: Arc<FakeRuntime>,
    pub reconciler: Reconciler,
    /// How long to wait for a condition. On a paused clock it costs nothing.
    pub limit: Duration,
}

impl Cluster {
    pub fn start() -> Self {
        Self::with(BTreeMap::new())
    }

    pub fn with(outside: BTreeMap<String, Outside>) -> Self {
        let store = Arc::new(Store::default());
        let runtime = Arc::new(FakeRuntime::default());
        let reconciler = Reconciler::start(Config {
            cluster: "main".to_owned(),
            store: store.clone(),
            runtime: runtime.clone(),
            images: Arc::new(AnyImage),
            outside,
            fire_schedules: false,
            root_ca: None,
            seed: 1,
        });
        store.create(&NAMESPACE, json!({"metadata": {"name": "shop"}})).unwrap();
        Self { store, runtime, reconciler, limit: Duration::from_secs(3600) }
    }

    pub fn create(&self, kind: &'static Kind, name: &str, mut object: Value) {
        object["metadata"]["name"] = json!(name);
        object["metadata"]["namespace"] = json!("shop");
        self.store.create(kind, object).unwrap();
    }

    pub fn get(&self, kind: &'static Kind, name: &str) -> Option<Arc<Value>> {
        self.store.get(kind, "shop", name)
    }

    pub fn change(&self, kind: &'static Kind, name: &str, change: impl Fn(&mut Value)) {
        self.store.modify(kind, "shop", name, change).unwrap();
    }

    pub fn delete(&self, kind: &'static Kind, name: &str) {
        self.delete_with(kind, name, Propagation::Background);
    }

    pub fn delete_with(&self, kind: &'static Kind, name: &str, propagation: Propagation) {
        self.store.delete(kind, "shop", name, DeleteOptions { propagation, grace: None }).unwrap();
    }

    pub fn pods(&self) -> Vec<Arc<Value>> {
        self.store.list(&POD, Some("shop")).1
    }

    pub fn pod_names(&self) -> Vec<String> {
        self.pods().iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Messages of the events with this reason.
    pub fn events(&self, reason: &str) -> Vec<String> {
        let (_, events) = self.store.list(&kind::EVENT, Some("shop"));
        let events = events.iter().filter(|event| event["reason"] == reason);
        events.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits for a condition; each change of the store is a reason to look again.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let wait = async {
            loop {
                let version = self.store.resource_version();
                if holds(self) {
                    return;
                }
                let Some((missed, mut events)) = self.store.watch(version) else { continue };
                if missed.is_empty() {
                    // Names reach pods without a change of the store.
                    let _ = timeout(Duration::from_millis(20), events.recv()).await;
                }
            }
        };
        let limit = self.limit;
        if timeout(limit, wait).await.is_err() {
            let pods: Vec<_> = self.pods().iter().map(|pod| pod["status"].to_string()).collect();
            panic!("{what} did not come to pass; pods: {pods:#?}; calls: {:#?}", self.runtime.calls());
        }
    }

    pub async fn until_ready(&self, count: usize) {
        let ready = |pod: &Value| redrill::cluster::reconcile::object::is_ready(pod);
        self.until(&format!("{count} ready pods"), |cluster| {
            cluster.pods().len() == count && cluster.pods().iter().all(|pod| ready(pod))
        })
        .await;
    }
}

/// A pod spec with one container that runs this program.
pub fn spec(program: &str) -> Value {
    json!({"containers": [{"name": "c", "image": "app:1", "command": [program]}]})
}

pub fn template(spec: Value) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": spec})
}

pub fn deployment(replicas: u32, spec: Value) -> Value {
    json!({"spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template(spec),
    }})
}
