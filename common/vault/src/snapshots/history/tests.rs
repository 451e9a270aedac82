//! Tests of forged histories. Snapshots are written by hand, and the store is in memory.

use super::*;
use crate::format::floor::{Floor, Floored};
use crate::hostile::crafted::{Crafted, Taken, keeper_pen, pen};
use crate::ids::Signer;
use crate::maintenance::check::{CheckOptions, ReadData, Remedy, Shard};
use crate::maintenance::members::Membership;
use crate::maintenance::prune::prune;
use crate::repository::pins::PinFile;
use crate::snapshots::snapshot::Listing;
use lifeboat_core::Sha256Digest;
use lifeboat_store::{Location, OpenOptions, Settings, Store};
use lifeboat_testkit::context;

fn errors(history: &History) -> Vec<String> {
    history.problems.iter().map(|problem| problem.error.to_string()).collect()
}

/// The ids of a writer's live snapshots.
fn live(history: &History, writer: WriterId) -> Vec<u64> {
    let live = history.snapshots.iter().filter(|r| r.writer == writer && r.is_live());
    live.map(|recorded| recorded.sequence).collect()
}

fn is_latest(listing: &Listing, host: &str, id: &Sha256Digest) -> bool {
    listing.find("latest", Some(host)).is_ok_and(|snapshot| snapshot.id() == id)
}

async fn listing(made: &Crafted) -> Listing {
    Listing::read(made.restorer().await.session()).await.unwrap()
}

/// What the holder of a writer's key makes after the writer's last snapshot.
type Makes = fn(&Sha256Digest) -> Taken;

/// A harm to a writer's chain.
type Harm = fn(&Crafted, &crate::keys::key_file::WriterKey);

#[tokio::test]
async fn a_contradiction_of_one_host_stops_that_host_alone() {
    let far = 9_999_999_999;
    let stranger = Sha256Digest::of(b"nothing has this id");
    let jump: Makes = |last| Taken::at(9_999_999_999, Some(*last));
    let hidden: Makes = |_| Taken::at(7, Some(Sha256Digest::of(b"withheld")));
    let other: Makes = |_| Taken::at(2, Some(Sha256Digest::of(b"other")));
    for (name, harm) in [("a jump", jump), ("a gap", hidden), ("another previous", other)] {
        let made = Crafted::new().await;
        let two = made.add_writer().await;
        let (first, second) = (made.chain(&made.writer, "one", 2), made.chain(&two, "two", 2));
        let pins = tempfile::tempdir().unwrap();
        let pins = PinFile::in_state_folder(pins.path(), &made.writer.repository);
        History::read(&made.open_with(pins.clone()).await.unwrap()).await.unwrap();
        made.take(&made.writer, harm(&first[1]));
        let newest = made.take(&two, Taken::at(2, Some(second[1])).of("two"));

        let repository = made.open_with(pins.clone()).await.unwrap();
        let history = History::read(&repository).await.unwrap();
        assert_eq!(history.problems_of(made.writer.group.id).count(), 1, "{name}: {:?}", errors(&history));
        assert_eq!(history.problems_of(two.group.id).count(), 0, "{name}");
        assert!(history.holds_back(made.writer.group.id).is_some(), "{name}");
        assert!(history.holds_back(two.group.id).is_none(), "{name}");
        let pinned = pins.read().unwrap();
        assert_eq!(pinned.heads[&two.writer].sequence, 2, "{name}: the other pin goes on");
        assert_eq!(pinned.heads[&made.writer.writer].sequence, 1, "{name}: this pin waits");
        assert_eq!(pinned.roster.map(|pin| pin.number), Some(1), "{name}: so does not the roster's");

        let listing = listing(&made).await;
        assert!(is_latest(&listing, "two", &newest), "{name}");
        listing.find("latest", Some("one")).unwrap_err();
        listing.find("latest", None).unwrap_err();
        // The other host's own key only shows its own group.
        let own = Listing::read(&made.as_writer(&two).await).await.unwrap();
        assert_eq!(own.find("latest", None).unwrap().id(), &newest, "{name}");
        let by_name = listing.find(&first[0].to_string(), None).unwrap();
        assert_eq!(*by_name.id(), first[0], "{name}: a whole snapshot is found by its id");
        assert!(!listing.unreadable.is_empty(), "{name}: it is reported");
    }
    // No name has a higher number, and nobody may claim to have seen one.
    let made = Crafted::new().await;
    made.chain(&made.writer, "one", 1);
    let two = made.add_writer().await;
    made.take(&two, Taken::at(0, None).of("two").seeing(&made.writer, far + 1, stranger));
    let history = History::read(&made.open().await).await.unwrap();
    assert!(history.holds_back(made.writer.group.id).is_none(), "{:?}", errors(&history));
    assert!(history.holds_back(two.group.id).is_some());
}

