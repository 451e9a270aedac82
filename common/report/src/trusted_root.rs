//! The report of `lifeboat-verify trusted-root check`.

use std::fmt::Write as _;

use serde::Serialize;

use crate::Report;

/// A look at one trusted root.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TrustedRootCheck {
    /// The file.
    pub file: String,
    /// The digest of its bytes.
    pub digest: String,
    /// How many errors there are.
    pub errors: usize,
    /// How many warnings there are.
    pub warnings: usize,
    /// Everything that was found, the worst first.
    pub findings: Vec<RootFinding>,
    /// What to do next, where there are errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// One thing that was found in a trusted root.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RootFinding {
    /// `error`, `warning` or `information`.
    pub level: &'static str,
    /// Where, as a path of members.
    pub place: String,
    /// What.
    pub text: String,
}

impl Report for TrustedRootCheck {
    const SCHEMA: &'static str = "lifeboat.trusted-root-check/v1";

    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:<10}{}", if self.errors == 0 { "GOOD" } else { "BAD" }, self.file);
        let _ = writeln!(text, "{:<10}{}", "digest", self.digest);
        for finding in &self.findings {
            let level = if finding.level == "information" { "note" } else { finding.level };
            let _ = writeln!(text, "{level:<10}{}\n          {}", finding.place, finding.text);
        }
        if let Some(advice) = &self.advice {
            let _ = writeln!(text, "{:<10}{advice}", "do");
        }
        text
    }
}
