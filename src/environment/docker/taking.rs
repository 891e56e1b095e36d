//! Taking files out of images, in runs of their own: what a kill leaves of one on the engine is removed as a drill's is.

use std::path::PathBuf;

use super::reaper::Lifeline;
use crate::environment::EnvironmentError;
use crate::environment::run_directory::RunDirectory;
use crate::runtime::container;

pub(super) struct Taking {
    directory: RunDirectory,
    lifeline: Lifeline,
    taken: usize,
}

impl Taking {
    /// `what` is part of the run's name.
    pub fn begin(what: &str) -> Result<Self, EnvironmentError> {
        let name = format!("{what}-{:08x}", rand::random::<u32>());
        let lifeline = Lifeline::hold(&name)?;
        Ok(Self { directory: RunDirectory::make(&name)?, lifeline, taken: 0 })
    }

    /// A tar of what is at `path` in an image; gone with the run.
    pub async fn take(&mut self, image: &str, path: &str) -> Result<PathBuf, EnvironmentError> {
        let archive = self.directory.path().join(format!("{}.tar", self.taken));
        self.taken += 1;
        container::take_out(image, path, &self.directory.lock_path(), &archive).await?;
        Ok(archive)
    }

    /// Ends it; where something went wrong, what it left is the reaper's, who hears of the end by the line's.
    pub async fn end<T>(self, result: Result<T, EnvironmentError>) -> Result<T, EnvironmentError> {
        match &result {
            Ok(_) => self.lifeline.release().await,
            Err(_) => drop(self.lifeline),
        }
        self.directory.remove().await?;
        result
    }
}
