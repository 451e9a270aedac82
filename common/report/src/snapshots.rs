//! Listings of snapshots and of their content.

use std::collections::HashMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use crate::Report;
use crate::backup::StreamLine;
use crate::figures::{TOLD, bytes, count, path_text, printable, time};

/// One snapshot.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SnapshotLine {
    /// Its id.
    pub id: String,
    /// When it was taken, as its host's clock had it.
    #[cfg_attr(test, schemars(with = "crate::schemas::Moment"))]
    pub time: Timestamp,
    /// Its host.
    pub host: String,
    /// The writer's id.
    pub writer: String,
    /// Which of the writer's snapshots it is.
    pub sequence: u64,
    /// The application, where the snapshot is of one.
    pub application: Option<String>,
    /// Its labels.
    pub tags: Vec<String>,
    /// The id of the snapshot that it is a copy of, in another repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copied_from: Option<String>,
    /// Its streams.
    pub streams: Vec<StreamLine>,
    /// Some of what was to be captured is missing.
    pub incomplete: bool,
}

impl SnapshotLine {
    fn data_bytes(&self) -> u64 {
        self.streams.iter().map(|stream| stream.data_bytes).sum()
    }

    /// What it holds, on one line.
    pub(crate) fn what(&self) -> String {
        let names: Vec<_> = self
            .streams
            .iter()
            .map(|s| if s.kind == "volume" { s.name.as_str() } else { s.kind.as_str() })
            .collect();
        let mut what = printable(&names.join(", "));
        if !self.tags.is_empty() {
            let _ = write!(what, " [{}]", printable(&self.tags.join(", ")));
        }
        if self.incomplete {
            what.push_str(" INCOMPLETE");
        }
        what
    }
}

/// All snapshots that the given key can list.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SnapshotList {
    /// The repository's location.
    pub location: String,
    /// The snapshots, oldest first.
    pub snapshots: Vec<SnapshotLine>,
    /// Why others could not be read.
    pub unreadable: Vec<String>,
}

impl SnapshotList {
    /// Whether one host has snapshots of several writers, as when it was enrolled again.
    fn has_hosts_of_several_writers(&self) -> bool {
        let mut first: HashMap<&str, &str> = HashMap::new();
        self.snapshots.iter().any(|s| *first.entry(&s.host).or_insert(&s.writer) != s.writer)
    }
}

impl Report for SnapshotList {
    const SCHEMA: &'static str = "lifeboat.list/v1";

    fn text(&self) -> String {
        let mut text = String::new();
        let has_several = self.has_hosts_of_several_writers();
        if self.snapshots.is_empty() {
            text.push_str("no snapshots\n");
        } else {
            let writer = if has_several { "writer    " } else { "" };
            let _ =
                writeln!(text, "snapshot      taken                 host          {writer}size        what");
        }
        for s in &self.snapshots {
            let writer = &s.writer[..8.min(s.writer.len())];
            let writer = if has_several { format!("{writer}  ") } else { String::new() };
            let _ = writeln!(
                text,
                "{:<12}  {}  {:<12}  {writer}{:>10}  {}",
                &s.id[..12.min(s.id.len())],
                time(s.time),
                printable(&s.host),
                bytes(s.data_bytes()),
                s.what()
            );
        }
        for reason in self.unreadable.iter().take(TOLD) {
            let _ = writeln!(text, "UNREADABLE: {}", printable(reason));
        }
        if self.unreadable.len() > TOLD {
            let _ = writeln!(text, "and {} more UNREADABLE; --json tells all", self.unreadable.len() - TOLD);
        }
        text
    }
}

/// One snapshot in full.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SnapshotReport {
    /// The snapshot.
    #[serde(flatten)]
    pub snapshot: SnapshotLine,
}

impl Report for SnapshotReport {
    const SCHEMA: &'static str = "lifeboat.show/v1";

