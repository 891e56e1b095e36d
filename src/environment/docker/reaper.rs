//! What outlives a harness that is killed: a process of its own (`redrill __reaper RUN`) that hears of the harness's end, however it
//! comes about, and removes what the run has on the engine.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::command::{self, Apart};
use crate::environment::EnvironmentError;
use crate::runtime::container::ContainerRuntime;

/// The first argument that makes the redrill binary a reaper.
pub const HELPER: &str = "__reaper";
/// What the harness says when nothing is left to do.
const DONE: &[u8] = b"done";
/// The engine may still be making what the harness asked for last.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
const LOOKS: usize = 3;
const DEADLINE: Duration = Duration::from_secs(120);

/// The harness's end of the line.
pub(super) struct Lifeline(Apart);

impl Lifeline {
    /// Starts a reaper, before there is anything on the engine.
    pub fn hold(run: &str) -> Result<Self, EnvironmentError> {
        let doing = "start what cleans up if this is killed";
        let program = std::env::current_exe().map_err(EnvironmentError::io("find the running program"))?;
        let started = command::start_apart(&[&program.to_string_lossy(), HELPER, run]);
        let reason = |error| EnvironmentError::Failed { doing: doing.to_owned(), reason: crate::error::chain(&error) };
        started.map(Self).map_err(reason)
    }

    /// Nothing is left, so it may go. Where something is left it stays, and tries again.
    pub async fn release(self) {
        let Self(Apart { mut input, mut child }) = self;
        let ended = tokio::task::spawn_blocking(move || {
            // One that has ended already hears nothing, and need not.
            let _ = input.write_all(DONE);
            drop(input);
            child.wait()
        });
        if let Err(error) = ended.await.map_err(std::io::Error::other).flatten() {
            tracing::warn!(%error, "the reaper's end was not seen");
        }
    }
}

/// Waits for the end of the harness, and cleans up after it unless it has done so itself.
pub fn main(arguments: &[OsString]) -> ExitCode {
    let Some(run) = arguments.first().and_then(|run| run.to_str()) else { return ExitCode::FAILURE };
    let mut said = Vec::new();
    // A line that breaks is an end, too.
    let _ = std::io::stdin().read_to_end(&mut said);
    if said == DONE {
        return ExitCode::SUCCESS;
    }
    let cleaned = tokio::runtime::Runtime::new().is_ok_and(|runtime| runtime.block_on(clean_up(run)));
    if cleaned { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Until several looks in a row have found nothing.
async fn clean_up(run: &str) -> bool {
    let since = Instant::now();
    let mut empty = 0;
    while since.elapsed() < DEADLINE {
        match ContainerRuntime::sweep(run).await {
            Ok(swept) if swept.found == 0 => empty += 1,
            Ok(_) | Err(_) => empty = 0,
        }
        if empty == LOOKS {
            return true;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    false
}
