//! What is known of the messages of the Kubernetes API: JSON names, protobuf numbers, types, patch strategies.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::kind::Kind;

/// One value, a list of them or a map from strings to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    One,
    List,
    Map,
}

/// A field of a message.
#[derive(Debug)]
pub struct Field {
    pub number: u64,
    pub name: &'static str,
    pub shape: Shape,
    /// `string`, `int32`, ..., or the name of a message.
    pub of: &'static str,
    /// Lists only: a strategic merge patch merges it instead of replacing it.
    pub merges: bool,
    /// The key by which items are the same, where they are objects.
    pub merge_key: Option<&'static str>,
}

impl Field {
    /// The message that one value (or item) of this field is, if it is one.
    pub fn message(&self) -> Option<&'static Message> {
        message(self.of)
    }

    /// Go embeds the field's struct, so that JSON shows its fields one level up.
    pub fn is_inline(&self) -> bool {
        ["volumeSource", "handler", "localObjectReference", "ephemeralContainerCommon"].contains(&self.name)
    }
}

/// A message, as the API's types name it (`core.PodSpec`).
#[derive(Debug)]
pub struct Message {
    pub name: &'static str,
    fields: Vec<Field>,
}

impl Message {
    /// The field that JSON calls `name`.
    pub fn field(&self, name: &str) -> Option<&Field> {
        let inlined = || self.fields.iter().filter(|field| field.is_inline()).filter_map(Field::message);
        let own = self.fields.iter().find(|field| field.name == name && !field.is_inline());
        own.or_else(|| inlined().find_map(|message| message.field(name)))
    }

    pub fn numbered(&self, number: u64) -> Option<&Field> {
        self.fields.iter().find(|field| field.number == number)
    }

    /// `PodSpec` of `core.PodSpec`: as Go's error texts name it.
    pub fn go_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }
}

static MESSAGES: LazyLock<BTreeMap<&'static str, Message>> = LazyLock::new(|| read(include_str!("schema/fields.txt")));

/// The message of this name; `None` for scalars and for the types that JSON writes in a way of their own
/// (times, quantities, numbers or strings, raw JSON).
pub fn message(name: &str) -> Option<&'static Message> {
    MESSAGES.get(name)
}

/// The message that an object of this kind is.
pub fn of_kind(kind: &Kind) -> &'static Message {
    let package = if kind.group.is_empty() { "core" } else { kind.group };
    // The unit test below holds the table to every kind that is served.
    message(&format!("{package}.{}", kind.kind)).expect("every served kind has a message")
}

/// The message of an object that a body calls so (`DeleteOptions` belong to every group).
pub fn of_manifest(api_version: &str, kind: &str) -> Option<&'static Message> {
    if kind == "DeleteOptions" {
        return message("meta.DeleteOptions");
    }
    super::kind::of_manifest(api_version, kind).map(of_kind)
}

/// Lines without indentation name a message; ` number name type [strategy[:key]]` is a field of it.
fn read(text: &'static str) -> BTreeMap<&'static str, Message> {
    let mut messages = BTreeMap::new();
    let mut current = None;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix(' ') {
            None => {
                messages.insert(line, Message { name: line, fields: Vec::new() });
                current = messages.get_mut(line);
            }
            Some(field) => {
                let owner = current.as_mut().expect("the table begins with a message");
                owner.fields.push(read_field(field).expect("the table is well-formed"));
            }
        }
    }
    messages
}

fn read_field(line: &'static str) -> Option<Field> {
    let mut words = line.split(' ');
    let number = words.next()?.parse().ok()?;
    let name = words.next()?;
    let (shape, of) = match words.next()?.split_once(':') {
        None => (Shape::One, line.split(' ').nth(2)?),
        Some(("list", of)) => (Shape::List, of),
        Some(("map", of)) => (Shape::Map, of),
        Some(_) => return None,
    };
    let (strategy, merge_key) = match words.next() {
        None => ("", None),
        Some(strategy) => match strategy.split_once(':') {
            Some((strategy, key)) => (strategy, Some(key)),
            None => (strategy, None),
        },
    };
    Some(Field { number, name, shape, of, merges: strategy.starts_with("merge"), merge_key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::kind::KINDS;

    #[test]
    fn every_served_kind_has_its_message() {
        for kind in KINDS {
            assert!(of_kind(kind).field("metadata").is_some(), "{}", kind.kind);
        }
    }

    #[test]
    fn every_type_that_a_field_names_is_known() {
        let special = ["meta.Time", "meta.MicroTime", "meta.FieldsV1", "resource.Quantity", "intstr.IntOrString"];
        let scalars = ["string", "bytes", "bool", "int32", "int64", "runtime.RawExtension"];
        for (name, message) in MESSAGES.iter() {
            for field in &message.fields {
                let known = message_or(field.of) || special.contains(&field.of) || scalars.contains(&field.of);
                assert!(known, "{name}.{}: {}", field.name, field.of);
            }
        }
    }

    fn message_or(name: &str) -> bool {
        message(name).is_some()
    }

    #[test]
    fn embedded_fields_are_found_one_level_up() {
        let volume = message("core.Volume").unwrap();
        assert_eq!(volume.field("emptyDir").unwrap().of, "core.EmptyDirVolumeSource");
        assert!(volume.field("volumeSource").is_none());
    }

    #[test]
    fn container_ports_merge_by_container_port_alone() {
        let ports = message("core.Container").unwrap().field("ports").unwrap();
        assert_eq!((ports.merges, ports.merge_key), (true, Some("containerPort")));
    }
}
