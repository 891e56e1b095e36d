//! The words and rows that the console and the page share, so that both say the same.

use crate::outcome::cause::{Standing, first_line, human_duration};
use crate::outcome::*;
use serde::Serialize;

/// Whether a row is good: good ones are written in lower case, bad ones in capitals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tone {
    Good,
    /// Neither: not judged, not run, indicative.
    Dim,
    /// Holds with a reservation.
    Caution,
    Bad,
}

/// A result in one word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Word {
    pub text: &'static str,
    pub tone: Tone,
}

const fn word(text: &'static str, tone: Tone) -> Word {
    Word { text, tone }
}

/// One step as a row.
#[derive(Debug, Clone, Serialize)]
pub struct StepRow {
    pub result: Word,
    pub phase: &'static str,
    pub procedure: String,
    pub source: String,
    /// The source without its directories.
    pub place: String,
    pub command: String,
    /// The command's first line.
    pub short: String,
    pub text: Word,
    pub program: Word,
    pub duration: String,
    pub waited: Vec<WaitRow>,
    pub human: Option<String>,
    pub log: Option<String>,
    /// Why it did not succeed.
    pub reason: Option<String>,
    pub output_tail: Option<String>,
    /// What went wrong in it without showing in a status.
    pub hidden_failures: Vec<String>,
}

/// One thing that was waited for before a step.
#[derive(Debug, Clone, Serialize)]
pub struct WaitRow {
    pub took: String,
    pub condition: String,
}

/// One check as a row.
#[derive(Debug, Clone, Serialize)]
pub struct CheckRow {
    pub result: Word,
    pub phase: &'static str,
    pub name: String,
    pub detail: String,
    pub duration: String,
}

/// One principal's secret at every checkpoint, in the order of `checkpoints`; `None` where it was not tried.
#[derive(Debug, Clone, Serialize)]
pub struct CredentialRow {
    pub principal: String,
    pub kept_in: String,
    pub at: Vec<Option<Word>>,
}

/// Principals by checkpoint.
#[derive(Debug, Clone, Serialize)]
pub struct Credentials {
    pub checkpoints: Vec<String>,
    pub rows: Vec<CredentialRow>,
}

/// One objective as a row.
#[derive(Debug, Clone, Serialize)]
pub struct ObjectiveRow {
    pub result: Word,
    pub kind: &'static str,
    pub measured: String,
    pub promised: String,
    pub detail: String,
}

impl TextLabel {
    pub(crate) fn as_word(self) -> Word {
        match self {
            Self::Verbatim => word("verbatim", Tone::Good),
            Self::Corrected => word("CORRECTED", Tone::Caution),
            Self::Undocumented => word("UNDOCUMENTED", Tone::Caution),
            Self::Equivalent => word("equivalent", Tone::Dim),
            Self::Human => word("human", Tone::Dim),
        }
    }
}

impl ProgramLabel {
    pub(crate) fn as_word(self) -> Word {
        match self {
            Self::Real => word("real", Tone::Good),
            Self::Rewritten => word("rewritten", Tone::Dim),
            Self::Simulated => word("SIMULATED", Tone::Caution),
        }
    }
}

/// The verdict as a person reads it.
pub fn verdict_word(verdict: Verdict) -> Word {
    match verdict {
        Verdict::Passed => word("passed", Tone::Good),
        Verdict::Corrected => word("CORRECTED", Tone::Caution),
        Verdict::Simulated => word("SIMULATED", Tone::Caution),
        Verdict::Leftovers => word("LEFTOVERS", Tone::Bad),
        Verdict::Unverified => word("UNVERIFIED", Tone::Bad),
        Verdict::Failed => word("FAILED", Tone::Bad),
    }
}

/// How a step went.
pub fn step_row(step: &StepOutcome) -> StepRow {
    let (result, reason) = match &step.result {
        StepResult::Succeeded => (word("ok", Tone::Good), None),
        StepResult::Failed { reason, exit: Some(exit) } => {
            (word("FAILED", Tone::Bad), Some(format!("{reason} (exit {exit})")))
        }
        StepResult::Failed { reason, exit: None } => (word("FAILED", Tone::Bad), Some(reason.clone())),
        StepResult::Unverified { reason, remedy } if remedy.is_empty() => {
            (word("UNVERIFIED", Tone::Bad), Some(reason.clone()))
        }
        StepResult::Unverified { reason, remedy } => {
            (word("UNVERIFIED", Tone::Bad), Some(format!("{reason} ({remedy})")))
        }
        StepResult::NotRun { reason } => (word("not run", Tone::Dim), Some(reason.clone())),
        StepResult::Removed { erratum } => {
            (word("removed", Tone::Caution), Some(format!("erratum {erratum} takes it out")))
        }
    };
    StepRow {
        result,
        phase: step.phase.word(),
        procedure: step.procedure.clone(),
        source: step.source.to_string(),
        place: format!("{}:{}", step.source.file.rsplit('/').next().unwrap_or_default(), step.source.line),
        command: step.command.clone(),
        short: first_line(&step.command),
        text: step.text.as_word(),
        program: step.program.as_word(),
        duration: match step.result {
            StepResult::NotRun { .. } | StepResult::Removed { .. } => "-".to_owned(),
            StepResult::Succeeded | StepResult::Failed { .. } | StepResult::Unverified { .. } => {
                human_duration(step.duration)
            }
        },
        waited: step
            .waited
            .iter()
            .map(|waited| WaitRow { took: human_duration(waited.duration), condition: waited.condition.clone() })
            .collect(),
        human: step.human.as_ref().map(|human| format!("{} ({})", human_duration(human.duration), human.source)),
        log: step.log.clone(),
        reason,
        output_tail: step.output_tail.clone(),
        hidden_failures: step.hidden_failures.clone(),
    }
}

