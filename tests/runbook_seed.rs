//! The runbooks are in our own words, but what is typed and what is applied is the documents', mistakes included.

use std::path::{Path, PathBuf};

use redrill::runbook::{Procedure, Runbook, StepKind};

/// `shared/seeds` beside the checkout, or beside a folder above it.
fn seed(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.ancestors().skip(1).map(|above| above.join("shared/seeds").join(name)).find(|path| path.is_file())
}

/// Procedure, number as printed, and the exact text of everything that is typed or applied.
fn deeds(runbook: &Runbook) -> Vec<(String, Option<u64>, StepKindName, String)> {
    let steps = runbook.procedures.iter().flat_map(|p| p.steps.iter().map(move |step| (p, step)));
    steps
        .filter_map(|(procedure, step)| {
            let kind = match &step.kind {
                StepKind::Command { .. } => StepKindName::Command,
                StepKind::Fragment { .. } => StepKindName::Fragment,
                StepKind::Human { .. } => return None,
            };
            Some((procedure.name.clone(), step.item, kind, step.kind.text().to_owned()))
        })
        .collect()
}

#[derive(Debug, PartialEq)]
enum StepKindName {
    Command,
    Fragment,
}

fn ours(page: &str) -> Runbook {
    Runbook::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(page)).unwrap()
}

fn taiga() -> Runbook {
    ours("taiga/runbook.md")
}

fn quetzal() -> Runbook {
    ours("quetzal/runbook.rst")
}

#[test]
fn the_taiga_runbook_holds_the_documents_commands_one_by_one() {
    assert_same_deeds(&taiga(), "taiga-backup-and-restore.md");
}

#[test]
fn the_quetzal_runbook_holds_the_documents_commands_one_by_one() {
    assert_same_deeds(&quetzal(), "quetzal-backups.rst");
}

#[test]
fn the_hasura_runbook_holds_the_documents_commands_one_by_one() {
    assert_same_deeds(&ours("hasura/runbook.md"), "hasura-continuous-backups.md");
}

#[test]
fn the_rocket_chat_runbook_holds_the_documents_diff() {
    assert_same_deeds(&ours("rocket-chat/runbook.md"), "rocket-chat-restoring-chat-db.md");
}

#[test]
fn the_estafette_runbook_holds_the_documents_commands_one_by_one() {
    assert_same_deeds(&ours("estafette/runbook.md"), "estafette-disaster-recovery.md");
}

#[test]
fn the_rocket_chat_runbook_has_its_clicks_as_steps_and_the_one_behind_the_diff_too() {
    let runbook = ours("rocket-chat/runbook.md");
    let items = |procedure: &Procedure| procedure.steps.iter().filter_map(|step| step.item).collect::<Vec<_>>();
    let found: Vec<_> = runbook.procedures.iter().map(|p| (p.name.as_str(), items(p))).collect();
    let expected = [
        ("Restoring the backup to a directory on EFS", vec![1, 2]),
        ("Find the backup directory", vec![1, 2, 3]),
        ("Move the task definition volume to point to the new directory", vec![1, 2, 3]),
        ("Cleanup", vec![1, 2, 3]),
    ];
    assert_eq!(found, expected);
}

#[test]
fn the_hasura_runbook_has_what_a_person_does_by_hand_as_steps_too() {
    let runbook = ours("hasura/runbook.md");
    let found: Vec<_> = runbook.procedures.iter().map(|p| (p.name.as_str(), p.steps.len())).collect();
    let expected = [
        ("Configure backup on a Hasura project", 6),
        ("More options", 1),
        ("Setup for the recovery", 4),
        ("Configure the recovery to start", 2),
        ("Checking status", 1),
        ("Post recovery steps", 7),
    ];
    assert_eq!(found, expected);
}

fn assert_same_deeds(ours: &Runbook, document: &str) {
    let Some(path) = seed(document) else {
        eprintln!("not compared: no ../shared/seeds/{document} beside the checkout");
        return;
    };
    let theirs = deeds(&Runbook::read(&path).unwrap());
    let ours = deeds(ours);
    assert!(!theirs.is_empty());
    for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours, theirs, "step {} of {}", number + 1, theirs.0);
    }
    assert_eq!(ours.len(), theirs.len());
}

#[test]
fn the_taiga_runbook_has_its_three_procedures_with_every_step() {
    let found: Vec<_> = taiga().procedures.iter().map(|p| (p.name.clone(), p.steps.len())).collect();
    let expected = [("Manual backup", 7), ("Manual restore", 7), ("Change Password", 6)];
    assert_eq!(found, expected.map(|(name, steps)| (name.to_owned(), steps)));
}

#[test]
fn what_cannot_work_as_written_is_still_written() {
    let ours = taiga();
    for (mistake, times) in [
        ("exec -it backup-restore --", 3),
        ("spec:\n    spec:\n", 1),
        ("restic-password: new\n", 1),
        ("data:\n  restic", 2),
    ] {
        let holding = ours.procedures.iter().flat_map(|p| &p.steps).filter(|s| s.kind.text().contains(mistake)).count();
        assert_eq!(holding, times, "{mistake:?}");
    }
}

#[test]
fn the_quetzal_runbook_has_its_two_procedures_with_every_step_on_its_line() {
    let runbook = quetzal();
    let lines = |name: &str| -> Vec<_> {
        let procedure = runbook.sections(name).next().unwrap();
        procedure.steps.iter().map(|step| (step.item, step.source.line)).collect()
    };
    assert_eq!(lines("Manual backup"), [(None, 18)]);
    let expected = [(1, 33), (2, 43), (3, 52), (3, 59), (4, 67), (5, 83), (5, 88), (5, 95), (6, 106)];
    assert_eq!(lines("Restoring a backup"), expected.map(|(item, line)| (Some(item), line)));
    assert_eq!(runbook.procedures.len(), 2);
    for step in runbook.procedures.iter().flat_map(|procedure| &procedure.steps) {
        let first = step.kind.text().lines().next().unwrap();
        let line = runbook.text.lines().nth(step.source.line - 1).unwrap();
        assert!(
            line.ends_with(first.split(". ").next().unwrap().trim_end()) || step.item == Some(4),
            "{line:?} {first:?}"
        );
    }
}

#[test]
fn what_cannot_work_in_quetzals_document_is_still_written() {
    let quetzal = quetzal();
    let steps: Vec<_> = quetzal.procedures.iter().flat_map(|p| &p.steps).map(|step| step.kind.text()).collect();
    for mistake in [
        "exec -it DB_POD_NAME bash",
        "BACKUP_NAME.bak.gz\ngunzip BACKUP_NAME.bak",
        "'quetzak'",
        "DROP DATABASE quetzal;",
        "-U$POSTGRES_USER --set",
    ] {
        assert_eq!(steps.iter().filter(|text| text.contains(mistake)).count(), 1, "{mistake:?}");
    }
}
