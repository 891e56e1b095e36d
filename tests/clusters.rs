//! A system on two clusters: contexts that a runbook goes between, and names that lead from one to the other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use redrill::drill::value::Values;
use redrill::drill::{escrow, stage, station};
use redrill::environment::local::{Local, LocalConfig};
use redrill::kubernetes::{self, ExecRequest, Kubernetes, Terminal, wait_for};
use redrill::outcome::SourceRef;
use redrill::redact::Redactor;
use redrill::scenario::{Escrow, Loss, ObjectName};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

const DEADLINE: Duration = Duration::from_secs(30);

async fn local() -> Local {
    let kubectl = redrill::doctor::kubectl().await.expect("kubectl (`redrill doctor --install --tests` gets it)");
    let service = |cluster: &str| (cluster.to_owned(), "shop".to_owned(), "web".to_owned());
    let config = LocalConfig {
        name: format!("clusters-{}", std::process::id()),
        program: PathBuf::from(env!("CARGO_BIN_EXE_redrill")),
        images: BTreeMap::new(),
        outside: BTreeMap::from([("store.example".to_owned(), "store".to_owned())]),
        clusters: vec!["old".to_owned(), "new".to_owned()],
        services: BTreeMap::from([
            ("web.shop.old".to_owned(), service("old")),
            ("web.shop.new".to_owned(), service("new")),
        ]),
        kubectl: Some(kubectl.path),
        programs: BTreeMap::new(),
        gcs_server: None,
        awscli: None,
        namespace: "shop".to_owned(),
        seed: 7,
    };
    Local::start(config).await.expect("a local environment with two clusters")
}

fn pod(namespace: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": namespace, "labels": {"app": "web"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [
            {"name": "web", "image": station::WORKSTATION_IMAGE, "command": ["sleep", "infinity"]}]}})
}

fn service(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}})
}

async fn put_up(kubernetes: &Kubernetes, namespace: &str, name: &str) {
    let objects = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        service(namespace, name),
        pod(namespace),
    ];
    stage::put_up(kubernetes, &objects).await.expect("a pod with its Service");
}

/// Runs a script in a pod; what it printed, errors included.
async fn sh(kubernetes: &Kubernetes, namespace: &str, pod: &str, script: &str) -> String {
    let argv = ["sh", "-c", &format!("{script} 2>&1")];
    let request = ExecRequest { namespace, pod, container: None, argv: &argv, terminal: Terminal::No };
    let (_stdin, mut output) = kubernetes.exec(&request).await.expect("exec").into_streams();
    let mut text = String::new();
    let read = tokio::time::timeout(DEADLINE, output.read_to_string(&mut text)).await;
    read.unwrap_or_else(|_| panic!("`{script}` in {pod} does not end")).expect("read");
    text
}

/// Waits until a name resolves in a pod, and says to what: endpoints follow a pod's readiness.
async fn address(kubernetes: &Kubernetes, namespace: &str, pod: &str, name: &str) -> String {
    wait_for(&format!("{name} in {pod}"), DEADLINE, async || {
        let found = sh(kubernetes, namespace, pod, &format!("getent ahostsv4 {name}")).await;
        Ok(found.split_whitespace().next().map(str::to_owned).ok_or(found.clone()))
    })
    .await
    .expect("the name resolves")
}

