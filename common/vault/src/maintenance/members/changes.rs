//! Decides what a change of the members makes of the roster. Nothing here reads or writes.

use lifeboat_core::Sha256Digest;

use super::Removed;
use crate::error::VaultError;
use crate::format::member_name::MemberName;
use crate::format::roster::{Epoch, Head, RemovedKeeper, Revocation, Roster, RosterRecipient};
use crate::ids::{KeeperId, WriterId};
use crate::keys::Recipient;

/// How many characters of an id name a member at least.
const SHORTEST_PREFIX: usize = 4;

/// The members that were not removed: the id, the name and what a removal would remove.
fn members(roster: &Roster) -> impl Iterator<Item = (String, Option<&MemberName>, Removed)> {
    let recipients = roster.recipients.iter();
    let recipients = recipients.map(|r| (r.id.clone(), r.name.as_ref(), Removed::Recipient(r.id.clone())));
    let writers = roster.writers.iter().filter(|writer| writer.revoked.is_none());
    let writers = writers.map(|w| (w.id.to_string(), w.name.as_ref(), Removed::Writer(w.id, None)));
    let keepers = roster.keepers.iter().filter(|keeper| keeper.removed.is_none());
    let keepers = keepers.map(|k| (k.id.to_string(), k.name.as_ref(), Removed::Keeper(k.id)));
    recipients.chain(writers).chain(keepers)
}

/// Finds the member with this id, prefix of an id, or name. Members that were removed are not found.
pub(super) fn find_member(roster: &Roster, wanted: &str) -> Result<Removed, VaultError> {
    let is_meant = |id: &str, name: Option<&MemberName>| {
        let has_name = name.is_some_and(|name| name.as_str() == wanted);
        has_name || (wanted.len() >= SHORTEST_PREFIX && id.starts_with(wanted))
    };
    let mut found: Vec<_> = members(roster).filter(|(id, name, _)| is_meant(id, *name)).collect();
    match found.len() {
        1 => Ok(found.swap_remove(0).2),
        0 => Err(VaultError::NoSuchMember { wanted: wanted.to_owned(), what: "recipient, writer or keeper" }),
        _ => Err(VaultError::AmbiguousMember {
            wanted: wanted.to_owned(),
            candidates: found.into_iter().map(|(id, _, _)| id).collect(),
        }),
    }
}

/// Refuses a name that somebody on the roster has who was not removed.
pub(super) fn see_that_it_is_free(roster: &Roster, name: Option<&MemberName>) -> Result<(), VaultError> {
    let Some(name) = name else { return Ok(()) };
    match members(roster).find(|(_, other, _)| *other == Some(name)) {
        Some((id, _, _)) => Err(VaultError::MemberNameTaken { name: name.to_string(), id }),
        None => Ok(()),
    }
}

/// The roster with one more recipient.
pub(super) fn with_recipient(
    mut roster: Roster,
    recipient: &Recipient,
    name: Option<MemberName>,
) -> Result<Roster, VaultError> {
    let (id, text) = (recipient.id(), recipient.as_str().to_owned());
    if roster.recipients.iter().any(|listed| listed.id == id) {
        return Err(VaultError::BadRecipient { text, reason: "it is on the roster already".to_owned() });
    }
    see_that_it_is_free(&roster, name.as_ref())?;
    roster.recipients.push(RosterRecipient { id, recipient: text, name });
    Ok(roster)
}

/// The roster without a recipient. Two must be left, or one if that `is_meant`: with the last one, everything is lost.
pub(super) fn without_recipient(mut roster: Roster, id: &str, is_meant: bool) -> Result<Roster, VaultError> {
    roster.recipients.retain(|recipient| recipient.id != id);
    match roster.recipients.len() {
        left @ 0 => Err(VaultError::LastRecipients { left }),
        left @ 1 if !is_meant => Err(VaultError::LastRecipients { left }),
        _ => Ok(roster),
    }
}

/// The roster with a data identity for new data.
pub(super) fn with_epoch(mut roster: Roster, recipient: &Recipient) -> (u32, Roster) {
    let number = roster.epoch().map_or(0, |epoch| epoch.epoch + 1);
    roster.epochs.push(Epoch { epoch: number, recipient: recipient.as_str().to_owned() });
    (number, roster)
}

