//! The plan of Quetzal's scenario: blocks in pieces, slots from what was printed, SQL in a session, errata by version.

use std::collections::BTreeMap;
use std::path::Path;

use redrill::outcome::TextLabel;
use redrill::plan::{Action, AsWritten, DrillPlan, Plan, PlannedStep};
use redrill::problem::Problems;
use redrill::runbook::Runbook;
use redrill::scenario::Scenario;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/quetzal");

/// The scenario's plan with these versions of tools; `old` in its file is replaced by `new`.
fn plan(old: &str, new: &str, as_written: AsWritten, kubectl: &str) -> Result<Plan, Problems> {
    let page = std::fs::read_to_string(Path::new(FOLDER).join("runbook.rst")).unwrap();
    let file = Path::new(FOLDER).join("scenario.yaml");
    let yaml = std::fs::read_to_string(&file).unwrap();
    assert!(yaml.contains(old), "{old}");
    let scenario = Scenario::parse(&file, &yaml.replacen(old, new, 1), jiff::civil::date(2026, 11, 21))?;
    let runbook = Runbook::from_rst(Path::new("runbook.rst"), page)?;
    let versions = BTreeMap::from([("kubectl".to_owned(), kubectl.to_owned())]);
    Plan::build(&scenario.with_tools(&versions), &runbook, as_written)
}

fn manual(as_written: AsWritten, kubectl: &str) -> DrillPlan {
    let plan = plan("", "", as_written, kubectl).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(plan.uncovered, []);
    plan.drills.into_iter().find(|drill| drill.name == "manual").unwrap()
}

/// Line, label, and the last line of what is typed.
fn rows(steps: &[PlannedStep]) -> Vec<(usize, TextLabel, &str)> {
    steps.iter().map(|step| (step.source.line, step.label, step.text.lines().last().unwrap())).collect()
}

#[test]
fn a_block_whose_first_command_finds_a_name_for_the_second_is_two_steps() {
    let drill = manual(AsWritten::No, "1.32.4");
    let expected = [
        (18, TextLabel::Verbatim, "kubectl get cronjobs -l app.kubernetes.io/component=database"),
        (20, TextLabel::Verbatim, "kubectl create job --from=cronjob/CRONJOB_NAME CRONJOB_NAME-manual-001"),
    ];
    assert_eq!(rows(&drill.backup), expected);
    let create = &drill.backup[1];
    assert_eq!(create.slots.len(), 2);
    let filled = create.fill(|_| Some(redrill::redact::Secret::new("nightly"))).unwrap();
    assert!(filled.text.expose().ends_with("--from=cronjob/nightly nightly-manual-001"));
}

#[test]
fn the_restore_is_planned_command_by_command_with_its_lines() {
    use TextLabel::{Corrected, Equivalent, Human, Verbatim};
    let drill = manual(AsWritten::No, "1.32.4");
    let edit = &drill.restore[4];
    assert_eq!(edit.text.lines().filter(|line| line.starts_with("sed -i ")).count(), 1, "{}", edit.text);
    assert_eq!(edit.slots.len(), 2, "in the script and in the file's name");
    assert!(edit.human.as_ref().is_some_and(|human| human.source.starts_with("our estimate")));
    assert_eq!(edit.action, Action::Edit { file: "BACKUP_NAME.bak".to_owned() });
    let script = edit.text.lines().last().unwrap();
    let expected = [
        (33, Verbatim, "kubectl get pods -l app.kubernetes.io/component=database"),
        (35, Corrected, "kubectl exec -it DB_POD_NAME -- bash"),
        (43, Corrected, "gsutil ls gs://BACKUP_BUCKET/db/"),
        (43, Corrected, "gunzip BACKUP_NAME.bak"),
        (53, Equivalent, script),
        (59, Human, "CREATE DATABASE dbuser;"),
        (67, Equivalent, "kubectl scale deployment quetzal-app quetzal-worker --replicas=0"),
        (83, Verbatim, "psql -U$POSTGRES_USER $POSTGRES_USER"),
        (88, Verbatim, "  AND pid <> pg_backend_pid();"),
        (95, Verbatim, "exit;"),
        (106, Verbatim, "psql -U$POSTGRES_USER --set ON_ERROR_STOP=on -f ./BACKUP_NAME.bak"),
        (106, Corrected, "exit"),
        (106, Corrected, "kubectl scale deployment quetzal-app quetzal-worker --replicas=1"),
    ];
    assert_eq!(rows(&drill.restore), expected);
    let typed = drill.restore.iter().filter(|step| step.source.line != 67);
    assert!(typed.into_iter().all(|step| matches!(step.action, Action::Shell | Action::Edit { .. } | Action::Human)));
    let provided: Vec<_> =
        drill.provided.iter().map(|note| (note.source.as_ref().unwrap().line, &*note.what)).collect();
    assert_eq!(provided, [(52, "apt-get update && apt-get install --no-install-recommends --yes vim")]);
}

