//! Outcomes to test with: one that deserves to pass, and ways to spoil it, each with the verdict it must lead to.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use redrill::outcome::*;

pub fn source(line: usize) -> SourceRef {
    SourceRef { file: "scenarios/taiga/runbook.md".to_owned(), line }
}

pub fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

pub fn step(phase: Phase, line: usize, command: &str) -> StepOutcome {
    StepOutcome {
        phase,
        procedure: if phase == Phase::Backup { "Manual backup" } else { "Manual restore" }.to_owned(),
        source: source(line),
        command: command.to_owned(),
        text: TextLabel::Verbatim,
        program: ProgramLabel::Real,
        result: StepResult::Succeeded,
        duration: seconds(0.31),
        waited: Vec::new(),
        human: None,
        log: Some(format!("logs/{line}.log")),
        output_tail: None,
        hidden_failures: Vec::new(),
    }
}

pub fn check(kind: CheckKind, phase: Phase, name: &str, detail: &str) -> CheckOutcome {
    CheckOutcome {
        name: name.to_owned(),
        kind,
        phase,
        result: CheckResult::Held,
        detail: detail.to_owned(),
        duration: seconds(0.84),
    }
}

pub fn login(principal: &str, kept_in: &str, checkpoint: &str, expected: Expectation) -> CredentialOutcome {
    let observed = match expected {
        Expectation::Accepted => Observation::Accepted,
        Expectation::Refused => Observation::Refused { reason: "wrong password".to_owned() },
    };
    CredentialOutcome {
        principal: principal.to_owned(),
        kept_in: kept_in.to_owned(),
        checkpoint: checkpoint.to_owned(),
        expected,
        observed,
        random_refused: true,
    }
}

pub fn objective(kind: ObjectiveKind, measured: f64, promised: Option<f64>) -> ObjectiveOutcome {
    ObjectiveOutcome {
        kind,
        measured: Some(seconds(measured)),
        promised: promised.map(seconds),
        representative: true,
        detail: "from proven loss to the first write that stayed".to_owned(),
    }
}

pub fn note(line: usize, what: &str) -> Note {
    Note { source: Some(source(line)), what: what.to_owned(), why: "nothing reaches the internet here".to_owned() }
}

pub fn erratum() -> ErratumOutcome {
    ErratumOutcome {
        id: "restore-pod-name".to_owned(),
        source: source(44),
        documented: "kubectl -n taiga exec -it backup-restore -- bash".to_owned(),
        correction: "kubectl -n taiga exec -it deploy/backup-restore -- bash".to_owned(),
        reason: "no pod has the bare name of its Deployment".to_owned(),
        answer: "Error from server (NotFound): pods \"backup-restore\" not found".to_owned(),
        versions: "kubectl 1.29 to 1.33".to_owned(),
    }
}

pub fn acceptance(verdict: Verdict) -> Acceptance {
    Acceptance {
        verdict,
        reason: "the page is being rewritten".to_owned(),
        owner: "platform".to_owned(),
        until: jiff::civil::date(2026, 12, 31),
    }
}

