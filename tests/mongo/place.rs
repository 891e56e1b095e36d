//! A local environment with servers of MongoDB over directories of one claim, as a file system of EFS has them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use redrill::database::DatabaseKind;
use redrill::doctor::{self, Requirements, Tools, real_program};
use redrill::drill::stage::{self, PodProber};
use redrill::drill::station;
use redrill::environment::local::{Local, LocalConfig};
use redrill::fingerprint::Fingerprint;
use redrill::kubernetes::{ExecRequest, Terminal};
use redrill::outcome::{Expectation, Observation, ProgramLabel};
use redrill::probe::{DatabaseTarget, LoginTarget, Reply, Request};
use redrill::redact::Secret;
use redrill::system::image;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

/// Longer than anything here takes on a busy machine; reached only by a defect.
const DEADLINE: Duration = Duration::from_secs(120);
const NAMESPACE: &str = "rocket-chat";
const IMAGE: &str = "rocketchat/mongo:4.2";
const PASSWORD: &str = "the chat's own: pässword";
/// Sees the whole file system at `/efs`, and has a client.
const INSTANCE: &str = "instance";

pub struct Place {
    pub local: Local,
    /// Whether FerretDB stands for mongod.
    pub is_stand_in: bool,
}

impl Place {
    /// With the file system, which is empty, and an instance that mounts it.
    pub async fn start(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/mongo");
        let read = image::read(IMAGE, &folder, ProgramLabel::Real, &BTreeMap::new());
        let read = read.unwrap_or_else(|problems| panic!("{problems}"));
        let tools = tools().await;
        let real = tools.get("mongod").zip(real_program::of("mongod"));
        let image = real.map_or_else(|| read.image.clone(), |(tool, program)| read.with_real(program, &tool.path));
        let config = LocalConfig {
            clusters: Vec::new(),
            services: BTreeMap::new(),
            name: format!("{}-mongo-{name}", std::process::id()),
            program: env!("CARGO_BIN_EXE_redrill").into(),
            images: BTreeMap::from([(IMAGE.to_owned(), image)]),
            outside: BTreeMap::new(),
            kubectl: tools.get("kubectl").map(|tool| tool.path.clone()),
            programs: BTreeMap::new(),
            gcs_server: None,
            awscli: None,
            namespace: NAMESPACE.to_owned(),
            seed: 1,
        };
        let place = Self { local: Local::start(config).await.unwrap(), is_stand_in: real.is_none() };
        let mut own = vec![station::namespace(), station::prober()];
        own.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}));
        own.push(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": NAMESPACE},
            "stringData": {"password": PASSWORD}}));
        own.push(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "efs", "namespace": NAMESPACE},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}));
        own.push(pod(INSTANCE, json!({"command": ["sleep", "infinity"]}), json!({"mountPath": "/efs"})));
        place.put_up(&own).await;
        place
    }

    async fn put_up(&self, objects: &[Value]) {
        stage::put_up(self.local.clusters.home(), objects).await.unwrap();
    }

    /// A server over a directory of the file system, which both are called by.
    pub async fn serve(&self, directory: &str) {
        self.sh(&format!("mkdir -p /efs/{directory}")).await;
        let container = json!({"readinessProbe": {"tcpSocket": {"port": 27017}, "periodSeconds": 1}});
        let server = pod(directory, container, json!({"mountPath": "/data/db", "subPath": directory}));
        let service = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": directory, "namespace": NAMESPACE},
            "spec": {"selector": {"name": directory}, "ports": [{"port": 27017}]}});
        self.put_up(&[service, server]).await;
        self.until_known(directory).await;
    }

    /// Waits until the prober resolves a server's name, which comes to be a moment after its pod is ready.
    async fn until_known(&self, directory: &str) {
        let host = target(directory, PASSWORD).host;
        let argv = ["getent", "hosts", &host];
        let (namespace, pod) = (station::NAMESPACE, station::PROBER);
        let request = ExecRequest { namespace, pod, container: None, argv: &argv, terminal: Terminal::No };
        redrill::kubernetes::wait_for("the prober to know the server", DEADLINE, async || {
            let exec = self.local.clusters.home().exec(&request).await?;
            Ok(if exec.split().0.await == Some(0) { Ok(()) } else { Err(format!("no {host}")) })
        })
        .await
        .unwrap();
    }

    /// Stops a server as a restart would, and waits until it is gone.
    pub async fn stop(&self, directory: &str) {
        let kubernetes = self.local.clusters.home();
        kubernetes.delete(redrill::kubernetes::POD, NAMESPACE, directory).await.unwrap();
        redrill::kubernetes::wait_for("the server to be gone", DEADLINE, async || {
            let there = kubernetes.get(redrill::kubernetes::POD, NAMESPACE, directory).await?;
            Ok(there.map_or(Ok(()), |pod| Err(pod["status"].to_string())))
        })
        .await
        .unwrap();
    }

    /// Runs a shell line where the file system is mounted; what it said.
    pub async fn sh(&self, line: &str) -> String {
        let line = format!("exec 2>&1; {line}");
        let argv = ["bash", "-c", &line];
        let request =
            ExecRequest { namespace: NAMESPACE, pod: INSTANCE, container: None, argv: &argv, terminal: Terminal::No };
        let exec = self.local.clusters.home().exec(&request).await.unwrap();
        let (exit, (stdin, mut stdout)) = exec.split();
        drop(stdin);
        let mut said = String::new();
        let end = async {
            stdout.read_to_string(&mut said).await.unwrap();
            exit.await
        };
        let code = tokio::time::timeout(DEADLINE, end).await;
        let code = code.unwrap_or_else(|_| panic!("`{line}` does not end; it said: {said}"));
        assert_eq!(code, Some(0), "`{line}`: {said}");
        said
    }

    /// Runs Python with `db`, the database of a server; what it printed.
    pub async fn python(&self, directory: &str, script: &str) -> String {
        let client = "import os, bson, gridfs, pymongo\n\
            db = pymongo.MongoClient(HOST, username=\"chat\", password=os.environ[\"MONGO_INITDB_ROOT_PASSWORD\"]).rocketchat\n";
        let client = client.replace("HOST", &format!("{directory:?}"));
        self.sh(&format!("python3 - <<'END'\n{client}{script}\nEND")).await
    }

    pub async fn prober(&self) -> PodProber {
        stage::connect_prober(self.local.clusters.home(), station::NAMESPACE, station::PROBER).await.unwrap()
    }

    pub async fn fingerprint(&self, directory: &str) -> Fingerprint {
        let request = Request::FingerprintDatabase {
            target: target(directory, PASSWORD),
            except: Vec::new(),
            known: BTreeMap::new(),
        };
        let Reply::Fingerprint { fingerprint } = ask(&mut self.prober().await, request).await else { panic!() };
        fingerprint
    }

    pub async fn log_in(&self, target: DatabaseTarget) -> (Observation, bool) {
        let login = Request::Login {
            target: LoginTarget::Database(target),
            expected: Expectation::Accepted,
            random_refused: false,
        };
        let Reply::Login { observed, random_refused } = ask(&mut self.prober().await, login).await else { panic!() };
        (observed, random_refused)
    }

    /// Nothing is left.
    pub async fn end(self) {
        assert_eq!(self.local.tear_down().await.unwrap(), Vec::<String>::new());
    }
}

