//! Objects of all namespaces at once: of the drill's own, asked for one after the other.

use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::answer::{self, View};
use super::passage::{Passage, Turned, bad_request, forbidden};
use super::query;
use super::target::Objects;

impl Passage {
    /// Of all namespaces that are asked for at once, the drill's own, one after the other.
    pub(super) async fn everywhere(&self, objects: &Objects, parts: Parts) -> Result<Response, Turned> {
        if parts.method != Method::GET || objects.name.is_some() || query::is_watch(&parts.uri) {
            return Err(forbidden(&format!("{} of all namespaces: only listed", objects.describe())));
        }
        let mut all: Option<Value> = None;
        for namespace in self.rooms.of_the_page() {
            let mut parts = parts.clone();
            let here = Objects { namespace: Some(namespace), ..objects.clone() };
            query::map(&mut parts, objects, &here, self.rooms.naming(), &self.rooms.marks().drill)
                .and_then(|()| query::all_at_once(&mut parts))
                .map_err(|reason| bad_request(&reason))?;
            let response = self.send(parts, Bytes::new()).await?;
            if !response.status().is_success() {
                return Ok(response);
            }
            let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await;
            let bytes = bytes.map_err(|error| self.broken_off(&error))?;
            let view = View {
                naming: self.rooms.naming().clone(),
                furnishing: self.furnishing.clone(),
                resource: objects.resource.clone(),
            };
            // What cannot be read is not nothing.
            let list: Value = serde_json::from_slice(&view.of(bytes)).map_err(|error| self.broken_off(&error))?;
            all = Some(match all {
                None => list,
                Some(all) => joined(all, list),
            });
        }
        Ok(answer::respond(
            StatusCode::OK,
            &all.unwrap_or_else(|| json!({"kind": "List", "apiVersion": "v1", "items": []})),
        ))
    }
}

/// Two lists, or two tables, of one kind.
fn joined(mut all: Value, mut more: Value) -> Value {
    for list in ["items", "rows"] {
        let Some(more) = more.get_mut(list).map(Value::take).filter(Value::is_array) else { continue };
        match (all.get_mut(list).and_then(Value::as_array_mut), more) {
            (Some(all), Value::Array(mut more)) => all.append(&mut more),
            (_, more) => all[list] = more,
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lists_are_one_with_all_that_either_has() {
        let list = |items: Value| json!({"kind": "PodList", "items": items});
        let both = joined(list(json!([1])), list(json!([2, 3])));
        assert_eq!(both, list(json!([1, 2, 3])));
        assert_eq!(joined(list(Value::Null), list(json!([2]))), list(json!([2])));
        assert_eq!(joined(json!({"rows": [1]}), json!({"rows": []})), json!({"rows": [1]}));
    }
}
