//! What the API server fills in where a manifest says nothing.

use base64::Engine;
use serde_json::{Map, Value, json};

use super::kind::Kind;

mod create;
pub use create::on_create;

/// Fills in the defaults of a kind. Doing it twice changes nothing. (See [`on_create`] for what is given once.)
pub fn default(kind: &Kind, object: &mut Value) {
    decode(kind, object);
    match kind.kind {
        "Service" => allocate(object),
        "Namespace" => activate(object),
        _ => {}
    }
}

/// Fills in what the API server fills in when it decodes a body: whoever wrote the body manages these fields.
pub fn decode(kind: &Kind, object: &mut Value) {
    match kind.kind {
        "Pod" => {
            pod_spec(within(object, &["spec"]));
            create::pod(within(object, &["spec"]));
        }
        "Deployment" => deployment(within(object, &["spec"])),
        "ReplicaSet" => {
            set(within(object, &["spec"]), "replicas", json!(1));
            pod_spec(within(object, &["spec", "template", "spec"]));
        }
        "StatefulSet" => stateful_set(within(object, &["spec"])),
        "Job" => {
            let spec = within(object, &["spec"]);
            set(spec, "manualSelector", json!(false));
            job_spec(spec);
        }
        "CronJob" => cron_job(object),
        "Service" => service(object),
        "Secret" => secret(object),
        "PersistentVolumeClaim" => claim(object),
        "Namespace" => namespace(object),
        _ => {}
    }
}

/// The object at a path, made where it is absent.
fn within<'a>(object: &'a mut Value, path: &[&str]) -> &'a mut Value {
    path.iter().fold(object, |value, step| {
        if !value[*step].is_object() {
            value[*step] = Value::Object(Map::new());
        }
        &mut value[*step]
    })
}

fn set(object: &mut Value, field: &str, value: Value) {
    if object.get(field).is_none_or(Value::is_null) {
        object[field] = value;
    }
}

fn items<'a>(object: &'a mut Value, list: &str) -> impl Iterator<Item = &'a mut Value> {
    object.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten().filter(|item| item.is_object())
}

fn pod_spec(spec: &mut Value) {
    set(spec, "restartPolicy", json!("Always"));
    set(spec, "terminationGracePeriodSeconds", json!(30));
    set(spec, "dnsPolicy", json!("ClusterFirst"));
    set(spec, "securityContext", json!({}));
    set(spec, "schedulerName", json!("default-scheduler"));
    // The older name of the same field.
    match (spec.get("serviceAccountName").cloned(), spec.get("serviceAccount").cloned()) {
        (Some(name), _) => set(spec, "serviceAccount", name),
        (None, Some(name)) => set(spec, "serviceAccountName", name),
        (None, None) => {}
    }
    for list in ["initContainers", "containers"] {
        items(spec, list).for_each(container);
    }
    items(spec, "volumes").for_each(volume);
}

/// When an image is pulled whose container does not say.
pub fn pull_policy(image: &str) -> &'static str {
    let tag = image.rsplit('/').next().and_then(|name| name.split_once(':')).map(|(_, tag)| tag);
    let is_latest = !image.contains('@') && tag.is_none_or(|tag| tag == "latest");
    if is_latest { "Always" } else { "IfNotPresent" }
}

fn container(container: &mut Value) {
    let policy = pull_policy(container["image"].as_str().unwrap_or_default());
    set(container, "imagePullPolicy", json!(policy));
    set(container, "terminationMessagePath", json!("/dev/termination-log"));
    set(container, "terminationMessagePolicy", json!("File"));
    set(container, "resources", json!({}));
    for port in items(container, "ports") {
        set(port, "protocol", json!("TCP"));
    }
    for variable in items(container, "env") {
        if let Some(field) = variable.get_mut("valueFrom").and_then(|from| from.get_mut("fieldRef")) {
            set(field, "apiVersion", json!("v1"));
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe).filter(|probe| probe.is_object()) {
            default_probe(probe);
        }
    }
}

