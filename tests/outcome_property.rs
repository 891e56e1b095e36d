//! One verdict: the outcome's rules, and every report agreeing on what they say.

use jiff::civil::date;
use proptest::prelude::*;
use quick_xml::events::Event;
use redrill::console::{Color, Look, Times, summary};
use redrill::exit_code::ExitCode;
use redrill::outcome::*;
use redrill::report;
use redrill::report::json::Results;

#[path = "samples/outcome.rs"]
mod sample;

use sample::{Spoil, acceptance, any_run, passing, run, spoiled, spoils, words};

#[test]
fn a_drill_with_every_proof_passes() {
    assert_eq!(passing().causes(), []);
    assert_eq!(passing().verdict(), Verdict::Passed);
    assert_eq!(run(vec![passing()]).exit_code(), ExitCode::Passed);
}

#[test]
fn each_way_to_spoil_a_drill_has_its_verdict_and_says_why() {
    for spoil in Spoil::ALL {
        let drill = spoiled(&[(spoil, "the words of it".to_owned())]);
        assert_eq!(drill.verdict(), spoil.verdict(), "{spoil:?}: {:#?}", drill.causes());
        assert_eq!(drill.causes().is_empty(), spoil.verdict() == Verdict::Passed, "{spoil:?}");
    }
}

#[test]
fn nothing_at_all_is_not_a_pass() {
    let mut drill = passing();
    drill.phases.clear();
    drill.steps.clear();
    drill.checks.clear();
    drill.credentials.clear();
    drill.objectives.clear();
    assert_eq!(drill.verdict(), Verdict::Unverified);
    assert_eq!(run(vec![]).verdict(), Verdict::Unverified);
    assert_eq!(run(vec![]).exit_code(), ExitCode::Usage);
}

#[test]
fn what_failed_without_an_environment_is_not_known_and_what_succeeded_stays() {
    let mut drill = passing();
    let step = drill.steps.iter().position(|step| step.phase == Phase::Restore).unwrap();
    drill.steps[step].result = StepResult::Failed { reason: "exit code 137".to_owned(), exit: Some(137) };
    let check = drill.checks.iter().position(|check| check.phase == Phase::Verify).unwrap();
    drill.checks[check].result = CheckResult::Differs { difference: "12 rows".to_owned() };
    assert_eq!(drill.verdict(), Verdict::Failed);
    drill.doubt(Phase::Restore, "the engine went", "start it");
    assert_eq!(drill.verdict(), Verdict::Failed, "another phase's stays");
    drill.doubt(Phase::Verify, "the engine went", "start it");
    assert_eq!(drill.verdict(), Verdict::Unverified);
    let causes = drill.causes().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    assert!(causes.contains("the engine went") && causes.contains("exit code 137"), "{causes}");
    let held = drill.checks.iter().filter(|check| check.result == CheckResult::Held).count();
    assert_eq!(held, passing().checks.len() - 1);
}

#[test]
fn only_an_open_cluster_can_be_accepted_and_no_other_difference() {
    let accepted = || CheckResult::Accepted { difference: "reached 10.0.0.1:80".to_owned(), by: "by us".to_owned() };
    for kind in [CheckKind::Loss, CheckKind::Content, CheckKind::PointInTime, CheckKind::Isolation] {
        let mut drill = passing();
        drill.checks.iter_mut().filter(|check| check.kind == kind).for_each(|check| check.result = accepted());
        let expected = if kind == CheckKind::Isolation { passing().verdict() } else { Verdict::Failed };
        assert_eq!(drill.verdict(), expected, "{kind:?}");
    }
}

#[test]
fn taking_any_proof_away_takes_the_pass_away() {
    let whole = passing();
    for index in 0..whole.phases.len() {
        let mut drill = whole.clone();
        drill.phases.remove(index);
        assert_eq!(drill.verdict(), Verdict::Unverified, "without {}", whole.phases[index].phase);
    }
    for kind in [CheckKind::Loss, CheckKind::Content, CheckKind::PointInTime, CheckKind::Isolation] {
        let mut drill = whole.clone();
        drill.checks.retain(|check| check.kind != kind);
        assert_eq!(drill.verdict(), Verdict::Unverified, "without {kind:?}");
    }
}

