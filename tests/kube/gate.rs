//! The real kubectl at the gate of a cluster that exists: the page's names, its own namespaces, and no others.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use redrill::authority::Authority;
use redrill::cluster::kind;
use redrill::drill::station;
use redrill::gate::room::{Marks, Rooms};
use redrill::gate::space::Naming;
use redrill::gate::{Gate, GateConfig, Trouble};
use redrill::kubernetes::Kubernetes;

use crate::existing::{Existing, kubectl, write_private};
use crate::playground::Playground;

/// Of the drill's namespaces on the cluster.
const PREFIX: &str = "rd-0123456789-";

struct Gated {
    existing: Existing,
    gate: Gate,
    kubectl: PathBuf,
    home: tempfile::TempDir,
}

impl Gated {
    async fn open() -> Self {
        let existing = Existing::start(&Playground::new()).await;
        let client = existing.cluster.client().await.unwrap();
        let marks = Marks {
            drill: "0123456789".to_owned(),
            run: "test".to_owned(),
            host: "test".to_owned(),
            lock: "/nowhere".to_owned(),
        };
        let kubernetes = Kubernetes::connect(client.clone()).await.unwrap();
        let authority = Authority::new("test").unwrap().certificate();
        let naming = Naming::mapped(&marks.drill, None);
        let own = [("app:1".to_owned(), station::WORKSTATION_IMAGE.to_owned())];
        let gate = Gate::open(GateConfig {
            cluster: "page".to_owned(),
            client,
            rooms: Arc::new(Rooms::new(kubernetes, naming, marks, authority)),
            images: own.into(),
            porter_image: station::IMAGE.to_owned(),
            outside: BTreeMap::new(),
            owns_cluster: false,
            trouble: Trouble::default(),
        });
        let gate = gate.await.unwrap();
        let home = tempfile::tempdir().unwrap();
        let kubeconfig = gate.kubeconfig_on_loopback("page", "taiga").unwrap();
        write_private(&home.path().join("config"), kubeconfig.expose());
        Self { existing, gate, kubectl: kubectl().await, home }
    }

    /// Runs kubectl off the runtime's threads, which serve meanwhile.
    async fn run(&self, line: &str, stdin: &str) -> Output {
        let mut command = Command::new(&self.kubectl);
        command.args(shell_words::split(line).unwrap()).current_dir(self.home.path());
        command.env("HOME", self.home.path()).env("KUBECONFIG", self.home.path().join("config"));
        command.env("KUBE_EDITOR", "sed -i s/one/two/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let stdin = stdin.to_owned();
        let output = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            // Who does not read what it is given has said why.
            let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
            child.wait_with_output().unwrap()
        });
        output.await.unwrap()
    }

    async fn ok(&self, line: &str) -> String {
        self.ok_with(line, "").await
    }

    /// What kubectl prints; it must succeed.
    async fn ok_with(&self, line: &str, stdin: &str) -> String {
        let output = self.run(line, stdin).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{line}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    async fn fails(&self, line: &str, reason: &str) {
        self.fails_with(line, "", reason).await;
    }

    /// It must fail, and say why.
    async fn fails_with(&self, line: &str, stdin: &str, reason: &str) {
        let output = self.run(line, stdin).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{line} succeeded: {}", String::from_utf8_lossy(&output.stdout));
        assert!(said.contains(reason), "{line}: not `{reason}`, but {said}");
    }

    /// Ends the gate, and with what kubectl made gone the cluster is as it was but for the gate's own pod.
    async fn close(self) {
        let Self { existing, gate, .. } = self;
        assert_eq!(gate.trouble.what(), None);
        gate.close().await;
        drop(gate);
        existing.stop().await;
    }
}

const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: taiga}\n";

const WEB: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: app, image: "app:1", command: [sleep, infinity], env: [{name: GREETING, value: one}]}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_page_sees_the_cluster_that_it_was_written_for() {
    let gated = Gated::open().await;
    assert_eq!(gated.ok("get namespaces -o name").await, "");
    assert_eq!(gated.ok("get pods -A").await, "");
    gated.fails("get namespace bystander", "not found").await;
    assert_eq!(gated.ok_with("apply -f -", NAMESPACE).await, "namespace/taiga created\n");
    assert_eq!(gated.ok("get namespaces -o name").await, "namespace/taiga\n");
    assert_eq!(gated.ok("-n taiga get secrets,configmaps -o name").await, "");

    gated.ok_with("apply -f -", WEB).await;
    let unchanged = "service/web unchanged\ndeployment.apps/web unchanged\n";
    assert_eq!(gated.ok_with("apply -f -", WEB).await, unchanged);
    gated.ok("rollout status deployment/web --timeout=60s").await;
    let pods = gated.ok("get pods -A --no-headers").await;
    assert!(pods.lines().count() == 1 && pods.starts_with("taiga ") && pods.contains(" Running "), "{pods}");
    let seen = gated.ok("get deployment web -o yaml").await;
    assert!(seen.contains("image: app:1") && seen.contains("namespace: taiga"), "{seen}");
    for added in ["dnsConfig", "redrill", "SSL_CERT_FILE", PREFIX] {
        assert!(!seen.contains(added), "{added} is seen: {seen}");
    }
    let real = gated.existing.store.get(&kind::DEPLOYMENT, &format!("{PREFIX}taiga"), "web").unwrap();
    assert_eq!(real["spec"]["template"]["spec"]["dnsPolicy"], "None");
    assert_eq!(real["spec"]["template"]["spec"]["containers"][0]["image"], station::WORKSTATION_IMAGE);

    // Names of the page's lead where they should, and no others lead anywhere.
    for name in ["web", "web.taiga", "web.taiga.svc.cluster.local"] {
        let found = gated.ok(&format!("exec deployment/web -- getent ahostsv4 {name}")).await;
        assert!(found.starts_with("10."), "{name}: {found}");
    }
    gated.fails("exec deployment/web -- getent ahostsv4 web.bystander", "exit code 2").await;
    gated.fails("exec deployment/web -- getent ahostsv4 example.com", "exit code 2").await;
    let resolves = gated.ok("exec deployment/web -- cat /etc/resolv.conf /etc/nsswitch.conf").await;
    assert!(resolves.contains("search taiga.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"));
    assert!(resolves.contains("hosts: files dns\n"), "{resolves}");

    gated.ok("edit deployment web").await;
    let greeting = "get deployment web -o jsonpath={.spec.template.spec.containers[0].env[*].value}";
    assert_eq!(gated.ok(greeting).await, "two");
    let patch =
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"app","env":[{"name":"GREETING","value":"three"}]}]}}}}"#;
    gated.ok(&format!("patch deployment web -p '{patch}'")).await;
    assert_eq!(gated.ok(greeting).await, "three");
    gated.ok("rollout status deployment/web --timeout=60s").await;
    gated.ok("rollout undo deployment/web").await;
    assert_eq!(gated.ok(greeting).await, "two");
    gated.ok("rollout status deployment/web --timeout=60s").await;
    gated.ok("exec deployment/web -- getent ahostsv4 web").await;
    json_patches(&gated, greeting).await;
    gated.fails("set image deployment/web app=busybox", "no image `busybox` in this drill").await;

    // A namespace of the same name is another one, and closed as the first was.
    gated.ok("delete namespace taiga --timeout=60s").await;
    assert_eq!(gated.ok("get pods -A").await, "");
    gated.ok_with("apply -f -", NAMESPACE).await;
    gated.ok_with("apply -f -", WEB).await;
    gated.ok("rollout status deployment/web --timeout=60s").await;
    gated.ok("delete namespace taiga --timeout=60s").await;
    assert_eq!(gated.ok("get namespaces -o name").await, "");
    gated.close().await;
}

