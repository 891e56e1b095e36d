//! What the API server refuses, in its own words. Checked is what a restore procedure's manifests can get wrong.

use serde_json::Value;

use super::go;
use super::kind::{JOB, Kind};
use super::status::FieldError;
use super::store::{ApiError, names};

mod name;
mod pod;
mod resources;
mod schedule;
mod secret;
mod warning;
mod workload;

pub use resources::amount;
pub use warning::warnings;

/// Problems of one object, in the order found.
type Errors = Vec<FieldError>;

/// Checks an object that is to be created (with its defaults filled in).
pub fn create(kind: &Kind, object: &Value) -> Result<(), ApiError> {
    let mut errors = Errors::new();
    check(kind, object, &mut errors);
    if kind == &JOB {
        workload::job_selector(object, &mut errors);
    }
    result(kind, object, &errors)
}

/// Checks an object that is to replace `current`.
pub fn update(kind: &Kind, current: &Value, object: &Value) -> Result<(), ApiError> {
    let mut errors = Errors::new();
    identity(current, object, &mut errors);
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
        "ReplicaSet" => workload::selected_template("deployment", spec, errors),
        "StatefulSet" => workload::stateful_set(spec, errors),
        "Job" => workload::job(spec, "spec", errors),
        "CronJob" => workload::cron_job(spec, errors),
        "Service" => workload::service(spec, errors),
        "Secret" => {
            data_keys(object, errors);
            secret::keys_of_its_type(object, errors);
        }
        "ConfigMap" => data_keys(object, errors),
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
            if map == "data" && object["binaryData"].get(key).is_some() {
                let why = "duplicate of key present in binaryData";
                errors.push(FieldError::invalid(format!("{map}[{key}]"), &Value::from(key.as_str()), why));
            }
        }
    }
}

/// What no update of any kind may change.
fn identity(current: &Value, object: &Value, errors: &mut Errors) {
    let (before, after) = (&current["metadata"], &object["metadata"]);
    if before["uid"] != after["uid"] {
        errors.push(FieldError::invalid("metadata.uid", &after["uid"], IMMUTABLE));
    }
    if !before["deletionTimestamp"].is_string() {
        return;
    }
    let words = |metadata: &Value| -> Vec<String> {
        let finalizers = metadata["finalizers"].as_array().into_iter().flatten();
        finalizers.filter_map(|finalizer| finalizer.as_str().map(str::to_owned)).collect()
    };
    let (before, after) = (words(before), words(after));
    let new: Vec<&str> = after.iter().filter(|one| !before.contains(one)).map(String::as_str).collect();
    if !new.is_empty() {
        let why = "no new finalizers can be added if the object is being deleted, found new finalizers";
        errors.push(FieldError::forbidden("metadata.finalizers", &format!("{why} {}", go::string_list(new))));
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
            workload::service_update(current, object, errors);
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
