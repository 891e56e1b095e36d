//! Every report against something outside redrill: a schema, a validator, expected bytes.

use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use redrill::console::{Color, Look, Times, summary};
use redrill::drill::event::{self, Happening};
use redrill::journal::{self, Journal, JournalError, State};
use redrill::outcome::*;
use redrill::report;

#[path = "samples/outcome.rs"]
mod sample;

use sample::{Spoil, acceptance, any_run, passing, run, spoiled};

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata").join(name)
}

fn report_named(outcome: &Outcome, name: &str) -> String {
    let reports = report::all(outcome).expect("reports");
    let (_, bytes) = reports.into_iter().find(|(found, _)| *found == name).expect("a report of that name");
    String::from_utf8(bytes).expect("UTF-8")
}

/// One run with nearly everything in it that a report can show.
fn eventful() -> Outcome {
    let spoil = |spoil: Spoil, words: &str| (spoil, words.to_owned());
    let mut failed = spoiled(&[
        spoil(Spoil::CheckDiffers, "table public.users: 1 row missing, 1 changed (key #a91f)"),
        spoil(Spoil::StepFailed, "kubectl -n taiga rollout status deployment/taiga-back-deployment --timeout=60s"),
        spoil(Spoil::StepNotRun, "kubectl -n taiga get pods"),
        spoil(Spoil::OldPasswordAccepted, "restic pg-database, old password"),
        spoil(Spoil::Uncovered, "claim taiga/extra-data"),
        spoil(Spoil::Erratum, "no pod has the bare name of its Deployment"),
        spoil(Spoil::IndicativeMiss, "four of ten minutes were spent in step 7"),
        spoil(Spoil::Leftover, "route 10.9.0.0/24"),
    ]);
    failed.steps[1].source.line = 44;
    failed.steps[1].text = TextLabel::Corrected;
    failed.steps[1].hidden_failures = vec![
        "scenarios/taiga/runbook.md:44: ended with 0, but psql printed ERROR:  role \"reports\" exists".to_owned(),
    ];
    if let Some(step) = failed.steps.iter_mut().find(|step| matches!(step.result, StepResult::Failed { .. })) {
        step.result = StepResult::Failed { reason: "error: timed out waiting".to_owned(), exit: Some(1) };
        step.output_tail =
            Some("Waiting for deployment \"taiga-back-deployment\" rollout to finish\nerror: timed out".to_owned());
    }
    let mut corrected = spoiled(&[spoil(Spoil::Erratum, "no pod has the bare name of its Deployment")]);
    corrected.variant = "accepted".to_owned();
    corrected.accept = vec![acceptance(Verdict::Corrected)];
    run(vec![failed, corrected, DrillOutcome { variant: "small".to_owned(), ..passing() }])
}

#[test]
fn results_json_holds_to_its_schema() {
    let schema = serde_json::from_str(&report::json::schema()).expect("a schema");
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    for outcome in generated(48).iter().chain([&eventful(), &run(vec![])]) {
        let results = serde_json::from_str(&report_named(outcome, "results.json")).expect("JSON");
        let problems: Vec<String> = validator.iter_errors(&results).map(|problem| problem.to_string()).collect();
        assert_eq!(problems, Vec::<String>::new());
    }
}

#[test]
fn the_schema_refuses_what_is_not_a_result() {
    let schema = serde_json::from_str(&report::json::schema()).expect("a schema");
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    let mut results: serde_json::Value =
        serde_json::from_str(&report_named(&eventful(), "results.json")).expect("JSON");
    results["verdict"] = "GREAT".into();
    assert!(!validator.is_valid(&results));
    results["verdict"] = "FAILED".into();
    assert!(validator.is_valid(&results));
    results["outcome"]["drills"][0]["steps"][0]["result"] = "fine".into();
    assert!(!validator.is_valid(&results));
}

#[test]
fn the_schema_in_docs_is_the_one_the_code_writes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/results.schema.json");
    let current = report::json::schema();
    if std::env::var_os("REDRILL_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &current).expect("docs are writable");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == current, "docs/results.schema.json is stale; run this test with REDRILL_UPDATE_DOCS=1");
}

