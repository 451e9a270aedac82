//! Snapshots, requests and rosters for tests of the decisions.

use jiff::Timestamp;
use lifeboat_core::Sha256Digest;

use super::{Found, Recorded, Standing};
use crate::format::FORMAT_VERSION;
use crate::format::floor::Floor;
use crate::format::manifest::{Manifest, Predicate};
use crate::format::request::{By, Request};
use crate::format::roster::{Roster, Writer};
use crate::ids::{GroupId, RepositoryId, WriterId};

pub(super) const WRITER: WriterId = WriterId::from_bytes([1; 16]);
const GROUP: GroupId = GroupId::from_bytes([2; 16]);
const REPOSITORY: RepositoryId = RepositoryId::from_bytes([3; 32]);

/// The id of the snapshot with this number.
pub(super) fn id(sequence: u64) -> Sha256Digest {
    Sha256Digest::of(&sequence.to_le_bytes())
}

/// A writer in force.
pub(super) fn writer(id: WriterId) -> Writer {
    Writer { id, group: GROUP, key: String::new(), name: None, revoked: None }
}

pub(super) fn roster(writers: Vec<Writer>) -> Roster {
    Roster {
        format: FORMAT_VERSION,
        repository: REPOSITORY,
        number: 0,
        previous: None,
        time: Timestamp::UNIX_EPOCH,
        root_key: String::new(),
        recipients: Vec::new(),
        epochs: Vec::new(),
        groups: Vec::new(),
        writers,
        keepers: Vec::new(),
        floor: Floor::default(),
        required: Vec::new(),
    }
}

/// A snapshot that was stored at the beginning of time.
pub(super) fn recorded(writer: WriterId, sequence: u64, previous: Option<Sha256Digest>) -> Recorded {
    let time = Timestamp::UNIX_EPOCH;
    let predicate = Predicate {
        format: FORMAT_VERSION,
        repository: REPOSITORY,
        group: GROUP,
        writer,
        sequence,
        previous,
        time,
        roster: 0,
        part_bytes: 0,
        incomplete: false,
        contents: Vec::new(),
        seen: Vec::new(),
    };
    let manifest = Ok(Manifest { predicate, part: id(0), id: id(sequence) });
    let (standing, floor) = (Standing::Kept, None);
    Recorded { writer, group: GROUP, sequence, stored: time, manifest, standing, floor }
}

/// A request of the root for the snapshot of [`WRITER`] with this number.
pub(super) fn asked(sequence: u64, snapshot: Option<Sha256Digest>) -> (u64, Found) {
    let (writer, time) = (WRITER, Timestamp::UNIX_EPOCH);
    let request = Request {
        format: FORMAT_VERSION,
        repository: REPOSITORY,
        writer,
        sequence,
        snapshot,
        by: By::Root,
        time,
    };
    (sequence, Found { request: Some(request), stored: time })
}
