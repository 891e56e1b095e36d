//! PersistentVolumeClaim: a volume of the runtime, kept as long as a pod uses it.

use serde_json::{Value, json};

use super::Context;
use crate::cluster::kind::{CLAIM, POD};
use crate::cluster::store::{is_deleting, names};
use crate::runtime::VolumeId;

/// The runtime's volume behind a claim.
pub fn volume_id(cluster: &str, namespace: &str, claim: &str) -> VolumeId {
    VolumeId(format!("{cluster}/{namespace}/{claim}"))
}

pub(super) async fn reconcile(context: &Context, namespace: &str, name: &str) {
    let Some(claim) = context.store.get(&CLAIM, namespace, name) else { return };
    let volume = volume_id(&context.cluster, namespace, name);
    if is_deleting(&claim) {
        if is_used(context, namespace, name) {
            return;
        }
        if let Err(error) = context.runtime.remove_volume(&volume).await {
            context.record(&claim, "Warning", "VolumeFailedDelete", &error.to_string());
            return;
        }
        context.store.remove(&CLAIM, namespace, name);
    } else if claim["status"]["phase"] != "Bound" {
        match context.runtime.create_volume(&volume).await {
            Ok(()) => bind(context, &claim),
            Err(error) => context.record(&claim, "Warning", "ProvisioningFailed", &error.to_string()),
        }
    }
}

/// A pod that still may use the claim keeps it, as `kubernetes.io/pvc-protection` has it. One that is not scheduled never
/// will: the scheduler does not place a pod whose claim is being deleted.
fn is_used(context: &Context, namespace: &str, claim: &str) -> bool {
    let (_, pods) = context.store.list(&POD, Some(namespace));
    let alive = |pod: &&std::sync::Arc<Value>| !super::object::is_finished(pod) || context.kubelet.knows(pod);
    let scheduled = |pod: &&std::sync::Arc<Value>| pod["spec"]["nodeName"].is_string();
    pods.iter().filter(alive).filter(scheduled).any(|pod| claims_of(pod).any(|name| name == claim))
}

/// Names of the claims that a pod mounts.
pub fn claims_of(pod: &Value) -> impl Iterator<Item = &str> {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    volumes.filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str())
}

fn bind(context: &Context, claim: &Value) {
    let (namespace, name) = names(claim);
    let uid = &claim["metadata"]["uid"];
    let bound = context.store.modify(&CLAIM, &namespace, &name, |claim| {
        // Deleted or made anew while the volume was being made.
        if &claim["metadata"]["uid"] != uid || is_deleting(claim) {
            return;
        }
        let volume = format!("pvc-{}", uid.as_str().unwrap_or_default());
        claim["spec"]["volumeName"] = json!(volume);
        claim["status"] = json!({
            "phase": "Bound",
            "accessModes": claim["spec"]["accessModes"],
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
        });
    });
    if let Err(error) = bound {
        tracing::debug!(%error, %namespace, %name, "claim went while its volume was made");
    }
}
