//! One table of drills on the local environment and in containers of a Docker engine: what each finds out has to be the same. And
//! what a killed run leaves on the engine: nothing.

#[path = "../container/engine.rs"]
mod engine;
mod killed;
#[allow(dead_code)]
#[path = "../drills/playground.rs"]
mod playground;
#[allow(dead_code)]
#[path = "../drills/run.rs"]
mod run;
mod table;

use std::process::Command;

/// Finds or starts an engine and runs this program's other tests with it.
#[test]
fn drills_in_containers_find_out_what_local_ones_do() {
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
    assert!(inside(&["--exact", "images_are_built_from_packages"]).success());
    assert!(inside(&["--skip", "images_are_built_from_packages"]).success());
}

#[test]
#[ignore = "needs an engine: drills_in_containers_find_out_what_local_ones_do runs it"]
fn images_are_built_from_packages() {
    let built = Command::new(env!("CARGO_BIN_EXE_redrill"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["images", "build", "taiga"])
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}
