//! A cluster that is served and reconciled on a runtime in memory, and helm beside it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use redrill::cluster::kind::{self, Kind};
use redrill::cluster::kubelet::Images;
use redrill::cluster::reconcile::{Config, Reconciler};
use redrill::cluster::serve::{Containers, Server, ServerConfig};
use redrill::cluster::store::{DeleteOptions, Propagation, Store};
use redrill::doctor::go_module;
use redrill::drill::station;
use redrill::runtime::Image;
use serde_json::{Value, json};

use crate::fake::FakeRuntime;

pub struct Place {
    pub store: Arc<Store>,
    pub runtime: Arc<FakeRuntime>,
    _server: Server,
    _reconciler: Reconciler,
    helm: PathBuf,
    home: tempfile::TempDir,
}

fn tool(program: &go_module::GoProgram) -> PathBuf {
    let found = go_module::find(program);
    found.unwrap_or_else(|| panic!("{} (`redrill doctor --install --tests` gets it)", program.name)).path
}

struct AnyImage;

impl Images for AnyImage {
    fn resolve(&self, reference: &str) -> Result<Image, String> {
        if reference.starts_with("absent") {
            return Err(format!("{reference} is not among the images"));
        }
        Ok(Image { reference: reference.to_owned(), entrypoint: vec!["serve".to_owned()], ..Image::default() })
    }
}

impl Place {
    pub fn start() -> Self {
        let (store, runtime) = (Arc::new(Store::default()), Arc::new(FakeRuntime::default()));
        store.create(&kind::NAMESPACE, json!({"metadata": {"name": "default"}})).unwrap();
        runtime.ends("migrate", &[0]);
        runtime.ends("break", &[1]);
        let server = Server::start(ServerConfig {
            store: store.clone(),
            containers: Containers { cluster: "drill".to_owned(), runtime: runtime.clone() },
            listeners: vec![std::net::TcpListener::bind("127.0.0.1:0").unwrap()],
            names: Vec::new(),
            addresses: Vec::new(),
        })
        .unwrap();
        let reconciler = Reconciler::start(Config {
            cluster: "drill".to_owned(),
            store: store.clone(),
            runtime: runtime.clone(),
            images: Arc::new(AnyImage),
            outside: BTreeMap::new(),
            fire_schedules: false,
            root_ca: None,
            seed: 1,
        });
        let home = tempfile::tempdir().unwrap();
        let kubeconfig = server.kubeconfig(server.loopback().unwrap(), "drill", "default").unwrap();
        std::fs::write(home.path().join("config"), kubeconfig).unwrap();
        let helm = tool(&go_module::HELM);
        Self { store, runtime, _server: server, _reconciler: reconciler, helm, home }
    }

    /// Gives helm its plugin `diff`.
    pub fn with_diff(self) -> Self {
        let folder = self.home.path().join("plugins/diff");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("plugin.yaml"), station::helm_diff()).unwrap();
        std::os::unix::fs::symlink(tool(&go_module::HELM_DIFF), self.home.path().join("helm-diff")).unwrap();
        self
    }

    /// Runs helm off the runtime's threads, which serve meanwhile.
    pub async fn run(&self, line: &str) -> Output {
        let mut command = Command::new(&self.helm);
        command.args(shell_words::split(line).unwrap()).env_clear().stdin(Stdio::null());
        command.env("HOME", self.home.path()).env("KUBECONFIG", self.home.path().join("config"));
        command.env("HELM_PLUGINS", self.home.path().join("plugins")).env("PATH", self.home.path());
        command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testdata/charts"));
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// What helm prints; it must succeed.
    pub async fn ok(&self, line: &str) -> String {
        let output = self.run(line).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "helm {line}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// What helm says on stderr; it must fail.
    pub async fn fails(&self, line: &str) -> String {
        let output = self.run(line).await;
        assert!(!output.status.success(), "helm {line} succeeded: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// What helm prints as JSON.
    pub async fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.ok(&format!("{line} -o json")).await).unwrap()
    }

    pub fn get(&self, kind: &'static Kind, name: &str) -> Option<Arc<Value>> {
        self.store.get(kind, "shop", name)
    }

    pub fn names(&self, kind: &'static Kind) -> Vec<String> {
        let (_, objects) = self.store.list(kind, Some("shop"));
        objects.iter().map(|object| object["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// A value of a Secret, as it lies there.
    pub fn secret(&self, name: &str, key: &str) -> String {
        self.get(&kind::SECRET, name).unwrap()["data"][key].as_str().unwrap().to_owned()
    }

    /// Takes a namespace with all that is in it.
    pub async fn lose(&self, namespace: &str) {
        let options = DeleteOptions { propagation: Propagation::Background, grace: None };
        self.store.delete(&kind::NAMESPACE, "", namespace, options).unwrap();
        self.until("the namespace gone", |place| place.store.get(&kind::NAMESPACE, "", namespace).is_none()).await;
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
                    let _ = events.recv().await;
                }
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(60), wait).await.is_ok(), "{what} did not come to pass");
    }

    /// Revision and status, oldest first.
    pub async fn history(&self) -> Vec<(i64, String)> {
        let history = self.json("history shop -n shop").await;
        let entry = |entry: &Value| (entry["revision"].as_i64().unwrap(), entry["status"].as_str().unwrap().to_owned());
        history.as_array().unwrap().iter().map(entry).collect()
    }
}
