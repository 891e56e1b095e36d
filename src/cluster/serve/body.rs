//! Bodies: read as what their content type says, and held to the kind, namespace and name of the path.

use http::HeaderMap;
use serde_json::{Value, json};

use super::call::{self, FieldValidation};
use super::duplicate;
use super::route::Target;
use crate::cluster::kind::Kind;
use crate::cluster::patch::PatchType;
use crate::cluster::store::ApiError;
use crate::cluster::strict::{self, Mismatch};
use crate::cluster::{apply, go, kind, protobuf};

const JSON_TYPES: &[&str] = &[
    "application/json",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// What a Go program would make of a body that it only wants to know the kind of.
const TYPE_META: &str =
    r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;

/// Why a body could not be read.
enum Unread {
    ContentType,
    /// In the words of Go's decoder.
    Text(String),
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<Value, Unread> {
    match call::content_type(headers).split(';').next().unwrap_or_default().trim() {
        "application/vnd.kubernetes.protobuf" => {
            protobuf::decode(body).map_err(|error| Unread::Text(error.to_string()))
        }
        "application/yaml" | "application/apply-patch+yaml" => {
            serde_yaml_ng::from_slice(body).map_err(|error| Unread::Text(go::yaml_error(&error)))
        }
        json if JSON_TYPES.contains(&json) => {
            serde_json::from_slice(body).map_err(|error| Unread::Text(go::json_error(body, &error)))
        }
        _ => Err(Unread::ContentType),
    }
}

/// The object that a create or replace sends.
pub fn object(kind: &Kind, headers: &HeaderMap, body: &[u8]) -> Result<Value, ApiError> {
    let is_yaml = call::content_type(headers).starts_with("application/yaml");
    let why = match read(headers, body) {
        Ok(object) if object.is_object() => return Ok(object),
        Ok(other) => format!("json: cannot unmarshal {} into Go value of type {TYPE_META}", go::json_type(&other)),
        Err(Unread::ContentType) => return Err(ApiError::unsupported_media_type()),
        Err(Unread::Text(why)) => why,
    };
    let doing = if is_yaml { "" } else { "couldn't get version/kind; json parse error: " };
    Err(ApiError::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): {doing}{why} ({})",
        kind.kind,
        go::summary(body)
    )))
}

/// The patch that a request sends.
pub fn patch(headers: &HeaderMap, patch_type: PatchType, body: &[u8]) -> Result<Value, ApiError> {
    let (doing, found) = match (patch_type, read(headers, body)) {
        (_, Err(Unread::ContentType)) => return Err(ApiError::unsupported_patch_type()),
        (PatchType::Strategic, Err(Unread::Text(why))) => ("", why),
        (PatchType::Json | PatchType::Merge, Err(Unread::Text(why))) => ("error decoding patch: ", why),
        (PatchType::Apply, Err(Unread::Text(why))) => ("error decoding YAML: ", why),
        (PatchType::Apply, Ok(other)) if !other.is_object() => {
            let found = go::json_type(&other);
            let why = format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}");
            ("error decoding YAML: error unmarshaling JSON: while decoding JSON: ", why)
        }
        (_, Ok(patch)) => return Ok(patch),
    };
    Err(ApiError::bad_request(format!("{doing}{found}")))
}

/// The options in the body of a deletion; null where there are none.
pub fn delete_options(headers: &HeaderMap, body: &[u8]) -> Result<Value, ApiError> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    let options = read(headers, body).map_err(|error| match error {
        Unread::ContentType => ApiError::unsupported_media_type(),
        Unread::Text(why) => ApiError::unexplained(format!("couldn't get version/kind; json parse error: {why}")),
    })?;
    match options["kind"].as_str() {
        None | Some("" | "DeleteOptions") => Ok(options),
        Some(_) => Err(ApiError::unexplained(not_registered(&options))),
    }
}

fn not_registered(object: &Value) -> String {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let (name, version) = (text("kind"), text("apiVersion"));
    format!("no kind {name:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:110\"")
}

/// Refuses, or warns of, fields that a JSON body has twice.
pub fn check_twice(
    kind: &Kind,
    headers: &HeaderMap,
    body: &[u8],
    validation: FieldValidation,
) -> Result<Vec<String>, ApiError> {
    if validation == FieldValidation::Ignore || !call::content_type(headers).starts_with("application/json") {
        return Ok(Vec::new());
    }
    let twice: Vec<_> = duplicate::fields(body).iter().map(|path| format!("duplicate field {path:?}")).collect();
    match validation {
        FieldValidation::Strict if !twice.is_empty() => Err(ApiError::bad_request(format!(
            "{name} in version {version:?} cannot be handled as a {name}: strict decoding error: {}",
            twice.join(", "),
            name = kind.kind,
            version = kind.version
        ))),
        FieldValidation::Ignore | FieldValidation::Warn | FieldValidation::Strict => Ok(twice),
    }
}

/// Where an object comes from: how an API server words what is wrong with it depends on that.
#[derive(Clone, Copy)]
pub enum Origin<'a> {
    Body,
    /// A JSON or merge patch has made it.
    Patched,
    /// This strategic merge patch has made it.
    Merged(&'a Value),
    /// A server-side apply.
    Applied,
}

