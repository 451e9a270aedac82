//! The contents index as a writer reads it: the chunks of its group that need not be stored again. A chunk counts if
//! its contents object may be believed, its frame has a place in an existing pack, and that pack is not condemned.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use futures::future::join_all;
use lifeboat_core::Sha256Digest;
use lifeboat_core::progress::{Progress, WarningsOfAKind};
use lifeboat_store::StoreError;

use crate::error::ObjectError;
use crate::format::authority::Word;
use crate::format::frame_set::FrameSet;
use crate::format::index::{Contents, ContentsIndex, Locations};
use crate::format::{layout, signed};
use crate::ids::{FrameName, RunId, Signer, WriterId};
use crate::keys::GroupView;
use crate::repository::batch::batches;
use crate::repository::condemnations::Excluded;
use crate::repository::object_cache::ObjectCache;
use crate::repository::objects::hash_of;
use crate::repository::open::Repository;
use crate::snapshots::trusted_contents::TrustedContents;

/// Reads the index of one group.
pub(crate) struct ContentsCache<'a> {
    repository: &'a Repository,
    group: &'a GroupView,
    contents: ObjectCache,
    locations: ObjectCache,
    left_out: WarningsOfAKind,
    contradicted: WarningsOfAKind,
}

impl<'a> ContentsCache<'a> {
    pub(crate) fn new(
        repository: &'a Repository,
        group: &'a GroupView,
        cache: Option<&Path>,
        progress: &'a Arc<dyn Progress>,
    ) -> Self {
        let of = |kind| ObjectCache::new(cache, repository, kind, group.id, progress);
        Self {
            repository,
            group,
            contents: of("contents"),
            locations: of("locations"),
            left_out: WarningsOfAKind::new(progress),
            contradicted: WarningsOfAKind::new(progress),
        }
    }

    /// The frames that a locations object places in an existing pack, where neither is condemned.
    pub(crate) async fn placed(&self, excluded: &Excluded) -> Result<FrameSet, StoreError> {
        let mut packs: HashMap<Sha256Digest, u64> = HashMap::new();
        for entry in self.repository.objects_below(&layout::packs(self.group.id)).await? {
            if let Some(pack) = hash_of(&entry.key).filter(|pack| !excluded.packs.contains(pack)) {
                packs.insert(pack, entry.size);
            }
        }
        let mut claimed = HashMap::new();
        let mut entries = self.repository.objects_below(&layout::locations_of(self.group.id)).await?;
        entries.retain(|entry| !excluded.locations.contains(&entry.key));
        entries.sort_by(|a, b| (a.modified, &a.key).cmp(&(b.modified, &b.key)));
        self.locations.drop_all_but(&entries.iter().filter_map(|entry| hash_of(&entry.key)).collect());
        let mut placed = FrameSet::default();
        for batch in batches(entries, |entry| entry.size) {
            let reads = batch.iter().map(|entry| self.locations.read(self.repository, &entry.key));
            for (bytes, entry) in join_all(reads).await.into_iter().zip(&batch) {
                let read = bytes?.and_then(|bytes| {
                    self.repository.open_signed::<Locations>(&entry.key, self.group, Word::Places, &bytes)
                });
                match read {
                    Ok((signer, locations)) => {
                        place(&mut placed, (signer, &locations), &packs, &mut claimed);
                    }
                    // Swept between the listing and the reading.
                    Err(ObjectError::Missing { .. }) => {}
                    Err(error) => self.leave_out(&error),
                }
            }
        }
        Ok(placed)
    }

    fn leave_out(&self, error: &ObjectError) {
        self.left_out.warn(&format!("{error}; what it lists is stored again"));
    }

