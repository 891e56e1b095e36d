//! Server-side apply, and who manages which field.
//!
//! Fields are kept as sets of paths per manager (`metadata.managedFields`, format `FieldsV1`): objects are granular, lists
//! with a merge key are granular by key, other lists and label selectors are one field each.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::schema::{self, Field, Message, Shape};
use super::store::{ApiError, names, now};

/// One step of a path, as `FieldsV1` writes it: `f:name`, `k:{"name":"web"}` or `v:"value"`.
type Step = String;
type Path = Vec<Step>;
type Paths = BTreeSet<Path>;

/// An entry of `managedFields`.
#[derive(Debug, Clone, PartialEq)]
struct Manager {
    name: String,
    operation: String,
    subresource: String,
    time: Value,
    paths: Paths,
}

impl Manager {
    fn is(&self, name: &str, operation: &str, subresource: &str) -> bool {
        self.name == name && self.operation == operation && self.subresource == subresource
    }
}

/// The object after `manager` has applied `body`, with its managed fields.
///
/// # Errors
/// 409 with every field that another manager holds at another value, unless `force`.
pub fn apply(
    kind: &Kind,
    current: Option<&Value>,
    body: &Value,
    manager: &str,
    force: bool,
) -> Result<Value, ApiError> {
    let message = schema::of_kind(kind);
    if body["metadata"]["managedFields"].as_array().is_some_and(|fields| !fields.is_empty()) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let mut wanted = owned_paths(message, body);
    wanted.retain(|path| !is_identity(path));
    let mut object = current.cloned().unwrap_or_else(|| json!({"metadata": {}}));
    let mut managers = read_managers(&object);

    let (before, after) = (leaves(message, &object), leaves(message, body));
    let contested = |other: &Manager| -> Vec<Path> {
        let differs = |path: &&Path| before.get(*path) != after.get(*path);
        other.paths.intersection(&wanted).filter(differs).cloned().collect()
    };
    let others = || managers.iter().filter(|other| !other.is(manager, "Apply", ""));
    let conflicts: Vec<(String, Path)> =
        others().flat_map(|other| contested(other).into_iter().map(|path| (conflict_name(other), path))).collect();
    if !conflicts.is_empty() && !force {
        return Err(conflict(kind, body, &conflicts));
    }
    for (_, path) in &conflicts {
        for other in &mut managers {
            other.paths.remove(path);
        }
    }

    let mine = managers.iter().position(|one| one.is(manager, "Apply", "")).map(|index| managers.remove(index));
    let held: Paths = managers.iter().flat_map(|other| other.paths.iter().cloned()).collect();
    let mut dropped: Vec<Path> = mine.map(|mine| mine.paths.difference(&wanted).cloned().collect()).unwrap_or_default();
    // Children before the items that they are in.
    dropped.sort_by_key(|path| std::cmp::Reverse(path.len()));
    for path in dropped.iter().filter(|path| !held.iter().any(|other| other.starts_with(path))) {
        remove(&mut object, path);
    }
    merge(Some(message), &mut object, body);
    let paths = wanted;
    managers.push(Manager {
        name: manager.to_owned(),
        operation: "Apply".to_owned(),
        subresource: String::new(),
        time: json!(now()),
        paths,
    });
    write_managers(kind, &mut object, managers, current);
    Ok(object)
}

/// Notes that `manager` has made `object` out of `current` by a create, replace or patch: it now manages what changed.
pub fn track(kind: &Kind, current: Option<&Value>, object: &mut Value, manager: &str, subresource: Option<&str>) {
    let message = schema::of_kind(kind);
    let written = object["metadata"].get("managedFields").filter(|fields| fields.is_array()).cloned();
    if let (Some(current), Some(written)) = (current, &written)
        && *written != current["metadata"]["managedFields"]
    {
        // The client rewrites the managers itself, as kubectl does when it moves to server-side apply.
        return;
    }
    let mut managers = current.map(read_managers).unwrap_or_default();
    let before = current.map(|current| leaves(message, current)).unwrap_or_default();
    let after = leaves(message, object);
    let changed: Paths = after
        .iter()
        .filter(|(path, value)| !is_servers_own(path) && before.get(*path) != Some(value))
        .map(|(path, _)| path.clone())
        .collect();
    for other in &mut managers {
        other.paths.retain(|path| !changed.contains(path) && exists(&after, path));
    }
    let subresource = subresource.unwrap_or_default();
    match managers.iter_mut().find(|one| one.is(manager, "Update", subresource)) {
        Some(mine) => {
            if !changed.is_empty() {
                mine.time = json!(now());
            }
            mine.paths.extend(changed);
        }
        None if changed.is_empty() => {}
        None => managers.push(Manager {
            name: manager.to_owned(),
            operation: "Update".to_owned(),
            subresource: subresource.to_owned(),
            time: json!(now()),
            paths: changed,
        }),
    }
    write_managers(kind, object, managers, current);
}

fn exists(leaves: &BTreeMap<Path, Value>, path: &Path) -> bool {
    leaves.range(path.clone()..).next().is_some_and(|(next, _)| next.starts_with(path))
}

fn conflict_name(manager: &Manager) -> String {
    match manager.operation.as_str() {
        "Apply" => format!("{:?}", manager.name),
        _ => format!("{:?} using {}", manager.name, "v1"),
    }
}

