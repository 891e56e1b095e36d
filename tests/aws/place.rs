//! A local environment with the stack of Rocket.Chat's page, two trivial programs in its containers, its account, and the operator's
//! workstation with the checkout.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redrill::doctor::{self, Requirements, python};
use redrill::drill::account::{Parts, pod};
use redrill::drill::{pace, stage, station};
use redrill::environment::local::{CLUSTER, Local, LocalConfig};
use redrill::kubernetes::{self, ExecRequest, Terminal, wait_for};
use redrill::redact::Secret;
use redrill::runtime::Image;
use redrill::scenario::{Scenario, StackSystem, Store};
use redrill::store::aws::account::{SERVICES, ServiceState};
use redrill::store::aws::control::{Reply, Request};
use redrill::system::System;
use redrill::system::cloud_formation::StackSource;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

/// Longer than anything here takes on a busy machine; reached only by a defect.
pub const DEADLINE: Duration = Duration::from_secs(120);
pub const NAMESPACE: &str = "rocket-chat";
pub const TEMPLATE: &str = "roles/rocket-chat/files/chat.cf.yaml";
const STORE: &str = "account";
const ACCESS_KEY: &str = "THROWAWAYACCESS";
const SECRET_KEY: &str = "throwaway/secret+key";

/// Writes a line after the other to where its data is, and ends when it is asked to.
const DATABASE: &str = r#"trap 'exit 0' TERM
echo "$(cat /data/db/state 2>/dev/null || echo fresh)" > /data/db/seen
while :; do date +%s%N >> /data/db/log; sleep 0.02; done"#;

/// Does nothing, and ends when it is asked to.
const CHAT: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

pub struct Place {
    pub local: Local,
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/rocket-chat/infrastructure")
}

pub fn template() -> String {
    std::fs::read_to_string(checkout().join(TEMPLATE)).unwrap()
}

fn image(reference: &str, script: &str) -> (String, Image) {
    let path = "/usr/local/bin:/usr/bin:/bin".to_owned();
    let cmd = ["sh", "-c", script].map(str::to_owned).to_vec();
    let image =
        Image { reference: reference.to_owned(), cmd, env: vec![("PATH".to_owned(), path)], ..Image::default() };
    (reference.to_owned(), image)
}

/// The account as a scenario declares it.
fn account() -> Store {
    let text = "name: x\nrunbook: r.md\nsystem: { manifests: [.] }\nseed: { databases: [], size: small }\nloss: { claims: [a/b] }\n\
        drills: { d: { backup: [{ procedure: p }] } }\nstores:\n  account: { kind: aws, region: eu-west-2, access-key: { generated: a }, secret-key: { generated: s } }\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("r.md"), "# p\n").unwrap();
    let file = folder.path().join("scenario.yaml");
    let scenario =
        Scenario::parse(&file, text, jiff::civil::date(2026, 1, 1)).unwrap_or_else(|problems| panic!("{problems}"));
    scenario.stores[STORE].clone()
}

impl Place {
    /// Everything up; the stack is made.
    pub async fn start(name: &str) -> Self {
        let images = [image("rocketchat/mongo:4.2", DATABASE), image("rocketchat/rocket.chat:4.8", CHAT)];
        let (kubectl, awscli) = tools().await;
        let store = account();
        let service = (CLUSTER.to_owned(), NAMESPACE.to_owned(), station::store_service(STORE));
        let config = LocalConfig {
            clusters: Vec::new(),
            services: store.hosts().into_iter().map(|host| (host.to_owned(), service.clone())).collect(),
            name: format!("{}-aws-{name}", std::process::id()),
            program: env!("CARGO_BIN_EXE_redrill").into(),
            images: images.into(),
            outside: BTreeMap::new(),
            kubectl: Some(kubectl),
            gcs_server: None,
            awscli: Some(awscli),
            programs: BTreeMap::new(),
            namespace: NAMESPACE.to_owned(),
            seed: 1,
        };
        let place = Self { local: Local::start(config).await.unwrap() };
        place.put_up(&store).await;
        place
    }

    async fn put_up(&self, store: &Store) {
        let kubernetes = self.local.clusters.home();
        let mut own = vec![station::namespace()];
        own.extend(station::workstation(&self.local.operator_kubeconfig()));
        stage::put_up(kubernetes, &own).await.unwrap();
        self.file(&format!("{}/{TEMPLATE}", station::HOME), &template()).await;
        let source = StackSource {
            template: checkout().join(TEMPLATE),
            stack: "chat".to_owned(),
            region: "eu-west-2".to_owned(),
            namespace: NAMESPACE.to_owned(),
        };
        let system = System::of_stack(&source, &["DbPassword", "AdminPassword"].map(str::to_owned))
            .unwrap_or_else(|problems| panic!("{problems}"));
        for object in system.objects() {
            kubernetes.create(&object.value).await.unwrap();
        }
        let parts = Parts {
            name: STORE,
            system: &StackSystem { source, parameters: BTreeMap::new() },
            stack: system.stack().unwrap(),
            template: template(),
            parameters: ["DbPassword", "AdminPassword"]
                .map(|name| (name.to_owned(), Secret::new("throwaway-password")))
                .into(),
            access: Secret::new(ACCESS_KEY),
            secret: Secret::new(SECRET_KEY),
            kubeconfig: self.local.operator_kubeconfig(),
            certificate: self.local.certificate(&store.hosts()).unwrap(),
        };
        stage::put_up(kubernetes, &pod::objects(&parts)).await.unwrap();
        let laid_out = pod::lay_out_workstation(kubernetes, store.account().unwrap(), &parts).await;
        assert!(laid_out.is_ok());
        self.at_rest().await;
        assert_eq!(self.stack_status().await, "CREATE_COMPLETE");
    }

