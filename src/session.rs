//! Sessions: a person at a terminal, typing the steps of a procedure.
//!
//! The text is typed as it stands, line by line, into an interactive shell on a terminal; the next line only when
//! the program that reads says with its prompt that it wants one. Quotes, here-documents, loops, continuation lines,
//! `cd`, aliases, `set -e`, `exec` and `exit` therefore do what they do for a person, and no second shell
//! grammar decides where a command ends. (`eval` of the text was the alternative: it hides from the
//! shell where lines end, keeps `exit` from being the last thing read and makes an open quote an error of its own.)

use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use crate::outcome::SourceRef;
use crate::runtime::{ByteReader, ByteWriter};

mod arrival;
mod cockroach;
mod giving_up;
mod hint;
mod line;
mod opener;
mod probing;
pub mod pty;
mod reader;
mod sentinel;
mod shell;
mod sql;
mod step;
mod transcript;

pub use shell::WORKSTATION_SHELL;
pub use step::{HiddenFailure, RawOutput, SessionKind, StatementStatus, StepRun, StepStatus, StepText};
pub use transcript::{Append, OutputSink, Redact};

use arrival::{Answer, Arrival, Wants};
use line::Line;
use reader::Reader;
use sentinel::{LevelId, Nonce};
use sql::SqlState;
use transcript::Transcript;

/// A terminal that somebody's shell runs on, wherever it is (a pod, this machine): what a person sits at.
pub struct Terminal {
    pub input: ByteWriter,
    pub output: ByteReader,
    /// The shell's exit code when it ends; `None` when the connection was lost before it was known.
    pub exit: BoxFuture<'static, Option<i32>>,
}

/// How long a session waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadlines {
    /// For a whole step.
    pub step: Duration,
    /// For a program that opens a session to answer, from the last thing it printed.
    pub open: Duration,
    /// For a program that has asked something (a password, yes or no) and that nobody answers.
    pub question: Duration,
    /// For a program to end after ctrl-C.
    pub interrupt: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            step: Duration::from_secs(15 * 60),
            open: Duration::from_secs(30),
            question: Duration::from_secs(15),
            interrupt: Duration::from_secs(5),
        }
    }
}

pub struct SessionConfig {
    pub deadlines: Deadlines,
    /// How many bytes of a step's output stay in memory.
    pub tail: usize,
    pub redact: Redact,
    pub sink: Box<dyn OutputSink>,
}

/// Why it could not be found out what a step does.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("the terminal's shell did not get ready: {status}; it printed: {output}")]
    NotOpened { status: StepStatus, output: String },
    #[error("the session is of no more use: {reason}")]
    Unusable { reason: String },
    #[error("type into the session's terminal")]
    Type { source: std::io::Error },
    #[error("write the session's log")]
    Log { source: std::io::Error },
}

/// One program that reads the terminal; the last entered reads now.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Level {
    id: LevelId,
    reader: Reader,
    /// Its terminal puts `\r` before `\n` and could not be told not to.
    carriage_returns: bool,
}

/// A statement that is being typed.
struct Statement {
    text: String,
    source: SourceRef,
    reader: Reader,
    since: Instant,
}

/// What reads the terminal after a text, judged by its words alone: `psql` opens SQL, `exit` leaves it. For plans, before
/// anything runs; a session asks the programs.
pub fn after(before: SessionKind, text: &str) -> SessionKind {
    match before {
        SessionKind::Shell => opener::opener(text).map_or(SessionKind::Shell, |opener| opener.reader.kind()),
        SessionKind::Sql if text.lines().any(sql::leaves) => SessionKind::Shell,
        SessionKind::Sql => SessionKind::Sql,
    }
}

/// Whether a statement of a shell opens a session, judged by its words alone.
pub fn opens(statement: &str) -> bool {
    opener::opener(statement).is_some()
}

