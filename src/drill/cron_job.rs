//! The scheduled backup: one run of a CronJob, as its clock would start it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::drill::ran::Ran;
use crate::drill::record::Record;
use crate::drill::stage::Stage;
use crate::kubernetes::{self, KubernetesError, wait_for};
use crate::outcome::StepResult;
use crate::plan::PlannedStep;
use crate::scenario::ObjectName;

/// A backup that takes longer than this has not been waited for.
const DEADLINE: Duration = Duration::from_secs(3600);

/// Makes a Job from the CronJob's template, owned by it, and waits for its end.
pub async fn run(stage: &Stage, record: &Record, step: &PlannedStep, object: &ObjectName) -> Ran {
    let name = format!("{}-drill", object.name);
    let mut ran = Ran::unseen(step, StepResult::Succeeded);
    ran.command = format!("cron job {}/{}, one run", object.namespace, object.name);
    let (result, log) = match start_and_wait(stage, object, &name).await {
        Ok(Some(end)) => end,
        Ok(None) => {
            let reason = format!("there is no CronJob {}/{}", object.namespace, object.name);
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
    let kubernetes = &stage.kubernetes;
    let Some(cron_job) = kubernetes.get(("batch/v1", "CronJob"), &object.namespace, &object.name).await? else {
        return Ok(None);
    };
    kubernetes.create(&job_of(&cron_job, name)).await?;
    let what = format!("job {}/{name} ended", object.namespace);
    let result = wait_for(&what, DEADLINE, async || {
        let job = kubernetes.get(kubernetes::JOB, &object.namespace, name).await?;
        Ok(job.as_ref().and_then(end_of).ok_or_else(|| "still running".to_owned()))
    })
    .await?;
    let mut log = String::new();
    for pod in kubernetes.list(kubernetes::POD, &object.namespace).await? {
        if pod["metadata"]["labels"]["job-name"] == *name {
            let pod = pod["metadata"]["name"].as_str().unwrap_or_default();
            log.push_str(&kubernetes.log(&object.namespace, pod).await?);
        }
    }
    Ok(Some((result, log)))
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
