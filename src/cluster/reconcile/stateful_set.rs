//! StatefulSet: pods with ordinal names, started and ended in order, each with its own claims.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Context;
use super::object::{self, is_finished, is_ready, replicas};
use crate::cluster::kind::{CLAIM, POD, STATEFUL_SET};
use crate::cluster::store::{DeleteOptions, Propagation, is_deleting, names};

const REVISION: &str = "controller-revision-hash";

pub fn reconcile(context: &Context, namespace: &str, name: &str) {
    let Some(set) = context.store.get(&STATEFUL_SET, namespace, name) else { return };
    let ordinals = Ordinals::of(context, &set);
    if !is_deleting(&set) {
        ordinals.advance();
    }
    Ordinals::of(context, &set).write_status();
}

struct Ordinals<'a> {
    context: &'a Context,
    set: &'a Value,
    first: i64,
    revision: String,
    pods: BTreeMap<i64, Arc<Value>>,
}

impl<'a> Ordinals<'a> {
    fn of(context: &'a Context, set: &'a Value) -> Self {
        let (_, name) = names(set);
        let ordinal = |pod: &Arc<Value>| {
            let (_, pod) = names(pod);
            pod.strip_prefix(&format!("{name}-"))?.parse().ok()
        };
        let pods = object::controlled(&context.store, &POD, set);
        let pods = pods.into_iter().filter_map(|pod| Some((ordinal(&pod)?, pod))).collect();
        let revision = format!("{name}-{}", object::letters(&[&object::canonical(&set["spec"]["template"])], 10));
        let first = set["spec"]["ordinals"]["start"].as_i64().unwrap_or(0);
        Self { context, set, first, revision, pods }
    }

    fn wanted(&self) -> std::ops::Range<i64> {
        self.first..self.first + replicas(self.set)
    }

    /// Takes every step that is allowed now. In order: one pod at a time, and only while all before it are ready.
    fn advance(&self) {
        let parallel = self.set["spec"]["podManagementPolicy"] == "Parallel";
        for ordinal in self.wanted() {
            match self.pods.get(&ordinal) {
                None => self.create(ordinal),
                Some(pod) if is_finished(pod) && !is_deleting(pod) => self.delete(pod),
                Some(pod) if is_ready(pod) && !is_deleting(pod) => continue,
                Some(_) => {}
            }
            if !parallel {
                return self.replace_broken_stale(ordinal);
            }
        }
        for (_, pod) in self.pods.iter().rev().filter(|(ordinal, _)| !self.wanted().contains(*ordinal)) {
            if !is_deleting(pod) {
                self.delete(pod);
            }
            if !parallel {
                return;
            }
        }
        self.roll();
    }

    /// A pod of an old template that never gets ready would hold up the very update that repairs it.
    fn replace_broken_stale(&self, ordinal: i64) {
        if let Some(pod) = self.pods.get(&ordinal).filter(|pod| self.is_stale(ordinal, pod) && !is_deleting(pod)) {
            self.delete(pod);
        }
    }

    /// Replaces pods of an older template from the highest ordinal down, each after the one above it is ready.
    fn roll(&self) {
        for ordinal in self.wanted().rev() {
            let Some(pod) = self.pods.get(&ordinal) else { return };
            if is_deleting(pod) {
                return;
            }
            if self.is_stale(ordinal, pod) {
                return self.delete(pod);
            }
            if !is_ready(pod) {
                return;
            }
        }
    }

    fn is_stale(&self, ordinal: i64, pod: &Value) -> bool {
        let strategy = &self.set["spec"]["updateStrategy"];
        let partition = strategy["rollingUpdate"]["partition"].as_i64().unwrap_or(0);
        strategy["type"] != "OnDelete" && ordinal >= partition && !self.is_updated(pod)
    }

    fn is_updated(&self, pod: &Value) -> bool {
        pod["metadata"]["labels"][REVISION].as_str() == Some(&self.revision)
    }

