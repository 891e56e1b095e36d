//! A plan: runbook x scenario, complete before anything starts.

mod bound;
mod build;
mod coverage;
pub mod edit;
mod erratum;
pub mod fragment;
mod locate;
mod piece;
pub mod program;
mod slot;

pub use slot::{FillError, Filled};

use std::ops::Range;

use crate::outcome::{Aim, HumanTime, Note, Phase, ProgramLabel, SourceRef, TextLabel};
use crate::scenario::{Archive, Checkpoint, Chore, ObjectName, RecoveryPoint, SlotSource, StepRef, Terminal, Writers};

/// Whether errata are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsWritten {
    Yes,
    No,
}

/// Everything that is going to run, drill by drill, in the scenario's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub scenario: String,
    pub as_written: AsWritten,
    pub drills: Vec<DrillPlan>,
    /// Commands that no drill runs and no waiver names; things of the system that nothing covers. Any one: UNVERIFIED.
    pub uncovered: Vec<Note>,
    pub waived: Vec<Note>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DrillPlan {
    pub name: String,
    pub writers: Writers,
    pub archive: Option<Archive>,
    pub recovers_to: RecoveryPoint,
    pub in_service: Checkpoint,
    /// What the scenario does to the system beside redrill's own seed.
    pub prepared: Vec<Chore>,
    /// Of the seed's phase: done to the seeded system before the drill's own backup.
    pub earlier: Vec<PlannedStep>,
    pub backup: Vec<PlannedStep>,
    /// What changes the living system after it.
    pub since_backup: Vec<Chore>,
    pub restore: Vec<PlannedStep>,
    pub reconcile: Vec<PlannedStep>,
    /// Corrections at work in this drill, in the order of its steps. Empty as written.
    pub errata: Vec<AppliedErratum>,
    /// Commands that are not run because the environment has what they would fetch: a real disaster needs them.
    pub provided: Vec<Note>,
}

impl DrillPlan {
    /// What it sets out to show.
    pub fn aim(&self) -> Aim {
        if self.restore.is_empty() { Aim::Maintenance } else { Aim::Recovery }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct PlannedStep {
    pub phase: Phase,
    /// In the document, or in the scenario for what has no line there (a CronJob's run).
    pub source: SourceRef,
    pub procedure: String,
    pub item: Option<u64>,
    /// The document's text; `None` for what an erratum inserts and for a CronJob's run.
    pub documented: Option<String>,
    /// What is typed, after errata, slots still open. For `Apply` and `Compare`: the command, in which `{fragment}`
    /// stands for the file.
    pub text: String,
    pub label: TextLabel,
    pub program: ProgramLabel,
    pub action: Action,
    pub terminal: Terminal,
    pub human: Option<HumanTime>,
    /// Ids of the errata that made or changed it.
    pub errata: Vec<String>,
    pub slots: Vec<Slot>,
}

impl PlannedStep {
    /// In reports, as long as nothing of it was typed.
    pub fn title(&self) -> String {
        match &self.action {
            Action::Edit { file } => format!("edit {file}"),
            _ => self.text.clone(),
        }
    }

    /// Whether a reference names it: what the page says there, or what is typed instead or beside it.
    pub fn is_meant_by(&self, wanted: &StepRef) -> bool {
        let says = |text: &String| {
            self.documented.as_ref().is_some_and(|documented| documented.contains(text)) || self.text.contains(text)
        };
        self.procedure == wanted.procedure
            && (wanted.item.is_none() || self.item == wanted.item)
            && wanted.text.as_ref().is_none_or(says)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Type `text` in the session.
    Shell,
    /// Write `content`, slots filled, to a file of the workstation (0600), then type `text`.
    Apply { content: String },
    /// Type `text`; its output, one JSON object, must contain the YAML `content` (`plan::fragment::missing`).
    Compare { content: String },
    /// `text`, slots filled, is typed in place of an editor that would be opened on the file; it has to change it.
    Edit { file: String },
    /// Type `text`, which opens an editor: `script`, slots filled, does to the file what a person does in it.
    Editor { script: String },
    /// Run the CronJob once, as its clock would: a Job from its template. The step is over when the Job is.
    CronJob { object: ObjectName },
    /// Run the plan once, as its clock would. The step is over when its jobs are.
    BackupPlan { name: String },
    /// Run the schedule of this database once, as its clock would. The step is over when its job is.
    Schedule { name: String, database: String },
    /// Nothing runs.
    Human,
    /// Nothing runs: the erratum of this id takes the step out.
    Removed { erratum: String },
}

/// An open place, by byte span.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    pub place: String,
    pub within: SlotText,
    pub span: Range<usize>,
    pub from: SlotSource,
    pub source: SourceRef,
}

/// Which text of a step a slot is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotText {
    /// `PlannedStep::text`.
    Command,
    /// `content` of `Apply` or `Compare`, `script` of `Editor`, `file` of `Edit`. `script` of `Editor`.
    Content,
}

/// One edit of an erratum, as applied.
#[derive(Debug, Clone, PartialEq)]
pub struct AppliedErratum {
    pub id: String,
    pub source: SourceRef,
    pub documented: String,
    pub correction: String,
    pub reason: String,
    pub answer: String,
    pub versions: String,
}
