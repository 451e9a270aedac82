//! Runs that depend on what prunes and repairs take away, or make look younger.

use std::sync::Arc;
use std::time::Duration;

use lifeboat_testkit::context;
use lifeboat_testkit::fault_store::{Answer, Fault, Gate, Operation, Rule};
use lifeboat_vault::check::Maintenance;
use lifeboat_vault::repair::RepairOptions;
use lifeboat_vault::{Floor, GRACE_DAYS, KeeperKey, Membership, PackSizes, PruneOptions, VaultError, prune};

use crate::test_repository::{DAY, Files, TestRepository, days, noise};

/// Five frames of one file, and one more frame of another, in one pack.
fn large() -> Files {
    Files::from([("a".to_owned(), noise(1, 5 << 20))])
}

fn large_and_small() -> Files {
    large().into_iter().chain([("b".to_owned(), noise(2, 500_000))]).collect()
}

/// A snapshot of both files and one of the large one alone, of which the first was forgotten.
async fn with_an_unneeded_frame_in_a_pack_that_stays() -> (TestRepository, KeeperKey) {
    let mut repo = TestRepository::new().await;
    repo.packs = PackSizes::default();
    repo.snapshot(&large_and_small()).await.unwrap();
    repo.snapshot(&large()).await.unwrap();
    let keeper = repo.add_keeper().await;
    let session = repo.as_keeper(&keeper).await.unwrap();
    repo.forget_all_but(&session, 1).await.unwrap();
    (repo, keeper)
}

/// The locations of a run are rewritten without an unneeded frame in a pack that stays. A run under way finds the
/// frame by the old object, which the next prune sweeps before the run's part is stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_by_no_locations_that_are_condemned() {
    let (mut repo, keeper) = with_an_unneeded_frame_in_a_pack_that_stays().await;
    repo.prune(&keeper, GRACE_DAYS).await.unwrap();
    repo.faults.advance(days(GRACE_DAYS) + Duration::from_mins(1));
    repo.fill_source(&large_and_small());
    let writer = Arc::clone(&repo.writer);
    let run = repo.begin(&writer).await.unwrap();
    repo.faults.advance(Duration::from_mins(1));
    repo.prune(&keeper, GRACE_DAYS).await.unwrap();
    let committed = run.commit().await.unwrap();
    repo.committed.insert(committed.id.unwrap(), large_and_small());
    repo.prune(&keeper, GRACE_DAYS).await.unwrap();
    let repaired = repo.fork();
    let maintenance = Maintenance::new(repaired.as_keeper(&keeper).await.unwrap(), context());
    maintenance.repair(RepairOptions::default()).await.unwrap();
    repaired.assert_all_restore("after a repair").await;
    repo.assert_all_restore("after locations were swept under a run").await;
}

fn changing_and_staying(seed: u64, changing: usize) -> Files {
    Files::from([
        ("changing".to_owned(), noise(seed, changing)),
        ("staying".to_owned(), noise(1_000, 300_000)),
    ])
}

/// All frames of a condemned pack would make that same pack again, by content and by name.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_rescues_from_a_prune_without_grace_is_not_in_the_condemned_pack_itself() {
    for changing in [2_200_000, 1_100_000] {
        let files = |seed| changing_and_staying(seed, changing);
        let (mut repo, keeper, run) = TestRepository::with_a_run_on_what_is_forgotten(files).await;
        let gate = Gate::new();
        repo.faults.script(Rule::new(Fault::wait(&gate)).on(Operation::Delete).below("locations/"));
        let committing = async {
            gate.arrivals(1).await;
            let committed = run.commit().await;
            gate.open();
            committed
        };
        let (pruned, committed) = tokio::join!(repo.prune(&keeper, 0), committing);
        pruned.unwrap();
        repo.faults.clear_script();
        // It may fail. It may not succeed and have lost data.
        if let Ok(committed) = committed {
            repo.committed.insert(committed.id.unwrap(), files(0));
            repo.assert_all_restore(&format!("{changing}: rescued")).await;
        }
    }
}

