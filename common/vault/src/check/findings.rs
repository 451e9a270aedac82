//! What a check finds: damage, what could not be read, and notes.

use std::collections::BTreeMap;

use lifeboat_store::Obstacle;

use crate::check::scope::Shard;
use crate::frame_set::FrameSet;
use crate::ids::GroupId;

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
    pub damage: Vec<Damage>,
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

impl Findings {
    /// Adds damage. Of one object only the first that is found is told.
    pub(crate) fn damage(&mut self, shard: Shard, damage: Damage) {
        if shard.owns(&damage.key) && !self.is_damaged(&damage.key) {
            self.damage.push(damage);
        }
    }

    /// Adds damage that costs the snapshots which need any of `lost`.
    pub(crate) fn damage_with(&mut self, shard: Shard, damage: Damage, lost: FrameSet) {
        let key = damage.key.clone();
        if shard.owns(&key) && !self.is_damaged(&key) {
            self.damage.push(damage);
            self.costs(key, lost);
        }
    }

    /// Notes that the damage to an object costs the snapshots which need any of `lost`.
    pub(crate) fn costs(&mut self, key: String, lost: FrameSet) {
        if !lost.is_empty() {
            self.lost_with.push((key, lost));
        }
    }

    pub(crate) fn is_damaged(&self, key: &str) -> bool {
        self.damage.iter().any(|damage| damage.key == key)
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
            Self::No => "no",
        })
    }
}
