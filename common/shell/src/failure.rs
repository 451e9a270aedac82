//! Failures as the user sees them: what happened, why, and what to do.

use std::error::Error;

use lifeboat_core::{Fault, Kind};
use lifeboat_report::failure::FailureReport;

/// The outcome of a command that ran to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done, or verified: exit code 0.
    Done,
    /// A negative verdict that the report explains: exit code 1.
    Negative,
    /// Finished, but something was left out or could not be determined: exit code 3.
    Incomplete,
}

impl Outcome {
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Negative => Kind::Refused.exit_code(),
            Self::Incomplete => Kind::Undetermined.exit_code(),
        }
    }
}

/// Why a command stopped early. `?` makes it from any [`Fault`].
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    error: Box<dyn Error + Send + Sync>,
    advice: Option<String>,
}

impl<F: Fault> From<F> for Failure {
    fn from(fault: F) -> Self {
        Self { kind: fault.kind(), advice: fault.advice(), error: Box::new(fault) }
    }
}

impl Failure {
    /// A bug in Lifeboat, or a fault of the machine underneath.
    pub(crate) fn internal(message: impl Into<String>, advice: Option<&str>) -> Self {
        Self { kind: Kind::Internal, error: message.into().into(), advice: advice.map(str::to_owned) }
    }

    /// Two signals: the process ends before it has restored what it changed, which `left` describes.
    pub(crate) fn interrupted_again(left: Option<String>) -> Self {
        Self { kind: Kind::Interrupted, error: "interrupted twice: ended at once".into(), advice: left }
    }

    /// A call that cannot be carried out as given.
    pub fn usage(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { kind: Kind::Usage, error: message.into().into(), advice: Some(advice.into()) }
    }

    /// The answer is no, or the operation failed.
    pub fn refused(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { kind: Kind::Refused, error: message.into().into(), advice: Some(advice.into()) }
    }

    /// What this failure means to the caller.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What happened, without its causes.
    pub fn message(&self) -> String {
        self.error.to_string()
    }

    /// What to do about it.
    pub fn advice(&self) -> Option<&str> {
        self.advice.as_deref()
    }

    /// The chain of causes below the error itself, nearest first.
    fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = Vec::new();
        let mut next = self.error.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            // Libraries often repeat their source in their own text; print it only once.
            if causes.last().is_none_or(|above| !above.contains(&text)) {
                causes.push(text);
            }
            next = cause.source();
        }
        causes
    }

    /// The document for this failure.
    pub(crate) fn report(&self) -> FailureReport {
        FailureReport {
            kind: self.kind,
            exit_code: self.kind.exit_code(),
            error: self.error.to_string(),
            causes: self.causes(),
            advice: self.advice.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use lifeboat_report::Report as _;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("pack 12ab is damaged")]
    struct Damaged(#[source] std::io::Error);

    impl Fault for Damaged {
        fn kind(&self) -> Kind {
            Kind::Refused
        }
        fn advice(&self) -> Option<String> {
            Some("run `lifeboat-backup repair`".to_owned())
        }
    }

    #[test]
    fn a_failure_commands_no_terminal() {
        let failure = Failure::refused("there is no snapshot of \u{1b}[2Khost\u{202e}", "look\r");
        assert_eq!(
            failure.report().text(),
            "error: there is no snapshot of \\u{1b}[2Khost\\u{202e}\n  help: look\\r\n"
        );
    }

    #[test]
    fn a_failure_says_what_why_and_what_to_do() {
        let failure = Failure::from(Damaged(std::io::Error::other("the hash differs")));
        assert_eq!(
            failure.report().text(),
            "error: pack 12ab is damaged\n  because: the hash differs\n  help: run `lifeboat-backup repair`\n"
        );
        assert!(failure.report().json().unwrap().contains("\"exit_code\": 1"));
    }
}
