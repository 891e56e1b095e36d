//! What a cluster answers, as who asks through the gate sees it: the page's names, and nothing of what redrill added.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::pod::{Furnishing, spec_of};
use super::room::OWN;
use super::space::Naming;

/// How answers about one kind are changed.
#[derive(Clone)]
pub struct View {
    pub naming: Naming,
    pub furnishing: std::sync::Arc<Furnishing>,
    /// As a path names the kind.
    pub resource: String,
}

/// A `Status`, as an API server says what went wrong.
pub fn status(code: StatusCode, reason: &str, message: &str) -> axum::response::Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code.as_u16()});
    respond(code, &body)
}

/// Something that the gate itself answers.
pub fn respond(code: StatusCode, body: &Value) -> axum::response::Response {
    let mut response = axum::response::Response::new(Body::from(body.to_string()));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

/// Whether a body is JSON, one object or, line by line, events of a watch.
pub fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.starts_with("application/json")
}

impl View {
    /// A whole answer.
    pub fn of(&self, answer: Bytes) -> Bytes {
        let answer = self.naming.documented(&answer).map_or(answer, Bytes::from);
        if !self.changes() {
            return answer;
        }
        match serde_json::from_slice::<Value>(&answer) {
            Ok(mut value) => {
                self.object(&mut value);
                value.to_string().into()
            }
            Err(_) => answer,
        }
    }

    /// The events of a watch as they come, without those of redrill's own objects.
    pub fn events<S, E>(self, answer: S) -> Body
    where
        S: futures::Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    {
        let lines = stream::unfold((Box::pin(answer), BytesMut::new()), |(mut answer, mut rest)| async move {
            loop {
                if let Some(end) = memchr::memchr(b'\n', &rest) {
                    let line = rest.split_to(end + 1).freeze();
                    return Some((Ok(line), (answer, rest)));
                }
                match answer.next().await {
                    Some(Ok(bytes)) => rest.extend_from_slice(&bytes),
                    Some(Err(error)) => return Some((Err(error), (answer, rest))),
                    None => return None,
                }
            }
        });
        let seen = lines.filter_map(move |line| {
            let seen = match line {
                Ok(line) => self.event(&line).map(Ok),
                Err(error) => Some(Err(error)),
            };
            async move { seen }
        });
        Body::from_stream(seen)
    }

    fn event(&self, line: &[u8]) -> Option<Bytes> {
        let line = self.naming.documented(line).map_or_else(|| Bytes::copy_from_slice(line), Bytes::from);
        if !self.changes() {
            return Some(line);
        }
        let Ok(mut event) = serde_json::from_slice::<Value>(&line) else { return Some(line) };
        if is_own(&event["object"])
            || event["object"]["rows"].as_array().is_some_and(|rows| rows.iter().all(is_own_row) && !rows.is_empty())
        {
            return None;
        }
        self.object(&mut event["object"]);
        let mut line = event.to_string();
        line.push('\n');
        Some(line.into())
    }

    /// Whether answers about this kind hold anything that redrill added.
    fn changes(&self) -> bool {
        spec_of(&self.resource).is_some() || ["configmaps", "networkpolicies"].contains(&self.resource.as_str())
    }

    fn object(&self, object: &mut Value) {
        for (list, is_ours) in [("items", is_own as fn(&Value) -> bool), ("rows", is_own_row)] {
            if let Some(items) = object.get_mut(list).and_then(Value::as_array_mut) {
                items.retain(|item| !is_ours(item));
                for item in items {
                    let item = if list == "rows" { &mut item["object"] } else { item };
                    self.furnishing.unfurnish(&self.resource, item);
                }
            }
        }
        self.furnishing.unfurnish(&self.resource, object);
    }
}

fn is_own(object: &Value) -> bool {
    object["metadata"]["labels"][OWN].is_string()
}

fn is_own_row(row: &Value) -> bool {
    is_own(&row["object"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(resource: &str) -> View {
        let images = [("postgres:15".to_owned(), "redrill/postgres:abc".to_owned())].into();
        let furnishing = Furnishing { images, name_server: "10.1.2.3".to_owned() };
        View {
            naming: Naming::mapped("0123456789", None),
            furnishing: furnishing.into(),
            resource: resource.to_owned(),
        }
    }

    #[test]
    fn what_redrill_has_in_a_namespace_is_in_no_list_and_in_no_table() {
        let list = json!({"kind": "ConfigMapList", "items": [
            {"metadata": {"name": "a", "namespace": "rd-0123456789-taiga"}},
            {"metadata": {"name": "redrill-authorities", "labels": {OWN: "true"}}}]});
        let seen: Value = serde_json::from_slice(&view("configmaps").of(list.to_string().into())).unwrap();
        assert_eq!(seen["items"], json!([{"metadata": {"name": "a", "namespace": "taiga"}}]));
        let table =
            json!({"kind": "Table", "rows": [{"cells": ["x"], "object": {"metadata": {"labels": {OWN: "true"}}}}]});
        let seen: Value = serde_json::from_slice(&view("configmaps").of(table.to_string().into())).unwrap();
        assert_eq!(seen["rows"], json!([]));
    }

    #[tokio::test]
    async fn events_are_seen_one_by_one_however_their_bytes_come() {
        let event = |name: &str, own: bool| {
            let labels = if own { json!({OWN: "true"}) } else { json!({}) };
            json!({"type": "ADDED", "object": {"metadata": {"name": name, "namespace": "rd-0123456789-taiga", "labels": labels}}})
        };
        let bytes = format!("{}\n{}\n{}\n", event("a", false), event("b", true), event("c", false)).into_bytes();
        let pieces: Vec<Result<Bytes, std::io::Error>> =
            bytes.chunks(7).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let body = view("configmaps").events(stream::iter(pieces));
        let seen = axum::body::to_bytes(body, 1 << 16).await.unwrap();
        let seen: Vec<Value> = seen
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        let names: Vec<_> = seen.iter().map(|event| event["object"]["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["a", "c"]);
        assert_eq!(seen[0]["object"]["metadata"]["namespace"], "taiga");
    }
}
