//! What `check`, `plan` and `list` say.

use std::fmt;

use super::Checked;
use crate::outcome::{Note, TextLabel};
use crate::plan::{Action, DrillPlan, Plan, PlannedStep};
use crate::scenario::{Chore, Part, Scenarios};

/// `check`: what is covered, waived and open, in lines.
impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let procedures = self.runbook.procedures.len();
        let steps: usize = self.runbook.procedures.iter().map(|procedure| procedure.steps.len()).sum();
        let Plan { scenario, drills, uncovered, waived, .. } = &self.plan;
        writeln!(
            f,
            "{scenario}: {} ({}, {}), {}",
            self.runbook.path.display(),
            count(procedures, "procedure"),
            count(steps, "step"),
            count(drills.len(), "drill")
        )?;
        if uncovered.is_empty() {
            writeln!(f, "ok         every step, Secret, claim, database and bucket is drilled or waived")?;
        }
        for note in waived {
            write_note(f, "waived", note)?;
        }
        for note in uncovered {
            write_note(f, "UNCOVERED", note)?;
        }
        Ok(())
    }
}

fn write_note(f: &mut fmt::Formatter<'_>, word: &str, note: &Note) -> fmt::Result {
    let at = note.source.as_ref().map(|source| format!("{source}: ")).unwrap_or_default();
    writeln!(f, "{word:<10} {at}{}: {}", note.what, note.why)
}

fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// `plan`: every step of every drill with its line and label, in the order in which they run.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for drill in &self.drills {
            writeln!(f, "{}/{}", self.scenario, drill.name)?;
            write!(f, "{drill}")?;
        }
        for note in &self.waived {
            write_note(f, "waived", note)?;
        }
        for note in &self.uncovered {
            write_note(f, "UNCOVERED", note)?;
        }
        Ok(())
    }
}

impl fmt::Display for DrillPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phases: [(&str, &[Chore], &[PlannedStep]); 4] = [
            ("earlier", &self.prepared, &self.earlier),
            ("backup", &[], &self.backup),
            ("restore", &self.since_backup, &self.restore),
            ("reconcile", &[], &self.reconcile),
        ];
        for (name, chores, steps) in phases {
            for chore in chores {
                let line = chore.run.lines().next().unwrap_or_default();
                writeln!(f, "  {:<9} {} {:<12} {line}", "before", chore.source, "no page's")?;
            }
            for step in steps {
                writeln!(f, "  {name:<9} {step}")?;
            }
        }
        for note in &self.provided {
            write_note(f, "  provided", note)?;
        }
        for erratum in &self.errata {
            let documented = erratum.documented.replace('\n', " ⏎ ");
            let correction = erratum.correction.replace('\n', " ⏎ ");
            writeln!(f, "  erratum {} {}: `{documented}` -> `{correction}`", erratum.id, erratum.source)?;
        }
        Ok(())
    }
}

impl fmt::Display for PlannedStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = match self.label {
            TextLabel::Verbatim => "verbatim",
            TextLabel::Corrected => "corrected",
            TextLabel::Undocumented => "undocumented",
            TextLabel::Equivalent => "equivalent",
            TextLabel::Human => "human",
        };
        write!(f, "{} {label:<12} {}", self.source, self.summary())?;
        match &self.action {
            Action::Compare { .. } => f.write_str("  (must hold what the page shows)")?,
            Action::Edit { .. } | Action::Editor { .. } => {
                f.write_str("  (a script does what is done in the editor)")?
            }
            Action::Removed { .. } => f.write_str("  (not run)")?,
            Action::Shell
            | Action::Apply { .. }
            | Action::CronJob { .. }
            | Action::BackupPlan { .. }
            | Action::Schedule { .. }
            | Action::Human => {}
        }
        if !self.errata.is_empty() {
            write!(f, "  [{}]", self.errata.join(", "))?;
        }
        Ok(())
    }
}

/// `list`: every scenario with its drills, and what each phase of them runs.
impl fmt::Display for Scenarios {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for scenario in self.scenarios.values() {
            for drill in &scenario.drills {
                writeln!(f, "{}/{}", scenario.name, drill.name)?;
                let phases = [
                    ("earlier", &drill.earlier),
                    ("backup", &drill.backup),
                    ("restore", &drill.restore),
                    ("reconcile", &drill.reconcile),
                ];
                for (phase, parts) in phases {
                    for part in parts {
                        writeln!(f, "  {phase:<9} {part}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Procedure { name, .. } => f.write_str(name),
            Self::CronJob { object, .. } => write!(f, "CronJob {object}"),
            Self::BackupPlan { name, .. } => write!(f, "BackupPlan {name}"),
            Self::Schedule { name, database, .. } => write!(f, "Schedule {name} of {database}"),
        }
    }
}
