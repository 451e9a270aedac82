//! What a check finds: damage, what could not be read, and notes.

use std::collections::btree_map::{self, BTreeMap, Entry};
use std::ops::Bound;

use lifeboat_store::Obstacle;

use crate::format::frame_set::FrameSet;
use crate::ids::GroupId;
use crate::maintenance::check::scope::Shard;

/// What a check found.
#[derive(Debug, Default)]
pub struct Findings {
    /// How many objects were looked at.
    pub objects: u64,
    /// How many bytes of them were read.
    pub read_bytes: u64,
    /// How many packs were read whole.
    pub packs_read: u64,
    /// How many packs there are.
    pub packs: u64,
    /// How many frames were opened and their chunks compared with the index.
    pub frames_opened: u64,
    /// How many snapshots count.
    pub snapshots: u64,
    /// What is damaged, by object.
    pub damage: Damages,
    /// What could not be read, so that nothing can be said of it.
    pub unread: Vec<Unread>,
    /// What is worth knowing and no damage.
    pub notes: Vec<String>,
    /// Groups that the key does not open, and how many objects of each were checked by hash and form only.
    pub closed: BTreeMap<GroupId, u64>,
    /// Of damaged objects, the frames that are lost with them: which snapshots need those is looked up at the end.
    pub(crate) lost_with: Vec<(String, FrameSet)>,
}

/// One damaged object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The object's name, or where it should be.
    pub key: String,
    /// What is wrong with it, in a word.
    pub kind: DamageKind,
    /// What is wrong with it, with the evidence.
    pub reason: String,
    /// The ids of the snapshots that cannot be restored whole because of it.
    pub snapshots: Vec<String>,
    /// Whether it can be mended.
    pub mend: Mend,
}

/// Kinds of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DamageKind {
    /// It is not there.
    Missing,
    /// Its bytes are not what its name, signature or form asks for.
    Altered,
    /// It is shorter or longer than the index says.
    Size,
    /// The index does not say what it must, or contradicts what is stored.
    Index,
    /// A frame opens, and holds other chunks than the index says.
    FalseFrame,
    /// The history does not hold together.
    History,
}

/// What mends a damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mend {
    /// `repair`, with any key that opens the group.
    Repair,
    /// `repair`, by someone who may delete: a keeper, or with a recovery key.
    RepairByKeeper,
    /// `repair` with a recovery key.
    RepairByRoot,
    /// `repair` with the writer key of a host of the group.
    RepairByWriter,
    /// `repair` marks what is lost, and the next backup stores it again where the data still exists.
    NextBackup,
    /// Only giving the snapshot up, with `repair --forget-damaged`.
    GiveUp,
    /// That the host which says so is removed, if it lies.
    EndOfWord,
    /// Nothing but putting the object back from a copy of the storage.
    No,
}

/// Something that could not be read.
#[derive(Debug, Clone)]
pub struct Unread {
    /// The object's name.
    pub key: String,
    /// Why.
    pub reason: String,
}

/// What is damaged, by the names of the objects: of one object only what is told first counts. A host that may create
/// objects can have very many of them told, so each is looked up by its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Damages(BTreeMap<String, Damage>);

impl Damages {
    /// How many objects are damaged.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each, by the names of the objects.
    pub fn iter(&self) -> impl Iterator<Item = &Damage> {
        self.0.values()
    }

    /// What is told of an object.
    pub fn of(&self, key: &str) -> Option<&Damage> {
        self.0.get(key)
    }

    /// What is told of the objects whose names begin so.
    pub(crate) fn beginning(&self, prefix: &str) -> impl Iterator<Item = &Damage> {
        let below = self.0.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        below.map(|(_, damage)| damage).take_while(move |damage| damage.key.starts_with(prefix))
    }

    pub(crate) fn of_mut(&mut self, key: &str) -> Option<&mut Damage> {
        self.0.get_mut(key)
    }

