//! What pods are given on a cluster that is not redrill's own, and what answers are freed of again: the images that are there,
//! names that lead nowhere but into the drill, and the drill's authority.
//!
//! What is added stands in places of its own, so that who reads a pod through the gate sees it as its manifest has it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::bait;
use crate::drill::station;

/// The ConfigMap with the drill's authority, and the volume that shows it.
pub const AUTHORITIES: &str = "redrill-authorities";
/// Its key.
pub const BUNDLE: &str = "ca-certificates.crt";
/// Where programs look for the authorities that they trust, and the variable that sends there those that look elsewhere.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
const VARIABLE: &str = "SSL_CERT_FILE";

/// The container that lets a pod begin once it is closed.
const CLOSED: &str = "redrill-closed";

/// Lists of containers in the specification of a pod.
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// What every pod of a cluster is given.
#[derive(Debug, Default)]
pub struct Furnishing {
    /// What the cluster calls an image, by the reference that manifests use.
    pub images: BTreeMap<String, String>,
    /// The address of the drill's name server.
    pub name_server: String,
    /// What pods of the system wait for, once it is known that the cluster closes them.
    pub watch: OnceLock<Watch>,
}

/// A cluster carries a policy out when a pod is there already, and until then it is open: so nothing of the system begins in a pod
/// before somebody outside of the drill cannot be reached from it.
#[derive(Debug, Clone)]
pub struct Watch {
    /// redrill's own image, as the cluster calls it.
    pub image: String,
    /// Of whom nobody inside may reach.
    pub stranger: SocketAddr,
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

    fn furnish_spec(&self, extent: Extent, namespace: &str, spec: &mut Value) -> Result<(), UnknownImage> {
        for list in CONTAINERS {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                self.furnish_container(container)?;
            }
        }
        match (extent, spec.get("volumes").is_some_and(Value::is_array)) {
            (Extent::Whole, false) => spec["volumes"] = json!([volume()]),
            // A change that names none leaves those that are there.
            (Extent::Change, false) => {}
            (_, true) => {
                push_named(&mut spec["volumes"], volume());
                order(spec, "volumes", usize::MAX, json!({"name": AUTHORITIES}));
            }
        }
        self.watch_spec(extent, namespace, spec);
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

    /// Has a pod of the system wait until it is closed. The drill's own begin before that is known, and find it out.
    fn watch_spec(&self, extent: Extent, namespace: &str, spec: &mut Value) {
        let Some(Watch { image, stranger }) = self.watch.get().filter(|_| namespace != station::NAMESPACE) else {
            return;
        };
        let is_there = spec.get("initContainers").is_some_and(Value::is_array);
        if extent == Extent::Change && !is_there {
            return;
        }
        let watch = json!({"name": CLOSED, "image": image, "imagePullPolicy": "IfNotPresent",
            "command": ["redrill", bait::WAITER, stranger.to_string()]});
        let list = spec["initContainers"].take();
        let mut list = list.as_array().cloned().unwrap_or_default();
        if !list.iter().any(|container| container["name"] == CLOSED) {
            list.insert(0, watch);
            order(spec, "initContainers", 0, json!({"name": CLOSED}));
        }
        spec["initContainers"] = Value::Array(list);
    }

    fn furnish_container(&self, container: &mut Value) -> Result<(), UnknownImage> {
        if container["name"] == CLOSED {
            return Ok(());
        }
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
            order(container, "volumeMounts", usize::MAX, json!({"mountPath": CERTIFICATES}));
        }
        container["volumeMounts"] = Value::Array(mounts);
        let variables = container["env"].take();
        let mut variables = variables.as_array().cloned().unwrap_or_default();
        if !variables.iter().any(|variable| variable["name"] == VARIABLE) {
            variables.push(json!({"name": VARIABLE, "value": CERTIFICATES}));
            order(container, "env", usize::MAX, json!({"name": VARIABLE}));
        }
        container["env"] = Value::Array(variables);
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
        if let Some(status) = object.get_mut("status").filter(|_| resource == "pods") {
            retain(status, "initContainerStatuses", |status| status["name"] != CLOSED);
        }
        let Some(spec) = spec_of(resource).and_then(|path| within(object, path)) else { return };
        for list in CONTAINERS {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                self.unfurnish_container(container);
            }
        }
        retain(spec, "volumes", |volume| volume["name"] != AUTHORITIES);
        retain(spec, "initContainers", |container| container["name"] != CLOSED);
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

