//! Pods as containers of a Docker engine. What is tested here runs inside one test that has an engine.

#[allow(dead_code)]
mod engine;
mod lifetime;
mod limits;
mod network;
mod pod;
mod programs;
mod volumes;

#[test]
fn pods_live_in_containers_of_a_docker_engine() {
    // The images have to be there before what runs them.
    engine::run_ignored_tests("the_images_of_the_tests_are_imported", |_| {});
}

#[tokio::test]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn the_images_of_the_tests_are_imported() {
    pod::import_images().await;
}
