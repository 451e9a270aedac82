use lifeboat_testkit::context;

use super::*;
use crate::format::floor::Floor;
use crate::format::roster::key_text;
use crate::hostile::crafted::{Crafted, Taken};
use crate::maintenance::members::Membership;
use crate::maintenance::prune::prune;
use crate::repository::access::Session;
use crate::repository::pins::PinFile;
use crate::repository::recovery_session::RecoverySession;
use crate::snapshots::history::{History, Tip};
use crate::snapshots::snapshot::Listing;

/// A repository with rosters 0 to 3, and two snapshots.
async fn made() -> (Crafted, crate::keys::key_file::WriterKey) {
    let made = Crafted::new().await;
    let two = made.add_writer().await;
    made.add_keeper().await;
    Membership::of(&made.restorer().await, &made.context())
        .set_floor(Floor { days: 3, snapshots: 1 })
        .await
        .unwrap();
    made.chain(&made.writer, "one", 1);
    made.chain(&two, "two", 1);
    (made, two)
}

fn keys(holes: &[Hole]) -> Vec<String> {
    holes.iter().map(|hole| layout::roster(hole.number)).collect()
}

/// Signs a roster with the root key and plants it.
async fn plant(made: &Crafted, number: u64, change: impl FnOnce(&mut Roster)) {
    let restorer = made.restorer().await;
    let mut roster = restorer.session().repository().roster.clone();
    (roster.number, roster.previous) = (number, Some(restorer.session().repository().roster_pin.hash));
    change(&mut roster);
    made.faults.plant(&layout::roster(number), roster.sign(restorer.session().root().unwrap()));
}

#[tokio::test]
async fn a_hole_below_the_newest_roster_is_reported_and_stops_nothing() {
    for number in 0..3 {
        for harm in ["flip", "delete", "exchange"] {
            let (made, two) = made().await;
            let (case, key) = (format!("{harm} {number}"), layout::roster(number));
            match harm {
                "flip" => made.flip(&key),
                "delete" => made.faults.take_away(&key),
                _ => made.faults.plant(&key, made.faults.contents()[&layout::roster(3)].clone()),
            }
            let repository = made.open().await;
            assert_eq!(repository.roster_pin.number, 3, "{case}");
            assert_eq!(keys(&repository.holes.below), std::slice::from_ref(&key), "{case}");
            // Restore, backup, prune, check and the next roster still work.
            let restorer = made.restorer().await;
            let listing = Listing::read(restorer.session()).await.unwrap();
            assert_eq!((listing.snapshots.len(), listing.unreadable.len()), (2, 0), "{case}");
            let listed = repository.roster.writer(two.writer).unwrap();
            assert_eq!(Tip::of(&repository, listed).await.unwrap().next, 1, "{case}");
            prune(restorer.session(), &crate::maintenance::prune::PruneOptions::default(), &context())
                .await
                .unwrap();
            let maintenance = crate::maintenance::check::Maintenance::new(
                Session::for_writer(repository, &two).unwrap(),
                context(),
            );
            let options = crate::maintenance::check::CheckOptions {
                read_data: crate::maintenance::check::ReadData::Sizes,
                shard: crate::maintenance::check::Shard::WHOLE,
            };
            let findings = maintenance.check(options).await.unwrap();
            assert!(findings.damage.of(&key).is_some(), "{case}: {findings:?}");
            Membership::of(&restorer, &made.context()).set_floor(Floor::default()).await.unwrap();
            assert_eq!(made.open().await.roster_pin.number, 4, "{case}");
        }
    }
}

