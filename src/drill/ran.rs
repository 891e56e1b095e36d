//! How a step went.

use crate::drill::record::Halt;
use crate::outcome::{ProgramLabel, StepResult};
use crate::plan::PlannedStep;

/// How a step went, before it is written down.
pub struct Ran {
    pub result: StepResult,
    /// The text as typed, redacted.
    pub command: String,
    pub log: Option<String>,
    pub tail: Option<String>,
    /// Failures that no status shows, redacted.
    pub hidden: Vec<String>,
    pub program: Option<ProgramLabel>,
}

impl Ran {
    /// For steps in which nothing was typed.
    pub fn unseen(step: &PlannedStep, result: StepResult) -> Self {
        Self { result, command: step.title(), log: None, tail: None, hidden: Vec::new(), program: None }
    }
}

/// A halt as a step's result.
impl From<Halt> for StepResult {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Failed { reason } => Self::Failed { reason, exit: None },
            Halt::Unverified { reason, remedy } => Self::Unverified { reason, remedy },
        }
    }
}
