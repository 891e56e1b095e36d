//! Deletion of one object and of a selection.

use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::Api;
use super::answer::{Form, respond};
use super::body;
use super::call::{self, Parameters};
use super::read;
use super::route::Target;
use crate::cluster::kind::{JOB, Kind};
use crate::cluster::status::{self, FieldError};
use crate::cluster::store::{ApiError, DeleteOptions, Propagation, names};

struct Deletion {
    options: DeleteOptions,
    dry_run: bool,
    uid: Option<String>,
    resource_version: Option<String>,
    warnings: Vec<String>,
}

pub fn one(
    api: &Api,
    target: &Target,
    parameters: &Parameters,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, ApiError> {
    let deletion = read_options(target.kind, parameters, headers, body)?;
    let object = read::find(api, target)?;
    let (namespace, name) = names(&object);
    check_preconditions(target.kind, &object, &deletion)?;
    if deletion.dry_run {
        return Ok(respond(StatusCode::OK, &deleted(target.kind, &object), &[]));
    }
    let object = api.store.delete(target.kind, &namespace, &name, deletion.options)?;
    let is_gone = api.store.get(target.kind, &namespace, &name).is_none();
    let body = if is_gone { deleted(target.kind, &object) } else { (*object).clone() };
    Ok(respond(StatusCode::OK, &body, &deletion.warnings))
}

pub fn collection(
    api: &Api,
    target: &Target,
    headers: &HeaderMap,
    parameters: &Parameters,
    body: &[u8],
) -> Result<Response, ApiError> {
    let deletion = read_options(target.kind, parameters, headers, body)?;
    let selector = read::selector(target, parameters)?;
    let (version, mut objects) = api.store.list(target.kind, target.namespace.as_deref());
    objects.retain(|object| selector.matches(object));
    for object in objects.iter().filter(|_| !deletion.dry_run) {
        let (namespace, name) = names(object);
        match api.store.delete(target.kind, &namespace, &name, deletion.options) {
            Err(error) if error.code != 404 => return Err(error),
            _ => {}
        }
    }
    Ok(respond(StatusCode::OK, &Form::Object.list(target.kind, version, &objects), &deletion.warnings))
}

fn deleted(kind: &Kind, object: &Value) -> Value {
    let (_, name) = names(object);
    let mut details = status::details(&name, kind.group, kind.plural);
    details["uid"] = object["metadata"]["uid"].clone();
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

fn check_preconditions(kind: &Kind, object: &Value, deletion: &Deletion) -> Result<(), ApiError> {
    for (what, wanted) in [("uid", &deletion.uid), ("resourceVersion", &deletion.resource_version)] {
        let present = object["metadata"][what].as_str().unwrap_or_default();
        let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != present) else { continue };
        let (_, name) = names(object);
        let (word, happened) = match what {
            "uid" => ("UID", "deleted and then recreated"),
            _ => ("ResourceVersion", "modified"),
        };
        let qualified =
            if kind.group.is_empty() { kind.kind.to_owned() } else { format!("{}.{}", kind.kind, kind.group) };
        let mut error = ApiError::conflict(kind, &name);
        error.details = Some(status::details(&name, kind.group, kind.kind));
        error.message = format!(
            "Operation cannot be fulfilled on {qualified} {name:?}: the {word} in the precondition ({wanted}) does not match \
             the {word} in record ({present}). The object might have been {happened}"
        );
        return Err(error);
    }
    Ok(())
}

/// Options from the body, and from the query where the body has none.
fn read_options(
    kind: &'static Kind,
    parameters: &Parameters,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Deletion, ApiError> {
    let body = body::delete_options(headers, body)?;
    let mut errors = Vec::new();
    let (propagation, warnings) = propagation(kind, parameters, &body, &mut errors);
    let mut dry_run: Vec<String> = parameters.all("dryRun");
    dry_run.extend(body["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
    let dry_run = call::dry_run(&dry_run, &mut errors);
    if !errors.is_empty() {
        return Err(ApiError::invalid_options("DeleteOptions", &errors));
    }
    let grace = match body["gracePeriodSeconds"].as_i64() {
        Some(grace) => Some(grace),
        None => parameters.number("gracePeriodSeconds")?.and_then(|grace| i64::try_from(grace).ok()),
    };
    let precondition = |field: &str| body["preconditions"][field].as_str().map(str::to_owned);
    Ok(Deletion {
        options: DeleteOptions { propagation, grace },
        dry_run,
        uid: precondition("uid"),
        resource_version: precondition("resourceVersion"),
        warnings,
    })
}

/// What becomes of what belongs to the object, and what is warned of.
fn propagation(
    kind: &'static Kind,
    parameters: &Parameters,
    body: &Value,
    errors: &mut Vec<FieldError>,
) -> (Propagation, Vec<String>) {
    let policy = body["propagationPolicy"].as_str().or_else(|| parameters.get("propagationPolicy"));
    let orphans = match &body["orphanDependents"] {
        Value::Bool(orphans) => Some(*orphans),
        _ => parameters.get("orphanDependents").map(|_| parameters.is_true("orphanDependents")),
    };
    if let Some(policy) = policy.filter(|_| orphans.is_some()) {
        let why = "orphanDependents and deletionPropagation cannot be both set";
        errors.push(FieldError::invalid("propagationPolicy", &json!(policy), why));
    }
    let propagation = match (policy, orphans) {
        (Some("Background"), _) | (None, Some(false)) => Propagation::Background,
        (Some("Foreground"), _) => Propagation::Foreground,
        (Some("Orphan"), _) | (None, Some(true)) => Propagation::Orphan,
        (Some(other), _) => {
            let supported = ["Foreground", "Background", "Orphan", "nil"];
            errors.push(FieldError::unsupported("propagationPolicy", &json!(other), &supported));
            Propagation::Background
        }
        // batch/v1 keeps the habit of its first days: who does not say what shall become of a job's pods keeps them.
        (None, None) if kind == &JOB => {
            let warning = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to \
                           remove them or set propagationPolicy=Orphan to suppress this warning";
            return (Propagation::Orphan, vec![warning.to_owned()]);
        }
        (None, None) => Propagation::Background,
    };
    (propagation, Vec::new())
}