#[tokio::test]
async fn a_prune_continues_with_the_groups_whose_histories_are_whole() {
    let made = Crafted::new().await;
    let two = made.add_writer().await;
    let keeper = made.add_keeper().await;
    let first = made.chain(&made.writer, "one", 1);
    let second = made.chain(&two, "two", 3);
    made.take(&made.writer, Taken::at(9_999_999_999, Some(first[0])).seeing(&two, 4_000_000_000, first[0]));
    made.pass(1);
    // The second host disproves the claim by its next snapshot.
    made.take(&two, Taken::at(3, Some(second[2])).of("two"));
    made.ask(keeper_pen(&keeper), two.writer, 0, Some(second[0]));
    let session = made.as_keeper(&keeper).await;
    let options =
        crate::maintenance::prune::PruneOptions { grace: jiff::SignedDuration::ZERO, dry_run: false };
    let pruned = prune(&session, &options, &context()).await.unwrap();
    assert!(
        matches!(&pruned.held_back[..], [one] if one.contains(&made.writer.group.id.to_string())),
        "{pruned:?}"
    );
    assert!(pruned.deleted_objects > 0, "{pruned:?}");
    let left = made.faults.contents();
    assert!(!left.contains_key(&layout::snapshot(two.writer, 0)), "what was forgotten is gone");
    assert!(left.contains_key(&layout::snapshot(made.writer.writer, 0)));
    // If a history cannot be read, nothing of its group is deleted, in whichever order groups are pruned.
    made.flip(&layout::snapshot(made.writer.writer, 0));
    prune(&session, &options, &context()).await.unwrap();
    assert!(made.faults.contents().contains_key(&layout::snapshot(made.writer.writer, 0)));
    // If that leaves no group, the prune reports it and stops.
    made.take(&two, Taken::at(9, None).of("two"));
    let refused = prune(&session, &options, &context()).await.unwrap_err();
    assert!(matches!(refused, VaultError::NotWhole { .. }), "{refused}");
}

#[tokio::test]
async fn a_claim_is_reported_with_its_claimant_and_stops_no_restore() {
    let made = Crafted::new().await;
    let two = made.add_writer().await;
    let first = made.chain(&made.writer, "one", 2);
    let lie = Sha256Digest::of(b"a lie");
    made.take(&two, Taken::at(0, None).of("two").seeing(&made.writer, 4_000_000_000, lie));
    let history = History::read(&made.open().await).await.unwrap();
    let problem = history.problems.first().unwrap();
    assert_eq!((problem.writer, problem.evidence), (made.writer.writer, Evidence::Claim));
    assert!(errors(&history)[0].contains(&format!("writer {} claims", two.writer)), "{:?}", errors(&history));
    assert!(history.holds_back(made.writer.group.id).is_some(), "it may be true");
    assert!(history.holds_back(two.group.id).is_none());
    let listing_now = listing(&made).await;
    assert!(is_latest(&listing_now, "one", &first[1]));
    assert_eq!(listing_now.unreadable.len(), 1);
    // This many snapshots are not given up: the claimant is removed instead.
    let maintenance = made.maintenance().await;
    let everything = CheckOptions { read_data: ReadData::Sizes, shard: Shard::WHOLE };
    let findings = maintenance.check(everything).await.unwrap();
    let damage = findings.damage.of(&layout::snapshot(made.writer.writer, 2)).unwrap();
    assert_eq!(damage.remedy, Remedy::EndOfWord, "{damage:?}");
    assert!(damage.reason.contains(&two.writer.to_string()), "{damage:?}");

    // The writer that it is about continues with a later snapshot with a lower number: now the claimant is wrong.
    let third = made.take(&made.writer, Taken::at(2, Some(first[1])).of("one"));
    let history = History::read(&made.open().await).await.unwrap();
    assert_eq!(
        history.problems.first().map(|problem| problem.writer),
        Some(two.writer),
        "{:?}",
        errors(&history)
    );
    assert!(history.holds_back(made.writer.group.id).is_none());
    assert!(history.holds_back(two.group.id).is_some());
    assert!(is_latest(&listing(&made).await, "one", &third));

    // Removing the claimant with a last snapshot before the claim ends it.
    let restorer = made.restorer().await;
    let id = two.writer.to_string();
    Membership::of(&restorer, &made.context()).remove(&id, Some(0), false, None).await.unwrap();
    assert_eq!(
        errors(&History::read(&made.open().await).await.unwrap()).len(),
        1,
        "its claim is in what counts"
    );
    let made = Crafted::new().await;
    let two = made.add_writer().await;
    made.chain(&made.writer, "one", 2);
    let true_one = made.chain(&two, "two", 1);
    made.take(&two, Taken::at(1, Some(true_one[0])).seeing(&made.writer, 4_000_000_000, lie));
    let restorer = made.restorer().await;
    Membership::of(&restorer, &made.context())
        .remove(&two.writer.to_string(), Some(0), false, None)
        .await
        .unwrap();
    assert_eq!(errors(&History::read(&made.open().await).await.unwrap()), Vec::<String>::new());
}

