//! The journal of a run: what lets a run that was killed show as UNVERIFIED instead of as nothing.
//!
//! `reports/<run>/lock` is held (flock) for as long as the run lives, and the kernel lets go of it however the
//! process ends. The lock is of the open file, so a child that inherits it without an exec keeps the run alive too.
//! `reports/<run>/journal.json` is replaced as a whole at the start, at every phase and at the end.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::outcome::{DrillOutcome, Outcome, Phase, PhaseOutcome, PhaseResult, Verdict};
use crate::report::{self, ReportError};

const JOURNAL_FILE: &str = "journal.json";
const LOCK_FILE: &str = "lock";

/// A journal that could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("open {}", path.display())]
    Open { path: PathBuf, source: std::io::Error },
    #[error("run `{run}` is alive (its lock {} is held)", lock.display())]
    Alive { run: String, lock: PathBuf },
    #[error("read {} (remove its directory if it is not a run of redrill)", path.display())]
    Malformed { path: PathBuf, source: serde_json::Error },
    #[error("make {} (--reports names another folder)", path.display())]
    Make { path: PathBuf, source: std::io::Error },
    #[error("write the reports (make room, or name another folder with --reports)")]
    Write { source: ReportError },
}

/// What the journal says of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    run: String,
    started: Timestamp,
    updated: Timestamp,
    rng: u64,
    drills: Vec<DrillEntry>,
    /// Written before the reports, so that a run killed between the two still gets the reports it earned.
    outcome: Option<Outcome>,
}

/// One drill of the run, as far as it has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct DrillEntry {
    /// As of the last phase; what had not happened by then is missing or `NotReached`.
    outcome: DrillOutcome,
    phase: Option<Phase>,
    finished: bool,
}

/// Holds the lock of a run and keeps its journal. Dropped without [`Journal::finish`], the run counts as killed.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    entry: Entry,
    _lock: File,
}

impl Journal {
    /// Makes `reports/<run>/`, takes its lock and writes the first entry. Each drill is passed as it is planned: names,
    /// digests and versions filled in, nothing run.
    ///
    /// # Errors
    /// When a live run has this name, or nothing can be written there.
    pub fn start(
        reports: &Path,
        run: &str,
        rng: u64,
        planned: Vec<DrillOutcome>,
        now: Timestamp,
    ) -> Result<Self, JournalError> {
        let dir = reports.join(run);
        std::fs::create_dir_all(&dir).map_err(|source| JournalError::Make { path: dir.clone(), source })?;
        let Some(lock) = try_lock(&dir)? else {
            return Err(JournalError::Alive { run: run.to_owned(), lock: dir.join(LOCK_FILE) });
        };
        let drills = planned.into_iter().map(|outcome| DrillEntry { outcome, phase: None, finished: false }).collect();
        let entry = Entry { run: run.to_owned(), started: now, updated: now, rng, drills, outcome: None };
        let journal = Self { dir, entry, _lock: lock };
        journal.write()?;
        Ok(journal)
    }

    /// `reports/<run>`, where logs and reports go.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A drill enters a phase, with what it has found out so far.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn phase(
        &mut self,
        drill: usize,
        phase: Phase,
        so_far: DrillOutcome,
        now: Timestamp,
    ) -> Result<(), JournalError> {
        if let Some(entry) = self.entry.drills.get_mut(drill) {
            entry.outcome = so_far;
            entry.phase = Some(phase);
        }
        self.entry.updated = now;
        self.write()
    }

    /// A drill has ended, teardown included.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn drill_finished(&mut self, drill: usize, outcome: DrillOutcome, now: Timestamp) -> Result<(), JournalError> {
        if let Some(entry) = self.entry.drills.get_mut(drill) {
            entry.outcome = outcome;
            entry.finished = true;
        }
        self.entry.updated = now;
        self.write()
    }

    /// The run has ended: keeps the outcome, writes every report and lets go of the lock.
    ///
    /// # Errors
    /// When something cannot be written.
    pub fn finish(mut self, outcome: &Outcome) -> Result<(), JournalError> {
        self.entry.updated = outcome.finished;
        self.entry.outcome = Some(outcome.clone());
        self.write()?;
        report::write_all(&self.dir, outcome).map_err(|source| JournalError::Write { source })
    }

    fn write(&self) -> Result<(), JournalError> {
        write_entry(&self.dir, &self.entry)
    }
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Its lock is held.
    Live {
        phase: Option<Phase>,
    },
    /// It was killed; [`recover`] gives it reports.
    Killed {
        phase: Option<Phase>,
    },
    Finished {
        verdict: Verdict,
        exit_code: u8,
    },
}