    fn text(&self) -> String {
        let s = &self.snapshot;
        let mut text = format!("snapshot    {}\n", s.id);
        let _ = writeln!(text, "taken       {} on {}", time(s.time), printable(&s.host));
        let _ = writeln!(text, "writer      {}, snapshot {}", s.writer, s.sequence);
        if let Some(application) = &s.application {
            let _ = writeln!(text, "application {}", printable(application));
        }
        if !s.tags.is_empty() {
            let _ = writeln!(text, "tags        {}", printable(&s.tags.join(", ")));
        }
        if let Some(original) = &s.copied_from {
            let _ = writeln!(text, "copy of     {original}");
        }
        if s.incomplete {
            text.push_str("INCOMPLETE: some of what was to be captured is missing\n");
        }
        s.streams.iter().for_each(|stream| text.push_str(&stream.text()));
        text
    }
}

/// One item of a snapshot.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ItemLine {
    /// The stream that it is in.
    pub stream: String,
    /// Its path; bytes that are not UTF-8 are shown as U+FFFD here and whole in `path_hex`.
    pub path: String,
    /// The path's bytes in hexadecimal, where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// `file`, `folder`, `symlink`, `hard-link`, `block-device`, `character-device`, `fifo` or `socket`.
    pub kind: String,
    /// The permission bits, four octal digits.
    pub mode: String,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// A file's length in bytes.
    pub size_bytes: Option<u64>,
    /// When it was last modified.
    #[cfg_attr(test, schemars(with = "Option<crate::schemas::Moment>"))]
    pub modified_at: Option<Timestamp>,
    /// What a link says; bytes that are not UTF-8 are shown as U+FFFD here and whole in `target_hex`.
    pub target: Option<String>,
    /// The bytes of what a link says in hexadecimal, where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_hex: Option<String>,
}

impl ItemLine {
    /// The kind as the letter that `ls -l` shows.
    fn letter(&self) -> char {
        match self.kind.as_str() {
            "folder" => 'd',
            "symlink" => 'l',
            "block-device" => 'b',
            "character-device" => 'c',
            "fifo" => 'p',
            "socket" => 's',
            _ => '-',
        }
    }
}

/// What is in a snapshot.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ItemList {
    /// The snapshot's id.
    pub snapshot: String,
    /// The folders, volumes and files that are listed.
    pub streams: Vec<ListedStream>,
    /// The items in order.
    pub items: Vec<ItemLine>,
}

/// A captured folder, volume or file whose items are listed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ListedStream {
    /// `path`, `volume` or `stdin`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// A folder's path on its host, escaped as in addresses, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl Report for ItemList {
    const SCHEMA: &'static str = "lifeboat.ls/v1";

    fn text(&self) -> String {
        let mut text = String::new();
        let mut stream = None;
        for item in &self.items {
            if stream != Some(&item.stream) {
                let of_name = self.streams.iter().find(|stream| stream.name == item.stream);
                let source = of_name.and_then(|stream| stream.source.as_deref());
                let source =
                    source.map_or_else(String::new, |source| format!(", from {}", printable(source)));
                let _ = writeln!(text, "{}{source}:", printable(&item.stream));
                stream = Some(&item.stream);
            }
            let size = item.size_bytes.map_or_else(|| "-".to_owned(), |size| size.to_string());
            let when = item.modified_at.map_or_else(|| "-".to_owned(), time);
            let path = path_text(&item.path, item.path_hex.as_deref());
            let _ = write!(
                text,
                "{}{} {:>5} {:>5} {size:>12} {when} {path}",
                item.letter(),
                item.mode,
                item.uid,
                item.gid,
            );
            match &item.target {
                Some(target) => {
                    let _ = writeln!(text, " -> {}", path_text(target, item.target_hex.as_deref()));
                }
                None => text.push('\n'),
            }
        }
        let _ = writeln!(text, "{}", count(self.items.len() as u64, "item"));
        text
    }
}
