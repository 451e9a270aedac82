//! Runs that end without a snapshot: the next run uses what they leave, or the next prune deletes it.

use std::time::{Duration, Instant};

use lifeboat_testkit::fault_store::{Answer, Fault, Operation, Rule};
use lifeboat_vault::{LEASE_DAYS, VaultError};

use crate::test_repository::{DAY, TestRepository, days, files, noise};

/// Bytes of packs in the store.
fn pack_bytes(repo: &TestRepository) -> u64 {
    repo.faults
        .contents()
        .iter()
        .filter(|(key, _)| key.starts_with("packs/"))
        .map(|(_, bytes)| bytes.len() as u64)
        .sum()
}

fn marks(repo: &TestRepository) -> usize {
    repo.faults.contents().keys().filter(|key| key.strip_suffix(".end").is_some()).count()
}

/// A run that has captured everything, and stored a MB of it, is told to end.
async fn end_a_run(repo: &TestRepository) -> Result<(), VaultError> {
    let before = pack_bytes(repo);
    let run = repo.begin(&repo.writer).await?;
    let open = run.open_run();
    let deadline = Instant::now() + Duration::from_secs(30);
    while pack_bytes(repo) < before + 1_000_000 {
        assert!(Instant::now() < deadline, "the run stores nothing");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(run);
    open.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_ended_run_left_is_deleted_at_once() {
    let mut repo = TestRepository::new().await;
    let keeper = repo.add_keeper().await;
    repo.snapshot(&files(1)).await.unwrap();
    let before = pack_bytes(&repo);
    repo.fill_source(&files(2));
    end_a_run(&repo).await.unwrap();
    let after = pack_bytes(&repo);
    assert_eq!(marks(&repo), 1);
    let pruned = repo.prune(&keeper, 0).await.unwrap();
    assert!(pruned.under_way.is_empty(), "{pruned:?}");
    assert!(pruned.deleted_bytes > after - before, "{pruned:?}");
    assert_eq!(pack_bytes(&repo), before);
    assert_eq!(marks(&repo), 0, "the mark is deleted with its run");
    repo.assert_all_restore("a run ended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_ended_run_stored_is_used_by_the_next() {
    let mut repo = TestRepository::new().await;
    let content = [("large".to_owned(), noise(7, 4_000_000))].into();
    repo.fill_source(&content);
    end_a_run(&repo).await.unwrap();
    let landed = pack_bytes(&repo);
    let committed = repo.snapshot(&content).await.unwrap();
    assert!(
        committed.new_bytes < 4_100_000 - landed,
        "what was stored ({landed}) is not stored twice: {committed:?}"
    );
    repo.assert_all_restore("the stored data was used").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_under_way_keeps_its_frames_whatever_the_grace() {
    let mut repo = TestRepository::new().await;
    let keeper = repo.add_keeper().await;
    let other = repo.elsewhere();
    other.fill_source(&files(3));
    let run = other.begin(&other.writer).await.unwrap();
    // Long enough that everything is in the store before the prune lists it.
    repo.snapshot(&files(4)).await.unwrap();
    let pruned = repo.prune(&keeper, 0).await.unwrap();
    assert_eq!(pruned.under_way.len(), 1, "{pruned:?}");
    let committed = run.commit().await.unwrap();
    repo.committed.insert(committed.id.unwrap(), files(3));
    repo.assert_all_restore("a prune passed a run under way").await;
}

/// Only the first run's snapshot shows that this run is over, and a later snapshot needs what it stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_snapshot_was_forgotten_is_not_under_way() {
    let mut repo = TestRepository::new().await;
    let keeper = repo.add_keeper().await;
    repo.snapshot(&files(1)).await.unwrap();
    repo.snapshot(&files(1)).await.unwrap();
    let session = repo.as_keeper(&keeper).await.unwrap();
    repo.forget_all_but(&session, 1).await.unwrap();
    for _ in 0..3 {
        let pruned = repo.prune(&keeper, 0).await.unwrap();
        assert!(pruned.under_way.is_empty(), "{pruned:?}");
    }
    repo.assert_all_restore("a snapshot was forgotten").await;
    repo.faults.advance(days(LEASE_DAYS));
    let manifests = |repo: &TestRepository| {
        repo.faults.contents().keys().filter(|key| key.starts_with("snapshots/")).count()
    };
    assert_eq!(manifests(&repo), 2, "the manifest stays while its run could be taken for one under way");
    repo.prune(&keeper, 0).await.unwrap();
    assert_eq!(manifests(&repo), 1);
    let pruned = repo.prune(&keeper, 0).await.unwrap();
    assert_eq!((pruned.condemned_objects, pruned.deleted_objects), (0, 0), "{pruned:?}");
    repo.assert_all_restore("a lease has passed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_run_that_died_is_marked_by_the_next() {
    let mut repo = TestRepository::new().await;
    let keeper = repo.add_keeper().await;
    // Other files: the next run uses what a dead run had stored, and then its mark stays.
    repo.fill_source(&files(4));
    // A process that dies frees the lock, and stores no mark.
    drop(repo.begin(&repo.writer).await.unwrap());
    assert_eq!(marks(&repo), 0);
    repo.fill_source(&files(5));
    let living = repo.begin(&repo.writer).await.unwrap();
    assert_eq!(marks(&repo), 1, "of the one that died, and not of itself");
    let committed = living.commit().await.unwrap();
    repo.committed.insert(committed.id.unwrap(), files(5));
    assert_eq!(marks(&repo), 1);
    repo.faults.advance(DAY);
    let pruned = repo.prune(&keeper, 0).await.unwrap();
    assert!(pruned.under_way.is_empty(), "{pruned:?}");
    assert_eq!(marks(&repo), 0, "{pruned:?}");
    repo.assert_all_restore("a run died").await;
}

/// A commit whose answer is lost may have succeeded: then the run must not be marked as having no snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_manifest_may_have_landed_is_not_marked() {
    let repo = TestRepository::new().await;
    repo.fill_source(&files(6));
    let run = repo.begin(&repo.writer).await.unwrap();
    let open = run.open_run();
    repo.faults
        .script(Rule::new(Fault::lost_response(Answer::Status(500))).on(Operation::Put).below("snapshots/"));
    let committed = run.commit().await;
    open.end().await;
    assert_eq!(marks(&repo), 0, "{committed:?}");
}
