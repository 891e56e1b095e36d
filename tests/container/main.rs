//! Pods as containers of a Docker engine. What is tested here runs inside one test that has an engine.

mod engine;
mod lifetime;
mod pod;
mod programs;

use std::process::Command;

/// Finds or starts an engine and runs this program's other tests with it.
#[test]
fn pods_live_in_containers_of_a_docker_engine() {
    let engine = match engine::TestEngine::find() {
        Ok(engine) => engine,
        Err(reason) => {
            let required = std::env::var("REDRILL_REQUIRE_DOCKER").is_ok_and(|value| value == "1");
            assert!(!required, "REDRILL_REQUIRE_DOCKER=1, but: {reason}");
            eprintln!("skipped: {reason}");
            return;
        }
    };
    let inside = |arguments: &[&str]| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(arguments).arg("--ignored").env("DOCKER_HOST", &engine.host).env_remove("TESTCONTAINERS_COMMAND");
        command.status().unwrap()
    };
    // The image has to be there before what runs it.
    assert!(inside(&["--exact", "the_image_of_the_tests_is_imported"]).success());
    assert!(inside(&["--skip", "the_image_of_the_tests_is_imported"]).success());
}

#[tokio::test]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn the_image_of_the_tests_is_imported() {
    pod::import_image().await;
}
