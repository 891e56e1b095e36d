//! Giving up on what was typed, and on a session.

use tokio::time::Instant;

use super::arrival::{Answer, Arrival, Meaning};
use super::line::Received;
use super::probing::Probing;
use super::step::StepStatus;
use super::{Session, SessionError, log_error};

impl Session {
    /// Leaves a statement that the text did not complete.
    pub(super) async fn abandon(&mut self) -> Result<Arrival, SessionError> {
        let last_output = self.transcript.last_output();
        match self.interrupt().await? {
            Interrupted::Reads => Ok(StepStatus::Incomplete.into()),
            Interrupted::Silent => {
                Ok(StepStatus::Deadline { last_output, waiting_for_input_hint: None, usable: false }.into())
            }
            Interrupted::Gone(exit) => Ok(StepStatus::Lost { exit }.into()),
        }
    }

    pub(super) async fn give_up(
        &mut self,
        mut probing: Option<Probing>,
        hint: Option<String>,
    ) -> Result<Arrival, SessionError> {
        self.tell_chatter(probing.as_mut())?;
        let last_output = self.transcript.last_output();
        let interrupted = self.interrupt().await?;
        let usable = match (interrupted, probing) {
            (Interrupted::Reads, Some(probing)) => {
                let settled = self.settle(probing, Answer::Ended(StepStatus::Exit(130).into()));
                // Boxed: settling may give up in its turn, but without probes, so no further.
                let settled = Box::pin(settled).await?;
                matches!(settled, Answer::Ended(Arrival { status: StepStatus::Exit(_), .. }))
            }
            (Interrupted::Reads, None) => true,
            (Interrupted::Silent | Interrupted::Gone(_), _) => false,
        };
        Ok(StepStatus::Deadline { last_output, waiting_for_input_hint: hint, usable }.into())
    }

    /// Presses ctrl-C until a program of the session reads commands again.
    async fn interrupt(&mut self) -> Result<Interrupted, SessionError> {
        const CONTROL_C: &[u8] = b"\x03";
        const TIMES: u32 = 3;
        for _ in 0..TIMES {
            self.line.press(CONTROL_C).await?;
            let until = Instant::now() + self.deadlines.interrupt / TIMES;
            loop {
                match self.line.receive(until).await? {
                    Received::Output(bytes) => self.transcript.push(&bytes).map_err(log_error)?,
                    Received::Mark(mark) => {
                        if let Meaning::Answer(Answer::Ended(_)) = self.meaning(mark, None) {
                            return Ok(Interrupted::Reads);
                        }
                    }
                    Received::Quiet => break,
                    Received::Gone(exit) => return Ok(Interrupted::Gone(exit)),
                }
            }
        }
        Ok(Interrupted::Silent)
    }

    /// Waits until the program that was told to leave has left.
    pub(super) async fn has_left(&mut self, until: Instant) -> bool {
        loop {
            match self.line.receive(until).await {
                Ok(Received::Mark(mark)) => {
                    if let Meaning::Answer(Answer::Ended(_)) = self.meaning(mark, None) {
                        return true;
                    }
                }
                Ok(Received::Output(_)) => {}
                Ok(Received::Quiet | Received::Gone(_)) | Err(_) => return false,
            }
        }
    }
}

enum Interrupted {
    Reads,
    Silent,
    Gone(Option<i32>),
}
