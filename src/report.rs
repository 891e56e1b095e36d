//! One [`Outcome`] into every form that somebody reads: the same verdict in each, the same bytes for the same outcome.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::outcome::Outcome;

mod html;
pub mod json;
mod junit;
mod metrics;
pub mod table;
mod timings;

/// A report that could not be made or kept.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("write {}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("make {name} of the outcome")]
    Json { name: &'static str, source: serde_json::Error },
    #[error("make junit.xml of the outcome")]
    Junit { source: junit::JunitError },
    #[error("make index.html of the outcome")]
    Html { source: minijinja::Error },
}

/// Every report of a run, by file name, in the order in which they are written: `results.json` comes last, because
/// a run that has one counts as reported.
///
/// # Errors
/// When one cannot be made.
pub fn all(outcome: &Outcome) -> Result<Vec<(&'static str, Vec<u8>)>, ReportError> {
    Ok(vec![
        ("junit.xml", junit::render(outcome).map_err(|source| ReportError::Junit { source })?),
        ("timings.json", timings::json(outcome)?),
        ("timings.csv", timings::csv(outcome).into_bytes()),
        ("metrics.prom", metrics::render(outcome).into_bytes()),
        ("index.html", html::render(outcome).map_err(|source| ReportError::Html { source })?.into_bytes()),
        (json::SCHEMA_FILE, json::schema().into_bytes()),
        (json::RESULTS_FILE, json::render(outcome)?),
    ])
}

/// Writes every report into the directory, which is made if it is not there. Safe to call again.
///
/// # Errors
/// When one cannot be made or written; what was written before stays, each file whole.
pub fn write_all(dir: &Path, outcome: &Outcome) -> Result<(), ReportError> {
    for (name, bytes) in all(outcome)? {
        write_beside_and_rename(&dir.join(name), &bytes)?;
    }
    Ok(())
}

/// Removes what a killed process had begun to write.
///
/// # Errors
/// When the directory cannot be read or a file not be removed.
pub fn remove_unfinished(dir: &Path) -> Result<(), ReportError> {
    let failed = |source| ReportError::Write { path: dir.to_owned(), source };
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_string_lossy().starts_with(BESIDE) {
            std::fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

/// How names begin of files that are not whole yet.
const BESIDE: &str = ".beside-";

/// Replaces a file as a whole: readers see the old or the new one, never half of it, whatever moment we die at.
///
/// # Errors
/// When the directory cannot be made or the file not written.
pub fn write_beside_and_rename(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    let write = || -> std::io::Result<()> {
        let dir = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(dir)?;
        let mut beside = tempfile::Builder::new().prefix(BESIDE).tempfile_in(dir)?;
        beside.write_all(bytes)?;
        beside.as_file().sync_all()?;
        // Temporary files are for their owner alone; reports are for whoever may read the directory.
        beside.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        beside.persist(path)?;
        Ok(())
    };
    write().map_err(|source| ReportError::Write { path: path.to_owned(), source })
}
