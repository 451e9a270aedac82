use lifeboat_core::clock::Clock as _;
use lifeboat_testkit::fault_store::{Answer, Fault, Operation, Rule};

use super::*;
use crate::format::floor::Floor;
use crate::hostile::crafted::{Crafted, keeper_pen, pen};
use crate::maintenance::members::Membership;
use crate::snapshots::snapshot::Listing;

fn none() -> Floor {
    Floor { days: 0, snapshots: 0 }
}

async fn ask(made: &Crafted, session: &Session, sequence: u64) -> Asked {
    let listing = Listing::read(made.restorer().await.session()).await.unwrap();
    let snapshot = listing.snapshots.iter().find(|snapshot| snapshot.sequence() == sequence).unwrap();
    forget(session, &[snapshot], false, &made.context()).await.unwrap().remove(0)
}

async fn is_listed(made: &Crafted, sequence: u64) -> bool {
    let listing = Listing::read(made.restorer().await.session()).await.unwrap();
    assert!(listing.unreadable.is_empty(), "{:?}", listing.unreadable);
    listing.snapshots.iter().any(|snapshot| snapshot.sequence() == sequence)
}

/// What may occupy the place of a request, and whether it has effect.
#[derive(Debug, Clone, Copy)]
enum Occupant {
    Nothing,
    OfAKeeper,
    OfARemovedKeeper,
    OfItsWriterForAnother,
    GivenUpThoughReadable,
    Junk,
}

const OCCUPANTS: [Occupant; 6] = [
    Occupant::Nothing,
    Occupant::OfAKeeper,
    Occupant::OfARemovedKeeper,
    Occupant::OfItsWriterForAnother,
    Occupant::GivenUpThoughReadable,
    Occupant::Junk,
];

/// A repository with three snapshots and something in the place of the request for the middle one.
async fn occupied_by(occupant: Occupant) -> (Crafted, crate::keys::keeper_key::KeeperKey) {
    let made = Crafted::with_floor(none()).await;
    let (removed, keeper) = (made.add_keeper().await, made.add_keeper().await);
    let ids = made.chain(&made.writer, "one", 3);
    let writer = made.writer.writer;
    match occupant {
        Occupant::Nothing => {}
        Occupant::OfAKeeper => made.ask(keeper_pen(&keeper), writer, 1, Some(ids[1])),
        Occupant::OfARemovedKeeper => made.ask(keeper_pen(&removed), writer, 1, Some(ids[1])),
        Occupant::OfItsWriterForAnother => made.ask(pen(&made.writer), writer, 1, Some(ids[0])),
        Occupant::GivenUpThoughReadable => made.ask(keeper_pen(&keeper), writer, 1, None),
        Occupant::Junk => made.faults.plant(&layout::forget(writer, 1), b"junk".to_vec()),
    }
    let id = removed.keeper.to_string();
    Membership::of(&made.restorer().await, &made.context()).remove(&id, None, false, None).await.unwrap();
    (made, keeper)
}

#[tokio::test]
async fn only_what_is_forgotten_is_reported_as_forgotten() {
    for occupant in OCCUPANTS {
        for asker in ["writer", "keeper", "root"] {
            let (made, keeper) = occupied_by(occupant).await;
            let case = format!("{occupant:?}, and a {asker} asks");
            let listing = Listing::read(made.restorer().await.session()).await.unwrap();
            let Some(snapshot) = listing.snapshots.iter().find(|snapshot| snapshot.sequence() == 1) else {
                assert!(matches!(occupant, Occupant::OfAKeeper), "{case}");
                continue;
            };
            let restorer = made.restorer().await;
            let session = match asker {
                "writer" => made.as_writer(&made.writer).await,
                "keeper" => made.as_keeper(&keeper).await,
                _ => restorer.session().clone(),
            };
            let before = made.faults.contents();
            let dry = forget(&session, &[snapshot], true, &made.context()).await.unwrap();
            assert_eq!(made.faults.contents(), before, "{case}: a dry run changes nothing");
            let asked = forget(&session, &[snapshot], false, &made.context()).await.unwrap();
            let is_free = matches!(occupant, Occupant::Nothing);
            if is_free || asker != "writer" {
                assert_eq!(asked, [Asked::Forgotten], "{case}");
                assert_eq!(dry, asked, "{case}");
                assert!(!is_listed(&made, 1).await, "{case}");
            } else {
                // A host deletes nothing: it reports the obstacle and what to do.
                let Asked::Occupied(why) = &asked[0] else { panic!("{case}: {asked:?}") };
                assert!(why.contains("forget/") && why.contains("--keeper-key"), "{case}: {why}");
                assert_eq!(made.faults.contents(), before, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn what_the_storage_does_not_delete_is_reported_as_an_obstacle() {
    let (made, keeper) = occupied_by(Occupant::OfARemovedKeeper).await;
    let session = made.as_keeper(&keeper).await;
    made.faults
        .script(Rule::new(Fault::answer(Answer::Denied)).on(Operation::Delete).below("forget/").always());
    let asked = ask(&made, &session, 1).await;
    let Asked::Occupied(why) = &asked else { panic!("{asked:?}") };
    assert!(why.contains("who was removed") && why.contains("could not be removed"), "{why}");
    made.faults.clear_script();
    assert!(is_listed(&made, 1).await);
    assert_eq!(ask(&made, &session, 1).await, Asked::Forgotten);
}

#[tokio::test]
async fn the_root_goes_below_the_floor_even_after_another_request() {
    let made = Crafted::with_floor(Floor { days: 30, snapshots: 1 }).await;
    let keeper = made.add_keeper().await;
    let ids = made.chain(&made.writer, "one", 2);
    made.ask(keeper_pen(&keeper), made.writer.writer, 0, Some(ids[0]));
    assert!(is_listed(&made, 0).await, "the floor keeps it from a keeper");
    let restorer = made.restorer().await;
    assert_eq!(ask(&made, restorer.session(), 0).await, Asked::Forgotten);
    assert!(!is_listed(&made, 0).await);
}

#[tokio::test]
async fn the_floor_uses_the_storages_time_and_no_other() {
    let made = Crafted::with_floor(Floor { days: 14, snapshots: 1 }).await;
    let keeper = made.add_keeper().await;
    made.chain(&made.writer, "one", 3);
    // A keeper's own clock is wrong by two months.
    made.clock.jump(jiff::SignedDuration::from_hours(24 * 60));
    let session = made.as_keeper(&keeper).await;
    let young = Asked::Kept(Floored::Young.reason());
    assert_eq!(ask(&made, &session, 0).await, young);
    assert_eq!(ask(&made, &made.as_writer(&made.writer).await, 0).await, young);
    // A host that stores nothing any more ages as well.
    made.pass(15);
    assert_eq!(ask(&made, &session, 0).await, Asked::Forgotten);
    assert!(!is_listed(&made, 0).await);
    assert_eq!(ask(&made, &session, 2).await, Asked::Kept(Floored::Newest.reason()));
    let left = made.faults.contents();
    assert!(!left.keys().any(|key| key.starts_with(layout::CLOCK)), "{:?}", made.clock.now());
}