pub async fn ask(prober: &mut PodProber, request: Request) -> Reply {
    prober.ask(&request).await.unwrap_or_else(|error| panic!("{}", redrill::error::chain(&error)))
}

/// The database with its right password.
pub fn database(directory: &str) -> DatabaseTarget {
    target(directory, PASSWORD)
}

pub fn target(directory: &str, password: &str) -> DatabaseTarget {
    DatabaseTarget {
        kind: DatabaseKind::Mongodb,
        host: format!("{directory}.{NAMESPACE}"),
        port: 27017,
        database: "rocketchat".to_owned(),
        user: "chat".to_owned(),
        password: Secret::new(password),
    }
}

fn pod(name: &str, mut container: Value, mut mount: Value) -> Value {
    mount["name"] = "efs".into();
    container["name"] = "db".into();
    container["image"] = IMAGE.into();
    container["volumeMounts"] = json!([mount]);
    container["env"] = json!([
        {"name": "MONGO_INITDB_ROOT_USERNAME", "value": "chat"},
        {"name": "MONGO_INITDB_ROOT_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
    ]);
    let volumes = json!([{"name": "efs", "persistentVolumeClaim": {"claimName": "efs"}}]);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"name": name}},
        "spec": {"terminationGracePeriodSeconds": 10, "containers": [container], "volumes": volumes},
    })
}

/// What `redrill doctor --install --tests` gets.
async fn tools() -> Tools {
    let mut requirements = Requirements::default();
    requirements.kubectl(None, "this test");
    requirements.real("mongod", "this test");
    for package in ["python3-gridfs", "python3-pymongo"] {
        requirements.package(package, "this test");
    }
    let findings = doctor::examine(&requirements, || Ok(())).await.unwrap();
    let missing: Vec<_> = findings.iter().filter(|finding| finding.is_obstacle()).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    Tools::of(&findings)
}
