//! What the account holds, and what of it a person who looks would wait for.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, Notify};

use super::disturbance::Watch;
use super::job::{BackupJob, RecoveryPoint, RestoreJob};
use super::task::{Definition, Status, Task};
use crate::drill::pace::UNDER_WAY;
use crate::kubernetes::{self, Kubernetes, KubernetesError};
use crate::store::s3::Credentials;
use crate::system::cloud_formation::{Identity, Service, Stack};

/// By which the endpoint's pod says how its services are: a list of [`ServiceState`].
pub const SERVICES: &str = "redrill.dev/ecs-services";

/// How a service is, for whoever looks at it from outside.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ServiceState {
    pub name: String,
    pub desired: u32,
    /// Tasks of the newest definition that serve.
    pub serving: u32,
    /// Whether the last deployment is over.
    pub steady: bool,
    /// What the service said last.
    pub last_event: String,
    /// Why it has no task and none can start: a directory is not there, which nobody makes by itself.
    pub cannot_start: Option<String>,
}

impl ServiceState {
    /// What it lacks, if anything.
    pub fn shortfall(&self) -> Option<String> {
        let Self { name, desired, serving, steady, last_event, cannot_start: _ } = self;
        (!steady || serving != desired).then(|| {
            format!("ECS service {name} has {serving} of {desired} tasks of its newest definition: {last_event}")
        })
    }
}

/// What the endpoint was started with.
pub struct Settings {
    pub namespace: String,
    /// Of the endpoint itself.
    pub pod: String,
    /// Every file system, by its claim.
    pub efs: PathBuf,
    /// What recovery points hold.
    pub vault: PathBuf,
    pub credentials: Credentials,
    pub parameters: BTreeMap<String, String>,
}

pub struct Account {
    pub settings: Settings,
    pub identity: Identity,
    pub kubernetes: Kubernetes,
    /// Told when the scheduler has something to look at.
    pub changed: Notify,
    state: Mutex<State>,
}

/// A moment in the life of a stack or of a service.
#[derive(Debug, Clone)]
pub struct Event {
    pub at: Timestamp,
    pub id: String,
    /// Logical name; empty for a service's own.
    pub resource: String,
    pub status: String,
    pub message: String,
}

pub struct State {
    pub stack: Stack,
    pub template: String,
    pub stack_status: &'static str,
    pub created: Timestamp,
    pub updated: Option<Timestamp>,
    /// Newest first, as the service has them.
    pub stack_events: VecDeque<Event>,
    pub definitions: Vec<Definition>,
    /// What the newest deployment runs, index of a definition.
    pub newest: usize,
    pub deployed: Timestamp,
    /// Of the newest deployment, one after the other.
    pub failed: u32,
    /// When the next task may be started: the longer the more have failed.
    pub not_before: Timestamp,
    /// The newest deployment waits for a person: its ports are taken, or its tasks fail.
    pub stuck: bool,
    /// There is no task, and a directory that the next one mounts is not there.
    pub cannot_start: Option<String>,
    pub steady: bool,
    pub service_events: VecDeque<Event>,
    /// Oldest first; those that have stopped stay.
    pub tasks: Vec<Task>,
    pub points: Vec<RecoveryPoint>,
    pub backup_jobs: Vec<BackupJob>,
    pub restore_jobs: Vec<RestoreJob>,
    pub watch: Option<Watch>,
    count: u64,
    published: Option<Value>,
}

impl Account {
    pub fn new(settings: Settings, kubernetes: Kubernetes, stack: Stack, template: String) -> Self {
        let now = Timestamp::now();
        let identity = stack.identity.clone();
        let mut state = State {
            stack_status: "CREATE_IN_PROGRESS",
            created: now,
            updated: None,
            stack_events: VecDeque::new(),
            definitions: Vec::new(),
            newest: 0,
            deployed: now,
            failed: 0,
            not_before: now,
            stuck: false,
            cannot_start: None,
            steady: false,
            service_events: VecDeque::new(),
            tasks: Vec::new(),
            points: Vec::new(),
            backup_jobs: Vec::new(),
            restore_jobs: Vec::new(),
            watch: None,
            count: 0,
            published: None,
            stack,
            template,
        };
        state.register();
        state.stack_event("CREATE_IN_PROGRESS", "User Initiated");
        Self { settings, identity, kubernetes, changed: Notify::new(), state: Mutex::new(state) }
    }

