//! `Status` objects: how an API server says what went wrong, in its own words.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::kind::Kind;
use super::store::ApiError;

/// One problem of one field, as validation reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    pub reason: &'static str,
    pub field: String,
    /// Without the field's name.
    pub message: String,
}

impl FieldError {
    pub fn required(field: impl Into<String>, hint: &str) -> Self {
        let message = if hint.is_empty() { "Required value".to_owned() } else { format!("Required value: {hint}") };
        Self { reason: "FieldValueRequired", field: field.into(), message }
    }

    pub fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        Self { reason: "FieldValueInvalid", field: field.into(), message: format!("Invalid value: {value}: {why}") }
    }

    /// A value as Go prints it, where a server shows no JSON.
    pub fn invalid_as_go(field: impl Into<String>, shown: &str, why: &str) -> Self {
        Self { reason: "FieldValueInvalid", field: field.into(), message: format!("Invalid value: {shown}: {why}") }
    }

    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::duplicate_as_go(field, &value.to_string())
    }

    pub fn duplicate_as_go(field: impl Into<String>, shown: &str) -> Self {
        Self { reason: "FieldValueDuplicate", field: field.into(), message: format!("Duplicate value: {shown}") }
    }

    pub fn not_found(field: impl Into<String>, value: &Value) -> Self {
        Self { reason: "FieldValueNotFound", field: field.into(), message: format!("Not found: {value}") }
    }

    pub fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self { reason: "FieldValueForbidden", field: field.into(), message: format!("Forbidden: {why}") }
    }

    pub fn unsupported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        Self::unsupported_as_go(field, &value.to_string(), supported)
    }

    pub fn unsupported_as_go(field: impl Into<String>, shown: &str, supported: &[&str]) -> Self {
        let supported: Vec<_> = supported.iter().map(|value| format!("{value:?}")).collect();
        let message = format!("Unsupported value: {shown}: supported values: {}", supported.join(", "));
        Self { reason: "FieldValueNotSupported", field: field.into(), message }
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// `details` of what an error is about, without what is not known of it.
pub fn details(name: &str, group: &str, kind: &str) -> Value {
    let known = [("name", name), ("group", group), ("kind", kind)].into_iter().filter(|(_, text)| !text.is_empty());
    Value::Object(known.map(|(field, text)| (field.to_owned(), json!(text))).collect())
}

impl ApiError {
    fn plain(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::plain(400, "BadRequest", message)
    }

    /// A server knows of no more than the code: `details` are there and empty.
    fn by_code(code: u16, reason: &'static str, message: &str) -> Self {
        Self { details: Some(json!({})), ..Self::plain(code, reason, message) }
    }

    /// A JSON patch that cannot be applied. A server does not say why.
    pub fn unprocessable() -> Self {
        Self::by_code(422, "Invalid", "the server rejected our request due to an error in our request")
    }

    /// No such path or subresource.
    pub fn no_such_path() -> Self {
        Self::by_code(404, "NotFound", "the server could not find the requested resource")
    }

    pub fn method_not_allowed() -> Self {
        Self::by_code(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    }

    /// A body of another type than those that are read.
    pub fn unsupported_media_type() -> Self {
        let message = "the body of the request was in an unknown format - accepted media types include: \
                       application/json, application/yaml, application/vnd.kubernetes.protobuf";
        Self::plain(415, "UnsupportedMediaType", message)
    }

    /// A patch of another type than the four.
    pub fn unsupported_patch_type() -> Self {
        Self::by_code(415, "UnsupportedMediaType", "415: Unsupported Media Type")
    }

    pub fn not_acceptable() -> Self {
        let message = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, \
                       application/vnd.kubernetes.protobuf";
        Self::by_code(406, "NotAcceptable", message)
    }

    /// What a server has no reason for: an error of its own, with nothing but a message.
    pub fn unexplained(message: impl Into<String>) -> Self {
        Self::plain(500, "", message)
    }

    /// A patch whose result (or which itself) cannot be read as its kind: `shown` is what could not be read.
    pub fn unreadable_patch(shown: &str, why: &str) -> Self {
        let error = FieldError::invalid("patch", &json!(shown), why);
        Self::invalid_named("", "", "", &[error])
    }

    /// Options of a request (`CreateOptions` and the like) that are wrong.
    pub fn invalid_options(options: &str, errors: &[FieldError]) -> Self {
        Self::invalid_named("meta.k8s.io", options, "", errors)
    }

    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::plain(500, "InternalError", format!("Internal error occurred: {message}"))
    }

    pub fn gone(message: impl Into<String>) -> Self {
        Self::plain(410, "Expired", message)
    }

    pub fn timeout(message: impl Into<String>) -> Self {
        Self::plain(504, "Timeout", message)
    }

    pub fn terminating(kind: &Kind, name: &str, namespace: &str) -> Self {
        let mut with_causes = details(name, kind.group, kind.plural);
        with_causes["causes"] = json!([{"reason": "NamespaceTerminating",
            "message": format!("namespace {namespace} is being terminated"), "field": "metadata.namespace"}]);
        Self {
            code: 403,
            reason: "Forbidden",
            message: format!(
                "{} \"{name}\" is forbidden: unable to create new content in namespace {namespace} \
                 because it is being terminated",
                kind.resource()
            ),
            details: Some(with_causes),
        }
    }

    pub fn invalid(kind: &Kind, name: &str, errors: &[FieldError]) -> Self {
        Self::invalid_named(kind.group, kind.kind, name, errors)
    }

    /// 422 with every problem of an object.
    pub fn invalid_named(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let listed = match errors {
            [one] => one.to_string(),
            many => format!("[{}]", many.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        };
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let causes: Vec<_> = errors
            .iter()
            .map(|error| json!({"reason": error.reason, "message": error.message, "field": error.field}))
            .collect();
        let mut details = details(name, group, kind);
        details["causes"] = json!(causes);
        let message = format!("{qualified} {name:?} is invalid: {listed}");
        Self { details: Some(details), ..Self::plain(422, "Invalid", message) }
    }

    /// The `Status` object that says this.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (code, axum::Json(self.status())).into_response()
    }
}
