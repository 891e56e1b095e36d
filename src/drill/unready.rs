//! Why a workload is not ready: what its pods say of themselves, the last warning about each, and the last line of its log.

use serde_json::Value;

use crate::drill::restart::selects;
use crate::drill::stage::{is_ready, pod_state};
use crate::kubernetes::{self, Kubernetes, KubernetesError};

/// A word about each pod of the workload that is not ready; none where it has no pods.
pub async fn reasons(kubernetes: &Kubernetes, workload: &Value) -> Result<Vec<String>, KubernetesError> {
    let namespace = workload["metadata"]["namespace"].as_str().unwrap_or_default();
    let selector = workload["spec"]["selector"]["matchLabels"].as_object().cloned().unwrap_or_default();
    let mut pods = kubernetes.list(kubernetes::POD, namespace).await?;
    pods.retain(|pod| selects(&selector, pod) && !is_ready(pod));
    let events = if pods.is_empty() { Vec::new() } else { kubernetes.list(kubernetes::EVENT, namespace).await? };
    let mut reasons = Vec::new();
    for pod in &pods {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        // A pod that never ran, or runs several containers, has no log that can be asked for.
        let log = kubernetes.log(namespace, name).await.unwrap_or_default();
        reasons.push(reason(namespace, name, pod, &events, &log));
    }
    Ok(reasons)
}

fn reason(namespace: &str, name: &str, pod: &Value, events: &[Value], log: &str) -> String {
    let mut words = format!("Pod {namespace}/{name}: {}", pod_state(pod));
    let warnings = events.iter().filter(|event| event["type"] == "Warning" && event["involvedObject"]["name"] == name);
    let last = warnings.max_by_key(|event| event["lastTimestamp"].as_str());
    if let Some(message) = last.and_then(|event| event["message"].as_str()) {
        words += &format!(", {}", message.trim());
    }
    if let Some(line) = log.lines().rev().map(str::trim).find(|line| !line.is_empty()) {
        words += &format!(", its log ends with `{line}`");
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_warning_about_a_pod_is_told_with_it() {
        let pod = json!({"status": {"phase": "Running"}});
        let event = |pod: &str, kind: &str, at: &str, message: &str| json!({"type": kind, "involvedObject": {"name": pod}, "lastTimestamp": at, "message": message});
        let events = [
            event("web-1", "Warning", "2026-11-21T10:00:02Z", "Readiness probe failed: password refused\n"),
            event("web-1", "Warning", "2026-11-21T10:00:01Z", "Readiness probe failed: not connected yet"),
            event("web-1", "Normal", "2026-11-21T10:00:03Z", "Started container"),
            event("web-2", "Warning", "2026-11-21T10:00:04Z", "Back-off"),
        ];
        let told = |events: &[Value], log: &str| reason("shop", "web-1", &pod, events, log);
        assert_eq!(told(&events, ""), "Pod shop/web-1: Running, Readiness probe failed: password refused");
        let log = "listening\nFATAL: who are you?\n\n";
        assert_eq!(told(&[], log), "Pod shop/web-1: Running, its log ends with `FATAL: who are you?`");
    }
}