    /// Says whether it is the first that is told of its object.
    fn tell(&mut self, damage: Damage) -> bool {
        match self.0.entry(damage.key.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(damage);
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    /// Takes back what was told of an object.
    pub(crate) fn retract(&mut self, key: &str) {
        self.0.remove(key);
    }
}

impl IntoIterator for Damages {
    type Item = Damage;
    type IntoIter = btree_map::IntoValues<String, Damage>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_values()
    }
}

impl Findings {
    /// Adds damage. Of one object only the first that is found is told.
    pub(crate) fn damage(&mut self, shard: Shard, damage: Damage) {
        if shard.owns(&damage.key) {
            self.damage.tell(damage);
        }
    }

    /// Adds damage that costs the snapshots which need any of `lost`.
    pub(crate) fn damage_with(&mut self, shard: Shard, damage: Damage, lost: FrameSet) {
        let key = damage.key.clone();
        if shard.owns(&key) && self.damage.tell(damage) {
            self.costs(key, lost);
        }
    }

    /// Notes that the damage to an object costs the snapshots which need any of `lost`.
    pub(crate) fn costs(&mut self, key: String, lost: FrameSet) {
        if !lost.is_empty() {
            self.lost_with.push((key, lost));
        }
    }

    /// Notes a place in which there may be objects that this user does not see.
    pub(crate) fn hidden(&mut self, place: &str, obstacle: Obstacle) {
        let reason = format!("it {obstacle}, and may hide objects");
        self.unread.push(Unread { key: place.to_owned(), reason });
    }

    pub(crate) fn unread(&mut self, key: &str, reason: &dyn std::error::Error) {
        let mut text = reason.to_string();
        let mut next = reason.source();
        while let Some(cause) = next {
            text = format!("{text}: {cause}");
            next = cause.source();
        }
        self.unread.push(Unread { key: key.to_owned(), reason: text });
    }
}

impl std::fmt::Display for DamageKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Altered => "altered",
            Self::Size => "size",
            Self::Index => "index",
            Self::FalseFrame => "false-frame",
            Self::History => "history",
        })
    }
}

impl std::fmt::Display for Mend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Repair => "repair",
            Self::RepairByKeeper => "repair-by-keeper",
            Self::RepairByRoot => "repair-by-root",
            Self::RepairByWriter => "repair-by-writer",
            Self::NextBackup => "next-backup",
            Self::GiveUp => "forget-damaged",
            Self::EndOfWord => "end-of-word",
            Self::No => "no",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn damage(key: String) -> Damage {
        let reason = "it is damaged".to_owned();
        Damage { key, kind: DamageKind::Altered, reason, snapshots: Vec::new(), mend: Mend::No }
    }

    #[test]
    fn of_one_object_the_first_damage_is_told_and_none_that_another_shard_owns() {
        let mut findings = Findings::default();
        findings.damage(Shard::WHOLE, damage("parts/b".to_owned()));
        findings.damage(Shard::WHOLE, Damage { reason: "again".to_owned(), ..damage("parts/b".to_owned()) });
        findings.damage(Shard::WHOLE, damage("parts/a".to_owned()));
        findings.damage(Shard::WHOLE, damage("partsx".to_owned()));
        let told: Vec<_> = findings.damage.iter().map(|d| (d.key.as_str(), d.reason.as_str())).collect();
        let damaged = "it is damaged";
        assert_eq!(told, [("parts/a", damaged), ("parts/b", damaged), ("partsx", damaged)]);
        assert_eq!(findings.damage.beginning("parts/").count(), 2);
        findings.damage.retract("parts/a");
        assert!(findings.damage.of("parts/a").is_none() && findings.damage.of("parts/b").is_some());
    }

    #[test]
    fn the_time_for_very_many_damaged_objects_grows_with_their_number_and_not_faster() {
        let mut findings = Findings::default();
        let began = Instant::now();
        for number in 0..300_000 {
            let lost =
                [crate::ids::FrameName { run: crate::ids::RunId::from_bytes([1; 16]), ordinal: number }];
            findings.damage_with(Shard::WHOLE, damage(format!("packs/{number}")), lost.into_iter().collect());
        }
        assert_eq!(findings.damage.len(), 300_000);
        // Some seconds where each is found by its name, an hour where each is compared with all others.
        assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
    }
}
