//! Applies errata to a step: replacements inside its text, commands before and after it.

use std::collections::BTreeMap;
use std::ops::Range;

use super::AppliedErratum;
use super::locate::{self, StepPlace, first_line};
use crate::problem::{Problem, Problems};
use crate::runbook::{Runbook, Step};
use crate::scenario::{Change, Edit, Erratum};

/// An edit and the erratum it is part of.
#[derive(Debug, Clone, Copy)]
pub struct Correction<'s> {
    pub erratum: &'s Erratum,
    pub edit: &'s Edit,
}

/// Edits by the step they change, in the scenario's order. An edit whose text the page no longer has, or has more than
/// once in the step, is a problem.
pub fn corrections<'s>(
    errata: &'s [Erratum],
    runbook: &Runbook,
    problems: &mut Problems,
) -> BTreeMap<StepPlace, Vec<Correction<'s>>> {
    let mut found: BTreeMap<StepPlace, Vec<Correction<'s>>> = BTreeMap::new();
    for (erratum, edit) in errata.iter().flat_map(|erratum| erratum.edits.iter().map(move |edit| (erratum, edit))) {
        match locate::step(runbook, &edit.step) {
            Ok(place) => {
                let corrections = found.entry(place).or_default();
                corrections.push(Correction { erratum, edit });
                let text = place.of(runbook).1.kind.text();
                if let Err(problem) = replacements(text, corrections) {
                    problems.push(problem);
                    corrections.pop();
                }
            }
            Err(problem) => {
                problems.push(Problem { message: format!("erratum `{}`: {}", erratum.id, problem.message), ..problem })
            }
        }
    }
    found
}

/// What is left of a step after its corrections.
#[derive(Debug, Clone, PartialEq)]
pub struct Corrected<'s> {
    pub before: Vec<Inserted<'s>>,
    pub text: String,
    /// Ids of the errata that changed the text itself.
    pub changed_by: Vec<String>,
    /// Of the erratum that takes the step out.
    pub removed_by: Option<String>,
    pub after: Vec<Inserted<'s>>,
}

/// A command beside a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Inserted<'s> {
    pub command: &'s str,
    pub erratum: &'s Erratum,
}

/// Applies corrections to a text. Those that cannot be applied were refused by [`corrections`].
pub fn apply<'s>(text: &str, corrections: &[Correction<'s>]) -> Corrected<'s> {
    let mut corrected = Corrected {
        before: Vec::new(),
        text: text.to_owned(),
        changed_by: Vec::new(),
        removed_by: None,
        after: Vec::new(),
    };
    for Correction { erratum, edit } in corrections {
        let (list, commands) = match &edit.change {
            Change::Replace(_) => continue,
            Change::Remove => {
                corrected.removed_by = Some(erratum.id.clone());
                continue;
            }
            Change::InsertBefore(commands) => (&mut corrected.before, commands),
            Change::InsertAfter(commands) => (&mut corrected.after, commands),
        };
        list.extend(commands.iter().map(|command| Inserted { command, erratum }));
    }
    // From the back, so that earlier spans stay where they are.
    for (span, erratum, replacement) in replacements(text, corrections).unwrap_or_default().into_iter().rev() {
        corrected.text.replace_range(span, replacement);
        if !corrected.changed_by.contains(&erratum.id) {
            corrected.changed_by.insert(0, erratum.id.clone());
        }
    }
    corrected
}

type Replacement<'s> = (Range<usize>, &'s Erratum, &'s str);

/// Spans of the original text with what stands there instead, in order.
fn replacements<'s>(text: &str, corrections: &[Correction<'s>]) -> Result<Vec<Replacement<'s>>, Problem> {
    let mut found: Vec<Replacement<'s>> = Vec::new();
    for Correction { erratum, edit } in corrections {
        let (Change::Replace(replacement), Some(documented)) = (&edit.change, &edit.step.text) else { continue };
        let mut matches = text.match_indices(documented.as_str());
        let (Some((start, _)), None) = (matches.next(), matches.next()) else {
            let message = format!(
                "erratum `{}`: `{}` stands more than once in the step: quote more of it",
                erratum.id,
                first_line(documented)
            );
            return Err(Problem::new(&edit.step.source, message));
        };
        let span = start..start + documented.len();
        let same_words = |(taken, other, _): &&Replacement<'_>| {
            taken.start < span.end && span.start < taken.end && erratum.meets(other)
        };
        if let Some((_, other, _)) = found.iter().find(same_words) {
            let message = format!("erratum `{}` changes the same words as `{}`: make them one", erratum.id, other.id);
            return Err(Problem::new(&edit.step.source, message));
        }
        found.push((span, erratum, replacement.as_str()));
    }
    found.sort_by_key(|(span, ..)| span.start);
    Ok(found)
}

/// How a correction at work in a drill is reported.
pub fn report(correction: &Correction<'_>, step: &Step) -> AppliedErratum {
    let Correction { erratum, edit } = correction;
    let correction = match &edit.change {
        Change::Replace(text) => text.trim_end().to_owned(),
        Change::Remove => "not run".to_owned(),
        Change::InsertBefore(commands) => format!("before it: {}", commands.join("; ")),
        Change::InsertAfter(commands) => format!("after it: {}", commands.join("; ")),
    };
    AppliedErratum {
        id: erratum.id.clone(),
        source: step.source.clone(),
        documented: edit.step.text.clone().unwrap_or_default().trim_end().to_owned(),
        correction,
        reason: erratum.reason.clone(),
        answer: erratum.answer.clone(),
        versions: erratum.versions.to_string(),
    }
}

impl From<AppliedErratum> for crate::outcome::ErratumOutcome {
    fn from(applied: AppliedErratum) -> Self {
        let AppliedErratum { id, source, documented, correction, reason, answer, versions } = applied;
        Self { id, source, documented, correction, reason, answer, versions }
    }
}
