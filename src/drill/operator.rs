//! The operator: a person at the workstation's terminal, typing what the runbook says.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;

use crate::drill::editor::{self, Edit};
use crate::drill::event::{EventSender, Happening};
use crate::drill::ran::Ran;
use crate::drill::record::{Halt, Record};
use crate::drill::stage::{self, Stage};
use crate::drill::{programs, station};
use crate::error::chain;
use crate::kubernetes::{ExecRequest, Terminal as Wanted};
use crate::outcome::StepResult;
use crate::plan::{Action, Filled, PlannedStep, edit};
use crate::redact::Secret;
use crate::scenario::{StepRef, Terminal as Place};
use crate::session::{
    Deadlines, HiddenFailure, OutputSink, Session, SessionConfig, StatementStatus, StepRun, StepStatus, StepText,
    Terminal,
};

/// Bytes of a step's output that are kept for slots and for the report of a failure.
const TAIL: usize = 64 << 10;
/// Lines of it that a report shows.
const SHOWN_LINES: usize = 40;

/// One sitting at the terminal: a phase's steps share a shell, as a person's would.
pub struct Operator {
    session: Session,
    /// A second terminal, once something was typed in one.
    second: Option<Session>,
    log: StepLog,
    /// What each step printed, for the slots of later ones.
    outputs: Vec<(PlannedStep, String)>,
    fragments: usize,
}

impl Operator {
    /// Opens a shell on the workstation; remembers what the stage's earlier steps printed.
    pub async fn sit_down(stage: &mut Stage, record: &Record) -> Result<Self, Halt> {
        let log = StepLog::new(record.events().clone());
        let session = Self::open(stage, record, &log).await?;
        Ok(Self { session, second: None, log, outputs: std::mem::take(&mut stage.outputs), fragments: 0 })
    }

    /// A shell on the workstation.
    async fn open(stage: &Stage, record: &Record, log: &StepLog) -> Result<Session, Halt> {
        let argv = station::shell(stage.folder.as_deref());
        let request = ExecRequest {
            namespace: station::NAMESPACE,
            pod: station::WORKSTATION,
            container: None,
            argv: &argv,
            terminal: Wanted::Yes,
        };
        let exec = stage.kubernetes.exec(&request).await?;
        let (exit, (input, output)) = exec.split();
        let terminal = Terminal { input, output, exit: exit.boxed() };
        let redactor = record.redactor.clone();
        let config = SessionConfig {
            deadlines: Deadlines::default(),
            tail: TAIL,
            redact: Arc::new(move |bytes| redactor.redact_bytes(bytes)),
            sink: Box::new(log.clone()),
        };
        let session = Session::open(terminal, config).await;
        session.map_err(|error| Halt::unverified(chain(&error), "look at the workstation pod"))
    }

    /// The last step so far that is meant, and what it printed.
    pub fn output_of(&self, step: &StepRef) -> Option<(&PlannedStep, &str)> {
        self.outputs
            .iter()
            .rev()
            .find(|(planned, _)| planned.is_meant_by(step))
            .map(|(planned, output)| (planned, output.as_str()))
    }

    /// Types a step and reads what comes back.
    pub async fn perform(&mut self, stage: &Stage, record: &Record, step: &PlannedStep, filled: Filled) -> Ran {
        let mut ran = Ran::unseen(step, StepResult::Succeeded);
        if let Err(halt) = self.reach(stage, record, step).await {
            ran.result = halt.into();
            return ran;
        }
        let text = match self.lay_out(stage, step, &filled).await {
            Ok(text) => text,
            Err(halt) => {
                ran.result = halt.into();
                return ran;
            }
        };
        ran.command = record.redactor.redact(&shown(step, &filled, &text));
        match stage.logs.open(step) {
            Ok((file, name)) => {
                self.log.begin(file);
                ran.log = Some(name);
            }
            Err(error) => {
                let remedy = "make room where the reports go".to_owned();
                ran.result =
                    StepResult::Unverified { reason: format!("the step's log cannot be opened: {error}"), remedy };
                return ran;
            }
        }
        let typed = StepText { text, source: step.source.clone() };
        let terminal = self.terminal_of(step);
        let is_workstation = terminal.depth() == 0;
        let run = terminal.run(&typed).await;
        self.log.end();
        let edits = match &step.action {
            Action::Editor { .. } => editor::take_away(&stage.kubernetes).await.map(Some),
            _ => Ok(None),
        };
        match run {
            Ok(run) => {
                let remark = if is_workstation { programs::remark(&stage.kubernetes, &run).await } else { None };
                self.judge(step, &filled, run, edits, record, &mut ran);
                if let (StepResult::Failed { reason, .. }, Some(remark)) = (&mut ran.result, remark) {
                    *reason = format!("{reason}; {remark}");
                }
            }
            Err(error) => {
                let remedy = "run the drill again".to_owned();
                ran.result = StepResult::Unverified { reason: chain(&error), remedy };
            }
        }
        ran
    }

