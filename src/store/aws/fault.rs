//! What the endpoint refuses, in the shape that each protocol has for it.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use quick_xml::escape::escape;
use serde_json::json;

use crate::kubernetes::KubernetesError;

/// A request that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// As the service calls it: what clients tell errors by.
    pub code: &'static str,
    pub message: String,
    pub status: StatusCode,
}

/// How a service says things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Forms in, XML out: CloudFormation, STS.
    Query,
    /// Every operation is a POST of JSON: ECS.
    Json,
    /// Operations by method and path: EFS, Backup.
    RestJson,
}

impl Fault {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), status: StatusCode::BAD_REQUEST }
    }

    /// Something that the service has and this endpoint does not.
    pub fn unserved(operation: &str) -> Self {
        Self::new("UnknownOperationException", format!("{operation} is not served inside a drill"))
    }

    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub fn into_response(self, protocol: Protocol) -> Response {
        let Self { code, message, status } = self;
        match protocol {
            Protocol::Query => {
                let (code, message) = (escape(code), escape(&message).into_owned());
                let body = format!(
                    "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
                     <RequestId>0</RequestId></ErrorResponse>"
                );
                (status, [(header::CONTENT_TYPE, "text/xml")], body).into_response()
            }
            Protocol::Json => (status, axum::Json(json!({"__type": code, "message": message}))).into_response(),
            Protocol::RestJson => {
                let body = axum::Json(json!({"Code": code, "ErrorCode": code, "Message": message}));
                (status, [("x-amzn-errortype", code)], body).into_response()
            }
        }
    }
}

impl From<KubernetesError> for Fault {
    fn from(error: KubernetesError) -> Self {
        let message = format!("the cluster of the drill: {}", crate::error::chain(&error));
        Self::new("ServerException", message).with_status(StatusCode::INTERNAL_SERVER_ERROR)
    }
}
