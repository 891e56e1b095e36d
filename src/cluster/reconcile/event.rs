//! Event objects: what `kubectl describe` and `kubectl get events` show.

use serde_json::{Value, json};

use super::object;
use crate::cluster::kind::EVENT;
use crate::cluster::store::{Store, names, now};

/// Records that something happened to `object`. The same thing once more raises the count of the event there is.
pub fn record(store: &Store, component: &str, object: &Value, kind: &str, reason: &str, message: &str) {
    let (namespace, object_name) = names(object);
    let event_namespace = if namespace.is_empty() { "default".to_owned() } else { namespace.clone() };
    let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
    let name = format!("{object_name}.{}", object::letters(&[uid, kind, reason, message], 16));
    if store.get(&EVENT, &event_namespace, &name).is_some() {
        // Removed by somebody between the look and the write: then it is forgotten, as events are.
        let _ = store.modify(&EVENT, &event_namespace, &name, |event| {
            event["count"] = json!(event["count"].as_i64().unwrap_or(1) + 1);
            event["lastTimestamp"] = json!(now());
        });
        return;
    }
    let event = json!({
        "metadata": {"name": name, "namespace": event_namespace},
        "involvedObject": {
            "apiVersion": object["apiVersion"],
            "kind": object["kind"],
            "namespace": namespace,
            "name": object_name,
            "uid": uid,
            "resourceVersion": object["metadata"]["resourceVersion"],
        },
        "type": kind,
        "reason": reason,
        "message": message,
        "source": {"component": component},
        "reportingComponent": component,
        "reportingInstance": "",
        "firstTimestamp": now(),
        "lastTimestamp": now(),
        "count": 1,
    });
    if let Err(error) = object::create(store, &EVENT, event) {
        tracing::debug!(%error, %namespace, object = %object_name, reason, "event not recorded");
    }
}
