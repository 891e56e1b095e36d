//! Create, replace and patch: what every write goes through before the store has it.

use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::Api;
use super::answer::{Form, respond};
use super::body::{self, Origin};
use super::call::{self, Parameters, Write, WriteOptions};
use super::read;
use super::route::Target;
use crate::cluster::kind::{self, Kind};
use crate::cluster::patch::{PatchType, patch as apply_patch};
use crate::cluster::store::{ApiError, names, now, random_uid};
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
    let options = WriteOptions::read(parameters, headers, Write::Create)?;
    let mut warnings = body::check_twice(target.kind, headers, body, options.validation)?;
    let mut object = body::object(target.kind, headers, body)?;
    warnings.extend(body::check(target, &mut object, options.validation, Origin::Body)?);
    let object = insert(api, target, object, &options)?;
    warnings.extend(validate::warnings(&object));
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
    let options = WriteOptions::read(parameters, headers, Write::Update)?;
    let mut warnings = body::check_twice(target.kind, headers, body, options.validation)?;
    let mut object = body::object(target.kind, headers, body)?;
    warnings.extend(body::check(target, &mut object, options.validation, Origin::Body)?);
    let names_version = object["metadata"]["resourceVersion"].as_str().is_some_and(|version| !version.is_empty());
    let object = retried(names_version, || {
        let current = read::find(api, target)?;
        check_identity(target.kind, &current, &object)?;
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
    let patch_type = PatchType::of(call::content_type(headers)).ok_or_else(ApiError::unsupported_patch_type)?;
    let write = if patch_type == PatchType::Apply { Write::Apply } else { Write::Patch };
    let options = WriteOptions::read(parameters, headers, write)?;
    let body = body::patch(headers, patch_type, body)?;
    let origin = match patch_type {
        PatchType::Apply => return server_side_apply(api, target, form, body, &options),
        PatchType::Strategic => Origin::Merged(&body),
        PatchType::Json | PatchType::Merge => Origin::Patched,
    };
    let (object, warnings) = retried(names_a_version(&body), || {
        let current = read::find(api, target)?;
        let mut object = apply_patch(target.kind, &current, patch_type, &body)?;
        let mut warnings = body::check(target, &mut object, options.validation, origin)?;
        let object = update(api, target, &current, object, &options)?;
        if object["spec"] != current["spec"] {
            warnings.extend(validate::warnings(&object));
        }
        Ok((object, warnings))
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
    let name = target.name.as_deref().unwrap_or_default();
    if !body["metadata"]["name"].is_string() {
        body["metadata"]["name"] = json!(name);
    }
    let warnings = body::check(target, &mut body, options.validation, Origin::Applied)?;
    let (code, object) = retried(names_a_version(&body), || {
        let current = api.store.get(target.kind, target.namespace(), name);
        let mut applied = apply::apply(target.kind, current.as_deref(), &body, &options.manager, options.force)?;
        match current {
            Some(current) => Ok((StatusCode::OK, update_managed(api, target, &current, applied, options)?)),
            None if target.subresource.is_some() => Err(ApiError::not_found(target.kind, name)),
            None => {
                // The version of what is not there says nothing.
                applied["metadata"]["resourceVersion"] = Value::Null;
                Ok((StatusCode::CREATED, insert_managed(api, target, applied, options)?))
            }
        }
    })?;
    Ok(respond(code, &form.one(target.kind, &object), &warnings))
}

fn insert(api: &Api, target: &Target, mut object: Value, options: &WriteOptions) -> Result<Value, ApiError> {
    strict::drop_empty(target.kind, &mut object);
    default::decode(target.kind, &mut object);
    apply::track(target.kind, None, &mut object, &options.manager, target.subresource.as_deref());
    insert_managed(api, target, object, options)
}

fn insert_managed(api: &Api, target: &Target, mut object: Value, options: &WriteOptions) -> Result<Value, ApiError> {
    let kind = target.kind;
    if let Some(metadata) = object["metadata"].as_object_mut() {
        let servers_own = ["uid", "creationTimestamp", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"];
        let is_counted = |field: &str| field == "generation" && kind.has_generation();
        metadata.retain(|field, _| !servers_own.contains(&field.as_str()) && !is_counted(field));
        if metadata
            .shift_remove("resourceVersion")
            .is_some_and(|version| version.as_str().is_some_and(|v| !v.is_empty()))
        {
            return Err(ApiError::unexplained("resourceVersion should not be set on objects to be created"));
        }
    }
    if discovery::has_status(kind) {
        object.as_object_mut().map(|object| object.shift_remove("status"));
    }
    generate_name(&mut object);
    object["metadata"]["uid"] = json!(random_uid());
    strict::drop_empty(kind, &mut object);
    default::default(kind, &mut object);
    default::on_create(kind, &mut object);
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
    strict::drop_empty(target.kind, &mut object);
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
    strict::drop_empty(kind, &mut object);
    default::default(kind, &mut object);
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
        let managers = object["metadata"]["managedFields"].clone();
        *object = current.clone();
        if managers.is_array() {
            object["metadata"]["managedFields"] = managers;
        }
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
    // Of the two ways to say a service's address, the one that changes is meant.
    let address = |service: &Value, field: &str| service["spec"][field].clone();
    if target.kind == &kind::SERVICE
        && address(object, "clusterIP") != address(current, "clusterIP")
        && address(object, "clusterIPs") == address(current, "clusterIPs")
        && address(object, "clusterIP").is_string()
    {
        object["spec"]["clusterIPs"] = json!([address(object, "clusterIP")]);
    }
    for field in ["uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        if object["metadata"].get(field).is_none_or(Value::is_null)
            && let Some(value) = current["metadata"].get(field)
        {
            object["metadata"][field] = value.clone();
        }
    }
}

/// A replacement that names another object's uid is not for this one.
fn check_identity(kind: &Kind, current: &Value, object: &Value) -> Result<(), ApiError> {
    let (present, sent) = (&current["metadata"]["uid"], &object["metadata"]["uid"]);
    let Some(sent) = sent.as_str().filter(|sent| !sent.is_empty() && present != sent) else { return Ok(()) };
    let (namespace, name) = names(current);
    let folder = match kind.kind {
        "Service" => "services/specs",
        "Endpoints" => "services/endpoints",
        "Node" => "minions",
        _ => kind.plural,
    };
    let place = if namespace.is_empty() { name.clone() } else { format!("{namespace}/{name}") };
    let mut error = ApiError::conflict(kind, &name);
    error.message = format!(
        "Operation cannot be fulfilled on {} {name:?}: StorageError: invalid object, Code: 4, Key: /registry/{folder}/{place}, \
         ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {sent}, UID in object meta: {}",
        kind.resource(),
        present.as_str().unwrap_or_default()
    );
    Err(error)
}
