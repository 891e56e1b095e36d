//! Brings a runbook and a scenario together.

use std::collections::{BTreeMap, BTreeSet};

use super::erratum::{self, Correction};
use super::locate::{self, StepPlace, first_line};
use super::{Action, AppliedErratum, AsWritten, DrillPlan, Plan, PlannedStep, SlotText, coverage, slot};
use crate::outcome::{Phase, ProgramLabel, SourceRef, TextLabel};
use crate::problem::{Problem, Problems};
use crate::runbook::{Procedure, Runbook, Step, StepKind};
use crate::scenario::{Binding, Deed, Drill, ObjectName, Part, Scenario, SlotBinding, SlotSource, Waived, Waiver};

impl Plan {
    /// Plans every drill of the scenario. Errors with every problem there is: drift of bindings, errata and waivers,
    /// open places without a source. Drift is a problem `as_written` too.
    pub fn build(scenario: &Scenario, runbook: &Runbook, as_written: AsWritten) -> Result<Self, Problems> {
        let mut planner = Planner::new(scenario, runbook, as_written);
        let drills: Vec<DrillPlan> = scenario.drills.iter().map(|drill| planner.drill(drill)).collect();
        planner.refuse_idle_slots();
        let (uncovered, waived) = coverage::notes(runbook, &planner.run, &planner.unbound, &planner.waivers);
        let plan = Self { scenario: scenario.name.clone(), as_written, drills, uncovered, waived };
        planner.problems.or(Some(plan))
    }
}

struct Planner<'s> {
    scenario: &'s Scenario,
    runbook: &'s Runbook,
    as_written: AsWritten,
    corrections: BTreeMap<StepPlace, Vec<Correction<'s>>>,
    bindings: BTreeMap<StepPlace, &'s Binding>,
    waivers: BTreeMap<StepPlace, &'s Waiver>,
    /// Steps that some drill runs.
    run: BTreeSet<StepPlace>,
    /// Steps that a drill comes by and nothing says what to do with.
    unbound: BTreeSet<StepPlace>,
    /// Slots found in some step, by where they are declared.
    used_slots: BTreeSet<SourceRef>,
    problems: Problems,
}

impl<'s> Planner<'s> {
    fn new(scenario: &'s Scenario, runbook: &'s Runbook, as_written: AsWritten) -> Self {
        let mut problems = Problems::default();
        let corrections = erratum::corrections(&scenario.errata, runbook, &mut problems);
        let bindings = bindings(scenario, runbook, &mut problems);
        let waivers = waivers(scenario, runbook, &mut problems);
        Self {
            scenario,
            runbook,
            as_written,
            corrections,
            bindings,
            waivers,
            run: BTreeSet::new(),
            unbound: BTreeSet::new(),
            used_slots: BTreeSet::new(),
            problems,
        }
    }

    fn drill(&mut self, drill: &Drill) -> DrillPlan {
        let mut errata = Vec::new();
        let mut phase = |parts: &[Part], phase| {
            let steps = parts.iter().flat_map(|part| self.part(part, phase, &mut errata));
            steps.collect::<Vec<_>>()
        };
        let backup = phase(&drill.backup, Phase::Backup);
        let restore = phase(&drill.restore, Phase::Restore);
        let reconcile = phase(&drill.reconcile, Phase::Reconcile);
        self.refuse_unproduced(&drill.name, backup.iter().chain(&restore).chain(&reconcile));
        DrillPlan { name: drill.name.clone(), writers: drill.writers, backup, restore, reconcile, errata }
    }

