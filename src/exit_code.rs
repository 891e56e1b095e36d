//! The numbers that redrill exits with. README shows the same table; a test holds it to this file.

use crate::outcome::Verdict;

/// Exit code of the process: a function of one [`crate::outcome::Outcome`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExitCode {
    /// Recovery is proven with the document as written, or with what the scenario accepts.
    Passed = 0,
    /// Recovery is not proven: a step broke, a check differs, an objective was missed where it counts.
    Failed = 1,
    /// It could not be found out: environment, tool, coverage gap, a check that did not run, a killed run.
    Unverified = 2,
    /// Recovery is proven, but only with errata applied.
    Corrected = 3,
    /// Recovery is proven on a stand-in for a part that matters.
    Simulated = 4,
    /// Teardown left something behind.
    Leftovers = 5,
    /// Arguments or configuration, an empty selection included; `EX_USAGE` of sysexits.h.
    Usage = 64,
}

impl ExitCode {
    /// Every code, best verdict first.
    pub const ALL: [Self; 7] =
        [Self::Passed, Self::Corrected, Self::Simulated, Self::Failed, Self::Unverified, Self::Leftovers, Self::Usage];

    /// The number.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The word for it: a verdict in capitals, or `usage`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => Verdict::Passed.word(),
            Self::Failed => Verdict::Failed.word(),
            Self::Unverified => Verdict::Unverified.word(),
            Self::Corrected => Verdict::Corrected.word(),
            Self::Simulated => Verdict::Simulated.word(),
            Self::Leftovers => Verdict::Leftovers.word(),
            Self::Usage => "usage",
        }
    }

    /// What it tells whoever reads it, as README has it.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Passed => "recovery proven with the document as written",
            Self::Corrected => {
                "recovery proven, but only with errata applied: the page would have failed the person on call"
            }
            Self::Simulated => "proven on a stand-in for a part that matters",
            Self::Failed => {
                "recovery not proven: a step broke, a check differs, an objective was missed where it counts"
            }
            Self::Unverified => {
                "could not be found out: environment, tool, coverage gap, a check that did not run, a killed run"
            }
            Self::Leftovers => "teardown left something behind (whatever else was proven stands beside it)",
            Self::Usage => "arguments or configuration, an empty selection included",
        }
    }
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Passed => Self::Passed,
            Verdict::Corrected => Self::Corrected,
            Verdict::Simulated => Self::Simulated,
            Verdict::Leftovers => Self::Leftovers,
            Verdict::Unverified => Self::Unverified,
            Verdict::Failed => Self::Failed,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_in_readme_is_the_table_in_the_code() {
        let readme = include_str!("../README.md");
        let in_readme: Vec<&str> = readme
            .lines()
            .skip_while(|line| !line.starts_with("| verdict | exit code |"))
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .collect();
        let in_code: Vec<String> = ExitCode::ALL
            .iter()
            .map(|code| format!("| {} | {} | {} |", code.word(), code.number(), code.meaning()))
            .collect();
        assert_eq!(in_readme, in_code);
    }
}
