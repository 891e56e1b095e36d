//! Brings a runbook and a scenario together.

use std::collections::{BTreeMap, BTreeSet};

mod pieces;
mod slots;

use pieces::part_of;

use super::bound::{self, OfLines};
use super::erratum::{self, Correction, Inserted};
use super::locate::{self, StepPlace};
use super::{Action, AppliedErratum, AsWritten, DrillPlan, Plan, PlannedStep, SlotText, coverage};
use crate::outcome::{Note, Phase, ProgramLabel, SourceRef, TextLabel};
use crate::problem::Problems;
use crate::runbook::{Procedure, Runbook, Step, StepKind};
use crate::scenario::{Binding, Deed, Drill, ErratumKind, ObjectName, Part, Scenario, SlotBinding, Terminal, Waiver};
use crate::session::{self, SessionKind};

impl Plan {
    /// Plans every drill of the scenario. Errors with every problem there is: drift of bindings, errata and waivers,
    /// open places without a source. Drift is a problem `as_written` too.
    pub fn build(scenario: &Scenario, runbook: &Runbook, as_written: AsWritten) -> Result<Self, Problems> {
        let mut planner = Planner::new(scenario, runbook, as_written);
        let drills: Vec<DrillPlan> = scenario.drills.iter().map(|drill| planner.drill(drill)).collect();
        planner.refuse_idle_slots();
        let wholly_waived = planner.wholly_waived();
        let (uncovered, waived) =
            coverage::notes(runbook, &planner.run, &planner.unbound, &planner.waivers, &wholly_waived);
        let plan = Self { scenario: scenario.name.clone(), as_written, drills, uncovered, waived };
        planner.problems.or(Some(plan))
    }
}

