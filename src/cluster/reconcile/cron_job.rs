//! CronJob: keeps the list of its jobs and its history. Its schedule fires only when the cluster is told to
//! ([`super::Config::fire_schedules`]): a backup that starts by the wall clock in the middle of a drill would make
//! its outcome depend on the time of day. A scheduled backup is drilled by `kubectl create job --from=cronjob/x`.

use std::sync::Arc;
use std::time::Duration;

use jiff::Zoned;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::Context;
use super::object::{self, has_condition};
use super::queue::{Controller, Key};
use super::schedule::Schedule;
use crate::cluster::kind::{CRON_JOB, JOB};
use crate::cluster::store::{DeleteOptions, Propagation, is_deleting, names};

pub fn reconcile(context: &Context, namespace: &str, name: &str) {
    let Some(cron_job) = context.store.get(&CRON_JOB, namespace, name) else { return };
    if is_deleting(&cron_job) {
        return;
    }
    let jobs = object::controlled(&context.store, &JOB, &cron_job);
    forget_history(context, &cron_job, &jobs);
    let fired = fire(context, &cron_job, &jobs);
    write_status(context, &cron_job, fired);
}

fn is_finished(job: &Value) -> bool {
    has_condition(job, "Complete") || has_condition(job, "Failed")
}

/// Deletes finished jobs beyond the history limits, the oldest first.
fn forget_history(context: &Context, cron_job: &Value, jobs: &[Arc<Value>]) {
    for (condition, field, default) in
        [("Complete", "successfulJobsHistoryLimit", 3), ("Failed", "failedJobsHistoryLimit", 1)]
    {
        let limit = usize::try_from(cron_job["spec"][field].as_u64().unwrap_or(default)).unwrap_or(usize::MAX);
        let mut ended: Vec<_> = jobs.iter().filter(|job| has_condition(job, condition)).collect();
        ended.sort_by_key(|job| job["status"]["startTime"].as_str().unwrap_or_default().to_owned());
        let surplus = ended.len().saturating_sub(limit);
        for job in &ended[..surplus] {
            delete(context, job);
        }
    }
}

fn delete(context: &Context, job: &Value) {
    let (namespace, name) = names(job);
    let options = DeleteOptions { propagation: Propagation::Background, grace: None };
    // Gone in the meantime is as good.
    let _ = context.store.delete(&JOB, &namespace, &name, options);
}

/// Starts the job that is due, if schedules fire at all; gives its scheduled time.
fn fire(context: &Context, cron_job: &Value, jobs: &[Arc<Value>]) -> Option<String> {
    let text = cron_job["spec"]["schedule"].as_str().unwrap_or_default();
    let schedule = match Schedule::parse(text) {
        Ok(schedule) => schedule,
        Err(error) => {
            context.record(cron_job, "Warning", "UnparseableSchedule", &error.to_string());
            return None;
        }
    };
    if !context.fire_schedules || cron_job["spec"]["suspend"] == true {
        return None;
    }
    let zone = match cron_job["spec"]["timeZone"].as_str().map_or(Ok(TimeZone::UTC), TimeZone::get) {
        Ok(zone) => zone,
        Err(error) => {
            context.record(cron_job, "Warning", "UnknownTimeZone", &error.to_string());
            return None;
        }
    };
    let last = ["status", "metadata"].iter().zip(["lastScheduleTime", "creationTimestamp"]);
    let last = last.filter_map(|(part, field)| cron_job[*part][field].as_str()).next()?;
    let last: jiff::Timestamp = last.parse().ok()?;
    let now = jiff::Timestamp::now().to_zoned(zone.clone());
    let due = latest_due(&schedule, last.to_zoned(zone), &now);
    if let Some(next) = schedule.next(&now) {
        let wait = Duration::try_from(next.duration_since(&now)).unwrap_or_default();
        let (namespace, name) = names(cron_job);
        context.queue.add_after(Key::new(Controller::CronJob, &namespace, &name), wait);
    }
    start(context, cron_job, jobs, &due?)
}

/// The last due moment after `last` up to `now`: missed ones in between are not made up for.
fn latest_due(schedule: &Schedule, last: Zoned, now: &Zoned) -> Option<Zoned> {
    let mut due = None;
    let mut at = last;
    while let Some(next) = schedule.next(&at).filter(|next| next <= now) {
        due = Some(next.clone());
        at = next;
    }
    due
}

fn start(context: &Context, cron_job: &Value, jobs: &[Arc<Value>], due: &Zoned) -> Option<String> {
    let running: Vec<_> = jobs.iter().filter(|job| !is_finished(job)).collect();
    match cron_job["spec"]["concurrencyPolicy"].as_str() {
        Some("Forbid") if !running.is_empty() => {
            let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
            context.record(cron_job, "Normal", "JobAlreadyActive", message);
            return None;
        }
        Some("Replace") => running.iter().for_each(|job| delete(context, job)),
        Some(_) | None => {}
    }
    let (namespace, name) = names(cron_job);
    let template = &cron_job["spec"]["jobTemplate"];
    let job_name = format!("{name}-{}", due.timestamp().as_second() / 60);
    let job = json!({
        "metadata": {
            "name": job_name,
            "namespace": namespace,
            "labels": template["metadata"]["labels"],
            "annotations": template["metadata"]["annotations"],
            "ownerReferences": [object::controller_reference(&CRON_JOB, cron_job)],
        },
        "spec": template["spec"],
    });
    match object::create(&context.store, &JOB, job) {
        Ok(_) => context.record(cron_job, "Normal", "SuccessfulCreate", &format!("Created job {job_name}")),
        Err(error) => context.record(cron_job, "Warning", "FailedCreate", &error.to_string()),
    }
    Some(due.timestamp().strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

fn write_status(context: &Context, cron_job: &Value, fired: Option<String>) {
    let jobs = object::controlled(&context.store, &JOB, cron_job);
    let reference = |job: &Arc<Value>| {
        let (namespace, name) = names(job);
        json!({"apiVersion": "batch/v1", "kind": "Job", "name": name, "namespace": namespace, "uid": job["metadata"]["uid"]})
    };
    let active: Vec<Value> = jobs.iter().filter(|job| !is_finished(job)).map(reference).collect();
    let succeeded = jobs.iter().filter_map(|job| job["status"]["completionTime"].as_str()).max();
    object::write_status(&context.store, &CRON_JOB, cron_job, |status| {
        drop(status.as_object_mut().map(|status| status.remove("active")));
        if !active.is_empty() {
            status["active"] = json!(active);
        }
        if let Some(time) = &fired {
            status["lastScheduleTime"] = json!(time);
        }
        if let Some(time) = succeeded {
            status["lastSuccessfulTime"] = json!(time);
        }
    });
}