    fn create(&self, ordinal: i64) {
        let (_, set) = names(self.set);
        let name = format!("{set}-{ordinal}");
        let mut pod = object::pod_from(&self.set["spec"]["template"], &STATEFUL_SET, self.set, &name);
        let labels = &mut pod["metadata"]["labels"];
        labels["statefulset.kubernetes.io/pod-name"] = json!(name);
        labels["apps.kubernetes.io/pod-index"] = json!(ordinal.to_string());
        labels[REVISION] = json!(self.revision);
        pod["spec"]["hostname"] = json!(name);
        if self.set["spec"]["serviceName"].is_string() {
            pod["spec"]["subdomain"] = self.set["spec"]["serviceName"].clone();
        }
        for template in self.set["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten() {
            self.claim(template, &name, &mut pod);
        }
        let event = match object::create(&self.context.store, &POD, pod) {
            Ok(_) => ("Normal", "SuccessfulCreate", format!("create Pod {name} in StatefulSet {set} successful")),
            // One of that name that is not ours, or one on its way out: its end brings us back here.
            Err(error) => {
                ("Warning", "FailedCreate", format!("create Pod {name} in StatefulSet {set} failed error: {error}"))
            }
        };
        self.context.record(self.set, event.0, event.1, &event.2);
    }

    /// Makes the pod's claim unless an earlier pod of this ordinal left it, and mounts it under the template's name.
    fn claim(&self, template: &Value, pod_name: &str, pod: &mut Value) {
        let (namespace, _) = names(self.set);
        let (_, volume) = names(template);
        let name = format!("{volume}-{pod_name}");
        if self.context.store.get(&CLAIM, &namespace, &name).is_none() {
            let mut claim = template.clone();
            claim["metadata"]["name"] = json!(name);
            claim["metadata"]["namespace"] = json!(namespace);
            claim["metadata"]["labels"] = self.set["spec"]["selector"]["matchLabels"].clone();
            if let Err(error) = object::create(&self.context.store, &CLAIM, claim) {
                self.context.record(self.set, "Warning", "FailedCreate", &format!("create Claim {name}: {error}"));
            }
        }
        let entry = json!({"name": volume, "persistentVolumeClaim": {"claimName": name}});
        match pod["spec"]["volumes"].as_array_mut() {
            Some(volumes) => {
                volumes.retain(|present| present["name"] != volume.as_str());
                volumes.push(entry);
            }
            None => pod["spec"]["volumes"] = json!([entry]),
        }
    }

    fn delete(&self, pod: &Value) {
        let (namespace, name) = names(pod);
        let options = DeleteOptions { propagation: Propagation::Background, grace: None };
        if self.context.store.delete(&POD, &namespace, &name, options).is_ok() {
            let (_, set) = names(self.set);
            let message = format!("delete Pod {name} in StatefulSet {set} successful");
            self.context.record(self.set, "Normal", "SuccessfulDelete", &message);
        }
    }

    fn write_status(&self) {
        let alive: Vec<_> = self.pods.values().filter(|pod| !is_finished(pod)).collect();
        let ready = alive.iter().filter(|pod| is_ready(pod) && !is_deleting(pod)).count();
        let updated = alive.iter().filter(|pod| self.is_updated(pod) && !is_deleting(pod)).count();
        let complete = i64::try_from(updated).ok() == Some(replicas(self.set)) && updated == ready;
        let generation = self.set["metadata"]["generation"].clone();
        object::write_status(&self.context.store, &STATEFUL_SET, self.set, |status| {
            let current = match status["currentRevision"].as_str() {
                Some(revision) if !complete => revision.to_owned(),
                Some(_) | None => self.revision.clone(),
            };
            let of_current =
                alive.iter().filter(|pod| pod["metadata"]["labels"][REVISION].as_str() == Some(&current)).count();
            *status = json!({
                "replicas": alive.len(),
                "readyReplicas": ready,
                "availableReplicas": ready,
                "currentReplicas": of_current,
                "updatedReplicas": updated,
                "currentRevision": current,
                "updateRevision": self.revision,
                "observedGeneration": generation,
                "collisionCount": 0,
            });
        });
    }
}
