//! What is known of a pod's containers, and the status that follows from it.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use serde_json::{Value, json};

use super::restart::RestartPolicy;
use crate::cluster::reconcile::object::set_condition;

/// One ended run of a container.
#[derive(Debug, Clone)]
pub struct Terminated {
    pub exit_code: i32,
    pub signal: Option<i32>,
    pub reason: &'static str,
    pub message: String,
    pub started: String,
    pub finished: String,
}

#[derive(Debug, Clone)]
pub enum Run {
    Waiting { reason: &'static str, message: String },
    Running { since: String },
    Terminated(Terminated),
}

#[derive(Debug, Clone)]
pub struct ContainerState {
    pub name: String,
    pub image: String,
    pub run: Run,
    pub last: Option<Terminated>,
    pub restarts: u32,
    pub started: bool,
    pub ready: bool,
}

impl ContainerState {
    fn new(container: &Container, reason: &'static str) -> Self {
        Self {
            name: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            run: Run::Waiting { reason, message: String::new() },
            last: None,
            restarts: 0,
            started: false,
            ready: false,
        }
    }

    fn succeeded(&self) -> bool {
        matches!(&self.run, Run::Terminated(ended) if ended.exit_code == 0)
    }

    fn failed(&self) -> bool {
        matches!(&self.run, Run::Terminated(ended) if ended.exit_code != 0)
    }

    fn status(&self, pod: &str) -> Value {
        let state = match &self.run {
            Run::Waiting { reason, message } if message.is_empty() => json!({"waiting": {"reason": reason}}),
            Run::Waiting { reason, message } => json!({"waiting": {"reason": reason, "message": message}}),
            Run::Running { since } => json!({"running": {"startedAt": since}}),
            Run::Terminated(ended) => json!({"terminated": terminated(ended)}),
        };
        let last = self.last.as_ref().map_or_else(|| json!({}), |ended| json!({"terminated": terminated(ended)}));
        json!({
            "name": self.name,
            "image": self.image,
            "imageID": format!("redrill://{}", self.image),
            "containerID": format!("redrill://{pod}/{}", self.name),
            "state": state,
            "lastState": last,
            "restartCount": self.restarts,
            "started": self.started,
            "ready": self.ready,
        })
    }
}

fn terminated(ended: &Terminated) -> Value {
    let mut value = json!({
        "exitCode": ended.exit_code,
        "reason": ended.reason,
        "startedAt": ended.started,
        "finishedAt": ended.finished,
    });
    if let Some(signal) = ended.signal {
        value["signal"] = json!(signal);
    }
    if !ended.message.is_empty() {
        value["message"] = json!(ended.message);
    }
    value
}

/// A pod as its task sees it.
#[derive(Debug)]
pub struct PodState {
    pub scheduled: bool,
    pub address: Option<IpAddr>,
    pub start_time: Option<String>,
    pub init: Vec<ContainerState>,
    pub main: Vec<ContainerState>,
    /// Why the pod as a whole cannot run.
    pub refused: Option<String>,
    /// Being ended from outside: what did not succeed has failed, whatever would be restarted otherwise.
    pub ending: bool,
}

impl PodState {
    pub fn new(spec: &PodSpec) -> Self {
        let has_init = spec.init_containers.as_ref().is_some_and(|init| !init.is_empty());
        let reason = if has_init { "PodInitializing" } else { "ContainerCreating" };
        let state = |container| ContainerState::new(container, "PodInitializing");
        Self {
            scheduled: false,
            address: None,
            start_time: None,
            init: spec.init_containers.iter().flatten().map(state).collect(),
            main: spec.containers.iter().map(|container| ContainerState::new(container, reason)).collect(),
            refused: None,
            ending: false,
        }
    }

    pub fn container(&mut self, name: &str) -> Option<&mut ContainerState> {
        self.init.iter_mut().chain(&mut self.main).find(|state| state.name == name)
    }

    fn initialized(&self) -> bool {
        self.init.iter().all(ContainerState::succeeded)
    }

