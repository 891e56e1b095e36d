//! Promises and what was measured: RTO and RPO.

use std::time::Duration;

use crate::outcome::cause::human_duration;
use crate::outcome::{ObjectiveKind, ObjectiveOutcome};
use crate::scenario::{BackupDuration, EnvironmentName, Scenario};

/// What a drill measured, as far as it got.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Measured {
    /// From proven loss to the first authenticated write after the last required step, waits included.
    pub recovery: Option<Duration>,
    /// Committed writes that did not come back, in time.
    pub lost: Option<Duration>,
    pub lost_rows: Option<u64>,
    /// Why neither says anything.
    pub left_out: Option<String>,
    /// How long the backup procedure took.
    pub backup: Option<Duration>,
    /// Declared human time until the system was in service again, apart from the measured.
    pub human: Duration,
    /// Of a system that ships its log, how that stood at the loss.
    pub shipped: Option<Shipped>,
}

/// How far a log was shipped when the loss struck.
#[derive(Debug, Clone, PartialEq)]
pub struct Shipped {
    /// Segments that were complete and not shipped.
    pub waiting: u64,
    /// Whether everything that had been committed was in segments that are shipped.
    pub drained: bool,
    /// After this long a segment is shipped that is not full; zero: never.
    pub timeout: Duration,
    /// From a segment's completion until it was shipped.
    pub shipping: Duration,
}

/// Every objective of the scenario, and the figures that no promise was made for.
pub fn outcomes(scenario: &Scenario, environment: EnvironmentName, measured: &Measured) -> Vec<ObjectiveOutcome> {
    let kinds =
        [ObjectiveKind::Rto, ObjectiveKind::RpoMeasured, ObjectiveKind::RpoWorstCase, ObjectiveKind::RpoOneMissedRun];
    kinds.into_iter().map(|kind| outcome(scenario, environment, measured, kind)).collect()
}

fn outcome(
    scenario: &Scenario,
    environment: EnvironmentName,
    measured: &Measured,
    kind: ObjectiveKind,
) -> ObjectiveOutcome {
    let promise = scenario.objectives.iter().find(|objective| objective.kind == kind);
    let (value, detail) = figure(scenario, measured, kind);
    ObjectiveOutcome {
        kind,
        measured: value,
        promised: promise.map(|objective| objective.promise),
        representative: promise.is_some_and(|objective| objective.representative.contains(&environment)),
        detail,
    }
}

fn figure(scenario: &Scenario, measured: &Measured, kind: ObjectiveKind) -> (Option<Duration>, String) {
    match kind {
        ObjectiveKind::Rto => {
            let human = match measured.human {
                Duration::ZERO => "no human time declared".to_owned(),
                human => format!("plus {} of declared human time", human_duration(human)),
            };
            let detail = format!("proven loss to first authenticated write; detection and decision not in it; {human}");
            (measured.recovery, detail)
        }
        ObjectiveKind::RpoMeasured => {
            let rows = measured.lost_rows.map(|rows| format!("{rows} committed rows lost"));
            let rows = rows.unwrap_or_else(|| measured.left_out.clone().unwrap_or_else(|| "not measured".to_owned()));
            let shipped = measured.shipped.as_ref().map(|shipped| match (shipped.drained, shipped.waiting) {
                (true, _) if measured.lost_rows.is_none_or(|rows| rows == 0) => {
                    "; the whole log was shipped at the loss".to_owned()
                }
                // It did not arrive, or not whole: what is known is what the server took for shipped.
                (true, _) => "; archive_command had reported the whole log as shipped at the loss".to_owned(),
                (false, 0) => "; the segment that was being written was not shipped at the loss".to_owned(),
                (false, waiting) => {
                    format!("; {waiting} segments and the one being written were not shipped at the loss")
                }
            });
            (measured.lost, rows + &shipped.unwrap_or_default())
        }
        ObjectiveKind::RpoWorstCase => match &measured.shipped {
            Some(shipped) => worst_case_of_a_log(shipped),
            None => worst_case(scenario, measured, 1),
        },
        ObjectiveKind::RpoOneMissedRun if measured.shipped.is_some() => {
            (None, "a log is shipped all the time, not in runs".to_owned())
        }
        ObjectiveKind::RpoOneMissedRun => worst_case(scenario, measured, 2),
    }
}

/// A loss just before a segment has arrived loses what was committed since the one before was completed.
fn worst_case_of_a_log(shipped: &Shipped) -> (Option<Duration>, String) {
    if shipped.timeout.is_zero() {
        return (None, "archive_timeout is 0: without bound, a segment is shipped only when it is full".to_owned());
    }
    let detail = format!("archive_timeout of {} + measured shipping of a segment", human_duration(shipped.timeout));
    (Some(shipped.timeout + shipped.shipping), detail)
}

/// A loss just before a backup ends loses the interval and the backup's own duration.
fn worst_case(scenario: &Scenario, measured: &Measured, intervals: u32) -> (Option<Duration>, String) {
    let Some(schedule) = &scenario.schedule else {
        return (None, "the scenario declares no schedule".to_owned());
    };
    let (duration, source) = match schedule.duration {
        BackupDuration::Measured => (measured.backup, "measured"),
        BackupDuration::Declared(duration) => (Some(duration), "declared"),
    };
    let detail =
        format!("{intervals} x interval of {} + {source} duration of a backup", human_duration(schedule.interval));
    (duration.map(|duration| schedule.interval * intervals + duration), detail)
}
