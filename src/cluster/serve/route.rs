//! From a path and a method to what answers them.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};

use super::{Api, answer, call, delete, exec, logs, read, scale, watch, write};
use crate::cluster::kind::{self, KINDS, Kind};
use crate::cluster::store::ApiError;
use crate::cluster::{discovery, openapi};

/// The objects that a path is about.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    pub kind: &'static Kind,
    /// `None` for cluster-scoped kinds and for all namespaces.
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub subresource: Option<String>,
}

impl Target {
    /// The namespace as the store names it.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }
}

/// Answers a request; whatever goes wrong becomes a `Status`.
pub async fn handle(api: Arc<Api>, request: Request<Body>) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = answer(api, request).await.unwrap_or_else(IntoResponse::into_response);
    tracing::trace!(%method, path, status = response.status().as_u16(), "API request");
    response
}

async fn answer(api: Arc<Api>, request: Request<Body>) -> Result<Response, ApiError> {
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    if let Some(target) = target(&segments) {
        let target = target?;
        let is_old = target.kind == &kind::ENDPOINTS;
        let mut response = dispatch(api, target, request).await?;
        if is_old {
            let warning = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";
            answer::warn(&mut response, warning);
        }
        return Ok(response);
    }
    if request.method() != Method::GET {
        return Err(ApiError::no_such_path());
    }
    let ok = |body: Option<serde_json::Value>| {
        body.map(|body| answer::respond(StatusCode::OK, &body, &[])).ok_or_else(ApiError::no_such_path)
    };
    match segments.as_slice() {
        ["version"] => ok(Some(discovery::version())),
        ["healthz" | "livez" | "readyz", ..] => Ok("ok".into_response()),
        ["api"] => Ok(discover(request.headers(), true)),
        ["apis"] => Ok(discover(request.headers(), false)),
        ["api", version] => ok(discovery::resource_list("", version)),
        ["apis", group] => ok(discovery::group(group)),
        ["apis", group, version] => ok(discovery::resource_list(group, version)),
        ["openapi", "v2"] => Ok(([(header::CONTENT_TYPE, openapi::V2_TYPE)], openapi::EMPTY_V2).into_response()),
        ["openapi", "v3"] => ok(Some(openapi::index())),
        ["openapi", "v3", of @ ..] => ok(openapi::document(&of.join("/"))),
        _ => Err(ApiError::no_such_path()),
    }
}

