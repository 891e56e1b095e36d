//! The page as it stands: where it breaks, what the real program answers, and that no correction is idle.

use redrill::outcome::{DrillOutcome, StepOutcome, StepResult, TextLabel, Verdict};
use redrill::scenario::{Erratum, Scenarios};

use crate::playground::{Playground, RUNBOOK};
use crate::run::{Run, failed_step};

fn erratum(id: &str) -> Erratum {
    let playground = Playground::new();
    let today = jiff::civil::date(2026, 11, 20);
    let scenarios = Scenarios::discover(&playground.path().join("scenarios"), today).unwrap();
    let errata = &scenarios.scenarios["taiga"].errata;
    errata.iter().find(|erratum| erratum.id == id).unwrap_or_else(|| panic!("no erratum {id}")).clone()
}

/// What the step said, without the ends that a terminal gives its lines.
fn said(run: &Run, step: &StepOutcome) -> String {
    let log = step.log.as_ref().map(|_| run.log(step)).unwrap_or_default();
    let reason = match &step.result {
        StepResult::Failed { reason, .. } => reason.as_str(),
        _ => "",
    };
    format!("{log}\n{reason}").replace('\r', "")
}

/// The drill broke at the first line with `place` of the page, and the program said what the erratum says it says.
#[track_caller]
fn assert_broke_at(run: &Run, drill: &DrillOutcome, playground: &Playground, line: usize, id: &str) {
    assert_eq!(drill.verdict(), Verdict::Failed, "{:#?}", drill.causes());
    let step = failed_step(drill);
    assert!(step.source.file.ends_with(RUNBOOK), "{}", step.source);
    assert_eq!(step.source.line, line, "{}", step.command);
    let answer = erratum(id).answer;
    let said = said(run, step);
    assert!(said.contains(&answer), "erratum {id} says the answer was\n{answer}\nand it was\n{said}");
    let tail = step.output_tail.as_ref().expect("the last lines it printed");
    let place = format!("{}:{line}", playground.path().join(RUNBOOK).display());
    for (name, report) in [("stderr", &run.stderr), ("junit.xml", &run.text("junit.xml"))] {
        assert!(report.contains(&place), "{name} does not name {place}:\n{report}");
    }
    let last = tail.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    assert!(run.text("junit.xml").contains(last), "junit.xml does not show `{last}`");
}

#[test]
fn as_written_both_drills_break_at_the_first_command_that_cannot_work() {
    let playground = Playground::new();
    let run = playground.run(&["--as-written"]);
    assert_eq!(run.exit, 1, "{}", run.stderr);
    for (variant, program) in [("manual", "-- backup.bb"), ("scheduled", "-- restore.bb")] {
        let drill = run.drill(variant);
        assert!(drill.as_written && drill.errata.is_empty());
        assert!(drill.steps.iter().all(|step| step.text != TextLabel::Corrected));
        let line = playground.line_of(&format!("exec -it backup-restore {program}"));
        assert_broke_at(&run, drill, &playground, line, "taiga-exec-deploy");
        assert!(matches!(drill.steps.last().unwrap().result, StepResult::NotRun { .. }));
    }
}

fn without(id: &str, drill: &str) -> (Playground, Run) {
    let playground = Playground::new();
    playground.without_erratum(id);
    let run = playground.run(&["--drill", drill]);
    assert_eq!(run.exit, 1, "the drill holds without {id}: {}", run.stderr);
    (playground, run)
}

#[test]
fn without_the_erratum_for_exec_the_backup_finds_no_pod() {
    let (playground, run) = without("taiga-exec-deploy", "manual");
    let line = playground.line_of("exec -it backup-restore -- backup.bb");
    assert_broke_at(&run, run.drill("manual"), &playground, line, "taiga-exec-deploy");
}

#[test]
fn without_the_erratum_for_sessions_the_database_cannot_be_dropped() {
    let (playground, run) = without("taiga-back-holds-sessions", "scheduled");
    let line = playground.line_of("exec -it backup-restore -- restore.bb");
    assert_broke_at(&run, run.drill("scheduled"), &playground, line, "taiga-back-holds-sessions");
}

#[test]
fn without_the_erratum_for_the_fragment_the_page_shows_what_is_not_there() {
    let (playground, run) = without("taiga-deployment-template", "manual");
    let line = playground.line_of("kind: Deployment");
    assert_broke_at(&run, run.drill("manual"), &playground, line, "taiga-deployment-template");
}

#[test]
fn without_the_erratum_for_the_secret_its_data_is_refused() {
    let (playground, run) = without("taiga-secret-string-data", "manual");
    let line = playground.line_of("restic-password: old") - 4;
    assert_broke_at(&run, run.drill("manual"), &playground, line, "taiga-secret-string-data");
}

/// No step fails here: psql goes on after what it cannot grant. Only what came back tells.
#[test]
fn without_the_erratum_for_the_second_role_it_and_its_grants_are_missing() {
    let (_playground, run) = without("taiga-second-role", "scheduled");
    let drill = run.drill("scheduled");
    assert!(drill.steps.iter().all(|step| step.result == StepResult::Succeeded));
    run.assert_verdict(
        Verdict::Failed,
        &[
            "check `content of database taiga` differs",
            "second role (secret taiga/postgres-readonly-secret[postgres-password]) at `restored` is refused",
        ],
    );
    let differences = run.differences("content of database taiga").join("\n");
    assert!(differences.contains("role taiga_readonly: missing"), "{differences}");
    let restore = drill.steps.iter().find(|step| step.command.ends_with("restore.bb")).unwrap();
    let (answer, said) = (erratum("taiga-second-role").answer, said(&run, restore));
    assert!(said.contains(&answer), "the answer was to be {answer}, and it was\n{said}");
}
