//! How long it takes to read a runbook and to plan from it: what every run pays before anything starts.

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use redrill::plan::{AsWritten, Plan};
use redrill::runbook::Runbook;
use redrill::scenario::Scenario;

fn runbook_parse(criterion: &mut Criterion) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/taiga");
    let page = folder.join("runbook.md");
    let text = std::fs::read_to_string(&page).expect("the Taiga runbook is in the tree");
    let today = jiff::civil::date(2026, 1, 1);
    let file = folder.join("scenario.yaml");
    let yaml = std::fs::read_to_string(&file).expect("the Taiga scenario is in the tree");

    let mut group = criterion.benchmark_group("runbook_parse");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("taiga", |bencher| {
        bencher.iter(|| Runbook::from_markdown(&page, black_box(text.clone())));
    });
    // A wiki's worth of pages in one: the time has to grow with the length only.
    let long = text.repeat(1000);
    group.throughput(Throughput::Bytes(long.len() as u64));
    group.sample_size(20);
    group.bench_function("taiga x 1000", |bencher| {
        bencher.iter(|| Runbook::from_markdown(&page, black_box(long.clone())));
    });
    let rst_page = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/quetzal/runbook.rst");
    let rst = std::fs::read_to_string(&rst_page).expect("the Quetzal runbook is in the tree");
    group.throughput(Throughput::Bytes(rst.len() as u64));
    group.bench_function("quetzal (rst)", |bencher| {
        bencher.iter(|| Runbook::from_rst(&rst_page, black_box(rst.clone())));
    });
    let long_rst = rst.repeat(1000);
    group.throughput(Throughput::Bytes(long_rst.len() as u64));
    group.bench_function("quetzal (rst) x 1000", |bencher| {
        bencher.iter(|| Runbook::from_rst(&rst_page, black_box(long_rst.clone())));
    });
    group.finish();

    let scenario = Scenario::parse(&file, &yaml, today).unwrap_or_else(|problems| panic!("{problems}"));
    let runbook = Runbook::from_markdown(&page, text);
    criterion.bench_function("scenario_read/taiga", |bencher| {
        bencher.iter(|| Scenario::parse(&file, black_box(&yaml), today));
    });
    criterion.bench_function("plan_build/taiga", |bencher| {
        bencher.iter(|| Plan::build(black_box(&scenario), &runbook, AsWritten::No));
    });
}

criterion_group!(benches, runbook_parse);
criterion_main!(benches);
