use futures::StreamExt;
use object_store::{Error, PutMode, PutOptions};

use super::*;

async fn put(store: &FaultStore, key: &str, bytes: &'static [u8]) -> object_store::Result<()> {
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    store.put_opts(&path(key), Bytes::from_static(bytes).into(), options).await.map(drop)
}

async fn get(store: &FaultStore, key: &str) -> object_store::Result<Bytes> {
    store.get(&path(key)).await?.bytes().await
}

async fn keys(store: &FaultStore) -> Vec<String> {
    store.list(None).map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap()
}

#[tokio::test]
async fn death_comes_at_the_operation_told_and_the_process_stays_dead() {
    for (landing, stands) in [(Landing::NotLanded, false), (Landing::Landed, true)] {
        let store = FaultStore::new();
        put(&store, "before", b"1").await.unwrap();
        store.die_at(2, landing);
        get(&store, "before").await.unwrap();
        put(&store, "at", b"2").await.unwrap_err();
        assert!(store.is_dead());
        get(&store, "before").await.unwrap_err();
        put(&store, "after", b"3").await.unwrap_err();
        let mut deleted = store.delete_stream(futures::stream::iter([Ok(path("before"))]).boxed());
        deleted.try_next().await.unwrap_err();
        drop(deleted);
        store.list(None).try_next().await.unwrap_err();
        assert_eq!(store.operations(), 7);

        store.revive();
        assert_eq!(store.contents().contains_key("at"), stands);
        assert!(!store.contents().contains_key("after"));
        get(&store, "before").await.unwrap();
    }
}

#[tokio::test]
async fn rules_meet_the_operations_that_they_mean() {
    let store = FaultStore::new();
    let full = Rule::new(Fault::answer(Answer::Full)).on(Operation::Put).below("packs/").nth(2).times(2);
    store.script(full);
    put(&store, "runs/1", b"-").await.unwrap();
    put(&store, "packs/1", b"-").await.unwrap();
    put(&store, "packs/2", b"-").await.unwrap_err();
    put(&store, "runs/2", b"-").await.unwrap();
    put(&store, "packs/3", b"-").await.unwrap_err();
    put(&store, "packs/4", b"-").await.unwrap();
    store.script(Rule::new(Fault::lost_response(Answer::Throttled(None))).on(Operation::Put));
    put(&store, "packs/5", b"-").await.unwrap_err();
    assert!(matches!(put(&store, "packs/5", b"-").await.unwrap_err(), Error::AlreadyExists { .. }));
    store.script(Rule::new(Fault::answer(Answer::NotFound)).always());
    for _ in 0..3 {
        assert!(matches!(get(&store, "packs/5").await.unwrap_err(), Error::NotFound { .. }));
    }
    store.clear_script();
    get(&store, "packs/5").await.unwrap();
}

#[tokio::test]
async fn bodies_come_cut_broken_or_changed() {
    let store = FaultStore::from_contents([("k".to_owned(), Bytes::from_static(b"12345"))].into());
    store.script(Rule::new(Fault::flipped_bit(1)));
    store.script(Rule::new(Fault::cut_body(2)));
    store.script(Rule::new(Fault::broken_body(2)));
    assert_eq!(get(&store, "k").await.unwrap(), "13345");
    assert_eq!(store.get_range(&path("k"), 0..4).await.unwrap(), "12");
    get(&store, "k").await.unwrap_err();
    assert_eq!(get(&store, "k").await.unwrap(), "12345");
    assert_eq!(store.head(&path("k")).await.unwrap().size, 5);
}

#[tokio::test]
async fn listings_come_reversed_short_stale_or_forged() {
    let store = FaultStore::new();
    put(&store, "a", b"-").await.unwrap();
    let before = store.contents();
    put(&store, "b", b"-").await.unwrap();
    put(&store, "c/d", b"-").await.unwrap();
    for fault in [
        Fault::reversed_listing(),
        Fault::short_listing(1),
        Fault::stale_listing(&before),
        Fault::listing_without("c/"),
        Fault::forged_entry("z", 7),
    ] {
        store.script(Rule::new(fault));
    }
    assert_eq!(keys(&store).await, ["c/d", "b", "a"]);
    assert_eq!(keys(&store).await, ["a"]);
    assert_eq!(keys(&store).await, ["a"]);
    assert_eq!(keys(&store).await, ["a", "b"]);
    assert_eq!(keys(&store).await, ["a", "b", "c/d", "z"]);
    assert_eq!(keys(&store).await, ["a", "b", "c/d"]);
}

