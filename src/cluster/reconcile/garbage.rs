//! Garbage: what is owned goes when its owners are gone; with foreground deletion the owner waits for it.

use std::sync::Arc;

use serde_json::Value;

use super::Context;
use crate::cluster::kind::{self, KINDS, Kind};
use crate::cluster::store::{DeleteOptions, Propagation, Store, is_deleting, names, owner_references};

const FOREGROUND: &str = "foregroundDeletion";

/// Looks over all objects once. What this deletes leads to another look by its own event.
pub fn collect(context: &Context) {
    let store = &*context.store;
    let objects: Vec<(&'static Kind, Arc<Value>)> =
        KINDS.iter().flat_map(|kind| store.list(kind, None).1.into_iter().map(move |object| (*kind, object))).collect();
    for (kind, object) in &objects {
        if is_deleting(object) && has_finalizer(object) {
            finish_foreground(store, kind, object, &objects);
        } else if is_orphaned(store, object) && !is_deleting(object) {
            delete(store, kind, object, Propagation::Background);
        }
    }
}

/// An owner is looked up by name and uid at this moment: a list taken earlier may not have it yet.
fn is_orphaned(store: &Store, object: &Value) -> bool {
    let (namespace, _) = names(object);
    let mut references = owner_references(object).peekable();
    references.peek().is_some() && references.all(|reference| !owner_exists(store, &namespace, reference))
}

fn owner_exists(store: &Store, namespace: &str, reference: &Value) -> bool {
    let field = |name: &str| reference[name].as_str().unwrap_or_default();
    let Some(kind) = kind::of_manifest(field("apiVersion"), field("kind")) else {
        // Of a kind that is not served nothing can be known: keep what it owns.
        return true;
    };
    let namespace = if kind.namespaced { namespace } else { "" };
    store.get(kind, namespace, field("name")).is_some_and(|owner| owner["metadata"]["uid"] == reference["uid"])
}

fn finish_foreground(store: &Store, kind: &'static Kind, owner: &Value, objects: &[(&'static Kind, Arc<Value>)]) {
    let uid = &owner["metadata"]["uid"];
    let mut blocked = false;
    for (dependent_kind, dependent) in objects {
        let Some(reference) = owner_references(dependent).find(|reference| &reference["uid"] == uid) else { continue };
        let (namespace, name) = names(dependent);
        if store.get(dependent_kind, &namespace, &name).is_none() {
            continue;
        }
        if !is_deleting(dependent) {
            delete(store, dependent_kind, dependent, Propagation::Foreground);
        }
        blocked |= reference["blockOwnerDeletion"] == true && store.get(dependent_kind, &namespace, &name).is_some();
    }
    if !blocked {
        let (namespace, name) = names(owner);
        // The update that clears the last finalizer removes the object; gone already is as good.
        let _ = store.modify(kind, &namespace, &name, |owner| {
            if let Some(finalizers) = owner["metadata"]["finalizers"].as_array_mut() {
                finalizers.retain(|finalizer| finalizer != FOREGROUND);
            }
        });
    }
}

fn delete(store: &Store, kind: &'static Kind, object: &Value, propagation: Propagation) {
    let (namespace, name) = names(object);
    // Pods own nothing, so a finalizer on them would only be one more round.
    let propagation = if kind == &kind::POD { Propagation::Background } else { propagation };
    if let Err(error) = store.delete(kind, &namespace, &name, DeleteOptions { propagation, grace: None }) {
        tracing::debug!(%error, kind = kind.kind, %namespace, %name, "gone before it was collected");
    }
}

fn has_finalizer(object: &Value) -> bool {
    object["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|finalizers| finalizers.iter().any(|name| name == FOREGROUND))
}
