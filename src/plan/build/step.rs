//! Makes a planned step of a documented one, of a command that an erratum puts beside it, or of one that it takes out.

use super::{Planner, weakness};
use crate::outcome::{Phase, ProgramLabel, SourceRef, TextLabel};
use crate::plan::erratum::Inserted;
use crate::plan::{Action, PlannedStep, Slot, SlotText};
use crate::runbook::{Step, StepKind};
use crate::scenario::{Binding, Deed, ErratumKind, SlotBinding, Terminal};
use crate::session::SessionKind;

/// A step, or one command of a block, where a drill comes by it.
#[derive(Clone, Copy)]
pub(super) struct Visit<'v, 's> {
    pub phase: Phase,
    /// The name of the procedure that it is in.
    pub procedure: &'v str,
    pub step: &'v Step,
    pub binding: Option<&'s Binding>,
}

impl Visit<'_, '_> {
    /// The terminal that it is typed into, and whatever stands beside it.
    pub fn terminal(&self) -> Terminal {
        self.binding.map_or(Terminal::Same, |binding| binding.terminal)
    }

    /// As the document has it.
    fn planned(&self, text: String, action: Action, label: TextLabel, program: ProgramLabel) -> PlannedStep {
        PlannedStep {
            phase: self.phase,
            source: self.step.source.clone(),
            procedure: self.procedure.to_owned(),
            item: self.step.item,
            documented: Some(self.step.kind.text().to_owned()),
            text,
            label,
            program,
            action,
            terminal: Terminal::Same,
            human: None,
            errata: Vec::new(),
            slots: Vec::new(),
        }
    }

    /// What an erratum takes out: it stays in the plan, and in every report, as what is not run.
    pub fn removed(&self, erratum: String) -> PlannedStep {
        let text = self.step.kind.text().to_owned();
        let errata = vec![erratum.clone()];
        let removed = self.planned(text, Action::Removed { erratum }, TextLabel::Corrected, ProgramLabel::Real);
        PlannedStep { errata, ..removed }
    }
}

impl Planner<'_> {
    /// A command that an erratum puts beside a step, in the terminal of that step.
    pub(super) fn inserted(&mut self, inserted: Inserted<'_>, beside: &Visit<'_, '_>) -> PlannedStep {
        let Inserted { command, erratum } = inserted;
        let label = match erratum.kind {
            ErratumKind::Wrong => TextLabel::Corrected,
            ErratumKind::Undocumented => TextLabel::Undocumented,
        };
        PlannedStep {
            documented: None,
            terminal: beside.terminal(),
            errata: vec![erratum.id.clone()],
            slots: self.find_slots(command, SlotText::Command, &[]),
            ..beside.planned(command.to_owned(), Action::Shell, label, self.program(command))
        }
    }

    /// The step itself; `None` where it is no command and nothing says what a person does with it.
    pub(super) fn step(
        &mut self,
        visit: &Visit<'_, '_>,
        corrected: String,
        reader: SessionKind,
    ) -> Option<PlannedStep> {
        let Visit { step, binding, .. } = *visit;
        let (text, action, label) = deed(step, binding, corrected, reader)?;
        let own: Vec<&SlotBinding> = binding.map(|binding| binding.slots.iter().collect()).unwrap_or_default();
        let slots = self.slots(&text, &action, &own);
        let is_typed = match action {
            Action::Shell => label == TextLabel::Verbatim,
            Action::Editor { .. } => true,
            _ => false,
        };
        if is_typed && matches!(step.kind, StepKind::Command { .. }) {
            self.refuse_open_places(&text, &slots, step);
        }
        let program = self.program(&text);
        Some(PlannedStep {
            terminal: visit.terminal(),
            human: binding.and_then(|binding| binding.human.clone()),
            slots,
            ..visit.planned(text, action, label, program)
        })
    }

    /// Open places of what is typed, and of what is handed to it.
    fn slots(&mut self, text: &str, action: &Action, own: &[&SlotBinding]) -> Vec<Slot> {
        let mut slots = Vec::new();
        if *action != Action::Human {
            slots = self.find_slots(text, SlotText::Command, own);
        }
        if let Action::Apply { content }
        | Action::Compare { content }
        | Action::Editor { script: content }
        | Action::Edit { file: content } = action
        {
            slots.extend(self.find_slots(content, SlotText::Content, own));
        }
        self.refuse_ambiguous_slots(own, &slots);
        slots
    }

    /// The weakest label of the scenario's programs that are named in a command.
    fn program(&self, text: &str) -> ProgramLabel {
        let words = text.split(|c: char| !c.is_alphanumeric() && !matches!(c, '.' | '_' | '-'));
        let labels = words.filter_map(|word| self.scenario.programs.get(word).copied());
        labels.max_by_key(|label| weakness(*label)).unwrap_or(ProgramLabel::Real)
    }
}

/// What is typed, what is done with it, and how that is labelled; `None` where nothing says so.
fn deed(
    step: &Step,
    binding: Option<&Binding>,
    corrected: String,
    reader: SessionKind,
) -> Option<(String, Action, TextLabel)> {
    let is_command = matches!(step.kind, StepKind::Command { .. });
    let Some(binding) = binding else {
        let is_typed = is_command || reader == SessionKind::Sql && is_sql(&step.kind);
        return is_typed.then_some((corrected, Action::Shell, TextLabel::Verbatim));
    };
    let (text, action) = match &binding.deed {
        Deed::Run(command) if is_command => (command.clone(), Action::Shell),
        Deed::Run(command) => (command.clone(), Action::Apply { content: corrected }),
        Deed::Compare(command) => (command.clone(), Action::Compare { content: corrected }),
        Deed::Edit { file, script } => (script.clone(), Action::Edit { file: file.clone() }),
        Deed::Editor(script) => (corrected, Action::Editor { script: script.clone() }),
        Deed::Human => return Some((corrected, Action::Human, TextLabel::Human)),
        Deed::Provided(_) => return None,
    };
    Some((text, action, TextLabel::Equivalent))
}

/// Whether a fragment is what a person types where psql reads.
fn is_sql(kind: &StepKind) -> bool {
    const LANGUAGES: [&str; 6] = ["sql", "psql", "postgres", "postgresql", "pgsql", "plpgsql"];
    let StepKind::Fragment { text, language, .. } = kind else { return false };
    match language {
        Some(language) => LANGUAGES.contains(&language.to_ascii_lowercase().as_str()),
        None => text.trim_end().ends_with(';'),
    }
}

/// One run of what otherwise runs by a clock.
pub(super) fn by_its_clock(
    what: String,
    action: Action,
    program: ProgramLabel,
    source: &SourceRef,
    phase: Phase,
) -> PlannedStep {
    PlannedStep {
        phase,
        source: source.clone(),
        item: None,
        documented: None,
        text: format!("one run of {what}, as its clock would start it"),
        procedure: what,
        label: TextLabel::Equivalent,
        program,
        action,
        terminal: Terminal::Same,
        human: None,
        errata: Vec::new(),
        slots: Vec::new(),
    }
}
