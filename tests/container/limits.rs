//! Limits of memory and processor, as the kernel keeps them.

use redrill::runtime::{ContainerExit, Limits, LogOptions, PodRuntime as _};

use crate::pod::{Run, container};

/// A program that wants this many bytes of memory and then says so.
fn wants(bytes: u64) -> String {
    format!("dd if=/dev/zero of=/dev/null bs={bytes} count=1 2>/dev/null; echo code $?; exit 3")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn a_program_that_takes_more_memory_than_its_limit_is_killed_and_said_to_be() {
    let run = Run::start().await;
    run.pod("app").await;
    let limited = Limits { memory: Some(32 << 20), cpu: None };
    let greedy = format!("exec dd if=/dev/zero of=/dev/null bs={} count=1", 256 << 20);
    let mut spec = container("app", &greedy);
    spec.limits = limited;
    let id = run.run(&spec).await;
    assert_eq!(run.wait(&id).await, ContainerExit::OutOfMemory(128 + libc::SIGKILL));
    run.runtime.remove(&id).await.unwrap();

    // Within its limit it ends as it likes.
    let mut spec = container("app", &wants(1 << 20));
    spec.limits = limited;
    let id = run.run(&spec).await;
    assert_eq!(run.wait(&id).await, ContainerExit::Code(3));
    assert_eq!(run.log(&id, LogOptions::default()).await, "code 0\n");
    assert_eq!(run.runtime.unkept_limits(), [""; 0]);
    assert_eq!(run.end().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn a_share_of_processors_is_kept_also_where_there_are_not_as_many() {
    let run = Run::start().await;
    run.pod("app").await;
    for (cpu, quota) in [(0.5, "50000"), (64.0, "6400000"), (0.001, "1000")] {
        // Version 1 of the kernel's control groups, else version 2.
        let script = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d ' ' -f 1 /sys/fs/cgroup/cpu.max";
        let mut spec = container("app", script);
        spec.limits = Limits { memory: None, cpu: Some(cpu) };
        let id = run.run(&spec).await;
        assert_eq!(run.wait(&id).await, ContainerExit::Code(0));
        assert_eq!(run.log(&id, LogOptions::default()).await.trim(), quota);
        run.runtime.remove(&id).await.unwrap();
    }
    assert_eq!(run.end().await, [""; 0]);
}
