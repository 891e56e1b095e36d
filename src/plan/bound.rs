//! What the scenario says of each step: bindings and waivers, by the lines of the step that they are about.

use std::collections::BTreeMap;
use std::ops::Range;

use super::locate::{self, StepPlace};
use super::piece;
use crate::problem::{Problem, Problems};
use crate::runbook::{Runbook, Step, StepKind};
use crate::scenario::{Binding, Deed, Scenario, StepRef, Waived, Waiver};

/// Of one step: entries with the lines that they are about.
pub type OfLines<'s, T> = Vec<(Range<usize>, &'s T)>;

/// Bindings by step. A second one of the same lines, or one that does not suit its step, is a problem.
pub fn bindings<'s>(
    scenario: &'s Scenario,
    runbook: &Runbook,
    problems: &mut Problems,
) -> BTreeMap<StepPlace, OfLines<'s, Binding>> {
    let mut found: BTreeMap<StepPlace, OfLines<'s, Binding>> = BTreeMap::new();
    for binding in &scenario.bindings {
        let bound = locate::step(runbook, &binding.step).and_then(|place| {
            let step = place.of(runbook).1;
            suits(binding, step)?;
            let lines = lines_of(step, &binding.step)?;
            let others = found.get(&place).into_iter().flatten();
            match others.into_iter().find(|(taken, _)| overlap(taken, &lines)) {
                None => Ok((place, lines)),
                Some((_, first)) => {
                    let message = format!("a second binding of {}, the first is in {}", step.source, first.step.source);
                    Err(Problem::new(&binding.step.source, message))
                }
            }
        });
        match bound {
            Ok((place, lines)) => found.entry(place).or_default().push((lines, binding)),
            Err(problem) => problems.push(Problem { message: format!("binding: {}", problem.message), ..problem }),
        }
    }
    found
}

/// Waivers of steps, by step.
pub fn waivers<'s>(
    scenario: &'s Scenario,
    runbook: &Runbook,
    problems: &mut Problems,
) -> BTreeMap<StepPlace, OfLines<'s, Waiver>> {
    let mut found: BTreeMap<StepPlace, OfLines<'s, Waiver>> = BTreeMap::new();
    for waiver in &scenario.waivers {
        let Waived::Step(wanted) = &waiver.what else { continue };
        let lines = |place: StepPlace| Ok((place, lines_of(place.of(runbook).1, wanted)?));
        let waived = locate::steps(runbook, wanted)
            .and_then(|places| places.into_iter().map(lines).collect::<Result<Vec<_>, Problem>>());
        match waived {
            Ok(places) => {
                for (place, lines) in places {
                    found.entry(place).or_default().push((lines, waiver));
                }
            }
            Err(problem) => problems.push(Problem { message: format!("waiver: {}", problem.message), ..problem }),
        }
    }
    found
}

/// The entry about these lines.
pub fn about<'s, T>(entries: Option<&OfLines<'s, T>>, lines: &Range<usize>) -> Option<&'s T> {
    entries?.iter().find(|(taken, _)| overlap(taken, lines)).map(|(_, entry)| *entry)
}

fn overlap(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}

/// The lines of a step that a reference to it means.
pub fn lines_of(step: &Step, wanted: &StepRef) -> Result<Range<usize>, Problem> {
    piece::command_with(step, wanted.text.as_deref()).map_err(|message| Problem::new(&wanted.source, message))
}

/// Whether what is done fits the kind of step it is done to.
fn suits(binding: &Binding, step: &Step) -> Result<(), Problem> {
    let is_fragment = matches!(step.kind, StepKind::Fragment { .. });
    let message = match &binding.deed {
        Deed::Run(command) if is_fragment && !command.contains("{fragment}") => {
            "the command does nothing with the fragment: put `{fragment}` where its file goes"
        }
        Deed::Run(command) if !is_fragment && command.contains("{fragment}") => "the step is no fragment",
        Deed::Compare(_) if !is_fragment => "the step is no fragment, there is nothing to compare with",
        Deed::Edit { .. } if is_fragment => "a fragment is edited nowhere: `run` does something with it",
        Deed::Editor(_) if !matches!(step.kind, StepKind::Command { .. }) => {
            "the step is no command that could open an editor: `edit` names a file"
        }
        Deed::Run(_) | Deed::Compare(_) | Deed::Edit { .. } | Deed::Editor(_) | Deed::Human | Deed::Provided(_) => {
            return Ok(());
        }
    };
    Err(Problem::new(&binding.step.source, format!("{message} ({})", step.source)))
}
