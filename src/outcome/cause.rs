//! Why a drill has the verdict it has: every report names these, and the verdict is the worst of them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::*;

/// One reason why a drill is not a plain pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    pub verdict: Verdict,
    pub subject: Subject,
    /// Where it stands in the team's files.
    pub source: Option<SourceRef>,
    pub text: String,
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{source}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// What a cause is about; an index counts into the list of the same name in the [`DrillOutcome`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Subject {
    Phase {
        phase: Phase,
    },
    Step {
        index: usize,
    },
    Check {
        index: usize,
    },
    Credential {
        index: usize,
    },
    Objective {
        index: usize,
    },
    Erratum {
        index: usize,
    },
    /// A command or a part of the system that nothing covers.
    Coverage,
    /// A stand-in for a part that matters.
    Simulation,
    Leftover,
    /// Evidence that a pass needs and this drill does not have.
    Evidence,
}

/// How an objective stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing was promised.
    NoPromise,
    Kept,
    Missed,
    /// Missed where it does not count: on an environment that the scenario does not call representative.
    Indicative,
    /// Promised and not measured.
    Unmeasured,
}

impl ObjectiveKind {
    /// The word for it in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Rto => "RTO",
            Self::RpoMeasured => "RPO, measured",
            Self::RpoWorstCase => "RPO, worst case",
            Self::RpoOneMissedRun => "RPO, one run missed",
        }
    }
}

impl ObjectiveOutcome {
    /// Judges the measured against the promised.
    pub fn standing(&self) -> Standing {
        match (self.promised, self.measured) {
            (None, _) => Standing::NoPromise,
            (Some(_), None) => Standing::Unmeasured,
            (Some(promised), Some(measured)) if measured <= promised => Standing::Kept,
            (Some(_), Some(_)) if self.representative => Standing::Missed,
            (Some(_), Some(_)) => Standing::Indicative,
        }
    }
}

impl DrillOutcome {
    /// Every reason why this is not a plain pass, worst first, else in the order of the lists. Empty means PASSED.
    pub fn causes(&self) -> Vec<Cause> {
        let mut causes = Vec::new();
        causes.extend(self.phase_causes());
        causes.extend(self.steps.iter().enumerate().filter_map(|(index, step)| step_cause(index, step)));
        causes.extend(self.steps_not_run());
        causes.extend(self.checks.iter().enumerate().filter_map(|(index, check)| check_cause(index, check)));
        causes.extend(self.credentials.iter().enumerate().filter_map(|(index, login)| credential_cause(index, login)));
        causes.extend(self.objectives.iter().enumerate().filter_map(|(index, goal)| objective_cause(index, goal)));
        causes.extend(self.missing_evidence());
        causes.extend(self.uncovered.iter().map(|note| note_cause(Verdict::Unverified, Subject::Coverage, note)));
        causes.extend(self.leftovers.iter().map(|left| Cause {
            verdict: Verdict::Leftovers,
            subject: Subject::Leftover,
            source: None,
            text: format!("teardown left {left} behind"),
        }));
        causes.extend(self.simulation_causes());
        causes.extend(self.correction_causes());
        // Stable: within one verdict the order above stays.
        causes.sort_by_key(|cause| std::cmp::Reverse(cause.verdict));
        causes
    }

    fn phase_causes(&self) -> Vec<Cause> {
        let mut causes = Vec::new();
        for outcome in self.phases.iter().filter(|outcome| !self.is_explained_by_a_step(outcome)) {
            let (verdict, text) = match &outcome.result {
                PhaseResult::Failed { reason } => (Verdict::Failed, format!("{} failed: {reason}", outcome.phase)),
                PhaseResult::Unverified { reason, remedy } => {
                    (Verdict::Unverified, with_remedy(format!("{}: {reason}", outcome.phase), remedy))
                }
                PhaseResult::Completed | PhaseResult::NotReached => continue,
            };
            causes.push(Cause { verdict, subject: Subject::Phase { phase: outcome.phase }, source: None, text });
        }
        causes.extend(self.phases_not_completed());
        causes
    }

