//! The account that a stack is in: put up, made to run its plans, and asked whether it left the running service alone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::AsyncReadExt;

use crate::authority::Certificate;
use crate::drill::account::pod::{LABEL, lay_out_workstation, objects};
use crate::drill::ran::Ran;
use crate::drill::record::{Halt, Record};
use crate::drill::stage::{self, Stage};
use crate::drill::{Assignment, finding, pace};
use crate::environment::Environment;
use crate::kubernetes::{self, ExecRequest, KubernetesError, Terminal, wait_for};
use crate::outcome::{CheckKind, CheckResult, Phase, StepResult};
use crate::plan::PlannedStep;
use crate::redact::Secret;
use crate::scenario::{Aws, StackSystem};
use crate::store::aws::account::{SERVICES, ServiceState};
use crate::store::aws::control::{Reply, Request};
use crate::system::cloud_formation::Stack;

pub mod pod;

/// A plan that takes longer than this has not been waited for.
const DEADLINE: Duration = Duration::from_secs(3600);
/// How long the account may take until its stack is made.
const READY: Duration = Duration::from_secs(180);
/// Yesterday's backup: there is a choice, and the newest is not always the one.
const DAY: u32 = 24 * 3600;

/// What an account is made from.
pub struct Parts<'a> {
    pub name: &'a str,
    pub system: &'a StackSystem,
    pub stack: &'a Stack,
    pub template: String,
    pub parameters: BTreeMap<String, Secret>,
    pub access: Secret,
    pub secret: Secret,
    pub kubeconfig: Secret,
    pub certificate: Certificate,
}

/// Puts the account up, waits until its stack is made, and has every plan run once, as the day before.
pub async fn put_up(
    assignment: &Assignment<'_>,
    environment: &Environment,
    stage: &Stage,
    name: &str,
    aws: &Aws,
    certificate: Certificate,
) -> Result<(), Halt> {
    let system = assignment.scenario.system.stack.as_ref();
    let stack = assignment.systems.of(None).and_then(|system| system.stack());
    let (Some(system), Some(stack)) = (system, stack) else {
        return Err(Halt::unverified("an account without a stack", "name the template in the scenario"));
    };
    let template = std::fs::read_to_string(&system.source.template).map_err(|error| {
        Halt::unverified(format!("the template cannot be read: {error}"), "leave it alone while a drill starts")
    })?;
    let mut parameters = BTreeMap::new();
    for (parameter, from) in &system.parameters {
        parameters.insert(parameter.clone(), stage.values.secret(from).await?);
    }
    let parts = Parts {
        name,
        system,
        stack,
        template,
        parameters,
        access: stage.values.secret(&aws.access_key).await?,
        secret: stage.values.secret(&aws.secret_key).await?,
        kubeconfig: environment.operator_kubeconfig(),
        certificate,
    };
    stage::put_up(&stage.kubernetes, &objects(&parts)).await?;
    lay_out_workstation(&stage.kubernetes, aws, &parts).await?;
    steady(stage).await?;
    for plan in stack.plans.values() {
        let request = Request::RunPlan { name: plan.name.clone(), age: DAY };
        match ask(stage, &request).await? {
            Reply::Ran { failures, .. } if failures.is_empty() => {}
            other => {
                let reason = format!("the backup of the day before did not succeed: {other:?}");
                return Err(Halt::unverified(reason, "look at the log of the account's pod"));
            }
        }
    }
    Ok(())
}

/// Waits until nothing of the account is under way and its services are as they should be.
async fn steady(stage: &Stage) -> Result<(), Halt> {
    let waited = wait_for("the stack is made", READY, async || {
        let mut lacking = Vec::new();
        for pod in account_pods(stage).await? {
            lacking.extend(pod["metadata"]["annotations"][pace::UNDER_WAY].as_str().map(str::to_owned));
            lacking.extend(states(&pod).iter().filter_map(ServiceState::shortfall));
        }
        Ok(if lacking.is_empty() { Ok(()) } else { Err(lacking.join("; ")) })
    });
    match waited.await {
        Ok(()) => Ok(()),
        Err(error @ KubernetesError::Deadline { .. }) => {
            let pods = stage.pod_states().await?;
            let reason = format!("the system is not ready: {} ({pods})", crate::error::chain(&error));
            Err(Halt::unverified(reason, "look at the template and at the images that it names"))
        }
        Err(error) => Err(error.into()),
    }
}

async fn account_pods(stage: &Stage) -> Result<Vec<Value>, KubernetesError> {
    let mut found = Vec::new();
    for site in &stage.sites {
        found.extend(site.list(&[kubernetes::POD]).await?);
    }
    found.retain(|pod| pod["metadata"]["labels"].get(LABEL).is_some());
    Ok(found)
}

