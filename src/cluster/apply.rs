//! Server-side apply, and who manages which field.
//!
//! Fields are kept as sets of paths per manager (`metadata.managedFields`, format `FieldsV1`): objects are granular, lists
//! with a merge key are granular by key, other lists and label selectors are one field each.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::kind::Kind;
use super::schema;
use super::store::{ApiError, now};

mod fields;
use fields::{Path, Paths, leaves, merge, owned_paths, path_text, read_fields, remove, write_fields};

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
        // Of an object that one applied empty and others have filled since, nothing is contested.
        let is_filled = |path: &Path| !before.contains_key(path) && exists(&before, path);
        let differs = |path: &&Path| before.get(*path) != after.get(*path) && !is_filled(path);
        other.paths.intersection(&wanted).filter(differs).cloned().collect()
    };
    let others = || managers.iter().filter(|other| !other.is(manager, "Apply", ""));
    let conflicts: Vec<(String, Path)> = others()
        .flat_map(|other| contested(other).into_iter().map(|path| (conflict_name(kind, other), path)))
        .collect();
    if !conflicts.is_empty() && !force {
        return Err(conflict(&conflicts));
    }
    for (_, path) in &conflicts {
        for other in &mut managers {
            other.paths.remove(path);
        }
    }

    let mine = managers.iter().position(|one| one.is(manager, "Apply", "")).map(|index| managers.remove(index));
    let held: Paths = managers.iter().flat_map(|other| other.paths.iter().cloned()).collect();
    let mut dropped: Vec<Path> = mine.map(|mine| mine.paths.difference(&wanted).cloned().collect()).unwrap_or_default();
    // Items before what is in them: an item whose key is gone would not be found any more.
    dropped.sort_by_key(Vec::len);
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

/// What is wrong with a body that names an item of a list twice.
pub fn duplicate(kind: &Kind, body: &Value) -> Option<String> {
    fields::duplicate(schema::of_kind(kind), body)
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

fn conflict_name(kind: &Kind, manager: &Manager) -> String {
    match manager.operation.as_str() {
        "Apply" => format!("{:?}", manager.name),
        _ => format!("{:?} using {}", manager.name, kind.api_version()),
    }
}

fn conflict(conflicts: &[(String, Path)]) -> ApiError {
    let mut by_manager: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut conflicts: Vec<_> = conflicts.iter().collect();
    // At each level the fields that end there come before those that go on.
    conflicts.sort_by_cached_key(|(manager, path)| {
        let steps = path.iter().enumerate().map(|(index, step)| (index + 1 < path.len(), step.clone()));
        (manager.clone(), steps.collect::<Vec<_>>())
    });
    for (manager, path) in &conflicts {
        by_manager.entry(manager).or_default().push(path_text(path));
    }
    let many = if conflicts.len() == 1 { "conflict" } else { "conflicts" };
    let parts: Vec<_> = by_manager
        .iter()
        .map(|(manager, paths)| match paths.as_slice() {
            [one] if by_manager.len() == 1 => format!("conflict with {manager}: {one}"),
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
        details: Some(json!({"causes": causes})),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::kind;
    use proptest::prelude::*;

    fn config(data: &BTreeMap<String, String>) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data})
    }

    fn data() -> impl Strategy<Value = BTreeMap<String, String>> {
        proptest::collection::btree_map("[a-d]", "[xy]", 0..4)
    }

    #[test]
    fn items_of_keyed_lists_belong_to_who_applied_them() {
        let pod = |containers: Value| json!({"metadata": {"name": "p"}, "spec": {"containers": containers}});
        let first = apply(&kind::POD, None, &pod(json!([{"name": "a", "image": "1"}])), "one", false).unwrap();
        let both = apply(&kind::POD, Some(&first), &pod(json!([{"name": "b", "image": "2"}])), "two", false).unwrap();
        assert_eq!(both["spec"]["containers"], json!([{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]));
        let conflict = apply(&kind::POD, Some(&both), &pod(json!([{"name": "a", "image": "9"}])), "two", false);
        let message = conflict.unwrap_err().message;
        assert_eq!(message, r#"Apply failed with 1 conflict: conflict with "one": .spec.containers[name="a"].image"#);
        let left = apply(&kind::POD, Some(&both), &pod(json!([])), "one", false).unwrap();
        assert_eq!(left["spec"]["containers"], json!([{"name": "b", "image": "2"}]));
    }

    proptest! {
        #[test]
        fn one_manager_gets_what_it_applied_last_and_twice_is_once(first in data(), second in data()) {
            let one = apply(&kind::CONFIG_MAP, None, &config(&first), "m", false).unwrap();
            let two = apply(&kind::CONFIG_MAP, Some(&one), &config(&second), "m", false).unwrap();
            let present = two["data"].as_object().cloned().unwrap_or_default();
            prop_assert_eq!(json!(present), json!(second));
            let again = apply(&kind::CONFIG_MAP, Some(&two), &config(&second), "m", false).unwrap();
            prop_assert_eq!(again["data"].clone(), two["data"].clone());
        }

        #[test]
        fn another_managers_fields_survive_what_one_takes_back(mine in data(), theirs in data()) {
            let one = apply(&kind::CONFIG_MAP, None, &config(&theirs), "theirs", false).unwrap();
            let two = apply(&kind::CONFIG_MAP, Some(&one), &config(&mine), "mine", true).unwrap();
            let back = apply(&kind::CONFIG_MAP, Some(&two), &config(&BTreeMap::new()), "mine", false).unwrap();
            for (key, value) in theirs.iter().filter(|(key, value)| mine.get(*key).is_none_or(|other| other == *value)) {
                prop_assert_eq!(&back["data"][key], &json!(value));
            }
        }

        #[test]
        fn managed_fields_come_back_as_they_were_written(data in data()) {
            let paths = owned_paths(schema::of_kind(&kind::CONFIG_MAP), &config(&data));
            let mut read = Paths::new();
            read_fields(&write_fields(&paths), &mut Path::new(), &mut read);
            prop_assert_eq!(read, paths);
        }
    }
}
