//! Fields of objects as paths: how an object is divided into fields, and the format `FieldsV1`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::cluster::schema::{Field, Message, Shape};

/// One step of a path, as `FieldsV1` writes it: `f:name`, `k:{"name":"web"}` or `v:"value"`.
pub type Step = String;
pub type Path = Vec<Step>;
pub type Paths = BTreeSet<Path>;

/// `.spec.template.spec.containers[name="web"].image`.
pub fn path_text(path: &Path) -> String {
    let step = |step: &Step| match step.split_once(':') {
        Some(("k", key)) => {
            let key: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
            let pairs: Vec<_> = key.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("[{}]", pairs.join(","))
        }
        Some(("v", value)) => format!("[={value}]"),
        Some((_, name)) => format!(".{name}"),
        None => String::new(),
    };
    path.iter().map(step).collect()
}

/// How a value is divided into fields.
enum Division<'a> {
    Leaf,
    Object(&'a Map<String, Value>, Option<&'static Message>),
    Keyed(&'a [Value], Vec<&'static str>, Option<&'static Message>),
    Set(&'a [Value]),
}

/// Messages that are one field as a whole: references, selectors, and the like.
const WHOLE: &[&str] = &[
    "core.ConfigMapKeySelector",
    "core.EndpointAddress",
    "core.EndpointPort",
    "core.LocalObjectReference",
    "core.NodeSelector",
    "core.NodeSelectorTerm",
    "core.ObjectFieldSelector",
    "core.ObjectReference",
    "core.ResourceFieldSelector",
    "core.SecretKeySelector",
    "core.TypedLocalObjectReference",
    "meta.LabelSelector",
    "meta.OwnerReference",
];

/// Maps of strings that select something are whole, too; others (labels, data) are one field for each key.
fn is_whole(field: &Field) -> bool {
    WHOLE.contains(&field.of) || (field.shape == Shape::Map && ["nodeSelector", "selector"].contains(&field.name))
}

fn divide<'a>(field: Option<&'static Field>, value: &'a Value) -> Division<'a> {
    let message = field.and_then(Field::message);
    match (value, field) {
        (Value::Object(map), Some(field)) if field.shape != Shape::List && !is_whole(field) => {
            Division::Object(map, message.filter(|_| field.shape == Shape::One))
        }
        (Value::Array(list), Some(field)) if field.merges => match field.merge_key {
            None => Division::Set(list),
            Some(key) => {
                // Merge patches know these by one key, server-side apply by two.
                let keys = match (key, field.of) {
                    ("containerPort", _) | ("port", "core.ServicePort") => vec![key, "protocol"],
                    ("topologyKey", _) => vec![key, "whenUnsatisfiable"],
                    _ => vec![key],
                };
                Division::Keyed(list, keys, message.filter(|_| !is_whole(field)))
            }
        },
        _ => Division::Leaf,
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

fn item_step(keys: &[&'static str], item: &Value) -> Step {
    let key: Map<String, Value> = keys
        .iter()
        .map(|key| {
            let value = item.get(*key).cloned();
            ((*key).to_owned(), value.unwrap_or_else(|| if *key == "protocol" { json!("TCP") } else { Value::Null }))
        })
        .collect();
    format!("k:{}", Value::Object(key))
}

/// Every field with its value; items of keyed lists stand for themselves too (with no value).
pub fn leaves(message: &'static Message, object: &Value) -> BTreeMap<Path, Value> {
    let mut found = BTreeMap::new();
    if let Value::Object(map) = object {
        collect_object(Some(message), map, &mut Vec::new(), &mut found);
    }
    found
}

pub fn owned_paths(message: &'static Message, object: &Value) -> Paths {
    leaves(message, object).into_keys().collect()
}

fn collect_object(
    message: Option<&'static Message>,
    map: &Map<String, Value>,
    path: &mut Path,
    found: &mut BTreeMap<Path, Value>,
) {
    for (name, value) in map {
        path.push(format!("f:{name}"));
        collect(message.and_then(|message| message.field(name)), value, path, found);
        path.pop();
    }
}

fn collect(field: Option<&'static Field>, value: &Value, path: &mut Path, found: &mut BTreeMap<Path, Value>) {
    match divide(field, value) {
        Division::Leaf => drop(found.insert(path.clone(), value.clone())),
        // An empty object or list (`emptyDir: {}`) is a field by itself.
        _ if is_empty(value) => drop(found.insert(path.clone(), value.clone())),
        Division::Object(map, Some(message)) => collect_object(Some(message), map, path, found),
        Division::Object(map, None) => {
            for (key, value) in map {
                path.push(format!("f:{key}"));
                found.insert(path.clone(), value.clone());
                path.pop();
            }
        }
        Division::Keyed(items, keys, message) => {
            for item in items {
                path.push(item_step(&keys, item));
                found.insert(path.clone(), Value::Null);
                match (message, item) {
                    (Some(message), Value::Object(map)) => collect_object(Some(message), map, path, found),
                    _ => drop(found.insert(path.clone(), item.clone())),
                }
                path.pop();
            }
        }
        Division::Set(items) => {
            for item in items {
                path.push(format!("v:{item}"));
                found.insert(path.clone(), item.clone());
                path.pop();
            }
        }
    }
}

/// The first list in which a key is there twice, as an API server words it.
pub fn duplicate(message: &'static Message, object: &Value) -> Option<String> {
    let Value::Object(map) = object else { return None };
    duplicate_within(Some(message), map, &mut Vec::new())
}

fn duplicate_within(message: Option<&'static Message>, map: &Map<String, Value>, path: &mut Path) -> Option<String> {
    for (name, value) in map {
        path.push(format!("f:{name}"));
        let found = match divide(message.and_then(|message| message.field(name)), value) {
            Division::Object(map, Some(message)) => duplicate_within(Some(message), map, path),
            Division::Keyed(items, keys, message) => duplicate_item(items, &keys, message, path),
            Division::Leaf | Division::Object(_, None) | Division::Set(_) => None,
        };
        path.pop();
        if found.is_some() {
            return found;
        }
    }
    None
}

fn duplicate_item(
    items: &[Value],
    keys: &[&'static str],
    message: Option<&'static Message>,
    path: &mut Path,
) -> Option<String> {
    let mut seen = BTreeSet::new();
    for item in items {
        let step = item_step(keys, item);
        if !seen.insert(step.clone()) {
            return Some(format!("{}: duplicate entries for key {}", path_text(path), path_text(&vec![step])));
        }
        path.push(step);
        let found = item.as_object().and_then(|map| duplicate_within(message, map, path));
        path.pop();
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Sets everything of `body` in `object`.
pub fn merge(message: Option<&'static Message>, object: &mut Value, body: &Value) {
    let Value::Object(body) = body else { return };
    for (name, value) in body {
        let field = message.and_then(|message| message.field(name));
        merge_field(field, &mut object[name.as_str()], value);
    }
}

fn merge_field(field: Option<&'static Field>, target: &mut Value, value: &Value) {
    match divide(field, value) {
        Division::Object(_, message) if target.is_object() => match message {
            Some(message) => merge(Some(message), target, value),
            None => merge(None, target, value),
        },
        Division::Keyed(items, keys, message) if target.is_array() => {
            let Value::Array(present) = target else { return };
            for item in items {
                let step = item_step(&keys, item);
                match present.iter_mut().find(|other| item_step(&keys, other) == step) {
                    Some(other) if message.is_some() => merge(message, other, item),
                    Some(other) => *other = item.clone(),
                    None => present.push(item.clone()),
                }
            }
        }
        Division::Set(items) if target.is_array() => {
            let Value::Array(present) = target else { return };
            let new: Vec<_> = items.iter().filter(|item| !present.contains(item)).cloned().collect();
            present.extend(new);
        }
        _ => *target = value.clone(),
    }
}

/// Removes the field at a path, and what becomes empty by it.
pub fn remove(value: &mut Value, path: &[Step]) {
    let Some((step, rest)) = path.split_first() else { return };
    match (step.split_once(':'), value) {
        (Some(("f", name)), Value::Object(map)) => {
            if rest.is_empty() {
                map.shift_remove(name);
            } else if let Some(inner) = map.get_mut(name) {
                remove(inner, rest);
                if is_empty(inner) {
                    map.shift_remove(name);
                }
            }
        }
        (Some(("k", key)), Value::Array(items)) => {
            let key: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
            let is_it = |item: &Value| {
                key.iter().all(|(name, value)| {
                    item.get(name).unwrap_or(if name == "protocol" { &Value::Null } else { &Value::Bool(false) })
                        == value
                        || (name == "protocol" && item.get(name).is_none() && value == "TCP")
                })
            };
            if rest.is_empty() {
                items.retain(|item| !is_it(item));
            } else if let Some(item) = items.iter_mut().find(|item| is_it(item)) {
                remove(item, rest);
            }
        }
        (Some(("v", wanted)), Value::Array(items)) => items.retain(|item| *item != *wanted),
        _ => {}
    }
}

pub fn read_fields(fields: &Value, path: &mut Path, paths: &mut Paths) {
    let Some(fields) = fields.as_object() else { return };
    for (step, inner) in fields {
        if step == "." {
            paths.insert(path.clone());
            continue;
        }
        path.push(step.clone());
        if inner.as_object().is_none_or(Map::is_empty) {
            paths.insert(path.clone());
        }
        read_fields(inner, path, paths);
        path.pop();
    }
}

pub fn write_fields(paths: &Paths) -> Value {
    let mut root = json!({});
    for path in paths {
        let mut at = &mut root;
        for step in path {
            if !at[step.as_str()].is_object() {
                at[step.as_str()] = json!({});
            }
            at = &mut at[step.as_str()];
        }
        let is_item = path.last().is_some_and(|step| step.starts_with("k:"));
        let has_children = paths.range(path.clone()..).nth(1).is_some_and(|next| next.starts_with(path));
        if is_item && has_children {
            at["."] = json!({});
        }
    }
    root
}
