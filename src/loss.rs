//! The disaster: takes what the scenario says it takes, and leaves the empty infrastructure that a restore starts from.

use std::time::Duration;

use serde_json::Value;

use crate::cluster::kind::CLAIM;
use crate::environment::Clusters;
use crate::kubernetes::{self, Kubernetes, KubernetesError, wait_for};
use crate::scenario::{Loss, ObjectName};
use crate::system::Systems;

const DEADLINE: Duration = Duration::from_secs(60);

/// Deletes every namespace of the loss with all that is in it, and every claim with the pods that use it; the claims are made
/// anew from the manifests, empty.
///
/// Returns once the namespaces are gone and the new claims are there; what runs on them follows in its own time. Errs when the
/// cluster does not do as it is told.
pub async fn strike(clusters: &Clusters, loss: &Loss, systems: &Systems) -> Result<(), KubernetesError> {
    for namespace in &loss.namespaces {
        lose_namespace(clusters.of(None), namespace).await?;
    }
    let mut gone = Vec::new();
    for claim in &loss.claims {
        let kubernetes = clusters.of(claim.cluster.as_deref());
        let uid = uid_of(kubernetes, claim).await?;
        kubernetes.delete(kubernetes::CLAIM, &claim.namespace, &claim.name).await?;
        gone.push((claim, uid));
    }
    for (claim, uid) in &gone {
        let kubernetes = clusters.of(claim.cluster.as_deref());
        for pod in kubernetes.list(kubernetes::POD, &claim.namespace).await? {
            if mounts(&pod, &claim.name) {
                kubernetes.kill_pod(&claim.namespace, pod["metadata"]["name"].as_str().unwrap_or_default()).await?;
            }
        }
        wait_gone(kubernetes, claim, uid.as_deref()).await?;
    }
    for claim in &loss.claims {
        let system = systems.of(claim.cluster.as_deref());
        if let Some(manifest) = system.and_then(|system| system.object(&CLAIM, &claim.namespace, &claim.name)) {
            clusters.of(claim.cluster.as_deref()).create(&manifest.value).await?;
        }
    }
    Ok(())
}

/// Nobody inside is given time to end in an orderly way.
async fn lose_namespace(kubernetes: &Kubernetes, namespace: &str) -> Result<(), KubernetesError> {
    kubernetes.delete(kubernetes::NAMESPACE, "", namespace).await?;
    wait_for(&format!("namespace {namespace} gone"), DEADLINE, async || {
        for pod in kubernetes.list(kubernetes::POD, namespace).await? {
            kubernetes.kill_pod(namespace, pod["metadata"]["name"].as_str().unwrap_or_default()).await?;
        }
        let there = kubernetes.get(kubernetes::NAMESPACE, "", namespace).await?;
        Ok(there.map_or(Ok(()), |_| Err("still there".to_owned())))
    })
    .await
}

async fn uid_of(kubernetes: &Kubernetes, claim: &ObjectName) -> Result<Option<String>, KubernetesError> {
    let object = kubernetes.get(kubernetes::CLAIM, &claim.namespace, &claim.name).await?;
    Ok(object.and_then(|object| object["metadata"]["uid"].as_str().map(str::to_owned)))
}

async fn wait_gone(kubernetes: &Kubernetes, claim: &ObjectName, uid: Option<&str>) -> Result<(), KubernetesError> {
    let what = format!("claim {claim} gone");
    wait_for(&what, DEADLINE, async || {
        Ok(match uid_of(kubernetes, claim).await? {
            Some(now) if Some(now.as_str()) == uid => Err("still there".to_owned()),
            Some(_) | None => Ok(()),
        })
    })
    .await
}

fn mounts(pod: &Value, claim: &str) -> bool {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    volumes.into_iter().any(|volume| volume["persistentVolumeClaim"]["claimName"] == claim)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_hit_only_by_the_loss_of_a_claim_that_it_mounts() {
        let pod = json!({"spec": {"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "e", "emptyDir": {}}]}});
        assert!(mounts(&pod, "data"));
        assert!(!mounts(&pod, "media"));
        assert!(!mounts(&json!({"spec": {}}), "data"));
    }
}
