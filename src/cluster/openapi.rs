//! The least of OpenAPI v3 that makes kubectl let the server check fields: which kinds take `fieldValidation`.

use serde_json::{Map, Value, json};

use super::kind::{KINDS, Kind};

/// `/openapi/v3`: where the document of each group version is.
pub fn index() -> Value {
    let mut paths = Map::new();
    for kind in KINDS {
        let path = root(kind);
        let url = format!("/openapi/v3/{path}?hash=1");
        paths.insert(path, json!({"serverRelativeURL": url}));
    }
    json!({"paths": paths})
}

/// The document of one group version (`api/v1`, `apis/apps/v1`): per kind a PATCH that takes `fieldValidation`. It has no
/// schemas, so `kubectl explain` finds nothing, and says so.
pub fn document(of: &str) -> Option<Value> {
    let kinds: Vec<_> = KINDS.iter().filter(|kind| root(kind) == of).collect();
    if kinds.is_empty() {
        return None;
    }
    let mut paths = Map::new();
    for kind in kinds {
        let namespace = if kind.namespaced { "namespaces/{namespace}/" } else { "" };
        paths.insert(format!("/{of}/{namespace}{}/{{name}}", kind.plural), operations(kind));
    }
    let info = json!({"title": "Kubernetes", "version": "v1.33.0"});
    Some(json!({"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": {}}}))
}

/// The content type of [`EMPTY_V2`].
pub const V2_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// `/openapi/v2` without any definitions, as protobuf: 1 the format's version, 2 title and version of the API.
///
/// kubectl looks here for a kind that v3 does not list, skips what it does not find, and then says "no matches for kind";
/// without this document it would talk of a failed download instead.
pub const EMPTY_V2: &[u8] = b"\x0a\x032.0\x12\x15\x0a\x0aKubernetes\x12\x07v1.33.0";

fn root(kind: &Kind) -> String {
    if kind.group.is_empty() { "api/v1".to_owned() } else { format!("apis/{}", kind.api_version()) }
}

fn operations(kind: &Kind) -> Value {
    let parameter =
        |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    json!({"patch": {
        "operationId": format!("patch{}", kind.kind),
        "parameters": [parameter("dryRun"), parameter("fieldManager"), parameter("fieldValidation")],
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
    }})
}
