//! Damaged or missing objects cost what was stored in them and nothing else, and the next backup stores it again.

use lifeboat_testkit::context;
use lifeboat_testkit::fault_store::{Fault, Gate, Operation, Rule};
use lifeboat_vault::check::Maintenance;
use lifeboat_vault::repair::RepairOptions;
use lifeboat_vault::{GRACE_DAYS, LEASE_DAYS, PackSizes, VaultError};

use crate::test_repository::{DAY, Files, TestRepository, days, files, noise};

/// Twelve files of a MiB, which fill a pack of a dozen frames.
fn twelve() -> Files {
    (0..12).map(|n| (format!("file-{n:02}"), noise(n, 1 << 20))).collect()
}

/// A locations object and one bit of a pack are damaged: a repair keeps every whole frame, using the pack's own
/// trailer.
#[tokio::test(flavor = "multi_thread")]
async fn one_bit_in_a_pack_costs_one_frame_even_if_the_locations_are_damaged_too() {
    for eighth in 1..8 {
        let mut repo = TestRepository::new().await;
        repo.packs = PackSizes::default();
        repo.snapshot(&twelve()).await.unwrap();
        let keeper = repo.add_keeper().await;
        let contents = repo.faults.contents();
        let locations = contents.keys().filter(|key| key.starts_with("locations/"));
        locations.for_each(|key| repo.flip(key, contents[key].len() / 2));
        let packs = contents.iter().filter(|(key, _)| key.starts_with("packs/"));
        let (pack, bytes) = packs.max_by_key(|(_, bytes)| bytes.len()).unwrap();
        assert!(bytes.len() > 8 << 20, "the pack has many frames");
        repo.flip(pack, bytes.len() / 8 * eighth);
        let session = repo.as_keeper(&keeper).await.unwrap();
        let maintenance = Maintenance::new(session, context());
        maintenance.repair(RepairOptions::default()).await.unwrap();
        let (damaged, found) = repo.bring_back("latest").await;
        assert!(found.iter().all(|(name, bytes)| twelve()[name] == *bytes), "{eighth}/8: other bytes");
        // A frame holds the end of one file and the beginning of the next.
        assert!(found.len() >= 10 && damaged.len() <= 2, "{eighth}/8: {damaged:?}");
    }
}

/// A machine sleeps after its last check, and before its manifest is stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_sleeps_before_its_manifest_keeps_its_data_or_fails_loudly() {
    for (sleep, is_within_lease) in [(LEASE_DAYS - 1, true), (GRACE_DAYS + 1, false), (3 * GRACE_DAYS, false)]
    {
        let mut repo = TestRepository::new().await;
        repo.snapshot(&files(0)).await.unwrap();
        repo.snapshot(&files(1)).await.unwrap();
        let keeper = repo.add_keeper().await;
        let mut elsewhere = repo.elsewhere();
        let gate = Gate::new();
        repo.faults.script(Rule::new(Fault::wait(&gate)).on(Operation::Put).below("snapshots/"));
        let meanwhile = async {
            gate.arrivals(1).await;
            // The frames that it refers to are needed by a snapshot that is forgotten now.
            let session = elsewhere.as_keeper(&keeper).await.unwrap();
            elsewhere.forget_all_but(&session, 1).await.unwrap();
            elsewhere.prune(&keeper, GRACE_DAYS).await.unwrap();
            for _ in 0..sleep {
                elsewhere.faults.advance(DAY);
                elsewhere.prune(&keeper, GRACE_DAYS).await.unwrap();
            }
            gate.open();
        };
        let again = files(0);
        let (committed, ()) = tokio::join!(repo.snapshot(&again), meanwhile);
        repo.faults.clear_script();
        let when = format!("{sleep} days");
        match committed {
            Ok(committed) => {
                let id = committed.id.unwrap();
                let (damaged, found) = repo.bring_back(&id.to_string()).await;
                assert!(damaged.is_empty() && found == again, "{when}: {damaged:?}");
            }
            Err(error) => {
                assert!(!is_within_lease, "{when}: {error}");
                let is_told =
                    matches!(error, VaultError::CommittedTooLate { .. } | VaultError::PrunedUnderWay { .. });
                assert!(is_told, "{when}: {error}");
            }
        }
    }
}

/// A prune that began before the manifest was stored deletes registrations, with the keys of runs, and parts.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_slept_looks_for_everything_that_its_snapshot_needs() {
    for (folder, is_own) in [("runs/", true), ("runs/", false), ("parts/", true)] {
        let mut repo = TestRepository::new().await;
        repo.snapshot(&files(0)).await.unwrap();
        let before = repo.faults.contents();
        let (faults, gate) = (repo.faults.clone(), Gate::new());
        repo.faults.script(Rule::new(Fault::wait(&gate)).on(Operation::Put).below("snapshots/"));
        let meanwhile = async {
            gate.arrivals(1).await;
            faults.advance(days(GRACE_DAYS + 1));
            let contents = faults.contents();
            let is_it = |key: &&String| key.starts_with(folder) && before.contains_key(*key) != is_own;
            faults.take_away(contents.keys().find(is_it).unwrap());
            gate.open();
        };
        // Half of it is new, so that the run stores frames, and refers to frames of the run before.
        let again: Files = files(0).into_iter().chain([("new".to_owned(), noise(7, 100_000))]).collect();
        let (committed, ()) = tokio::join!(repo.snapshot(&again), meanwhile);
        match committed.unwrap_err() {
            VaultError::CommittedTooLate { evidence, .. } => assert!(evidence.contains(folder), "{evidence}"),
            other => panic!("{folder}: {other}"),
        }
    }
}

/// A lost registration that is back is young, however old its run is: a repair stored it again, or the storage.
#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_was_lost_and_is_back_gives_a_run_no_more_time() {
    for pause in [LEASE_DAYS - 1, LEASE_DAYS + 1] {
        let repo = TestRepository::new().await;
        repo.fill_source(&files(0));
        let run = repo.begin(&repo.writer).await.unwrap();
        repo.faults.advance(days(pause));
        let contents = repo.faults.contents();
        let (registration, bytes) = contents.iter().find(|(key, _)| key.starts_with("runs/")).unwrap();
        repo.faults.take_away(registration);
        repo.store().create(registration, bytes.clone()).await.unwrap();
        match run.commit().await {
            Ok(_) => assert!(pause < LEASE_DAYS, "a run of {pause} days commits"),
            Err(VaultError::PastLease { .. }) => assert!(pause > LEASE_DAYS),
            Err(other) => panic!("{pause} days: {other}"),
        }
    }
}

/// Packs are deleted by hand: a backup of unchanged files stores the missing data.
#[tokio::test(flavor = "multi_thread")]
async fn the_contents_of_a_deleted_pack_are_stored_again() {
    let mut base = TestRepository::new().await;
    base.snapshot(&files(0)).await.unwrap();
    let packs: Vec<String> =
        base.faults.contents().into_keys().filter(|key| key.starts_with("packs/")).collect();
    assert!(packs.len() > 2, "{packs:?}");
    for pack in packs {
        for is_same_host in [true, false] {
            let mut repo = base.fork();
            if is_same_host {
                // The host's cache has its files, and that their chunks are stored.
                repo.snapshot(&files(0)).await.unwrap();
            }
            repo.faults.take_away(&pack);
            let committed = repo.snapshot(&files(0)).await.unwrap();
            let (damaged, found) = repo.bring_back(&committed.id.unwrap().to_string()).await;
            assert!(
                damaged.is_empty() && found == files(0),
                "{pack}, same host: {is_same_host}: {damaged:?}"
            );
        }
    }
}