    /// As the kubelet computes it: what is being restarted counts as running.
    pub fn phase(&self, policy: RestartPolicy) -> &'static str {
        if self.refused.is_some() {
            return "Failed";
        }
        let never = policy == RestartPolicy::Never || self.ending;
        if never && self.init.iter().any(ContainerState::failed) {
            return "Failed";
        }
        let unstarted = |state: &ContainerState| matches!(state.run, Run::Waiting { .. }) && state.last.is_none();
        if !self.initialized() || self.main.iter().any(unstarted) {
            return if self.ending
                && self.init.iter().chain(&self.main).all(|state| !matches!(state.run, Run::Running { .. }))
            {
                "Failed"
            } else {
                "Pending"
            };
        }
        if self.main.iter().any(|state| matches!(state.run, Run::Running { .. })) {
            return "Running";
        }
        let succeeded = self.main.iter().all(ContainerState::succeeded);
        match policy {
            RestartPolicy::Always if !self.ending => "Running",
            RestartPolicy::OnFailure if !self.ending && !succeeded => "Running",
            RestartPolicy::Always | RestartPolicy::OnFailure | RestartPolicy::Never => {
                if succeeded {
                    "Succeeded"
                } else {
                    "Failed"
                }
            }
        }
    }

    /// The whole status; conditions keep their times from `previous`.
    pub fn status(&self, pod: &str, policy: RestartPolicy, previous: &Value) -> Value {
        let phase = self.phase(policy);
        let mut status = json!({"phase": phase, "qosClass": "BestEffort"});
        if let Some(message) = &self.refused {
            status["reason"] = json!("InvalidPod");
            status["message"] = json!(message);
        }
        if let Some(start) = &self.start_time {
            status["startTime"] = json!(start);
        }
        if let Some(address) = self.address {
            status["podIP"] = json!(address.to_string());
            status["podIPs"] = json!([{"ip": address.to_string()}]);
        }
        if previous["conditions"].is_array() {
            status["conditions"] = previous["conditions"].clone();
        }
        self.set_conditions(&mut status, phase);
        if self.scheduled {
            if !self.init.is_empty() {
                status["initContainerStatuses"] = self.init.iter().map(|state| state.status(pod)).collect();
            }
            status["containerStatuses"] = self.main.iter().map(|state| state.status(pod)).collect();
        }
        status
    }

    fn set_conditions(&self, status: &mut Value, phase: &str) {
        let list =
            |states: &[&ContainerState]| states.iter().map(|state| state.name.as_str()).collect::<Vec<_>>().join(" ");
        if !self.scheduled {
            // Why is written by the one who schedules.
            return;
        }
        set_condition(status, "PodScheduled", true, "", "");
        let open: Vec<_> = self.init.iter().filter(|state| !state.succeeded()).collect();
        if open.is_empty() {
            set_condition(status, "Initialized", true, if phase == "Succeeded" { "PodCompleted" } else { "" }, "");
        } else {
            let message = format!("containers with incomplete status: [{}]", list(&open));
            set_condition(status, "Initialized", false, "ContainersNotInitialized", &message);
        }
        let unready: Vec<_> = self.main.iter().filter(|state| !state.ready).collect();
        for condition in ["ContainersReady", "Ready"] {
            if phase == "Succeeded" {
                set_condition(status, condition, false, "PodCompleted", "");
            } else if open.is_empty() && unready.is_empty() {
                set_condition(status, condition, true, "", "");
            } else {
                let message = format!("containers with unready status: [{}]", list(&unready));
                set_condition(status, condition, false, "ContainersNotReady", &message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(runs: &[Run]) -> PodState {
        let spec: PodSpec = serde_json::from_value(json!({"containers": []})).unwrap();
        let mut state = PodState::new(&spec);
        state.main = runs
            .iter()
            .map(|run| ContainerState { run: run.clone(), ..ContainerState::new(&Container::default(), "x") })
            .collect();
        state
    }

    fn ended(exit_code: i32) -> Run {
        let text = String::new;
        Run::Terminated(Terminated {
            exit_code,
            signal: None,
            reason: "x",
            message: text(),
            started: text(),
            finished: text(),
        })
    }

    #[test]
    fn the_phase_of_ended_containers_depends_on_the_restart_policy() {
        assert_eq!(pod(&[ended(0)]).phase(RestartPolicy::Never), "Succeeded");
        assert_eq!(pod(&[ended(1)]).phase(RestartPolicy::Never), "Failed");
        assert_eq!(pod(&[ended(1)]).phase(RestartPolicy::OnFailure), "Running");
        assert_eq!(pod(&[ended(0)]).phase(RestartPolicy::Always), "Running");
    }

    #[test]
    fn one_running_container_makes_the_pod_running() {
        let running = Run::Running { since: String::new() };
        assert_eq!(pod(&[ended(1), running]).phase(RestartPolicy::Never), "Running");
    }
}