    /// Whether the phase went no further because of a step of it, whose own cause says all there is to say.
    fn is_explained_by_a_step(&self, outcome: &PhaseOutcome) -> bool {
        self.steps.iter().filter(|step| step.phase == outcome.phase).any(|step| {
            matches!(
                (&outcome.result, &step.result),
                (PhaseResult::Failed { .. }, StepResult::Failed { .. })
                    | (PhaseResult::Unverified { .. }, StepResult::Unverified { .. })
            )
        })
    }

    /// One cause for all phases that were never reached, so that the reason for it is not buried under them.
    fn phases_not_completed(&self) -> Option<Cause> {
        let reached = |phase: Phase| {
            let mut of_phase = self.phases.iter().filter(|outcome| outcome.phase == phase).peekable();
            of_phase.peek().is_some() && of_phase.all(|outcome| outcome.result != PhaseResult::NotReached)
        };
        let missing: Vec<Phase> = self.aim.phases().filter(|phase| !reached(*phase)).collect();
        let first = *missing.first()?;
        let words: Vec<&str> = missing.iter().map(|phase| phase.word()).collect();
        Some(Cause {
            verdict: Verdict::Unverified,
            subject: Subject::Phase { phase: first },
            source: None,
            text: format!("not reached: {}", words.join(", ")),
        })
    }

    /// One cause for the steps of a phase that did not run: they follow from whatever stopped it.
    fn steps_not_run(&self) -> Vec<Cause> {
        let mut by_phase: BTreeMap<Phase, Vec<(usize, &StepOutcome, &str)>> = BTreeMap::new();
        for (index, step) in self.steps.iter().enumerate() {
            if let StepResult::NotRun { reason } = &step.result {
                by_phase.entry(step.phase).or_default().push((index, step, reason));
            }
        }
        by_phase
            .into_iter()
            .filter_map(|(phase, steps)| {
                let (index, step, reason) = *steps.first()?;
                let more = match steps.len() - 1 {
                    0 => String::new(),
                    more => format!(" (and {more} more of {phase})"),
                };
                Some(Cause {
                    verdict: Verdict::Unverified,
                    subject: Subject::Step { index },
                    source: Some(step.source.clone()),
                    text: format!("`{}` was not run: {reason}{more}", first_line(&step.command)),
                })
            })
            .collect()
    }

    /// PASSED is never the default: without these proofs nothing was shown, however little went wrong.
    fn missing_evidence(&self) -> Option<Cause> {
        let held = |kind: CheckKind, phases: &[Phase]| {
            self.checks
                .iter()
                .any(|check| check.kind == kind && phases.contains(&check.phase) && check.result == CheckResult::Held)
        };
        let is_open_in_writing = |check: &CheckOutcome| {
            check.kind == CheckKind::Isolation && matches!(check.result, CheckResult::Accepted { .. })
        };
        // What a person is said to have done is declared, not seen, so it proves no step.
        let ran = |phase: Phase| {
            let mut of_phase = self.steps.iter().filter(|step| step.phase == phase);
            of_phase.any(|step| step.text != TextLabel::Human && step.result == StepResult::Succeeded)
        };
        const AFTER: [Phase; 3] = [Phase::Restore, Phase::Reconcile, Phase::Verify];
        let proofs = match self.aim {
            Aim::Recovery => [
                (held(CheckKind::Loss, &[Phase::Loss]), "that the loss was real"),
                (ran(Phase::Restore), "a restore step that ran"),
                (held(CheckKind::Content, &AFTER), "that the content came back"),
                (held(CheckKind::PointInTime, &AFTER), "which moment's state came back"),
            ]
            .to_vec(),
            Aim::Maintenance => [
                (ran(Phase::Backup), "a step that ran"),
                (held(CheckKind::Content, &AFTER), "that the content is what it was"),
                (held(CheckKind::PointInTime, &AFTER), "that nothing that was committed is gone"),
            ]
            .to_vec(),
        };
        let mut missing: Vec<&str> = proofs.iter().filter(|(shown, _)| !shown).map(|(_, what)| *what).collect();
        if !held(CheckKind::Isolation, &Phase::ALL) && !self.checks.iter().any(is_open_in_writing) {
            missing.push("that nothing inside reached outside");
        }
        if missing.is_empty() {
            return None;
        }
        Some(Cause {
            verdict: Verdict::Unverified,
            subject: Subject::Evidence,
            source: None,
            text: format!("not shown: {}", missing.join(", ")),
        })
    }

