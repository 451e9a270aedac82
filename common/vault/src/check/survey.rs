//! What a repository says of itself: every object that is no pack, read once, and what follows from all of them
//! together. Frames are kept as bitmaps, places as one small record each.

use std::collections::{BTreeMap, HashMap, HashSet};

use lifeboat_core::Sha256Digest;
use lifeboat_store::Entry;

use crate::access::Viewer;
use crate::check::name::{KeyFolder, Name};
use crate::check::objects::Body;
use crate::frame_set::FrameSet;
use crate::history::History;
use crate::ids::{ChunkId, FrameName, GroupId, RunId, Signer, WriterId};
use crate::index::{Contents, FrameLocation, Locations};
use crate::keys::GroupView;
use crate::layout;
use crate::manifest::Part;

/// The state of a repository as one listing and one history show it.
pub(crate) struct Survey {
    pub(crate) history: History,
    /// Sorted by name.
    entries: Vec<Entry>,
    pub(crate) groups: Vec<GroupSurvey>,
    /// The sealed keys that are whole, by folder and recipient.
    keys: HashSet<(KeyFolder, String)>,
    /// Which live snapshots stand on a part.
    parts: HashMap<(GroupId, Sha256Digest), Vec<(WriterId, Sha256Digest)>>,
    /// The names of objects that could not be read: nothing follows from their silence.
    unread: Vec<String>,
}

/// What the index of one group says.
pub(crate) struct GroupSurvey {
    pub(crate) view: GroupView,
    /// The packs that are there, and their sizes.
    pub(crate) packs: BTreeMap<Sha256Digest, u64>,
    /// The live snapshots whose parts are whole.
    pub(crate) snapshots: Vec<Needs>,
    /// All frames that they need.
    pub(crate) needed: FrameSet,
    /// The commitments to the keys of runs, those of snapshots first.
    pub(crate) commitments: HashMap<RunId, Vec<[u8; 32]>>,
    /// What the locations say, by pack.
    pub(crate) located: BTreeMap<Sha256Digest, Vec<Located>>,
    /// What the contents say: of each frame a digest of its chunk ids.
    pub(crate) listed: HashMap<FrameName, ChunkListDigest>,
    /// Frames that two contents objects list with different chunks.
    pub(crate) contradicted: FrameSet,
    pub(crate) registered: HashMap<RunId, WriterId>,
    /// Who wrote down where a run's frames lie.
    pub(crate) authors: HashMap<RunId, Signer>,
    /// The frames that a repair marked as lost.
    pub(crate) marked: FrameSet,
    /// The frames that a keeper condemned.
    pub(crate) condemned: FrameSet,
    /// Places (pack, frame, offset) at which a read found another frame than the right one.
    pub(crate) bad: HashSet<(Sha256Digest, FrameName, u64)>,
    /// The names of index objects and registrations that are damaged.
    pub(crate) damaged: Vec<String>,
    /// The parts that are whole.
    parts_seen: HashSet<Sha256Digest>,
}

/// A live snapshot and the frames that it needs.
pub(crate) struct Needs {
    pub(crate) id: Sha256Digest,
    pub(crate) frames: FrameSet,
}

/// A frame that some locations object puts into a pack.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Located {
    pub(crate) name: FrameName,
    /// The size that the pack should have.
    pub(crate) size: u64,
    pub(crate) place: FrameLocation,
}

