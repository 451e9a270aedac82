//! The contract of stores: checks every promise of `lifeboat_store` on an open store of any kind.

#![expect(clippy::unwrap_used, reason = "what fails here is a promise that the store breaks")]

use std::ops::Range;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use lifeboat_core::clock::{Clock, SystemClock};
use lifeboat_store::{Created, Store, StoreError};

/// More than a page of any provider's listing.
const MANY: usize = 1_050;
/// How many requests race.
const RACERS: usize = 16;
const AT_ONCE: usize = 32;
/// Some stores have times in whole seconds, and the clocks of two machines differ.
const CLOCK_TOLERANCE_SECONDS: i64 = 30;

/// Checks all promises on an empty store, and leaves it empty.
///
/// # Panics
///
/// If one is broken.
pub async fn check(store: &Store) {
    assert_eq!(store.list("").await.unwrap(), [], "the store must be empty");
    objects_are_created_once(store).await;
    one_of_many_creates_at_once(store).await;
    reads_are_whole_and_capped(store).await;
    ranges_are_exact(store).await;
    names_are_plain(store).await;
    listings_are_complete_and_sorted(store).await;
    times_are_the_storages(store).await;
    deletes_can_be_repeated(store).await;
    clear(store).await;
    assert_eq!(store.list("").await.unwrap(), []);
}

/// Removes everything from a store.
///
/// # Panics
///
/// If something cannot be removed.
pub async fn clear(store: &Store) {
    let entries = store.list("").await.unwrap();
    let deletes = stream::iter(entries).map(|entry| async move { store.delete(&entry.key).await });
    deletes.buffer_unordered(AT_ONCE).try_collect::<()>().await.unwrap();
}

async fn objects_are_created_once(store: &Store) {
    let create = async |key, bytes: &'static [u8]| store.create(key, Bytes::from_static(bytes)).await;
    assert_eq!(create("once/object", b"first").await.unwrap(), Created::Now);
    assert_eq!(create("once/object", b"first").await.unwrap(), Created::Before);
    for other in [&b"other"[..], b"longer than that", b""] {
        let error = create("once/object", other).await.unwrap_err();
        assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error:?}");
    }
    assert_eq!(store.read("once/object", 5).await.unwrap(), "first");
    assert_eq!(create("once/empty", b"").await.unwrap(), Created::Now);
    assert_eq!(create("once/empty", b"").await.unwrap(), Created::Before);
    assert!(store.keeps_conditions("once/object", Bytes::from_static(b"first")).await.unwrap());
    assert_eq!(store.read("once/object", 5).await.unwrap(), "first");
}

async fn one_of_many_creates_at_once(store: &Store) {
    for is_same in [true, false] {
        let key = format!("race/{is_same}");
        let race = (0..RACERS).map(|racer| {
            let bytes = if is_same { "the same".to_owned() } else { format!("from {racer:04}") };
            store.create(&key, bytes.into())
        });
        let results = futures::future::join_all(race).await;
        let winners = results.iter().filter(|result| matches!(result, Ok(Created::Now))).count();
        assert_eq!(winners, 1, "{key}: {results:?}");
        let losers = results.iter().filter(|result| match result {
            Ok(created) => is_same && *created == Created::Before,
            Err(error) => !is_same && matches!(error, StoreError::AlreadyExists { .. }),
        });
        assert_eq!(losers.count(), RACERS - 1, "{key}: {results:?}");
        if !is_same {
            let winner = results.iter().position(Result::is_ok).unwrap();
            assert_eq!(store.read(&key, 64).await.unwrap(), format!("from {winner:04}"));
        }
    }
}

async fn reads_are_whole_and_capped(store: &Store) {
    let large = pattern(5 << 20);
    store.create("read/large", large.clone()).await.unwrap();
    assert!(store.read("read/large", large.len() as u64).await.unwrap() == large);
    let (found, cap) = (large.len() as u64, large.len() as u64 - 1);
    match store.read("read/large", cap).await.unwrap_err() {
        StoreError::TooLarge { found: told, cap: asked, .. } => assert_eq!((told, asked), (found, cap)),
        error => panic!("{error:?}"),
    }
    store.create("read/empty", Bytes::new()).await.unwrap();
    assert_eq!(store.read("read/empty", 0).await.unwrap(), "");
    let error = store.read("read/nothing", 1).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}");
    assert_eq!(store.entry("read/nothing").await.unwrap(), None);
    assert_eq!(store.entry("read/large").await.unwrap().unwrap().size, found);
    assert_eq!(store.entry("read/empty").await.unwrap().unwrap().size, 0);
}

