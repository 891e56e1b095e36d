//! One request on its way through the gate: what it is about, whether it may go on, what it says on the cluster, and what of the
//! answer is seen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::answer::{self, View};
use super::body::{self, Sent};
use super::carry;
use super::headers;
use super::operation::touches_pods;
use super::pod::{AUTHORITIES, Extent, Furnishing};
use super::query;
use super::refuse;
use super::room::{ISOLATION, RESERVED, Rooms};
use super::target::{Objects, Target};
use crate::cluster::front::Closing;
use crate::kubernetes::Scope;

/// As an API server's own limit, and room for what is added.
const LARGEST: usize = 4 << 20;

/// How often a JSON patch is translated anew when its object has changed meanwhile: as often as an API server tries one.
const TRANSLATIONS: u32 = 5;

/// What every request sees.
pub struct Passage {
    pub client: kube::Client,
    pub rooms: Arc<Rooms>,
    pub furnishing: Arc<Furnishing>,
    /// Of kinds by group, version and plural, as the cluster serves them.
    pub scopes: BTreeMap<(String, String, String), Scope>,
    /// Whether the cluster is this drill's alone.
    pub owns_cluster: bool,
    /// Objects of the whole cluster that this drill made.
    pub made: Mutex<std::collections::BTreeSet<String>>,
    pub trouble: super::Trouble,
    pub closing: Closing,
}

/// An answer of the gate's own.
pub(super) struct Turned(Box<Response>);

impl From<Response> for Turned {
    fn from(response: Response) -> Self {
        Self(Box::new(response))
    }
}

pub(super) fn forbidden(message: &str) -> Turned {
    Turned::from(answer::status(StatusCode::FORBIDDEN, "Forbidden", message))
}

pub(super) fn bad_request(message: &str) -> Turned {
    Turned::from(answer::status(StatusCode::BAD_REQUEST, "BadRequest", message))
}

/// As an API server says that it has no such object.
fn not_found(objects: &Objects) -> Turned {
    let message = format!("{} {:?} not found", objects.describe(), objects.name.as_deref().unwrap_or_default());
    Turned::from(answer::status(StatusCode::NOT_FOUND, "NotFound", &message))
}

impl Passage {
    /// Answers a request; whatever keeps it from going on becomes a `Status`.
    pub async fn take(self: Arc<Self>, request: Request<Body>) -> Response {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.answer(request).await.unwrap_or_else(|Turned(response)| *response);
        tracing::trace!(%method, path, status = response.status().as_u16(), "request at the gate");
        response
    }

    async fn answer(self: Arc<Self>, request: Request<Body>) -> Result<Response, Turned> {
        let (mut parts, body) = request.into_parts();
        headers::strip(&mut parts.headers);
        // However the caller speaks to the gate; the client has its own way with the cluster.
        parts.version = http::Version::HTTP_11;
        match Target::of(parts.uri.path()) {
            Target::Unknown => Err(Turned::from(answer::status(
                StatusCode::NOT_FOUND,
                "NotFound",
                "the server could not find the requested resource",
            ))),
            Target::Service if parts.method == Method::GET => self.send(parts, Bytes::new()).await,
            Target::Service => Err(forbidden("only read")),
            Target::Objects(objects) => self.objects(objects, parts, body).await,
        }
    }

    async fn objects(self: Arc<Self>, objects: Objects, mut parts: Parts, body: Body) -> Result<Response, Turned> {
        let is_read = parts.method == Method::GET;
        let scope = self.scope(&objects);
        refuse::request(&objects, scope.clone(), is_read, self.owns_cluster).map_err(|reason| forbidden(&reason))?;
        if objects.namespace.is_none() && scope == Scope::Namespaced {
            return self.everywhere(&objects, parts).await;
        }
        if objects.resource == "resourcequotas" && !is_read {
            self.rooms.quota_of_the_page();
        }
        let on_cluster = self.on_cluster(&objects).await?;
        self.must_be_ours(&objects, &on_cluster, &parts.method)?;
        query::map(&mut parts, &objects, &on_cluster, self.rooms.naming(), &self.rooms.marks().drill)
            .map_err(|reason| bad_request(&reason))?;
        let view = View {
            naming: self.rooms.naming().clone(),
            furnishing: self.furnishing.clone(),
            resource: objects.resource.clone(),
        };
        if carry::is_upgrade(&parts.headers) {
            return carry::over(&self, Request::from_parts(parts, body), view).await;
        }
        let body = axum::body::to_bytes(body, LARGEST).await;
        let body = body.map_err(|error| bad_request(&format!("the body cannot be read: {error}")))?;
        let is_watch = query::is_watch(&parts.uri);
        let mut tries = 1;
        let response = loop {
            let (sent, is_translated) = self.body(&objects, &on_cluster, &mut parts, &body).await?;
            let response = self.send(parts.clone(), sent.into()).await?;
            if !is_translated || tries == TRANSLATIONS || response.status() != StatusCode::CONFLICT {
                break response;
            }
            tries += 1;
        };
        self.seen(&objects, &on_cluster, &parts.method, is_watch, view, response).await
    }

