//! Several hosts at once: two of one group, a host and its clone, and a store that shows them different histories.

use std::collections::BTreeMap;
use std::sync::Arc;

use lifeboat_testkit::context;
use lifeboat_testkit::fault_store::{Fault, Gate, Operation, Rule};
use lifeboat_vault::check::{CheckOptions, Maintenance, ReadData, Shard};
use lifeboat_vault::{Listing, Membership, ObjectError, PinFile, Repository, Session, VaultError};

use crate::test_repository::{Files, TestRepository, noise};

fn files(own: u64) -> Files {
    BTreeMap::from([("own".to_owned(), noise(own, 300_000)), ("shared".to_owned(), noise(1_000, 600_000))])
}

/// A list of files, and a chunk or two that are stored again because their frame is hardly used any more, in bytes.
const NEXT_TO_NOTHING: u64 = 100_000;

/// A keeper reads every byte and finds nothing wrong.
async fn assert_all_is_whole(repo: &TestRepository) {
    let keeper = repo.add_keeper().await;
    let maintenance = Maintenance::new(repo.as_keeper(&keeper).await.unwrap(), context());
    let everything = CheckOptions { read_data: ReadData::All, shard: Shard::WHOLE };
    let findings = maintenance.check(everything).await.unwrap();
    assert!(findings.damage.is_empty() && findings.unread.is_empty(), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_of_a_group_store_the_same_at_once_and_later_runs_store_none_of_it() {
    let mut one = TestRepository::new().await;
    let group = one.writer.group_id();
    let restorer = one.restorer().await.unwrap();
    let second =
        Membership::of(&restorer, &one.context()).add_writer(Some(group), None, |_| Ok(())).await.unwrap();
    let (first, second) = (Arc::clone(&one.writer), Arc::new(second));
    let mut two = one.elsewhere();
    // Neither manifest is stored before both runs have stored everything else.
    let gate = Gate::new();
    one.faults.script(Rule::new(Fault::wait(&gate)).on(Operation::Put).below("snapshots/").times(2));
    let both_arrived = async {
        gate.arrivals(2).await;
        gate.open();
    };
    let (left, right) = (files(1), files(2));
    let (left, right, ()) =
        tokio::join!(one.snapshot_by(&first, &left), two.snapshot_by(&second, &right), both_arrived);
    assert_eq!((left.unwrap().sequence, right.unwrap().sequence), (0, 0));
    one.faults.clear_script();
    one.committed.append(&mut two.committed);
    one.assert_all_restore("two at once").await;

    for (writer, of_the_other) in [(&first, files(2)), (&second, files(1))] {
        let next = one.snapshot_by(writer, &of_the_other).await.unwrap();
        assert!(next.new_bytes < NEXT_TO_NOTHING, "{} bytes were stored again", next.new_bytes);
    }
    one.assert_all_restore("each refers to the other").await;
    assert_all_is_whole(&one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clones_of_a_host_that_write_the_same_sequence_come_one_after_the_other() {
    let mut original = TestRepository::new().await;
    original.snapshot(&files(0)).await.unwrap();
    let mut clones = [original.elsewhere(), original.elsewhere(), original.elsewhere()];
    let gate = Gate::new();
    original.faults.script(Rule::new(Fault::wait(&gate)).on(Operation::Put).below("snapshots/").times(3));
    let all_arrived = async {
        gate.arrivals(3).await;
        gate.open();
    };
    let [a, b, c] = &mut clones;
    let (in_a, in_b, in_c) = (files(1), files(2), files(3));
    let (in_a, in_b, in_c, ()) =
        tokio::join!(a.snapshot(&in_a), b.snapshot(&in_b), c.snapshot(&in_c), all_arrived);
    let mut sequences = [in_a, in_b, in_c].map(|committed| committed.unwrap().sequence);
    sequences.sort_unstable();
    assert_eq!(sequences, [1, 2, 3]);
    for clone in &mut clones {
        original.committed.append(&mut clone.committed);
    }
    original.assert_all_restore("three clones").await;
    let next = original.snapshot(&files(2)).await.unwrap();
    assert_eq!(next.sequence, 4);
    assert!(next.new_bytes < NEXT_TO_NOTHING, "{} bytes were stored again", next.new_bytes);
    assert_all_is_whole(&original).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_shows_a_host_and_its_clone_different_histories_is_detected_by_both() {
    let mut shown_to_one = TestRepository::new().await;
    shown_to_one.snapshot(&files(0)).await.unwrap();
    let mut shown_to_other = shown_to_one.fork();
    let see = async |repo: &mut TestRepository, seed| {
        let committed = repo.snapshot(&files(seed)).await.unwrap();
        let pins = PinFile::in_state_folder(repo.home.path(), &repo.writer.repository);
        let repository = Repository::open(repo.store(), &repo.writer.repository, pins.clone()).await.unwrap();
        let session = Session::for_writer(repository, &repo.writer).unwrap();
        let listing = Listing::read(&session).await.unwrap();
        assert!(listing.unreadable.is_empty(), "{:?}", listing.unreadable);
        assert_eq!(listing.snapshots.len(), 2);
        (committed, pins)
    };
    let (one, pins_of_one) = see(&mut shown_to_one, 1).await;
    let (other, pins_of_other) = see(&mut shown_to_other, 2).await;
    assert_eq!(one.sequence, other.sequence);
    // From here on both see the same history, whichever it is.
    for (pins, repo) in [(pins_of_one, &shown_to_other), (pins_of_other, &shown_to_one)] {
        let opened = Repository::open(repo.store(), &repo.writer.repository, pins).await;
        let found_out = match opened {
            Ok(repository) => {
                let session = Session::for_writer(repository, &repo.writer).unwrap();
                match Listing::read(&session).await {
                    Ok(listing) => listing.unreadable,
                    Err(error) => vec![error],
                }
            }
            Err(error) => vec![error],
        };
        let is_named = |error: &VaultError| {
            matches!(error, VaultError::RolledBack { .. } | VaultError::Object(ObjectError::Damaged { .. }))
        };
        assert!(found_out.iter().any(is_named), "{found_out:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_store_that_overwrites_the_second_clone_sees_the_first_one_and_comes_after_it() {
    let mut one = TestRepository::new().await;
    one.faults.ignore_conditions();
    one.snapshot(&files(0)).await.unwrap();
    let other = one.elsewhere();
    let (one_key, other_key) = (Arc::clone(&one.writer), Arc::clone(&other.writer));
    one.fill_source(&files(1));
    other.fill_source(&files(2));
    let (first, second) = (one.begin(&one_key).await.unwrap(), other.begin(&other_key).await.unwrap());
    let first = first.commit().await.unwrap();
    let second = second.commit().await.unwrap();
    assert_eq!((first.sequence, second.sequence), (1, 2));
    one.committed.extend([(first.id.unwrap(), files(1)), (second.id.unwrap(), files(2))]);
    one.assert_all_restore("two clones on a store that overwrites").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_store_that_overwrites_the_clone_that_lost_a_race_learns_of_it_and_comes_after() {
    let mut one = TestRepository::new().await;
    one.faults.ignore_conditions();
    one.snapshot(&files(0)).await.unwrap();
    let other = one.elsewhere();
    let (one_key, other_key) = (Arc::clone(&one.writer), Arc::clone(&other.writer));
    one.fill_source(&files(1));
    other.fill_source(&files(2));
    let (first, second) = (one.begin(&one_key).await.unwrap(), other.begin(&other_key).await.unwrap());
    // Both check before either writes, and both write before either checks again.
    let (written, looked) = (Gate::new(), Gate::new());
    let manifests = |operation| Rule::new(Fault::wait(&written)).on(operation).below("snapshots/");
    one.faults.script(manifests(Operation::Put).times(2));
    one.faults.script(Rule::new(Fault::wait(&looked)).on(Operation::Head).below("snapshots/").nth(3));
    one.faults.script(Rule::new(Fault::wait(&looked)).on(Operation::Head).below("snapshots/").nth(3));
    let gates = async {
        written.arrivals(2).await;
        written.open();
        looked.arrivals(2).await;
        looked.open();
    };
    let (first, second, ()) = tokio::join!(first.commit(), second.commit(), gates);
    one.faults.clear_script();
    let (first, second) = (first.unwrap(), second.unwrap());
    let mut sequences = [first.sequence, second.sequence];
    sequences.sort_unstable();
    assert_eq!(sequences, [1, 2]);
    one.committed.extend([(first.id.unwrap(), files(1)), (second.id.unwrap(), files(2))]);
    one.assert_all_restore("a race on a store that overwrites").await;
}
