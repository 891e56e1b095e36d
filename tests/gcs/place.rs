//! A local environment with a store for Google Cloud Storage, and the short words for using it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redrill::doctor::go_module::GCS_SERVER;
use redrill::doctor::{self, Requirements};
use redrill::drill::{stage, station};
use redrill::environment::local::{Local, LocalConfig};
use redrill::kubernetes::{ExecRequest, Terminal};
use redrill::outcome::ProgramLabel;
use redrill::system::image;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

/// Longer than anything here takes on a busy machine; reached only by a defect.
pub const DEADLINE: Duration = Duration::from_secs(300);
pub const BUCKET: &str = "quetzal-backups";
/// By which a scenario would name it.
const STORE: &str = "backups";

pub struct Place {
    pub local: Local,
}

/// A file or folder of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

impl Place {
    /// With the images of Quetzal, a store that is up, and the operator's workstation.
    pub async fn start(name: &str) -> Self {
        let folders = [
            ("quetzal/database:15", "quetzal-database"),
            ("quetzal/database-backup:15", "quetzal-backup"),
            ("quetzal/quetzal:latest", "quetzal-app"),
        ];
        let images = folders.map(|(reference, folder)| {
            let folder = repository("images").join(folder);
            let read = image::read(reference, &folder, ProgramLabel::Rewritten, &BTreeMap::new());
            (reference.to_owned(), read.unwrap_or_else(|problems| panic!("{problems}")).image)
        });
        let (kubectl, gcs_server) = tools().await;
        let service = station::store_service(STORE);
        let hosts = ["storage.googleapis.com", "www.googleapis.com"];
        let config = LocalConfig {
            clusters: Vec::new(),
            services: BTreeMap::new(),
            name: format!("{}-{name}", std::process::id()),
            program: env!("CARGO_BIN_EXE_redrill").into(),
            images: images.into(),
            outside: hosts.map(|host| (host.to_owned(), service.clone())).into(),
            kubectl: Some(kubectl),
            programs: BTreeMap::new(),
            gcs_server: Some(gcs_server),
            awscli: None,
            namespace: "quetzal".to_owned(),
            seed: 1,
        };
        let place = Self { local: Local::start(config).await.unwrap() };
        let certificate = place.local.certificate(&hosts).unwrap();
        let mut own = vec![station::namespace()];
        own.extend(station::workstation(&place.local.operator_kubeconfig()));
        own.extend(station::gcs(STORE, BUCKET, &certificate));
        stage::put_up(place.local.clusters.home(), &own).await.unwrap();
        place
    }

    /// A pod with gsutil that does nothing by itself.
    pub async fn client(&self) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client", "namespace": station::NAMESPACE},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [
                {"name": "shell", "image": "quetzal/database-backup:15", "command": ["sleep", "infinity"]}]},
        });
        stage::put_up(self.local.clusters.home(), &[pod]).await.unwrap();
    }

    /// Runs a shell line in one of the drill's own pods; its exit code and what it said on both streams.
    pub async fn try_sh(&self, pod: &str, line: &str) -> (Option<i32>, String) {
        let line = format!("exec 2>&1; {line}");
        let argv = ["bash", "-c", &line];
        let namespace = station::NAMESPACE;
        let request = ExecRequest { namespace, pod, container: None, argv: &argv, terminal: Terminal::No };
        let exec = self.local.clusters.home().exec(&request).await.unwrap();
        let (exit, (stdin, mut stdout)) = exec.split();
        drop(stdin);
        let mut said = String::new();
        let end = async {
            stdout.read_to_string(&mut said).await.unwrap();
            exit.await
        };
        let code = tokio::time::timeout(DEADLINE, end).await;
        (code.unwrap_or_else(|_| panic!("`{line}` does not end; it said: {said}")), said)
    }

    /// The same for a line that must succeed; what it said.
    pub async fn sh(&self, pod: &str, line: &str) -> String {
        let (code, said) = self.try_sh(pod, line).await;
        assert_eq!(code, Some(0), "`{line}`: {said}");
        said
    }

    /// Waits until `condition` of an object in namespace quetzal gives a value.
    pub async fn until<T>(
        &self,
        what: &str,
        kind: redrill::kubernetes::TypeName<'_>,
        name: &str,
        condition: impl Fn(&Value) -> Option<T>,
    ) -> T {
        let kubernetes = self.local.clusters.home();
        redrill::kubernetes::wait_for(what, DEADLINE, async || {
            let object = kubernetes.get(kind, "quetzal", name).await?.unwrap_or_default();
            Ok(condition(&object).ok_or_else(|| object["status"].to_string()))
        })
        .await
        .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Nothing is left.
    pub async fn end(self) {
        assert_eq!(self.local.tear_down().await.unwrap(), Vec::<String>::new());
    }
}

/// kubectl and the store's server, which `redrill doctor --install --tests` gets.
async fn tools() -> (PathBuf, PathBuf) {
    let mut requirements = Requirements::default();
    requirements.kubectl(None, "this test");
    requirements.go(&GCS_SERVER, "this test");
    requirements.python("gsutil==5.34", "this test");
    let findings = doctor::examine(&requirements, || Ok(())).await.unwrap();
    let tools = doctor::Tools::of(&findings);
    let path = |name: &str| tools.get(name).unwrap_or_else(|| panic!("no {name}: {findings:#?}")).path.clone();
    path("gsutil");
    (path("kubectl"), path("fake-gcs-server"))
}
