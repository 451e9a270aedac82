//! Decides what a repair writes and removes. Nothing here reads or writes.

use crate::format::object_name::Name;
use crate::ids::Signer;
use crate::maintenance::check::{Damage, DamageKind, Remedy};

/// Why a damaged pack may be removed, or why it stays. It goes only if everything in it that can still be of use was
/// moved: `whole` frames, of those that its trailer lists. Without its trailer, it may contain whole frames that no
/// object locates, so it stays while needed frames are `homeless`.
pub(super) fn damaged_pack(listed: Option<u64>, whole: u64, homeless: u64) -> Result<String, String> {
    match listed {
        Some(listed) => Ok(format!(
            "it is damaged: {whole} of its {listed} frames were whole and are in another pack now, {} are lost",
            listed.saturating_sub(whole)
        )),
        None if homeless == 0 => Ok(format!(
            "it is damaged: the {whole} frames in it that are known and whole are in another pack now"
        )),
        None => Err(format!(
            "kept, though it is damaged: its trailer cannot be read, and some of the {homeless} needed frames that \
             nothing locates may lie in it"
        )),
    }
}

/// Whether a damaged object may be removed, since nobody needs it or what was whole in it is stored elsewhere by now.
pub(super) fn is_worthless(name: &Name, damage: &Damage) -> bool {
    if damage.kind != DamageKind::Altered {
        return false;
    }
    match name {
        Name::RunEnd { .. }
        | Name::Contents { .. }
        | Name::Locations { .. }
        | Name::Loss { .. }
        | Name::Condemnation { .. }
        | Name::Countersignature { .. } => true,
        // One that a snapshot names is kept: the snapshot may be restored from a copy of the storage.
        Name::Part { .. } => damage.remedy == Remedy::RepairByKeeper,
        // Repaired by who knows more of them, or by nobody.
        Name::Marker
        | Name::Roster(_)
        | Name::Key { .. }
        | Name::Run { .. }
        | Name::Pack { .. }
        | Name::Snapshot { .. }
        | Name::Forget { .. } => false,
    }
}

/// Whether a damaged request to forget may be removed. It explains why its snapshot is gone: if the snapshot is there,
/// the request can be made again, and if not, only someone who gives the snapshot up may remove it.
pub(super) fn damaged_request_goes(is_snapshot_there: bool, forget_damaged: bool) -> bool {
    is_snapshot_there || forget_damaged
}

/// The request to forget a snapshot, as a repair finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FoundRequest {
    /// There is none, or this repair has just removed it.
    Absent,
    /// It applies to the snapshot.
    Valid,
    /// It has no effect.
    Void,
}

/// What happens to a live snapshot and the request to forget it, when damaged snapshots are given up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct GivingUp {
    /// The request is removed.
    pub(super) removes_request: bool,
    /// A request is written.
    pub(super) gives_up: bool,
}

/// Gives a snapshot up if nothing can restore it and nobody has asked to forget it.
pub(super) fn give_up(is_lost: bool, request: FoundRequest) -> GivingUp {
    GivingUp {
        removes_request: is_lost && request == FoundRequest::Void,
        gives_up: is_lost && request != FoundRequest::Valid,
    }
}

/// Whether a signer may list the chunks of a run's frames from the trailers of packs, given the signer who registered
/// the run, if that is known. Runs believe what a writer signs, and nobody signed the trailers of others' packs.
pub(super) fn may_list_chunks(signer: Signer, registrant: Option<Signer>) -> bool {
    match signer {
        Signer::Writer(_) => registrant.is_none_or(|registrant| registrant == signer),
        Signer::Keeper(_) | Signer::Root => true,
    }
}

#[cfg(test)]
mod tests {
    use lifeboat_core::Sha256Digest;

    use super::*;
    use crate::format::layout;
    use crate::ids::{GroupId, KeeperId, RunId, WriterId};

