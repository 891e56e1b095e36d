//! `timings.json` and `timings.csv`: where the time went.

use serde::Serialize;

use super::ReportError;
use crate::outcome::{Outcome, Phase, StepOutcome, seconds};
use std::time::Duration;

#[derive(Serialize)]
struct Timings<'a> {
    run: &'a str,
    #[serde(rename = "total_seconds", with = "seconds")]
    total: Duration,
    drills: Vec<DrillTimings<'a>>,
}

#[derive(Serialize)]
struct DrillTimings<'a> {
    drill: String,
    phases: Vec<PhaseTiming>,
    steps: Vec<StepTiming<'a>>,
    checks: Vec<CheckTiming<'a>>,
}

#[derive(Serialize)]
struct PhaseTiming {
    phase: Phase,
    #[serde(rename = "seconds", with = "seconds")]
    duration: Duration,
}

#[derive(Serialize)]
struct StepTiming<'a> {
    phase: Phase,
    source: String,
    command: &'a str,
    /// The step itself.
    #[serde(rename = "seconds", with = "seconds")]
    duration: Duration,
    /// Before it, for what earlier steps touched; counted in the RTO.
    #[serde(rename = "waited_seconds", with = "seconds")]
    waited: Duration,
    waited_for: Vec<&'a str>,
    /// Declared, not measured.
    #[serde(rename = "human_seconds", with = "seconds")]
    human: Duration,
}

#[derive(Serialize)]
struct CheckTiming<'a> {
    phase: Phase,
    check: &'a str,
    #[serde(rename = "seconds", with = "seconds")]
    duration: Duration,
}

impl StepOutcome {
    /// How long was waited before it.
    pub fn waited_in_all(&self) -> Duration {
        self.waited.iter().map(|waited| waited.duration).sum()
    }

    /// Declared time of a person for it.
    pub fn human_in_all(&self) -> Duration {
        self.human.as_ref().map(|human| human.duration).unwrap_or_default()
    }
}

impl Outcome {
    /// From the start of the run to its end; zero if a clock was set back meanwhile.
    pub fn total(&self) -> Duration {
        Duration::try_from(self.finished.duration_since(self.started)).unwrap_or_default()
    }
}

fn timings(outcome: &Outcome) -> Timings<'_> {
    let of_drill = |drill: &'_ crate::outcome::DrillOutcome| drill.title();
    let drills = outcome.drills.iter().map(|drill| DrillTimings {
        drill: of_drill(drill),
        phases: drill.phases.iter().map(|phase| PhaseTiming { phase: phase.phase, duration: phase.duration }).collect(),
        steps: drill.steps.iter().map(step_timing).collect(),
        checks: drill
            .checks
            .iter()
            .map(|check| CheckTiming { phase: check.phase, check: &check.name, duration: check.duration })
            .collect(),
    });
    Timings { run: &outcome.run, total: outcome.total(), drills: drills.collect() }
}

fn step_timing(step: &StepOutcome) -> StepTiming<'_> {
    StepTiming {
        phase: step.phase,
        source: step.source.to_string(),
        command: &step.command,
        duration: step.duration,
        waited: step.waited_in_all(),
        waited_for: step.waited.iter().map(|waited| waited.condition.as_str()).collect(),
        human: step.human_in_all(),
    }
}

pub(super) fn json(outcome: &Outcome) -> Result<Vec<u8>, ReportError> {
    let mut bytes = serde_json::to_vec_pretty(&timings(outcome))
        .map_err(|source| ReportError::Json { name: "timings.json", source })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// One row for each phase, step and check; quoted as RFC 4180 says.
pub(super) fn csv(outcome: &Outcome) -> String {
    let mut text = String::from("drill,kind,phase,source,name,seconds,waited_seconds,waited_for,human_seconds\r\n");
    for drill in timings(outcome).drills {
        for phase in &drill.phases {
            push_row(
                &mut text,
                &[&drill.drill, "phase", phase.phase.word(), "", "", &exact(phase.duration), "", "", ""],
            );
        }
        for step in &drill.steps {
            let waited_for = step.waited_for.join("; ");
            push_row(
                &mut text,
                &[
                    &drill.drill,
                    "step",
                    step.phase.word(),
                    &step.source,
                    step.command,
                    &exact(step.duration),
                    &exact(step.waited),
                    &waited_for,
                    &exact(step.human),
                ],
            );
        }
        for check in &drill.checks {
            let row = [&drill.drill, "check", check.phase.word(), "", check.check, &exact(check.duration), "", "", ""];
            push_row(&mut text, &row);
        }
    }
    text
}

fn push_row(text: &mut String, cells: &[&str]) {
    let quoted: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
    text.push_str(&quoted.join(","));
    text.push_str("\r\n");
}

fn quoted(cell: &str) -> String {
    // A spreadsheet takes a cell that starts like this for a formula; commands come from documents of others.
    let formula = cell.starts_with(['=', '+', '-', '@', '\t']);
    let safe = if formula { format!("'{cell}") } else { cell.to_owned() };
    if safe.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", safe.replace('"', "\"\"")) } else { safe }
}

fn exact(duration: Duration) -> String {
    format!("{:.3}", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_with_a_separator_is_quoted_and_a_formula_is_not_one() {
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("say \"hi\", twice"), "\"say \"\"hi\"\", twice\"");
        assert_eq!(quoted("=HYPERLINK(1)"), "'=HYPERLINK(1)");
    }
}
