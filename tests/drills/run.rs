//! What one run of the program left, and what must hold for every run whatever it found.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Condvar, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redrill::drill::value::word;
use redrill::outcome::cause::Cause;
use redrill::outcome::{DrillOutcome, Outcome, StepOutcome, StepResult, Verdict};
use redrill::report::json::Results;

use crate::playground::Playground;

/// Drills at a time: one is mostly waiting, more than two make each other's deadlines tight.
const SEATS: usize = 2;

static FREE: Mutex<usize> = Mutex::new(SEATS);
static LEFT: Condvar = Condvar::new();

/// The right to run a drill; given back when dropped.
pub struct Seat;

impl Seat {
    pub fn take() -> Self {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            free = LEFT.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Self
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        LEFT.notify_one();
    }
}

/// A finished run, all of it in memory.
pub struct Run {
    pub exit: i32,
    pub stdout: String,
    pub stderr: String,
    pub results: Results,
    /// Every file of the run's reports, by its path in there.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    /// Where the scenario lay.
    place: String,
}

impl Run {
    /// Reads what is there and asserts what holds for any run: reports that agree, no secret, nothing left.
    pub fn read(playground: &Playground, output: Output, state: &Path, reports: &Path) -> Self {
        let stdout = String::from_utf8(output.stdout).expect("stdout is UTF-8");
        let stderr = String::from_utf8(output.stderr).expect("stderr is UTF-8");
        let exit = output.status.code().unwrap_or_else(|| panic!("ended by a signal\n{stdout}\n{stderr}"));
        let runs: Vec<PathBuf> = fs::read_dir(reports).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(runs.len(), 1, "one folder for one run: {runs:?}\n{stderr}");
        let mut files = BTreeMap::new();
        collect(&runs[0], Path::new(""), &mut files);
        let results = serde_json::from_slice(&files[Path::new("results.json")]).expect("results.json");
        let place = playground.path().display().to_string();
        let run = Self { exit, stdout, stderr, results, files, place };
        run.reports_agree();
        run.holds_no_secret(playground);
        nothing_is_left(state);
        run
    }

    pub fn drill(&self, variant: &str) -> &DrillOutcome {
        let mut drills = self.outcome().drills.iter();
        drills.find(|drill| drill.variant == variant).unwrap_or_else(|| panic!("no drill {variant}\n{}", self.stderr))
    }

    pub fn outcome(&self) -> &Outcome {
        &self.results.outcome
    }

    pub fn text(&self, file: &str) -> String {
        String::from_utf8(self.files[Path::new(file)].clone()).unwrap_or_else(|_| panic!("{file} is not UTF-8"))
    }

    pub fn log(&self, step: &StepOutcome) -> String {
        self.text(step.log.as_ref().unwrap_or_else(|| panic!("no log of {}", step.command)))
    }

    /// A text of this run as every other copy of the scenario would have it.
    pub fn placeless(&self, text: &str) -> String {
        text.replace(&self.place, "")
    }

    /// The verdict of the only drill, and of the causes of that verdict each one named by `reasons`, and each reason by
    /// one of them. A reason is a part of a cause's text.
    #[track_caller]
    pub fn assert_verdict(&self, verdict: Verdict, reasons: &[&str]) {
        let drill = self.only();
        let causes = drill.causes();
        let causes: Vec<&Cause> = causes.iter().filter(|cause| cause.verdict == verdict).collect();
        let listing: Vec<String> = causes.iter().map(|cause| format!("- {cause}")).collect();
        let listing = listing.join("\n");
        assert_eq!(drill.verdict(), verdict, "{listing}\n{}", self.stderr);
        let unnamed: Vec<&&Cause> =
            causes.iter().filter(|cause| !reasons.iter().any(|reason| cause.to_string().contains(reason))).collect();
        assert!(unnamed.is_empty(), "{verdict} for a reason that was not expected: {unnamed:#?}");
        for reason in reasons {
            let found = causes.iter().any(|cause| cause.to_string().contains(reason));
            assert!(found, "not {verdict} for `{reason}`, but for:\n{listing}");
        }
    }

    /// The drill of a run of one.
    #[track_caller]
    fn only(&self) -> &DrillOutcome {
        let [drill] = &self.outcome().drills[..] else { panic!("one drill\n{}", self.stderr) };
        drill
    }

