//! What controllers ask of objects: owners, labels, conditions, and making one for another.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::cluster::kind::{self, Kind};
use crate::cluster::store::{ApiError, Store, is_deleting, names, now, owner_references};

/// The reference to the one controller of an object, if it has one.
pub fn controller_of(object: &Value) -> Option<&Value> {
    owner_references(object).find(|reference| reference["controller"] == true)
}

pub fn is_controlled_by(object: &Value, owner: &Value) -> bool {
    controller_of(object).is_some_and(|reference| reference["uid"] == owner["metadata"]["uid"])
}

/// An ownerReference that makes `owner` the controller.
pub fn controller_reference(kind: &Kind, owner: &Value) -> Value {
    json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// Objects of `kind` in the owner's namespace that it controls, by name.
pub fn controlled(store: &Store, kind: &'static Kind, owner: &Value) -> Vec<Arc<Value>> {
    let (namespace, _) = names(owner);
    let (_, objects) = store.list(kind, Some(&namespace));
    objects.into_iter().filter(|object| is_controlled_by(object, owner)).collect()
}

/// Whether `labels` fit a label selector (`matchLabels` and `matchExpressions`). An empty one fits nothing: every kind that
/// redrill reconciles must have a selector.
pub fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = selector["matchLabels"].as_object();
    let expressions = selector["matchExpressions"].as_array();
    if wanted.is_none_or(Map::is_empty) && expressions.is_none_or(Vec::is_empty) {
        return false;
    }
    wanted.is_none_or(|wanted| has_labels(wanted, labels))
        && expressions.into_iter().flatten().all(|expression| fits_expression(expression, labels))
}

/// Whether `labels` contain all of `wanted`, as the selector of a Service asks.
pub fn has_labels(wanted: &Map<String, Value>, labels: &Value) -> bool {
    wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
}

fn fits_expression(expression: &Value, labels: &Value) -> bool {
    let label = expression["key"].as_str().and_then(|key| labels.get(key));
    let listed =
        || expression["values"].as_array().is_some_and(|values| label.is_some_and(|label| values.contains(label)));
    match expression["operator"].as_str() {
        Some("In") => listed(),
        Some("NotIn") => !listed(),
        Some("Exists") => label.is_some(),
        Some("DoesNotExist") => label.is_none(),
        // An operator that the API does not have selects nothing.
        _ => false,
    }
}

/// The condition of this type is `True`.
pub fn has_condition(object: &Value, condition: &str) -> bool {
    condition_of(object, condition).is_some_and(|condition| condition["status"] == "True")
}

pub fn condition_of<'a>(object: &'a Value, condition: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|present| present["type"] == condition)
}

/// Sets one condition of a status; `lastTransitionTime` moves only when the status of the condition does.
pub fn set_condition(status: &mut Value, name: &str, value: bool, reason: &str, message: &str) {
    let mut condition = json!({"type": name, "status": if value { "True" } else { "False" }});
    if !reason.is_empty() {
        condition["reason"] = json!(reason);
    }
    if !message.is_empty() {
        condition["message"] = json!(message);
    }
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(conditions) = status["conditions"].as_array_mut() else { return };
    match conditions.iter_mut().find(|present| present["type"] == name) {
        Some(present) => {
            let same = present["status"] == condition["status"];
            let since = if same { present["lastTransitionTime"].clone() } else { json!(now()) };
            condition["lastTransitionTime"] = since;
            *present = condition;
        }
        None => {
            condition["lastTransitionTime"] = json!(now());
            conditions.push(condition);
        }
    }
}

/// A pod that will not run any more.
pub fn is_finished(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

/// A pod that counts as one of a workload's replicas.
pub fn is_active(pod: &Value) -> bool {
    !is_finished(pod) && !is_deleting(pod)
}

pub fn is_ready(pod: &Value) -> bool {
    has_condition(pod, "Ready")
}

/// Seconds until a ready pod counts as available under `minReadySeconds`; 0 when it does, `None` when it is not ready.
pub fn available_in(pod: &Value, min_ready: i64) -> Option<i64> {
    let ready = condition_of(pod, "Ready").filter(|ready| ready["status"] == "True")?;
    if min_ready == 0 {
        return Some(0);
    }
    Some((min_ready - seconds_since(&ready["lastTransitionTime"])).max(0))
}

/// Whole seconds since a time as the API writes it; 0 for what is none.
pub fn seconds_since(time: &Value) -> i64 {
    let parsed = time.as_str().and_then(|time| time.parse::<jiff::Timestamp>().ok());
    parsed.map_or(0, |then| jiff::Timestamp::now().as_second() - then.as_second())
}

/// A pod from a template, controlled by `owner`.
pub fn pod_from(template: &Value, kind: &Kind, owner: &Value, name: &str) -> Value {
    let (namespace, owner_name) = names(owner);
    let mut metadata = json!({
        "name": name,
        "generateName": format!("{owner_name}-"),
        "namespace": namespace,
        "ownerReferences": [controller_reference(kind, owner)],
    });
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template["metadata"].get(field) {
            metadata[field] = value.clone();
        }
    }
    json!({"metadata": metadata, "spec": template["spec"], "status": {"phase": "Pending", "qosClass": "BestEffort"}})
}