    fn simulation_causes(&self) -> Vec<Cause> {
        let parts = self.simulated.iter().map(|note| note_cause(Verdict::Simulated, Subject::Simulation, note));
        let steps = self.steps.iter().enumerate().filter(|(_, step)| step.program == ProgramLabel::Simulated);
        parts
            .chain(steps.map(|(index, step)| Cause {
                verdict: Verdict::Simulated,
                subject: Subject::Step { index },
                source: Some(step.source.clone()),
                text: format!("`{}` ran on a stand-in", first_line(&step.command)),
            }))
            .collect()
    }

    fn correction_causes(&self) -> Vec<Cause> {
        let errata = self.errata.iter().enumerate().filter(|(_, erratum)| self.was_applied(erratum));
        let errata = errata.map(|(index, erratum)| Cause {
            verdict: Verdict::Corrected,
            subject: Subject::Erratum { index },
            source: Some(erratum.source.clone()),
            text: format!("erratum {}: {}", erratum.id, erratum.reason),
        });
        let undeclared = self.steps.iter().enumerate().filter_map(|(index, step)| {
            let how = match (&step.result, step.text) {
                (StepResult::Removed { .. }, _) => "was taken out",
                (_, TextLabel::Undocumented) => "is in no document",
                (_, TextLabel::Corrected) => "ran corrected",
                (_, TextLabel::Verbatim | TextLabel::Equivalent | TextLabel::Human) => return None,
            };
            let text = format!("`{}` {how}", first_line(&step.command));
            let source = Some(step.source.clone());
            let is_declared = self.errata.iter().any(|erratum| erratum.source == step.source);
            (!is_declared).then_some(Cause {
                verdict: Verdict::Corrected,
                subject: Subject::Step { index },
                source,
                text,
            })
        });
        errata.chain(undeclared).collect()
    }
}

impl DrillOutcome {
    /// Whether a correction was at work: a drill that ended before its step has not shown that it is needed. Of a drill that
    /// ran to its end every correction counts.
    fn was_applied(&self, erratum: &ErratumOutcome) -> bool {
        let ran = |step: &StepOutcome| !matches!(step.result, StepResult::NotRun { .. });
        self.steps.iter().any(|step| step.source == erratum.source && ran(step))
            || self.phases.iter().all(|phase| phase.result == PhaseResult::Completed)
    }
}

fn step_cause(index: usize, step: &StepOutcome) -> Option<Cause> {
    let command = first_line(&step.command);
    let (verdict, text) = match &step.result {
        StepResult::Succeeded | StepResult::NotRun { .. } | StepResult::Removed { .. } => return None,
        StepResult::Failed { reason, exit: Some(exit) } => {
            (Verdict::Failed, format!("`{command}` failed: {reason} (exit {exit})"))
        }
        StepResult::Failed { reason, exit: None } => (Verdict::Failed, format!("`{command}` failed: {reason}")),
        StepResult::Unverified { reason, remedy } => {
            (Verdict::Unverified, with_remedy(format!("`{command}` could not be judged: {reason}"), remedy))
        }
    };
    Some(Cause { verdict, subject: Subject::Step { index }, source: Some(step.source.clone()), text })
}