    /// The only drill broke at that line of the page, and was answered so.
    #[track_caller]
    pub fn assert_broke_at(&self, line: usize, answer: &str) {
        let drill = self.only();
        assert_eq!((self.exit, drill.verdict()), (1, Verdict::Failed), "{:#?}", drill.causes());
        let step = failed_step(drill);
        assert_eq!(step.source.line, line, "{}", step.command);
        let said = format!("{}\n{:?}", step.log.as_ref().map(|_| self.log(step)).unwrap_or_default(), step.result);
        assert!(said.contains(answer), "the answer was to be\n{answer}\nand it was\n{said}");
    }

    /// The only drill is FAILED, and one of the reasons holds that text.
    #[track_caller]
    pub fn assert_fails(&self, reason: &str) {
        let drill = self.only();
        let causes: Vec<String> = drill.causes().iter().map(ToString::to_string).collect();
        assert_eq!(drill.verdict(), Verdict::Failed, "{causes:#?}");
        assert!(causes.iter().any(|cause| cause.contains(reason)), "not for `{reason}`: {causes:#?}");
    }

    /// The single differences that a check found, as it words them.
    #[track_caller]
    pub fn differences(&self, check: &str) -> Vec<String> {
        use redrill::outcome::CheckResult;
        let checks = self.outcome().drills.iter().flat_map(|drill| &drill.checks);
        let mut named = checks.filter(|found| found.name == check);
        match named.next().map(|check| &check.result) {
            Some(CheckResult::Differs { difference }) => {
                // `file a: mode 0644; was mode 0600` is one.
                difference.replace("; was ", ", was ").split("; ").map(str::to_owned).collect()
            }
            other => panic!("check `{check}`: {other:?}\n{}", self.stderr),
        }
    }

    fn reports_agree(&self) {
        let Self { exit, stdout, stderr, results, .. } = self;
        let outcome = self.outcome();
        assert_eq!(i32::from(results.exit_code), *exit, "results.json and exit code\n{stderr}");
        assert_eq!(i32::from(outcome.exit_code().number()), *exit, "the outcome and exit code");
        assert_eq!(results, &Results::new(outcome), "results.json says something of its outcome that is not so");
        let last = stdout.lines().rev().find(|line| !line.is_empty()).unwrap_or_default();
        // What is well is said in small letters.
        let word = match results.verdict {
            Verdict::Passed => "passed",
            other => other.word(),
        };
        assert!(last.starts_with(word) && last.contains(&format!("exit code {exit}")), "console says {last}");
        let junit = self.text("junit.xml");
        let property = |name: &str, value: &str| format!("<property name=\"{name}\" value=\"{value}\"/>");
        assert!(junit.contains(&property("redrill.run.exit_code", &exit.to_string())), "{junit}");
        assert!(junit.contains(&property("redrill.run.verdict", results.verdict.word())), "{junit}");
        for drill in &outcome.drills {
            let verdict = drill.verdict();
            let suite = format!("<testsuite id=\"{}\"", outcome.drills.iter().position(|d| d == drill).unwrap());
            let suite = &junit[junit.find(&suite).expect("a suite for each drill")..];
            let suite = &suite[..suite.find("</testsuite>").unwrap()];
            assert!(suite.contains(&property("redrill.verdict", verdict.word())), "{suite}");
            let green = !suite.contains("<failure") && !suite.contains("<error");
            assert_eq!(green, verdict == Verdict::Passed, "junit.xml of {verdict}");
            // What is well is said in small letters.
            let passed = verdict == Verdict::Passed;
            let word = if passed { verdict.word().to_lowercase() } else { verdict.word().to_owned() };
            let title = format!("{word} {}", drill.title());
            for (name, printed) in [("stdout", stdout), ("stderr", stderr)] {
                let mut lines = printed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
                assert!(lines.any(|line| line == title), "{name} does not say `{title}`:\n{printed}");
            }
        }
    }

