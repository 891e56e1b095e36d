//! What checks come to.

use std::time::Instant;

use crate::drill::record::{Halt, Record};
use crate::outcome::{CheckKind, CheckResult, Phase};

/// What a check came to before it is written down: its result and what was compared.
pub type Finding = Result<(CheckResult, String), Halt>;

/// Writes a finding down.
pub fn write(record: &mut Record, name: &str, kind: CheckKind, phase: Phase, started: Instant, finding: Finding) {
    let (result, detail) = finding.unwrap_or_else(|halt| match halt {
        // The database refuses what it answered before the loss: that is the recovery's fault.
        Halt::Failed { reason } => (CheckResult::Differs { difference: reason }, String::new()),
        Halt::Unverified { reason, .. } => (CheckResult::NotRun { reason }, String::new()),
    });
    record.check(name, kind, phase, &detail, started, result);
}
