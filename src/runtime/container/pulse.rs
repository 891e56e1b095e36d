//! Whether the engine is still there: what is seen of a drill after that says nothing about its procedure.

use std::time::Duration;

use testcontainers::bollard::Docker;
use tokio_util::sync::CancellationToken;

/// An engine that takes longer for one word is as good as gone.
const ANSWER: Duration = Duration::from_secs(10);

/// The engine's, felt by one run.
#[derive(Clone)]
pub struct Pulse {
    docker: Docker,
    /// Cancelled when the engine's events end, which they do not while it runs: what ended meanwhile is not known then, and an
    /// engine that stops takes its containers along.
    pub(super) lost: CancellationToken,
}

impl Pulse {
    pub(super) fn of(docker: &Docker) -> Self {
        Self { docker: docker.clone(), lost: CancellationToken::new() }
    }

    /// Completes when the engine has gone.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Whether the engine has been there all the time and is now.
    pub async fn is_felt(&self) -> bool {
        let answers = async { tokio::time::timeout(ANSWER, self.docker.ping()).await.is_ok_and(|said| said.is_ok()) };
        // Asked last: an engine that stops may answer one more time.
        !self.lost.is_cancelled() && answers.await && !self.lost.is_cancelled()
    }
}
