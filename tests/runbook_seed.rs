//! The Taiga runbook is in our own words, but what is typed and what is applied is the document's, mistakes included.

use std::path::{Path, PathBuf};

use redrill::runbook::{Runbook, StepKind};

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

fn ours() -> Runbook {
    Runbook::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/taiga/runbook.md")).unwrap()
}

#[test]
fn the_taiga_runbook_holds_the_documents_commands_one_by_one() {
    let Some(path) = seed("taiga-backup-and-restore.md") else {
        eprintln!("not compared: no ../shared/seeds/taiga-backup-and-restore.md beside the checkout");
        return;
    };
    let theirs = deeds(&Runbook::read(&path).unwrap());
    let ours = deeds(&ours());
    for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours, theirs, "step {} of {}", number + 1, theirs.0);
    }
    assert_eq!(ours.len(), theirs.len());
}

#[test]
fn the_taiga_runbook_has_its_three_procedures_with_every_step() {
    let found: Vec<_> = ours().procedures.iter().map(|p| (p.name.clone(), p.steps.len())).collect();
    let expected = [("Manual backup", 7), ("Manual restore", 7), ("Change Password", 6)];
    assert_eq!(found, expected.map(|(name, steps)| (name.to_owned(), steps)));
}

#[test]
fn what_cannot_work_as_written_is_still_written() {
    let ours = ours();
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
