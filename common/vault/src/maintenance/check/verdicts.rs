//! Decides what a check says about relations between objects. Nothing here reads: [`relations`](super::relations)
//! gathers the facts, and hands them over.

use crate::error::{ObjectError, VaultError};
use crate::format::layout;
use crate::ids::{FrameName, RunId, WriterId};
use crate::maintenance::check::findings::{Damage, DamageKind, Remedy};
use crate::maintenance::check::packs::PackReading;
use crate::snapshots::history::{Problem, Standing};

/// How many of the snapshots that are missing together are named.
const MOST_NAMED: usize = 100;

/// What a check says about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It costs nobody anything.
    Sound,
    /// It is worth a note, which says this.
    Note(String),
    /// It is damaged, for this reason.
    Damaged(DamageKind, String, Remedy),
}

/// What is known of a frame besides what its pack shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about a frame")]
pub(crate) struct FrameFacts {
    /// A live snapshot needs it.
    pub(crate) is_needed: bool,
    /// A contents object lists it, so that a backup may refer to it.
    pub(crate) is_listed: bool,
    /// A repair marked it as lost, so that no backup refers to it.
    pub(crate) is_marked: bool,
    /// A live snapshot needs it, no pack has it whole, and its chunks are in no other frame.
    pub(crate) is_lost: bool,
}

/// A pack that was read whole.
pub(super) fn pack_read(
    reading: &PackReading,
    facts: impl Fn(FrameName) -> FrameFacts,
    registrant: impl Fn(RunId) -> Option<WriterId>,
) -> Verdict {
    let frames = || {
        let mut all = reading.faulty();
        let Some(first) = all.next() else { return String::new() };
        let FrameName { run, ordinal } = first.name;
        let by = registrant(run).map_or_else(String::new, |by| format!(", which writer {by} registered"));
        let said = format!("frame {ordinal} of run {run}{by}: {}", first.reason);
        match all.count() {
            0 => said,
            more => format!("{said}; and {more} more"),
        }
    };
    let is_lost = |name| facts(name).is_lost;
    // A false frame that is marked and that no affected snapshot needs costs nothing: new snapshots do not refer to it.
    let can_cost = |name| {
        let facts = facts(name);
        (!facts.is_marked || facts.is_lost) && (facts.is_needed || facts.is_listed)
    };
    // Index entries for frames that nobody needs cost nothing either.
    let matters = reading.bad.iter().chain(&reading.false_frames).any(|faulty| can_cost(faulty.name))
        || reading.index_faults.iter().any(|faulty| is_lost(faulty.name));
    let costs = reading.faulty().any(|faulty| is_lost(faulty.name));
    let remedy = |otherwise| if costs { Remedy::NextBackup } else { otherwise };
    match &reading.altered {
        Some(reason) => {
            let frames = match reading.faulty().next() {
                None => "all its frames are whole".to_owned(),
                Some(_) => frames(),
            };
            Verdict::Damaged(
                DamageKind::Altered,
                format!("{reason}; {frames}"),
                remedy(Remedy::RepairByKeeper),
            )
        }
        None if !matters => Verdict::Note(format!("is damaged, and nothing refers to it: {}", frames())),
        None => {
            let kind = match reading {
                PackReading { false_frames, .. } if !false_frames.is_empty() => DamageKind::FalseFrame,
                PackReading { bad, .. } if !bad.is_empty() => DamageKind::Altered,
                _ => DamageKind::Index,
            };
            Verdict::Damaged(kind, frames(), remedy(Remedy::Repair))
        }
    }
}

/// A pack that the index names, given its size if it exists, the sizes that the index states, how many of its frames
/// are lost, and how many are needed and in no pack whole.
pub(super) fn located_pack(size: Option<u64>, stated: &[u64], lost: u64, not_whole: u64) -> Verdict {
    match (size, stated) {
        (_, []) => Verdict::Sound,
        (Some(size), stated) if stated.contains(&size) => Verdict::Sound,
        (Some(size), [first, ..]) => {
            let remedy = if lost > 0 { Remedy::NextBackup } else { Remedy::RepairByKeeper };
            let reason = format!("it has {size} bytes, and the index states {first}");
            Verdict::Damaged(DamageKind::Size, reason, remedy)
        }
        (None, _) if lost > 0 => {
            let reason = format!("{lost} of its frames are needed and stored nowhere else");
            Verdict::Damaged(DamageKind::Missing, reason, Remedy::NextBackup)
        }
        (None, _) if not_whole > 0 => Verdict::Note("is gone, and its contents are replaced".to_owned()),
        (None, _) => Verdict::Sound,
    }
}

