//! Waiting for what was typed to end: the heart of a session.

use tokio::time::Instant;

use super::line::Received;
use super::opener::Opener;
use super::probing::Probing;
use super::reader::Reader;
use super::sentinel::{LevelId, Mark};
use super::step::{SessionKind, StepStatus};
use super::{Level, Session, SessionError, Statement, cockroach, hint, log_error, shell, sql};

/// A terminal takes no longer line than this while a program reads whole lines (N_TTY's buffer, less its line end):
/// it would drop the rest without a word.
const LONGEST_LINE: usize = 4000;
/// Most of what is kept of the talk with a program that is being brought under control.
const MOST_CHATTER: usize = 256 << 10;

/// What the reading program wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    Command,
    /// The rest of a statement.
    More,
    /// Rows of `COPY ... FROM STDIN`.
    Rows,
}

pub enum Answer {
    Wants(Wants),
    Ended(Arrival),
}

/// How a statement ended.
#[derive(Debug)]
pub struct Arrival {
    pub status: StepStatus,
    pub pipe: Vec<i32>,
    pub sqlstate: Option<String>,
}

impl From<StepStatus> for Arrival {
    fn from(status: StepStatus) -> Self {
        Self { status, pipe: Vec::new(), sqlstate: None }
    }
}

/// What a mark means for the statement that runs.
pub(super) enum Meaning {
    Answer(Answer),
    Answered { status: i32 },
    Nothing,
}

impl StepStatus {
    /// Whether nothing more can, or should, be typed of the step.
    pub(super) fn ends_step(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Deadline { .. } | Self::NotTyped { .. })
    }
}

impl Session {
    /// Waits for the shell that the terminal was started with.
    pub(super) async fn first_arrival(&mut self) -> Result<Arrival, SessionError> {
        let probing = Probing::new(Opener { reader: Reader::Shell, replaces: false }, false);
        let until = Instant::now() + self.deadlines.open;
        match self.wait(Some(probing), until).await? {
            Answer::Ended(arrival) => Ok(arrival),
            Answer::Wants(_) => Ok(StepStatus::Incomplete.into()),
        }
    }

    /// Types a line, or a part of one, of a statement and waits for the answer.
    pub(super) async fn type_piece(
        &mut self,
        piece: &str,
        statement: &Statement,
        until: Instant,
    ) -> Result<Answer, SessionError> {
        if piece.len() > LONGEST_LINE && self.in_what() == SessionKind::Shell {
            let reason = format!("a line of {} bytes; a terminal takes {LONGEST_LINE}", piece.len());
            if statement.text.len() > piece.len() {
                self.abandon().await?;
            }
            return Ok(Answer::Ended(StepStatus::NotTyped { reason }.into()));
        }
        let probing = match statement.reader.kind() {
            SessionKind::Shell => Probing::for_statement(&statement.text),
            SessionKind::Sql => None,
        };
        self.line.type_line(piece).await?;
        self.wait(probing, until).await
    }

    async fn wait(&mut self, mut probing: Option<Probing>, until: Instant) -> Result<Answer, SessionError> {
        let mut heard = Instant::now();
        let mut printed = false;
        let mut output = cockroach::Output::default();
        loop {
            let cursor = self.transcript.cursor_line();
            let wake = [
                Some(until),
                probing
                    .as_ref()
                    .map(|probing| heard + self.deadlines.open.max(probing.patience(&cursor).unwrap_or_default())),
                probing.as_ref().and_then(|probing| probing.patience(&cursor)).map(|patience| heard + patience),
                hint::is_question(&cursor).then(|| heard + self.deadlines.question),
            ];
            let wake = wake.into_iter().flatten().min().unwrap_or(until);
            let received = self.line.receive(wake).await?;
            if !matches!(received, Received::Output(_)) {
                self.heard(&output.rest(), &mut probing)?;
            }
            match received {
                Received::Output(bytes) => {
                    heard = Instant::now();
                    printed = true;
                    let (bytes, more) = match self.reader() {
                        Reader::Cockroach => output.take(&bytes),
                        Reader::Shell | Reader::Psql => (bytes, false),
                    };
                    self.heard(&bytes, &mut probing)?;
                    if more {
                        return Ok(Answer::Wants(Wants::More));
                    }
                }
                Received::Mark(mark) => match self.meaning(mark, probing.as_ref()) {
                    Meaning::Nothing => {}
                    Meaning::Answered { status } => {
                        // Only who probed gets an answer.
                        let Some(probing) = probing.take() else { continue };
                        return self.take_over(probing, status).await.map(Answer::Ended);
                    }
                    Meaning::Answer(answer) => {
                        if let Some(probing) = probing.take() {
                            return self.settle(probing, answer).await;
                        }
                        return Ok(answer);
                    }
                },
                Received::Quiet => {
                    let now = Instant::now();
                    let probe = probing
                        .as_ref()
                        .and_then(|probing| probing.patience(&cursor))
                        .is_some_and(|patience| now >= heard + patience);
                    let asked_in_vain =
                        probing.as_ref().is_some_and(|probing| !probing.same && now >= heard + self.deadlines.open);
                    let unanswered = hint::is_question(&cursor) && now >= heard + self.deadlines.question;
                    if now >= until || asked_in_vain || unanswered {
                        let shown = self.transcript.redacted(&cursor);
                        let hint = hint::waiting_for_input(&shown, printed, now - heard);
                        return self.give_up(probing, hint).await.map(Answer::Ended);
                    }
                    if let (true, Some(probing)) = (probe, &mut probing) {
                        self.probe(probing).await?;
                    }
                }
                Received::Gone(exit) => {
                    self.tell_chatter(probing.as_mut())?;
                    return Ok(Answer::Ended(StepStatus::Lost { exit }.into()));
                }
            }
        }
    }