    /// Opens the second terminal when a step is the first to be typed there.
    async fn reach(&mut self, stage: &Stage, record: &Record, step: &PlannedStep) -> Result<(), Halt> {
        if step.terminal == Place::Second && self.second.is_none() {
            self.second = Some(Self::open(stage, record, &self.log).await?);
        }
        let depth = self.terminal_of(step).depth();
        if depth > 0 && matches!(step.action, Action::Editor { .. }) {
            let reason =
                "the editor would open in the session that is open there, and redrill has one on the workstation";
            return Err(Halt::unverified(
                reason,
                "bind the step with `edit`, or let it be typed in the second terminal",
            ));
        }
        Ok(())
    }

    fn terminal_of(&mut self, step: &PlannedStep) -> &mut Session {
        match (step.terminal, &mut self.second) {
            (Place::Second, Some(second)) => second,
            (Place::Same, _) | (Place::Second, None) => &mut self.session,
        }
    }

    /// Puts a fragment's file where the command can name it, or an editor's script where the editor finds it.
    async fn lay_out(&mut self, stage: &Stage, step: &PlannedStep, filled: &Filled) -> Result<String, Halt> {
        let text = filled.text.expose();
        if let (Action::Editor { .. }, Some(script)) = (&step.action, &filled.content) {
            editor::lay_ready(&stage.kubernetes, script).await?;
            return Ok(text.to_owned());
        }
        if let (Action::Edit { .. }, Some(file)) = (&step.action, &filled.content) {
            return Ok(edit::command(file.expose(), text));
        }
        let Some(content) = filled.content.as_ref().filter(|_| text.contains("{fragment}")) else {
            return Ok(text.to_owned());
        };
        self.fragments += 1;
        let path = format!("{}/fragment-{}.yaml", station::HOME, self.fragments);
        stage::write_file(&stage.kubernetes, &path, content.expose()).await?;
        Ok(text.replace("{fragment}", &path))
    }

    fn judge(
        &mut self,
        step: &PlannedStep,
        filled: &Filled,
        run: StepRun,
        edits: Edits,
        record: &Record,
        ran: &mut Ran,
    ) {
        let printed = String::from_utf8_lossy(run.raw.expose()).into_owned();
        let failure = run.first_failure();
        ran.result = match (edited(edits, failure, &run, record), failure) {
            (Some(result), _) => result,
            (None, Some(failure)) => failed(failure, &run.output, record),
            (None, None) => match (&step.action, &filled.content) {
                (Action::Compare { .. }, Some(content)) => compared(content.expose(), &printed, record),
                _ => StepResult::Succeeded,
            },
        };
        for (statement, hidden) in run.hidden_failures() {
            let words = record.redactor.redact(&format!("{}: {}", statement.source, hidden_words(hidden)));
            record.notice(&words);
            ran.hidden.push(words);
        }
        if ran.result != StepResult::Succeeded {
            ran.tail = Some(last_lines(&String::from_utf8_lossy(&run.output)));
        }
        self.outputs.push((step.clone(), printed));
    }

    /// Leaves the terminal; what is still running there is hung up on. The next sitting goes on from what was printed.
    pub async fn leave(self, stage: &mut Stage) {
        stage.outputs = self.outputs;
        if let Some(second) = self.second {
            second.close().await;
        }
        self.session.close().await;
    }
}

/// What came of the editors that a step opened; `None` for a step that is to open none.
type Edits = Result<Option<Vec<Edit>>, Halt>;

/// What an edit has to say that the command does not.
fn edited(edits: Edits, failure: Option<&StatementStatus>, run: &StepRun, record: &Record) -> Option<StepResult> {
    let edits = match edits {
        Ok(edits) => edits?,
        Err(halt) => return Some(halt.into()),
    };
    let printed = String::from_utf8_lossy(&run.output);
    let complaint = editor::complaint(&edits, failure.is_some(), &printed)?;
    let command = run.statements.last().map(|statement| record.redactor.redact(&statement.text)).unwrap_or_default();
    Some(StepResult::Failed { reason: format!("`{command}`: {complaint}"), exit: None })
}

