//! Fields that a kind does not have, and values of another type than a field's.

use base64::Engine;
use serde_json::Value;

use super::go;
use super::kind::Kind;
use super::schema::{self, Field, Message, Shape};

/// A value that its field's type cannot hold, in the words of each way in which an API server decodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// From JSON.
    pub json: String,
    /// From what a strategic merge patch made.
    pub merged: String,
    /// From the body of a server-side apply, behind the field.
    pub applied: String,
    /// Of the field, as [`check`] names unknown ones.
    pub path: String,
}

impl Mismatch {
    /// A text in a form that the type does not read: every way says the same.
    fn of_form(path: &str, why: String) -> Self {
        Self { json: why.clone(), merged: why.clone(), applied: why, path: path.to_owned() }
    }
}

/// The paths of the unknown fields of an object (`spec.containers[0].imag`).
///
/// # Errors
/// A value that the field's type cannot hold.
pub fn check(kind: &Kind, object: &Value) -> Result<Vec<String>, Mismatch> {
    let mut walk = Walk { unknown: Vec::new() };
    walk.message(schema::of_kind(kind), object, "", "", true)?;
    Ok(walk.unknown)
}

/// What an API server says of unknown fields.
pub fn unknown_field(path: &str) -> String {
    format!("unknown field {path:?}")
}

/// Drops lists and maps without anything in them, which an API server does not keep.
pub fn drop_empty(kind: &Kind, object: &mut Value) {
    drop_empty_fields(schema::of_kind(kind), object);
}

fn drop_empty_fields(message: &'static Message, object: &mut Value) {
    let Value::Object(fields) = object else { return };
    fields.retain(|name, value| match message.field(name).map(|field| field.shape) {
        Some(Shape::List) => value.as_array().is_none_or(|items| !items.is_empty()),
        Some(Shape::Map) => value.as_object().is_none_or(|entries| !entries.is_empty()),
        Some(Shape::One) | None => true,
    });
    for (name, value) in fields {
        if let Some(inner) = message.field(name).and_then(Field::message) {
            match value {
                Value::Array(items) => items.iter_mut().for_each(|item| drop_empty_fields(inner, item)),
                value => drop_empty_fields(inner, value),
            }
        }
    }
}

/// Drops unknown fields and nulls, as decoding into the kind's type would.
pub fn prune(kind: &Kind, object: &mut Value) {
    prune_message(schema::of_kind(kind), object);
}

fn is_type_meta(message: &Message, name: &str) -> bool {
    // Claims in a StatefulSet carry them too.
    let is_object = message.field("metadata").is_some_and(|field| field.of == "meta.ObjectMeta");
    is_object && ["apiVersion", "kind"].contains(&name)
}

fn prune_message(message: &'static Message, object: &mut Value) {
    let Value::Object(fields) = object else { return };
    fields.retain(|name, value| !value.is_null() && (message.field(name).is_some() || is_type_meta(message, name)));
    for (name, value) in fields {
        let Some(inner) = message.field(name).and_then(|field| field.message().map(|inner| (inner, field.shape)))
        else {
            continue;
        };
        match inner {
            (inner, Shape::One) => prune_message(inner, value),
            (inner, Shape::List) => {
                value.as_array_mut().into_iter().flatten().for_each(|item| prune_message(inner, item))
            }
            (inner, Shape::Map) => {
                value.as_object_mut().into_iter().flatten().for_each(|(_, item)| prune_message(inner, item));
            }
        }
    }
}

struct Walk {
    unknown: Vec<String>,
}

impl Walk {
    /// `path` has indices (for unknown fields), `go_path` has none (for type errors).
    fn message(
        &mut self,
        message: &'static Message,
        value: &Value,
        path: &str,
        go_path: &str,
        is_root: bool,
    ) -> Result<(), Mismatch> {
        let Value::Object(fields) = value else { unreachable!("only called with objects, at {path}, root {is_root}") };
        for (name, value) in fields {
            let (path, go_path) = (join(path, name), join(go_path, name));
            match message.field(name) {
                None if is_type_meta(message, name) => {}
                None => self.unknown.push(path),
                Some(_) if value.is_null() => {}
                Some(field) => self.field(message, field, value, &path, &go_path)?,
            }
        }
        Ok(())
    }

