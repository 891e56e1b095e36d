//! What the gate lets nobody do on a cluster that others use, each with its reason.

use serde_json::Value;

use super::target::Objects;
use crate::kubernetes::Scope;

/// Kinds of volumes that hold nothing from outside the drill.
const VOLUMES: [&str; 7] =
    ["configMap", "secret", "emptyDir", "downwardAPI", "projected", "persistentVolumeClaim", "ephemeral"];

/// Fields of a pod that take it out of its own network, processes or files.
const HOST_FIELDS: [&str; 4] = ["hostNetwork", "hostPID", "hostIPC", "privileged"];

/// Cluster-scoped kinds that say something of the cluster and nothing of anybody's data.
const READABLE: [&str; 2] = ["nodes", "storageclasses.storage.k8s.io"];
/// Questions about oneself, which are asked by creating them.
const QUESTIONS: [&str; 2] =
    ["selfsubjectaccessreviews.authorization.k8s.io", "selfsubjectrulesreviews.authorization.k8s.io"];

/// Whether a request may go on at all, before its body is read. `owns_cluster`: the cluster is the drill's alone.
pub fn request(objects: &Objects, scope: Scope, is_read: bool, owns_cluster: bool) -> Result<(), String> {
    let what = objects.describe();
    match (objects.resource.as_str(), objects.subresource.as_deref()) {
        ("serviceaccounts", Some("token")) => {
            return Err(format!("{what}: credentials of the cluster do not enter a drill"));
        }
        ("pods", Some("binding")) | ("bindings", _) => {
            return Err(format!("{what}: the cluster's scheduler places pods"));
        }
        ("namespaces", Some("finalize")) => return Err(format!("{what}: the cluster finishes namespaces")),
        (_, Some(sub)) if sub.starts_with("proxy") => {
            return Err(format!("{what}: connect to a pod with `kubectl port-forward` or `kubectl exec`"));
        }
        ("ingresses", _) if !owns_cluster && !is_read => {
            return Err(format!("{what}: it would take over host names of the cluster's; leave it out of the drill"));
        }
        _ => {}
    }
    let is_known = scope == Scope::Namespaced || objects.are_namespaces() || QUESTIONS.contains(&what.as_str());
    if is_known || owns_cluster || (is_read && READABLE.contains(&what.as_str())) {
        return Ok(());
    }
    Err(format!(
        "{what} belong to the whole cluster and cannot be mapped to a drill's own namespaces: leave them out, or drill on a \
         cluster of its own (`--dedicated`)"
    ))
}

/// What of a body, or a change, would lead out of the drill.
pub fn body(objects: &Objects, body: &Value) -> Result<(), String> {
    let found = match objects.resource.as_str() {
        "services" => service(body),
        "persistentvolumeclaims" => claim(&body["spec"]),
        "networkpolicies" => selects_namespaces(body),
        _ => None,
    };
    match found.or_else(|| anywhere(body)) {
        Some(reason) => Err(format!("{}: {reason}", objects.describe())),
        None => Ok(()),
    }
}

fn service(body: &Value) -> Option<String> {
    let kind = body["spec"]["type"].as_str().filter(|kind| ["NodePort", "LoadBalancer"].contains(kind))?;
    Some(format!("a Service of type {kind} opens the drill to the outside: let it be ClusterIP"))
}

/// A volume that is there already holds somebody's data.
fn claim(spec: &Value) -> Option<String> {
    if spec["volumeName"].as_str().is_some_and(|name| !name.is_empty()) {
        return Some("`volumeName` names a volume that is there already, which a drill does not touch".to_owned());
    }
    let is_static = spec["storageClassName"] == "";
    is_static.then(|| "without a storage class it is given a volume that is there already: name a class".to_owned())
}

fn selects_namespaces(body: &Value) -> Option<String> {
    let text = body.to_string();
    text.contains("\"namespaceSelector\"")
        .then(|| "`namespaceSelector` selects other namespaces than on the page's cluster".to_owned())
}