/// What ran, as reports show it: what is done in an editor is no part of the command.
fn shown(step: &PlannedStep, filled: &Filled, text: &str) -> String {
    let with_script = |command: &str, script: &Secret| {
        let script: String = script.expose().trim_end().lines().map(|line| format!("\n#   {line}")).collect();
        format!("{command}\n# in the editor:{script}")
    };
    match (&step.action, &filled.content) {
        (Action::Editor { .. }, Some(script)) => with_script(text, script),
        (Action::Edit { .. }, Some(file)) => with_script(&format!("edit {}", file.expose()), &filled.text),
        _ => text.to_owned(),
    }
}

/// How a statement failed, with the last line that it printed or, where it printed none, its step.
fn failed(failure: &StatementStatus, output: &[u8], record: &Record) -> StepResult {
    let answer = if failure.last_line.is_empty() { last_line(output) } else { failure.last_line.clone() };
    let command = record.redactor.redact(&failure.text);
    match &failure.status {
        StepStatus::Lost { exit: None } => StepResult::Unverified {
            reason: format!("{}: `{command}`: {}", failure.source, failure.status),
            remedy: "run the drill again; the connection to the workstation was lost".to_owned(),
        },
        status => {
            let exit = match status {
                StepStatus::Exit(code) | StepStatus::ClosedSession { status: code, .. } => Some(*code),
                StepStatus::Lost { exit } => *exit,
                StepStatus::OpenedSession { .. }
                | StepStatus::Incomplete
                | StepStatus::NotTyped { .. }
                | StepStatus::Deadline { .. } => None,
            };
            let answer = if answer.is_empty() { String::new() } else { format!(": {answer}") };
            StepResult::Failed { reason: format!("`{command}`: {status}{answer}"), exit }
        }
    }
}

fn compared(content: &str, printed: &str, record: &Record) -> StepResult {
    match crate::plan::fragment::missing(content, printed) {
        Ok(missing) if missing.is_empty() => StepResult::Succeeded,
        Ok(missing) => {
            let reason = format!("what the page shows is not there: {}", record.redactor.redact(&missing.join("; ")));
            StepResult::Failed { reason, exit: None }
        }
        Err(error) => StepResult::Unverified {
            reason: format!("the fragment cannot be compared: {}", chain(&error)),
            remedy: "let the bound command print one JSON object".to_owned(),
        },
    }
}

fn hidden_words(hidden: &HiddenFailure) -> String {
    match hidden {
        HiddenFailure::Pipeline { statuses } => {
            format!("ended with 0, but a part of the pipeline failed: {statuses:?}")
        }
        HiddenFailure::Psql { errors } => format!("ended with 0, but psql printed {}", errors.join(" / ")),
    }
}

fn last_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

/// The log of the step that runs, and the watchers' view of it. Clones share it.
#[derive(Clone)]
struct StepLog {
    current: Arc<Mutex<Current>>,
    events: EventSender,
}

#[derive(Default)]
struct Current {
    file: Option<File>,
    /// When the watchers were shown a line of it.
    shown: Option<Instant>,
}

impl StepLog {
    fn new(events: EventSender) -> Self {
        Self { current: Arc::default(), events }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, file: File) {
        *self.current() = Current { file: Some(file), shown: None };
    }

    fn end(&self) {
        *self.current() = Current::default();
    }

    /// Shows the watchers the last line of what was printed, as often as an eye can follow: a step that prints without end
    /// must not fill the queue of a terminal that is slower.
    fn show(&self, current: &mut Current, bytes: &[u8]) {
        const PAUSE: Duration = Duration::from_millis(50);
        const WIDEST: usize = 400;
        if current.shown.is_some_and(|shown| shown.elapsed() < PAUSE) {
            return;
        }
        if let Some(line) = bytes.split(|&byte| byte == b'\n').rfind(|line| !line.is_empty()) {
            let line = String::from_utf8_lossy(&line[..line.len().min(WIDEST)]).trim_end().to_owned();
            self.events.send(Happening::StepOutput { line });
            current.shown = Some(Instant::now());
        }
    }
}

impl OutputSink for StepLog {
    fn started(&mut self, _: &StepText) -> io::Result<()> {
        Ok(())
    }

    fn output(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut current = self.current();
        self.show(&mut current, bytes);
        match &mut current.file {
            Some(file) => file.write_all(bytes),
            None => Ok(()),
        }
    }

    fn finished(&mut self) -> io::Result<()> {
        Ok(())
    }
}
