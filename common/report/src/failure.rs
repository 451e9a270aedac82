//! Why a command stopped early: the document that is printed in place of the report.

use std::fmt::Write as _;

use lifeboat_core::Kind;
use lifeboat_core::text::printable_lines;
use serde::Serialize;

use crate::Report;

/// A failure: what happened, why, and what to do.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FailureReport {
    /// `refused`: the answer is no, or the operation failed. `usage`: the call, the configuration or a named input must
    /// be fixed first. `undetermined`: try again when everything can be reached. `internal`: a fault of Lifeboat's own.
    /// `interrupted`: somebody asked the process to stop.
    #[cfg_attr(test, schemars(with = "crate::schemas::FailureKind"))]
    pub kind: Kind,
    /// The exit code of the process, which the kind decides.
    pub exit_code: u8,
    /// What happened.
    pub error: String,
    /// Why, the nearest cause first.
    pub causes: Vec<String>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Report for FailureReport {
    const SCHEMA: &'static str = "lifeboat.error/v1";

    fn text(&self) -> String {
        let mut text = format!("error: {}\n", self.error);
        for cause in &self.causes {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  because: {cause}");
        }
        if let Some(advice) = &self.advice {
            let _ = writeln!(text, "  help: {advice}");
        }
        printable_lines(&text)
    }
}