/// The same with the full grace: a machine sleeps between part and manifest, and the second look comes while a prune
/// has planned and not yet signed.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_late_run_rescues_is_not_in_the_condemned_pack_itself() {
    for changing in [2_200_000, 1_100_000] {
        let files = |seed| changing_and_staying(seed, changing);
        let (mut repo, keeper, run) = TestRepository::with_a_run_on_what_is_forgotten(files).await;
        repo.prune(&keeper, GRACE_DAYS).await.unwrap();
        let (asleep, planned) = (Gate::new(), Gate::new());
        repo.faults.script(Rule::new(Fault::wait(&asleep)).on(Operation::Put).below("snapshots/"));
        repo.faults.script(Rule::new(Fault::wait(&planned)).on(Operation::Put).below("condemned/"));
        let committing = async {
            let committed = run.commit().await;
            planned.open();
            committed
        };
        let pruning = async {
            asleep.arrivals(1).await;
            repo.faults.advance(days(14));
            let waking = async {
                planned.arrivals(1).await;
                asleep.open();
            };
            tokio::join!(repo.prune(&keeper, GRACE_DAYS), waking).0
        };
        let (committed, pruned) = tokio::join!(committing, pruning);
        pruned.unwrap();
        repo.faults.clear_script();
        if let Ok(committed) = committed {
            repo.committed.insert(committed.id.unwrap(), files(0));
            repo.assert_all_restore(&format!("{changing}: rescued late")).await;
        }
    }
}

/// A prune deletes a part and a registration, and then their condemnation, while a late run looks for them.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_look_does_not_miss_what_a_prune_deletes_during_it() {
    let mut repo = TestRepository::new().await;
    let files = Files::from([("a".to_owned(), noise(1, 900_000))]);
    repo.fill_source(&files);
    let writer = Arc::clone(&repo.writer);
    let first = repo.begin(&writer).await.unwrap().commit().await.unwrap();
    repo.committed.insert(first.id.unwrap(), files.clone());
    let keeper = repo.add_keeper().await;
    // Nothing changed: the run stores no frame of its own.
    let run = repo.begin(&writer).await.unwrap();
    let (asleep, sweeping, looking) = (Gate::new(), Gate::new(), Gate::new());
    repo.faults.script(Rule::new(Fault::wait(&asleep)).on(Operation::Put).below("snapshots/"));
    let meanwhile = async {
        asleep.arrivals(1).await;
        repo.faults.advance(days(GRACE_DAYS));
        repo.prune(&keeper, GRACE_DAYS).await.unwrap();
        repo.faults.advance(days(GRACE_DAYS) + Duration::from_mins(1));
        repo.faults.script(Rule::new(Fault::wait(&sweeping)).on(Operation::Delete).below("parts/"));
        let during = async {
            sweeping.arrivals(1).await;
            repo.faults.script(Rule::new(Fault::wait(&looking)).on(Operation::List).below("condemned"));
            asleep.open();
            looking.arrivals(1).await;
            sweeping.open();
        };
        let (pruned, ()) = tokio::join!(repo.prune(&keeper, GRACE_DAYS), during);
        pruned.unwrap();
        looking.open();
    };
    let (committed, ()) = tokio::join!(run.commit(), meanwhile);
    repo.faults.clear_script();
    if let Ok(committed) = committed {
        repo.committed.insert(committed.id.unwrap(), files);
        repo.assert_all_restore("a late look").await;
    }
}

/// A machine sleeps between part and manifest. Its late manifest needs what one prune is about to delete, and another
/// prune finds that manifest.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_prune_is_about_to_delete_is_not_let_off_by_another() {
    let files = |seed| Files::from([("a".to_owned(), noise(seed, 900_000))]);
    let (repo, keeper, run) = TestRepository::with_a_run_on_what_is_forgotten(files).await;
    let (planned, asleep, sweeping, looking) = (Gate::new(), Gate::new(), Gate::new(), Gate::new());
    repo.faults.script(Rule::new(Fault::wait(&planned)).on(Operation::Put).below("condemned/"));
    repo.faults.script(Rule::new(Fault::wait(&asleep)).on(Operation::Put).below("snapshots/"));
    let committing = async {
        // The first plan is older than the run's part, and is carried out after the run has looked.
        planned.arrivals(1).await;
        let committed = run.commit().await;
        sweeping.open();
        committed
    };
    let pruning = async {
        let looked = async {
            asleep.arrivals(1).await;
            planned.open();
        };
        tokio::join!(repo.prune(&keeper, GRACE_DAYS), looked).0.unwrap();
        repo.faults.advance(days(GRACE_DAYS) + Duration::from_mins(1));
        repo.faults.script(Rule::new(Fault::wait(&sweeping)).on(Operation::Delete).below("snapshots/"));
        let another = async {
            sweeping.arrivals(1).await;
            repo.faults.script(Rule::new(Fault::wait(&looking)).on(Operation::List).below("condemned"));
            asleep.open();
            looking.arrivals(1).await;
            repo.prune(&keeper, GRACE_DAYS).await.unwrap();
            looking.open();
        };
        tokio::join!(repo.prune(&keeper, GRACE_DAYS), another).0.unwrap();
    };
    let (committed, ()) = tokio::join!(committing, pruning);
    repo.faults.clear_script();
    assert!(matches!(committed, Err(VaultError::CommittedTooLate { .. })), "{committed:?}");
}

