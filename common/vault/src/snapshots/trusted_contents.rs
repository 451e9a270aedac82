//! Which contents objects count.

use std::collections::HashSet;

use lifeboat_core::Sha256Digest;
use lifeboat_store::StoreError;

use crate::format::authority::Standing;
use crate::format::layout;
use crate::ids::Signer;
use crate::keys::GroupView;
use crate::repository::open::Repository;

/// Which contents objects may be trusted: those of members on the roster, and of a removed member only what was
/// certainly signed before. For a removed writer that is what its valid snapshots name, for a removed keeper what the
/// roster names.
pub(crate) struct TrustedContents<'a> {
    repository: &'a Repository,
    group: &'a GroupView,
    of_removed_writers: Option<HashSet<Sha256Digest>>,
}

impl<'a> TrustedContents<'a> {
    pub(crate) fn new(repository: &'a Repository, group: &'a GroupView) -> Self {
        Self { repository, group, of_removed_writers: None }
    }

    pub(crate) async fn is(&mut self, signer: Signer, object: &Sha256Digest) -> Result<bool, StoreError> {
        let roster = &self.repository.roster;
        match (roster.standing(signer, self.group.id), signer) {
            (Standing::Root | Standing::Keeper | Standing::Writer, _) => Ok(true),
            (Standing::RemovedKeeper, Signer::Keeper(id)) => {
                let removed = roster.keeper(id).and_then(|keeper| keeper.removed.as_ref());
                Ok(removed.is_some_and(|removed| removed.contents.contains(object)))
            }
            (Standing::RemovedWriter, _) => {
                if self.of_removed_writers.is_none() {
                    self.of_removed_writers = Some(self.committed_by_removed().await?);
                }
                Ok(self.of_removed_writers.as_ref().is_some_and(|committed| committed.contains(object)))
            }
            (Standing::RemovedKeeper | Standing::Stranger, _) => Ok(false),
        }
    }

    async fn committed_by_removed(&self) -> Result<HashSet<Sha256Digest>, StoreError> {
        let mut committed = HashSet::new();
        for writer in self.repository.roster.writers.iter().filter(|writer| writer.group == self.group.id) {
            let Some(last) = writer.revoked.and_then(|revocation| revocation.last) else { continue };
            for entry in self.repository.objects_below(&layout::snapshots_of(writer.id)).await? {
                let Some(sequence) = layout::sequence_of(&entry.key).filter(|n| *n <= last.sequence) else {
                    continue;
                };
                if let Ok(manifest) = self.repository.manifest(writer, sequence).await? {
                    committed.extend(manifest.predicate.contents);
                }
            }
        }
        Ok(committed)
    }
}