/// Creates an object unless its namespace is gone or going.
pub fn create(store: &Store, kind: &'static Kind, object: Value) -> Result<Arc<Value>, ApiError> {
    let (namespace, _) = names(&object);
    let open = store.get(&kind::NAMESPACE, "", &namespace).is_some_and(|namespace| !is_deleting(&namespace));
    if !open {
        return Err(ApiError::not_found(&kind::NAMESPACE, &namespace));
    }
    store.create(kind, object)
}

/// Writes a status that `change` computes from the present one. An object that is gone needs none.
pub fn write_status(store: &Store, kind: &'static Kind, object: &Value, change: impl Fn(&mut Value)) {
    let (namespace, name) = names(object);
    let written = store.modify(kind, &namespace, &name, |current| {
        if current["metadata"]["uid"] != object["metadata"]["uid"] {
            return;
        }
        if !current["status"].is_object() {
            current["status"] = json!({});
        }
        change(&mut current["status"]);
    });
    if let Err(error) = written {
        tracing::debug!(%error, kind = kind.kind, %namespace, %name, "status not written");
    }
}

/// Letters of generated names: no vowels and nothing that reads like another, as Kubernetes has them.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// `length` letters that depend on `of` alone.
pub fn letters(of: &[&str], length: usize) -> String {
    let mut hash = Sha256::new();
    for part in of {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let letter = |byte: &u8| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]);
    hash.finalize().iter().take(length).map(letter).collect()
}

/// The same text for the same JSON, whatever the order of its fields; nulls count as absent.
pub fn canonical(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let mut fields: Vec<_> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
                fields.sort_by_key(|(name, _)| *name);
                fields.into_iter().map(|(name, value)| (name.clone(), sorted(value))).collect()
            }
            Value::Array(items) => items.iter().map(sorted).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
        }
    }
    sorted(value).to_string()
}

/// `spec.replicas`, 1 where nothing is said.
pub fn replicas(object: &Value) -> i64 {
    object["spec"]["replicas"].as_i64().unwrap_or(1)
}

/// A number or a percentage of `of` (`maxSurge: 25%`).
pub fn share(value: &Value, default: &str, of: i64, round: Round) -> i64 {
    if let Some(number) = value.as_i64() {
        return number;
    }
    let percent = value.as_str().unwrap_or(default).trim_end_matches('%').parse::<i64>().unwrap_or(25);
    match round {
        Round::Up => (of * percent + 99) / 100,
        Round::Down => of * percent / 100,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    Up,
    Down,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_needs_every_label_and_every_expression() {
        let selector = json!({
            "matchLabels": {"app": "shop"},
            "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["test"]}],
        });
        assert!(selects(&selector, &json!({"app": "shop", "tier": "front"})));
        assert!(!selects(&selector, &json!({"app": "shop", "tier": "test"})));
        assert!(!selects(&selector, &json!({"app": "other"})));
        assert!(!selects(&json!({}), &json!({"app": "shop"})), "an empty selector must not take every pod");
    }

    #[test]
    fn a_percentage_of_replicas_is_rounded_as_asked() {
        assert_eq!(share(&json!("25%"), "25%", 3, Round::Up), 1);
        assert_eq!(share(&json!("25%"), "25%", 3, Round::Down), 0);
        assert_eq!(share(&json!(2), "25%", 3, Round::Down), 2);
        assert_eq!(share(&Value::Null, "25%", 8, Round::Down), 2);
    }

    #[test]
    fn a_condition_keeps_its_time_until_its_status_changes() {
        let mut status =
            json!({"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}]});
        set_condition(&mut status, "Ready", true, "Fine", "");
        assert_eq!(status["conditions"][0]["lastTransitionTime"], "2020-01-01T00:00:00Z");
        set_condition(&mut status, "Ready", false, "Gone", "");
        assert_ne!(status["conditions"][0]["lastTransitionTime"], "2020-01-01T00:00:00Z");
    }

    #[test]
    fn the_order_of_fields_does_not_change_a_template() {
        let one = json!({"a": 1, "b": {"c": 2, "d": null}});
        let other: Value = serde_json::from_str(r#"{"b": {"c": 2}, "a": 1}"#).unwrap();
        assert_eq!(canonical(&one), canonical(&other));
    }
}
