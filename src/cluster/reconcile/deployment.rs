//! Deployment: one ReplicaSet per pod template, and the way from one to the next.

use std::cmp::{max, min};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Context;
use super::object::{self, Round, available_in, condition_of, is_active, is_ready, replicas, share};
use super::queue::{Controller, Key};
use crate::cluster::kind::{DEPLOYMENT, Kind, POD, REPLICA_SET};
use crate::cluster::store::{ApiError, DeleteOptions, Propagation, Store, is_deleting, names, now};

const REVISION: &str = "deployment.kubernetes.io/revision";
const HASH: &str = "pod-template-hash";

pub fn reconcile(context: &Context, namespace: &str, name: &str) {
    let Some(deployment) = context.store.get(&DEPLOYMENT, namespace, name) else { return };
    if is_deleting(&deployment) {
        return;
    }
    match Rollout::of(context, &deployment) {
        Ok(rollout) => {
            rollout.advance();
            rollout.forget_old_revisions();
            write_status(context, &deployment);
        }
        Err(error) => {
            context.record(&deployment, "Warning", "ReplicaSetCreateError", &error.to_string());
        }
    }
}

/// The deployment that a pod is of, by way of its set.
pub fn of_pod(store: &Store, pod: &Value) -> Option<Key> {
    let (namespace, _) = names(pod);
    let owner = |object: &Value, kind: &Kind| {
        let reference = object::controller_of(object).filter(|reference| reference["kind"] == kind.kind)?;
        Some(reference["name"].as_str()?.to_owned())
    };
    let set = store.get(&REPLICA_SET, &namespace, &owner(pod, &REPLICA_SET)?)?;
    Some(Key::new(Controller::Deployment, &namespace, &owner(&set, &DEPLOYMENT)?))
}

/// A deployment with its sets: the one of the present template, and the others from the oldest on.
struct Rollout<'a> {
    context: &'a Context,
    deployment: &'a Value,
    new: Option<Arc<Value>>,
    old: Vec<Arc<Value>>,
}

impl<'a> Rollout<'a> {
    fn of(context: &'a Context, deployment: &'a Value) -> Result<Self, ApiError> {
        let hash = template_hash(deployment);
        let mut sets = object::controlled(&context.store, &REPLICA_SET, deployment);
        sets.sort_by_key(|set| revision(set));
        let (new, old): (Vec<_>, Vec<_>) =
            sets.into_iter().partition(|set| set["metadata"]["labels"][HASH].as_str() == Some(&hash));
        let mut rollout = Self { context, deployment, new: new.into_iter().next(), old };
        let paused = deployment["spec"]["paused"] == true;
        if !paused {
            rollout.have_new_set(&hash)?;
        }
        Ok(rollout)
    }

    /// Finds or makes the set of the present template and gives it the highest revision.
    fn have_new_set(&mut self, hash: &str) -> Result<(), ApiError> {
        let next = self.old.iter().map(|set| revision(set)).max().unwrap_or(0) + 1;
        let recreate_waits = self.is_recreate() && self.old_pods_exist();
        let set = match &self.new {
            Some(set) if revision(set) >= next => set.clone(),
            Some(set) => {
                let (namespace, name) = names(set);
                self.context.store.modify(&REPLICA_SET, &namespace, &name, |set| {
                    set["metadata"]["annotations"][REVISION] = json!(next.to_string());
                })?
            }
            None if recreate_waits => return Ok(()),
            None => self.create_set(hash, next)?,
        };
        self.annotate(revision(&set));
        self.new = Some(set);
        Ok(())
    }

    fn annotate(&self, revision: i64) {
        let (namespace, name) = names(self.deployment);
        // A deployment that is gone by now needs no annotation.
        let _ = self.context.store.modify(&DEPLOYMENT, &namespace, &name, |deployment| {
            if !deployment["metadata"]["annotations"].is_object() {
                deployment["metadata"]["annotations"] = json!({});
            }
            deployment["metadata"]["annotations"][REVISION] = json!(revision.to_string());
        });
    }

