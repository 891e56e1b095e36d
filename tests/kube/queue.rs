//! Fifty drills in a queue: each has its place in turn, and redrill takes no more memory for the last of them than for the first.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::drills::{ACCEPTANCE, ON_EXISTING};
use crate::existing::Existing;
use crate::playground::Playground;

const DRILLS: usize = 50;
/// After so many, every part of redrill has been at work and has what it keeps.
const WARM: usize = 10;
const SCENARIO: &str = "scenarios/quetzal/scenario.yaml";

/// What a process has in memory, in KiB (`proc_pid_status(5)`).
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Fifty drills like the page's own.
fn many() -> (Playground, Vec<String>) {
    let playground = Playground::of("quetzal");
    let names: Vec<String> = (1..=DRILLS).map(|number| format!("number-{number:02}")).collect();
    let mut drills = "drills:\n".to_owned();
    for name in &names {
        let backup = "[{ procedure: Manual backup }]";
        let restore = "[{ procedure: Restoring a backup }]";
        let _ = writeln!(drills, "  {name}:\n    writers: quiet\n    backup: {backup}\n    restore: {restore}");
    }
    playground.replace(SCENARIO, "drills:\n", &drills);
    playground.append(SCENARIO, ACCEPTANCE);
    (playground, names)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes ten minutes: run it by hand (`--ignored fifty --nocapture`)"]
async fn fifty_drills_queued_take_no_more_memory_than_ten() {
    let (playground, names) = many();
    let existing = Existing::start(&playground).await;
    let before = existing.inventory().await;
    let mut command = existing.redrill(&playground, &[&["run", "quetzal", "--jobs", "2"], &ON_EXISTING[..]].concat());
    command.args(names.iter().flat_map(|name| ["--drill", name]));
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let process = run.id();
    let lines = BufReader::new(run.stderr.take().unwrap()).lines();
    let watched = tokio::task::spawn_blocking(move || {
        let (mut ended, mut sizes) = (BTreeSet::new(), Vec::new());
        for line in lines.map_while(Result::ok) {
            // What a drill says at its very end.
            let verdict = line.strip_prefix("CORRECTED  ").and_then(|name| name.strip_suffix(" on kube"));
            if let Some(name) = verdict.filter(|name| ended.insert((*name).to_owned())) {
                let kib = resident(process);
                println!("{:2} {name}: {kib} KiB", ended.len());
                sizes.push(kib);
            }
        }
        sizes
    });
    let sizes = watched.await.unwrap();
    let exit = tokio::task::spawn_blocking(move || run.wait().unwrap()).await.unwrap();
    assert_eq!((exit.code(), sizes.len()), (Some(3), DRILLS));
    let warm = sizes[..WARM].iter().max().unwrap();
    let last = sizes[DRILLS - WARM..].iter().max().unwrap();
    // An outcome stays in memory until the reports are written; no drill's connections, pods and answers do.
    assert!(*last < warm + warm / 4, "{warm} KiB among the first {WARM}, {last} among the last: {sizes:?}");
    Existing::assert_untouched(&before, &existing.inventory().await);
    existing.stop().await;
}
