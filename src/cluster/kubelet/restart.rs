//! When a container that ended is started again.

use std::cmp::min;
use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);
/// A container that ran this long starts afresh.
const FORGET: Duration = Duration::from_secs(600);

/// CrashLoopBackOff: the first restart does not wait, the next waits 10 s, each further one twice as long, at most 5 minutes;
/// ten good minutes are a fresh start.
#[derive(Debug, Default)]
pub struct Backoff {
    wait: Duration,
}

impl Backoff {
    /// How long to wait after a run of this length.
    pub fn after(&mut self, started: Instant) -> Duration {
        if started.elapsed() >= FORGET {
            self.wait = Duration::ZERO;
        }
        let wait = self.wait;
        self.wait = if wait.is_zero() { FIRST } else { min(wait * 2, LONGEST) };
        wait
    }
}

/// `restartPolicy` of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

impl RestartPolicy {
    pub fn of(policy: Option<&str>) -> Self {
        match policy {
            Some("Never") => Self::Never,
            Some("OnFailure") => Self::OnFailure,
            Some(_) | None => Self::Always,
        }
    }

    /// Init containers run once: what succeeded is not started again.
    pub fn for_init(self) -> Self {
        match self {
            Self::Always | Self::OnFailure => Self::OnFailure,
            Self::Never => Self::Never,
        }
    }

    pub fn restarts(self, exit_code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => exit_code != 0,
            Self::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_five_minutes() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..8).map(|_| backoff.after(Instant::now()).as_secs()).collect();
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[tokio::test(start_paused = true)]
    async fn ten_good_minutes_are_a_fresh_start() {
        let mut backoff = Backoff::default();
        backoff.after(Instant::now());
        backoff.after(Instant::now());
        let started = Instant::now();
        tokio::time::advance(Duration::from_secs(601)).await;
        assert_eq!(backoff.after(started), Duration::ZERO);
    }
}