    fn create_set(&self, hash: &str, revision: i64) -> Result<Arc<Value>, ApiError> {
        let (namespace, name) = names(self.deployment);
        let spec = &self.deployment["spec"];
        let mut template = spec["template"].clone();
        template["metadata"]["labels"][HASH] = json!(hash);
        let mut selector = spec["selector"].clone();
        selector["matchLabels"][HASH] = json!(hash);
        let mut annotations = self.deployment["metadata"]["annotations"].clone();
        if !annotations.is_object() {
            annotations = json!({});
        }
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
            annotations.insert(REVISION.to_owned(), json!(revision.to_string()));
        }
        let first = if self.is_recreate() { self.wanted() } else { self.room() };
        let set = json!({
            "metadata": {
                "name": format!("{name}-{hash}"),
                "namespace": namespace,
                "labels": template["metadata"]["labels"],
                "annotations": annotations,
                "ownerReferences": [object::controller_reference(&DEPLOYMENT, self.deployment)],
            },
            "spec": {
                "replicas": first,
                "minReadySeconds": spec["minReadySeconds"].as_i64().unwrap_or(0),
                "selector": selector,
                "template": template,
            },
            "status": {"replicas": 0},
        });
        let set = object::create(&self.context.store, &REPLICA_SET, set)?;
        self.tell("up", &set, 0, first);
        Ok(set)
    }

    fn wanted(&self) -> i64 {
        replicas(self.deployment)
    }

    fn is_recreate(&self) -> bool {
        self.deployment["spec"]["strategy"]["type"] == "Recreate"
    }

    fn limits(&self) -> (i64, i64) {
        let rolling = &self.deployment["spec"]["strategy"]["rollingUpdate"];
        let surge = share(&rolling["maxSurge"], "25%", self.wanted(), Round::Up);
        let unavailable = share(&rolling["maxUnavailable"], "25%", self.wanted(), Round::Down);
        // Both zero would never get anywhere.
        if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
    }

    /// How many more pods of the new template there may be at this moment.
    fn room(&self) -> i64 {
        let present: i64 = self.old.iter().chain(&self.new).map(|set| replicas(set)).sum();
        let new = self.new.as_deref().map_or(0, replicas);
        let (surge, _) = self.limits();
        max(0, min(self.wanted() + surge - present, self.wanted() - new))
    }

    fn advance(&self) {
        let paused = self.deployment["spec"]["paused"] == true;
        if paused {
            return self.follow_scale();
        }
        let Some(new) = &self.new else {
            return self.old.iter().for_each(|set| self.set_replicas(set, 0));
        };
        if self.is_recreate() {
            self.old.iter().for_each(|set| self.set_replicas(set, 0));
            if !self.old_pods_exist() {
                self.set_replicas(new, self.wanted());
            }
            return;
        }
        let present = replicas(new);
        self.set_replicas(new, if present > self.wanted() { self.wanted() } else { present + self.room() });
        self.scale_down_old(new);
    }

    /// While paused only the newest set follows a change of `replicas`.
    fn follow_scale(&self) {
        let newest = self.new.as_ref().or(self.old.last());
        if let Some(set) = newest.filter(|set| replicas(set) != self.wanted()) {
            let others: i64 = self.old.iter().filter(|old| !Arc::ptr_eq(old, set)).map(|set| replicas(set)).sum();
            self.set_replicas(set, max(0, self.wanted() - others));
        }
    }

    /// Takes from old sets what is not available first, then as much as availability allows.
    fn scale_down_old(&self, new: &Value) {
        let (_, unavailable) = self.limits();
        let needed = self.wanted() - unavailable;
        let mut left: Vec<(i64, i64)> = self.old.iter().map(|set| (replicas(set), self.available(set))).collect();
        let present: i64 = left.iter().map(|(replicas, _)| replicas).sum::<i64>() + replicas(new);
        let new_available = self.available(new);
        let mut spare = present - needed - (replicas(new) - new_available);
        for (replicas, available) in &mut left {
            let broken = min(max(spare, 0), *replicas - *available);
            *replicas -= broken;
            spare -= broken;
        }
        let mut spare = left.iter().map(|(_, available)| available).sum::<i64>() + new_available - needed;
        for (replicas, available) in &mut left {
            let taken = min(max(spare, 0), min(*replicas, *available));
            *replicas -= taken;
            spare -= taken;
        }
        for (set, (replicas, _)) in self.old.iter().zip(left) {
            self.set_replicas(set, replicas);
        }
    }

    fn available(&self, set: &Value) -> i64 {
        let min_ready = self.deployment["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
        let pods = object::controlled(&self.context.store, &POD, set);
        let available = pods.iter().filter(|pod| is_active(pod) && available_in(pod, min_ready) == Some(0)).count();
        min(count(available), replicas(set))
    }

    fn old_pods_exist(&self) -> bool {
        let pods = |set: &Arc<Value>| object::controlled(&self.context.store, &POD, set);
        self.old.iter().any(|set| pods(set).iter().any(|pod| !object::is_finished(pod)))
    }

    fn set_replicas(&self, set: &Value, to: i64) {
        let from = replicas(set);
        if from == to {
            return;
        }
        let (namespace, name) = names(set);
        if self.context.store.modify(&REPLICA_SET, &namespace, &name, |set| set["spec"]["replicas"] = json!(to)).is_ok()
        {
            self.tell(if to > from { "up" } else { "down" }, set, from, to);
        }
    }

    fn tell(&self, direction: &str, set: &Value, from: i64, to: i64) {
        let (_, name) = names(set);
        let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
        self.context.record(self.deployment, "Normal", "ScalingReplicaSet", &message);
    }

    fn forget_old_revisions(&self) {
        let limit = self.deployment["spec"]["revisionHistoryLimit"].as_u64().unwrap_or(10);
        let idle = |set: &&Arc<Value>| {
            replicas(set) == 0 && object::controlled(&self.context.store, &POD, set).is_empty() && !is_deleting(set)
        };
        let idle: Vec<_> = self.old.iter().filter(idle).collect();
        let surplus = idle.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
        for set in &idle[..surplus] {
            let (namespace, name) = names(set);
            let options = DeleteOptions { propagation: Propagation::Background, grace: None };
            // Somebody else deleting it is as good.
            let _ = self.context.store.delete(&REPLICA_SET, &namespace, &name, options);
        }
    }
}

