//! What stands in the cells of pods: their containers' states say more than the phase.

use serde_json::{Value, json};

use super::cells::{has_condition, list, since_text};

/// How the containers of a pod are, taken together.
struct Containers {
    ready: usize,
    total: usize,
    restarts: i64,
    /// When a container that has been restarted ended last.
    last_end: Option<String>,
    /// The word for the pod's state.
    word: String,
}

fn is_sidecar(pod: &Value, name: &Value) -> bool {
    list(&pod["spec"], "initContainers").any(|one| &one["name"] == name && one["restartPolicy"] == "Always")
}

impl Containers {
    fn of(pod: &Value) -> Self {
        let status = &pod["status"];
        let word = status["reason"].as_str().filter(|reason| !reason.is_empty()).or(status["phase"].as_str());
        let sidecars = list(&pod["spec"], "initContainers").filter(|one| one["restartPolicy"] == "Always").count();
        let total = list(&pod["spec"], "containers").count() + sidecars;
        let word = word.unwrap_or("Pending").to_owned();
        let mut all = Self { ready: 0, total, restarts: 0, last_end: None, word };
        let is_initializing = all.look_at_init_containers(pod);
        if !is_initializing || has_condition(pod, "Initialized") {
            // Of what ran before them only those count that go on beside them.
            (all.restarts, all.last_end) = (0, None);
            let beside = list(status, "initContainerStatuses").filter(|status| is_sidecar(pod, &status["name"]));
            beside.for_each(|status| all.count_restarts(status));
            all.look_at_containers(pod);
        }
        all
    }

    fn count_restarts(&mut self, status: &Value) {
        self.restarts += status["restartCount"].as_i64().unwrap_or(0);
        let end = status["lastState"]["terminated"]["finishedAt"].as_str().map(str::to_owned);
        self.last_end = self.last_end.take().max(end);
    }

    /// Whether one is not done yet: then its state is the pod's.
    fn look_at_init_containers(&mut self, pod: &Value) -> bool {
        let total = list(&pod["spec"], "initContainers").count();
        for (index, status) in list(&pod["status"], "initContainerStatuses").enumerate() {
            self.count_restarts(status);
            let (ended, waiting) = (&status["state"]["terminated"], &status["state"]["waiting"]);
            if ended["exitCode"] == 0 {
                continue;
            }
            if is_sidecar(pod, &status["name"]) && status["started"] == true {
                self.ready += usize::from(status["ready"] == true);
                continue;
            }
            let reason = waiting["reason"].as_str().filter(|reason| !["", "PodInitializing"].contains(reason));
            self.word = match (ended.is_object(), reason) {
                (true, _) => format!("Init:{}", end_word(ended)),
                (false, Some(reason)) => format!("Init:{reason}"),
                (false, None) => format!("Init:{index}/{total}"),
            };
            return true;
        }
        false
    }

    fn look_at_containers(&mut self, pod: &Value) {
        let mut has_running = false;
        let statuses: Vec<_> = list(&pod["status"], "containerStatuses").collect();
        for status in statuses.iter().rev() {
            self.count_restarts(status);
            let state = &status["state"];
            if let Some(waiting) = state["waiting"]["reason"].as_str().filter(|reason| !reason.is_empty()) {
                self.word = waiting.to_owned();
            } else if state["terminated"].is_object() {
                self.word = end_word(&state["terminated"]);
            } else if state["running"].is_object() && status["ready"] == true {
                has_running = true;
                self.ready += 1;
            }
        }
        if self.word == "Completed" && has_running {
            self.word = if has_condition(pod, "Ready") { "Running" } else { "NotReady" }.to_owned();
        }
    }
}

fn end_word(terminated: &Value) -> String {
    match (terminated["reason"].as_str(), terminated["signal"].as_i64().filter(|signal| *signal != 0)) {
        (Some(reason), _) if !reason.is_empty() => reason.to_owned(),
        (_, Some(signal)) => format!("Signal:{signal}"),
        (_, None) => format!("ExitCode:{}", terminated["exitCode"].as_i64().unwrap_or(0)),
    }
}

fn has_ended(pod: &Value) -> bool {
    ["Succeeded", "Failed"].contains(&pod["status"]["phase"].as_str().unwrap_or_default())
}

pub fn ready(pod: &Value) -> Value {
    let containers = Containers::of(pod);
    json!(format!("{}/{}", containers.ready, containers.total))
}

pub fn restarts(pod: &Value) -> Value {
    let containers = Containers::of(pod);
    match containers.last_end.filter(|_| containers.restarts > 0) {
        Some(last) => json!(format!("{} ({} ago)", containers.restarts, since_text(&json!(last)))),
        None => json!(containers.restarts.to_string()),
    }
}

/// The word for a pod's state.
pub fn status(pod: &Value) -> Value {
    if pod["metadata"]["deletionTimestamp"].is_string() && !has_ended(pod) {
        return json!("Terminating");
    }
    json!(Containers::of(pod).word)
}

/// What a row says of a pod that has ended, besides its cells.
pub fn row_conditions(pod: &Value) -> Option<Value> {
    let (reason, message) = match pod["status"]["phase"].as_str() {
        Some("Succeeded") => ("Succeeded", "The pod has completed successfully."),
        Some("Failed") => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_word_says_what_its_containers_say() {
        let pod = |state: Value| json!({"status": {"phase": "Running", "containerStatuses": [{"state": state}]}});
        assert_eq!(status(&pod(json!({"running": {}}))), "Running");
        assert_eq!(status(&pod(json!({"waiting": {"reason": "CrashLoopBackOff"}}))), "CrashLoopBackOff");
        assert_eq!(status(&pod(json!({"terminated": {"exitCode": 1, "reason": "Error"}}))), "Error");
        assert_eq!(status(&pod(json!({"terminated": {"exitCode": 3}}))), "ExitCode:3");
        let initializing = json!({"spec": {"initContainers": [{}, {}]}, "status": {"phase": "Pending",
            "initContainerStatuses": [{"state": {"terminated": {"exitCode": 0}}}, {"state": {"running": {}}}]}});
        assert_eq!(status(&initializing), "Init:1/2");
    }
}
