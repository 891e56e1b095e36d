//! The form in which a client wants objects: themselves, their metadata only, or a table.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::call::Parameters;
use crate::cluster::kind::Kind;
use crate::cluster::store::ApiError;
use crate::cluster::table::{self, Include};

/// What `Accept` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Object,
    Metadata,
    Table(Include),
}

impl Form {
    /// The first form of `Accept` that is served.
    pub fn of(headers: &HeaderMap, parameters: &Parameters) -> Result<Self, ApiError> {
        let Some(accept) = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()) else {
            return Ok(Self::Object);
        };
        for choice in accept.split(',') {
            let mut parts = choice.split(';').map(str::trim);
            let is_json = ["application/json", "*/*", "application/*"].contains(&parts.next().unwrap_or_default());
            let parameter =
                |name: &str| choice.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
            if !is_json || parameter("v").is_some_and(|version| version != "v1") {
                continue;
            }
            match parameter("as") {
                None => return Ok(Self::Object),
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => return Ok(Self::Metadata),
                Some("Table") => {
                    return include(parameters).map(Self::Table);
                }
                Some(_) => {}
            }
        }
        Err(ApiError::not_acceptable())
    }

    /// One object in this form.
    pub fn one(self, kind: &Kind, object: &Value) -> Value {
        match self {
            Self::Object => object.clone(),
            Self::Metadata => metadata(object),
            Self::Table(include) => table::table(kind, &[object], &object["metadata"]["resourceVersion"], include),
        }
    }

    /// A list in this form.
    pub fn list<T: AsRef<Value>>(self, kind: &Kind, version: u64, objects: &[T]) -> Value {
        let version = json!(version.to_string());
        let objects: Vec<&Value> = objects.iter().map(AsRef::as_ref).collect();
        let metadata_of = |version: &Value| json!({"resourceVersion": version});
        match self {
            Self::Object => json!({"kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(),
                "metadata": metadata_of(&version), "items": objects.iter().map(|object| item(object)).collect::<Vec<_>>()}),
            Self::Metadata => json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata_of(&version),
                "items": objects.iter().map(|object| metadata(object)).collect::<Vec<_>>()}),
            Self::Table(include) => table::table(kind, &objects, &version, include),
        }
    }
}

fn include(parameters: &Parameters) -> Result<Include, ApiError> {
    match parameters.get("includeObject") {
        None | Some("Metadata") => Ok(Include::Metadata),
        Some("None") => Ok(Include::Nothing),
        Some("Object") => Ok(Include::Object),
        Some(other) => Err(ApiError::bad_request(format!(
            "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', 'Object', \
             'None', or empty"
        ))),
    }
}

/// An object in a list, whose kind says what its items are.
fn item(object: &Value) -> Value {
    let fields =
        object.as_object().into_iter().flatten().filter(|(field, _)| !["kind", "apiVersion"].contains(&field.as_str()));
    Value::Object(fields.map(|(field, value)| (field.clone(), value.clone())).collect())
}

/// `PartialObjectMetadata` of an object.
pub fn metadata(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// A JSON answer with warnings, each as kubectl prints it.
pub fn respond(code: StatusCode, body: &Value, warnings: &[String]) -> Response {
    let mut response = (code, axum::Json(body)).into_response();
    warnings.iter().for_each(|warning| warn(&mut response, warning));
    response
}

/// Adds a warning to an answer.
pub fn warn(response: &mut Response, warning: &str) {
    let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
    if let Ok(value) = format!("299 - \"{quoted}\"").parse() {
        response.headers_mut().append(header::WARNING, value);
    }
}
