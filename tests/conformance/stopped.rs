//! An engine that stops while a drill runs on it: nothing is found out then, and nothing is blamed on the page.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use testcontainers::bollard::{API_DEFAULT_VERSION, Docker};

use crate::engine::OwnEngine;
use crate::killed::{on_the_engine, until};

const DEADLINE: Duration = Duration::from_secs(180);
/// The drill has to be over so soon after the engine.
const SOON: Duration = Duration::from_secs(60);

fn wait_for(what: &str, deadline: Duration, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < deadline, "not within {deadline:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The only run's file of this name, where it can be read.
fn report(reports: &Path, file: &str) -> Option<Value> {
    let run = std::fs::read_dir(reports).ok()?.next()?.ok()?.path();
    serde_json::from_str(&std::fs::read_to_string(run.join(file)).ok()?).ok()
}

pub fn an_engine_that_stops_makes_a_drill_unverified(engine: &mut OwnEngine) {
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    let (state, reports) = (place.path(), place.path().join("reports"));
    let host = engine.host.clone();
    let redrill = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_redrill"));
        command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).arg("--reports").arg(&reports);
        command.env("REDRILL_STATE_DIR", state).env("DOCKER_HOST", &host).stdout(Stdio::null());
        command
    };
    let drill = ["run", "--env", "docker", "taiga", "--drill", "scheduled"];
    let mut run = redrill(&drill).stderr(std::fs::File::create(state.join("said")).unwrap()).spawn().unwrap();
    let said = || std::fs::read_to_string(state.join("said")).unwrap();
    let is_restoring = || {
        let phase = report(&reports, "journal.json").map(|journal| journal["drills"][0]["phase"].clone());
        phase == Some("restore".into())
    };
    wait_for("the restore", DEADLINE, is_restoring);
    let status = std::thread::scope(|threads| {
        // It gives its containers time to end; the drill is not to wait for that.
        threads.spawn(|| engine.stop());
        let mut status = None;
        wait_for("the drill's end without an engine", SOON, || {
            status = run.try_wait().unwrap();
            status.is_some()
        });
        status
    });
    assert_eq!(status.unwrap().code(), Some(2), "{}", said());
    let results = report(&reports, "results.json").unwrap();
    let drill = &results["outcome"]["drills"][0];
    assert_eq!(results["verdict"], "UNVERIFIED", "{}", said());
    assert!(said().contains("the container engine went away while the drill ran"), "{}", said());
    let steps = drill["steps"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["result"] != "failed"), "blamed on the page: {steps:#?}");
    let leftovers = drill["leftovers"].to_string();
    assert!(leftovers.contains("`redrill gc` removes"), "{leftovers}");

    engine.start_again();
    assert_eq!(redrill(&["gc"]).status().unwrap().code(), Some(0));
    let tokio = tokio::runtime::Runtime::new().unwrap();
    tokio.block_on(async {
        let docker = Docker::connect_with_unix(&engine.host, DEADLINE.as_secs(), API_DEFAULT_VERSION).unwrap();
        until(&docker, state, "what the engine had when it stopped", |count| count == 0).await;
        assert_eq!(on_the_engine(&docker, state).await, [""; 0]);
    });
}
