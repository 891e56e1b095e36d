//! The three kinds of patch: JSON patch, merge patch, and (in [`strategic`]) strategic merge patch.

use serde_json::{Map, Value};

use super::go;
use super::kind::Kind;
use super::schema;
use super::store::ApiError;

pub mod strategic;

/// What a `Content-Type` says a patch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchType {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl PatchType {
    pub fn of(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Some(Self::Json),
            "application/merge-patch+json" => Some(Self::Merge),
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            "application/apply-patch+yaml" => Some(Self::Apply),
            _ => None,
        }
    }
}

/// The object with a JSON or merge or strategic merge patch applied. (Server-side apply needs the managers: see `apply`.)
pub fn patch(kind: &Kind, current: &Value, patch_type: PatchType, body: &Value) -> Result<Value, ApiError> {
    let mut object = current.clone();
    match patch_type {
        PatchType::Json => operate(&mut object, body)?,
        PatchType::Merge | PatchType::Apply => merge(&mut object, body),
        PatchType::Strategic => {
            let Value::Object(body) = body else { return Err(not_an_object(body)) };
            object = strategic::merge(current, body, Some(schema::of_kind(kind)))
                .map_err(|error| ApiError::unexplained(error.to_string()))?;
        }
    }
    if object.is_object() { Ok(object) } else { Err(not_an_object(&object)) }
}

fn not_an_object(value: &Value) -> ApiError {
    let found = go::json_type(value);
    ApiError::bad_request(format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"))
}

/// Does the operations of a JSON patch, one after another.
pub fn operate(object: &mut Value, operations: &Value) -> Result<(), ApiError> {
    let Value::Array(operations) = operations else {
        let found = go::json_type(operations);
        let message = format!(
            "error decoding patch: json: cannot unmarshal {found} into Go value of type []handlers.jsonPatchOp"
        );
        return Err(ApiError::bad_request(message));
    };
    for operation in operations {
        let mut operation = operation.clone();
        let path = operation["path"].as_str().unwrap_or_default();
        // An API server adds what a patch replaces and is not there, if it would be a field of an object.
        let parent = path.rsplit_once('/').and_then(|(parent, _)| object.pointer(parent));
        if operation["op"] == "replace" && object.pointer(path).is_none() && parent.is_some_and(Value::is_object) {
            operation["op"] = "add".into();
        }
        let one = serde_json::from_value(operation).map_err(|_| ApiError::unprocessable())?;
        json_patch::patch(object, &[one]).map_err(|_| ApiError::unprocessable())?;
    }
    Ok(())
}

/// RFC 7396: null deletes, objects merge, everything else replaces.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        match value {
            Value::Null => drop(target.shift_remove(key)),
            value => merge(target.entry(key).or_insert(Value::Null), value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::kind;
    use serde_json::json;

    #[test]
    fn a_merge_patch_deletes_by_null_and_replaces_lists() {
        let mut object = json!({"a": {"b": 1, "c": 2}, "list": [1, 2]});
        merge(&mut object, &json!({"a": {"b": null, "d": {"e": null, "f": 3}}, "list": [3]}));
        assert_eq!(object, json!({"a": {"c": 2, "d": {"f": 3}}, "list": [3]}));
    }

    #[test]
    fn a_json_patch_that_tests_a_wrong_value_is_unprocessable() {
        let current = json!({"metadata": {"name": "a"}});
        let operations = json!([{"op": "test", "path": "/metadata/name", "value": "b"}]);
        let error = patch(&kind::SECRET, &current, PatchType::Json, &operations).unwrap_err();
        assert_eq!((error.code, error.reason), (422, "Invalid"));
    }

    #[test]
    fn a_patch_that_is_no_object_is_refused() {
        let current = json!({"metadata": {}});
        assert!(patch(&kind::SECRET, &current, PatchType::Merge, &json!([1])).is_err());
    }
}
