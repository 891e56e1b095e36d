//! What the harness costs: the drill's procedures against a plain bash script of the same commands.
//!
//! Rounds of two runs, one after the other in either order: the drill `manual` of Taiga, and the same environment, seed and loss
//! with a runbook that runs `benches/taiga.sh` instead. Of the drill everything from sitting down at the terminal to leaving it
//! counts, looks between steps included; of the script its own figure. Seeding, the loss and verification are in neither. redrill may
//! cost 1.05 times the script plus 1 s; the exit status says whether it does.
//!
//! `REDRILL_BENCH_ROUNDS` sets the number of rounds, 5 by default.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const FACTOR: f64 = 1.05;
const SECONDS: f64 = 1.0;
/// Backup, restore and reconcile.
const PROCEDURES: usize = 3;

const DRILLS: &str = "drills:
  script:
    writers: quiet
    backup: [{ procedure: Backup }]
    restore: [{ procedure: Restore }]
    reconcile: [{ procedure: Password }]
bindings:
  - step: { procedure: Backup, item: 1 }
    run: cp {fragment} taiga.sh
  - step: { procedure: Backup, item: 2 }
    run: cp {fragment} password.txt
    slots:
      - place: new
        from: { generated: restic-new-password }
schedule: { interval: 24h, duration: measured }
";

/// Taiga as it is, with the script in place of the page.
fn script_scenario(folder: &Path) {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(tree.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let scenario = read("scenarios/taiga/scenario.yaml");
    let (kept, _) = scenario.split_once("\ndrills:\n").expect("the scenario has drills");
    let kept = kept
        .replacen("name: taiga\n", "name: taiga-script\n", 1)
        .replace("[system]", &format!("[{}]", tree.join("scenarios/taiga/system").display()))
        .replace("../../images", &tree.join("images").display().to_string());
    let indented: String = read("benches/taiga.sh").lines().map(|line| format!("   {line}\n")).collect();
    let page = format!(
        "# Script\n\n## Backup\n\n1. The script:\n   ```yaml\n{indented}   ```\n2. The password:\n   ```yaml\n   new\n   ```\n\
         3. Run it:\n   ```sh\n   bash taiga.sh backup\n   ```\n\n## Restore\n\n1. Run it:\n   ```sh\n   bash taiga.sh restore\n   ```\n\n\
         ## Password\n\n1. Run it:\n   ```sh\n   bash taiga.sh change-password password.txt\n   ```\n"
    );
    let folder = folder.join("taiga-script");
    std::fs::create_dir_all(&folder).expect("make a folder");
    std::fs::write(folder.join("scenario.yaml"), format!("{kept}\n{DRILLS}")).expect("write the scenario");
    std::fs::write(folder.join("runbook.md"), page).expect("write the page");
}

/// Runs one drill to its end; what it printed on stderr, and where its logs are. 3 is CORRECTED.
fn drill(scenarios: &Path, drill: &str, reports: &Path) -> (String, PathBuf) {
    let output = Command::new(env!("CARGO_BIN_EXE_redrill"))
        .args(["run", "--drill", drill, "--scenarios"])
        .arg(scenarios)
        .arg("--reports")
        .arg(reports)
        .env("REDRILL_LOG", "redrill::drill::procedure=debug")
        .output()
        .expect("run redrill");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}\n{out}\n{err}", output.status);
    let run = std::fs::read_dir(reports).expect("the reports").next().expect("a run").expect("a run").path();
    (err.into_owned(), run.join("logs"))
}

fn procedures(scenarios: &Path) -> f64 {
    let reports = tempfile::tempdir().expect("a folder");
    let (log, _) = drill(scenarios, "manual", reports.path());
    // The log may be coloured: the figure is what stands behind the last `=` or space of its line.
    let figures = log.lines().filter(|line| line.contains("procedure ran")).filter_map(|line| {
        let figure = line.trim_end_matches("\u{1b}[0m").rsplit(['=', 'm']).next()?;
        figure.trim().parse::<f64>().ok()
    });
    sum(figures)
}

fn script(scenarios: &Path) -> f64 {
    let reports = tempfile::tempdir().expect("a folder");
    let (_, logs) = drill(scenarios, "script", reports.path());
    let steps = std::fs::read_dir(logs.join("taiga-script-script")).expect("the steps' logs");
    let logs: Vec<String> = steps.filter_map(|step| std::fs::read_to_string(step.ok()?.path()).ok()).collect();
    let sums = logs.iter().flat_map(|log| log.lines()).filter(|line| line.contains("\tall of "));
    sum(sums.filter_map(|line| line.split_once('\t')?.0.parse::<f64>().ok()))
}

fn sum(figures: impl Iterator<Item = f64>) -> f64 {
    let figures: Vec<f64> = figures.collect();
    assert_eq!(figures.len(), PROCEDURES, "{figures:?}");
    figures.iter().sum()
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() -> ExitCode {
    let rounds: usize = std::env::var("REDRILL_BENCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(5);
    let folder = tempfile::tempdir().expect("a folder");
    script_scenario(folder.path());
    let taiga = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut pairs = Vec::new();
    for round in 0..rounds {
        let (redrill, plain) = match round % 2 {
            0 => (procedures(&taiga), script(folder.path())),
            _ => {
                let plain = script(folder.path());
                (procedures(&taiga), plain)
            }
        };
        println!("round {}: redrill {redrill:.2} s, script {plain:.2} s, ratio {:.3}", round + 1, redrill / plain);
        pairs.push((redrill, plain));
    }
    let (redrill, plain) = (median(pairs.iter().map(|pair| pair.0)), median(pairs.iter().map(|pair| pair.1)));
    let ratio = median(pairs.iter().map(|pair| pair.0 / pair.1));
    let over = median(pairs.iter().map(|pair| pair.0 - (FACTOR * pair.1 + SECONDS)));
    println!(
        "medians of {rounds}: redrill {redrill:.2} s, script {plain:.2} s, ratio {ratio:.3}, over the limit by {over:.2} s"
    );
    if over > 0.0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
