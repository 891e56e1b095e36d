//! `metrics.prom`: OpenMetrics text, for a collector that watches when a restore was last proven.
//!
//! Format: <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use std::fmt::Write as _;

use super::table::objective_label;
use crate::outcome::{DrillOutcome, Outcome, Verdict};

/// One metric family with its samples: families stand together, as the format demands.
struct Family {
    name: &'static str,
    unit: Option<&'static str>,
    help: &'static str,
    samples: Vec<(String, f64)>,
}

impl Family {
    fn new(name: &'static str, unit: Option<&'static str>, help: &'static str) -> Self {
        Self { name, unit, help, samples: Vec::new() }
    }

    fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        self.samples.push((labels.join(","), value));
    }

    fn write(&self, text: &mut String) {
        if self.samples.is_empty() {
            return;
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# TYPE {} gauge", self.name);
        if let Some(unit) = self.unit {
            let _ = writeln!(text, "# UNIT {} {unit}", self.name);
        }
        let _ = writeln!(text, "# HELP {} {}", self.name, self.help);
        for (labels, value) in &self.samples {
            let _ = writeln!(text, "{}{{{labels}}} {value}", self.name);
        }
    }
}

pub(super) fn render(outcome: &Outcome) -> String {
    let mut run_verdict = Family::new("redrill_run_verdict", None, "1 for the verdict of the run, 0 for the others.");
    for verdict in Verdict::ALL {
        run_verdict.add(&[("verdict", verdict.word())], flag(verdict == outcome.verdict()));
    }
    let mut exit_code = Family::new("redrill_run_exit_code", None, "What the run exited with.");
    exit_code.add(&[("run", &outcome.run)], f64::from(outcome.exit_code().number()));
    let mut finished =
        Family::new("redrill_run_finished_timestamp_seconds", Some("seconds"), "When the run ended, Unix time.");
    finished.add(&[("run", &outcome.run)], outcome.finished.as_millisecond() as f64 / 1000.0);

    let mut verdict = Family::new("redrill_drill_verdict", None, "1 for the verdict of the drill, 0 for the others.");
    let mut phases = Family::new("redrill_phase_duration_seconds", Some("seconds"), "How long each phase took.");
    let mut measured = Family::new("redrill_objective_measured_seconds", Some("seconds"), "RTO and RPO as measured.");
    let mut promised = Family::new("redrill_objective_promised_seconds", Some("seconds"), "RTO and RPO as promised.");
    let mut errata = Family::new("redrill_errata", None, "Corrections that the document needed.");
    let mut causes = Family::new("redrill_causes", None, "Reasons why the drill is not a plain pass, by verdict.");
    for drill in &outcome.drills {
        let of_drill = labels(drill);
        for candidate in Verdict::ALL {
            verdict.add(&with(&of_drill, ("verdict", candidate.word())), flag(candidate == drill.verdict()));
            if candidate != Verdict::Passed {
                let count = drill.causes().iter().filter(|cause| cause.verdict == candidate).count();
                causes.add(&with(&of_drill, ("verdict", candidate.word())), count as f64);
            }
        }
        for phase in &drill.phases {
            phases.add(&with(&of_drill, ("phase", phase.phase.word())), phase.duration.as_secs_f64());
        }
        for objective in &drill.objectives {
            let of_objective = with(&of_drill, ("objective", objective_label(objective.kind)));
            if let Some(duration) = objective.measured {
                measured.add(&of_objective, duration.as_secs_f64());
            }
            if let Some(duration) = objective.promised {
                promised.add(&of_objective, duration.as_secs_f64());
            }
        }
        errata.add(&of_drill, drill.errata.len() as f64);
    }

    let mut text = String::new();
    for family in [run_verdict, exit_code, finished, verdict, causes, phases, measured, promised, errata] {
        family.write(&mut text);
    }
    text.push_str("# EOF\n");
    text
}

fn labels(drill: &DrillOutcome) -> Vec<(&'static str, &str)> {
    vec![("scenario", &drill.scenario), ("variant", &drill.variant), ("environment", &drill.environment)]
}

fn with<'a>(labels: &[(&'a str, &'a str)], one: (&'a str, &'a str)) -> Vec<(&'a str, &'a str)> {
    labels.iter().copied().chain([one]).collect()
}

fn flag(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