#[tokio::test]
async fn objects_are_dated_by_the_storages_clock() {
    let store = FaultStore::new();
    let modified = async |store: &FaultStore, key: &str| {
        let seconds = store.head(&path(key)).await.unwrap().last_modified.timestamp();
        Timestamp::from_second(seconds).unwrap()
    };
    put(&store, "a", b"-").await.unwrap();
    store.advance(Duration::from_hours(48));
    put(&store, "b", b"-").await.unwrap();
    put(&store, "a", b"-").await.unwrap_err();
    let two_days_on = FakeClock::START + Duration::from_hours(48);
    assert_eq!(modified(&store, "a").await, FakeClock::START);
    assert_eq!(modified(&store, "b").await, two_days_on);

    let fork = store.fork();
    fork.advance(Duration::from_hours(1));
    put(&fork, "c", b"-").await.unwrap();
    assert_eq!(modified(&fork, "a").await, FakeClock::START);
    assert_eq!(modified(&fork, "c").await, two_days_on + Duration::from_hours(1));
    assert_eq!(store.clock().now(), two_days_on);
    assert!(!store.contents().contains_key("c"));

    fork.set_modified("a", two_days_on);
    let listed: Vec<i64> =
        fork.list(None).map_ok(|meta| meta.last_modified.timestamp()).try_collect().await.unwrap();
    let hours = |hours| (FakeClock::START + Duration::from_hours(hours)).as_second();
    assert_eq!(listed, [hours(48), hours(48), hours(49)]);
}

#[tokio::test]
async fn every_call_is_in_the_log() {
    let store = FaultStore::new();
    store.plant("unseen", Bytes::from_static(b"-"));
    put(&store, "a/b", b"12345").await.unwrap();
    get(&store, "a/b").await.unwrap();
    store.get_ranges(&path("a/b"), &[0..1, 2..4]).await.unwrap();
    store.head(&path("a/b")).await.unwrap();
    keys(&store).await;
    store.list_with_delimiter(None).await.unwrap();
    store.copy(&path("a/b"), &path("c")).await.unwrap();
    store.rename(&path("c"), &path("d")).await.unwrap();
    store.delete(&path("d")).await.unwrap();
    store.put_multipart(&path("e")).await.map(drop).unwrap_err();
    let log: Vec<_> = store.log().into_iter().map(|call| (call.operation, call.key, call.bytes)).collect();
    let wanted = [
        (Operation::Put, "a/b", 5),
        (Operation::Get, "a/b", 5),
        (Operation::GetRange, "a/b", 1),
        (Operation::GetRange, "a/b", 2),
        (Operation::Head, "a/b", 0),
        (Operation::List, "", 2),
        (Operation::List, "", 1),
        (Operation::Copy, "c", 0),
        (Operation::Rename, "d", 0),
        (Operation::Delete, "d", 0),
        (Operation::Multipart, "e", 0),
    ];
    assert_eq!(log, wanted.map(|(operation, key, bytes)| (operation, key.to_owned(), bytes)));
    assert_eq!(store.count(Operation::GetRange, "a/"), 2);
    store.clear_log();
    assert!(store.log().is_empty());
}

#[tokio::test]
async fn a_gate_holds_an_operation_until_it_is_opened() {
    let store = FaultStore::new();
    let gate = Gate::new();
    store.script(Rule::new(Fault::wait(&gate)).on(Operation::Put));
    let held = tokio::spawn({
        let store = store.clone();
        async move { put(&store, "held", b"-").await }
    });
    gate.arrivals(1).await;
    assert!(store.contents().is_empty());
    gate.open();
    held.await.unwrap().unwrap();
    assert!(store.contents().contains_key("held"));
}

#[tokio::test(start_paused = true)]
async fn some_operations_are_never_answered() {
    let store = FaultStore::new();
    store.script(Rule::new(Fault::hang()).below("a"));
    store.script(Rule::new(Fault::land_and_hang()).below("b"));
    for key in ["a", "b"] {
        let hour = Duration::from_hours(1);
        assert!(tokio::time::timeout(hour, put(&store, key, b"-")).await.is_err());
    }
    assert_eq!(store.contents().into_keys().collect::<Vec<_>>(), ["b"]);
}