fn check_cause(index: usize, check: &CheckOutcome) -> Option<Cause> {
    let (verdict, text) = match &check.result {
        CheckResult::Held => return None,
        CheckResult::Accepted { .. } if check.kind == CheckKind::Isolation => return None,
        CheckResult::Accepted { difference, .. } => {
            (Verdict::Failed, format!("check `{}` differs, and nobody may accept that: {difference}", check.name))
        }
        CheckResult::Differs { difference } => {
            (Verdict::Failed, format!("check `{}` differs: {difference}", check.name))
        }
        CheckResult::NotRun { reason } => {
            (Verdict::Unverified, format!("check `{}` did not run: {reason}", check.name))
        }
    };
    Some(Cause { verdict, subject: Subject::Check { index }, source: None, text })
}

fn credential_cause(index: usize, login: &CredentialOutcome) -> Option<Cause> {
    let who = format!("{} ({}) at `{}`", login.principal, login.kept_in, login.checkpoint);
    let (verdict, text) = match (&login.observed, login.expected) {
        (Observation::Unknown { reason }, _) => (Verdict::Unverified, format!("{who} could not be tried: {reason}")),
        (Observation::Accepted, Expectation::Refused) => (Verdict::Failed, format!("{who} is still accepted")),
        (Observation::Refused { reason }, Expectation::Accepted) => {
            (Verdict::Failed, format!("{who} is refused: {reason}"))
        }
        (Observation::Accepted, Expectation::Accepted) if !login.random_refused => (
            Verdict::Unverified,
            format!("{who} is accepted, but no random password was refused before, so that proves nothing"),
        ),
        (Observation::Accepted, Expectation::Accepted) | (Observation::Refused { .. }, Expectation::Refused) => {
            return None;
        }
    };
    Some(Cause { verdict, subject: Subject::Credential { index }, source: None, text })
}

fn objective_cause(index: usize, objective: &ObjectiveOutcome) -> Option<Cause> {
    let verdict = match objective.standing() {
        Standing::NoPromise | Standing::Kept | Standing::Indicative => return None,
        Standing::Missed => Verdict::Failed,
        Standing::Unmeasured => Verdict::Unverified,
    };
    let measured = objective.measured.map_or_else(|| "could not be measured".to_owned(), human_duration);
    let promised = objective.promised.map_or_else(|| "nothing".to_owned(), human_duration);
    let text = format!("{}: {measured}, promised {promised} ({})", objective.kind.word(), objective.detail);
    Some(Cause { verdict, subject: Subject::Objective { index }, source: None, text })
}

fn note_cause(verdict: Verdict, subject: Subject, note: &Note) -> Cause {
    Cause { verdict, subject, source: note.source.clone(), text: format!("{}: {}", note.what, note.why) }
}

fn with_remedy(text: String, remedy: &str) -> String {
    if remedy.is_empty() { text } else { format!("{text} ({remedy})") }
}

/// The first line of a command that says something, comments left out, cut to what fits beside a line reference.
pub fn first_line(command: &str) -> String {
    const FITS: usize = 72;
    let mut trimmed = command.trim();
    while let Some((_, rest)) = trimmed.split_once('\n').filter(|(line, _)| line.starts_with('#')) {
        trimmed = rest.trim_start();
    }
    let line = trimmed.lines().next().unwrap_or_default().trim_end();
    if line.chars().count() > FITS {
        format!("{}…", line.chars().take(FITS - 1).collect::<String>())
    } else if line.len() < trimmed.len() {
        format!("{line} …")
    } else {
        line.to_owned()
    }
}

/// `0.4s`, `14m02s`, `1h02m00s`: three forms that a person reads at a glance.
pub fn human_duration(duration: Duration) -> String {
    // Rounded first, so that 59.96 s is `1m00s` and not `60.0s`.
    let tenths = (duration.as_millis() + 50) / 100;
    if tenths < 600 {
        return format!("{}.{}s", tenths / 10, tenths % 10);
    }
    let seconds = (duration.as_millis() + 500) / 1000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours == 0 { format!("{minutes}m{seconds:02}s") } else { format!("{hours}h{minutes:02}m{seconds:02}s") }
}
