//! Blocks of several commands: taken apart where the scenario speaks of one of them.

use std::collections::BTreeSet;

use super::Planner;
use crate::plan::AsWritten;
use crate::plan::bound;
use crate::plan::erratum::Correction;
use crate::plan::locate::{self, StepPlace};
use crate::plan::piece::{self, Piece};
use crate::problem::Problem;
use crate::runbook::{Step, StepKind};
use crate::scenario::{Change, SlotSource};

impl<'s> Planner<'s> {
    /// The step in pieces: each command that a binding, a waiver or a slot means on its own is one.
    pub(super) fn pieces(&mut self, place: StepPlace, step: &Step) -> Vec<Piece> {
        let block = step.kind.text();
        let StepKind::Command { .. } = &step.kind else {
            return vec![Piece { lines: 0..block.lines().count().max(1), text: block.to_owned() }];
        };
        let bindings = self.bindings.get(&place).into_iter().flatten();
        let waived = self.waivers.get(&place).into_iter().flatten();
        let mut alone: Vec<_> = bindings.clone().map(|(lines, _)| lines.clone()).collect();
        alone.extend(waived.map(|(lines, _)| lines.clone()));
        let slots = self.scenario.bindings.iter().flat_map(|binding| &binding.slots).chain(&self.scenario.slots);
        for slot in slots {
            let SlotSource::Output { step: producer, .. } = &slot.from else { continue };
            if locate::step(self.runbook, producer) != Ok(place) || producer.text.is_none() {
                continue;
            }
            match bound::lines_of(step, producer) {
                Ok(lines) => alone.push(lines),
                Err(problem) => self.problems.push(problem),
            }
        }
        let corrections = self.corrections.get(&place).into_iter().flatten();
        for correction in corrections.filter(|correction| correction.edit.change == Change::Remove) {
            match bound::lines_of(step, &correction.edit.step) {
                Ok(lines) => alone.push(lines),
                Err(problem) => self.problems.push(problem),
            }
        }
        piece::cut(block, &alone)
    }

    /// The corrections of a step in a drill, piece by piece. One that reaches over several pieces is a problem.
    pub(super) fn corrections_of(
        &mut self,
        place: StepPlace,
        pieces: &[Piece],
        drill: &str,
    ) -> Vec<Vec<Correction<'s>>> {
        let mut all = match self.as_written {
            AsWritten::Yes => Vec::new(),
            AsWritten::No => self.corrections.get(&place).cloned().unwrap_or_default(),
        };
        all.retain(|correction| correction.erratum.holds_in(drill));
        let is_in = |correction: &Correction<'_>, piece: &Piece| {
            let text = correction.edit.step.text.as_deref();
            pieces.len() == 1 || text.is_some_and(|text| piece.text.contains(text.trim_end()))
        };
        for correction in all.iter().filter(|correction| !pieces.iter().any(|piece| is_in(correction, piece))) {
            let message = format!(
                "erratum `{}` reaches over several commands, and bindings or slots treat them one by one: make one edit of each",
                correction.erratum.id
            );
            self.problems.push(Problem::new(&correction.edit.step.source, message));
        }
        let mut left = all;
        let of_piece = |piece: &Piece| {
            let (own, others) = left.drain(..).partition(|correction| is_in(correction, piece));
            left = others;
            own
        };
        let by_piece: Vec<Vec<Correction<'s>>> = pieces.iter().map(of_piece).collect();
        by_piece.iter().for_each(|corrections| self.refuse_changes_of_what_is_removed(corrections));
        by_piece
    }

    fn refuse_changes_of_what_is_removed(&mut self, corrections: &[Correction<'s>]) {
        let mut removals = corrections.iter().filter(|correction| correction.edit.change == Change::Remove);
        let Some(removal) = removals.next() else { return };
        let idle = |correction: &&Correction<'_>| matches!(correction.edit.change, Change::Replace(_));
        for correction in corrections.iter().filter(idle).chain(removals) {
            let (one, other) = (&correction.erratum.id, &removal.erratum.id);
            let message = format!("erratum `{one}` changes a command that `{other}` takes out: leave one of them");
            self.problems.push(Problem::new(&correction.edit.step.source, message));
        }
    }

    /// Steps of which every command is waived.
    pub(super) fn wholly_waived(&mut self) -> BTreeSet<StepPlace> {
        let places: Vec<StepPlace> = self.waivers.keys().copied().collect();
        let is_waived = |place: &StepPlace| {
            let pieces = self.pieces(*place, place.of(self.runbook).1);
            pieces.iter().all(|piece| bound::about(self.waivers.get(place), &piece.lines).is_some())
        };
        places.into_iter().filter(is_waived).collect()
    }
}

/// A piece of a step as a step of its own, with its own line.
pub(super) fn part_of(step: &Step, piece: &Piece) -> Step {
    let mut own = step.clone();
    own.source.line += piece.lines.start;
    if let StepKind::Command { text, .. } = &mut own.kind {
        text.clone_from(&piece.text);
    }
    own
}