#[tokio::test]
async fn what_others_saw_is_compared_with_what_is_in_its_place() {
    let made = Crafted::new().await;
    let two = made.add_writer().await;
    let first = made.chain(&made.writer, "one", 2);
    made.take(&two, Taken::at(0, None).of("two").seeing(&made.writer, 0, first[0]));
    assert_eq!(errors(&History::read(&made.open().await).await.unwrap()), Vec::<String>::new());
    // The whole chain of the first host is rewritten with its key.
    let forged = made.take(&made.writer, Taken::at(0, None).of("forged"));
    let next = made.take(&made.writer, Taken::at(1, Some(forged)).of("forged"));
    let both = |history: &History, found: &Sha256Digest| {
        let said = errors(history);
        assert_eq!(said.len(), 1, "{said:?}");
        let ids = said[0].contains(&first[0].to_string()) && said[0].contains(&found.to_string());
        assert!(ids && said[0].contains(&two.writer.to_string()), "{said:?}");
    };
    both(&History::read(&made.open().await).await.unwrap(), &forged);
    assert!(is_latest(&listing(&made).await, "forged", &next), "a claim stops no restore");
    // With the manifest gone, the one after it and the request to forget it still identify it.
    made.faults.take_away(&layout::snapshot(made.writer.writer, 0));
    let history = History::read(&made.open().await).await.unwrap();
    assert!(
        errors(&history).iter().any(|found| found.contains(&first[0].to_string())),
        "{:?}",
        errors(&history)
    );
    made.ask(pen(&made.writer), made.writer.writer, 0, Some(forged));
    both(&History::read(&made.open().await).await.unwrap(), &forged);
    made.ask(pen(&made.writer), made.writer.writer, 0, None);
    assert_eq!(
        errors(&History::read(&made.open().await).await.unwrap()),
        Vec::<String>::new(),
        "it was given up"
    );
}

#[tokio::test]
async fn a_request_is_for_one_snapshot_and_has_no_effect_on_another() {
    let made = Crafted::with_floor(Floor { days: 0, snapshots: 0 }).await;
    let keeper = made.add_keeper().await;
    let ids = made.chain(&made.writer, "one", 3);
    let (writer, stranger) = (made.writer.writer, Sha256Digest::of(b"another"));
    let root = made.restorer().await;
    let root = (Signer::Root, root.session().root().unwrap());
    // Who asks, for which id, whether the manifest can be read, and whether the snapshot is forgotten.
    let signers = [("writer", pen(&made.writer)), ("keeper", keeper_pen(&keeper)), ("root", root)];
    for (name, signer) in signers {
        for (asked, damaged, forgotten) in [
            (Some(ids[1]), false, true),
            (Some(stranger), false, false),
            (None, false, false),
            (None, true, true),
        ] {
            let manifest = made.faults.contents()[&layout::snapshot(writer, 1)].clone();
            made.ask(signer, writer, 1, asked);
            if damaged {
                made.flip(&layout::snapshot(writer, 1));
            }
            let history = History::read(&made.open().await).await.unwrap();
            let case = format!("{name} asks for {asked:?}, damaged: {damaged}");
            assert_eq!(live(&history, writer).contains(&1), !forgotten, "{case}");
            assert_eq!(history.void.contains_key(&(writer, 1)), !forgotten, "{case}");
            assert_eq!(errors(&history), Vec::<String>::new(), "{case}");
            made.faults.plant(&layout::snapshot(writer, 1), manifest);
            made.faults.take_away(&layout::forget(writer, 1));
        }
    }
    // A request only explains the absence of its own snapshot.
    made.ask(pen(&made.writer), writer, 1, Some(stranger));
    made.faults.take_away(&layout::snapshot(writer, 1));
    let history = History::read(&made.open().await).await.unwrap();
    assert!(
        errors(&history).iter().any(|found| found.contains(&ids[1].to_string())),
        "{:?}",
        errors(&history)
    );
    made.ask(pen(&made.writer), writer, 1, Some(ids[1]));
    assert_eq!(errors(&History::read(&made.open().await).await.unwrap()), Vec::<String>::new());
}

