//! Deployments, StatefulSets, Jobs, claims, namespaces and what they own.

use redrill::cluster::kind::{CLAIM, CRON_JOB, DEPLOYMENT, JOB, NAMESPACE, POD, REPLICA_SET, SECRET, STATEFUL_SET};
use redrill::cluster::reconcile::object::{condition_of, has_condition};
use redrill::cluster::store::{DeleteOptions, Propagation};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

use crate::cluster::{Cluster, deployment, spec, template};

#[tokio::test(start_paused = true)]
async fn a_deployment_is_scaled_up_and_down_and_its_status_follows() {
    let cluster = Cluster::start();
    cluster.create(&DEPLOYMENT, "web", deployment(3, spec("serve")));
    cluster.until_ready(3).await;
    cluster
        .until("status", |cluster| {
            let web = cluster.get(&DEPLOYMENT, "web").unwrap();
            let status = &web["status"];
            status["availableReplicas"] == 3
                && status["updatedReplicas"] == 3
                && status["observedGeneration"] == web["metadata"]["generation"]
                && has_condition(&web, "Available")
                && condition_of(&web, "Progressing").unwrap()["reason"] == "NewReplicaSetAvailable"
        })
        .await;
    cluster.change(&DEPLOYMENT, "web", |web| web["spec"]["replicas"] = json!(0));
    cluster.until("no pods", |cluster| cluster.pods().is_empty()).await;
    cluster.change(&DEPLOYMENT, "web", |web| web["spec"]["replicas"] = json!(1));
    cluster.until_ready(1).await;
    assert_eq!(cluster.store.list(&REPLICA_SET, None).1.len(), 1, "scaling makes no new template");
}

#[tokio::test(start_paused = true)]
async fn generated_names_are_the_same_in_every_run() {
    let mut names = Vec::new();
    for _ in 0..2 {
        let cluster = Cluster::start();
        cluster.create(&DEPLOYMENT, "web", deployment(2, spec("serve")));
        cluster.until_ready(2).await;
        names.push(cluster.pod_names());
    }
    assert_eq!(names[0], names[1]);
}