    #[test]
    fn a_damaged_pack_goes_when_its_trailer_tells_what_was_in_it_or_nothing_is_missing() {
        let listed = |whole, listed, lost| {
            Ok(format!(
                "it is damaged: {whole} of its {listed} frames were whole and are in another pack now, {lost} are lost"
            ))
        };
        let unlisted =
            Ok("it is damaged: the 4 frames in it that are known and whole are in another pack now"
                .to_owned());
        let kept = Err(
            "kept, though it is damaged: its trailer cannot be read, and some of the 1 needed frames that \
                        nothing locates may lie in it"
                .to_owned(),
        );
        let table = [
            (Some(4), 4, 0, listed(4, 4, 0)),
            (Some(4), 1, 0, listed(1, 4, 3)),
            (Some(4), 0, 0, listed(0, 4, 4)),
            // What its trailer does not list was never in it.
            (Some(4), 1, 9, listed(1, 4, 3)),
            (None, 4, 0, unlisted),
            (None, 4, 1, kept),
        ];
        for (listed, whole, homeless, expected) in table {
            assert_eq!(
                damaged_pack(listed, whole, homeless),
                expected,
                "{whole} of {listed:?}, {homeless} homeless"
            );
        }
    }

    #[test]
    fn a_damaged_object_is_worthless_if_others_say_the_same_or_nobody_names_it() {
        let (group, run) = (GroupId::from_bytes([1; 16]), RunId::from_bytes([2; 16]));
        let (writer, hash) = (WriterId::from_bytes([3; 16]), Sha256Digest::of(b"an object"));
        let signed = |folder: String| format!("{folder}/{hash}");
        let part = layout::part(group, &hash);
        let table = [
            (layout::run_end(group, run), Remedy::RepairByKeeper, true),
            (signed(layout::contents(group)), Remedy::RepairByKeeper, true),
            (signed(layout::locations(group, run)), Remedy::RepairByKeeper, true),
            (signed(layout::losses(group)), Remedy::RepairByKeeper, true),
            (signed(layout::condemned(Signer::Writer(writer), group)), Remedy::RepairByKeeper, true),
            (part.clone(), Remedy::RepairByKeeper, true),
            (part, Remedy::GiveUp, false),
            (layout::MARKER.to_owned(), Remedy::Repair, false),
            (layout::roster(1), Remedy::No, false),
            (layout::run(group, run), Remedy::RepairByKeeper, false),
            (layout::pack(group, &hash), Remedy::RepairByKeeper, false),
            (layout::snapshot(writer, 1), Remedy::GiveUp, false),
            (layout::forget(writer, 1), Remedy::RepairByKeeper, false),
        ];
        for (key, remedy, expected) in table {
            let name = Name::parse(&key).unwrap_or_else(|| panic!("`{key}` is a name of the format"));
            for kind in [
                DamageKind::Altered,
                DamageKind::Missing,
                DamageKind::Size,
                DamageKind::Index,
                DamageKind::FalseFrame,
                DamageKind::History,
            ] {
                let (reason, snapshots) = (String::new(), Vec::new());
                let damage = Damage { key: key.clone(), kind, reason, snapshots, remedy };
                let expected = expected && kind == DamageKind::Altered;
                assert_eq!(is_worthless(&name, &damage), expected, "`{key}`, {kind}, {remedy}");
            }
        }
    }

    #[test]
    fn a_damaged_request_stays_while_it_alone_explains_a_gap() {
        assert!(damaged_request_goes(true, false));
        assert!(damaged_request_goes(true, true));
        assert!(damaged_request_goes(false, true));
        assert!(!damaged_request_goes(false, false));
    }

    #[test]
    fn a_snapshot_is_given_up_once_and_only_if_it_is_lost() {
        use FoundRequest::{Absent, Valid, Void};
        let nothing = GivingUp::default();
        let gives_up = GivingUp { gives_up: true, ..nothing };
        let table = [
            (false, Absent, nothing),
            (false, Valid, nothing),
            (false, Void, nothing),
            (true, Absent, gives_up),
            (true, Valid, nothing),
            (true, Void, GivingUp { removes_request: true, gives_up: true }),
        ];
        for (is_lost, request, expected) in table {
            assert_eq!(give_up(is_lost, request), expected, "lost: {is_lost}, {request:?}");
        }
    }

    #[test]
    fn a_writer_lists_the_chunks_of_its_own_runs_only() {
        let writer = Signer::Writer(WriterId::from_bytes([1; 16]));
        let other = Signer::Writer(WriterId::from_bytes([2; 16]));
        let keeper = Signer::Keeper(KeeperId::from_bytes([3; 16]));
        let table = [
            (writer, None, true),
            (writer, Some(writer), true),
            (writer, Some(other), false),
            (writer, Some(keeper), false),
            (keeper, None, true),
            (keeper, Some(other), true),
            (Signer::Root, Some(other), true),
        ];
        for (signer, registrant, expected) in table {
            assert_eq!(may_list_chunks(signer, registrant), expected, "{signer}, {registrant:?}");
        }
    }
}
