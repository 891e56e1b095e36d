//! From what was seen to one verdict and one exit code.

use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::cause::Cause;
use super::{Acceptance, DrillOutcome, Outcome, Phase, Verdict};
use crate::exit_code::ExitCode;

impl Verdict {
    /// Every verdict, best first.
    pub const ALL: [Self; 6] =
        [Self::Passed, Self::Corrected, Self::Simulated, Self::Leftovers, Self::Unverified, Self::Failed];

    /// The word in capitals, as machine-readable reports have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "PASSED",
            Self::Corrected => "CORRECTED",
            Self::Simulated => "SIMULATED",
            Self::Leftovers => "LEFTOVERS",
            Self::Unverified => "UNVERIFIED",
            Self::Failed => "FAILED",
        }
    }

    /// Whether a scenario may accept it: what was proven stands, with a reservation that somebody can own.
    pub fn is_acceptable(self) -> bool {
        match self {
            Self::Corrected | Self::Simulated => true,
            Self::Passed | Self::Leftovers | Self::Unverified | Self::Failed => false,
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.word())
    }
}

impl std::str::FromStr for Verdict {
    type Err = UnknownVerdict;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|verdict| verdict.word() == word).ok_or_else(|| UnknownVerdict(word.to_owned()))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("unknown verdict `{0}` (one of PASSED, CORRECTED, SIMULATED, LEFTOVERS, UNVERIFIED, FAILED)")]
pub struct UnknownVerdict(String);

impl Phase {
    /// Every phase, in its order.
    pub const ALL: [Self; 8] = [
        Self::Provision,
        Self::Seed,
        Self::Backup,
        Self::Loss,
        Self::Restore,
        Self::Reconcile,
        Self::Verify,
        Self::Teardown,
    ];

    /// The word for it in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Provision => "provision",
            Self::Seed => "seed",
            Self::Backup => "backup",
            Self::Loss => "loss",
            Self::Restore => "restore",
            Self::Reconcile => "reconcile",
            Self::Verify => "verify",
            Self::Teardown => "teardown",
        }
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.word())
    }
}

impl DrillOutcome {
    /// The worst of its causes; PASSED only where nothing speaks against it and every proof a pass needs is there.
    pub fn verdict(&self) -> Verdict {
        worst(&self.causes())
    }

    /// The acceptance that covers this verdict on that day, if the scenario has one.
    pub fn acceptance(&self, verdict: Verdict, day: Date) -> Option<&Acceptance> {
        self.accept
            .iter()
            .find(|acceptance| verdict.is_acceptable() && acceptance.verdict == verdict && day <= acceptance.until)
    }

    /// The acceptances that this drill's causes make use of on that day, worst verdict first.
    pub fn acceptances_used(&self, day: Date) -> Vec<&Acceptance> {
        let verdicts: BTreeSet<Verdict> = self.causes().iter().map(|cause| cause.verdict).collect();
        verdicts.into_iter().rev().filter_map(|verdict| self.acceptance(verdict, day)).collect()
    }

    /// The worst verdict that is not accepted on that day: what the exit code is made of.
    pub fn verdict_after_acceptance(&self, day: Date) -> Verdict {
        let mut causes = self.causes();
        causes.retain(|cause| self.acceptance(cause.verdict, day).is_none());
        worst(&causes)
    }

    /// `taiga/default on local`.
    pub fn title(&self) -> String {
        format!("{}/{} on {}", self.scenario, self.variant, self.environment)
    }
}

impl Outcome {
    /// Worst of all drills. No drill at all, or a usage problem, is at best UNVERIFIED.
    pub fn verdict(&self) -> Verdict {
        let drills = self.drills.iter().map(DrillOutcome::verdict).max();
        match drills {
            Some(verdict) if self.usage.is_empty() => verdict,
            Some(verdict) => verdict.max(Verdict::Unverified),
            None => Verdict::Unverified,
        }
    }

    /// The day in UTC on which the run ended: acceptances are judged by it, so that reports written later agree.
    pub fn day(&self) -> Date {
        self.finished.to_zoned(TimeZone::UTC).date()
    }

    /// Usage problems and an empty selection first, then the worst verdict that no scenario accepts.
    pub fn exit_code(&self) -> ExitCode {
        let day = self.day();
        let worst = self.drills.iter().map(|drill| drill.verdict_after_acceptance(day)).max();
        match worst {
            Some(verdict) if self.usage.is_empty() => verdict.into(),
            Some(_) | None => ExitCode::Usage,
        }
    }
}

fn worst(causes: &[Cause]) -> Verdict {
    causes.iter().map(|cause| cause.verdict).max().unwrap_or(Verdict::Passed)
}
