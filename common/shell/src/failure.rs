//! Failures as the user meets them: what happened, why, and what to do.

use std::error::Error;
use std::fmt::Write as _;

use lifeboat_core::text::printable_lines;
use lifeboat_core::{Fault, Kind};
use serde::Serialize;

/// How a command that ran to its end came out.
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

/// Why a command stopped early. Made from any [`Fault`] by `?`.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    error: Box<dyn Error + Send + Sync>,
    advice: Option<String>,
}

/// The JSON form of a failure, schema `lifeboat.error/v1`.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    kind: Kind,
    exit_code: u8,
    error: String,
    causes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'a str>,
}

impl<F: Fault> From<F> for Failure {
    fn from(fault: F) -> Self {
        Self { kind: fault.kind(), advice: fault.advice(), error: Box::new(fault) }
    }
}

impl Failure {
    /// A call that cannot be carried out as it was made.
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
            // Libraries often repeat their source in their own text; saying it once is enough.
            if causes.last().is_none_or(|above| !above.contains(&text)) {
                causes.push(text);
            }
            next = cause.source();
        }
        causes
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("error: {}\n", self.error);
        for cause in self.causes() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  because: {cause}");
        }
        if let Some(advice) = &self.advice {
            let _ = writeln!(text, "  do: {advice}");
        }
        printable_lines(&text)
    }

    pub(crate) fn json(&self) -> String {
        let document = Document {
            schema: "lifeboat.error/v1",
            kind: self.kind,
            exit_code: self.kind.exit_code(),
            error: self.error.to_string(),
            causes: self.causes(),
            advice: self.advice.as_deref(),
        };
        serde_json::to_string_pretty(&document).expect("strings and numbers always serialise")
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(failure.text(), "error: there is no snapshot of \\u{1b}[2Khost\\u{202e}\n  do: look\\r\n");
    }

    #[test]
    fn a_failure_says_what_why_and_what_to_do() {
        let failure = Failure::from(Damaged(std::io::Error::other("the hash differs")));
        assert_eq!(
            failure.text(),
            "error: pack 12ab is damaged\n  because: the hash differs\n  do: run `lifeboat-backup repair`\n"
        );
        assert!(failure.json().contains("\"exit_code\": 1"));
    }
}
