//! ECS: the cluster with its one container instance, its service and tasks.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::account::{Account, State};
use super::fault::Fault;
use super::scheduler;
use super::task::{Definition, Status, Task};
use crate::system::cloud_formation::{Container, Service, VolumeSource};

pub fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

/// Answers an operation with its result.
pub async fn serve(account: &Arc<Account>, operation: &str, input: &Value) -> Result<Value, Fault> {
    let mut state = account.state().await;
    let Some(service) = state.service().cloned() else {
        return Err(Fault::new(
            "ClusterNotFoundException",
            "the stack has no service, so it has no cluster with tasks",
        ));
    };
    let seen = Seen { account, state: &state, service: &service };
    match operation {
        "ListClusters" => return Ok(json!({"clusterArns": [seen.cluster_arn()]})),
        "DescribeTaskDefinition" => return seen.definition(input["taskDefinition"].as_str().unwrap_or_default()),
        _ => seen.is_there(input)?,
    }
    match operation {
        "ListServices" => Ok(json!({"serviceArns": [seen.service_arn()]})),
        "DescribeServices" => {
            let (found, missing) = split(&input["services"], |name| seen.is_service(name));
            let found: Vec<Value> = found.iter().map(|_| seen.service()).collect();
            Ok(json!({"services": found, "failures": missing}))
        }
        "ListTasks" => seen.tasks(input),
        "DescribeTasks" => {
            let (found, missing) = split(&input["tasks"], |name| seen.task(name).is_some());
            let found: Vec<Value> = found.iter().filter_map(|name| Some(seen.described(seen.task(name)?))).collect();
            Ok(json!({"tasks": found, "failures": missing}))
        }
        "StopTask" => {
            let name = input["task"].as_str().unwrap_or_default();
            let found = seen.task(name).map(|task| task.id.clone());
            let id =
                found.ok_or_else(|| Fault::new("InvalidParameterException", "The referenced task was not found."))?;
            stop(account, &mut state, &service, &id, input["reason"].as_str()).await
        }
        other => Err(Fault::unserved(&format!("ECS's {other}"))),
    }
}

async fn stop(
    account: &Account,
    state: &mut State,
    service: &Service,
    id: &str,
    reason: Option<&str>,
) -> Result<Value, Fault> {
    if let Some(task) = state.tasks.iter_mut().find(|task| task.id == id && task.status < Status::Stopping) {
        task.stop_code = Some("UserInitiated");
        task.reason = Some(reason.unwrap_or("Task stopped by user").to_owned());
    }
    scheduler::stop(account, state, service, id).await?;
    state.steady = false;
    // What goes on from here has to be seen by whoever is answered.
    scheduler::look(account, state).await?;
    let seen = Seen { account, state, service };
    Ok(json!({"task": seen.task(id).map(|task| seen.described(task))}))
}

/// The names that are known, and a failure for each of the others.
fn split(names: &Value, known: impl Fn(&str) -> bool) -> (Vec<&str>, Vec<Value>) {
    let names = names.as_array().into_iter().flatten().filter_map(Value::as_str);
    let (found, missing): (Vec<&str>, Vec<&str>) = names.partition(|name| known(name));
    (found, missing.into_iter().map(|name| json!({"arn": name, "reason": "MISSING"})).collect())
}

/// The state as clients see it.
struct Seen<'a> {
    account: &'a Account,
    state: &'a State,
    service: &'a Service,
}

