//! The result of deriving a verdict again.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use crate::Report;
use crate::figures::printable;

/// Whether the same verdict was derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Replayed {
    /// The same, by the same steps.
    Same,
    /// Another, or the file was altered.
    #[default]
    Differs,
    /// Not everything is there that it was derived from.
    Incomplete,
}

/// A verdict that was derived again.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Replay {
    /// Whether the same verdict came of it.
    pub replayed: Replayed,
    /// The file that holds the verdict.
    pub file: String,
    /// What was verified; nothing is said of a file that was altered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Its digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The verdict in the file: `verified`, `refused` or `undetermined`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// The present time that it was verified at.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<crate::schemas::Moment>"))]
    pub verified_at: Option<Timestamp>,
    /// The version of the program that derived it first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The digest of what was asked, the policy in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_digest: Option<String>,
    /// The digest of the trusted root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_root_digest: Option<String>,
    /// What differs.
    pub differences: Vec<String>,
    /// What is not there, by its digest.
    pub missing: Vec<String>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Replay {
    /// Records that the derived verdict differs, or that the file was altered.
    pub fn differs(&mut self, differences: Vec<String>) {
        self.replayed = Replayed::Differs;
        self.differences = differences;
        self.advice = Some("do not rely on the file; verify the subject again".to_owned());
    }

    /// Records what is missing.
    pub fn incomplete(&mut self, missing: Vec<String>) {
        self.replayed = Replayed::Incomplete;
        self.missing = missing;
        self.advice = Some(format!("put the folder {}.d back beside the file", self.file));
    }
}

impl Report for Replay {
    const SCHEMA: &'static str = "lifeboat.replay/v1";

    fn text(&self) -> String {
        let mut text = String::new();
        let head = match self.replayed {
            Replayed::Same => "SAME",
            Replayed::Differs => "DIFFERS",
            Replayed::Incomplete => "UNKNOWN",
        };
        // Writing to a String cannot fail.
        let mut line = |word: &str, value: &str| _ = writeln!(text, "{word:<10}{}", printable(value));
        line(head, &self.file);
        let facts = [
            ("verdict", &self.verdict),
            ("subject", &self.subject),
            ("digest", &self.digest),
            ("time", &self.verified_at.map(|time| time.to_string())),
            ("version", &self.version),
            ("policy", &self.policy_digest),
            ("root", &self.trusted_root_digest),
        ];
        for (word, value) in facts {
            if let Some(value) = value {
                line(word, value);
            }
        }
        for difference in &self.differences {
            line("differs", difference);
        }
        for missing in &self.missing {
            line("missing", missing);
        }
        if let Some(advice) = &self.advice {
            line("do", advice);
        }
        text
    }
}
