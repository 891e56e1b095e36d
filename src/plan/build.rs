//! Brings a runbook and a scenario together.

use std::collections::{BTreeMap, BTreeSet};

mod pieces;
mod reader;
mod slots;
mod step;

use pieces::part_of;
use reader::Reader;
use step::{Visit, by_its_clock};

use super::bound::{self, OfLines};
use super::erratum::{self, Correction};
use super::locate::{self, StepPlace};
use super::{Action, AppliedErratum, AsWritten, DrillPlan, Plan, PlannedStep, coverage};
use crate::outcome::{Note, Phase, ProgramLabel, SourceRef, TextLabel};
use crate::problem::Problems;
use crate::runbook::Runbook;
use crate::scenario::{Binding, Deed, Drill, ObjectName, Part, Scenario, Waiver};

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
        let mut reader = Reader::shell();
        for (number, step) in procedure.steps.iter().enumerate() {
            let place = StepPlace { procedure: index, step: number };
            let pieces = self.pieces(place, step);
            let corrections = self.corrections_of(place, &pieces, reported.drill);
            for (piece, corrections) in pieces.iter().zip(corrections) {
                if bound::about(self.waivers.get(&place), &piece.lines).is_some() {
                    continue;
                }
                let own = part_of(step, piece);
                let binding = bound::about(self.bindings.get(&place), &piece.lines);
                let visit = Visit { phase, procedure: &procedure.name, step: &own, binding };
                match self.visited(visit, &corrections, &mut reader, reported) {
                    Visited::Done(steps) => {
                        self.run.insert(place);
                        planned.extend(steps);
                    }
                    Visited::Unbound(beside) => {
                        self.unbound.insert(place);
                        planned.extend(beside);
                    }
                }
            }
        }
        planned
    }

    /// What comes of a step, with what errata put before and behind it. `reader` is what reads the first terminal.
    fn visited(
        &mut self,
        visit: Visit<'_, 's>,
        corrections: &[Correction<'s>],
        reader: &mut Reader,
        reported: &mut Reported<'_>,
    ) -> Visited {
        let step = visit.step;
        let corrected = erratum::apply(step.kind.text(), corrections);
        // What is taken out is not done by any binding, and neither is it provided.
        let own = Visit { binding: visit.binding.filter(|_| corrected.removed_by.is_none()), ..visit };
        if let Some(Deed::Provided(why)) = own.binding.map(|binding| &binding.deed) {
            let (source, what) = (Some(step.source.clone()), step.kind.text().to_owned());
            reported.provided.push(Note { source, what, why: why.clone() });
            return Visited::Done(Vec::new());
        }
        reported.errata.extend(corrections.iter().map(|correction| erratum::report(correction, step)));
        let mut steps: Vec<_> = Vec::new();
        for insert in corrected.before {
            let mut inserted = self.inserted(insert, &visit);
            reader.read(&mut inserted);
            steps.push(inserted);
        }
        let done = match corrected.removed_by {
            Some(erratum) => Some(own.removed(erratum)),
            None => self.step(&own, corrected.text, reader.kind),
        };
        let is_done = done.is_some();
        if let Some(mut done) = done {
            if !corrected.changed_by.is_empty() {
                done.label = TextLabel::Corrected;
            }
            done.errata.extend(corrected.changed_by);
            reader.read(&mut done);
            steps.push(done);
        }
        for insert in corrected.after {
            let mut inserted = self.inserted(insert, &visit);
            reader.read(&mut inserted);
            steps.push(inserted);
        }
        if is_done { Visited::Done(steps) } else { Visited::Unbound(steps) }
    }
}

/// What came of a step.
enum Visited {
    /// It is run, taken out or provided.
    Done(Vec<PlannedStep>),
    /// Nothing says what to do with it; what errata put beside it is run.
    Unbound(Vec<PlannedStep>),
}

/// What a drill's plan says beside its steps.
struct Reported<'d> {
    /// Its name.
    drill: &'d str,
    errata: Vec<AppliedErratum>,
    provided: Vec<Note>,
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
