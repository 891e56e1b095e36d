//! Whether all that a drill stands on was there all the time: the cluster, the way to it, and redrill's own pods.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::sync::Mutex;

use super::{Kube, Watched};
use crate::drill::station;
use crate::error::chain;
use crate::gate::room;
use crate::kubernetes;

/// redrill's own pods as they were seen last: by namespace and name, which one it is and how often it was started again.
#[derive(Default)]
pub(super) struct Seen(Mutex<BTreeMap<(String, String), Own>>);

#[derive(Clone, PartialEq, Eq)]
struct Own {
    uid: String,
    restarts: u64,
}

impl Kube {
    /// Completes when the drill cannot be reached any more.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Whether the cluster always answered, and does now.
    pub async fn is_there(&self) -> bool {
        if self.lost.is_cancelled() || self.trouble.what().is_some() {
            return false;
        }
        if let Err(what) = self.look().await {
            self.trouble.note(&what);
        }
        self.trouble.what().is_none()
    }

    /// Errs with what is amiss.
    async fn look(&self) -> Result<(), String> {
        let unanswered = |error| format!("the cluster does not answer: {}", chain(&error));
        self.clusters.home().answers().await.map_err(unanswered)?;
        let running = self.running.lock().await;
        for Watched { gate, .. } in running.iter().flat_map(|running| running.gates.values()) {
            if !gate.is_attended().await {
                return Err("the drill's porter does not answer".to_owned());
            }
            let mut seen = self.seen.0.lock().await;
            let own = [room::PORTER, station::NAMESPACE].into_iter().filter_map(|own| gate.rooms.real(own).ok());
            for namespace in own.filter(|namespace| gate.rooms.owns(namespace)) {
                let pods = gate.rooms.kubernetes().list(kubernetes::POD, &namespace).await;
                compare(&mut seen, &namespace, &pods.map_err(unanswered)?)?;
            }
        }
        Ok(())
    }

    pub fn absence(&self) -> (String, &'static str) {
        let what = self.trouble.what().unwrap_or_else(|| "the drill cannot be reached any more".to_owned());
        (
            format!("what the drill stands on was not there all the time: {what}"),
            "look at the cluster, run `redrill gc --env kube`, and run the drill again",
        )
    }
}

/// Holds a namespace of redrill's own against what was seen of it last, and remembers what is there now. Errs with the first pod that
/// is not what it was: what was in it, or went through it, is not what the page left there.
fn compare(seen: &mut BTreeMap<(String, String), Own>, namespace: &str, pods: &[Value]) -> Result<(), String> {
    let now: BTreeMap<(String, String), Own> =
        pods.iter().filter(|pod| is_there(pod)).map(|pod| own(namespace, pod)).collect();
    for ((_, name), before) in seen.iter().filter(|((of, _), _)| of == namespace) {
        match now.get(&(namespace.to_owned(), name.clone())) {
            Some(own) if own == before => {}
            Some(own) if own.uid == before.uid => return Err(format!("redrill's own pod {name} was started again")),
            Some(_) | None => {
                return Err(format!("redrill's own pod {name} is gone: evicted, preempted, or removed by somebody"));
            }
        }
    }
    seen.extend(now);
    Ok(())
}

fn is_there(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_null() && matches!(pod["status"]["phase"].as_str(), Some("Running"))
}

fn own(namespace: &str, pod: &Value) -> ((String, String), Own) {
    let text = |name: &str| pod["metadata"][name].as_str().unwrap_or_default().to_owned();
    let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let restarts = statuses.filter_map(|status| status["restartCount"].as_u64()).sum();
    ((namespace.to_owned(), text("name")), Own { uid: text("uid"), restarts })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, uid: &str, restarts: u64) -> Value {
        json!({
            "metadata": {"name": name, "uid": uid},
            "status": {"phase": "Running", "containerStatuses": [{"restartCount": restarts}, {"restartCount": 0}]},
        })
    }

    #[test]
    fn a_pod_of_redrills_own_that_is_not_what_it_was_is_told() {
        let mut seen = BTreeMap::new();
        let mut look = |pods: &[Value]| compare(&mut seen, "redrill", pods);
        assert_eq!(look(&[pod("prober", "1", 0)]), Ok(()));
        assert_eq!(look(&[pod("prober", "1", 0), pod("workstation", "2", 1)]), Ok(()), "one more is no change");
        let starting = json!({"metadata": {"name": "store", "uid": "3"}, "status": {"phase": "Pending"}});
        assert_eq!(look(&[pod("prober", "1", 0), pod("workstation", "2", 1), starting]), Ok(()), "nor one that starts");
        let again = look(&[pod("prober", "1", 0), pod("workstation", "2", 2)]);
        assert_eq!(again, Err("redrill's own pod workstation was started again".to_owned()));
        let gone = Err("redrill's own pod workstation is gone: evicted, preempted, or removed by somebody".to_owned());
        assert_eq!(look(&[pod("prober", "1", 0), pod("workstation", "4", 0)]), gone);
        assert_eq!(look(&[pod("prober", "1", 0)]), gone);
        let mut ending = pod("workstation", "2", 1);
        ending["metadata"]["deletionTimestamp"] = json!("2020-01-01T00:00:00Z");
        assert_eq!(look(&[pod("prober", "1", 0), ending]), gone);
    }

    #[test]
    fn other_namespaces_are_not_this_ones() {
        let mut seen = BTreeMap::new();
        assert_eq!(compare(&mut seen, "a", &[pod("prober", "1", 0)]), Ok(()));
        assert_eq!(compare(&mut seen, "b", &[]), Ok(()));
    }
}
