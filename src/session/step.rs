//! What is typed in a session, and what came of it.

use std::time::Duration;

use crate::outcome::SourceRef;

/// The text of one step, as it is to be typed.
#[derive(Clone, PartialEq, Eq)]
pub struct StepText {
    /// Slots filled, so it may hold secrets. Line ends may be `\n` or `\r\n`.
    pub text: String,
    /// Where the text's first line stands.
    pub source: SourceRef,
}

impl std::fmt::Debug for StepText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StepText({}, {} bytes)", self.source, self.text.len())
    }
}

/// What reads the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SessionKind {
    Shell,
    /// psql or `cockroach sql`.
    Sql,
}

impl std::fmt::Display for SessionKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Shell => "shell",
            Self::Sql => "SQL",
        })
    }
}

/// How a step, or one statement of it, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepStatus {
    /// The status that a person sees in `$?`; of SQL 0 or 1.
    Exit(i32),
    /// What was typed opened a session: the next text goes there.
    OpenedSession { kind: SessionKind },
    /// What was typed ended the session it was typed in; `status` is what the program around it saw.
    ClosedSession { kind: SessionKind, status: i32 },
    /// The text ended inside a statement: an open quote, here-document, loop or SQL statement. It was abandoned
    /// with ctrl-C.
    Incomplete,
    /// It could not be typed as it stands.
    NotTyped { reason: String },
    /// The terminal's shell ended (`exit`, `exec`, `set -e`: `exit` is its status) or the connection was lost (`None`).
    Lost { exit: Option<i32> },
    /// No end in sight at the deadline. ctrl-C was typed; `usable` says whether the session came back.
    Deadline { last_output: String, waiting_for_input_hint: Option<String>, usable: bool },
}

impl StepStatus {
    /// Whether this is how a statement ends that did what it should.
    pub fn is_success(&self) -> bool {
        match self {
            Self::Exit(status) | Self::ClosedSession { status, .. } => *status == 0,
            Self::OpenedSession { .. } => true,
            Self::Incomplete | Self::NotTyped { .. } | Self::Lost { .. } | Self::Deadline { .. } => false,
        }
    }
}

impl std::fmt::Display for StepStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exit(status) => write!(f, "exit status {status}"),
            Self::OpenedSession { kind } => write!(f, "opened a {kind} session"),
            Self::ClosedSession { kind, status } => write!(f, "left the {kind} session with status {status}"),
            Self::Incomplete => f.write_str("the text ends inside this statement (open quote, here-document or block)"),
            Self::NotTyped { reason } => write!(f, "could not be typed: {reason}"),
            Self::Lost { exit: Some(status) } => write!(f, "the terminal's shell ended with status {status}"),
            Self::Lost { exit: None } => f.write_str("the connection to the terminal was lost"),
            Self::Deadline { waiting_for_input_hint: Some(hint), .. } => {
                write!(f, "no end before the deadline: {hint}")
            }
            Self::Deadline { waiting_for_input_hint: None, .. } => f.write_str("no end before the deadline"),
        }
    }
}

/// A failure that the status of a statement does not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HiddenFailure {
    /// A part of a pipeline failed, but not the last one. SIGPIPE (141) is not counted: `| head` is no failure.
    Pipeline { statuses: Vec<i32> },
    /// psql printed errors and still ended with 0; the first lines of them.
    Psql { errors: Vec<String> },
}

/// One complete statement of a step and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementStatus {
    /// As typed, lines joined by `\n`, redacted.
    pub text: String,
    /// Where its first line stands.
    pub source: SourceRef,
    pub kind: SessionKind,
    pub status: StepStatus,
    /// Of SQL: `00000` where it went well; `None` where psql does not tell, and for backslash commands.
    pub sqlstate: Option<String>,
    pub hidden_failures: Vec<HiddenFailure>,
    /// The last line that it printed, redacted; empty where it printed none.
    pub last_line: String,
    pub duration: Duration,
}

/// Output that may hold secrets: printed by nothing.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct RawOutput(Vec<u8>);

impl RawOutput {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// For binding a slot to what an earlier step printed.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for RawOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawOutput({} bytes)", self.0.len())
    }
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRun {
    /// Of the last statement; `Exit(0)` where there was none.
    pub status: StepStatus,
    /// The end of what was printed, redacted, at most `SessionConfig::tail` bytes.
    pub output: Vec<u8>,
    /// The same before redaction.
    pub raw: RawOutput,
    /// Everything printed, in bytes, before redaction.
    pub printed: u64,
    /// In the order typed. Lines that hold only a comment are left out.
    pub statements: Vec<StatementStatus>,
}

impl StepRun {
    /// Whether every statement ended well, as far as statuses show.
    pub fn is_success(&self) -> bool {
        self.first_failure().is_none()
    }

    pub fn first_failure(&self) -> Option<&StatementStatus> {
        self.statements.iter().find(|statement| !statement.status.is_success())
    }

    pub fn hidden_failures(&self) -> impl Iterator<Item = (&StatementStatus, &HiddenFailure)> {
        self.statements
            .iter()
            .flat_map(|statement| statement.hidden_failures.iter().map(move |hidden| (statement, hidden)))
    }
}