    fn scope(&self, objects: &Objects) -> Scope {
        if objects.namespace.is_some() {
            return Scope::Namespaced;
        }
        let key = (objects.group.clone(), objects.version.clone(), objects.resource.clone());
        self.scopes.get(&key).cloned().unwrap_or(Scope::Cluster)
    }

    /// The same objects as the cluster calls them.
    async fn on_cluster(&self, objects: &Objects) -> Result<Objects, Turned> {
        let mut on_cluster = objects.clone();
        let real = |name: &str| self.rooms.real(name).map_err(|error| bad_request(&error.to_string()));
        if objects.are_namespaces() {
            on_cluster.name = objects.name.as_deref().map(real).transpose()?;
        }
        if let Some(namespace) = &objects.namespace {
            let real = real(namespace)?;
            // Every cluster has this one from its beginning.
            if namespace == "default" && self.rooms.naming().maps() && !self.rooms.owns(&real) {
                self.rooms.make("default").await.map_err(|error| forbidden(&crate::error::chain(&error)))?;
            }
            on_cluster.namespace = Some(real);
        }
        Ok(on_cluster)
    }

    /// A namespace that redrill did not create is never read, changed or deleted, and its own objects are its alone.
    fn must_be_ours(&self, objects: &Objects, on_cluster: &Objects, method: &Method) -> Result<(), Turned> {
        let is_read = method == Method::GET;
        let namespace = objects.namespace.as_ref().or(objects.name.as_ref().filter(|_| objects.are_namespaces()));
        if let Some(own) = namespace.filter(|name| RESERVED.contains(&name.as_str())) {
            return Err(forbidden(&format!("the namespace {own} is redrill's, and no part of the page's cluster")));
        }
        if let (Some(real), Some(documented)) = (&on_cluster.namespace, &objects.namespace)
            && !self.rooms.owns(real)
            && !self.rooms.naming().maps()
        {
            return Err(forbidden(&format!("the namespace {documented} is not this drill's: it was there before")));
        }
        if objects.are_namespaces()
            && let Some(real) = &on_cluster.name
            && !self.rooms.owns(real)
            && !is_read
        {
            return Err(not_found(objects));
        }
        let name = objects.name.as_deref().unwrap_or_default();
        if [("networkpolicies", ISOLATION), ("configmaps", AUTHORITIES)].contains(&(&objects.resource, name)) {
            // As lists have it.
            return Err(not_found(objects));
        }
        let of_cluster = objects.namespace.is_none() && !objects.are_namespaces();
        let changes = objects.name.is_some() && !is_read;
        if of_cluster && changes && !self.made.lock().unwrap_or_else(PoisonError::into_inner).contains(&objects.path())
        {
            return Err(forbidden(&format!("{} {name} was there before this drill", objects.describe())));
        }
        if of_cluster && method == Method::DELETE && objects.name.is_none() {
            return Err(forbidden(&format!("{}: one by one", objects.describe())));
        }
        Ok(())
    }

