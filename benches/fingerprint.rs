//! A table's fingerprint against a plain binary COPY that goes nowhere, on the same server, turn by turn.
//!
//! `REDRILL_BENCH_BYTES` sets the size (64 MiB by default; the target is stated for 1 GiB). After criterion's figures one
//! line gives the ratio of the medians of paired runs, and how far memory grew.

// Tests use more of it.
#[allow(dead_code)]
#[path = "../tests/support/postgres.rs"]
mod postgres;

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use futures::{TryStreamExt, pin_mut};
use postgres::Server;
use redrill::database::postgres::connect;
use redrill::database::postgres_fingerprint::fingerprint;
use redrill::database::postgres_seed::seed;
use redrill::probe::PostgresTarget;

const PAIRS: usize = 7;

async fn copy_to_nowhere(target: &PostgresTarget) -> u64 {
    let session = connect(target).await.expect("connect");
    let copy = "COPY (SELECT id, tag, title, body FROM ONLY public.documents) TO STDOUT (FORMAT binary)";
    let stream = session.copy_out(copy).await.expect("copy");
    pin_mut!(stream);
    let mut bytes = 0;
    while let Some(chunk) = stream.try_next().await.expect("copy on") {
        bytes += chunk.len() as u64;
    }
    bytes
}

fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

fn main() {
    let bytes = std::env::var("REDRILL_BENCH_BYTES").ok().and_then(|bytes| bytes.parse().ok()).unwrap_or(64 << 20);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let (_server, target) = runtime.block_on(async {
        let server = Server::start().await;
        let target = server.database("bench").await;
        seed(&target, "bench_reader", bytes, 7).await.expect("seed");
        (server, target)
    });
    let copied = runtime.block_on(copy_to_nowhere(&target));
    let before = peak_memory_kib();

    let (mut plain, mut digested) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let start = Instant::now();
        runtime.block_on(copy_to_nowhere(&target));
        plain.push(start.elapsed());
        let start = Instant::now();
        runtime.block_on(fingerprint(&target, &[])).expect("fingerprint");
        digested.push(start.elapsed());
    }
    let (plain, digested, grown) = (median(plain), median(digested), peak_memory_kib() - before);
    println!(
        "paired: {copied} bytes, COPY {plain:.3} s, fingerprint {digested:.3} s, ratio {:.3}, memory grew by {grown} KiB",
        digested / plain
    );

    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
    let mut group = criterion.benchmark_group("fingerprint");
    group.throughput(Throughput::Bytes(copied));
    group.bench_function("copy_to_nowhere", |bench| bench.to_async(&runtime).iter(|| copy_to_nowhere(&target)));
    group.bench_function("fingerprint", |bench| bench.to_async(&runtime).iter(|| fingerprint(&target, &[])));
    group.finish();
    criterion.final_summary();
}
