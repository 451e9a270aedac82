//! The state of a repository according to every object except packs, each read once, and what follows from all of them
//! together. Frames are kept as bitmaps, places as one small record each. Memory is bounded by what is stored: of
//! claims about a pack no more than fit into it are kept, and of snapshots' needs no more frames than could be stored.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use lifeboat_core::Sha256Digest;
use lifeboat_store::Entry;

use crate::format::authority::{Standing, Word};
use crate::format::frame::MIN_SEALED_FRAME;
use crate::format::frame_set::FrameSet;
use crate::format::index::{Contents, FrameContents, FrameLocation, ListedPlaces, Locations};
use crate::format::layout;
use crate::format::manifest::Part;
use crate::format::object_name::{KeyFolder, Name};
use crate::format::pack::TrailerFrame;
use crate::format::roster::Roster;
use crate::ids::{ChunkId, FrameName, GroupId, RunId, Signer, WriterId};
use crate::keys::GroupView;
use crate::maintenance::check::objects::Body;
use crate::maintenance::check::out_of_sight::OutOfSight;
use crate::maintenance::check::verdicts::FrameFacts;
use crate::repository::access::Session;
use crate::snapshots::history::History;

/// The state of a repository according to one listing and one history.
pub(crate) struct Survey {
    pub(crate) history: History,
    /// Sorted by name.
    entries: Vec<Entry>,
    pub(crate) groups: Vec<GroupSurvey>,
    /// The sealed keys that are whole, by folder and recipient.
    keys: HashSet<(KeyFolder, String)>,
    /// The live snapshots of each part.
    parts: HashMap<(GroupId, Sha256Digest), Vec<(WriterId, Sha256Digest)>>,
    /// The snapshots whose manifests name parts that others signed, and the signers. Such a manifest is invalid, but
    /// the part is not.
    pub(crate) misnamed: HashMap<Sha256Digest, Signer>,
    /// What could not be read.
    pub(crate) unread: OutOfSight,
}

/// The index of one group.
pub(crate) struct GroupSurvey {
    pub(crate) view: GroupView,
    /// The existing packs, and their sizes.
    pub(crate) packs: BTreeMap<Sha256Digest, u64>,
    /// The live snapshots whose parts are whole.
    pub(crate) snapshots: Vec<Needs>,
    /// All frames that they need.
    pub(crate) needed: FrameSet,
    /// How many frames can be needed: no more than the existing packs and locations objects could contain.
    most_needed: u64,
    /// What signers commit to as the keys of runs.
    commitments: HashMap<RunId, Vec<Commitment>>,
    /// The places in the locations, by pack.
    pub(crate) located: BTreeMap<Sha256Digest, Vec<Located>>,
    /// The frames in the contents: for each a digest of its chunk ids.
    pub(crate) listed: HashMap<FrameName, ChunkListDigest>,
    /// Frames that the run's own writer lists: lists of others do not count for them.
    own_listed: FrameSet,
    /// Frames that two contents objects list with different chunks.
    pub(crate) contradicted: FrameSet,
    /// The writer in each run's registration, and its signer.
    pub(crate) registered: HashMap<RunId, (WriterId, Signer)>,
    /// The first signer of locations of each run's frames.
    pub(crate) authors: HashMap<RunId, Signer>,
    /// Packs with claims by a signer that neither registered the run nor prunes.
    pub(crate) foreign: BTreeSet<Sha256Digest>,
    /// Packs that are claimed to contain more bytes than they have. Their trailers decide what they contain.
    pub(crate) overclaimed: BTreeSet<Sha256Digest>,
    /// The frames that the trailers of such packs list, if they can be read.
    pub(crate) trailers: HashMap<Sha256Digest, ListedPlaces>,
    /// How many bytes of each pack are claimed.
    claimed: HashMap<Sha256Digest, u64>,
    /// The frames that a repair marked as lost.
    pub(crate) marked: FrameSet,
    /// Those of them that a keeper or the root marked, so that prunes do not wait for them.
    pub(crate) marked_for_prunes: FrameSet,
    /// How many frames contents objects list that neither are stored anywhere nor are needed.
    pub(crate) listed_in_vain: u64,
    /// For each needed frame, in how many packs that do not exist it is claimed to be.
    gone_places: HashMap<FrameName, usize>,
    /// The located frames, once all locations are added.
    located_names: Option<FrameSet>,
    /// Places (pack, frame, offset) that trailers of packs refute.
    pub(crate) denied: HashSet<(Sha256Digest, FrameName, u64)>,
    /// Places (pack, frame, offset) at which a read found another frame.
    pub(crate) bad: HashSet<(Sha256Digest, FrameName, u64)>,
    /// The names of index objects and registrations that are damaged.
    pub(crate) damaged: Vec<String>,
    /// The parts that are whole.
    parts_seen: HashSet<Sha256Digest>,
}