#[test]
fn an_erratum_is_at_work_only_with_versions_that_it_holds_for() {
    let ids = |kubectl: &str| -> Vec<String> {
        manual(AsWritten::No, kubectl).errata.iter().map(|erratum| erratum.id.clone()).collect()
    };
    assert!(ids("1.31.0").contains(&"quetzal-exec-dashes".to_owned()));
    assert!(!ids("1.30.4").contains(&"quetzal-exec-dashes".to_owned()));
    let older = manual(AsWritten::No, "1.30.4");
    assert!(rows(&older.restore).contains(&(35, TextLabel::Verbatim, "kubectl exec -it DB_POD_NAME bash")));
}

#[test]
fn as_written_everything_is_typed_as_it_stands() {
    let drill = manual(AsWritten::Yes, "1.32.4");
    assert!(drill.restore.iter().all(|step| step.label != TextLabel::Corrected));
    // Where the backup's name comes from the page does not say, and the drill is to find that out.
    let fetch = drill.restore.iter().find(|step| step.text.contains("gsutil cp")).unwrap();
    assert_eq!(fetch.source.line, 43);
    assert_eq!(fetch.slots.len(), 3);
}

#[test]
fn what_the_scenario_gets_wrong_is_said_with_its_line() {
    for (old, new, says) in [
        ("kubectl 1.31+", "kubectl soon", "`kubectl soon` names no versions of a tool"),
        ("gsutil 4+", "gsutil 5-4", "ends before it begins"),
        ("column: NAME", "colum: NAME", "unknown field `colum`"),
        ("pattern: '(?s).*/(db", "pattern: '(?s).*/((db", "is no regular expression"),
        (r"(db_dump-[0-9_]+)", r"db_dump-[0-9_]+", "has no group"),
        ("text: kubectl get cronjobs", "text: kubectl", "is in 2 commands of the block at runbook.rst:18"),
        ("text: kubectl get cronjobs }", "text: kubectl list }", "the page no longer says `kubectl list`"),
        ("text: apt-get update }", "text: BACKUP_NAME }", "a second binding of runbook.rst:52"),
        (
            "    provided: nothing",
            "    run: \"true\"\n    provided: nothing",
            "only one of `run`, `compare`, `edit`, `editor` and `provided`",
        ),
        (
            "    run: kubectl scale deployment quetzal-app quetzal-worker --replicas=0\n",
            "",
            "nothing is typed for this step",
        ),
        ("    edit: BACKUP_NAME.bak", "    terminal: third\n    edit: BACKUP_NAME.bak", "unknown `third`"),
        ("edit: BACKUP_NAME.bak", "edit: $(BACKUP_NAME)", "name a file by plain characters"),
        ("    edit: BACKUP_NAME.bak\n", "", "unknown field"),
        ("    script: >-", "    skript: >-", "unknown field `skript`"),
        (
            "    human: { time: 5m, source: \"our estimate: find three lines in a dump, comment them out, save\" }\n",
            "",
            "an edit takes a person time",
        ),
        ("    edit: BACKUP_NAME.bak", "    provided: x\n    edit: BACKUP_NAME.bak", "only one of"),
    ] {
        let problems = plan(old, new, AsWritten::No, "1.32.4").expect_err(new).to_string();
        let line = problems.lines().find(|line| line.contains(says)).unwrap_or_else(|| panic!("{new}: {problems}"));
        assert!(line.contains("scenario.yaml:"), "{line}");
    }
}
