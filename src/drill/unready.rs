//! Why a workload is not ready: what its pods say of themselves, the last warning about each, and the last line of its log.

use serde_json::Value;

use crate::drill::site::Site;
use crate::drill::stage::{is_ready, pod_state};
use crate::drill::workload;
use crate::kubernetes::{self, Kubernetes, KubernetesError};

/// A word about each pod of the workload that is not ready; none where it has no pods.
pub async fn reasons(kubernetes: &Kubernetes, workload: &Value) -> Result<Vec<String>, KubernetesError> {
    let namespace = workload["metadata"]["namespace"].as_str().unwrap_or_default();
    let mut reasons = Vec::new();
    for pod in workload::pods(kubernetes, workload).await?.iter().filter(|pod| !is_ready(pod)) {
        // What a list holds does not say its kind.
        let title = format!("Pod {namespace}/{}", pod["metadata"]["name"].as_str().unwrap_or_default());
        reasons.push(ask(kubernetes, pod, &title).await?);
    }
    Ok(reasons)
}

/// The same about every pod of the system that is not ready, and has not ended as it should.
pub async fn anywhere(sites: &[Site]) -> Result<Vec<String>, KubernetesError> {
    let mut reasons = Vec::new();
    for site in sites {
        for pod in site.list(&[kubernetes::POD]).await? {
            if !is_ready(&pod) && pod["status"]["phase"] != "Succeeded" {
                reasons.push(ask(&site.kubernetes, &pod, &site.describe(&pod)).await?);
            }
        }
    }
    Ok(reasons)
}

async fn ask(kubernetes: &Kubernetes, pod: &Value, title: &str) -> Result<String, KubernetesError> {
    let field = |name: &str| pod["metadata"][name].as_str().unwrap_or_default();
    let (namespace, name) = (field("namespace"), field("name"));
    let events = kubernetes.list(kubernetes::EVENT, namespace).await?;
    // A pod that never ran, or runs several containers, has no log that can be asked for.
    let log = kubernetes.log(namespace, name).await.unwrap_or_default();
    Ok(reason(title, name, pod, &events, &log))
}

fn reason(title: &str, name: &str, pod: &Value, events: &[Value], log: &str) -> String {
    let mut words = format!("{title}: {}", pod_state(pod));
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
        let told = |events: &[Value], log: &str| reason("Pod shop/web-1", "web-1", &pod, events, log);
        assert_eq!(told(&events, ""), "Pod shop/web-1: Running, Readiness probe failed: password refused");
        let log = "listening\nFATAL: who are you?\n\n";
        assert_eq!(told(&[], log), "Pod shop/web-1: Running, its log ends with `FATAL: who are you?`");
    }
}
