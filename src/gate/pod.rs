//! What pods are given on a cluster that is not redrill's own, and what answers are freed of again: the images that are there,
//! names that lead nowhere but into the drill, and the drill's authority.
//!
//! What is added stands in places of its own, so that who reads a pod through the gate sees it as its manifest has it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The ConfigMap with the drill's authority, and the volume that shows it.
pub const AUTHORITIES: &str = "redrill-authorities";
/// Its key.
pub const BUNDLE: &str = "ca-certificates.crt";
/// Where programs look for the authorities that they trust, and the variable that sends there those that look elsewhere.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
const VARIABLE: &str = "SSL_CERT_FILE";

/// Lists of containers in the specification of a pod.
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// What every pod of a cluster is given.
#[derive(Debug, Clone, Default)]
pub struct Furnishing {
    /// What the cluster calls an image, by the reference that manifests use.
    pub images: BTreeMap<String, String>,
    /// The address of the drill's name server.
    pub name_server: String,
}

/// An image that no drill has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no image `{0}` in this drill: bind it in the scenario's `images`")]
pub struct UnknownImage(String);

/// The specification of a pod inside an object of this kind; `None` where the kind makes no pods.
pub fn spec_of(resource: &str) -> Option<&'static [&'static str]> {
    Some(match resource {
        "pods" => &["spec"],
        "podtemplates" => &["template", "spec"],
        "cronjobs" => &["spec", "jobTemplate", "spec", "template", "spec"],
        "deployments" | "statefulsets" | "daemonsets" | "replicasets" | "replicationcontrollers" | "jobs" => {
            &["spec", "template", "spec"]
        }
        _ => return None,
    })
}

fn within<'v>(object: &'v mut Value, path: &[&str]) -> Option<&'v mut Value> {
    path.iter().try_fold(object, |value, field| value.get_mut(field))
}

/// What a body says of a pod: all of it, or as much as is to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    Whole,
    Change,
}

impl Furnishing {
    /// Adds to an object, or to a change of one.
    pub fn furnish(
        &self,
        resource: &str,
        extent: Extent,
        namespace: &str,
        object: &mut Value,
    ) -> Result<(), UnknownImage> {
        let Some(spec) = spec_of(resource).and_then(|path| within(object, path)) else { return Ok(()) };
        self.furnish_spec(extent, namespace, spec)
    }

