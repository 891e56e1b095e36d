//! Job: runs pods until enough of them have succeeded, or too many have failed.

use std::cmp::min;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::Context;
use super::object::{self, has_condition, is_finished, is_ready};
use super::queue::{Controller, Key};
use crate::cluster::kind::{JOB, POD};
use crate::cluster::store::{DeleteOptions, Propagation, is_deleting, names, now};

/// What a job's pods came to. Kept apart from the pods, because a pod that somebody deletes still counts.
#[derive(Default)]
pub struct Tally {
    /// By uid of the pod: whether it succeeded.
    finished: BTreeMap<String, bool>,
    last_failure: Option<Instant>,
}

impl Tally {
    fn count(&mut self, pods: &[Arc<Value>]) {
        for pod in pods {
            let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
            let succeeded = pod["status"]["phase"] == "Succeeded";
            if (is_finished(pod) || is_deleting(pod)) && !self.finished.contains_key(uid) {
                self.finished.insert(uid.to_owned(), succeeded);
                if !succeeded {
                    self.last_failure = Some(Instant::now());
                }
            }
        }
    }

    fn succeeded(&self) -> i64 {
        self.finished.values().filter(|succeeded| **succeeded).count().try_into().unwrap_or(i64::MAX)
    }

    fn failed(&self) -> i64 {
        self.finished.values().filter(|succeeded| !**succeeded).count().try_into().unwrap_or(i64::MAX)
    }

    /// How long the next pod has to wait after failures: 10 s, doubling, at most 10 minutes.
    fn wait(&self) -> Duration {
        let Some(last) = self.last_failure else { return Duration::ZERO };
        let doublings = u32::try_from(self.failed() - 1).unwrap_or(0).min(6);
        let backoff = min(Duration::from_secs(10) * 2u32.pow(doublings), Duration::from_secs(600));
        backoff.saturating_sub(last.elapsed())
    }
}

pub fn reconcile(context: &Context, namespace: &str, name: &str) {
    let Some(job) = context.store.get(&JOB, namespace, name) else { return };
    if is_deleting(&job) {
        return;
    }
    if has_condition(&job, "Complete") || has_condition(&job, "Failed") {
        return expire(context, &job);
    }
    let Ok(job) = complete_defaults(context, &job) else { return };
    let pods = object::controlled(&context.store, &POD, &job);
    let tally = context.with_tally(&job, |tally| {
        tally.count(&pods);
        (tally.succeeded(), tally.failed(), tally.wait())
    });
    Run { context, job: &job, pods, succeeded: tally.0, failed: tally.1, wait: tally.2 }.advance();
}

/// Gives a job the selector and labels by which its pods are found (`kubectl logs job/x`), as an API server does.
fn complete_defaults(context: &Context, job: &Value) -> Result<Arc<Value>, crate::cluster::store::ApiError> {
    let (namespace, name) = names(job);
    let uid = job["metadata"]["uid"].clone();
    context.store.modify(&JOB, &namespace, &name, |job| {
        if job["spec"]["selector"].is_object() {
            return;
        }
        job["spec"]["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
        let labels = &mut job["spec"]["template"]["metadata"]["labels"];
        for prefix in ["batch.kubernetes.io/", ""] {
            labels[format!("{prefix}controller-uid")] = uid.clone();
            labels[format!("{prefix}job-name")] = json!(name);
        }
    })
}

/// How a job ends.
struct End {
    condition: &'static str,
    reason: &'static str,
    message: String,
}

struct Run<'a> {
    context: &'a Context,
    job: &'a Value,
    pods: Vec<Arc<Value>>,
    succeeded: i64,
    failed: i64,
    wait: Duration,
}

