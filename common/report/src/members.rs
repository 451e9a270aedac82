//! Reports of `lifeboat-backup key`.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use crate::Report;
use crate::backup::RecipientLine;
use crate::figures::{count, printable, time};

/// Everyone on the roster.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KeyListReport {
    /// The repository's location.
    pub location: String,
    /// Which roster this is, from 0.
    pub roster: u64,
    /// How many times the data identity was rotated.
    pub epoch: u32,
    /// For how many days every snapshot is kept whatever is asked.
    pub floor_days: u32,
    /// How many of every host's newest snapshots are kept whatever is asked.
    pub floor_snapshots: u32,
    /// Who can recover.
    pub recipients: Vec<RecipientLine>,
    /// The backup hosts.
    pub writers: Vec<WriterLine>,
    /// Who checks and prunes.
    pub keepers: Vec<KeeperLine>,
}

/// A backup host.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WriterLine {
    /// Its id.
    pub id: String,
    /// What people call it; absent where it has no name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The group that it deduplicates in.
    pub group: String,
    /// The host that it is, as its newest snapshot says; absent where the key shows none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// When its newest snapshot was taken; absent where the key shows none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<crate::schemas::Moment>"))]
    pub last_snapshot_at: Option<Timestamp>,
    /// Whether it was removed.
    pub is_removed: bool,
    /// Of a removed one, the sequence of its last snapshot that counts.
    pub last: Option<u64>,
}

/// A keeper.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KeeperLine {
    /// Its id.
    pub id: String,
    /// What people call it; absent where it has no name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it was removed.
    pub is_removed: bool,
}

impl Report for KeyListReport {
    const SCHEMA: &'static str = "lifeboat.keys/v1";

    fn text(&self) -> String {
        let mut text = format!("repository {}, roster {}\n", self.location, self.roster);
        for recipient in &self.recipients {
            text.push_str(&recipient.text());
        }
        for writer in &self.writers {
            let removed = match (writer.is_removed, writer.last) {
                (false, _) => String::new(),
                (true, Some(last)) => format!("  REMOVED after snapshot {last}"),
                (true, None) => "  REMOVED, no snapshot counts".to_owned(),
            };
            let host = match (&writer.host, writer.last_snapshot_at) {
                (Some(host), Some(last)) => format!("{}, last snapshot {}", printable(host), time(last)),
                _ => "no snapshot that this key shows".to_owned(),
            };
            let _ = writeln!(
                text,
                "writer        {}{removed}{}\n  host        {host}\n  in group    {}",
                writer.id,
                named(writer.name.as_deref()),
                writer.group
            );
        }
        for keeper in &self.keepers {
            let removed = if keeper.is_removed { "  REMOVED" } else { "" };
            let name = named(keeper.name.as_deref());
            let _ = writeln!(text, "keeper        {}{removed}{name}", keeper.id);
        }
        let _ = writeln!(
            text,
            "kept whatever is asked: {} of every host{}",
            count(self.floor_snapshots.into(), "newest snapshot"),
            if self.floor_days > 0 { format!(", and {} days", self.floor_days) } else { String::new() }
        );
        text
    }
}

/// The line that says what people call a member.
pub(crate) fn named(name: Option<&str>) -> String {
    name.map_or(String::new(), |name| format!("\n  called      {}", printable(name)))
}

/// Someone was added.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KeyAddedReport {
    /// `recovery key`, `recipient`, `writer` or `keeper`.
    pub role: &'static str,
    /// Its id.
    pub id: String,
    /// What people call it; absent where it has no name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The key file that was written.
    pub file: Option<String>,
    /// The group of a writer.
    pub group: Option<String>,
}

impl Report for KeyAddedReport {
    const SCHEMA: &'static str = "lifeboat.key-added/v1";

    fn text(&self) -> String {
        let mut text = format!("added {} {}\n", self.role, self.id);
        if let Some(name) = &self.name {
            let _ = writeln!(text, "  called {}", printable(name));
        }
        if let Some(group) = &self.group {
            let _ = writeln!(text, "  in group {group}");
        }
        if let Some(file) = &self.file {
            let what_to_do = match self.role {
                "recovery key" => {
                    "It reads everything. Move the file off this host, to another place than the others."
                }
                _ => "Move the file to where it is used, and keep no copy.",
            };
            let _ = writeln!(text, "  its key: {file}\n{what_to_do}");
        }
        text
    }
}

/// Someone was removed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KeyRemovedReport {
    /// `recipient`, `writer` or `keeper`.
    pub role: &'static str,
    /// Its id.
    pub id: String,
    /// Of a writer, the sequence of its last snapshot that counts.
    pub last: Option<u64>,
}

impl Report for KeyRemovedReport {
    const SCHEMA: &'static str = "lifeboat.key-removed/v1";

    fn text(&self) -> String {
        let what_it_means = match self.role {
            "recipient" => {
                "What is written from now on is sealed to others only. It could read everything until\n\
                 now, and may have copies of the keys: if it is not trusted, `copy` into a new repository."
                    .to_owned()
            }
            "writer" => match self.last {
                Some(last) => {
                    format!("Its snapshots count up to number {last}; what it asked to forget since is void.")
                }
                None => "None of its snapshots counts.".to_owned(),
            },
            _ => "What it condemns or forgets from now on does not count.".to_owned(),
        };
        format!("removed {} {}\n{what_it_means}\n", self.role, self.id)
    }
}

/// The data identity was rotated.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RotatedReport {
    /// The new epoch.
    pub epoch: u32,
}

impl Report for RotatedReport {
    const SCHEMA: &'static str = "lifeboat.rotated/v1";

    fn text(&self) -> String {
        format!("epoch {}: what is written from now on is sealed to a new data identity\n", self.epoch)
    }
}

/// The retention floor was set.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FloorReport {
    /// For how many days every snapshot is kept whatever is asked.
    pub floor_days: u32,
    /// How many of every host's newest snapshots are kept whatever is asked.
    pub floor_snapshots: u32,
}

impl Report for FloorReport {
    const SCHEMA: &'static str = "lifeboat.floor/v1";

    fn text(&self) -> String {
        format!(
            "kept whatever is asked: {} of every host, and every snapshot for {} days\n",
            count(self.floor_snapshots.into(), "newest snapshot"),
            self.floor_days
        )
    }
}

/// The public keys.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExportReport {
    /// The repository's id, which is the hash of the root key.
    pub repository: String,
    /// The root verification key, PEM.
    pub root: String,
    /// The writers' verification keys.
    pub writers: Vec<PublicKeyLine>,
}

/// The public key of a writer.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PublicKeyLine {
    /// The writer's id.
    pub id: String,
    /// Its verification key, PEM.
    pub public_key: String,
}

impl Report for ExportReport {
    const SCHEMA: &'static str = "lifeboat.public-keys/v1";

    fn text(&self) -> String {
        let mut text = format!("# repository {}: its root key\n{}", self.repository, self.root);
        for PublicKeyLine { id, public_key } in &self.writers {
            let _ = write!(text, "# writer {id}\n{public_key}");
        }
        text
    }
}
