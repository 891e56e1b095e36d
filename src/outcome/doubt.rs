//! Findings that count no more, since what the drill ran on was not there.

use super::{CheckResult, DrillOutcome, Phase, StepResult};

impl DrillOutcome {
    /// Whether a step of a phase failed, or a check differs.
    pub fn has_failed_in(&self, phase: Phase) -> bool {
        let mut steps = self.steps.iter().filter(|step| step.phase == phase);
        let mut checks = self.checks.iter().filter(|check| check.phase == phase);
        steps.any(|step| matches!(step.result, StepResult::Failed { .. }))
            || checks.any(|check| matches!(check.result, CheckResult::Differs { .. }))
    }

    /// Turns what failed in a phase into what is not known, for this reason. What succeeded has been seen.
    pub fn doubt(&mut self, phase: Phase, reason: &str, remedy: &str) {
        for step in self.steps.iter_mut().filter(|step| step.phase == phase) {
            if let StepResult::Failed { reason: said, .. } = &step.result {
                let reason = format!("{reason}; the step had come to: {said}");
                step.result = StepResult::Unverified { reason, remedy: remedy.to_owned() };
            }
        }
        for check in self.checks.iter_mut().filter(|check| check.phase == phase) {
            if let CheckResult::Differs { difference } = &check.result {
                check.result = CheckResult::NotRun { reason: format!("{reason}; it had come to: {difference}") };
            }
        }
    }
}
