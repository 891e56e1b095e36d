//! The scheduler of the one container instance: has as many tasks run as the service wants, and takes a deployment on as far as its
//! ports and percentages let it.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::account::{Account, State};
use super::task::{self, Observed, Status, Task};
use crate::kubernetes::{self, KubernetesError};
use crate::system::cloud_formation::Service;
use crate::system::cloud_formation::object::SERVICE_LABEL;

/// Between two looks at pods, which nobody tells of.
const LOOK: Duration = Duration::from_millis(150);
/// So many of a deployment's tasks fail in a row before it counts as one that a person has to look at. It is tried on all the same.
const STUCK: u32 = 3;
/// Stopped tasks that are still told of.
const REMEMBERED: usize = 50;

/// Goes on until the endpoint ends. What the cluster refuses is tried again at the next look.
pub async fn run(account: Arc<Account>) {
    loop {
        let mut state = account.state().await;
        if let Err(error) = look(&account, &mut state).await {
            tracing::warn!("look at tasks: {}", crate::error::chain(&error));
        }
        drop(state);
        // Told of a change or not: pods change by themselves.
        let _ = tokio::time::timeout(LOOK, account.changed.notified()).await;
    }
}

/// Takes over how tasks are, then does the next thing.
pub async fn look(account: &Account, state: &mut State) -> Result<(), KubernetesError> {
    let Some(service) = state.service().cloned() else { return ended(account, state).await };
    let pods = account.kubernetes.list(kubernetes::POD, &account.settings.namespace).await?;
    observe(account, state, &service, &pods).await?;
    decide(account, state, &service).await?;
    ended(account, state).await
}

async fn ended(account: &Account, state: &mut State) -> Result<(), KubernetesError> {
    if state.steady || state.service().is_none() {
        state.steady = true;
        match state.stack_status {
            "CREATE_IN_PROGRESS" => state.stack_event("CREATE_COMPLETE", ""),
            "UPDATE_IN_PROGRESS" => state.stack_event("UPDATE_COMPLETE", ""),
            _ => {}
        }
    }
    account.publish(state).await
}

async fn observe(
    account: &Account,
    state: &mut State,
    service: &Service,
    pods: &[Value],
) -> Result<(), KubernetesError> {
    let now = Timestamp::now();
    let (mut to_stop, mut gone) = (Vec::new(), Vec::new());
    for task in state.tasks.iter_mut().filter(|task| task.is_there()) {
        let name = task.pod(&service.name);
        let pod = pods
            .iter()
            .find(|pod| pod["metadata"]["name"] == *name && pod["metadata"]["labels"].get(SERVICE_LABEL).is_some());
        let Some(definition) = state.definitions.get(task.definition) else { continue };
        let (served, before) = (task.serves(), task.status);
        match task::observe(task, definition, pod, now) {
            Observed::GoesOn if !served && task.serves() && task.definition == state.newest => state.failed = 0,
            Observed::GoesOn => {}
            Observed::HasToStop => to_stop.push(task.id.clone()),
            Observed::Ended if before < Status::Stopping => gone.push(task.id.clone()),
            Observed::Ended => {}
        }
    }
    for id in gone {
        failed(state, &id);
    }
    for id in to_stop {
        failed(state, &id);
        stop(account, state, service, &id).await?;
    }
    let stopped = state.tasks.iter().filter(|task| !task.is_there()).count();
    if let Some(first) = state.tasks.iter().position(|task| !task.is_there()).filter(|_| stopped > REMEMBERED) {
        state.tasks.remove(first);
    }
    Ok(())
}

/// A task of the newest deployment that ended by itself puts the next one off: one second, two, four, up to a minute.
fn failed(state: &mut State, id: &str) {
    let is_newest = state.tasks.iter().any(|task| task.id == id && task.definition == state.newest);
    if is_newest {
        state.failed += 1;
        let seconds = 1i64 << state.failed.saturating_sub(1).min(6);
        state.not_before = Timestamp::now() + SignedDuration::from_secs(seconds.min(60));
        state.steady = false;
    }
}

/// Asks a task to end: as a pod is deleted, with its grace.
pub async fn stop(account: &Account, state: &mut State, service: &Service, id: &str) -> Result<(), KubernetesError> {
    let Some(task) = state.tasks.iter_mut().find(|task| task.id == id && task.status < Status::Stopping) else {
        return Ok(());
    };
    task.status = Status::Stopping;
    let name = task.pod(&service.name);
    account.kubernetes.delete(kubernetes::POD, &account.settings.namespace, &name).await
}

/// How many tasks of the newest definition and of older ones there are.
struct Counts {
    new_live: u32,
    new_serving: u32,
    old_live: u32,
    serving: u32,
    stopping: u32,
    /// One that there is no need of, older ones first.
    superfluous: Option<String>,
    has_old: bool,
}