impl Seen<'_> {
    fn cluster_arn(&self) -> String {
        self.account.identity.arn("ecs", &format!("cluster/{}", self.service.cluster))
    }

    fn service_arn(&self) -> String {
        self.account.identity.arn("ecs", &format!("service/{}/{}", self.service.cluster, self.service.name))
    }

    fn task_arn(&self, task: &Task) -> String {
        self.account.identity.arn("ecs", &format!("task/{}/{}", self.service.cluster, task.id))
    }

    fn definition_arn(&self, definition: usize) -> String {
        let name = self.state.definitions.get(definition).map(Definition::name).unwrap_or_default();
        self.account.identity.arn("ecs", &format!("task-definition/{name}"))
    }

    /// Whether the cluster that is meant, `default` where none is, is there.
    fn is_there(&self, input: &Value) -> Result<(), Fault> {
        let name = input["cluster"].as_str().unwrap_or("default");
        match name == self.service.cluster || name == self.cluster_arn() {
            true => Ok(()),
            false => Err(Fault::new("ClusterNotFoundException", "Cluster not found.")),
        }
    }

    fn is_service(&self, name: &str) -> bool {
        name == self.service.name || name == self.service_arn()
    }

    fn task(&self, name: &str) -> Option<&Task> {
        let id = name.rsplit('/').next().unwrap_or_default();
        self.state.tasks.iter().find(|task| task.id == id)
    }

    fn tasks(&self, input: &Value) -> Result<Value, Fault> {
        if input["serviceName"].as_str().is_some_and(|name| !self.is_service(name)) {
            return Err(Fault::new("ServiceNotFoundException", "Service not found."));
        }
        for filter in ["containerInstance", "startedBy", "launchType"] {
            if !input[filter].is_null() {
                return Err(Fault::unserved(&format!("ECS's ListTasks by {filter}")));
            }
        }
        let stopped = input["desiredStatus"] == "STOPPED";
        let family = input["family"].as_str();
        let is_asked_for = |task: &&Task| {
            let of_family = family.is_none_or(|family| {
                self.state.definitions.get(task.definition).is_some_and(|definition| definition.task.family == family)
            });
            of_family && (task.status >= Status::Stopping) == stopped
        };
        let arns: Vec<String> = self.state.tasks.iter().filter(is_asked_for).map(|task| self.task_arn(task)).collect();
        Ok(json!({"taskArns": arns}))
    }

    fn service(&self) -> Value {
        let Service { name, desired, minimum_healthy, maximum, .. } = self.service;
        let events = self.state.service_events.iter().take(100);
        let events: Vec<Value> = events
            .map(|event| json!({"id": event.id, "createdAt": seconds(event.at), "message": event.message}))
            .collect();
        let (running, pending) = self.counts(|_| true);
        json!({
            "serviceArn": self.service_arn(), "serviceName": name, "clusterArn": self.cluster_arn(), "status": "ACTIVE",
            "desiredCount": desired, "runningCount": running, "pendingCount": pending, "launchType": "EC2",
            "taskDefinition": self.definition_arn(self.state.newest),
            "deploymentConfiguration": {"minimumHealthyPercent": minimum_healthy, "maximumPercent": maximum},
            "deployments": self.deployments(), "events": events, "createdAt": seconds(self.state.created),
            "schedulingStrategy": "REPLICA", "loadBalancers": [],
        })
    }

    fn counts(&self, of: impl Fn(&Task) -> bool) -> (usize, usize) {
        let count = |status: Status| self.state.tasks.iter().filter(|task| task.status == status && of(task)).count();
        (count(Status::Running), count(Status::Pending))
    }

    /// The newest first; older ones as long as tasks of theirs are there.
    fn deployments(&self) -> Vec<Value> {
        let there =
            |definition: usize| self.state.tasks.iter().any(|task| task.definition == definition && task.is_there());
        let older = (0..self.state.newest).rev().filter(|definition| there(*definition));
        let deployment = |definition: usize| {
            let is_newest = definition == self.state.newest;
            let (running, pending) = self.counts(|task| task.definition == definition);
            let (status, rollout) = match (is_newest, self.state.steady) {
                (true, true) => ("PRIMARY", "COMPLETED"),
                (true, false) => ("PRIMARY", "IN_PROGRESS"),
                (false, _) => ("ACTIVE", "COMPLETED"),
            };
            json!({
                "id": format!("ecs-svc/{definition:019}"), "status": status, "rolloutState": rollout,
                "taskDefinition": self.definition_arn(definition), "launchType": "EC2",
                "desiredCount": if is_newest { self.service.desired } else { 0 },
                "runningCount": running, "pendingCount": pending,
                "failedTasks": if is_newest { self.state.failed } else { 0 },
                "createdAt": seconds(self.state.deployed), "updatedAt": seconds(self.state.deployed),
            })
        };
        std::iter::once(self.state.newest).chain(older).map(deployment).collect()
    }

    fn described(&self, task: &Task) -> Value {
        let health = task.healthy.map_or("UNKNOWN", |healthy| if healthy { "HEALTHY" } else { "UNHEALTHY" });
        let of_task =
            self.state.definitions.get(task.definition).map(|definition| definition.task.containers.as_slice());
        let containers: Vec<Value> = of_task
            .unwrap_or_default()
            .iter()
            .map(|container| {
                json!({
                    "name": container.name, "image": container.image, "taskArn": self.task_arn(task),
                    "lastStatus": task.status.word(), "exitCode": task.exit_codes.get(&container.name),
                    "networkBindings": container.ports.iter().map(|port| json!({"bindIP": "0.0.0.0",
                        "containerPort": port.number, "hostPort": port.number, "protocol": "tcp"})).collect::<Vec<_>>(),
                })
            })
            .collect();
        let desired = if task.status >= Status::Stopping { "STOPPED" } else { "RUNNING" };
        let mut described = json!({
            "taskArn": self.task_arn(task), "clusterArn": self.cluster_arn(), "launchType": "EC2",
            "containerInstanceArn": self.account.identity.container_instance(&self.service.cluster),
            "taskDefinitionArn": self.definition_arn(task.definition), "group": format!("service:{}", self.service.name),
            "lastStatus": task.status.word(), "desiredStatus": desired, "healthStatus": health,
            "containers": containers, "createdAt": seconds(task.created),
        });
        let optional = [
            ("startedAt", task.started.map(|at| json!(seconds(at)))),
            ("stoppedAt", task.stopped.map(|at| json!(seconds(at)))),
            ("stoppedReason", task.reason.as_ref().map(|reason| json!(reason))),
            ("stopCode", task.stop_code.map(|code| json!(code))),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                described[name] = value;
            }
        }
        described
    }

    /// By family, `family:revision` or ARN. What parameters with NoEcho are in is shown as on the service: whole.
    fn definition(&self, name: &str) -> Result<Value, Fault> {
        let wanted = name.rsplit('/').next().unwrap_or_default();
        let mut definitions = self.state.definitions.iter().enumerate().rev();
        let found = definitions.find(|(_, definition)| definition.name() == wanted || definition.task.family == wanted);
        let (index, definition) =
            found.ok_or_else(|| Fault::new("ClientException", "Unable to describe task definition."))?;
        let volumes: Vec<Value> = definition
            .task
            .volumes
            .iter()
            .map(|volume| match &volume.source {
                VolumeSource::FileSystem { file_system, root } => {
                    let id = self.state.stack.file_systems.get(file_system).map(|system| &system.id);
                    json!({"name": volume.name, "efsVolumeConfiguration": {"fileSystemId": id, "rootDirectory": root}})
                }
                VolumeSource::Scratch => json!({"name": volume.name, "host": {}}),
            })
            .collect();
        let containers: Vec<Value> = definition.task.containers.iter().map(container).collect();
        Ok(json!({"taskDefinition": {
            "taskDefinitionArn": self.definition_arn(index), "family": definition.task.family,
            "revision": definition.revision, "networkMode": "bridge", "status": "ACTIVE",
            "containerDefinitions": containers, "volumes": volumes,
        }}))
    }
}

fn container(container: &Container) -> Value {
    let environment: Vec<Value> =
        container.environment.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    let mounts: Vec<Value> = container
        .mounts
        .iter()
        .map(|mount| json!({"sourceVolume": mount.volume, "containerPath": mount.path, "readOnly": mount.read_only}))
        .collect();
    json!({
        "name": container.name, "image": container.image, "essential": container.essential,
        "entryPoint": container.entry_point, "command": container.command, "links": container.links,
        "environment": environment, "mountPoints": mounts,
    })
}
