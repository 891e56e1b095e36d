//! Bodies in Kubernetes' protobuf envelope, which kubectl 1.32 sends for its typed creates, as JSON values.
//!
//! Format: the bytes `k8s\0`, then `runtime.Unknown` (1: type with 1 apiVersion, 2 kind; 2: the message's bytes).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::schema::{self, Field, Message, Shape};

const MAGIC: &[u8] = b"k8s\0";

/// Fields whose zero is a statement, because they are pointers in Go. Every other zero on the wire is an unset field.
const POINTERS: &[&str] = &[
    "activeDeadlineSeconds",
    "allowPrivilegeEscalation",
    "automountServiceAccountToken",
    "backoffLimit",
    "backoffLimitPerIndex",
    "blockOwnerDeletion",
    "completionMode",
    "completions",
    "controller",
    "defaultMode",
    "deletionGracePeriodSeconds",
    "enableServiceLinks",
    "failedJobsHistoryLimit",
    "fsGroup",
    "fsGroupChangePolicy",
    "gracePeriodSeconds",
    "hostUsers",
    "immutable",
    "manualSelector",
    "maxFailedIndexes",
    "minDomains",
    "mode",
    "optional",
    "orphanDependents",
    "parallelism",
    "preemptionPolicy",
    "priority",
    "privileged",
    "procMount",
    "progressDeadlineSeconds",
    "propagationPolicy",
    "readOnlyRootFilesystem",
    "replicas",
    "revisionHistoryLimit",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "startingDeadlineSeconds",
    "storageClassName",
    "successfulJobsHistoryLimit",
    "suspend",
    "terminationGracePeriodSeconds",
    "timeZone",
    "tolerationSeconds",
    "ttlSecondsAfterFinished",
];

