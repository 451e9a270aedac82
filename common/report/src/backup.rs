//! Reports of `lifeboat-backup init`, `run` and `doctor`.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use crate::Report;
use crate::figures::{bytes, count, first_lines, printable, seconds, time};
use crate::members::named;
use crate::problem::{StreamPath, StreamProblem};

/// A new repository.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct InitReport {
    /// Where it lies.
    pub location: String,
    /// Its id.
    pub repository: String,
    /// The recovery key files that were written.
    pub recovery_keys: Vec<String>,
    /// The recipients whose private keys exist elsewhere.
    pub recipients: Vec<RecipientLine>,
    /// The writer key file that was written.
    pub writer_key: String,
    /// What to know about the choice of recipients.
    pub warnings: Vec<String>,
}

/// A recipient.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RecipientLine {
    /// Its short name.
    pub id: String,
    /// The public key as it was given; for a passphrase, the name under which the repository keeps it.
    pub recipient: String,
    /// `mlkem768x25519`, `x25519`, `ssh`, `p256tag`, `mlkem768p256tag`, `plugin` or `passphrase`.
    pub kind: String,
    /// `post-quantum`, `classical` or `unknown`.
    pub protection: String,
    /// What people call it; absent where it has no name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl RecipientLine {
    pub(crate) fn text(&self) -> String {
        let recipient = printable(&self.recipient);
        // Keys of one kind start alike, and post-quantum ones would fill the screen.
        let letters: Vec<char> = recipient.chars().collect();
        let shown = if letters.len() > 60 {
            let (start, end) = (&letters[..24], &letters[letters.len() - 24..]);
            start.iter().chain(&['…']).chain(end).collect()
        } else {
            recipient
        };
        let name = named(self.name.as_deref());
        format!("recipient     {}  {}, {}  {shown}{name}\n", self.id, self.kind, self.protection)
    }
}

/// Warnings about recipients of these kinds.
pub fn recipient_warnings(recipients: &[RecipientLine]) -> Vec<String> {
    let classical: Vec<&str> =
        recipients.iter().filter(|r| r.protection == "classical").map(|r| r.id.as_str()).collect();
    let mut warnings = Vec::new();
    if !classical.is_empty() {
        let (are, them) = if let [_] = classical[..] { ("is", "it") } else { ("are", "them") };
        warnings.push(format!(
            "{} {are} classical: anyone who copies the repository today can open it through {them} once quantum \
             computers break such keys. Keys made with --recovery-key and age1pq1… recipients withstand that.",
            classical.join(", ")
        ));
    }
    if recipients.iter().any(|r| r.kind == "passphrase") {
        warnings.push(
            "Anyone who copies the repository can try passphrases on the copy for as long as they like: only a long \
             random one protects it."
                .to_owned(),
        );
    }
    warnings
}

impl Report for InitReport {
    const SCHEMA: &'static str = "lifeboat.init/v1";

    fn text(&self) -> String {
        let mut text = format!("repository {}\n  at {}\n", self.repository, self.location);
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "writer key    {}", self.writer_key);
        for key in &self.recovery_keys {
            let _ = writeln!(text, "recovery key  {key}");
        }
        self.recipients.iter().for_each(|recipient| text.push_str(&recipient.text()));
        text.push_str(
            "\nThe writer key stays on this host; it cannot read backups back.\n\
             A recovery key can. Move the recovery keys off this host, to two\n\
             places. Lose them all, lose everything: nobody can make them again.\n",
        );
        for warning in &self.warnings {
            let _ = write!(text, "\nwarning: {warning}\n");
        }
        text
    }
}

/// A backup that ended.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunReport {
    /// The repository's location.
    pub location: String,
    /// The snapshot's id; null after a dry run.
    pub snapshot: Option<String>,
    /// Which of this host's snapshots it is.
    pub sequence: u64,
    /// When it was taken.
    #[cfg_attr(test, schemars(with = "crate::schemas::Moment"))]
    pub time: Timestamp,
    /// What was captured.
    pub streams: Vec<StreamLine>,
    /// Bytes of data that the repository did not have before.
    pub new_bytes: u64,
    /// Bytes that were written to packs, compressed and sealed.
    pub stored_bytes: u64,
    /// How long the run took, in seconds.
    pub elapsed_seconds: f64,
    /// Containers that were brought to rest while volumes were read, by name; in a dry run, those that would be.
    pub rested: Vec<String>,
    /// How long containers were at rest, in seconds.
    pub rest_seconds: Option<f64>,
    /// Containers that kept writing to a volume because they could not be stopped without harm, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_running: Vec<String>,
    /// What is wrong with containers that were started again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<String>,
    /// What was left out on purpose, where something was to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOutLine>,
    /// Some of what was to be captured is missing.
    pub incomplete: bool,
    /// What could not be captured, and why.
    pub unreadable: Vec<StreamProblem>,
    /// Files that changed while they were read.
    pub changed: Vec<StreamPath>,
}

