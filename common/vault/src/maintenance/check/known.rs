//! What is known of damage without reading everything.

use lifeboat_core::Sha256Digest;

use crate::error::{ObjectError, VaultError};
use crate::format::authority::Word;
use crate::repository::access::Viewer;
use crate::snapshots::history::History;

/// What a repository says of its own damage.
#[derive(Debug, Default)]
pub struct KnownDamage {
    /// The snapshots that need frames which were marked as lost. Whether others make up for these was not looked at.
    pub marked: Vec<Sha256Digest>,
    /// Why what marks or condemns frames cannot be read.
    pub unusable: Vec<ObjectError>,
}

impl KnownDamage {
    /// What earlier repairs marked as lost and snapshots need. Only the marks are read, and where there are some, what each
    /// snapshot needs.
    pub async fn read(viewer: &Viewer) -> Result<Self, VaultError> {
        let mut known = Self::default();
        let mut history = None;
        for group in &viewer.groups {
            let (lost, unusable) = viewer.repository.losses(group, Word::LostToRuns).await?;
            known.unusable.extend(unusable);
            known.unusable.extend(viewer.repository.condemnations(group, |_| false).await?.1);
            if lost.is_empty() {
                continue;
            }
            if history.is_none() {
                history = Some(History::read(&viewer.repository).await?);
            }
            let live = history.iter().flat_map(|history| &history.snapshots).filter(|one| one.is_live());
            for manifest in
                live.filter(|one| one.group == group.id).filter_map(|one| one.manifest.as_ref().ok())
            {
                match viewer.repository.part(manifest, group).await? {
                    Ok(part) if part.needed_frames().meets(&lost) => known.marked.push(manifest.id),
                    // A part that cannot be read is told where snapshots are listed.
                    Ok(_) | Err(_) => {}
                }
            }
        }
        Ok(known)
    }
}
