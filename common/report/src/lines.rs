//! The output on standard error with `--progress json`, one document per line, besides errors and held-back reports.

use lifeboat_core::text::printable_lines;
use serde::Serialize;

use crate::Report;
use crate::figures::{bytes, count};

/// How far a phase of the work has come. A line is written when a phase begins, when something was done and a second has
/// passed since the line before, and when the phase ends.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProgressLine {
    /// What is being done, in words for people. The words may change.
    pub phase: String,
    /// `bytes` or `items`: what is counted.
    pub unit: &'static str,
    /// How much is done.
    pub done: u64,
    /// How much there is to do; null where nobody knows. What turns up on the way may make `done` larger.
    pub total: Option<u64>,
    /// How much was done in a second, on average since the phase began; null at its beginning.
    pub rate_per_second: Option<f64>,
    /// How many seconds are left at this rate; null where that cannot be said.
    pub seconds_left: Option<f64>,
    /// How long the phase has taken, in seconds.
    pub elapsed_seconds: f64,
    /// Whether this is the last line of the phase.
    pub ended: bool,
}

impl ProgressLine {
    /// A line about a phase that has progressed this far.
    #[expect(clippy::cast_precision_loss, reason = "a rate is not that exact")]
    pub fn new(phase: &str, unit: &'static str, done: u64, total: Option<u64>, elapsed_seconds: f64) -> Self {
        let rate = (done > 0 && elapsed_seconds > 0.0).then(|| done as f64 / elapsed_seconds);
        let left = total.map(|total| total.saturating_sub(done) as f64);
        Self {
            phase: phase.to_owned(),
            unit,
            done,
            total,
            rate_per_second: rate,
            seconds_left: left.zip(rate).map(|(left, rate)| left / rate),
            elapsed_seconds,
            ended: false,
        }
    }
}

impl Report for ProgressLine {
    const SCHEMA: &'static str = "lifeboat.progress/v1";

    fn text(&self) -> String {
        let amount = |n: u64| if self.unit == "bytes" { bytes(n) } else { count(n, "item") };
        let total = self.total.map_or_else(String::new, |total| format!(" of {}", amount(total)));
        format!("{}: {}{total}\n", self.phase, amount(self.done))
    }
}

/// Something that the user should hear about, although the work goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MessageLine {
    /// How much it matters.
    pub level: Level,
    /// What is said.
    pub message: String,
}

/// How much a message matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Something failed. Why the command itself stopped is a document of its own, `lifeboat.error/v1`.
    Error,
    /// Something is not as it should be.
    Warning,
    /// Something is worth knowing.
    Note,
    /// What `-v` tells besides.
    Debug,
}

impl Report for MessageLine {
    const SCHEMA: &'static str = "lifeboat.message/v1";

    fn text(&self) -> String {
        let message = printable_lines(&self.message);
        match self.level {
            Level::Error => format!("error: {message}\n"),
            Level::Warning => format!("warning: {message}\n"),
            Level::Note => format!("note: {message}\n"),
            Level::Debug => format!("debug: {message}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_said_is_null() {
        let line = |done, total, elapsed| {
            let line = ProgressLine::new("reading", "bytes", done, total, elapsed);
            (line.rate_per_second, line.seconds_left)
        };
        assert_eq!(line(0, Some(10), 0.0), (None, None));
        assert_eq!(line(0, Some(10), 5.0), (None, None));
        assert_eq!(line(4, None, 2.0), (Some(2.0), None));
        assert_eq!(line(4, Some(10), 2.0), (Some(2.0), Some(3.0)));
        assert_eq!(line(12, Some(10), 2.0), (Some(6.0), Some(0.0)));
    }

    #[test]
    fn a_document_of_one_line_is_one_line() {
        let message = MessageLine { level: Level::Warning, message: "two\nlines".to_owned() };
        assert_eq!(
            message.json_line().unwrap(),
            r#"{"schema":"lifeboat.message/v1","level":"warning","message":"two\nlines"}"#
        );
        assert_eq!(message.text(), "warning: two\nlines\n");
    }
}
