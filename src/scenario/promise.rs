//! What a scenario promises and what it accepts.

use std::time::Duration;

use crate::outcome::{Acceptance, ObjectiveKind, SourceRef};

#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    pub interval: Duration,
    pub duration: BackupDuration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupDuration {
    /// As long as the drill's own backup took.
    Measured,
    Declared(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EnvironmentName {
    Local,
    Docker,
    Kind,
    Kube,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    pub kind: ObjectiveKind,
    pub promise: Duration,
    /// Where a missed promise is a failure; elsewhere it is printed as indicative.
    pub representative: Vec<EnvironmentName>,
    pub source: SourceRef,
}

/// In writing, that drills may run on a cluster that does not carry out the policy that closes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCluster {
    pub reason: String,
    pub owner: String,
    /// The last day.
    pub until: jiff::civil::Date,
}

impl OpenCluster {
    /// As reports say it.
    pub fn words(&self) -> String {
        format!("until {} by {}: {}", self.until, self.owner, self.reason)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct DrillAcceptance {
    /// Empty: all drills.
    pub drills: Vec<String>,
    pub acceptance: Acceptance,
    pub source: SourceRef,
}