/// A person at a terminal. One step runs at a time; directory, variables, functions and open
/// sessions last from step to step.
pub struct Session {
    line: Line,
    nonce: Nonce,
    levels: Vec<Level>,
    last_id: u32,
    transcript: Transcript,
    deadlines: Deadlines,
    unusable: Option<String>,
}

impl Session {
    /// Sits down at a terminal on which `WORKSTATION_SHELL`, or another interactive POSIX shell, has been
    /// started, and waits until it answers.
    pub async fn open(terminal: Terminal, config: SessionConfig) -> Result<Self, SessionError> {
        let nonce = Nonce::random();
        let mut session = Self {
            line: Line::new(terminal, &nonce),
            nonce,
            levels: Vec::new(),
            last_id: 0,
            transcript: Transcript::new(config.redact, config.sink, config.tail),
            deadlines: config.deadlines,
            unusable: None,
        };
        let arrival = session.first_arrival().await?;
        match arrival.status {
            StepStatus::OpenedSession { .. } => Ok(session),
            status => Err(SessionError::NotOpened { status, output: session.transcript.last_output() }),
        }
    }

    /// Types a step and waits until all of it has run. A failed statement does not keep the rest from being typed, as when
    /// a person pastes a block; the end of the shell or a deadline does.
    pub async fn run(&mut self, step: &StepText) -> Result<StepRun, SessionError> {
        if let Some(reason) = &self.unusable {
            return Err(SessionError::Unusable { reason: reason.clone() });
        }
        self.transcript.start(step).map_err(log_error)?;
        let mut statements = Vec::new();
        let typed = self.type_step(step, &mut statements).await;
        let (output, raw, printed) = self.transcript.finish().map_err(log_error)?;
        if let Err(error) = typed {
            self.unusable = Some(error.to_string());
            return Err(error);
        }
        let status = statements.last().map_or(StepStatus::Exit(0), |last: &StatementStatus| last.status.clone());
        match &status {
            StepStatus::Lost { .. } | StepStatus::Deadline { usable: false, .. } => {
                self.unusable = Some(status.to_string())
            }
            _ => {}
        }
        Ok(StepRun { status, output, raw: RawOutput::new(raw), printed, statements })
    }

    /// How many sessions are open inside the terminal's own shell.
    pub fn depth(&self) -> usize {
        self.levels.len().saturating_sub(1)
    }

    /// What reads the next text.
    pub fn in_what(&self) -> SessionKind {
        self.reader().kind()
    }

    fn reader(&self) -> Reader {
        self.levels.last().map_or(Reader::Shell, |level| level.reader)
    }

    /// Whether another step can be run.
    pub fn is_usable(&self) -> bool {
        self.unusable.is_none()
    }

    /// Leaves every open session and the shell, as far as they can still be left, and hangs up. Gives the
    /// shell's exit status where it is known.
    pub async fn close(mut self) -> Option<i32> {
        let leave = tokio::time::Instant::now() + self.deadlines.interrupt;
        while self.unusable.is_none() && !self.levels.is_empty() {
            let farewell = match self.in_what() {
                SessionKind::Shell => "exit",
                SessionKind::Sql => "\\q",
            };
            let depth = self.levels.len();
            if self.line.type_line(farewell).await.is_err() || !self.has_left(leave).await || self.levels.len() >= depth
            {
                break;
            }
        }
        self.line.hang_up().await
    }

