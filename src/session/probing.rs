//! When to ask a program whether it reads the terminal.

use std::time::Duration;

use super::hint;
use super::opener::{Opener, may_change_prompt, opener};
use super::reader::Reader;

/// How long a program has been silent before it is asked whether it reads; doubled from question to question.
const FIRST_PROBE: Duration = Duration::from_secs(1);
const LAST_PROBE: Duration = Duration::from_secs(8);
/// How long a program that shows a prompt has been silent.
const PROMPT_SHOWN: Duration = Duration::from_millis(30);

/// Asking a program that may have opened a session whether it has.
pub struct Probing {
    pub opener: Opener,
    /// It is the same shell, with another prompt.
    pub same: bool,
    pub sent: Vec<u32>,
    /// What came since the first probe: the programs' own words between echoes of ours.
    pub chatter: Vec<u8>,
}

impl Probing {
    pub fn new(opener: Opener, same: bool) -> Self {
        Self { opener, same, sent: Vec::new(), chatter: Vec::new() }
    }

    pub fn for_statement(statement: &str) -> Option<Self> {
        let same = || Opener { reader: Reader::Shell, replaces: false };
        opener(statement)
            .map(|opener| Self::new(opener, false))
            .or_else(|| may_change_prompt(statement).then(|| Self::new(same(), true)))
    }

    /// How long the program must be silent before it is asked (again) whether it reads. Never where it asks a question:
    /// the probe would be taken for a password.
    pub fn patience(&self, cursor: &str) -> Option<Duration> {
        if hint::is_question(cursor) {
            return None;
        }
        let again = (FIRST_PROBE * 2_u32.saturating_pow(self.sent.len() as u32)).min(LAST_PROBE);
        match (self.sent.is_empty(), hint::is_prompt(cursor)) {
            (true, true) => Some(PROMPT_SHOWN),
            (true, false) | (false, false) => (!self.same).then_some(again),
            (false, true) => Some(again),
        }
    }
}