/// What a signer commits to as the key of a run.
struct Commitment {
    signer: Signer,
    hash: [u8; 32],
    /// A snapshot makes it, not only the contents index.
    is_of_snapshot: bool,
}

/// A live snapshot and the part that lists what it needs.
pub(crate) struct Needs {
    pub(crate) id: Sha256Digest,
    pub(crate) writer: WriterId,
    pub(crate) part: Sha256Digest,
}

/// The order in which objects are added: first what is needed, then the places, then the contents.
pub(crate) fn turn_of(name: &Name) -> u8 {
    match name {
        Name::Part { .. } => 0,
        Name::Locations { .. } => 2,
        Name::Contents { .. } => 3,
        _ => 1,
    }
}

/// The minimum size of a frame in a stored locations object: its hash.
const LOCATION_BYTES: u64 = 32;
/// How many frames may always be needed, so that a repository without packs and locations can still be checked.
const SMALL: u64 = 1 << 20;
/// How many commitments to one run's key are kept of each signer.
const MOST_COMMITMENTS: usize = 4;
/// In how many packs that do not exist a needed frame may be claimed to be.
const MOST_GONE_PLACES: usize = 4;

/// A frame that a locations object places in a pack.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Located {
    pub(crate) name: FrameName,
    /// The size that the pack should have.
    pub(crate) size: u64,
    pub(crate) place: FrameLocation,
}

/// Distinguishes a frame's list of chunk ids from any other.
pub(crate) type ChunkListDigest = [u8; 16];

pub(crate) fn digest_of(chunks: &[ChunkId]) -> ChunkListDigest {
    let mut hasher = blake3::Hasher::new();
    for id in chunks {
        hasher.update(&id.0);
    }
    let mut digest = [0; 16];
    digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    digest
}

impl Survey {
    pub(crate) fn new(session: &Session, history: History, entries: Vec<Entry>) -> Self {
        let mut parts: HashMap<_, Vec<_>> = HashMap::new();
        for recorded in history.snapshots.iter().filter(|recorded| recorded.is_live()) {
            let Ok(manifest) = &recorded.manifest else { continue };
            let part = (manifest.predicate.group, manifest.part);
            parts.entry(part).or_default().push((recorded.writer, manifest.id));
        }
        let mut groups: Vec<_> = session.groups.iter().map(GroupSurvey::new).collect();
        for entry in &entries {
            let (group, least) = match Name::parse(&entry.key) {
                Some(Name::Pack { group, .. }) => (group, u64::from(MIN_SEALED_FRAME)),
                Some(Name::Locations { group, .. }) => (group, LOCATION_BYTES),
                _ => continue,
            };
            let Some(survey) = groups.iter_mut().find(|survey| survey.view.id == group) else { continue };
            survey.most_needed = survey.most_needed.saturating_add(entry.size / least);
            if let Some(Name::Pack { hash, .. }) = Name::parse(&entry.key) {
                survey.packs.insert(hash, entry.size);
            }
        }
        Self {
            history,
            entries,
            groups,
            keys: HashSet::new(),
            parts,
            misnamed: HashMap::new(),
            unread: OutOfSight::default(),
        }
    }

    /// Whether an object is used to check others.
    pub(crate) fn is_told_by(&self, name: &Name) -> bool {
        match name {
            Name::Key { .. } => true,
            Name::Run { group, .. }
            | Name::Contents { group, .. }
            | Name::Locations { group, .. }
            | Name::Loss { group, .. } => self.groups.iter().any(|survey| survey.view.id == *group),
            Name::Part { group, hash } => self.parts.contains_key(&(*group, *hash)),
            _ => false,
        }
    }

