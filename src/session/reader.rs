//! What reads the terminal.

use super::step::SessionKind;

/// A program that takes text from the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    Shell,
    Psql,
    /// `cockroach sql`
    Cockroach,
}

impl Reader {
    pub fn kind(self) -> SessionKind {
        match self {
            Self::Shell => SessionKind::Shell,
            Self::Psql | Self::Cockroach => SessionKind::Sql,
        }
    }
}
