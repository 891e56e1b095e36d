//! A runbook: the team's document, read into procedures of steps. Input only, never edited.

use std::path::{Path, PathBuf};

use crate::command;
use crate::outcome::SourceRef;
use crate::problem::Problems;
use crate::scenario::RunbookSource;

pub mod markdown;
mod outline;
pub mod rst;
mod step;

/// A document that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RunbookError {
    #[error("read runbook {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("read runbook {runbook} with git")]
    Git { runbook: String, source: command::Error },
    #[error("runbook {runbook}: {said}")]
    Revision { runbook: String, said: String },
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
    /// Reads a document where a scenario says that it is.
    pub fn of(source: &RunbookSource) -> Result<Self, RunbookError> {
        match source {
            RunbookSource::File(path) => Self::read(path),
            RunbookSource::Git { folder, revision, path } => {
                let runbook = source.to_string();
                Self::from_text(Path::new(&runbook), || revision_of(&runbook, folder, revision, path))
            }
        }
    }

    /// Reads a file. Errors when it is not there, is not UTF-8, is in a format that is not read or has places that cannot be
    /// read.
    pub fn read(path: &Path) -> Result<Self, RunbookError> {
        Self::from_text(path, || {
            std::fs::read_to_string(path).map_err(|source| RunbookError::Read { path: path.to_owned(), source })
        })
    }

    /// The extension tells the format.
    fn from_text(path: &Path, text: impl FnOnce() -> Result<String, RunbookError>) -> Result<Self, RunbookError> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
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

/// A file as it is in a revision of the repository that holds `folder`.
fn revision_of(runbook: &str, folder: &Path, revision: &str, path: &str) -> Result<String, RunbookError> {
    let folder = if folder.as_os_str().is_empty() { ".".into() } else { folder.to_string_lossy() };
    let object = format!("{revision}:{path}");
    let argv = ["git", "-C", &folder, "cat-file", "blob", &object];
    let output = command::run_now(&argv).map_err(|source| RunbookError::Git { runbook: runbook.to_owned(), source })?;
    let refused = |said: String| RunbookError::Revision { runbook: runbook.to_owned(), said };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(refused(said.lines().next().unwrap_or("git says no reason").to_owned()));
    }
    String::from_utf8(output.stdout).map_err(|_| refused("it is not UTF-8".to_owned()))
}
