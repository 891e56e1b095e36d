//! The record of a running drill: what is found out goes into the outcome and to whoever watches, in one move.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;

use crate::drill::event::{EventSender, Happening};
use crate::journal::{Journal, JournalError};
use crate::outcome::{
    CheckKind, CheckOutcome, CheckResult, CredentialOutcome, DrillOutcome, Note, Phase, PhaseOutcome, PhaseResult,
    SourceRef, StepOutcome,
};
use crate::redact::Redactor;

/// The journal of the run that goes on, shared by its drills; taken out when the run ends.
pub type SharedJournal = Arc<Mutex<Option<Journal>>>;

/// Why a phase went no further.
#[derive(Debug, Clone, PartialEq)]
pub enum Halt {
    /// The procedure is at fault: recovery is not proven.
    Failed { reason: String },
    /// It could not be found out.
    Unverified { reason: String, remedy: String },
}

impl Halt {
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into() }
    }

    pub fn unverified(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Unverified { reason: reason.into(), remedy: remedy.into() }
    }
}

/// What keeps the harness from going on says nothing about the procedure.
impl From<crate::kubernetes::KubernetesError> for Halt {
    fn from(error: crate::kubernetes::KubernetesError) -> Self {
        Self::unverified(crate::error::chain(&error), "run the drill again; see the logs of the run")
    }
}

/// Collects a drill's outcome.
pub struct Record {
    pub outcome: DrillOutcome,
    pub redactor: Redactor,
    events: EventSender,
    /// The drill's place in the run.
    index: usize,
    journal: SharedJournal,
}

impl Record {
    pub fn new(
        outcome: DrillOutcome,
        redactor: Redactor,
        events: EventSender,
        index: usize,
        journal: SharedJournal,
    ) -> Self {
        Self { outcome, redactor, events, index, journal }
    }

    pub fn events(&self) -> &EventSender {
        &self.events
    }

    pub fn started(&self, steps: usize) {
        let title = format!("{}/{} on {}", self.outcome.scenario, self.outcome.variant, self.outcome.environment);
        self.events.send(Happening::DrillStarted { title, steps });
    }

    pub fn phase_started(&self, phase: Phase) -> Instant {
        self.events.send(Happening::PhaseStarted { phase });
        self.keep(|journal, outcome| journal.phase(self.index, phase, outcome, Timestamp::now()));
        Instant::now()
    }

    /// Ends the record: what the drill came to.
    pub fn finished(self) -> DrillOutcome {
        self.keep(|journal, outcome| journal.drill_finished(self.index, outcome, Timestamp::now()));
        self.events.send(Happening::DrillFinished(Box::new(self.outcome.clone())));
        self.outcome
    }

    /// A journal that cannot be written costs a killed run its trace, and nothing else: the drill goes on.
    fn keep(&self, write: impl FnOnce(&mut Journal, DrillOutcome) -> Result<(), JournalError>) {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(error)) = journal.as_mut().map(|journal| write(journal, self.outcome.clone())) {
            self.notice(&crate::error::chain(&error));
        }
    }

    /// Writes down how a phase ended.
    pub fn phase_finished(&mut self, phase: Phase, started: Instant, result: &Result<(), Halt>) {
        let result = match result {
            Ok(()) => PhaseResult::Completed,
            Err(Halt::Failed { reason }) => PhaseResult::Failed { reason: self.clean(reason) },
            Err(Halt::Unverified { reason, remedy }) => {
                PhaseResult::Unverified { reason: self.clean(reason), remedy: remedy.clone() }
            }
        };
        self.phase(PhaseOutcome { phase, result, duration: started.elapsed() });
    }

    pub fn phase_not_reached(&mut self, phase: Phase) {
        self.phase(PhaseOutcome { phase, result: PhaseResult::NotReached, duration: std::time::Duration::ZERO });
    }

    fn phase(&mut self, outcome: PhaseOutcome) {
        self.events.send(Happening::PhaseFinished(outcome.clone()));
        self.outcome.phases.push(outcome);
    }

    pub fn step(&mut self, outcome: StepOutcome) {
        self.events.send(Happening::StepFinished(Box::new(outcome.clone())));
        self.outcome.steps.push(outcome);
    }

    /// Writes down a check; `started` is when it began.
    pub fn check(
        &mut self,
        name: &str,
        kind: CheckKind,
        phase: Phase,
        detail: &str,
        started: Instant,
        result: CheckResult,
    ) {
        let result = match result {
            CheckResult::Differs { difference } => CheckResult::Differs { difference: self.clean(&difference) },
            CheckResult::NotRun { reason } => CheckResult::NotRun { reason: self.clean(&reason) },
            CheckResult::Accepted { difference, by } => {
                CheckResult::Accepted { difference: self.clean(&difference), by: self.clean(&by) }
            }
            CheckResult::Held => CheckResult::Held,
        };
        let duration = started.elapsed();
        let detail = self.clean(detail);
        let outcome = CheckOutcome { name: name.to_owned(), kind, phase, result, detail, duration };
        self.events.send(Happening::CheckFinished(outcome.clone()));
        self.outcome.checks.push(outcome);
    }

    pub fn credential(&mut self, outcome: CredentialOutcome) {
        self.events.send(Happening::CredentialChecked(outcome.clone()));
        self.outcome.credentials.push(outcome);
    }

    pub fn notice(&self, text: &str) {
        self.events.send(Happening::Notice { text: self.clean(text) });
    }

    /// A command of the scenario's own, where it stands there and why it is done.
    pub fn prepared(&mut self, source: &SourceRef, what: &str, why: &str) {
        let note = Note { source: Some(source.clone()), what: self.clean(what), why: why.to_owned() };
        self.outcome.prepared.push(note);
    }

    pub fn provided(&mut self, what: &str, why: &str) {
        self.outcome.provided.push(Note { source: None, what: what.to_owned(), why: why.to_owned() });
    }

    /// With its reason redacted: it may quote what a program printed.
    pub fn cleaned(&self, halt: Halt) -> Halt {
        match halt {
            Halt::Failed { reason } => Halt::Failed { reason: self.clean(&reason) },
            Halt::Unverified { reason, remedy } => Halt::Unverified { reason: self.clean(&reason), remedy },
        }
    }

    fn clean(&self, text: &str) -> String {
        self.redactor.redact(text)
    }
}
