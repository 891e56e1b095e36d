//! Containers, logs, signals, and that nothing of them stays.

use redrill::runtime::container::ContainerRuntime;
use redrill::runtime::{ContainerExit, LogOptions, PodRuntime as _, RuntimeError, VolumeId};
use testcontainers::bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptions, ListVolumesOptions,
};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use crate::pod::{FOR_EVER, Run, container, docker, pod, soon};

/// Everything on the engine whose name says that it is of this run, asked without the runtime's help.
async fn on_the_engine(run: &str) -> Vec<String> {
    let docker = docker().await;
    let all = ListContainersOptionsBuilder::new().all(true).build();
    let containers = docker.list_containers(Some(all)).await.unwrap();
    let networks = docker.list_networks(None::<ListNetworksOptions>).await.unwrap();
    let volumes = docker.list_volumes(None::<ListVolumesOptions>).await.unwrap();
    let names = containers.into_iter().flat_map(|container| container.names.unwrap_or_default());
    let names = names.chain(networks.into_iter().filter_map(|network| network.name));
    let names = names.chain(volumes.volumes.unwrap_or_default().into_iter().map(|volume| volume.name));
    names.filter(|name| name.contains(run)).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn what_was_made_is_listed_and_nothing_of_it_stays() {
    let run = Run::start().await;
    let volume = VolumeId("main/default/claim".to_owned());
    run.runtime.create_volume(&volume).await.unwrap();
    run.pod("app").await;
    let id = run.run(&container("app", FOR_EVER)).await;
    let of_run = |what: &str, kind: &str| format!("{what} redrill-{}{kind}", run.name);
    let own = [of_run("network", ""), "pod porter".to_owned(), of_run("volume", "-disk"), of_run("volume", "-memory")];
    let made = ["container main/default/app/1/main", "pod main/default/app/1", "volume main/default/claim"];
    let mut all: Vec<&str> = own.iter().map(String::as_str).chain(made).collect();
    all.sort_unstable();
    assert_eq!(run.runtime.inventory().await.unwrap(), all);
    assert_eq!(on_the_engine(&run.name).await.len(), 6);

    soon("a removal", run.runtime.remove(&id)).await.unwrap();
    soon("a removal again", run.runtime.remove(&id)).await.unwrap();
    run.runtime.remove_pod(&pod("app")).await.unwrap();
    run.runtime.remove_volume(&volume).await.unwrap();
    run.runtime.remove_volume(&volume).await.unwrap();
    assert_eq!(run.runtime.inventory().await.unwrap(), own);
    let name = run.name.clone();
    assert_eq!(run.end().await, [""; 0]);
    assert_eq!(on_the_engine(&name).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn a_shutdown_removes_what_still_runs_and_a_sweep_what_a_killed_harness_left() {
    let run = Run::start().await;
    run.runtime.create_volume(&VolumeId("claim".to_owned())).await.unwrap();
    run.pod("app").await;
    run.run(&container("app", FOR_EVER)).await;
    let name = run.name.clone();
    assert_eq!(run.end().await, [""; 0]);
    assert_eq!(on_the_engine(&name).await, [""; 0]);

    let run = Run::start().await;
    run.runtime.create_volume(&VolumeId("claim".to_owned())).await.unwrap();
    run.pod("app").await;
    run.run(&container("app", FOR_EVER)).await;
    let name = run.name.clone();
    // As after SIGKILL: nothing of it gets to do anything.
    std::mem::forget(run);
    assert_eq!(on_the_engine(&name).await.len(), 6);
    let swept = soon("a sweep", ContainerRuntime::sweep(&name)).await.unwrap();
    assert_eq!((swept.found, swept.left), (6, Vec::new()));
    assert_eq!(on_the_engine(&name).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn a_log_keeps_its_order_is_followed_to_the_end_and_outlives_its_container() {
    let run = Run::start().await;
    run.pod("app").await;
    let id = run
        .run(&container(
            "app",
            "echo one; echo two; echo oops >&2; until test -s /tmp/go; do sleep 0.05; done; cat /tmp/go",
        ))
        .await;
    let follow = LogOptions { follow: true, ..LogOptions::default() };
    let mut log = BufReader::new(soon("a log", run.runtime.logs(&id, follow)).await.unwrap());
    let mut first = Vec::new();
    for _ in 0..3 {
        let mut line = String::new();
        soon("a line", log.read_line(&mut line)).await.unwrap();
        first.push(line);
    }
    // The engine copies the two streams apart.
    let (errors, lines): (Vec<_>, Vec<_>) = first.into_iter().partition(|line| line == "oops\n");
    assert_eq!((lines, errors), (vec!["one\n".to_owned(), "two\n".to_owned()], vec!["oops\n".to_owned()]));

    let (code, _, error) = run.sh(&id, "echo three > /tmp/go").await;
    assert_eq!((code, error.as_str()), (0, ""));
    let mut rest = String::new();
    soon("the log's end", log.read_to_string(&mut rest)).await.unwrap();
    assert_eq!(rest, "three\n");
    assert_eq!(run.wait(&id).await, ContainerExit::Code(0));
    assert_eq!(run.log(&id, LogOptions { tail: Some(1), ..LogOptions::default() }).await, "three\n");

    run.runtime.remove(&id).await.unwrap();
    assert_eq!(run.log(&id, LogOptions { tail: Some(1), ..LogOptions::default() }).await, "three\n");
    let again = run.run(&container("app", "echo again; exit 7")).await;
    assert_eq!(run.wait(&again).await, ContainerExit::Code(7));
    assert_eq!(run.log(&again, LogOptions::default()).await, "again\n");
    let previous = LogOptions { previous: true, tail: Some(1), ..LogOptions::default() };
    assert_eq!(run.log(&again, previous).await, "three\n");
    assert_eq!(run.end().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn a_signal_reaches_the_program_and_its_end_is_observed() {
    let run = Run::start().await;
    run.pod("app").await;
    let handles = "trap 'echo stopping; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    let id = run.run(&container("app", handles)).await;
    let follow = LogOptions { follow: true, ..LogOptions::default() };
    let mut log = BufReader::new(run.runtime.logs(&id, follow).await.unwrap()).lines();
    assert_eq!(soon("a line", log.next_line()).await.unwrap().as_deref(), Some("ready"));
    run.runtime.signal(&id, libc::SIGTERM).await.unwrap();
    assert_eq!(run.wait(&id).await, ContainerExit::Code(5));
    assert_eq!(run.log(&id, LogOptions::default()).await, "ready\nstopping\n");
    let late = run.runtime.signal(&id, libc::SIGTERM).await;
    assert!(matches!(late, Err(RuntimeError::NotFound { what: "running container", .. })), "{late:?}");

    run.runtime.remove(&id).await.unwrap();
    let id = run.run(&container("app", FOR_EVER)).await;
    run.runtime.signal(&id, libc::SIGKILL).await.unwrap();
    assert_eq!(run.wait(&id).await.code(), 128 + libc::SIGKILL);
    assert_eq!(run.end().await, [""; 0]);
}
