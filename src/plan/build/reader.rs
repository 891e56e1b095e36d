//! What reads the first terminal: a shell, or the program whose session a command opened.

use super::weakness;
use crate::outcome::ProgramLabel;
use crate::plan::{Action, PlannedStep};
use crate::scenario::Terminal;
use crate::session::{self, SessionKind};

pub(super) struct Reader {
    pub kind: SessionKind,
    /// Of the program that opened the session.
    program: ProgramLabel,
}

impl Reader {
    pub fn shell() -> Self {
        Self { kind: SessionKind::Shell, program: ProgramLabel::Real }
    }

    /// Has a step typed to it. What is typed into a session runs on the program that opened it, whatever it names itself.
    pub fn read(&mut self, step: &mut PlannedStep) {
        if step.action != Action::Shell || step.terminal != Terminal::Same {
            return;
        }
        if self.kind == SessionKind::Sql && weakness(self.program) > weakness(step.program) {
            step.program = self.program;
        }
        let after = session::after(self.kind, &step.text);
        if self.kind == SessionKind::Shell {
            self.program = step.program;
        }
        self.kind = after;
    }
}
