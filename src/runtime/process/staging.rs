//! Image files, brought to where the fabric can read them.
//!
//! The ids inside cannot pass a home directory that is closed to others, so each file is linked or
//! copied into the run directory first, once.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::runtime::{ImageFile, RuntimeError};
use crate::sandbox::protocol::StagedFile;

pub(super) struct Staging {
    directory: PathBuf,
    /// Sources and the names they are staged under.
    staged: Arc<Mutex<BTreeMap<PathBuf, String>>>,
}

impl Staging {
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, staged: Arc::default() }
    }

    /// Stages what has not been staged yet.
    pub async fn show(&self, files: &[ImageFile]) -> Result<Vec<StagedFile>, RuntimeError> {
        let mut staged = self.staged.lock().await;
        let mut shown = Vec::new();
        for file in files {
            let name = match staged.get(&file.source) {
                Some(name) => name.clone(),
                None => {
                    let name = staged.len().to_string();
                    self.stage(file, &name).await?;
                    staged.insert(file.source.clone(), name.clone());
                    name
                }
            };
            shown.push(StagedFile { staged: name, target: file.target.clone() });
        }
        Ok(shown)
    }

    async fn stage(&self, file: &ImageFile, name: &str) -> Result<(), RuntimeError> {
        let (source, target) = (file.source.clone(), self.directory.join(name));
        let done = tokio::task::spawn_blocking(move || {
            // A first attempt may have been broken off.
            let _ = fs::remove_dir_all(&target).or_else(|_| fs::remove_file(&target));
            stage(&source, &target)
        });
        done.await.map_err(io::Error::other).flatten().map_err(|error| RuntimeError::Failed {
            doing: format!("show {} as {}", file.source.display(), file.target.display()),
            reason: error.to_string(),
        })
    }
}

fn stage(source: &Path, target: &Path) -> io::Result<()> {
    let metadata = fs::metadata(source)?;
    if metadata.is_dir() {
        fs::create_dir(target)?;
        fs::set_permissions(target, fs::Permissions::from_mode(0o755))?;
        for entry in fs::read_dir(source)? {
            let entry = entry?;
            let below = target.join(entry.file_name());
            if entry.file_type()?.is_symlink() {
                std::os::unix::fs::symlink(fs::read_link(entry.path())?, below)?;
            } else {
                stage(&entry.path(), &below)?;
            }
        }
        return Ok(());
    }
    let executable = metadata.mode() & 0o111 != 0;
    let mode = if executable { 0o755 } else { 0o644 };
    // A link costs nothing, even for redrill itself; it has the source's own mode, so only when that will do.
    let resolved = fs::canonicalize(source)?;
    if metadata.mode() & mode == mode && metadata.mode() & 0o6000 == 0 && fs::hard_link(resolved, target).is_ok() {
        return Ok(());
    }
    fs::copy(source, target)?;
    fs::set_permissions(target, fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_script_is_staged_readable_and_executable_and_keeps_its_own_mode() {
        let directory = tempfile::tempdir().unwrap();
        let (source, target) = (directory.path().join("backup.bb"), directory.path().join("staged"));
        fs::write(&source, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&source, fs::Permissions::from_mode(0o700)).unwrap();
        stage(&source, &target).unwrap();
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o755);
        assert_eq!(fs::metadata(&source).unwrap().mode() & 0o7777, 0o700);
    }
}
