//! The drill's own pods: the operator's workstation, the prober, the stores. They stand outside the system's
//! namespace, so that losing the system loses none of them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::authority::Certificate;
use crate::doctor::go_module::{GoProgram, HELM_DIFF};
use crate::drill::editor;
use crate::redact::Secret;
use crate::scenario::FileTree;
use crate::session::WORKSTATION_SHELL;

/// The namespace of everything here but the file probers.
pub const NAMESPACE: &str = "redrill";
/// redrill itself, for the prober and the stores.
pub const IMAGE: &str = "redrill.invalid/redrill:drill";
/// A shell, kubectl and the client programs.
pub const WORKSTATION_IMAGE: &str = "redrill.invalid/workstation:drill";
/// The server that stands for Google Cloud Storage.
pub const GCS_IMAGE: &str = "redrill.invalid/gcs:drill";
pub const WORKSTATION: &str = "workstation";
pub const PROBER: &str = "prober";
/// Where the operator's kubeconfig is given; the shell works on a copy, since runbooks change contexts.
pub const KUBECONFIG: &str = "/run/redrill/kubeconfig";
pub const HOME: &str = "/home/operator";
/// Where the program is given that stands for every editor.
const EDITOR: &str = "/run/redrill/editor";
/// Where helm finds its plugins, each in a folder.
const HELM_PLUGINS: &str = "/run/redrill/helm";

const LABEL: &str = "redrill.dev/part";

pub fn namespace() -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
}

/// The operator's workstation: a Secret with the kubeconfig, the editor, and the pod.
pub fn workstation(kubeconfig: &Secret) -> Vec<Value> {
    let start = format!(
        "umask 077; mkdir -p {HOME}/.kube && cp {KUBECONFIG}/config {HOME}/.kube/config && exec sleep infinity"
    );
    let mut env = vec![
        json!({"name": "HOME", "value": HOME}),
        json!({"name": "KUBECONFIG", "value": format!("{HOME}/.kube/config")}),
        json!({"name": "HELM_PLUGINS", "value": HELM_PLUGINS}),
    ];
    let editors = ["KUBE_EDITOR", "VISUAL", "EDITOR"];
    env.extend(editors.map(|name| json!({"name": name, "value": format!("{EDITOR}/editor")})));
    vec![
        secret("workstation-kubeconfig", &[("config", kubeconfig)]),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "workstation-editor", "namespace": NAMESPACE},
            "data": {"editor": editor::program()},
        }),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "workstation-helm-diff", "namespace": NAMESPACE},
            "data": {"plugin.yaml": helm_diff()},
        }),
        pod(
            WORKSTATION,
            NAMESPACE,
            json!({
                "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "shell", "image": WORKSTATION_IMAGE, "command": ["sh", "-c", start],
                    "env": env,
                    "readinessProbe": {"exec": {"command": ["test", "-s", format!("{HOME}/.kube/config")]}},
                    "volumeMounts": [
                        {"name": "kubeconfig", "mountPath": KUBECONFIG, "readOnly": true},
                        {"name": "editor", "mountPath": EDITOR, "readOnly": true},
                        {"name": "helm-diff", "mountPath": format!("{HELM_PLUGINS}/diff"), "readOnly": true},
                        {"name": "home", "mountPath": HOME},
                    ],
                }],
                "volumes": [
                    {"name": "kubeconfig", "secret": {"secretName": "workstation-kubeconfig", "defaultMode": 0o400}},
                    {"name": "editor", "configMap": {"name": "workstation-editor", "defaultMode": 0o500}},
                    {"name": "helm-diff", "configMap": {"name": "workstation-helm-diff"}},
                    {"name": "home", "emptyDir": {}},
                ],
            }),
        ),
    ]
}

/// How helm learns of its plugin `diff`: what lies as `plugin.yaml` beside it.
pub fn helm_diff() -> String {
    let GoProgram { name, version, .. } = HELM_DIFF;
    format!("name: diff\nversion: {version}\nusage: what an upgrade would change\ncommand: {name}\n")
}

/// The program of an operator's terminal, started in a folder where there is one; at home, if the page has done away with it.
pub fn shell(folder: Option<&str>) -> Vec<&str> {
    let there = folder.map(|folder| ["sh", "-c", r#"cd "$0" || cd; exec "$@""#, folder]);
    there.into_iter().flatten().chain(WORKSTATION_SHELL).collect()
}

/// The prober for everything that is reached over the network.
pub fn prober() -> Value {
    pod(PROBER, NAMESPACE, prober_spec(&[]))
}

/// A prober in the claims' own namespace that mounts them at [`tree_root`]; made when needed, removed after.
pub fn file_prober(name: &str, namespace: &str, trees: &[(&str, &FileTree)]) -> Value {
    pod(name, namespace, prober_spec(trees))
}

/// Where a file prober sees a tree.
pub fn tree_root(name: &str, tree: &FileTree) -> String {
    format!("/claims/{name}/{}", tree.path)
}

fn prober_spec(trees: &[(&str, &FileTree)]) -> Value {
    let mounts: Vec<Value> =
        trees.iter().map(|(name, _)| json!({"name": name, "mountPath": format!("/claims/{name}")})).collect();
    let volumes: Vec<Value> = trees
        .iter()
        .map(|(name, tree)| json!({"name": name, "persistentVolumeClaim": {"claimName": tree.claim.name}}))
        .collect();
    json!({
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "prober", "image": IMAGE, "command": ["sleep", "infinity"], "volumeMounts": mounts}],
        "volumes": volumes,
    })
}

