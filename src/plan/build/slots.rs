//! Slots of a plan: found in its texts, each with a source, none left over.

use super::Planner;
use crate::plan::locate::{self, first_line};
use crate::plan::{Action, AsWritten, PlannedStep, Slot, SlotText, slot};
use crate::problem::Problem;
use crate::runbook::Step;
use crate::scenario::{Binding, Change, SlotBinding, SlotSource, StepRef};

impl Planner<'_> {
    pub(super) fn find_slots(&mut self, text: &str, within: SlotText, own: &[&SlotBinding]) -> Vec<Slot> {
        let bindings: Vec<&SlotBinding> = own.iter().copied().chain(&self.scenario.slots).collect();
        let slots = slot::find(text, within, &bindings);
        self.used_slots.extend(slots.iter().map(|slot| slot.source.clone()));
        slots
    }

    /// A binding's own slot stands for one place of its step.
    pub(super) fn refuse_ambiguous_slots(&mut self, own: &[&SlotBinding], slots: &[Slot]) {
        for binding in own {
            let found = slots.iter().filter(|slot| slot.source == binding.source).count();
            if found > 1 {
                let message = format!("slot `{}` is found {found} times: say what stands `after:`", binding.place);
                self.problems.push(Problem::new(&binding.source, message));
            }
        }
    }

    pub(super) fn refuse_open_places(&mut self, text: &str, slots: &[Slot], step: &Step) {
        for open in slot::open_places(text) {
            if !slots.iter().any(|slot| slot.span.start <= open.start && open.end <= slot.span.end) {
                let place = &text[open];
                let message = format!(
                    "slot `{place}` in `{}` has no source: add `slots: [{{place: {place}, from: ..}}]` to {}",
                    first_line(text),
                    self.scenario.file.display()
                );
                self.problems.push(Problem::new(&step.source, message));
            }
        }
    }

    /// A slot that no step has any more is drift. Those of procedures that are not drilled are not looked at.
    pub(super) fn refuse_idle_slots(&mut self) {
        // As written, commands of errata are not there, and neither are their slots.
        if self.as_written == AsWritten::Yes {
            return;
        }
        let bound: Vec<&Binding> = self
            .bindings
            .iter()
            .filter(|(place, _)| self.run.contains(place))
            .flat_map(|(_, bindings)| bindings.iter().map(|(_, binding)| *binding))
            .collect();
        let declared = bound.into_iter().flat_map(|binding| &binding.slots).chain(&self.scenario.slots);
        let left_out = self.scenario.left_out.iter().flat_map(|erratum| &erratum.edits);
        // Commands that other versions need have places, too.
        let elsewhere: Vec<&String> = left_out.flat_map(|edit| edit.change.commands()).collect();
        let is_idle = |slot: &&SlotBinding| {
            let mut elsewhere = elsewhere.iter();
            !self.used_slots.contains(&slot.source) && !elsewhere.any(|text| !slot::spans(text, slot).is_empty())
        };
        for slot in declared.filter(is_idle) {
            let place = format!("{}{}", slot.after.as_deref().unwrap_or(""), slot.place);
            let message = format!("slot `{place}` is in no step any more: take it out or bring it up to date");
            self.problems.push(Problem::new(&slot.source, message));
        }
    }

    /// A slot that takes what another step printed comes after that step, in the same drill.
    pub(super) fn refuse_unproduced<'p>(&mut self, drill: &str, steps: impl Iterator<Item = &'p PlannedStep>) {
        let mut before: Vec<&PlannedStep> = Vec::new();
        for step in steps {
            for slot in &step.slots {
                let SlotSource::Output { step: producer, .. } = &slot.from else { continue };
                let is_there = before.iter().any(|step| step.is_meant_by(producer));
                if is_there || self.as_written == AsWritten::Yes && self.is_inserted(producer) {
                    continue;
                }
                let named = locate::step(self.runbook, producer).map(|place| place.of(self.runbook).1.source.clone());
                self.problems.push(named.map_or_else(
                    |problem| problem,
                    |source| {
                        let message = format!(
                            "slot `{}` of {} takes what {source} prints, which drill `{drill}` has not run by then",
                            slot.place, step.source
                        );
                        Problem::new(&slot.source, message)
                    },
                ));
            }
            if !matches!(step.action, Action::Removed { .. }) {
                before.push(step);
            }
        }
    }

    /// Whether an erratum puts this command there: as written, nobody knows where the value comes from, and the drill
    /// finds that out.
    pub(super) fn is_inserted(&self, wanted: &StepRef) -> bool {
        let inserted = |change: &Change| match change {
            Change::InsertBefore(commands) | Change::InsertAfter(commands) => {
                let text = wanted.text.as_deref().unwrap_or_default();
                commands.iter().any(|command| command.contains(text))
            }
            Change::Replace(_) | Change::Remove => false,
        };
        self.scenario.errata.iter().flat_map(|erratum| &erratum.edits).any(|edit| inserted(&edit.change))
    }
}
