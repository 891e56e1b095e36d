//! Strategic merge patch: lists merge by their type's merge key, and directives (`$patch`, `$retainKeys`,
//! `$setElementOrder/…`, `$deleteFromPrimitiveList/…`) say what a plain merge cannot.

use serde_json::{Map, Value};

use crate::cluster::go;
use crate::cluster::schema::{Field, Message, Shape};

const ORDER: &str = "$setElementOrder/";
const DELETE: &str = "$deleteFromPrimitiveList/";
const RETAIN: &str = "$retainKeys";
const DIRECTIVE: &str = "$patch";

/// What is wrong with a patch, with values as Go prints them.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StrategicError {
    #[error("map: {item} does not contain declared merge key: {key}")]
    NoMergeKey { item: String, key: &'static str },
    #[error("unknown patch type: {directive} in map: {within}")]
    Directive { directive: String, within: String },
    #[error("invalid patch format of {0}")]
    Format(&'static str),
    #[error("The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n")]
    Order { patch: String, order: String },
}

impl StrategicError {
    fn no_merge_key(item: &Value, key: &'static str) -> Self {
        Self::NoMergeKey { item: go::plain(item), key }
    }

    fn directive(directive: &Value, within: &Object) -> Self {
        Self::Directive { directive: go::plain(directive), within: go::plain(&within.clone().into()) }
    }
}

type Object = Map<String, Value>;

/// The object with the patch applied; `message` is the object's type (`None`: lists replace, as for unknown types).
pub fn merge(current: &Value, patch: &Object, message: Option<&'static Message>) -> Result<Value, StrategicError> {
    let current = current.as_object().cloned().unwrap_or_default();
    merge_objects(current, patch, message).map(Value::Object)
}

fn merge_objects(
    mut object: Object,
    patch: &Object,
    message: Option<&'static Message>,
) -> Result<Object, StrategicError> {
    match patch.get(DIRECTIVE).map(|directive| directive.as_str().ok_or(directive)) {
        None | Some(Ok("merge")) => {}
        Some(Ok("replace")) => return Ok(without_directives(patch)),
        Some(Ok("delete")) => return Ok(Object::new()),
        Some(Ok(other)) => return Err(StrategicError::directive(&other.into(), patch)),
        Some(Err(other)) => return Err(StrategicError::directive(other, patch)),
    }
    if let Some(retained) = patch.get(RETAIN) {
        retain(&mut object, patch, retained)?;
    }
    for (key, value) in patch {
        if let Some(field) = key.strip_prefix(DELETE) {
            delete_primitives(&mut object, field, value)?;
        }
    }
    for (key, order) in patch {
        if let Some(name) = key.strip_prefix(ORDER) {
            let field = field_of(message, name);
            order_list(&mut object, name, patch.get(name), order, field)?;
        }
    }
    for (key, value) in patch.iter().filter(|(key, _)| !key.starts_with('$')) {
        if patch.contains_key(&format!("{ORDER}{key}")) {
            continue;
        }
        match value {
            Value::Null => drop(object.shift_remove(key)),
            value => {
                let merged = merge_values(object.get(key), value, field_of(message, key))?;
                object.insert(key.clone(), merged);
            }
        }
    }
    Ok(object)
}

fn field_of(message: Option<&'static Message>, name: &str) -> Option<&'static Field> {
    message.and_then(|message| message.field(name))
}

fn merge_values(
    current: Option<&Value>,
    patch: &Value,
    field: Option<&'static Field>,
) -> Result<Value, StrategicError> {
    let inner = field.filter(|field| field.shape == Shape::One).and_then(Field::message);
    match (current, patch) {
        (Some(Value::Object(current)), Value::Object(patch)) => {
            merge_objects(current.clone(), patch, inner).map(Value::Object)
        }
        // A deletion of what is not there leaves nothing behind but an empty object, as in Go.
        (_, Value::Object(patch)) => merge_objects(Object::new(), patch, inner).map(Value::Object),
        (current, Value::Array(patch)) => match (current, field.filter(|field| field.merges)) {
            (Some(Value::Array(current)), Some(field)) => merge_lists(current, patch, field).map(Value::Array),
            (_, Some(field)) => merge_lists(&[], patch, field).map(Value::Array),
            (_, None) => Ok(Value::Array(patch.iter().filter(|item| !is_directive(item)).cloned().collect())),
        },
        (_, patch) => Ok(patch.clone()),
    }
}

fn is_directive(item: &Value) -> bool {
    item.get(DIRECTIVE).is_some()
}

/// Merges items that are the same by key; the patch's items come in the patch's order (see [`arrange`]).
fn merge_lists(current: &[Value], patch: &[Value], field: &'static Field) -> Result<Vec<Value>, StrategicError> {
    let (items, plain) = merge_items(current, patch, field)?;
    Ok(arrange(items, &plain, current, field))
}

/// The merged items, in no particular order yet, and those of the patch that are no directives.
fn merge_items(
    current: &[Value],
    patch: &[Value],
    field: &'static Field,
) -> Result<(Vec<Value>, Vec<Value>), StrategicError> {
    let mut items = current.to_vec();
    let mut plain = Vec::new();
    let Some(key) = field.merge_key else {
        for item in patch.iter().filter(|item| !items.contains(item)).cloned().collect::<Vec<_>>() {
            items.push(item);
        }
        return Ok((items, patch.to_vec()));
    };
    if patch.iter().any(|item| item.get(DIRECTIVE).is_some_and(|directive| directive == "replace")) {
        let replaced: Vec<_> = patch.iter().filter(|item| !is_directive(item)).cloned().collect();
        return Ok((replaced.clone(), replaced));
    }
    for item in patch {
        let Some(id) = item.get(key) else {
            return Err(StrategicError::no_merge_key(item, key));
        };
        match item.get(DIRECTIVE).and_then(Value::as_str) {
            Some("delete") => items.retain(|present| present.get(key) != Some(id)),
            None | Some("merge") => {
                let Value::Object(patch) = item else {
                    return Err(StrategicError::no_merge_key(item, key));
                };
                match items.iter_mut().find(|present| present.get(key) == Some(id)) {
                    Some(present) => *present = merge(present, patch, field.message())?,
                    None => items.push(merge(&Value::Null, patch, field.message())?),
                }
                plain.push(item.clone());
            }
            Some(other) => {
                let within = item.as_object().cloned().unwrap_or_default();
                return Err(StrategicError::directive(&other.into(), &within));
            }
        }
    }
    Ok((items, plain))
}

/// Applies `$setElementOrder`: the list comes out in the given order, with what only the server has at its old place.
fn order_list(
    object: &mut Object,
    name: &str,
    patch: Option<&Value>,
    order: &Value,
    field: Option<&'static Field>,
) -> Result<(), StrategicError> {
    let order = order.as_array().ok_or(StrategicError::Format("$setElementOrder list"))?;
    let Some(field) = field.filter(|field| field.merges) else {
        return Err(StrategicError::Format("$setElementOrder list"));
    };
    let current: Vec<Value> = object.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let patch: &[Value] = match patch {
        None => &[],
        Some(Value::Null) => {
            object.shift_remove(name);
            return Ok(());
        }
        Some(Value::Array(patch)) => patch,
        Some(_) => return Err(StrategicError::Format("a list")),
    };
    let plain = patch.iter().filter(|item| !is_directive(item));
    let mut places = plain.map(|item| position(order, item, field));
    let mut last = None;
    if places.any(|place| place.is_none() || std::mem::replace(&mut last, place) > place) {
        let shown = |list: &[Value]| go::plain(&list.into());
        return Err(StrategicError::Order { patch: shown(patch), order: shown(order) });
    }
    if current.is_empty() && patch.is_empty() && !object.contains_key(name) {
        return Ok(());
    }
    let (items, _) = merge_items(&current, patch, field)?;
    object.insert(name.to_owned(), Value::Array(arrange(items, order, &current, field)));
    Ok(())
}

/// Items that `order` names, in its order, interleaved with the rest at the places that `server` gives them: a rest item
/// comes first only where the server had it before the next named one, so that new items stand in front.
fn arrange(items: Vec<Value>, order: &[Value], server: &[Value], field: &Field) -> Vec<Value> {
    let (mut named, mut rest): (Vec<_>, Vec<_>) =
        items.into_iter().partition(|item| position(order, item, field).is_some());
    named.sort_by_key(|item| position(order, item, field));
    rest.sort_by_key(|item| position(server, item, field));
    let mut arranged = Vec::with_capacity(named.len() + rest.len());
    let (mut named, mut rest) = (named.into_iter().peekable(), rest.into_iter().peekable());
    while let (Some(next_named), Some(next_rest)) = (named.peek(), rest.peek()) {
        let rest_is_first = match (position(server, next_rest, field), position(server, next_named, field)) {
            (Some(rest), Some(named)) => rest < named,
            (None, _) | (_, None) => false,
        };
        arranged.extend(if rest_is_first { rest.next() } else { named.next() });
    }
    arranged.extend(named.chain(rest));
    arranged
}

fn position(list: &[Value], item: &Value, field: &Field) -> Option<usize> {
    list.iter().position(|other| match field.merge_key {
        Some(key) => other.get(key).is_some() && other.get(key) == item.get(key),
        None => other == item,
    })
}

fn retain(object: &mut Object, patch: &Object, retained: &Value) -> Result<(), StrategicError> {
    let retained = retained.as_array().ok_or(StrategicError::Format("retainKeys list"))?;
    let keeps = |key: &str| retained.iter().any(|kept| kept == key);
    if patch.iter().any(|(key, value)| !key.starts_with('$') && !value.is_null() && !keeps(key)) {
        return Err(StrategicError::Format("retainKeys list"));
    }
    object.retain(|key, _| keeps(key));
    Ok(())
}

fn delete_primitives(object: &mut Object, field: &str, values: &Value) -> Result<(), StrategicError> {
    let values = values.as_array().ok_or(StrategicError::Format("$deleteFromPrimitiveList list"))?;
    if let Some(Value::Array(items)) = object.get_mut(field) {
        items.retain(|item| !values.contains(item));
    }
    Ok(())
}

fn without_directives(patch: &Object) -> Object {
    patch.iter().filter(|(key, _)| !key.starts_with('$')).map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::schema::message;
    use proptest::prelude::*;
    use serde_json::json;

    fn pod(current: Value, patch: Value) -> Result<Value, StrategicError> {
        merge(&current, patch.as_object().unwrap(), message("core.PodSpec"))
    }

    #[test]
    fn an_item_that_the_patch_deletes_goes_and_the_rest_keeps_its_place() {
        let current = json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]});
        let patch = json!({"containers": [{"name": "b", "$patch": "delete"}]});
        assert_eq!(pod(current, patch), Ok(json!({"containers": [{"name": "a"}, {"name": "c"}]})));
    }

    #[test]
    fn deleting_what_is_not_there_changes_nothing() {
        let current = json!({"containers": [{"name": "a"}]});
        let patch = json!({"containers": [{"name": "z", "$patch": "delete"}]});
        assert_eq!(pod(current.clone(), patch), Ok(current));
    }

    #[test]
    fn retain_keys_removes_what_the_volume_was_before() {
        let current = json!({"volumes": [{"name": "v", "emptyDir": {}}]});
        let patch =
            json!({"volumes": [{"name": "v", "$retainKeys": ["name", "secret"], "secret": {"secretName": "s"}}]});
        assert_eq!(pod(current, patch), Ok(json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]})));
    }

    #[test]
    fn an_item_without_its_merge_key_is_refused() {
        let error = pod(json!({"containers": []}), json!({"containers": [{"image": "x"}]})).unwrap_err();
        assert!(error.to_string().ends_with("does not contain declared merge key: name"), "{error}");
    }

    fn names() -> impl Strategy<Value = Vec<String>> {
        proptest::sample::subsequence(vec!["a", "b", "c", "d", "e"], 0..=5)
            .prop_shuffle()
            .prop_map(|names| names.into_iter().map(str::to_owned).collect())
    }

    fn containers(names: &[String], image: &str) -> Value {
        names.iter().map(|name| json!({"name": name, "image": image})).collect()
    }

    /// What `kubectl apply` sends for the step from one list to another.
    fn apply_patch(old: &[String], new: &[String]) -> Value {
        let deleted = old.iter().filter(|name| !new.contains(name));
        let mut items = containers(new, "new").as_array().unwrap().clone();
        items.extend(deleted.map(|name| json!({"name": name, "$patch": "delete"})));
        let order: Vec<_> = new.iter().map(|name| json!({"name": name})).collect();
        json!({"containers": items, "$setElementOrder/containers": order})
    }

    proptest! {
        #[test]
        fn applying_a_manifest_makes_its_list_in_its_order_and_twice_is_once(old in names(), new in names()) {
            let patch = apply_patch(&old, &new);
            let once = pod(json!({"containers": containers(&old, "old")}), patch.clone()).unwrap();
            prop_assert_eq!(&once["containers"], &containers(&new, "new"));
            prop_assert_eq!(&pod(once.clone(), patch).unwrap(), &once);
        }

        #[test]
        fn what_only_the_server_has_stays_in_its_own_order(server in names(), sent in names()) {
            let patch = json!({"containers": containers(&sent, "new")});
            let merged = pod(json!({"containers": containers(&server, "old")}), patch).unwrap();
            let merged: Vec<_> = merged["containers"].as_array().unwrap().iter()
                .map(|item| item["name"].as_str().unwrap().to_owned()).collect();
            let only = |of: &[String], not: &[String]| -> Vec<String> {
                of.iter().filter(|name| !not.contains(name)).cloned().collect()
            };
            prop_assert_eq!(only(&merged, &sent), only(&server, &sent));
            prop_assert_eq!(only(&merged, &only(&server, &sent)), sent);
        }
    }
}
