//! What requests and answers carry: read, with the names of namespaces changed in what is sent.

use http::{HeaderMap, header};
use serde_json::Value;

use super::space::{Naming, TooLong};
use crate::cluster::protobuf;

/// Fields whose content is the user's: what looks like the name of a namespace there is none.
const FREE: [&str; 9] = [
    "data",
    "stringData",
    "binaryData",
    "labels",
    "annotations",
    "matchLabels",
    "nodeSelector",
    "selector",
    "managedFields",
];

/// What a body is.
#[derive(Debug, Clone, PartialEq)]
pub enum Sent {
    Nothing,
    Object(Value),
    /// A merge patch, or a strategic one.
    Change(Value),
    /// A server-side apply: an object, as much of it as its manager has.
    Apply(Value),
    /// A JSON patch (RFC 6902).
    Operations(Vec<Value>),
}

/// Reads a body by its content type. The error is for whoever sent it.
pub fn read(headers: &HeaderMap, body: &[u8]) -> Result<Sent, String> {
    if body.is_empty() {
        return Ok(Sent::Nothing);
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let content_type = content_type.split(';').next().unwrap_or_default().trim();
    let json =
        |body: &[u8]| serde_json::from_slice::<Value>(body).map_err(|error| format!("the body is no JSON: {error}"));
    let yaml =
        |body: &[u8]| serde_yaml_ng::from_slice::<Value>(body).map_err(|error| format!("the body is no YAML: {error}"));
    Ok(match content_type {
        "application/vnd.kubernetes.protobuf" => {
            Sent::Object(protobuf::decode(body).map_err(|error| error.to_string())?)
        }
        "application/merge-patch+json" | "application/strategic-merge-patch+json" => Sent::Change(json(body)?),
        "application/apply-patch+yaml" => Sent::Apply(yaml(body)?),
        "application/yaml" => Sent::Object(yaml(body)?),
        "application/json-patch+json" => match json(body)? {
            Value::Array(operations) => Sent::Operations(operations),
            _ => return Err("a JSON patch is a list of operations".to_owned()),
        },
        "application/json" | "" => Sent::Object(json(body)?),
        other => return Err(format!("`{other}` is not read here: send JSON")),
    })
}

impl Sent {
    /// The bytes to send on, and their content type where it is another one now.
    pub fn write(self) -> (Vec<u8>, Option<&'static str>) {
        match self {
            Self::Nothing => (Vec::new(), None),
            Self::Object(object) => (object.to_string().into_bytes(), Some("application/json")),
            // JSON is YAML, too.
            Self::Change(value) | Self::Apply(value) => (value.to_string().into_bytes(), None),
            Self::Operations(operations) => (Value::Array(operations).to_string().into_bytes(), None),
        }
    }

    /// Gives every namespace that is named its name on the cluster. `of_namespace`: the object is a namespace itself.
    pub fn map(&mut self, naming: &Naming, of_namespace: bool) -> Result<(), String> {
        let too_long = |error: TooLong| error.to_string();
        match self {
            Self::Nothing => Ok(()),
            Self::Object(object) | Self::Change(object) | Self::Apply(object) => {
                if of_namespace && object["metadata"]["name"].is_string() {
                    rename(naming, &mut object["metadata"]["name"]).map_err(too_long)?;
                }
                map(naming, object).map_err(too_long)
            }
            Self::Operations(operations) => {
                for operation in operations {
                    let path = operation["path"].as_str().unwrap_or_default();
                    if naming.maps() && (path.ends_with("/namespace") || path == "/metadata") {
                        return Err(format!("an operation on {path} cannot be mapped with certainty"));
                    }
                    map(naming, operation).map_err(too_long)?;
                }
                Ok(())
            }
        }
    }
}

fn map(naming: &Naming, value: &mut Value) -> Result<(), TooLong> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| map(naming, item)),
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut().filter(|(name, _)| !FREE.contains(&name.as_str())) {
                match name.as_str() {
                    "namespace" if value.is_string() => rename(naming, value)?,
                    "namespaces" => {
                        value.as_array_mut().into_iter().flatten().try_for_each(|name| rename(naming, name))?;
                    }
                    _ => map(naming, value)?,
                }
            }
            Ok(())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn rename(naming: &Naming, name: &mut Value) -> Result<(), TooLong> {
    if let Some(documented) = name.as_str().filter(|name| !name.is_empty()) {
        *name = naming.real(documented)?.into();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn naming() -> Naming {
        Naming::mapped("0123456789", None)
    }

    #[test]
    fn a_namespace_is_mapped_where_it_is_one_and_nowhere_else() {
        let mut sent = Sent::Object(json!({"kind": "RoleBinding", "metadata": {"name": "taiga", "namespace": "taiga",
            "labels": {"namespace": "taiga"}}, "data": {"namespace": "taiga"},
            "subjects": [{"kind": "ServiceAccount", "name": "x", "namespace": "taiga"}]}));
        sent.map(&naming(), false).unwrap();
        let Sent::Object(object) = sent else { panic!() };
        assert_eq!(object["metadata"]["namespace"], "rd-0123456789-taiga");
        assert_eq!(object["subjects"][0]["namespace"], "rd-0123456789-taiga");
        for kept in ["/metadata/name", "/metadata/labels/namespace", "/data/namespace"] {
            assert_eq!(object.pointer(kept).unwrap(), "taiga", "{kept}");
        }
    }

    #[test]
    fn a_namespace_itself_is_called_by_its_name() {
        let mut sent = Sent::Object(json!({"kind": "Namespace", "metadata": {"name": "taiga"}}));
        sent.map(&naming(), true).unwrap();
        assert_eq!(sent, Sent::Object(json!({"kind": "Namespace", "metadata": {"name": "rd-0123456789-taiga"}})));
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_its_type() {
        let headers =
            |content_type: &str| HeaderMap::from_iter([(header::CONTENT_TYPE, content_type.parse().unwrap())]);
        assert_eq!(read(&headers("application/json"), b""), Ok(Sent::Nothing));
        assert!(read(&headers("application/cbor"), b"x").unwrap_err().contains("application/cbor"));
        assert!(read(&headers("application/json"), b"{").is_err());
        assert!(matches!(read(&headers("application/apply-patch+yaml"), b"a: b"), Ok(Sent::Apply(_))));
        let operations = br#"[{"op": "replace", "path": "/metadata/namespace", "value": "x"}]"#;
        let mut sent = read(&headers("application/json-patch+json"), operations).unwrap();
        assert!(sent.map(&naming(), false).is_err());
    }

    /// JSON in which every name of a namespace begins with the mark.
    fn object() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(json!(1)), Just(json!("text")), Just(json!(null))];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let key = prop_oneof![Just("namespace"), Just("spec"), Just("items"), Just("metadata"), Just("data")];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map(key, inner, 0..4).prop_map(|fields| {
                    let named = |(key, value): (&str, Value)| {
                        (key.to_owned(), if key == "namespace" { json!("ns") } else { value })
                    };
                    Value::Object(fields.into_iter().map(named).collect())
                }),
            ]
        })
    }

    /// Every namespace that is named outside of what is the user's.
    fn named(value: &Value) -> Vec<String> {
        match value {
            Value::Array(items) => items.iter().flat_map(named).collect(),
            Value::Object(fields) => fields
                .iter()
                .filter(|(name, _)| !FREE.contains(&name.as_str()))
                .flat_map(|(name, value)| match (name.as_str(), value.as_str()) {
                    ("namespace", Some(text)) => vec![text.to_owned()],
                    _ => named(value),
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn no_other_namespace_is_ever_sent(object in object()) {
            let before = named(&object).len();
            let mut sent = Sent::Object(object);
            sent.map(&naming(), false).unwrap();
            let Sent::Object(object) = sent else { panic!() };
            let after = named(&object);
            prop_assert_eq!(after.len(), before);
            prop_assert!(after.iter().all(|name| name == "rd-0123456789-ns"), "{:?}", after);
        }
    }
}
