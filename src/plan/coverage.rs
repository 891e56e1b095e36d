//! What of a runbook the plan leaves out.

use std::collections::{BTreeMap, BTreeSet};

use super::bound::OfLines;
use super::locate::{self, StepPlace, first_line};
use crate::outcome::Note;
use crate::runbook::{Runbook, StepKind};
use crate::scenario::Waiver;

/// Steps that no drill runs, and steps that are waived, both in the runbook's order.
pub fn notes(
    runbook: &Runbook,
    run: &BTreeSet<StepPlace>,
    unbound: &BTreeSet<StepPlace>,
    waivers: &BTreeMap<StepPlace, OfLines<'_, Waiver>>,
    wholly_waived: &BTreeSet<StepPlace>,
) -> (Vec<Note>, Vec<Note>) {
    let mut uncovered = Vec::new();
    let mut waived = Vec::new();
    for place in locate::places(runbook) {
        let (procedure, step) = place.of(runbook);
        let note = |why: String| Note {
            source: Some(step.source.clone()),
            what: format!("{}: {}", procedure.name, first_line(step.kind.text())),
            why,
        };
        for (lines, waiver) in waivers.get(&place).into_iter().flatten() {
            let text = step.kind.text().lines().skip(lines.start).take(lines.len()).collect::<Vec<_>>().join("\n");
            let mut source = step.source.clone();
            source.line += lines.start;
            let what = format!("{}: {}", procedure.name, first_line(&text));
            waived.push(Note { source: Some(source), what, why: waiver.reason.clone() });
        }
        if wholly_waived.contains(&place) {
            continue;
        } else if unbound.contains(&place) {
            let what = match step.kind {
                StepKind::Fragment { .. } => "this fragment",
                StepKind::Human { .. } | StepKind::Command { .. } => "this step",
            };
            uncovered.push(note(format!("nothing says what a person does with {what}: add a binding or a waiver")));
        } else if !run.contains(&place) {
            uncovered.push(note("no drill runs it and no waiver names it".to_owned()));
        }
    }
    (uncovered, waived)
}
