//! Create, replace and patch: what every write goes through before the store has it.

use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::Api;
use super::answer::{Form, respond};
use super::call::{self, FieldValidation, Parameters, WriteOptions};
use super::read;
use super::route::Target;
use crate::cluster::kind::{self, Kind};
use crate::cluster::patch::{PatchType, patch as apply_patch};
use crate::cluster::store::{ApiError, names, now};
use crate::cluster::{apply, default, discovery, strict, validate};

/// A write without a resourceVersion is tried again this often when another write came between.
const ATTEMPTS: usize = 5;

pub fn create(
    api: &Api,
    target: &Target,
    headers: &HeaderMap,
    parameters: &Parameters,
    body: &[u8],
) -> Result<Response, ApiError> {
    let form = Form::of(headers, parameters)?;
    let options = WriteOptions::read(parameters, headers)?;
    let mut object = call::decode(headers, body)?;
    let warnings = check_body(target, &mut object, options.validation)?;
    let object = insert(api, target, object, &options)?;
    Ok(respond(StatusCode::CREATED, &form.one(target.kind, &object), &warnings))
}

pub fn replace(
    api: &Api,
    target: &Target,
    headers: &HeaderMap,
    parameters: &Parameters,
    body: &[u8],
) -> Result<Response, ApiError> {
    let form = Form::of(headers, parameters)?;
    let options = WriteOptions::read(parameters, headers)?;
    let mut object = call::decode(headers, body)?;
    let warnings = check_body(target, &mut object, options.validation)?;
    let names_version = object["metadata"]["resourceVersion"].as_str().is_some_and(|version| !version.is_empty());
    let object = retried(names_version, || {
        let current = read::find(api, target)?;
        update(api, target, &current, object.clone(), &options)
    })?;
    Ok(respond(StatusCode::OK, &form.one(target.kind, &object), &warnings))
}

pub fn patch(
    api: &Api,
    target: &Target,
    headers: &HeaderMap,
    parameters: &Parameters,
    body: &[u8],
) -> Result<Response, ApiError> {
    let form = Form::of(headers, parameters)?;
    let options = WriteOptions::read(parameters, headers)?;
    let content_type = call::content_type(headers);
    let patch_type = PatchType::of(content_type).ok_or_else(|| ApiError::unsupported_media_type(content_type))?;
    let body = call::decode(headers, body)?;
    if patch_type == PatchType::Apply {
        return server_side_apply(api, target, form, body, &options);
    }
    let (object, warnings) = retried(names_a_version(&body), || {
        let current = read::find(api, target)?;
        let mut object = apply_patch(target.kind, &current, patch_type, &body)?;
        let warnings = check_body(target, &mut object, options.validation)?;
        Ok((update(api, target, &current, object, &options)?, warnings))
    })?;
    Ok(respond(StatusCode::OK, &form.one(target.kind, &object), &warnings))
}

/// Does a read and write again when another write came between, unless the client itself `names_version`: then the
/// conflict is its own business.
pub fn retried<T>(names_version: bool, write: impl Fn() -> Result<T, ApiError>) -> Result<T, ApiError> {
    for _ in 1..ATTEMPTS {
        match write() {
            Err(error) if error.reason == "Conflict" && !names_version => {}
            result => return result,
        }
    }
    write()
}

fn names_a_version(patch: &Value) -> bool {
    let mut operations = patch.as_array().into_iter().flatten();
    operations.any(|operation| operation["path"] == "/metadata/resourceVersion")
        || patch["metadata"]["resourceVersion"].is_string()
}