/// What was condemned, was needed again, and is forgotten once more has its whole grace again.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_needed_again_is_not_deleted_at_once_when_it_is_unneeded() {
    let (repo, keeper) = with_what_is_due().await;
    let membership = async |snapshots| {
        let restorer = repo.restorer().await.unwrap();
        Membership::of(&restorer, &repo.context()).set_floor(Floor { days: 0, snapshots }).await.unwrap();
    };
    // A roster that keeps it makes it count again.
    membership(2).await;
    let pruned = repo.prune(&keeper, GRACE_DAYS).await.unwrap();
    assert_eq!((pruned.deleted_objects, pruned.refused), (0, 1));
    repo.assert_all_restore("kept by the floor").await;
    membership(1).await;
    let pruned = repo.prune(&keeper, GRACE_DAYS).await.unwrap();
    assert_eq!(pruned.deleted_objects, 0, "{pruned:?}");
    assert!(pruned.condemned_objects > 0, "{pruned:?}");
    repo.faults.advance(days(GRACE_DAYS) + Duration::from_mins(1));
    assert!(repo.prune(&keeper, GRACE_DAYS).await.unwrap().deleted_objects > 0);
    repo.faults.advance(days(GRACE_DAYS) + Duration::from_mins(1));
    repo.prune(&keeper, GRACE_DAYS).await.unwrap();
    assert_eq!(keys(&repo, "condemned"), [""; 0], "nothing is avoided for ever");
}

/// A keeper's machine sleeps in the middle of its deletions.
#[tokio::test(flavor = "multi_thread")]
async fn a_prune_that_lasts_for_days_stops() {
    let (repo, keeper) = with_what_is_due().await;
    let asleep = Gate::new();
    repo.faults.script(Rule::new(Fault::wait(&asleep)).on(Operation::Delete).below("snapshots/"));
    let meanwhile = async {
        asleep.arrivals(1).await;
        repo.clock.advance(5 * DAY);
        repo.faults.clear_log();
        asleep.open();
    };
    let (session, context) = (repo.as_keeper(&keeper).await.unwrap(), repo.context());
    let options = PruneOptions::default();
    let (pruned, ()) = tokio::join!(prune(&session, &options, &context), meanwhile);
    assert!(matches!(pruned, Err(VaultError::PruneTooLong { days: 4 })), "{pruned:?}");
    assert_eq!(repo.faults.count(Operation::Delete, "packs/"), 0);
    assert!(repo.prune(&keeper, GRACE_DAYS).await.unwrap().deleted_objects > 0);
}

/// A machine sleeps between part and manifest, and what it refers to is condemned meanwhile. It moved frames before its
/// part, if at all: the same frames, moved again, make the same pack, which may be condemned by then.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_run_moves_nothing() {
    let files = |seed| changing_and_staying(seed, 2_200_000);
    let (repo, keeper, run) = TestRepository::with_a_run_on_what_is_forgotten(files).await;
    let (planned, asleep) = (Gate::new(), Gate::new());
    repo.faults.script(Rule::new(Fault::wait(&planned)).on(Operation::Put).below("condemned/"));
    repo.faults.script(Rule::new(Fault::wait(&asleep)).on(Operation::Put).below("snapshots/"));
    let committing = async {
        planned.arrivals(1).await;
        run.commit().await
    };
    let pruning = async {
        let looked = async {
            asleep.arrivals(1).await;
            planned.open();
        };
        tokio::join!(repo.prune(&keeper, GRACE_DAYS), looked).0.unwrap();
        repo.faults.advance(2 * DAY);
        repo.faults.clear_log();
        asleep.open();
    };
    let (committed, ()) = tokio::join!(committing, pruning);
    let Err(VaultError::CommittedTooLate { evidence, .. }) = &committed else { panic!("{committed:?}") };
    assert!(evidence.starts_with("frame "), "{evidence}");
    assert_eq!(repo.faults.count(Operation::Put, "packs/"), 0);
}