/// Frames of a run of which no whole locations object has the places, and whether trailers of packs list all of them.
pub(super) fn unplaced_frames(frames: u64, are_all_in_packs: bool) -> Verdict {
    let said = format!("no locations object has the places of {frames} of the run's frames");
    let (so, remedy) = if are_all_in_packs {
        ("though they exist", Remedy::Repair)
    } else {
        ("and not all are in a pack", Remedy::NextBackup)
    };
    Verdict::Damaged(DamageKind::Index, format!("{said}, {so}"), remedy)
}

/// A run that snapshots need and whose registration does not exist, and whether a pack's header has its key.
pub(super) fn unregistered_run(is_in_a_header: bool) -> Verdict {
    let (reason, remedy) = if is_in_a_header {
        ("the run is not registered; its key is in the headers of its packs", Remedy::Repair)
    } else {
        ("the run is not registered, and no pack's header contains its key", Remedy::No)
    };
    Verdict::Damaged(DamageKind::Missing, reason.to_owned(), remedy)
}

/// Whether a run's key is whole for some of the snapshots that commit to one, and not for others.
pub(super) fn is_disputed(commitments: usize, unopened: usize) -> bool {
    0 < unopened && unopened < commitments
}

/// The key of a registered run, given how many keys snapshots commit to, and why those that cannot be opened cannot.
pub(super) fn run_key<E: std::fmt::Display>(commitments: usize, unopened: &[E]) -> Verdict {
    let reason = match unopened {
        [] => return Verdict::Sound,
        [first, ..] if !is_disputed(commitments, unopened.len()) => first.to_string(),
        _ => "snapshots commit to another key of the run than the one that is registered: a contents index of the \
              group was false when they were made"
            .to_owned(),
    };
    Verdict::Damaged(DamageKind::Altered, reason, Remedy::No)
}

/// Something that the history lacks or contradicts.
pub(super) fn problem_of_history(problem: &Problem) -> Damage {
    let (key, snapshots, kind) = match &problem.error {
        VaultError::Withheld { writer, first, last } => {
            let labels = (*first..=*last).take(MOST_NAMED).map(|sequence| format!("{writer}/{sequence}"));
            (layout::snapshot(*writer, *first), labels.collect(), DamageKind::Missing)
        }
        VaultError::Object(ObjectError::Damaged { key, .. } | ObjectError::Missing { key }) => {
            (key.clone(), Vec::new(), DamageKind::History)
        }
        VaultError::Claimed { writer, first, .. } => {
            (layout::snapshot(*writer, *first), Vec::new(), DamageKind::History)
        }
        VaultError::Contradicted { writer, sequence, .. } => {
            (layout::snapshot(*writer, *sequence), Vec::new(), DamageKind::History)
        }
        VaultError::Disproved { claimant, .. } => {
            (layout::snapshots_of(*claimant), Vec::new(), DamageKind::History)
        }
        _ => (layout::SNAPSHOTS.to_owned(), Vec::new(), DamageKind::History),
    };
    let remedy = match &problem.error {
        VaultError::Claimed { .. } if problem.missing().is_none() => Remedy::EndOfWord,
        VaultError::Contradicted { .. } | VaultError::Disproved { .. } => Remedy::EndOfWord,
        _ => Remedy::GiveUp,
    };
    Damage { key, kind, reason: problem.error.to_string(), snapshots, remedy }
}

/// What a check says about a snapshot's manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ManifestVerdict {
    /// It is whole, or need not be.
    Sound,
    /// It came after its writer was removed. Damage of it is not reported.
    DoesNotCount,
    /// It is damaged and was given up, which costs nothing.
    GivenUp,
    /// It is damaged, for this reason.
    Damaged(String),
}

/// The manifest of a snapshot, and why it cannot be read, if it cannot.
pub(super) fn manifest(standing: Standing, error: Option<&VaultError>) -> ManifestVerdict {
    match (standing, error) {
        (Standing::Revoked, _) => ManifestVerdict::DoesNotCount,
        (Standing::Forgotten, Some(_)) => ManifestVerdict::GivenUp,
        (Standing::Kept | Standing::Refused, Some(error)) => ManifestVerdict::Damaged(error.to_string()),
        (_, None) => ManifestVerdict::Sound,
    }
}

/// Notes on what runs left that did not finish: the sizes of packs that no index object names, and how many registered
/// runs have no frame in any pack.
pub(super) fn leftovers(unnamed: &[u64], empty: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if !unnamed.is_empty() {
        let (packs, bytes) = (unnamed.len(), unnamed.iter().sum::<u64>());
        notes.push(format!(
            "{packs} packs of {bytes} bytes are in no index object: a run that did not finish left them"
        ));
    }
    if empty > 0 {
        notes.push(format!("{empty} runs stored nothing: they found nothing new, or did not finish"));
    }
    notes
}

#[cfg(test)]
mod tests;