#[test]
fn junit_xml_validates_as_jenkins_reads_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut usage = run(vec![]);
    usage.usage =
        vec!["scenarios/pg/scenario.yaml:12: unknown field `objectve`\u{0} (did you mean `objective`?)".to_owned()];
    let outcomes = generated(96).into_iter().chain([eventful(), run(vec![passing()]), run(vec![]), usage]);
    let files: Vec<PathBuf> = outcomes
        .enumerate()
        .map(|(index, outcome)| {
            let file = dir.path().join(format!("{index}.xml"));
            std::fs::write(&file, report_named(&outcome, "junit.xml")).expect("writable");
            file
        })
        .collect();
    let xmllint = Command::new("xmllint")
        .args(["--noout", "--nonet", "--schema"])
        .arg(testdata("jenkins-junit.xsd"))
        .args(&files)
        .output()
        .expect("xmllint runs (apt-get install libxml2-utils)");
    let told = String::from_utf8_lossy(&xmllint.stderr);
    assert!(
        xmllint.status.success(),
        "{}",
        told.lines().filter(|line| !line.ends_with("validates")).collect::<Vec<_>>().join("\n")
    );
}

#[test]
fn a_usage_problem_gives_a_junit_xml_that_is_red() {
    let mut outcome = run(vec![]);
    outcome.usage = vec!["scenario.yaml:3: unknown field `objectve`".to_owned()];
    let xml = report_named(&outcome, "junit.xml");
    assert!(xml.contains(r#"<error type="usage" message="scenario.yaml:3: unknown field `objectve`">"#), "{xml}");
}

#[test]
fn what_is_accepted_is_skipped_with_its_owner() {
    let mut drill = spoiled(&[(Spoil::Erratum, "no such pod".to_owned())]);
    drill.accept = vec![acceptance(Verdict::Corrected)];
    let xml = report_named(&run(vec![drill]), "junit.xml");
    let accepted =
        "<skipped type=\"CORRECTED\" message=\"accepted until 2026-12-31 by platform: the page is being rewritten; ";
    assert!(xml.contains(accepted), "{xml}");
    assert!(!xml.contains("<failure") && !xml.contains("<error"));
}

/// Compares with expected bytes; `REDRILL_UPDATE_GOLDENS=1` writes them anew, for a person to read in the diff.
fn assert_golden(name: &str, current: &str) {
    let path = testdata(name);
    if std::env::var_os("REDRILL_UPDATE_GOLDENS").is_some() {
        std::fs::write(&path, current).expect("testdata is writable");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == current, "{name} is not as expected; it is now:\n{current}");
}

#[test]
fn an_eventful_run_reads_as_expected_in_every_text_format() {
    let outcome = eventful();
    let look = Look { width: 120, color: Color::Plain, times: Times::Shown };
    assert_golden("eventful-console.txt", &summary(&outcome, Some(Path::new("reports/example")), &look));
    assert_golden("eventful-timings.csv", &report_named(&outcome, "timings.csv"));
    assert_golden("eventful-metrics.prom", &report_named(&outcome, "metrics.prom"));
    assert_golden("eventful-junit.xml", &report_named(&outcome, "junit.xml"));
}

#[test]
fn the_console_fits_its_width_and_hides_times_on_request() {
    let outcome = eventful();
    for width in [80, 100, 160] {
        let look = Look { width, color: Color::Plain, times: Times::Hidden };
        let text = summary(&outcome, None, &look);
        let steps = text.lines().skip_while(|line| !line.starts_with("steps of")).take_while(|line| !line.is_empty());
        let widest = steps.map(|line| line.chars().count()).max().unwrap_or_default();
        assert!(widest <= usize::from(width), "{widest} columns at {width}:\n{text}");
        assert!(!text.contains("0.3s") && !text.contains("20.8s"), "{text}");
    }
}

#[test]
fn the_page_fetches_nothing() {
    let page = report_named(&eventful(), "index.html");
    for outside in ["http://", "https://", "src=", "@import", "url(", "<link", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn every_report_of_a_run_is_in_its_directory_and_can_be_read_by_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a directory");
    report::write_all(dir.path(), &eventful()).expect("written");
    report::write_all(dir.path(), &eventful()).expect("written again");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir.path()).expect("a directory") {
        let entry = entry.expect("an entry");
        names.push(entry.file_name().into_string().expect("UTF-8"));
        assert_eq!(entry.metadata().expect("metadata").permissions().mode() & 0o777, 0o644);
    }
    names.sort();
    let expected = [
        "index.html",
        "junit.xml",
        "metrics.prom",
        "results.json",
        "results.schema.json",
        "timings.csv",
        "timings.json",
    ];
    assert_eq!(names, expected);
}

fn start(reports: &Path, run: &str) -> Result<Journal, JournalError> {
    let mut planned = passing();
    planned.phases.clear();
    planned.steps.clear();
    planned.checks.clear();
    Journal::start(reports, run, 7, vec![planned], "2026-11-20T23:10:00Z".parse().expect("a timestamp"))
}

#[test]
fn a_run_that_was_killed_is_unverified_in_the_phase_it_died_in() {
    let reports = tempfile::tempdir().expect("a directory");
    let mut journal = start(reports.path(), "killed").expect("a journal");
    let mut so_far = passing();
    so_far.phases.truncate(4);
    journal.phase(0, Phase::Restore, so_far, "2026-11-20T23:11:00Z".parse().expect("a timestamp")).expect("kept");
    drop(journal);

    let recovered = journal::recover(reports.path()).expect("recovered");
    assert_eq!(recovered.len(), 1);
    let outcome = &recovered[0];
    assert_eq!((outcome.verdict(), outcome.exit_code().number()), (Verdict::Unverified, 2));
    let causes = outcome.drills[0].causes();
    assert!(causes.iter().any(|cause| cause.text.contains("the run was killed in phase restore")), "{causes:#?}");
    assert!(reports.path().join("killed/junit.xml").exists() && reports.path().join("killed/results.json").exists());
    assert_eq!(journal::recover(reports.path()).expect("recovered"), []);
    let state = State::Finished { verdict: Verdict::Unverified, exit_code: 2 };
    assert_eq!(journal::runs(reports.path()).expect("listed")[0].state, state);
}

#[test]
fn a_run_that_is_alive_is_left_alone() {
    let reports = tempfile::tempdir().expect("a directory");
    let journal = start(reports.path(), "alive").expect("a journal");
    assert_eq!(journal::recover(reports.path()).expect("recovered"), []);
    assert_eq!(journal::runs(reports.path()).expect("listed")[0].state, State::Live { phase: None });
    assert!(matches!(start(reports.path(), "alive"), Err(JournalError::Alive { .. })));
    drop(journal);
    assert_eq!(journal::runs(reports.path()).expect("listed")[0].state, State::Killed { phase: None });
}

#[test]
fn a_run_killed_between_its_end_and_its_reports_gets_the_reports_it_earned() {
    let reports = tempfile::tempdir().expect("a directory");
    let outcome = run(vec![passing()]);
    start(reports.path(), "done").expect("a journal").finish(&outcome).expect("finished");
    assert_eq!(journal::recover(reports.path()).expect("recovered"), []);
    std::fs::remove_file(reports.path().join("done/results.json")).expect("removed");
    assert_eq!(journal::recover(reports.path()).expect("recovered"), [outcome]);
}

#[test]
fn directories_that_are_no_runs_are_none_of_ours() {
    let reports = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(reports.path().join("notes")).expect("made");
    assert_eq!(journal::runs(reports.path()).expect("listed"), []);
    assert_eq!(journal::runs(&reports.path().join("missing")).expect("listed"), []);
}

#[test]
fn a_console_that_is_gone_does_not_stop_a_drill() {
    let (events, receiver) = event::channel();
    drop(receiver);
    events.send(Happening::Notice { text: "still here".to_owned() });
}

/// The same outcomes every time.
fn generated(count: usize) -> Vec<Outcome> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| any_run().new_tree(&mut runner).expect("a value").current()).collect()
}

#[test]
fn every_report_says_what_is_in_no_document_and_what_was_taken_out() {
    let mut drill = spoiled(&[(Spoil::Erratum, "it takes too much".to_owned())]);
    drill.steps[0].text = TextLabel::Undocumented;
    let (line, removed) = (drill.errata[0].source.line, StepResult::Removed { erratum: "too-much".to_owned() });
    drill.steps.push(StepOutcome { result: removed, ..sample::step(Phase::Restore, line, "rm -rf old") });
    assert_eq!(drill.verdict(), Verdict::Corrected);
    let outcome = run(vec![drill]);
    let look = Look { width: 120, color: Color::Plain, times: Times::Hidden };
    for said in [summary(&outcome, None, &look), report_named(&outcome, "index.html")] {
        assert!(said.contains("UNDOCUMENTED") && said.contains("removed"), "{said}");
    }
    let json = report_named(&outcome, "results.json");
    assert!(json.contains("\"text\": \"undocumented\"") && json.contains("\"erratum\": \"too-much\""), "{json}");
    let junit = report_named(&outcome, "junit.xml");
    assert!(junit.contains("text: undocumented") && junit.contains("erratum too-much takes it out"), "{junit}");
}
