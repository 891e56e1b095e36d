//! The cluster that exists: served by redrill, with images of its own and with somebody else's namespaces on it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use redrill::assignment;
use redrill::cluster::store::{EventType, Store};
use redrill::cluster::{Cluster, ClusterConfig, kind};
use redrill::doctor::go_module::GCS_SERVER;
use redrill::doctor::{self, Tools};
use redrill::environment::local::{LocalConfig, with_own_images};
use redrill::plan::AsWritten;
use redrill::runtime::process::ProcessRuntime;
use redrill::runtime::{Image, PodRuntime as _};
use redrill::sandbox::SandboxConfig;
use redrill::scenario::EnvironmentName;
use serde_json::{Value, json};

use crate::playground::Playground;

/// The context that leads to it.
pub const CONTEXT: &str = "existing";
/// Longer than anything here takes on a busy machine; reached only by a defect.
const DEADLINE: Duration = Duration::from_secs(240);

pub struct Existing {
    pub store: Arc<Store>,
    pub cluster: Cluster,
    runtime: Arc<ProcessRuntime>,
    home: tempfile::TempDir,
}

/// Everything that is on a cluster: its objects as they are, and what its node has.
#[derive(Debug, PartialEq)]
pub struct Inventory {
    objects: Vec<Value>,
    node: Vec<String>,
}

/// What a copy of the scenarios needs, as the local environment has it.
async fn images(playground: &Playground) -> BTreeMap<String, Image> {
    let scenarios = playground.path().join("scenarios");
    let names = [playground.system().to_owned()];
    let prepared = assignment::prepare(&scenarios, &names, &[], AsWritten::No, &BTreeMap::new());
    let prepared = prepared.unwrap_or_else(|problems| panic!("{problems}"));
    let findings = doctor::examine(&prepared.requirements(EnvironmentName::Local), || Ok(())).await.unwrap();
    let tools = Tools::of(&findings);
    let scenario = &prepared.scenarios[0];
    let images = scenario.checked.images.iter();
    let images = images.map(|(reference, image)| (reference.clone(), scenario.image(reference, image, &tools)));
    with_own_images(&LocalConfig {
        name: "existing".to_owned(),
        program: PathBuf::from(env!("CARGO_BIN_EXE_redrill")),
        images: images.collect(),
        outside: BTreeMap::new(),
        clusters: Vec::new(),
        services: BTreeMap::new(),
        kubectl: Some(kubectl().await),
        programs: BTreeMap::new(),
        gcs_server: tools.get(GCS_SERVER.name).map(|tool| tool.path.clone()),
        awscli: None,
        namespace: "default".to_owned(),
        seed: 1,
    })
}

/// The one that drills run.
pub async fn kubectl() -> PathBuf {
    doctor::kubectl().await.expect("kubectl (`redrill doctor --install --tests` gets it)").path
}

