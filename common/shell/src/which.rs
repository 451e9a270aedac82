//! The flags that choose a snapshot where a name alone is ambiguous.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use lifeboat_core::text::printable;
use lifeboat_vault::{Listing, NamedStream, OpenSnapshot, RecoverySession, Snapshot, StreamKind};

use crate::{Failure, describe};

/// Among which snapshots a name such as `latest` is looked for.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which snapshot")]
pub struct WhichFlags {
    /// Only snapshots of this host; of several writers with its name those that were not removed come first
    #[arg(long, value_name = "H")]
    pub host: Option<String>,
    /// Only snapshots of this writer: the first digits of its id, as `key list` shows it
    #[arg(long, value_name = "ID")]
    pub writer: Option<String>,
    /// Only snapshots with this tag; with several, those that have all
    #[arg(long, value_name = "T", value_parser = crate::tag)]
    pub tag: Vec<String>,
    /// Only snapshots taken before this time, such as 2026-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub before: Option<Timestamp>,
    /// Only snapshots that hold this volume
    #[arg(long = "volume", id = "which_volume", value_name = "V")]
    pub volume: Option<String>,
    /// Only snapshots that hold this folder of the host: a recovery key reads a little of each to tell
    #[arg(long = "path", id = "which_path", value_name = "DIR")]
    pub path: Option<PathBuf>,
    /// Only snapshots that hold something of this kind, of which NAME in SNAP:NAME is one then
    #[arg(long, value_enum)]
    pub kind: Option<Kind>,
}

/// What a part of a snapshot was captured from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A Docker volume
    Volume,
    /// A folder of the host
    Path,
    /// Standard input, or what a command printed
    Stdin,
}

impl From<Kind> for StreamKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Volume => Self::Volume,
            Kind::Path => Self::Path,
            Kind::Stdin => Self::Stdin,
        }
    }
}

/// The flags as they were given; empty if there are none.
impl fmt::Display for WhichFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.and_then(|kind| Some(kind.to_possible_value()?.get_name().to_owned()));
        let path = self.path.as_deref().map(describe::path);
        let given = [
            ("--host", self.host.clone()),
            ("--writer", self.writer.clone()),
            ("--before", self.before.map(|before| before.to_string())),
            ("--volume", self.volume.clone()),
            ("--path", path),
            ("--kind", kind),
        ];
        let tags = self.tag.iter().map(|tag| ("--tag", tag.clone()));
        let given = given.into_iter().filter_map(|(flag, value)| Some((flag, value?))).chain(tags);
        let words: Vec<String> = given.map(|(flag, value)| format!("{flag} {}", printable(&value))).collect();
        f.write_str(&words.join(" "))
    }
}

impl WhichFlags {
    /// Drops the snapshots that the flags exclude. The paths of folders are sealed: if one is given and only the latest
    /// snapshot is needed (`name`), the search stops at the first match.
    pub async fn narrow(
        &self,
        listing: Listing,
        restorer: Option<&RecoverySession>,
        name: Option<&str>,
    ) -> Result<Listing, Failure> {
        let kind = self.kind.map(StreamKind::from);
        let mut listing = listing.narrow(self.writer.as_deref(), &self.tag, self.before, kind);
        if let Some(volume) = &self.volume {
            listing = listing.holding(|snapshot| {
                snapshot.streams().any(|held| held.kind == StreamKind::Volume && held.name == *volume)
            });
        }
        let Some(path) = &self.path else { return Ok(listing) };
        let Some(restorer) = restorer else {
            return Err(Failure::usage(
                "the paths of captured folders are sealed, and this key does not open them",
                "give --identity FILE, a recovery key, with --path; or use --tag",
            ));
        };
        let wanted = one_name(path);
        let is_first_enough = name.is_some_and(|name| name == "latest" || name.starts_with("latest:"));
        let candidates = match name {
            Some(_) if is_first_enough => listing.latest_first(self.host.as_deref())?,
            Some(_) => return Ok(listing),
            None => listing.snapshots.clone(),
        };
        let mut holding = BTreeSet::new();
        for snapshot in candidates {
            if !snapshot.streams().any(|stream| stream.kind == StreamKind::Path) {
                continue;
            }
            let id = *snapshot.id();
            let streams = OpenSnapshot::open(restorer, snapshot).await?.named_streams().await?;
            let is_it =
                |stream: &NamedStream| stream.origin.as_deref() == Some(wanted.as_os_str().as_bytes());
            if streams.iter().any(is_it) {
                holding.insert(id);
                if is_first_enough {
                    break;
                }
            }
        }
        Ok(listing.holding(|snapshot| holding.contains(snapshot.id())))
    }

    /// The snapshot of `listing` that `name` means.
    pub async fn find(
        &self,
        listing: Listing,
        restorer: Option<&RecoverySession>,
        name: &str,
    ) -> Result<Snapshot, Failure> {
        let listing = self.narrow(listing, restorer, Some(name)).await?;
        Ok(listing.find(name, self.host.as_deref())?)
    }
}

/// The canonical spelling of a folder's path: absolute, without `.`, repeated slashes or a trailing one.
pub fn one_name(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).components().collect()
}