/// Discovery in the newest form that the client takes.
fn discover(headers: &HeaderMap, core: bool) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let asked = accept.split(',').find_map(|choice| {
        let aggregated = choice.contains("g=apidiscovery.k8s.io") && choice.contains("as=APIGroupDiscoveryList");
        let version = ["v2", "v2beta1"]
            .into_iter()
            .find(|version| choice.split(';').any(|part| part.trim().strip_prefix("v=") == Some(version)))?;
        aggregated.then_some(version)
    });
    let Some(version) = asked else {
        let body = if core { discovery::core_versions() } else { discovery::group_list() };
        return answer::respond(StatusCode::OK, &body, &[]);
    };
    let mut response = answer::respond(StatusCode::OK, &discovery::aggregated(core, version), &[]);
    // kubectl takes the answer for the old form unless the content type names the new one.
    let content_type = match version {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// What the segments of a path name. `None`: no path of objects; an error: a kind or a scope that is not served.
fn target(segments: &[&str]) -> Option<Result<Target, ApiError>> {
    let (group, version, rest) = match segments {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => return None,
    };
    let find = |plural: &str| {
        let mut served = KINDS.iter().copied();
        served.find(|kind| kind.group == group && kind.version == version && kind.plural == plural)
    };
    let named = |kind, namespace: Option<&str>, rest: &[&str]| {
        let (name, subresource) = match rest {
            [] => (None, None),
            [name] => (Some(*name), None),
            [name, subresource] => (Some(*name), Some(*subresource)),
            _ => return Err(ApiError::no_such_path()),
        };
        let own = |text: Option<&str>| text.map(str::to_owned);
        Ok(Target { kind, namespace: own(namespace), name: own(name), subresource: own(subresource) })
    };
    let found = match rest {
        ["namespaces", namespace, plural, rest @ ..] if find(plural).is_some_and(|kind| kind.namespaced) => {
            find(plural).map(|kind| named(kind, Some(namespace), rest))
        }
        [plural, rest @ ..] => match find(plural) {
            // A namespaced object has no path without its namespace; the list over all namespaces has.
            Some(kind) if kind.namespaced && !rest.is_empty() => None,
            kind => kind.map(|kind| named(kind, None, rest)),
        },
        [] => None,
    };
    Some(found.unwrap_or_else(|| Err(ApiError::no_such_path())))
}

async fn dispatch(api: Arc<Api>, target: Target, request: Request<Body>) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let parameters = call::Parameters::of(&parts)?;
    match (target.name.as_deref(), target.subresource.as_deref(), &parts.method) {
        (None, _, &Method::GET) if parameters.is_true("watch") => {
            watch::watch(&api, &target, &parts.headers, &parameters)
        }
        (None, _, &Method::GET) => read::list(&api, &target, &parts.headers, &parameters),
        (None, _, &Method::POST) => {
            let body = call::read_body(body).await?;
            write::create(&api, &target, &parts.headers, &parameters, &body)
        }
        (None, _, &Method::DELETE) => {
            let body = call::read_body(body).await?;
            delete::collection(&api, &target, &parts.headers, &parameters, &body)
        }
        (Some(_), Some("exec"), &Method::GET) if target.kind.kind == "Pod" => {
            exec::websocket(api, &target, &mut parts, &parameters).await
        }
        (Some(_), Some("exec"), &Method::POST) if target.kind.kind == "Pod" => exec::spdy(&api, &target, &parameters),
        (Some(_), Some("log"), &Method::GET) if target.kind.kind == "Pod" => {
            logs::logs(&api, &target, &parameters).await
        }
        (Some(_), Some("scale"), method) if discovery::has_scale(target.kind) => {
            let method = method.clone();
            let body = call::read_body(body).await?;
            scale::scale(&api, &target, &method, &parts.headers, &parameters, &body)
        }
        (Some(_), subresource, method) if is_stored(target.kind, subresource) => match *method {
            Method::GET => read::get(&api, &target, &parts.headers, &parameters),
            Method::PUT | Method::PATCH => {
                let is_patch = method == Method::PATCH;
                let body = call::read_body(body).await?;
                let write = if is_patch { write::patch } else { write::replace };
                write(&api, &target, &parts.headers, &parameters, &body)
            }
            Method::DELETE if subresource.is_none() => {
                let body = call::read_body(body).await?;
                delete::one(&api, &target, &parameters, &parts.headers, &body)
            }
            _ => Err(ApiError::method_not_allowed()),
        },
        // A catch-all here once made `kubectl debug` succeed by patching the pod.
        (Some(_), Some(subresource), _) => Err(not_served(&target, subresource)),
        _ => Err(ApiError::method_not_allowed()),
    }
}

fn is_stored(kind: &Kind, subresource: Option<&str>) -> bool {
    match subresource {
        None => true,
        Some("status") => discovery::has_status(kind),
        Some(_) => false,
    }
}

fn not_served(target: &Target, subresource: &str) -> ApiError {
    ApiError {
        message: format!(
            "the server could not find the requested resource ({}/{subresource} is not served by this cluster)",
            target.kind.resource()
        ),
        ..ApiError::no_such_path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str) -> Option<Result<Target, ApiError>> {
        target(&path.split('/').filter(|segment| !segment.is_empty()).collect::<Vec<_>>())
    }

    fn text(path: &str) -> String {
        let target = parse(path).unwrap().unwrap();
        let or = |part: &Option<String>| part.clone().unwrap_or("-".to_owned());
        format!("{} {} {} {}", target.kind.kind, or(&target.namespace), or(&target.name), or(&target.subresource))
    }

    #[test]
    fn paths_name_kind_namespace_name_and_subresource() {
        assert_eq!(text("/api/v1/namespaces"), "Namespace - - -");
        assert_eq!(text("/api/v1/namespaces/taiga"), "Namespace - taiga -");
        assert_eq!(text("/api/v1/namespaces/taiga/status"), "Namespace - taiga status");
        assert_eq!(text("/api/v1/namespaces/taiga/pods/web/exec"), "Pod taiga web exec");
        assert_eq!(text("/apis/apps/v1/deployments"), "Deployment - - -");
        assert_eq!(text("/apis/batch/v1/namespaces/taiga/jobs/a"), "Job taiga a -");
    }

    #[test]
    fn what_is_not_served_is_no_path() {
        for path in [
            "/api/v1/namespaces/taiga/widgets/one",
            "/apis/apps/v2/deployments",
            "/apis/rbac.authorization.k8s.io/v1/roles",
            "/api/v1/pods/web",
            "/api/v1/namespaces/taiga/pods/web/exec/more",
        ] {
            assert_eq!(parse(path).unwrap().unwrap_err().code, 404, "{path}");
        }
        assert!(parse("/version").is_none());
    }
}