fn default_probe(probe: &mut Value) {
    for (field, value) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        // A zero here is an unset field, and no sensible number.
        if probe[field].as_i64().unwrap_or(0) == 0 {
            probe[field] = json!(value);
        }
    }
    if let Some(get) = probe.get_mut("httpGet").filter(|get| get.is_object()) {
        set(get, "path", json!("/"));
        set(get, "scheme", json!("HTTP"));
    }
}

fn volume(volume: &mut Value) {
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = volume.get_mut(source).filter(|source| source.is_object()) {
            set(source, "defaultMode", json!(0o644));
        }
    }
    let has_source = volume.as_object().is_some_and(|volume| volume.keys().any(|key| key != "name"));
    if !has_source {
        volume["emptyDir"] = json!({});
    }
}

fn deployment(spec: &mut Value) {
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "progressDeadlineSeconds", json!(600));
    let strategy = within(spec, &["strategy"]);
    set(strategy, "type", json!("RollingUpdate"));
    if strategy["type"] == "RollingUpdate" {
        let rolling = within(strategy, &["rollingUpdate"]);
        set(rolling, "maxUnavailable", json!("25%"));
        set(rolling, "maxSurge", json!("25%"));
    }
    pod_spec(within(spec, &["template", "spec"]));
}

fn stateful_set(spec: &mut Value) {
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "podManagementPolicy", json!("OrderedReady"));
    let retention = within(spec, &["persistentVolumeClaimRetentionPolicy"]);
    set(retention, "whenDeleted", json!("Retain"));
    set(retention, "whenScaled", json!("Retain"));
    let strategy = within(spec, &["updateStrategy"]);
    set(strategy, "type", json!("RollingUpdate"));
    if strategy["type"] == "RollingUpdate" {
        set(within(strategy, &["rollingUpdate"]), "partition", json!(0));
    }
    for template in items(spec, "volumeClaimTemplates") {
        template["apiVersion"] = json!("v1");
        template["kind"] = json!("PersistentVolumeClaim");
        claim(template);
        set(template, "status", json!({"phase": "Pending"}));
    }
    pod_spec(within(spec, &["template", "spec"]));
}

/// The spec of a job, also of a cron job's template.
fn job_spec(spec: &mut Value) {
    if spec.get("completions").is_none() && spec.get("parallelism").is_none() {
        set(spec, "completions", json!(1));
    }
    set(spec, "parallelism", json!(1));
    set(spec, "backoffLimit", json!(6));
    set(spec, "completionMode", json!("NonIndexed"));
    set(spec, "suspend", json!(false));
    set(spec, "podReplacementPolicy", json!("TerminatingOrFailed"));
    pod_spec(within(spec, &["template", "spec"]));
}

fn cron_job(object: &mut Value) {
    let spec = within(object, &["spec"]);
    set(spec, "concurrencyPolicy", json!("Allow"));
    set(spec, "suspend", json!(false));
    set(spec, "successfulJobsHistoryLimit", json!(3));
    set(spec, "failedJobsHistoryLimit", json!(1));
    within(spec, &["jobTemplate", "metadata"]);
    within(spec, &["jobTemplate", "spec", "template", "metadata"]);
    // Of the job itself only the pods' part has defaults here: the rest comes when the job is made.
    pod_spec(within(spec, &["jobTemplate", "spec", "template", "spec"]));
}

