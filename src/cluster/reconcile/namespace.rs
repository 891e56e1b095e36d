//! Namespace: what a new one gets, and emptying one that is deleted.

use serde_json::json;

use super::Context;
use crate::cluster::kind::{CONFIG_MAP, EVENT, NAMESPACE, SERVICE_ACCOUNT};
use crate::cluster::store::{DeleteOptions, Propagation, is_deleting, names};

/// The ConfigMap in which pods find the certificate of the API server.
const ROOT_CA: &str = "kube-root-ca.crt";

pub fn reconcile(context: &Context, name: &str) {
    let Some(namespace) = context.store.get(&NAMESPACE, "", name) else { return };
    if is_deleting(&namespace) {
        empty(context, name);
    } else {
        furnish(context, name);
    }
}

fn furnish(context: &Context, name: &str) {
    let store = &context.store;
    // Each of these may exist already, which is what is wanted.
    let _ = store.modify(&NAMESPACE, "", name, |namespace| {
        if !namespace["status"]["phase"].is_string() {
            namespace["status"] = json!({"phase": "Active"});
        }
    });
    if store.get(&SERVICE_ACCOUNT, name, "default").is_none() {
        let _ = store.create(&SERVICE_ACCOUNT, json!({"metadata": {"name": "default", "namespace": name}}));
    }
    if let Some(certificate) = context.root_ca.as_ref().filter(|_| store.get(&CONFIG_MAP, name, ROOT_CA).is_none()) {
        let metadata = json!({"name": ROOT_CA, "namespace": name});
        let _ = store.create(&CONFIG_MAP, json!({"metadata": metadata, "data": {"ca.crt": certificate}}));
    }
}

/// Deletes everything inside; the namespace goes when nothing is left. Events go last: pods that end still write some.
fn empty(context: &Context, name: &str) {
    let store = &context.store;
    let inside = store.list_namespace(name);
    let only_events = inside.iter().all(|(kind, _)| *kind == &EVENT);
    for (kind, object) in inside {
        if is_deleting(&object) || *kind == EVENT && !only_events {
            continue;
        }
        let (_, object_name) = names(&object);
        let options = DeleteOptions { propagation: Propagation::Background, grace: None };
        // Gone in the meantime is as good.
        let _ = store.delete(kind, name, &object_name, options);
    }
    if store.list_namespace(name).is_empty() {
        store.remove(&NAMESPACE, "", name);
    }
}
