//! The first write after a restore, where the clock of the RTO stops.

use std::time::{Duration, Instant};

use crate::drill::record::Halt;
use crate::drill::unanswered::Unanswered;
use crate::drill::{Course, Stage, account, procedure, seed, stage};
use crate::outcome::{CheckKind, CheckResult, Phase};
use crate::probe::{DatabaseTarget, Request};

/// How long a system may take to come up after the last step.
const DEADLINE: Duration = Duration::from_secs(120);
/// The same of one that cannot come up before somebody does something about it, which nobody does any more.
const HOPELESS: Duration = Duration::from_secs(15);

impl Course<'_> {
    /// The clock runs from proven loss to the first write that an application's login may make after the last step.
    pub(super) async fn first_write(&mut self, phase: Phase) -> Result<(), Halt> {
        let Self { assignment, stage, record, evidence, .. } = self;
        let human = [Phase::Restore, Phase::Reconcile].map(|phase| procedure::human_time(record, phase));
        evidence.measured.human = human.iter().sum();
        let Some(target) = seed::restored_ledger(assignment, &stage.values).await? else { return Ok(()) };
        let started = Instant::now();
        let result = match write(stage, &target).await {
            Ok(()) => {
                let recovery = |lost: Instant| lost.elapsed().saturating_sub(stage.looking);
                evidence.measured.recovery = stage.lost_at.map(recovery);
                evidence.first_write = true;
                CheckResult::Held
            }
            Err(unanswered) => match unanswered.at_a_deadline() {
                Halt::Failed { reason } => CheckResult::Differs { difference: reason },
                Halt::Unverified { reason, .. } => CheckResult::NotRun { reason },
            },
        };
        let detail = "as the application's user";
        record.check("first write after the restore", CheckKind::Other, phase, detail, started, result);
        Ok(())
    }
}

/// Tries until it is written. What cannot be started before and after a try is not waited for any longer; a system that is merely slow
/// has all the time.
async fn write(stage: &mut Stage, target: &DatabaseTarget) -> Result<(), Unanswered> {
    if account::cannot_start(stage).await?.is_some() {
        let tried = try_for(stage, target, HOPELESS).await;
        let unanswered = match tried {
            Err(unanswered @ (Unanswered::Refused { .. } | Unanswered::Unknown { .. })) => unanswered,
            Ok(()) | Err(Unanswered::NoProber(_)) => return tried,
        };
        if let Some(why) = account::cannot_start(stage).await? {
            return Err(unanswered.because(&why));
        }
    }
    try_for(stage, target, DEADLINE).await
}

async fn try_for(stage: &mut Stage, target: &DatabaseTarget, deadline: Duration) -> Result<(), Unanswered> {
    let deadline_millis = deadline.as_millis().try_into().unwrap_or(u64::MAX);
    stage::ask(&mut stage.prober, Request::FirstWrite { target: target.clone(), deadline_millis }).await.map(drop)
}
