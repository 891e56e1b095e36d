//! Estafette's page, from a namespace that is gone back into service: what it gets wrong, and restores that go wrong.

use std::fs;

use redrill::outcome::{CheckResult, ProgramLabel, StepResult, Verdict};

use crate::playground::Playground;
use crate::run::Run;

const SCENARIO: &str = "scenarios/estafette/scenario.yaml";
/// Where the release is installed again, and where the database is restored.
const INSTALL: usize = 12;
const RESTORE: usize = 58;
/// For what never gets ready: far more than what does takes here.
const PATIENCE: &str = "patience: 60s\n";

/// On the stand-in, one drill.
fn run(playground: &Playground, drill: &str, more: &[&str]) -> Run {
    playground.run(&[&["--simulate", "cockroach", "--drill", drill], more].concat())
}

fn impatient() -> Playground {
    let playground = Playground::of("estafette");
    playground.append(SCENARIO, PATIENCE);
    playground
}

#[test]
fn both_drills_are_simulated_and_nothing_worse() {
    let run = Playground::of("estafette").run(&["--simulate", "cockroach"]);
    assert_eq!(run.exit, 4, "{}", run.stderr);
    for variant in ["namespace-gone", "older"] {
        let drill = run.drill(variant);
        assert_eq!(drill.verdict(), Verdict::Simulated, "{:#?}", drill.causes());
        let mut ids: Vec<&str> = drill.errata.iter().map(|erratum| erratum.id.as_str()).collect();
        ids.dedup();
        assert_eq!(ids.len(), 4, "{ids:?}");
        assert_eq!(drill.steps.iter().find(|step| step.result != StepResult::Succeeded), None);
        let held = [
            "content of database estafette",
            "estafette-ci/estafette-ci-api is ready at restored",
            "estafette-ci/estafette-ci-db-client is absent at restored",
            "loss of namespace estafette-ci",
        ];
        for name in held {
            let check = drill.checks.iter().find(|check| check.name.contains(name));
            let check = check.unwrap_or_else(|| panic!("no check `{name}`: {:#?}", drill.checks));
            assert_eq!(check.result, CheckResult::Held, "{name}");
        }
        // What was typed to the stand-in ran on it, whatever it says of itself.
        let restore = drill.steps.iter().find(|step| step.source.line == RESTORE).expect("the RESTORE");
        assert_eq!(restore.program, ProgramLabel::Simulated);
    }
    assert_eq!(run.drill("namespace-gone").prepared.len(), 2);
    assert_eq!(run.drill("older").prepared.len(), 6, "{:#?}", run.drill("older").prepared);
    let password = "k33p-the-d00r-shut";
    let telling =
        run.files.iter().find(|(_, bytes)| bytes.windows(password.len()).any(|part| part == password.as_bytes()));
    assert_eq!(telling.map(|(path, _)| path), None, "the database's password is in a report");
}

#[test]
fn as_written_the_page_asks_for_the_diff_of_a_release_that_is_gone() {
    let run = run(&Playground::of("estafette"), "namespace-gone", &["--as-written"]);
    run.assert_broke_at(INSTALL, "Error: release: not found");
    // The diff's own last word, not that of the upgrade which was pasted with it and went on.
    run.assert_fails("Error: plugin \"diff\" exited with error");
}

#[test]
fn a_key_that_was_encoded_before_is_another_key() {
    let playground = impatient();
    playground.without_erratum("estafette-key-encoded-twice");
    run(&playground, "namespace-gone", &[]).assert_fails("the decryption key has 44 bytes: AES-256 takes 32");
}

#[test]
fn a_switch_that_switches_nothing_lets_the_migrator_make_the_tables_first() {
    let playground = Playground::of("estafette");
    playground.without_erratum("estafette-migrator-runs");
    let run = run(&playground, "namespace-gone", &[]);
    run.assert_broke_at(RESTORE, "full cluster restore can only be run on a cluster with no tables or databases");
}

/// Off when the release is installed, and back at the next upgrade, which the page does not mention it for.
#[test]
fn a_migrator_that_is_off_once_runs_at_the_next_upgrade() {
    let playground = Playground::of("estafette");
    playground.cut(
        SCENARIO,
        "      - step: { procedure: CockroachDB restore backup, text: \"enabled: true\" }\n",
        "  - id:",
    );
    let run = run(&playground, "namespace-gone", &[]);
    run.assert_broke_at(RESTORE, "full cluster restore can only be run on a cluster with no tables or databases");
}

#[test]
fn the_documented_statement_reads_no_collection() {
    let playground = Playground::of("estafette");
    playground.without_erratum("estafette-restore-of-a-collection");
    run(&playground, "namespace-gone", &[]).assert_broke_at(RESTORE, "file doesn't exist");
}

#[test]
fn with_another_key_the_data_is_there_and_no_secret_opens() {
    let playground = impatient();
    let other = "from: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n";
    let right = "from: { secret: estafette-ci/estafette-ci-api, key: secretDecryptionKey, encoding: base64 }\n";
    playground.replace(SCENARIO, right, other);
    run(&playground, "namespace-gone", &[]).assert_fails("a secret does not open with this key");
}

#[test]
fn without_the_values_of_the_release_nothing_is_installed() {
    let playground = Playground::of("estafette");
    let folder = playground.path().join("scenarios/estafette");
    fs::rename(folder.join("operations/local-values.yaml"), folder.join("local-values.yaml")).unwrap();
    playground.replace(SCENARIO, "values: [operations/local-values.yaml]", "values: [local-values.yaml]");
    let run = run(&playground, "namespace-gone", &[]);
    run.assert_broke_at(INSTALL, "open local-values.yaml: no such file or directory");
}

#[test]
fn a_client_that_nobody_switches_off_is_still_there() {
    let playground = Playground::of("estafette");
    let last = "--values {fragment} --timeout 600s\n    terminal: second";
    playground.replace(
        SCENARIO,
        last,
        "--values {fragment} --set db-client.enabled=true --timeout 600s\n    terminal: second",
    );
    run(&playground, "namespace-gone", &[]).assert_fails("estafette-ci/estafette-ci-db-client is absent at restored");
}

#[test]
fn tables_that_nobody_brings_up_to_date_are_not_what_was_there() {
    let playground = Playground::of("estafette");
    let last = "--values {fragment} --timeout 600s\n    terminal: second";
    playground.replace(
        SCENARIO,
        last,
        "--values {fragment} --set db-migrator.enabled=false --timeout 600s\n    terminal: second",
    );
    run(&playground, "older", &[]).assert_fails("column public.builds.status");
}
