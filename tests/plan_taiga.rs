//! What is going to run in the Taiga drills, step by step, before anything starts.

use std::path::{Path, PathBuf};

use redrill::check::Checked;
use redrill::outcome::{ProgramLabel, TextLabel};
use redrill::plan::{Action, AsWritten, DrillPlan, PlannedStep, SlotText};
use redrill::redact::Secret;
use redrill::scenario::{RunbookSource, Scenario, Scenarios, SlotSource, ValueFrom};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

fn taiga() -> Scenario {
    let today = jiff::civil::date(2026, 11, 20);
    let scenarios = Scenarios::discover(&folder(), today).unwrap_or_else(|problems| panic!("{problems}"));
    scenarios.scenarios["taiga"].clone()
}

fn checked(as_written: AsWritten) -> Checked {
    Checked::of(&taiga(), as_written).unwrap_or_else(|problems| panic!("{problems}"))
}

fn drill<'a>(checked: &'a Checked, name: &str) -> &'a DrillPlan {
    checked.plan.drills.iter().find(|drill| drill.name == name).unwrap()
}

fn texts(steps: &[PlannedStep]) -> Vec<&str> {
    steps.iter().map(|step| step.text.strip_prefix("kubectl -n taiga ").unwrap_or(&step.text)).collect()
}

#[test]
fn every_command_of_the_page_is_drilled_and_every_secret_and_claim_is_covered() {
    let checked = checked(AsWritten::No);
    assert_eq!(checked.plan.uncovered, []);
    assert_eq!(checked.plan.waived, []);
}

#[test]
fn the_manual_restore_runs_corrected_in_this_order() {
    let checked = checked(AsWritten::No);
    let restore = &drill(&checked, "manual").restore;
    let steps = texts(restore);
    assert_eq!(steps.len(), 10);
    assert_eq!(
        steps[..4],
        [
            "scale deployment taiga-gateway-deployment --replicas=0",
            "scale deployment taiga-front-deployment --replicas=0",
            "scale deployment taiga-back-deployment --replicas=0",
            "scale deployment backup-restore --replicas=1",
        ]
    );
    assert!(steps[4].starts_with("printf \"CREATE ROLE taiga_readonly"), "{}", steps[4]);
    assert_eq!(
        steps[5..],
        [
            "exec -it deploy/backup-restore -- restore.bb",
            "scale deployment backup-restore --replicas=0",
            "scale deployment taiga-back-deployment --replicas=1",
            "scale deployment taiga-gateway-deployment --replicas=1",
            "scale deployment taiga-front-deployment --replicas=1",
        ]
    );
    let labels: Vec<_> = restore.iter().map(|step| step.label).collect();
    use TextLabel::{Corrected, Verbatim};
    assert_eq!(
        labels,
        [Verbatim, Verbatim, Corrected, Verbatim, Corrected, Corrected, Verbatim, Corrected, Verbatim, Verbatim]
    );
    assert_eq!(restore[5].program, ProgramLabel::Rewritten);
    assert_eq!(restore[6].program, ProgramLabel::Real);
    assert_eq!(restore[5].errata, ["taiga-exec-deploy"]);
    assert_eq!(restore[5].documented.as_deref(), Some("kubectl -n taiga exec -it backup-restore -- restore.bb"));
}

#[test]
fn as_written_nothing_but_the_page_is_typed() {
    let checked = checked(AsWritten::Yes);
    for drill in &checked.plan.drills {
        assert_eq!(drill.errata, []);
        for step in drill.backup.iter().chain(&drill.restore).filter(|step| step.action == Action::Shell) {
            assert_eq!(Some(&step.text), step.documented.as_ref());
            assert_eq!(step.label, TextLabel::Verbatim);
        }
    }
    assert_eq!(drill(&checked, "manual").restore.len(), 7);
}

#[test]
fn the_rotation_fills_both_fragments_from_the_secret_and_a_generated_value() {
    let checked = checked(AsWritten::No);
    let reconcile = &drill(&checked, "manual").reconcile;
    let Action::Compare { content } = &reconcile[0].action else { panic!("{:?}", reconcile[0]) };
    assert!(content.contains("spec:\n  template:\n    spec:\n      containers:"), "{content}");
    let value = |from: &SlotSource| match from {
        SlotSource::Value(ValueFrom::Secret(_)) => Some(Secret::new("before")),
        SlotSource::Value(ValueFrom::Generated(_)) => Some(Secret::new("drawn")),
        _ => None,
    };
    let content = |step: &PlannedStep| step.fill(value).unwrap().content.unwrap().expose().to_owned();
    assert_eq!(
        content(&reconcile[1]),
        "kind: Secret\nmetadata:\n  name: backup-secret\nstringData:\n  restic-password: before\n  restic-new-password: drawn\n"
    );
    let last = reconcile.last().unwrap();
    assert_eq!(
        content(last),
        "kind: Secret\nmetadata:\n  name: backup-secret\nstringData:\n  restic-password: drawn\n"
    );
    assert!(last.slots.iter().all(|slot| slot.within == SlotText::Content));
    assert!(reconcile.iter().filter(|step| step.action != Action::Shell).all(|step| step.human.is_some()));
}

#[test]
fn the_scheduled_drill_backs_up_by_the_cron_job() {
    let checked = checked(AsWritten::No);
    let drill = drill(&checked, "scheduled");
    assert!(
        matches!(&drill.backup[0].action, Action::CronJob { object } if object.to_string() == "taiga/taiga-backup")
    );
    assert_eq!(drill.backup[0].program, ProgramLabel::Rewritten);
    assert_eq!(drill.reconcile, []);
}

#[test]
fn every_erratum_is_at_work_in_the_manual_drill() {
    let scenario = taiga();
    let checked = checked(AsWritten::No);
    for erratum in &scenario.errata {
        let applied = drill(&checked, "manual").errata.iter().filter(|applied| applied.id == erratum.id).count();
        assert_eq!(applied, erratum.edits.len(), "{}", erratum.id);
    }
}

#[test]
fn a_flag_that_changes_on_the_page_is_the_flag_that_runs() {
    let mut scenario = taiga();
    let folder = tempfile::tempdir().unwrap();
    let page = std::fs::read_to_string(scenario.runbook.to_string()).unwrap();
    let copy = folder.path().join("runbook.md");
    scenario.runbook = RunbookSource::File(copy.clone());
    let changed = page.replace("taiga-front-deployment --replicas=1", "taiga-front-deployment --replicas=3");
    std::fs::write(&copy, changed).unwrap();
    let checked = Checked::of(&scenario, AsWritten::No).unwrap();
    assert_eq!(
        texts(&drill(&checked, "manual").restore).last(),
        Some(&"scale deployment taiga-front-deployment --replicas=3")
    );
}

#[test]
fn a_plan_in_lines_names_each_steps_line_label_and_erratum() {
    let checked = checked(AsWritten::No);
    let page = taiga().runbook.to_string();
    let shown = checked.plan.to_string().replace(&page, "runbook.md");
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "taiga/manual");
    assert_eq!(
        lines[4],
        "  backup    runbook.md:17 corrected    kubectl -n taiga exec -it deploy/backup-restore -- backup.bb  [taiga-exec-deploy]"
    );
    let erratum = "  erratum taiga-exec-deploy runbook.md:17: `exec -it backup-restore --` -> `exec -it deploy/backup-restore --`";
    assert!(lines.contains(&erratum), "{shown}");
}

#[test]
fn planning_twice_gives_the_same_plan() {
    assert_eq!(checked(AsWritten::No).plan, checked(AsWritten::No).plan);
}