    fn holds_no_secret(&self, playground: &Playground) {
        let mut secrets = secrets_of(playground);
        secrets.extend(drawn(playground).map(|name| word(self.outcome().rng, &name)));
        // A chart draws its own, and they are known to nobody else.
        let has_manifests = system_folder(playground).is_dir();
        assert!(secrets.len() >= 3 || !has_manifests, "the system's Secrets hold more than that");
        let printed = [("stdout", self.stdout.as_bytes()), ("stderr", self.stderr.as_bytes())];
        let files = self.files.iter().map(|(path, bytes)| (path.to_str().unwrap(), bytes.as_slice()));
        for (name, bytes) in files.chain(printed) {
            for (index, form) in secrets.iter().flat_map(|secret| forms(secret)).enumerate() {
                let found = bytes.windows(form.len()).any(|window| window == form.as_bytes());
                // By its place in the list: a secret is not put into a test's log either.
                assert!(!found, "{name} holds secret {} in form {}", index / FORMS, index % FORMS);
            }
        }
    }
}

/// The first that broke.
#[track_caller]
pub fn failed_step(drill: &DrillOutcome) -> &StepOutcome {
    let mut failed = drill.steps.iter().filter(|step| matches!(step.result, StepResult::Failed { .. }));
    failed.next().unwrap_or_else(|| panic!("no step failed: {:#?}", drill.causes()))
}

/// Passwords and keys of the system: every value of its Secrets that is not a user's name.
fn secrets_of(playground: &Playground) -> Vec<String> {
    let mut secrets = Vec::new();
    let mut manifests = BTreeMap::new();
    if system_folder(playground).is_dir() {
        collect(&system_folder(playground), Path::new(""), &mut manifests);
    }
    for text in manifests.values() {
        for document in serde_yaml_ng::Deserializer::from_slice(text) {
            let value: serde_yaml_ng::Value = serde::Deserialize::deserialize(document).unwrap();
            if value["kind"] == "Secret" {
                let values = value["stringData"].as_mapping().expect("stringData");
                secrets.extend(values.values().map(|value| value.as_str().unwrap().to_owned()));
            }
        }
    }
    const NAMES: [&str; 6] = ["taiga", "taiga_readonly", "dbuser", "db_user", "db_ro_user", "admin"];
    secrets.retain(|secret| !NAMES.contains(&secret.as_str()));
    secrets
}

fn system_folder(playground: &Playground) -> PathBuf {
    playground.path().join("scenarios").join(playground.system()).join("system")
}

/// Names of the values that the scenario has drawn for each drill.
fn drawn(playground: &Playground) -> impl Iterator<Item = String> + use<> {
    let scenario = playground.read(&format!("scenarios/{}/scenario.yaml", playground.system()));
    let named = scenario.split("{ generated: ").skip(1);
    let names: Vec<String> = named.map(|rest| rest.split(' ').next().unwrap().to_owned()).collect();
    names.into_iter()
}

const FORMS: usize = 6;

fn forms(secret: &str) -> [String; FORMS] {
    let hexadecimal: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    // Where the secret is a part of what was encoded, it begins anywhere in a group of three bytes. The group that it
    // ends in depends on what follows.
    let encoded = |skipped: usize| {
        let rest = &secret.as_bytes()[skipped..];
        STANDARD.encode(&rest[..rest.len() / 3 * 3])
    };
    [secret.to_owned(), encoded(0), encoded(1), encoded(2), hexadecimal.to_uppercase(), hexadecimal]
}

/// No process, no mount and no file of the drill.
fn nothing_is_left(state: &Path) {
    let place = state.to_str().unwrap();
    let mut files = BTreeMap::new();
    collect(state, Path::new(""), &mut files);
    assert!(files.is_empty(), "files left: {:?}", files.keys());
    let folders: Vec<_> = fs::read_dir(state).unwrap().flat_map(|entry| fs::read_dir(entry.unwrap().path())).collect();
    let left: Vec<_> = folders.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "folders left: {left:?}");
    for process in fs::read_dir("/proc").unwrap().flatten() {
        // Every process of a drill has mounts of the drill's folder, as its program is one. A process that has ended
        // shows none, and neither does what is no process.
        let mounts = fs::read_to_string(process.path().join("mountinfo")).unwrap_or_default();
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let left = mounts.contains(place) || command.contains(place);
        assert!(!left, "{} is left: {command}", process.path().display());
    }
}

fn collect(folder: &Path, below: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &name, files);
        } else {
            files.insert(name, fs::read(entry.path()).unwrap());
        }
    }
}
