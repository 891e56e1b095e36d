//! A local environment with a CockroachDB's stand-in, its client pod, a bucket and the operator's workstation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::FutureExt as _;
use redrill::database::DatabaseKind;
use redrill::doctor::go_module::GCS_SERVER;
use redrill::doctor::{self, Requirements};
use redrill::drill::stage::{self, PodProber};
use redrill::drill::station;
use redrill::environment::local::{Local, LocalConfig};
use redrill::kubernetes::{ExecRequest, Terminal as Wanted, wait_for};
use redrill::outcome::{ProgramLabel, SourceRef};
use redrill::probe::{DatabaseTarget, Reply, Request};
use redrill::redact::Secret;
use redrill::session::{Append, Deadlines, Session, SessionConfig, StepRun, StepText, Terminal, WORKSTATION_SHELL};
use redrill::system::image;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Longer than anything here takes on a busy machine; reached only by a defect.
pub const DEADLINE: Duration = Duration::from_secs(120);
const NAMESPACE: &str = "estafette-ci";
const BUCKET: &str = "estafette-backups";
const STORE: &str = "backups";
const IMAGE: &str = "cockroachdb/cockroach:v22.2.0";
const SERVICE: &str = "estafette-ci-db-public";
pub const PASSWORD: &str = "keeper's own: pässword";
pub const SQL: &str = "./cockroach sql --certs-dir=/cockroach-certs --host=estafette-ci-db-public";

pub struct Place {
    pub local: Local,
}

impl Place {
    /// A server that is up, with an empty volume.
    pub async fn start(name: &str) -> Self {
        let (kubectl, gcs_server) = tools().await;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/cockroach");
        let read = image::read(IMAGE, &folder, ProgramLabel::Simulated, &BTreeMap::new());
        let read = read.unwrap_or_else(|problems| panic!("{problems}"));
        let service = station::store_service(STORE);
        let hosts = ["storage.googleapis.com", "www.googleapis.com"];
        let config = LocalConfig {
            clusters: Vec::new(),
            services: BTreeMap::new(),
            programs: BTreeMap::new(),
            awscli: None,
            name: format!("{}-cockroach-{name}", std::process::id()),
            program: env!("CARGO_BIN_EXE_redrill").into(),
            images: BTreeMap::from([(IMAGE.to_owned(), read.image)]),
            outside: hosts.map(|host| (host.to_owned(), service.clone())).into(),
            kubectl: Some(kubectl),
            gcs_server: Some(gcs_server),
            namespace: NAMESPACE.to_owned(),
            seed: 1,
        };
        let place = Self { local: Local::start(config).await.unwrap() };
        let certificate = place.local.certificate(&hosts).unwrap();
        let mut own = vec![station::namespace()];
        own.extend(station::workstation(&place.local.operator_kubeconfig()));
        own.push(station::prober());
        own.extend(station::gcs(STORE, BUCKET, &certificate));
        own.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}));
        own.extend(certificates(&folder, NAMESPACE, SERVICE));
        own.push(public_service());
        own.push(client());
        stage::put_up(place.local.clusters.home(), &own).await.unwrap();
        place.put_up_server().await;
        place
    }

    async fn put_up_server(&self) {
        stage::put_up(self.local.clusters.home(), &server()).await.unwrap();
    }

    /// Takes the volume away with all it holds, and puts up a server on an empty one.
    pub async fn lose_the_volume(&self) {
        self.operator("kubectl delete pod estafette-ci-db-0 && kubectl delete pvc datadir").await;
        self.put_up_server().await;
    }

    /// Runs a shell line where the operator sits, with this to read; its exit code and what it said on both streams.
    pub async fn try_operator(&self, line: &str, input: &str) -> (Option<i32>, String) {
        // By length: not every server can tell the end of what is read.
        let line = format!("exec 2>&1; cd; head -c {} | ( {line} )", input.len());
        let argv = ["bash", "-c", &line];
        let pod = station::WORKSTATION;
        let request =
            ExecRequest { namespace: station::NAMESPACE, pod, container: None, argv: &argv, terminal: Wanted::No };
        let exec = self.local.clusters.home().exec(&request).await.unwrap();
        let (exit, (mut stdin, mut stdout)) = exec.split();
        stdin.write_all(input.as_bytes()).await.unwrap();
        stdin.flush().await.unwrap();
        let mut said = String::new();
        let end = async {
            stdout.read_to_string(&mut said).await.unwrap();
            exit.await
        };
        let code = tokio::time::timeout(DEADLINE, end).await;
        (code.unwrap_or_else(|_| panic!("`{line}` does not end; it said: {said}")), said)
    }

    /// The same for a line that must succeed; what it said.
    pub async fn operator(&self, line: &str) -> String {
        let (code, said) = self.try_operator(line, "").await;
        assert_eq!(code, Some(0), "`{line}`: {said}");
        said
    }

    /// SQL as root, from the client pod; what it said. It may fail.
    pub async fn sql(&self, sql: &str) -> (Option<i32>, String) {
        self.try_operator(&format!("kubectl exec -i estafette-ci-db-client -- {SQL}"), sql).await
    }

    /// Waits until SQL says something that `condition` is content with.
    pub async fn until(&self, sql: &str, condition: impl Fn(&str) -> bool) -> String {
        wait_for(sql, DEADLINE, async || {
            let (_, said) = self.sql(sql).await;
            Ok(if condition(&said) { Ok(said) } else { Err(said) })
        })
        .await
        .unwrap_or_else(|error| panic!("{error}"))
    }

    pub async fn prober(&self) -> PodProber {
        stage::connect_prober(self.local.clusters.home(), station::NAMESPACE, station::PROBER).await.unwrap()
    }

    /// Sits down at the workstation.
    pub async fn session(&self) -> Session {
        let request = ExecRequest {
            namespace: station::NAMESPACE,
            pod: station::WORKSTATION,
            container: None,
            argv: &WORKSTATION_SHELL,
            terminal: Wanted::Yes,
        };
        let exec = self.local.clusters.home().exec(&request).await.unwrap();
        let (exit, (input, output)) = exec.split();
        let config = SessionConfig {
            deadlines: Deadlines::default(),
            tail: 64 << 10,
            redact: Arc::new(<[u8]>::to_vec),
            sink: Box::new(Append(std::io::sink())),
        };
        Session::open(Terminal { input, output, exit: exit.boxed() }, config).await.unwrap()
    }

    /// Nothing is left.
    pub async fn end(self) {
        assert_eq!(self.local.tear_down().await.unwrap(), Vec::<String>::new());
    }
}

