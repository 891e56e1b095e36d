//! A table's fingerprint against a plain binary COPY that goes nowhere, on the same server, turn by turn.
//!
//! Twice: with every row digested by the client, as after a difference, and with the server saying first that nothing changed, as
//! when a drill verifies. `REDRILL_BENCH_BYTES` sets the size (64 MiB by default; the targets are stated for 1 GiB: 1.25 times the
//! COPY, and 0.75 times). Before criterion's figures one line gives the ratios of paired runs, and how far memory grew.

// Tests use more of it.
#[allow(dead_code)]
#[path = "../tests/support/postgres.rs"]
mod postgres;

use std::collections::BTreeMap;
use std::time::Instant;

use criterion::{Criterion, Throughput};
use futures::{TryStreamExt, pin_mut};
use postgres::Server;
use redrill::database::Error;
use redrill::database::postgres::connect;
use redrill::database::postgres_fingerprint::{Help, fingerprint, fingerprint_with};
use redrill::database::postgres_seed::seed;
use redrill::fingerprint::Fingerprint;
use redrill::probe::DatabaseTarget;
use tokio::runtime::Runtime;

const PAIRS: usize = 7;

async fn copy_to_nowhere(target: &DatabaseTarget) -> u64 {
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

async fn client_digests(target: &DatabaseTarget) -> Result<Fingerprint, Error> {
    fingerprint_with(target, &[], &Help { from: u64::MAX, known: BTreeMap::new() }).await
}

/// What is known of the tables once they were read.
async fn help_with(target: &DatabaseTarget) -> Help {
    let fingerprint = fingerprint(target, &[]).await.expect("fingerprint");
    let known = fingerprint.known();
    assert!(known.keys().any(|table| table.contains("public.documents")), "{:?}", known.keys());
    Help { known, ..Help::default() }
}

/// Runs it to its end; seconds.
fn timed<T>(runtime: &Runtime, run: impl Future<Output = T>) -> f64 {
    let start = Instant::now();
    runtime.block_on(run);
    start.elapsed().as_secs_f64()
}

fn ratios(of: &[f64], to: &[f64]) -> Vec<f64> {
    of.iter().zip(to).map(|(of, to)| of / to).collect()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() {
    let bytes = std::env::var("REDRILL_BENCH_BYTES").ok().and_then(|bytes| bytes.parse().ok()).unwrap_or(64 << 20);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (_server, target) = runtime.block_on(async {
        let server = Server::start().await;
        let target = server.database("bench").await;
        seed(&target, "bench_reader", bytes, 7).await.expect("seed");
        (server, target)
    });
    let copied = runtime.block_on(copy_to_nowhere(&target));
    let help = runtime.block_on(help_with(&target));
    let before = peak_memory_kib();

    let (mut plain, mut digested, mut helped) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        plain.push(timed(&runtime, copy_to_nowhere(&target)));
        digested.push(timed(&runtime, client_digests(&target)));
        helped.push(timed(&runtime, fingerprint_with(&target, &[], &help)));
    }
    let grown = peak_memory_kib() - before;
    println!(
        "paired: {copied} bytes, COPY {:.3} s, client digests {:.3} s, ratio {:.3}, server helps {:.3} s, ratio {:.3}, memory grew by \
         {grown} KiB",
        median(plain.clone()),
        median(digested.clone()),
        median(ratios(&digested, &plain)),
        median(helped.clone()),
        median(ratios(&helped, &plain)),
    );

    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
    let mut group = criterion.benchmark_group("fingerprint");
    group.throughput(Throughput::Bytes(copied));
    group.bench_function("copy_to_nowhere", |bench| bench.to_async(&runtime).iter(|| copy_to_nowhere(&target)));
    group.bench_function("client_digests", |bench| bench.to_async(&runtime).iter(|| client_digests(&target)));
    group.bench_function("server_helps", |bench| {
        bench.to_async(&runtime).iter(|| fingerprint_with(&target, &[], &help));
    });
    group.finish();
    criterion.final_summary();
}
