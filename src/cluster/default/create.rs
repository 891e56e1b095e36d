//! What an object is given once, when it is made.

use serde_json::{Map, Value, json};

use super::{items, set, within};
use crate::cluster::kind::Kind;

/// Gives a new object (with its defaults, and with its uid) what the API server gives to a new one: its first status, a job its
/// selector.
pub fn on_create(kind: &Kind, object: &mut Value) {
    let status = match kind.kind {
        "Pod" => json!({"phase": "Pending", "qosClass": quality(&object["spec"])}),
        "Job" => {
            job(object);
            json!({})
        }
        "Deployment" | "CronJob" => json!({}),
        "ReplicaSet" => json!({"replicas": 0}),
        "StatefulSet" => json!({"replicas": 0, "availableReplicas": 0}),
        "Service" => json!({"loadBalancer": {}}),
        "PersistentVolumeClaim" => json!({"phase": "Pending"}),
        _ => return,
    };
    set(object, "status", status);
}

/// What a pod has and a template has not: requests where there are only limits.
pub fn pod(spec: &mut Value) {
    set(spec, "enableServiceLinks", json!(true));
    for list in ["initContainers", "containers"] {
        for container in items(spec, list) {
            let Some(limits) = container["resources"]["limits"].as_object().cloned() else { continue };
            let requests = within(container, &["resources", "requests"]);
            for (resource, limit) in limits {
                set(requests, &resource, limit);
            }
        }
    }
}

/// The class of service that a pod's requests and limits make.
fn quality(spec: &Value) -> &'static str {
    let containers = ["initContainers", "containers"].into_iter().flat_map(|list| spec[list].as_array()).flatten();
    let resources: Vec<&Value> = containers.map(|container| &container["resources"]).collect();
    let is_empty = |part: &Value| part.as_object().is_none_or(Map::is_empty);
    let is_limited = |one: &&Value| {
        ["cpu", "memory"]
            .iter()
            .all(|name| one["limits"][*name].is_string() && one["limits"][*name] == one["requests"][*name])
    };
    if resources.iter().all(|one| is_empty(&one["limits"]) && is_empty(&one["requests"])) {
        "BestEffort"
    } else if resources.iter().all(is_limited) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// The selector of a job and its pods' labels, by its uid.
fn job(object: &mut Value) {
    let (name, uid) = (object["metadata"]["name"].clone(), object["metadata"]["uid"].clone());
    let spec = within(object, &["spec"]);
    if spec["manualSelector"] == true {
        return;
    }
    let labels = within(spec, &["template", "metadata", "labels"]);
    for (label, value) in [("controller-uid", &uid), ("job-name", &name)] {
        // Labels from another job are left as they are, and refused after this.
        if labels[label].is_null() {
            labels[label] = value.clone();
            labels[format!("batch.kubernetes.io/{label}")] = value.clone();
        }
    }
    set(within(spec, &["selector", "matchLabels"]), "batch.kubernetes.io/controller-uid", uid);
    // A job without labels of its own shows its template's.
    let labels = object["spec"]["template"]["metadata"]["labels"].clone();
    set(within(object, &["metadata"]), "labels", labels);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_of_a_pod_follows_from_requests_and_limits() {
        let pod = |resources: Value| json!({"containers": [{"resources": resources}]});
        assert_eq!(quality(&pod(json!({}))), "BestEffort");
        assert_eq!(quality(&pod(json!({"requests": {"cpu": "1"}}))), "Burstable");
        let both = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(quality(&pod(json!({"requests": both, "limits": both}))), "Guaranteed");
    }
}