    async fn type_step(&mut self, step: &StepText, done: &mut Vec<StatementStatus>) -> Result<(), SessionError> {
        let until = tokio::time::Instant::now() + self.deadlines.step;
        let mut typing: Option<Statement> = None;
        let mut wants = Wants::Command;
        let mut sql = SqlState::default();
        for (number, line) in step.text.lines().enumerate() {
            let mut rest = line;
            loop {
                let (piece, after) = rest.split_at(self.piece_length(rest, wants, &mut sql));
                rest = after;
                if typing.is_some() || !self.is_blank(piece) {
                    let statement = typing.get_or_insert_with(|| self.statement(step, number));
                    statement.add(piece);
                    match self.type_piece(piece, statement, until).await? {
                        Answer::Wants(more) => wants = more,
                        Answer::Ended(arrival) => {
                            done.extend(typing.take().map(|statement| self.finish(statement, arrival)).transpose()?);
                            (wants, sql) = (Wants::Command, SqlState::default());
                        }
                    }
                    if done.last().is_some_and(|last| last.status.ends_step()) {
                        return Ok(());
                    }
                }
                if rest.is_empty() {
                    break;
                }
            }
        }
        if let Some(statement) = typing {
            let arrival = self.abandon().await?;
            done.push(self.finish(statement, arrival)?);
        }
        Ok(())
    }

    fn statement(&self, step: &StepText, line: usize) -> Statement {
        let source = SourceRef { file: step.source.file.clone(), line: step.source.line + line };
        Statement { text: String::new(), source, reader: self.reader(), since: Instant::now() }
    }

    fn piece_length(&self, rest: &str, wants: Wants, sql: &mut SqlState) -> usize {
        match (self.in_what(), wants) {
            (SessionKind::Sql, Wants::Command | Wants::More) => sql.take_piece(rest),
            (SessionKind::Sql, Wants::Rows) | (SessionKind::Shell, _) => rest.len(),
        }
    }

    fn is_blank(&self, piece: &str) -> bool {
        match self.in_what() {
            SessionKind::Shell => shell::is_blank(piece),
            SessionKind::Sql => sql::is_blank(piece),
        }
    }

    /// Ends a statement: what its status, and what it printed, say about it.
    fn finish(&mut self, statement: Statement, arrival: Arrival) -> Result<StatementStatus, SessionError> {
        let printed = self.transcript.take_statement().map_err(log_error)?;
        let (mut status, mut sqlstate) = (arrival.status, arrival.sqlstate);
        let mut hidden_failures = Vec::new();
        if statement.reader == Reader::Cockroach && status == StepStatus::Exit(0) {
            sqlstate = printed.sqlstate;
            status = StepStatus::Exit(i32::from(printed.cockroach_failed));
        }
        match (statement.reader.kind(), &status) {
            (SessionKind::Sql, StepStatus::Exit(reported)) if sql::is_backslash_command(&statement.text) => {
                let complained = sql::backslash_command_failed(&String::from_utf8_lossy(&printed.head));
                let told = sql::sends_a_statement(&statement.text);
                let failed = complained || !printed.errors.is_empty() || told && *reported != 0;
                sqlstate = sqlstate.filter(|_| told && !complained);
                status = StepStatus::Exit(i32::from(failed));
            }
            (SessionKind::Sql, StepStatus::Exit(0)) if sqlstate.is_none() && !printed.errors.is_empty() => {
                status = StepStatus::Exit(1);
            }
            (SessionKind::Shell, StepStatus::Exit(0)) => {
                // 141: a reader such as `head` had enough.
                if arrival.pipe.iter().any(|&status| status != 0 && status != 141) {
                    hidden_failures.push(HiddenFailure::Pipeline { statuses: arrival.pipe });
                }
                if statement.text.contains("psql") && !printed.errors.is_empty() {
                    hidden_failures.push(HiddenFailure::Psql { errors: printed.errors });
                }
            }
            _ => {}
        }
        let Statement { text, source, reader, since } = statement;
        let text = self.transcript.redacted(&text);
        Ok(StatementStatus {
            text,
            source,
            kind: reader.kind(),
            status,
            sqlstate,
            hidden_failures,
            last_line: printed.last_line,
            duration: since.elapsed(),
        })
    }
}

impl Statement {
    fn add(&mut self, piece: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(piece);
    }
}

fn log_error(source: std::io::Error) -> SessionError {
    SessionError::Log { source }
}