    async fn probe(&mut self, probing: &mut Probing) -> Result<(), SessionError> {
        let number = self.next_id();
        probing.sent.push(number);
        let probe = match probing.opener.reader {
            Reader::Shell => shell::probe(&self.nonce, number),
            Reader::Psql => sql::probe(&self.nonce, number),
            Reader::Cockroach => cockroach::probe(&self.nonce, number),
        };
        self.line.type_line(&probe).await
    }

    fn heard(&mut self, bytes: &[u8], probing: &mut Option<Probing>) -> Result<(), SessionError> {
        match probing {
            Some(probing) if !probing.sent.is_empty() && probing.chatter.len() < MOST_CHATTER => {
                probing.chatter.extend_from_slice(bytes);
                Ok(())
            }
            Some(_) | None => self.transcript.push(bytes).map_err(log_error),
        }
    }

    pub(super) fn meaning(&mut self, mark: Mark, probing: Option<&Probing>) -> Meaning {
        let answer = |answer| Meaning::Answer(answer);
        let wants = |session: &Self, level, wants| match session.levels.last() {
            Some(top) if top.id == level => answer(Answer::Wants(wants)),
            Some(_) | None => Meaning::Nothing,
        };
        match mark {
            Mark::Answer { number, status } => match probing {
                Some(probing) if probing.sent.contains(&number) => Meaning::Answered { status },
                Some(_) | None => Meaning::Nothing,
            },
            Mark::More { level } | Mark::SqlMore { level } => wants(self, level, Wants::More),
            Mark::CopyData { level } => wants(self, level, Wants::Rows),
            Mark::Ready { level, status, pipe } => match self.back_in(level) {
                Some(Back::Same) => answer(Answer::Ended(Arrival { pipe, ..StepStatus::Exit(status).into() })),
                Some(Back::Left(kind)) => answer(Answer::Ended(StepStatus::ClosedSession { kind, status }.into())),
                None => Meaning::Nothing,
            },
            Mark::SqlReady { level, failed, sqlstate } => match self.back_in(level) {
                Some(Back::Same) => {
                    let status = StepStatus::Exit(i32::from(failed.unwrap_or(false)));
                    let sqlstate = failed.is_some().then_some(sqlstate);
                    answer(Answer::Ended(Arrival { sqlstate, ..status.into() }))
                }
                Some(Back::Left(kind)) => answer(Answer::Ended(StepStatus::ClosedSession { kind, status: 0 }.into())),
                None => Meaning::Nothing,
            },
        }
    }

    /// Notes that the program of a level reads again: the sessions inside it have ended.
    fn back_in(&mut self, level: LevelId) -> Option<Back> {
        let at = self.levels.iter().position(|open| open.id == level)?;
        let left = self.levels.get(at + 1).map(|open| open.reader.kind());
        self.levels.truncate(at + 1);
        self.line.map_carriage_returns(self.levels[at].carriage_returns);
        Some(left.map_or(Back::Same, Back::Left))
    }

