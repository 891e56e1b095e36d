//! A harness that is killed, at many moments: what the engine has of its run is gone soon, and a live neighbour's is not.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use testcontainers::bollard::Docker;
use testcontainers::bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
};

const DEADLINE: Duration = Duration::from_secs(120);

/// Names of what the engine has of runs whose state is kept here.
pub async fn on_the_engine(docker: &Docker, state: &Path) -> Vec<String> {
    let filters = HashMap::from([("label".to_owned(), vec!["redrill.lock".to_owned()])]);
    let ours = |labels: &HashMap<String, String>| Path::new(&labels["redrill.lock"]).starts_with(state);
    let containers = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let containers = docker.list_containers(Some(containers)).await.unwrap().into_iter();
    let containers = containers.map(|found| (found.labels.unwrap_or_default(), found.id.unwrap_or_default()));
    let networks = ListNetworksOptionsBuilder::new().filters(&filters).build();
    let networks = docker.list_networks(Some(networks)).await.unwrap().into_iter();
    let networks = networks.map(|found| (found.labels.unwrap_or_default(), found.name.unwrap_or_default()));
    let volumes = ListVolumesOptionsBuilder::new().filters(&filters).build();
    let volumes = docker.list_volumes(Some(volumes)).await.unwrap().volumes.unwrap_or_default().into_iter();
    let volumes = volumes.map(|found| (found.labels, found.name));
    let all = containers.chain(networks).chain(volumes);
    all.filter(|(labels, _)| ours(labels)).map(|(_, name)| name).collect()
}

/// Waits until the number of things on the engine is as wanted.
pub async fn until(docker: &Docker, state: &Path, what: &str, is_so: impl Fn(usize) -> bool) {
    let since = Instant::now();
    loop {
        let found = on_the_engine(docker, state).await;
        if is_so(found.len()) {
            return;
        }
        assert!(since.elapsed() < DEADLINE, "{what}: {found:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn redrill(state: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_redrill"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(arguments)
        .arg("--reports")
        .arg(state.join("reports"))
        .env("REDRILL_STATE_DIR", state)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

const DRILL: [&str; 6] = ["run", "--env", "docker", "taiga", "--drill", "scheduled"];

/// In milliseconds from the start: from before there is anything to when the system runs.
const MOMENTS: std::ops::Range<u64> = 100..8_000;
const SEED: u64 = 5;

/// Kills a run so long after its start; gives how much the engine had of it then.
async fn kill_at(docker: &Docker, moment: Duration) -> usize {
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    let mut run = redrill(place.path(), &DRILL);
    tokio::time::sleep(moment).await;
    let found = on_the_engine(docker, place.path()).await.len();
    run.kill().unwrap();
    run.wait().unwrap();
    until(docker, place.path(), &format!("what a run killed after {moment:?} left"), |count| count == 0).await;
    found
}

#[tokio::test]
#[ignore = "needs an engine: drills_in_containers_find_out_what_local_ones_do runs it"]
async fn killed_at_twenty_moments_side_by_side_a_run_leaves_nothing_on_the_engine() {
    let docker = testcontainers::core::client::docker_client_instance().await.unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let moments: Vec<Duration> = (0..20).map(|_| Duration::from_millis(random.random_range(MOMENTS))).collect();
    let kills = stream::iter(moments).map(|moment| kill_at(&docker, moment)).buffer_unordered(2);
    let found: Vec<usize> = kills.collect().await;
    println!("on the engine when they were killed: {found:?}");
    let left_something = found.iter().filter(|count| **count > 0).count();
    assert!(left_something >= 10, "too few had begun: {found:?}");
}

#[tokio::test]
#[ignore = "needs an engine: drills_in_containers_find_out_what_local_ones_do runs it"]
async fn a_signal_tears_a_run_down_and_gc_leaves_it_alone_as_long_as_it_lives() {
    let docker = testcontainers::core::client::docker_client_instance().await.unwrap();
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    let mut run = redrill(place.path(), &DRILL);
    until(&docker, place.path(), "a drill under way", |count| count >= 10).await;
    assert_eq!(redrill(place.path(), &["gc"]).wait().unwrap().code(), Some(0));
    assert!(on_the_engine(&docker, place.path()).await.len() >= 10, "gc took a live run's");
    let pid = nix::unistd::Pid::from_raw(run.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(2), "interrupted is UNVERIFIED");
    assert_eq!(on_the_engine(&docker, place.path()).await, [""; 0]);
}
