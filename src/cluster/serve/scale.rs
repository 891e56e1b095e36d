//! The scale subresource of workloads.

use axum::response::Response;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value, json};

use super::Api;
use super::answer::respond;
use super::call::{self, Parameters, WriteOptions};
use super::read;
use super::route::Target;
use super::write;
use crate::cluster::patch::{PatchType, patch};
use crate::cluster::store::ApiError;

pub fn scale(
    api: &Api,
    target: &Target,
    method: &Method,
    headers: &HeaderMap,
    parameters: &Parameters,
    body: &[u8],
) -> Result<Response, ApiError> {
    let current = read::find(api, target)?;
    let scale = scale_of(&current);
    let wanted = match *method {
        Method::GET => return Ok(respond(StatusCode::OK, &scale, &[])),
        Method::PUT => call::decode(headers, body)?,
        Method::PATCH => {
            let content_type = call::content_type(headers);
            let patch_type = PatchType::of(content_type).filter(|patch_type| *patch_type != PatchType::Apply);
            let patch_type = patch_type.ok_or_else(|| ApiError::unsupported_media_type(content_type))?;
            patch(target.kind, &scale, patch_type, &call::decode(headers, body)?)?
        }
        _ => return Err(ApiError::method_not_allowed()),
    };
    let replicas = match &wanted["spec"]["replicas"] {
        Value::Null => 0,
        value => value.as_i64().filter(|replicas| *replicas >= 0).ok_or_else(|| {
            ApiError::bad_request(format!("spec.replicas: Invalid value: {value}: must be greater than or equal to 0"))
        })?,
    };
    let mut object = (*current).clone();
    object["spec"]["replicas"] = json!(replicas);
    match wanted["metadata"].get("resourceVersion") {
        Some(version) => object["metadata"]["resourceVersion"] = version.clone(),
        None => drop(object["metadata"].as_object_mut().map(|metadata| metadata.remove("resourceVersion"))),
    }
    let options = WriteOptions::read(parameters, headers)?;
    let written = write::update(api, target, &current, object, &options)?;
    Ok(respond(StatusCode::OK, &scale_of(&written), &[]))
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
