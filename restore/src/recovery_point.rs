//! A vault snapshot as a drill's recovery point.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use jiff::Timestamp;
use lifeboat_core::Context;
use lifeboat_core::text::path_text;
use lifeboat_docker::definitions::Definitions;
use lifeboat_report::restore::DifferenceLine;
use lifeboat_vault::{
    Compared, Consistency, ObjectError, OpenSnapshot, StreamKind, TargetFolder, VaultError,
};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::differences;
use crate::open::NamedStream;
use crate::rehearsal::{PointError, RecoveryPoint, RestoredVolume, SnapshotVolume, SourceKind};

/// The most differences that are reported.
const MOST_DIFFERENCES: usize = 300;

/// An open snapshot, the names of its streams, and the runtime for calls to the store.
pub(crate) struct VaultPoint {
    snapshot: OpenSnapshot,
    streams: Vec<NamedStream>,
    context: Context,
    runtime: Handle,
}

impl VaultPoint {
    pub(crate) fn new(snapshot: OpenSnapshot, streams: Vec<NamedStream>, context: Context) -> Self {
        Self { snapshot, streams, context, runtime: Handle::current() }
    }

    fn until(&self, cancel: &CancellationToken) -> Context {
        Context { cancel: cancel.clone(), ..self.context.clone() }
    }

    fn stream(&self, name: &str) -> Result<&NamedStream, VaultError> {
        let found = self.streams.iter().find(|stream| stream.name == name);
        found.ok_or(VaultError::Internal("a drill asks for the volumes that it was told of"))
    }
}

impl RecoveryPoint for VaultPoint {
    fn snapshot_id(&self) -> String {
        self.snapshot.snapshot().id().to_string()
    }

    fn taken_at(&self) -> Timestamp {
        self.snapshot.snapshot().time()
    }

    fn host(&self) -> Option<String> {
        Some(self.snapshot.snapshot().host().to_owned())
    }

    fn consistency(&self) -> Option<Consistency> {
        let volumes = self.snapshot.snapshot().streams().filter(|stream| stream.kind == StreamKind::Volume);
        volumes.map(|stream| stream.consistency).min()
    }

    fn volumes(&self) -> Vec<SnapshotVolume> {
        let views = self.snapshot.snapshot().streams();
        let volume = |(stream, view): (&NamedStream, lifeboat_vault::StreamView<'_>)| SnapshotVolume {
            name: stream.name.clone(),
            kind: match stream.kind {
                StreamKind::Volume => SourceKind::Volume,
                StreamKind::Path | StreamKind::Stdin => SourceKind::Folder,
            },
            files: view.items,
            bytes: view.data_bytes,
        };
        self.streams.iter().zip(views).map(volume).collect()
    }

    fn definitions(&self) -> Result<Option<Definitions>, PointError> {
        match self.runtime.block_on(self.snapshot.document(Definitions::DOCUMENT))? {
            Some(bytes) => Ok(Some(Definitions::from_bytes(&bytes)?)),
            None => Ok(None),
        }
    }

    fn restore_volume(
        &self,
        name: &str,
        to: &Path,
        cancel: &CancellationToken,
    ) -> Result<RestoredVolume, PointError> {
        let stream = self.stream(name)?;
        let to = TargetFolder::take(to)?;
        let restored = self.runtime.block_on(self.snapshot.restore(stream.index, to, &self.until(cancel)))?;
        if let Some(first) = restored.damaged.first() {
            let path = path_text(first.path.as_os_str().as_bytes());
            let key = format!("{path} (and {} more)", restored.damaged.len() - 1);
            let damaged = ObjectError::Damaged { key, reason: first.reason.clone() };
            return Err(VaultError::from(damaged).into());
        }
        // The comparison reports metadata that could not be set, because it looks at the restored tree.
        Ok(RestoredVolume { files: restored.items, bytes: restored.data_bytes })
    }

    fn compare_volume(
        &self,
        name: &str,
        at: &Path,
        cancel: &CancellationToken,
    ) -> Result<Vec<DifferenceLine>, PointError> {
        let stream = self.stream(name)?;
        let with = Compared { index: stream.index, part: None, no_owner: false };
        let context = self.until(cancel);
        let mut differences = self.runtime.block_on(self.snapshot.compare(with, at, &context))?;
        // Standard input is a file without a folder; the folder that it is restored into is the drill's own.
        if stream.kind == StreamKind::Stdin {
            differences.retain(|difference| !difference.path.is_empty());
        }
        Ok(differences.into_iter().take(MOST_DIFFERENCES).map(differences::line).collect())
    }
}
