//! From flags to a snapshot whose contents can be read, and to the streams in it.

use lifeboat_shell::Failure;
use lifeboat_vault::{OpenSnapshot, StreamKind, VaultError};

use crate::cli::SnapshotFlags;

/// Finds the snapshot that the flags name and opens it.
pub(crate) async fn snapshot(flags: &SnapshotFlags) -> Result<OpenSnapshot, Failure> {
    let restorer = flags.keys.open(&flags.repository).await?;
    let snapshot = restorer.viewer().snapshots().await?.find(&flags.snapshot, flags.host.as_deref())?;
    Ok(restorer.open_snapshot(snapshot).await?)
}

/// One stream of a snapshot, by its place, with the name that a person would give it: a volume's name, a captured
/// folder's last part, a file's name.
#[derive(Debug)]
pub(crate) struct NamedStream {
    pub(crate) index: usize,
    pub(crate) kind: StreamKind,
    pub(crate) name: String,
}

/// All streams of a snapshot. Captured folders of one name are told apart by a number.
pub(crate) async fn streams(snapshot: &OpenSnapshot) -> Result<Vec<NamedStream>, VaultError> {
    let mut streams: Vec<NamedStream> = Vec::new();
    let views: Vec<_> = snapshot.snapshot().streams().map(|s| (s.kind, s.name.to_owned())).collect();
    for (index, (kind, stored_name)) in views.into_iter().enumerate() {
        let base = match kind {
            StreamKind::Path => {
                let origin = snapshot.origin(index).await?;
                let last = origin.as_deref().and_then(|path| path.file_name());
                last.map_or(stored_name, |name| name.to_string_lossy().into_owned())
            }
            StreamKind::Volume | StreamKind::Stdin => stored_name,
        };
        let mut name = base.clone();
        let mut number = 2;
        while streams.iter().any(|stream| stream.name == name) {
            name = format!("{base}-{number}");
            number += 1;
        }
        streams.push(NamedStream { index, kind, name });
    }
    Ok(streams)
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