impl Existing {
    pub async fn start(playground: &Playground) -> Self {
        let home = tempfile::Builder::new().prefix("redrill-existing-").tempdir_in("/var/tmp").unwrap();
        let mut sandbox = SandboxConfig::new(home.path().join("node"), "existing").unwrap();
        std::fs::create_dir(home.path().join("node")).unwrap();
        sandbox.program = PathBuf::from(env!("CARGO_BIN_EXE_redrill"));
        let runtime = Arc::new(ProcessRuntime::start(sandbox).await.unwrap());
        let (store, listener) = (Arc::new(Store::default()), TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap();
        let cluster = Cluster::start(ClusterConfig {
            name: CONTEXT.to_owned(),
            store: store.clone(),
            runtime: runtime.clone(),
            images: images(playground).await,
            outside: BTreeMap::new(),
            listeners: vec![listener],
            addresses: Vec::new(),
            seed: 1,
        })
        .unwrap();
        let kubeconfig = cluster.kubeconfig(address, CONTEXT, "default").unwrap();
        write_private(&home.path().join("config"), kubeconfig.expose());
        let existing = Self { store, cluster, runtime, home };
        existing.put_up_bystanders().await;
        existing
    }

    /// Readable by its owner alone.
    pub fn kubeconfig(&self) -> PathBuf {
        self.home.path().join("config")
    }

    /// redrill in a copy of the scenarios, whose state and reports lie there, too.
    pub fn redrill(&self, playground: &Playground, arguments: &[&str]) -> Command {
        let place = playground.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_redrill"));
        command.current_dir(place).env("REDRILL_STATE_DIR", place.join("state")).env("KUBECONFIG", self.kubeconfig());
        command.arg("--scenarios").arg(place.join("scenarios")).arg("--reports").arg(place.join("reports"));
        command.args(arguments);
        command
    }

    /// Somebody else's namespaces: one has the name of the page's, and in it are objects with names of the page's.
    async fn put_up_bystanders(&self) {
        for namespace in ["default", "taiga", "bystander"] {
            if self.store.get(&kind::NAMESPACE, "", namespace).is_none() {
                let namespace = json!({"metadata": {"name": namespace}, "status": {"phase": "Active"}});
                self.store.create(&kind::NAMESPACE, namespace).unwrap();
            }
            let name = |name: &str| json!({"name": name, "namespace": namespace});
            let secret = json!({"metadata": name("postgres-secret"), "data": {"postgres-password": "YW5vdGhlcg=="}});
            self.store.create(&kind::SECRET, secret).unwrap();
            let config = json!({"metadata": name("backup-config"), "data": {"restic-repository": "somebody else's"}});
            self.store.create(&kind::CONFIG_MAP, config).unwrap();
        }
        let settled = |store: &Store| {
            let accounts = store.list(&kind::SERVICE_ACCOUNT, None).1;
            accounts.len() == store.list(&kind::NAMESPACE, None).1.len()
        };
        self.until("a service account in every namespace", settled).await;
    }

    pub async fn inventory(&self) -> Inventory {
        let kinds = kind::KINDS.iter();
        let objects = kinds.flat_map(|kind| self.store.list(kind, None).1).map(|object| (*object).clone()).collect();
        Inventory { objects, node: self.runtime.inventory().await.unwrap() }
    }

    /// Waits for a condition; each change of the store is a reason to look again.
    pub async fn until(&self, what: &str, holds: impl Fn(&Store) -> bool) {
        let wait = async {
            loop {
                let version = self.store.resource_version();
                if holds(&self.store) {
                    return;
                }
                let Some((missed, mut events)) = self.store.watch(version) else { continue };
                if missed.is_empty() {
                    let _ = events.recv().await;
                }
            }
        };
        assert!(tokio::time::timeout(DEADLINE, wait).await.is_ok(), "{what} did not come to pass");
    }

    /// Namespaces in which anything was made since then, by the end of their names.
    pub fn made_in_since(&self, version: u64) -> BTreeSet<String> {
        let (events, _) = self.store.watch(version).expect("the store remembers a whole drill");
        let made = events.iter().filter(|event| event.event == EventType::Added);
        let namespace = |object: &Value| object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        // `rd-`, ten letters and a dash.
        made.map(|event| namespace(&event.object)).map(|name| name.chars().skip(14).collect()).collect()
    }

    /// Nothing is other than it was.
    #[track_caller]
    pub fn assert_untouched(before: &Inventory, after: &Inventory) {
        let gone: Vec<&Value> = before.objects.iter().filter(|object| !after.objects.contains(object)).collect();
        let new: Vec<&Value> = after.objects.iter().filter(|object| !before.objects.contains(object)).collect();
        assert!(gone.is_empty() && new.is_empty(), "gone or changed: {gone:#?}\nnew or changed: {new:#?}");
        assert_eq!(before.node, after.node);
    }

    pub async fn stop(self) {
        self.cluster.stop().await;
        assert_eq!(self.runtime.shutdown().await, [""; 0]);
    }
}

pub fn write_private(path: &Path, text: &str) {
    use std::io::Write as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
