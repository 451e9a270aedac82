//! Paths with problems.

use serde::Serialize;

use crate::figures::path_text;

/// A path and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PathProblem {
    /// Where it is; bytes that are not UTF-8 are shown as U+FFFD here and whole in `path_hex`.
    pub path: String,
    /// The path's bytes in hexadecimal, where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// What is wrong.
    pub reason: String,
}

impl PathProblem {
    /// The path in the form that commands accept, and the reason.
    pub(crate) fn text(&self) -> String {
        format!("{}: {}", path_text(&self.path, self.path_hex.as_deref()), self.reason)
    }
}

/// A path in a captured folder, volume or file, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StreamProblem {
    /// The name of the folder, volume or file.
    pub stream: String,
    /// The path, and what is wrong with it.
    #[serde(flatten)]
    pub problem: PathProblem,
}

impl StreamProblem {
    pub(crate) fn text(&self) -> String {
        format!("{} {}", self.stream, self.problem.text())
    }
}

/// A path in a captured folder, volume or file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StreamPath {
    /// The name of the folder, volume or file.
    pub stream: String,
    /// The path; bytes that are not UTF-8 are shown as U+FFFD here and whole in `path_hex`.
    pub path: String,
    /// The path's bytes in hexadecimal, where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
}

impl StreamPath {
    pub(crate) fn text(&self) -> String {
        format!("{} {}", self.stream, path_text(&self.path, self.path_hex.as_deref()))
    }
}
