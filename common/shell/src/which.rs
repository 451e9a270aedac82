//! The flags that say which snapshot is meant where a name alone does not.

use clap::Args;
use jiff::Timestamp;
use lifeboat_vault::{Listing, Snapshot, StreamKind, VaultError};

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
    /// Only snapshots that hold something of this kind, of which NAME in SNAP:NAME is one then
    #[arg(long, value_enum)]
    pub kind: Option<Kind>,
}

/// What a part of a snapshot was captured from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
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

impl WhichFlags {
    /// Leaves out what is not meant.
    pub fn narrow(&self, listing: Listing) -> Listing {
        listing.narrow(self.writer.as_deref(), &self.tag, self.before, self.kind.map(StreamKind::from))
    }

    /// The snapshot of `listing` that `name` means.
    pub fn find(&self, listing: Listing, name: &str) -> Result<Snapshot, VaultError> {
        self.narrow(listing).find(name, self.host.as_deref())
    }
}
