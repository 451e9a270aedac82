//! The sealed keys that the roster requires. If one is missing, someone who should be able to open the repository no
//! longer can.

use crate::format::object_name::KeyFolder;
use crate::format::roster::Roster;
use crate::keys::Recipient;
use crate::maintenance::check::findings::{Damage, DamageKind, Findings, Remedy};
use crate::maintenance::check::scope::Shard;
use crate::maintenance::check::survey::Survey;

/// A sealed key that must exist, and its recipient.
pub(crate) struct Wanted {
    pub(crate) folder: KeyFolder,
    /// The recipient's text.
    pub(crate) recipient: String,
    pub(crate) holder: Holder,
}

/// The kinds of holders of a sealed key.
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
    /// The recipient's id in object names, if its kind is known.
    pub(crate) fn recipient_id(&self) -> Option<String> {
        self.recipient.parse::<Recipient>().ok().map(|recipient| recipient.id())
    }

    /// What seals it again. Keys that are sealed to a data recipient are a group's own, which the group's writers have.
    pub(crate) fn remedy(&self) -> Remedy {
        match self.holder {
            Holder::Recovery | Holder::Keeper => Remedy::RepairByRoot,
            Holder::Data => Remedy::RepairByWriter,
        }
    }

    /// The prefix of its possible names.
    pub(crate) fn prefix(&self, id: &str) -> String {
        format!("{}/{id}-", self.folder.name())
    }
}

/// Everything that the roster requires.
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

/// Checks that each of them exists and is whole.
pub(crate) fn check(roster: &Roster, survey: &Survey, shard: Shard, findings: &mut Findings) {
    for wanted in wanted(roster) {
        let Some(id) = wanted.recipient_id() else {
            findings.notes.push(format!(
                "the {} `{}` is of a kind that this version does not support",
                wanted.holder, wanted.recipient
            ));
            continue;
        };
        if survey.has_key(wanted.folder, &id) {
            continue;
        }
        let prefix = wanted.prefix(&id);
        // The damaged object itself is already reported.
        if findings.damage.beginning(&prefix).next().is_some() {
            continue;
        }
        let reason = format!("the roster requires it for the {}", wanted.holder);
        let (kind, remedy) = (DamageKind::Missing, wanted.remedy());
        let key = format!("{prefix}….age");
        findings.damage(shard, Damage { key, kind, reason, snapshots: Vec::new(), remedy });
    }
}