    /// Adds a whole object. An error says why it contradicts what others state about it.
    pub(crate) fn add(&mut self, name: &Name, body: Body, roster: &Roster) -> Result<(), String> {
        if let Name::Key { folder, recipient, .. } = name {
            self.keys.insert((*folder, recipient.clone()));
        }
        let group = match name {
            Name::Run { group, .. }
            | Name::Contents { group, .. }
            | Name::Locations { group, .. }
            | Name::Part { group, .. }
            | Name::Loss { group, .. } => *group,
            _ => return Ok(()),
        };
        let Some(survey) = self.groups.iter_mut().find(|survey| survey.view.id == group) else {
            return Ok(());
        };
        match (body, name) {
            (Body::Registration(signer, registration), _) => {
                survey.registered.insert(registration.run, (registration.writer, signer));
            }
            (Body::Locations(signer, locations), _) => {
                survey.authors.entry(locations.run).or_insert(signer);
                let registrant = survey.registered.get(&locations.run).map(|(_, signer)| *signer);
                let is_foreign = registrant != Some(signer)
                    && !matches!(roster.standing(signer, group), Standing::Keeper | Standing::Root);
                survey.add_locations(&locations, is_foreign);
            }
            (Body::Contents(signer, contents), _) => {
                // Contents come after all locations.
                let located = survey.located_names.take().unwrap_or_else(|| survey.located_frames());
                survey.add_contents(signer, contents, &located);
                survey.located_names = Some(located);
            }
            (Body::Loss(signer, loss), _) => {
                survey.marked.add_records(&loss.frames);
                if roster.believes(Word::LostToPrune, group, signer).is_some() {
                    survey.marked_for_prunes.add_records(&loss.frames);
                }
            }
            (Body::Part(signer, part), Name::Part { hash, .. }) => {
                let named_by = self.parts.get(&(group, *hash)).map_or(&[][..], Vec::as_slice);
                let is_of_signer =
                    |(writer, _): &&(WriterId, Sha256Digest)| Signer::Writer(*writer) == signer;
                let (snapshots, others): (Vec<_>, Vec<_>) =
                    named_by.iter().copied().partition(|by| is_of_signer(&by));
                self.misnamed.extend(others.into_iter().map(|(_, id)| (id, signer)));
                survey.add_part(*hash, signer, &part, &snapshots)?;
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn add_damaged(&mut self, name: &Name, key: &str) {
        let (Name::Run { group, .. }
        | Name::Contents { group, .. }
        | Name::Locations { group, .. }
        | Name::Loss { group, .. }) = name
        else {
            return;
        };
        if let Some(survey) = self.groups.iter_mut().find(|survey| survey.view.id == *group) {
            survey.damaged.push(key.to_owned());
        }
    }

    /// Whether any object of a group's index, or all its packs, could not be read.
    pub(crate) fn is_index_unread(&self, group: GroupId) -> bool {
        let folders = layout::index_folders(group);
        folders.iter().any(|folder| self.unread.is_any_below(folder))
            || self.unread.covers(&layout::packs(group))
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.binary_search_by(|entry| entry.key.as_str().cmp(key)).is_ok()
    }

    pub(crate) fn has_key(&self, folder: KeyFolder, recipient: &str) -> bool {
        self.keys.contains(&(folder, recipient.to_owned()))
    }

    /// Whether only forgotten snapshots refer to a part: then a prune will delete it.
    pub(crate) fn is_of_forgotten(&self, group: GroupId, part: &Sha256Digest) -> bool {
        !self.parts.contains_key(&(group, *part))
            && self.history.snapshots.iter().any(|recorded| {
                recorded
                    .manifest
                    .as_ref()
                    .is_ok_and(|manifest| manifest.predicate.group == group && manifest.part == *part)
            })
    }

    /// The snapshots that refer to a part.
    pub(crate) fn snapshots_on(&self, group: GroupId, part: &Sha256Digest) -> Vec<String> {
        let on = self.parts.get(&(group, *part)).into_iter().flatten();
        on.map(|(_, id)| id.to_string()).collect()
    }

    /// The parts of live snapshots, by their names, that this key opens and that were not found whole, and those of
    /// closed groups that do not exist.
    pub(crate) fn parts_without_whole(&self) -> Vec<(String, GroupId, Sha256Digest)> {
        let is_whole = |group: GroupId, part: &Sha256Digest| match self
            .groups
            .iter()
            .find(|survey| survey.view.id == group)
        {
            Some(survey) => survey.parts_seen.contains(part),
            None => self.has(&layout::part(group, part)),
        };
        let mut missing: Vec<_> = self
            .parts
            .keys()
            .filter(|(group, part)| !is_whole(*group, part))
            .map(|(group, part)| (layout::part(*group, part), *group, *part))
            .collect();
        missing.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        missing
    }
}

impl GroupSurvey {
    fn new(view: &GroupView) -> Self {
        Self {
            view: view.clone(),
            packs: BTreeMap::new(),
            snapshots: Vec::new(),
            needed: FrameSet::default(),
            most_needed: SMALL,
            commitments: HashMap::new(),
            located: BTreeMap::new(),
            listed: HashMap::new(),
            own_listed: FrameSet::default(),
            contradicted: FrameSet::default(),
            registered: HashMap::new(),
            authors: HashMap::new(),
            foreign: BTreeSet::new(),
            overclaimed: BTreeSet::new(),
            trailers: HashMap::new(),
            claimed: HashMap::new(),
            marked: FrameSet::default(),
            marked_for_prunes: FrameSet::default(),
            listed_in_vain: 0,
            gone_places: HashMap::new(),
            located_names: None,
            denied: HashSet::new(),
            bad: HashSet::new(),
            damaged: Vec::new(),
            parts_seen: HashSet::new(),
        }
    }

    fn add_part(
        &mut self,
        hash: Sha256Digest,
        signer: Signer,
        part: &Part,
        snapshots: &[(WriterId, Sha256Digest)],
    ) -> Result<(), String> {
        if !snapshots.is_empty() {
            // A part that needs too many frames leaves nothing behind.
            let mut needed = FrameSet::default();
            for record in &part.runs {
                needed.insert_bitmap(record.run, &record.frames);
                if needed.len() > self.most_needed {
                    return Err(format!(
                        "it needs more than {} frames, which is more than the group has stored",
                        self.most_needed
                    ));
                }
            }
            self.needed.extend(&needed);
            for record in &part.runs {
                self.note_commitment(record.run, signer, record.commitment, true);
            }
        }
        self.snapshots.extend(snapshots.iter().map(|(writer, id)| Needs {
            id: *id,
            writer: *writer,
            part: hash,
        }));
        self.parts_seen.insert(hash);
        Ok(())
    }

    /// Adds an object with the places of frames, signed by a storer or mover of them, or by another signer
    /// (`is_foreign`). If claims exceed a pack's size, the later ones are omitted until [`hear`](Self::hear) replaces
    /// them all; of claims about packs that do not exist, only some about needed frames are kept.
    pub(crate) fn add_locations(&mut self, locations: &Locations, is_foreign: bool) {
        let mut known: HashMap<Sha256Digest, HashSet<Located>> = HashMap::new();
        for pack in &locations.packs {
            let listed = self.packs.get(&pack.pack).copied();
            if is_foreign && listed.is_some() {
                self.foreign.insert(pack.pack);
            }
            for place in &pack.frames {
                let name = locations.run.frame(place.ordinal);
                let found = Located { name, size: pack.size, place: *place };
                if listed.is_none() && !self.may_be_gone(name) {
                    continue;
                }
                let located = self.located.entry(pack.pack).or_default();
                let known = known.entry(pack.pack).or_insert_with(|| located.iter().copied().collect());
                // Frames of a pack come in order from one writer, so a second object repeats whole stretches.
                if known.contains(&found) {
                    continue;
                }
                let claimed = self.claimed.entry(pack.pack).or_default();
                let more = claimed.saturating_add(place.length.into());
                if more > listed.unwrap_or(pack.size).max(pack.size) {
                    self.overclaimed.insert(pack.pack);
                    continue;
                }
                *claimed = more;
                known.insert(found);
                located.push(found);
            }
        }
    }

    /// Replaces the claims about a pack with what its trailer lists.
    pub(crate) fn hear(&mut self, pack: Sha256Digest, trailer: &[TrailerFrame]) {
        let Some(size) = self.packs.get(&pack).copied() else { return };
        let listed = |frame: &TrailerFrame| Located { name: frame.name(), size, place: frame.into() };
        self.located.insert(pack, trailer.iter().map(listed).collect());
        self.trailers.insert(pack, ListedPlaces::new(trailer));
    }

    /// Whether one more pack that does not exist may be noted as a place of a frame.
    fn may_be_gone(&mut self, name: FrameName) -> bool {
        if !self.needed.contains(name) {
            return false;
        }
        let places = self.gone_places.entry(name).or_default();
        *places += 1;
        *places <= MOST_GONE_PLACES
    }

    /// The writer of a run: from its registration, which a keeper may have rewritten, or else the first signer of
    /// locations of its frames.
    pub(crate) fn writer_of(&self, run: RunId) -> Option<Signer> {
        match self.registered.get(&run) {
            Some((writer, Signer::Keeper(_) | Signer::Root)) => Some(Signer::Writer(*writer)),
            Some((_, signer)) => Some(*signer),
            None => self.authors.get(&run).copied(),
        }
    }

    fn note_commitment(&mut self, run: RunId, signer: Signer, hash: [u8; 32], is_of_snapshot: bool) {
        let stated = self.commitments.entry(run).or_default();
        if let Some(known) = stated.iter_mut().find(|known| known.signer == signer && known.hash == hash) {
            known.is_of_snapshot |= is_of_snapshot;
        } else if stated.iter().filter(|known| known.signer == signer).count() < MOST_COMMITMENTS {
            stated.push(Commitment { signer, hash, is_of_snapshot });
        }
    }

    /// What any signer commits to as the key of a run.
    pub(crate) fn commitments(&self, run: RunId) -> Vec<[u8; 32]> {
        let stated = self.commitments.get(&run).into_iter().flatten();
        stated.map(|commitment| commitment.hash).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// What snapshots commit to as the key of a run.
    pub(crate) fn commitments_of_snapshots(&self, run: RunId) -> Vec<[u8; 32]> {
        let stated = self.commitments.get(&run).into_iter().flatten().filter(|stated| stated.is_of_snapshot);
        stated.map(|commitment| commitment.hash).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// What a run's own writer commits to as its key; for an unregistered run, the commitment if it is unanimous.
    pub(crate) fn own_commitment(&self, run: RunId) -> Option<[u8; 32]> {
        let writer = self.writer_of(run);
        let stated = self.commitments.get(&run).into_iter().flatten();
        let own = stated.filter(|stated| writer.is_none_or(|writer| stated.signer == writer));
        let own: BTreeSet<[u8; 32]> = own.map(|stated| stated.hash).collect();
        own.first().copied().filter(|_| own.len() == 1)
    }

    /// Adds `signer`'s lists of the contents of frames, for those that are needed or stored somewhere.
    pub(crate) fn add_contents(&mut self, signer: Signer, contents: Contents, located: &FrameSet) {
        for run in contents.runs {
            let bears_on = |frame: &FrameContents| {
                let name = run.run.frame(frame.ordinal);
                self.needed.contains(name) || located.contains(name)
            };
            let (frames, others): (Vec<_>, Vec<_>) = run.frames.iter().partition(|frame| bears_on(frame));
            self.listed_in_vain += others.len() as u64;
            if frames.is_empty() {
                continue;
            }
            self.note_commitment(run.run, signer, run.commitment, false);
            let is_own = self.writer_of(run.run) == Some(signer);
            for frame in frames {
                let name = run.run.frame(frame.ordinal);
                let digest = digest_of(&frame.chunks);
                if is_own && self.own_listed.insert(name) {
                    self.listed.insert(name, digest);
                } else if is_own || !self.own_listed.contains(name) {
                    let known = *self.listed.entry(name).or_insert(digest);
                    if known != digest {
                        self.contradicted.insert(name);
                    }
                }
            }
        }
    }

    /// Whether a pack exists and is long enough to contain a frame.
    pub(crate) fn holds(&self, pack: &Sha256Digest, located: &Located) -> bool {
        let offset = located.place.offset;
        let end = offset.saturating_add(located.place.length.into());
        self.packs.get(pack).is_some_and(|size| *size >= end)
            && !self.bad.contains(&(*pack, located.name, offset))
    }

    /// The frames that are stored whole somewhere, as far as was read.
    pub(crate) fn whole(&self) -> FrameSet {
        let mut whole = FrameSet::default();
        for (pack, frames) in &self.located {
            for located in frames.iter().filter(|located| self.holds(pack, located)) {
                whole.insert(located.name);
            }
        }
        whole
    }

    /// The needed frames without any place that no trailer refutes, whether a repair marked them as lost or not: they
    /// may be in any pack whose trailer cannot be read.
    pub(crate) fn homeless(&self) -> FrameSet {
        let mut placed = FrameSet::default();
        for (pack, frames) in &self.located {
            for located in frames {
                if !self.denied.contains(&(*pack, located.name, located.place.offset)) {
                    placed.insert(located.name);
                }
            }
        }
        self.needed.minus(&placed)
    }

    /// The frames that are claimed to be in existing packs.
    pub(crate) fn located_frames(&self) -> FrameSet {
        let there = self.located.iter().filter(|(pack, _)| self.packs.contains_key(*pack));
        let mut frames = FrameSet::default();
        there.flat_map(|(_, frames)| frames).for_each(|located| {
            frames.insert(located.name);
        });
        frames
    }

    /// What is known of a frame, given those that are lost.
    pub(crate) fn facts(&self, name: FrameName, lost: &FrameSet) -> FrameFacts {
        FrameFacts {
            is_needed: self.needed.contains(name),
            is_listed: self.listed.contains_key(&name),
            is_marked: self.marked.contains(name),
            is_lost: lost.contains(name),
        }
    }

    /// The frames that are in a pack according to the locations.
    pub(crate) fn frames_in(&self, pack: &Sha256Digest) -> FrameSet {
        self.located.get(pack).into_iter().flatten().map(|located| located.name).collect()
    }
}
