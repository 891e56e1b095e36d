//! Hasura's page, from an old project's log into a new one: what it gets wrong, and that nothing else is wrong.

use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use redrill::outcome::{
    CheckKind, CheckResult, DrillOutcome, Expectation, ObjectiveKind, ObjectiveOutcome, Observation, Phase,
    PhaseResult, ProgramLabel, StepOutcome, StepResult, TextLabel, Verdict,
};

use crate::playground::Playground;
use crate::run::Run;

/// The drills that bring something back.
const RECOVERIES: [&str; 4] = ["data-gone", "backlog", "point-in-time", "cluster-gone"];

/// All five drills, in two runs side by side.
static RUNS: LazyLock<[Run; 2]> = LazyLock::new(|| {
    let run = |drills: &[&str]| {
        let arguments: Vec<&str> = drills.iter().flat_map(|drill| ["--drill", drill]).collect();
        Playground::of("hasura").run(&arguments)
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| run(&["point-in-time", "cluster-gone"]));
        [run(&["data-gone", "backlog", "stop"]), other.join().expect("the second run")]
    })
});

fn drill(variant: &str) -> &'static DrillOutcome {
    RUNS.iter().flat_map(|run| &run.outcome().drills).find(|drill| drill.variant == variant).expect(variant)
}

#[test]
fn every_recovery_is_corrected_and_giving_backups_up_passes() {
    for run in &*RUNS {
        assert_eq!(run.exit, 3, "{}", run.stderr);
    }
    for variant in RECOVERIES {
        let drill = drill(variant);
        assert_eq!(drill.verdict(), Verdict::Corrected, "{variant}: {:#?}", drill.causes());
        assert!(drill.causes().iter().all(|cause| cause.verdict == Verdict::Corrected));
        let phases: Vec<Phase> = drill.phases.iter().map(|phase| phase.phase).collect();
        assert_eq!(phases, Phase::ALL);
    }
    let stop = drill("stop");
    assert_eq!((stop.verdict(), stop.causes()), (Verdict::Passed, Vec::new()));
    assert!(stop.errata.is_empty(), "{:#?}", stop.errata);
    for drill in RUNS.iter().flat_map(|run| &run.outcome().drills) {
        assert!(drill.phases.iter().all(|phase| phase.result == PhaseResult::Completed));
        assert_eq!((&drill.uncovered[..], &drill.leftovers[..]), (&[][..], &[][..]));
    }
}

#[test]
fn each_recovery_has_its_own_corrections_and_no_others() {
    let ids = |variant: &str| -> Vec<(&str, usize)> {
        drill(variant).errata.iter().map(|erratum| (erratum.id.as_str(), erratum.source.line)).collect()
    };
    let [shown, again] = [("hasura-values-not-shown", 84), ("hasura-recovery-repeats-itself", 105)];
    assert_eq!(ids("data-gone"), [shown, again]);
    assert_eq!(ids("backlog"), [shown, again]);
    assert_eq!(ids("point-in-time"), [("hasura-no-procedure-for-a-moment", 50), shown, again]);
    let escrow = "hasura-passwords-in-escrow";
    assert_eq!(ids("cluster-gone"), [(escrow, 79), (escrow, 84), again]);
}

/// Line and label of every step.
fn rows(variant: &str) -> Vec<(usize, TextLabel)> {
    drill(variant).steps.iter().map(|step| (step.source.line, step.text)).collect()
}

