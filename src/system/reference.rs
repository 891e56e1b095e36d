//! What objects of a system refer to must be there, or pods wait for it for ever.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Object, System, pod_template};
use crate::cluster::kind::{self, Kind};
use crate::problem::Problem;

/// Every reference that leads nowhere.
pub fn dangling(system: &System) -> Vec<Problem> {
    let mut problems = Vec::new();
    let namespaces: BTreeSet<&str> = system.objects_of(&kind::NAMESPACE).map(|object| &*object.name).collect();
    for object in system.objects() {
        if object.kind.namespaced && object.namespace != "default" && !namespaces.contains(&*object.namespace) {
            let message = format!("no manifest makes the namespace `{}`: add one", object.namespace);
            problems.push(object.problem("/metadata/namespace", message));
        }
        for (path, container) in pod_template::containers(object) {
            check_container(system, object, &path, container, &mut problems);
        }
        if let Some((path, spec)) = pod_template::pod_spec(object) {
            for (index, volume) in items(&spec["volumes"]) {
                check_volume(system, object, &format!("{path}/volumes/{index}"), volume, &mut problems);
            }
        }
    }
    problems
}

fn check_container(system: &System, object: &Object, path: &str, container: &Value, problems: &mut Vec<Problem>) {
    for (index, variable) in items(&container["env"]) {
        for (field, kind) in [("secretKeyRef", &kind::SECRET), ("configMapKeyRef", &kind::CONFIG_MAP)] {
            let reference = &variable["valueFrom"][field];
            let at = format!("{path}/env/{index}/valueFrom/{field}");
            if reference.is_object() && !is_optional(reference) {
                let key = reference["key"].as_str();
                problems.extend(missing(system, object, &at, kind, &reference["name"], key));
            }
        }
    }
    for (index, source) in items(&container["envFrom"]) {
        for (field, kind) in [("secretRef", &kind::SECRET), ("configMapRef", &kind::CONFIG_MAP)] {
            let reference = &source[field];
            if reference.is_object() && !is_optional(reference) {
                let at = format!("{path}/envFrom/{index}/{field}");
                problems.extend(missing(system, object, &at, kind, &reference["name"], None));
            }
        }
    }
}

fn check_volume(system: &System, object: &Object, path: &str, volume: &Value, problems: &mut Vec<Problem>) {
    let sources = [
        ("secret", "secretName", &kind::SECRET),
        ("configMap", "name", &kind::CONFIG_MAP),
        ("persistentVolumeClaim", "claimName", &kind::CLAIM),
    ];
    for (field, name, kind) in sources {
        let source = &volume[field];
        if !source.is_object() || is_optional(source) {
            continue;
        }
        let at = format!("{path}/{field}");
        problems.extend(missing(system, object, &at, kind, &source[name], None));
        for (index, item) in items(&source["items"]) {
            let at = format!("{at}/items/{index}");
            problems.extend(missing(system, object, &at, kind, &source[name], item["key"].as_str()));
        }
    }
}

/// The problem with a reference, if it leads to no object, or to one that has no such key.
fn missing(
    system: &System,
    object: &Object,
    path: &str,
    kind: &Kind,
    name: &Value,
    key: Option<&str>,
) -> Option<Problem> {
    let name = name.as_str().unwrap_or_default();
    let message = system.lacks(kind, &object.namespace, name, key)?;
    let path =
        if system.object(kind, &object.namespace, name).is_some() { format!("{path}/key") } else { path.to_owned() };
    Some(object.problem(&path, message))
}

fn is_optional(reference: &Value) -> bool {
    reference["optional"] == Value::Bool(true)
}

fn items(list: &Value) -> impl Iterator<Item = (usize, &Value)> {
    list.as_array().into_iter().flatten().enumerate()
}