/// How a check went.
pub fn check_row(check: &CheckOutcome) -> CheckRow {
    let (result, detail) = match &check.result {
        CheckResult::Held => (word("ok", Tone::Good), check.detail.clone()),
        CheckResult::Differs { difference } => (word("DIFFERS", Tone::Bad), difference.clone()),
        CheckResult::NotRun { reason } => (word("NOT RUN", Tone::Bad), reason.clone()),
        CheckResult::Accepted { difference, by } => {
            (word("NOT ENFORCED", Tone::Bad), format!("{difference}; accepted {by}"))
        }
    };
    CheckRow {
        result,
        phase: check.phase.word(),
        name: check.name.clone(),
        detail,
        duration: human_duration(check.duration),
    }
}

/// What one login showed.
pub fn credential_word(login: &CredentialOutcome) -> Word {
    match (&login.observed, login.expected) {
        (Observation::Accepted, Expectation::Accepted) if login.random_refused => word("accepted", Tone::Good),
        (Observation::Accepted, Expectation::Accepted) => word("ACCEPTS ANY", Tone::Bad),
        (Observation::Accepted, Expectation::Refused) => word("STILL ACCEPTED", Tone::Bad),
        (Observation::Refused { .. }, Expectation::Refused) => word("refused", Tone::Good),
        (Observation::Refused { .. }, Expectation::Accepted) => word("REFUSED", Tone::Bad),
        (Observation::Unknown { .. }, _) => word("UNKNOWN", Tone::Bad),
    }
}

/// `taiga from secret taiga/postgres-secret[postgres-password] at after-restore`.
pub fn credential_title(login: &CredentialOutcome) -> String {
    format!("{} from {} at {}", login.principal, login.kept_in, login.checkpoint)
}

/// Principals and checkpoints in the order in which they first appear.
pub fn credentials(logins: &[CredentialOutcome]) -> Credentials {
    let mut checkpoints: Vec<String> = Vec::new();
    let mut rows: Vec<CredentialRow> = Vec::new();
    for login in logins {
        if !checkpoints.contains(&login.checkpoint) {
            checkpoints.push(login.checkpoint.clone());
        }
    }
    for login in logins {
        let column = checkpoints.iter().position(|checkpoint| *checkpoint == login.checkpoint);
        let same = |row: &&mut CredentialRow| row.principal == login.principal && row.kept_in == login.kept_in;
        let free = |row: &CredentialRow| column.is_some_and(|column| row.at[column].is_none());
        let row = match rows.iter_mut().find(|row| same(row) && free(row)) {
            Some(row) => row,
            None => {
                rows.push(CredentialRow {
                    principal: login.principal.clone(),
                    kept_in: login.kept_in.clone(),
                    at: vec![None; checkpoints.len()],
                });
                let last = rows.len() - 1;
                &mut rows[last]
            }
        };
        if let Some(column) = column {
            row.at[column] = Some(credential_word(login));
        }
    }
    Credentials { checkpoints, rows }
}

/// How an objective stands.
pub fn objective_row(objective: &ObjectiveOutcome) -> ObjectiveRow {
    let result = match objective.standing() {
        Standing::NoPromise => word("no promise", Tone::Dim),
        Standing::Kept if objective.representative => word("kept", Tone::Good),
        Standing::Kept | Standing::Indicative => word("indicative", Tone::Dim),
        Standing::Missed => word("MISSED", Tone::Bad),
        Standing::Unmeasured => word("UNMEASURED", Tone::Bad),
    };
    ObjectiveRow {
        result,
        kind: objective.kind.word(),
        measured: objective.measured.map_or_else(|| "-".to_owned(), human_duration),
        promised: objective.promised.map_or_else(|| "-".to_owned(), human_duration),
        detail: objective.detail.clone(),
    }
}

/// `RTO 4m10s, promised 10m00s, indicative: from proven loss to the first write`.
pub fn objective_title(objective: &ObjectiveOutcome) -> String {
    let row = objective_row(objective);
    format!("{} {}, promised {}, {}: {}", row.kind, row.measured, row.promised, row.result.text, row.detail)
}

/// As a metric's label has it.
pub fn objective_label(kind: ObjectiveKind) -> &'static str {
    match kind {
        ObjectiveKind::Rto => "rto",
        ObjectiveKind::RpoMeasured => "rpo-measured",
        ObjectiveKind::RpoWorstCase => "rpo-worst-case",
        ObjectiveKind::RpoOneMissedRun => "rpo-one-missed-run",
    }
}

/// One sentence on whether the page works as it stands.
pub fn as_written(drill: &DrillOutcome) -> String {
    match (drill.as_written, drill.errata.len()) {
        (true, 0) => "works as written: run without errata, see the verdict".to_owned(),
        (false, 0) => "works as written: no correction was needed".to_owned(),
        (_, 1) => "works as written: no; 1 correction".to_owned(),
        (_, count) => format!("works as written: no; {count} corrections"),
    }
}