/// The time of a manifest cannot be looked up, so nobody knows whether it came late.
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_unknown_age_is_not_called_whole() {
    let mut repo = TestRepository::new().await;
    repo.snapshot(&Files::from([("a".to_owned(), noise(1, 900_000))])).await.unwrap();
    let keeper = repo.add_keeper().await;
    let again = Files::from([("a".to_owned(), noise(2, 900_000))]);
    repo.fill_source(&again);
    let writer = Arc::clone(&repo.writer);
    let run = repo.begin(&writer).await.unwrap();
    let asleep = Gate::new();
    repo.faults.script(Rule::new(Fault::wait(&asleep)).on(Operation::Put).below("snapshots/"));
    repo.faults
        .script(Rule::new(Fault::answer(Answer::Denied)).on(Operation::Head).below("snapshots/").always());
    let meanwhile = async {
        asleep.arrivals(1).await;
        for _ in 0..2 {
            repo.faults.advance(days(GRACE_DAYS) + DAY);
            repo.prune(&keeper, GRACE_DAYS).await.unwrap();
        }
        asleep.open();
    };
    let (committed, ()) = tokio::join!(run.commit(), meanwhile);
    repo.faults.clear_script();
    assert!(committed.is_err(), "{committed:?}");
}

/// A keeper's machine sleeps between its reading of the history and its question for the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_prune_whose_history_is_older_than_its_time_deletes_nothing_that_was_committed_in_between() {
    let (mut repo, keeper) = with_an_unneeded_frame_in_a_pack_that_stays().await;
    // The run begins before anything is condemned.
    repo.fill_source(&large_and_small());
    let writer = Arc::clone(&repo.writer);
    let run = repo.begin(&writer).await.unwrap();
    repo.prune(&keeper, GRACE_DAYS).await.unwrap();
    let asleep = Gate::new();
    repo.faults.script(Rule::new(Fault::wait(&asleep)).on(Operation::Put).below("clock/"));
    let meanwhile = async {
        asleep.arrivals(1).await;
        let committed = run.commit().await.unwrap();
        repo.faults.advance(days(GRACE_DAYS) + Duration::from_mins(1));
        asleep.open();
        committed
    };
    let (pruned, committed) = tokio::join!(repo.prune(&keeper, GRACE_DAYS), meanwhile);
    pruned.unwrap();
    repo.faults.clear_script();
    repo.committed.insert(committed.id.unwrap(), large_and_small());
    repo.assert_all_restore("a prune with an old history").await;
}