#[test]
fn every_command_of_the_page_ran_once_in_its_order_and_says_as_what() {
    use TextLabel::{Corrected, Equivalent, Undocumented, Verbatim};
    let configured =
        [(11, Equivalent), (12, Equivalent), (13, Equivalent), (14, Equivalent), (15, Equivalent), (20, Verbatim)];
    let set_up = [(38, Equivalent), (39, Equivalent), (40, Equivalent), (41, Equivalent), (45, Equivalent)];
    let looked_up = |postgres, auth| [(74, Verbatim), (79, postgres), (84, auth), (89, Verbatim)];
    let put_in = [(94, Equivalent), (99, Equivalent), (105, Verbatim), (105, Corrected), (105, Corrected)];
    let recovery = |moment: &[(usize, TextLabel)], looked_up: [(usize, TextLabel); 4]| {
        [&configured[..], &set_up, moment, &[(50, Verbatim), (60, Verbatim)], &looked_up, &put_in].concat()
    };
    let page = recovery(&[], looked_up(Verbatim, Corrected));
    assert_eq!(rows("data-gone"), page);
    assert_eq!(rows("backlog"), page);
    assert_eq!(rows("point-in-time"), recovery(&[(50, Undocumented)], looked_up(Verbatim, Corrected)));
    assert_eq!(rows("cluster-gone"), recovery(&[], looked_up(Corrected, Corrected)));
    assert_eq!(rows("stop"), [&configured[..], &[(29, Verbatim)]].concat());
    for step in RUNS.iter().flat_map(|run| &run.outcome().drills).flat_map(|drill| &drill.steps) {
        assert_eq!(step.result, StepResult::Succeeded, "{}", step.command);
        let script = step.command.starts_with("./");
        assert_eq!(step.program == ProgramLabel::Rewritten, script, "{}", step.command);
    }
}

#[test]
fn the_moment_is_named_by_a_step_that_the_page_does_not_have() {
    let steps = &drill("point-in-time").steps;
    let told: Vec<&StepOutcome> = steps.iter().filter(|step| step.text == TextLabel::Undocumented).collect();
    let [step] = told[..] else { panic!("one: {told:#?}") };
    assert!(step.command.contains("recovery.target.time"), "{}", step.command);
    assert!(!step.command.contains("THE_MOMENT"), "{}", step.command);
    for variant in ["data-gone", "backlog", "cluster-gone", "stop"] {
        assert!(drill(variant).steps.iter().all(|step| step.text != TextLabel::Undocumented), "{variant}");
    }
}

#[test]
fn every_check_held() {
    let serving = |state: &str, checkpoint: &str, phase: Phase| {
        ["auth", "data"]
            .map(|name| (format!("new-project/hasura/{name} is {state} at {checkpoint}"), CheckKind::Agreement, phase))
    };
    let check = |name: &str, kind: CheckKind, phase: Phase| (name.to_owned(), kind, phase);
    let begin = [check("nothing inside reaches outside", CheckKind::Isolation, Phase::Provision)];
    let held = [
        check("content of database old", CheckKind::Content, Phase::Verify),
        check("point in time", CheckKind::PointInTime, Phase::Verify),
        check("ledger is a gap-free prefix", CheckKind::PointInTime, Phase::Verify),
        check("every workload serves again", CheckKind::Other, Phase::Verify),
    ];
    let recovery = |lost: &[_]| {
        [
            &begin[..],
            &serving("ready", "backed-up", Phase::Backup),
            lost,
            &[check("loss of database old", CheckKind::Loss, Phase::Loss)],
            &[check("the lost database itself came back", CheckKind::Other, Phase::Restore)],
            &serving("unready", "restored", Phase::Restore),
            &[check("first write after the restore", CheckKind::Other, Phase::Reconcile)],
            &serving("ready", "reconciled", Phase::Reconcile),
            &held,
            &[
                check("the log is shipped again", CheckKind::Other, Phase::Verify),
                check("a restart loses nothing", CheckKind::Other, Phase::Verify),
            ],
        ]
        .concat()
    };
    let stop = [
        &begin[..],
        &serving("ready", "backed-up", Phase::Backup),
        &held,
        &[check("nothing is shipped any more", CheckKind::Other, Phase::Verify)],
    ]
    .concat();
    for drill in RUNS.iter().flat_map(|run| &run.outcome().drills) {
        let found: Vec<_> = drill.checks.iter().map(|check| (check.name.clone(), check.kind, check.phase)).collect();
        let expected = match &*drill.variant {
            "stop" => stop.clone(),
            "cluster-gone" => recovery(&[check("loss of cluster old-project", CheckKind::Loss, Phase::Loss)]),
            _ => recovery(&[]),
        };
        assert_eq!(found, expected, "{}", drill.variant);
        for check in &drill.checks {
            assert_eq!(check.result, CheckResult::Held, "{} of {}", check.name, drill.variant);
        }
    }
}

