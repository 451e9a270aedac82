//! The trait through which a drill sees a snapshot.

use std::fmt;
use std::path::Path;

use jiff::Timestamp;
use lifeboat_core::{Fault, Kind};
use lifeboat_docker::definitions::Definitions;
use lifeboat_report::restore::DifferenceLine;
use lifeboat_vault::Consistency;
use tokio_util::sync::CancellationToken;

/// A snapshot, as a drill sees it. Every method may block; the drill calls them off its own threads.
pub trait RecoveryPoint: Send + Sync + 'static {
    /// The snapshot's id, as commands take it.
    fn snapshot_id(&self) -> String;

    /// When it was taken.
    fn taken_at(&self) -> Timestamp;

    /// The host that it was taken on, if that was recorded.
    fn host(&self) -> Option<String> {
        None
    }

    /// How containers were kept from writing to its volumes: the weakest of all; `None` if it has no volume.
    fn consistency(&self) -> Option<Consistency>;

    /// The volumes and folders that it holds.
    fn volumes(&self) -> Vec<SnapshotVolume>;

    /// The definitions that were captured with it; `None` for a snapshot of folders only.
    fn definitions(&self) -> Result<Option<Definitions>, PointError>;

    /// Restores the volume `name` into the existing, empty folder `to`. The content goes directly into `to`, which gets
    /// the owner, mode and times of the volume's root. Returns soon with an error when `cancel` is cancelled.
    fn restore_volume(
        &self,
        name: &str,
        to: &Path,
        cancel: &CancellationToken,
    ) -> Result<RestoredVolume, PointError>;

    /// Compares what is in `at` with the snapshot, byte for byte and with all metadata, using the snapshot's own hashes
    /// and not what the restore believes it wrote. Returns the first few hundred differences.
    fn compare_volume(
        &self,
        name: &str,
        at: &Path,
        cancel: &CancellationToken,
    ) -> Result<Vec<DifferenceLine>, PointError>;
}

/// A volume or folder of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotVolume {
    /// Its name: a volume's name, or the captured folder's path.
    pub name: String,
    /// What kind of tree was captured.
    pub kind: SourceKind,
    /// How many files it holds.
    pub files: u64,
    /// How many bytes they hold.
    pub bytes: u64,
}

/// The kind of a captured tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A container volume.
    Volume,
    /// A folder of the host.
    Folder,
}

/// What a restore wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoredVolume {
    /// How many files.
    pub files: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// A failure on the snapshot's side, with its causes in one line. `?` makes it from any [`Fault`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointError {
    kind: Kind,
    message: String,
}

impl<F: Fault> From<F> for PointError {
    fn from(fault: F) -> Self {
        let (mut message, mut kind) = (fault.to_string(), fault.kind());
        let mut next = fault.source();
        while let Some(cause) = next {
            message = format!("{message}: {cause}");
            // A full disk says nothing about what was to be written to it.
            if cause.downcast_ref().is_some_and(is_full) {
                kind = Kind::Undetermined;
            }
            next = cause.source();
        }
        Self { kind, message }
    }
}

fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
}

impl PointError {
    /// The kind of failure: [`Kind::Refused`] fails the drill, everything else leaves it undecided.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl fmt::Display for PointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
