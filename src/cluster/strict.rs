//! Fields that a kind does not have, and values of another type than a field's.

use base64::Engine;
use serde_json::Value;

use super::kind::Kind;
use super::schema::{self, Field, Message, Shape};
use super::store::ApiError;

/// The unknown fields of an object, in the API server's words (`unknown field "spec.foo"`).
///
/// # Errors
/// 400 for a value that the field's type cannot hold, in the words of Go's decoder.
pub fn check(kind: &Kind, object: &Value) -> Result<Vec<String>, ApiError> {
    let mut walk = Walk { unknown: Vec::new() };
    walk.message(schema::of_kind(kind), object, "", "", true).map_err(|why| {
        ApiError::bad_request(format!(
            "{name} in version {version:?} cannot be handled as a {name}: {why}",
            name = kind.kind,
            version = kind.version
        ))
    })?;
    Ok(walk.unknown.into_iter().map(|path| format!("unknown field {path:?}")).collect())
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
    ) -> Result<(), String> {
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
    ) -> Result<(), String> {
        let mismatch = |go_type: &str| {
            Err(format!(
                "json: cannot unmarshal {} into Go struct field {}.{go_path} of type {go_type}",
                json_type(value),
                owner.go_name()
            ))
        };
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
    ) -> Result<(), String> {
        if let Some(message) = field.message() {
            if value.is_null() {
                return Ok(());
            }
            if value.is_object() {
                return self.message(message, value, path, go_path, false);
            }
        }
        let fits = match (field.of, value) {
            (_, Value::Null) => true,
            ("string" | "meta.Time" | "meta.MicroTime", Value::String(_)) | ("bool", Value::Bool(_)) => true,
            ("bytes", Value::String(text)) => return check_base64(text),
            ("int32", Value::Number(number)) => number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
            ("int64", Value::Number(number)) => number.is_i64(),
            ("resource.Quantity", Value::String(text)) => return check_quantity(text),
            ("resource.Quantity", Value::Number(number)) => return check_quantity(&number.to_string()),
            ("intstr.IntOrString", value) => value.is_string() || value.is_i64(),
            ("meta.FieldsV1" | "runtime.RawExtension", Value::Object(_)) => true,
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let json_type = match value {
            Value::Number(number) if field.of.starts_with("int") => format!("number {number}"),
            value => json_type(value).to_owned(),
        };
        Err(format!(
            "json: cannot unmarshal {json_type} into Go struct field {}.{go_path} of type {}",
            owner.go_name(),
            go_type(field)
        ))
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// As Go prints a type: `v1.Container`, `int32`.
fn go_type(field: &Field) -> String {
    match (field.message(), field.of) {
        (Some(message), _) => format!("v1.{}", message.go_name()),
        (None, "bytes") => "[]uint8".to_owned(),
        (None, of) => of.to_owned(),
    }
}

/// Where Go's decoder stops in base64 that is none.
fn check_base64(text: &str) -> Result<(), String> {
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
        assert_eq!(
            unknown,
            [r#"unknown field "metadata.lables""#, r#"unknown field "spec.template.spec.containers[0].imag""#]
        );
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
