//! What a pod of the local environment costs: its start, a program run in it, PostgreSQL ready in it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use redrill::runtime::process::ProcessRuntime;
use redrill::runtime::{
    ContainerId, ContainerSpec, ExecSpec, Image, Mount, MountSource, PodId, PodRuntime as _, PodSandbox, VolumeId,
};
use redrill::sandbox::{AddressRange, SandboxConfig};

const BIN: &str = "/usr/lib/postgresql/15/bin";

fn container(pod: &str, argv: &[&str]) -> ContainerSpec {
    let id = ContainerId { pod: PodId(pod.to_owned()), container: "main".to_owned() };
    ContainerSpec::new(id, Image::default(), argv.iter().map(|&argument| argument.to_owned()).collect())
}

fn config(directory: &std::path::Path) -> SandboxConfig {
    SandboxConfig {
        program: PathBuf::from(env!("CARGO_BIN_EXE_redrill")),
        run_directory: directory.to_owned(),
        drill: "bench".to_owned(),
        addresses: AddressRange::default(),
        trusted_ca: None,
    }
}

async fn start(runtime: &ProcessRuntime, spec: &ContainerSpec) {
    let pod = PodSandbox { id: spec.id.pod.clone(), hostname: "bench".to_owned(), hosts: Vec::new(), resolver: None };
    runtime.create_pod(&pod).await.expect("a pod");
    runtime.create(spec).await.expect("a container");
    runtime.start(&spec.id).await.expect("a running container");
}

async fn run(runtime: &ProcessRuntime, id: &ContainerId, argv: &[&str]) -> i32 {
    let argv = argv.iter().map(|&argument| argument.to_owned()).collect();
    let session = runtime.exec(id, &ExecSpec { argv, stdin: false, tty: None }).await.expect("an exec");
    session.exit.await.expect("an exit").code()
}

/// PostgreSQL on a data directory that exists, as after a restart.
fn database(volume: &VolumeId) -> ContainerSpec {
    let mut spec = container("db", &["postgres", "-c", "fsync=off"]);
    spec.image = Image {
        user: Some("postgres".to_owned()),
        env: vec![
            ("PATH".to_owned(), format!("{BIN}:/usr/bin:/bin")),
            ("PGDATA".to_owned(), "/var/lib/postgresql/data/pgdata".to_owned()),
        ],
        ..Image::default()
    };
    spec.mounts = vec![Mount {
        source: MountSource::Volume(volume.clone()),
        sub_path: None,
        target: PathBuf::from("/var/lib/postgresql/data"),
        read_only: false,
    }];
    spec
}

/// Measures `act` alone; `undo` is not counted.
async fn measure<'a, A, U>(times: u64, act: impl Fn() -> A + 'a, undo: impl Fn() -> U + 'a) -> Duration
where
    A: Future<Output = ()> + 'a,
    U: Future<Output = ()> + 'a,
{
    let mut total = Duration::ZERO;
    for _ in 0..times {
        let started = Instant::now();
        act().await;
        total += started.elapsed();
        undo().await;
    }
    total
}

fn local_start(criterion: &mut Criterion) {
    let tokio = tokio::runtime::Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let runtime = &tokio.block_on(ProcessRuntime::start(config(directory.path()))).expect("a sandbox");
    let mut group = criterion.benchmark_group("local_start");
    group.sample_size(20);

    group.bench_function("sandbox", |bencher| {
        bencher.to_async(&tokio).iter_custom(|times| async move {
            let directory = tempfile::tempdir().expect("a directory");
            let mut total = Duration::ZERO;
            for _ in 0..times {
                let started = Instant::now();
                let one = ProcessRuntime::start(config(directory.path())).await.expect("a sandbox");
                total += started.elapsed();
                one.shutdown().await;
            }
            total
        });
    });

    let pod = &container("app", &["sleep", "infinity"]);
    let remove = async || runtime.remove_pod(&PodId("app".to_owned())).await.expect("a removal");
    group.bench_function("pod", |bencher| {
        bencher.to_async(&tokio).iter_custom(|times| measure(times, || start(runtime, pod), remove));
    });

    tokio.block_on(start(runtime, pod));
    group.bench_function("exec", |bencher| {
        bencher.to_async(&tokio).iter(|| async { assert_eq!(run(runtime, &pod.id, &["true"]).await, 0) });
    });

    let volume = VolumeId("data".to_owned());
    let (database, id) = (&database(&volume), PodId("db".to_owned()));
    tokio.block_on(async {
        runtime.create_volume(&volume).await.expect("a volume");
        let mut initdb = database.clone();
        initdb.argv = ["initdb", "--auth=trust", "--no-sync"].map(str::to_owned).to_vec();
        start(runtime, &initdb).await;
        assert_eq!(runtime.wait(&initdb.id).await.expect("initdb ends").code(), 0);
        runtime.remove_pod(&id).await.expect("a removal");
    });
    group.bench_function("postgresql_ready", |bencher| {
        let ready = async || {
            start(runtime, database).await;
            while run(runtime, &database.id, &["pg_isready", "-q"]).await != 0 {}
        };
        let stop = async || {
            runtime.signal(&database.id, libc::SIGINT).await.expect("a signal");
            runtime.wait(&database.id).await.expect("an end");
            runtime.remove_pod(&PodId("db".to_owned())).await.expect("a removal");
        };
        bencher.to_async(&tokio).iter_custom(|times| measure(times, ready, stop));
    });
    group.finish();
    drop(tokio);
}

criterion_group!(benches, local_start);
criterion_main!(benches);
