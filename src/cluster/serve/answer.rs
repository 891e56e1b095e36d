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
                    return Ok(Self::Table(match parameters.get("includeObject") {
                        Some("None") => Include::Nothing,
                        Some("Object") => Include::Object,
                        _ => Include::Metadata,
                    }));
                }
                Some(_) => {}
            }
        }
        Err(ApiError {
            code: 406,
            reason: "NotAcceptable",
            message: "only the following media types are accepted: application/json".to_owned(),
            details: None,
        })
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
                "metadata": metadata_of(&version), "items": objects}),
            Self::Metadata => json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata_of(&version),
                "items": objects.iter().map(|object| metadata(object)).collect::<Vec<_>>()}),
            Self::Table(include) => table::table(kind, &objects, &version, include),
        }
    }
}

/// `PartialObjectMetadata` of an object.
pub fn metadata(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// A JSON answer with warnings, each as kubectl prints it.
pub fn respond(code: StatusCode, body: &Value, warnings: &[String]) -> Response {
    let mut response = (code, axum::Json(body)).into_response();
    for warning in warnings {
        let quoted: String = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = format!("299 - \"{quoted}\"").parse() {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}