fn service(object: &mut Value) {
    let spec = within(object, &["spec"]);
    set(spec, "type", json!("ClusterIP"));
    set(spec, "sessionAffinity", json!("None"));
    for port in items(spec, "ports") {
        set(port, "protocol", json!("TCP"));
        let own = port["port"].clone();
        set(port, "targetPort", own);
    }
    if spec["type"] == "ExternalName" {
        return;
    }
    set(spec, "internalTrafficPolicy", json!("Cluster"));
    if ["NodePort", "LoadBalancer"].contains(&spec["type"].as_str().unwrap_or_default()) {
        set(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if spec["type"] == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
}

/// Addresses and ports for a service that has none.
fn allocate(object: &mut Value) {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
    let spec = within(object, &["spec"]);
    if spec["type"] == "ExternalName" {
        return;
    }
    set(spec, "ipFamilies", json!(["IPv4"]));
    set(spec, "ipFamilyPolicy", json!("SingleStack"));
    if spec["clusterIP"].as_str().unwrap_or_default().is_empty() {
        spec["clusterIP"] = json!(made_up_address(&namespace, &name));
    }
    let address = spec["clusterIP"].clone();
    set(spec, "clusterIPs", json!([address]));
    if ["NodePort", "LoadBalancer"].contains(&spec["type"].as_str().unwrap_or_default()) {
        for port in items(spec, "ports") {
            let made_up = made_up_port(&namespace, &name, &port["port"]);
            set(port, "nodePort", json!(made_up));
        }
    }
}

/// A port that nothing listens on, of the range that API servers give from.
fn made_up_port(namespace: &str, name: &str, port: &Value) -> u16 {
    let hash = blake3::hash(format!("{namespace}/{name}:{port}").as_bytes());
    let [first, second, ..] = *hash.as_bytes();
    30_000 + u16::from_be_bytes([first, second]) % 2_768
}

/// An address that nothing listens on: a service's name resolves straight to its pods here. The same name has the same
/// address in every run.
fn made_up_address(namespace: &str, name: &str) -> String {
    let hash = blake3::hash(format!("{namespace}/{name}").as_bytes());
    let bytes = hash.as_bytes();
    format!("10.96.{}.{}", bytes[0], bytes[1].clamp(1, 254))
}

fn secret(object: &mut Value) {
    set(object, "type", json!("Opaque"));
    let Some(Value::Object(plain)) = object.as_object_mut().and_then(|object| object.shift_remove("stringData")) else {
        return;
    };
    let data = within(object, &["data"]);
    for (key, value) in plain {
        data[key] = json!(base64::engine::general_purpose::STANDARD.encode(value.as_str().unwrap_or_default()));
    }
}

fn claim(object: &mut Value) {
    set(within(object, &["spec"]), "volumeMode", json!("Filesystem"));
}

fn namespace(object: &mut Value) {
    let name = object["metadata"]["name"].clone();
    set(within(object, &["metadata", "labels"]), "kubernetes.io/metadata.name", name);
}

fn activate(object: &mut Value) {
    set(within(object, &["spec"]), "finalizers", json!(["kubernetes"]));
    if object["status"]["phase"].is_null() {
        object["status"] = json!({"phase": "Active"});
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::kind::{self, KINDS};

    #[test]
    fn defaulting_twice_is_defaulting_once() {
        for kind in KINDS {
            let mut once = json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {
                "template": {"spec": {"containers": [{"name": "c", "image": "i", "readinessProbe": {"httpGet": {}}}],
                    "volumes": [{"name": "v"}, {"name": "s", "secret": {}}]}},
                "ports": [{"port": 80}], "volumeClaimTemplates": [{"metadata": {"name": "d"}}]},
                "stringData": {"k": "v"}});
            default(kind, &mut once);
            let mut twice = once.clone();
            default(kind, &mut twice);
            assert_eq!(once, twice, "{}", kind.kind);
        }
    }

    #[test]
    fn string_data_wins_over_data_and_is_gone() {
        let mut object = json!({"data": {"a": "b2xk", "b": "eA=="}, "stringData": {"a": "new"}});
        default(&kind::SECRET, &mut object);
        assert_eq!(object, json!({"data": {"a": "bmV3", "b": "eA=="}, "type": "Opaque"}));
    }

    #[test]
    fn only_the_latest_tag_is_always_pulled() {
        for (image, policy) in [
            ("web", "Always"),
            ("r:5000/web", "Always"),
            ("web:latest", "Always"),
            ("r:5000/web:1", "IfNotPresent"),
            ("web@sha256:ab", "IfNotPresent"),
        ] {
            let mut object = json!({"spec": {"containers": [{"image": image}]}});
            default(&kind::POD, &mut object);
            assert_eq!(object["spec"]["containers"][0]["imagePullPolicy"], policy, "{image}");
        }
    }

    #[test]
    fn a_recreate_strategy_gets_no_rolling_update() {
        let mut object = json!({"spec": {"strategy": {"type": "Recreate"}}});
        default(&kind::DEPLOYMENT, &mut object);
        assert_eq!(object["spec"]["strategy"], json!({"type": "Recreate"}));
    }
}
