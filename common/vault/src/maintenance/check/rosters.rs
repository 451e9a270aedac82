//! Reports damaged or missing rosters: the newest one suffices for every operation, and the others are evidence.

use crate::maintenance::check::findings::{Damage, DamageKind, Findings, Remedy};
use crate::maintenance::check::scope::Shard;
use crate::repository::rosters::Holes;

/// Reports every hole in the chain of rosters. Does not replace the damage already reported for an object.
pub(crate) fn report(holes: &Holes, shard: Shard, findings: &mut Findings) {
    for hole in holes.iter() {
        let (kind, reason) = match &hole.reason {
            Some(reason) => (DamageKind::Altered, reason.clone()),
            None => (DamageKind::Missing, "it does not exist, and later rosters do".to_owned()),
        };
        let key = hole.key.clone();
        findings.damage(shard, Damage { key, kind, reason, snapshots: Vec::new(), remedy: Remedy::No });
    }
}