#[tokio::test]
async fn a_newest_object_that_is_not_a_roster_is_reported_and_nothing_is_deleted_or_changed() {
    let (made, _) = made().await;
    let state = tempfile::tempdir().unwrap();
    let pins = PinFile::in_state_folder(state.path(), &made.writer.repository);
    History::read(&made.open_with(pins.clone()).await.unwrap()).await.unwrap();
    // Damaged, and an old one in a place that no roster has yet.
    let replayed = made.faults.contents()[&layout::roster(1)].clone();
    for harm in ["flip", "replay"] {
        let number = if harm == "flip" { 3 } else { 4 };
        let before = made.faults.contents().get(&layout::roster(number)).cloned();
        if harm == "flip" {
            made.flip(&layout::roster(3));
        } else {
            made.faults.plant(&layout::roster(4), replayed.clone());
        }
        let repository = made.open().await;
        assert_eq!(keys(&repository.holes.above), [layout::roster(number)], "{harm}");
        let restorer = made.restorer().await;
        assert_eq!(Listing::read(restorer.session()).await.unwrap().snapshots.len(), 2, "{harm}");
        let options = crate::maintenance::prune::PruneOptions::default();
        let refused = prune(restorer.session(), &options, &context()).await.unwrap_err();
        assert!(matches!(refused, VaultError::NotWhole { .. }), "{harm}: {refused}");
        let stored = made.faults.contents();
        let refused =
            Membership::of(&restorer, &made.context()).set_floor(Floor::default()).await.unwrap_err();
        assert!(refused.to_string().contains(&layout::roster(number)), "{harm}: {refused}");
        Membership::of(&restorer, &made.context()).add_writer(None, None, |_| Ok(())).await.unwrap_err();
        assert_eq!(made.faults.contents(), stored, "{harm}: something was stored");
        // A machine that has seen the newest one accepts no older one.
        let pinned = made.open_with(pins.clone()).await;
        assert_eq!(pinned.is_err(), harm == "flip", "{harm}");
        match before {
            Some(before) => made.faults.plant(&layout::roster(number), before),
            None => made.faults.take_away(&layout::roster(number)),
        }
    }
    // Junk with the highest number does not replace what the root signed.
    made.faults.plant("roster/9999999999", b"junk".to_vec());
    assert_eq!(made.open().await.roster_pin.number, 3);
}

#[tokio::test]
async fn a_machine_that_has_seen_a_roster_takes_only_those_that_continue_it() {
    let (made, _) = made().await;
    let state = tempfile::tempdir().unwrap();
    let pins = PinFile::in_state_folder(state.path(), &made.writer.repository);
    History::read(&made.open_with(pins.clone()).await.unwrap()).await.unwrap();
    Membership::of(&made.restorer().await, &made.context()).set_floor(Floor::default()).await.unwrap();
    Membership::of(&made.restorer().await, &made.context())
        .set_floor(Floor { days: 1, snapshots: 1 })
        .await
        .unwrap();
    let contents = made.faults.contents();
    // Rosters that it has seen need not be read again, and those in between need not exist.
    made.faults.clear_log();
    made.open_with(pins.clone()).await.unwrap();
    let read = made.faults.log().iter().filter(|call| call.key.starts_with("roster/")).count();
    assert!(read <= 4, "{read} requests for rosters");
    made.faults.take_away(&layout::roster(4));
    assert_eq!(made.open_with(pins.clone()).await.unwrap().roster_pin.number, 5);
    made.faults.take_away(&layout::roster(5));
    let back = made.open_with(pins.clone()).await.unwrap();
    assert_eq!(back.roster_pin.number, 3, "what it has seen exists");
    made.faults.take_away(&layout::roster(3));
    let refused = made.open_with(pins.clone()).await.unwrap_err();
    assert!(matches!(refused, VaultError::RolledBack { found: 2, seen: 3, .. }), "{refused}");

    // The root signs another roster 3, and a roster 4 after it.
    plant(&made, 3, |roster| roster.floor.days = 9).await;
    let refused = made.open_with(pins.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("this machine has seen"), "{refused}");
    plant(&made, 4, |roster| roster.floor.days = 10).await;
    let refused = made.open_with(pins.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("this machine has seen"), "{refused}");
    made.faults.plant(&layout::roster(3), contents[&layout::roster(3)].clone());
    let refused = made.open_with(pins.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("this machine has seen"), "{refused}");
}

/// What the root changes, given a new key.
type Change = fn(&mut Roster, String);

#[tokio::test]
async fn what_the_root_signed_and_readers_refuse_is_not_replaced_by_an_older_roster() {
    let key = || key_text(lifeboat_trust::key::SigningKey::generate().verification_key());
    let changes: [(&str, Change); 5] = [
        ("a writer's key", |roster, key| roster.writers[0].key = key),
        ("a writer vanishes", |roster, _| drop(roster.writers.remove(0))),
        ("a writer twice", |roster, _| roster.writers.push(roster.writers[0].clone())),
        ("a later format", |roster, _| roster.format = 1),
        ("an unknown feature", |roster, _| roster.required.push("novelty".to_owned())),
    ];
    for (name, change) in changes {
        let (made, _) = made().await;
        plant(&made, 4, |roster| change(roster, key())).await;
        let refused = made.open_with(PinFile::none()).await.unwrap_err();
        assert!(refused.to_string().contains(&layout::roster(4)), "{name}: {refused}");
    }
}

