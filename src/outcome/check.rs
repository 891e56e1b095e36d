//! What checks come to, and what each is evidence of.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Phase, seconds};

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
