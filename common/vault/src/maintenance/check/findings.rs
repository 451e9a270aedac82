//! The findings of a check: damage, unreadable objects, and notes.

use std::collections::btree_map::{self, BTreeMap, Entry};
use std::ops::Bound;

use lifeboat_store::Obstacle;

use crate::format::frame_set::FrameSet;
use crate::ids::GroupId;
use crate::maintenance::check::scope::Shard;
use crate::maintenance::check::verdicts::Verdict;

/// The findings of a check.
#[derive(Debug, Default)]
pub struct Findings {
    /// How many objects were checked.
    pub objects: u64,
    /// How many bytes of them were read.
    pub read_bytes: u64,
    /// How many packs were read whole.
    pub packs_read: u64,
    /// How many packs exist.
    pub packs: u64,
    /// How many frames were opened and their chunks compared with the index.
    pub frames_opened: u64,
    /// How many snapshots count.
    pub snapshots: u64,
    /// The damage, by object.
    pub damage: Damages,
    /// What could not be read, so that its state is unknown.
    pub unread: Vec<Unread>,
    /// What is worth knowing but is not damage.
    pub notes: Vec<String>,
    /// Groups that the key does not open, and how many objects of each were checked by hash and form only.
    pub closed: BTreeMap<GroupId, u64>,
    /// The frames that are lost with damaged objects; the snapshots that need them are looked up at the end.
    pub(crate) lost_with: Vec<(String, FrameSet)>,
}

/// One damaged object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The object's name, or where it should be.
    pub key: String,
    /// The kind of damage.
    pub kind: DamageKind,
    /// The reason, with the evidence.
    pub reason: String,
    /// The ids of the snapshots that cannot be fully restored because of it.
    pub snapshots: Vec<String>,
    /// How it can be repaired.
    pub remedy: Remedy,
}

/// Kinds of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DamageKind {
    /// It does not exist.
    Missing,
    /// Its bytes do not match its name, signature or form.
    Altered,
    /// It is shorter or longer than the index states.
    Size,
    /// The index lacks something or contradicts what is stored.
    Index,
    /// A frame opens but contains other chunks than the index states.
    FalseFrame,
    /// The history is inconsistent.
    History,
}

/// What repairs a damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// `repair`, with any key that opens the group.
    Repair,
    /// `repair`, by someone who may delete: a keeper, or with a recovery key.
    RepairByKeeper,
    /// `repair` with a recovery key.
    RepairByRoot,
    /// `repair` with the writer key of a host of the group.
    RepairByWriter,
    /// `repair` marks the lost frames, and the next backup stores their data again if it still exists.
    NextBackup,
    /// Only giving up the snapshot, with `repair --forget-damaged`.
    GiveUp,
    /// Removing the host that makes the claim, if it is lying.
    EndOfWord,
    /// Only restoring the object from a copy of the storage.
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

/// The damage, by object name; only the first damage of an object counts. A host that may create objects can cause very
/// many reports, so each is looked up by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Damages(BTreeMap<String, Damage>);

impl Damages {
    /// How many objects are damaged.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no damage.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of it, in the order of the object names.
    pub fn iter(&self) -> impl Iterator<Item = &Damage> {
        self.0.values()
    }

    /// The damage of an object.
    pub fn of(&self, key: &str) -> Option<&Damage> {
        self.0.get(key)
    }

    /// The damage of the objects whose names have this prefix.
    pub(crate) fn beginning(&self, prefix: &str) -> impl Iterator<Item = &Damage> {
        let below = self.0.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        below.map(|(_, damage)| damage).take_while(move |damage| damage.key.starts_with(prefix))
    }

    pub(crate) fn of_mut(&mut self, key: &str) -> Option<&mut Damage> {
        self.0.get_mut(key)
    }

    /// Returns whether it is the first for its object.
    fn tell(&mut self, damage: Damage) -> bool {
        match self.0.entry(damage.key.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(damage);
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    /// Removes the damage of an object.
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
    /// Adds damage. Only the first of each object is reported.
    pub(crate) fn damage(&mut self, shard: Shard, damage: Damage) {
        if shard.owns(&damage.key) {
            self.damage.tell(damage);
        }
    }

    /// Adds damage that affects the snapshots which need any of `lost`.
    pub(crate) fn damage_with(&mut self, shard: Shard, damage: Damage, lost: FrameSet) {
        let key = damage.key.clone();
        if shard.owns(&key) && self.damage.tell(damage) {
            self.costs(key, lost);
        }
    }

    /// Passes a verdict on an object. Its damage affects the snapshots which need any of `lost`.
    pub(super) fn pass(&mut self, shard: Shard, key: String, verdict: Verdict, lost: FrameSet) {
        match verdict {
            Verdict::Sound => {}
            Verdict::Note(said) => {
                if shard.owns(&key) {
                    self.notes.push(format!("`{key}` {said}"));
                }
            }
            Verdict::Damaged(kind, reason, remedy) => {
                let damage = Damage { key, kind, reason, snapshots: Vec::new(), remedy };
                self.damage_with(shard, damage, lost);
            }
        }
    }

    /// Notes that the damage to an object affects the snapshots which need any of `lost`.
    pub(crate) fn costs(&mut self, key: String, lost: FrameSet) {
        if !lost.is_empty() {
            self.lost_with.push((key, lost));
        }
    }

    /// Notes a place that may contain objects which this user cannot see.
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

impl std::fmt::Display for Remedy {
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
        Damage { key, kind: DamageKind::Altered, reason, snapshots: Vec::new(), remedy: Remedy::No }
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
            let lost = [crate::ids::RunId::from_bytes([1; 16]).frame(number)];
            findings.damage_with(Shard::WHOLE, damage(format!("packs/{number}")), lost.into_iter().collect());
        }
        assert_eq!(findings.damage.len(), 300_000);
        // Takes seconds if each is looked up by name, and an hour if each is compared with all others.
        assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
    }
}
