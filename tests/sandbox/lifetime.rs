use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use redrill::runtime::process::ProcessRuntime;
use redrill::runtime::{PodRuntime as _, VolumeId};

use crate::drill::{Drill, REDRILL, config, container, exec, volume_at};

const DIRECTORY: &str = "REDRILL_TEST_OWNER_DIRECTORY";

/// Not a test: the process that the test below kills.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by `after_sigkill_of_the_owner_nothing_is_left_within_a_second`"]
async fn owner() {
    let directory = tempfile::TempDir::with_prefix_in("run-", std::env::var(DIRECTORY).unwrap()).unwrap();
    let runtime = ProcessRuntime::start(config(directory.path())).await.unwrap();
    let drill = Drill { runtime, directory };
    let volume = VolumeId("v".to_owned());
    drill.runtime.create_volume(&volume).await.unwrap();
    drill.pod("app").await;
    let mut spec = container("app", &["sh", "-c", "trap '' TERM HUP INT; setsid sleep 9999 & sleep 9999"]);
    spec.mounts = vec![volume_at(&volume, "/media")];
    let id = drill.run(&spec).await;
    let session = drill.exec(&id, &exec(&["sh", "-c", "nohup sleep 8888 & sleep 8888"])).await;
    drill.until(&id, "test $(pgrep -c sleep) -ge 4").await;
    println!("\nready");
    let _ = session.exit.await;
}

/// User namespaces of the processes below a process, but its own.
fn namespaces_below(root: u32) -> BTreeSet<u64> {
    let own = user_namespace(Path::new("/proc/self"));
    let below = descendants(root);
    below
        .iter()
        .filter_map(|pid| user_namespace(&Path::new("/proc").join(pid.to_string())))
        .filter(|ns| Some(*ns) != own)
        .collect()
}

fn user_namespace(process: &Path) -> Option<u64> {
    fs::metadata(process.join("ns/user")).ok().map(|metadata| metadata.ino())
}

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

fn descendants(root: u32) -> Vec<u32> {
    let below = |pid: u32| std::iter::successors(Some(pid), |pid| parent(*pid)).skip(1).any(|pid| pid == root);
    processes().filter(|pid| below(*pid)).collect()
}

/// What still runs. One that has ended keeps its number until its new parent asks for its status,
/// which is the machine's first process and not ours to hurry.
fn processes_in(namespaces: &BTreeSet<u64>) -> Vec<u32> {
    let inside = |pid: &u32| {
        let process = Path::new("/proc").join(pid.to_string());
        let runs = fs::read_to_string(process.join("status")).is_ok_and(|status| !status.contains("State:\tZ"));
        runs && user_namespace(&process).is_some_and(|namespace| namespaces.contains(&namespace))
    };
    processes().filter(inside).collect()
}

fn mounts_below(directory: &Path) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts.lines().filter(|line| line.contains(directory.to_str().unwrap())).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_sigkill_of_the_owner_nothing_is_left_within_a_second() {
    let neighbour = Drill::start().await;
    let neighbour_pod = neighbour.idle_pod("app").await;
    let links_before = fs::read_to_string("/proc/net/dev").unwrap().lines().count();

    let directory = tempfile::tempdir().unwrap();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lifetime::owner", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(owner.stdout.take().unwrap());
    assert!(output.lines().any(|line| line.unwrap().ends_with("ready")), "the owner got ready");
    let namespaces = namespaces_below(owner.id());
    assert_eq!(namespaces.len(), 1, "one user namespace per drill");
    assert!(processes_in(&namespaces).len() >= 6, "fabric, container and exec: {:?}", processes_in(&namespaces));

    owner.kill().unwrap();
    let killed = Instant::now();
    owner.wait().unwrap();
    while !processes_in(&namespaces).is_empty() {
        assert!(killed.elapsed() < Duration::from_secs(1), "left: {:?}", processes_in(&namespaces));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("gone after {:?}", killed.elapsed());
    assert_eq!(mounts_below(directory.path()), Vec::<String>::new());
    assert_eq!(fs::read_to_string("/proc/net/dev").unwrap().lines().count(), links_before, "no link on the host");

    assert_eq!(neighbour.sh(&neighbour_pod, "echo untouched").await, (0, "untouched\n".to_owned()));
    let run = fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    redrill::sandbox::remove_run_directory(REDRILL.as_ref(), &run).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_or_shutting_down_a_runtime_ends_every_process() {
    for shut_down in [true, false] {
        let drill = Drill::start().await;
        let id = drill.idle_pod("app").await;
        let (_, inside) = drill.sh(&id, "readlink /proc/self/ns/user").await;
        let namespaces =
            BTreeSet::from([inside.trim().trim_start_matches("user:[").trim_end_matches(']').parse().unwrap()]);
        assert!(!processes_in(&namespaces).is_empty());
        if shut_down {
            let started = Instant::now();
            assert_eq!(drill.runtime.shutdown().await, Vec::<String>::new());
            assert!(processes_in(&namespaces).is_empty(), "gone when shutdown returns");
            println!("shutdown took {:?}", started.elapsed());
            continue;
        }
        let session = drill.exec(&id, &exec(&["sleep", "infinity"])).await;
        drop(drill.runtime);
        let dropped = Instant::now();
        while !processes_in(&namespaces).is_empty() {
            assert!(dropped.elapsed() < Duration::from_secs(1), "left: {:?}", processes_in(&namespaces));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(session.exit.await.unwrap().code(), 137, "a session that is still held hears of it");
    }
}

#[test]
fn a_machine_that_permits_sandboxes_is_found_out() {
    redrill::sandbox::probe(REDRILL.as_ref()).unwrap();
    let error = redrill::sandbox::probe("/nonexistent/redrill".as_ref()).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/redrill"), "{error}");
    let error = redrill::sandbox::probe("/bin/false".as_ref()).unwrap_err();
    assert!(error.to_string().contains("ended before it was ready"), "{error}");
}
