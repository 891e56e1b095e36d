//! Containers, logs, signals, volumes, networks, and that nothing of them stays.

use std::path::PathBuf;

use redrill::redact::Secret;
use redrill::runtime::container::ContainerRuntime;
use redrill::runtime::{
    ContainerExit, HostEntry, LogOptions, Mount, MountSource, PodRuntime as _, ProjectedFile, RuntimeError, VolumeId,
};
use testcontainers::bollard::query_parameters::{
    InspectNetworkOptions, ListContainersOptionsBuilder, ListNetworksOptions, ListVolumesOptions,
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
    let network = format!("network redrill-{}", run.name);
    let made = ["container main/default/app/1/main", &network, "pod main/default/app/1", "volume main/default/claim"];
    assert_eq!(run.runtime.inventory().await.unwrap(), made);
    assert_eq!(on_the_engine(&run.name).await.len(), 4);

    soon("a removal", run.runtime.remove(&id)).await.unwrap();
    soon("a removal again", run.runtime.remove(&id)).await.unwrap();
    run.runtime.remove_pod(&pod("app")).await.unwrap();
    run.runtime.remove_volume(&volume).await.unwrap();
    run.runtime.remove_volume(&volume).await.unwrap();
    assert_eq!(run.runtime.inventory().await.unwrap(), [network]);
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
    assert_eq!(on_the_engine(&name).await.len(), 4);
    assert_eq!(soon("a sweep", ContainerRuntime::sweep(&name)).await.unwrap(), [""; 0]);
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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn a_pod_keeps_its_address_and_has_names_of_its_own_in_an_internal_network() {
    let run = Run::start().await;
    let db = run.pod("db").await;
    run.pod("app").await;
    let server = run.run(&container("db", "nc -l -p 5432 -e hostname; exec tail -f /dev/null")).await;
    let client = run.run(&container("app", FOR_EVER)).await;
    let names = vec!["db".to_owned(), "db.default.svc".to_owned()];
    run.runtime.set_hosts(&pod("app"), &[HostEntry { address: db, names }]).await.unwrap();
    let ask = "until nc db.default.svc 5432 < /dev/null; do sleep 0.05; done; hostname";
    assert_eq!(soon("an answer", run.sh(&client, ask)).await, (0, "db\napp\n".to_owned(), String::new()));

    // The address is the pod's: a container that is made again has it, too.
    run.runtime.remove(&server).await.unwrap();
    run.run(&container("db", "nc -l -p 5432 -e hostname; exec tail -f /dev/null")).await;
    let said = soon("a second answer", async {
        loop {
            let mut said = String::new();
            // Refused until the server listens.
            if let Ok(mut stream) = run.runtime.connect((db, 5432).into()).await {
                stream.read_to_string(&mut said).await.unwrap();
                break said;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(said.await, "db\n");

    let network = format!("redrill-{}", run.name);
    let network = docker().await.inspect_network(&network, None::<InspectNetworkOptions>).await.unwrap();
    assert_eq!(network.internal, Some(true));
    assert_eq!(run.end().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn containers_of_a_pod_share_its_network_and_volumes_outlive_them() {
    let run = Run::start().await;
    let volume = VolumeId("main/default/claim".to_owned());
    run.runtime.create_volume(&volume).await.unwrap();
    run.pod("app").await;
    let mount = |read_only| Mount {
        source: MountSource::Volume(volume.clone()),
        sub_path: None,
        target: PathBuf::from("/data"),
        read_only,
    };
    let mut spec = container("app", "ls /data; echo kept > /data/file; id -u; echo $A $B; exec nc -l -p 80");
    spec.mounts = vec![mount(false)];
    spec.image.env = vec![("A".to_owned(), "image".to_owned()), ("B".to_owned(), "image".to_owned())];
    spec.env = vec![("B".to_owned(), Secret::new("pod"))];
    let first = run.run(&spec).await;

    let mut spec = container(
        "app",
        "until nc 127.0.0.1 80 < /dev/null; do sleep 0.05; done; cat /data/file; touch /data/x; id -u",
    );
    spec.id.container = "sidecar".to_owned();
    spec.mounts = vec![mount(true)];
    spec.run_as_user = Some(1234);
    let second = run.run(&spec).await;
    assert_eq!(run.wait(&second).await, ContainerExit::Code(0));
    let log = run.log(&second, LogOptions::default()).await;
    assert!(log.contains("kept\n") && log.contains("1234\n") && log.contains("Read-only file system"), "{log}");
    // What the image has at the mount's place is not copied into the volume: the listing is empty.
    assert_eq!(run.log(&first, LogOptions::default()).await, "0\nimage pod\n");
    assert_eq!(run.end().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn what_is_not_done_yet_is_refused_by_name() {
    let run = Run::start().await;
    run.pod("app").await;
    let volume = VolumeId("claim".to_owned());
    run.runtime.create_volume(&volume).await.unwrap();
    let mount = |source| Mount { source, sub_path: None, target: PathBuf::from("/data"), read_only: false };
    let file = ProjectedFile { path: PathBuf::from("key"), mode: 0o400, content: bytes::Bytes::from_static(b"value") };
    let mut files = container("app", FOR_EVER);
    files.mounts = vec![mount(MountSource::Files(vec![file]))];
    let mut sub_path = container("app", FOR_EVER);
    sub_path.mounts = vec![Mount { sub_path: Some(PathBuf::from("a")), ..mount(MountSource::Volume(volume.clone())) }];
    let mut fs_group = container("app", FOR_EVER);
    fs_group.mounts = vec![mount(MountSource::Volume(volume))];
    fs_group.fs_group = Some(2000);
    let specs = [
        (files, "projected files (at /data)"),
        (sub_path, "subPath of /data"),
        (fs_group, "fsGroup on the volume at /data"),
    ];
    for (spec, what) in specs {
        let refused = run.runtime.create(&spec).await.unwrap_err().to_string();
        assert!(refused.contains(what) && refused.contains("not done yet"), "{refused}");
    }
    let mut absent = container("app", FOR_EVER);
    absent.image.reference = "redrill-test/absent:local".to_owned();
    let refused = run.runtime.create(&absent).await.unwrap_err();
    assert!(matches!(refused, RuntimeError::NotFound { what: "image on the engine", .. }), "{refused}");
    assert_eq!(run.end().await, [""; 0]);
}
