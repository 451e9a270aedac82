//! Rosters that are damaged or missing: the newest one is enough for all that is done, and the others are evidence.

use crate::maintenance::check::findings::{Damage, DamageKind, Findings, Mend};
use crate::maintenance::check::scope::Shard;
use crate::repository::rosters::Holes;

/// Reports every hole in the chain of rosters. What is said of an object already stays as it is.
pub(crate) fn report(holes: &Holes, shard: Shard, findings: &mut Findings) {
    for hole in holes.iter() {
        let (kind, reason) = match &hole.reason {
            Some(reason) => (DamageKind::Altered, reason.clone()),
            None => (DamageKind::Missing, "it is not there, and later rosters are".to_owned()),
        };
        let key = hole.key.clone();
        findings.damage(shard, Damage { key, kind, reason, snapshots: Vec::new(), mend: Mend::No });
    }
}
