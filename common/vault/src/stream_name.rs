//! What people call the streams of a snapshot.

use crate::VaultError;
use crate::manifest::StreamKind;
use crate::restore::OpenSnapshot;

/// One stream of a snapshot, by its place, with the name that a person would give it: a volume's name, a captured
/// folder's last part, a file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedStream {
    /// Its place in the snapshot.
    pub index: usize,
    /// What it was captured from.
    pub kind: StreamKind,
    /// The name; no two streams of a snapshot have the same.
    pub name: String,
}

impl OpenSnapshot {
    /// All streams with their names. Captured folders of one name are told apart by a number.
    pub async fn named_streams(&self) -> Result<Vec<NamedStream>, VaultError> {
        let mut streams: Vec<NamedStream> = Vec::new();
        for (index, (kind, stored_name)) in
            self.snapshot().streams().map(|s| (s.kind, s.name.to_owned())).enumerate()
        {
            let base = match kind {
                StreamKind::Path => {
                    let origin = self.origin(index).await?;
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
}