fn conflict(kind: &Kind, body: &Value, conflicts: &[(String, Path)]) -> ApiError {
    let (_, name) = names(body);
    let mut by_manager: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (manager, path) in conflicts {
        by_manager.entry(manager).or_default().push(path_text(path));
    }
    let many = if conflicts.len() == 1 { "conflict" } else { "conflicts" };
    let parts: Vec<_> = by_manager
        .iter()
        .map(|(manager, paths)| match paths.as_slice() {
            [one] => format!("conflict with {manager}: {one}"),
            several => format!("conflicts with {manager}:\n- {}", several.join("\n- ")),
        })
        .collect();
    let causes: Vec<_> = conflicts
        .iter()
        .map(|(manager, path)| {
            json!({"reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": path_text(path)})
        })
        .collect();
    ApiError {
        code: 409,
        reason: "Conflict",
        message: format!("Apply failed with {} {many}: {}", conflicts.len(), parts.join("\n")),
        details: Some(json!({"name": name, "group": kind.group, "kind": kind.plural, "causes": causes})),
    }
}

/// `.spec.template.spec.containers[name="web"].image`.
fn path_text(path: &Path) -> String {
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

fn is_identity(path: &Path) -> bool {
    let top = path.first().map(String::as_str);
    let name = path.get(1).map(String::as_str);
    matches!(top, Some("f:apiVersion" | "f:kind"))
        || (top == Some("f:metadata") && (name.is_none() || matches!(name, Some("f:name" | "f:namespace"))))
        || is_servers_own(path)
}

fn is_servers_own(path: &Path) -> bool {
    const OWN: &[&str] = &[
        "f:name",
        "f:namespace",
        "f:uid",
        "f:resourceVersion",
        "f:creationTimestamp",
        "f:generation",
        "f:managedFields",
        "f:deletionTimestamp",
        "f:deletionGracePeriodSeconds",
        "f:selfLink",
    ];
    match path.first().map(String::as_str) {
        Some("f:apiVersion" | "f:kind") => true,
        Some("f:metadata") => path.get(1).is_some_and(|step| OWN.contains(&step.as_str())),
        _ => false,
    }
}

/// How a value is divided into fields.
enum Division<'a> {
    Leaf,
    Object(&'a Map<String, Value>, Option<&'static Message>),
    Keyed(&'a [Value], Vec<&'static str>, Option<&'static Message>),
    Set(&'a [Value]),
}

fn divide<'a>(field: Option<&'static Field>, value: &'a Value) -> Division<'a> {
    let message = field.and_then(Field::message);
    match (value, field) {
        (Value::Object(map), Some(field))
            if field.shape != Shape::List && field.of != "meta.LabelSelector" && !map.is_empty() =>
        {
            Division::Object(map, message.filter(|_| field.shape == Shape::One))
        }
        (Value::Array(list), Some(field)) if field.merges && !list.is_empty() => match field.merge_key {
            None => Division::Set(list),
            Some(key) => {
                // Merge patches know these by one key, server-side apply by two.
                let keys = match (key, field.of) {
                    ("containerPort", _) | ("port", "core.ServicePort") => vec![key, "protocol"],
                    _ => vec![key],
                };
                Division::Keyed(list, keys, message)
            }
        },
        _ => Division::Leaf,
    }
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
fn leaves(message: &'static Message, object: &Value) -> BTreeMap<Path, Value> {
    let mut found = BTreeMap::new();
    if let Value::Object(map) = object {
        collect_object(Some(message), map, &mut Vec::new(), &mut found);
    }
    found
}

fn owned_paths(message: &'static Message, object: &Value) -> Paths {
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
                if let Value::Object(map) = item {
                    collect_object(message, map, path, found);
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

/// Sets everything of `body` in `object`.
fn merge(message: Option<&'static Message>, object: &mut Value, body: &Value) {
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
                    Some(other) => merge(message, other, item),
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
fn remove(value: &mut Value, path: &[Step]) {
    let Some((step, rest)) = path.split_first() else { return };
    match (step.split_once(':'), value) {
        (Some(("f", name)), Value::Object(map)) => {
            if rest.is_empty() {
                map.shift_remove(name);
            } else if let Some(inner) = map.get_mut(name) {
                remove(inner, rest);
                if inner.as_object().is_some_and(Map::is_empty) || inner.as_array().is_some_and(Vec::is_empty) {
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
        (Some(("v", wanted)), Value::Array(items)) => items.retain(|item| item.to_string() != wanted),
        _ => {}
    }
}

fn read_managers(object: &Value) -> Vec<Manager> {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    entries
        .map(|entry| {
            let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
            let mut paths = Paths::new();
            read_fields(&entry["fieldsV1"], &mut Vec::new(), &mut paths);
            Manager {
                name: text("manager"),
                operation: text("operation"),
                subresource: text("subresource"),
                time: entry["time"].clone(),
                paths,
            }
        })
        .collect()
}

fn read_fields(fields: &Value, path: &mut Path, paths: &mut Paths) {
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

fn write_fields(paths: &Paths) -> Value {
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

fn write_managers(kind: &Kind, object: &mut Value, managers: Vec<Manager>, current: Option<&Value>) {
    let present = current.map(|current| current["metadata"]["managedFields"].clone()).unwrap_or_default();
    let entries: Vec<Value> = managers
        .into_iter()
        .filter(|manager| !manager.paths.is_empty())
        .map(|manager| {
            let mut entry = json!({"manager": manager.name, "operation": manager.operation,
                "apiVersion": kind.api_version(), "time": manager.time, "fieldsType": "FieldsV1",
                "fieldsV1": write_fields(&manager.paths)});
            if !manager.subresource.is_empty() {
                entry["subresource"] = json!(manager.subresource);
            }
            // A write that changes no field must not change the object by a new time.
            let same = |other: &&Value| {
                ["manager", "operation", "subresource", "fieldsV1"].iter().all(|f| other.get(f) == entry.get(f))
            };
            if let Some(same) = present.as_array().into_iter().flatten().find(same) {
                return same.clone();
            }
            entry
        })
        .collect();
    object["metadata"]["managedFields"] = json!(entries);
}
