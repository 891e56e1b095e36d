//! One request, read once: query, body, and the options that writes carry.

use axum::body::Body;
use axum::extract::Query;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, header};
use serde_json::Value;

use crate::cluster::protobuf;
use crate::cluster::store::ApiError;

/// As the API server's own limit.
const LARGEST_BODY: usize = 3 << 20;

/// The query's parameters, in order, repeated ones included.
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub fn of(parts: &Parts) -> Result<Self, ApiError> {
        let query = Query::try_from_uri(&parts.uri)
            .map_err(|error| ApiError::bad_request(format!("the query cannot be read: {error}")))?;
        Ok(Self(query.0))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    pub fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    pub fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| ["true", "1", "True", "t", "T", "TRUE"].contains(&value))
    }

    pub fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let parse = |value: &str| {
            value.parse().map_err(|_| ApiError::bad_request(format!("invalid {name} {value:?}: expected a number")))
        };
        self.get(name).map(parse).transpose()
    }
}

/// What the server does about fields that it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// What a write asks for besides its body.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    pub dry_run: bool,
    pub manager: String,
    pub validation: FieldValidation,
    pub force: bool,
}

impl WriteOptions {
    pub fn read(parameters: &Parameters, headers: &HeaderMap) -> Result<Self, ApiError> {
        let validation = match parameters.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                let message =
                    format!("invalid fieldValidation {other:?}: supported are \"Ignore\", \"Warn\", \"Strict\"");
                return Err(ApiError::bad_request(message));
            }
        };
        let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("unknown");
        let agent = agent.split('/').next().unwrap_or(agent);
        Ok(Self {
            dry_run: dry_run(&parameters.all("dryRun"))?,
            manager: parameters.get("fieldManager").unwrap_or(agent).to_owned(),
            validation,
            force: parameters.is_true("force"),
        })
    }
}

/// Whether `dryRun` says that nothing may be kept.
pub fn dry_run(values: &[String]) -> Result<bool, ApiError> {
    match values.iter().find(|value| *value != "All" && !value.is_empty()) {
        Some(other) => Err(ApiError::bad_request(format!("invalid dryRun {other:?}: supported is \"All\""))),
        None => Ok(values.iter().any(|value| value == "All")),
    }
}

pub fn content_type(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/json")
}

pub async fn read_body(body: Body) -> Result<Bytes, ApiError> {
    axum::body::to_bytes(body, LARGEST_BODY).await.map_err(|error| ApiError {
        code: 413,
        reason: "RequestEntityTooLarge",
        message: format!("the body cannot be read, or is over the limit of {LARGEST_BODY} bytes: {error}"),
        details: None,
    })
}

/// The object in a body: JSON, YAML or protobuf, as its content type says.
pub fn decode(headers: &HeaderMap, body: &[u8]) -> Result<Value, ApiError> {
    let content_type = content_type(headers);
    match content_type.split(';').next().unwrap_or_default().trim() {
        "application/vnd.kubernetes.protobuf" => {
            protobuf::decode(body).map_err(|error| ApiError::bad_request(error.to_string()))
        }
        "application/yaml" | "application/apply-patch+yaml" => serde_yaml_ng::from_slice(body)
            .map_err(|error| ApiError::bad_request(format!("error converting YAML to JSON: {error}"))),
        "application/json"
        | "application/json-patch+json"
        | "application/merge-patch+json"
        | "application/strategic-merge-patch+json" => serde_json::from_slice(body)
            .map_err(|error| ApiError::bad_request(format!("couldn't get version/kind; json parse error: {error}"))),
        _ => Err(ApiError::unsupported_media_type(content_type)),
    }
}