    /// The same for the value of one operation of a JSON patch (RFC 6902), which stands at `path`.
    pub fn furnish_operation(
        &self,
        resource: &str,
        namespace: &str,
        path: &str,
        value: &mut Value,
    ) -> Result<(), UnknownImage> {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        // All of a pod's specification stands in it, as in `kubectl rollout undo`.
        if let Some(below) = spec_of(resource).and_then(|whole| whole.strip_prefix(&segments[..])) {
            let spec = within(value, below);
            return spec.map_or(Ok(()), |spec| self.furnish_spec(Extent::Whole, namespace, spec));
        }
        match segments.as_slice() {
            [.., list, _, "image"] if CONTAINERS.contains(list) => self.rename(value),
            [.., list, _] if CONTAINERS.contains(list) => self.furnish_container(value),
            [.., list] if CONTAINERS.contains(list) => {
                value.as_array_mut().into_iter().flatten().try_for_each(|container| self.furnish_container(container))
            }
            [.., "volumes"] => {
                push_named(value, authorities());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn furnish_spec(&self, extent: Extent, namespace: &str, spec: &mut Value) -> Result<(), UnknownImage> {
        for list in CONTAINERS {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                self.furnish_container(container)?;
            }
        }
        match (extent, spec.get("volumes").is_some_and(Value::is_array)) {
            (Extent::Whole, false) => spec["volumes"] = json!([authorities()]),
            // A change that names none leaves those that are there.
            (Extent::Change, false) => {}
            (_, true) => {
                push_named(&mut spec["volumes"], authorities());
                put_in_order(spec, "volumes", json!({"name": AUTHORITIES}));
            }
        }
        if extent == Extent::Whole {
            let domains =
                [format!("{namespace}.svc.cluster.local"), "svc.cluster.local".into(), "cluster.local".into()];
            // Who asks for an account of his own means it; nobody else needs one on a cluster that is not the page's.
            if spec.get("automountServiceAccountToken").is_none() && spec.get("serviceAccountName").is_none() {
                spec["automountServiceAccountToken"] = json!(false);
            }
            spec["dnsPolicy"] = json!("None");
            spec["dnsConfig"] = json!({"nameservers": [self.name_server], "searches": domains,
                "options": [{"name": "ndots", "value": "5"}]});
        }
        Ok(())
    }

    fn furnish_container(&self, container: &mut Value) -> Result<(), UnknownImage> {
        if let Some(image) = container.get_mut("image") {
            self.rename(image)?;
            // What is on the nodes is what was built for this drill; no registry has it.
            if container["imagePullPolicy"] != "Never" {
                container["imagePullPolicy"] = json!("IfNotPresent");
            }
        }
        // One that is only named, to have something else of it changed, keeps what it has.
        if container.get("image").is_none() && container.get("volumeMounts").is_none() && container.get("env").is_none()
        {
            return Ok(());
        }
        let mounts = container["volumeMounts"].take();
        let mut mounts = mounts.as_array().cloned().unwrap_or_default();
        if !mounts.iter().any(|mount| mount["mountPath"] == CERTIFICATES) {
            mounts.push(json!({"name": AUTHORITIES, "mountPath": CERTIFICATES, "subPath": BUNDLE, "readOnly": true}));
        }
        container["volumeMounts"] = Value::Array(mounts);
        put_in_order(container, "volumeMounts", json!({"mountPath": CERTIFICATES}));
        let variables = container["env"].take();
        let mut variables = variables.as_array().cloned().unwrap_or_default();
        if !variables.iter().any(|variable| variable["name"] == VARIABLE) {
            variables.push(json!({"name": VARIABLE, "value": CERTIFICATES}));
        }
        container["env"] = Value::Array(variables);
        put_in_order(container, "env", json!({"name": VARIABLE}));
        Ok(())
    }

    fn rename(&self, image: &mut Value) -> Result<(), UnknownImage> {
        let Some(reference) = image.as_str() else { return Ok(()) };
        if let Some(there) = self.images.get(reference) {
            *image = json!(there);
        } else if !self.images.values().any(|there| there == reference) {
            return Err(UnknownImage(reference.to_owned()));
        }
        Ok(())
    }

    /// Takes out of an answer what was added.
    pub fn unfurnish(&self, resource: &str, object: &mut Value) {
        let Some(spec) = spec_of(resource).and_then(|path| within(object, path)) else { return };
        for list in CONTAINERS {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                self.unfurnish_container(container);
            }
        }
        retain(spec, "volumes", |volume| volume["name"] != AUTHORITIES);
        if spec["dnsConfig"]["nameservers"] == json!([self.name_server])
            && let Some(spec) = spec.as_object_mut()
        {
            spec.remove("dnsConfig");
            if spec.get("automountServiceAccountToken") == Some(&json!(false)) {
                spec.remove("automountServiceAccountToken");
            }
            spec.insert("dnsPolicy".to_owned(), json!("ClusterFirst"));
        }
    }

    fn unfurnish_container(&self, container: &mut Value) {
        retain(container, "volumeMounts", |mount| mount["name"] != AUTHORITIES);
        retain(container, "env", |variable| variable["name"] != VARIABLE || variable["value"] != CERTIFICATES);
        let documented = self.images.iter().find(|(_, there)| container["image"] == **there).map(|(name, _)| name);
        if let Some(documented) = documented {
            container["image"] = json!(documented);
        }
    }
}

fn authorities() -> Value {
    json!({"name": AUTHORITIES, "configMap": {"name": AUTHORITIES}})
}

/// A strategic patch may say in which order a list comes to be; then it has to name whatever it adds.
fn put_in_order(object: &mut Value, list: &str, key: Value) {
    let order = object.get_mut(format!("$setElementOrder/{list}")).and_then(Value::as_array_mut);
    if let Some(order) = order.filter(|order| !order.contains(&key)) {
        order.push(key);
    }
}

fn push_named(list: &mut Value, item: Value) {
    if let Some(list) = list.as_array_mut()
        && !list.iter().any(|there| there["name"] == item["name"])
    {
        list.push(item);
    }
}

/// Keeps what `keep` says of a list; one that is empty then was not there before.
fn retain(object: &mut Value, field: &str, keep: impl Fn(&Value) -> bool) {
    let Some(list) = object.get_mut(field).and_then(Value::as_array_mut) else { return };
    let before = list.len();
    list.retain(keep);
    if before > 0
        && list.is_empty()
        && let Some(object) = object.as_object_mut()
    {
        object.remove(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn furnishing() -> Furnishing {
        let images = [("postgres:15", "redrill/postgres:abc"), ("redrill.invalid/redrill:drill", "redrill/own:def")];
        let images = images.map(|(name, there)| (name.to_owned(), there.to_owned())).into();
        Furnishing { images, name_server: "10.1.2.3".to_owned() }
    }

    fn deployment() -> Value {
        json!({"kind": "Deployment", "metadata": {"name": "db"}, "spec": {"template": {"spec": {
            "dnsPolicy": "ClusterFirst",
            "containers": [{"name": "db", "image": "postgres:15", "imagePullPolicy": "IfNotPresent",
                "env": [{"name": "A", "value": "b"}], "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
                {"name": "bare", "image": "postgres:15", "imagePullPolicy": "IfNotPresent"}],
            "volumes": [{"name": "data", "emptyDir": {}}]}}}})
    }

    #[test]
    fn what_a_pod_is_given_is_there_and_cannot_be_seen_through_the_gate() {
        let mut object = deployment();
        furnishing().furnish("deployments", Extent::Whole, "taiga", &mut object).unwrap();
        let spec = &object["spec"]["template"]["spec"];
        assert_eq!(spec["containers"][0]["image"], "redrill/postgres:abc");
        assert_eq!(spec["dnsConfig"]["searches"][0], "taiga.svc.cluster.local");
        assert_eq!(spec["containers"][1]["volumeMounts"][0]["subPath"], BUNDLE);
        assert_eq!(spec["volumes"].as_array().map(Vec::len), Some(2));
        // Sent again as it was read on the cluster it does not grow.
        let mut again = object.clone();
        furnishing().furnish("deployments", Extent::Whole, "taiga", &mut again).unwrap();
        assert_eq!(again, object);
        furnishing().unfurnish("deployments", &mut object);
        assert_eq!(object, deployment());
    }

    #[test]
    fn a_change_of_one_thing_brings_nothing_else() {
        let mut change = json!({"spec": {"template": {"spec": {"containers": [{"name": "db", "resources": {}}]}}}});
        let before = change.clone();
        furnishing().furnish("deployments", Extent::Change, "taiga", &mut change).unwrap();
        assert_eq!(change, before);
        let mut change =
            json!({"spec": {"template": {"spec": {"containers": [{"name": "db", "image": "postgres:15"}]}}}});
        furnishing().furnish("deployments", Extent::Change, "taiga", &mut change).unwrap();
        let container = &change["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["image"], "redrill/postgres:abc");
        assert_eq!(change["spec"]["template"]["spec"].get("dnsPolicy"), None);
        let mut scale = json!({"spec": {"replicas": 0}});
        furnishing().furnish("deployments", Extent::Change, "taiga", &mut scale).unwrap();
        assert_eq!(scale, json!({"spec": {"replicas": 0}}));
        let mut image = json!("postgres:15");
        furnishing()
            .furnish_operation("deployments", "taiga", "/spec/template/spec/containers/0/image", &mut image)
            .unwrap();
        assert_eq!(image, "redrill/postgres:abc");
    }

    #[test]
    fn a_patch_that_orders_a_list_orders_what_is_added_too() {
        let mut change = json!({"spec": {"template": {"spec": {
            "$setElementOrder/volumes": [{"name": "data"}], "volumes": [{"name": "data", "emptyDir": {}}],
            "containers": [{"name": "db", "$setElementOrder/env": [{"name": "A"}], "env": [{"name": "A", "value": "c"}]}]}}}});
        furnishing().furnish("deployments", Extent::Change, "taiga", &mut change).unwrap();
        let spec = &change["spec"]["template"]["spec"];
        let names = |list: &Value| list.as_array().unwrap().iter().map(|item| item["name"].clone()).collect::<Vec<_>>();
        assert_eq!(names(&spec["volumes"]), names(&spec["$setElementOrder/volumes"]));
        let container = &spec["containers"][0];
        assert_eq!(names(&container["env"]), ["A", VARIABLE]);
        assert_eq!(names(&container["$setElementOrder/env"]), ["A", VARIABLE]);
        assert_eq!(container.get("$setElementOrder/volumeMounts"), None);
    }

    #[test]
    fn an_operation_that_holds_a_whole_pod_is_one_of_a_pod() {
        let whole = deployment();
        let mut expected = whole.clone();
        furnishing().furnish("deployments", Extent::Whole, "taiga", &mut expected).unwrap();
        for path in ["/spec", "/spec/template", "/spec/template/spec"] {
            let mut value = whole.pointer(path).unwrap().clone();
            furnishing().furnish_operation("deployments", "taiga", path, &mut value).unwrap();
            assert_eq!(&value, expected.pointer(path).unwrap(), "{path}");
        }
        let mut annotations = json!({"a": "b"});
        furnishing().furnish_operation("deployments", "taiga", "/metadata/annotations", &mut annotations).unwrap();
        assert_eq!(annotations, json!({"a": "b"}));
        let mut volumes = json!([]);
        furnishing().furnish_operation("deployments", "x", "/spec/template/spec/volumes", &mut volumes).unwrap();
        assert_eq!(volumes[0]["name"], AUTHORITIES);
    }

    #[test]
    fn an_image_that_the_drill_has_not_is_refused_wherever_it_stands() {
        let mut job = json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {
            "initContainers": [{"name": "i", "image": "busybox"}], "containers": []}}}}}});
        let error = furnishing().furnish("cronjobs", Extent::Whole, "x", &mut job).unwrap_err();
        assert_eq!(error, UnknownImage("busybox".to_owned()));
        let mut image = json!("busybox");
        assert!(furnishing().furnish_operation("pods", "x", "/spec/containers/0/image", &mut image).is_err());
    }
}
