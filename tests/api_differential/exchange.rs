//! Requests and answers, the same for a served cluster and a real API server.

use std::sync::Arc;

use http_body_util::BodyExt;
use redrill::cluster::kind::{self, KINDS, Kind};
use redrill::cluster::serve::{Containers, Server, ServerConfig};
use redrill::cluster::store::Store;
use serde_json::{Value, json};

use super::case::{Answer, Case, CaseFile, Given, Request};
use super::volatile;

#[path = "../support/local_processes.rs"]
#[allow(dead_code, reason = "shared with the tests of kubectl; here nothing runs in a pod")]
mod local_processes;

/// A served cluster with nothing in it and nothing that reconciles it.
pub fn served() -> Server {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let runtime = Arc::new(local_processes::LocalProcesses::default());
    Server::start(ServerConfig {
        store: Arc::new(Store::default()),
        containers: Containers { cluster: "drill".to_owned(), runtime },
        listeners: vec![listener],
        names: Vec::new(),
        addresses: Vec::new(),
    })
    .unwrap()
}

/// Makes the namespace and what is given, sends the request, and returns what is compared of its answer.
pub async fn play(client: &kube::Client, file: &CaseFile, case: &Case, namespace: &str) -> Answer {
    let own = json!({"metadata": {"name": "taiga", "labels": {"drill": "taiga"}}});
    must(case, create(client, &kind::NAMESPACE, &own, namespace).await);
    for given in &case.given {
        match given {
            Given::Object(name) => {
                let object = file.objects.get(name).unwrap_or_else(|| panic!("{}: no object `{name}`", case.name));
                make(client, case, object, namespace).await;
            }
            Given::Request(request) => must(case, send(client, request, namespace).await),
        }
    }
    let (code, warnings, body) = send(client, &case.request, namespace).await;
    let then = match &case.then {
        Some(path) => Some(send(client, &get(path), namespace).await.2),
        None => None,
    };
    Answer {
        code,
        warnings: warnings.iter().map(|warning| warning.replace(namespace, "taiga")).collect(),
        body: compared(case, volatile::without(body, namespace, case.managers)),
        then: then.map(|body| compared(case, volatile::without(body, namespace, case.managers))),
    }
}

/// Of a `Status` everything; of other answers what the case names.
fn compared(case: &Case, body: Value) -> Value {
    if case.compare.is_empty() || body["kind"] == "Status" {
        return body;
    }
    let pick = |pointer: &String| (pointer.clone(), body.pointer(pointer).cloned().unwrap_or(Value::Null));
    Value::Object(case.compare.iter().map(pick).collect())
}

/// Takes a recording's namespace away.
pub async fn leave(client: &kube::Client, namespace: &str) {
    let request = Request { method: "DELETE".to_owned(), ..get("/api/v1/namespaces/taiga") };
    send(client, &request, namespace).await;
}

fn get(path: &str) -> Request {
    let (method, path) = ("GET".to_owned(), path.to_owned());
    Request { method, path, content_type: None, accept: None, body: Value::Null, text: None, protobuf: None }
}

fn must(case: &Case, (code, _, body): (u16, Vec<String>, Value)) {
    assert!((200..300).contains(&code), "{}: what is given cannot be made: {code} {body}", case.name);
}

async fn create(client: &kube::Client, kind: &Kind, object: &Value, namespace: &str) -> (u16, Vec<String>, Value) {
    let path = kind.plural.to_owned();
    let request = Request { method: "POST".to_owned(), body: object.clone(), ..get(&path) };
    send(client, &request, namespace).await
}

/// Makes an object, and gives it the status that it has.
async fn make(client: &kube::Client, case: &Case, object: &Value, namespace: &str) {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let kind = kind::of_manifest(text("apiVersion"), text("kind")).expect("objects of served kinds");
    must(case, create(client, kind, object, namespace).await);
    let status = &object["status"];
    if !status.is_null() {
        let path = format!("{}/{}/status", kind.plural, object["metadata"]["name"].as_str().unwrap_or_default());
        let content_type = Some("merge-patch".to_owned());
        let body = json!({"status": status});
        must(
            case,
            send(client, &Request { method: "PATCH".to_owned(), content_type, body, ..get(&path) }, namespace).await,
        );
    }
}

