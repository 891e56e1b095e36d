//! Whether the running service was left alone between a restore job and the switch to what it restored.
//!
//! The service itself writes all the while, so its files change. What it never does by itself is turn back: a file that differed
//! from the backup's when the job began and is the backup's, byte by byte, later on was put there by somebody else.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::account::State;
use super::job::is_restore_directory;

/// What was so when a restore job began.
#[derive(Debug, Clone)]
pub struct Watch {
    live: PathBuf,
    backup: PathBuf,
    /// Files of the backup that the live file system had otherwise, or not at all.
    differed: BTreeSet<PathBuf>,
    /// Ids of tasks that served.
    pub serving: BTreeSet<String>,
    /// Whether a deployment has begun, and what was found by then.
    pub switched: Option<Vec<String>>,
}

impl Watch {
    /// Compares every file; blocks.
    pub fn begin(live: PathBuf, backup: PathBuf, serving: BTreeSet<String>) -> Self {
        let mut files = BTreeSet::new();
        below(&backup, Path::new(""), &mut files);
        let differed = files.into_iter().filter(|file| !is_same(&live.join(file), &backup.join(file)));
        let differed = differed.collect();
        Self { live, backup, differed, serving, switched: None }
    }

    /// Files of the live file system that have become the backup's since; blocks.
    pub fn turned_back(&self) -> Vec<String> {
        let turned = self.differed.iter().filter(|file| is_same(&self.live.join(file), &self.backup.join(file)));
        turned.map(|file| format!("{} of the running service became what the backup has", file.display())).collect()
    }
}

/// A deployment begins: from here on nothing has to stay as it was.
pub async fn switched(state: &mut State) {
    let Some(watch) = state.watch.as_ref().filter(|watch| watch.switched.is_none()) else { return };
    let found = found(state, watch).await;
    if let Some(watch) = &mut state.watch {
        watch.switched = Some(found);
    }
}

/// What happened to the running service since the restore job began, up to the switch.
pub async fn found(state: &State, watch: &Watch) -> Vec<String> {
    if let Some(found) = &watch.switched {
        return found.clone();
    }
    let ended = watch.serving.iter().filter(|id| !state.tasks.iter().any(|task| task.id == **id && task.serves()));
    let ended =
        ended.map(|id| format!("task {id}, which served when the restore job began, served no more before the switch"));
    let mut found: Vec<String> = ended.collect();
    let watch = watch.clone();
    match tokio::task::spawn_blocking(move || watch.turned_back()).await {
        Ok(turned) => found.extend(turned),
        Err(error) => found.push(format!("the file system could not be looked at: {error}")),
    }
    found
}

/// Regular files by their path. What earlier restores left is nobody's live data.
fn below(root: &Path, inner: &Path, files: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(root.join(inner)).into_iter().flatten().flatten() {
        let path = inner.join(entry.file_name());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !is_restore_directory(&path) => below(root, &path, files),
            Ok(kind) if kind.is_file() => drop(files.insert(path)),
            Ok(_) | Err(_) => {}
        }
    }
}

/// Two files that can be read and hold the same. Empty ones tell nothing.
fn is_same(one: &Path, other: &Path) -> bool {
    let (Ok(mut one), Ok(mut other)) = (File::open(one), File::open(other)) else { return false };
    let size = |file: &File| file.metadata().map(|metadata| metadata.len()).ok();
    if size(&one) != size(&other) {
        return false;
    }
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut any = false;
    loop {
        match (fill(&mut one, &mut left), fill(&mut other, &mut right)) {
            (Some(0), Some(0)) => return any,
            (Some(a), Some(b)) if a == b && left[..a] == right[..b] => any = true,
            _ => return false,
        }
    }
}

fn fill(file: &mut File, buffer: &mut [u8]) -> Option<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]).ok()? {
            0 => break,
            count => filled += count,
        }
    }
    Some(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let (live, backup) = (place.path().join("live"), place.path().join("backup"));
        for folder in [live.join("db"), backup.join("db"), backup.join("aws-backup-restore_old/db")] {
            fs::create_dir_all(folder).unwrap();
        }
        for (file, lived, kept) in [("db/data", "corrupt", "content"), ("db/same", "same", "same")] {
            fs::write(live.join(file), lived).unwrap();
            fs::write(backup.join(file), kept).unwrap();
        }
        fs::write(backup.join("db/lost"), "lost").unwrap();
        fs::write(backup.join("db/empty"), "").unwrap();
        (place, live, backup)
    }

    #[test]
    fn a_service_that_goes_on_writing_is_not_disturbed() {
        let (_place, live, backup) = place();
        let watch = Watch::begin(live.clone(), backup, BTreeSet::new());
        assert_eq!(watch.turned_back(), [""; 0]);
        fs::write(live.join("db/data"), "more").unwrap();
        fs::write(live.join("db/empty"), "").unwrap();
        fs::remove_file(live.join("db/same")).unwrap();
        assert_eq!(watch.turned_back(), [""; 0]);
    }

    #[test]
    fn a_copy_of_the_backup_over_live_files_is_found() {
        let (_place, live, backup) = place();
        let watch = Watch::begin(live.clone(), backup.clone(), BTreeSet::new());
        fs::copy(backup.join("db/data"), live.join("db/data")).unwrap();
        fs::copy(backup.join("db/lost"), live.join("db/lost")).unwrap();
        let found = watch.turned_back().join("; ");
        assert!(found.contains("db/data of the running") && found.contains("db/lost of the running"), "{found}");
        assert_eq!(watch.turned_back().len(), 2);
    }
}
