//! The report of `lifeboat-backup repair`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use crate::Report;
use crate::check::{DamageLine, UnreadLine};
use crate::figures::{TOLD, count, first_lines, printable, seconds, time};
use crate::search::short_address;

/// The result of a repair.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RepairReport {
    /// The repository's location.
    pub location: String,
    /// Whose key it was repaired with: `writer`, `keeper` or `recovery`.
    pub key: String,
    /// Whether this is a dry run: nothing was changed.
    pub dry_run: bool,
    /// What was done, in order.
    pub actions: Vec<ActionLine>,
    /// How many frames were newly marked as lost.
    pub marked_frames: u64,
    /// The snapshots that need frames which are not stored whole anywhere.
    pub hurt: Vec<HurtLine>,
    /// What is still damaged.
    pub remaining: Vec<DamageLine>,
    /// What could not be read. If anything cannot be read before the repair begins, nothing is changed.
    pub unread: Vec<UnreadLine>,
    /// How long it took, in seconds.
    pub elapsed_seconds: f64,
}

/// One action of the repair.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ActionLine {
    /// The object.
    pub object: String,
    /// What happened to it and why.
    pub what: String,
}

/// A snapshot that needs frames which are not stored whole anywhere.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HurtLine {
    /// Its id.
    pub snapshot: String,
    /// When it was taken.
    #[cfg_attr(test, schemars(with = "crate::schemas::Moment"))]
    pub time: Timestamp,
    /// Its host.
    pub host: String,
    /// Its streams.
    pub streams: Vec<StreamName>,
    /// How many of its frames are lost.
    pub lost_frames: u64,
    /// The files that need one of them; absent if the key cannot tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<FileLine>>,
    /// Why the list of files is incomplete.
    pub unlisted: Vec<String>,
}

/// A stream by its name.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StreamName {
    /// `path`, `volume` or `stdin`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// A file that needs a lost frame.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FileLine {
    /// Where it is, as `lifeboat-restore` takes it: `SNAPSHOT:STREAM/PATH`. A backslash in it is doubled, and a byte that is no
    /// UTF-8, or that a terminal would obey, is `\xHH`.
    pub address: String,
    /// The name of the stream that it is in.
    pub stream: String,
    /// Its path; bytes that are not UTF-8 are shown as U+FFFD here and whole in `path_hex`.
    pub path: String,
    /// The path's bytes in hexadecimal, where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// Whether it can still be restored, from chunks in other frames.
    pub healed: bool,
}

impl HurtLine {
    fn text(&self) -> String {
        let mut text = format!(
            "snapshot {} of {} on {} lacks {}\n",
            self.snapshot.get(..12).unwrap_or(&self.snapshot),
            time(self.time),
            printable(&self.host),
            count(self.lost_frames, "frame")
        );
        if let Some(files) = &self.files {
            let (healed, lost): (Vec<_>, Vec<_>) = files.iter().partition(|file| file.healed);
            let names = |files: &[&FileLine]| -> Vec<String> {
                files.iter().map(|file| short_address(&self.snapshot, &file.address)).collect()
            };
            if !lost.is_empty() {
                // Writing to a String cannot fail, here and below.
                let _ = writeln!(text, "  LOST: {}", count(lost.len() as u64, "file"));
                text.push_str(&first_lines(&names(&lost), TOLD));
            }
            if !healed.is_empty() {
                let _ = writeln!(text, "  healed: {}", count(healed.len() as u64, "file"));
                text.push_str(&first_lines(&names(&healed), TOLD));
            }
            if files.is_empty() && self.unlisted.is_empty() {
                text.push_str("  no file needs them\n");
            }
        } else {
            let streams: Vec<_> = self.streams.iter().map(|s| format!("{} {}", s.kind, s.name)).collect();
            let streams = streams.join(", ");
            let _ = writeln!(
                text,
                "  which files, in {}, is known only with a recovery key (--identity)",
                printable(&streams)
            );
        }
        text.push_str(&first_lines(&self.unlisted, TOLD));
        text
    }
}

impl Report for RepairReport {
    const SCHEMA: &'static str = "lifeboat.repair/v1";

    fn text(&self) -> String {
        let mut text = String::new();
        let doing = if self.dry_run { "would do" } else { "done" };
        for action in &self.actions {
            let _ = writeln!(text, "{doing}: {}\n  {}", printable(&action.object), printable(&action.what));
        }
        self.hurt.iter().for_each(|snapshot| text.push_str(&snapshot.text()));
        self.remaining.iter().for_each(|damage| text.push_str(&damage.text()));
        if !self.unread.is_empty() {
            let _ = writeln!(
                text,
                "NOT READ: {}; unreadable and lost data cannot be distinguished",
                count(self.unread.len() as u64, "object")
            );
            let lines = self.unread.iter().map(|line| format!("{}: {}", line.object, line.reason));
            text.push_str(&first_lines(&lines.collect::<Vec<_>>(), 20));
        }
        let verdict = match (self.actions.len() as u64, self.remaining.len() as u64) {
            (0, 0) => "nothing to repair".to_owned(),
            (0, left) => {
                format!("nothing that this key can repair; DAMAGE left in {}", count(left, "object"))
            }
            (n, 0) if !self.dry_run => format!("repaired with {}; no damage is left", count(n, "change")),
            (n, left) if !self.dry_run => {
                format!("repaired with {}; DAMAGE left in {}", count(n, "change"), count(left, "object"))
            }
            (n, left) => format!("{} for damage in {}", count(n, "change"), count(left, "object")),
        };
        let _ = writeln!(text, "{verdict}, in {}", seconds(self.elapsed_seconds));
        text.push_str(&self.advice());
        text
    }
}

impl RepairReport {
    /// What to do about data that is lost, once it is marked.
    fn advice(&self) -> String {
        if self.dry_run || !self.unread.is_empty() {
            return String::new();
        }
        let lost = self.remaining.iter().filter(|damage| damage.mend == "next-backup");
        let affected: BTreeSet<&str> =
            lost.flat_map(|damage| &damage.snapshots).map(|id| id.get(..12).unwrap_or(id)).collect();
        if affected.is_empty() {
            return String::new();
        }
        let ids: Vec<&str> = affected.iter().copied().take(TOLD).collect();
        let more = affected.len() - ids.len();
        let more = if more > 0 { format!(", and so on with {more} more") } else { String::new() };
        format!(
            "The next backup stores again what still exists at its source. Snapshots that need what no longer exists there \
             are given up with `lifeboat-backup forget {}`{more}.\n",
            printable(&ids.join(" "))
        )
    }
}