/// A drill that deserves to pass.
pub fn passing() -> DrillOutcome {
    let waited = Waited { condition: "deployment/taiga-back-deployment ready".to_owned(), duration: seconds(2.14) };
    let mut back_up = step(Phase::Restore, 61, "kubectl -n taiga scale deployment/taiga-back-deployment --replicas=1");
    back_up.waited = vec![waited];
    let mut restore = step(Phase::Restore, 52, "restore.bb");
    restore.program = ProgramLabel::Rewritten;
    let mut click = step(Phase::Reconcile, 66, "open the board and look at it");
    click.text = TextLabel::Equivalent;
    click.human = Some(HumanTime { duration: seconds(30.0), source: "runbook.md:66".to_owned() });
    let user = "secret taiga/postgres-secret[postgres-password]";
    let old = "secret taiga/backup-secret[restic-password]";
    DrillOutcome {
        scenario: "taiga".to_owned(),
        variant: "default".to_owned(),
        environment: "local".to_owned(),
        as_written: false,
        aim: redrill::outcome::Aim::Recovery,
        phases: Phase::ALL
            .into_iter()
            .zip([1.2, 3.0, 4.25, 0.5, 9.125, 0.3, 2.0, 0.4])
            .map(|(phase, took)| PhaseOutcome { phase, result: PhaseResult::Completed, duration: seconds(took) })
            .collect(),
        steps: vec![
            step(Phase::Backup, 12, "kubectl -n taiga exec deploy/backup-restore -- backup.bb"),
            restore,
            back_up,
            click,
        ],
        checks: vec![
            check(CheckKind::Isolation, Phase::Provision, "nothing inside reaches outside", "9 addresses tried"),
            check(CheckKind::Loss, Phase::Loss, "the loss took what was seeded", "database and claim are gone"),
            check(CheckKind::Content, Phase::Verify, "content of database taiga", "14 tables, 9 sequences, 2 roles"),
            check(CheckKind::Content, Phase::Verify, "content of /media", "212 files"),
            check(CheckKind::PointInTime, Phase::Verify, "point in time", "nonce `before` is there, `after` is not"),
        ],
        credentials: vec![
            login("postgres user taiga", user, "before backup", Expectation::Accepted),
            login("postgres user taiga", user, "after restore", Expectation::Accepted),
            login("restic files, old password", old, "before backup", Expectation::Accepted),
            login("restic files, old password", old, "after rotation", Expectation::Refused),
        ],
        objectives: vec![
            objective(ObjectiveKind::Rto, 8.4, Some(600.0)),
            objective(ObjectiveKind::RpoMeasured, 1.5, Some(86_400.0)),
            objective(ObjectiveKind::RpoWorstCase, 86_404.2, None),
        ],
        errata: Vec::new(),
        uncovered: Vec::new(),
        unkept: Vec::new(),
        left_out: vec![note(60, "erratum taiga-old (kubectl 1.20-1.29)")],
        waived: vec![note(80, "kubectl get pods")],
        provided: vec![note(30, "apt-get install restic")],
        prepared: Vec::new(),
        simulated: Vec::new(),
        leftovers: Vec::new(),
        digests: [("runbook".to_owned(), "af1349b9f5f9a1a6a0404dea36dcc949".to_owned())].into(),
        versions: [("kubectl".to_owned(), "1.32.4".to_owned()), ("postgresql".to_owned(), "15.14".to_owned())].into(),
        accept: Vec::new(),
    }
}

pub fn run(drills: Vec<DrillOutcome>) -> Outcome {
    let started: Timestamp = "2026-11-20T23:10:00Z".parse().expect("a timestamp");
    Outcome {
        run: "2026-11-20T23-10-00-taiga".to_owned(),
        started,
        finished: started + jiff::SignedDuration::from_millis(20_775),
        rng: 7,
        drills,
        usage: Vec::new(),
    }
}

/// One way to spoil a drill, with words to put into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoil {
    StepFailed,
    CheckDiffers,
    PhaseFailed,
    LoginRefused,
    OldPasswordAccepted,
    ObjectiveMissed,
    StepUnverified,
    StepNotRun,
    CheckNotRun,
    PhaseUnverified,
    PhaseNotReached,
    PhaseMissing,
    LoginUnknown,
    AnyPasswordAccepted,
    ObjectiveUnmeasured,
    Uncovered,
    NoLossProof,
    NoContentProof,
    NoIsolationProof,
    NoRestoreStep,
    RestoreOnlyDeclared,
    ContentOnlyBeforeLoss,
    Leftover,
    SimulatedPart,
    SimulatedProgram,
    Erratum,
    CorrectedWithoutErratum,
    Undocumented,
    Removed,
    /// These three change nothing about the verdict.
    IndicativeMiss,
    Waiver,
    RewrittenProgram,
}

impl Spoil {
    pub const ALL: [Self; 32] = [
        Self::StepFailed,
        Self::CheckDiffers,
        Self::PhaseFailed,
        Self::LoginRefused,
        Self::OldPasswordAccepted,
        Self::ObjectiveMissed,
        Self::StepUnverified,
        Self::StepNotRun,
        Self::CheckNotRun,
        Self::PhaseUnverified,
        Self::PhaseNotReached,
        Self::PhaseMissing,
        Self::LoginUnknown,
        Self::AnyPasswordAccepted,
        Self::ObjectiveUnmeasured,
        Self::Uncovered,
        Self::NoLossProof,
        Self::NoContentProof,
        Self::NoIsolationProof,
        Self::NoRestoreStep,
        Self::RestoreOnlyDeclared,
        Self::ContentOnlyBeforeLoss,
        Self::Leftover,
        Self::SimulatedPart,
        Self::SimulatedProgram,
        Self::Erratum,
        Self::CorrectedWithoutErratum,
        Self::Undocumented,
        Self::Removed,
        Self::IndicativeMiss,
        Self::Waiver,
        Self::RewrittenProgram,
    ];