fn states(pod: &Value) -> Vec<ServiceState> {
    let said = pod["metadata"]["annotations"][SERVICES].as_str();
    said.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Every service of the system's stack; none where it is no stack.
pub async fn services(stage: &Stage) -> Result<Vec<ServiceState>, KubernetesError> {
    Ok(account_pods(stage).await?.iter().flat_map(states).collect())
}

/// Why a service of the system's stack runs nothing and never will unless somebody does something about it; `None` while anything is
/// under way.
pub async fn cannot_start(stage: &Stage) -> Result<Option<String>, KubernetesError> {
    let pods = account_pods(stage).await?;
    if pods.iter().any(|pod| pod["metadata"]["annotations"][pace::UNDER_WAY].is_string()) {
        return Ok(None);
    }
    let mut services = pods.iter().flat_map(states);
    Ok(services.find_map(|service| {
        Some(format!("ECS service {} cannot start a task: {}", service.name, service.cannot_start?))
    }))
}

/// One run of a plan, as its clock would start it.
pub async fn run_plan(stage: &Stage, step: &PlannedStep, name: &str) -> Ran {
    let mut ran = Ran::unseen(step, StepResult::Succeeded);
    ran.command = format!("backup plan {name}, one run");
    let request = Request::RunPlan { name: name.to_owned(), age: 0 };
    ran.result = match ask(stage, &request).await {
        Ok(Reply::Ran { jobs, failures }) if failures.is_empty() => {
            ran.log = stage.logs.keep(step, &format!("{jobs} backup jobs completed\n"));
            StepResult::Succeeded
        }
        Ok(Reply::Ran { failures, .. }) => StepResult::Failed { reason: failures.join("; "), exit: None },
        Ok(Reply::NoSuchPlan) => StepResult::Failed { reason: format!("there is no plan {name} any more"), exit: None },
        Ok(other) => unexpected(&other).into(),
        Err(halt) => halt.into(),
    };
    ran
}

/// Restores that were done before the loss are not this drill's: another one has to follow.
pub async fn begin_to_watch(stage: &Stage) -> Result<(), Halt> {
    if account_pods(stage).await?.is_empty() {
        return Ok(());
    }
    match ask(stage, &Request::Forget).await? {
        Reply::Forgotten => Ok(()),
        other => Err(unexpected(&other)),
    }
}

/// The running service is left alone by a restore until the switch to what was restored: its tasks serve on, and none of its files
/// turns into the backup's.
pub async fn check_undisturbed(stage: &Stage, record: &mut Record) {
    let started = Instant::now();
    if account_pods(stage).await.is_ok_and(|pods| pods.is_empty()) {
        return;
    }
    let finding = ask(stage, &Request::Undisturbed).await.and_then(|reply| match reply {
        Reply::Disturbed { by } => {
            let detail =
                "from the restore job to the deployment, by its tasks and by every file of the backup".to_owned();
            Ok(match by.is_empty() {
                true => (CheckResult::Held, detail),
                false => (CheckResult::Differs { difference: by.join("; ") }, detail),
            })
        }
        Reply::NoRestoreJob => {
            Ok((CheckResult::NotRun { reason: "no restore job was started".to_owned() }, String::new()))
        }
        other => Err(unexpected(&other)),
    });
    let name = "the running service is undisturbed until the switch";
    finding::write(record, name, CheckKind::Other, Phase::Restore, started, finding);
}

fn unexpected(reply: &Reply) -> Halt {
    Halt::unverified(format!("the account answered something else: {reply:?}"), "report it as a defect of redrill")
}

/// Asks the account's own program in its pod.
async fn ask(stage: &Stage, request: &Request) -> Result<Reply, Halt> {
    let failed = |reason: String| Halt::unverified(format!("ask the account: {reason}"), "look at the log of its pod");
    let pods = account_pods(stage).await?;
    let Some(pod) = pods.first() else { return Err(failed("its pod is gone".to_owned())) };
    let name = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
    let request = serde_json::to_string(request).map_err(|error| failed(error.to_string()))?;
    let argv = ["redrill", "__aws", "--ask", &request];
    let exec = ExecRequest {
        namespace: name("namespace"),
        pod: name("name"),
        container: None,
        argv: &argv,
        terminal: Terminal::No,
    };
    let (exit, (stdin, mut stdout)) = stage.kubernetes.exec(&exec).await?.split();
    drop(stdin);
    let mut said = String::new();
    let answered = tokio::time::timeout(DEADLINE, async {
        let read = stdout.read_to_string(&mut said).await;
        (read, exit.await)
    });
    match answered.await {
        Ok((Ok(_), Some(0))) => serde_json::from_str(&said).map_err(|error| failed(format!("{error}: {said}"))),
        Ok((_, exit)) => Err(failed(format!("exit {exit:?}: {said}"))),
        Err(_) => Err(failed(format!("no answer after {}s", DEADLINE.as_secs()))),
    }
}
