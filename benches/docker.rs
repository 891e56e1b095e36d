//! What the docker environment costs: a pod's start, a program run in one, and a whole drill of Taiga against the docker command in
//! bash (`benches/drills/taiga/docker.sh`), and the drill against the same on `local`.
//!
//! Rounds of two, one after the other in either order, on the engine that DOCKER_HOST names, where `redrill images build taiga` has been
//! run with this very redrill. `REDRILL_BENCH_ROUNDS` sets their number, 5 by default; words of the command line choose what is
//! measured: `pod`, `exec`, `script`, `local`. Each pair is printed with the machine's load before and after it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use redrill::runtime::container::{ContainerRuntime, EngineConfig, image};
use redrill::runtime::{ContainerId, ContainerSpec, ExecSpec, Image, PodId, PodRuntime as _, PodSandbox};
use testcontainers::bollard::query_parameters::ListImagesOptionsBuilder;

fn main() {
    let rounds = std::env::var("REDRILL_BENCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(5);
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_chosen = |name: &str| words.is_empty() || words.iter().any(|word| word == name);
    let tokio = tokio::runtime::Runtime::new().expect("a runtime");
    let place = &tokio.block_on(Place::start());
    if is_chosen("pod") {
        paired(
            "pod",
            rounds,
            ("redrill", || tokio.block_on(place.pod())),
            ("docker run, twice", || place.docker_run()),
        );
    }
    if is_chosen("exec") {
        let of_redrill = || tokio.block_on(place.exec());
        paired("exec", rounds, ("redrill", of_redrill), ("docker exec", || place.docker_exec()));
    }
    tokio.block_on(place.runtime.shutdown());
    if is_chosen("script") {
        let script = concat!("bash ", env!("CARGO_MANIFEST_DIR"), "/benches/drills/taiga/docker.sh");
        paired("script", rounds, ("redrill", || drill("docker")), ("docker by hand", || bash(script)));
    }
    if is_chosen("local") {
        paired("local", rounds, ("docker", || drill("docker")), ("local", || drill("local")));
    }
}

/// Measures both, `rounds` times, and prints each round and the medians.
fn paired(
    what: &str,
    rounds: usize,
    (one, measure_one): (&str, impl Fn() -> Duration),
    (other, measure_other): (&str, impl Fn() -> Duration),
) {
    let mut both = (Vec::new(), Vec::new());
    let before = load();
    for round in 0..rounds {
        let (first, second) = if round % 2 == 0 {
            (measure_one(), measure_other())
        } else {
            let second = measure_other();
            (measure_one(), second)
        };
        println!("{what}, round {}: {one} {first:.3?}, {other} {second:.3?}", round + 1);
        both.0.push(first);
        both.1.push(second);
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let (of_one, of_other) = (median(&mut both.0), median(&mut both.1));
    println!("{what}, medians of {rounds}: {one} {of_one:.3?}, {other} {of_other:.3?} (load {before} to {})", load());
}

/// Programs that want a processor, over the last minute.
fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

/// A run on the engine with one pod that stays, and a container of the docker command's beside it.
struct Place {
    runtime: ContainerRuntime,
    image: Image,
    _logs: tempfile::TempDir,
}

const STAYS: &str = "redrill-bench";

impl Place {
    async fn start() -> Self {
        let docker = testcontainers::core::client::docker_client_instance().await.expect("an engine");
        let filters = [("label".to_owned(), vec!["redrill.image=redrill".to_owned()])].into();
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let images = docker.list_images(Some(options)).await.expect("images");
        let reference = images.iter().flat_map(|image| &image.repo_tags).next().expect("`redrill images build` first");
        let image = image(&docker, reference).await.expect("an answer").expect("the image").image;
        let logs = tempfile::tempdir().expect("a folder");
        let config = EngineConfig {
            run: format!("bench-{}", std::process::id()),
            lock: logs.path().join("lock"),
            log_directory: logs.path().join("logs"),
            image: image.reference.clone(),
            trusted_ca: None,
        };
        let runtime = ContainerRuntime::start(config).await.expect("a runtime");
        let place = Self { runtime, image, _logs: logs };
        place.begin("stays").await;
        place
    }

    fn spec(&self, pod: &str) -> ContainerSpec {
        let id = ContainerId { pod: PodId(pod.to_owned()), container: "main".to_owned() };
        ContainerSpec::new(id, self.image.clone(), ["sleep", "infinity"].map(str::to_owned).to_vec())
    }

    async fn begin(&self, pod: &str) {
        let spec = self.spec(pod);
        let sandbox =
            PodSandbox { id: spec.id.pod.clone(), hostname: "bench".to_owned(), hosts: Vec::new(), resolver: None };
        self.runtime.create_pod(&sandbox).await.expect("a pod");
        self.runtime.create(&spec).await.expect("a container");
        self.runtime.start(&spec.id).await.expect("a running container");
    }

    async fn pod(&self) -> Duration {
        let started = Instant::now();
        self.begin("comes").await;
        let took = started.elapsed();
        self.runtime.remove_pod(&PodId("comes".to_owned())).await.expect("a removal");
        took
    }

    async fn exec(&self) -> Duration {
        let started = Instant::now();
        let exec = ExecSpec { argv: vec!["true".to_owned()], stdin: false, tty: None };
        let session = self.runtime.exec(&self.spec("stays").id, &exec).await.expect("an exec");
        assert_eq!(session.exit.await.expect("an exit").code(), 0);
        started.elapsed()
    }

    /// As a person makes a pod: a container for the network, and one in it.
    fn docker_run(&self) -> Duration {
        let image = &self.image.reference;
        let network = format!("docker run -d --name {STAYS} --network none --entrypoint sleep {image} infinity");
        let inside =
            format!("docker run -d --name {STAYS}-1 --network container:{STAYS} --entrypoint sleep {image} infinity");
        let took = bash(&format!("{network} && {inside}"));
        bash(&format!("docker rm --force {STAYS}-1 {STAYS}"));
        took
    }

    fn docker_exec(&self) -> Duration {
        bash(&format!(
            "docker run -d --name {STAYS} --network none --entrypoint sleep {} infinity",
            self.image.reference
        ));
        let took = bash(&format!("docker exec {STAYS} true"));
        bash(&format!("docker rm --force {STAYS}"));
        took
    }
}

/// How long a script takes, which has to succeed.
fn bash(script: &str) -> Duration {
    let started = Instant::now();
    let status = Command::new("bash").args(["-euc", script]).stdout(Stdio::null()).status().expect("bash");
    assert!(status.success(), "{script}");
    started.elapsed()
}

/// A whole drill, from the command line to its reports.
fn drill(environment: &str) -> Duration {
    let reports = tempfile::tempdir().expect("a folder");
    let started = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_redrill"))
        .args(["run", "--env", environment, "taiga", "--drill", "scheduled", "--reports"])
        .arg(reports.path())
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .expect("redrill");
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    started.elapsed()
}