#[test]
fn every_login_is_as_expected_after_a_random_password_was_refused() {
    use Expectation::{Accepted, Refused};
    let [mut backed_up, mut restored, mut reconciled] = [Vec::new(), Vec::new(), Vec::new()];
    for (principal, before, after, at_last) in [
        ("database administrator of the old project", Accepted, None, None),
        ("whoever knows the old project's password", Refused, Some(Accepted), Some(Accepted)),
        ("whoever knows the new project's own password", Accepted, Some(Refused), Some(Refused)),
        ("database administrator of the new project", Accepted, Some(Refused), Some(Accepted)),
        ("administrator of the new project", Accepted, None, Some(Accepted)),
        ("administrator of the old project, in the new one", Refused, None, Some(Accepted)),
    ] {
        backed_up.push((principal, "backed-up", before));
        restored.extend(after.map(|expected| (principal, "restored", expected)));
        reconciled.extend(at_last.map(|expected| (principal, "reconciled", expected)));
    }
    let recovery = [backed_up.clone(), restored, reconciled].concat();
    for drill in RUNS.iter().flat_map(|run| &run.outcome().drills) {
        let logins = &drill.credentials;
        let found: Vec<_> =
            logins.iter().map(|login| (&*login.principal, &*login.checkpoint, login.expected)).collect();
        assert_eq!(found, if drill.variant == "stop" { backed_up.clone() } else { recovery.clone() });
        for login in logins {
            assert!(login.random_refused, "{} at {}", login.principal, login.checkpoint);
            let agrees = match (&login.observed, login.expected) {
                (Observation::Accepted, expected) => expected == Accepted,
                (Observation::Refused { .. }, expected) => expected == Refused,
                (Observation::Unknown { .. }, _) => false,
            };
            assert!(agrees, "{} at {}: {:?}", login.principal, login.checkpoint, login.observed);
        }
    }
}

fn figure(variant: &str, kind: ObjectiveKind) -> &'static ObjectiveOutcome {
    drill(variant).objectives.iter().find(|objective| objective.kind == kind).expect(variant)
}

#[test]
fn recovery_time_and_lost_rows_are_measured() {
    for variant in RECOVERIES {
        let recovery = figure(variant, ObjectiveKind::Rto);
        let steps = drill(variant).steps.iter().filter(|step| matches!(step.phase, Phase::Restore | Phase::Reconcile));
        let steps: Duration = steps.map(|step| step.duration).sum();
        assert!(recovery.measured.is_some_and(|measured| measured >= steps), "{recovery:?}");
        assert!(recovery.detail.contains("plus 9m00s of declared human time"), "{}", recovery.detail);
        let worst = figure(variant, ObjectiveKind::RpoWorstCase);
        assert!(worst.measured.is_some_and(|measured| measured > Duration::from_secs(60)), "{worst:?}");
        assert!(worst.detail.starts_with("archive_timeout of 1m00s + measured shipping"), "{}", worst.detail);
        assert!(!recovery.representative && !worst.representative, "nothing is promised for this environment");
    }
    for variant in ["data-gone", "cluster-gone"] {
        let lost = figure(variant, ObjectiveKind::RpoMeasured);
        assert_eq!(lost.measured, Some(Duration::ZERO));
        assert_eq!(lost.detail, "0 committed rows lost; the whole log was shipped at the loss");
    }
    let lost = figure("backlog", ObjectiveKind::RpoMeasured);
    let rows: u64 = lost.detail.split(' ').next().unwrap().parse().expect(&lost.detail);
    assert!(rows > 0 && lost.measured.is_some_and(|measured| !measured.is_zero()), "{lost:?}");
    assert!(lost.detail.ends_with("the segment that was being written was not shipped at the loss"), "{lost:?}");
    let left_out = figure("point-in-time", ObjectiveKind::RpoMeasured);
    assert_eq!(left_out.measured, None);
    assert!(left_out.detail.contains("rows were committed after the moment, and left out on purpose"), "{left_out:?}");
    assert!(!left_out.detail.starts_with("0 "), "{left_out:?}");
    assert!(drill("stop").objectives.is_empty());
}

