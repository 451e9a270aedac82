//! The names of objects in a repository. `FORMAT.md` describes each.

use lifeboat_core::Sha256Digest;

use crate::ids::{GroupId, RunId, Signer, WriterId};

/// The plaintext object that identifies a repository and its format version.
pub(crate) const MARKER: &str = "lifeboat.json";
/// The folder of rosters.
pub(crate) const ROSTERS: &str = "roster";
/// The folder of sealed root signing keys.
pub(crate) const ROOT_KEYS: &str = "keys/root";
/// The folder of manifests.
pub(crate) const SNAPSHOTS: &str = "snapshots";

/// Parses a number in names: ten decimal digits.
pub(crate) fn number(text: &str) -> Option<u64> {
    let is_plain = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

/// The highest number that fits in a name.
pub(crate) const MOST_NUMBER: u64 = 9_999_999_999;

pub(crate) fn roster(number: u64) -> String {
    format!("{ROSTERS}/{number:010}")
}

pub(crate) fn root_key(recipient: &str, sealed: &Sha256Digest) -> String {
    format!("{ROOT_KEYS}/{recipient}-{sealed}.age")
}

pub(crate) fn data_keys(epoch: u32) -> String {
    format!("keys/data-{epoch}")
}

pub(crate) fn data_key(epoch: u32, recipient: &str, sealed: &Sha256Digest) -> String {
    format!("{}/{recipient}-{sealed}.age", data_keys(epoch))
}

pub(crate) fn group_keys(group: GroupId) -> String {
    format!("keys/group-{group}")
}

pub(crate) fn group_key(group: GroupId, recipient: &str, sealed: &Sha256Digest) -> String {
    format!("{}/{recipient}-{sealed}.age", group_keys(group))
}

pub(crate) fn runs(group: GroupId) -> String {
    format!("runs/{group}")
}

pub(crate) fn run(group: GroupId, run: RunId) -> String {
    format!("{}/{run}", runs(group))
}

/// The mark that a run is over.
pub(crate) fn run_end(group: GroupId, of: RunId) -> String {
    format!("{}{RUN_END}", run(group, of))
}

/// The suffix of the name of a run's mark.
const RUN_END: &str = ".end";

/// The run whose registration or mark has this name.
pub(crate) fn run_of(key: &str) -> Option<RunId> {
    let name = key.rsplit('/').next()?;
    name.strip_suffix(RUN_END).unwrap_or(name).parse().ok()
}

/// Whether this is the name of a mark, in the folder of registrations.
pub(crate) fn is_run_end(key: &str) -> bool {
    key.ends_with(RUN_END)
}

pub(crate) fn packs(group: GroupId) -> String {
    format!("packs/{group}")
}

pub(crate) fn pack(group: GroupId, pack: &Sha256Digest) -> String {
    let name = pack.to_string();
    format!("{}/{}/{name}", packs(group), &name[..2])
}

pub(crate) fn contents(group: GroupId) -> String {
    format!("contents/{group}")
}

pub(crate) fn contents_object(group: GroupId, object: &Sha256Digest) -> String {
    format!("{}/{object}", contents(group))
}

pub(crate) fn locations_of(group: GroupId) -> String {
    format!("locations/{group}")
}

pub(crate) fn locations(group: GroupId, run: RunId) -> String {
    format!("{}/{run}", locations_of(group))
}

pub(crate) fn locations_object(group: GroupId, run: RunId, object: &Sha256Digest) -> String {
    format!("{}/{object}", locations(group, run))
}

pub(crate) fn parts(group: GroupId) -> String {
    format!("parts/{group}")
}

pub(crate) fn part(group: GroupId, object: &Sha256Digest) -> String {
    format!("{}/{object}", parts(group))
}

pub(crate) fn snapshots_of(writer: WriterId) -> String {
    format!("{SNAPSHOTS}/{writer}")
}

pub(crate) fn snapshot(writer: WriterId, sequence: u64) -> String {
    format!("{}/{sequence:010}", snapshots_of(writer))
}

/// The folder of requests to forget.
pub(crate) const FORGET: &str = "forget";

pub(crate) fn forget_of(writer: WriterId) -> String {
    format!("{FORGET}/{writer}")
}

pub(crate) fn forget(writer: WriterId, sequence: u64) -> String {
    format!("{}/{sequence:010}", forget_of(writer))
}

/// The folder of objects that are stored, inspected and deleted again to learn the storage's time.
pub(crate) const CLOCK: &str = "clock";

/// The sequence in the name of a manifest or request; other objects of the folder (countersignatures) have none.
pub(crate) fn sequence_of(key: &str) -> Option<u64> {
    let name = key.rsplit('/').next()?;
    if key.matches('/').count() == 2 { number(name) } else { None }
}

/// The folders that describe a group's frames: which exist, which are needed and where they are stored.
pub(crate) fn index_folders(group: GroupId) -> [String; 6] {
    [runs(group), contents(group), locations_of(group), losses(group), parts(group), CONDEMNED.to_owned()]
}

/// The folder of condemnations.
pub(crate) const CONDEMNED: &str = "condemned";

/// A signer's condemnations of a group.
pub(crate) fn condemned(signer: Signer, group: GroupId) -> String {
    match signer {
        Signer::Keeper(keeper) => format!("{CONDEMNED}/{keeper}/{group}"),
        Signer::Writer(writer) => format!("{CONDEMNED}/{writer}/{group}"),
        Signer::Root => format!("{CONDEMNED}/root/{group}"),
    }
}

pub(crate) fn condemnation(signer: Signer, group: GroupId, object: &Sha256Digest) -> String {
    format!("{}/{object}", condemned(signer, group))
}

pub(crate) fn losses(group: GroupId) -> String {
    format!("lost/{group}")
}

pub(crate) fn loss(group: GroupId, object: &Sha256Digest) -> String {
    format!("{}/{object}", losses(group))
}

/// Limits, in bytes, for objects that are read whole. A larger object was not written by this format.
pub(crate) mod cap {
    /// `lifeboat.json`.
    pub(crate) const MARKER: u64 = 4 << 10;
    /// A roster.
    pub(crate) const ROSTER: u64 = 16 << 20;
    /// A sealed key or a run's registration.
    pub(crate) const KEY: u64 = 64 << 10;
    /// A request to forget.
    pub(crate) const FORGET: u64 = 16 << 10;
    /// A manifest in its envelope.
    pub(crate) const MANIFEST: u64 = 4 << 20;
    /// A sealed part, contents or locations object, condemnation or loss.
    pub(crate) const INDEX: u64 = 24 << 20;
}