async fn pod_address(kubernetes: &Kubernetes, namespace: &str) -> String {
    let pod = kubernetes.get(kubernetes::POD, namespace, "web").await.expect("asked").expect("there");
    pod["status"]["podIP"].as_str().expect("an address").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_goes_between_contexts_and_each_name_leads_to_its_cluster() {
    let local = local().await;
    let (home, old, new) = (local.clusters.home(), local.clusters.of(Some("old")), local.clusters.of(Some("new")));
    for kubernetes in [old, new] {
        put_up(kubernetes, "shop", "web").await;
    }
    put_up(home, station::NAMESPACE, "store").await;
    stage::put_up(home, &station::workstation(&local.operator_kubeconfig())).await.expect("a workstation");

    let operator = async |script: &str| sh(home, station::NAMESPACE, station::WORKSTATION, script).await;
    assert_eq!(operator("kubectl config get-contexts -o name").await, "new\nold\n");
    assert_eq!(operator("kubectl config current-context").await, "old\n", "the first is where the operator begins");
    let create = "kubectl create secret generic which --from-literal=name=";
    operator(&format!("{create}old")).await;
    assert_eq!(operator("kubectl config set current-context new").await, "Property \"current-context\" set.\n");
    assert!(operator("kubectl get secret which").await.contains("NotFound"), "one cluster's Secret is in the other");
    operator(&format!("{create}new")).await;
    for (name, kubernetes) in [("old", old), ("new", new)] {
        let secret = kubernetes.get(kubernetes::SECRET, "shop", "which").await.expect("asked").expect("there");
        assert_eq!(secret["data"]["name"], if name == "old" { "b2xk" } else { "bmV3" });
    }

    let (of_old, of_new) = (pod_address(old, "shop").await, pod_address(new, "shop").await);
    assert_ne!(of_old, of_new);
    for (name, expected) in [("web.shop.old", &of_old), ("web.shop.new", &of_new)] {
        assert_eq!(address(home, station::NAMESPACE, station::WORKSTATION, name).await, *expected);
    }
    // In its own cluster a Service is known by its own name, and a store by its outside name.
    let store = pod_address(home, station::NAMESPACE).await;
    for (kubernetes, own) in [(old, &of_old), (new, &of_new)] {
        assert_eq!(address(kubernetes, "shop", "web", "web.shop").await, *own);
        assert_eq!(address(kubernetes, "shop", "web", "store.example").await, store);
    }
    the_output_of_a_pod_that_is_killed_ends(old).await;

    let mut values = Values::new(local.clusters.clone(), Redactor::new(), 7);
    let kept = |cluster: &str| Escrow::Secret(object(cluster, "which"));
    let escrow = vec![kept("old"), kept("new"), Escrow::Secret(object("old", "gone")), Escrow::Manifests];
    let (claims, clusters, databases) = (Vec::new(), vec!["old".to_owned()], Vec::new());
    let namespaces = Vec::new();
    values.keep(&Loss { claims, clusters, namespaces, databases, escrow, source: line() }).await.unwrap();
    local.lose("old").await.expect("lost");
    what_survives_a_lost_cluster_lies_with_the_operator(home, &values).await;
    let gone = old.list(kubernetes::NAMESPACE, "").await.expect_err("nobody answers for it");
    assert!(!gone.is_answer(), "{gone}");
    let said = operator("kubectl --context old get secret which").await;
    assert!(said.contains("refused"), "{said}");
    assert!(operator("kubectl --context new get secret which").await.contains("which"));
    local.lose("old").await.expect_err("it is lost already");
    assert_eq!(local.tear_down().await.expect("torn down"), Vec::<String>::new());
}

fn line() -> SourceRef {
    SourceRef { file: "scenario.yaml".to_owned(), line: 1 }
}

fn object(cluster: &str, name: &str) -> ObjectName {
    ObjectName { cluster: Some(cluster.to_owned()), namespace: "shop".to_owned(), name: name.to_owned() }
}

/// As manifests, for the operator's eyes alone, and another cluster takes them.
async fn what_survives_a_lost_cluster_lies_with_the_operator(home: &Kubernetes, values: &Values) {
    escrow::lay_out(home, values).await.unwrap_or_else(|halt| panic!("{halt:?}"));
    let operator = async |script: &str| sh(home, station::NAMESPACE, station::WORKSTATION, script).await;
    let found = operator("cd ~/escrow && find . -type f -printf '%m %p\\n' && stat -c %a . old").await;
    assert_eq!(found, "600 ./old/shop/secret-which.yaml\n700\n700\n");
    let manifest = operator("cat ~/escrow/old/shop/secret-which.yaml").await;
    assert!(manifest.contains("  name: b2xk") && !manifest.contains("uid"), "{manifest}");
    let applied =
        operator("sed s/which/restored/ ~/escrow/old/shop/secret-which.yaml | kubectl --context new create -f -");
    assert_eq!(applied.await, "secret/restored created\n");
}

/// Whoever talks to a program in a pod must hear that it is gone.
async fn the_output_of_a_pod_that_is_killed_ends(kubernetes: &Kubernetes) {
    let request =
        ExecRequest { namespace: "shop", pod: "web", container: None, argv: &["cat"], terminal: Terminal::No };
    let (_stdin, mut output) = kubernetes.exec(&request).await.expect("exec").into_streams();
    kubernetes.kill_pod("shop", "web").await.expect("killed");
    let mut text = String::new();
    let read = tokio::time::timeout(DEADLINE, output.read_to_string(&mut text)).await;
    read.expect("the output ends with the pod").expect("read");
    assert_eq!(text, "");
}
