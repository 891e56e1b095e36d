//! Get and list.

use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::Api;
use super::answer::{Form, respond};
use super::call::Parameters;
use super::route::Target;
use crate::cluster::selector::Selector;
use crate::cluster::status::FieldError;
use crate::cluster::store::ApiError;
use crate::cluster::strict;

pub fn get(api: &Api, target: &Target, headers: &HeaderMap, parameters: &Parameters) -> Result<Response, ApiError> {
    let form = Form::of(headers, parameters)?;
    let object = find(api, target)?;
    Ok(respond(StatusCode::OK, &form.one(target.kind, &object), &[]))
}

/// The object that a path names, or 404.
pub fn find(api: &Api, target: &Target) -> Result<std::sync::Arc<Value>, ApiError> {
    let name = target.name.as_deref().unwrap_or_default();
    api.store.get(target.kind, target.namespace(), name).ok_or_else(|| ApiError::not_found(target.kind, name))
}

pub fn selector(target: &Target, parameters: &Parameters) -> Result<Selector, ApiError> {
    let text = |name| parameters.get(name).unwrap_or_default();
    Selector::parse(target.kind, text("labelSelector"), text("fieldSelector"))
}

/// Lists everything at once: `limit` is an upper bound that a server may exceed, so that there is never a `continue`.
pub fn list(api: &Api, target: &Target, headers: &HeaderMap, parameters: &Parameters) -> Result<Response, ApiError> {
    let form = Form::of(headers, parameters)?;
    let selector = selector(target, parameters)?;
    check_options(parameters)?;
    if let Some(token) = parameters.get("continue") {
        if let Err(why) = strict::check_base64(token) {
            let message = format!("invalid continue token: continue key is not valid: {why}");
            return Err(ApiError::bad_request(message));
        }
        return Err(ApiError::gone("the provided continue parameter is too old or was not given by this server"));
    }
    parameters.number("limit")?;
    let (version, mut objects) = api.store.list(target.kind, target.namespace.as_deref());
    if let Some(asked) = parameters.number("resourceVersion")? {
        check_version(asked, version)?;
    }
    objects.retain(|object| selector.matches(object));
    Ok(respond(StatusCode::OK, &form.list(target.kind, version, &objects), &[]))
}

/// Options of a list or watch that do not go together.
pub fn check_options(parameters: &Parameters) -> Result<(), ApiError> {
    let forbidden = |field: &str, why: &str| FieldError::forbidden(field, why);
    let (matched, initial) = (parameters.get("resourceVersionMatch"), parameters.get("sendInitialEvents"));
    let mut errors = Vec::new();
    match (parameters.is_true("watch"), matched, initial) {
        (true, Some("NotOlderThan"), Some(_)) | (true, None, None) => {}
        (true, _, Some(_)) => {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            errors.push(forbidden("resourceVersionMatch", why));
        }
        (true, Some(_), None) => {
            let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            errors.push(forbidden("resourceVersionMatch", why));
        }
        (false, matched, initial) => {
            if matched.is_some() && parameters.get("resourceVersion").is_none() {
                let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                errors.push(forbidden("resourceVersionMatch", why));
            }
            if initial.is_some() {
                errors.push(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid_options("ListOptions", &errors)) }
}

/// A version that this server has not reached yet cannot be waited for: it belongs to another server's time.
pub fn check_version(asked: u64, current: u64) -> Result<(), ApiError> {
    if asked <= current {
        return Ok(());
    }
    let mut error = ApiError::timeout(format!("Too large resource version: {asked}, current: {current}"));
    error.details = Some(serde_json::json!({"causes": [{"reason": "ResourceVersionTooLarge",
        "message": "Too large resource version"}], "retryAfterSeconds": 1}));
    Err(error)
}
