//! The report of `find`.

use std::fmt::Write as _;

use jiff::Timestamp;
use lifeboat_core::text::path_text;
use serde::Serialize;

use crate::Report;
use crate::figures::{bytes, count, printable, time};

/// One item that a search found.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FoundLine {
    /// Where it is, as `lifeboat-restore` takes it: `SNAPSHOT:STREAM/PATH`. A backslash in it is doubled, and a byte that is no
    /// UTF-8, or that a terminal would obey, is `\xHH`.
    pub address: String,
    /// The snapshot's id.
    pub snapshot: String,
    /// When the snapshot was taken.
    #[cfg_attr(test, schemars(with = "crate::schemas::Moment"))]
    pub time: Timestamp,
    /// The host that it is of.
    pub host: String,
    /// `file`, `folder`, `symlink`, `hard-link`, `block-device`, `character-device`, `fifo` or `socket`.
    pub kind: String,
    /// A file's length in bytes.
    pub size_bytes: Option<u64>,
    /// The captured folder, volume or file that it is in.
    pub stream: String,
    /// Its path there; bytes that are not UTF-8 are shown as U+FFFD here and whole in `path_hex`.
    pub path: String,
    /// The path's bytes in hexadecimal, where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
}

impl FoundLine {
    /// The address of an item, as `lifeboat-restore` takes it.
    pub fn address(snapshot: &str, stream: &str, path: &[u8]) -> String {
        let slash = if path.is_empty() { "" } else { "/" };
        format!("{snapshot}:{}{slash}{}", path_text(stream.as_bytes()), path_text(path))
    }

    /// The line for people; its last column is the address, with the first digits of the snapshot's id.
    pub fn text(&self) -> String {
        let size = self.size_bytes.map_or_else(|| "-".to_owned(), bytes);
        let address = short_address(&self.snapshot, &self.address);
        format!("{}  {:<9} {size:>10}  {}", time(self.time), self.kind, printable(&address))
    }
}

/// An address in a snapshot with the first digits of its id.
pub(crate) fn short_address(snapshot: &str, address: &str) -> String {
    let part = address.strip_prefix(snapshot).unwrap_or(address);
    format!("{}{part}", snapshot.get(..12).unwrap_or(snapshot))
}

/// A search that ended.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FindReport {
    /// What was searched for.
    pub pattern: String,
    /// How many snapshots were searched.
    pub snapshots: u64,
    /// How many items were found in all of them together.
    pub found: u64,
    /// The items, the oldest snapshot's first. In the form for people they were told as they were found, and only the
    /// sum is told at the end.
    pub matches: Vec<FoundLine>,
    /// Snapshots that could not be searched, and why.
    pub unreadable: Vec<String>,
}

impl Report for FindReport {
    const SCHEMA: &'static str = "lifeboat.find/v1";

    fn text(&self) -> String {
        let mut text = match self.found {
            0 => "nothing".to_owned(),
            n => count(n, "item"),
        };
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, " found in {}", count(self.snapshots, "snapshot"));
        for reason in &self.unreadable {
            let _ = writeln!(text, "UNREADABLE: {}", printable(reason));
        }
        text
    }
}
