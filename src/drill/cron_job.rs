//! The scheduled backup: one run of a CronJob, as its clock would start it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::drill::ran::Ran;
use crate::drill::record::Record;
use crate::drill::stage::Stage;
use crate::kubernetes::{self, Kubernetes, KubernetesError, wait_for};
use crate::outcome::StepResult;
use crate::plan::PlannedStep;
use crate::scenario::ObjectName;

/// A backup that takes longer than this has not been waited for.
const DEADLINE: Duration = Duration::from_secs(3600);

/// Makes a Job from the CronJob's template, owned by it, and waits for its end.
pub async fn run(stage: &Stage, record: &Record, step: &PlannedStep, object: &ObjectName) -> Ran {
    let name = format!("{}-drill", object.name);
    let mut ran = Ran::unseen(step, StepResult::Succeeded);
    ran.command = format!("cron job {object}, one run");
    let (result, log) = match start_and_wait(stage, object, &name).await {
        Ok(Some(end)) => end,
        Ok(None) => {
            let reason = format!("there is no CronJob {object}");
            (StepResult::Failed { reason, exit: None }, String::new())
        }
        Err(error) => {
            let remedy = "run the drill again".to_owned();
            (StepResult::Unverified { reason: crate::error::chain(&error), remedy }, String::new())
        }
    };
    let log = record.redactor.redact(&log);
    if !matches!(result, StepResult::Succeeded) {
        ran.tail = Some(log.clone());
    }
    ran.log = stage.logs.keep(step, &log);
    ran.result = result;
    ran
}

async fn start_and_wait(
    stage: &Stage,
    object: &ObjectName,
    name: &str,
) -> Result<Option<(StepResult, String)>, KubernetesError> {
    let kubernetes = stage.cluster_of(object);
    let Some(cron_job) = kubernetes.get(("batch/v1", "CronJob"), &object.namespace, &object.name).await? else {
        return Ok(None);
    };
    kubernetes.create(&job_of(&cron_job, name)).await?;
    let what = format!("job {}/{name} ended", object.namespace);
    let mut logs = JobLogs::default();
    let result = wait_for(&what, DEADLINE, async || {
        logs.look(kubernetes, &object.namespace, name).await?;
        let job = kubernetes.get(kubernetes::JOB, &object.namespace, name).await?;
        Ok(job.as_ref().and_then(end_of).ok_or_else(|| logs.progress()))
    })
    .await?;
    logs.look(kubernetes, &object.namespace, name).await?;
    Ok(Some((result, logs.text)))
}

/// What the containers of a job printed until they ended. Read while the job runs, because a job that gives up deletes the
/// pod that it restarted.
#[derive(Default)]
struct JobLogs {
    /// How many containers have ended, as far as was seen; more than one where they were restarted.
    ended: i64,
    text: String,
}

impl JobLogs {
    async fn look(&mut self, kubernetes: &Kubernetes, namespace: &str, job: &str) -> Result<(), KubernetesError> {
        let mut pods = kubernetes.list(kubernetes::POD, namespace).await?;
        pods.retain(|pod| pod["metadata"]["labels"]["job-name"] == *job);
        let ended = pods.iter().map(ends).sum::<i64>();
        if ended <= self.ended && !self.text.is_empty() {
            return Ok(());
        }
        self.ended = self.ended.max(ended);
        let mut text = String::new();
        for pod in pods.iter().filter(|pod| ends(pod) > 0) {
            let pod = pod["metadata"]["name"].as_str().unwrap_or_default();
            match kubernetes.log(namespace, pod).await {
                Ok(log) => text.push_str(&log),
                // Deleted since it was listed: what was read before is all there is.
                Err(error) if error.is_answer() => {}
                Err(error) => return Err(error),
            }
        }
        // A container that was just started again has printed nothing yet.
        if !text.trim().is_empty() {
            self.text = text;
        }
        Ok(())
    }

    fn progress(&self) -> String {
        match self.ended {
            0 => "still running".to_owned(),
            times => format!("its container has ended {times} times without success"),
        }
    }
}

/// How often containers of this pod have ended.
fn ends(pod: &Value) -> i64 {
    let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    statuses
        .map(|status| {
            let restarts = status["restartCount"].as_i64().unwrap_or_default();
            let terminated = |state: &str| status[state]["terminated"].is_object();
            let runs = status["state"]["running"].is_object();
            restarts + i64::from(terminated("state") || (terminated("lastState") && !runs))
        })
        .sum()
}

fn job_of(cron_job: &Value, name: &str) -> Value {
    let template = &cron_job["spec"]["jobTemplate"];
    let mut metadata = template.get("metadata").cloned().unwrap_or_else(|| json!({}));
    metadata["name"] = json!(name);
    metadata["namespace"] = cron_job["metadata"]["namespace"].clone();
    metadata["ownerReferences"] = json!([{
        "apiVersion": "batch/v1", "kind": "CronJob", "controller": true, "blockOwnerDeletion": true,
        "name": cron_job["metadata"]["name"], "uid": cron_job["metadata"]["uid"],
    }]);
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]})
}

fn end_of(job: &Value) -> Option<StepResult> {
    let mut conditions = job["status"]["conditions"].as_array().into_iter().flatten();
    let ended = conditions.find(|condition| {
        condition["status"] == "True" && (condition["type"] == "Complete" || condition["type"] == "Failed")
    })?;
    Some(match ended["type"] == "Complete" {
        true => StepResult::Succeeded,
        false => {
            let reason = ended["message"].as_str().unwrap_or("the job failed").to_owned();
            StepResult::Failed { reason, exit: None }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_of_a_container_counts_once() {
        let ended = json!({"terminated": {"exitCode": 1}});
        let states = [
            (json!({"waiting": {"reason": "ContainerCreating"}}), json!({}), 0, 0),
            (json!({"running": {}}), json!({}), 0, 0),
            (json!({"waiting": {"reason": "CrashLoopBackOff"}}), ended.clone(), 0, 1),
            (json!({"running": {}}), ended.clone(), 1, 1),
            (ended.clone(), ended, 1, 2),
        ];
        for (state, last, restarts, expected) in states {
            let status = json!({"state": state, "lastState": last, "restartCount": restarts});
            assert_eq!(ends(&json!({"status": {"containerStatuses": [status]}})), expected, "{status}");
        }
    }
}