/// What a run left out on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LeftOutLine {
    /// Files, folders and other items that patterns name. What is in a folder that was left out is not counted.
    pub items: u64,
    /// Folders that were kept empty but for their `CACHEDIR.TAG`.
    pub cache_folders: u64,
    /// Folders that were kept empty because another file system begins there.
    pub mount_points: u64,
}

impl LeftOutLine {
    fn text(self) -> String {
        let counts =
            [(self.items, "item"), (self.cache_folders, "cache"), (self.mount_points, "mount point")];
        let said: Vec<_> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, noun)| count(*n, noun)).collect();
        format!("left out: {}\n", if said.is_empty() { "nothing".to_owned() } else { said.join(", ") })
    }
}

/// One captured stream.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StreamLine {
    /// `path`, `volume` or `stdin`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The folder's path on its host, escaped as in addresses, where the key that was given shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// How writers were kept off.
    pub consistency: String,
    /// How many files, folders and other items it has.
    pub items: u64,
    /// The sum of its files' data, in bytes.
    pub data_bytes: u64,
}

impl StreamLine {
    pub(crate) fn text(&self) -> String {
        let size = bytes(self.data_bytes);
        let items = count(self.items, "item");
        let label = format!("{} {}", self.kind, printable(&self.name));
        let source = self.source.iter().map(|source| format!("    from {}\n", printable(source)));
        let line = format!("  {label:<28} {size:>10}  {items:>14}  {}\n", self.consistency);
        line + &source.collect::<String>()
    }
}

impl Report for RunReport {
    const SCHEMA: &'static str = "lifeboat.run/v1";

    fn text(&self) -> String {
        let mut text = match &self.snapshot {
            Some(id) => format!("snapshot {} of {}\n", &id[..12.min(id.len())], time(self.time)),
            None => "dry run: nothing was stored\n".to_owned(),
        };
        self.streams.iter().for_each(|stream| text.push_str(&stream.text()));
        let _ = writeln!(
            text,
            "{} new, {} stored, in {}",
            bytes(self.new_bytes),
            bytes(self.stored_bytes),
            seconds(self.elapsed_seconds)
        );
        match self.rest_seconds {
            Some(rest) if !self.rested.is_empty() => {
                let _ = writeln!(text, "at rest for {}: {}", seconds(rest), self.rested.join(", "));
            }
            None if self.snapshot.is_none() && !self.rested.is_empty() => {
                let _ = writeln!(text, "would be at rest: {}", self.rested.join(", "));
            }
            _ => {}
        }
        if !self.left_running.is_empty() {
            let _ = writeln!(text, "LEFT RUNNING: {}", self.left_running.join(", "));
        }
        if !self.troubles.is_empty() {
            let _ = writeln!(text, "NOT AS BEFORE:");
            text.push_str(&first_lines(&self.troubles, 20));
        }
        if let Some(left_out) = self.left_out {
            text.push_str(&left_out.text());
        }
        if !self.changed.is_empty() {
            let _ = writeln!(text, "{} changed while being read:", count(self.changed.len() as u64, "file"));
            let changed: Vec<_> = self.changed.iter().map(StreamPath::text).collect();
            text.push_str(&first_lines(&changed, 10));
        }
        if self.incomplete {
            let _ = writeln!(
                text,
                "INCOMPLETE: {} could not be captured:",
                count(self.unreadable.len() as u64, "item")
            );
            let unreadable: Vec<_> = self.unreadable.iter().map(StreamProblem::text).collect();
            text.push_str(&first_lines(&unreadable, 20));
        }
        text
    }
}

/// What `doctor` found and put right.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DoctorReport {
    /// What was looked at, in order.
    pub checks: Vec<DoctorCheck>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DoctorCheck {
    /// What it is.
    pub name: String,
    /// `ok`, `mended`, `unknown` or `wrong`.
    pub state: DoctorState,
    /// What was seen.
    pub detail: String,
}

/// How one check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum DoctorState {
    /// All is well.
    Ok,
    /// It was wrong and has been put right.
    Mended,
    /// It could not be looked at.
    Unknown,
    /// It is wrong.
    Wrong,
}

impl Report for DoctorReport {
    const SCHEMA: &'static str = "lifeboat.doctor/v1";

    fn text(&self) -> String {
        let mut text = String::new();
        for check in &self.checks {
            let state = match check.state {
                DoctorState::Ok => "ok",
                DoctorState::Mended => "mended",
                DoctorState::Unknown => "unknown",
                DoctorState::Wrong => "WRONG",
            };
            let _ = writeln!(text, "{state:<8} {:<12} {}", check.name, check.detail);
        }
        text
    }
}
