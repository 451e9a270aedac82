//! Stores in a folder: the contract, staging files of crashed writers, and obstacles.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use lifeboat_core::{Fault as _, Kind};
use lifeboat_store::{Created, Location, OpenOptions, Settings, Store, StoreError, Swept};
use lifeboat_testkit::contract;

const BYTES: Bytes = Bytes::from_static(b"bytes");

async fn open(path: &Path) -> Result<Store, StoreError> {
    let location = Location::Folder(path.to_owned());
    Store::open(&location, &Settings::new(), OpenOptions { create_folder: true, ..OpenOptions::default() })
        .await
}

/// Makes a file look as if its writer had died this long ago.
fn abandon(path: &Path, age: Duration) {
    let file = File::create(path).unwrap();
    file.set_len(10).unwrap();
    file.set_modified(file.metadata().unwrap().modified().unwrap() - age).unwrap();
}

#[tokio::test]
async fn a_folder_keeps_the_contract() {
    let home = tempfile::tempdir().unwrap();
    contract::check(&open(&home.path().join("made/on/the/way")).await.unwrap()).await;
}

#[tokio::test]
async fn staging_files_of_crashed_writers_are_hidden_and_swept() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).await.unwrap();
    store.create("packs/00/object", BYTES).await.unwrap();
    store.create("marker", BYTES).await.unwrap();
    let (day, week) = (Duration::from_hours(24), Duration::from_hours(24 * 7));
    let packs = home.path().join("packs/00");
    abandon(&packs.join("object#1"), week);
    abandon(&packs.join("other#1"), week);
    abandon(&packs.join("other#27"), week);
    abandon(&home.path().join("young#1"), Duration::from_mins(5));
    // Not ours to remove: other names, folders, and the targets of links.
    abandon(&home.path().join("notes#1b"), week);
    fs::create_dir(home.path().join("folder#1")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    abandon(&elsewhere.path().join("theirs#1"), week);
    symlink(elsewhere.path(), home.path().join("link")).unwrap();

    let keys = |entries: Vec<lifeboat_store::Entry>| -> Vec<String> {
        entries.into_iter().map(|entry| entry.key).collect()
    };
    assert_eq!(keys(store.list("packs").await.unwrap()), ["packs/00/object"]);
    assert_eq!(store.create("packs/00/other", BYTES).await.unwrap(), Created::Now);

    assert_eq!(store.sweep_staging(day).await.unwrap(), Swept { files: 3, swept_bytes: 30 });
    assert_eq!(store.sweep_staging(day).await.unwrap(), Swept::default());
    assert!(home.path().join("young#1").exists());
    assert!(home.path().join("notes#1b").exists());
    assert!(elsewhere.path().join("theirs#1").exists());
    assert_eq!(store.sweep_staging(Duration::ZERO).await.unwrap().files, 1);
    let names: Vec<_> = fs::read_dir(&packs).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(store.read("packs/00/object", 5).await.unwrap(), BYTES);
    assert_eq!(Store::memory().sweep_staging(day).await.unwrap(), Swept::default());
}

#[tokio::test]
async fn a_file_where_the_folder_should_be_is_named() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    fs::write(&file, "not a folder").unwrap();
    for (path, reason) in
        [(file.clone(), "(it is not a folder)"), (file.join("below"), "Not a directory (os error 20)")]
    {
        let error = open(&path).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.to_string().contains(reason), "{error}");
    }
    let location = Location::Folder(file);
    let error = Store::open(&location, &Settings::new(), OpenOptions::default()).await.unwrap_err();
    assert!(error.to_string().ends_with("is not a repository location (it is not a folder)"), "{error}");
}

#[tokio::test]
async fn files_and_folders_inside_that_are_in_the_way_are_errors_and_harm_nothing() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).await.unwrap();
    fs::write(home.path().join("packs"), "a file").unwrap();
    let error = store.create("packs/object", BYTES).await.unwrap_err();
    assert!(matches!(error, StoreError::NotAnObject { .. }), "{error:?}");
    store.read("packs/object", 5).await.unwrap_err();
    assert_eq!(store.list("packs").await.unwrap(), []);
    assert_eq!(fs::read(home.path().join("packs")).unwrap(), b"a file");

    fs::create_dir_all(home.path().join("runs/run")).unwrap();
    let error = store.create("runs/run", BYTES).await.unwrap_err();
    assert!(matches!(error, StoreError::NotAnObject { .. }), "{error:?}");
    assert!(matches!(store.read("runs/run", 5).await, Err(StoreError::NotFound { .. })));
    assert_eq!(store.entry("runs/run").await.unwrap(), None);
    assert_eq!(store.list("runs").await.unwrap(), []);
}