/// The path from the root: one that begins with a plural is in the namespace, if its kind is.
fn absolute(path: &str, namespace: &str) -> String {
    if path.starts_with('/') {
        return path.replace("taiga", namespace);
    }
    let end = path.find(['/', '?']).unwrap_or(path.len());
    let kind = KINDS.iter().find(|kind| kind.plural == &path[..end]).unwrap_or_else(|| panic!("no kind for {path}"));
    let root = if kind.group.is_empty() { "/api" } else { "/apis" };
    let scope = if kind.namespaced { format!("/namespaces/{namespace}") } else { String::new() };
    format!("{root}/{}{scope}/{}", kind.api_version(), path.replace("taiga", namespace))
}

async fn send(client: &kube::Client, request: &Request, namespace: &str) -> (u16, Vec<String>, Value) {
    let body = body(request, namespace);
    let content_type = match request.content_type.as_deref() {
        None if request.protobuf.is_some() => "application/vnd.kubernetes.protobuf".to_owned(),
        None => "application/json".to_owned(),
        Some("apply-patch") => "application/apply-patch+yaml".to_owned(),
        Some(whole) if whole.contains('/') => whole.to_owned(),
        Some(patch) => format!("application/{patch}+json"),
    };
    let mut outgoing = http::Request::builder().method(request.method.as_str());
    outgoing = outgoing.uri(absolute(&request.path, namespace)).header("user-agent", "recorder/1");
    if request.method != "GET" {
        outgoing = outgoing.header("content-type", content_type);
    }
    outgoing = outgoing.header("accept", request.accept.as_deref().unwrap_or("application/json"));
    let response = client.send(outgoing.body(kube::client::Body::from(body)).unwrap()).await.unwrap();
    let code = response.status().as_u16();
    let warnings = response.headers().get_all("warning").iter().map(|value| warning(value.to_str().unwrap())).collect();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, warnings, answer(request, &bytes))
}

/// JSON, the events of a watch as a list, or text.
fn answer(request: &Request, bytes: &[u8]) -> Value {
    let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_slice(bytes).into_iter().collect();
    match values {
        Ok(values) if request.path.contains("watch=true") && values.iter().all(is_event) => json!(values),
        Ok(mut values) if values.len() == 1 => values.remove(0),
        _ => json!(String::from_utf8_lossy(bytes)),
    }
}

fn is_event(value: &Value) -> bool {
    value["type"].is_string() && value["object"].is_object()
}

fn body(request: &Request, namespace: &str) -> Vec<u8> {
    use base64::Engine;
    if let Some(protobuf) = &request.protobuf {
        let mut body = base64::engine::general_purpose::STANDARD.decode(protobuf).unwrap();
        // Strings have their length before them: only a namespace of the same length can stand for another.
        assert_eq!(namespace.len(), "taiga".len());
        while let Some(at) = body.windows(namespace.len()).position(|part| part == b"taiga") {
            if namespace == "taiga" {
                break;
            }
            body[at..at + namespace.len()].copy_from_slice(namespace.as_bytes());
        }
        return body;
    }
    match (&request.text, &request.body) {
        (Some(text), _) => text.replace("taiga", namespace).into_bytes(),
        (None, Value::Null) => Vec::new(),
        (None, body) => body.to_string().replace("taiga", namespace).into_bytes(),
    }
}

/// The text of a `Warning` header.
fn warning(value: &str) -> String {
    let text = value.split_once('"').and_then(|(_, rest)| rest.rsplit_once('"')).map_or(value, |(text, _)| text);
    text.replace("\\\"", "\"").replace("\\\\", "\\")
}
