//! The directory of a local drill: volumes, hosts files, logs of pods. Its lock tells a live run from a dead one.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::EnvironmentError;
use crate::sandbox;

/// All drills of this user; outside of homes, because the shifted ids must be able to walk to it.
pub fn parent() -> PathBuf {
    let root = std::env::var_os("REDRILL_STATE_DIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    root.join(format!("redrill-{}", nix::unistd::geteuid()))
}

/// A directory and the lock that says that its run lives.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    lock: File,
}

impl RunDirectory {
    /// Makes and locks it.
    pub fn make(name: &str) -> Result<Self, EnvironmentError> {
        let parent = parent();
        // Others may walk through, since the shifted ids are others; they may not list.
        let unmade =
            EnvironmentError::io(format!("make {} (REDRILL_STATE_DIR names another folder)", parent.display()));
        DirBuilder::new().recursive(true).mode(0o711).create(&parent).map_err(unmade)?;
        check_room(&parent)?;
        let lock = make_lock(&parent, name)?;
        let path = parent.join(name);
        DirBuilder::new().mode(0o711).create(&path).map_err(doing("make", &path))?;
        Ok(Self { path, lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Held for as long as the run lives.
    pub fn lock_path(&self) -> PathBuf {
        lock_of(&self.path)
    }

    /// Removes it with all that is in it; what is still there after that.
    pub async fn remove(self) -> Result<Vec<String>, EnvironmentError> {
        remove(&self.path).await?;
        let lock_path = lock_of(&self.path);
        std::fs::remove_file(&lock_path).map_err(doing("remove", &lock_path))?;
        drop(self.lock);
        Ok(if self.path.exists() { vec![self.path.display().to_string()] } else { Vec::new() })
    }
}

/// The directories of dead runs of this user, sorted.
#[cfg(feature = "kube")]
pub fn dead() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent()).into_iter().flatten().flatten();
    let locks = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "lock"));
    let mut dead: Vec<PathBuf> = locks.filter(|lock| is_dead(lock)).map(|lock| lock.with_extension("")).collect();
    dead.sort();
    dead
}

/// Removes the directories of dead runs and returns their names. A live run's is left alone: its lock is held.
pub async fn sweep() -> Result<Vec<String>, EnvironmentError> {
    let parent = parent();
    let mut swept = Vec::new();
    let Ok(entries) = std::fs::read_dir(&parent) else { return Ok(swept) };
    let mut locks: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    locks.retain(|path| path.extension().is_some_and(|extension| extension == "lock"));
    locks.sort();
    for lock_path in locks {
        let Ok(lock) = File::open(&lock_path) else { continue };
        // Whoever had it before may have removed it.
        if lock.try_lock().is_err() || !lock_path.exists() {
            continue;
        }
        let path = lock_path.with_extension("");
        if path.exists() {
            remove(&path).await?;
        }
        std::fs::remove_file(&lock_path).map_err(doing("remove", &lock_path))?;
        swept.push(path.display().to_string());
    }
    Ok(swept)
}

/// The machine that locks are on, by its name.
#[cfg(feature = "docker")]
pub fn host() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Whether nobody holds a run's lock. One that cannot be asked is taken for held.
#[cfg(feature = "docker")]
pub fn is_dead(lock: &Path) -> bool {
    match File::open(lock) {
        Ok(file) => file.try_lock().is_ok(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// What the smallest drill fills: a database, its backup, what both become when restored.
const ROOM: u64 = 512 << 20;

/// A disk that is full in the middle of a drill looks like a step that breaks, which would be blamed on the runbook.
fn check_room(parent: &Path) -> Result<(), EnvironmentError> {
    let space =
        nix::sys::statvfs::statvfs(parent).map_err(|error| doing("ask for the room in", parent)(error.into()))?;
    // As wide as the kernel has them, which differs between machines.
    #[allow(clippy::useless_conversion)]
    let free = u64::from(space.blocks_available()).saturating_mul(u64::from(space.fragment_size()));
    match free >= ROOM {
        true => Ok(()),
        false => Err(EnvironmentError::Failed {
            doing: format!("find room for a drill in {}", parent.display()),
            reason: format!(
                "{} MiB are free, {} are needed; make room, or name another folder with REDRILL_STATE_DIR",
                free >> 20,
                ROOM >> 20
            ),
        }),
    }
}

/// Makes the lock of a run, held from the moment that it can be seen: whoever sweeps finds it taken, or it is a dead run's.
fn make_lock(parent: &Path, name: &str) -> Result<File, EnvironmentError> {
    let lock_path = parent.join(format!("{name}.lock"));
    // Removed should anything fail; one that a killed run left is an empty file that nothing waits for.
    let beside =
        tempfile::Builder::new().prefix(".lock-").tempfile_in(parent).map_err(doing("make a file in", parent))?;
    beside.as_file().lock().map_err(doing("lock", &lock_path))?;
    beside.persist_noclobber(&lock_path).map_err(|error| doing("make", &lock_path)(error.error))
}

async fn remove(path: &Path) -> Result<(), EnvironmentError> {
    let program = std::env::current_exe().map_err(EnvironmentError::io("find the running executable"))?;
    let path = path.to_owned();
    let removed = tokio::task::spawn_blocking(move || sandbox::remove_run_directory(&program, &path)).await;
    match removed {
        Ok(result) => Ok(result?),
        Err(error) => {
            Err(EnvironmentError::Failed { doing: "remove a run's directory".into(), reason: error.to_string() })
        }
    }
}

fn lock_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn doing(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> EnvironmentError + use<> {
    EnvironmentError::io(format!("{what} {}", path.display()))
}

#[cfg(test)]
#[cfg(feature = "docker")]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_dead_when_its_lock_is_free_or_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run.lock");
        assert!(is_dead(&path));
        let lock = File::create(&path).unwrap();
        lock.lock().unwrap();
        assert!(!is_dead(&path));
        drop(lock);
        assert!(is_dead(&path));
    }
}
