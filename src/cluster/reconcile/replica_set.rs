//! ReplicaSet: keeps as many pods as are asked for.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Context;
use super::object::{self, available_in, is_active, is_ready, replicas};
use super::queue::{Controller, Key};
use crate::cluster::kind::{POD, REPLICA_SET};
use crate::cluster::store::{DeleteOptions, Propagation, Store, is_deleting, names};

pub fn reconcile(context: &Context, namespace: &str, name: &str) {
    let Some(set) = context.store.get(&REPLICA_SET, namespace, name) else { return };
    let pods = active_pods(&context.store, &set);
    if !is_deleting(&set) {
        scale(context, &set, &pods);
    }
    write_status(context, &set);
}

/// The set's pods that are neither finished nor going, after taking in matching ones that nobody controls.
fn active_pods(store: &Store, set: &Value) -> Vec<Arc<Value>> {
    let (namespace, _) = names(set);
    let (_, pods) = store.list(&POD, Some(&namespace));
    let mut mine = Vec::new();
    for pod in pods.into_iter().filter(|pod| is_active(pod)) {
        if object::is_controlled_by(&pod, set) {
            mine.push(pod);
        } else if object::controller_of(&pod).is_none()
            && !is_deleting(set)
            && object::selects(&set["spec"]["selector"], &pod["metadata"]["labels"])
        {
            mine.extend(adopt(store, set, &pod));
        }
    }
    mine
}

fn adopt(store: &Store, set: &Value, pod: &Value) -> Option<Arc<Value>> {
    let (namespace, name) = names(pod);
    let reference = object::controller_reference(&REPLICA_SET, set);
    let adopted =
        store.modify(&POD, &namespace, &name, |pod| match pod["metadata"]["ownerReferences"].as_array_mut() {
            Some(references) => references.push(reference.clone()),
            None => pod["metadata"]["ownerReferences"] = json!([reference]),
        });
    adopted.ok()
}

fn scale(context: &Context, set: &Value, pods: &[Arc<Value>]) {
    let wanted = usize::try_from(replicas(set)).unwrap_or(0);
    for _ in pods.len()..wanted {
        let name = context.generated_name(&REPLICA_SET, set);
        let pod = object::pod_from(&set["spec"]["template"], &REPLICA_SET, set, &name);
        match object::create(&context.store, &POD, pod) {
            Ok(_) => context.record(set, "Normal", "SuccessfulCreate", &format!("Created pod: {name}")),
            Err(error) => {
                context.record(set, "Warning", "FailedCreate", &format!("Error creating: {error}"));
                return;
            }
        }
    }
    for pod in surplus(pods, pods.len().saturating_sub(wanted)) {
        let (namespace, name) = names(pod);
        let options = DeleteOptions { propagation: Propagation::Background, grace: None };
        if context.store.delete(&POD, &namespace, &name, options).is_ok() {
            context.record(set, "Normal", "SuccessfulDelete", &format!("Deleted pod: {name}"));
        }
    }
}

/// The pods that are missed least: those not ready first, then the youngest.
fn surplus(pods: &[Arc<Value>], count: usize) -> Vec<&Arc<Value>> {
    let mut pods: Vec<_> = pods.iter().collect();
    let born = |pod: &Value| pod["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned();
    pods.sort_by(|a, b| is_ready(a).cmp(&is_ready(b)).then_with(|| born(b).cmp(&born(a))));
    pods.truncate(count);
    pods
}

fn write_status(context: &Context, set: &Value) {
    let min_ready = set["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
    let pods = object::controlled(&context.store, &POD, set);
    let active: Vec<_> = pods.iter().filter(|pod| is_active(pod)).collect();
    let soon = active.iter().filter_map(|pod| available_in(pod, min_ready)).filter(|seconds| *seconds > 0).min();
    if let Some(seconds) = soon {
        let (namespace, name) = names(set);
        let delay = Duration::from_secs(u64::try_from(seconds).unwrap_or(1));
        context.queue.add_after(Key::new(Controller::ReplicaSet, &namespace, &name), delay);
    }
    let ready = active.iter().filter(|pod| is_ready(pod)).count();
    let available = active.iter().filter(|pod| available_in(pod, min_ready) == Some(0)).count();
    let generation = set["metadata"]["generation"].clone();
    object::write_status(&context.store, &REPLICA_SET, set, |status| {
        *status = json!({
            "replicas": active.len(),
            "fullyLabeledReplicas": active.len(),
            "readyReplicas": ready,
            "availableReplicas": available,
            "observedGeneration": generation,
        });
    });
}
