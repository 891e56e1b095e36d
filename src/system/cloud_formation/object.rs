//! What a stack is on a cluster before any of its tasks runs.

use serde_json::{Value, json};

use super::{Stack, StackSource};
use crate::cluster::kind::{self, Kind};
use crate::outcome::SourceRef;
use crate::system::{Object, yaml};

/// By which pods of a service are found.
pub const SERVICE_LABEL: &str = "redrill.dev/ecs-service";

pub(super) fn objects(stack: &Stack, source: &StackSource) -> Vec<Object> {
    let namespace = source.namespace.as_str();
    let file = source.template.display().to_string();
    let start = SourceRef { file, line: 1 };
    let value = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    let mut objects = vec![object(&kind::NAMESPACE, "", namespace, value, start)];
    for system in stack.file_systems.values() {
        let value = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": system.claim, "namespace": namespace},
            "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
        });
        objects.push(object(&kind::CLAIM, namespace, &system.claim, value, system.source.clone()));
    }
    for service in stack.services.values() {
        let containers = stack.tasks.get(&service.task).map(|task| task.containers.as_slice()).unwrap_or_default();
        let numbers = containers.iter().flat_map(|container| &container.ports).filter(|port| port.on_host);
        let ports: Vec<Value> = numbers
            .map(
                |port| json!({"name": format!("port-{}", port.number), "port": port.number, "targetPort": port.number}),
            )
            .collect();
        if ports.is_empty() {
            continue;
        }
        let value = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": service.name, "namespace": namespace},
            "spec": {"selector": {SERVICE_LABEL: service.name}, "ports": ports},
        });
        objects.push(object(&kind::SERVICE, namespace, &service.name, value, service.source.clone()));
    }
    objects
}

fn object(kind: &'static Kind, namespace: &str, name: &str, value: Value, source: SourceRef) -> Object {
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    Object { kind, namespace, name, value, source, lines: yaml::Lines::default() }
}