impl Counts {
    fn of(state: &State, desired: u32) -> Self {
        let (new, old): (Vec<&Task>, Vec<&Task>) =
            state.tasks.iter().filter(|task| task.is_there()).partition(|task| task.definition == state.newest);
        let live = |task: &&&Task| task.status < Status::Stopping;
        let all = || new.iter().chain(&old);
        let new_live = count(new.iter().filter(live));
        let surplus = new_live.saturating_sub(desired) as usize;
        let superfluous = old.iter().filter(live).chain(new.iter().filter(live).take(surplus));
        Self {
            new_live,
            new_serving: count(new.iter().filter(|task| task.serves())),
            old_live: count(old.iter().filter(live)),
            serving: count(all().filter(|task| task.serves())),
            stopping: count(all().filter(|task| task.status == Status::Stopping)),
            superfluous: superfluous.map(|task| task.id.clone()).next(),
            has_old: !old.is_empty(),
        }
    }
}

async fn decide(account: &Account, state: &mut State, service: &Service) -> Result<(), KubernetesError> {
    let desired = service.desired;
    let counts = Counts::of(state, desired);
    // A minimum is rounded up, a maximum down.
    let least = desired.saturating_mul(service.minimum_healthy).div_ceil(100);
    let most = (desired.saturating_mul(service.maximum) / 100).max(1);
    let live = counts.new_live + counts.old_live;
    state.stuck = false;
    if counts.new_live < desired && live < most {
        start(account, state, service, counts.stopping).await?;
    }
    let may_stop = counts.serving > least && (counts.new_serving >= desired || live >= most);
    if let Some(id) = counts.superfluous.filter(|_| may_stop) {
        scaled_in(state, &id, service);
        stop(account, state, service, &id).await?;
    }
    let whole = counts.new_serving == desired && counts.new_live == desired;
    let is_steady = whole && !counts.has_old && counts.stopping == 0;
    if is_steady && !state.steady {
        state.service_event(format!("(service {}) has reached a steady state.", service.name));
    }
    state.steady = is_steady;
    state.stuck = state.stuck || state.failed >= STUCK;
    let newest = state.definitions.get(state.newest).filter(|_| !state.tasks.iter().any(Task::is_there));
    state.cannot_start =
        newest.and_then(|newest| task::missing_root(&newest.task, &state.stack, &account.settings.efs));
    Ok(())
}

fn scaled_in(state: &mut State, id: &str, service: &Service) {
    if let Some(task) = state.tasks.iter_mut().find(|task| task.id == id) {
        task.stop_code = Some("ServiceSchedulerInitiated");
        task.reason = Some(format!("Scaling activity initiated by (service {})", service.name));
    }
    state.service_event(format!("(service {}) has stopped 1 running tasks: (task {id}).", service.name));
}

/// Places one task of the newest definition, if the machine has its ports free and it may be tried by now.
async fn start(account: &Account, state: &mut State, service: &Service, stopping: u32) -> Result<(), KubernetesError> {
    let Some(definition) = state.definitions.get(state.newest).cloned() else { return Ok(()) };
    let others =
        state.tasks.iter().filter(|task| task.is_there()).filter_map(|task| state.definitions.get(task.definition));
    let taken: Vec<u16> = others.flat_map(|definition| task::host_ports(&definition.task)).collect();
    if let Some(port) = task::host_ports(&definition.task).find(|port| taken.contains(port)) {
        // Those that are on their way out give their ports back by themselves.
        state.stuck = stopping == 0;
        state.service_event(format!(
            "(service {}) was unable to place a task because no container instance met all of its requirements: \
             port {port} is in use on the only one.",
            service.name
        ));
        return Ok(());
    }
    let now = Timestamp::now();
    if now < state.not_before {
        return Ok(());
    }
    let id = state.new_id();
    let mut task = Task {
        id: id.clone(),
        definition: state.newest,
        status: Status::Pending,
        healthy: None,
        created: now,
        started: None,
        stopped: None,
        reason: None,
        stop_code: None,
        exit_codes: Default::default(),
        ran: false,
    };
    if let Some(reason) = task::missing_root(&definition.task, &state.stack, &account.settings.efs) {
        (task.status, task.stopped, task.stop_code) = (Status::Stopped, Some(now), Some("TaskFailedToStart"));
        task.reason = Some(reason.clone());
        state.tasks.push(task);
        failed(state, &id);
        state.service_event(format!("(service {}) is unable to start tasks: {reason}", service.name));
        return Ok(());
    }
    let pod = task::pod(&task, &definition, &state.stack, &service.name, &account.settings.namespace);
    state.tasks.push(task);
    state.service_event(format!("(service {}) has started 1 tasks: (task {id}).", service.name));
    account.kubernetes.create(&pod).await.map(drop)
}

fn count<T>(tasks: impl Iterator<Item = T>) -> u32 {
    u32::try_from(tasks.count()).unwrap_or(u32::MAX)
}
