//! From flags to a snapshot whose contents can be read, and to the streams in it.

use lifeboat_shell::{Failure, RecoveryFlags, RepositoryFlags, WhichFlags};
pub(crate) use lifeboat_vault::NamedStream;
use lifeboat_vault::{OpenSnapshot, StreamKind, VaultError};

/// Which snapshot, and how to read it.
#[derive(Debug, clap::Args)]
pub(crate) struct SnapshotFlags {
    /// An id, the first digits of one, `latest`, or `latest:VOLUME`
    #[arg(value_name = "SNAP")]
    pub(crate) snapshot: String,
    #[command(flatten)]
    pub(crate) repository: RepositoryFlags,
    #[command(flatten)]
    pub(crate) keys: RecoveryFlags,
    #[command(flatten)]
    pub(crate) which: WhichFlags,
}

/// Finds the snapshot that the flags name and opens it.
pub(crate) async fn snapshot(flags: &SnapshotFlags) -> Result<OpenSnapshot, Failure> {
    let restorer = flags.keys.open(&flags.repository).await?;
    let listing = restorer.viewer().snapshots().await?;
    let snapshot = flags.which.find(listing, &flags.snapshot)?;
    Ok(restorer.open_snapshot(snapshot).await?)
}

/// All streams of a snapshot, by the names that people give them.
pub(crate) async fn streams(snapshot: &OpenSnapshot) -> Result<Vec<NamedStream>, VaultError> {
    snapshot.named_streams().await
}

/// The stream called `name`, of one of `kinds`.
pub(crate) fn named<'s>(
    streams: &'s [NamedStream],
    kinds: &[StreamKind],
    what: &'static str,
    name: &str,
) -> Result<&'s NamedStream, VaultError> {
    let of_kind = || streams.iter().filter(|stream| kinds.contains(&stream.kind));
    of_kind().find(|stream| stream.name == name).ok_or_else(|| VaultError::NotInSnapshot {
        what,
        wanted: name.to_owned(),
        candidates: of_kind().map(|stream| stream.name.clone()).collect(),
    })
}
