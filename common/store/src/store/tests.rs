use super::*;
use crate::Created;

#[tokio::test]
async fn an_object_is_created_once_and_the_same_bytes_again_are_no_error() {
    let store = Store::memory();
    assert_eq!(store.create("a/b", Bytes::from_static(b"one")).await.unwrap(), Created::Now);
    assert_eq!(store.create("a/b", Bytes::from_static(b"one")).await.unwrap(), Created::Before);
    let other = store.create("a/b", Bytes::from_static(b"two")).await.unwrap_err();
    assert!(matches!(other, StoreError::AlreadyExists { .. }), "{other:?}");
    let longer = store.create("a/b", Bytes::from_static(b"o")).await.unwrap_err();
    assert!(matches!(longer, StoreError::AlreadyExists { .. }), "{longer:?}");
    assert_eq!(store.read("a/b", 3).await.unwrap(), "one");
}

#[tokio::test]
async fn reads_have_a_ceiling_and_missing_objects_a_name() {
    let store = Store::memory();
    store.create("x", Bytes::from_static(b"12345")).await.unwrap();
    assert!(matches!(store.read("x", 4).await.unwrap_err(), StoreError::TooLarge { found: 5, cap: 4, .. }));
    assert!(matches!(store.read("y", 4).await.unwrap_err(), StoreError::NotFound { .. }));
    assert_eq!(store.read_range("x", 1..3).await.unwrap(), "23");
    for range in [3..9, 5..6, 70..80] {
        let error = store.read_range("x", range).await.unwrap_err();
        assert!(matches!(error, StoreError::OutOfRange { size: 5, .. }), "{error:?}");
    }
}

#[test]
fn deadlines_grow_with_the_size() {
    assert_eq!(deadline(0), Duration::from_secs(45));
    // 64 MiB on a link of 10 Mbit/s take 54 s.
    assert!(deadline(64 << 20) > Duration::from_mins(15));
}