    /// A program has answered: makes it a level of the session.
    async fn take_over(&mut self, mut probing: Probing, status: i32) -> Result<Arrival, SessionError> {
        self.tell_chatter(Some(&mut probing))?;
        let reader = probing.opener.reader;
        let kind = reader.kind();
        let id = self.next_id();
        self.line.map_carriage_returns(false);
        let until = Instant::now() + self.deadlines.open;
        let number = self.next_id();
        match reader {
            Reader::Shell => self.line.type_line(&shell::preparation(&self.nonce, id, number)).await?,
            Reader::Psql => {
                self.line.type_line(sql::QUIET_TERMINAL).await?;
                self.line.type_line(&sql::probe(&self.nonce, number)).await?;
            }
            Reader::Cockroach => {
                self.line.type_line(sql::QUIET_TERMINAL).await?;
                self.line.type_line(&cockroach::probe(&self.nonce, number)).await?;
            }
        }
        let mut after_answer: Option<Vec<u8>> = None;
        loop {
            match self.line.receive(until).await? {
                Received::Output(bytes) => {
                    if let Some(after) = &mut after_answer {
                        after.extend(bytes);
                    }
                }
                Received::Mark(Mark::Answer { number: answered, .. }) if answered == number => {
                    after_answer = Some(Vec::new());
                    match reader {
                        Reader::Shell => {}
                        Reader::Psql => {
                            for line in sql::preparation(&self.nonce, id) {
                                self.line.type_line(&line).await?;
                            }
                        }
                        Reader::Cockroach => self.line.type_line(&cockroach::preparation(&self.nonce, id)).await?,
                    }
                }
                Received::Mark(Mark::Ready { level, .. } | Mark::SqlReady { level, .. }) if level == id => break,
                Received::Mark(mark) => {
                    // An outer program reads again: the session ended while it was being taken over.
                    if let Meaning::Answer(answer @ Answer::Ended(_)) = self.meaning(mark, None) {
                        return self.settle(probing, answer).await.map(Answer::into_arrival);
                    }
                }
                Received::Quiet => {
                    let hint = format!("the {kind} answered, but does not take prompts of ours");
                    return self.give_up(None, Some(hint)).await;
                }
                Received::Gone(exit) => return Ok(StepStatus::Lost { exit }.into()),
            }
        }
        if probing.same || probing.opener.replaces {
            self.levels.pop();
        }
        let carriage_returns = after_answer.is_some_and(|after| after.starts_with(b"\r\n"));
        self.line.map_carriage_returns(carriage_returns);
        self.levels.push(Level { id, reader, carriage_returns });
        let status = if probing.same { StepStatus::Exit(status) } else { StepStatus::OpenedSession { kind } };
        Ok(status.into())
    }

    /// An outer shell reads again although a program was probed: makes sure that it has read the probes too.
    pub(super) async fn settle(&mut self, mut probing: Probing, answer: Answer) -> Result<Answer, SessionError> {
        self.tell_chatter(Some(&mut probing))?;
        let Answer::Ended(arrival) = answer else { return Ok(answer) };
        if probing.sent.is_empty() || self.in_what() == SessionKind::Sql {
            return Ok(Answer::Ended(arrival));
        }
        let status = match arrival.status {
            StepStatus::Exit(status) | StepStatus::ClosedSession { status, .. } => status,
            _ => 0,
        };
        let number = self.next_id();
        self.line.type_line(&shell::probe_keeping_status(&self.nonce, number, status)).await?;
        let until = Instant::now() + self.deadlines.open;
        let mut answered = false;
        loop {
            match self.line.receive(until).await? {
                Received::Mark(Mark::Answer { number: seen, .. }) => answered |= seen == number,
                Received::Mark(Mark::Ready { .. }) if answered => return Ok(Answer::Ended(arrival)),
                Received::Mark(_) | Received::Output(_) => {}
                Received::Quiet => return self.give_up(None, None).await.map(Answer::Ended),
                Received::Gone(exit) => return Ok(Answer::Ended(StepStatus::Lost { exit }.into())),
            }
        }
    }

    /// Writes down what programs said while they were probed, without our own echoed typing.
    pub(super) fn tell_chatter(&mut self, probing: Option<&mut Probing>) -> Result<(), SessionError> {
        let chatter = probing.map(|probing| std::mem::take(&mut probing.chatter)).unwrap_or_default();
        for line in chatter.split_inclusive(|&byte| byte == b'\n') {
            if !self.nonce.occurs_in(line) {
                self.transcript.push(line).map_err(log_error)?;
            }
        }
        Ok(())
    }

    fn next_id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }
}

enum Back {
    Same,
    Left(SessionKind),
}

impl Answer {
    fn into_arrival(self) -> Arrival {
        match self {
            Self::Ended(arrival) => arrival,
            Self::Wants(_) => StepStatus::Incomplete.into(),
        }
    }
}
