//! What came back has to outlive a restart of its server: a pod that would be filled anew each time it starts has not recovered.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::drill::evidence::Evidence;
use crate::drill::finding::Finding;
use crate::drill::record::Halt;
use crate::drill::stage::{ask, is_ready, pod_state};
use crate::drill::unanswered::Unanswered;
use crate::drill::workload;
use crate::drill::{Assignment, Stage, seed};
use crate::error::chain;
use crate::kubernetes::{self, Kubernetes, KubernetesError, wait_for};
use crate::outcome::CheckResult;
use crate::probe::ledger::FIRST_WRITE;
use crate::probe::{Reply, Request};
use crate::scenario::Database;

/// How long the server may take to stop and to answer again; a recovery that is run again may take its time.
const RESTART: Duration = Duration::from_secs(180);

/// Deletes the pods behind the ledger's database, as its node going away would, and looks again. `None` where there is no
/// ledger to look at.
pub async fn run(assignment: &Assignment<'_>, stage: &mut Stage, evidence: &Evidence) -> Option<Finding> {
    let database = seed::held_ledger(assignment)?;
    let kubernetes = stage.clusters.of(database.cluster.as_deref()).clone();
    let pods = match pods_behind(&kubernetes, database).await {
        Ok(pods) => pods,
        Err(error) => return Some(Err(error.into())),
    };
    if pods.is_empty() {
        let reason = format!("{}: no ready pod is behind {}, so none was restarted", database.source, database.host);
        return Some(Err(Halt::unverified(reason, "name the Service of the database as `host`")));
    }
    Some(restart(assignment, stage, evidence, &kubernetes, &pods).await)
}

async fn restart(
    assignment: &Assignment<'_>,
    stage: &mut Stage,
    evidence: &Evidence,
    kubernetes: &Kubernetes,
    pods: &[Value],
) -> Finding {
    for pod in pods {
        let (namespace, name) = names(pod);
        kubernetes.delete(kubernetes::POD, namespace, name).await?;
    }
    wait_gone(kubernetes, pods).await?;
    let found = nonces(assignment, stage).await?;
    let mut gone = Vec::new();
    if evidence.nonce_before.as_ref().is_some_and(|before| found.get("before") != Some(before)) {
        gone.push("what was backed up");
    }
    if evidence.first_write && !found.contains_key(FIRST_WRITE) {
        gone.push("the first write after the restore");
    }
    let detail = "the pods behind the database were deleted, and their successors hold what those held".to_owned();
    Ok(match gone.is_empty() {
        true => (CheckResult::Held, detail),
        false => {
            let difference = format!("gone after a restart of the database's pod: {}", gone.join(", "));
            (CheckResult::Differs { difference }, detail)
        }
    })
}

/// What the database answers once it does. One that does not has not outlived the restart.
async fn nonces(assignment: &Assignment<'_>, stage: &mut Stage) -> Result<BTreeMap<String, String>, Halt> {
    let Some(target) = seed::restored_ledger(assignment, &stage.values).await? else {
        return Err(Halt::unverified("the scenario keeps no ledger", "name one in the scenario"));
    };
    let prober = &mut stage.prober;
    let answered = wait_for("the database answers again", RESTART, async || {
        Ok(match ask(prober, Request::ReadNonces { target: target.clone() }).await {
            Ok(Reply::Nonces { values }) => Ok(Ok(values)),
            Ok(other) => Ok(Err(Unanswered::unexpected(&other).into())),
            Err(Unanswered::NoProber(halt)) => Ok(Err(halt)),
            Err(Unanswered::Refused { reason } | Unanswered::Unknown { reason }) => Err(reason),
        })
    });
    match answered.await {
        Ok(answer) => answer,
        Err(late) => Err(Halt::failed(chain(&late))),
    }
}

/// The ready pods that the Service of this host leads to.
async fn pods_behind(kubernetes: &Kubernetes, database: &Database) -> Result<Vec<Value>, KubernetesError> {
    let Some((service, namespace)) = database.host.split_once('.') else { return Ok(Vec::new()) };
    let namespace = namespace.split('.').next().unwrap_or(namespace);
    let Some(service) = kubernetes.get(kubernetes::SERVICE, namespace, service).await? else { return Ok(Vec::new()) };
    let selector = service["spec"]["selector"].as_object().cloned().unwrap_or_default();
    let mut pods = workload::selected(kubernetes, namespace, &selector).await?;
    pods.retain(is_ready);
    Ok(pods)
}

/// Until then an answer could still be the old server's.
async fn wait_gone(kubernetes: &Kubernetes, pods: &[Value]) -> Result<(), KubernetesError> {
    for pod in pods {
        let (namespace, name) = names(pod);
        wait_for(&format!("pod {namespace}/{name} gone"), RESTART, async || {
            let there = kubernetes.get(kubernetes::POD, namespace, name).await?;
            let same = there.filter(|there| there["metadata"]["uid"] == pod["metadata"]["uid"]);
            Ok(same.map_or(Ok(()), |pod| Err(pod_state(&pod))))
        })
        .await?;
    }
    Ok(())
}

fn names(pod: &Value) -> (&str, &str) {
    let field = |name: &str| pod["metadata"][name].as_str().unwrap_or_default();
    (field("namespace"), field("name"))
}