    /// What a drill that is spoiled in this way, and no other, must come to.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::StepFailed
            | Self::CheckDiffers
            | Self::PhaseFailed
            | Self::LoginRefused
            | Self::OldPasswordAccepted
            | Self::ObjectiveMissed => Verdict::Failed,
            Self::StepUnverified
            | Self::StepNotRun
            | Self::CheckNotRun
            | Self::PhaseUnverified
            | Self::PhaseNotReached
            | Self::PhaseMissing
            | Self::LoginUnknown
            | Self::AnyPasswordAccepted
            | Self::ObjectiveUnmeasured
            | Self::Uncovered
            | Self::NoLossProof
            | Self::NoContentProof
            | Self::NoIsolationProof
            | Self::NoRestoreStep
            | Self::RestoreOnlyDeclared
            | Self::ContentOnlyBeforeLoss => Verdict::Unverified,
            Self::Leftover => Verdict::Leftovers,
            Self::SimulatedPart | Self::SimulatedProgram => Verdict::Simulated,
            Self::Erratum | Self::CorrectedWithoutErratum | Self::Undocumented | Self::Removed => Verdict::Corrected,
            Self::IndicativeMiss | Self::Waiver | Self::RewrittenProgram => Verdict::Passed,
        }
    }

    /// Does it. What it adds, no other way of spoiling takes away.
    pub fn apply(self, drill: &mut DrillOutcome, words: &str) {
        let reason = || words.to_owned();
        let restore = Phase::Restore;
        let result = |result: StepResult| StepOutcome { result, ..step(Phase::Restore, 90, words) };
        match self {
            Self::StepFailed => drill.steps.push(result(StepResult::Failed { reason: reason(), exit: Some(1) })),
            Self::StepUnverified => {
                drill.steps.push(result(StepResult::Unverified { reason: reason(), remedy: reason() }));
            }
            Self::StepNotRun => drill.steps.push(result(StepResult::NotRun { reason: reason() })),
            Self::SimulatedProgram => {
                let program = ProgramLabel::Simulated;
                drill.steps.push(StepOutcome { program, ..step(Phase::Backup, 91, words) });
            }
            Self::CorrectedWithoutErratum => {
                drill.steps.push(StepOutcome { text: TextLabel::Corrected, ..step(Phase::Backup, 92, words) });
            }
            Self::Undocumented => {
                drill.steps.push(StepOutcome { text: TextLabel::Undocumented, ..step(Phase::Backup, 97, words) });
            }
            Self::Removed => drill.steps.push(result(StepResult::Removed { erratum: reason() })),
            Self::RewrittenProgram => {
                drill.steps.push(StepOutcome { program: ProgramLabel::Rewritten, ..step(Phase::Backup, 93, words) });
            }
            Self::NoRestoreStep => {
                drill.steps.retain(|step| step.phase != restore || step.result != StepResult::Succeeded)
            }
            Self::RestoreOnlyDeclared => {
                for step in drill.steps.iter_mut().filter(|step| step.phase == restore) {
                    step.text = TextLabel::Human;
                }
            }
            Self::PhaseFailed => set_phase(drill, Phase::Restore, PhaseResult::Failed { reason: reason() }),
            Self::PhaseUnverified => {
                let result = PhaseResult::Unverified { reason: reason(), remedy: String::new() };
                set_phase(drill, Phase::Seed, result);
            }
            Self::PhaseNotReached => set_phase(drill, Phase::Teardown, PhaseResult::NotReached),
            Self::PhaseMissing => drill.phases.retain(|phase| phase.phase != Phase::Verify),
            Self::CheckDiffers
            | Self::CheckNotRun
            | Self::NoLossProof
            | Self::NoContentProof
            | Self::NoIsolationProof
            | Self::ContentOnlyBeforeLoss => self.apply_to_checks(&mut drill.checks, words),
            Self::LoginRefused | Self::OldPasswordAccepted | Self::LoginUnknown | Self::AnyPasswordAccepted => {
                drill.credentials.push(self.bad_login(words));
            }
            Self::ObjectiveMissed | Self::ObjectiveUnmeasured | Self::IndicativeMiss => {
                drill.objectives.push(self.bad_objective(words));
            }
            Self::Uncovered => drill.uncovered.push(note(94, words)),
            Self::Waiver => drill.waived.push(note(95, words)),
            Self::SimulatedPart => drill.simulated.push(note(96, words)),
            Self::Leftover => drill.leftovers.push(reason()),
            Self::Erratum => drill.errata.push(ErratumOutcome { reason: reason(), ..erratum() }),
        }
    }

    fn apply_to_checks(self, checks: &mut Vec<CheckOutcome>, words: &str) {
        let held = |check: &CheckOutcome, kind: CheckKind| check.kind == kind && check.result == CheckResult::Held;
        let content = check(CheckKind::Content, Phase::Verify, words, words);
        match self {
            Self::CheckDiffers => {
                checks.push(CheckOutcome { result: CheckResult::Differs { difference: words.to_owned() }, ..content });
            }
            Self::CheckNotRun => {
                checks.push(CheckOutcome { result: CheckResult::NotRun { reason: words.to_owned() }, ..content });
            }
            Self::NoLossProof => checks.retain(|check| !held(check, CheckKind::Loss)),
            Self::NoContentProof => checks.retain(|check| !held(check, CheckKind::Content)),
            Self::NoIsolationProof => checks.retain(|check| !held(check, CheckKind::Isolation)),
            Self::ContentOnlyBeforeLoss => {
                for check in checks.iter_mut().filter(|check| held(check, CheckKind::Content)) {
                    check.phase = Phase::Seed;
                }
            }
            other => unreachable!("{other:?} is not about checks"),
        }
    }

    fn bad_login(self, words: &str) -> CredentialOutcome {
        let reason = || words.to_owned();
        let accepted = || login(words, "secret a/b[c]", "after restore", Expectation::Accepted);
        match self {
            Self::LoginRefused => {
                CredentialOutcome { observed: Observation::Refused { reason: reason() }, ..accepted() }
            }
            Self::LoginUnknown => {
                CredentialOutcome { observed: Observation::Unknown { reason: reason() }, ..accepted() }
            }
            Self::AnyPasswordAccepted => CredentialOutcome { random_refused: false, ..accepted() },
            Self::OldPasswordAccepted => CredentialOutcome { expected: Expectation::Refused, ..accepted() },
            other => unreachable!("{other:?} is not about credentials"),
        }
    }

    fn bad_objective(self, words: &str) -> ObjectiveOutcome {
        let detail = words.to_owned();
        let missed = ObjectiveOutcome { detail, ..objective(ObjectiveKind::Rto, 700.0, Some(600.0)) };
        match self {
            Self::ObjectiveMissed => missed,
            Self::ObjectiveUnmeasured => ObjectiveOutcome { measured: None, representative: false, ..missed },
            Self::IndicativeMiss => ObjectiveOutcome { representative: false, ..missed },
            other => unreachable!("{other:?} is not about objectives"),
        }
    }
}

