//! Where workloads keep the description of their pods.

use serde_json::Value;

use super::Object;

/// Path and value of the pod's spec inside a workload; `None` for kinds that make no pods.
pub fn pod_spec(object: &Object) -> Option<(&'static str, &Value)> {
    let path = match object.kind.kind {
        "Pod" => "/spec",
        "Deployment" | "StatefulSet" | "ReplicaSet" | "Job" => "/spec/template/spec",
        "CronJob" => "/spec/jobTemplate/spec/template/spec",
        _ => return None,
    };
    Some((path, object.value.pointer(path)?))
}

/// Path and value of every container that a workload's pods have, init containers first.
pub fn containers(object: &Object) -> Vec<(String, &Value)> {
    let Some((path, spec)) = pod_spec(object) else { return Vec::new() };
    let mut containers = Vec::new();
    for list in ["initContainers", "containers"] {
        for (index, container) in spec[list].as_array().into_iter().flatten().enumerate() {
            containers.push((format!("{path}/{list}/{index}"), container));
        }
    }
    containers
}
