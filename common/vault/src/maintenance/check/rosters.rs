//! Reports damaged or missing rosters: the newest one suffices for every operation, and the others are evidence.

use crate::error::ObjectError;
use crate::format::layout;
use crate::maintenance::check::findings::{Damage, DamageKind, Findings, Remedy};
use crate::maintenance::check::scope::Shard;
use crate::repository::rosters::{Hole, Holes};

/// Reports every hole in the chain of rosters. Does not replace the damage already reported for an object.
pub(crate) fn report(holes: &Holes, shard: Shard, findings: &mut Findings) {
    for Hole { number, error } in holes.iter() {
        let (kind, reason) = match error {
            ObjectError::Damaged { reason, .. } => (DamageKind::Altered, reason.clone()),
            // The survey lists it among what it could not read.
            ObjectError::OutOfReach { .. } => continue,
            ObjectError::Missing { .. } | ObjectError::LostFrame { .. } => {
                (DamageKind::Missing, "it does not exist, and later rosters do".to_owned())
            }
        };
        let key = layout::roster(*number);
        findings.damage(shard, Damage { key, kind, reason, snapshots: Vec::new(), remedy: Remedy::No });
    }
}
