//! The run keys of one snapshot, each opened when the first frame of its run is needed. A lost key costs what is stored
//! in that run's frames, and nothing else.

use std::collections::HashMap;

use lifeboat_core::Sha256Digest;
use lifeboat_store::StoreError;
use tokio::sync::OnceCell;

use crate::error::ObjectError;
use crate::format::manifest::RunRecord;
use crate::format::seal::SealKey;
use crate::ids::RunId;
use crate::keys::GroupView;
use crate::repository::locate::{FramePlaces, packs_of};
use crate::repository::recovery_session::RecoverySession;

/// The keys of the runs that a snapshot needs.
#[derive(Default)]
pub(crate) struct RunKeys {
    runs: HashMap<RunId, RunKey>,
}

struct RunKey {
    commitment: [u8; 32],
    /// The packs with frames of the run, whose headers have its key as well, and their sizes.
    packs: Vec<(Sha256Digest, u64)>,
    key: OnceCell<Result<SealKey, ObjectError>>,
}

impl RunKeys {
    /// Adds a run and the places of its frames.
    pub(crate) fn add(&mut self, record: &RunRecord, places: &FramePlaces) {
        let (commitment, packs) = (record.commitment, packs_of(places));
        self.runs.insert(record.run, RunKey { commitment, packs, key: OnceCell::new() });
    }

    /// Opens the key of a run, unless that was tried before. A lost key is not an error here; unreachable storage is,
    /// and the next call tries again.
    pub(crate) async fn open(
        &self,
        restorer: &RecoverySession,
        group: &GroupView,
        run: RunId,
    ) -> Result<(), StoreError> {
        let Some(entry) = self.runs.get(&run) else { return Ok(()) };
        let open = || restorer.run_key_from(group, run, &entry.commitment, &entry.packs);
        entry.key.get_or_try_init(open).await.map(|_| ())
    }

    /// The key of a run that was opened before, or why it is lost.
    pub(crate) fn get(&self, run: RunId) -> Result<&SealKey, ObjectError> {
        let entry = self.runs.get(&run).ok_or_else(|| {
            ObjectError::damaged("parts", format!("a file needs run {run}, which its snapshot does not name"))
        })?;
        let opened = entry.key.get().expect("a run's key is opened before its frames");
        opened.as_ref().map_err(ObjectError::clone)
    }
}