/// The drill broke at that line of the page, and this was said of it.
#[track_caller]
fn assert_broke_at(run: &Run, drill: &DrillOutcome, line: usize, answer: &str) {
    assert_eq!(drill.verdict(), Verdict::Failed, "{:#?}", drill.causes());
    let failed: Vec<_> = drill.steps.iter().filter(|step| matches!(step.result, StepResult::Failed { .. })).collect();
    let [step] = failed[..] else { panic!("one step fails: {:#?}", drill.causes()) };
    assert_eq!(step.source.line, line, "{}", step.command);
    let said = format!("{}\n{:?}", step.log.as_ref().map(|_| run.log(step)).unwrap_or_default(), step.result);
    assert!(said.contains(answer), "expected\n{answer}\nand it was\n{said}");
    let failed: Vec<_> = drill.causes().into_iter().filter(|cause| cause.verdict == Verdict::Failed).collect();
    assert_eq!(failed.len(), 1, "{failed:#?}");
}

/// A table without values was printed where they were to be looked up; it is missed when they are to be pasted.
#[track_caller]
fn assert_no_value_was_shown(run: &Run) {
    let drill = run.drill("data-gone");
    assert_broke_at(run, drill, 99, "runbook.md:84 printed has 0 places that fit for `KEPT_PROJECT_PASSWORD`");
    let shown = drill.steps.iter().find(|step| step.source.line == 84).expect("looked up");
    assert!(run.log(shown).contains("NAME   TYPE     DATA   AGE"), "{}", run.log(shown));
}

#[test]
fn as_written_the_page_stops_where_it_needs_what_it_did_not_show() {
    let drills = ["--as-written", "--drill", "data-gone", "--drill", "cluster-gone", "--drill", "stop"];
    let run = Playground::of("hasura").run(&drills);
    assert_eq!(run.exit, 1, "{}", run.stderr);
    assert_no_value_was_shown(&run);
    assert_broke_at(&run, run.drill("cluster-gone"), 79, "was refused - did you specify the right host or port?");
    assert_eq!(run.drill("stop").verdict(), Verdict::Passed, "{:#?}", run.drill("stop").causes());
}

fn without(id: &str, drill: &str) -> Run {
    let playground = Playground::of("hasura");
    playground.without_erratum(id);
    let run = playground.run(&["--drill", drill]);
    assert_eq!(run.exit, 1, "the drill holds without {id}: {}", run.stderr);
    run
}

#[test]
fn without_its_correction_no_value_is_shown() {
    assert_no_value_was_shown(&without("hasura-values-not-shown", "data-gone"));
}

#[test]
fn without_copies_of_the_secrets_a_cluster_that_is_gone_answers_nothing() {
    let run = without("hasura-passwords-in-escrow", "cluster-gone");
    assert_broke_at(&run, run.drill("cluster-gone"), 79, "was refused - did you specify the right host or port?");
}

#[test]
fn without_backups_for_the_new_project_a_restart_recovers_anew() {
    without("hasura-recovery-repeats-itself", "data-gone").assert_verdict(
        Verdict::Failed,
        &[
            "check `the log is shipped again` differs: archive_mode is off",
            "check `a restart loses nothing` differs: gone after a restart of the database's pod: the first write after the restore",
        ],
    );
}

#[test]
fn without_a_moment_recovery_goes_too_far() {
    let playground = Playground::of("hasura");
    playground.without_erratum("hasura-no-procedure-for-a-moment");
    playground.replace(
        "scenarios/hasura/scenario.yaml",
        "  - { place: THE_MOMENT, from: { recovery-target: time } }\n",
        "",
    );
    playground.run(&["--drill", "point-in-time"]).assert_verdict(
        Verdict::Failed,
        &["check `point in time` differs: the value written after the moment to recover to is there: recovery went too far"],
    );
}