/// The Service in [`NAMESPACE`] that stands for a store.
pub fn store_service(name: &str) -> String {
    format!("store-{name}")
}

/// An S3 store: its keys, its pod and the service that its outside name resolves to.
pub fn s3(name: &str, bucket: &str, access: &Secret, secret: &Secret, certificate: &Certificate) -> Vec<Value> {
    let service = store_service(name);
    let key = |variable: &str, key: &str| json!({"name": variable, "valueFrom": {"secretKeyRef": {"name": service, "key": key}}});
    let server = json!({
        "name": "s3", "image": IMAGE,
        "command": ["redrill", "__s3", "--listen", "0.0.0.0:443", "--root", "/objects", "--buckets", bucket,
            "--tls-cert", "/tls/tls.crt", "--tls-key", "/tls/tls.key"],
        "env": [key("REDRILL_S3_ACCESS_KEY", "access-key"), key("REDRILL_S3_SECRET_KEY", "secret-key")],
    });
    store(name, server, &[("access-key", access), ("secret-key", secret)], certificate)
}

/// A store for Google Cloud Storage with one bucket, which is a folder: its pod and the service that the outside names resolve
/// to. It asks for no credentials.
pub fn gcs(name: &str, bucket: &str, certificate: &Certificate) -> Vec<Value> {
    let start = r#"mkdir -p "/objects/$BUCKET"
exec fake-gcs-server -backend filesystem -filesystem-root /objects -scheme https -host 0.0.0.0 -port 443 \
    -cert-location /tls/tls.crt -private-key-location /tls/tls.key -external-url https://storage.googleapis.com"#;
    let server = json!({
        "name": "gcs", "image": GCS_IMAGE, "command": ["sh", "-euc", start],
        "env": [
            {"name": "BUCKET", "value": bucket},
            // An upload is in its memory until it is complete: what it no longer needs it gives back sooner.
            {"name": "GOGC", "value": "25"},
        ],
    });
    store(name, server, &[], certificate)
}

/// A chart repository with these files.
pub fn charts(name: &str, files: &[(String, Vec<u8>)], certificate: &Certificate) -> Vec<Value> {
    let server = json!({
        "name": "charts", "image": IMAGE,
        "command": ["redrill", "__charts", "--listen", "0.0.0.0:443", "--root", "/charts",
            "--tls-cert", "/tls/tls.crt", "--tls-key", "/tls/tls.key"],
    });
    let mut objects = store(name, server, &[], certificate);
    let service = store_service(name);
    let added = [
        ("/spec/volumes", json!({"name": "charts", "configMap": {"name": service}})),
        ("/spec/containers/0/volumeMounts", json!({"name": "charts", "mountPath": "/charts"})),
    ];
    for pod in objects.iter_mut().filter(|object| object["kind"] == "Pod") {
        for (list, item) in &added {
            if let Some(list) = pod.pointer_mut(list).and_then(Value::as_array_mut) {
                list.push(item.clone());
            }
        }
    }
    let data: serde_json::Map<String, Value> =
        files.iter().map(|(name, bytes)| (name.clone(), json!(STANDARD.encode(bytes)))).collect();
    objects.insert(0, json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": service, "namespace": NAMESPACE}, "binaryData": data,
    }));
    objects
}

/// A server on port 443 with a directory of its own below /objects.
fn store(name: &str, mut server: Value, keys: &[(&str, &Secret)], certificate: &Certificate) -> Vec<Value> {
    let service = store_service(name);
    server["readinessProbe"] = json!({"tcpSocket": {"port": 443}});
    server["volumeMounts"] = json!([
        {"name": "objects", "mountPath": "/objects"},
        {"name": "tls", "mountPath": "/tls", "readOnly": true},
    ]);
    let mut pod = pod(
        &service,
        NAMESPACE,
        json!({
            "terminationGracePeriodSeconds": 1,
            "containers": [server],
            "volumes": [
                {"name": "objects", "emptyDir": {}},
                {"name": "tls", "secret": {"secretName": service, "items": [
                    {"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.key"}]}},
            ],
        }),
    );
    pod["metadata"]["labels"]["redrill.dev/store"] = json!(name);
    let chain = Secret::new(&certificate.certificate);
    let mut data = keys.to_vec();
    data.extend([("tls.crt", &chain), ("tls.key", &certificate.key)]);
    vec![
        secret(&service, &data),
        pod,
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": service, "namespace": NAMESPACE},
            "spec": {"selector": {"redrill.dev/store": name}, "ports": [{"port": 443, "targetPort": 443}]},
        }),
    ]
}

fn secret(name: &str, data: &[(&str, &Secret)]) -> Value {
    secret_in(name, NAMESPACE, data)
}

/// A Secret of the drill's own in any namespace.
pub fn secret_in(name: &str, namespace: &str, data: &[(&str, &Secret)]) -> Value {
    let data: serde_json::Map<String, Value> =
        data.iter().map(|(key, value)| ((*key).to_owned(), json!(STANDARD.encode(value.expose())))).collect();
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": data})
}

fn pod(name: &str, namespace: &str, spec: Value) -> Value {
    let labels = json!({LABEL: name});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": spec,
    })
}
