//! Reports of restores and comparisons.

use std::fmt::Write as _;

use serde::Serialize;

use crate::Report;
use crate::figures::{bytes, count, first_lines, path_text, printable, seconds};
use crate::problem::PathProblem;

/// A restore that ended.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RestoreReport {
    /// The snapshot's id.
    pub snapshot: String,
    /// What was brought back, and where it stands now.
    pub targets: Vec<RestoredTarget>,
    /// What is in the snapshot and was not brought back, by kind and name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOutStream>,
    /// How long it took, in seconds.
    pub elapsed_seconds: f64,
}

/// A stream that was not asked for.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LeftOutStream {
    /// `path`, `volume` or `stdin`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// One stream that was brought back.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RestoredTarget {
    /// `path`, `volume` or `stdin`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Where only a part of it was brought back: that part's path in it, as it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// A captured folder's path on its host, escaped as in addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The folder or volume.
    pub to: String,
    /// How many items stand now.
    pub items: u64,
    /// How many of them are files.
    pub files: u64,
    /// Bytes of file data written.
    pub data_bytes: u64,
    /// Files that could not be brought back whole, and are not there: where each should be, and why it is not.
    pub damaged: Vec<PathProblem>,
    /// Items whose owner, mode, attributes or times could not be set, or that could not be made: where each is, and why.
    pub unfinished: Vec<PathProblem>,
    /// How many items belong to the user who restored, because owners were not wanted or only root may set them.
    pub owners_left: u64,
    /// From how many of them set-user-ID, set-group-ID or capabilities were left out therefore.
    pub set_ids_cleared: u64,
}

impl RestoreReport {
    /// Whether anything is damaged.
    pub fn is_damaged(&self) -> bool {
        self.targets.iter().any(|target| !target.damaged.is_empty())
    }

    /// Whether anything could not be finished.
    pub fn is_unfinished(&self) -> bool {
        self.targets.iter().any(|target| !target.unfinished.is_empty())
    }
}

impl Report for RestoreReport {
    const SCHEMA: &'static str = "lifeboat.restore/v1";

    fn text(&self) -> String {
        let lines = |problems: &[PathProblem]| problems.iter().map(PathProblem::text).collect::<Vec<_>>();
        let mut text = String::new();
        for target in &self.targets {
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(
                text,
                "{} {}{}{} to {}\n  {}, {}",
                target.kind,
                printable(&target.name),
                target.part.as_deref().map_or_else(String::new, |part| format!("/{}", printable(part))),
                target
                    .source
                    .as_deref()
                    .map_or_else(String::new, |from| format!(", from {},", printable(from))),
                printable(&target.to),
                count(target.items, "item"),
                bytes(target.data_bytes)
            );
            if !target.damaged.is_empty() {
                let _ = writeln!(
                    text,
                    "DAMAGED: {} could not be brought back:",
                    count(target.damaged.len() as u64, "file")
                );
                text.push_str(&first_lines(&lines(&target.damaged), 20));
            }
            if !target.unfinished.is_empty() {
                let _ = writeln!(
                    text,
                    "UNFINISHED: {} could not be made as it was:",
                    count(target.unfinished.len() as u64, "item")
                );
                text.push_str(&first_lines(&lines(&target.unfinished), 20));
            }
            if target.owners_left > 0 {
                let items = count(target.owners_left, "item");
                let _ = write!(text, "  owners were not set on {items}");
                let cleared = count(target.set_ids_cleared, "item");
                let cleared = format!(", and {cleared} lost set-user-ID, set-group-ID or capabilities");
                let _ = writeln!(text, "{}", if target.set_ids_cleared > 0 { &cleared } else { "" });
            }
        }
        let _ = writeln!(text, "restored from {} in {}", &self.snapshot[..12], seconds(self.elapsed_seconds));
        text.push_str(&left_out(&self.snapshot[..12], &self.left_out));
        text
    }
}

/// How many names of streams that were left out are on one line.
const NAMED: usize = 10;