async fn ranges_are_exact(store: &Store) {
    let size = 100_000;
    let bytes = pattern(size);
    store.create("range/object", bytes.clone()).await.unwrap();
    let end = size as u64;
    for range in [0..1, 0..end, 5..4096, 99_999..end, 7..7] {
        let found = store.read_range("range/object", range.clone()).await.unwrap();
        let wanted = |at: u64| usize::try_from(at).unwrap();
        assert!(found == bytes.slice(wanted(range.start)..wanted(range.end)), "{range:?}");
    }
    let beyond: [Range<u64>; 4] = [99_999..end + 1, end..end + 1, end + 5..end + 9, 0..u64::MAX / 4];
    for range in beyond {
        let error = store.read_range("range/object", range.clone()).await.unwrap_err();
        assert!(matches!(error, StoreError::OutOfRange { size: 100_000, .. }), "{range:?}: {error:?}");
    }
    let error = store.read_range("range/nothing", 0..1).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}");
}

async fn names_are_plain(store: &Store) {
    let part = "n".repeat(200);
    let long = [part.as_str(); 4].join("/");
    for good in ["names/A-Z_a-z.0-9", "names/..hidden", "names/x.age", &format!("names/{long}")] {
        store.create(good, Bytes::from_static(b"-")).await.unwrap();
        assert_eq!(store.read(good, 1).await.unwrap(), "-");
    }
    let named = store.list("names").await.unwrap();
    assert_eq!(named.len(), 4, "{named:?}");
    for bad in ["names/a#1", "names//a", "names/../a", "names/\u{fc}", "names/a b", "/names", ""] {
        let error = store.create(bad, Bytes::new()).await.unwrap_err();
        assert!(matches!(error, StoreError::BadName { .. }), "{bad}: {error:?}");
    }
}

async fn listings_are_complete_and_sorted(store: &Store) {
    let keys: Vec<String> = (0..MANY).map(|n| format!("many/{:02x}/{n:05}", n % 7)).collect();
    let pending = stream::iter(&keys).map(|key| store.create(key, Bytes::from_static(b"-")));
    let created: Vec<_> = pending.buffer_unordered(AT_ONCE).try_collect().await.unwrap();
    assert!(created.iter().all(|created| *created == Created::Now));
    store.create("many-more/object", Bytes::from_static(b"12")).await.unwrap();

    let mut sorted = keys.clone();
    sorted.sort();
    let listed = store.list("many").await.unwrap();
    assert!(listed.iter().map(|entry| &entry.key).eq(&sorted), "{} of {MANY} objects", listed.len());
    assert!(listed.iter().all(|entry| entry.size == 1));
    let below: Vec<_> = sorted.iter().filter(|key| key.starts_with("many/03/")).collect();
    assert!(store.list("many/03").await.unwrap().iter().map(|entry| &entry.key).eq(below));
    let whole = store.list("").await.unwrap();
    assert!(whole.is_sorted_by(|a, b| a.key < b.key));
    assert!(whole.len() > MANY);
    assert_eq!(store.list("nowhere/at/all").await.unwrap(), []);
    // Only whole path components count, and an object is not below itself.
    assert_eq!(store.list("man").await.unwrap(), []);
    assert_eq!(store.list("many-more/object").await.unwrap(), []);
}

async fn times_are_the_storages(store: &Store) {
    let before = SystemClock.now();
    store.create("times/object", Bytes::from_static(b"-")).await.unwrap();
    let entry = store.entry("times/object").await.unwrap().unwrap();
    let off = entry.modified.duration_since(before).as_secs().abs();
    assert!(off <= CLOCK_TOLERANCE_SECONDS, "{} is {off} s off {before}", entry.modified);
    let listed = store.list("times").await.unwrap();
    let off = listed[0].modified.duration_since(entry.modified).as_secs().abs();
    assert!(off <= 1, "listed as {}, looked up as {}", listed[0].modified, entry.modified);
}

async fn deletes_can_be_repeated(store: &Store) {
    store.create("delete/object", Bytes::from_static(b"old")).await.unwrap();
    store.create("delete/other", Bytes::from_static(b"-")).await.unwrap();
    for _ in 0..2 {
        store.delete("delete/object").await.unwrap();
        assert_eq!(store.entry("delete/object").await.unwrap(), None);
    }
    let left: Vec<_> = store.list("delete").await.unwrap().into_iter().map(|entry| entry.key).collect();
    assert_eq!(left, ["delete/other"]);
    assert_eq!(store.create("delete/object", Bytes::from_static(b"new")).await.unwrap(), Created::Now);
    assert_eq!(store.read("delete/object", 3).await.unwrap(), "new");
}

/// Bytes that differ by position.
fn pattern(size: usize) -> Bytes {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(b"pattern").finalize_xof().fill(&mut bytes);
    bytes.into()
}
