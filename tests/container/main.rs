//! Pods as containers of a Docker engine. What is tested here runs inside one test that has an engine.

mod engine;
mod lifetime;
mod network;
mod pod;
mod programs;
mod volumes;

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
    // The images have to be there before what runs them.
    assert!(inside(&["--exact", "the_images_of_the_tests_are_imported"]).success());
    assert!(inside(&["--skip", "the_images_of_the_tests_are_imported"]).success());
}

#[tokio::test]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn the_images_of_the_tests_are_imported() {
    pod::import_images().await;
}