/// Types a step; what came of it, and what it printed.
pub async fn typed(session: &mut Session, text: &str) -> (StepRun, String) {
    let source = SourceRef { file: "page.md".into(), line: 1 };
    let run = session.run(&StepText { text: text.to_owned(), source }).await.unwrap();
    let output = String::from_utf8_lossy(&run.output).into_owned();
    (run, output)
}

pub async fn ask(prober: &mut PodProber, request: Request) -> Reply {
    prober.ask(&request).await.unwrap_or_else(|error| panic!("{}", redrill::error::chain(&error)))
}

pub fn target(database: &str, password: &str) -> DatabaseTarget {
    DatabaseTarget {
        kind: DatabaseKind::Cockroach,
        host: format!("{SERVICE}.{NAMESPACE}"),
        port: 26257,
        database: database.to_owned(),
        user: "keeper".to_owned(),
        password: Secret::new(password),
    }
}

/// Where backups go, with a key as a service account has one.
pub fn collection(path: &str) -> String {
    let key = BASE64.encode(r#"{"type":"service_account","private_key":"not for any log"}"#);
    format!("gs://{BUCKET}/{path}?AUTH=specified&CREDENTIALS={key}")
}

/// Secrets with what `cockroach cert` makes for a service.
pub fn certificates(folder: &Path, namespace: &str, service: &str) -> Vec<Value> {
    let work = tempfile::tempdir().unwrap();
    let (certs, ca_key) = (work.path().join("certs"), work.path().join("ca.key"));
    let whole = format!("{service}.{namespace}");
    let made: [&[&str]; 3] =
        [&["create-ca"], &["create-node", service, &whole, "localhost"], &["create-client", "root"]];
    for arguments in made {
        let mut command = Command::new(folder.join("cockroach"));
        command.arg("cert").args(arguments).arg("--certs-dir").arg(&certs).arg("--ca-key").arg(&ca_key);
        assert!(command.status().unwrap().success(), "{arguments:?}");
    }
    let secret = |name: &str, files: &[&str]| {
        let data = files.iter().map(|file| {
            let content = std::fs::read_to_string(certs.join(file)).unwrap();
            ((*file).to_owned(), Value::String(content))
        });
        let data: serde_json::Map<_, _> = data.collect();
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "stringData": data})
    };
    vec![
        secret("db-secret", &["ca.crt", "node.crt", "node.key"]),
        secret("db-client-secret", &["ca.crt", "client.root.crt", "client.root.key"]),
    ]
}

fn server() -> [Value; 2] {
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "datadir", "namespace": NAMESPACE},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    let container = json!({
        "name": "db", "image": IMAGE,
        "args": ["start-single-node", "--certs-dir=/cockroach-certs", "--store=/cockroach/cockroach-data"],
        "readinessProbe": {"tcpSocket": {"port": 26257}, "periodSeconds": 1},
        "volumeMounts": [
            {"name": "datadir", "mountPath": "/cockroach/cockroach-data"},
            {"name": "certs", "mountPath": "/cockroach-certs"},
        ],
    });
    let volumes = json!([
        {"name": "datadir", "persistentVolumeClaim": {"claimName": "datadir"}},
        {"name": "certs", "secret": {"secretName": "db-secret", "defaultMode": 0o400}},
    ]);
    [claim, pod("estafette-ci-db-0", container, volumes)]
}

/// As the page's `db-client`: it does nothing by itself.
fn client() -> Value {
    let container = json!({
        "name": "client", "image": IMAGE, "command": ["sleep", "infinity"],
        "volumeMounts": [{"name": "certs", "mountPath": "/cockroach-certs"}],
    });
    let volumes = json!([{"name": "certs", "secret": {"secretName": "db-client-secret", "defaultMode": 0o400}}]);
    pod("estafette-ci-db-client", container, volumes)
}

fn pod(name: &str, container: Value, volumes: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"name": name}},
        "spec": {"terminationGracePeriodSeconds": 10, "containers": [container], "volumes": volumes},
    })
}

fn public_service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICE, "namespace": NAMESPACE},
        "spec": {"selector": {"name": "estafette-ci-db-0"}, "ports": [{"port": 26257, "targetPort": 26257}]},
    })
}

/// kubectl and the store's server, which `redrill doctor --install --tests` gets.
async fn tools() -> (PathBuf, PathBuf) {
    let mut requirements = Requirements::default();
    requirements.kubectl(None, "this test");
    requirements.go(&GCS_SERVER, "this test");
    let findings = doctor::examine(&requirements, || Ok(())).await.unwrap();
    let tools = doctor::Tools::of(&findings);
    let path = |name: &str| tools.get(name).unwrap_or_else(|| panic!("no {name}: {findings:#?}")).path.clone();
    (path("kubectl"), path("fake-gcs-server"))
}