#[tokio::test]
async fn requests_for_numbers_that_were_never_reached_choose_no_number() {
    let made = Crafted::new().await;
    let ids = made.chain(&made.writer, "one", 2);
    let writer = made.writer.writer;
    let tip = async || {
        let repository = made.open().await;
        let listed = repository.roster.writer(writer).unwrap().clone();
        Tip::of(&repository, &listed).await
    };
    made.ask(pen(&made.writer), writer, 9_999_999_998, None);
    made.ask(pen(&made.writer), writer, 7, Some(ids[0]));
    assert_eq!(tip().await.unwrap().next, 2);
    made.ask(pen(&made.writer), writer, 2, None);
    made.ask(pen(&made.writer), writer, 3, None);
    let found = tip().await.unwrap();
    assert_eq!((found.next, found.previous), (4, Some(ids[1])));
    made.take(&made.writer, Taken::at(9_999_999_999, None));
    let full = tip().await.unwrap_err();
    assert!(matches!(full, VaultError::NoMoreNumbers { .. }), "{full}");
}

#[tokio::test]
async fn nobody_reads_what_a_removed_writer_stored_after_its_last_snapshot() {
    let made = Crafted::new().await;
    let two = made.add_writer().await;
    let ids = made.chain(&two, "two", 2);
    let restorer = made.restorer().await;
    let removed =
        Membership::of(&restorer, &made.context()).remove(&two.writer.to_string(), None, false, None).await;
    removed.unwrap();
    let mut before = ids[1];
    for sequence in 2..50 {
        before = made.take(&two, Taken::at(sequence, Some(before)).of("two"));
    }
    made.faults.clear_log();
    let repository = made.open().await;
    let history = History::read(&repository).await.unwrap();
    assert_eq!(live(&history, two.writer), [0, 1]);
    let reads = made.faults.log();
    let folder = format!("{}/", layout::snapshots_of(two.writer));
    let reads = reads.iter().filter(|call| call.key.starts_with(&folder) && call.key.len() > folder.len());
    assert_eq!(reads.count(), 2, "only what counts is read");
}

#[tokio::test]
async fn a_writer_whose_history_is_not_whole_is_removed_only_with_a_last_snapshot() {
    let hide: Harm = |made, two| made.faults.take_away(&layout::snapshot(two.writer, 1));
    let flip: Harm = |made, two| made.flip(&layout::snapshot(two.writer, 2));
    for (name, harm) in [("a gap", hide), ("an unreadable one", flip)] {
        let made = Crafted::new().await;
        let two = made.add_writer().await;
        made.chain(&two, "two", 3);
        harm(&made, &two);
        let restorer = made.restorer().await;
        let id = two.writer.to_string();
        let refused =
            Membership::of(&restorer, &made.context()).remove(&id, None, false, None).await.unwrap_err();
        assert!(matches!(refused, VaultError::Doubtful { .. }), "{name}: {refused}");
        Membership::of(&restorer, &made.context()).remove(&id, Some(0), false, None).await.unwrap();
    }
    // A snapshot that this machine has seen and the storage hides is also missing, and one that another host saw.
    let made = Crafted::new().await;
    let two = made.add_writer().await;
    let ids = made.chain(&two, "two", 2);
    let state = tempfile::tempdir().unwrap();
    let pins = PinFile::in_state_folder(state.path(), &two.repository);
    History::read(&made.open_with(pins.clone()).await.unwrap()).await.unwrap();
    let hidden = made.faults.contents()[&layout::snapshot(two.writer, 1)].clone();
    made.faults.take_away(&layout::snapshot(two.writer, 1));
    let key = made.recovery_key();
    let pinned =
        crate::repository::recovery_session::RecoverySession::open(made.faults.open(), &key, None, |_| pins)
            .await
            .unwrap();
    let id = two.writer.to_string();
    let refused = Membership::of(&pinned, &made.context()).remove(&id, None, false, None).await.unwrap_err();
    assert!(matches!(refused, VaultError::Doubtful { .. }), "{refused}");
    made.take(&made.writer, Taken::at(0, None).seeing(&two, 1, ids[1]));
    let bare = made.restorer().await;
    let refused = Membership::of(&bare, &made.context()).remove(&id, None, false, None).await.unwrap_err();
    assert!(refused.to_string().contains(&made.writer.writer.to_string()), "{refused}");
    made.faults.plant(&layout::snapshot(two.writer, 1), hidden);
    let removed = Membership::of(&bare, &made.context()).remove(&id, None, false, None).await.unwrap();
    assert_eq!(removed, crate::maintenance::members::Removed::Writer(two.writer, Some(1)));
}

