//! The plan of Hasura's scenario: drills over one page that differ in what they lose and in what must come back.

use std::collections::BTreeMap;
use std::path::Path;

use redrill::check::Checked;
use redrill::outcome::{Aim, TextLabel};
use redrill::plan::{Action, AsWritten, DrillPlan, Plan, PlannedStep};
use redrill::problem::Problems;
use redrill::scenario::{Archive, Checkpoint, RecoveryPoint, Scenario};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/hasura");

/// The scenario held to page, manifests and images, as `redrill check` does it; `old` in its file is replaced by `new`.
fn check(old: &str, new: &str, as_written: AsWritten) -> Result<Checked, Problems> {
    let file = Path::new(FOLDER).join("scenario.yaml");
    let yaml = std::fs::read_to_string(&file).unwrap();
    assert!(yaml.contains(old), "{old}");
    let scenario = Scenario::parse(&file, &yaml.replacen(old, new, 1), jiff::civil::date(2026, 11, 21))?;
    let versions = BTreeMap::from([("kubectl", "1.32.4"), ("PostgreSQL", "11.22"), ("wal-e", "1.1.1")]);
    let versions = versions.into_iter().map(|(tool, version)| (tool.to_owned(), version.to_owned())).collect();
    Checked::of(&scenario.with_tools(&versions), as_written)
}

fn plan(as_written: AsWritten) -> Plan {
    check("", "", as_written).unwrap_or_else(|problems| panic!("{problems}")).plan
}

fn drill(name: &str, as_written: AsWritten) -> DrillPlan {
    plan(as_written).drills.into_iter().find(|drill| drill.name == name).expect(name)
}

/// Line, label, and the last line of what is typed.
fn rows(steps: &[PlannedStep]) -> Vec<(usize, TextLabel, &str)> {
    steps.iter().map(|step| (step.source.line, step.label, step.text.lines().last().unwrap())).collect()
}

#[test]
fn the_scenario_fits_its_page_and_its_system() {
    let plan = plan(AsWritten::No);
    assert_eq!(plan.uncovered, []);
    let waived: Vec<&str> = plan.waived.iter().map(|note| &*note.what).collect();
    assert_eq!(waived, ["claim new-project/hasura/postgres-data"]);
    let drills: Vec<_> =
        plan.drills.iter().map(|drill| (&*drill.name, drill.aim(), drill.archive, drill.recovers_to)).collect();
    let (recovery, end) = (Aim::Recovery, RecoveryPoint::EndOfLog);
    let expected = [
        ("data-gone", recovery, Some(Archive::Drained), end),
        ("backlog", recovery, Some(Archive::Backlog), end),
        ("point-in-time", recovery, Some(Archive::Drained), RecoveryPoint::Moment),
        ("cluster-gone", recovery, Some(Archive::Drained), end),
    ];
    assert_eq!(drills[..4], expected);
    assert_eq!((drills.len(), drills[4].0, drills[4].1), (5, "stop", Aim::Maintenance));
    assert_eq!(drills[4].2, Some(Archive::Stopped));
    assert!(plan.drills[..4].iter().all(|drill| drill.in_service == Checkpoint::Reconciled));
}

#[test]
fn a_moment_is_named_where_the_page_has_no_word_for_it() {
    use TextLabel::{Equivalent, Undocumented, Verbatim};
    let drill = drill("point-in-time", AsWritten::No);
    let edits: Vec<_> = [&drill.restore[1], &drill.restore[3]].map(|step| step.text.lines().last().unwrap()).into();
    let expected = [
        (38, Equivalent, "cp k8s/Secrets.yaml.template k8s/Secrets.yaml"),
        (39, Equivalent, edits[0]),
        (40, Equivalent, "cp k8s/ConfigMap.yaml.template k8s/ConfigMap.yaml"),
        (41, Equivalent, edits[1]),
        (45, Equivalent, "kubectl config set current-context new-project"),
        (50, Undocumented, "echo '  recovery.target.time: \"THE_MOMENT\"' >> k8s/ConfigMap.yaml"),
        (50, Verbatim, "./recovery.sh"),
        (60, Verbatim, "kubectl logs <postgres-pod-name> -n hasura"),
    ];
    assert_eq!(rows(&drill.restore), expected);
    let told = &drill.restore[5];
    assert_eq!(told.errata, ["hasura-no-procedure-for-a-moment"]);
    let filled = told.fill(|_| Some(redrill::redact::Secret::new("2026-11-21T10:00:00Z"))).unwrap();
    assert!(filled.text.expose().contains("recovery.target.time: \"2026-11-21T10:00:00Z\""));
}

