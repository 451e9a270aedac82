//! What writers must not refer to: frames that a keeper has condemned, and frames that a repair found lost.
//!
//! A condemnation is signed by a keeper (or the root) and sealed under the group's index key. What it names is deleted
//! at the earliest a day after the lease of any run that may not have seen it, and only if it is still unneeded then.

use jiff::SignedDuration;
use lifeboat_core::Sha256Digest;
use minicbor::{Decode, Encode};

use crate::format::frame_set::RunFrames;
use crate::format::layout::{self, cap};
use crate::format::seal::Purpose;
use crate::format::signed::Body;
use crate::ids::{GroupId, Signer, at_most};

/// A day, the unit of leases, graces and floors.
pub(crate) const DAY: SignedDuration = SignedDuration::from_hours(24);
/// How long a run may take, by the storage's clock, from its registration to its manifest.
pub const LEASE_DAYS: i64 = 7;
pub(crate) const LEASE: SignedDuration = SignedDuration::from_hours(24 * LEASE_DAYS);
/// How long a condemnation exists before what it names is deleted, unless a prune is configured otherwise.
pub const GRACE_DAYS: i64 = LEASE_DAYS + 1;
pub(crate) const GRACE: SignedDuration = SignedDuration::from_hours(24 * GRACE_DAYS);

/// The most objects that one condemnation names.
pub(crate) const MOST_OBJECTS: usize = 1 << 17;

/// The most runs in the frame set of a condemnation or a loss.
const MOST_RUNS: usize = 1 << 19;

/// The body of a condemnation.
#[derive(Debug, Clone, Default, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Condemnation {
    /// Frames that no new snapshot may refer to.
    #[n(0)]
    #[cbor(decode_with = "at_most::<MOST_RUNS, Ctx, RunFrames>")]
    pub(crate) frames: Vec<RunFrames>,
    /// The names of the objects to delete.
    #[n(1)]
    #[cbor(decode_with = "at_most::<MOST_OBJECTS, Ctx, String>")]
    pub(crate) objects: Vec<String>,
    /// Whether runs only avoid what it names: something needed it when this was signed, so no prune deletes by it. Absent
    /// means that it does not.
    #[n(2)]
    pub(crate) avoid_only: Option<bool>,
}

impl Condemnation {
    /// Whether a prune may delete by it what it names.
    pub(crate) fn deletes(&self) -> bool {
        self.avoid_only != Some(true)
    }
}

/// The body of a loss: what a repair found damaged or missing.
#[derive(Debug, Clone, Default, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Loss {
    /// Frames that are not whole anywhere.
    #[n(0)]
    #[cbor(decode_with = "at_most::<MOST_RUNS, Ctx, RunFrames>")]
    pub(crate) frames: Vec<RunFrames>,
}

/// Checks that an object of this size has room for the runs that it names. The ids of runs are random bytes, which do
/// not compress: an object with more of them would take far more memory than it has bytes.
fn has_room_for(frames: &[RunFrames], stored: usize) -> Result<(), String> {
    if frames.len() <= 64 + stored / 16 {
        return Ok(());
    }
    Err("it names more runs than its size has room for".to_owned())
}

impl Body for Condemnation {
    const PURPOSE: Purpose = Purpose::Condemnation;
    const CAP: u64 = cap::INDEX;

    fn name(&self, group: GroupId, signer: Signer, hash: &Sha256Digest) -> String {
        layout::condemnation(signer, group, hash)
    }

    fn check_stored(&self, stored: usize) -> Result<(), String> {
        has_room_for(&self.frames, stored)
    }
}

impl Body for Loss {
    const PURPOSE: Purpose = Purpose::Loss;
    const CAP: u64 = cap::INDEX;

    fn name(&self, group: GroupId, _: Signer, hash: &Sha256Digest) -> String {
        layout::loss(group, hash)
    }

    fn check_stored(&self, stored: usize) -> Result<(), String> {
        has_room_for(&self.frames, stored)
    }
}
