//! The report of `lifeboat-backup check`.

use std::fmt::Write as _;

use serde::Serialize;

use crate::Report;
use crate::figures::{TOLD, bytes, count, first_lines, printable, seconds};

/// The result of a check.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CheckReport {
    /// The repository's location.
    pub location: String,
    /// Whose key it was checked with: `writer`, `keeper` or `recovery`.
    pub key: String,
    /// Which part was checked, such as `1/4`; absent for the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// How much of the packs was read.
    pub read_data: ReadDataLine,
    /// How many objects were checked.
    pub objects: u64,
    /// How many snapshots count.
    pub snapshots: u64,
    /// How many packs exist.
    pub packs: u64,
    /// How many of them were read whole.
    pub packs_read: u64,
    /// How many bytes were read.
    pub read_bytes: u64,
    /// How many frames were opened and their chunks compared with the index.
    pub frames_opened: u64,
    /// The damage.
    pub damage: Vec<DamageLine>,
    /// What could not be read, so that its state is unknown.
    pub unread: Vec<UnreadLine>,
    /// Groups that the key does not open: their objects were checked by hash, signature and form only.
    pub closed_groups: Vec<ClosedGroup>,
    /// What is worth knowing but is not damage.
    pub notes: Vec<String>,
    /// How long it took, in seconds.
    pub elapsed_seconds: f64,
}

/// How much of the packs was read.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReadDataLine {
    /// `sizes`, `sample` or `all`.
    pub mode: String,
    /// Of a sample, the percentage of packs that were drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// Of a sample, the seed that it was drawn with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// One damaged object.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DamageLine {
    /// The object's name, or where it should be.
    pub object: String,
    /// `missing`, `altered`, `size`, `index`, `false-frame` or `history`.
    pub kind: String,
    /// What is wrong, with the evidence.
    pub reason: String,
    /// The snapshots that cannot be fully restored because of it.
    pub snapshots: Vec<String>,
    /// How to fix it: `repair`, `repair-by-keeper`, `repair-by-root`, `repair-by-writer`, `next-backup`,
    /// `forget-damaged`, `end-of-word` (of the host that is named in the reason) or `no`.
    pub mend: String,
}

/// An object that could not be read.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UnreadLine {
    /// Its name.
    pub object: String,
    /// Why.
    pub reason: String,
}

/// A group that the key does not open.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClosedGroup {
    /// Its id.
    pub group: String,
    /// How many objects it has.
    pub objects: u64,
}

impl DamageLine {
    pub(crate) fn text(&self) -> String {
        let mut text =
            format!("DAMAGED {}\n  {}: {}\n", printable(&self.object), self.kind, printable(&self.reason));
        if !self.snapshots.is_empty() {
            let short = |id: &String| id.get(..12).filter(|_| id.len() == 64).unwrap_or(id).to_owned();
            let ids: Vec<_> = self.snapshots.iter().take(TOLD).map(short).collect();
            let more = self.snapshots.len().saturating_sub(TOLD);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(text, "  affects: {}{more}", printable(&ids.join(", ")));
        }
        let _ = writeln!(text, "  fix: {}", self.advice());
        text
    }

    fn advice(&self) -> &str {
        match self.mend.as_str() {
            "repair" => "`lifeboat-backup repair`",
            "repair-by-keeper" => "`lifeboat-backup repair` with a keeper key or a recovery key",
            "repair-by-writer" => "`lifeboat-backup repair` with the writer key of a host of the group",
            "repair-by-root" => "`lifeboat-backup repair` with a recovery key",
            "next-backup" => {
                "`lifeboat-backup repair`, then back up again: lost data is stored again if it still exists"
            }
            "forget-damaged" => {
                "restore the object from a mirror, or give the snapshot up with `lifeboat-backup repair \
                 --forget-damaged`"
            }
            "end-of-word" => {
                "ask who runs the storage whether it was set back to an older state; if the claiming host was \
                 compromised or set back, end its claims with `lifeboat-backup key remove HOST --last N`, where N is \
                 its last genuine snapshot"
            }
            _ => "restore the object from a mirror of the storage",
        }
    }
}

impl CheckReport {
    /// What was checked, on one line.
    fn extent(&self) -> String {
        let mut text = format!(
            "checked {} of {} and {} read",
            count(self.objects, "object"),
            count(self.snapshots, "snapshot"),
            bytes(self.read_bytes)
        );
        if let Some(shard) = &self.shard {
            let _ = write!(text, ", shard {shard}");
        }
        let _ = match (self.read_data.percent, self.read_data.seed) {
            (Some(percent), Some(seed)) => {
                write!(text, ", {} of {percent} % drawn by seed {seed}", count(self.packs_read, "pack"))
            }
            _ if self.read_data.mode == "all" => write!(text, ", {} whole", count(self.packs_read, "pack")),
            _ => write!(text, ", {} by size only", count(self.packs, "pack")),
        };
        if self.frames_opened > 0 {
            let _ = write!(text, ", {} opened", count(self.frames_opened, "frame"));
        }
        text
    }
}

impl Report for CheckReport {
    const SCHEMA: &'static str = "lifeboat.check/v1";

    fn text(&self) -> String {
        let mut text = String::new();
        // A flood of worthless objects must not bury damage that affects a snapshot.
        let (affecting, others): (Vec<_>, Vec<_>) =
            self.damage.iter().partition(|line| !line.snapshots.is_empty());
        affecting.iter().chain(&others).take(TOLD).for_each(|line| text.push_str(&line.text()));
        if self.damage.len() > TOLD {
            let _ = writeln!(text, "and {} more; --json tells all", self.damage.len() - TOLD);
        }
        if !self.unread.is_empty() {
            let _ = writeln!(text, "NOT READ: {}", count(self.unread.len() as u64, "object"));
            let lines = self.unread.iter().map(|line| format!("{}: {}", line.object, line.reason));
            text.push_str(&first_lines(&lines.collect::<Vec<_>>(), 20));
        }
        for closed in &self.closed_groups {
            let objects = count(closed.objects, "object");
            let _ = writeln!(
                text,
                "note: {objects} of group {} by hash and signature only: this key does not open it",
                closed.group
            );
        }
        for note in self.notes.iter().take(TOLD) {
            let _ = writeln!(text, "note: {}", printable(note));
        }
        let _ = writeln!(text, "{} in {}", self.extent(), seconds(self.elapsed_seconds));
        let verdict = match (self.damage.len() as u64, self.unread.is_empty()) {
            (0, true) => "no damage".to_owned(),
            (0, false) => "no damage in what could be read".to_owned(),
            (n, _) => format!("DAMAGE in {}", count(n, "object")),
        };
        let _ = writeln!(text, "{verdict}");
        text
    }
}