#[test]
fn an_acceptance_counts_up_to_its_last_day_and_the_verdict_is_still_said() {
    let mut drill = spoiled(&[(Spoil::Erratum, "x".to_owned())]);
    drill.accept = vec![acceptance(Verdict::Corrected)];
    assert_eq!(drill.verdict(), Verdict::Corrected);
    assert_eq!(drill.verdict_after_acceptance(date(2026, 12, 31)), Verdict::Passed);
    assert_eq!(drill.verdict_after_acceptance(date(2027, 1, 1)), Verdict::Corrected);
    let outcome = run(vec![drill]);
    assert_eq!((outcome.verdict(), outcome.exit_code()), (Verdict::Corrected, ExitCode::Passed));
}

#[test]
fn accepting_the_worse_reservation_does_not_accept_the_lesser() {
    let mut drill = spoiled(&[(Spoil::Erratum, "x".to_owned()), (Spoil::SimulatedPart, "y".to_owned())]);
    drill.accept = vec![acceptance(Verdict::Simulated)];
    let outcome = run(vec![drill]);
    assert_eq!((outcome.verdict(), outcome.exit_code()), (Verdict::Simulated, ExitCode::Corrected));
}

#[test]
fn nothing_but_corrected_and_simulated_can_be_accepted() {
    for spoil in [Spoil::StepFailed, Spoil::CheckNotRun, Spoil::Leftover] {
        let mut drill = spoiled(&[(spoil, "x".to_owned())]);
        drill.accept = Verdict::ALL.into_iter().map(acceptance).collect();
        assert_eq!(run(vec![drill]).exit_code(), spoil.verdict().into(), "{spoil:?}");
    }
}

#[test]
fn a_correction_whose_step_was_never_reached_has_corrected_nothing() {
    let mut drill = spoiled(&[(Spoil::Erratum, "x".to_owned()), (Spoil::PhaseNotReached, "y".to_owned())]);
    let corrected = |drill: &DrillOutcome| drill.causes().iter().any(|cause| cause.verdict == Verdict::Corrected);
    assert!(!corrected(&drill), "{:#?}", drill.causes());
    let line = drill.errata[0].source.line;
    drill.steps.push(StepOutcome {
        result: StepResult::NotRun { reason: "z".to_owned() },
        ..sample::step(Phase::Restore, line, "b")
    });
    assert!(!corrected(&drill), "{:#?}", drill.causes());
    drill.steps.push(sample::step(Phase::Restore, line, "a"));
    assert!(corrected(&drill), "{:#?}", drill.causes());
}

#[test]
fn a_failed_step_is_one_cause_and_makes_its_phase_red() {
    let drill = spoiled(&[(Spoil::StepFailed, "x".to_owned()), (Spoil::PhaseFailed, "y".to_owned())]);
    assert_eq!(drill.causes().len(), 1, "{:#?}", drill.causes());
    // The step, its phase and the verdict.
    assert_eq!(said(&run(vec![drill])).junit.red, ["FAILED"; 3]);
}

/// The words that each report gives for the verdict of a run, read back by a parser of its format.
struct Said {
    junit: Junit,
    results: Results,
    console: String,
    html: String,
    metrics: String,
}

/// What a reader of junit.xml sees.
#[derive(Debug, Default)]
struct Junit {
    run_verdicts: Vec<String>,
    exit_codes: Vec<String>,
    drill_verdicts: Vec<String>,
    /// Of failures and errors: what makes a build red.
    red: Vec<String>,
    skipped: Vec<String>,
    tests: usize,
    counted: [usize; 4],
}

fn said(outcome: &Outcome) -> Said {
    let reports = report::all(outcome).expect("reports");
    let text = |name: &str| {
        let (_, bytes) = reports.iter().find(|(found, _)| *found == name).expect("a report");
        String::from_utf8(bytes.clone()).expect("UTF-8")
    };
    let look = Look { width: 100, color: Color::Plain, times: Times::Hidden };
    Said {
        junit: read_junit(&text("junit.xml")),
        results: serde_json::from_str(&text("results.json")).expect("results.json"),
        console: summary(outcome, None, &look),
        html: text("index.html"),
        metrics: text("metrics.prom"),
    }
}

