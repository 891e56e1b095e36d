//! Pods: what they wait for, how they start, end and start again, and the names that they resolve.

use std::collections::BTreeMap;
use std::time::Duration;

use redrill::cluster::kind::{CLAIM, ENDPOINTS, POD, SECRET, SERVICE};
use redrill::cluster::kubelet::Outside;
use redrill::cluster::store::{DeleteOptions, Propagation};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster::{Cluster, spec};

fn state(cluster: &Cluster, pod: &str) -> Value {
    cluster.get(&POD, pod).map_or(Value::Null, |pod| pod["status"]["containerStatuses"][0].clone())
}

fn phase(cluster: &Cluster, pod: &str) -> String {
    cluster.get(&POD, pod).unwrap()["status"]["phase"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_crashing_container_is_restarted_after_longer_and_longer_waits() {
    let cluster = Cluster::start();
    cluster.runtime.ends("crash", &[3]);
    let start = Instant::now();
    cluster.create(&POD, "web", json!({"spec": spec("crash")}));
    let restarts = |count: u64| move |cluster: &Cluster| state(cluster, "web")["restartCount"] == count;
    cluster.until("first restart", restarts(1)).await;
    assert_eq!(start.elapsed().as_secs(), 1, "a kubelet looks once a second");
    cluster
        .until("back-off", |cluster| state(cluster, "web")["state"]["waiting"]["reason"] == "CrashLoopBackOff")
        .await;
    assert_eq!(state(&cluster, "web")["lastState"]["terminated"]["exitCode"], 3);
    assert_eq!(phase(&cluster, "web"), "Running");
    cluster.until("second restart", restarts(2)).await;
    assert_eq!(start.elapsed().as_secs(), 11);
    cluster.until("third restart", restarts(3)).await;
    assert_eq!(start.elapsed().as_secs(), 31);
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_for_a_missing_secret_key_and_says_so() {
    let cluster = Cluster::start();
    let mut pod = spec("serve");
    let key = json!({"secretKeyRef": {"name": "db", "key": "password"}});
    pod["containers"][0]["env"] = json!([{"name": "PASSWORD", "valueFrom": key}]);
    cluster.create(&POD, "web", json!({"spec": pod}));
    let message = |cluster: &Cluster| state(cluster, "web")["state"]["waiting"]["message"].clone();
    cluster.until("no secret", |cluster| message(cluster) == "secret \"db\" not found").await;
    cluster.create(&SECRET, "db", json!({"data": {}}));
    cluster.until("no key", |cluster| message(cluster) == "couldn't find key password in Secret shop/db").await;
    assert_eq!(state(&cluster, "web")["state"]["waiting"]["reason"], "CreateContainerConfigError");
    cluster.change(&SECRET, "db", |secret| secret["data"]["password"] = json!("aHVudGVyMg=="));
    cluster.until_ready(1).await;
    assert_eq!(cluster.runtime.environments()[0]["PASSWORD"], "hunter2");
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_for_the_secret_behind_a_volume() {
    let cluster = Cluster::start();
    let mut pod = spec("serve");
    pod["volumes"] = json!([{"name": "keys", "secret": {"secretName": "db"}}]);
    cluster.create(&POD, "web", json!({"spec": pod}));
    cluster.until("failed mount", |cluster| !cluster.events("FailedMount").is_empty()).await;
    assert_eq!(state(&cluster, "web")["state"]["waiting"]["reason"], "ContainerCreating");
    assert_eq!(
        cluster.events("FailedMount"),
        ["MountVolume.SetUp failed for volume \"keys\" : secret \"db\" not found"]
    );
    cluster.create(&SECRET, "db", json!({"data": {}}));
    cluster.until_ready(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_not_scheduled_before_its_claim_is_bound() {
    let cluster = Cluster::start();
    let mut pod = spec("serve");
    pod["volumes"] = json!([{"name": "media", "persistentVolumeClaim": {"claimName": "media"}}]);
    cluster.create(&POD, "web", json!({"spec": pod}));
    cluster.until("unschedulable", |cluster| !cluster.events("FailedScheduling").is_empty()).await;
    assert!(cluster.get(&POD, "web").unwrap()["spec"]["nodeName"].is_null());
    cluster.create(&CLAIM, "media", json!({"spec": {}}));
    cluster.until_ready(1).await;
    assert_eq!(cluster.get(&POD, "web").unwrap()["spec"]["nodeName"], "redrill");
}

#[tokio::test(start_paused = true)]
async fn variables_are_read_again_at_every_start() {
    let cluster = Cluster::start();
    cluster.create(&SECRET, "db", json!({"data": {"password": "b2xk"}}));
    let mut pod = spec("serve");
    pod["containers"][0]["envFrom"] = json!([{"secretRef": {"name": "db"}}]);
    cluster.create(&POD, "web", json!({"spec": pod}));
    cluster.until_ready(1).await;
    cluster.change(&SECRET, "db", |secret| secret["data"]["password"] = json!("bmV3"));
    cluster.reconciler.settled().await;
    assert_eq!(cluster.runtime.environments().len(), 1, "a changed Secret restarts nothing");
    cluster.runtime.exit("shop/web", 1);
    cluster.until("restart", |cluster| state(cluster, "web")["restartCount"] == 1).await;
    cluster.until_ready(1).await;
    let passwords: Vec<_> = cluster.runtime.environments().iter().map(|env| env["password"].clone()).collect();
    assert_eq!(passwords, ["old", "new"]);
}

#[tokio::test(start_paused = true)]
async fn readiness_decides_endpoints_and_names() {
    let cluster = Cluster::start();
    cluster.runtime.exec_answers("is-ready", 1);
    cluster.create(&SERVICE, "db", json!({"spec": {"selector": {"app": "db"}, "ports": [{"port": 5432}]}}));
    cluster.create(&POD, "client", json!({"spec": spec("serve")}));
    let mut pod = spec("serve");
    pod["containers"][0]["readinessProbe"] = json!({"exec": {"command": ["is-ready"]}, "failureThreshold": 1});
    cluster.create(&POD, "db", json!({"metadata": {"labels": {"app": "db"}}, "spec": pod}));
    let subset = |cluster: &Cluster| cluster.get(&ENDPOINTS, "db").map_or(Value::Null, |e| e["subsets"][0].clone());
    cluster.until("not ready", |cluster| subset(cluster)["notReadyAddresses"].is_array()).await;
    cluster.reconciler.settled().await;
    assert!(!cluster.runtime.hosts("shop/client").contains_key("db"));

    cluster.runtime.exec_answers("is-ready", 0);
    let before = Instant::now();
    cluster.until_ready(2).await;
    assert!(before.elapsed() <= Duration::from_millis(200), "the first success is not waited for by the period");
    cluster.until("the name", |cluster| cluster.runtime.hosts("shop/client").contains_key("db")).await;
    let address = cluster.get(&POD, "db").unwrap()["status"]["podIP"].as_str().unwrap().to_owned();
    let hosts = cluster.runtime.hosts("shop/client");
    assert_eq!(hosts["db.shop.svc.cluster.local"], std::slice::from_ref(&address));
    assert_eq!(subset(&cluster)["addresses"][0]["ip"], address.as_str());
    assert_eq!(subset(&cluster)["ports"][0]["port"], 5432);

    cluster.runtime.exec_answers("is-ready", 1);
    cluster.until("no name", |cluster| !cluster.runtime.hosts("shop/client").contains_key("db")).await;
    assert_eq!(phase(&cluster, "db"), "Running");
}

#[tokio::test(start_paused = true)]
async fn a_name_from_outside_follows_the_service_of_another_cluster() {
    let other = Cluster::start();
    other.create(&SERVICE, "s3", json!({"spec": {"selector": {"app": "s3"}, "ports": [{"port": 9000}]}}));
    let target =
        Outside::Service { store: other.store.clone(), namespace: "shop".to_owned(), service: "s3".to_owned() };
    let cluster = Cluster::with(BTreeMap::from([("s3.example.com".to_owned(), target)]));
    cluster.create(&POD, "client", json!({"spec": spec("serve")}));
    cluster.until_ready(1).await;
    assert!(!cluster.runtime.hosts("shop/client").contains_key("s3.example.com"));
    other.create(&POD, "s3", json!({"metadata": {"labels": {"app": "s3"}}, "spec": spec("serve")}));
    cluster.until("the name", |c| c.runtime.hosts("shop/client").contains_key("s3.example.com")).await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_is_stopped_in_order_before_its_object_goes() {
    let cluster = Cluster::start();
    let mut pod = spec("serve");
    pod["containers"][0]["lifecycle"] = json!({"preStop": {"exec": {"command": ["drain"]}}});
    cluster.create(&POD, "web", json!({"spec": pod}));
    cluster.until_ready(1).await;
    cluster.delete(&POD, "web");
    assert!(cluster.get(&POD, "web").is_some());
    cluster.until("gone", |cluster| cluster.get(&POD, "web").is_none()).await;
    let calls = cluster.runtime.calls();
    let begin = calls.iter().position(|call| call.starts_with("exec")).unwrap();
    assert_eq!(
        calls[begin..],
        ["exec shop/web/c drain", "signal shop/web/c 15", "remove shop/web/c", "remove_pod shop/web"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_ignores_sigterm_is_killed_when_its_grace_is_over() {
    let cluster = Cluster::start();
    cluster.runtime.ignores_sigterm("stubborn");
    let mut pod = spec("stubborn");
    pod["terminationGracePeriodSeconds"] = json!(7);
    cluster.create(&POD, "web", json!({"spec": pod}));
    cluster.until_ready(1).await;
    let start = Instant::now();
    cluster.delete(&POD, "web");
    cluster.until("gone", |cluster| cluster.get(&POD, "web").is_none()).await;
    assert_eq!(start.elapsed().as_secs(), 7);
    assert!(cluster.runtime.calls().contains(&"signal shop/web/c 9".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_second_delete_without_grace_cuts_the_first_short() {
    let cluster = Cluster::start();
    cluster.runtime.ignores_sigterm("stubborn");
    cluster.create(&POD, "web", json!({"spec": spec("stubborn")}));
    cluster.until_ready(1).await;
    let start = Instant::now();
    cluster.delete(&POD, "web");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let force = DeleteOptions { propagation: Propagation::Background, grace: Some(0) };
    cluster.store.delete(&POD, "shop", "web", force).unwrap();
    cluster.until("gone", |cluster| cluster.get(&POD, "web").is_none()).await;
    assert_eq!(start.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn init_containers_run_in_order_and_a_failing_one_is_repeated() {
    let cluster = Cluster::start();
    cluster.runtime.ends("first", &[1, 0]);
    cluster.runtime.ends("second", &[0]);
    let mut pod = spec("serve");
    pod["initContainers"] = json!([
        {"name": "a", "image": "app:1", "command": ["first"]}, {"name": "b", "image": "app:1", "command": ["second"]},
    ]);
    cluster.create(&POD, "web", json!({"spec": pod}));
    cluster.until_ready(1).await;
    let started: Vec<_> = cluster.runtime.calls().into_iter().filter(|call| call.starts_with("start")).collect();
    assert_eq!(started, ["start shop/web/a", "start shop/web/a", "start shop/web/b", "start shop/web/c"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_never_restarted_ends_with_the_code_of_its_program() {
    let cluster = Cluster::start();
    cluster.runtime.ends("good", &[0]);
    cluster.runtime.ends("bad", &[4]);
    for program in ["good", "bad", "absent"] {
        let mut pod = spec(program);
        pod["restartPolicy"] = json!("Never");
        cluster.create(&POD, program, json!({"spec": pod}));
    }
    let ended = |pod: &str, end: &str| {
        let (pod, end) = (pod.to_owned(), end.to_owned());
        move |cluster: &Cluster| phase(cluster, &pod) == end
    };
    cluster.until("good end", ended("good", "Succeeded")).await;
    cluster.until("bad end", ended("bad", "Failed")).await;
    cluster.until("no start", ended("absent", "Failed")).await;
    assert_eq!(state(&cluster, "bad")["state"]["terminated"]["exitCode"], 4);
    assert_eq!(state(&cluster, "absent")["state"]["terminated"]["reason"], "StartError");
}

#[tokio::test(start_paused = true)]
async fn a_failing_liveness_probe_restarts_the_container() {
    let cluster = Cluster::start();
    cluster.runtime.exec_answers("is-alive", 1);
    let mut pod = spec("serve");
    pod["containers"][0]["livenessProbe"] = json!({"exec": {"command": ["is-alive"]}, "periodSeconds": 5});
    cluster.create(&POD, "web", json!({"spec": pod}));
    let start = Instant::now();
    cluster.until("restart", |cluster| state(cluster, "web")["restartCount"] == 1).await;
    assert_eq!(start.elapsed().as_secs(), 11, "three failures, five seconds apart, and the second of a kubelet");
    assert_eq!(cluster.events("Killing"), ["Container c failed liveness probe, will be restarted"]);
}

#[tokio::test]
async fn an_http_probe_asks_the_pod_and_takes_only_success() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = axum::Router::new().route("/healthz", axum::routing::get(|| async { "fine" }));
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let cluster = Cluster { limit: Duration::from_secs(20), ..Cluster::start() };
    for (name, path) in [("good", "/healthz"), ("bad", "/nothing")] {
        let mut pod = spec("serve");
        pod["containers"][0]["ports"] = json!([{"name": "http", "containerPort": port}]);
        pod["containers"][0]["readinessProbe"] = json!({"httpGet": {"path": path, "port": "http"}});
        cluster.create(&POD, name, json!({"spec": pod}));
    }
    cluster.until("ready", |cluster| state(cluster, "good")["ready"] == true).await;
    cluster.until("refused", |cluster| !cluster.events("Unhealthy").is_empty()).await;
    assert_eq!(cluster.events("Unhealthy"), ["Readiness probe failed: HTTP probe failed with statuscode: 404"]);
    assert_eq!(state(&cluster, "bad")["ready"], false);
    server.abort();
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_not_there_is_told_in_the_status_and_in_events() {
    let cluster = Cluster::start();
    cluster.create(&POD, "web", json!({"spec": {"containers": [{"name": "c", "image": "absent:1"}]}}));
    cluster.until("waiting", |cluster| state(cluster, "web")["state"]["waiting"]["reason"] == "ImagePullBackOff").await;
    assert!(cluster.events("Failed").iter().any(|message| message.contains("absent:1 is not among the images")));
    cluster.delete(&POD, "web");
    cluster.until("gone", |cluster| cluster.get(&POD, "web").is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_made_anew_under_its_old_name_is_another_pod() {
    let cluster = Cluster::start();
    cluster.create(&POD, "web", json!({"spec": spec("serve")}));
    cluster.until_ready(1).await;
    let uid = cluster.get(&POD, "web").unwrap()["metadata"]["uid"].clone();
    cluster.store.remove(&POD, "shop", "web");
    cluster.create(&POD, "web", json!({"spec": spec("serve")}));
    cluster.until_ready(1).await;
    assert_ne!(cluster.get(&POD, "web").unwrap()["metadata"]["uid"], uid);
    assert_eq!(cluster.runtime.left().len(), 2, "one pod with one container");
}
