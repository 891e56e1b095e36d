//! What a drill tells while it runs. The engine sends, the console shows; neither knows more of the other.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::outcome::{
    CheckOutcome, CredentialOutcome, DrillOutcome, Phase, PhaseOutcome, ProgramLabel, SourceRef, StepOutcome, TextLabel,
};

/// Tells one drill of a run from another: its place in the order of the run, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DrillId(pub usize);

/// One thing that happened in one drill.
#[derive(Debug, Clone)]
pub struct Event {
    pub drill: DrillId,
    pub happening: Happening,
}

/// Everything in here is redacted already.
#[derive(Debug, Clone)]
pub enum Happening {
    DrillStarted {
        title: String,
        /// How many steps the plan has.
        steps: usize,
    },
    PhaseStarted {
        phase: Phase,
    },
    StepStarted {
        phase: Phase,
        source: SourceRef,
        command: String,
        text: TextLabel,
        program: ProgramLabel,
    },
    /// A line that the current step printed; not every one.
    StepOutput {
        line: String,
    },
    /// The condition that the operator waits for before typing on; `None` once it holds.
    Waiting {
        condition: Option<String>,
    },
    StepFinished(Box<StepOutcome>),
    CheckFinished(CheckOutcome),
    CredentialChecked(CredentialOutcome),
    PhaseFinished(PhaseOutcome),
    /// Something a person should know, in one line.
    Notice {
        text: String,
    },
    DrillFinished(Box<DrillOutcome>),
}

/// A drill's end of the channel.
#[derive(Debug, Clone)]
pub struct EventSender {
    drill: DrillId,
    sender: UnboundedSender<Event>,
}

impl EventSender {
    /// Never blocks and never fails: a console that is gone is no reason to stop a drill.
    pub fn send(&self, happening: Happening) {
        let _ = self.sender.send(Event { drill: self.drill, happening });
    }

    /// The same channel for another drill of the run.
    pub fn for_drill(&self, drill: DrillId) -> Self {
        Self { drill, sender: self.sender.clone() }
    }
}

/// A channel for one run, with the sender of its first drill. Unbounded, because a slow terminal must not slow the
/// drill down: its seconds are counted.
pub fn channel() -> (EventSender, UnboundedReceiver<Event>) {
    let (sender, receiver) = unbounded_channel();
    (EventSender { drill: DrillId(0), sender }, receiver)
}
