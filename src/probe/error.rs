use std::io;

use crate::{command, database};

/// Why the prober could not find out what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Database(#[from] database::Error),
    #[error(transparent)]
    Command(#[from] command::Error),
    #[error("{doing}")]
    Io { doing: String, source: io::Error },
    #[error("not done within {millis} ms; the last try ended with: {last}")]
    Deadline { millis: u64, last: String },
    #[error("refused for {seconds} s, at last with: {last}")]
    Refused { seconds: u64, last: String },
}

impl Error {
    /// Whether a server that is up has judged the statement, the login or its own data, and is not just busy, starting or
    /// stopping: then it is of the system that something is missing, and not of the prober.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Database(error) => error.is_refusal(),
            Self::Command(_) | Self::Io { .. } | Self::Deadline { .. } | Self::Refused { .. } => false,
        }
    }

    /// For `map_err`: says what was being done when the system refused.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