/// Brings an object to the path's kind, namespace and name, drops fields that the kind does not have, and returns warnings of
/// them.
///
/// # Errors
/// 400, 422 or 500 (as its origin has it) for another kind, for values that a field cannot hold, and for unknown fields where
/// they are asked to be refused.
pub fn check(
    target: &Target,
    object: &mut Value,
    validation: FieldValidation,
    origin: Origin<'_>,
) -> Result<Vec<String>, ApiError> {
    let kind = target.kind;
    bring_to_kind(kind, object, origin)?;
    let unknown = strict::check(kind, object).map_err(|mismatch| unreadable(kind, object, mismatch, origin))?;
    let refuses = validation == FieldValidation::Strict || matches!(origin, Origin::Applied);
    if let Some(first) = unknown.first().filter(|_| refuses) {
        let listed: Vec<_> = unknown.iter().map(|path| strict::unknown_field(path)).collect();
        let strict = format!("strict decoding error: {}", listed.join(", "));
        let applied = "field not declared in schema".to_owned();
        let why = Mismatch { json: strict.clone(), merged: strict, applied, path: first.clone() };
        return Err(unreadable(kind, object, why, origin));
    }
    if let Some(why) = apply::duplicate(kind, object).filter(|_| matches!(origin, Origin::Applied)) {
        return Err(untyped(kind, object, &why));
    }
    strict::prune(kind, object);
    bring_to_path(target, object)?;
    if validation == FieldValidation::Ignore {
        return Ok(Vec::new());
    }
    Ok(unknown.iter().map(|path| strict::unknown_field(path)).collect())
}

fn unreadable(kind: &Kind, object: &Value, why: Mismatch, origin: Origin<'_>) -> ApiError {
    match origin {
        Origin::Body => ApiError::bad_request(format!(
            "{name} in version {version:?} cannot be handled as a {name}: {why}",
            name = kind.kind,
            version = kind.version,
            why = why.json
        )),
        Origin::Patched => ApiError::unreadable_patch(&object.to_string(), &why.json),
        Origin::Merged(patch) => ApiError::unreadable_patch(&go::plain(patch), &why.merged),
        Origin::Applied => untyped(kind, object, &format!("{}: {}", applied_path(object, &why.path), why.applied)),
    }
}

/// What a server-side apply sends does not fit its kind.
fn untyped(kind: &Kind, object: &Value, why: &str) -> ApiError {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    let (namespace, name) = (text("namespace"), text("name"));
    ApiError::unexplained(format!(
        "failed to create typed patch object ({namespace}/{name}; {}/{}, Kind={}): {why}",
        kind.group, kind.version, kind.kind
    ))
}

/// `.spec.containers[name="a"].imag` of `spec.containers[0].imag`: apply names items by their key.
fn applied_path(object: &Value, path: &str) -> String {
    let mut at = object;
    let mut text = String::new();
    for part in path.split('.') {
        let (field, index) = part.split_once('[').map_or((part, None), |(field, index)| (field, Some(index)));
        text.push_str(&format!(".{field}"));
        at = &at[field];
        if let Some(index) = index.and_then(|index| index.trim_end_matches(']').parse::<usize>().ok()) {
            at = &at[index];
            match &at["name"] {
                Value::String(name) => text.push_str(&format!("[name={name:?}]")),
                _ => text.push_str(&format!("[{index}]")),
            }
        }
    }
    text
}

fn bring_to_kind(kind: &Kind, object: &mut Value, origin: Origin<'_>) -> Result<(), ApiError> {
    let version = kind.api_version();
    let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
    let (sent_version, sent_kind) = (text("apiVersion"), text("kind"));
    if matches!(origin, Origin::Applied) && (sent_version != version || sent_kind != kind.kind) {
        let slashed = if sent_version.contains('/') { sent_version } else { format!("/{sent_version}") };
        return Err(ApiError::bad_request(format!("invalid object type: {slashed}, Kind={sent_kind}")));
    }
    if !["", kind.kind].contains(&sent_kind.as_str()) {
        let package = if kind.group.is_empty() { "core" } else { kind.group };
        let why = match kind::of_manifest(&sent_version, &sent_kind) {
            Some(other) => {
                format!("converting ({}.{sent_kind}) to ({package}.{}): unknown conversion", other.version, kind.kind)
            }
            None => not_registered(object),
        };
        let message = format!(
            "{sent_kind} in version {:?} cannot be handled as a {}: {why}",
            sent_version.rsplit('/').next().unwrap_or_default(),
            kind.kind
        );
        return Err(match origin {
            Origin::Body | Origin::Applied => ApiError::bad_request(message),
            Origin::Patched => ApiError::unreadable_patch(&object.to_string(), &message),
            Origin::Merged(patch) => ApiError::unreadable_patch(&go::plain(patch), &message),
        });
    }
    if !["", version.as_str()].contains(&sent_version.as_str()) {
        let message = "the API version in the data";
        return Err(ApiError::bad_request(format!(
            "{message} ({sent_version}) does not match the expected API version ({version})"
        )));
    }
    object["apiVersion"] = json!(version);
    object["kind"] = json!(kind.kind);
    Ok(())
}

fn bring_to_path(target: &Target, object: &mut Value) -> Result<(), ApiError> {
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
    let version = object["metadata"]["resourceVersion"].as_str().filter(|version| !version.is_empty());
    if let Some(version) = version.filter(|version| version.parse::<u64>().is_err()) {
        return Err(ApiError::unexplained(format!("strconv.ParseUint: parsing {version:?}: invalid syntax")));
    }
    let Some(wanted) = &target.name else { return Ok(()) };
    match object["metadata"]["name"].as_str() {
        Some(present) if present == wanted => Ok(()),
        None | Some("") => Err(ApiError::bad_request(format!(
            "the name of the object ({wanted} based on URL) was undeterminable: name must be provided"
        ))),
        Some(present) => Err(ApiError::bad_request(format!(
            "the name of the object ({present}) does not match the name on the URL ({wanted})"
        ))),
    }
}