#[tokio::test(start_paused = true)]
async fn a_rolling_update_never_has_less_than_allowed_available() {
    let cluster = Cluster::start();
    cluster.create(&DEPLOYMENT, "web", deployment(4, spec("one")));
    cluster.until_ready(4).await;
    cluster.reconciler.settled().await;
    let mut watch = cluster.store.watch(cluster.store.resource_version()).unwrap().1;
    cluster.change(&DEPLOYMENT, "web", |web| {
        web["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["two"]);
    });
    cluster
        .until("every pod replaced", |cluster| {
            let pods = cluster.pods();
            pods.len() == 4 && pods.iter().all(|pod| pod["spec"]["containers"][0]["command"][0] == "two")
        })
        .await;
    cluster.until_ready(4).await;
    let mut available = Vec::new();
    while let Ok(event) = watch.try_recv() {
        if event.kind == &DEPLOYMENT {
            available.extend(event.object["status"]["availableReplicas"].as_i64());
        }
    }
    assert!(available.iter().all(|available| *available >= 3), "{available:?}");
    let web = cluster.get(&DEPLOYMENT, "web").unwrap();
    assert_eq!(web["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "2");
}

#[tokio::test(start_paused = true)]
async fn going_back_to_an_earlier_template_takes_its_replica_set_again() {
    let cluster = Cluster::start();
    cluster.create(&DEPLOYMENT, "web", deployment(1, spec("one")));
    cluster.until_ready(1).await;
    for command in ["two", "one"] {
        cluster.change(&DEPLOYMENT, "web", |web| {
            web["spec"]["template"]["spec"]["containers"][0]["command"] = json!([command]);
        });
        cluster
            .until("the new template alone", |cluster| {
                let pods = cluster.pods();
                pods.len() == 1 && pods[0]["spec"]["containers"][0]["command"][0] == command
            })
            .await;
    }
    assert_eq!(cluster.store.list(&REPLICA_SET, None).1.len(), 2);
    cluster
        .until("revision 3", |cluster| {
            let web = cluster.get(&DEPLOYMENT, "web").unwrap();
            web["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn recreate_ends_every_old_pod_before_the_first_new_one() {
    let cluster = Cluster::start();
    let mut web = deployment(2, spec("one"));
    web["spec"]["strategy"] = json!({"type": "Recreate"});
    cluster.create(&DEPLOYMENT, "web", web);
    cluster.until_ready(2).await;
    // They take as long as their grace period to go.
    cluster.runtime.ignores_sigterm("one");
    let changed = Instant::now();
    cluster.change(&DEPLOYMENT, "web", |web| {
        web["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["two"]);
    });
    cluster
        .until("new pods", |cluster| {
            let pods = cluster.pods();
            pods.len() == 2 && pods.iter().all(|pod| pod["spec"]["containers"][0]["command"][0] == "two")
        })
        .await;
    cluster.until_ready(2).await;
    let took = changed.elapsed();
    assert!(took < Duration::from_secs(60), "by the end of the old pods, and not by a deadline: {took:?}");
    let calls = cluster.runtime.calls();
    let pods: Vec<_> = calls.iter().filter(|call| call.contains("_pod")).map(|call| &call[..6]).collect();
    assert_eq!(pods[..6], ["create", "create", "remove", "remove", "create", "create"]);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_gets_nowhere_is_reported_after_its_deadline() {
    let cluster = Cluster::start();
    let mut web = deployment(1, json!({"containers": [{"name": "c", "image": "absent"}]}));
    web["spec"]["progressDeadlineSeconds"] = json!(0);
    cluster.create(&DEPLOYMENT, "web", web);
    cluster
        .until("deadline exceeded", |cluster| {
            let web = cluster.get(&DEPLOYMENT, "web").unwrap();
            condition_of(&web, "Progressing").is_some_and(|progress| progress["reason"] == "ProgressDeadlineExceeded")
        })
        .await;
}

fn stateful_set(replicas: u32) -> Value {
    json!({"spec": {
        "replicas": replicas, "serviceName": "db", "selector": {"matchLabels": {"app": "web"}},
        "template": template(json!({"containers": [
            {"name": "c", "image": "db:1", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
        ]})),
        "volumeClaimTemplates": [{
            "metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}},
        }],
    }})
}

#[tokio::test(start_paused = true)]
async fn a_stateful_set_starts_in_order_and_keeps_its_claims() {
    let cluster = Cluster::start();
    cluster.create(&STATEFUL_SET, "db", stateful_set(2));
    cluster.until_ready(2).await;
    let calls = cluster.runtime.calls();
    let position = |call: &str| calls.iter().position(|present| present == call).unwrap();
    assert!(position("start shop/db-0/c") < position("create_pod shop/db-1"));
    assert_eq!(cluster.pod_names(), ["db-0", "db-1"]);
    let claim = cluster.get(&CLAIM, "data-db-1").unwrap();
    assert_eq!(claim["status"], json!({"phase": "Bound", "accessModes": null, "capacity": {"storage": "1Gi"}}));
    cluster.change(&STATEFUL_SET, "db", |db| db["spec"]["replicas"] = json!(0));
    cluster.until("no pods", |cluster| cluster.pods().is_empty()).await;
    assert!(cluster.get(&CLAIM, "data-db-0").is_some());
    assert_eq!(cluster.runtime.left(), ["main/shop/data-db-0", "main/shop/data-db-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_stateful_set_is_updated_from_the_highest_ordinal_down() {
    let cluster = Cluster::start();
    cluster.create(&STATEFUL_SET, "db", stateful_set(2));
    cluster.until_ready(2).await;
    cluster.change(&STATEFUL_SET, "db", |db| {
        db["spec"]["template"]["spec"]["containers"][0]["image"] = json!("db:2");
    });
    cluster
        .until("updated", |cluster| {
            let db = cluster.get(&STATEFUL_SET, "db").unwrap();
            db["status"]["observedGeneration"] == db["metadata"]["generation"]
                && db["status"]["updatedReplicas"] == 2
                && db["status"]["currentRevision"] == db["status"]["updateRevision"]
        })
        .await;
    let calls = cluster.runtime.calls();
    let removed: Vec<_> = calls.iter().filter(|call| call.starts_with("remove_pod")).collect();
    assert_eq!(removed, ["remove_pod shop/db-1", "remove_pod shop/db-0"]);
}

fn job(program: &str, extra: Value) -> Value {
    let mut pod = spec(program);
    pod["restartPolicy"] = json!("Never");
    let mut job = json!({"spec": {"template": {"spec": pod}}});
    for (field, value) in extra.as_object().unwrap() {
        job["spec"][field] = value.clone();
    }
    job
}

#[tokio::test(start_paused = true)]
async fn a_job_is_complete_when_its_pods_have_succeeded() {
    let cluster = Cluster::start();
    cluster.runtime.ends("backup", &[0]);
    cluster.create(&JOB, "backup", job("backup", json!({"completions": 3, "parallelism": 2})));
    cluster.until("complete", |cluster| has_condition(&cluster.get(&JOB, "backup").unwrap(), "Complete")).await;
    let job = cluster.get(&JOB, "backup").unwrap();
    assert_eq!(job["status"]["succeeded"], 3);
    assert!(job["status"]["completionTime"].is_string());
    let uid = &job["metadata"]["uid"];
    assert_eq!(job["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"], *uid);
    assert!(cluster.pods().iter().all(|pod| pod["metadata"]["labels"]["job-name"] == "backup"));
}

#[tokio::test(start_paused = true)]
async fn a_failing_job_waits_longer_each_time_and_gives_up_at_its_limit() {
    let cluster = Cluster::start();
    cluster.runtime.ends("backup", &[1]);
    let start = Instant::now();
    cluster.create(&JOB, "backup", job("backup", json!({"backoffLimit": 2})));
    cluster.until("failed", |cluster| has_condition(&cluster.get(&JOB, "backup").unwrap(), "Failed")).await;
    let job = cluster.get(&JOB, "backup").unwrap();
    assert_eq!(job["status"]["failed"], 3);
    assert_eq!(condition_of(&job, "Failed").unwrap()["reason"], "BackoffLimitExceeded");
    assert_eq!(start.elapsed().as_secs(), 30, "10 s and 20 s between the three pods");
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_container_is_restarted_in_place_gives_up_at_its_limit() {
    for (limit, seconds) in [(0, 1), (2, 11)] {
        let cluster = Cluster::start();
        cluster.runtime.ends("backup", &[1]);
        let start = Instant::now();
        let mut job = job("backup", json!({"backoffLimit": limit}));
        job["spec"]["template"]["spec"]["restartPolicy"] = json!("OnFailure");
        cluster.create(&JOB, "backup", job);
        cluster.until("failed", |cluster| has_condition(&cluster.get(&JOB, "backup").unwrap(), "Failed")).await;
        assert_eq!(start.elapsed().as_secs(), seconds, "backoffLimit {limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_succeeds_at_the_second_try_is_complete() {
    let cluster = Cluster::start();
    cluster.runtime.ends("backup", &[1, 0]);
    cluster.create(&JOB, "backup", job("backup", json!({})));
    cluster.until("complete", |cluster| has_condition(&cluster.get(&JOB, "backup").unwrap(), "Complete")).await;
    assert_eq!(cluster.get(&JOB, "backup").unwrap()["status"]["failed"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_suspended_job_runs_nothing_until_it_is_resumed() {
    let cluster = Cluster::start();
    cluster.runtime.ends("backup", &[0]);
    cluster.create(&JOB, "backup", job("backup", json!({"suspend": true})));
    cluster.until("suspended", |cluster| has_condition(&cluster.get(&JOB, "backup").unwrap(), "Suspended")).await;
    assert!(cluster.pods().is_empty());
    cluster.change(&JOB, "backup", |job| job["spec"]["suspend"] = json!(false));
    cluster.until("complete", |cluster| has_condition(&cluster.get(&JOB, "backup").unwrap(), "Complete")).await;
}

#[tokio::test(start_paused = true)]
async fn deleting_a_cron_job_takes_its_jobs_and_their_pods() {
    for propagation in [Propagation::Background, Propagation::Foreground] {
        let cluster = Cluster::start();
        cluster.runtime.ends("backup", &[0]);
        cluster.create(&CRON_JOB, "nightly", json!({"spec": {"schedule": "10 23 * * *"}}));
        let cron_job = cluster.get(&CRON_JOB, "nightly").unwrap();
        let mut manual = job("backup", json!({}));
        manual["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly",
            "uid": cron_job["metadata"]["uid"], "controller": true,
        }]);
        cluster.create(&JOB, "manual", manual);
        cluster.until("complete", |cluster| has_condition(&cluster.get(&JOB, "manual").unwrap(), "Complete")).await;
        assert_eq!(cluster.pods().len(), 1, "a finished pod stays for its log");
        cluster.delete_with(&CRON_JOB, "nightly", propagation);
        cluster
            .until("all gone", |cluster| {
                let jobs = cluster.store.list(&JOB, None).1.len();
                let left = cluster.runtime.left().len();
                cluster.get(&CRON_JOB, "nightly").is_none() && jobs == 0 && cluster.pods().is_empty() && left == 0
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn orphaned_pods_outlive_their_replica_set_and_are_taken_in_again() {
    let cluster = Cluster::start();
    cluster.create(&DEPLOYMENT, "web", deployment(1, spec("serve")));
    cluster.until_ready(1).await;
    let before = cluster.pod_names();
    cluster.delete_with(&DEPLOYMENT, "web", Propagation::Orphan);
    cluster.reconciler.settled().await;
    assert_eq!(cluster.pod_names(), before);
    assert_eq!(cluster.store.list(&REPLICA_SET, None).1.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn deleting_a_namespace_empties_it_first() {
    let cluster = Cluster::start();
    cluster.create(&SECRET, "password", json!({"data": {}}));
    cluster.create(&CLAIM, "media", json!({"spec": {}}));
    let mut pod = spec("serve");
    pod["volumes"] = json!([{"name": "media", "persistentVolumeClaim": {"claimName": "media"}}]);
    cluster.create(&DEPLOYMENT, "web", deployment(2, pod));
    cluster.until_ready(2).await;
    let options = DeleteOptions { propagation: Propagation::Background, grace: None };
    cluster.store.delete(&NAMESPACE, "", "shop", options).unwrap();
    cluster.until("no namespace", |cluster| cluster.store.get(&NAMESPACE, "", "shop").is_none()).await;
    assert!(cluster.store.list_namespace("shop").is_empty());
    assert!(cluster.runtime.left().is_empty(), "{:?}", cluster.runtime.left());
}

#[tokio::test(start_paused = true)]
async fn a_claim_in_use_is_deleted_when_its_last_pod_is_gone() {
    let cluster = Cluster::start();
    cluster.create(&CLAIM, "media", json!({"spec": {}}));
    let mut pod = spec("serve");
    pod["volumes"] = json!([{"name": "media", "persistentVolumeClaim": {"claimName": "media"}}]);
    cluster.create(&POD, "web", json!({"spec": pod}));
    cluster.until_ready(1).await;
    cluster.delete(&CLAIM, "media");
    cluster.reconciler.settled().await;
    assert!(cluster.get(&CLAIM, "media").is_some());
    assert!(cluster.runtime.left().contains(&"main/shop/media".to_owned()));
    cluster.delete(&POD, "web");
    cluster.until("claim gone", |cluster| cluster.get(&CLAIM, "media").is_none()).await;
    assert!(cluster.runtime.left().is_empty());
}

#[tokio::test(start_paused = true)]
async fn stopping_leaves_nothing_in_the_runtime_and_asks_nobody_to_end() {
    let cluster = Cluster::start();
    cluster.create(&CLAIM, "media", json!({"spec": {}}));
    cluster.create(&DEPLOYMENT, "web", deployment(2, spec("serve")));
    cluster.until_ready(2).await;
    let Cluster { runtime, reconciler, .. } = cluster;
    reconciler.stop().await;
    assert!(runtime.left().is_empty(), "{:?}", runtime.left());
    let asked = runtime.calls().into_iter().filter(|call| call.starts_with("signal ") && call.ends_with(" 15"));
    assert_eq!(asked.collect::<Vec<_>>(), [""; 0], "a cluster that is lost ships no last word");
}