    /// Reads the chunks of the frames that are placed and not excluded. Objects that `own` signed come first: a writer
    /// refers to its own frames if it can. A damaged object is skipped with a warning: its chunks are stored again.
    pub(crate) async fn read(
        &self,
        own: WriterId,
        placed: &FrameSet,
        excluded: &Excluded,
        used: &HashMap<FrameName, u16>,
    ) -> Result<ContentsIndex, StoreError> {
        let mut index = ContentsIndex::default();
        let mut trusted = TrustedContents::new(self.repository, self.group);
        let mut said_by: HashMap<(RunId, [u8; 32]), Vec<Signer>> = HashMap::new();
        let may_be_used = |name: FrameName| placed.contains(name) && !excluded.names(name);
        let entries = self.repository.objects_below(&layout::contents(self.group.id)).await?;
        self.contents.drop_all_but(&entries.iter().filter_map(|entry| hash_of(&entry.key)).collect());
        let mut of_others = Vec::new();
        for is_own_turn in [true, false] {
            let turn = if is_own_turn { entries.clone() } else { std::mem::take(&mut of_others) };
            for batch in batches(turn, |entry| entry.size) {
                let reads = batch.iter().map(|entry| self.contents.read(self.repository, &entry.key));
                for (bytes, entry) in join_all(reads).await.into_iter().zip(&batch) {
                    let (bytes, key) = (bytes?, &entry.key);
                    if is_own_turn
                        && bytes
                            .as_ref()
                            .is_ok_and(|b| signed::claimed_signer(b) != Some(Signer::Writer(own)))
                    {
                        of_others.push(entry.clone());
                        continue;
                    }
                    let word = Word::ChunksToReference;
                    let read = bytes
                        .and_then(|b| self.repository.open_signed::<Contents>(key, self.group, word, &b));
                    let (signer, contents) = match read {
                        Ok(read) => read,
                        Err(ObjectError::Missing { .. }) => continue,
                        Err(error) => {
                            self.leave_out(&error);
                            continue;
                        }
                    };
                    let Some(hash) = hash_of(key) else { continue };
                    if trusted.is(signer, &hash).await? {
                        for (run, commitment) in index.add(contents, may_be_used, used) {
                            let signers = said_by.entry((run, commitment)).or_default();
                            if !signers.contains(&signer) {
                                signers.push(signer);
                            }
                        }
                    }
                }
            }
        }
        for (run, commitments) in index.contradicted() {
            let registrant = self.registrant(run).await?;
            let is_true = |c: &&[u8; 32]| {
                registrant.is_some_and(|r| said_by.get(&(run, **c)).is_some_and(|s| s.contains(&r)))
            };
            let mut of_registrant = commitments.iter().filter(is_true);
            let only = of_registrant.next().copied().filter(|_| of_registrant.next().is_none());
            self.contradicted.warn(&format!(
                "contents objects disagree about the key of run {run}; {}",
                if only.is_some() { "that of its own writer counts" } else { "its chunks are stored again" }
            ));
            index.keep_commitment(run, only);
        }
        index.sort();
        Ok(index)
    }

    /// The signer of a run's registration; `None` if it cannot be read.
    async fn registrant(&self, run: RunId) -> Result<Option<Signer>, StoreError> {
        let read = self.repository.registration(self.group, run, Word::RunKey).await?;
        Ok(read.ok().map(|(signer, _)| signer))
    }
}

/// Adds the frames that an object places in existing packs. A signer's claims beyond the size of a pack do not count.
/// Claims of others never displace a signer's claims.
fn place(
    placed: &mut FrameSet,
    (signer, locations): (Signer, &Locations),
    packs: &HashMap<Sha256Digest, u64>,
    claimed: &mut HashMap<(Signer, Sha256Digest), u64>,
) {
    for located in locations.packs.iter().filter(|located| packs.get(&located.pack) == Some(&located.size)) {
        let claimed = claimed.entry((signer, located.pack)).or_default();
        for frame in &located.frames {
            let name = locations.run.frame(frame.ordinal);
            let more = *claimed + u64::from(frame.length);
            if !placed.contains(name) && more <= located.size {
                *claimed = more;
                placed.insert(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::index::{FrameLocation, PackLocations};

    #[test]
    fn no_more_is_placed_in_a_pack_than_fits() {
        let (run, pack, hash) =
            (RunId::from_bytes([1; 16]), Sha256Digest::of(b"pack"), Sha256Digest::of(b""));
        let object = |size, lengths: &[(u32, u32)]| Locations {
            run,
            packs: vec![PackLocations {
                pack,
                frames: lengths
                    .iter()
                    .map(|(ordinal, length)| FrameLocation {
                        ordinal: *ordinal,
                        offset: 0,
                        length: *length,
                        hash,
                        chunk_bytes: 0,
                    })
                    .collect(),
                size,
            }],
        };
        let packs = HashMap::from([(pack, 1000)]);
        let (mut placed, mut claimed) = (FrameSet::default(), HashMap::new());
        let mut say = |signer, object: &Locations| place(&mut placed, (signer, object), &packs, &mut claimed);
        let (one, other) = (Signer::Root, Signer::Writer(WriterId::from_bytes([1; 16])));
        say(one, &object(1000, &[(0, 600), (1, 300)]));
        say(one, &object(1000, &[(0, 600), (2, 200), (3, 100)]));
        say(one, &object(999, &[(4, 0)]));
        say(other, &object(1000, &[(5, 900), (6, 200)]));
        let ordinals: Vec<u32> = placed.iter().map(|name| name.ordinal).collect();
        assert_eq!(
            ordinals,
            [0, 1, 3, 5],
            "frames 2 and 6 are too much of their signers, and frame 4's pack has another size"
        );
    }
}
