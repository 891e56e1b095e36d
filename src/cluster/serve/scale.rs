//! The scale subresource of workloads.

use axum::response::Response;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value, json};

use super::Api;
use super::answer::respond;
use super::body;
use super::call::{self, Parameters, Write, WriteOptions};
use super::read;
use super::route::Target;
use super::write;
use crate::cluster::patch::{PatchType, patch};
use crate::cluster::status::FieldError;
use crate::cluster::store::ApiError;

pub fn scale(
    api: &Api,
    target: &Target,
    method: &Method,
    headers: &HeaderMap,
    parameters: &Parameters,
    body: &[u8],
) -> Result<Response, ApiError> {
    if method == Method::GET {
        return Ok(respond(StatusCode::OK, &scale_of(&*read::find(api, target)?), &[]));
    }
    if ![Method::PUT, Method::PATCH].contains(method) {
        return Err(ApiError::method_not_allowed());
    }
    let (body, write) = match *method {
        Method::PUT => (body::object(target.kind, headers, body)?, Write::Update),
        _ => (body::patch(headers, patch_type(headers)?, body)?, Write::Patch),
    };
    let options = WriteOptions::read(parameters, headers, write)?;
    let asked_version = body["metadata"].get("resourceVersion").filter(|version| version.is_string());
    let written = write::retried(asked_version.is_some() || body.is_array(), || {
        let current = read::find(api, target)?;
        let wanted = match *method {
            Method::PUT => body.clone(),
            _ => patched(target, headers, &current, &body)?,
        };
        let mut object = (*current).clone();
        object["spec"]["replicas"] = json!(replicas(target, &wanted)?);
        object["metadata"]["resourceVersion"] = asked_version.cloned().unwrap_or(Value::Null);
        write::update(api, target, &current, object, &options)
    })?;
    Ok(respond(StatusCode::OK, &scale_of(&written), &[]))
}

fn patch_type(headers: &HeaderMap) -> Result<PatchType, ApiError> {
    let patch_type = PatchType::of(call::content_type(headers)).filter(|patch_type| *patch_type != PatchType::Apply);
    patch_type.ok_or_else(ApiError::unsupported_patch_type)
}

fn patched(target: &Target, headers: &HeaderMap, current: &Value, body: &Value) -> Result<Value, ApiError> {
    patch(target.kind, &scale_of(current), patch_type(headers)?, body)
}

fn replicas(target: &Target, scale: &Value) -> Result<i64, ApiError> {
    let value = &scale["spec"]["replicas"];
    let invalid = |value| {
        let error = FieldError::invalid("spec.replicas", value, "must be greater than or equal to 0");
        ApiError::invalid_named("autoscaling", "Scale", target.name.as_deref().unwrap_or_default(), &[error])
    };
    match value {
        Value::Null => Ok(0),
        value => value.as_i64().filter(|replicas| *replicas >= 0).ok_or_else(|| invalid(value)),
    }
}

/// `autoscaling/v1` `Scale` of a workload.
fn scale_of(object: &Value) -> Value {
    let kept = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"];
    let metadata: Map<String, Value> =
        kept.iter().filter_map(|field| Some(((*field).to_owned(), object["metadata"].get(field)?.clone()))).collect();
    let labels = object["spec"]["selector"]["matchLabels"].as_object();
    let selector: Vec<String> = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": object["spec"]["replicas"].as_i64().unwrap_or(1)},
        "status": {"replicas": object["status"]["replicas"].as_i64().unwrap_or(0), "selector": selector.join(",")},
    })
}