    async fn file(&self, path: &str, content: &str) {
        assert!(stage::write_file(self.local.clusters.home(), path, content).await.is_ok(), "{path}");
    }

    /// Waits until nothing of the account goes on by itself, as whoever follows a page does between two steps.
    pub async fn at_rest(&self) {
        let kubernetes = self.local.clusters.home();
        let name = station::store_service(STORE);
        let waited = wait_for("the account at rest", DEADLINE, async || {
            let pod = kubernetes.get(kubernetes::POD, NAMESPACE, &name).await?.unwrap_or_default();
            let under_way = pod["metadata"]["annotations"][pace::UNDER_WAY].as_str().map(str::to_owned);
            Ok(under_way.map_or(Ok(()), Err))
        });
        waited.await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Why the service cannot start a task, as the account's pod says it.
    pub async fn cannot_start(&self) -> Option<String> {
        let kubernetes = self.local.clusters.home();
        let pod = kubernetes.get(kubernetes::POD, NAMESPACE, &station::store_service(STORE)).await.unwrap().unwrap();
        let services = pod["metadata"]["annotations"][SERVICES].as_str().unwrap();
        let services: Vec<ServiceState> = serde_json::from_str(services).unwrap();
        services.into_iter().find_map(|service| service.cannot_start)
    }

    /// Runs a shell line in a pod; its exit code and what it said on both streams.
    pub async fn try_in(&self, namespace: &str, pod: &str, line: &str) -> (Option<i32>, String) {
        let line = format!("exec 2>&1; {line}");
        let argv = ["sh", "-c", &line];
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

    pub async fn try_operator(&self, line: &str) -> (Option<i32>, String) {
        self.try_in(station::NAMESPACE, station::WORKSTATION, &format!("cd; {line}")).await
    }

    /// The same for a line that must succeed; what it said.
    pub async fn operator(&self, line: &str) -> String {
        let (code, said) = self.try_operator(line).await;
        assert_eq!(code, Some(0), "`{line}`: {said}");
        said.trim_end().to_owned()
    }

    /// `aws ARGUMENTS`, one field of whose answer is wanted as text.
    pub async fn aws(&self, arguments: &str, query: &str) -> String {
        self.operator(&format!("aws {arguments} --output text --query '{query}'")).await
    }

    pub async fn refused(&self, arguments: &str) -> String {
        let (code, said) = self.try_operator(&format!("aws {arguments}")).await;
        assert!(code != Some(0), "`aws {arguments}` was not refused: {said}");
        said
    }

    pub async fn stack_status(&self) -> String {
        self.aws("cloudformation describe-stacks --stack-name chat", "Stacks[0].StackStatus").await
    }

    /// What the drill asks that no client could.
    pub async fn ask(&self, request: &Request) -> Reply {
        let request = shell_words::quote(&serde_json::to_string(request).unwrap()).into_owned();
        let (code, said) =
            self.try_in(NAMESPACE, &station::store_service(STORE), &format!("redrill __aws --ask {request}")).await;
        assert_eq!(code, Some(0), "{said}");
        serde_json::from_str(&said).unwrap()
    }

    /// A line with both file systems below /efs, as on an instance that somebody throws away afterwards.
    pub async fn in_storage(&self, line: &str) -> String {
        let kubernetes = self.local.clusters.home();
        if kubernetes.get(kubernetes::POD, NAMESPACE, "throwaway").await.unwrap().is_none() {
            stage::put_up(kubernetes, &[throwaway()]).await.unwrap();
        }
        let (code, said) = self.try_in(NAMESPACE, "throwaway", line).await;
        assert_eq!(code, Some(0), "`{line}`: {said}");
        said.trim_end().to_owned()
    }

    /// Nothing is left.
    pub async fn end(self) {
        assert_eq!(self.local.tear_down().await.unwrap(), Vec::<String>::new());
    }
}

fn throwaway() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "throwaway", "namespace": NAMESPACE},
        "spec": {"terminationGracePeriodSeconds": 0,
            "containers": [{"name": "shell", "image": station::WORKSTATION_IMAGE, "command": ["sleep", "infinity"],
                "volumeMounts": [{"name": "efs", "mountPath": "/efs"}]}],
            "volumes": [{"name": "efs", "persistentVolumeClaim": {"claimName": "db-storage"}}]},
    })
}

/// kubectl and aws, which `redrill doctor --install --tests` gets.
async fn tools() -> (PathBuf, PathBuf) {
    let mut requirements = Requirements::default();
    requirements.kubectl(None, "this test");
    requirements.python(python::AWSCLI, "this test");
    let findings = doctor::examine(&requirements, || Ok(())).await.unwrap();
    let tools = doctor::Tools::of(&findings);
    let path = |name: &str| tools.get(name).unwrap_or_else(|| panic!("no {name}: {findings:#?}")).path.clone();
    (path("kubectl"), path("awscli"))
}