/// Looks at every field, since pods stand in many kinds, and in changes of them.
fn anywhere(value: &Value) -> Option<String> {
    match value {
        Value::Array(items) => items.iter().find_map(anywhere),
        Value::Object(fields) => fields.iter().find_map(|(name, value)| field(name, value).or_else(|| anywhere(value))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn field(name: &str, value: &Value) -> Option<String> {
    if HOST_FIELDS.contains(&name) && value == &Value::Bool(true) {
        return Some(format!("`{name}` takes a pod out of the drill"));
    }
    match name {
        "hostPort" if value.as_i64().unwrap_or_default() != 0 => {
            Some("`hostPort` opens the drill to the node's network".to_owned())
        }
        "nodeName" | "externalIPs" | "externalName" if !is_empty(value) => {
            Some(format!("`{name}` leads out of the drill"))
        }
        "dnsConfig" if value.as_object().is_some_and(|config| !config.is_empty()) => {
            Some("`dnsConfig` asks name servers outside of the drill, which has its own".to_owned())
        }
        "volumes" => value.as_array()?.iter().find_map(volume),
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value == "" || value.as_array().is_some_and(Vec::is_empty)
}

fn volume(volume: &Value) -> Option<String> {
    let mut kinds = volume.as_object()?.iter().filter(|(name, value)| !name.starts_with('$') && value.is_object());
    let (kind, _) = kinds.find(|(name, _)| !VOLUMES.contains(&name.as_str()))?;
    Some(format!("a volume of kind `{kind}` holds what is not the drill's"))
}

/// The same for an operation of a JSON patch (RFC 6902): of an object that has its value where it says, and nothing else.
pub fn operation(objects: &Objects, operation: &Value) -> Result<(), String> {
    let path = operation["path"].as_str().unwrap_or_default();
    if let Some(kind @ ("copy" | "move")) = operation["op"].as_str() {
        return Err(format!("{}: what `{kind}` brings to {path} cannot be told from the patch", objects.describe()));
    }
    body(objects, &standing_at(path, operation["value"].clone()))
}

/// An object with this value at a JSON pointer (RFC 6901), in lists of their own where it has an index.
fn standing_at(path: &str, value: Value) -> Value {
    path.split('/').skip(1).collect::<Vec<_>>().into_iter().rfold(value, |value, segment| {
        match segment == "-" || segment.parse::<usize>().is_ok() {
            true => Value::Array(vec![value]),
            false => Value::Object([(segment.to_owned(), value)].into_iter().collect()),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn objects(resource: &str, group: &str) -> Objects {
        Objects { resource: resource.to_owned(), group: group.to_owned(), ..Objects::default() }
    }

    #[test]
    fn nothing_that_leads_out_of_a_drill_passes_in_whatever_it_stands() {
        let pods = objects("pods", "");
        for spec in [
            json!({"hostNetwork": true}),
            json!({"hostPID": true}),
            json!({"nodeName": "n1"}),
            json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.0.0.10"]}}),
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
            json!({"volumes": [{"name": "v", "nfs": {"server": "s"}}]}),
            json!({"containers": [{"securityContext": {"privileged": true}}]}),
            json!({"containers": [{"ports": [{"containerPort": 1, "hostPort": 1}]}]}),
        ] {
            let template = json!({"spec": {"template": {"spec": spec}}});
            assert!(body(&pods, &json!({ "spec": spec })).is_err(), "{spec}");
            assert!(body(&objects("deployments", "apps"), &template).is_err(), "{spec}");
        }
        let fine = json!({"spec": {"hostNetwork": false, "nodeName": "", "volumes": [{"name": "d", "emptyDir": {}},
            {"name": "c", "persistentVolumeClaim": {"claimName": "c"}}, {"$patch": "delete", "name": "x"}]}});
        assert_eq!(body(&pods, &fine), Ok(()));
    }

    #[test]
    fn claims_and_services_stay_inside() {
        let claims = objects("persistentvolumeclaims", "");
        assert!(body(&claims, &json!({"spec": {"volumeName": "pv"}})).unwrap_err().contains("volumeName"));
        assert!(body(&claims, &json!({"spec": {"storageClassName": ""}})).is_err());
        assert_eq!(body(&claims, &json!({"spec": {"storageClassName": "fast"}})), Ok(()));
        let services = objects("services", "");
        assert!(body(&services, &json!({"spec": {"type": "LoadBalancer"}})).is_err());
        assert!(body(&services, &json!({"spec": {"type": "ExternalName", "externalName": "db.example"}})).is_err());
        assert_eq!(body(&services, &json!({"spec": {"type": "ClusterIP", "externalIPs": []}})), Ok(()));
        let policy = json!({"spec": {"egress": [{"to": [{"namespaceSelector": {}}]}]}});
        assert!(body(&objects("networkpolicies", "networking.k8s.io"), &policy).is_err());
    }

    #[test]
    fn an_operation_of_a_patch_is_held_to_the_same() {
        let deployments = objects("deployments", "apps");
        let operation = |objects: &Objects, path: &str, value: Value| {
            super::operation(objects, &json!({"op": "add", "path": path, "value": value}))
        };
        let at = "/spec/template/spec";
        assert!(operation(&deployments, &format!("{at}/hostNetwork"), json!(true)).is_err());
        assert!(operation(&deployments, &format!("{at}/volumes/-"), json!({"name": "v", "hostPath": {}})).is_err());
        assert!(operation(&deployments, &format!("{at}/volumes"), json!([{"name": "v", "hostPath": {}}])).is_err());
        assert!(operation(&objects("persistentvolumeclaims", ""), "/spec/volumeName", json!("pv")).is_err());
        assert!(operation(&objects("services", ""), "/spec/type", json!("NodePort")).is_err());
        assert!(operation(&deployments, &format!("{at}/volumes/0/hostPath"), json!({"path": "/"})).is_err());
        let policies = objects("networkpolicies", "networking.k8s.io");
        let everybody = json!([{"namespaceSelector": {}}]);
        for (objects, path, value) in [
            (&objects("services", ""), "/spec", json!({"type": "LoadBalancer"})),
            (&objects("persistentvolumeclaims", ""), "", json!({"spec": {"volumeName": "pv"}})),
            (&policies, "/spec/egress/0/to", everybody),
            (&policies, "/spec/egress/0/to/0/namespaceSelector", json!({})),
        ] {
            assert!(operation(objects, path, value).is_err(), "{path}");
        }
        let copy = json!({"op": "copy", "from": "/metadata/name", "path": format!("{at}/nodeName")});
        assert!(super::operation(&deployments, &copy).is_err());
        assert_eq!(operation(&deployments, "/spec/replicas", json!(0)), Ok(()));
        assert_eq!(operation(&deployments, &format!("{at}/containers/0/args/0"), json!("x")), Ok(()));
    }

    #[test]
    fn what_belongs_to_the_whole_cluster_is_refused_by_name_on_one_that_is_shared() {
        let roles = objects("clusterroles", "rbac.authorization.k8s.io");
        let refused = request(&roles, Scope::Cluster, true, false).unwrap_err();
        assert!(refused.starts_with("clusterroles.rbac.authorization.k8s.io") && refused.contains("--dedicated"));
        assert_eq!(request(&roles, Scope::Cluster, false, true), Ok(()));
        assert_eq!(request(&objects("nodes", ""), Scope::Cluster, true, false), Ok(()));
        assert!(request(&objects("nodes", ""), Scope::Cluster, false, false).is_err());
        let token = Objects { subresource: Some("token".to_owned()), ..objects("serviceaccounts", "") };
        assert!(request(&token, Scope::Namespaced, false, true).is_err());
    }
}
