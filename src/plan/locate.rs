//! Finds the steps that a scenario names. What the document no longer says is drift, and a problem of the scenario.

use crate::problem::{Problem, suggestion};
use crate::runbook::{Procedure, Runbook, Step};
use crate::scenario::StepRef;

/// A step's place in its runbook: index of the procedure, index in it. Ordered as on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepPlace {
    pub procedure: usize,
    pub step: usize,
}

impl StepPlace {
    pub fn of(self, runbook: &Runbook) -> (&Procedure, &Step) {
        let procedure = &runbook.procedures[self.procedure];
        (procedure, &procedure.steps[self.step])
    }
}

/// Every step of the runbook, in its order.
pub fn places(runbook: &Runbook) -> impl Iterator<Item = StepPlace> {
    runbook
        .procedures
        .iter()
        .enumerate()
        .flat_map(|(procedure, section)| (0..section.steps.len()).map(move |step| StepPlace { procedure, step }))
}

/// The index of the one procedure of this name.
pub fn procedure(runbook: &Runbook, name: &str, source: &crate::outcome::SourceRef) -> Result<usize, Problem> {
    let mut found = runbook.procedures.iter().enumerate().filter(|(_, procedure)| procedure.name == name);
    match (found.next(), found.next()) {
        (Some((index, _)), None) => Ok(index),
        (None, _) => {
            let hint = suggestion(name, runbook.procedures.iter().map(|procedure| procedure.name.as_str()));
            Err(Problem::new(source, format!("{} has no procedure `{name}`{hint}", runbook.path.display())))
        }
        (Some((_, first)), Some((_, second))) => {
            let message = format!(
                "`{name}` is the heading of two sections, {} and {}: which one is meant cannot be said",
                first.source, second.source
            );
            Err(Problem::new(source, message))
        }
    }
}

/// Every step that is meant; at least one.
pub fn steps(runbook: &Runbook, wanted: &StepRef) -> Result<Vec<StepPlace>, Problem> {
    let index = procedure(runbook, &wanted.procedure, &wanted.source)?;
    let section = &runbook.procedures[index];
    let of_item: Vec<usize> = (0..section.steps.len())
        .filter(|step| wanted.item.is_none() || section.steps[*step].item == wanted.item)
        .collect();
    if of_item.is_empty() {
        let item = wanted.item.unwrap_or_default();
        let message = format!("`{}` ({}) has no step in an item {item}", section.name, section.source);
        return Err(Problem::new(&wanted.source, message));
    }
    let Some(text) = &wanted.text else {
        return Ok(of_item.into_iter().map(|step| StepPlace { procedure: index, step }).collect());
    };
    let holds = |step: &usize| section.steps[*step].kind.text().contains(text.as_str());
    let found: Vec<usize> = of_item.iter().copied().filter(holds).collect();
    if found.is_empty() {
        let says: Vec<String> = of_item
            .iter()
            .map(|step| &section.steps[*step])
            .map(|step| format!("{} says `{}`", step.source, first_line(step.kind.text())))
            .collect();
        let message = format!(
            "the page no longer says `{}` in `{}`: {}: take this entry out or bring it up to date",
            first_line(text),
            section.name,
            says.join(", ")
        );
        return Err(Problem::new(&wanted.source, message));
    }
    Ok(found.into_iter().map(|step| StepPlace { procedure: index, step }).collect())
}

/// The one step that is meant.
pub fn step(runbook: &Runbook, wanted: &StepRef) -> Result<StepPlace, Problem> {
    match steps(runbook, wanted)?.as_slice() {
        [only] => Ok(*only),
        several => {
            let lines: Vec<String> = several.iter().map(|place| place.of(runbook).1.source.to_string()).collect();
            let message =
                format!("several steps are named by this, {}: add `item` or `text` to name one", lines.join(" and "));
            Err(Problem::new(&wanted.source, message))
        }
    }
}

/// For messages and notes: the first line, with a sign that there is more.
pub fn first_line(text: &str) -> String {
    let mut lines = text.trim().lines();
    let first = lines.next().unwrap_or_default().to_owned();
    if lines.next().is_some() { first + " …" } else { first }
}
