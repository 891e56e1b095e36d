//! `junit.xml`: a suite for each drill, a test case for each step, check, credential, objective and phase.
//!
//! What the document is to blame for (FAILED, CORRECTED) is a failure; what could not be found out or is not the
//! document's doing (UNVERIFIED, SIMULATED, LEFTOVERS) is an error; what the scenario accepts is skipped, with its
//! reason. The type of each is the verdict it stands for. The last test case of a suite carries the drill's verdict
//! and every cause, so that a cause without a test case of its own is red too.

use jiff::civil::Date;
use junit_report::{Duration as JunitDuration, OffsetDateTime, ReportBuilder, TestCase, TestResult, TestSuite};
use quick_xml::events::{BytesEnd, BytesStart, Event};

use super::table::{credential_title, objective_title};
use crate::outcome::cause::{Cause, Subject, first_line};
use crate::outcome::{
    CheckResult, DrillOutcome, Outcome, Phase, PhaseOutcome, PhaseResult, StepOutcome, StepResult, TextLabel, Verdict,
};
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum JunitError {
    #[error("write the test suites")]
    Report(#[from] junit_report::Error),
    #[error("add properties to the test suites")]
    Properties(#[from] quick_xml::Error),
    #[error("add properties to the test suites")]
    Write(#[from] std::io::Error),
    #[error("say when the run started")]
    Started(#[source] Box<dyn std::error::Error + Send + Sync>),
}

type Properties = Vec<(String, String)>;

pub(super) fn render(outcome: &Outcome) -> Result<Vec<u8>, JunitError> {
    let started = OffsetDateTime::from_unix_timestamp(outcome.started.as_second())
        .map_err(|error| JunitError::Started(Box::new(error)))?;
    let mut builder = ReportBuilder::new();
    let mut properties = Vec::new();
    for drill in &outcome.drills {
        builder.add_testsuite(suite(drill, outcome.day(), started));
        properties.push(drill_properties(outcome, drill));
    }
    if !outcome.usage.is_empty() || outcome.drills.is_empty() {
        builder.add_testsuite(usage_suite(outcome, started));
        properties.push(run_properties(outcome));
    }
    let mut bytes = Vec::new();
    builder.build().write_xml(&mut bytes)?;
    with_properties(&bytes, &properties)
}

fn suite(drill: &DrillOutcome, day: Date, started: OffsetDateTime) -> TestSuite {
    let mut suite = TestSuite::new(&clean(&drill.title()));
    suite.package = clean(&drill.scenario);
    suite.timestamp = started;
    let cases = Cases { drill, causes: drill.causes(), day };
    suite.add_testcases(drill.phases.iter().map(|phase| cases.phase(phase)));
    suite.add_testcases(drill.steps.iter().enumerate().map(|(index, step)| cases.step(index, step)));
    suite.add_testcases(drill.checks.iter().enumerate().map(|(index, check)| {
        let mut case = cases.case("check", &check.name, check.duration, Subject::Check { index });
        case.system_out = Some(clean(&check.detail));
        if let (CheckResult::Accepted { difference, by }, TestResult::Success) = (&check.result, &case.result) {
            case.result = skipped("NOT_ENFORCED", &format!("accepted {by}; {difference}"), None);
        }
        case
    }));
    suite.add_testcases(drill.credentials.iter().enumerate().map(|(index, login)| {
        cases.case("credential", &credential_title(login), Duration::ZERO, Subject::Credential { index })
    }));
    suite.add_testcases(drill.objectives.iter().enumerate().map(|(index, objective)| {
        let mut case = cases.case("objective", objective.kind.word(), Duration::ZERO, Subject::Objective { index });
        case.system_out = Some(clean(&objective_title(objective)));
        case
    }));
    suite.add_testcases(drill.errata.iter().enumerate().map(|(index, erratum)| {
        let name = format!("{} {}", erratum.source, erratum.id);
        let mut case = cases.case("erratum", &name, Duration::ZERO, Subject::Erratum { index });
        case.system_out = Some(clean(&format!(
            "documented: {}\ncorrection: {}\nanswer: {}\nversions: {}",
            erratum.documented, erratum.correction, erratum.answer, erratum.versions
        )));
        case
    }));
    suite.add_testcase(cases.verdict());
    suite
}

/// What every test case of a drill is made from.
struct Cases<'a> {
    drill: &'a DrillOutcome,
    causes: Vec<Cause>,
    day: Date,
}

impl Cases<'_> {
    fn case(&self, kind: &str, name: &str, duration: Duration, subject: Subject) -> TestCase {
        let causes: Vec<&Cause> = self.causes.iter().filter(|cause| cause.subject == subject).collect();
        let mut case = TestCase::success(&clean(&format!("{kind}: {name}")), seconds(duration));
        case.classname = Some(clean(&format!("{}.{}.{kind}", self.drill.scenario, self.drill.variant)));
        case.result = self.result(&causes);
        case
    }

    fn phase(&self, phase: &PhaseOutcome) -> TestCase {
        let subject = Subject::Phase { phase: phase.phase };
        let mut case = self.case("phase", phase.phase.word(), phase.duration, subject);
        if let (PhaseResult::Failed { .. } | PhaseResult::Unverified { .. }, TestResult::Success) =
            (&phase.result, &case.result)
        {
            case.result = self.result(&self.causes_of_steps(phase.phase));
        }
        if let (PhaseResult::NotReached, TestResult::Success) = (&phase.result, &case.result) {
            // One cause stands for all of these; none of them may look as if it had succeeded.
            case.result = skipped("NOT_RUN", "not reached", None);
        }
        case
    }

    /// A phase that went no further because of a step has no cause of its own.
    fn causes_of_steps(&self, phase: Phase) -> Vec<&Cause> {
        let of_phase = |cause: &&Cause| match cause.subject {
            Subject::Step { index } => self.drill.steps[index].phase == phase,
            _ => false,
        };
        self.causes.iter().filter(of_phase).collect()
    }

    fn step(&self, index: usize, step: &StepOutcome) -> TestCase {
        let name = format!("{} {}", step.source, first_line(&step.command));
        let mut case = self.case("step", &name, step.duration, Subject::Step { index });
        if let (StepResult::NotRun { reason }, TestResult::Success) = (&step.result, &case.result) {
            case.result = skipped("NOT_RUN", reason, None);
        }
        if let (StepResult::Removed { erratum }, TestResult::Success) = (&step.result, &case.result) {
            case.result = skipped("REMOVED", &format!("erratum {erratum} takes it out"), None);
        }
        let log = step.log.iter().map(|log| format!("log: {log}"));
        let text = (step.text == TextLabel::Undocumented).then(|| "text: undocumented".to_owned());
        let output: Vec<String> = text
            .into_iter()
            .chain(log)
            .chain(step.hidden_failures.iter().cloned())
            .chain(step.output_tail.clone())
            .collect();
        case.system_out = (!output.is_empty()).then(|| clean(&output.join("\n")));
        case
    }

    fn verdict(&self) -> TestCase {
        let causes: Vec<&Cause> = self.causes.iter().collect();
        let mut case = TestCase::success("verdict", JunitDuration::ZERO);
        case.classname = Some(clean(&format!("{}.{}", self.drill.scenario, self.drill.variant)));
        case.result = self.result(&causes);
        case
    }

    /// The worst cause that is not accepted decides; where all are accepted, the worst of them.
    fn result(&self, causes: &[&Cause]) -> TestResult {
        let accepted = |cause: &&&Cause| self.drill.acceptance(cause.verdict, self.day).is_some();
        let worst = |causes: Vec<&&Cause>| causes.into_iter().map(|cause| cause.verdict).max();
        let open: Vec<&&Cause> = causes.iter().filter(|cause| !accepted(cause)).collect();
        let all = causes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let message = |verdict: Verdict| {
            let first = causes.iter().find(|cause| cause.verdict == verdict);
            first.map(ToString::to_string).unwrap_or_default()
        };
        if let Some(verdict) = worst(open) {
            return problem(verdict, &message(verdict), &all);
        }
        let Some(verdict) = worst(causes.iter().collect()) else { return TestResult::Success };
        let acceptance = self.drill.acceptance(verdict, self.day);
        let by = acceptance.map(|by| format!("accepted until {} by {}: {}; ", by.until, by.owner, by.reason));
        skipped(verdict.word(), &format!("{}{}", by.unwrap_or_default(), message(verdict)), Some(&all))
    }
}

fn problem(verdict: Verdict, message: &str, all: &str) -> TestResult {
    let (type_, message, cause) = (verdict.word().to_owned(), one_line(message), Some(clean(all)));
    match verdict {
        Verdict::Failed | Verdict::Corrected => TestResult::Failure { type_, message, cause },
        Verdict::Unverified | Verdict::Simulated | Verdict::Leftovers => TestResult::Error { type_, message, cause },
        // No cause says PASSED.
        Verdict::Passed => TestResult::Success,
    }
}

fn skipped(type_: &str, message: &str, all: Option<&str>) -> TestResult {
    TestResult::SkippedWithCause { type_: type_.to_owned(), message: one_line(message), cause: all.map(clean) }
}

fn usage_suite(outcome: &Outcome, started: OffsetDateTime) -> TestSuite {
    let mut suite = TestSuite::new("usage");
    suite.package = "redrill".to_owned();
    suite.timestamp = started;
    let nothing = ["nothing was selected".to_owned()];
    let problems: &[String] = if outcome.usage.is_empty() { &nothing } else { &outcome.usage };
    for (index, problem) in problems.iter().enumerate() {
        // Numbered, because a reader refuses a test case without a name and takes two of one name for one.
        let mut case = TestCase::success(&format!("problem {}", index + 1), JunitDuration::ZERO);
        case.classname = Some("redrill.usage".to_owned());
        case.result =
            TestResult::Error { type_: "usage".to_owned(), message: one_line(problem), cause: Some(clean(problem)) };
        suite.add_testcase(case);
    }
    suite
}

fn run_properties(outcome: &Outcome) -> Properties {
    vec![
        ("redrill.run".to_owned(), outcome.run.clone()),
        ("redrill.run.verdict".to_owned(), outcome.verdict().to_string()),
        ("redrill.run.exit_code".to_owned(), outcome.exit_code().number().to_string()),
        ("redrill.rng".to_owned(), outcome.rng.to_string()),
    ]
}

fn drill_properties(outcome: &Outcome, drill: &DrillOutcome) -> Properties {
    let mut properties = run_properties(outcome);
    properties.push(("redrill.verdict".to_owned(), drill.verdict().to_string()));
    properties.push(("redrill.as_written".to_owned(), drill.as_written.to_string()));
    for acceptance in drill.acceptances_used(outcome.day()) {
        let text = format!("until {} by {}: {}", acceptance.until, acceptance.owner, acceptance.reason);
        properties.push((format!("redrill.accepted.{}", acceptance.verdict), text));
    }
    properties.extend(drill.versions.iter().map(|(name, version)| (format!("version.{name}"), version.clone())));
    properties.extend(drill.digests.iter().map(|(name, digest)| (format!("digest.{name}"), digest.clone())));
    properties
}

/// Adds `<properties>` and the `skipped` count to each suite, neither of which junit-report writes, and rounds times to
/// the three decimals that strict readers take.
fn with_properties(xml: &[u8], properties: &[Properties]) -> Result<Vec<u8>, JunitError> {
    let mut reader = quick_xml::Reader::from_reader(xml);
    let mut writer = quick_xml::Writer::new_with_indent(Vec::new(), b' ', 1);
    let skipped = skipped_counts(xml)?;
    let mut suite = 0;
    loop {
        match reader.read_event()? {
            Event::Eof => break,
            Event::Start(start) if start.name().as_ref() == b"testsuite" => {
                let mut start = with_rounded_time(&start)?;
                start.push_attribute(("skipped", skipped.get(suite).copied().unwrap_or(0).to_string().as_str()));
                writer.write_event(Event::Start(start))?;
                write_properties(&mut writer, properties.get(suite).map_or(&[], Vec::as_slice))?;
                suite += 1;
            }
            Event::Start(start) if start.name().as_ref() == b"testcase" => {
                writer.write_event(Event::Start(with_rounded_time(&start)?))?;
            }
            Event::Empty(start) if start.name().as_ref() == b"testcase" => {
                writer.write_event(Event::Empty(with_rounded_time(&start)?))?;
            }
            event => writer.write_event(event)?,
        }
    }
    let mut bytes = writer.into_inner();
    bytes.push(b'\n');
    Ok(bytes)
}

fn with_rounded_time(start: &BytesStart<'_>) -> Result<BytesStart<'static>, JunitError> {
    let mut rounded = BytesStart::new(String::from_utf8_lossy(start.name().as_ref()).into_owned());
    for attribute in start.attributes() {
        let mut attribute = attribute.map_err(quick_xml::Error::from)?;
        if attribute.key.as_ref() == b"time" {
            let seconds = std::str::from_utf8(&attribute.value).ok().and_then(|time| time.parse::<f64>().ok());
            attribute.value = format!("{:.3}", seconds.unwrap_or_default()).into_bytes().into();
        }
        rounded.push_attribute(attribute);
    }
    Ok(rounded)
}

fn write_properties(writer: &mut quick_xml::Writer<Vec<u8>>, properties: &[(String, String)]) -> std::io::Result<()> {
    writer.write_event(Event::Start(BytesStart::new("properties")))?;
    for (name, value) in properties {
        let mut property = BytesStart::new("property");
        property.push_attribute(("name", one_line(name).as_str()));
        property.push_attribute(("value", one_line(value).as_str()));
        writer.write_event(Event::Empty(property))?;
    }
    writer.write_event(Event::End(BytesEnd::new("properties")))
}

fn skipped_counts(xml: &[u8]) -> Result<Vec<usize>, JunitError> {
    let mut reader = quick_xml::Reader::from_reader(xml);
    let mut counts = Vec::new();
    loop {
        match reader.read_event()? {
            Event::Eof => return Ok(counts),
            Event::Start(start) if start.name().as_ref() == b"testsuite" => counts.push(0),
            Event::Start(start) | Event::Empty(start) if start.name().as_ref() == b"skipped" => {
                if let Some(count) = counts.last_mut() {
                    *count += 1;
                }
            }
            _ => {}
        }
    }
}

fn seconds(duration: Duration) -> JunitDuration {
    JunitDuration::microseconds(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

/// Attributes lose their line ends in every parser.
fn one_line(text: &str) -> String {
    clean(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// XML 1.0 has no way to write most control characters, not even escaped, and programs print them. What cannot be
/// said is shown the way Rust would write it. `]]>` would end the CDATA section that junit-report puts text in.
fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}' => {
                clean.push(character)
            }
            '\r' => {}
            _ => clean.extend(character.escape_unicode()),
        }
    }
    clean.replace("]]>", "]] >")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_say_is_shown_escaped() {
        assert_eq!(clean("a\u{1b}[0mb\u{0}\r\n]]>\u{fffe}"), "a\\u{1b}[0mb\\u{0}\n]] >\\u{fffe}");
        assert_eq!(one_line("two\n  lines"), "two lines");
    }
}
