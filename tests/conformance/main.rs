//! One table of drills on the local environment and in containers of a Docker engine: what each finds out has to be the same. And
//! what a killed run leaves on the engine: nothing.

mod bare;
#[path = "../container/engine.rs"]
mod engine;
mod findings;
mod interrupted_restore;
mod killed;
mod library;
#[allow(dead_code)]
#[path = "../drills/playground.rs"]
mod playground;
mod registry;
#[allow(dead_code)]
#[path = "../drills/run.rs"]
mod run;
mod stopped;
mod table;
mod unusable;

use std::process::Command;

#[test]
fn drills_in_containers_find_out_what_local_ones_do() {
    // The images have to be there before what runs them.
    engine::run_ignored_tests("images_are_built_from_packages", |engine| {
        stopped::an_engine_that_stops_makes_a_drill_unverified(engine);
        // Its kubectl is another, so that the others' image of the workstation is replaced.
        bare::a_machine_with_an_engine_alone_drills(engine);
    });
}

#[test]
#[ignore = "needs an engine: drills_in_containers_find_out_what_local_ones_do runs it"]
fn images_are_built_from_packages() {
    let built = Command::new(env!("CARGO_BIN_EXE_redrill"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["images", "build"])
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}