fn set_phase(drill: &mut DrillOutcome, phase: Phase, result: PhaseResult) {
    for outcome in drill.phases.iter_mut().filter(|outcome| outcome.phase == phase) {
        outcome.result = result.clone();
    }
}

/// Words as programs print them, control characters and half-open markup included.
pub fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-z ]{1,40}",
        Just("]]><script>&amp;\u{0}\u{1b}[31m\r\n\"'{{ 7 * 7 }}".to_owned()),
        Just(String::new()),
    ]
}

pub fn spoils() -> impl Strategy<Value = Vec<(Spoil, String)>> {
    // Mild ones as often as grave ones, or nearly every generated run would be FAILED.
    let mild: Vec<Spoil> = Spoil::ALL.into_iter().filter(|spoil| spoil.verdict() < Verdict::Unverified).collect();
    let spoil = prop_oneof![4 => prop::sample::select(mild), 1 => prop::sample::select(Spoil::ALL.to_vec())];
    prop::collection::vec((spoil, words()), 0..4)
}

pub fn spoiled(spoils: &[(Spoil, String)]) -> DrillOutcome {
    let mut drill = passing();
    for (spoil, words) in spoils {
        spoil.apply(&mut drill, words);
    }
    drill
}

pub fn any_drill() -> impl Strategy<Value = DrillOutcome> {
    (spoils(), prop::sample::subsequence(Verdict::ALL.to_vec(), 0..=6), any::<bool>()).prop_map(
        |(spoils, accepted, expired)| {
            let mut drill = spoiled(&spoils);
            drill.accept = accepted.into_iter().map(acceptance).collect();
            if expired {
                drill.accept.iter_mut().for_each(|accept| accept.until = jiff::civil::date(2026, 11, 19));
            }
            drill
        },
    )
}

pub fn any_run() -> impl Strategy<Value = Outcome> {
    let usage = prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec(words(), 1..3)];
    (prop::collection::vec(any_drill(), 0..4), usage, any::<u64>()).prop_map(|(drills, usage, rng)| Outcome {
        usage,
        rng,
        ..run(drills)
    })
}
