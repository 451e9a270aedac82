//! Registers a run, before it stores anything else.

use std::sync::Arc;

use jiff::Timestamp;
use lifeboat_core::Context;
use minicbor::bytes::ByteVec;

use crate::error::{ObjectError, VaultError};
use crate::format::FORMAT_VERSION;
use crate::format::pack::WrappedRunKey;
use crate::format::registration::Registration;
use crate::format::seal::SealKey;
use crate::format::signed::{Body, SignedObject};
use crate::ids::{RepositoryId, RunId};
use crate::keys::key_file::WriterKey;
use crate::keys::{GroupView, Recipient};
use crate::repository::open::Repository;

/// The warning for a storage that overwrites existing objects despite the condition.
pub const NO_CONDITIONAL_WRITES: &str = "the storage does not support conditional writes: give every machine its own \
                                         writer key, or two that back up at the same moment may overwrite each other's \
                                         snapshot";

/// The keys that a run writes with.
pub(crate) struct RunKeys {
    pub(crate) repository: RepositoryId,
    pub(crate) writer: Arc<WriterKey>,
    pub(crate) run: RunId,
    pub(crate) key: SealKey,
    pub(crate) wrapped: WrappedRunKey,
    /// When the run was registered, by the storage's clock; `None` in a dry run. Its lease begins here, even if the
    /// registration is lost and stored again later.
    pub(crate) registered: Option<Timestamp>,
}

/// Makes the run's key, stores it wrapped, where it outlives this process, and reads it back.
pub(crate) async fn register(
    repository: &Repository,
    key: &Arc<WriterKey>,
    run: RunId,
    dry_run: bool,
    context: &Context,
) -> Result<Arc<RunKeys>, VaultError> {
    let run_key = SealKey::random(&*context.entropy);
    // The roster, not the key file, decides to whom run keys are wrapped today.
    let epoch = repository.roster.epoch().ok_or(VaultError::Internal("a roster has an epoch"))?;
    let recipient: Recipient = epoch.recipient.parse()?;
    let wrapped: ByteVec = recipient.wrap(run_key.as_bytes())?.into();
    let mut registered = None;
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
        let SignedObject { name, bytes, .. } =
            repository.store_signed(&GroupView::from(&key.group), key.pen(), &registration).await?;
        // Without this key, nothing that the run writes can ever be read, so check that it was stored.
        let (read, entry) =
            futures::join!(repository.read(&name, Registration::CAP), repository.store.entry(&name));
        let entry = entry?.ok_or_else(|| ObjectError::Missing { key: name.clone() })?;
        registered = Some(entry.modified);
        if read?? != bytes {
            return Err(ObjectError::damaged(name, "it reads back differently than it was written").into());
        }
        // A manifest that overwrites another would lose a snapshot.
        if !repository.store.keeps_conditions(&name, bytes).await? {
            context.progress.warn(NO_CONDITIONAL_WRITES);
        }
    }
    Ok(Arc::new(RunKeys {
        repository: repository.id,
        writer: Arc::clone(key),
        run,
        wrapped: WrappedRunKey { run, wrapped },
        key: run_key,
        registered,
    }))
}
