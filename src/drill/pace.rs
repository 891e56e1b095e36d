//! Operator pace: a person looks before typing on. Waits until what earlier steps touched has settled.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::drill::site::Site;
use crate::drill::stage;
use crate::kubernetes::{self, KubernetesError, TypeName};
use crate::outcome::Waited;

/// What a step can touch that takes time to follow.
const WORKLOADS: [TypeName<'static>; 3] = [kubernetes::DEPLOYMENT, kubernetes::STATEFUL_SET, kubernetes::JOB];

/// By which a pod says what goes on by itself, in words that stay the same while it does.
pub const UNDER_WAY: &str = "redrill.dev/under-way";

/// How labels begin of the pods that redrill makes in the place of what a system has elsewhere.
const OWN: &str = "redrill.dev/";

/// How workloads, and pods that belong to none, were before the first step: uid and generation by cluster, `Kind namespace/name`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Baseline(BTreeMap<String, (String, i64)>);

/// The outcome of a wait: what was waited for, or what had not settled at the deadline.
#[derive(Debug, PartialEq)]
pub enum Settled {
    /// Empty where nothing had to be waited for.
    Yes(Vec<Waited>),
    No {
        last: String,
        after: Duration,
    },
}

impl Baseline {
    pub async fn take(sites: &[Site]) -> Result<Self, KubernetesError> {
        let mut found = BTreeMap::new();
        for site in sites {
            let pods = site.list(&[kubernetes::POD]).await?;
            let workloads = site.list(&WORKLOADS).await?.into_iter().chain(pods.into_iter().filter(stands_alone));
            found.extend(workloads.map(|object| (site.describe(&object), identity(&object))));
        }
        Ok(Self(found))
    }

    fn touched(&self, name: &str, object: &Value) -> bool {
        self.0.get(name) != Some(&identity(object))
    }
}

/// Waits until every workload that differs from `baseline` has what it asks for, and no pod is on its way out.
///
/// Errs only when the cluster cannot be asked; what does not settle by `deadline` is [`Settled::No`].
pub async fn settle(sites: &[Site], baseline: &Baseline, deadline: Duration) -> Result<Settled, KubernetesError> {
    let start = Instant::now();
    let mut waited: BTreeMap<String, Duration> = BTreeMap::new();
    loop {
        let unsettled = unsettled(sites, baseline).await?;
        if unsettled.is_empty() {
            let waited = waited.into_iter().map(|(condition, duration)| Waited { condition, duration }).collect();
            return Ok(Settled::Yes(waited));
        }
        if start.elapsed() >= deadline {
            return Ok(Settled::No { last: unsettled.join("; "), after: deadline });
        }
        tokio::time::sleep(kubernetes::look_again(start.elapsed())).await;
        for condition in unsettled {
            waited.insert(condition, start.elapsed());
        }
    }
}

async fn unsettled(sites: &[Site], baseline: &Baseline) -> Result<Vec<String>, KubernetesError> {
    let mut conditions: Vec<String> = Vec::new();
    for site in sites {
        for object in site.list(&WORKLOADS).await? {
            let name = site.describe(&object);
            if baseline.touched(&name, &object) {
                conditions.extend(condition_unmet(&name, &object));
            }
        }
        for pod in site.list(&[kubernetes::POD]).await? {
            if pod["metadata"]["deletionTimestamp"].is_string() {
                conditions.push(format!("pods of {} gone", workload_of(&pod)));
            }
            let name = site.describe(&pod);
            if stands_alone(&pod) && baseline.touched(&name, &pod) && is_starting(&pod) {
                conditions.push(format!("{name} ready"));
            }
            // What is no workload of the cluster says itself what is under way.
            conditions.extend(pod["metadata"]["annotations"][UNDER_WAY].as_str().map(str::to_owned));
        }
    }
    conditions.sort();
    conditions.dedup();
    Ok(conditions)
}

/// Whether nothing makes a pod anew: neither a workload of the cluster nor what redrill stands for.
fn stands_alone(pod: &Value) -> bool {
    let labels = pod["metadata"]["labels"].as_object().into_iter().flatten();
    pod["metadata"]["ownerReferences"][0].is_null() && !labels.into_iter().any(|(key, _)| key.starts_with(OWN))
}

/// Neither over nor ready: a person who looks sees that it is not there yet.
fn is_starting(pod: &Value) -> bool {
    let is_over = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    !is_over && pod["metadata"]["deletionTimestamp"].is_null() && !stage::is_ready(pod)
}

fn identity(object: &Value) -> (String, i64) {
    let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    (uid, object["metadata"]["generation"].as_i64().unwrap_or_default())
}

/// What a workload still lacks, in words that stay the same while it is waited for; `None` where it has settled.
fn condition_unmet(name: &str, object: &Value) -> Option<String> {
    let status = &object["status"];
    let count = |field: &str| status[field].as_i64().unwrap_or_default();
    if object["kind"] == "Job" {
        let ended = status["conditions"].as_array().into_iter().flatten().any(|condition| {
            condition["status"] == "True" && (condition["type"] == "Complete" || condition["type"] == "Failed")
        });
        return (!ended).then(|| format!("{name} ended"));
    }
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
    let seen = count("observedGeneration") >= object["metadata"]["generation"].as_i64().unwrap_or_default();
    let all = ["replicas", "updatedReplicas", "readyReplicas"].iter().all(|field| count(field) == wanted);
    (!seen || !all).then(|| format!("{name} at {wanted} ready"))
}

/// The workload's name, as far as a pod's own name tells it, so that the words do not change from run to run.
fn workload_of(pod: &Value) -> String {
    let owner = pod["metadata"]["ownerReferences"][0]["name"].as_str();
    let name = owner.or_else(|| pod["metadata"]["name"].as_str()).unwrap_or("?");
    match pod["metadata"]["labels"]["pod-template-hash"].as_str() {
        Some(hash) => name.trim_end_matches(hash).trim_end_matches('-').to_owned(),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(generation: i64, wanted: i64, observed: i64, ready: i64) -> Value {
        json!({"kind": "Deployment", "metadata": {"name": "web", "namespace": "taiga", "uid": "u", "generation": generation},
            "spec": {"replicas": wanted},
            "status": {"observedGeneration": observed, "replicas": ready, "updatedReplicas": ready, "readyReplicas": ready}})
    }

    #[test]
    fn a_pod_that_a_step_made_is_waited_for_until_it_is_ready_or_over() {
        let pod = |phase: &str, ready: &str| {
            json!({"kind": "Pod", "metadata": {"name": "client", "namespace": "ci", "uid": "u"},
                "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}})
        };
        assert!(stands_alone(&pod("Pending", "False")) && is_starting(&pod("Pending", "False")));
        assert!(is_starting(&pod("Running", "False")));
        assert!(!is_starting(&pod("Running", "True")) && !is_starting(&pod("Succeeded", "False")));
        let mut owned = pod("Pending", "False");
        owned["metadata"]["ownerReferences"] = json!([{"kind": "Job", "name": "x"}]);
        assert!(!stands_alone(&owned), "its workload is waited for");
        let mut task = pod("Pending", "False");
        task["metadata"]["labels"] = json!({"redrill.dev/ecs-task": "x"});
        assert!(!stands_alone(&task), "its service says what is under way");
    }

    fn unmet(object: &Value) -> Option<String> {
        condition_unmet(&kubernetes::describe(object), object)
    }

    #[test]
    fn a_deployment_has_settled_when_the_controller_has_seen_it_and_all_replicas_are_ready() {
        assert_eq!(unmet(&deployment(2, 1, 2, 1)), None);
        assert_eq!(unmet(&deployment(2, 0, 2, 0)), None);
        let wanting = Some("Deployment taiga/web at 1 ready".to_owned());
        assert_eq!(unmet(&deployment(2, 1, 1, 1)), wanting);
        assert_eq!(unmet(&deployment(2, 1, 2, 0)), wanting);
    }

    #[test]
    fn a_job_has_settled_when_it_ended_either_way() {
        let job =
            |conditions: Value| json!({"kind": "Job", "metadata": {"name": "b"}, "status": {"conditions": conditions}});
        assert!(unmet(&job(json!([]))).is_some());
        assert!(unmet(&job(json!([{"type": "Failed", "status": "True"}]))).is_none());
        assert!(unmet(&job(json!([{"type": "Complete", "status": "False"}]))).is_some());
    }

    #[test]
    fn only_what_a_step_touched_is_waited_for() {
        let before = deployment(1, 1, 1, 1);
        let baseline = Baseline(BTreeMap::from([("web".to_owned(), identity(&before))]));
        assert!(!baseline.touched("web", &before));
        assert!(baseline.touched("web", &deployment(2, 0, 1, 1)));
        assert!(baseline.touched("other", &before), "it was not there");
    }

    #[test]
    fn a_pod_on_its_way_out_is_named_by_its_workload() {
        let pod = json!({"metadata": {"name": "web-5f6c7-x2x4z", "labels": {"pod-template-hash": "5f6c7"},
            "ownerReferences": [{"name": "web-5f6c7"}]}});
        assert_eq!(workload_of(&pod), "web");
    }
}
