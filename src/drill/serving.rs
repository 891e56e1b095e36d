//! Workloads that have to be ready at a moment of a drill, or must not be: a program that goes on as if nothing had happened,
//! with credentials that are no longer valid, is a finding as well as one that does not come back.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::Value;

use crate::drill::record::Halt;
use crate::drill::stage::{self, Stage};
use crate::drill::{Assignment, Course, answering, finding, unready};
use crate::kubernetes::{self, Kubernetes, KubernetesError, wait_for};
use crate::outcome::{CheckKind, CheckResult, Phase};
use crate::scenario::{Checkpoint, Readiness, Serving};

/// How long a program may take to notice.
const NOTICES: Duration = Duration::from_secs(30);
/// How long what is unready has to stay so: a program that only lost its connection for a moment has noticed nothing.
const STAYS: Duration = Duration::from_secs(3);

impl Course<'_> {
    /// Looks at every workload that something is expected of at this moment: at all of them in the same seconds.
    pub async fn check_serving(&mut self, checkpoint: Checkpoint, phase: Phase) {
        let Self { assignment, stage, record, .. } = self;
        let mut told = Vec::new();
        for serving in assignment.scenario.serving.iter().filter(|serving| applies(assignment, serving)) {
            let Some(&expected) = serving.expected.get(&checkpoint) else { continue };
            // One after the other, since there is one prober. Probes are given their time once: it runs from the last step.
            told.push((serving, expected, Instant::now(), self::told(stage, serving, expected).await));
        }
        let stage: &Stage = stage;
        let looks = told.into_iter().map(async |(serving, expected, started, told)| {
            let name = format!("{} is {} at {}", serving.workload, expected.name(), checkpoint.name());
            let finding = match told {
                Ok(deadline) => look(stage, serving, expected, &name, deadline).await,
                Err(error) => Err(error.into()),
            };
            (name, started, finding)
        });
        for (name, started, finding) in join_all(looks).await {
            finding::write(record, &name, CheckKind::Agreement, phase, started, finding);
        }
    }
}

fn applies(assignment: &Assignment<'_>, serving: &Serving) -> bool {
    serving.drills.is_empty() || serving.drills.contains(&assignment.plan.name)
}

/// Waits for what is expected of one workload.
async fn look(
    stage: &Stage,
    serving: &Serving,
    expected: Readiness,
    name: &str,
    deadline: Duration,
) -> finding::Finding {
    let mut since = None;
    let seen = wait_for(name, deadline, async || {
        let (readiness, state) = readiness(workload(stage, serving).await?.as_ref());
        let lasts = lasting(&mut since, Instant::now(), readiness, expected);
        Ok(if lasts { Ok(state) } else { Err(state) })
    });
    match seen.await {
        Ok(state) => Ok((CheckResult::Held, state)),
        Err(KubernetesError::Deadline { last, deadline, .. }) => difference(stage, serving, &last, deadline).await,
        Err(error) => Err(Halt::from(error)),
    }
}

/// Waits until what a workload is called is of after the last step; how long it may then take until it is what is expected.
async fn told(stage: &mut Stage, serving: &Serving, expected: Readiness) -> Result<Duration, KubernetesError> {
    let workload = workload(stage, serving).await?;
    if let (Readiness::Unready, Some(workload)) = (expected, &workload) {
        // One that is called ready is waited for until it is not, and one that is not becomes it when its probe succeeds again.
        passed(stage, lag(workload, COMES_BACK)).await?;
        return Ok(NOTICES + lag(workload, GOES_AWAY));
    }
    let kubernetes = stage.cluster_of(&serving.workload).clone();
    until_told(stage, &kubernetes, workload.as_slice()).await?;
    Ok(NOTICES)
}

/// Waits until what the workloads' probes say is of after the last thing that was done to the system: one that became ready on an
/// empty database is called ready until its probe has failed as often as its manifest lets it. One that is called ready and answers now
/// is not waited for.
pub async fn until_told(
    stage: &mut Stage,
    kubernetes: &Kubernetes,
    workloads: &[Value],
) -> Result<(), KubernetesError> {
    let mut lag = Duration::ZERO;
    for workload in workloads {
        let answers = is_ready(workload) && answering::answers(stage, kubernetes, workload).await?;
        if !answers && wanted(workload) != 0 {
            lag = lag.max(self::lag(workload, GOES_AWAY));
        }
    }
    passed(stage, lag).await
}

/// Waits until the last thing that was done to the system is this long ago.
async fn passed(stage: &Stage, lag: Duration) -> Result<(), KubernetesError> {
    wait_for("readiness of after the last step", lag + NOTICES, async || {
        let since = stage.acted_at.elapsed();
        Ok(if since >= lag { Ok(()) } else { Err(format!("{}s have passed", since.as_secs())) })
    })
    .await
}