/// Tells a frame's list of chunk ids from any other.
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
    pub(crate) fn new(viewer: &Viewer, history: History, entries: Vec<Entry>) -> Self {
        let mut parts: HashMap<_, Vec<_>> = HashMap::new();
        for recorded in history.snapshots.iter().filter(|recorded| recorded.is_live()) {
            let Ok(manifest) = &recorded.manifest else { continue };
            let part = (manifest.predicate.group, manifest.part);
            parts.entry(part).or_default().push((recorded.writer, manifest.id));
        }
        let mut groups: Vec<_> = viewer.groups.iter().map(GroupSurvey::new).collect();
        for entry in &entries {
            if let Some(Name::Pack { group, hash }) = Name::parse(&entry.key)
                && let Some(survey) = groups.iter_mut().find(|survey| survey.view.id == group)
            {
                survey.packs.insert(hash, entry.size);
            }
        }
        Self { history, entries, groups, keys: HashSet::new(), parts, unread: Vec::new() }
    }

    /// Whether an object says something that others are checked against.
    pub(crate) fn is_told_by(&self, name: &Name) -> bool {
        match name {
            Name::Key { .. } => true,
            Name::Run { group, .. }
            | Name::Contents { group, .. }
            | Name::Locations { group, .. }
            | Name::Condemnation { group, .. }
            | Name::Loss { group, .. } => self.groups.iter().any(|survey| survey.view.id == *group),
            Name::Part { group, hash } => self.parts.contains_key(&(*group, *hash)),
            _ => false,
        }
    }

    /// Takes in a whole object. An error says why it is not what others make of it.
    pub(crate) fn add(&mut self, name: &Name, body: Body) -> Result<(), String> {
        if let Name::Key { folder, recipient, .. } = name {
            self.keys.insert((*folder, recipient.clone()));
        }
        let group = match name {
            Name::Run { group, .. }
            | Name::Contents { group, .. }
            | Name::Locations { group, .. }
            | Name::Part { group, .. }
            | Name::Condemnation { group, .. }
            | Name::Loss { group, .. } => *group,
            _ => return Ok(()),
        };
        let Some(survey) = self.groups.iter_mut().find(|survey| survey.view.id == group) else {
            return Ok(());
        };
        match (body, name) {
            (Body::Registration(registration), _) => {
                survey.registered.insert(registration.run, registration.writer);
            }
            (Body::Locations(signer, locations), _) => {
                survey.authors.entry(locations.run).or_insert(signer);
                survey.add_locations(&locations);
            }
            (Body::Contents(contents), _) => survey.add_contents(contents),
            (Body::Loss(loss), _) => survey.marked.add_records(&loss.frames),
            (Body::Condemnation(condemnation), _) => survey.condemned.add_records(&condemnation.frames),
            (Body::Part(signer, part), Name::Part { hash, .. }) => {
                let snapshots = self.parts.get(&(group, *hash)).map_or(&[][..], Vec::as_slice);
                survey.add_part(*hash, signer, &part, snapshots)?;
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

    pub(crate) fn add_unread(&mut self, key: &str) {
        self.unread.push(key.to_owned());
    }

    /// Whether any object below a folder could not be read.
    pub(crate) fn is_unread_below(&self, folder: &str) -> bool {
        self.unread.iter().any(|key| key.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
    }

    /// Whether any object that the index of a group consists of could not be read.
    pub(crate) fn is_index_unread(&self, group: GroupId) -> bool {
        let folders = [
            layout::runs(group),
            layout::contents(group),
            layout::locations_of(group),
            layout::losses(group),
            layout::parts(group),
            layout::CONDEMNED.to_owned(),
        ];
        folders.iter().any(|folder| self.is_unread_below(folder))
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

    /// Whether only snapshots that are forgotten stand on a part: then it waits for a prune.
    pub(crate) fn is_of_forgotten(&self, group: GroupId, part: &Sha256Digest) -> bool {
        !self.parts.contains_key(&(group, *part))
            && self.history.snapshots.iter().any(|recorded| {
                recorded
                    .manifest
                    .as_ref()
                    .is_ok_and(|manifest| manifest.predicate.group == group && manifest.part == *part)
            })
    }

    /// The snapshots that stand on a part.
    pub(crate) fn snapshots_on(&self, group: GroupId, part: &Sha256Digest) -> Vec<String> {
        let on = self.parts.get(&(group, *part)).into_iter().flatten();
        on.map(|(_, id)| id.to_string()).collect()
    }

    /// The parts of live snapshots, by their names, that this key opens and that were not found whole, and those of
    /// closed groups that are not there.
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
            commitments: HashMap::new(),
            located: BTreeMap::new(),
            listed: HashMap::new(),
            contradicted: FrameSet::default(),
            registered: HashMap::new(),
            authors: HashMap::new(),
            marked: FrameSet::default(),
            condemned: FrameSet::default(),
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
        for (writer, id) in snapshots {
            if signer != Signer::Writer(*writer) {
                return Err(format!("it is signed by {signer}, and its manifest by writer {writer}"));
            }
            let mut frames = FrameSet::default();
            for record in &part.runs {
                frames.insert_all(record.run, record.needed().map(|frame| frame.ordinal));
                let commitments = self.commitments.entry(record.run).or_default();
                if !commitments.contains(&record.commitment) {
                    commitments.insert(0, record.commitment);
                }
            }
            self.needed.extend(&frames);
            self.snapshots.push(Needs { id: *id, frames });
        }
        self.parts_seen.insert(hash);
        Ok(())
    }

    pub(crate) fn add_locations(&mut self, locations: &Locations) {
        let mut known: HashMap<Sha256Digest, HashSet<Located>> = HashMap::new();
        for pack in &locations.packs {
            let located = self.located.entry(pack.pack).or_default();
            let known = known.entry(pack.pack).or_insert_with(|| located.iter().copied().collect());
            for place in &pack.frames {
                let name = FrameName { run: locations.run, ordinal: place.ordinal };
                let found = Located { name, size: pack.size, place: *place };
                // Frames of a pack come in order from one writer, so a second object repeats whole stretches.
                if known.insert(found) {
                    located.push(found);
                }
            }
        }
    }

    pub(crate) fn add_contents(&mut self, contents: Contents) {
        for run in contents.runs {
            let commitments = self.commitments.entry(run.run).or_default();
            if !commitments.contains(&run.commitment) {
                commitments.push(run.commitment);
            }
            for frame in run.frames {
                let name = FrameName { run: run.run, ordinal: frame.ordinal };
                let digest = digest_of(&frame.chunks);
                if *self.listed.entry(name).or_insert(digest) != digest {
                    self.contradicted.insert(name);
                }
            }
        }
    }

    /// Whether a pack is there and reaches as far as a frame in it.
    pub(crate) fn holds(&self, pack: &Sha256Digest, located: &Located) -> bool {
        let offset = located.place.offset;
        let end = offset.saturating_add(located.place.length.into());
        self.packs.get(pack).is_some_and(|size| *size >= end)
            && !self.bad.contains(&(*pack, located.name, offset))
    }

    /// The frames that lie somewhere whole, as far as was read.
    pub(crate) fn whole(&self) -> FrameSet {
        let mut whole = FrameSet::default();
        for (pack, frames) in &self.located {
            for located in frames.iter().filter(|located| self.holds(pack, located)) {
                whole.insert(located.name);
            }
        }
        whole
    }

    /// The frames that the contents list, that backups may lean on, and that lie nowhere whole.
    pub(crate) fn listed_in_vain(&self, whole: &FrameSet) -> FrameSet {
        let listed: FrameSet = self.listed.keys().copied().collect();
        listed.minus(whole).minus(&self.marked).minus(&self.condemned)
    }

    /// The ids of the snapshots that need any of `frames`.
    pub(crate) fn hurt_by(&self, frames: &FrameSet) -> Vec<String> {
        let hurt = self.snapshots.iter().filter(|needs| needs.frames.meets(frames));
        hurt.map(|needs| needs.id.to_string()).collect()
    }

    /// The frames that lie in a pack by the locations.
    pub(crate) fn frames_in(&self, pack: &Sha256Digest) -> FrameSet {
        self.located.get(pack).into_iter().flatten().map(|located| located.name).collect()
    }
}

#[cfg(test)]
mod tests {
    use lifeboat_core::random::OsEntropy;

    use super::*;
    use crate::index::PackLocations;
    use crate::seal::SealKey;

    #[test]
    fn a_pack_that_is_to_hold_very_many_frames_is_noted_in_a_moment() {
        const MANY: u32 = 400_000;
        let view = GroupView { id: GroupId::from_bytes([1; 16]), index_key: SealKey::random(&OsEntropy) };
        let mut survey = GroupSurvey::new(&view);
        let (pack, hash) = (Sha256Digest::of(b"pack"), Sha256Digest::of(b""));
        let place = |ordinal| FrameLocation { ordinal, offset: 0, length: 0, hash, chunk_bytes: 0 };
        let halves = [0..MANY / 2, MANY / 2..MANY].map(|ordinals| PackLocations {
            pack,
            frames: ordinals.map(place).collect(),
            size: 1,
        });
        let locations = Locations { run: RunId::from_bytes([2; 16]), packs: halves.to_vec() };
        survey.add_locations(&locations);
        survey.add_locations(&locations);
        assert_eq!(survey.located[&pack].len(), MANY as usize);
    }
}
