//! What went wrong in the helper, in a form that crosses the socket.

use serde::{Deserialize, Serialize};

/// A part that could not be done, and the system's reason.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fault {
    pub doing: String,
    pub reason: String,
    pub errno: Option<i32>,
    /// Set when it was the program asked for that could not be executed.
    pub program: Option<String>,
}

impl Fault {
    pub fn new(doing: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { doing: doing.into(), reason: reason.into(), errno: None, program: None }
    }

    pub fn cannot_run(program: &str, reason: impl Into<String>) -> Self {
        Self { program: Some(program.to_owned()), ..Self::new("run the program", reason) }
    }
}

/// Says what was being done when a system call failed.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl Into<String>) -> Result<T, Fault>;
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing(self, what: impl Into<String>) -> Result<T, Fault> {
        self.map_err(|error| Fault {
            doing: what.into(),
            reason: error.to_string(),
            errno: error.raw_os_error(),
            program: None,
        })
    }
}

impl<T> Doing<T> for nix::Result<T> {
    fn doing(self, what: impl Into<String>) -> Result<T, Fault> {
        self.map_err(std::io::Error::from).doing(what)
    }
}