/// One run of `reports/`.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub name: String,
    pub dir: PathBuf,
    pub started: Timestamp,
    pub state: State,
}

/// A line of `redrill list`.
impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let in_phase = |phase: &Option<Phase>| phase.map_or_else(String::new, |phase| format!(" in {phase}"));
        write!(f, "{}  ", self.name)?;
        match &self.state {
            State::Live { phase } => write!(f, "running{}", in_phase(phase)),
            State::Killed { phase } => write!(f, "killed{}, `redrill gc` writes its reports", in_phase(phase)),
            State::Finished { verdict, exit_code } => write!(f, "{verdict}  exit {exit_code}"),
        }
    }
}

/// Every run in `reports/`, oldest first. A directory without a journal is none of ours and left out.
///
/// # Errors
/// When the directory or a journal cannot be read; no directory at all means no runs.
pub fn runs(reports: &Path) -> Result<Vec<Run>, JournalError> {
    let mut runs = Vec::new();
    for dir in run_dirs(reports)? {
        let entry = read_entry(&dir)?;
        let state = match (&entry.outcome, try_lock(&dir)?) {
            (Some(outcome), _) => {
                State::Finished { verdict: outcome.verdict(), exit_code: outcome.exit_code().number() }
            }
            (None, None) => State::Live { phase: entry.current_phase() },
            (None, Some(_)) => State::Killed { phase: entry.current_phase() },
        };
        runs.push(Run { name: entry.run, dir, started: entry.started, state });
    }
    runs.sort_by(|a, b| (a.started, &a.name).cmp(&(b.started, &b.name)));
    Ok(runs)
}

/// Gives every killed run in `reports/` the reports that say so, and returns those outcomes. Live runs are left alone,
/// finished ones too. Safe to call again and from several processes at once.
///
/// # Errors
/// When a journal cannot be read or reports cannot be written.
pub fn recover(reports: &Path) -> Result<Vec<Outcome>, JournalError> {
    remove_unbegun(reports);
    let dirs = run_dirs(reports)?;
    dirs.iter().map(|dir| recover_run(dir)).filter_map(Result::transpose).collect()
}

/// Removes what a run left that was killed before its first entry: a directory with nothing but a lock. A young one may be
/// a run that begins. One that cannot be removed does no harm, and is looked at again the next time.
fn remove_unbegun(reports: &Path) {
    const YOUNG: Duration = Duration::from_secs(60);
    for entry in std::fs::read_dir(reports).into_iter().flatten().flatten() {
        let dir = entry.path();
        let only_a_lock = || {
            std::fs::read_dir(&dir).is_ok_and(|names| {
                let names: Vec<_> = names.flatten().map(|name| name.file_name()).collect();
                names == [LOCK_FILE]
            })
        };
        let age = entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|at| at.elapsed().ok());
        if age.is_some_and(|age| age >= YOUNG) && only_a_lock() && matches!(try_lock(&dir), Ok(Some(_))) {
            let _ = std::fs::remove_file(dir.join(LOCK_FILE)).and_then(|()| std::fs::remove_dir(&dir));
        }
    }
}

fn recover_run(dir: &Path) -> Result<Option<Outcome>, JournalError> {
    // Held until the reports are there: two that recover at once must not both write.
    let Some(_lock) = try_lock(dir)? else { return Ok(None) };
    let mut entry = read_entry(dir)?;
    let is_reported = dir.join(report::json::RESULTS_FILE).exists();
    let outcome = match entry.outcome.take() {
        Some(_) if is_reported => return Ok(None),
        Some(outcome) => outcome,
        None => entry.as_killed(),
    };
    report::remove_unfinished(dir).map_err(|source| JournalError::Write { source })?;
    entry.outcome = Some(outcome.clone());
    write_entry(dir, &entry)?;
    report::write_all(dir, &outcome).map_err(|source| JournalError::Write { source })?;
    Ok(Some(outcome))
}

