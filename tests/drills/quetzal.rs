//! Quetzal's page, from its bucket back into a new server: what it gets wrong, and restores that go wrong.

use redrill::outcome::{CheckResult, StepResult, TextLabel, Verdict};

use crate::playground::Playground;

const RUNBOOK: &str = "scenarios/quetzal/runbook.rst";
const SCENARIO: &str = "scenarios/quetzal/scenario.yaml";

#[test]
fn every_drill_is_corrected_and_nothing_worse() {
    let run = Playground::of("quetzal").run(&[]);
    assert_eq!(run.exit, 3, "{}", run.stderr);
    for (variant, backup) in [("manual", vec![18, 20]), ("scheduled", vec![65]), ("corrupted", vec![18, 20])] {
        let drill = run.drill(variant);
        assert_eq!(drill.verdict(), Verdict::Corrected, "{:#?}", drill.causes());
        let lines: Vec<usize> = drill.steps.iter().map(|step| step.source.line).collect();
        assert_eq!(lines, [backup, vec![33, 35, 43, 43, 53, 59, 67, 83, 88, 95, 106, 106, 106]].concat());
        assert!(drill.steps.iter().all(|step| step.result == StepResult::Succeeded));
        let human: u64 =
            drill.steps.iter().filter_map(|step| step.human.as_ref()).map(|human| human.duration.as_secs()).sum();
        assert_eq!(human, 8 * 60, "declared, and added to the RTO");
        assert_eq!(drill.provided.len(), 2, "the editor and the bucket: {:#?}", drill.provided);
    }
    let created = &run.drill("manual").steps[1];
    assert!(created.command.contains("--from=cronjob/quetzal-database-backup quetzal-database-backup-manual-001"));
    let sql = run.drill("manual").steps.iter().find(|step| step.source.line == 95).expect("the drop");
    assert_eq!(sql.text, TextLabel::Verbatim);
    assert!(run.log(sql).contains("DROP ROLE"), "typed where psql reads: {}", run.log(sql));
}

#[test]
fn as_written_the_page_does_not_come_into_the_pod() {
    let run = Playground::of("quetzal").run(&["--as-written", "--drill", "scheduled"]);
    run.assert_broke_at(
        35,
        "error: exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead",
    );
}

#[test]
fn no_correction_is_idle() {
    let without = |id: &str| {
        let playground = Playground::of("quetzal");
        playground.without_erratum(id);
        playground.run(&["--drill", "scheduled"])
    };
    without("quetzal-exec-dashes").assert_broke_at(35, "Use exec [POD] -- [COMMAND] instead");
    // Nothing on the page says which backup, so without the listing there is nothing to fill its name from.
    let unnamed = without("quetzal-which-backup");
    let problems = unnamed.outcome().usage.join("\n");
    assert_eq!(unnamed.exit, 64, "{problems}");
    assert!(problems.contains("scenario.yaml:") && problems.contains("gsutil ls"), "{problems}");
    without("quetzal-cp-destination")
        .assert_broke_at(43, "CommandException: Wrong number of arguments for \"cp\" command.");
    without("quetzal-out-of-service").assert_verdict(
        Verdict::Failed,
        &["check `every workload serves again` differs: Deployment quetzal/quetzal-app has 0 of 1 ready"],
    );
}

/// The page ends the sessions of a database that is not there: with nobody taken out of service, the right one keeps its
/// sessions.
#[test]
fn with_applications_in_service_the_slip_in_the_databases_name_keeps_it_from_being_dropped() {
    let playground = Playground::of("quetzal");
    playground.replace(
        SCENARIO,
        "    run: kubectl scale deployment quetzal-app quetzal-worker --replicas=0\n    terminal: second\n",
        "",
    );
    let run = playground.run(&["--drill", "scheduled"]);
    run.assert_broke_at(95, "ERROR:  database \"quetzal\" is being accessed by other users");
    assert!(playground.read(RUNBOOK).contains("'quetzak'"));
}

/// An edit by hand goes wrong by one line.
#[test]
fn a_line_too_many_that_is_taken_out_of_the_dump_is_named_in_both_databases() {
    let playground = Playground::of("quetzal");
    playground.replace(
        SCENARIO,
        "sed -i -e \"s/^CREATE ROLE",
        "sed -i -e \"/^GRANT SELECT ON TABLE public.plans TO db_ro_user;/d\" -e \"s/^CREATE ROLE",
    );
    let run = playground.run(&["--drill", "scheduled"]);
    let lost = "differs: grant on table public.plans to db_ro_user: missing";
    run.assert_verdict(
        Verdict::Failed,
        &[
            &format!("check `content of database quetzal` {lost}"),
            &format!("check `content of database unittests` {lost}"),
        ],
    );
}

/// A dump that is cut short is stored like any other, and loads without an error: pipes tell nobody.
#[test]
fn a_dump_that_was_cut_short_and_stored_all_the_same_is_told_by_what_is_not_in_it() {
    let playground = Playground::of("quetzal");
    let dump = "images/quetzal-backup/dump-to-bucket";
    playground.replace(dump, "set -euo pipefail", "set -eu");
    // Before the rows of a table of the database dumped last, which the applications do not miss.
    playground.replace(dump, "| gzip |", r"| sed '/^.connect unittests/,${/^COPY /q}' | gzip |");
    let run = playground.run(&["--drill", "scheduled"]);
    run.assert_verdict(Verdict::Failed, &["check `content of database unittests` differs: "]);
    let drill = run.drill("scheduled");
    assert!(drill.steps.iter().all(|step| step.result == StepResult::Succeeded), "nothing else has noticed");
    let whole = drill.checks.iter().find(|check| check.name == "content of database quetzal").expect("the other one");
    assert!(matches!(whole.result, CheckResult::Held), "{whole:#?}");
}
