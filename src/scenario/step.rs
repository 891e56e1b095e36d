//! What a scenario says of single steps: bindings, open places, waivers, errata.

use super::{ObjectName, ValueFrom, VersionRange};
use crate::outcome::{HumanTime, SourceRef};

/// Names one step of the runbook (or several, for a waiver).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRef {
    pub procedure: String,
    /// The number as printed.
    pub item: Option<u64>,
    /// Exact text in the step. Where the step is a block of several commands, bindings, waivers and slots mean the one
    /// that holds it.
    pub text: Option<String>,
    pub source: SourceRef,
}

/// What a person does with a fragment or a human step.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    pub step: StepRef,
    pub deed: Deed,
    pub human: Option<HumanTime>,
    pub slots: Vec<SlotBinding>,
    pub terminal: Terminal,
}

/// Where a person types a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// Where everything is typed: in whatever session is open there.
    Same,
    /// In a shell on the workstation beside it, which no session of the page is open in.
    Second,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// A command; `{fragment}` stands for a file that holds the fragment.
    Run(String),
    /// A command whose JSON output must contain the fragment: a look at something that is said to be so.
    Compare(String),
    /// Nothing that redrill could do; only its time counts.
    Human,
    /// A script for what a person does to `file` in an editor; it has to change it.
    Edit { file: String, script: String },
    /// The command itself, and a script for what a person does to `$1` in the editor that it opens; it has to change it.
    Editor(String),
    /// Nothing is left to do: the environment has what the step would fetch from outside. Why it would be needed in earnest.
    Provided(String),
}

/// An open place in a command or fragment, and where its value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotBinding {
    /// The text that stands for the value: `BACKUP_NAME`, `new`.
    pub place: String,
    /// Text right before it, where the place alone would be found more than once.
    pub after: Option<String>,
    pub from: SlotSource,
    pub source: SourceRef,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotSource {
    Value(ValueFrom),
    /// Found once in what an earlier step printed, or an earlier command of the same block.
    Output {
        step: StepRef,
        find: Find,
    },
    /// The moment that this drill recovers to, as the database's clock has it (RFC 3339).
    RecoveryTarget,
    /// The name of the one object that a label selector finds.
    Selector {
        /// Of a system of several.
        cluster: Option<String>,
        kind: String,
        namespace: String,
        labels: String,
    },
}

/// What of a step's output is the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Find {
    /// The first group of a regular expression.
    Pattern(String),
    /// What stands below this title in the only row of a table, as `kubectl get` prints one.
    Column(String),
}

/// A command or procedure that no drill runs, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiver {
    pub what: Waived,
    pub reason: String,
    pub source: SourceRef,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waived {
    Step(StepRef),
    Secret(ObjectName),
    Claim(ObjectName),
    Database(String),
    Bucket(String),
}

/// A documented text that cannot work as written: where, why, the smallest correction.
#[derive(Debug, Clone, PartialEq)]
pub struct Erratum {
    pub id: String,
    pub kind: ErratumKind,
    pub edits: Vec<Edit>,
    pub reason: String,
    /// What the real program answered to the documented text.
    pub answer: String,
    /// Those for which the documented text does not work. For others it is left as it is.
    pub versions: VersionRange,
    /// Drills that it holds in; empty: all.
    pub drills: Vec<String>,
    pub source: SourceRef,
}

/// What is wrong with the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErratumKind {
    /// What it says cannot work.
    Wrong,
    /// It promises something and gives no procedure for it.
    Undocumented,
}

impl Erratum {
    /// Whether it is at work in a drill.
    pub fn holds_in(&self, drill: &str) -> bool {
        self.drills.is_empty() || self.drills.iter().any(|name| name == drill)
    }

    /// Whether there may be a drill that both are at work in.
    pub fn meets(&self, other: &Self) -> bool {
        self.drills.is_empty() || other.drills.is_empty() || self.drills.iter().any(|name| other.holds_in(name))
    }
}

/// One place of a correction. `step.text` is the documented text.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    pub step: StepRef,
    pub change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Stands in place of the documented text.
    Replace(String),
    /// The command that holds it is not run.
    Remove,
    /// Commands before the step that holds it.
    InsertBefore(Vec<String>),
    InsertAfter(Vec<String>),
}

impl Change {
    /// The text that it puts there.
    pub fn commands(&self) -> &[String] {
        match self {
            Self::Replace(text) => std::slice::from_ref(text),
            Self::Remove => &[],
            Self::InsertBefore(commands) | Self::InsertAfter(commands) => commands,
        }
    }
}
