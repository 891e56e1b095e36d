//! A harness that is killed in the middle of a drill: what it left on the cluster is removed afterwards, and nothing else.

use std::process::Stdio;

use redrill::cluster::kind;
use redrill::cluster::store::Store;

use crate::drills::{ACCEPTANCE, ON_EXISTING};
use crate::existing::{CONTEXT, Existing};
use crate::playground::{Playground, SCENARIO};
use crate::run::Seat;

/// Whether the page's restore has begun on the drill's own namespace.
fn restores(store: &Store) -> bool {
    let field =
        |object: &serde_json::Value, name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    store.list(&kind::POD, None).1.iter().any(|pod| {
        let namespace = field(pod, "namespace");
        namespace.starts_with("rd-")
            && namespace.ends_with("-taiga")
            && field(pod, "name").starts_with("backup-restore")
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_drill_left_is_removed_and_somebody_elses_is_not() {
    let playground = Playground::new();
    playground.append(SCENARIO, ACCEPTANCE);
    let existing = Existing::start(&playground).await;
    let before = existing.inventory().await;
    let seat = tokio::task::spawn_blocking(Seat::take).await.unwrap();
    let mut drill =
        existing.redrill(&playground, &[&["run", "taiga", "--drill", "scheduled"], &ON_EXISTING[..]].concat());
    let mut drill = drill.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    existing.until("a restore under way", restores).await;
    drill.kill().unwrap();
    drill.wait().unwrap();
    let mut gc = existing.redrill(&playground, &["gc", "--env", "kube", "--context", CONTEXT]);
    let gc = tokio::task::spawn_blocking(move || gc.output().unwrap()).await.unwrap();
    drop(seat);
    let said = String::from_utf8([gc.stdout, gc.stderr].concat()).unwrap();
    assert_eq!(gc.status.code(), Some(0), "{said}");
    assert!(said.contains("had on the cluster") && said.contains("counts as UNVERIFIED now"), "{said}");
    Existing::assert_untouched(&before, &existing.inventory().await);
    existing.stop().await;
}
