//! The account's pod, which mounts every file system, and what its operator needs on the workstation.

use serde_json::{Value, json};

use super::Parts;
use crate::drill::record::Halt;
use crate::drill::{stage, station};
use crate::kubernetes::Kubernetes;
use crate::redact::Secret;
use crate::scenario::Aws;
use crate::store::aws::{ACCESS_KEY, SECRET_KEY, control};

/// Of the account's pod; its value is the store's name.
pub const LABEL: &str = "redrill.dev/account";

/// The pod is beside the tasks, where the claims are; so are its Secret and its Service.
pub fn objects(parts: &Parts<'_>) -> Vec<Value> {
    let name = station::store_service(parts.name);
    let namespace = parts.system.source.namespace.as_str();
    let secret = |name: String, data: Vec<(&str, &Secret)>| station::secret_in(&name, namespace, &data);
    let chain = Secret::new(&parts.certificate.certificate);
    let parameters = parts.parameters.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {LABEL: parts.name}, "ports": [{"port": 443, "targetPort": 443}]},
    });
    let template = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace},
        "data": {"template.yaml": parts.template},
    });
    let own = vec![
        ("access-key", &parts.access),
        ("secret-key", &parts.secret),
        ("config", &parts.kubeconfig),
        ("tls.crt", &chain),
        ("tls.key", &parts.certificate.key),
    ];
    let (own, parameters) = (secret(name.clone(), own), secret(format!("{name}-parameters"), parameters));
    vec![own, parameters, template, service, pod(parts, &name)]
}

fn pod(parts: &Parts<'_>, name: &str) -> Value {
    let source = &parts.system.source;
    let key = |variable: &str, key: &str| json!({"name": variable, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}});
    let items = |keys: &[&str]| -> Value { keys.iter().map(|key| json!({"key": key, "path": key})).collect() };
    let mut mounts = vec![
        json!({"name": "kubeconfig", "mountPath": "/account/kubeconfig", "readOnly": true}),
        json!({"name": "tls", "mountPath": "/account/tls", "readOnly": true}),
        json!({"name": "parameters", "mountPath": "/account/parameters", "readOnly": true}),
        json!({"name": "template", "mountPath": "/account/template", "readOnly": true}),
        json!({"name": "vault", "mountPath": "/vault"}),
        json!({"name": "run", "mountPath": control::FOLDER}),
    ];
    let mut volumes = vec![
        json!({"name": "kubeconfig", "secret": {"secretName": name, "defaultMode": 0o400, "items": items(&["config"])}}),
        json!({"name": "tls", "secret": {"secretName": name, "defaultMode": 0o400, "items": items(&["tls.crt", "tls.key"])}}),
        json!({"name": "parameters", "secret": {"secretName": format!("{name}-parameters"), "defaultMode": 0o400}}),
        json!({"name": "template", "configMap": {"name": name}}),
        json!({"name": "vault", "emptyDir": {}}),
        json!({"name": "run", "emptyDir": {}}),
    ];
    for system in parts.stack.file_systems.values() {
        let volume = format!("efs-{}", system.claim);
        mounts.push(json!({"name": volume, "mountPath": format!("/efs/{}", system.claim)}));
        volumes.push(json!({"name": volume, "persistentVolumeClaim": {"claimName": system.claim}}));
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": source.namespace, "labels": {LABEL: parts.name}},
        "spec": {
            "terminationGracePeriodSeconds": 1, "enableServiceLinks": false, "volumes": volumes,
            "containers": [{
                "name": "account", "image": station::IMAGE,
                "command": ["redrill", "__aws", "--stack", source.stack, "--region", source.region,
                    "--namespace", source.namespace, "--pod", name],
                "env": [key(ACCESS_KEY, "access-key"), key(SECRET_KEY, "secret-key")],
                "readinessProbe": {"tcpSocket": {"port": 443}, "periodSeconds": 1}, "volumeMounts": mounts,
            }],
        },
    })
}

/// Region and keys where the `aws` command looks for them. What it trusts is what everything inside trusts.
pub async fn lay_out_workstation(kubernetes: &Kubernetes, aws: &Aws, parts: &Parts<'_>) -> Result<(), Halt> {
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    let config = format!("[default]\nregion = {}\noutput = json\ncli_pager =\nca_bundle = {bundle}\n", aws.region);
    let keys = format!(
        "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        parts.access.expose(),
        parts.secret.expose()
    );
    stage::write_file(kubernetes, &format!("{}/.aws/config", station::HOME), &config).await?;
    stage::write_file(kubernetes, &format!("{}/.aws/credentials", station::HOME), &keys).await
}