#[test]
fn corrections_of_other_drills_are_not_at_work() {
    let ids = |name: &str| -> Vec<String> {
        let mut ids: Vec<String> = drill(name, AsWritten::No).errata.into_iter().map(|erratum| erratum.id).collect();
        ids.dedup();
        ids
    };
    let [shown, again] = ["hasura-values-not-shown", "hasura-recovery-repeats-itself"];
    assert_eq!(ids("data-gone"), [shown, again]);
    assert_eq!(ids("backlog"), [shown, again]);
    assert_eq!(ids("point-in-time"), ["hasura-no-procedure-for-a-moment", shown, again]);
    assert_eq!(ids("cluster-gone"), ["hasura-passwords-in-escrow", again]);
    assert!(ids("stop").is_empty());
    let data_gone = drill("data-gone", AsWritten::No);
    assert!(data_gone.restore.iter().all(|step| step.label != TextLabel::Undocumented));
    assert!(data_gone.reconcile.iter().all(|step| !step.text.contains("escrow")));
}

/// Line 105 has a block of two commands, behind which the correction stands.
#[test]
fn secrets_are_edited_in_the_editor_that_the_page_opens() {
    let drill = drill("data-gone", AsWritten::No);
    let edits: Vec<&PlannedStep> =
        drill.reconcile.iter().filter(|step| matches!(step.action, Action::Editor { .. })).collect();
    let typed: Vec<_> = edits.iter().map(|step| (step.source.line, &*step.text, step.slots.len())).collect();
    assert_eq!(
        typed,
        [(94, "kubectl edit secret postgres -n hasura", 1), (99, "kubectl edit secret auth -n hasura", 1)]
    );
    assert!(edits.iter().all(|step| step.human.as_ref().is_some_and(|human| human.source.starts_with("our estimate"))));
    let last: Vec<_> = rows(&drill.reconcile).split_off(drill.reconcile.len() - 2);
    assert_eq!(last[1], (105, TextLabel::Corrected, "./configure_backup.sh"));
    assert!(last[0].2.contains("s3://hasura-backups/new-project"), "{}", last[0].2);
}

#[test]
fn as_written_everything_is_typed_as_it_stands() {
    for name in ["data-gone", "point-in-time", "cluster-gone"] {
        let drill = drill(name, AsWritten::Yes);
        assert!(drill.errata.is_empty());
        let steps = || [&drill.restore, &drill.reconcile].into_iter().flatten();
        assert!(steps().all(|step| !matches!(step.label, TextLabel::Corrected | TextLabel::Undocumented)), "{name}");
        let looked_up = steps().find(|step| step.source.line == 84).unwrap();
        assert_eq!(looked_up.text, "kubectl get secret auth -n hasura");
    }
}

#[test]
fn what_the_scenario_gets_wrong_is_said_with_its_line() {
    let yaml = std::fs::read_to_string(Path::new(FOLDER).join("scenario.yaml")).unwrap();
    for (old, new, says) in [
        (
            "text: kubectl get secret auth -n hasura }\n        replace: kubectl",
            "text: kubectl get secret auths -n hasura }\n        replace: kubectl",
            "the page no longer says `kubectl get secret auths -n hasura`",
        ),
        (
            "text: ./recovery.sh }\n        insert-before",
            "text: ./recover.sh }\n        insert-before",
            "the page no longer says `./recover.sh`",
        ),
        ("drills: [point-in-time]", "drills: [point-on-time]", "point-on-time"),
        ("archive: stopped", "archive: drained", "is of a drill that restores"),
        ("from: { recovery-target: time }", "from: { recovery-target: xid }", "xid"),
        ("at: { backed-up: ready, restored: unready,", "at: { backed-up: ready, restored: down,", "down"),
    ] {
        let problems = check(old, new, AsWritten::No).expect_err(new).to_string();
        let line = problems.lines().find(|line| line.contains(says)).unwrap_or_else(|| panic!("{new}: {problems}"));
        let number = yaml[..yaml.find(old).unwrap()].lines().count();
        let near = (number - 1..=number + 2).any(|number| line.contains(&format!("scenario.yaml:{number}:")));
        assert!(near, "line {number}: {line}");
    }
}
