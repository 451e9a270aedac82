//! Registering a run: its key, wrapped, stands in the store before anything that is sealed under it, and the storage's
//! time of that object begins the run's lease.

use std::sync::Arc;

use bytes::Bytes;
use lifeboat_core::progress::Progress;
use lifeboat_core::random::Entropy;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::authority::Word;
use crate::ids::{GroupId, RepositoryId, RunId, Signer, WriterId, digest_in_cbor};
use crate::key_file::WriterKey;
use crate::keys::{GroupView, Recipient};
use crate::layout::{self, cap};
use crate::pack::WrappedRunKey;
use crate::pipeline::RunKeys;
use crate::repository::{Repository, check_size};
use crate::seal::{Purpose, SealKey};
use crate::signed::{self, Body, Pen, Place};
use crate::{FORMAT_VERSION, VaultError};

/// What to tell of a storage that replaces what stands, whatever is asked of it.
pub const NO_CONDITIONAL_WRITES: &str = "the storage does not know conditional writes: give every machine a writer key \
                                         of its own, or two that back up at the same moment may overwrite each other's \
                                         snapshot";

/// A run's registration in the store.
#[derive(Encode, Decode)]
#[cbor(map)]
pub(crate) struct Registration {
    #[n(0)]
    pub(crate) format: u8,
    #[n(1)]
    #[cbor(with = "digest_in_cbor")]
    pub(crate) repository: RepositoryId,
    #[n(2)]
    pub(crate) group: GroupId,
    #[n(3)]
    pub(crate) writer: WriterId,
    #[n(4)]
    pub(crate) run: RunId,
    #[n(5)]
    pub(crate) epoch: u32,
    /// The run key as an age file to the epoch's data recipient.
    #[n(6)]
    pub(crate) wrapped_key: ByteVec,
}

impl Body for Registration {
    fn check_stored(&self, _: usize) -> Result<(), String> {
        Ok(())
    }
}

impl Repository {
    /// Reads the registration of a run, and who signed it.
    pub(crate) async fn registration(
        &self,
        group: &GroupView,
        run: RunId,
        word: Word,
    ) -> Result<(Signer, Registration), VaultError> {
        let name = layout::run(group.id, run);
        let bytes = self.store.read(&name, cap::KEY).await.map_err(VaultError::reading)?;
        let (signer, registration): (_, Registration) = self.open_signed(&name, group, word, &bytes)?;
        if registration.run == run {
            Ok((signer, registration))
        } else {
            Err(VaultError::damaged(&name, "it belongs to another run"))
        }
    }
}

/// Makes the run's key and puts it, wrapped, where it outlives this process; then reads it back.
pub(crate) async fn register(
    repository: &Repository,
    key: &Arc<WriterKey>,
    run: RunId,
    entropy: &dyn Entropy,
    dry_run: bool,
    progress: &Arc<dyn Progress>,
) -> Result<Arc<RunKeys>, VaultError> {
    let run_key = SealKey::random(entropy);
    // The roster, not the key file, says whom run keys are wrapped to today.
    let epoch = repository.roster.epoch().ok_or(VaultError::Internal("a roster has an epoch"))?;
    let recipient: Recipient = epoch.recipient.parse()?;
    let wrapped: ByteVec = recipient.wrap(run_key.as_bytes())?.into();
    if !dry_run {
        let registration = Registration {
            format: FORMAT_VERSION,
            repository: repository.id,
            group: key.group.id,
            writer: key.writer,
            run,
            epoch: epoch.epoch,
            wrapped_key: wrapped.clone(),
        };
        let place = Place { purpose: Purpose::Registration, repository: &repository.id, group: key.group.id };
        let pen = Pen { signer: Signer::Writer(key.writer), key: &key.signing_key };
        let registration = Bytes::from(signed::write(place, pen, &key.group.index_key, &registration));
        let name = layout::run(key.group.id, run);
        check_size(&name, &registration, cap::KEY)?;
        repository.store.create(&name, registration.clone()).await?;
        // Without this key nothing that the run writes can ever be read: see that it is there.
        let found = repository.store.read(&name, cap::KEY).await.map_err(VaultError::reading)?;
        if found != registration {
            return Err(VaultError::damaged(name, "it reads back otherwise than it was written"));
        }
        // A manifest that takes another's place would lose a snapshot.
        if !repository.store.keeps_conditions(&name, registration).await? {
            progress.warn(NO_CONDITIONAL_WRITES);
        }
    }
    Ok(Arc::new(RunKeys {
        repository: repository.id,
        writer: Arc::clone(key),
        run,
        wrapped: WrappedRunKey { run, wrapped },
        key: run_key,
    }))
}