    /// A slot that takes what another step printed comes after that step, in the same drill.
    fn refuse_unproduced<'p>(&mut self, drill: &str, steps: impl Iterator<Item = &'p PlannedStep>) {
        let mut before: BTreeSet<&SourceRef> = BTreeSet::new();
        for step in steps {
            for slot in &step.slots {
                let SlotSource::Output { step: producer, .. } = &slot.from else { continue };
                match locate::step(self.runbook, producer) {
                    Ok(place) if before.contains(&place.of(self.runbook).1.source) => {}
                    Ok(place) => {
                        let producer = &place.of(self.runbook).1.source;
                        let message = format!(
                            "slot `{}` of {} takes what {producer} prints, which drill `{drill}` has not run by then",
                            slot.place, step.source
                        );
                        self.problems.push(Problem::new(&slot.source, message));
                    }
                    Err(problem) => self.problems.push(problem),
                }
            }
            before.insert(&step.source);
        }
    }

    fn part(&mut self, part: &Part, phase: Phase, errata: &mut Vec<AppliedErratum>) -> Vec<PlannedStep> {
        match part {
            Part::CronJob { object, source } => vec![self.cron_job(object, source, phase)],
            Part::Procedure { name, source } => match locate::procedure(self.runbook, name, source) {
                Ok(index) => self.procedure(index, phase, errata),
                Err(problem) => {
                    self.problems.push(problem);
                    Vec::new()
                }
            },
        }
    }

    fn cron_job(&self, object: &ObjectName, source: &SourceRef, phase: Phase) -> PlannedStep {
        // Which programs its pods run is in the manifests; until they run, the weakest label that the scenario names.
        let program = self.scenario.programs.values().copied().max_by_key(|label| weakness(*label));
        PlannedStep {
            phase,
            source: source.clone(),
            procedure: format!("CronJob {object}"),
            item: None,
            documented: None,
            text: format!("one run of CronJob {object}, as its clock would start it"),
            label: TextLabel::Equivalent,
            program: program.unwrap_or(ProgramLabel::Real),
            action: Action::CronJob { object: object.clone() },
            human: None,
            errata: Vec::new(),
            slots: Vec::new(),
        }
    }

    fn procedure(&mut self, index: usize, phase: Phase, errata: &mut Vec<AppliedErratum>) -> Vec<PlannedStep> {
        let runbook = self.runbook;
        let procedure = &runbook.procedures[index];
        let mut planned = Vec::new();
        for (number, step) in procedure.steps.iter().enumerate() {
            let place = StepPlace { procedure: index, step: number };
            if self.waivers.contains_key(&place) {
                continue;
            }
            let corrections = match self.as_written {
                AsWritten::Yes => Vec::new(),
                AsWritten::No => self.corrections.get(&place).cloned().unwrap_or_default(),
            };
            errata.extend(corrections.iter().map(|correction| erratum::report(correction, step)));
            let corrected = erratum::apply(step.kind.text(), &corrections);
            planned.extend(corrected.before.into_iter().map(|insert| self.inserted(insert, procedure, step, phase)));
            match self.step(place, procedure, step, corrected.text, phase) {
                Some(mut own) => {
                    self.run.insert(place);
                    if !corrected.changed_by.is_empty() {
                        own.label = TextLabel::Corrected;
                    }
                    own.errata = corrected.changed_by;
                    planned.push(own);
                }
                None => drop(self.unbound.insert(place)),
            }
            planned.extend(corrected.after.into_iter().map(|insert| self.inserted(insert, procedure, step, phase)));
        }
        planned
    }

    /// A command that an erratum puts beside a step.
    fn inserted(
        &mut self,
        (text, id): (String, String),
        procedure: &Procedure,
        beside: &Step,
        phase: Phase,
    ) -> PlannedStep {
        let slots = self.find_slots(&text, SlotText::Command, &[]);
        PlannedStep {
            phase,
            source: beside.source.clone(),
            procedure: procedure.name.clone(),
            item: beside.item,
            documented: None,
            label: TextLabel::Corrected,
            program: self.program(&text),
            text,
            action: Action::Shell,
            human: None,
            errata: vec![id],
            slots,
        }
    }

    /// The step itself; `None` where it is no command and nothing says what a person does with it.
    fn step(
        &mut self,
        place: StepPlace,
        procedure: &Procedure,
        step: &Step,
        corrected: String,
        phase: Phase,
    ) -> Option<PlannedStep> {
        let binding = self.bindings.get(&place).copied();
        let is_command = matches!(step.kind, StepKind::Command { .. });
        let (text, action, label) = match binding.map(|binding| &binding.deed) {
            Some(Deed::Run(command)) if is_command => (command.clone(), Action::Shell, TextLabel::Equivalent),
            Some(Deed::Run(command)) => (command.clone(), Action::Apply { content: corrected }, TextLabel::Equivalent),
            Some(Deed::Compare(command)) => {
                (command.clone(), Action::Compare { content: corrected }, TextLabel::Equivalent)
            }
            Some(Deed::Human) => (corrected, Action::Human, TextLabel::Human),
            None if is_command => (corrected, Action::Shell, TextLabel::Verbatim),
            None => return None,
        };
        let own: Vec<&SlotBinding> = binding.map(|binding| binding.slots.iter().collect()).unwrap_or_default();
        let mut slots = Vec::new();
        if action != Action::Human {
            slots = self.find_slots(&text, SlotText::Command, &own);
        }
        if let Action::Apply { content } | Action::Compare { content } = &action {
            slots.extend(self.find_slots(content, SlotText::Content, &own));
        }
        self.refuse_ambiguous_slots(&own, &slots);
        if action == Action::Shell && label == TextLabel::Verbatim {
            self.refuse_open_places(&text, &slots, step);
        }
        Some(PlannedStep {
            phase,
            source: step.source.clone(),
            procedure: procedure.name.clone(),
            item: step.item,
            documented: Some(step.kind.text().to_owned()),
            program: self.program(&text),
            text,
            label,
            action,
            human: binding.and_then(|binding| binding.human.clone()),
            errata: Vec::new(),
            slots,
        })
    }

    fn find_slots(&mut self, text: &str, within: SlotText, own: &[&SlotBinding]) -> Vec<super::Slot> {
        let bindings: Vec<&SlotBinding> = own.iter().copied().chain(&self.scenario.slots).collect();
        let slots = slot::find(text, within, &bindings);
        self.used_slots.extend(slots.iter().map(|slot| slot.source.clone()));
        slots
    }

    /// A binding's own slot stands for one place of its step.
    fn refuse_ambiguous_slots(&mut self, own: &[&SlotBinding], slots: &[super::Slot]) {
        for binding in own {
            let found = slots.iter().filter(|slot| slot.source == binding.source).count();
            if found > 1 {
                let message = format!("slot `{}` is found {found} times: say what stands `after:`", binding.place);
                self.problems.push(Problem::new(&binding.source, message));
            }
        }
    }

    fn refuse_open_places(&mut self, text: &str, slots: &[super::Slot], step: &Step) {
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
    fn refuse_idle_slots(&mut self) {
        // As written, commands of errata are not there, and neither are their slots.
        if self.as_written == AsWritten::Yes {
            return;
        }
        let bound: Vec<&Binding> =
            self.bindings.iter().filter(|(place, _)| self.run.contains(place)).map(|(_, binding)| *binding).collect();
        let declared = bound.into_iter().flat_map(|binding| &binding.slots).chain(&self.scenario.slots);
        for slot in declared.filter(|slot| !self.used_slots.contains(&slot.source)) {
            let place = format!("{}{}", slot.after.as_deref().unwrap_or(""), slot.place);
            let message = format!("slot `{place}` is in no step any more: take it out or bring it up to date");
            self.problems.push(Problem::new(&slot.source, message));
        }
    }

    /// The weakest label of the scenario's programs that are named in a command.
    fn program(&self, text: &str) -> ProgramLabel {
        let words = text.split(|c: char| !c.is_alphanumeric() && !matches!(c, '.' | '_' | '-'));
        let labels = words.filter_map(|word| self.scenario.programs.get(word).copied());
        labels.max_by_key(|label| weakness(*label)).unwrap_or(ProgramLabel::Real)
    }
}

