//! The store's promises on a storage that fails in all the ways that storages do: every test makes it fail in one way
//! and checks what product code sees. Time is tokio's, and stands still until everyone waits.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use std::time::Duration;

use bytes::Bytes;
use jiff::SignedDuration;
use lifeboat_core::{Fault as _, Kind};
use lifeboat_store::{Created, Store, StoreError};
use lifeboat_testkit::fault_store::{Answer, Fault, Landing, Operation, Rule};
use lifeboat_testkit::{FaultStore, contract};
use tokio::time::Instant;

const ONE: Bytes = Bytes::from_static(b"one");
const TWO: Bytes = Bytes::from_static(b"two");

/// A storage that has answered once, so that its failures are not taken for a wrong address.
async fn known() -> (FaultStore, Store) {
    let faulty = FaultStore::new();
    let store = faulty.open();
    store.create("known", ONE).await.unwrap();
    faulty.clear_log();
    (faulty, store)
}

fn puts(faulty: &FaultStore) -> usize {
    faulty.count(Operation::Put, "")
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    contract::check(&Store::memory()).await;
    contract::check(&FaultStore::with_clock(clock_of_this_host()).open()).await;
}

fn clock_of_this_host() -> lifeboat_testkit::FakeClock {
    use lifeboat_core::clock::{Clock, SystemClock};
    lifeboat_testkit::FakeClock::at(SystemClock.now())
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_was_lost_is_done() {
    let answers = [
        Answer::Interrupted,
        Answer::Timeout,
        Answer::Throttled(None),
        Answer::Status(500),
        Answer::Status(429),
    ];
    for answer in answers {
        let (faulty, store) = known().await;
        faulty.script(Rule::new(Fault::lost_response(answer)).on(Operation::Put));
        assert_eq!(store.create("a", ONE).await.unwrap(), Created::Before, "{answer:?}");
        assert_eq!(faulty.contents()["a"], ONE);
        assert_eq!(puts(&faulty), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_did_not_land_is_tried_again() {
    for answer in
        [Answer::Interrupted, Answer::Timeout, Answer::Unreachable, Answer::Status(408), Answer::Status(502)]
    {
        let (faulty, store) = known().await;
        faulty.script(Rule::new(Fault::answer(answer)).on(Operation::Put).times(4));
        assert_eq!(store.create("a", ONE).await.unwrap(), Created::Now, "{answer:?}");
        assert_eq!(puts(&faulty), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn what_stands_there_decides_whoever_answers_that_it_exists() {
    for answer in [Answer::AlreadyExists, Answer::Conflict, Answer::Precondition] {
        // Another host's object is in the way, however the storage reports that.
        let (faulty, store) = known().await;
        faulty.plant("a", TWO);
        faulty.script(Rule::new(Fault::answer(answer)).on(Operation::Put));
        let error = store.create("a", ONE).await.unwrap_err();
        assert!(matches!(error, StoreError::AlreadyExists { .. }), "{answer:?}: {error:?}");
        // The same bytes are not a conflict.
        faulty.script(Rule::new(Fault::answer(answer)).on(Operation::Put));
        assert_eq!(store.create("a", TWO).await.unwrap(), Created::Before);
        // S3's 409: two writes met, and neither succeeded.
        faulty.clear_log();
        faulty.script(Rule::new(Fault::answer(answer)).on(Operation::Put).times(3));
        assert_eq!(store.create("b", ONE).await.unwrap(), Created::Now, "{answer:?}");
        assert_eq!(puts(&faulty), 4);
        // A storage that keeps answering this is at fault.
        faulty.script(Rule::new(Fault::answer(answer)).on(Operation::Put).always());
        let error = store.create("c", ONE).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (Kind::Undetermined, "faulty failed to write `c`")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_is_never_answered_ends_and_is_tried_again() {
    let (faulty, store) = known().await;
    faulty.script(Rule::new(Fault::hang()).on(Operation::Put));
    let started = Instant::now();
    assert_eq!(store.create("a", ONE).await.unwrap(), Created::Now);
    assert_eq!(started.elapsed().as_secs(), 45);
    faulty.script(Rule::new(Fault::land_and_hang()).on(Operation::Put));
    assert_eq!(store.create("b", ONE).await.unwrap(), Created::Before);
    for operation in
        [Operation::Get, Operation::GetRange, Operation::Head, Operation::List, Operation::Delete]
    {
        faulty.script(Rule::new(Fault::hang()).on(operation));
    }
    assert_eq!(store.read("a", 3).await.unwrap(), ONE);
    assert_eq!(store.read_range("a", 1..3).await.unwrap(), "ne");
    assert_eq!(store.entry("a").await.unwrap().unwrap().size, 3);
    assert_eq!(store.list("").await.unwrap().len(), 3);
    store.delete("a").await.unwrap();
    assert!(!faulty.contents().contains_key("a"));
}

#[tokio::test(start_paused = true)]
async fn clock_jumps_change_no_deadline() {
    let (faulty, store) = known().await;
    faulty.script(Rule::new(Fault::hang()).always());
    for jump in [SignedDuration::from_hours(24 * 7), SignedDuration::from_hours(-24 * 14)] {
        let started = Instant::now();
        let read = tokio::spawn({
            let store = store.clone();
            async move { store.read("known", 3).await }
        });
        tokio::time::sleep(Duration::from_secs(10)).await;
        faulty.clock().jump(jump);
        let error = read.await.unwrap().unwrap_err();
        assert!(
            matches!(error, StoreError::Deadline { deadline, .. } if deadline.as_secs() == 45),
            "{error:?}"
        );
        // Attempts of 45 s start within two minutes of the end of the first.
        assert!((165..=215).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_storage_is_left_alone_for_as_long_as_it_asks() {
    let (faulty, store) = known().await;
    faulty.script(Rule::new(Fault::answer(Answer::Throttled(Some(Duration::from_secs(30))))).times(2));
    let started = Instant::now();
    assert_eq!(store.read("known", 3).await.unwrap(), ONE);
    assert_eq!(started.elapsed().as_secs(), 60);

    faulty.clear_log();
    faulty.script(Rule::new(Fault::answer(Answer::Throttled(Some(Duration::from_hours(1))))).always());
    let started = Instant::now();
    let error = store.read("known", 3).await.unwrap_err();
    assert!(matches!(error, StoreError::Failed { .. }), "{error:?}");
    assert_eq!((faulty.operations(), started.elapsed()), (5, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn one_budget_holds_for_all_attempts_of_an_operation() {
    let (faulty, store) = known().await;
    faulty.script(Rule::new(Fault::answer(Answer::Status(503))).always());
    let started = Instant::now();
    let error = store.read("known", 3).await.unwrap_err();
    assert!((100..=120).contains(&started.elapsed().as_secs()));
    let StoreError::Failed { effort, .. } = &error else { panic!("{error:?}") };
    assert_eq!(u64::from(effort.attempts) + 1, faulty.operations());
    assert!(error.to_string().contains(&format!("(tried {} times in ", effort.attempts)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_never_answered_is_given_up_soon() {
    let faulty = FaultStore::new();
    let store = faulty.open();
    faulty.script(Rule::new(Fault::answer(Answer::Unreachable)).always());
    let started = Instant::now();
    let error = store.read("known", 3).await.unwrap_err();
    assert_eq!((error.kind(), faulty.operations()), (Kind::Undetermined, 3));
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_clear_are_not_asked_for_again() {
    let (faulty, store) = known().await;
    let cases = [
        (Answer::Denied, Kind::Usage),
        (Answer::NotFound, Kind::Refused),
        (Answer::Full, Kind::Refused),
        (Answer::Status(507), Kind::Refused),
        (Answer::Os(30), Kind::Usage),
        (Answer::Gone, Kind::Undetermined),
    ];
    for (answer, kind) in cases {
        faulty.clear_log();
        faulty.script(Rule::new(Fault::answer(answer)));
        let error = store.create("a", ONE).await.unwrap_err();
        assert_eq!((error.kind(), faulty.log().len()), (kind, 1), "{answer:?}: {error:?}");
    }
    faulty.script(Rule::new(Fault::answer(Answer::Full)));
    let error = store.create("a", ONE).await.unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_process_ends_at_once() {
    for landing in [Landing::NotLanded, Landing::Landed] {
        let (faulty, store) = known().await;
        faulty.die_at(1, landing);
        let started = Instant::now();
        store.create("a", ONE).await.unwrap_err();
        assert_eq!((faulty.log().len(), started.elapsed()), (1, Duration::ZERO));
        faulty.revive();
        let created = if landing == Landing::Landed { Created::Before } else { Created::Now };
        assert_eq!(store.create("a", ONE).await.unwrap(), created);
    }
}

#[tokio::test(start_paused = true)]
async fn a_storage_without_conditional_writes_is_looked_at_before_each_one() {
    // The answers of Backblaze B2, of a client that is told not to try, and of a file system without links.
    for answer in [Answer::NotImplemented, Answer::Os(1), Answer::Os(95)] {
        let (faulty, store) = known().await;
        faulty.script(Rule::new(Fault::answer(answer)).conditional().always());
        assert_eq!(store.create("a", ONE).await.unwrap(), Created::Now, "{answer:?}");
        let log = |faulty: &FaultStore| -> Vec<_> {
            faulty.log().into_iter().map(|call| (call.operation, call.is_conditional)).collect()
        };
        let (tried, look, put) = ((Operation::Put, true), (Operation::Head, false), (Operation::Put, false));
        assert_eq!(log(&faulty), [tried, look, put]);
        // It is asked once, and clones know the answer.
        faulty.clear_log();
        assert_eq!(store.clone().create("b", ONE).await.unwrap(), Created::Now);
        assert_eq!(log(&faulty), [look, put]);

        assert_eq!(store.create("b", ONE).await.unwrap(), Created::Before);
        let error = store.create("b", TWO).await.unwrap_err();
        assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error:?}");
        faulty.clear_log();
        faulty.script(Rule::new(Fault::lost_response(Answer::Interrupted)).on(Operation::Put));
        assert_eq!(store.create("c", ONE).await.unwrap(), Created::Before);
        assert_eq!(puts(&faulty), 1);
        assert!(!store.keeps_conditions("a", ONE).await.unwrap());
        assert_eq!(faulty.contents()["b"], ONE);
    }
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_ignores_conditions_is_found_out_without_harm() {
    let (faulty, store) = known().await;
    faulty.ignore_conditions();
    assert!(!store.keeps_conditions("known", ONE).await.unwrap());
    assert_eq!(faulty.contents()["known"], ONE);
    let error = store.create("known", TWO).await.unwrap_err();
    assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error:?}");
    assert_eq!(faulty.contents()["known"], ONE);
    assert!(
        FaultStore::from_contents(faulty.contents()).open().keeps_conditions("known", ONE).await.unwrap()
    );
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_fails_again_and_again_is_left_alone() {
    let (faulty, store) = known().await;
    faulty.script(Rule::new(Fault::answer(Answer::Unreachable)).always());
    for _ in 0..3 {
        let error = store.read("known", 3).await.unwrap_err();
        assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
    }
    faulty.clear_log();
    tokio::time::sleep(Duration::from_secs(12)).await;
    let (started, error) = (Instant::now(), store.clone().create("a", ONE).await.unwrap_err());
    assert_eq!(
        (started.elapsed(), faulty.log().len(), error.kind()),
        (Duration::ZERO, 0, Kind::Undetermined)
    );
    assert_eq!(
        error.to_string(),
        "faulty is left alone since 12s ago, after 3 operations in a row failed, and is tried again in 18s"
    );
    let last = std::error::Error::source(&error).unwrap().to_string();
    assert!(last.starts_with("faulty cannot be reached: nothing listens there (tried "), "{last}");

    // One operation probes it, once, and then it is left alone for twice as long.
    tokio::time::sleep(Duration::from_secs(18)).await;
    let (probe, other) = tokio::join!(store.read("known", 3), store.read("known", 3));
    assert!(matches!(probe, Err(StoreError::Unreachable { .. })), "{probe:?}");
    assert!(matches!(other, Err(StoreError::Suspended { .. })), "{other:?}");
    assert_eq!(faulty.log().len(), 1);

    faulty.clear_script();
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert!(matches!(store.read("known", 3).await, Err(StoreError::Suspended { .. })));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(store.read("known", 3).await.unwrap(), ONE);
    assert_eq!(store.create("a", ONE).await.unwrap(), Created::Now);
}

#[tokio::test(start_paused = true)]
async fn bodies_that_come_cut_are_read_again_and_never_believed() {
    let (faulty, store) = known().await;
    for fault in [Fault::cut_body(2), Fault::broken_body(2), Fault::stalled_body(2)] {
        faulty.script(Rule::new(fault.clone()));
        assert_eq!(store.read("known", 3).await.unwrap(), ONE, "{fault:?}");
        faulty.script(Rule::new(fault.clone()));
        assert_eq!(store.read_range("known", 0..3).await.unwrap(), ONE, "{fault:?}");
    }
    let longer = Fault::change_body(|bytes| [&bytes[..], b"more"].concat().into());
    for fault in [Fault::cut_body(2), longer] {
        faulty.clear_log();
        faulty.script(Rule::new(fault).always());
        let error = store.read("known", 100).await.unwrap_err();
        assert!(matches!(error, StoreError::Failed { .. }), "{error:?}");
        assert_eq!(faulty.log().len(), 3);
        faulty.clear_script();
    }
}

#[tokio::test(start_paused = true)]
async fn listings_that_lie_are_sorted_or_refused() {
    let (faulty, store) = known().await;
    for key in ["a/1", "a/2", "a/3", "b/1"] {
        store.create(key, ONE).await.unwrap();
    }
    let keys = async |prefix| -> Vec<String> {
        store.list(prefix).await.unwrap().into_iter().map(|entry| entry.key).collect()
    };
    faulty.script(Rule::new(Fault::reversed_listing()));
    assert_eq!(keys("a").await, ["a/1", "a/2", "a/3"]);
    faulty.script(Rule::new(Fault::change_listing(|entries| [entries.clone(), entries].concat())));
    assert_eq!(keys("a").await, ["a/1", "a/2", "a/3"]);
    faulty.script(Rule::new(Fault::forged_entry("b/9", 1)));
    let error = store.list("a").await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "it lists `b/9`, which does not lie there");
    // A failed page makes the listing start over, so that nothing is missing.
    faulty.script(Rule::new(Fault::answer(Answer::Interrupted)).on(Operation::List));
    assert_eq!(keys("").await, ["a/1", "a/2", "a/3", "b/1", "known"]);
}
