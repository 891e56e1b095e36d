//! One log per step, in the run's directory, redacted before a byte is stored.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::plan::PlannedStep;

/// Hands out log files, numbered in the order of the steps.
pub struct Logs {
    /// Of the run.
    directory: PathBuf,
    /// Below it: the drill's name.
    drill: String,
    next: AtomicUsize,
}

impl Logs {
    pub fn new(directory: PathBuf, drill: &str) -> std::io::Result<Self> {
        fs::create_dir_all(directory.join("logs").join(drill))?;
        Ok(Self { directory, drill: drill.to_owned(), next: AtomicUsize::new(1) })
    }

    /// Opens the next log for a step: the file, and its name relative to the run's directory.
    pub fn open(&self, step: &PlannedStep) -> std::io::Result<(File, String)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let phase = format!("{:?}", step.phase).to_lowercase();
        let name = format!("logs/{}/{number:02}-{phase}-line-{}.log", self.drill, step.source.line);
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(self.directory.join(&name))?;
        Ok((file, name))
    }

    /// Writes a whole log at once; `None` where it could not be kept.
    pub fn keep(&self, step: &PlannedStep, text: &str) -> Option<String> {
        let (mut file, name) = self.open(step).ok()?;
        file.write_all(text.as_bytes()).ok()?;
        Some(name)
    }
}
