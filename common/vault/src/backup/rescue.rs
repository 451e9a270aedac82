//! Chooses from which places a run copies a frame that is about to be deleted. The run cannot open frames of others, so
//! it goes by who states a place: the host that registered the frame's run knows where it stored it; a keeper's repair
//! states what the packs of any member list.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use lifeboat_core::Sha256Digest;
use lifeboat_store::StoreError;

use crate::backup::keeping::Keeping;
use crate::format::authority::{Standing, Word};
use crate::format::index::{FramePlace, ListedPlaces};
use crate::format::layout;
use crate::format::pack::TrailerFrame;
use crate::ids::{FrameName, RunId, Signer, WriterId};
use crate::keys::GroupView;
use crate::repository::locate::PLACES_OF_A_MEMBER;

/// What the trailers of packs list.
pub(super) type Trailers = HashMap<Sha256Digest, Option<(u64, ListedPlaces)>>;

/// How far a signer, whose relation to the group is `standing`, is trusted about the places of a run's frames, the most
/// trusted first.
pub(super) fn trust(signer: Signer, standing: Standing, registrant: Option<WriterId>) -> u8 {
    match standing {
        _ if registrant.is_some_and(|writer| signer == Signer::Writer(writer)) => 0,
        Standing::Keeper | Standing::Root => 1,
        _ => 2,
    }
}

/// Divides places by how far their signers are trusted, the most trusted first. Among these the first place of each
/// signer comes before the second of any: a signer of many places must not displace others.
pub(super) fn by_trust(
    stated: &[(Signer, FramePlace)],
    trust: impl Fn(Signer) -> u8,
) -> Vec<Vec<FramePlace>> {
    let mut counts: HashMap<Signer, usize> = HashMap::new();
    let mut divided: BTreeMap<u8, Vec<(usize, FramePlace)>> = BTreeMap::new();
    for (signer, place) in stated {
        let count = counts.entry(*signer).or_default();
        divided.entry(trust(*signer)).or_default().push((*count, *place));
        *count += 1;
    }
    let in_turn = |mut places: Vec<(usize, FramePlace)>| {
        places.sort_by_key(|(count, _)| *count);
        places.into_iter().map(|(_, place)| place).collect()
    };
    divided.into_values().map(in_turn).collect()
}

impl Keeping<'_> {
    /// The writer that registered a run; `None` if its registration cannot be read.
    pub(super) async fn registrant(
        &self,
        group: &GroupView,
        run: RunId,
    ) -> Result<Option<WriterId>, StoreError> {
        let registration = self.repository.registration(group, run, Word::RunKey).await?;
        Ok(registration.ok().map(|(_, registration)| registration.writer))
    }

    /// The places at which the frame is stored whole by the packs' own trailers: those of the most trusted signers that
    /// state any. Only a holder of the run's key can tell which of several hashes is true, so there is one place for
    /// each, but no more than readers remember.
    pub(super) async fn whole_places(
        &self,
        group: &GroupView,
        name: FrameName,
        by_trust: Vec<Vec<FramePlace>>,
        trailers: &mut Trailers,
    ) -> Result<Vec<FramePlace>, StoreError> {
        let mut whole: Vec<FramePlace> = Vec::new();
        for places in by_trust {
            for place in places {
                if whole.len() == PLACES_OF_A_MEMBER
                    || whole.iter().any(|known| known.frame.hash == place.frame.hash)
                {
                    continue;
                }
                if let Entry::Vacant(unread) = trailers.entry(place.pack) {
                    unread.insert(self.trailer(group, &place.pack).await?);
                }
                let is_listed = trailers[&place.pack]
                    .as_ref()
                    .is_some_and(|(size, listed)| *size == place.size && listed.has(name, &place.frame));
                if is_listed && self.repository.frame_at(group.id, &place).await?.is_ok() {
                    whole.push(place);
                }
            }
            if !whole.is_empty() {
                break;
            }
        }
        Ok(whole)
    }

    /// A pack's size and the needed frames that its trailer lists; `None` if the pack is not whole.
    async fn trailer(
        &self,
        group: &GroupView,
        pack: &Sha256Digest,
    ) -> Result<Option<(u64, ListedPlaces)>, StoreError> {
        let Some(entry) = self.repository.store.entry(&layout::pack(group.id, pack)).await? else {
            return Ok(None);
        };
        let facts = self.repository.pack_facts(group, pack, entry.size).await?;
        Ok(facts.ok().map(|mut facts| {
            let is_needed = |frame: &TrailerFrame| {
                self.needed.get(&frame.run).is_some_and(|frames| frames.contains_key(&frame.ordinal))
            };
            facts.frames.retain(is_needed);
            (entry.size, ListedPlaces::new(&facts.frames))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::index::FrameLocation;
    use crate::ids::KeeperId;

    fn writer(number: u8) -> Signer {
        Signer::Writer(WriterId::from_bytes([number; 16]))
    }

    #[test]
    fn the_registrant_is_trusted_most_then_those_who_prune() {
        let keeper = Signer::Keeper(KeeperId::from_bytes([9; 16]));
        let registrant = Some(WriterId::from_bytes([1; 16]));
        for (signer, standing, of_one, of_nobody) in [
            (writer(1), Standing::Writer, 0, 2),
            (writer(1), Standing::RemovedWriter, 0, 2),
            (writer(2), Standing::Writer, 2, 2),
            (writer(2), Standing::RemovedWriter, 2, 2),
            (keeper, Standing::Keeper, 1, 1),
            (keeper, Standing::RemovedKeeper, 2, 2),
            (Signer::Root, Standing::Root, 1, 1),
        ] {
            let found = (trust(signer, standing, registrant), trust(signer, standing, None));
            assert_eq!(found, (of_one, of_nobody), "{signer}, {standing:?}");
        }
    }

    #[test]
    fn nobody_displaces_the_places_of_others() {
        let keeper = Signer::Keeper(KeeperId::from_bytes([9; 16]));
        let place = |offset| {
            let hash = Sha256Digest::of(b"");
            let frame = FrameLocation { ordinal: 0, offset, length: 100, hash, chunk_bytes: 0 };
            FramePlace { pack: hash, size: 1000, frame }
        };
        let trust = |signer| match signer {
            signer if signer == writer(1) => 0,
            Signer::Keeper(_) | Signer::Root => 1,
            Signer::Writer(_) => 2,
        };
        let order = |stated: &[(Signer, u64)]| -> Vec<Vec<u64>> {
            let stated: Vec<_> = stated.iter().map(|(signer, offset)| (*signer, place(*offset))).collect();
            let offsets = |places: Vec<FramePlace>| places.iter().map(|place| place.frame.offset).collect();
            by_trust(&stated, trust).into_iter().map(offsets).collect()
        };
        let none: [Vec<u64>; 0] = [];
        assert_eq!(order(&[]), none);
        assert_eq!(order(&[(writer(2), 0), (writer(1), 1)]), [[1], [0]]);
        let all = [(writer(2), 0), (keeper, 1), (writer(1), 2), (Signer::Root, 3)];
        assert_eq!(order(&all), [vec![2], vec![1, 3], vec![0]]);
        let many = [(writer(2), 0), (writer(2), 1), (writer(2), 2), (writer(3), 3)];
        assert_eq!(order(&many), [[0, 3, 1, 2]]);
        assert_eq!(order(&[(writer(1), 5), (writer(1), 6)]), [[5, 6]]);
    }
}
