//! The scenario as it is: what a good run of both drills must show.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use redrill::outcome::{
    CheckKind, CheckResult, DrillOutcome, Expectation, ObjectiveKind, Observation, Phase, PhaseResult, ProgramLabel,
    StepResult, TextLabel, Verdict,
};
use redrill::runbook::Runbook;
use serde_json::Value;

use crate::playground::{Playground, RUNBOOK};
use crate::run::Run;

/// Two runs with the same seed, side by side; one has its drills one after the other, the other both at once.
static TWINS: LazyLock<[Run; 2]> = LazyLock::new(|| {
    let both = |jobs| Playground::new().run(&["--rng", "7", "--jobs", jobs]);
    thread::scope(|scope| {
        let twin = scope.spawn(move || both("2"));
        [both("1"), twin.join().expect("the second run")]
    })
});

fn drills() -> [&'static DrillOutcome; 2] {
    [TWINS[0].drill("manual"), TWINS[0].drill("scheduled")]
}

#[test]
fn both_drills_are_corrected_and_nothing_worse() {
    let run = &TWINS[0];
    assert_eq!(run.exit, 3, "{}", run.stderr);
    for drill in drills() {
        assert_eq!(drill.verdict(), Verdict::Corrected, "{:#?}", drill.causes());
        assert!(drill.causes().iter().all(|cause| cause.verdict == Verdict::Corrected));
        let phases: Vec<Phase> = drill.phases.iter().map(|phase| phase.phase).collect();
        assert_eq!(phases, Phase::ALL);
        assert!(drill.phases.iter().all(|phase| phase.result == PhaseResult::Completed));
        assert_eq!((&drill.uncovered[..], &drill.waived[..], &drill.leftovers[..]), (&[][..], &[][..], &[][..]));
    }
}