/// A pack whose trailer cannot be read holds whole frames that nothing locates. A repair keeps it, and the next one
/// removes it, since the first has marked the frames as lost; after that not even a copy of the locations helps. A mark
/// of a host is enough for the first one to remove it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_a_repair_keeps_is_not_removed_by_the_next() {
    let mut wrong = Vec::new();
    for host_first in [false, true] {
        let mut repo = TestRepository::new().await;
        repo.packs = PackSizes::default();
        repo.snapshot(&large()).await.unwrap();
        let keeper = repo.add_keeper().await;
        let contents = repo.faults.contents();
        let packs = contents.iter().filter(|(key, _)| key.starts_with("packs/"));
        let (pack, bytes) = packs.max_by_key(|(_, bytes)| bytes.len()).unwrap();
        repo.flip(pack, bytes.len() - 30);
        for (key, _) in contents.iter().filter(|(key, _)| key.starts_with("locations/")) {
            repo.faults.take_away(key);
        }
        if host_first {
            let repository = repo.repository().await.unwrap();
            let maintenance = Maintenance::with_writer_key(repository, &repo.writer, context());
            maintenance.unwrap().repair(RepairOptions::default()).await.unwrap();
        }
        for time in ["first", "second"] {
            let maintenance = Maintenance::new(repo.as_keeper(&keeper).await.unwrap(), context());
            maintenance.repair(RepairOptions::default()).await.unwrap();
            if !repo.faults.contents().contains_key(pack) {
                wrong.push(format!("after a host's: {host_first}: the {time} repair of a keeper removes it"));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A host's own repair marks what is lost. That mark does not count for a prune, and keeps no keeper from making one
/// that does.
#[tokio::test(flavor = "multi_thread")]
async fn a_repair_by_a_keeper_after_one_by_a_host_lets_prunes_go_on() {
    for host_first in [false, true] {
        let mut repo = TestRepository::new().await;
        repo.snapshot(&large_and_small()).await.unwrap();
        let keeper = repo.add_keeper().await;
        let contents = repo.faults.contents();
        let packs = contents.iter().filter(|(key, _)| key.starts_with("packs/"));
        repo.faults.take_away(packs.max_by_key(|(_, bytes)| bytes.len()).unwrap().0);
        if host_first {
            let repository = repo.repository().await.unwrap();
            let maintenance = Maintenance::with_writer_key(repository, &repo.writer, context());
            let repaired = maintenance.unwrap().repair(RepairOptions::default()).await.unwrap();
            assert!(repaired.marked_frames > 0);
        }
        for (time, is_marked) in [("first", true), ("second", false)] {
            let maintenance = Maintenance::new(repo.as_keeper(&keeper).await.unwrap(), context());
            let repaired = maintenance.repair(RepairOptions::default()).await.unwrap();
            assert_eq!(repaired.marked_frames > 0, is_marked, "after a host's: {host_first}: {time}");
        }
        let pruned = repo.prune(&keeper, GRACE_DAYS).await.unwrap();
        assert!(pruned.held_back.is_empty(), "after a host's: {host_first}: {:?}", pruned.held_back);
    }
}

fn keys(repo: &TestRepository, folder: &str) -> Vec<String> {
    repo.faults.contents().into_keys().filter(|key| key.starts_with(folder)).collect()
}

/// Two snapshots, of which the first was forgotten and condemned long enough ago for a prune to delete it.
async fn with_what_is_due() -> (TestRepository, KeeperKey) {
    TestRepository::ready_to_sweep([0, 1].map(|seed| changing_and_staying(seed, 2_200_000))).await
}

async fn remove(repo: &TestRepository, keeper: &KeeperKey) {
    let restorer = repo.restorer().await.unwrap();
    let id = keeper.keeper.to_string();
    Membership::of(&restorer, &repo.context()).remove(&id, None, false, None).await.unwrap();
}

/// A keeper is removed while its prune deletes. A run that begins after that refers to nothing that the prune is about
/// to delete.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_refers_to_nothing_that_a_keeper_condemned_before_it_was_removed() {
    let (mut repo, keeper) = with_what_is_due().await;
    let gate = Gate::new();
    repo.faults.script(Rule::new(Fault::wait(&gate)).on(Operation::Delete).below("snapshots/"));
    let meanwhile = async {
        gate.arrivals(1).await;
        remove(&repo, &keeper).await;
        repo.fill_source(&changing_and_staying(0, 2_200_000));
        let writer = Arc::clone(&repo.writer);
        let run = repo.begin(&writer).await.unwrap();
        gate.open();
        run
    };
    let (pruned, run) = tokio::join!(repo.prune(&keeper, GRACE_DAYS), meanwhile);
    assert!(pruned.unwrap().deleted_objects > 0);
    repo.faults.clear_script();
    let committed = run.commit().await.unwrap();
    repo.committed.insert(committed.id.unwrap(), changing_and_staying(0, 2_200_000));
    repo.assert_all_restore("a keeper was removed").await;
}

/// A keeper is removed, the floor is raised, or the newest roster is damaged while a prune works out what to delete. A
/// new host does not stop it.
#[tokio::test(flavor = "multi_thread")]
async fn a_prune_deletes_nothing_after_a_roster_that_forbids_it() {
    for (what, goes_on) in [("removal", false), ("floor", false), ("damage", false), ("host", true)] {
        let (repo, keeper) = with_what_is_due().await;
        let gate = Gate::new();
        repo.faults.script(Rule::new(Fault::wait(&gate)).on(Operation::List).below("condemned"));
        let meanwhile = async {
            gate.arrivals(1).await;
            let (restorer, context) = (repo.restorer().await.unwrap(), repo.context());
            let membership = Membership::of(&restorer, &context);
            match what {
                "removal" => remove(&repo, &keeper).await,
                "floor" => membership.set_floor(Floor { days: 90, snapshots: 1 }).await.unwrap(),
                "damage" => {
                    let newest = keys(&repo, "roster/").pop().unwrap();
                    let number: u64 = newest.rsplit('/').next().unwrap().parse().unwrap();
                    repo.faults.plant(&format!("roster/{:010}", number + 1), b"junk".to_vec());
                }
                _ => drop(membership.add_writer(None, None, |_| Ok(())).await.unwrap()),
            }
            gate.open();
        };
        let (pruned, ()) = tokio::join!(repo.prune(&keeper, GRACE_DAYS), meanwhile);
        if goes_on {
            assert!(pruned.unwrap().deleted_objects > 0, "{what}");
            continue;
        }
        let error = pruned.unwrap_err();
        assert!(matches!(error, VaultError::RosterReplaced { .. }), "{what}: {error}");
        let deleted: Vec<_> =
            repo.faults.log().into_iter().filter(|call| call.operation == Operation::Delete).collect();
        assert!(deleted.iter().all(|call| call.key.starts_with("clock/")), "{what}: {deleted:?}");
    }
}

/// The key of a removed keeper was stolen: what it condemns makes no run store anything again.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_keeper_condemns_after_it_was_removed_counts_for_nobody() {
    let (mut repo, keeper) = with_what_is_due().await;
    let of_keeper = format!("condemned/{}/", keeper.keeper);
    let condemnations = repo.faults.contents().into_iter().filter(|(key, _)| key.starts_with(&of_keeper));
    let condemnations: Vec<_> = condemnations.collect();
    remove(&repo, &keeper).await;
    repo.faults.advance(DAY);
    for (key, bytes) in condemnations {
        repo.faults.take_away(&key);
        repo.faults.plant(&key, bytes);
    }
    let again = repo.snapshot(&changing_and_staying(0, 2_200_000)).await.unwrap();
    assert!(again.new_bytes < 1_000_000, "{} bytes were stored again", again.new_bytes);
}

/// What a removed keeper left cannot be deleted, as in a folder of its own user: that stops no prune.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_removed_keeper_left_and_cannot_be_deleted_stops_no_prune() {
    let (repo, keeper) = with_what_is_due().await;
    remove(&repo, &keeper).await;
    let other = repo.add_keeper().await;
    repo.faults.advance(days(GRACE_DAYS) + DAY);
    let of_keeper = format!("condemned/{}/", keeper.keeper);
    let denied = Rule::new(Fault::answer(Answer::Denied)).on(Operation::Delete).below(&of_keeper);
    repo.faults.script(denied.always());
    let pruned = repo.prune(&other, GRACE_DAYS).await.unwrap();
    assert!(pruned.warnings.iter().any(|warning| warning.contains(&of_keeper)), "{:?}", pruned.warnings);
}

/// What a removed keeper condemned is kept as long as a prune of its own might still delete by it, and no longer.
#[tokio::test(flavor = "multi_thread")]
async fn condemnations_of_a_removed_keeper_are_lifted_a_grace_after_the_removal() {
    let (repo, keeper) = with_what_is_due().await;
    remove(&repo, &keeper).await;
    let other = repo.add_keeper().await;
    let of_removed = format!("condemned/{}/", keeper.keeper);
    for (pass, left) in [(0, true), (GRACE_DAYS - 1, true), (1, false)] {
        repo.faults.advance(days(pass));
        let pruned = repo.prune(&other, GRACE_DAYS).await.unwrap();
        assert!(pruned.warnings.is_empty(), "{:?}", pruned.warnings);
        assert_eq!(!keys(&repo, &of_removed).is_empty(), left, "after {pass} more days");
    }
    repo.assert_all_restore("after the other keeper's prunes").await;
}
