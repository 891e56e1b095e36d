//! What the API server refuses, in its own words. Checked is what a restore procedure's manifests can get wrong.

use serde_json::Value;

use super::kind::Kind;
use super::status::FieldError;
use super::store::{ApiError, names};

mod name;
mod pod;
mod workload;

/// Problems of one object, in the order found.
type Errors = Vec<FieldError>;

/// Checks an object that is to be created (with its defaults filled in).
pub fn create(kind: &Kind, object: &Value) -> Result<(), ApiError> {
    let mut errors = Errors::new();
    check(kind, object, &mut errors);
    result(kind, object, &errors)
}

/// Checks an object that is to replace `current`.
pub fn update(kind: &Kind, current: &Value, object: &Value) -> Result<(), ApiError> {
    let mut errors = Errors::new();
    check(kind, object, &mut errors);
    immutable(kind, current, object, &mut errors);
    result(kind, object, &errors)
}

fn result(kind: &Kind, object: &Value, errors: &[FieldError]) -> Result<(), ApiError> {
    if errors.is_empty() {
        return Ok(());
    }
    let (_, name) = names(object);
    Err(ApiError::invalid(kind, &name, errors))
}

fn check(kind: &Kind, object: &Value, errors: &mut Errors) {
    name::metadata(kind, object, errors);
    let spec = &object["spec"];
    match kind.kind {
        "Pod" => pod::spec(spec, "spec", errors),
        "Deployment" => workload::deployment(spec, errors),
        "ReplicaSet" => workload::selected_template(spec, errors),
        "StatefulSet" => workload::stateful_set(spec, errors),
        "Job" => workload::job(spec, "spec", errors),
        "CronJob" => workload::cron_job(spec, errors),
        "Service" => workload::service(spec, errors),
        "Secret" | "ConfigMap" => data_keys(object, errors),
        "PersistentVolumeClaim" => workload::claim(spec, "spec", errors),
        _ => {}
    }
}

fn data_keys(object: &Value, errors: &mut Errors) {
    for map in ["data", "binaryData"] {
        for key in object[map].as_object().into_iter().flatten().map(|(key, _)| key) {
            if let Some(why) = name::config_key(key) {
                errors.push(FieldError::invalid(format!("{map}[{key}]"), &Value::from(key.as_str()), &why));
            }
        }
    }
}

const IMMUTABLE: &str = "field is immutable";

fn immutable(kind: &Kind, current: &Value, object: &Value, errors: &mut Errors) {
    let mut same = |path: &[&str]| {
        let at = |object: &Value| path.iter().fold(object.clone(), |value, step| value[*step].clone());
        let (before, after) = (at(current), at(object));
        if before != after {
            errors.push(FieldError::invalid(path.join("."), &after, IMMUTABLE));
        }
    };
    match kind.kind {
        "Deployment" | "ReplicaSet" => same(&["spec", "selector"]),
        "Job" => {
            same(&["spec", "completions"]);
            same(&["spec", "selector"]);
            same(&["spec", "template"]);
            same(&["spec", "completionMode"]);
        }
        "Secret" => same(&["type"]),
        "Service" if current["spec"]["type"] == "ClusterIP" && object["spec"]["type"] == "ClusterIP" => {
            same(&["spec", "clusterIP"]);
        }
        "StatefulSet" => workload::stateful_set_update(current, object, errors),
        "Pod" => pod::update(current, object, errors),
        "PersistentVolumeClaim" => workload::claim_update(current, object, errors),
        _ => {}
    }
    let data_changes = ["data", "binaryData"].iter().any(|field| current.get(field) != object.get(field));
    if ["Secret", "ConfigMap"].contains(&kind.kind) && current["immutable"] == true {
        if object["immutable"] != true {
            errors.push(FieldError::forbidden("immutable", "field is immutable when `immutable` is set"));
        }
        if data_changes {
            errors.push(FieldError::forbidden("data", "field is immutable when `immutable` is set"));
        }
    }
}