impl Run<'_> {
    fn advance(&self) {
        if self.job["spec"]["suspend"] == true {
            self.delete_active();
            return self.write_status(None);
        }
        if let Some(end) = self.end() {
            self.delete_active();
            let kind = if end.condition == "Complete" { "Normal" } else { "Warning" };
            let reason = if end.condition == "Complete" { "Completed" } else { end.reason };
            self.context.record(self.job, kind, reason, &end.message);
            return self.write_status(Some(&end));
        }
        self.watch_deadline();
        self.start_pods();
        self.write_status(None);
    }

    fn spec(&self, field: &str) -> Option<i64> {
        self.job["spec"][field].as_i64()
    }

    fn parallelism(&self) -> i64 {
        self.spec("parallelism").unwrap_or(1)
    }

    fn active(&self) -> impl Iterator<Item = &Arc<Value>> {
        self.pods.iter().filter(|pod| object::is_active(pod))
    }

    fn end(&self) -> Option<End> {
        let limit = self.spec("backoffLimit").unwrap_or(6);
        // Restarts in place count up to the limit, failed pods beyond it: so Kubernetes has it.
        if self.failed > limit || self.restarts() >= limit.max(1) {
            let message = "Job has reached the specified backoff limit".to_owned();
            return Some(End { condition: "Failed", reason: "BackoffLimitExceeded", message });
        }
        if self.remaining().is_some_and(|remaining| remaining <= 0) {
            let message = "Job was active longer than specified deadline".to_owned();
            return Some(End { condition: "Failed", reason: "DeadlineExceeded", message });
        }
        let enough = match self.spec("completions") {
            Some(completions) => self.succeeded >= completions,
            // A work queue is done when one worker has succeeded and none is left; without either field it is one pod.
            None => self.succeeded > 0 && self.active().next().is_none(),
        };
        let message = "Job completed".to_owned();
        enough.then_some(End { condition: "Complete", reason: "CompletionsReached", message })
    }

    /// Containers that were restarted in place (`restartPolicy: OnFailure`) are failures too.
    fn restarts(&self) -> i64 {
        if self.job["spec"]["template"]["spec"]["restartPolicy"] != "OnFailure" {
            return 0;
        }
        let statuses = |pod: &Arc<Value>, field: &str| pod["status"][field].as_array().cloned().unwrap_or_default();
        let of = |pod: &Arc<Value>| {
            let all = [statuses(pod, "initContainerStatuses"), statuses(pod, "containerStatuses")].concat();
            all.iter().filter_map(|status| status["restartCount"].as_i64()).sum::<i64>()
        };
        self.active().map(of).sum()
    }

    /// Seconds left of `activeDeadlineSeconds`.
    fn remaining(&self) -> Option<i64> {
        let started = &self.job["status"]["startTime"];
        let deadline = self.spec("activeDeadlineSeconds").filter(|_| started.is_string())?;
        Some(deadline - object::seconds_since(started))
    }

    fn watch_deadline(&self) {
        let left = self.remaining().or(self.spec("activeDeadlineSeconds"));
        if let Some(seconds) = left.and_then(|seconds| u64::try_from(seconds).ok()) {
            self.context.queue.add_after(self.key(), Duration::from_secs(seconds));
        }
    }

    fn key(&self) -> Key {
        let (namespace, name) = names(self.job);
        Key::new(Controller::Job, &namespace, &name)
    }

    fn start_pods(&self) {
        let active = i64::try_from(self.active().count()).unwrap_or(i64::MAX);
        let wanted = match self.spec("completions") {
            Some(completions) => min(self.parallelism(), completions - self.succeeded),
            None if self.succeeded > 0 => active,
            None => self.parallelism(),
        };
        if active >= wanted {
            return;
        }
        if !self.wait.is_zero() {
            return self.context.queue.add_after(self.key(), self.wait);
        }
        for _ in active..wanted {
            let name = self.context.generated_name(&JOB, self.job);
            let pod = object::pod_from(&self.job["spec"]["template"], &JOB, self.job, &name);
            match object::create(&self.context.store, &POD, pod) {
                Ok(_) => self.context.record(self.job, "Normal", "SuccessfulCreate", &format!("Created pod: {name}")),
                Err(error) => self.context.record(self.job, "Warning", "FailedCreate", &error.to_string()),
            }
        }
    }

    fn delete_active(&self) {
        for pod in self.active() {
            let (namespace, name) = names(pod);
            let options = DeleteOptions { propagation: Propagation::Background, grace: None };
            // Gone in the meantime is as good.
            let _ = self.context.store.delete(&POD, &namespace, &name, options);
        }
    }

    fn write_status(&self, end: Option<&End>) {
        let pods = object::controlled(&self.context.store, &POD, self.job);
        let active = if end.is_some() { 0 } else { pods.iter().filter(|pod| object::is_active(pod)).count() };
        let ready = pods.iter().filter(|pod| object::is_active(pod) && is_ready(pod)).count();
        let suspended = self.job["spec"]["suspend"] == true;
        object::write_status(&self.context.store, &JOB, self.job, |status| {
            for (field, value) in [("succeeded", self.succeeded), ("failed", self.failed)] {
                if value > 0 {
                    status[field] = json!(value);
                }
            }
            status["active"] = json!(active);
            status["ready"] = json!(ready);
            if suspended {
                drop(status.as_object_mut().map(|status| status.remove("startTime")));
            } else if !status["startTime"].is_string() {
                status["startTime"] = json!(now());
            }
            if suspended || object::has_condition(&json!({"status": status.clone()}), "Suspended") {
                let (reason, message) =
                    if suspended { ("JobSuspended", "Job suspended") } else { ("JobResumed", "Job resumed") };
                object::set_condition(status, "Suspended", suspended, reason, message);
            }
            if let Some(end) = end {
                object::set_condition(status, end.condition, true, end.reason, &end.message);
                if end.condition == "Complete" {
                    status["completionTime"] = json!(now());
                }
            }
        });
    }
}

/// Deletes a finished job once its `ttlSecondsAfterFinished` have passed.
fn expire(context: &Context, job: &Value) {
    let Some(ttl) = job["spec"]["ttlSecondsAfterFinished"].as_i64() else { return };
    let ended = ["Complete", "Failed"].iter().find_map(|name| object::condition_of(job, name));
    let age = ended.map_or(0, |condition| object::seconds_since(&condition["lastTransitionTime"]));
    let (namespace, name) = names(job);
    if age >= ttl {
        let options = DeleteOptions { propagation: Propagation::Background, grace: None };
        // Gone in the meantime is as good.
        let _ = context.store.delete(&JOB, &namespace, &name, options);
        return;
    }
    let left = Duration::from_secs(u64::try_from(ttl - age).unwrap_or(1));
    context.queue.add_after(Key::new(Controller::Job, &namespace, &name), left);
}