    /// The body to send on, and whether it holds for the object only as it is now.
    async fn body(
        &self,
        objects: &Objects,
        on_cluster: &Objects,
        parts: &mut Parts,
        body: &[u8],
    ) -> Result<(Vec<u8>, bool), Turned> {
        let mut sent = body::read(&parts.headers, body).map_err(|reason| {
            Turned::from(answer::status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", &reason))
        })?;
        let refused = |reason: String| forbidden(&reason);
        match &sent {
            Sent::Nothing => {}
            Sent::Object(object) | Sent::Change(object) | Sent::Apply(object) => {
                if parts.method != Method::DELETE {
                    refuse::body(objects, object).map_err(refused)?;
                }
            }
            Sent::Operations(operations) => {
                for operation in operations {
                    refuse::operation(objects, operation).map_err(refused)?;
                }
            }
        }
        sent.map(self.rooms.naming(), objects.are_namespaces()).map_err(|reason| bad_request(&reason))?;
        let is_translated = match &mut sent {
            Sent::Operations(operations) if touches_pods(objects, operations) => {
                *operations = self.translated(objects, on_cluster, parts, operations).await?;
                true
            }
            _ => false,
        };
        self.add(objects, on_cluster, &parts.method, &mut sent)?;
        let (bytes, content_type) = sent.write();
        if let Some(content_type) = content_type {
            parts.headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
        }
        parts.headers.remove(header::CONTENT_LENGTH);
        Ok((bytes, is_translated))
    }

    fn add(&self, objects: &Objects, on_cluster: &Objects, method: &Method, sent: &mut Sent) -> Result<(), Turned> {
        if method == Method::DELETE {
            let uid = on_cluster.name.as_deref().filter(|_| objects.are_namespaces());
            if let Some(uid) = uid.and_then(|real| self.rooms.uid(real)) {
                let mut options = match std::mem::replace(sent, Sent::Nothing) {
                    Sent::Object(options) => options,
                    _ => json!({"kind": "DeleteOptions", "apiVersion": "v1"}),
                };
                options["preconditions"]["uid"] = json!(uid);
                *sent = Sent::Object(options);
            }
            return Ok(());
        }
        let of_cluster = objects.namespace.is_none();
        let namespace = objects.namespace.as_deref().unwrap_or_default();
        let unknown = |error: super::pod::UnknownImage| bad_request(&error.to_string());
        match sent {
            Sent::Nothing | Sent::Operations(_) => Ok(()),
            Sent::Object(object) | Sent::Apply(object) => {
                if of_cluster
                    && (method == Method::POST || method == Method::PATCH)
                    && object["kind"] != "SelfSubjectAccessReview"
                {
                    self.rooms.mark(object);
                    if objects.are_namespaces() {
                        self.rooms.mark_inside(object);
                    }
                }
                self.furnishing.furnish(&objects.resource, Extent::Whole, namespace, object).map_err(unknown)
            }
            Sent::Change(change) => {
                self.furnishing.furnish(&objects.resource, Extent::Change, namespace, change).map_err(unknown)
            }
        }
    }

    /// Sends a request to the cluster.
    pub(super) async fn send(&self, mut parts: Parts, body: Bytes) -> Result<Response, Turned> {
        // The client knows where the cluster is.
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        parts.uri = path.parse().map_err(|_| bad_request("the path cannot be read"))?;
        let sent = self.client.send(Request::from_parts(parts, kube::client::Body::from(body))).await;
        match sent {
            Ok(response) => Ok(response.map(|body| Body::from_stream(body.into_data_stream()))),
            Err(error) => Err(self.unanswered(&error)),
        }
    }

    /// The cluster did not answer: whatever comes of it is not the page's doing.
    pub(super) fn unanswered(&self, error: &kube::Error) -> Turned {
        let reason = crate::error::chain(error);
        self.trouble.note(&format!("the cluster did not answer: {reason}"));
        Turned::from(answer::status(
            StatusCode::GATEWAY_TIMEOUT,
            "Timeout",
            &format!("the cluster does not answer: {reason}"),
        ))
    }

    /// The same of one that began to answer.
    pub(super) fn broken_off(&self, error: &dyn std::error::Error) -> Turned {
        self.trouble.note(&format!("the cluster broke off its answer: {}", crate::error::chain(error)));
        Turned::from(answer::status(StatusCode::GATEWAY_TIMEOUT, "Timeout", "the cluster broke off its answer"))
    }

    async fn seen(
        &self,
        objects: &Objects,
        on_cluster: &Objects,
        method: &Method,
        is_watch: bool,
        view: View,
        response: Response,
    ) -> Result<Response, Turned> {
        let (mut parts, body) = response.into_parts();
        let is_json = answer::is_json(&parts.headers);
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::TRANSFER_ENCODING);
        if is_watch && is_json {
            return Ok(Response::from_parts(parts, view.events(body.into_data_stream())));
        }
        if !is_json {
            return Ok(Response::from_parts(parts, body));
        }
        let bytes = match body.collect().await {
            Ok(bytes) => bytes.to_bytes(),
            Err(error) => return Err(self.broken_off(&error)),
        };
        if parts.status.is_success() && objects.namespace.is_none() && method != Method::GET {
            self.settle(objects, on_cluster, method, &bytes).await?;
        }
        Ok(Response::from_parts(parts, Body::from(view.of(bytes))))
    }

    /// What was made or taken away of the cluster as a whole.
    async fn settle(
        &self,
        objects: &Objects,
        on_cluster: &Objects,
        method: &Method,
        answer: &[u8],
    ) -> Result<(), Turned> {
        let object: Value = serde_json::from_slice(answer).unwrap_or_default();
        let is_dry = object["metadata"]["uid"].is_null();
        match (objects.are_namespaces(), method == Method::DELETE) {
            (true, false) if objects.subresource.is_none() && !is_dry => {
                let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
                // One that was deleted and is made anew is another, with nothing in it yet.
                if self.rooms.uid(field("name")).as_deref() == Some(field("uid")) {
                    return Ok(());
                }
                let settled = self.rooms.settle_in(&object).await;
                settled.map_err(|error| {
                    forbidden(&format!("the namespace cannot be closed: {}", crate::error::chain(&error)))
                })
            }
            // One that is on its way out is still there, and still ours.
            (true, _) => Ok(()),
            (false, false) => {
                let mut path = on_cluster.clone();
                path.name = object["metadata"]["name"].as_str().map(str::to_owned);
                path.subresource = None;
                self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(path.path());
                Ok(())
            }
            (false, true) => Ok(()),
        }
    }
}