fn read_junit(xml: &str) -> Junit {
    let mut junit = Junit::default();
    let mut reader = quick_xml::Reader::from_str(xml);
    loop {
        let event = reader.read_event().expect("well-formed");
        let (Event::Start(element) | Event::Empty(element)) = event else {
            if matches!(event, Event::Eof) {
                return junit;
            }
            continue;
        };
        let attribute = |name: &str| {
            let found = element.try_get_attribute(name).expect("well-formed");
            found.map(|value| value.unescape_value().expect("well-formed").into_owned()).unwrap_or_default()
        };
        match element.name().as_ref() {
            b"testsuite" => {
                for (count, name) in junit.counted.iter_mut().zip(["tests", "failures", "errors", "skipped"]) {
                    *count += attribute(name).parse::<usize>().expect("a count");
                }
            }
            b"testcase" => junit.tests += 1,
            b"failure" | b"error" => junit.red.push(attribute("type")),
            b"skipped" => junit.skipped.push(attribute("type")),
            b"property" => match attribute("name").as_str() {
                "redrill.run.verdict" => junit.run_verdicts.push(attribute("value")),
                "redrill.run.exit_code" => junit.exit_codes.push(attribute("value")),
                "redrill.verdict" => junit.drill_verdicts.push(attribute("value")),
                _ => {}
            },
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_several_causes_the_worst_counts(spoils in spoils()) {
        let worst = spoils.iter().map(|(spoil, _)| spoil.verdict()).max().unwrap_or(Verdict::Passed);
        prop_assert_eq!(spoiled(&spoils).verdict(), worst);
    }

    #[test]
    fn more_of_anything_never_makes_a_verdict_better(before in spoils(), spoil in prop::sample::select(Spoil::ALL.to_vec()), words in words()) {
        let mut drill = spoiled(&before);
        let verdict = drill.verdict();
        spoil.apply(&mut drill, &words);
        prop_assert!(drill.verdict() >= verdict);
    }

    #[test]
    fn every_report_says_one_verdict(outcome in any_run()) {
        let said = said(&outcome);
        let (verdict, exit) = (outcome.verdict(), outcome.exit_code());
        let (word, number) = (verdict.word(), exit.number());

        prop_assert!(!said.junit.run_verdicts.is_empty());
        prop_assert!(said.junit.run_verdicts.iter().all(|found| found == word));
        prop_assert!(said.junit.exit_codes.iter().all(|found| *found == number.to_string()));
        let of_drills: Vec<&str> = outcome.drills.iter().map(|drill| drill.verdict().word()).collect();
        prop_assert_eq!(&said.junit.drill_verdicts, &of_drills);
        prop_assert_eq!(said.junit.red.is_empty(), exit == ExitCode::Passed);
        let reddest = said.junit.red.iter().filter_map(|found| found.parse::<Verdict>().ok()).max();
        if exit != ExitCode::Usage {
            prop_assert_eq!(ExitCode::from(reddest.unwrap_or(Verdict::Passed)), exit);
        } else {
            prop_assert!(said.junit.red.iter().any(|found| found == "usage"));
        }
        let failures_and_errors = said.junit.counted[1] + said.junit.counted[2];
        prop_assert_eq!(failures_and_errors, said.junit.red.len());
        prop_assert_eq!(said.junit.counted[0], said.junit.tests);
        prop_assert_eq!(said.junit.counted[3], said.junit.skipped.len());

        prop_assert_eq!((said.results.verdict, said.results.exit_code), (verdict, number));
        prop_assert_eq!((said.results.outcome.verdict(), said.results.outcome.exit_code()), (verdict, exit));
        for (summary, drill) in said.results.summaries.iter().zip(&outcome.drills) {
            prop_assert_eq!((summary.verdict, &summary.causes), (drill.verdict(), &drill.causes()));
        }

        let last = said.console.lines().last().unwrap_or_default();
        prop_assert_eq!(last.to_uppercase(), format!("{word}  EXIT CODE {number}"));
        let title = format!("<TITLE>{word} ");
        prop_assert!(said.html.to_uppercase().contains(&title));
        let metric = format!("redrill_run_verdict{{verdict=\"{word}\"}} 1\n");
        prop_assert!(said.metrics.contains(&metric));
        prop_assert_eq!(said.metrics.matches("redrill_run_verdict{").count(), Verdict::ALL.len());
        let metric = format!("redrill_run_exit_code{{run=\"{}\"}} {number}\n", outcome.run);
        prop_assert!(said.metrics.contains(&metric));
    }

    #[test]
    fn same_outcome_same_bytes(outcome in any_run()) {
        prop_assert_eq!(report::all(&outcome).expect("reports"), report::all(&outcome.clone()).expect("reports"));
    }

    #[test]
    fn nothing_that_a_program_printed_becomes_markup_or_steers_the_terminal(outcome in any_run()) {
        let said = said(&outcome);
        prop_assert!(!said.html.contains("<script"));
        prop_assert!(!said.html.contains(" 49 "), "a template in the words was run");
        let escapes = said.console.matches('\u{1b}').count();
        prop_assert_eq!(escapes, 0);
    }
}
