//! What the harness costs: a drill's procedures against a plain bash script of the same commands, for each scenario.
//!
//! Rounds of two runs, one after the other in either order: a drill, and the same environment, seed and loss with a runbook that runs
//! `benches/drills/SCENARIO/script.sh` instead. Of the drill everything from sitting down at the terminal to leaving it counts,
//! looks between steps included; of the script its own figure. Seeding, a backup that the system takes by itself, the loss and
//! verification are in neither. redrill may cost 1.05 times the script plus 1 s; the exit status says whether it does.
//!
//! `REDRILL_BENCH_ROUNDS` sets the number of rounds, 5 by default; words of the command line choose scenarios, as in
//! `cargo bench --bench drill_overhead -- hasura`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const FACTOR: f64 = 1.05;
const SECONDS: f64 = 1.0;

/// A drill of a scenario.
struct Case {
    scenario: &'static str,
    drill: &'static str,
    /// Beside what every run is given.
    options: &'static [&'static str],
    /// How many phases at the beginning type nothing: a backup that the system takes by itself is not compared.
    untyped: usize,
    /// How many phases type something.
    phases: usize,
}

const CASES: [Case; 5] = [
    Case { scenario: "taiga", drill: "manual", options: &[], untyped: 0, phases: 3 },
    Case { scenario: "quetzal", drill: "manual", options: &[], untyped: 0, phases: 2 },
    Case { scenario: "hasura", drill: "data-gone", options: &[], untyped: 0, phases: 3 },
    Case { scenario: "rocket-chat", drill: "corrupted", options: &[], untyped: 1, phases: 2 },
    Case {
        scenario: "estafette",
        drill: "namespace-gone",
        options: &["--simulate", "cockroach"],
        untyped: 1,
        phases: 1,
    },
];

fn tree() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A copy of a scenario with its script in place of the page, in a folder of scenarios.
fn with_script(case: &Case, scenarios: &Path) {
    let own = tree().join("benches/drills").join(case.scenario);
    let folder = scenarios.join(case.scenario);
    copy(&tree().join("scenarios").join(case.scenario), &folder);
    let scenario = read(&folder.join("scenario.yaml"));
    let (kept, _) = scenario.split_once("\ndrills:\n").expect("the scenario has drills");
    let runbook = kept.lines().find(|line| line.starts_with("runbook: ")).expect("the scenario has a runbook");
    let kept = kept
        .replacen(runbook, "runbook: script.md", 1)
        .replace("../../images", &tree().join("images").display().to_string());
    std::fs::write(folder.join("scenario.yaml"), format!("{kept}\n{}", read(&own.join("drills.yaml")))).expect("write");
    let script = read(&own.join("script.sh")).replace('\n', "\n   ");
    let page = read(&own.join("runbook.md")).replacen("{script}", script.trim_end(), 1);
    std::fs::write(folder.join("script.md"), page).expect("write");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("make a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let (from, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).expect("an entry");
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).expect("copy");
        }
    }
}

/// Runs one drill to its end; what it printed on stderr, and where its logs are. 3 is CORRECTED, 4 SIMULATED.
fn drill(case: &Case, scenarios: &Path, drill: &str, reports: &Path) -> (String, PathBuf) {
    let Case { scenario, options, .. } = case;
    let output = Command::new(env!("CARGO_BIN_EXE_redrill"))
        .args(["run", scenario, "--drill", drill])
        .args(*options)
        .arg("--scenarios")
        .arg(scenarios)
        .arg("--reports")
        .arg(reports)
        .env("REDRILL_LOG", "redrill::drill::procedure=debug")
        .output()
        .expect("run redrill");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(matches!(output.status.code(), Some(0 | 3 | 4)), "{}\n{out}\n{err}", output.status);
    let run = std::fs::read_dir(reports).expect("the reports").next().expect("a run").expect("a run").path();
    (err.into_owned(), run.join("logs").join(format!("{scenario}-{drill}")))
}

fn procedures(case: &Case) -> f64 {
    let reports = tempfile::tempdir().expect("a folder");
    let (log, _) = drill(case, &tree().join("scenarios"), case.drill, reports.path());
    // The log may be coloured: the figure is what stands behind the last `=` or space of its line.
    let figures = log.lines().filter(|line| line.contains("procedure ran")).filter_map(|line| {
        let figure = line.trim_end_matches("\u{1b}[0m").rsplit(['=', 'm']).next()?;
        figure.trim().parse::<f64>().ok()
    });
    sum(case, figures.skip(case.untyped))
}

fn script(case: &Case, scenarios: &Path) -> f64 {
    let reports = tempfile::tempdir().expect("a folder");
    let (_, logs) = drill(case, scenarios, "script", reports.path());
    let steps = std::fs::read_dir(logs).expect("the steps' logs");
    let logs: Vec<String> = steps.filter_map(|step| std::fs::read_to_string(step.ok()?.path()).ok()).collect();
    let sums = logs.iter().flat_map(|log| log.lines()).filter(|line| line.contains("\tall of "));
    sum(case, sums.filter_map(|line| line.split_once('\t')?.0.parse::<f64>().ok()))
}

fn sum(case: &Case, figures: impl Iterator<Item = f64>) -> f64 {
    let figures: Vec<f64> = figures.collect();
    assert_eq!(figures.len(), case.phases, "{}: {figures:?}", case.scenario);
    figures.iter().sum()
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// By how many seconds the median round is over the limit.
fn compare(case: &Case, scenarios: &Path, rounds: usize) -> f64 {
    let Case { scenario, .. } = case;
    let mut pairs = Vec::new();
    for round in 0..rounds {
        let (redrill, plain) = match round % 2 {
            0 => (procedures(case), script(case, scenarios)),
            _ => {
                let plain = script(case, scenarios);
                (procedures(case), plain)
            }
        };
        let ratio = redrill / plain;
        println!("{scenario}, round {}: redrill {redrill:.2} s, script {plain:.2} s, ratio {ratio:.3}", round + 1);
        pairs.push((redrill, plain));
    }
    let (redrill, plain) = (median(pairs.iter().map(|pair| pair.0)), median(pairs.iter().map(|pair| pair.1)));
    let ratio = median(pairs.iter().map(|pair| pair.0 / pair.1));
    let over = median(pairs.iter().map(|pair| pair.0 - (FACTOR * pair.1 + SECONDS)));
    println!(
        "{scenario}, medians of {rounds}: redrill {redrill:.2} s, script {plain:.2} s, ratio {ratio:.3}, over the limit by {over:.2} s"
    );
    over
}

fn main() -> ExitCode {
    let rounds: usize = std::env::var("REDRILL_BENCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(5);
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let scenarios = tempfile::tempdir().expect("a folder");
    let mut worst = f64::NEG_INFINITY;
    for case in CASES.iter().filter(|case| wanted.is_empty() || wanted.iter().any(|word| word == case.scenario)) {
        with_script(case, scenarios.path());
        worst = worst.max(compare(case, scenarios.path(), rounds));
    }
    if worst > 0.0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