fn server_side_apply(
    api: &Api,
    target: &Target,
    form: Form,
    mut body: Value,
    options: &WriteOptions,
) -> Result<Response, ApiError> {
    // Unknown fields are an error in an apply, whatever fieldValidation says of others.
    let warnings = check_body(target, &mut body, FieldValidation::Strict)?;
    let name = target.name.as_deref().unwrap_or_default();
    body["metadata"]["name"] = json!(name);
    let (code, object) = retried(names_a_version(&body), || {
        let current = api.store.get(target.kind, target.namespace(), name);
        let applied = apply::apply(target.kind, current.as_deref(), &body, &options.manager, options.force)?;
        match current {
            Some(current) => Ok((StatusCode::OK, update_managed(api, target, &current, applied, options)?)),
            None if target.subresource.is_some() => Err(ApiError::not_found(target.kind, name)),
            None => Ok((StatusCode::CREATED, insert_managed(api, target, applied, options)?)),
        }
    })?;
    Ok(respond(code, &form.one(target.kind, &object), &warnings))
}

/// Brings a body to the path's kind, namespace and name, and finds fields that are unknown or of another type.
fn check_body(target: &Target, object: &mut Value, validation: FieldValidation) -> Result<Vec<String>, ApiError> {
    let kind = target.kind;
    let (version, name) = (kind.api_version(), kind.kind);
    if !object.is_object() {
        return Err(ApiError::bad_request(format!("the object provided is unrecognized (must be of type {name})")));
    }
    for (field, wanted) in [("apiVersion", version.as_str()), ("kind", name)] {
        match object[field].as_str() {
            None | Some("") => object[field] = json!(wanted),
            Some(present) if present == wanted => {}
            Some(_) => {
                return Err(ApiError::bad_request(format!(
                    "{} in version {} cannot be handled as a {name}: converting to {version} {name} is not possible",
                    object["kind"], object["apiVersion"]
                )));
            }
        }
    }
    let unknown = strict::check(kind, object)?;
    if validation == FieldValidation::Strict && !unknown.is_empty() {
        return Err(ApiError::bad_request(format!(
            "{name} in version {version:?} cannot be handled as a {name}: strict decoding error: {}",
            unknown.join(", ")
        )));
    }
    strict::prune(kind, object);
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    if let Some(wanted) = &target.namespace {
        match object["metadata"]["namespace"].as_str() {
            None | Some("") => object["metadata"]["namespace"] = json!(wanted),
            Some(present) if present == wanted => {}
            Some(_) => {
                let message = "the namespace of the provided object does not match the namespace sent on the request";
                return Err(ApiError::bad_request(message));
            }
        }
    }
    if let (Some(wanted), Some(present)) = (&target.name, object["metadata"]["name"].as_str())
        && wanted != present
    {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({present}) does not match the name on the URL ({wanted})"
        )));
    }
    if validation == FieldValidation::Ignore { Ok(Vec::new()) } else { Ok(unknown) }
}

fn insert(api: &Api, target: &Target, mut object: Value, options: &WriteOptions) -> Result<Value, ApiError> {
    apply::track(target.kind, None, &mut object, &options.manager, target.subresource.as_deref());
    insert_managed(api, target, object, options)
}

