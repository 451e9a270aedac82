//! Pruning while backups run, using only the storage's clock.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use jiff::SignedDuration;
use lifeboat_testkit::fault_store::{Answer, Fault, Gate, Operation, Rule};
use lifeboat_vault::{
    GRACE_DAYS, KeeperKey, LEASE_DAYS, Listing, Membership, SnapshotWriter, VaultError, WriterKey,
};

use crate::test_repository::{DAY, Files, TestRepository, days, files, noise};

/// A run that has captured `files` and is not committed yet.
async fn begin(
    repo: &TestRepository,
    writer: &Arc<WriterKey>,
    files: &Files,
) -> Result<SnapshotWriter, VaultError> {
    repo.fill_source(files);
    repo.begin(writer).await
}

/// The same run, killed before its manifest.
async fn kill_a_run(repo: &TestRepository, files: &Files) {
    let writer = Arc::clone(&repo.writer);
    let run = begin(repo, &writer, files).await.unwrap();
    repo.faults.script(Rule::new(Fault::answer(Answer::Gone)).below("parts/").always());
    run.commit().await.unwrap_err();
    repo.faults.clear_script();
}

fn stored_bytes(repo: &TestRepository) -> usize {
    let contents = repo.faults.contents();
    contents.iter().filter(|(key, _)| key.starts_with("packs/")).map(|(_, bytes)| bytes.len()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_is_deleted_after_the_grace_and_not_before() {
    let mut repo = TestRepository::new().await;
    for seed in 0..4 {
        repo.snapshot(&files(seed)).await.unwrap();
    }
    let keeper = repo.add_keeper().await;
    let session = repo.as_keeper(&keeper).await.unwrap();
    repo.forget_all_but(&session, 1).await.unwrap();
    let full = stored_bytes(&repo);
    let pruned = repo.prune(&keeper, GRACE_DAYS).await.unwrap();
    assert!(pruned.condemned_bytes > 4_000_000, "{pruned:?}");
    assert_eq!(pruned.deleted_objects, 0);
    repo.faults.advance(days(GRACE_DAYS).saturating_sub(Duration::from_mins(1)));
    assert_eq!(repo.prune(&keeper, GRACE_DAYS).await.unwrap().deleted_objects, 0);
    repo.assert_all_restore("condemned").await;
    repo.faults.advance(Duration::from_mins(2));
    let pruned = repo.prune(&keeper, GRACE_DAYS).await.unwrap();
    assert!(pruned.deleted_bytes > 4_000_000, "{pruned:?}");
    assert!(stored_bytes(&repo) < full / 2, "{} of {full} bytes are left", stored_bytes(&repo));
    repo.assert_all_restore("swept").await;
    let again = repo.prune(&keeper, GRACE_DAYS).await.unwrap();
    assert_eq!((again.condemned_objects, again.deleted_objects), (0, 0), "{again:?}");
    repo.snapshot(&files(9)).await.unwrap();
    repo.assert_all_restore("after the next run").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_whose_clock_is_a_week_off_deletes_nothing_early() {
    for off in [SignedDuration::from_hours(24 * 30), SignedDuration::from_hours(-24 * 30)] {
        let mut repo = TestRepository::new().await;
        for seed in 0..2 {
            repo.snapshot(&files(seed)).await.unwrap();
        }
        let keeper = repo.add_keeper().await;
        repo.clock.jump(off);
        let session = repo.as_keeper(&keeper).await.unwrap();
        repo.forget_all_but(&session, 1).await.unwrap();
        for _ in 0..3 {
            let pruned = repo.prune(&keeper, GRACE_DAYS).await.unwrap();
            assert_eq!(pruned.deleted_objects, 0, "{off:?}");
        }
        repo.assert_all_restore("a keeper's clock is off").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_refers_to_what_is_condemned_in_the_meantime_keeps_it() {
    for (sweep_first, prunes) in [(false, 1), (true, 2)] {
        let (mut repo, keeper, run) = TestRepository::with_a_run_on_what_is_forgotten(files).await;
        for _ in 0..prunes {
            repo.prune(&keeper, GRACE_DAYS).await.unwrap();
        }
        if sweep_first {
            // Just within the lease: no sweep can have happened.
            repo.faults.advance(days(LEASE_DAYS).saturating_sub(Duration::from_hours(1)));
            repo.prune(&keeper, GRACE_DAYS).await.unwrap();
        }
        let committed = run.commit().await.unwrap();
        repo.committed.insert(committed.id.unwrap(), files(0));
        repo.assert_all_restore("committed after a condemnation").await;
        repo.faults.advance(days(GRACE_DAYS) + DAY);
        for _ in 0..3 {
            repo.prune(&keeper, GRACE_DAYS).await.unwrap();
            repo.assert_all_restore("swept after that").await;
            repo.faults.advance(days(GRACE_DAYS) + DAY);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_past_its_lease_is_refused() {
    let mut repo = TestRepository::new().await;
    repo.snapshot(&files(0)).await.unwrap();
    let writer = repo.writer.clone();
    let run = begin(&repo, &writer, &files(1)).await.unwrap();
    repo.faults.advance(days(LEASE_DAYS) + Duration::from_hours(1));
    let error = run.commit().await.unwrap_err();
    assert!(matches!(error, VaultError::PastLease { .. }), "{error}");
    repo.assert_all_restore("refused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_stored_after_the_listing_holds_no_prune_back() {
    let mut repo = TestRepository::new().await;
    repo.snapshot(&files(0)).await.unwrap();
    let keeper = repo.add_keeper().await;
    let before = repo.faults.contents();
    let writer = repo.writer.clone();
    let run = begin(&repo, &writer, &files(1)).await.unwrap();
    let gate = Gate::new();
    repo.faults.script(Rule::new(Fault::wait(&gate)).on(Operation::Put).below("parts/"));
    let pruning = async {
        gate.arrivals(1).await;
        // The listing already has the run's index, but not yet its packs.
        let mut shown = repo.faults.contents();
        let all = shown.len();
        shown.retain(|key, _| !key.starts_with("packs/") || before.contains_key(key));
        assert!(shown.len() < all, "nothing of the run is stored");
        repo.faults.script(Rule::new(Fault::stale_listing(&shown)).on(Operation::List).always());
        let pruned = repo.prune(&keeper, GRACE_DAYS).await.unwrap();
        assert_eq!(pruned.held_back, Vec::<String>::new());
        repo.faults.clear_script();
        gate.open();
    };
    let (committed, ()) = tokio::join!(run.commit(), pruning);
    let committed = committed.unwrap();
    repo.committed.insert(committed.id.unwrap(), files(1));
    repo.assert_all_restore("a run that a listing has half of").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_without_grace_under_a_run_costs_the_run_and_nothing_else() {
    let (mut repo, keeper, run) = TestRepository::with_a_run_on_what_is_forgotten(files).await;
    repo.prune(&keeper, 0).await.unwrap();
    let error = run.commit().await.unwrap_err();
    assert!(matches!(error, VaultError::PrunedUnderWay { .. }), "{error}");
    repo.assert_all_restore("after the failed run").await;
    repo.snapshot(&files(0)).await.unwrap();
    repo.assert_all_restore("after the next run").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_run_left_is_kept_for_its_lease_and_deleted_after_it() {
    let mut repo = TestRepository::new().await;
    repo.snapshot(&files(0)).await.unwrap();
    let keeper = repo.add_keeper().await;
    let before = stored_bytes(&repo);
    kill_a_run(&repo, &files(1)).await;
    let with_leftovers = stored_bytes(&repo);
    assert!(with_leftovers > before);
    repo.prune(&keeper, 0).await.unwrap();
    assert_eq!(stored_bytes(&repo), with_leftovers);
    repo.faults.advance(days(LEASE_DAYS) + DAY);
    repo.prune(&keeper, 0).await.unwrap();
    assert_eq!(stored_bytes(&repo), before);
    repo.assert_all_restore("leftovers are gone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_while_a_manifest_is_missing_or_unreadable() {
    let mut repo = TestRepository::new().await;
    for seed in 0..3 {
        repo.snapshot(&files(seed)).await.unwrap();
    }
    let keeper = repo.add_keeper().await;
    let manifest = format!("snapshots/{}/0000000001", repo.writer.writer);
    for damage in ["withheld", "flipped"] {
        let repo = repo.fork();
        if damage == "withheld" {
            repo.faults.take_away(&manifest);
        } else {
            let mut bytes = repo.faults.contents()[&manifest].to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            repo.faults.plant(&manifest, bytes);
        }
        repo.faults.clear_log();
        let error = repo.prune(&keeper, 0).await.unwrap_err();
        assert!(matches!(error, VaultError::NotWhole { .. }), "{damage}: {error}");
        // Only the object from which it learned the time.
        let clock = repo.faults.count(Operation::Delete, "clock/");
        assert_eq!(repo.faults.count(Operation::Delete, ""), clock, "{damage}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_whose_index_is_damaged_is_left_as_it_is_until_it_was_repaired() {
    let mut repo = TestRepository::new().await;
    let writer = Arc::clone(&repo.writer);
    let restorer = repo.restorer().await.unwrap();
    let other = Arc::new(
        Membership::of(&restorer, &repo.context()).add_writer(None, None, |_| Ok(())).await.unwrap(),
    );
    for seed in 0..3 {
        repo.snapshot_by(&writer, &files(seed)).await.unwrap();
        repo.snapshot_by(&other, &files(seed)).await.unwrap();
    }
    let keeper = repo.add_keeper().await;
    let session = repo.as_keeper(&keeper).await.unwrap();
    repo.forget_all_but(&session, 1).await.unwrap();
    let group = writer.group_id();
    for folder in ["locations", "parts"] {
        for damage in ["withheld", "flipped"] {
            let contents = repo.faults.contents();
            let mut held_back = 0;
            for entry in repo.store().list(&format!("{folder}/{group}")).await.unwrap() {
                let repo = repo.fork();
                if damage == "withheld" {
                    repo.faults.take_away(&entry.key);
                } else {
                    let mut bytes = contents[&entry.key].to_vec();
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 1;
                    repo.faults.plant(&entry.key, bytes);
                }
                repo.faults.clear_log();
                let pruned = repo.prune(&keeper, 0).await.unwrap();
                let deleted = repo.faults.log();
                let deleted = deleted.iter().filter(|call| call.operation == Operation::Delete);
                let deleted: Vec<&str> = deleted.map(|call| call.key.as_str()).collect();
                let of_group = deleted.iter().filter(|key| key.contains(&group.to_string())).count();
                let of_other =
                    deleted.iter().filter(|key| key.contains(&other.group_id().to_string())).count();
                assert!(of_other > 0, "{damage} {}: the other group was not pruned", entry.key);
                if pruned.held_back.is_empty() {
                    // It belonged to a forgotten snapshot and nothing depends on it, or the packs' own trailers contain
                    // the same.
                    repo.assert_all_restore(&format!("{damage} {}", entry.key)).await;
                    continue;
                }
                held_back += 1;
                assert_eq!(of_group, 0, "{damage} {}", entry.key);
                repo.faults.plant(&entry.key, contents[&entry.key].clone());
                repo.assert_all_restore(&format!("{damage} {}, and restored", entry.key)).await;
                assert_eq!(repo.prune(&keeper, 0).await.unwrap().held_back, Vec::<String>::new());
                repo.assert_all_restore("pruned in the end").await;
            }
            let is_in_trailers = (folder, damage) == ("locations", "withheld");
            assert_eq!(
                held_back == 0,
                is_in_trailers,
                "{damage} {folder}: the newest snapshot needs one of them"
            );
        }
    }
}

/// Runs `pause` at each operation of `act` in turn, and passes each sequence of events to `then`.
async fn interleave(
    base: &TestRepository,
    act: impl AsyncFn(&mut TestRepository) -> Result<(), VaultError>,
    pause: impl AsyncFn(&mut TestRepository),
    then: impl AsyncFn(&mut TestRepository, Result<(), VaultError>, &str),
) {
    let mut whole = base.fork();
    let before = whole.faults.operations();
    act(&mut whole).await.unwrap();
    let operations = whole.faults.operations() - before;
    assert!(operations > 5, "{operations} operations only");
    for n in 1..=operations {
        let mut one = base.fork();
        let mut other = one.elsewhere();
        let gate = Gate::new();
        one.faults.script(Rule::new(Fault::wait(&gate)).nth(n));
        let outcome = match select(Box::pin(act(&mut one)), pin!(gate.arrivals(1))).await {
            // Threads decide how many packs and index objects a run makes: this one made fewer requests.
            Either::Left((outcome, _)) => {
                pause(&mut other).await;
                outcome
            }
            Either::Right(((), acting)) => {
                pause(&mut other).await;
                gate.open();
                acting.await
            }
        };
        one.faults.clear_script();
        one.committed.append(&mut other.committed);
        then(&mut one, outcome, &format!("at operation {n} of {operations}")).await;
    }
}

/// Three snapshots, of which all but the newest were forgotten and condemned, long enough ago to be swept now.
async fn ready_to_sweep() -> (TestRepository, KeeperKey) {
    TestRepository::ready_to_sweep((0..3).map(files)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_at_any_moment_of_a_run_harms_neither() {
    let (repo, keeper) = ready_to_sweep().await;
    interleave(
        &repo,
        // It stores condemned chunks again, and refers to the others.
        async |repo| repo.snapshot(&files(0)).await.map(drop),
        async |repo| drop(repo.prune(&keeper, GRACE_DAYS).await.unwrap()),
        async |repo, outcome, when| {
            outcome.unwrap_or_else(|error| panic!("a run with a prune {when}: {error}"));
            repo.assert_all_restore(&format!("a run with a prune {when}")).await;
            repo.faults.advance(days(GRACE_DAYS) + DAY);
            repo.prune(&keeper, GRACE_DAYS).await.unwrap();
            repo.assert_all_restore(&format!("swept after a run with a prune {when}")).await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_at_any_moment_of_a_prune_harms_neither() {
    let (repo, keeper) = ready_to_sweep().await;
    interleave(
        &repo,
        async |repo| repo.prune(&keeper, GRACE_DAYS).await.map(drop),
        async |repo| _ = repo.snapshot(&files(1)).await.unwrap(),
        async |repo, outcome, when| {
            outcome.unwrap_or_else(|error| panic!("a prune with a run {when}: {error}"));
            repo.assert_all_restore(&format!("a prune with a run {when}")).await;
            repo.faults.advance(days(GRACE_DAYS) + DAY);
            repo.prune(&keeper, GRACE_DAYS).await.unwrap();
            repo.assert_all_restore(&format!("swept after a prune with a run {when}")).await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_prunes_at_once_harm_nothing() {
    let (repo, keeper) = ready_to_sweep().await;
    interleave(
        &repo,
        async |repo| repo.prune(&keeper, GRACE_DAYS).await.map(drop),
        async |repo| drop(repo.prune(&keeper, GRACE_DAYS).await.unwrap()),
        async |repo, outcome, when| {
            outcome.unwrap_or_else(|error| panic!("a prune with another {when}: {error}"));
            repo.assert_all_restore(&format!("a prune with another {when}")).await;
        },
    )
    .await;
}

/// How many requests a restore of the newest snapshot sends for packs, and how many bytes it reads.
async fn cost_of_a_restore(repo: &TestRepository) -> (usize, u64) {
    let restorer = repo.restorer().await.unwrap();
    let newest = Listing::read(restorer.session()).await.unwrap().find("latest", None).unwrap();
    repo.faults.clear_log();
    let (damaged, _) = repo.restore(&restorer, newest).await.unwrap();
    assert_eq!(damaged, Vec::<String>::new());
    let reads = repo.faults.log().into_iter().filter(|call| call.key.starts_with("packs/"));
    reads.fold((0, 0), |(count, bytes), call| (count + 1, bytes + call.bytes))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_runs_of_small_changes_leave_little_behind_once_the_first_ninety_are_forgotten() {
    let mut repo = TestRepository::new().await;
    // 400 files, of which each run changes four, anywhere among them.
    let mut seeds: Vec<u64> = (0..400).collect();
    let content = |seeds: &[u64]| -> Files {
        let files = seeds.iter().enumerate();
        files.map(|(number, seed)| (format!("file-{number:03}"), noise(*seed, 30_000))).collect()
    };
    let mut state = 7_u64;
    let mut kept = Vec::new();
    for run in 0..100_u64 {
        for change in 0..4 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = usize::try_from(state >> 33).unwrap() % seeds.len();
            seeds[at] = 1_000 + run * 4 + change;
        }
        repo.snapshot(&content(&seeds)).await.unwrap();
        if run >= 90 {
            kept.push(content(&seeds));
        }
    }
    let keeper = repo.add_keeper().await;
    let session = repo.as_keeper(&keeper).await.unwrap();
    repo.forget_all_but(&session, 10).await.unwrap();
    repo.prune(&keeper, 0).await.unwrap();
    repo.assert_all_restore("pruned").await;
    // The same ten snapshots, in a repository that never contained the other ninety.
    let mut fresh = TestRepository::new().await;
    for content in &kept {
        fresh.snapshot(content).await.unwrap();
    }
    let (old, new) = (stored_bytes(&repo), stored_bytes(&fresh));
    // Each of the ten runs stores up to 3 percent of its chunks again, out of frames of which it uses less than 70
    // percent. So the ten snapshots have up to 130 percent of the chunks of a fresh repository, in frames of which they
    // need at least 70 percent.
    assert!(old * 70 <= new * 130, "{old} bytes, where a fresh repository has {new}");
    // The cost of a restore is its requests to the store; the rest is the same for both.
    let ((requests, bytes), (fresh_requests, fresh_bytes)) =
        (cost_of_a_restore(&repo).await, cost_of_a_restore(&fresh).await);
    assert!(bytes * 10 <= fresh_bytes * 15, "{bytes} bytes are read, of a fresh repository {fresh_bytes}");
    assert!(
        requests * 10 <= fresh_requests * 15,
        "{requests} requests, to a fresh repository {fresh_requests}"
    );
}
