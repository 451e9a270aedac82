//! From flags to a snapshot whose contents can be read, and to the streams in it.

use lifeboat_shell::{Failure, RecoveryFlags, RepositoryFlags, WhichFlags};
pub(crate) use lifeboat_vault::NamedStream;
use lifeboat_vault::{OpenSnapshot, StreamKind, VaultError};

use crate::address::Address;

/// Which snapshot, and how to read it.
#[derive(Debug, clap::Args)]
pub(crate) struct SnapshotFlags {
    /// An id, the first digits of one, or `latest`. With `:NAME` the captured volume or folder of that name is meant, with
    /// `:NAME/PATH` what lies in it, as `find` prints it
    #[arg(value_name = "SNAP")]
    pub(crate) snapshot: String,
    #[command(flatten)]
    pub(crate) repository: RepositoryFlags,
    #[command(flatten)]
    pub(crate) keys: RecoveryFlags,
    #[command(flatten)]
    pub(crate) which: WhichFlags,
}

/// An open snapshot, and what of it is meant.
pub(crate) struct Place {
    pub(crate) snapshot: OpenSnapshot,
    /// All its streams.
    pub(crate) streams: Vec<NamedStream>,
    /// The one that is named.
    pub(crate) stream: Option<NamedStream>,
    /// What is named in it.
    pub(crate) path: Option<String>,
}

/// Finds and opens what the flags name.
pub(crate) async fn place(flags: &SnapshotFlags) -> Result<Place, Failure> {
    let address = Address::parse(&flags.snapshot)?;
    let restorer = flags.keys.open(&flags.repository).await?;
    let listing = flags.which.narrow(restorer.viewer().snapshots().await?);
    let find = |name: &str| listing.find(name, flags.which.host.as_deref());
    let found = match (address.snapshot, address.stream) {
        // The names of folders are sealed: only the contents of a snapshot tell whether it holds one.
        ("latest", Some(stream)) => match find(&format!("latest:{stream}")) {
            Err(VaultError::NoSuchSnapshot { .. }) => find("latest")?,
            other => other?,
        },
        (name, _) => find(name)?,
    };
    let snapshot = restorer.open_snapshot(found).await?;
    let streams = streams(&snapshot).await?;
    let stream = match address.stream {
        Some(name) => meant(&snapshot, &streams, name)?.cloned(),
        None => None,
    };
    Ok(Place { snapshot, streams, stream, path: address.path.map(str::to_owned) })
}

/// The stream of that name. The name under which folders are stored, such as `path`, says that the snapshot has folders, and
/// means none of them.
fn meant<'s>(
    snapshot: &OpenSnapshot,
    streams: &'s [NamedStream],
    name: &str,
) -> Result<Option<&'s NamedStream>, VaultError> {
    let kinds = [StreamKind::Volume, StreamKind::Path, StreamKind::Stdin];
    match named(streams, &kinds, "volume or folder", name) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) => {
            let is_stored = snapshot.snapshot().streams().any(|stream| stream.name == name);
            if is_stored { Ok(None) } else { Err(error) }
        }
    }
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