fn insert_managed(api: &Api, target: &Target, mut object: Value, options: &WriteOptions) -> Result<Value, ApiError> {
    let kind = target.kind;
    if let Some(metadata) = object["metadata"].as_object_mut() {
        let servers_own =
            ["uid", "creationTimestamp", "generation", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"];
        metadata.retain(|field, _| !servers_own.contains(&field.as_str()));
        if metadata
            .shift_remove("resourceVersion")
            .is_some_and(|version| version.as_str().is_some_and(|v| !v.is_empty()))
        {
            return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
        }
    }
    if discovery::has_status(kind) {
        object.as_object_mut().map(|object| object.shift_remove("status"));
    }
    generate_name(&mut object);
    default::default(kind, &mut object);
    let (_, name) = names(&object);
    validate::create(kind, &object)?;
    check_namespace(api, target, &name)?;
    if options.dry_run {
        if api.store.get(kind, target.namespace(), &name).is_some() {
            return Err(ApiError::already_exists(kind, &name));
        }
        object["metadata"]["creationTimestamp"] = json!(now());
        return Ok(object);
    }
    api.store.create(kind, object).map(|object| (*object).clone())
}

/// `generateName` and five letters, of those that make no words.
fn generate_name(object: &mut Value) {
    let (_, name) = names(object);
    let Some(prefix) = object["metadata"]["generateName"].as_str().filter(|_| name.is_empty()) else { return };
    let letters = b"bcdfghjklmnpqrstvwxz2456789";
    let suffix: String = (0..5).map(|_| char::from(letters[rand::random_range(0..letters.len())])).collect();
    object["metadata"]["name"] = json!(format!("{prefix}{suffix}"));
}

fn check_namespace(api: &Api, target: &Target, name: &str) -> Result<(), ApiError> {
    let Some(namespace) = target.namespace.as_deref() else { return Ok(()) };
    match api.store.get(&kind::NAMESPACE, "", namespace) {
        None => Err(ApiError::not_found(&kind::NAMESPACE, namespace)),
        Some(object) if object["metadata"]["deletionTimestamp"].is_string() => {
            Err(ApiError::terminating(target.kind, name, namespace))
        }
        Some(_) => Ok(()),
    }
}

/// Writes an object that was read as `current` and changed since: the manager gets the changed fields.
pub fn update(
    api: &Api,
    target: &Target,
    current: &Value,
    mut object: Value,
    options: &WriteOptions,
) -> Result<Value, ApiError> {
    keep_what_the_path_does_not_write(target, current, &mut object);
    default::default(target.kind, &mut object);
    apply::track(target.kind, Some(current), &mut object, &options.manager, target.subresource.as_deref());
    update_managed(api, target, current, object, options)
}

fn update_managed(
    api: &Api,
    target: &Target,
    current: &Value,
    mut object: Value,
    options: &WriteOptions,
) -> Result<Value, ApiError> {
    let kind = target.kind;
    keep_what_the_path_does_not_write(target, current, &mut object);
    default::default(kind, &mut object);
    check_identity(kind, current, &object)?;
    // What controllers made did not go through here: compared is what either would be with its defaults.
    let mut before = current.clone();
    default::default(kind, &mut before);
    validate::update(kind, &before, &object)?;
    if options.dry_run {
        return Ok(object);
    }
    // The version that was read, so that a write in between is a conflict and not lost.
    if object["metadata"]["resourceVersion"].as_str().is_none_or(str::is_empty) {
        object["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"].clone();
    }
    api.store.update(kind, object).map(|object| (*object).clone())
}

/// `/status` writes the status only, and every other path everything but the status.
fn keep_what_the_path_does_not_write(target: &Target, current: &Value, object: &mut Value) {
    if target.subresource.as_deref() == Some("status") {
        let status = object.get("status").cloned();
        let version = object["metadata"].get("resourceVersion").cloned();
        *object = current.clone();
        object["metadata"]["resourceVersion"] = version.unwrap_or(Value::Null);
        match status {
            Some(status) => object["status"] = status,
            None => drop(object.as_object_mut().map(|object| object.shift_remove("status"))),
        }
        return;
    }
    if discovery::has_status(target.kind) {
        match current.get("status") {
            Some(status) => object["status"] = status.clone(),
            None => drop(object.as_object_mut().map(|object| object.shift_remove("status"))),
        }
    }
    for field in ["uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        if object["metadata"].get(field).is_none_or(Value::is_null)
            && let Some(value) = current["metadata"].get(field)
        {
            object["metadata"][field] = value.clone();
        }
    }
}

fn check_identity(kind: &Kind, current: &Value, object: &Value) -> Result<(), ApiError> {
    let (present, sent) = (&current["metadata"]["uid"], &object["metadata"]["uid"]);
    if present == sent {
        return Ok(());
    }
    let (_, name) = names(current);
    let mut error = ApiError::conflict(kind, &name);
    let text = |uid: &Value| uid.as_str().unwrap_or_default().to_owned();
    error.message = format!(
        "Operation cannot be fulfilled on {} {name:?}: Precondition failed: UID in precondition: {}, UID in object meta: {}",
        kind.resource(),
        text(sent),
        text(present)
    );
    Err(error)
}
