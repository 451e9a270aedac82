//! What is known about damage in the repository.

use std::collections::BTreeSet;

use lifeboat_report::backup::DoctorState;
use lifeboat_shell::{Failure, Ui};
use lifeboat_vault::Session;
use lifeboat_vault::check::{CheckOptions, Findings, KnownDamage, Maintenance, ReadData, Shard};

/// How many snapshots are named at most.
const NAMED: usize = 5;

/// Looks at what earlier repairs marked as lost. Reads the index, to see whether other frames replace the lost ones,
/// only if a snapshot needs some of them.
pub(super) async fn look(session: &Session, ui: &Ui) -> (DoctorState, String) {
    let known = match KnownDamage::read(session).await {
        Ok(known) => known,
        Err(error) => return super::failed(&Failure::from(error)),
    };
    if known.marked.is_empty() {
        return unmarked(&known);
    }
    let maintenance = Maintenance::new(session.clone(), ui.context());
    let options = CheckOptions { read_data: ReadData::Sizes, shard: Shard::WHOLE };
    match maintenance.check(options).await {
        Ok(findings) => marked(&findings),
        Err(error) => super::failed(&Failure::from(error)),
    }
}

fn unmarked(known: &KnownDamage) -> (DoctorState, String) {
    match known.unusable.first() {
        Some(error) => {
            let detail = format!("{error}; see `lifeboat-backup check`, then `lifeboat-backup repair`");
            (DoctorState::Wrong, detail)
        }
        None => (DoctorState::Ok, "nothing is known to be lost; `lifeboat-backup check` looks".to_owned()),
    }
}

fn marked(findings: &Findings) -> (DoctorState, String) {
    let affected: BTreeSet<&str> =
        findings.damage.iter().flat_map(|damage| &damage.snapshots).map(|id| short(id)).collect();
    match (affected.len(), findings.unread.first()) {
        (0, Some(unread)) => (DoctorState::Unknown, format!("`{}`: {}", unread.key, unread.reason)),
        (0, None) => (DoctorState::Ok, "what was lost has been stored again".to_owned()),
        (count, _) => {
            let more = if count > NAMED { ", …" } else { "" };
            let names = affected.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
            let noun = if count == 1 { "snapshot cannot" } else { "snapshots cannot" };
            let detail = format!(
                "{count} {noun} be restored whole: {names}{more}; `lifeboat-backup check` says why, and `lifeboat-backup \
                 repair` what to do"
            );
            (DoctorState::Wrong, detail)
        }
    }
}

/// The first digits of a snapshot's id. A text that is not an id is returned as it is.
fn short(id: &str) -> &str {
    id.get(..12).filter(|_| id.len() == 64).unwrap_or(id)
}
