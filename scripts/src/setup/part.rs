//! A part of the set-up, and the outcome of setting it up.

use super::state::State;
use crate::problem::Problem;

/// Parts in one lane are set up one after the other; the lanes run in parallel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    System,
    Go,
    Cargo,
}

pub(super) const LANES: [Lane; 3] = [Lane::System, Lane::Go, Lane::Cargo];

pub(super) type Outcome = Result<Ready, Problem>;

#[derive(Debug)]
pub(super) struct Ready {
    pub(super) how: How,
    pub(super) detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Found,
    Installed,
    Started,
}

impl Ready {
    pub(super) fn found(detail: impl Into<String>) -> Self {
        Self { how: How::Found, detail: detail.into() }
    }

    /// A service that was started, perhaps after it was installed.
    pub(super) fn new(installed: bool, detail: impl Into<String>) -> Self {
        Self { how: if installed { How::Installed } else { How::Started }, detail: detail.into() }
    }

    pub(super) fn installed_or_found(installed: bool, detail: impl Into<String>) -> Self {
        Self { how: if installed { How::Installed } else { How::Found }, detail: detail.into() }
    }
}

#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// What is not tested without it.
    pub(super) without: &'static str,
    pub(super) lane: Lane,
    pub(super) needs: &'static [&'static str],
    pub(super) ensure: fn(&State) -> Outcome,
    /// The variables that point the tests to it.
    pub(super) variables: fn(&State) -> Vec<(&'static str, String)>,
}
