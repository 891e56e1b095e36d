//! A question that a prober did not answer as asked, and whose fault that is.

use crate::drill::record::Halt;
use crate::error::chain;
use crate::kubernetes::KubernetesError;
use crate::probe::Reply;
use crate::probe::client::ClientError;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Unanswered {
    /// The system answered, and its answer was no: a login refused, a table that is not there.
    Refused { reason: String },
    /// The prober could not find out.
    Unknown { reason: String },
    /// There is no prober to ask.
    NoProber(Halt),
}

impl Unanswered {
    /// The prober spoke of something else than what it was asked for.
    pub fn unexpected(reply: &Reply) -> Self {
        Self::NoProber(Halt::unverified(
            format!("the prober answered something else: {reply:?}"),
            "report this as a defect of redrill",
        ))
    }

    /// With what is known of the system beside it.
    pub fn because(self, why: &str) -> Self {
        match self {
            Self::Refused { reason } => Self::Refused { reason: format!("{reason}; {why}") },
            Self::Unknown { reason } => Self::Unknown { reason: format!("{reason}; {why}") },
            Self::NoProber(halt) => Self::NoProber(halt),
        }
    }

    /// For questions about what a procedure was to bring back, answered once before: a system that refuses now did not
    /// come back.
    pub fn of_a_recovery(self) -> Halt {
        match self {
            Self::Refused { reason } => Halt::failed(reason),
            other => other.into(),
        }
    }

    /// For a question that the prober goes on asking until its deadline: no answer by then is an answer.
    pub fn at_a_deadline(self) -> Halt {
        match self {
            Self::Refused { reason } | Self::Unknown { reason } => Halt::failed(reason),
            Self::NoProber(halt) => halt,
        }
    }
}

impl From<ClientError> for Unanswered {
    fn from(error: ClientError) -> Self {
        let reason = chain(&error);
        match error {
            ClientError::Refused { by_the_system: true, .. } => Self::Refused { reason },
            ClientError::Refused { by_the_system: false, .. } => Self::Unknown { reason },
            ClientError::Io(_)
            | ClientError::Ended
            | ClientError::NotAReply(_)
            | ClientError::Deadline(_)
            | ClientError::Lost(_) => Self::NoProber(Halt::unverified(reason, "run the drill again")),
        }
    }
}

/// Where redrill itself provides what is asked about, no answer is a matter of the harness.
impl From<Unanswered> for Halt {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Refused { reason } | Unanswered::Unknown { reason } => {
                Self::unverified(reason, "see what the prober says, and run the drill again")
            }
            Unanswered::NoProber(halt) => halt,
        }
    }
}

impl From<KubernetesError> for Unanswered {
    fn from(error: KubernetesError) -> Self {
        Self::NoProber(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(by_the_system: bool) -> Unanswered {
        let (doing, reason) = ("read the ledger".to_owned(), "it is not there".to_owned());
        ClientError::Refused { doing, reason, by_the_system }.into()
    }

    #[test]
    fn a_system_that_refuses_what_was_there_before_has_not_come_back() {
        assert_eq!(refused(true).of_a_recovery(), Halt::failed("read the ledger: it is not there"));
        assert!(matches!(refused(false).of_a_recovery(), Halt::Unverified { .. }));
    }

    #[test]
    fn what_redrill_was_to_provide_is_never_the_procedures_fault() {
        assert!(matches!(refused(true).into(), Halt::Unverified { .. }));
    }

    #[test]
    fn a_prober_that_is_gone_says_nothing_about_the_system() {
        assert!(matches!(Unanswered::from(ClientError::Ended).at_a_deadline(), Halt::Unverified { .. }));
        assert!(matches!(refused(false).at_a_deadline(), Halt::Failed { .. }));
    }
}