struct Planner<'s> {
    scenario: &'s Scenario,
    runbook: &'s Runbook,
    as_written: AsWritten,
    corrections: BTreeMap<StepPlace, Vec<Correction<'s>>>,
    bindings: BTreeMap<StepPlace, OfLines<'s, Binding>>,
    waivers: BTreeMap<StepPlace, OfLines<'s, Waiver>>,
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
        let bindings = bound::bindings(scenario, runbook, &mut problems);
        let waivers = bound::waivers(scenario, runbook, &mut problems);
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
        let mut reported = Reported { drill: &drill.name, errata: Vec::new(), provided: Vec::new() };
        let mut phase = |parts: &[Part], phase| {
            let steps = parts.iter().flat_map(|part| self.part(part, phase, &mut reported));
            steps.collect::<Vec<_>>()
        };
        let earlier = phase(&drill.earlier, Phase::Seed);
        let backup = phase(&drill.backup, Phase::Backup);
        let restore = phase(&drill.restore, Phase::Restore);
        let reconcile = phase(&drill.reconcile, Phase::Reconcile);
        self.refuse_unproduced(&drill.name, earlier.iter().chain(&backup).chain(&restore).chain(&reconcile));
        let Reported { errata, provided, .. } = reported;
        DrillPlan {
            name: drill.name.clone(),
            writers: drill.writers,
            archive: drill.archive,
            recovers_to: drill.recovers_to,
            in_service: drill.in_service,
            prepared: self.scenario.seed.commands.iter().filter(|chore| chore.is_of(&drill.name)).cloned().collect(),
            earlier,
            backup,
            since_backup: drill.since_backup.clone(),
            restore,
            reconcile,
            errata: once(errata),
            provided: once(provided),
        }
    }

    fn part(&mut self, part: &Part, phase: Phase, reported: &mut Reported<'_>) -> Vec<PlannedStep> {
        match part {
            Part::CronJob { object, source } => vec![self.cron_job(object, source, phase)],
            Part::BackupPlan { name, source } => {
                let action = Action::BackupPlan { name: name.clone() };
                // Nothing of the system's own programs runs: the service copies files.
                vec![by_its_clock(format!("BackupPlan {name}"), action, ProgramLabel::Real, source, phase)]
            }
            Part::Schedule { name, database, source } => {
                let action = Action::Schedule { name: name.clone(), database: database.clone() };
                let program = self.of_the_system();
                vec![by_its_clock(format!("schedule {name} of {database}"), action, program, source, phase)]
            }
            Part::Procedure { name, source } => match locate::procedure(self.runbook, name, source) {
                Ok(index) => self.procedure(index, phase, reported),
                Err(problem) => {
                    self.problems.push(problem);
                    Vec::new()
                }
            },
        }
    }

    fn cron_job(&self, object: &ObjectName, source: &SourceRef, phase: Phase) -> PlannedStep {
        let action = Action::CronJob { object: object.clone() };
        by_its_clock(format!("CronJob {object}"), action, self.of_the_system(), source, phase)
    }

    /// Which programs the system's pods run is in the manifests; until they run, the weakest label that the scenario names.
    fn of_the_system(&self) -> ProgramLabel {
        let images = self.scenario.images.values().map(|image| image.program);
        let program = self.scenario.programs.values().copied().chain(images).max_by_key(|label| weakness(*label));
        program.unwrap_or(ProgramLabel::Real)
    }

    fn procedure(&mut self, index: usize, phase: Phase, reported: &mut Reported<'_>) -> Vec<PlannedStep> {
        let runbook = self.runbook;
        let procedure = &runbook.procedures[index];
        let mut planned = Vec::new();
        let mut reader = SessionKind::Shell;
        for (number, step) in procedure.steps.iter().enumerate() {
            let place = StepPlace { procedure: index, step: number };
            let pieces = self.pieces(place, step);
            let corrections = self.corrections_of(place, &pieces, reported.drill);
            for (piece, corrections) in pieces.iter().zip(corrections) {
                let own = part_of(step, piece);
                if bound::about(self.waivers.get(&place), &piece.lines).is_some() {
                    continue;
                }
                let corrected = erratum::apply(own.kind.text(), &corrections);
                let binding = bound::about(self.bindings.get(&place), &piece.lines);
                let terminal = binding.map_or(Terminal::Same, |binding| binding.terminal);
                let binding = binding.filter(|_| corrected.removed_by.is_none());
                if let Some(Deed::Provided(why)) = binding.map(|binding| &binding.deed) {
                    self.run.insert(place);
                    let (source, what) = (Some(own.source.clone()), own.kind.text().to_owned());
                    reported.provided.push(Note { source, what, why: why.clone() });
                    continue;
                }
                reported.errata.extend(corrections.iter().map(|correction| erratum::report(correction, &own)));
                planned.extend(
                    corrected.before.into_iter().map(|insert| self.inserted(insert, procedure, &own, phase, terminal)),
                );
                let done = match corrected.removed_by {
                    Some(erratum) => Some(removed(erratum, procedure, &own, phase)),
                    None => self.step(binding, procedure, &own, corrected.text, phase, reader),
                };
                match done {
                    Some(mut done) => {
                        self.run.insert(place);
                        if !corrected.changed_by.is_empty() {
                            done.label = TextLabel::Corrected;
                        }
                        done.errata.extend(corrected.changed_by);
                        if done.action == Action::Shell && done.terminal == Terminal::Same {
                            reader = session::after(reader, &done.text);
                        }
                        planned.push(done);
                    }
                    None => drop(self.unbound.insert(place)),
                }
                planned.extend(
                    corrected.after.into_iter().map(|insert| self.inserted(insert, procedure, &own, phase, terminal)),
                );
            }
        }
        planned
    }

    /// A command that an erratum puts beside a step, in the terminal of that step.
    fn inserted(
        &mut self,
        Inserted { command, erratum }: Inserted<'_>,
        procedure: &Procedure,
        beside: &Step,
        phase: Phase,
        terminal: Terminal,
    ) -> PlannedStep {
        let slots = self.find_slots(command, SlotText::Command, &[]);
        PlannedStep {
            phase,
            source: beside.source.clone(),
            procedure: procedure.name.clone(),
            item: beside.item,
            documented: None,
            label: match erratum.kind {
                ErratumKind::Wrong => TextLabel::Corrected,
                ErratumKind::Undocumented => TextLabel::Undocumented,
            },
            program: self.program(command),
            text: command.to_owned(),
            action: Action::Shell,
            terminal,
            human: None,
            errata: vec![erratum.id.clone()],
            slots,
        }
    }

    /// The step itself; `None` where it is no command and nothing says what a person does with it.
    fn step(
        &mut self,
        binding: Option<&'s Binding>,
        procedure: &Procedure,
        step: &Step,
        corrected: String,
        phase: Phase,
        reader: SessionKind,
    ) -> Option<PlannedStep> {
        let is_command = matches!(step.kind, StepKind::Command { .. });
        let (text, action, label) = match binding.map(|binding| &binding.deed) {
            Some(Deed::Run(command)) if is_command => (command.clone(), Action::Shell, TextLabel::Equivalent),
            Some(Deed::Run(command)) => (command.clone(), Action::Apply { content: corrected }, TextLabel::Equivalent),
            Some(Deed::Compare(command)) => {
                (command.clone(), Action::Compare { content: corrected }, TextLabel::Equivalent)
            }
            Some(Deed::Edit { file, script }) => {
                (script.clone(), Action::Edit { file: file.clone() }, TextLabel::Equivalent)
            }
            Some(Deed::Editor(script)) => (corrected, Action::Editor { script: script.clone() }, TextLabel::Equivalent),
            Some(Deed::Human) => (corrected, Action::Human, TextLabel::Human),
            None if is_command || reader == SessionKind::Sql && is_sql(&step.kind) => {
                (corrected, Action::Shell, TextLabel::Verbatim)
            }
            Some(Deed::Provided(_)) | None => return None,
        };
        let own: Vec<&SlotBinding> = binding.map(|binding| binding.slots.iter().collect()).unwrap_or_default();
        let mut slots = Vec::new();
        if action != Action::Human {
            slots = self.find_slots(&text, SlotText::Command, &own);
        }
        if let Action::Apply { content }
        | Action::Compare { content }
        | Action::Editor { script: content }
        | Action::Edit { file: content } = &action
        {
            slots.extend(self.find_slots(content, SlotText::Content, &own));
        }
        self.refuse_ambiguous_slots(&own, &slots);
        let is_documented = action == Action::Shell && label == TextLabel::Verbatim;
        if is_command && (is_documented || matches!(action, Action::Editor { .. })) {
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
            terminal: binding.map_or(Terminal::Same, |binding| binding.terminal),
            human: binding.and_then(|binding| binding.human.clone()),
            errata: Vec::new(),
            slots,
        })
    }

    /// The weakest label of the scenario's programs that are named in a command.
    fn program(&self, text: &str) -> ProgramLabel {
        let words = text.split(|c: char| !c.is_alphanumeric() && !matches!(c, '.' | '_' | '-'));
        let labels = words.filter_map(|word| self.scenario.programs.get(word).copied());
        labels.max_by_key(|label| weakness(*label)).unwrap_or(ProgramLabel::Real)
    }
}

