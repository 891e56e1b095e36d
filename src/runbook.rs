//! A runbook: the team's document, read into procedures of steps. Input only, never edited.

use std::path::{Path, PathBuf};

use crate::outcome::SourceRef;
use crate::problem::Problems;

pub mod markdown;
mod outline;
pub mod rst;
mod step;

/// A document that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RunbookError {
    #[error("read runbook {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// Each with its line; of reStructuredText only, since any text is Markdown.
    #[error(transparent)]
    Unread(#[from] Problems),
    #[error("runbook {}: name a Markdown (.md, .markdown) or reStructuredText file (.rst, .rest)", path.display())]
    UnknownFormat { path: PathBuf },
}

/// A document as read: every section that holds a command, a fragment or a numbered list is a procedure.
#[derive(Debug, Clone, PartialEq)]
pub struct Runbook {
    /// As named by whoever read it; every step's source names it the same way.
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

impl Runbook {
    /// Reads a document, by its extension. Errors when it is not there, is not UTF-8, is in a format that is not read or
    /// has places that cannot be read.
    pub fn read(path: &Path) -> Result<Self, RunbookError> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        let text =
            || std::fs::read_to_string(path).map_err(|source| RunbookError::Read { path: path.to_owned(), source });
        match extension.as_deref() {
            Some("md" | "markdown") => Ok(Self::from_markdown(path, text()?)),
            Some("rst" | "rest") => Ok(Self::from_rst(path, text()?)?),
            Some(_) | None => Err(RunbookError::UnknownFormat { path: path.to_owned() }),
        }
    }

    /// Reads reStructuredText that is already in memory. Errors with every place that cannot be read.
    pub fn from_rst(path: &Path, text: String) -> Result<Self, Problems> {
        let procedures = rst::procedures(path, &text)?;
        Ok(Self { path: path.to_owned(), text, procedures })
    }

    /// Reads Markdown that is already in memory; `path` is what the steps' sources say.
    pub fn from_markdown(path: &Path, text: String) -> Self {
        let procedures = markdown::procedures(path, &text);
        Self { path: path.to_owned(), text, procedures }
    }

    /// The sections under this heading: usually one.
    pub fn sections<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Procedure> {
        self.procedures.iter().filter(move |procedure| procedure.name == name)
    }
}

impl StepKind {
    /// The command, the fragment or the sentence.
    pub fn text(&self) -> &str {
        match self {
            Self::Command { text, .. } | Self::Fragment { text, .. } | Self::Human { text } => text,
        }
    }
}
