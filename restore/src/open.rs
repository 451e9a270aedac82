//! From flags to a snapshot whose contents can be read, and to the streams in it.

use std::ffi::OsString;

use lifeboat_shell::{Failure, RecoveryFlags, RepositoryFlags, WhichFlags};
pub(crate) use lifeboat_vault::NamedStream;
use lifeboat_vault::{Listing, OpenSnapshot, RecoverySession, Snapshot, StreamKind, Subtree, VaultError};

use crate::address::{Address, GivenPath};

/// Which snapshot, and how to read it.
#[derive(Debug, clap::Args)]
pub(crate) struct SnapshotFlags {
    /// An id, the first digits of one, or `latest`. With `:NAME` the captured volume or folder of that name is meant, with
    /// `:NAME/PATH` what lies in it, as `find` prints it: `\\` is a backslash, `\xHH` the byte HH
    #[arg(value_name = "SNAP")]
    pub(crate) snapshot: OsString,
    #[command(flatten)]
    pub(crate) repository: RepositoryFlags,
    #[command(flatten)]
    pub(crate) keys: RecoveryFlags,
    #[command(flatten)]
    pub(crate) which: WhichFlags,
}

/// An open snapshot, and the part of it that the flags name.
pub(crate) struct Place {
    pub(crate) snapshot: OpenSnapshot,
    /// All its streams.
    pub(crate) streams: Vec<NamedStream>,
    /// The stream that is named.
    pub(crate) stream: Option<NamedStream>,
    /// The path that is named in it; empty for the whole stream.
    pub(crate) path: GivenPath,
}

/// Finds and opens what the flags name.
pub(crate) async fn place(flags: &SnapshotFlags) -> Result<Place, Failure> {
    let address = Address::parse(&flags.snapshot)?;
    let restorer = flags.keys.open_to_read(&flags.repository).await?;
    let listing = Listing::read(restorer.session()).await?;
    let listing = flags.which.narrow(listing, Some(&restorer), Some(&address.snapshot)).await?;
    let host = flags.which.host.as_deref();
    let latest_with = match &address.stream {
        Some(name) if address.snapshot == "latest" => Some(name.as_str()),
        _ => None,
    };
    let kind = flags.which.kind.map(StreamKind::from);
    let (snapshot, streams) = match latest_with {
        Some(name) => latest_that_holds(name, kind, &restorer, &listing, host).await?,
        None => open(&restorer, listing.find(&address.snapshot, host)?).await?,
    };
    if snapshot.snapshot().is_incomplete() {
        tracing::warn!(
            "snapshot {} is incomplete: some of what was to be captured is missing in it",
            snapshot.snapshot().short_id()
        );
    }
    let stream = address.stream.as_deref().map(|name| meant(&snapshot, &streams, kind, name)).transpose()?;
    let stream = stream.cloned();
    Ok(Place { snapshot, streams, stream, path: address.path })
}

async fn open(
    restorer: &RecoverySession,
    snapshot: Snapshot,
) -> Result<(OpenSnapshot, Vec<NamedStream>), VaultError> {
    let snapshot = OpenSnapshot::open(restorer, snapshot).await?;
    let streams = snapshot.named_streams().await?;
    Ok((snapshot, streams))
}

/// The latest snapshot that holds something called `name`. The names of folders are sealed: if no volume has this name,
/// the snapshots are opened one after the other.
async fn latest_that_holds(
    name: &str,
    kind: Option<StreamKind>,
    restorer: &RecoverySession,
    listing: &Listing,
    host: Option<&str>,
) -> Result<(OpenSnapshot, Vec<NamedStream>), VaultError> {
    if kind != Some(StreamKind::Path) {
        match listing.find(&format!("latest:{name}"), host) {
            Err(VaultError::NoSuchSnapshot { .. }) => {}
            found => return open(restorer, found?).await,
        }
    }
    let mut newest = None;
    for found in listing.latest_first(host)? {
        let may_hold_it = found.streams().any(|stream| stream.kind == StreamKind::Path);
        if may_hold_it || newest.is_none() {
            let (snapshot, streams) = open(restorer, found).await?;
            if meant(&snapshot, &streams, kind, name).is_ok() {
                return Ok((snapshot, streams));
            }
            newest.get_or_insert((snapshot, streams));
        }
    }
    // No snapshot has anything of that name: report what the newest one holds instead.
    match newest {
        Some(newest) => Ok(newest),
        None => open(restorer, listing.find("latest", host)?).await,
    }
}

impl Place {
    /// The item at the path that is named; `None` if the whole is meant.
    pub(crate) async fn part(&self) -> Result<Option<Subtree>, VaultError> {
        if self.path.is_empty() {
            return Ok(None);
        }
        if let Some(stream) = &self.stream {
            for path in self.path.meanings() {
                if let Some(found) = self.snapshot.subtree(stream.index, &path).await? {
                    return Ok(Some(found));
                }
            }
        }
        Err(self.lacks(&self.path))
    }

    /// The error for a path that does not exist in the snapshot.
    pub(crate) fn lacks(&self, path: &GivenPath) -> VaultError {
        let candidates = self.streams.iter().map(|stream| format!("{}/…", stream.name)).collect();
        let of_stream = self.stream.iter().map(|stream| format!("{}/", stream.name));
        let wanted = of_stream.chain([path.shown()]).collect();
        VaultError::NotInSnapshot { what: "path", wanted, candidates }
    }
}

/// The stream with that name and, if one is given, that kind. A volume or standard input may also be given by the name
/// that it had when it was captured, if the kind makes that unambiguous.
fn meant<'s>(
    snapshot: &OpenSnapshot,
    streams: &'s [NamedStream],
    kind: Option<StreamKind>,
    name: &str,
) -> Result<&'s NamedStream, VaultError> {
    let kinds = [StreamKind::Volume, StreamKind::Path, StreamKind::Stdin];
    let kinds = kind.map_or(kinds.to_vec(), |kind| vec![kind]);
    let stored = snapshot.snapshot().streams().collect::<Vec<_>>();
    let is_captured_as = |stream: &&NamedStream| {
        kind == Some(stream.kind) && kind != Some(StreamKind::Path) && stored[stream.index].name == name
    };
    match streams.iter().find(is_captured_as) {
        Some(stream) => Ok(stream),
        None => named(streams, &kinds, "volume or folder", name),
    }
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
