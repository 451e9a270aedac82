//! Decides which contents objects of a keeper still count when the keeper is removed. The roster names each of them, so
//! their number is limited to what a roster can contain, whatever the keeper's key was used for.

use futures::StreamExt;
use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use lifeboat_store::StoreError;

use crate::error::VaultError;
use crate::format::authority::Word;
use crate::format::frame_set::FrameSet;
use crate::format::index::Contents;
use crate::format::layout;
use crate::ids::Signer;
use crate::keys::GroupView;
use crate::repository::objects::hash_of;
use crate::snapshots::snapshot::Listing;

use super::Membership;

/// How many objects are read at once.
const READS: usize = 4;
/// The maximum number of objects of one removed keeper that a roster names: some 700 KiB of its 16 MiB.
const MOST_NAMED: usize = 10_000;

/// The relevant part of a contents object.
struct Listed {
    stored: Timestamp,
    hash: Sha256Digest,
    /// Its frames that live snapshots need.
    needed: FrameSet,
}

impl Membership<'_> {
    /// The contents objects of a signer that list frames which live snapshots need. Omitting an object costs no data:
    /// backups store again what only it lists, and `repair` rewrites the index.
    pub(super) async fn contents_worth_keeping(
        &self,
        signer: Signer,
    ) -> Result<Vec<Sha256Digest>, VaultError> {
        let mut named = Vec::new();
        let listing = Listing::read(self.restorer.session()).await?;
        for group in &self.restorer.session().groups {
            let mut needed = FrameSet::default();
            for snapshot in listing.snapshots.iter().filter(|s| s.manifest.predicate.group == group.id) {
                for record in &self.restorer.repository().part(&snapshot.manifest, group).await??.runs {
                    needed.insert_bitmap(record.run, &record.frames);
                }
            }
            named.extend(choose(self.listed_by(signer, group, &needed).await?));
        }
        if named.len() > MOST_NAMED {
            let more = named.len() - MOST_NAMED;
            tracing::warn!(
                "{more} index objects of {signer} no longer count: what they list is stored again"
            );
            named.truncate(MOST_NAMED);
        }
        Ok(named)
    }

    async fn listed_by(
        &self,
        signer: Signer,
        group: &GroupView,
        needed: &FrameSet,
    ) -> Result<Vec<Listed>, StoreError> {
        let repository = self.restorer.repository();
        let entries = repository.objects_below(&layout::contents(group.id)).await?;
        let read = |entry: lifeboat_store::Entry| async move {
            let read = repository.read_signed::<Contents>(&entry.key, group, Word::ChunksToKeep).await;
            Ok(match (read?, hash_of(&entry.key)) {
                (Ok((by, contents)), Some(hash)) if by == signer => {
                    let needed = contents.names().filter(|frame| needed.contains(*frame)).collect();
                    Some(Listed { stored: entry.modified, hash, needed })
                }
                _ => None,
            })
        };
        let mut reads = std::pin::pin!(futures::stream::iter(entries).map(read).buffered(READS));
        let mut listed = Vec::new();
        while let Some(read) = reads.next().await {
            listed.extend(read?.filter(|listed| !listed.needed.is_empty()));
        }
        Ok(listed)
    }
}

/// Chooses, oldest first, the objects that list a needed frame which no older one lists. There are at most as many as
/// needed frames, and what a thief stored last adds nothing to what was listed before.
fn choose(mut listed: Vec<Listed>) -> Vec<Sha256Digest> {
    listed.sort_by_key(|listed| (listed.stored, listed.hash));
    let mut covered = FrameSet::default();
    let mut chosen = Vec::new();
    for object in listed {
        if !object.needed.minus(&covered).is_empty() {
            covered.extend(&object.needed);
            chosen.push(object.hash);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RunId;

    #[test]
    fn what_was_stored_last_is_named_only_for_frames_that_nothing_before_lists() {
        let object = |second: i64, ordinals: &[u32]| Listed {
            stored: Timestamp::from_second(second).unwrap(),
            hash: Sha256Digest::of(&second.to_le_bytes()),
            needed: ordinals.iter().map(|ordinal| RunId::from_bytes([1; 16]).frame(*ordinal)).collect(),
        };
        let honest = || vec![object(10, &[0, 1, 2]), object(20, &[2, 3])];
        let expected: Vec<_> = honest().iter().map(|object| object.hash).collect();
        assert_eq!(choose(honest()), expected);
        let mut attacked = honest();
        attacked.extend((0..1_000).map(|second| object(100 + second, &[u32::try_from(second).unwrap() % 4])));
        attacked.push(object(99, &[0, 1, 2, 3]));
        attacked.reverse();
        assert_eq!(choose(attacked), expected);
        assert_eq!(choose(vec![object(1, &[7]), object(2, &[7]), object(3, &[8])]).len(), 2);
    }
}