/// One run of what otherwise runs by a clock.
fn by_its_clock(what: String, action: Action, program: ProgramLabel, source: &SourceRef, phase: Phase) -> PlannedStep {
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

/// A step that an erratum takes out: it stays in the plan, and in every report, as what is not run.
fn removed(erratum: String, procedure: &Procedure, step: &Step, phase: Phase) -> PlannedStep {
    PlannedStep {
        phase,
        source: step.source.clone(),
        procedure: procedure.name.clone(),
        item: step.item,
        documented: Some(step.kind.text().to_owned()),
        text: step.kind.text().to_owned(),
        label: TextLabel::Corrected,
        program: ProgramLabel::Real,
        errata: vec![erratum.clone()],
        action: Action::Removed { erratum },
        terminal: Terminal::Same,
        human: None,
        slots: Vec::new(),
    }
}

/// What a drill's plan says beside its steps.
struct Reported<'d> {
    /// Its name.
    drill: &'d str,
    errata: Vec<AppliedErratum>,
    provided: Vec<Note>,
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

/// What was done earlier may be done again, and is said once.
fn once<T: PartialEq>(all: Vec<T>) -> Vec<T> {
    let mut kept = Vec::new();
    for one in all {
        if !kept.contains(&one) {
            kept.push(one);
        }
    }
    kept
}

fn weakness(label: ProgramLabel) -> u8 {
    match label {
        ProgramLabel::Real => 0,
        ProgramLabel::Rewritten => 1,
        ProgramLabel::Simulated => 2,
    }
}