/// What else the snapshot holds, and which verb restores it.
fn left_out(snapshot: &str, streams: &[LeftOutStream]) -> String {
    let mut text = String::new();
    for (kinds, noun, verb) in
        [(&["volume"][..], "volume", "volume"), (&["path"], "folder", "path"), (&["stdin"], "stream", "dump")]
    {
        let of_kind = streams.iter().filter(|stream| kinds.contains(&stream.kind.as_str()));
        let names: Vec<String> = of_kind.map(|stream| printable(&stream.name)).collect();
        let (is, what) = match names.len() {
            0 => continue,
            1 => ("is", "it"),
            _ => ("are", "them"),
        };
        let more = if names.len() > NAMED { ", …" } else { "" };
        let shown = names[..names.len().min(NAMED)].join(", ");
        let command = match verb {
            "path" => format!("path {snapshot} --to DIR"),
            "dump" => format!("dump {snapshot} NAME"),
            verb => format!("{verb} {snapshot} VOLUME"),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "LEFT OUT: {} {is} in this snapshot too: {shown}{more}; `lifeboat-restore {command}` restores {what}",
            count(names.len() as u64, noun),
        );
    }
    text
}

/// How a folder or volume differs from a snapshot.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DiffReport {
    /// The snapshot's id.
    pub snapshot: String,
    /// What was compared with it.
    pub target: String,
    /// The differences in order.
    pub differences: Vec<DifferenceLine>,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DifferenceLine {
    /// The path below the target, empty for the target itself; bytes that are not UTF-8 are shown as U+FFFD here and whole
    /// in `path_hex`.
    pub path: String,
    /// The path's bytes in hexadecimal, where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// `missing`, `extra`, `changed` or `unreadable`, as the target has it.
    pub what: String,
    /// What changed, or why it could not be read.
    pub aspects: Vec<String>,
}

impl DifferenceLine {
    /// The difference in words.
    pub(crate) fn sentence(&self) -> String {
        let path = path_text(&self.path, self.path_hex.as_deref());
        let aspects = printable(&self.aspects.join(", "));
        match self.what.as_str() {
            "missing" => format!("{path}: missing"),
            "extra" => format!("{path}: not in the snapshot"),
            "changed" => format!("{path}: other {aspects}"),
            _ => format!("{path}: {aspects}"),
        }
    }
}

impl Report for DiffReport {
    const SCHEMA: &'static str = "lifeboat.diff/v1";

    fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.differences {
            let _ = write!(text, "{:<10} {}", line.what, path_text(&line.path, line.path_hex.as_deref()));
            if !line.aspects.is_empty() {
                let _ = write!(text, " ({})", line.aspects.join(", "));
            }
            text.push('\n');
        }
        let _ = match self.differences.len() as u64 {
            0 => writeln!(text, "{} is as it was in {}", printable(&self.target), &self.snapshot[..12]),
            n => writeln!(text, "{} from {}", count(n, "difference"), &self.snapshot[..12]),
        };
        text
    }
}

/// What `gc` removed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GcReport {
    /// How many objects were removed.
    pub removed: u64,
    /// What is still there.
    pub leftovers: Vec<String>,
    /// What has a rehearsal's label but cannot be proved to be of this machine, with the reason. It is left alone.
    pub left_alone: Vec<String>,
}

impl Report for GcReport {
    const SCHEMA: &'static str = "lifeboat.gc/v1";

    fn text(&self) -> String {
        let mut text = format!("{} removed\n", count(self.removed, "scratch object"));
        if !self.leftovers.is_empty() {
            let _ = writeln!(text, "STILL THERE: {}", count(self.leftovers.len() as u64, "object"));
            text.push_str(&first_lines(&self.leftovers, 20));
        }
        if !self.left_alone.is_empty() {
            let _ = writeln!(
                text,
                "left alone, since this machine cannot be shown to have made them: {}",
                count(self.left_alone.len() as u64, "object")
            );
            text.push_str(&first_lines(&self.left_alone, 20));
        }
        text
    }
}
