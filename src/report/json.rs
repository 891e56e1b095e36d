//! `results.json`: the whole outcome with the verdict, the exit code and the causes beside it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ReportError;
use crate::outcome::cause::Cause;
use crate::outcome::{Acceptance, DrillOutcome, Outcome, Verdict};

pub const RESULTS_FILE: &str = "results.json";
pub const SCHEMA_FILE: &str = "results.schema.json";

/// Raised whenever a reader of the old form would misread the new one; new fields alone do not.
pub const FORMAT: u32 = 1;

/// `results.json` of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "redrill results")]
pub struct Results {
    /// Version of this form.
    pub format: u32,
    /// The worst of all drills; UNVERIFIED where none could start.
    pub verdict: Verdict,
    /// What the process exits with.
    pub exit_code: u8,
    pub summaries: Vec<Summary>,
    /// What was seen, from which everything above follows.
    pub outcome: Outcome,
}

/// One drill in short, in the order of `outcome.drills`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    pub scenario: String,
    pub variant: String,
    pub environment: String,
    pub verdict: Verdict,
    pub exit_code: u8,
    /// Why it is not a plain pass, worst first.
    pub causes: Vec<Cause>,
    /// What of that the scenario accepts today.
    pub accepted: Vec<Acceptance>,
}

impl Results {
    pub fn new(outcome: &Outcome) -> Self {
        let day = outcome.day();
        let summary = |drill: &DrillOutcome| Summary {
            scenario: drill.scenario.clone(),
            variant: drill.variant.clone(),
            environment: drill.environment.clone(),
            verdict: drill.verdict(),
            exit_code: crate::exit_code::ExitCode::from(drill.verdict_after_acceptance(day)).number(),
            causes: drill.causes(),
            accepted: drill.acceptances_used(day).into_iter().cloned().collect(),
        };
        Self {
            format: FORMAT,
            verdict: outcome.verdict(),
            exit_code: outcome.exit_code().number(),
            summaries: outcome.drills.iter().map(summary).collect(),
            outcome: outcome.clone(),
        }
    }
}

pub(super) fn render(outcome: &Outcome) -> Result<Vec<u8>, ReportError> {
    let mut bytes = serde_json::to_vec_pretty(&Results::new(outcome))
        .map_err(|source| ReportError::Json { name: RESULTS_FILE, source })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The JSON Schema of `results.json`, as it lies beside every one of them.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Results);
    format!("{:#}\n", schema.as_value())
}