    fn field(
        &mut self,
        owner: &'static Message,
        field: &'static Field,
        value: &Value,
        path: &str,
        go_path: &str,
    ) -> Result<(), Mismatch> {
        let mismatch = |go_type: &str| Err(mismatch(owner, go_type, go_type, value, (path, go_path)));
        match (field.shape, value) {
            (Shape::One, value) => self.one(owner, field, value, path, go_path),
            (Shape::List, Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.one(owner, field, item, &format!("{path}[{index}]"), go_path)?;
                }
                Ok(())
            }
            (Shape::List, _) => mismatch(&format!("[]{}", go_type(field))),
            (Shape::Map, Value::Object(entries)) => {
                for (key, entry) in entries {
                    self.one(owner, field, entry, &join(path, key), go_path)?;
                }
                Ok(())
            }
            (Shape::Map, _) => mismatch(&format!("map[string]{}", go_type(field))),
        }
    }

    fn one(
        &mut self,
        owner: &'static Message,
        field: &'static Field,
        value: &Value,
        path: &str,
        go_path: &str,
    ) -> Result<(), Mismatch> {
        if let Some(message) = field.message() {
            if value.is_null() {
                return Ok(());
            }
            if value.is_object() {
                return self.message(message, value, path, go_path, false);
            }
        }
        let form = |checked: Result<(), String>| checked.map_err(|why| Mismatch::of_form(path, why));
        let fits = match (field.of, value) {
            (_, Value::Null) => true,
            ("string", Value::String(_)) | ("bool", Value::Bool(_)) => true,
            ("meta.Time" | "meta.MicroTime", Value::String(text)) => return form(check_time(field.of, text)),
            ("bytes", Value::String(text)) => return form(check_base64(text)),
            ("int32", Value::Number(number)) => number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
            ("int64", Value::Number(number)) => number.is_i64(),
            ("resource.Quantity", Value::String(text)) => return form(check_quantity(text)),
            ("resource.Quantity", Value::Number(number)) => return form(check_quantity(&number.to_string())),
            ("intstr.IntOrString", value) => value.is_string() || value.is_i64(),
            ("meta.FieldsV1" | "runtime.RawExtension", Value::Object(_)) => true,
            _ => false,
        };
        if fits {
            return Ok(());
        }
        Err(mismatch(owner, field.of, &go_type(field), value, (path, go_path)))
    }
}