#[tokio::test]
async fn times_that_are_dated_ahead_do_not_lift_the_floor() {
    let made = Crafted::with_floor(Floor { days: 30, snapshots: 1 }).await;
    let ids = made.chain(&made.writer, "one", 3);
    made.pass(1);
    made.ask(pen(&made.writer), made.writer.writer, 0, Some(ids[0]));
    let now = lifeboat_core::clock::Clock::now(made.faults.clock());
    let ahead = now.saturating_add(jiff::SignedDuration::from_hours(24 * 60)).unwrap();
    made.faults.set_modified(&layout::forget(made.writer.writer, 0), ahead);
    let repository = made.open().await;
    let history = History::read_until(&repository, Some(now)).await.unwrap();
    assert_eq!(history.snapshots[0].standing, Standing::Refused);
    // Without knowing the time, nobody notices.
    assert_eq!(History::read(&repository).await.unwrap().snapshots[0].standing, Standing::Forgotten);
}

/// The owner of a file in a folder can date it freely.
#[tokio::test]
async fn a_request_in_a_folder_that_is_dated_ahead_forgets_nothing_young() {
    let made = Crafted::with_floor(Floor { days: 30, snapshots: 0 }).await;
    let ids = made.chain(&made.writer, "one", 3);
    made.ask(pen(&made.writer), made.writer.writer, 0, Some(ids[0]));
    let folder = tempfile::tempdir().unwrap();
    made.write_to(folder.path());
    let request = std::fs::File::open(folder.path().join(layout::forget(made.writer.writer, 0))).unwrap();
    let ahead = SystemClock.now().saturating_add(SignedDuration::from_hours(60 * 24)).unwrap();
    request.set_modified(std::time::SystemTime::try_from(ahead).unwrap()).unwrap();
    let location = Location::parse(folder.path().to_str().unwrap()).unwrap();
    let store = Store::open(&location, &Settings::default(), OpenOptions::default()).await.unwrap();
    let repository = Repository::open(store, &made.writer.repository, PinFile::none()).await.unwrap();
    let history = History::read(&repository).await.unwrap();
    assert_eq!(history.snapshots[0].standing, Standing::Refused);
    assert_eq!(live(&history, made.writer.writer), [0, 1, 2]);
}

#[tokio::test]
async fn the_floor_is_one_rule_of_the_storages_times() {
    let second = |second| Timestamp::from_second(second).unwrap();
    let day = 24 * 60 * 60;
    // Days and number of the floor, newer snapshots, age in seconds, and what keeps it.
    let table = [
        (0, 1, 0, 0, Some(Floored::Newest)),
        (0, 1, 1, 0, None),
        (0, 0, 0, 0, None),
        (14, 1, 5, 14 * day - 1, Some(Floored::Young)),
        (14, 1, 5, 14 * day, None),
        (14, 1, 0, 14 * day, Some(Floored::Newest)),
        (14, 3, 2, 99 * day, Some(Floored::Newest)),
        (14, 3, 3, 99 * day, None),
        // A snapshot that was stored later than now is young.
        (14, 0, 5, -5, Some(Floored::Young)),
    ];
    for (days, snapshots, newer, age, expected) in table {
        let floor = Floor { days, snapshots };
        let case = format!("{floor:?}, {newer} newer, {age} seconds old");
        assert_eq!(floor.keeps(newer, second(0), second(age)), expected, "{case}");
    }
}