/// Where a step stands, what ran, as which text, in which program.
type Row = (usize, &'static str, TextLabel, ProgramLabel);

const OUT: [(&str, &str); 2] = [
    ("kubectl -n taiga scale deployment taiga-gateway-deployment --replicas=0", "gateway out"),
    ("kubectl -n taiga scale deployment taiga-front-deployment --replicas=0", "front out"),
];

fn restore() -> Vec<Row> {
    use ProgramLabel::{Real, Rewritten};
    use TextLabel::{Corrected, Verbatim};
    vec![
        (27, OUT[0].0, Verbatim, Real),
        (28, OUT[1].0, Verbatim, Real),
        (30, "kubectl -n taiga scale deployment taiga-back-deployment --replicas=0", Corrected, Real),
        (30, "kubectl -n taiga scale deployment backup-restore --replicas=1", Verbatim, Real),
        (32, "printf \"CREATE ROLE taiga_readonly LOGIN", Corrected, Real),
        (32, "kubectl -n taiga exec -it deploy/backup-restore -- restore.bb", Corrected, Rewritten),
        (34, "kubectl -n taiga scale deployment backup-restore --replicas=0", Verbatim, Real),
        (36, "kubectl -n taiga scale deployment taiga-back-deployment --replicas=1", Corrected, Real),
        (36, "kubectl -n taiga scale deployment taiga-gateway-deployment --replicas=1", Verbatim, Real),
        (37, "kubectl -n taiga scale deployment taiga-front-deployment --replicas=1", Verbatim, Real),
    ]
}

fn manual() -> Vec<Row> {
    use ProgramLabel::{Real, Rewritten};
    use TextLabel::{Corrected, Verbatim};
    let backup = [
        (12, OUT[0].0, Verbatim, Real),
        (13, OUT[1].0, Verbatim, Real),
        (15, "kubectl -n taiga scale deployment backup-restore --replicas=1", Verbatim, Real),
        (17, "kubectl -n taiga exec -it deploy/backup-restore -- backup.bb", Corrected, Rewritten),
        (19, "kubectl -n taiga scale deployment backup-restore --replicas=0", Verbatim, Real),
        (21, "kubectl -n taiga scale deployment taiga-gateway-deployment --replicas=1", Verbatim, Real),
        (22, "kubectl -n taiga scale deployment taiga-front-deployment --replicas=1", Verbatim, Real),
    ];
    let reconcile = [
        (43, "kubectl -n taiga get deployment backup-restore -o json", Corrected, Real),
        (56, "kubectl -n taiga patch secret backup-secret --type merge --patch-file", Corrected, Real),
        (64, "kubectl -n taiga scale deployment backup-restore --replicas=1", Verbatim, Real),
        (66, "kubectl -n taiga exec -it deploy/backup-restore -- change-password.bb", Corrected, Rewritten),
        (68, "kubectl -n taiga scale deployment backup-restore --replicas=0", Verbatim, Real),
        (71, "kubectl -n taiga patch secret backup-secret --type merge --patch-file", Corrected, Real),
    ];
    [backup.to_vec(), restore(), reconcile.to_vec()].concat()
}

fn assert_steps(drill: &DrillOutcome, file: &str, expected: &[Row]) {
    let steps: Vec<_> = drill.steps.iter().filter(|step| step.source.file.ends_with(file)).collect();
    assert_eq!(steps.len(), expected.len(), "{:#?}", drill.steps);
    for (step, &(line, command, text, program)) in steps.iter().zip(expected) {
        assert_eq!((step.source.line, step.text, step.program), (line, text, program), "{}", step.command);
        assert!(step.command.starts_with(command), "line {line} ran {}", step.command);
    }
}

#[test]
fn every_command_of_the_page_ran_once_in_its_order_and_says_as_what() {
    let [by_hand, scheduled] = drills();
    assert_steps(by_hand, "runbook.md", &manual());
    assert_steps(scheduled, "runbook.md", &restore());
    assert_eq!(scheduled.steps.len(), restore().len() + 1);
    let cron_job = &scheduled.steps[0];
    assert_eq!(cron_job.command, "cron job taiga/taiga-backup, one run");
    assert_eq!((cron_job.phase, cron_job.program), (Phase::Backup, ProgramLabel::Rewritten));
    for step in by_hand.steps.iter().chain(&scheduled.steps) {
        assert_eq!(step.result, StepResult::Succeeded, "{}", step.command);
        assert!(!step.duration.is_zero(), "{} took no time", step.command);
        assert!(step.log.is_some(), "{} has no log", step.command);
    }
    // The page itself is the model of what had to run.
    let runbook = Runbook::read(&Playground::new().path().join(RUNBOOK)).unwrap();
    for step in runbook.procedures.iter().flat_map(|procedure| &procedure.steps) {
        assert!(
            by_hand.steps.iter().any(|ran| ran.source.line == step.source.line),
            "line {} did not run",
            step.source
        );
    }
}

#[test]
fn every_check_held() {
    let expected = [
        ("nothing inside reaches outside", CheckKind::Isolation, Phase::Provision),
        ("loss of database taiga", CheckKind::Loss, Phase::Loss),
        ("loss of files media", CheckKind::Loss, Phase::Loss),
        ("first write after the restore", CheckKind::Other, Phase::Restore),
        ("content of database taiga", CheckKind::Content, Phase::Verify),
        ("content of files media", CheckKind::Content, Phase::Verify),
        ("point in time", CheckKind::PointInTime, Phase::Verify),
        ("ledger is a gap-free prefix", CheckKind::PointInTime, Phase::Verify),
        ("every workload serves again", CheckKind::Other, Phase::Verify),
        ("a restart loses nothing", CheckKind::Other, Phase::Verify),
    ];
    for drill in drills() {
        let found: Vec<_> = drill.checks.iter().map(|check| (check.name.as_str(), check.kind, check.phase)).collect();
        assert_eq!(found, expected);
        for check in &drill.checks {
            assert_eq!(check.result, CheckResult::Held, "{}", check.name);
        }
    }
}

#[test]
fn every_login_is_as_expected_after_a_random_password_was_refused() {
    use Expectation::{Accepted, Refused};
    let at = |drill: &DrillOutcome| -> BTreeMap<(String, String), Expectation> {
        let key = |login: &redrill::outcome::CredentialOutcome| (login.principal.clone(), login.checkpoint.clone());
        drill.credentials.iter().map(|login| (key(login), login.expected)).collect()
    };
    let [by_hand, scheduled] = drills().map(at);
    let mut expected = BTreeMap::new();
    let mut expect = |principal: &str, checkpoints: &[(&str, Expectation)]| {
        for &(checkpoint, expectation) in checkpoints {
            expected.insert((principal.to_owned(), checkpoint.to_owned()), expectation);
        }
    };
    for principal in ["application user", "second role"] {
        expect(principal, &[("backed-up", Accepted), ("restored", Accepted)]);
    }
    for repository in ["files", "pg-database"] {
        let principal = format!("restic password in use, {repository}");
        expect(&principal, &[("backed-up", Accepted), ("lost", Accepted), ("restored", Accepted)]);
    }
    assert_eq!(scheduled, expected);
    let mut expect = |principal: &str, checkpoints: &[(&str, Expectation)]| {
        for &(checkpoint, expectation) in checkpoints {
            expected.insert((principal.to_owned(), checkpoint.to_owned()), expectation);
        }
    };
    for principal in ["application user", "second role"] {
        expect(principal, &[("reconciled", Accepted)]);
    }
    for repository in ["files", "pg-database"] {
        expect(&format!("restic password in use, {repository}"), &[("reconciled", Accepted)]);
        let before = format!("restic password before the change, {repository}");
        expect(&before, &[("restored", Accepted), ("reconciled", Refused)]);
        expect(&format!("new restic password, {repository}"), &[("restored", Refused), ("reconciled", Accepted)]);
    }
    assert_eq!(by_hand, expected);
    for login in drills().into_iter().flat_map(|drill| &drill.credentials) {
        assert!(login.random_refused, "{} at {}", login.principal, login.checkpoint);
        let agrees = match (&login.observed, login.expected) {
            (Observation::Accepted, expected) => expected == Accepted,
            (Observation::Refused { .. }, expected) => expected == Refused,
            (Observation::Unknown { .. }, _) => false,
        };
        assert!(agrees, "{} at {}: {:?}", login.principal, login.checkpoint, login.observed);
    }
}

#[test]
fn recovery_time_and_lost_writes_are_measured() {
    for drill in drills() {
        let kinds: Vec<ObjectiveKind> = drill.objectives.iter().map(|objective| objective.kind).collect();
        use ObjectiveKind::{RpoMeasured, RpoOneMissedRun, RpoWorstCase, Rto};
        assert_eq!(kinds, [Rto, RpoMeasured, RpoWorstCase, RpoOneMissedRun]);
        for objective in &drill.objectives {
            assert!(objective.measured.is_some_and(|measured| !measured.is_zero()), "{objective:?}");
            assert!(!objective.representative, "nothing is promised for this environment");
        }
        let [recovery, _, worst_case, one_missed] = [0, 1, 2, 3].map(|index| drill.objectives[index].measured.unwrap());
        let restore = drill.steps.iter().filter(|step| step.phase == Phase::Restore);
        assert!(
            recovery >= restore.map(|step| step.duration).sum::<Duration>(),
            "recovery cannot take less than its steps"
        );
        const DAY: Duration = Duration::from_secs(86_400);
        let backup = drill.steps.iter().filter(|step| step.phase == Phase::Backup);
        assert!(worst_case >= DAY + backup.map(|step| step.duration).sum::<Duration>());
        assert_eq!(one_missed, worst_case + DAY);
    }
}

#[test]
fn the_same_seed_gives_the_same_outcome() {
    let [one, other] = [&TWINS[0], &TWINS[1]].map(|run| {
        let text = run.placeless(&run.text("results.json"));
        let mut value: Value = serde_json::from_str(&text).unwrap();
        strip(&mut value);
        value
    });
    for (one, other) in
        one["outcome"]["drills"].as_array().unwrap().iter().zip(other["outcome"]["drills"].as_array().unwrap())
    {
        for (key, value) in one.as_object().unwrap() {
            assert_eq!(value, &other[key], "{key}");
        }
    }
    assert_eq!(one, other);
    assert_ne!(TWINS[0].outcome().run, TWINS[1].outcome().run);
}

/// Takes out what a run is allowed to have of its own: times, waits, the run's name, and counts that follow from times.
fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for key in ["run", "started", "finished", "duration", "measured", "waited"] {
                fields.remove(key);
            }
            for key in ["detail", "text"] {
                if let Some(Value::String(text)) = fields.get_mut(key)
                    && (text.contains("committed rows") || text.contains("duration of a backup"))
                {
                    text.retain(|c| !c.is_ascii_digit());
                }
            }
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