#[tokio::test]
async fn a_roster_that_is_older_than_the_writer_key_is_refused() {
    let made = Crafted::new().await;
    Membership::of(&made.restorer().await, &made.context()).rotate(None).await.unwrap();
    let late = made.add_writer().await;
    Session::for_writer(made.open().await, &late).unwrap();
    made.faults.take_away(&layout::roster(2));
    made.faults.take_away(&layout::roster(1));
    let refused = Session::for_writer(made.open().await, &late).unwrap_err();
    assert!(matches!(refused, VaultError::OlderEpoch { found: 0, made: 1, .. }), "{refused}");
}

#[tokio::test]
async fn a_roster_that_nobody_could_read_is_not_published_and_nothing_that_it_names_is_stored() {
    let made = Crafted::new().await;
    made.add_keeper().await;
    // A roster just below the limit, as after very many removals.
    let many: Vec<Sha256Digest> = (0..200_000_u32).map(|n| Sha256Digest::of(&n.to_le_bytes())).collect();
    let size = |made: &Crafted, number| made.faults.contents()[&layout::roster(number)].len();
    let count = {
        // In base64 a hash takes some 90 bytes.
        let fits = (usize::try_from(cap::ROSTER).unwrap() - 16_000) * 3 / 4 / 67;
        fits.min(many.len())
    };
    plant(&made, 2, |roster| {
        let removed = crate::format::roster::RemovedKeeper { contents: many[..count].to_vec() };
        let gone = crate::format::roster::Keeper { removed: Some(removed), ..roster.keepers[0].clone() };
        roster.keepers[0] = gone;
    })
    .await;
    assert!((size(&made, 2) as u64) < cap::ROSTER, "{} bytes", size(&made, 2));
    let mut added = 0;
    let refused = loop {
        let before = made.faults.contents();
        let mut handed_out = false;
        let keep = |_: &crate::keys::keeper_key::KeeperKey| {
            handed_out = true;
            Ok(())
        };
        let new = Membership::of(&made.restorer().await, &made.context()).add_keeper(None, keep).await;
        assert_eq!(handed_out, new.is_ok(), "a key is handed out if it is enrolled");
        match new {
            Ok(_) => added += 1,
            Err(error) => {
                assert_eq!(made.faults.contents(), before, "something was stored");
                break error;
            }
        }
        assert!(added < 50, "the limit is never reached");
    };
    assert!(matches!(refused, VaultError::TooLarge { .. }), "{refused}");
    History::read(&made.open().await).await.unwrap();
}

#[tokio::test]
async fn a_keeper_who_planted_more_index_objects_than_a_roster_can_name_is_removed() {
    let made = Crafted::new().await;
    let thief = made.add_keeper().await;
    made.take(&made.writer, Taken::at(0, None));
    let place = crate::format::signed::Place {
        purpose: crate::format::seal::Purpose::Contents,
        repository: &made.writer.repository,
        group: made.writer.group.id,
    };
    let pen = crate::format::signed::Pen {
        signer: crate::ids::Signer::Keeper(thief.keeper),
        key: &thief.signing_key,
    };
    for number in 0..300_u32 {
        let run = crate::ids::RunId::from_bytes(
            Sha256Digest::of(&number.to_le_bytes()).as_bytes()[..16].try_into().unwrap(),
        );
        let frames = vec![crate::format::index::FrameContents { ordinal: number, chunks: Vec::new() }];
        let contents = crate::format::index::Contents {
            runs: vec![crate::format::index::RunContents { run, frames, commitment: [0; 32] }],
        };
        let bytes = crate::format::signed::write(place, pen, &made.writer.group.index_key, &contents);
        let key = layout::contents_object(made.writer.group.id, &Sha256Digest::of(&bytes));
        made.faults.plant(&key, bytes);
    }
    let restorer: RecoverySession = made.restorer().await;
    let id = thief.keeper.to_string();
    Membership::of(&restorer, &made.context()).remove(&id, None, false, None).await.unwrap();
    let repository = made.open().await;
    let removed = repository.roster.keepers[0].removed.as_ref().unwrap();
    assert_eq!(removed.contents, Vec::<Sha256Digest>::new(), "no snapshot needs what they list");
}