/// The field of a probe that says how often it has to answer the same before it counts, and its default.
type Threshold = (&'static str, u64);
const GOES_AWAY: Threshold = ("failureThreshold", 3);
const COMES_BACK: Threshold = ("successThreshold", 1);

/// How long a workload's probes may go on saying what is no longer so: a look that was under way, and as many as it takes to say
/// otherwise, with the defaults of Kubernetes.
fn lag(workload: &Value, (threshold, default): Threshold) -> Duration {
    let spec = &workload["spec"];
    let pod = if workload["kind"] == "Pod" { spec } else { &spec["template"]["spec"] };
    let probes = pod["containers"].as_array().into_iter().flatten().map(|container| &container["readinessProbe"]);
    let seconds = probes.filter(|probe| probe.is_object()).map(|probe| {
        let field = |name: &str, default: u64| probe[name].as_u64().filter(|seconds| *seconds > 0).unwrap_or(default);
        let (period, timeout) = (field("periodSeconds", 10), field("timeoutSeconds", 1));
        field(threshold, default) * period.max(timeout) + period + timeout
    });
    Duration::from_secs(seconds.max().unwrap_or_default())
}

/// Whether what is expected is seen, and if that is unready, has been seen for [`STAYS`] without a break.
fn lasting(since: &mut Option<Instant>, now: Instant, seen: Readiness, expected: Readiness) -> bool {
    // What is not there serves nobody either.
    let is_so = seen == expected || (seen, expected) == (Readiness::Absent, Readiness::Unready);
    if !is_so {
        *since = None;
        return false;
    }
    expected != Readiness::Unready || now.duration_since(*since.get_or_insert(now)) >= STAYS
}

/// What was seen to the last, and what the pods say to it.
async fn difference(stage: &Stage, serving: &Serving, last: &str, deadline: Duration) -> finding::Finding {
    let mut words = vec![format!("{last} after {}s", deadline.as_secs())];
    if let Some(workload) = workload(stage, serving).await? {
        words.extend(unready::reasons(stage.cluster_of(&serving.workload), &workload).await?);
    }
    Ok((CheckResult::Differs { difference: words.join("; ") }, String::new()))
}

async fn workload(stage: &Stage, serving: &Serving) -> Result<Option<Value>, KubernetesError> {
    let name = &serving.workload;
    let kubernetes = stage.cluster_of(name);
    for kind in [kubernetes::DEPLOYMENT, kubernetes::STATEFUL_SET, kubernetes::POD] {
        if let Some(workload) = kubernetes.get(kind, &name.namespace, &name.name).await? {
            return Ok(Some(workload));
        }
    }
    Ok(None)
}

fn is_ready(workload: &Value) -> bool {
    readiness(Some(workload)).0 == Readiness::Ready
}

fn wanted(workload: &Value) -> i64 {
    workload["spec"]["replicas"].as_i64().unwrap_or(1)
}

/// Whether a workload has all the replicas that it asks for, or none; half of it is neither and counts as unready.
fn readiness(workload: Option<&Value>) -> (Readiness, String) {
    let Some(workload) = workload else { return (Readiness::Absent, "not there".to_owned()) };
    if workload["kind"] == "Pod" {
        let readiness = if stage::is_ready(workload) { Readiness::Ready } else { Readiness::Unready };
        return (readiness, format!("there: {}", stage::pod_state(workload)));
    }
    let (wanted, ready) = (wanted(workload), workload["status"]["readyReplicas"].as_i64().unwrap_or_default());
    let is_ready = wanted > 0 && ready == wanted;
    (if is_ready { Readiness::Ready } else { Readiness::Unready }, format!("{ready} of {wanted} ready"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_workload_is_ready_when_all_that_it_asks_for_is() {
        let workload =
            |wanted: i64, ready: Value| json!({"spec": {"replicas": wanted}, "status": {"readyReplicas": ready}});
        assert_eq!(readiness(Some(&workload(1, json!(1)))).0, Readiness::Ready);
        assert_eq!(readiness(Some(&workload(2, json!(1)))), (Readiness::Unready, "1 of 2 ready".to_owned()));
        assert_eq!(readiness(Some(&workload(1, Value::Null))).0, Readiness::Unready);
        assert_eq!(readiness(Some(&workload(0, json!(0)))).0, Readiness::Unready);
        assert_eq!(readiness(None), (Readiness::Absent, "not there".to_owned()));
        let pod = json!({"kind": "Pod", "status": {"phase": "Running"}});
        assert_eq!(readiness(Some(&pod)), (Readiness::Unready, "there: Running".to_owned()));
    }

    #[test]
    fn what_a_probe_says_is_believed_when_it_could_have_said_something_else() {
        let workload = |probe: Value| json!({"kind": "Deployment", "spec": {"template": {"spec": {"containers": [{"readinessProbe": probe}]}}}});
        let lag = |workload: &Value| self::lag(workload, GOES_AWAY);
        assert_eq!(lag(&workload(json!({}))), Duration::from_secs(3 * 10 + 10 + 1));
        assert_eq!(lag(&workload(json!({"periodSeconds": 1}))), Duration::from_secs(5));
        let slow = json!({"periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 2});
        assert_eq!(lag(&workload(slow)), Duration::from_secs(2 * 5 + 1 + 5));
        assert_eq!(lag(&workload(Value::Null)), Duration::ZERO, "nobody looks");
        let comes_back = |probe: Value| self::lag(&workload(probe), COMES_BACK);
        assert_eq!(comes_back(json!({"failureThreshold": 9})), Duration::from_secs(10 + 10 + 1));
        assert_eq!(comes_back(json!({"periodSeconds": 1, "successThreshold": 4})), Duration::from_secs(4 + 1 + 1));
    }

    #[test]
    fn a_moment_without_readiness_is_not_taken_for_having_noticed() {
        use Readiness::{Absent, Ready, Unready};
        let start = Instant::now();
        let mut since = None;
        let mut seen = |readiness, after: u64, expected| {
            lasting(&mut since, start + Duration::from_secs(after), readiness, expected)
        };
        let looks =
            [(Unready, 0, false), (Unready, 2, false), (Ready, 3, false), (Unready, 4, false), (Unready, 7, true)];
        for (readiness, after, lasts) in looks {
            assert_eq!(seen(readiness, after, Unready), lasts, "after {after}s");
        }
        assert!(
            seen(Absent, 8, Absent) && !seen(Unready, 8, Absent),
            "what is there is not absent, whatever its state"
        );
        assert!(seen(Ready, 8, Ready), "what is ready is ready at once: that it stays so is looked at in the end");
    }
}
