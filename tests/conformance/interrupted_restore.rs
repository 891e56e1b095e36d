//! A container that is killed from outside while a restore runs in it. Nothing tells it from a program that dies by itself, so the
//! procedure has not brought the system back: FAILED, with the step and what it had printed.

use std::path::Path;
use std::time::{Duration, Instant};

use redrill::outcome::{Phase, StepResult, Verdict};
use testcontainers::bollard::query_parameters::KillContainerOptionsBuilder;

use crate::playground::{Playground, RESTORE, RUNBOOK};

/// Before it begins, other drills may have their turn.
const DEADLINE: Duration = Duration::from_secs(400);

/// The engine's id of the container in which a program of this machine runs with these arguments.
fn container_of(arguments: &str) -> Option<String> {
    let runs = |process: &Path| {
        let line = std::fs::read(process.join("cmdline")).ok()?;
        (String::from_utf8_lossy(&line).trim_end_matches('\0').replace('\0', " ") == arguments).then_some(())
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let process = processes.into_iter().find(|process| runs(process).is_some())?;
    let groups = std::fs::read_to_string(process.join("cgroup")).ok()?;
    let mut names = groups.split(['/', '\n', '-', '.']);
    names.find(|name| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())).map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine: drills_in_containers_find_out_what_local_ones_do runs it"]
async fn a_container_killed_in_the_middle_of_a_restore_fails_the_drill_at_that_step() {
    // No other program of the machine has these arguments.
    let waits = format!("sleep {}", 1_000_000 + std::process::id());
    let playground = Playground::new();
    playground.append(RESTORE, &format!("echo so far so good\nexec {waits}\n"));
    let drill = tokio::task::spawn_blocking(move || {
        let run = playground.run(&["--drill", "manual", "--install", "--env", "docker"]);
        (playground, run)
    });
    let since = Instant::now();
    let container = loop {
        if let Some(container) = container_of(&waits) {
            break container;
        }
        assert!(!drill.is_finished() && since.elapsed() < DEADLINE, "the restore did not come to wait");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let docker = testcontainers::core::client::docker_client_instance().await.unwrap();
    let signal = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
    docker.kill_container(&container, Some(signal)).await.unwrap();
    let (playground, run) = drill.await.unwrap();
    let drill = run.drill("manual");
    assert_eq!(drill.verdict(), Verdict::Failed, "{}", run.stderr);
    let failed = drill.steps.iter().find(|step| matches!(step.result, StepResult::Failed { .. })).unwrap();
    let line = playground.line_of("exec -it backup-restore -- restore.bb");
    assert_eq!((failed.phase, failed.source.line), (Phase::Restore, line));
    assert!(failed.source.file.ends_with(RUNBOOK), "{}", failed.source);
    assert!(matches!(failed.result, StepResult::Failed { exit: Some(137), .. }), "{:?}", failed.result);
    let printed = format!("{:?}", failed.output_tail);
    assert!(printed.contains("so far so good"), "{printed}");
}