/// A value of another JSON type than the field's, or a number that is too large for it.
fn mismatch(owner: &Message, of: &str, go_type: &str, value: &Value, (path, go_path): (&str, &str)) -> Mismatch {
    let json_type = match value {
        Value::Number(number) if of.starts_with("int") => format!("number {number}"),
        value => go::json_type(value).to_owned(),
    };
    let (merged, expected) = match of {
        "string" => ("unrecognized type: string".to_owned(), "string"),
        "bool" => ("unrecognized type: bool".to_owned(), "boolean"),
        number if number.starts_with("int") => (format!("unrecognized type: {number}"), "numeric"),
        list if list.starts_with("[]") => (format!("cannot restore slice from {json_type}"), "list"),
        map if map.starts_with("map") => (format!("cannot restore map from {json_type}"), "map"),
        _ => (format!("cannot restore struct from: {json_type}"), "map"),
    };
    Mismatch {
        json: format!(
            "json: cannot unmarshal {json_type} into Go struct field {}.{go_path} of type {go_type}",
            owner.go_name()
        ),
        merged,
        applied: format!("expected {expected}, got &value.valueUnstructured{{Value:{value}}}"),
        path: path.to_owned(),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// As Go prints a type: `v1.Container`, `int32`.
fn go_type(field: &Field) -> String {
    match (field.message(), field.of) {
        (Some(message), _) => format!("v1.{}", message.go_name()),
        (None, "bytes") => "[]uint8".to_owned(),
        // Its own decoder tries a number where it finds no text.
        (None, "intstr.IntOrString") => "int32".to_owned(),
        (None, of) => of.to_owned(),
    }
}

/// Only the first thing that is wrong with a moment is looked for: that it does not begin with a year.
fn check_time(of: &str, text: &str) -> Result<(), String> {
    if text.parse::<jiff::Timestamp>().is_ok() {
        return Ok(());
    }
    let layout = if of == "meta.Time" { "2006-01-02T15:04:05Z07:00" } else { "2006-01-02T15:04:05.000000Z07:00" };
    Err(format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\""))
}

/// Where Go's decoder stops in base64 that is none.
pub fn check_base64(text: &str) -> Result<(), String> {
    use base64::DecodeError::{InvalidByte, InvalidLastSymbol, InvalidLength, InvalidPadding};
    // Go skips line breaks.
    let compact: String = text.chars().filter(|character| !"\r\n".contains(*character)).collect();
    // Go does not mind bits that the last symbol has too many.
    let lenient = base64::engine::GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    let engine = base64::engine::GeneralPurpose::new(&base64::alphabet::STANDARD, lenient);
    let at = match engine.decode(&compact) {
        Ok(_) => return Ok(()),
        Err(InvalidByte(at, _) | InvalidLastSymbol(at, _)) => at,
        // Go wants another padding character, or names the start of the group of four that is not complete.
        Err(InvalidLength(_) | InvalidPadding) if compact.ends_with('=') => compact.len(),
        Err(InvalidLength(_) | InvalidPadding) => compact.len() / 4 * 4,
    };
    Err(format!("illegal base64 data at input byte {at}"))
}

const SUFFIXES: &[&str] = &["", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "n", "u"];

fn check_quantity(text: &str) -> Result<(), String> {
    let unsigned = text.trim_start_matches(['+', '-']);
    let digits = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(digits);
    let is_exponent = |rest: &str| rest.parse::<i32>().is_ok();
    let has_exponent = suffix.strip_prefix(['e', 'E']).is_some_and(is_exponent);
    if number.parse::<f64>().is_ok() && (SUFFIXES.contains(&suffix) || has_exponent) {
        return Ok(());
    }
    Err("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::kind;
    use serde_json::json;

    #[test]
    fn unknown_fields_are_named_with_their_path() {
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "lables": {}},
            "spec": {"template": {"spec": {"containers": [{"name": "a", "imag": "x"}]}}}});
        let unknown = check(&kind::DEPLOYMENT, &deployment).unwrap();
        assert_eq!(unknown, ["metadata.lables", "spec.template.spec.containers[0].imag"]);
    }

    #[test]
    fn pruning_drops_unknown_fields_and_nulls_only() {
        let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "labels": {"x": "y"},
            "creationTimestamp": null}, "dat": {}, "data": {"k": "dg=="}});
        prune(&kind::SECRET, &mut secret);
        let expected = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "labels": {"x": "y"}},
            "data": {"k": "dg=="}});
        assert_eq!(secret, expected);
    }

    #[test]
    fn base64_is_judged_where_go_stops() {
        for (text, at) in [("not base64", 3), ("abc", 0), ("YWJjZ", 4), ("a$c=", 1), ("YQ=", 3)] {
            assert_eq!(check_base64(text), Err(format!("illegal base64 data at input byte {at}")), "{text}");
        }
        for text in ["", "YQ==", "YW\nJj"] {
            assert_eq!(check_base64(text), Ok(()), "{text:?}");
        }
    }

    #[test]
    fn quantities_are_numbers_with_known_suffixes() {
        assert!(["1", "500m", "1.5Gi", "2e3", "1E6", "128Mi"].iter().all(|text| check_quantity(text).is_ok()));
        assert!(["", "ten", "1GiB", "1..5"].iter().all(|text| check_quantity(text).is_err()));
    }
}
