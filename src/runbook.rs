//! A runbook: the team's document, read into procedures of steps. Input only, never edited.

use std::path::PathBuf;

use crate::outcome::SourceRef;

pub mod markdown;

/// A document as read: every section that holds a command, a fragment or a numbered list is a procedure.
#[derive(Debug, Clone, PartialEq)]
pub struct Runbook {
    /// As named by the scenario, relative to it.
    pub path: PathBuf,
    pub text: String,
    pub procedures: Vec<Procedure>,
}

/// One section: ordered steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Procedure {
    /// The heading's text.
    pub name: String,
    pub source: SourceRef,
    pub steps: Vec<Step>,
}

/// One command block, inline command, file fragment or human action.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub source: SourceRef,
    /// The number of the list item it stands in, as printed, where there is one.
    pub item: Option<u64>,
    /// The sentence around it, without the command itself: what the page says it is for.
    pub prose: String,
    pub kind: StepKind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum StepKind {
    /// Text for a shell or whatever program the session is in; byte span in the document.
    Command { text: String, span: std::ops::Range<usize> },
    /// Part of a file (YAML, SQL, a diff) that a person does something with.
    Fragment { text: String, language: Option<String>, span: std::ops::Range<usize> },
    /// A list item with neither: a person's action.
    Human { text: String },
}
