//! Tasks: what a definition is as a pod, and how one goes.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::system::cloud_formation::{Container, HealthCheck, Stack, TaskDefinition, VolumeSource, object};

/// A revision of a task definition, as it was registered.
#[derive(Debug, Clone)]
pub struct Definition {
    pub revision: usize,
    pub task: TaskDefinition,
}

impl Definition {
    /// `family:revision`
    pub fn name(&self) -> String {
        format!("{}:{}", self.task.family, self.revision)
    }
}

/// Where a task is on its way; the service's own words are in `word`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Pending,
    Running,
    Stopping,
    Stopped,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Stopping => "STOPPING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// One run of a definition.
#[derive(Debug, Clone)]
pub struct Task {
    pub id: String,
    /// Index of the definition.
    pub definition: usize,
    pub status: Status,
    /// Of the health check; `None` where there is none.
    pub healthy: Option<bool>,
    pub created: Timestamp,
    pub started: Option<Timestamp>,
    pub stopped: Option<Timestamp>,
    pub reason: Option<String>,
    pub stop_code: Option<&'static str>,
    pub exit_codes: BTreeMap<String, i64>,
    /// Whether it ever ran.
    pub ran: bool,
}

impl Task {
    pub fn pod(&self, service: &str) -> String {
        format!("{service}-{}", &self.id[..12])
    }

    /// Running, and healthy as far as anybody asks.
    pub fn serves(&self) -> bool {
        self.status == Status::Running && self.healthy != Some(false)
    }

    /// Holds its ports and its place.
    pub fn is_there(&self) -> bool {
        self.status != Status::Stopped
    }
}

/// The ports of the machine that a task needs.
pub fn host_ports(task: &TaskDefinition) -> impl Iterator<Item = u16> {
    let ports = task.containers.iter().flat_map(|container| &container.ports);
    ports.filter(|port| port.on_host).map(|port| port.number)
}

/// The first volume whose root directory is not there, in the words of a mount that fails. `efs` has every claim by its name.
///
/// Kubernetes would make the directory; the service does not.
pub fn missing_root(task: &TaskDefinition, stack: &Stack, efs: &Path) -> Option<String> {
    task.volumes.iter().find_map(|volume| {
        let VolumeSource::FileSystem { file_system, root } = &volume.source else { return None };
        let system = stack.file_systems.get(file_system)?;
        let inner = root.trim_start_matches('/');
        let is_there = efs.join(&system.claim).join(inner).is_dir();
        (!is_there).then(|| {
            format!(
                "CannotCreateVolumeError: volume {}: mounting {}:/{inner} failed: No such file or directory",
                volume.name, system.id
            )
        })
    })
}

/// The pod that runs a task.
pub fn pod(task: &Task, definition: &Definition, stack: &Stack, service: &str, namespace: &str) -> Value {
    let volumes: Vec<Value> = definition
        .task
        .volumes
        .iter()
        .map(|volume| match &volume.source {
            VolumeSource::FileSystem { file_system, .. } => {
                let claim = stack.file_systems.get(file_system).map(|system| system.claim.as_str());
                json!({"name": volume.name, "persistentVolumeClaim": {"claimName": claim}})
            }
            VolumeSource::Scratch => json!({"name": volume.name, "emptyDir": {}}),
        })
        .collect();
    let grace = definition.task.containers.iter().map(|container| container.stop_timeout).max().unwrap_or(30);
    let containers: Vec<Value> =
        definition.task.containers.iter().map(|container| pod_container(container, &definition.task)).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": task.pod(service), "namespace": namespace, "labels": {
            object::SERVICE_LABEL: service,
            "redrill.dev/ecs-task": task.id,
            "redrill.dev/ecs-task-definition": definition.name().replace(':', "-"),
        }},
        "spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": grace, "enableServiceLinks": false,
            "containers": containers, "volumes": volumes, "hostAliases": aliases(&definition.task),
        },
    })
}

/// Links: containers of a pod share its loopback, so each is there under the name by which another reaches it.
fn aliases(task: &TaskDefinition) -> Value {
    let links = task.containers.iter().flat_map(|container| &container.links);
    let mut names: Vec<&str> = links.flat_map(|link| link.split(':')).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() { json!([]) } else { json!([{"ip": "127.0.0.1", "hostnames": names}]) }
}