/// Why a body cannot be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecodeError {
    #[error("the body does not begin with the protobuf envelope's four bytes")]
    NoEnvelope,
    #[error("kind {0:?} of {1:?} is not served as protobuf; send JSON")]
    UnknownKind(String, String),
    #[error("{0} ends in the middle of a field")]
    Truncated(&'static str),
    /// Nothing is dropped in silence: what this decoder does not know makes the request fail.
    #[error("field {1} of {0} is not known to this server (send JSON)")]
    UnknownField(&'static str, u64),
    #[error("field {1} of {0} has wire type {2}, which its type {3} does not")]
    WireType(&'static str, &'static str, u64, &'static str),
    #[error("field {1} of {0} does not hold {2}")]
    Content(&'static str, &'static str, &'static str),
}

/// The object in an enveloped body, with apiVersion and kind.
pub fn decode(body: &[u8]) -> Result<Value, DecodeError> {
    let mut reader = Reader { rest: body.strip_prefix(MAGIC).ok_or(DecodeError::NoEnvelope)?, of: "runtime.Unknown" };
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    while let Some((number, wire)) = reader.next()? {
        match (number, wire) {
            (1, Wire::Bytes(types)) => {
                let mut types = Reader { rest: types, of: "runtime.TypeMeta" };
                while let Some((number, wire)) = types.next()? {
                    let Wire::Bytes(text) = wire else { continue };
                    let text = String::from_utf8_lossy(text).into_owned();
                    if number == 1 { api_version = text } else { kind = text }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let Some(message) = schema::of_manifest(&api_version, &kind) else {
        return Err(DecodeError::UnknownKind(kind, api_version));
    };
    let mut object = Map::from_iter([("apiVersion".to_owned(), json!(api_version)), ("kind".to_owned(), json!(kind))]);
    object.extend(decode_message(message, raw)?);
    Ok(Value::Object(object))
}

fn decode_message(message: &'static Message, bytes: &[u8]) -> Result<Map<String, Value>, DecodeError> {
    let mut object = Map::new();
    let mut reader = Reader { rest: bytes, of: message.name };
    while let Some((number, wire)) = reader.next()? {
        let field = message.numbered(number).ok_or(DecodeError::UnknownField(message.name, number))?;
        let owner = message.name;
        match (field.shape, wire) {
            (Shape::One, wire) => match (field.is_inline(), decode_value(owner, field, wire)?) {
                (true, Value::Object(inner)) => object.extend(inner),
                (_, value) if is_unset(field, &value) => {}
                (_, value) => drop(object.insert(field.name.to_owned(), value)),
            },
            (Shape::List, Wire::Bytes(packed)) if matches!(field.of, "int32" | "int64") => {
                let mut numbers = Reader { rest: packed, of: owner };
                while !numbers.rest.is_empty() {
                    push(&mut object, field, json!(numbers.varint()? as i64));
                }
            }
            (Shape::List, wire) => push(&mut object, field, decode_value(owner, field, wire)?),
            (Shape::Map, wire) => {
                let (key, value) = decode_entry(owner, field, wire)?;
                let entries = object.entry(field.name).or_insert_with(|| json!({}));
                entries[key] = value;
            }
        }
    }
    Ok(object)
}

fn push(object: &mut Map<String, Value>, field: &Field, value: Value) {
    if let Value::Array(items) = object.entry(field.name).or_insert_with(|| json!([])) {
        items.push(value);
    }
}

fn is_unset(field: &Field, value: &Value) -> bool {
    let is_zero = value.is_null() || value == &json!(0) || value == &json!(false) || value == &json!("");
    is_zero && (value.is_null() || !POINTERS.contains(&field.name))
}

fn decode_entry(owner: &'static str, field: &'static Field, wire: Wire<'_>) -> Result<(String, Value), DecodeError> {
    let Wire::Bytes(bytes) = wire else { return Err(wrong_wire(owner, field, &wire)) };
    let mut reader = Reader { rest: bytes, of: owner };
    let mut key = String::new();
    let mut value = match field.message() {
        Some(_) => json!({}),
        None => json!(""),
    };
    while let Some((number, wire)) = reader.next()? {
        match (number, wire) {
            (1, Wire::Bytes(text)) => key = text_of(owner, field, text)?,
            (2, wire) => value = decode_value(owner, field, wire)?,
            _ => {}
        }
    }
    Ok((key, value))
}

fn decode_value(owner: &'static str, field: &'static Field, wire: Wire<'_>) -> Result<Value, DecodeError> {
    let value = match (field.of, wire) {
        ("string", Wire::Bytes(bytes)) => json!(text_of(owner, field, bytes)?),
        ("bytes", Wire::Bytes(bytes)) => json!(STANDARD.encode(bytes)),
        ("bool", Wire::Varint(number)) => json!(number != 0),
        ("int32" | "int64", Wire::Varint(number)) => json!(number as i64),
        ("meta.Time" | "meta.MicroTime", Wire::Bytes(bytes)) => time(owner, field, bytes)?,
        ("resource.Quantity", Wire::Bytes(bytes)) => match first(owner, bytes, 1)? {
            Some(Wire::Bytes(text)) => json!(text_of(owner, field, text)?),
            _ => json!("0"),
        },
        ("intstr.IntOrString", Wire::Bytes(bytes)) => match first(owner, bytes, 1)? {
            Some(Wire::Varint(1)) => match first(owner, bytes, 3)? {
                Some(Wire::Bytes(text)) => json!(text_of(owner, field, text)?),
                _ => json!(""),
            },
            _ => match first(owner, bytes, 2)? {
                Some(Wire::Varint(number)) => json!(number as i64),
                _ => json!(0),
            },
        },
        ("meta.FieldsV1" | "runtime.RawExtension", Wire::Bytes(bytes)) => match first(owner, bytes, 1)? {
            Some(Wire::Bytes(raw)) if !raw.is_empty() => {
                serde_json::from_slice(raw).map_err(|_| DecodeError::Content(owner, field.name, "JSON"))?
            }
            _ => Value::Null,
        },
        (_, wire) => match (field.message(), wire) {
            (Some(message), Wire::Bytes(bytes)) => Value::Object(decode_message(message, bytes)?),
            (_, wire) => return Err(wrong_wire(owner, field, &wire)),
        },
    };
    Ok(value)
}

fn time(owner: &'static str, field: &'static Field, bytes: &[u8]) -> Result<Value, DecodeError> {
    let Some(Wire::Varint(seconds)) = first(owner, bytes, 1)? else { return Ok(Value::Null) };
    let nanos = match first(owner, bytes, 2)? {
        Some(Wire::Varint(nanos)) => nanos as i32,
        _ => 0,
    };
    let moment = jiff::Timestamp::new(seconds as i64, nanos)
        .map_err(|_| DecodeError::Content(owner, field.name, "a moment of this calendar"))?;
    let format = if field.of == "meta.Time" { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S.%6fZ" };
    Ok(json!(moment.strftime(format).to_string()))
}

fn text_of(owner: &'static str, field: &'static Field, bytes: &[u8]) -> Result<String, DecodeError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| DecodeError::Content(owner, field.name, "UTF-8"))
}

fn first<'a>(owner: &'static str, bytes: &'a [u8], wanted: u64) -> Result<Option<Wire<'a>>, DecodeError> {
    let mut reader = Reader { rest: bytes, of: owner };
    while let Some((number, wire)) = reader.next()? {
        if number == wanted {
            return Ok(Some(wire));
        }
    }
    Ok(None)
}

fn wrong_wire(owner: &'static str, field: &'static Field, wire: &Wire<'_>) -> DecodeError {
    let number = match wire {
        Wire::Varint(_) => 0,
        Wire::Fixed64 => 1,
        Wire::Bytes(_) => 2,
        Wire::Fixed32 => 5,
    };
    DecodeError::WireType(owner, field.name, number, field.of)
}

/// A value as it stands on the wire.
#[derive(Debug, Clone, Copy)]
enum Wire<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed64,
    Fixed32,
}

struct Reader<'a> {
    rest: &'a [u8],
    of: &'static str,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<(u64, Wire<'a>)>, DecodeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => self.take(8).map(|_| Wire::Fixed64)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| DecodeError::Truncated(self.of))?;
                Wire::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Wire::Fixed32)?,
            _ => return Err(DecodeError::Truncated(self.of)),
        };
        Ok(Some((tag >> 3, wire)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated(self.of))?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Truncated(self.of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes_field(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, content.len() as u8], content].concat()
    }

    fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let types = [bytes_field(1, api_version.as_bytes()), bytes_field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), bytes_field(1, &types), bytes_field(2, raw)].concat()
    }

    #[test]
    fn a_secret_keeps_its_bytes_and_its_type() {
        let entry = [bytes_field(1, b"key"), bytes_field(2, &[0xff, 0])].concat();
        let raw = [bytes_field(1, &bytes_field(1, b"db")), bytes_field(2, &entry), bytes_field(3, b"Opaque")].concat();
        let expected = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"},
            "data": {"key": "/wA="}, "type": "Opaque"});
        assert_eq!(decode(&envelope("v1", "Secret", &raw)), Ok(expected));
    }

    #[test]
    fn zero_replicas_stay_and_a_zero_generation_goes() {
        let raw = [bytes_field(1, &[7 << 3, 0]), bytes_field(2, &[1 << 3, 0])].concat();
        let object = decode(&envelope("apps/v1", "Deployment", &raw)).unwrap();
        assert_eq!((&object["metadata"], &object["spec"]), (&json!({}), &json!({"replicas": 0})));
    }

    #[test]
    fn a_field_that_is_not_known_is_refused_and_not_dropped() {
        let raw = bytes_field(15, b"new");
        assert_eq!(decode(&envelope("v1", "Secret", &raw)), Err(DecodeError::UnknownField("core.Secret", 15)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(raw in proptest::collection::vec(any::<u8>(), 0..100)) {
            for (version, kind) in [("batch/v1", "Job"), ("v1", "Secret"), ("v1", "DeleteOptions")] {
                let _ = decode(&envelope(version, kind, &raw));
            }
            let _ = decode(&raw);
        }

        #[test]
        fn configuration_text_comes_out_as_it_went_in(key in "[a-z]{1,9}", text in ".{0,40}") {
            let entry = [bytes_field(1, key.as_bytes()), bytes_field(2, text.as_bytes())].concat();
            prop_assume!(entry.len() < 120);
            let object = decode(&envelope("v1", "ConfigMap", &bytes_field(2, &entry))).unwrap();
            prop_assert_eq!(&object["data"][&key], &json!(text));
        }
    }
}
