//! The sealed keys that the roster asks for: without one of them someone who should can no longer open the
//! repository.

use crate::format::object_name::KeyFolder;
use crate::format::roster::Roster;
use crate::keys::Recipient;
use crate::maintenance::check::findings::{Damage, DamageKind, Findings, Mend};
use crate::maintenance::check::scope::Shard;
use crate::maintenance::check::survey::Survey;

/// A sealed key that must be there, and to whom.
pub(crate) struct Wanted {
    pub(crate) folder: KeyFolder,
    /// The recipient's text.
    pub(crate) recipient: String,
    pub(crate) holder: Holder,
}

/// Who opens a sealed key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    Recovery,
    Data,
    Keeper,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Recovery => "recovery recipient",
            Self::Data => "data recipient",
            Self::Keeper => "keeper",
        })
    }
}

impl Wanted {
    /// The recipient as object names have it, if it is of a kind that is known.
    pub(crate) fn recipient_id(&self) -> Option<String> {
        self.recipient.parse::<Recipient>().ok().map(|recipient| recipient.id())
    }

    /// What seals it again. What opens a group's keys is sealed with them, and its writers hold them.
    pub(crate) fn mend(&self) -> Mend {
        match self.holder {
            Holder::Recovery | Holder::Keeper => Mend::RepairByRoot,
            Holder::Data => Mend::RepairByWriter,
        }
    }

    /// The beginning of the names under which it may stand.
    pub(crate) fn prefix(&self, id: &str) -> String {
        format!("{}/{id}-", self.folder.name())
    }
}

/// Everything that the roster asks for.
pub(crate) fn wanted(roster: &Roster) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for recipient in &roster.recipients {
        let of = |folder| Wanted { folder, recipient: recipient.recipient.clone(), holder: Holder::Recovery };
        wanted.push(of(KeyFolder::Root));
        wanted.extend(roster.epochs.iter().map(|epoch| of(KeyFolder::Data(epoch.epoch))));
    }
    for group in &roster.groups {
        let folder = KeyFolder::Group(group.id);
        let of = |recipient: &str, holder| Wanted { folder, recipient: recipient.to_owned(), holder };
        wanted.extend(roster.epoch().map(|epoch| of(&epoch.recipient, Holder::Data)));
        let keepers = roster.keepers.iter().filter(|keeper| keeper.removed.is_none());
        wanted.extend(keepers.map(|keeper| of(&keeper.recipient, Holder::Keeper)));
    }
    wanted
}

/// Whether each of them is there whole.
pub(crate) fn check(roster: &Roster, survey: &Survey, shard: Shard, findings: &mut Findings) {
    for wanted in wanted(roster) {
        let Some(id) = wanted.recipient_id() else {
            findings.notes.push(format!(
                "the {} `{}` is of no kind that this version knows",
                wanted.holder, wanted.recipient
            ));
            continue;
        };
        if survey.has_key(wanted.folder, &id) {
            continue;
        }
        let prefix = wanted.prefix(&id);
        // The damaged object itself is told already.
        if findings.damage.beginning(&prefix).next().is_some() {
            continue;
        }
        let reason = format!("it is the {}'s, and the roster asks for it", wanted.holder);
        let (kind, mend) = (DamageKind::Missing, wanted.mend());
        let key = format!("{prefix}….age");
        findings.damage(shard, Damage { key, kind, reason, snapshots: Vec::new(), mend });
    }
}