fn pod_container(container: &Container, task: &TaskDefinition) -> Value {
    let env: Vec<Value> = container
        .environment
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value.replace("$(", "$$(")}))
        .collect();
    let mounts: Vec<Value> = container
        .mounts
        .iter()
        .map(|mount| {
            let volume = task.volumes.iter().find(|volume| volume.name == mount.volume);
            let root = match volume.map(|volume| &volume.source) {
                Some(VolumeSource::FileSystem { root, .. }) => root.trim_matches('/'),
                Some(VolumeSource::Scratch) | None => "",
            };
            json!({"name": mount.volume, "mountPath": mount.path, "readOnly": mount.read_only, "subPath": root})
        })
        .collect();
    let ports: Vec<Value> = container.ports.iter().map(|port| json!({"containerPort": port.number})).collect();
    let mut pod = json!({
        "name": container.name, "image": container.image, "env": env, "volumeMounts": mounts, "ports": ports,
    });
    for (field, words) in [("command", &container.entry_point), ("args", &container.command)] {
        if !words.is_empty() {
            pod[field] = words.iter().map(|word| word.replace("$(", "$$(")).collect();
        }
    }
    if let Some(directory) = &container.working_directory {
        pod["workingDir"] = json!(directory);
    }
    if let Some(user) = container.user {
        pod["securityContext"] = json!({"runAsUser": user});
    }
    if let Some(health) = &container.health {
        pod["readinessProbe"] = probe(health);
    }
    pod
}

fn probe(health: &HealthCheck) -> Value {
    json!({
        "exec": {"command": health.command}, "periodSeconds": health.interval.max(1), "timeoutSeconds": health.timeout.max(1),
        "failureThreshold": health.retries.max(1), "initialDelaySeconds": 0,
    })
}

/// Takes over what a pod shows of its task. `None`: the pod is not there any more.
pub fn observe(task: &mut Task, definition: &Definition, pod: Option<&Value>, now: Timestamp) -> Observed {
    let Some(pod) = pod else {
        task.status = Status::Stopped;
        task.stopped = Some(now);
        task.reason.get_or_insert_with(|| "Task stopped: its pod is gone".to_owned());
        return Observed::Ended;
    };
    let statuses: Vec<&Value> = pod["status"]["containerStatuses"].as_array().into_iter().flatten().collect();
    for status in &statuses {
        if let (Some(name), Some(code)) = (status["name"].as_str(), status["state"]["terminated"]["exitCode"].as_i64())
        {
            task.exit_codes.insert(name.to_owned(), code);
        }
    }
    if task.status == Status::Stopping || pod["metadata"]["deletionTimestamp"].is_string() {
        task.status = Status::Stopping;
        return Observed::GoesOn;
    }
    let essential = |name: &String| {
        definition.task.containers.iter().any(|container| container.essential && container.name == *name)
    };
    if task.exit_codes.keys().any(essential) {
        task.stop_code = Some("EssentialContainerExited");
        task.reason = Some("Essential container in task exited".to_owned());
        return Observed::HasToStop;
    }
    if let Some(reason) = statuses.iter().find_map(|status| cannot_start(status)) {
        task.stop_code = Some("TaskFailedToStart");
        task.reason = Some(reason);
        return Observed::HasToStop;
    }
    let running =
        |status: &&&Value| status["state"]["running"].is_object() || status["state"]["terminated"].is_object();
    if !statuses.is_empty() && statuses.iter().filter(running).count() == definition.task.containers.len() {
        task.status = Status::Running;
        task.ran = true;
        task.started.get_or_insert(now);
    }
    let asks = definition.task.containers.iter().any(|container| container.health.is_some());
    let checked = |container: &&Container| container.health.is_some();
    let ready = |container: &Container| {
        statuses.iter().any(|status| status["name"] == *container.name && status["ready"] == true)
    };
    task.healthy = asks.then(|| definition.task.containers.iter().filter(checked).all(ready));
    Observed::GoesOn
}

/// What has to be done about a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    GoesOn,
    HasToStop,
    Ended,
}

/// Why a container never starts. What is still being prepared is no reason.
fn cannot_start(status: &Value) -> Option<String> {
    let waiting = &status["state"]["waiting"];
    let reason = waiting["reason"].as_str()?;
    let message = waiting["message"].as_str().unwrap_or_default();
    (!matches!(reason, "ContainerCreating" | "PodInitializing"))
        .then(|| format!("CannotStartContainerError: {reason} {message}").trim_end().to_owned())
}
