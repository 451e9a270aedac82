//! The report of `lifeboat-backup stats`.

use std::fmt::Write as _;

use serde::Serialize;

use crate::Report;
use crate::figures::{bytes, count, printable};

/// What some snapshots captured, each as if there were no other.
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StatisticsReport {
    /// The repository's location.
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
        let mut line = |name: &str, figure: &str, things: &str| {
            let _ = writeln!(text, "{}", format!("{name:<26}{figure:>12}  {things:>16}").trim_end());
        };
        for (name, captured) in [("captured, newest of each", &self.newest), ("captured, all", &self.all)] {
            line(name, &bytes(captured.data_bytes), &count(captured.items, "item"));
        }
        for kind in &self.objects {
            line(&format!("  {}", kind.kind), &bytes(kind.stored_bytes), &count(kind.objects, "object"));
        }
        line("stored", &bytes(self.stored_bytes), &count(self.object_count, "object"));
        let ratio = |ratio: Option<f64>| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        line("deduplication", &ratio(self.deduplication_ratio), "");
        line("compression", &ratio(self.compression_ratio), "");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_under_each_other() {
        let captured = CapturedLine { snapshots: 2, items: 7, data_bytes: 5 << 30 };
        let object =
            |kind: &str, objects, stored_bytes| ObjectLine { kind: kind.to_owned(), objects, stored_bytes };
        let report = StatisticsReport {
            location: "/srv/backups".to_owned(),
            hosts: vec!["ship".to_owned(), "boat\n".to_owned()],
            newest: CapturedLine { snapshots: 1, items: 3, data_bytes: 3 << 30 },
            all: captured,
            objects: vec![object("packs", 1234, 2 << 30), object("manifests", 2, 2048)],
            object_count: 1236,
            stored_bytes: (2 << 30) + 2048,
            deduplication_ratio: Some(1.666),
            compression_ratio: None,
            hidden_groups: 1,
            unreadable: Vec::new(),
        };
        insta::assert_snapshot!(report.text(), @r"
        2 snapshots of 2 hosts: ship, boat\n
        captured, newest of each      3.00 GiB           3 items
        captured, all                 5.00 GiB           7 items
          packs                       2.00 GiB     1,234 objects
          manifests                   2.00 KiB         2 objects
        stored                        2.00 GiB     1,236 objects
        deduplication                     1.67
        compression                          -
        1 group of hosts cannot be seen with this key
        ");
    }
}
