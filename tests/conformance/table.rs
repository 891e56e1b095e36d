//! The table: a drill as it is, as the page has it, and with a restore that goes wrong.

use redrill::outcome::Verdict;
use serde_json::Value;

use crate::findings::{findings, nameless};
use crate::playground::{CHANGE_PASSWORD, Playground, RESTORE};

/// Runs drills of a system on both environments and holds what they found out against one another.
fn conforms(system: &'static str, alter: impl Fn(&Playground), arguments: &[&str], verdicts: &[(&str, Verdict)]) {
    let outcomes = ["local", "docker"].map(|environment| {
        let playground = Playground::of(system);
        alter(&playground);
        let run = playground.run(&[arguments, &["--rng", "11", "--install", "--env", environment]].concat());
        for (drill, verdict) in verdicts {
            let drill = run.drill(drill);
            assert_eq!((&*drill.environment, drill.verdict()), (environment, *verdict), "{}", run.stderr);
            assert_eq!(drill.leftovers, [""; 0]);
        }
        for drill in run.outcome().drills.iter().filter(|_| system == "taiga") {
            // Of the machine, and of what images hold: errata are for versions.
            let known = ["kubectl", "postgresql-15", "restic"].map(|name| drill.versions.contains_key(name));
            assert_eq!(known, [true; 3], "{environment}: {:?}", drill.versions);
        }
        let drills: Vec<Value> = run.outcome().drills.iter().map(findings).collect();
        nameless(&run.placeless(&serde_json::to_string_pretty(&drills).unwrap()))
    });
    let [local, docker] = &outcomes;
    let other: Vec<_> = local.lines().zip(docker.lines()).filter(|(local, docker)| local != docker).collect();
    assert!(local == docker, "local against docker: {other:#?}");
}

#[test]
#[ignore = "needs an engine: drills_in_containers_find_out_what_local_ones_do runs it"]
fn a_good_restore_is_corrected_on_both() {
    let verdicts = [("manual", Verdict::Corrected), ("scheduled", Verdict::Corrected)];
    conforms("taiga", |_| {}, &["--jobs", "2"], &verdicts);
}

#[test]
#[ignore = "needs an engine: drills_in_containers_find_out_what_local_ones_do runs it"]
fn a_page_that_cannot_work_fails_at_the_same_line_on_both() {
    conforms("taiga", |_| {}, &["--drill", "manual", "--as-written"], &[("manual", Verdict::Failed)]);
}

#[test]
#[ignore = "needs an engine: drills_in_containers_find_out_what_local_ones_do runs it"]
fn what_a_restore_gets_wrong_is_found_on_both() {
    let alter = |playground: &Playground| {
        playground.append(RESTORE, "rm -- /media/user/odd/-rf\nchmod 0644 /media/user/modes/mode-0600\n");
        playground.replace(CHANGE_PASSWORD, "for repository in files pg-database; do", "for repository in files; do");
    };
    let verdicts = [("manual", Verdict::Failed), ("scheduled", Verdict::Failed)];
    conforms("taiga", alter, &["--jobs", "2"], &verdicts);
}

#[test]
#[ignore = "needs an engine: drills_in_containers_find_out_what_local_ones_do runs it"]
fn a_dump_in_a_bucket_comes_back_on_both() {
    conforms("quetzal", |_| {}, &["--drill", "scheduled"], &[("scheduled", Verdict::Corrected)]);
}

#[test]
#[ignore = "needs an engine: drills_in_containers_find_out_what_local_ones_do runs it"]
fn a_log_that_was_shipped_comes_back_on_both() {
    conforms("hasura", |_| {}, &["--drill", "data-gone"], &[("data-gone", Verdict::Corrected)]);
}

#[test]
#[ignore = "needs an engine: drills_in_containers_find_out_what_local_ones_do runs it"]
fn a_copied_file_system_comes_back_on_both() {
    conforms("rocket-chat", |_| {}, &["--drill", "corrupted"], &[("corrupted", Verdict::Simulated)]);
}

#[test]
#[ignore = "needs an engine: drills_in_containers_find_out_what_local_ones_do runs it"]
fn a_release_with_its_key_comes_back_on_both() {
    conforms(
        "estafette",
        |_| {},
        &["--drill", "namespace-gone", "--simulate", "cockroach"],
        &[("namespace-gone", Verdict::Simulated)],
    );
}

#[test]
#[ignore = "needs an engine: drills_in_containers_find_out_what_local_ones_do runs it"]
fn a_command_that_is_refused_breaks_the_same_step_on_both() {
    let alter = |playground: &Playground| playground.without_erratum("quetzal-exec-dashes");
    conforms("quetzal", alter, &["--drill", "scheduled"], &[("scheduled", Verdict::Failed)]);
}

#[test]
#[ignore = "needs an engine: drills_in_containers_find_out_what_local_ones_do runs it"]
fn a_key_that_opens_nothing_is_found_on_both() {
    let alter = |playground: &Playground| {
        playground.append("scenarios/estafette/scenario.yaml", "patience: 60s\n");
        playground.without_erratum("estafette-key-encoded-twice");
    };
    let arguments = ["--drill", "namespace-gone", "--simulate", "cockroach"];
    conforms("estafette", alter, &arguments, &[("namespace-gone", Verdict::Failed)]);
}