/// The roster on which a writer is trusted up to this snapshot.
pub(super) fn without_writer(
    mut roster: Roster,
    id: WriterId,
    revocation: Revocation,
) -> Result<Roster, VaultError> {
    let listed = roster.writers.iter_mut().find(|writer| writer.id == id);
    listed.ok_or(VaultError::Internal("the writer was found on the roster"))?.revoked = Some(revocation);
    Ok(roster)
}

/// The roster on which a keeper is not trusted any more, except for these contents objects.
pub(super) fn without_keeper(
    mut roster: Roster,
    id: KeeperId,
    contents: Vec<Sha256Digest>,
) -> Result<Roster, VaultError> {
    let listed = roster.keepers.iter_mut().find(|keeper| keeper.id == id);
    listed.ok_or(VaultError::Internal("the keeper was found on the roster"))?.removed =
        Some(RemovedKeeper { contents });
    Ok(roster)
}

/// The last snapshot that counts of a writer that is being removed: its newest one, or the one that the caller names.
/// `snapshots` are those that can be read, in their order, and `doubt` is a problem of the writer's history. Snapshots that
/// are withheld today would be cut off permanently, so with a doubt the caller must name one.
pub(super) fn revocation(
    writer: WriterId,
    snapshots: &[Head],
    doubt: Option<&VaultError>,
    last: Option<u64>,
) -> Result<Revocation, VaultError> {
    match (last, doubt) {
        (Some(last), _) => {
            let what = "sequence of this writer";
            let head = snapshots.iter().find(|head| head.sequence == last);
            let head = head.ok_or_else(|| VaultError::NoSuchMember { wanted: last.to_string(), what })?;
            Ok(Revocation { last: Some(*head) })
        }
        (None, Some(doubt)) => Err(VaultError::Doubtful { writer, first: doubt.to_string() }),
        (None, None) => Ok(Revocation { last: snapshots.last().copied() }),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use lifeboat_core::random::OsEntropy;

    use super::*;
    use crate::error::ObjectError;
    use crate::format::floor::Floor;
    use crate::format::roster::{Keeper, Writer};
    use crate::ids::{GroupId, RepositoryId};
    use crate::keys;

    const WRITER: WriterId = WriterId::from_bytes([0xaa; 16]);
    const KEEPER: KeeperId = KeeperId::from_bytes([0xbb; 16]);

    fn writer(id: WriterId) -> Writer {
        Writer { id, group: GroupId::from_bytes([1; 16]), key: String::new(), name: None, revoked: None }
    }

    fn recipient(id: &str) -> RosterRecipient {
        RosterRecipient { id: id.to_owned(), recipient: String::new(), name: None }
    }

    fn roster(recipients: &[&str]) -> Roster {
        let keeper =
            Keeper { id: KEEPER, key: String::new(), recipient: String::new(), name: None, removed: None };
        Roster {
            format: crate::format::FORMAT_VERSION,
            repository: RepositoryId::from_bytes([9; 32]),
            number: 3,
            previous: None,
            time: Timestamp::UNIX_EPOCH,
            root_key: String::new(),
            recipients: recipients.iter().map(|id| recipient(id)).collect(),
            epochs: Vec::new(),
            groups: Vec::new(),
            writers: vec![writer(WRITER), writer(WriterId::from_bytes([0xac; 16]))],
            keepers: vec![keeper],
            floor: Floor::default(),
            required: Vec::new(),
        }
    }

    fn error<T: std::fmt::Debug>(result: Result<T, VaultError>) -> VaultError {
        result.expect_err("it is refused")
    }

    fn ids(roster: &Roster) -> Vec<&str> {
        roster.recipients.iter().map(|recipient| recipient.id.as_str()).collect()
    }

    #[test]
    fn a_member_is_found_by_four_characters_of_its_id_that_no_other_has() {
        let roster = roster(&["abcdef01", "abcdef02", "aaaaffff"]);
        let found = |wanted: &str| find_member(&roster, wanted);
        assert_eq!(found("abcdef01").unwrap(), Removed::Recipient("abcdef01".to_owned()));
        assert_eq!(found("acac").unwrap(), Removed::Writer(WriterId::from_bytes([0xac; 16]), None));
        assert_eq!(found(&WRITER.to_string()).unwrap(), Removed::Writer(WRITER, None));
        assert_eq!(found("bbbb").unwrap(), Removed::Keeper(KEEPER));
        for wanted in ["", "bbb", "cccc", "abcdef03", "abcdef011"] {
            let error = error(found(wanted));
            assert!(matches!(&error, VaultError::NoSuchMember { wanted: of, .. } if of == wanted), "{error}");
        }
        // A writer and a recipient, and two recipients.
        for (wanted, count) in [("aaaa", 2), ("abcd", 2), ("abcdef0", 2)] {
            let error = error(found(wanted));
            let VaultError::AmbiguousMember { candidates, .. } = &error else { panic!("{wanted}: {error}") };
            assert_eq!(candidates.len(), count, "{wanted}: {candidates:?}");
        }
    }

    /// One recipient, two writers and a keeper, with these names.
    fn called(names: [Option<&str>; 4]) -> Roster {
        let mut roster = roster(&["11111111"]);
        let [recipient, one, two, keeper] = names.map(|name| name.map(|name| name.parse().unwrap()));
        roster.recipients[0].name = recipient;
        (roster.writers[0].name, roster.writers[1].name) = (one, two);
        roster.keepers[0].name = keeper;
        roster
    }

    #[test]
    fn a_member_is_found_by_its_whole_name_however_short() {
        let roster = called([Some("safe"), Some("web"), Some("acac"), Some("k")]);
        assert_eq!(find_member(&roster, "safe").unwrap(), Removed::Recipient("11111111".to_owned()));
        assert_eq!(find_member(&roster, "web").unwrap(), Removed::Writer(WRITER, None));
        assert_eq!(find_member(&roster, "k").unwrap(), Removed::Keeper(KEEPER));
        // It begins with its own name.
        assert!(find_member(&roster, "acac").is_ok());
        for wanted in ["saf", "Safe", "safe "] {
            assert!(
                matches!(error(find_member(&roster, wanted)), VaultError::NoSuchMember { .. }),
                "{wanted}"
            );
        }
        // The name of one is the beginning of another's id.
        let roster = called([Some("acac"), None, None, None]);
        assert!(matches!(error(find_member(&roster, "acac")), VaultError::AmbiguousMember { .. }));
    }

    #[test]
    fn a_name_is_free_if_nobody_has_it_who_was_not_removed() {
        let roster = called([Some("safe"), Some("web"), None, Some("nightly")]);
        let is_free =
            |roster: &Roster, name: &str| match see_that_it_is_free(roster, Some(&name.parse().unwrap())) {
                Ok(()) => None,
                Err(VaultError::MemberNameTaken { id, .. }) => Some(id),
                Err(other) => panic!("{other}"),
            };
        assert_eq!(is_free(&roster, "safe"), Some("11111111".to_owned()));
        assert_eq!(is_free(&roster, "web"), Some(WRITER.to_string()));
        assert_eq!(is_free(&roster, "nightly"), Some(KEEPER.to_string()));
        assert_eq!(is_free(&roster, "Web"), None);
        assert!(see_that_it_is_free(&roster, None).is_ok());
        let removed = without_writer(roster, WRITER, Revocation { last: None }).unwrap();
        assert_eq!(is_free(&removed, "web"), None);
        // Recipients are refused as the others are.
        let (_, new) = keys::generate(&OsEntropy);
        let taken =
            with_recipient(called([None, Some("web"), None, None]), &new, Some("web".parse().unwrap()));
        assert!(matches!(error(taken), VaultError::MemberNameTaken { .. }));
    }

    #[test]
    fn who_was_removed_is_not_found() {
        let roster = without_writer(roster(&[]), WRITER, Revocation { last: None }).unwrap();
        let roster = without_keeper(roster, KEEPER, Vec::new()).unwrap();
        for id in [WRITER.to_string(), KEEPER.to_string()] {
            assert!(matches!(error(find_member(&roster, &id)), VaultError::NoSuchMember { .. }), "{id}");
        }
        // The other writer is as it was.
        assert!(find_member(&roster, "acac").is_ok());
    }

    #[test]
    fn a_recipient_is_added_once() {
        let (_, new) = keys::generate(&OsEntropy);
        let with = with_recipient(roster(&["11111111"]), &new, None).unwrap();
        assert_eq!(ids(&with), ["11111111", &new.id()]);
        assert_eq!(with.recipients[1].recipient, new.as_str());
        assert!(matches!(error(with_recipient(with, &new, None)), VaultError::BadRecipient { .. }));
    }

    #[test]
    fn two_recipients_are_left_or_one_if_that_is_meant() {
        let table = [
            (&["1", "2", "3"][..], false, Ok(&["2", "3"][..])),
            (&["1", "2", "3"], true, Ok(&["2", "3"])),
            (&["1", "2"], false, Err(1)),
            (&["1", "2"], true, Ok(&["2"])),
            (&["1"], false, Err(0)),
            (&["1"], true, Err(0)),
        ];
        for (before, is_meant, expected) in table {
            match (without_recipient(roster(before), "1", is_meant), expected) {
                (Ok(roster), Ok(after)) => assert_eq!(ids(&roster), after),
                (Err(VaultError::LastRecipients { left }), Err(expected)) => assert_eq!(left, expected),
                (found, _) => panic!("{before:?}, {is_meant}: {found:?}"),
            }
        }
    }

    #[test]
    fn an_epoch_follows_the_last_one() {
        let (_, first) = keys::generate(&OsEntropy);
        let (_, second) = keys::generate(&OsEntropy);
        let (number, roster) = with_epoch(roster(&[]), &first);
        assert_eq!(number, 0);
        let (number, roster) = with_epoch(roster, &second);
        assert_eq!(number, 1);
        let epochs: Vec<_> = roster.epochs.iter().map(|e| (e.epoch, e.recipient.as_str())).collect();
        assert_eq!(epochs, [(0, first.as_str()), (1, second.as_str())]);
    }

    #[test]
    fn who_is_not_on_the_roster_cannot_be_removed_from_it() {
        let other = WriterId::from_bytes([0xad; 16]);
        let revocation = Revocation { last: None };
        assert!(matches!(error(without_writer(roster(&[]), other, revocation)), VaultError::Internal(_)));
        let other = KeeperId::from_bytes([0xad; 16]);
        assert!(matches!(error(without_keeper(roster(&[]), other, Vec::new())), VaultError::Internal(_)));
    }

    #[test]
    fn what_a_removed_keeper_listed_counts_if_the_roster_names_it() {
        let contents = vec![Sha256Digest::of(b"contents")];
        let roster = without_keeper(roster(&[]), KEEPER, contents.clone()).unwrap();
        assert_eq!(roster.keepers[0].removed.as_ref().map(|removed| &removed.contents), Some(&contents));
    }

    #[test]
    fn a_removed_writer_is_trusted_up_to_its_newest_snapshot_unless_there_is_a_doubt_or_another_is_named() {
        let head = |sequence: u64| Head { sequence, id: Sha256Digest::of(&sequence.to_le_bytes()) };
        let heads = [head(1), head(2), head(4)];
        let doubt = VaultError::Object(ObjectError::Missing { key: "snapshots/3".to_owned() });
        let table = [
            (&heads[..], false, None, Ok(Some(4))),
            (&[], false, None, Ok(None)),
            (&heads, true, None, Err("doubt")),
            (&heads, true, Some(2), Ok(Some(2))),
            (&heads, false, Some(4), Ok(Some(4))),
            (&heads, false, Some(1), Ok(Some(1))),
            // A snapshot that was forgotten or cannot be read cannot be the last one.
            (&heads, false, Some(3), Err("none")),
            (&heads, false, Some(0), Err("none")),
            (&heads, true, Some(5), Err("none")),
            (&[], false, Some(1), Err("none")),
        ];
        for (heads, has_doubt, last, expected) in table {
            let found = revocation(WRITER, heads, has_doubt.then_some(&doubt), last);
            let found = match found {
                Ok(Revocation { last }) => {
                    assert_eq!(last, last.map(|last| head(last.sequence)));
                    Ok(last.map(|last| last.sequence))
                }
                Err(VaultError::Doubtful { .. }) => Err("doubt"),
                Err(VaultError::NoSuchMember { .. }) => Err("none"),
                Err(other) => panic!("{other}"),
            };
            assert_eq!(found, expected, "{} snapshots, {has_doubt}, {last:?}", heads.len());
        }
    }
}
