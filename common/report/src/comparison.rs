//! The report of `lifeboat-backup diff` on two snapshots.

use std::fmt::Write as _;

use serde::Serialize;

use crate::Report;
use crate::figures::{bytes, count, printable};

/// One difference.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ChangeLine {
    /// The captured folder, volume or file that it is in.
    pub stream: String,
    /// The path there; bytes that are not UTF-8 are shown as U+FFFD here and whole in `path_hex`.
    pub path: String,
    /// The path's bytes in hexadecimal, where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// `added`, `removed` or `changed`.
    pub what: String,
    /// What changed: `kind`, `links`, `mode`, `owner`, `mtime`, `xattrs`, `target`, `device`, `size`, `holes`,
    /// `content`.
    pub aspects: Vec<String>,
    /// A file's length before, in bytes.
    pub size_before_bytes: Option<u64>,
    /// A file's length after, in bytes.
    pub size_after_bytes: Option<u64>,
}

impl ChangeLine {
    /// The line for people.
    pub fn text(&self) -> String {
        let slash = if self.path.is_empty() { "" } else { "/" };
        let mut text =
            format!("{:<8} {}{slash}{}", self.what, printable(&self.stream), printable(&self.path));
        if !self.aspects.is_empty() {
            let _ = write!(text, " ({})", self.aspects.join(", "));
        }
        text
    }
}

/// A stream that only one of the snapshots has.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StreamChange {
    /// `path`, `volume` or `stdin`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// `added` or `removed`.
    pub what: String,
    /// How many items it has.
    pub items: u64,
    /// The sum of its files' data, in bytes.
    pub data_bytes: u64,
}

impl StreamChange {
    /// The line for people.
    pub fn text(&self) -> String {
        format!(
            "{:<8} {} {}: {}, {}",
            self.what,
            self.kind,
            printable(&self.name),
            count(self.items, "item"),
            bytes(self.data_bytes)
        )
    }
}

/// How the later of two snapshots differs from the earlier.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SnapshotDiffReport {
    /// The first snapshot's id.
    pub before: String,
    /// The second snapshot's id.
    pub after: String,
    /// How many items only the second has.
    pub added: u64,
    /// The sum of their files' lengths.
    pub added_bytes: u64,
    /// How many items only the first has.
    pub removed: u64,
    /// The sum of their files' lengths.
    pub removed_bytes: u64,
    /// How many items differ.
    pub changed: u64,
    /// The sum of the later lengths of those files whose content differs.
    pub changed_bytes: u64,
    /// How many items are the same.
    pub unchanged: u64,
    /// Streams that only one of the two has; their items are counted above and not named below.
    pub streams: Vec<StreamChange>,
    /// The differences in order. In the form for people they were told as they were found, and only the sums are told
    /// at the end.
    pub changes: Vec<ChangeLine>,
}

impl Report for SnapshotDiffReport {
    const SCHEMA: &'static str = "lifeboat.snapshot-diff/v1";

    fn text(&self) -> String {
        if self.added + self.removed + self.changed == 0 {
            return format!("no difference in {}\n", count(self.unchanged, "item"));
        }
        format!(
            "{} added ({}), {} removed ({}), {} changed ({}), {} unchanged\n",
            self.added,
            bytes(self.added_bytes),
            self.removed,
            bytes(self.removed_bytes),
            self.changed,
            bytes(self.changed_bytes),
            self.unchanged
        )
    }
}