fn weakness(label: ProgramLabel) -> u8 {
    match label {
        ProgramLabel::Real => 0,
        ProgramLabel::Rewritten => 1,
        ProgramLabel::Simulated => 2,
    }
}

fn bindings<'s>(
    scenario: &'s Scenario,
    runbook: &Runbook,
    problems: &mut Problems,
) -> BTreeMap<StepPlace, &'s Binding> {
    let mut found: BTreeMap<StepPlace, &Binding> = BTreeMap::new();
    for binding in &scenario.bindings {
        let bound = locate::step(runbook, &binding.step).and_then(|place| match found.get(&place) {
            None => Ok(place),
            Some(first) => {
                let message = format!(
                    "a second binding of {}, the first is in {}",
                    place.of(runbook).1.source,
                    first.step.source
                );
                Err(Problem::new(&binding.step.source, message))
            }
        });
        match bound.and_then(|place| suits(binding, place.of(runbook).1).map(|()| place)) {
            Ok(place) => drop(found.insert(place, binding)),
            Err(problem) => problems.push(Problem { message: format!("binding: {}", problem.message), ..problem }),
        }
    }
    found
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
        Deed::Run(_) | Deed::Compare(_) | Deed::Human => return Ok(()),
    };
    Err(Problem::new(&binding.step.source, format!("{message} ({})", step.source)))
}

fn waivers<'s>(scenario: &'s Scenario, runbook: &Runbook, problems: &mut Problems) -> BTreeMap<StepPlace, &'s Waiver> {
    let mut found = BTreeMap::new();
    for waiver in &scenario.waivers {
        let Waived::Step(step) = &waiver.what else { continue };
        match locate::steps(runbook, step) {
            Ok(places) => found.extend(places.into_iter().map(|place| (place, waiver))),
            Err(problem) => problems.push(Problem { message: format!("waiver: {}", problem.message), ..problem }),
        }
    }
    found
}