/// Indexes of a JSON patch are those of the lists that the page sees, and what it replaces whole keeps what redrill adds.
async fn json_patches(gated: &Gated, greeting: &str) {
    let variables = "/spec/template/spec/containers/0/env";
    let patch = |operations: String| format!("patch deployment web --type=json -p '[{operations}]'");
    let add = format!(r#"{{"op":"add","path":"{variables}/-","value":{{"name":"SECOND","value":"b"}}}}"#);
    let replace = format!(r#"{{"op":"replace","path":"{variables}/1/value","value":"c"}}"#);
    gated.ok(&patch(format!("{add},{replace}"))).await;
    assert_eq!(gated.ok(greeting).await, "two c");
    let test = format!(r#"{{"op":"test","path":"{variables}/0/name","value":"SSL_CERT_FILE"}}"#);
    gated.fails(&patch(test), "the server rejected our request due to an error in our request").await;
    gated.ok(&patch(format!(r#"{{"op":"remove","path":"{variables}"}}"#))).await;
    assert_eq!(gated.ok(greeting).await, "");
    gated.ok("rollout status deployment/web --timeout=60s").await;
    gated.ok("exec deployment/web -- sh -c 'test -s $SSL_CERT_FILE'").await;
}

/// A Deployment whose pods have this in their specification.
fn deployment(spec: &str) -> String {
    let (_, deployment) = WEB.split_once("---\n").unwrap();
    deployment.replace("      terminationGracePeriodSeconds: 0\n", &format!("      {spec}\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leads_out_of_a_drill_is_refused_by_name() {
    let gated = Gated::open().await;
    gated.ok_with("apply -f -", NAMESPACE).await;
    let before = gated.existing.inventory().await;
    let role = "create clusterrole reader --verb=get --resource=pods";
    gated.fails(role, "clusterroles.rbac.authorization.k8s.io belong to the whole cluster").await;
    for (spec, reason) in [
        ("volumes: [{name: v, hostPath: {path: /}}]", "`hostPath` holds what is not the drill's"),
        ("hostNetwork: true", "`hostNetwork` takes a pod out of the drill"),
        ("nodeName: redrill", "`nodeName` leads out of the drill"),
        ("dnsPolicy: None\n      dnsConfig: {nameservers: [10.0.0.10]}", "`dnsConfig`"),
    ] {
        gated.fails_with("create -f -", &deployment(spec), reason).await;
    }
    gated.fails("create service loadbalancer out --tcp=80", "a Service of type LoadBalancer opens the drill").await;
    gated.fails("create token default", "credentials of the cluster do not enter a drill").await;

    assert_eq!(gated.ok("-n bystander get secrets,configmaps -o name").await, "");
    assert_eq!(gated.ok("get secrets -A -o name").await, "");
    gated.fails("-n bystander get secret postgres-secret", "not found").await;
    gated.fails("-n bystander delete secret postgres-secret", "not found").await;
    gated.fails("-n bystander create configmap x", "\"bystander\" not found").await;
    gated.fails("delete namespace bystander", "not found").await;
    gated.fails(&format!("get --raw /api/v1/namespaces/{PREFIX}taiga/../bystander/secrets"), "could not find").await;
    for own in ["redrill-porter", "redrill-stranger"] {
        gated.fails(&format!("-n {own} get pods"), "is redrill's").await;
        gated.fails(&format!("delete namespace {own}"), "is redrill's").await;
    }
    for verb in ["get", "delete"] {
        gated.fails(&format!("{verb} configmap redrill-authorities"), "\"redrill-authorities\" not found").await;
    }
    gated.ok("delete configmaps,secrets --all").await;
    Existing::assert_untouched(&before, &gated.existing.inventory().await);
    gated.close().await;
}
