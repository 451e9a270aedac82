//! The report of `lifeboat-backup copy`.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use crate::Report;
use crate::figures::{bytes, count, first_lines, printable, seconds, time};
use crate::problem::StreamProblem;

/// What became of one snapshot.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CopyLine {
    /// The snapshot's id.
    pub snapshot: String,
    /// When it was taken.
    #[cfg_attr(test, schemars(with = "crate::schemas::Moment"))]
    pub time: Timestamp,
    /// The host that it is of.
    pub host: String,
    /// `copied`, `there`, `failed`, or after a dry run `to-copy`.
    pub what: CopyState,
    /// The copy's id.
    pub copy: Option<String>,
    /// Bytes of data that the other repository did not have before.
    pub new_bytes: u64,
    /// Bytes that were written to packs there.
    pub stored_bytes: u64,
    /// Damaged files that the copy lacks.
    pub lost: Vec<StreamProblem>,
    /// Why it was not copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a snapshot fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CopyState {
    /// It was copied.
    Copied,
    /// The other repository had it before.
    There,
    /// It would be copied.
    ToCopy,
    /// It could not be copied.
    Failed,
}

/// A copy that ended.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CopyReport {
    /// Where the snapshots lie.
    pub from: String,
    /// Where they were copied to.
    pub to: String,
    /// The snapshots, oldest first.
    pub snapshots: Vec<CopyLine>,
    /// What could not be read on either side.
    pub unreadable: Vec<String>,
    /// How long it took, in seconds.
    pub elapsed_seconds: f64,
}

impl CopyReport {
    /// How many snapshots ended in this state.
    pub fn count(&self, what: CopyState) -> u64 {
        self.snapshots.iter().filter(|line| line.what == what).count() as u64
    }
}

impl Report for CopyReport {
    const SCHEMA: &'static str = "lifeboat.copy/v1";

    fn text(&self) -> String {
        let mut text = String::new();
        for line in self.snapshots.iter().filter(|line| line.what != CopyState::There) {
            let id = &line.snapshot[..12.min(line.snapshot.len())];
            // Writing to a String cannot fail, here and below.
            let _ = write!(text, "{id}  {}  {:<12}  ", time(line.time), printable(&line.host));
            let _ = match (line.what, &line.copy) {
                (CopyState::ToCopy, _) => writeln!(text, "would be copied"),
                (CopyState::Copied, Some(copy)) => {
                    writeln!(text, "copied as {}, {} new", &copy[..12.min(copy.len())], bytes(line.new_bytes))
                }
                _ => writeln!(text, "NOT COPIED"),
            };
            if !line.lost.is_empty() {
                let files = count(line.lost.len() as u64, "file");
                let _ = writeln!(text, "INCOMPLETE: {files} of it cannot be read:");
            }
            let lost: Vec<_> = line.lost.iter().map(StreamProblem::text).collect();
            text.push_str(&first_lines(&lost, 20));
            if let Some(reason) = &line.reason {
                let _ = writeln!(text, "  {}", printable(reason));
            }
        }
        let _ = writeln!(
            text,
            "{} copied, {} there already, {} stored, in {}",
            count(self.count(CopyState::Copied), "snapshot"),
            self.count(CopyState::There),
            bytes(self.snapshots.iter().map(|line| line.stored_bytes).sum()),
            seconds(self.elapsed_seconds)
        );
        for reason in &self.unreadable {
            let _ = writeln!(text, "UNREADABLE: {}", printable(reason));
        }
        text
    }
}