/// The status follows from what is there after the step was taken.
fn write_status(context: &Context, deployment: &Value) {
    let (namespace, name) = names(deployment);
    let sets = object::controlled(&context.store, &REPLICA_SET, deployment);
    let hash = template_hash(deployment);
    let min_ready = deployment["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
    let (mut all, mut updated, mut ready, mut available) = (0, 0, 0, 0);
    for set in &sets {
        let pods = object::controlled(&context.store, &POD, set);
        let pods: Vec<_> = pods.iter().filter(|pod| is_active(pod)).collect();
        all += count(pods.len());
        if set["metadata"]["labels"][HASH].as_str() == Some(&hash) {
            updated += count(pods.len());
        }
        ready += count(pods.iter().filter(|pod| is_ready(pod)).count());
        available += count(pods.iter().filter(|pod| available_in(pod, min_ready) == Some(0)).count());
    }
    let wanted = replicas(deployment);
    let old_left: i64 = sets
        .iter()
        .filter(|set| set["metadata"]["labels"][HASH].as_str() != Some(&hash))
        .map(|set| replicas(set))
        .sum();
    let complete = updated == wanted && all == wanted && available == wanted && old_left == 0;
    let new_set = format!("{name}-{hash}");
    let unavailable_allowed = share(
        &deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"],
        if deployment["spec"]["strategy"]["type"] == "Recreate" { "0%" } else { "25%" },
        wanted,
        Round::Down,
    );
    let deadline = deployment["spec"]["progressDeadlineSeconds"].as_i64().unwrap_or(600);
    let generation = deployment["metadata"]["generation"].clone();
    object::write_status(&context.store, &DEPLOYMENT, deployment, |status| {
        let counts = json!({
            "replicas": all, "updatedReplicas": updated, "readyReplicas": ready, "availableReplicas": available,
            "unavailableReplicas": max(0, wanted - available),
        });
        let moved = ["updatedReplicas", "readyReplicas", "availableReplicas", "replicas"]
            .iter()
            .any(|field| status[*field] != counts[*field])
            || status["observedGeneration"] != generation;
        let before = json!({"status": status.clone()});
        let conditions = status["conditions"].take();
        *status = counts;
        status["observedGeneration"] = generation.clone();
        if conditions.is_array() {
            status["conditions"] = conditions;
        }
        if available >= wanted - unavailable_allowed {
            object::set_condition(
                status,
                "Available",
                true,
                "MinimumReplicasAvailable",
                "Deployment has minimum availability.",
            );
        } else {
            object::set_condition(
                status,
                "Available",
                false,
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.",
            );
        }
        set_progress(status, &before, &Progress { complete, moved, deadline, new_set: &new_set });
    });
    if !complete {
        let delay = Duration::from_secs(u64::try_from(deadline).unwrap_or(600) + 1);
        context.queue.add_after(Key::new(Controller::Deployment, &namespace, &name), delay);
    }
}

struct Progress<'a> {
    complete: bool,
    moved: bool,
    /// Seconds without a step forward after which the rollout counts as stuck.
    deadline: i64,
    new_set: &'a str,
}

fn set_progress(status: &mut Value, before: &Value, progress: &Progress<'_>) {
    let Progress { complete, moved, deadline, new_set } = *progress;
    let previous = condition_of(before, "Progressing").cloned().unwrap_or_default();
    let stuck = !complete
        && !moved
        && previous["lastUpdateTime"].is_string()
        && previous["reason"] != "NewReplicaSetAvailable"
        && object::seconds_since(&previous["lastUpdateTime"]) >= deadline;
    let same_outcome = |reason: &str| previous["reason"] == reason && !moved;
    let (value, reason, message) = if complete {
        (true, "NewReplicaSetAvailable", format!("ReplicaSet \"{new_set}\" has successfully progressed."))
    } else if stuck || same_outcome("ProgressDeadlineExceeded") {
        (false, "ProgressDeadlineExceeded", format!("ReplicaSet \"{new_set}\" has timed out progressing."))
    } else {
        (true, "ReplicaSetUpdated", format!("ReplicaSet \"{new_set}\" is progressing."))
    };
    object::set_condition(status, "Progressing", value, reason, &message);
    let updated = if same_outcome(reason) { previous["lastUpdateTime"].clone() } else { json!(now()) };
    let conditions = status["conditions"].as_array_mut().into_iter().flatten();
    for condition in conditions.filter(|condition| condition["type"] == "Progressing") {
        condition["lastUpdateTime"] = updated.clone();
    }
}

fn template_hash(deployment: &Value) -> String {
    let mut template = deployment["spec"]["template"].clone();
    // A rollback may carry the label of the set that it goes back to.
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove(HASH);
    }
    object::letters(&[&object::canonical(&template)], 10)
}

fn revision(set: &Value) -> i64 {
    set["metadata"]["annotations"][REVISION].as_str().and_then(|revision| revision.parse().ok()).unwrap_or(0)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
