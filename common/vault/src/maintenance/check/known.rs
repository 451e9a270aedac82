//! Damage that is known without reading everything.

use lifeboat_core::Sha256Digest;

use crate::error::{ObjectError, VaultError};
use crate::format::authority::Word;
use crate::repository::access::Session;
use crate::snapshots::history::History;

/// The damage that a repository has recorded.
#[derive(Debug, Default)]
pub struct KnownDamage {
    /// The snapshots that need frames which were marked as lost. Whether these have been replaced was not checked.
    pub marked: Vec<Sha256Digest>,
    /// Why the objects that mark or condemn frames cannot be read.
    pub unusable: Vec<ObjectError>,
}

impl KnownDamage {
    /// The frames that earlier repairs marked as lost and snapshots need. Reads only the marks and, if there are some,
    /// what each snapshot needs.
    pub async fn read(session: &Session) -> Result<Self, VaultError> {
        let mut known = Self::default();
        let mut history = None;
        for group in &session.groups {
            let (lost, unusable) = session.repository.losses(group, Word::LostToRuns).await?;
            known.unusable.extend(unusable);
            known
                .unusable
                .extend(session.repository.condemnations(group, Word::CondemnedToRuns, |_| false).await?.1);
            if lost.is_empty() {
                continue;
            }
            if history.is_none() {
                history = Some(History::read(&session.repository).await?);
            }
            let live = history.iter().flat_map(|history| &history.snapshots).filter(|one| one.is_live());
            for manifest in
                live.filter(|one| one.group == group.id).filter_map(|one| one.manifest.as_ref().ok())
            {
                match session.repository.part(manifest, group).await? {
                    Ok(part) if part.needed_frames().meets(&lost) => known.marked.push(manifest.id),
                    // An unreadable part is reported where snapshots are listed.
                    Ok(_) | Err(_) => {}
                }
            }
        }
        Ok(known)
    }
}