    pub async fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().await
    }

    /// Says on the endpoint's own pod what is under way, before anybody is answered: who looks next sees it.
    pub async fn publish(&self, state: &mut State) -> Result<(), KubernetesError> {
        let services: Vec<ServiceState> = state.service_state().into_iter().collect();
        let services = serde_json::to_string(&services).unwrap_or_default();
        let annotations = json!({UNDER_WAY: state.under_way(), SERVICES: services});
        if state.published.as_ref() != Some(&annotations) {
            let patch = json!({"metadata": {"annotations": annotations}});
            let Settings { namespace, pod, .. } = &self.settings;
            self.kubernetes.patch(kubernetes::POD, namespace, pod, &patch).await?;
            state.published = Some(annotations);
        }
        Ok(())
    }
}

impl State {
    /// The service of the stack, if it has one.
    pub fn service(&self) -> Option<&Service> {
        self.stack.services.values().next()
    }

    /// A name that nothing else has, the same in every run that does the same.
    pub fn new_id(&mut self) -> String {
        self.count += 1;
        let text = format!("{} {}", self.stack.identity.stack_arn(), self.count);
        blake3::hash(text.as_bytes()).to_hex()[..32].to_owned()
    }

    /// The same, as a UUID.
    pub fn new_uuid(&mut self) -> String {
        let id = self.new_id();
        format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..])
    }

    /// Registers the service's definition unless the newest is the same. Returns whether it is a new one.
    pub fn register(&mut self) -> bool {
        let Some(task) = self.service().and_then(|service| self.stack.tasks.get(&service.task)).cloned() else {
            return false;
        };
        if self.definitions.get(self.newest).is_some_and(|newest| newest.task == task) {
            return false;
        }
        self.definitions.push(Definition { revision: self.definitions.len() + 1, task });
        self.newest = self.definitions.len() - 1;
        true
    }

    /// Begins a deployment of the newest definition.
    pub fn deploy(&mut self) {
        let now = Timestamp::now();
        (self.deployed, self.not_before, self.failed) = (now, now, 0);
        (self.stuck, self.steady) = (false, false);
    }

    pub fn stack_event(&mut self, status: &'static str, message: &str) {
        self.stack_status = status;
        let (id, resource) = (self.new_uuid(), self.stack.identity.stack.clone());
        let event =
            Event { at: Timestamp::now(), id, resource, status: status.to_owned(), message: message.to_owned() };
        self.stack_events.push_front(event);
    }

    /// Says something of the service, unless that was the last thing it said.
    pub fn service_event(&mut self, message: String) {
        if self.service_events.front().is_none_or(|last| last.message != message) {
            let id = self.new_uuid();
            let event = Event { at: Timestamp::now(), id, resource: String::new(), status: String::new(), message };
            self.service_events.push_front(event);
        }
    }

    pub fn service_state(&self) -> Option<ServiceState> {
        let service = self.service()?;
        let serving = self.tasks.iter().filter(|task| task.definition == self.newest && task.serves()).count();
        Some(ServiceState {
            name: service.name.clone(),
            desired: service.desired,
            serving: u32::try_from(serving).unwrap_or(u32::MAX),
            steady: self.steady,
            last_event: self.service_events.front().map(|event| event.message.clone()).unwrap_or_default(),
            cannot_start: self.cannot_start.clone(),
        })
    }

    /// What goes on by itself and ends by itself, in words that stay the same while it does.
    fn under_way(&self) -> Option<String> {
        let mut words = Vec::new();
        let stopping = self.tasks.iter().any(|task| task.status == Status::Stopping);
        if let Some(service) = self.service()
            && ((!self.steady && !self.stuck) || stopping)
        {
            words.push(format!("ECS service {} at rest", service.name));
        }
        if self.backup_jobs.iter().any(|job| job.ended.is_none()) {
            words.push("backup job ended".to_owned());
        }
        if self.restore_jobs.iter().any(|job| job.ended.is_none()) {
            words.push("restore job ended".to_owned());
        }
        (!words.is_empty()).then(|| words.join(", "))
    }
}
