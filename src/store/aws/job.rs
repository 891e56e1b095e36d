//! Backup and restore jobs: copies between a file system and the vault, off the threads that answer.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::account::{Account, State};
use super::disturbance::Watch;
use super::tree::{self, Copied};

/// A copy of a file system in a vault.
#[derive(Debug, Clone)]
pub struct RecoveryPoint {
    pub arn: String,
    /// Name of the vault.
    pub vault: String,
    /// Logical name of the file system.
    pub file_system: String,
    pub created: Timestamp,
    pub bytes: u64,
    /// Where its tree is.
    pub folder: PathBuf,
    /// `None`: a person asked for it.
    pub plan: Option<String>,
}

/// How a job ended.
#[derive(Debug, Clone)]
pub struct End {
    pub at: Timestamp,
    /// What went wrong.
    pub failure: Option<String>,
    pub copied: Copied,
}

#[derive(Debug, Clone)]
pub struct BackupJob {
    pub id: String,
    pub point: RecoveryPoint,
    pub role: String,
    pub created: Timestamp,
    pub ended: Option<End>,
}

#[derive(Debug, Clone)]
pub struct RestoreJob {
    pub id: String,
    pub point: RecoveryPoint,
    pub role: String,
    pub created: Timestamp,
    pub ended: Option<End>,
}

/// What a backup job is asked for.
pub struct BackupRequest {
    pub vault: String,
    pub file_system: String,
    pub role: String,
    pub plan: Option<String>,
    /// How long ago its clock says it was: a backup of last night is made a day old.
    pub age: SignedDuration,
}

/// Begins a backup job; it is in the state when this returns.
pub fn start_backup(account: &Arc<Account>, state: &mut State, request: BackupRequest) -> BackupJob {
    let (id, point) = (state.new_uuid(), state.new_uuid());
    let BackupRequest { vault, file_system, role, plan, age } = request;
    let created = Timestamp::now() - age;
    let arn = account.identity.arn("backup", &format!("recovery-point:{point}"));
    let folder = account.settings.vault.join(&point);
    let point = RecoveryPoint { arn, vault, file_system, created, bytes: 0, folder, plan };
    let job = BackupJob { id: id.to_uppercase(), point: point.clone(), role, created, ended: None };
    state.backup_jobs.push(job.clone());
    let from = claim(account, state, &point.file_system);
    let (account, id) = (account.clone(), job.id.clone());
    tokio::spawn(async move {
        let to = point.folder.clone();
        let copied = copied(move || {
            std::fs::create_dir_all(&to)?;
            tree::copy(&from, &to)
        });
        let end = ended(copied.await, age);
        let mut state = account.state().await;
        if end.failure.is_none() {
            state.points.push(RecoveryPoint { bytes: end.copied.bytes, ..point });
        }
        if let Some(job) = state.backup_jobs.iter_mut().find(|job| job.id == id) {
            job.ended = Some(end);
        }
        drop(state);
        account.changed.notify_one();
    });
    job
}

/// Begins a restore job into a new directory of the file system that the recovery point is of.
pub fn start_restore(account: &Arc<Account>, state: &mut State, point: RecoveryPoint, role: String) -> RestoreJob {
    let created = Timestamp::now();
    let job = RestoreJob { id: state.new_uuid().to_uppercase(), point: point.clone(), role, created, ended: None };
    state.restore_jobs.push(job.clone());
    let root = claim(account, state, &point.file_system);
    let serving = state.tasks.iter().filter(|task| task.serves()).map(|task| task.id.clone()).collect();
    let (account, id) = (account.clone(), job.id.clone());
    tokio::spawn(async move {
        let (live, backup) = (root.clone(), point.folder.clone());
        // Before a byte is written: what the job finds is what it must leave alone.
        let watch = tokio::task::spawn_blocking(move || Watch::begin(live, backup, serving)).await;
        let directory = root.join(directory_name(created));
        let copied = copied(move || {
            std::fs::create_dir(&directory)?;
            tree::copy(&point.folder, &directory)
        });
        let end = ended(copied.await, SignedDuration::ZERO);
        let mut state = account.state().await;
        state.watch = watch.ok();
        if let Some(job) = state.restore_jobs.iter_mut().find(|job| job.id == id) {
            job.ended = Some(end);
        }
        drop(state);
        account.changed.notify_one();
    });
    job
}

/// As the service names what it restores into.
pub fn directory_name(at: Timestamp) -> String {
    let at = at.to_zoned(TimeZone::UTC);
    format!("aws-backup-restore_{}-{:03}Z", at.strftime("%Y-%m-%dT%H-%M-%S"), at.millisecond())
}

fn claim(account: &Account, state: &State, file_system: &str) -> PathBuf {
    let claim = state.stack.file_systems.get(file_system).map_or("", |system| system.claim.as_str());
    account.settings.efs.join(claim)
}

async fn copied(copy: impl FnOnce() -> io::Result<Copied> + Send + 'static) -> io::Result<Copied> {
    tokio::task::spawn_blocking(copy).await.map_err(io::Error::other)?
}

fn ended(copied: io::Result<Copied>, age: SignedDuration) -> End {
    let at = Timestamp::now() - age;
    match copied {
        Ok(copied) => End { at, failure: None, copied },
        Err(error) => End { at, failure: Some(error.to_string()), copied: Copied::default() },
    }
}

/// Whether a name is one that a restore job gave.
pub fn is_restore_directory(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with("aws-backup-restore_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_directory_is_named_as_on_the_page() {
        let at: Timestamp = "2022-01-17T08:53:32.695Z".parse().unwrap();
        assert_eq!(directory_name(at), "aws-backup-restore_2022-01-17T08-53-32-695Z");
        let at: Timestamp = "2022-01-17T08:53:32.005Z".parse().unwrap();
        assert_eq!(directory_name(at), "aws-backup-restore_2022-01-17T08-53-32-005Z");
    }
}