impl Entry {
    /// The phase that the first unfinished drill is in.
    fn current_phase(&self) -> Option<Phase> {
        self.drills.iter().find(|drill| !drill.finished).and_then(|drill| drill.phase)
    }

    /// The outcome of a run that got no further. It ended when it was last heard of, whenever that is read.
    fn as_killed(&self) -> Outcome {
        let usage = match self.drills.is_empty() {
            true => vec!["the run was killed before a drill was planned".to_owned()],
            false => Vec::new(),
        };
        Outcome {
            run: self.run.clone(),
            started: self.started,
            finished: self.updated,
            rng: self.rng,
            drills: self.drills.iter().map(DrillEntry::as_killed).collect(),
            usage,
        }
    }
}

impl DrillEntry {
    fn as_killed(&self) -> DrillOutcome {
        let mut outcome = self.outcome.clone();
        if self.finished {
            return outcome;
        }
        let killed_in = self.phase.unwrap_or(Phase::Provision);
        let when = match self.phase {
            Some(phase) => format!("the run was killed in phase {phase}"),
            None => "the run was killed before the drill began".to_owned(),
        };
        let found = |phase: Phase| outcome.phases.iter().find(|found| found.phase == phase).cloned();
        outcome.phases = Phase::ALL
            .into_iter()
            .map(|phase| match found(phase) {
                Some(found) if phase < killed_in => found,
                _ if phase == killed_in => {
                    let remedy = "run it again; `redrill gc` removes what it left".to_owned();
                    let result = PhaseResult::Unverified { reason: when.clone(), remedy };
                    PhaseOutcome { phase, result, duration: Default::default() }
                }
                _ => PhaseOutcome { phase, result: PhaseResult::NotReached, duration: Default::default() },
            })
            .collect();
        outcome
    }
}

/// The lock of a run, or `None` while somebody holds it.
fn try_lock(dir: &Path) -> Result<Option<File>, JournalError> {
    let path = dir.join(LOCK_FILE);
    let open = File::options().create(true).truncate(false).write(true).open(&path);
    let lock = open.map_err(|source| JournalError::Open { path: path.clone(), source })?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(JournalError::Open { path, source }),
    }
}

fn run_dirs(reports: &Path) -> Result<Vec<PathBuf>, JournalError> {
    let unreadable = |source| JournalError::Open { path: reports.to_owned(), source };
    let entries = match std::fs::read_dir(reports) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut dirs = Vec::new();
    for entry in entries {
        let dir = entry.map_err(unreadable)?.path();
        if dir.join(JOURNAL_FILE).is_file() {
            dirs.push(dir);
        }
    }
    dirs.sort();
    Ok(dirs)
}

fn read_entry(dir: &Path) -> Result<Entry, JournalError> {
    let path = dir.join(JOURNAL_FILE);
    let bytes = std::fs::read(&path).map_err(|source| JournalError::Open { path: path.clone(), source })?;
    serde_json::from_slice(&bytes).map_err(|source| JournalError::Malformed { path, source })
}

fn write_entry(dir: &Path, entry: &Entry) -> Result<(), JournalError> {
    let path = dir.join(JOURNAL_FILE);
    let bytes = serde_json::to_vec_pretty(entry)
        .map_err(|source| JournalError::Write { source: ReportError::Json { name: JOURNAL_FILE, source } })?;
    report::write_beside_and_rename(&path, &bytes).map_err(|source| JournalError::Write { source })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_run_that_was_killed_before_its_first_entry_leaves_no_directory() {
        let reports = tempfile::tempdir().expect("a directory");
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        let make = |name: &str, at: SystemTime| {
            let dir = reports.path().join(name);
            std::fs::create_dir(&dir).expect("made");
            let lock = File::create(dir.join(LOCK_FILE)).expect("made");
            File::open(&dir).expect("open").set_modified(at).expect("its time");
            (dir, lock)
        };
        let (dead, _) = make("dead", hour_ago);
        let (begins, _) = make("begins", SystemTime::now());
        let (held, lock) = make("held", hour_ago);
        lock.lock().expect("held");
        let (others, _) = make("others", hour_ago);
        std::fs::write(others.join("notes"), "x").expect("written");
        File::open(&others).expect("open").set_modified(hour_ago).expect("its time");
        assert_eq!(recover(reports.path()).expect("recovered"), []);
        assert!(!dead.exists());
        assert!(begins.exists() && held.exists() && others.exists());
    }
}
