//! What a run found out, as plain values: verdicts, no IO.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod cause;
mod doubt;
pub mod verdict;

/// What a drill proved, from best to worst: of several the greatest counts. See the table in README for the exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    Passed,
    Corrected,
    Simulated,
    Leftovers,
    Unverified,
    Failed,
}

/// Where something stands in a file of the team.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct SourceRef {
    pub file: String,
    /// From 1.
    pub line: usize,
}

impl std::fmt::Display for SourceRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// How the text that ran relates to the document's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TextLabel {
    Verbatim,
    Corrected,
    /// Is for something that the document promises and has no procedure for.
    Undocumented,
    /// Stands in for a click, an edit or a prompt.
    Equivalent,
    Human,
}

/// What the program that ran is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProgramLabel {
    Real,
    /// Our own program in place of one that the team has.
    Rewritten,
    Simulated,
}

/// The phases of a drill, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Provision,
    Seed,
    Backup,
    Loss,
    Restore,
    Reconcile,
    Verify,
    Teardown,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum PhaseResult {
    Completed,
    /// The procedure is at fault.
    Failed {
        reason: String,
    },
    /// Could not be found out: environment, tool, interruption.
    Unverified {
        reason: String,
        remedy: String,
    },
    NotReached,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseOutcome {
    pub phase: Phase,
    #[serde(flatten)]
    pub result: PhaseResult,
    #[schemars(with = "f64")]
    #[serde(with = "seconds")]
    pub duration: Duration,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum StepResult {
    Succeeded,
    Failed {
        reason: String,
        exit: Option<i32>,
    },
    /// The harness could not run it or lost sight of it.
    Unverified {
        reason: String,
        remedy: String,
    },
    NotRun {
        reason: String,
    },
    /// Not run on purpose: an erratum takes it out.
    Removed {
        erratum: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Waited {
    #[serde(rename = "for")]
    pub condition: String,
    #[schemars(with = "f64")]
    #[serde(with = "seconds")]
    pub duration: Duration,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepOutcome {
    pub phase: Phase,
    pub procedure: String,
    pub source: SourceRef,
    /// The text that ran, slots filled, secrets taken out.
    pub command: String,
    pub text: TextLabel,
    pub program: ProgramLabel,
    #[serde(flatten)]
    pub result: StepResult,
    #[schemars(with = "f64")]
    #[serde(with = "seconds")]
    pub duration: Duration,
    pub waited: Vec<Waited>,
    /// Declared time a person takes for it, with where the figure comes from.
    pub human: Option<HumanTime>,
    /// Relative to the run's directory.
    pub log: Option<String>,
    /// The last lines it printed, redacted; kept for failed steps.
    pub output_tail: Option<String>,
    /// What went wrong in it without showing in a status, each with its line: an error that psql printed and went on, a part
    /// of a pipeline. No verdict by itself: a person would not have been stopped by it either.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden_failures: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HumanTime {
    #[schemars(with = "f64")]
    #[serde(with = "seconds")]
    pub duration: Duration,
    pub source: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum CheckResult {
    Held,
    Differs {
        difference: String,
    },
    NotRun {
        reason: String,
    },
    /// It differs, and the scenario says in writing that it may: so it is with nothing but isolation.
    Accepted {
        difference: String,
        by: String,
    },
}

/// What a check is evidence of. A pass needs a held one of each of `Loss`, `Content`, `PointInTime` and `Isolation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CheckKind {
    /// The disaster took what it was said to take.
    Loss,
    /// What came back is what was there: fingerprints, schema, files.
    Content,
    /// The nonces and the ledger: which state came back.
    PointInTime,
    /// A Secret and the thing it opens agree.
    Agreement,
    /// Nothing inside reached outside.
    Isolation,
    Other,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckOutcome {
    pub name: String,
    pub kind: CheckKind,
    pub phase: Phase,
    #[serde(flatten)]
    pub result: CheckResult,
    /// What was compared: "12 tables, 3 sequences".
    pub detail: String,
    #[schemars(with = "f64")]
    #[serde(with = "seconds")]
    pub duration: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Expectation {
    Accepted,
    Refused,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "observed", rename_all = "snake_case")]
pub enum Observation {
    Accepted,
    Refused { reason: String },
    Unknown { reason: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CredentialOutcome {
    pub principal: String,
    /// Where its secret is kept: `secret taiga/postgres-secret[postgres-password]`.
    pub kept_in: String,
    pub checkpoint: String,
    pub expected: Expectation,
    #[serde(flatten)]
    pub observed: Observation,
    /// A random password was refused just before; without it an accepted login proves nothing.
    pub random_refused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectiveKind {
    Rto,
    /// Measured: seconds of committed writes that did not come back.
    RpoMeasured,
    /// From the schedule: interval + duration of a backup.
    RpoWorstCase,
    /// The same with one run missed.
    RpoOneMissedRun,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectiveOutcome {
    pub kind: ObjectiveKind,
    /// `None`: could not be measured, and `detail` says why.
    #[schemars(with = "Option<f64>")]
    #[serde(with = "optional_seconds")]
    pub measured: Option<Duration>,
    #[schemars(with = "Option<f64>")]
    #[serde(with = "optional_seconds")]
    pub promised: Option<Duration>,
    /// Only on a representative environment is a missed promise a failure; elsewhere indicative.
    pub representative: bool,
    pub detail: String,
}

/// A correction that was applied, as its scenario words it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErratumOutcome {
    pub id: String,
    pub source: SourceRef,
    pub documented: String,
    pub correction: String,
    pub reason: String,
    /// What the real program answered to the documented text.
    pub answer: String,
    pub versions: String,
}

/// A command or thing that stands outside the proof, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Note {
    pub source: Option<SourceRef>,
    pub what: String,
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Acceptance {
    pub verdict: Verdict,
    pub reason: String,
    pub owner: String,
    #[schemars(with = "String")]
    pub until: jiff::civil::Date,
}

/// What a drill sets out to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// What was lost comes back.
    #[default]
    Recovery,
    /// Procedures do what they say to a living system, and nothing else.
    Maintenance,
}

impl Aim {
    /// The phases that such a drill goes through.
    pub fn phases(self) -> impl Iterator<Item = Phase> {
        let is_gone_through = move |phase: &Phase| match phase {
            Phase::Loss | Phase::Restore | Phase::Reconcile => self == Self::Recovery,
            Phase::Provision | Phase::Seed | Phase::Backup | Phase::Verify | Phase::Teardown => true,
        };
        Phase::ALL.into_iter().filter(is_gone_through)
    }
}

/// One drill: a scenario's variant on one environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DrillOutcome {
    pub scenario: String,
    pub variant: String,
    pub environment: String,
    pub as_written: bool,
    #[serde(default)]
    pub aim: Aim,
    pub phases: Vec<PhaseOutcome>,
    pub steps: Vec<StepOutcome>,
    pub checks: Vec<CheckOutcome>,
    pub credentials: Vec<CredentialOutcome>,
    pub objectives: Vec<ObjectiveOutcome>,
    pub errata: Vec<ErratumOutcome>,
    /// Commands of a procedure that no drill runs and no waiver names; things of the system no procedure covers.
    pub uncovered: Vec<Note>,
    pub waived: Vec<Note>,
    pub provided: Vec<Note>,
    /// Commands of the scenario's own that brought the system into the state that the drill began from.
    #[serde(default)]
    pub prepared: Vec<Note>,
    /// Errata of other versions than the ones that ran: the page was followed as it stands there.
    #[serde(default)]
    pub left_out: Vec<Note>,
    /// Limits of memory and processor that the environment could not keep.
    #[serde(default)]
    pub unkept: Vec<Note>,
    /// Stand-ins for parts that matter; one is enough for SIMULATED.
    pub simulated: Vec<Note>,
    /// Anything that teardown left behind.
    pub leftovers: Vec<String>,
    /// blake3 of runbook, scenario, images, programs, redrill.
    pub digests: BTreeMap<String, String>,
    /// Versions as the programs printed them.
    pub versions: BTreeMap<String, String>,
    pub accept: Vec<Acceptance>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    pub run: String,
    #[schemars(with = "String")]
    pub started: Timestamp,
    #[schemars(with = "String")]
    pub finished: Timestamp,
    pub rng: u64,
    pub drills: Vec<DrillOutcome>,
    /// Problems that kept a drill from starting at all (usage): exit 64.
    pub usage: Vec<String>,
}

pub(crate) mod seconds {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64((value.as_secs_f64() * 1e6).round() / 1e6)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let value = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(value).map_err(serde::de::Error::custom)
    }
}

pub(crate) mod optional_seconds {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::seconds::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Option::<f64>::deserialize(deserializer)?
            .map(|value| Duration::try_from_secs_f64(value).map_err(serde::de::Error::custom))
            .transpose()
    }
}
