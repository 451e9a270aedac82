//! What `lifeboat-backup stats` tells.

use std::fmt::Write as _;

use serde::Serialize;

use crate::Report;
use crate::figures::{bytes, count, printable};

/// What some snapshots captured, each as if there were no other.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct CapturedLine {
    /// How many snapshots.
    pub snapshots: u64,
    /// Their files, folders and other items.
    pub items: u64,
    /// The data of their files, in bytes.
    pub data_bytes: u64,
}

/// The objects of one kind.
#[derive(Debug, Clone, Serialize)]
pub struct ObjectLine {
    /// `packs`, `contents`, `locations`, `parts`, `manifests`, `keys`, `runs`, `rosters` or `other`.
    pub kind: String,
    /// How many there are.
    pub objects: u64,
    /// Their sizes together, in bytes.
    pub stored_bytes: u64,
}

/// What a repository holds and what it saves.
#[derive(Debug, Serialize)]
pub struct StatisticsReport {
    /// Where the repository lies.
    pub location: String,
    /// The hosts that the snapshots are of.
    pub hosts: Vec<String>,
    /// The newest snapshot of each writer.
    pub newest: CapturedLine,
    /// All snapshots.
    pub all: CapturedLine,
    /// The objects, kind by kind.
    pub objects: Vec<ObjectLine>,
    /// How many objects there are.
    pub object_count: u64,
    /// Their sizes together, in bytes.
    pub stored_bytes: u64,
    /// How many times larger what was captured is than the chunks that hold it.
    pub deduplication_ratio: Option<f64>,
    /// How many times larger the chunks are than the frames that hold them.
    pub compression_ratio: Option<f64>,
    /// How many groups the key does not show. Their objects are counted, their snapshots are not.
    pub hidden_groups: u64,
    /// What could not be read and is not counted.
    pub unreadable: Vec<String>,
}

impl Report for StatisticsReport {
    const SCHEMA: &'static str = "lifeboat.stats/v1";

    fn text(&self) -> String {
        let mut text = String::new();
        let hosts = printable(&self.hosts.join(", "));
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(
            text,
            "{} of {}{}{hosts}",
            count(self.all.snapshots, "snapshot"),
            count(self.hosts.len() as u64, "host"),
            if hosts.is_empty() { "" } else { ": " }
        );
        for (name, line) in [("newest of each", &self.newest), ("all", &self.all)] {
            let items = count(line.items, "item");
            let _ = writeln!(
                text,
                "{:<20} {:>10}  {items:>16}",
                format!("captured, {name}"),
                bytes(line.data_bytes)
            );
        }
        for line in &self.objects {
            let objects = count(line.objects, "object");
            let _ = writeln!(text, "  {:<12} {:>12}  {objects:>16}", line.kind, bytes(line.stored_bytes));
        }
        let objects = count(self.object_count, "object");
        let _ = writeln!(text, "{:<14} {:>12}  {objects:>16}", "stored", bytes(self.stored_bytes));
        let ratio = |ratio: Option<f64>| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let _ = writeln!(text, "deduplication  {:>12}", ratio(self.deduplication_ratio));
        let _ = writeln!(text, "compression    {:>12}", ratio(self.compression_ratio));
        if self.hidden_groups > 0 {
            let groups = count(self.hidden_groups, "group");
            let _ = writeln!(text, "{groups} of hosts cannot be seen with this key");
        }
        for reason in &self.unreadable {
            let _ = writeln!(text, "UNREADABLE: {}", printable(reason));
        }
        text
    }
}
