//! Which pods belong to a workload, or to a Service.

use serde_json::{Map, Value};

use crate::kubernetes::{self, Kubernetes, KubernetesError};

/// The pods that a Deployment, a StatefulSet or a Pod's own object stands for.
pub async fn pods(kubernetes: &Kubernetes, workload: &Value) -> Result<Vec<Value>, KubernetesError> {
    if workload["kind"] == "Pod" {
        return Ok(vec![workload.clone()]);
    }
    let namespace = workload["metadata"]["namespace"].as_str().unwrap_or_default();
    let selector = workload["spec"]["selector"]["matchLabels"].as_object().cloned().unwrap_or_default();
    selected(kubernetes, namespace, &selector).await
}

/// The pods of a namespace that a selector means.
pub async fn selected(
    kubernetes: &Kubernetes,
    namespace: &str,
    selector: &Map<String, Value>,
) -> Result<Vec<Value>, KubernetesError> {
    let mut pods = kubernetes.list(kubernetes::POD, namespace).await?;
    pods.retain(|pod| selects(selector, pod));
    Ok(pods)
}

/// What has no selector has no pods that are known.
fn selects(selector: &Map<String, Value>, pod: &Value) -> bool {
    !selector.is_empty() && selector.iter().all(|(key, value)| &pod["metadata"]["labels"][key] == value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_selector_means_pods_that_have_all_its_labels() {
        let selector = |value: Value| value.as_object().cloned().unwrap_or_default();
        let pod = json!({"metadata": {"labels": {"app": "postgres", "tier": "db"}}});
        assert!(selects(&selector(json!({"app": "postgres"})), &pod));
        assert!(!selects(&selector(json!({"app": "postgres", "tier": "web"})), &pod));
        assert!(!selects(&selector(json!({})), &pod));
    }
}
