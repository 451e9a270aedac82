//! Runs that end without a snapshot: the next run uses what they leave, or the next prune deletes it.

use std::time::{Duration, Instant};

use lifeboat_testkit::fault_store::{Answer, Fault, Operation, Rule};
use lifeboat_vault::{LEASE_DAYS, VaultError};

use crate::yard::{DAY, Yard, days, files, noise};

/// Bytes of packs in the store.
fn pack_bytes(yard: &Yard) -> u64 {
    yard.faults
        .contents()
        .iter()
        .filter(|(key, _)| key.starts_with("packs/"))
        .map(|(_, bytes)| bytes.len() as u64)
        .sum()
}

fn marks(yard: &Yard) -> usize {
    yard.faults.contents().keys().filter(|key| key.strip_suffix(".end").is_some()).count()
}

/// A run that has captured everything, and stored a MB of it, is told to end.
async fn end_a_run(yard: &Yard) -> Result<(), VaultError> {
    let before = pack_bytes(yard);
    let run = yard.begin(&yard.writer).await?;
    let open = run.open_run();
    let deadline = Instant::now() + Duration::from_secs(30);
    while pack_bytes(yard) < before + 1_000_000 {
        assert!(Instant::now() < deadline, "the run stores nothing");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(run);
    open.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_ended_run_left_is_deleted_at_once() {
    let mut yard = Yard::new().await;
    let keeper = yard.add_keeper().await;
    yard.snapshot(&files(1)).await.unwrap();
    let before = pack_bytes(&yard);
    yard.fill_source(&files(2));
    end_a_run(&yard).await.unwrap();
    let after = pack_bytes(&yard);
    assert_eq!(marks(&yard), 1);
    let pruned = yard.prune(&keeper, 0).await.unwrap();
    assert!(pruned.under_way.is_empty(), "{pruned:?}");
    assert!(pruned.deleted_bytes > after - before, "{pruned:?}");
    assert_eq!(pack_bytes(&yard), before);
    assert_eq!(marks(&yard), 0, "the mark is deleted with its run");
    yard.assert_all_restore("a run ended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_ended_run_stored_is_used_by_the_next() {
    let mut yard = Yard::new().await;
    let content = [("large".to_owned(), noise(7, 4_000_000))].into();
    yard.fill_source(&content);
    end_a_run(&yard).await.unwrap();
    let landed = pack_bytes(&yard);
    let committed = yard.snapshot(&content).await.unwrap();
    assert!(
        committed.new_bytes < 4_100_000 - landed,
        "what was stored ({landed}) is not stored twice: {committed:?}"
    );
    yard.assert_all_restore("the stored data was used").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_under_way_keeps_its_frames_whatever_the_grace() {
    let mut yard = Yard::new().await;
    let keeper = yard.add_keeper().await;
    let other = yard.elsewhere();
    other.fill_source(&files(3));
    let run = other.begin(&other.writer).await.unwrap();
    // Long enough that everything is in the store before the prune lists it.
    yard.snapshot(&files(4)).await.unwrap();
    let pruned = yard.prune(&keeper, 0).await.unwrap();
    assert_eq!(pruned.under_way.len(), 1, "{pruned:?}");
    let committed = run.commit(&crate::yard::silent()).await.unwrap();
    yard.committed.insert(committed.id.unwrap(), files(3));
    yard.assert_all_restore("a prune passed a run under way").await;
}

/// Only the first run's snapshot shows that this run is over, and a later snapshot needs what it stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_snapshot_was_forgotten_is_not_under_way() {
    let mut yard = Yard::new().await;
    let keeper = yard.add_keeper().await;
    yard.snapshot(&files(1)).await.unwrap();
    yard.snapshot(&files(1)).await.unwrap();
    let viewer = yard.as_keeper(&keeper).await.unwrap();
    yard.forget_all_but(&viewer, 1).await.unwrap();
    for _ in 0..3 {
        let pruned = yard.prune(&keeper, 0).await.unwrap();
        assert!(pruned.under_way.is_empty(), "{pruned:?}");
    }
    yard.assert_all_restore("a snapshot was forgotten").await;
    yard.faults.advance(days(LEASE_DAYS));
    let manifests =
        |yard: &Yard| yard.faults.contents().keys().filter(|key| key.starts_with("snapshots/")).count();
    assert_eq!(manifests(&yard), 2, "the manifest stays while its run could be taken for one under way");
    yard.prune(&keeper, 0).await.unwrap();
    assert_eq!(manifests(&yard), 1);
    let pruned = yard.prune(&keeper, 0).await.unwrap();
    assert_eq!((pruned.condemned_objects, pruned.deleted_objects), (0, 0), "{pruned:?}");
    yard.assert_all_restore("a lease has passed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_run_that_died_is_marked_by_the_next() {
    let mut yard = Yard::new().await;
    let keeper = yard.add_keeper().await;
    // Other files: the next run uses what a dead run had stored, and then its mark stays.
    yard.fill_source(&files(4));
    // A process that dies frees the lock, and stores no mark.
    drop(yard.begin(&yard.writer).await.unwrap());
    assert_eq!(marks(&yard), 0);
    yard.fill_source(&files(5));
    let living = yard.begin(&yard.writer).await.unwrap();
    assert_eq!(marks(&yard), 1, "of the one that died, and not of itself");
    let committed = living.commit(&crate::yard::silent()).await.unwrap();
    yard.committed.insert(committed.id.unwrap(), files(5));
    assert_eq!(marks(&yard), 1);
    yard.faults.advance(DAY);
    let pruned = yard.prune(&keeper, 0).await.unwrap();
    assert!(pruned.under_way.is_empty(), "{pruned:?}");
    assert_eq!(marks(&yard), 0, "{pruned:?}");
    yard.assert_all_restore("a run died").await;
}

/// A commit whose answer is lost may have succeeded: then the run must not be marked as having no snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_manifest_may_have_landed_is_not_marked() {
    let yard = Yard::new().await;
    yard.fill_source(&files(6));
    let run = yard.begin(&yard.writer).await.unwrap();
    let open = run.open_run();
    yard.faults
        .script(Rule::new(Fault::lost_response(Answer::Status(500))).on(Operation::Put).below("snapshots/"));
    let committed = run.commit(&crate::yard::silent()).await;
    open.end().await;
    assert_eq!(marks(&yard), 0, "{committed:?}");
}
