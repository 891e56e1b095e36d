//! One request, read once: query, body, and the options that writes carry.

use axum::body::Body;
use axum::extract::Query;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, header};

use crate::cluster::go;
use crate::cluster::status::FieldError;
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
            value.parse().map_err(|_| {
                ApiError::bad_request(match name {
                    "resourceVersion" => format!(
                        "invalid resource version: resourceVersion: Invalid value: {value:?}: strconv.ParseUint: parsing \
                         {value:?}: invalid syntax"
                    ),
                    _ => format!("strconv.ParseInt: parsing {value:?}: invalid syntax"),
                })
            })
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

/// The way of writing whose options are read; messages name them so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    Create,
    Update,
    Patch,
    Apply,
}

impl Write {
    fn options(self) -> &'static str {
        match self {
            Self::Create => "CreateOptions",
            Self::Update => "UpdateOptions",
            Self::Patch | Self::Apply => "PatchOptions",
        }
    }
}

impl WriteOptions {
    /// # Errors
    /// 422 with everything that is wrong with the options.
    pub fn read(parameters: &Parameters, headers: &HeaderMap, write: Write) -> Result<Self, ApiError> {
        let mut errors = Vec::new();
        let force = parameters.is_true("force");
        match write {
            Write::Apply if parameters.get("fieldManager").is_none() => {
                errors.push(FieldError::required("fieldManager", "is required for apply patch"));
            }
            Write::Patch if parameters.get("force").is_some() => {
                errors.push(FieldError::forbidden("force", "may not be specified for non-apply patch"));
            }
            Write::Create | Write::Update | Write::Patch | Write::Apply => {}
        }
        let dry_run = dry_run(&parameters.all("dryRun"), &mut errors);
        let validation = match parameters.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                let supported = ["", "Ignore", "Strict", "Warn"];
                errors.push(FieldError::unsupported("fieldValidation", &other.into(), &supported));
                FieldValidation::Warn
            }
        };
        if !errors.is_empty() {
            return Err(ApiError::invalid_options(write.options(), &errors));
        }
        let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("unknown");
        let agent = agent.split('/').next().unwrap_or(agent);
        let manager = parameters.get("fieldManager").unwrap_or(agent).to_owned();
        Ok(Self { dry_run, manager, validation, force })
    }
}

/// Whether `dryRun` says that nothing may be kept.
pub fn dry_run(values: &[String], errors: &mut Vec<FieldError>) -> bool {
    if values.iter().any(|value| value != "All" && !value.is_empty()) {
        let shown = go::string_list(values.iter().map(String::as_str));
        errors.push(FieldError::unsupported_as_go("dryRun", &shown, &["All"]));
    }
    values.iter().any(|value| value == "All")
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
