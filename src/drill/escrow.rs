//! What somebody has in a safe place when its cluster or namespace is gone, as files of the operator's home.

use serde_json::{Map, Value, json};

use crate::drill::record::Halt;
use crate::drill::value::Values;
use crate::drill::{stage, station};
use crate::kubernetes::Kubernetes;
use crate::redact::Secret;
use crate::scenario::{ESCROW, ObjectName};

/// Writes each Secret and ConfigMap that was kept as a manifest below `~/escrow`, for the operator alone to read.
pub async fn lay_out(kubernetes: &Kubernetes, values: &Values) -> Result<(), Halt> {
    for (kind, name, object) in values.kept() {
        let manifest = serde_yaml_ng::to_string(&manifest(kind, name, object)).map(Secret::new);
        let manifest = manifest.map_err(|error| {
            Halt::unverified(format!("write {kind} {name} as YAML: {error}"), "report it as a defect of redrill")
        })?;
        stage::write_file(kubernetes, &place(kind, name), manifest.expose()).await?;
    }
    Ok(())
}

fn place(kind: &str, name: &ObjectName) -> String {
    let cluster = name.cluster.as_ref().map(|cluster| format!("{cluster}/")).unwrap_or_default();
    let kind = kind.to_lowercase();
    format!("{}/{ESCROW}/{cluster}{}/{kind}-{}.yaml", station::HOME, name.namespace, name.name)
}

/// Without what a cluster adds of its own: another one would refuse a `uid` that it did not give.
fn manifest(kind: &str, name: &ObjectName, object: &Value) -> Value {
    let mut metadata =
        Map::from_iter([("name".to_owned(), json!(name.name)), ("namespace".to_owned(), json!(name.namespace))]);
    let mut manifest = Map::from_iter([("apiVersion".to_owned(), json!("v1")), ("kind".to_owned(), json!(kind))]);
    copy(&object["metadata"], &["labels", "annotations"], &mut metadata);
    manifest.insert("metadata".to_owned(), Value::Object(metadata));
    copy(object, &["type", "immutable", "data", "binaryData"], &mut manifest);
    Value::Object(manifest)
}

fn copy(from: &Value, fields: &[&str], to: &mut Map<String, Value>) {
    let there = fields.iter().filter_map(|field| Some(((*field).to_owned(), from.get(*field)?.clone())));
    to.extend(there);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_object_is_a_manifest_that_another_cluster_takes() {
        let name = ObjectName { cluster: Some("old".into()), namespace: "shop".into(), name: "db".into() };
        let object = json!({
            "kind": "Secret", "type": "Opaque", "data": {"password": "eA=="},
            "metadata": {"name": "db", "namespace": "shop", "uid": "1", "resourceVersion": "7", "labels": {"app": "db"}},
        });
        let expected = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "db", "namespace": "shop", "labels": {"app": "db"}},
            "type": "Opaque", "data": {"password": "eA=="},
        });
        assert_eq!(manifest("Secret", &name, &object), expected);
        assert_eq!(place("ConfigMap", &name), "/home/operator/escrow/old/shop/configmap-db.yaml");
        let of_namespace = ObjectName { cluster: None, ..name };
        assert_eq!(place("Secret", &of_namespace), "/home/operator/escrow/shop/secret-db.yaml");
    }
}