/// A strategic merge patch may say in which order its list is to be, and then has to name everything of the list there.
fn order(object: &mut Value, list: &str, at: usize, key: Value) {
    if let Some(order) = object.get_mut(format!("$setElementOrder/{list}")).and_then(Value::as_array_mut)
        && !order.contains(&key)
    {
        order.insert(at.min(order.len()), key);
    }
}

fn volume() -> Value {
    json!({"name": AUTHORITIES, "configMap": {"name": AUTHORITIES}})
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
pub mod tests {
    use super::*;

    pub fn furnishing() -> Furnishing {
        let images = [("postgres:15", "redrill/postgres:abc"), ("redrill.invalid/redrill:drill", "redrill/own:def")];
        let images = images.map(|(name, there)| (name.to_owned(), there.to_owned())).into();
        Furnishing { images, name_server: "10.1.2.3".to_owned(), watch: OnceLock::new() }
    }

    pub fn deployment() -> Value {
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
    fn a_pod_of_the_system_begins_when_it_is_closed_and_nobody_sees_what_it_waits_for() {
        let furnishing = furnishing();
        let stranger = "10.9.9.9:8080".parse().unwrap();
        furnishing.watch.set(Watch { image: "redrill/own:def".to_owned(), stranger }).unwrap();
        let mut object = deployment();
        furnishing.furnish("deployments", Extent::Whole, "taiga", &mut object).unwrap();
        let spec = &object["spec"]["template"]["spec"];
        assert_eq!(spec["initContainers"][0]["command"], json!(["redrill", "__closed", "10.9.9.9:8080"]));
        let once = object.clone();
        furnishing.furnish("deployments", Extent::Whole, "taiga", &mut object).unwrap();
        assert_eq!(object, once);
        furnishing.unfurnish("deployments", &mut object);
        assert_eq!(object, deployment());
        let mut own = json!({"spec": {"containers": []}});
        furnishing.furnish("pods", Extent::Whole, station::NAMESPACE, &mut own).unwrap();
        assert_eq!(own["spec"].get("initContainers"), None);
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
    }

    #[test]
    fn a_patch_that_says_an_order_names_in_it_what_it_is_given() {
        // As `kubectl apply` and `kubectl edit` have it.
        let mut change = json!({"spec": {"template": {"spec": {
            "$setElementOrder/containers": [{"name": "db"}], "$setElementOrder/volumes": [{"name": "data"}, {"name": "new"}],
            "containers": [{"name": "db", "$setElementOrder/env": [{"name": "A"}, {"name": "B"}],
                "$setElementOrder/volumeMounts": [{"mountPath": "/data"}], "env": [{"name": "B", "value": "c"}]}],
            "volumes": [{"name": "new", "emptyDir": {}}]}}}});
        furnishing().furnish("deployments", Extent::Change, "taiga", &mut change).unwrap();
        let spec = &change["spec"]["template"]["spec"];
        let container = &spec["containers"][0];
        assert_eq!(container["$setElementOrder/env"], json!([{"name": "A"}, {"name": "B"}, {"name": VARIABLE}]));
        assert_eq!(container["env"][1]["name"], VARIABLE);
        assert_eq!(
            container["$setElementOrder/volumeMounts"],
            json!([{"mountPath": "/data"}, {"mountPath": CERTIFICATES}])
        );
        let order = json!([{"name": "data"}, {"name": "new"}, {"name": AUTHORITIES}]);
        assert_eq!(spec["$setElementOrder/volumes"], order);
        assert_eq!(spec["$setElementOrder/containers"], json!([{"name": "db"}]));
    }

    #[test]
    fn an_image_that_the_drill_has_not_is_refused_wherever_it_stands() {
        let mut job = json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {
            "initContainers": [{"name": "i", "image": "busybox"}], "containers": []}}}}}});
        let error = furnishing().furnish("cronjobs", Extent::Whole, "x", &mut job).unwrap_err();
        assert_eq!(error, UnknownImage("busybox".to_owned()));
    }
}
