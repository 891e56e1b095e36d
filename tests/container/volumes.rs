//! Volumes: what outlives containers, what is in memory only, parts of them, whose they are.

use std::path::PathBuf;

use redrill::redact::Secret;
use redrill::runtime::{
    ContainerExit, ContainerSpec, LogOptions, Mount, MountSource, PodRuntime as _, ProjectedFile, RuntimeError,
    VolumeId,
};

use crate::pod::{FOR_EVER, Run, container};

fn volume() -> VolumeId {
    VolumeId("main/default/claim".to_owned())
}

fn mount(source: MountSource, target: &str, sub_path: Option<&str>) -> Mount {
    Mount { source, sub_path: sub_path.map(PathBuf::from), target: PathBuf::from(target), read_only: false }
}

fn files() -> MountSource {
    let file = |path: &str, mode, content: &'static str| ProjectedFile {
        path: PathBuf::from(path),
        mode,
        content: bytes::Bytes::from_static(content.as_bytes()),
    };
    MountSource::Files(vec![file("key", 0o400, "confidential"), file("below/open", 0o644, "open")])
}

/// Runs a container to its end and gives what it printed.
async fn printed(run: &Run, spec: &ContainerSpec) -> String {
    let id = run.run(spec).await;
    assert_eq!(run.wait(&id).await, ContainerExit::Code(0), "{}", run.log(&id, LogOptions::default()).await);
    run.runtime.remove(&id).await.unwrap();
    run.log(&id, LogOptions::default()).await
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
async fn files_of_secrets_are_in_memory_read_only_with_their_modes_and_go_with_their_container() {
    let run = Run::start().await;
    run.pod("app").await;
    let script = "cat /s/key /s/below/open /one; echo; stat -c '%a %u' /s/key; grep -E ' (/s|/one) ' /proc/mounts; \
                  touch /s/x 2>&1; test ! -e /s/x";
    let mut spec = container("app", script);
    spec.mounts = vec![mount(files(), "/s", None), mount(files(), "/one", Some("key"))];
    let log = printed(&run, &spec).await;
    assert!(log.starts_with("confidentialopenconfidential\n400 0\n"), "{log}");
    let mounts: Vec<&str> = log.lines().filter(|line| line.starts_with("tmpfs ") && line.contains(" ro,")).collect();
    assert_eq!(mounts.len(), 2, "{log}");
    assert!(log.contains("Read-only file system"), "{log}");
    assert_eq!(files_of_the_engine_with("confidential"), [""; 0]);

    let mut spec = container("app", "exec 2>&1; cat /s/below/open; cat /s/key");
    spec.run_as_user = Some(1234);
    spec.mounts = vec![mount(files(), "/s", None)];
    let id = run.run(&spec).await;
    assert_eq!(run.wait(&id).await, ContainerExit::Code(1));
    let log = run.log(&id, LogOptions::default()).await;
    assert!(log.starts_with("open") && log.contains("Permission denied"), "{log}");
    run.runtime.remove(&id).await.unwrap();
    // The group of the pod's files reads them whatever their mode says.
    spec.fs_group = Some(2000);
    assert_eq!(run.wait(&run.run(&spec).await).await, ContainerExit::Code(0));
    assert_eq!(run.end().await, [""; 0]);
}

/// Files below the engine's own directory that hold a text; none where the engine is not one of these tests.
fn files_of_the_engine_with(text: &str) -> Vec<String> {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let Some(directory) = host.strip_prefix("unix://").and_then(|socket| socket.strip_suffix("/docker.sock")) else {
        return Vec::new();
    };
    let search = ["--recursive", "--files-with-matches", "--devices=skip", "--exclude-dir=overlay2", text, directory];
    let found = std::process::Command::new("grep").args(search).output().unwrap();
    String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn a_sub_path_is_made_and_leads_nowhere_else() {
    let run = Run::start().await;
    run.runtime.create_volume(&volume()).await.unwrap();
    run.pod("app").await;
    let mut spec = container("app", "echo here > /below/file; ln -s /etc /below/out");
    let claim = || MountSource::Volume(volume());
    spec.mounts = vec![mount(claim(), "/below", Some("a/b"))];
    printed(&run, &spec).await;
    let mut spec = container("app", "cat /all/a/b/file; cat /file");
    spec.mounts = vec![mount(claim(), "/all", None), mount(claim(), "/file", Some("a/b/file"))];
    assert_eq!(printed(&run, &spec).await, "here\nhere\n");
    spec.mounts = vec![mount(claim(), "/out", Some("a/b/out"))];
    run.runtime.create(&spec).await.unwrap();
    let refused = run.runtime.start(&spec.id).await.unwrap_err().to_string();
    assert!(refused.contains("/out"), "{refused}");
    assert_eq!(run.end().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn a_volume_is_given_to_the_pods_group_unless_it_is_mounted_to_be_read() {
    let run = Run::start().await;
    run.runtime.create_volume(&volume()).await.unwrap();
    run.pod("app").await;
    let claim = || mount(MountSource::Volume(volume()), "/data", None);
    let mut spec = container("app", "mkdir /data/d; echo x > /data/d/f; chmod 600 /data/d/f; chmod 755 /data");
    spec.mounts = vec![claim()];
    printed(&run, &spec).await;
    let mut spec = container("app", "id -G; stat -c '%a %g' /data /data/d /data/d/f; touch /data/mine || true");
    spec.run_as_user = Some(1234);
    spec.fs_group = Some(2000);
    spec.mounts = vec![Mount { read_only: true, ..claim() }];
    let log = printed(&run, &spec).await;
    assert!(log.contains("755 0\n755 0\n600 0\n") && log.contains("Read-only"), "{log}");
    spec.mounts = vec![claim()];
    let log = printed(&run, &spec).await;
    assert!(log.contains("2000") && log.contains("2775 2000\n2775 2000\n660 2000\n"), "{log}");
    let mut spec = container("app", "stat -c '%u %g' /data/mine");
    spec.mounts = vec![claim()];
    assert_eq!(printed(&run, &spec).await, "1234 2000\n");
    assert_eq!(run.end().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn what_is_not_there_is_refused_by_name() {
    let run = Run::start().await;
    run.pod("app").await;
    let mut absent = container("app", FOR_EVER);
    absent.image.reference = "redrill-test/absent:local".to_owned();
    let refused = run.runtime.create(&absent).await.unwrap_err();
    assert!(matches!(refused, RuntimeError::NotFound { what: "image on the engine", .. }), "{refused}");
    let mut absent = container("app", FOR_EVER);
    absent.mounts = vec![mount(MountSource::Volume(volume()), "/data", None)];
    let refused = run.runtime.create(&absent).await.unwrap_err();
    assert!(matches!(refused, RuntimeError::NotFound { what: "volume", .. }), "{refused}");
    assert_eq!(run.end().await, [""; 0]);
}
