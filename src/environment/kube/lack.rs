//! Whether the cluster had no room for what a drill made: then what failed is not the page's doing.

use serde_json::Value;

use super::{Kube, Watched};
use crate::drill::stage;
use crate::error::chain;
use crate::gate::room::Rooms;
use crate::kubernetes::{self, KubernetesError};

impl Kube {
    /// What there was no room for, in the cluster's words and with the page's names.
    pub async fn lack(&self) -> Option<String> {
        let running = self.running.lock().await;
        for Watched { gate, .. } in running.iter().flat_map(|running| running.gates.values()) {
            match lack_of(&gate.rooms).await {
                Ok(None) => {}
                Ok(Some(lack)) => {
                    let documented = gate.rooms.naming().documented(lack.as_bytes());
                    return Some(documented.map_or(lack, |bytes| String::from_utf8_lossy(&bytes).into_owned()));
                }
                Err(error) => return Some(format!("whether there was room cannot be told: {}", chain(&error))),
            }
        }
        None
    }
}

async fn lack_of(rooms: &Rooms) -> Result<Option<String>, KubernetesError> {
    for namespace in rooms.of_the_page() {
        let pods = rooms.kubernetes().list(kubernetes::POD, &namespace).await?;
        let events = rooms.kubernetes().list(kubernetes::EVENT, &namespace).await?;
        if let Some(lack) = unplaced(&pods).or_else(|| refused(&events).filter(|_| !rooms.has_quota_of_the_page())) {
            return Ok(Some(lack));
        }
    }
    Ok(None)
}

/// A pod that waits for a node with room. Nodes that it does not want are another matter, and the manifest's.
fn unplaced(pods: &[Value]) -> Option<String> {
    pods.iter().find_map(|pod| {
        let message = stage::unplaced(pod).filter(|message| kubernetes::says_full(message))?;
        Some(format!("no node has room for the pod {}: {message}", name(&pod["metadata"])))
    })
}

/// Pods and claims that a quota kept a controller from making.
fn refused(events: &[Value]) -> Option<String> {
    events.iter().find_map(|event| {
        let message = event["message"].as_str().filter(|message| message.contains("exceeded quota"))?;
        Some(format!("{} could not be made whole: {message}", name(&event["involvedObject"])))
    })
}

fn name(object: &Value) -> &str {
    object["name"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_that_no_node_has_room_for_is_told_from_one_that_wants_another_node() {
        let pod = |message: &str| {
            [json!({"metadata": {"name": "db"}, "status": {"conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]}})]
        };
        let full = "0/1 nodes are available: 1 Insufficient memory. preemption: 0/1 nodes are available.";
        assert_eq!(unplaced(&pod(full)), Some(format!("no node has room for the pod db: {full}")));
        assert!(unplaced(&pod("0/1 nodes are available: 1 Too many pods.")).is_some());
        let selector = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.";
        assert_eq!(unplaced(&pod(selector)), None);
        let placed = json!({"status": {"conditions": [{"type": "PodScheduled", "status": "True"}]}});
        assert_eq!(unplaced(&[placed, json!({})]), None);
    }

    #[test]
    fn what_a_quota_refused_is_told_with_whose_pod_it_was() {
        let event = |message: &str| json!({"involvedObject": {"name": "web-5d4"}, "message": message});
        let over = r#"Error creating: pods "web-5d4-x" is forbidden: exceeded quota: team, requested: pods=1, used: pods=4, limited: pods=4"#;
        let told = refused(&[event("Scaled up replica set"), event(over)]).unwrap();
        assert!(
            told.starts_with("web-5d4 could not be made whole: Error creating") && told.contains("limited: pods=4")
        );
        assert_eq!(refused(&[event("Back-off restarting failed container")]), None);
    }
}
