use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rustix::fs::{FileType, Mode, mkdirat};
use rustix::process::{Resource, Rlimit, setrlimit};
use tempfile::TempDir;

use super::reach::{OPEN, PASS};
use super::*;
use crate::{Created, PassedOver};

const BYTES: Bytes = Bytes::from_static(b"bytes");

fn store(path: &Path) -> Store {
    open(path, "store", true).unwrap()
}

fn folder(path: &Path) -> Folder {
    store(path).folder().unwrap().clone()
}

fn passed(place: &str, obstacle: Obstacle) -> PassedOver {
    PassedOver { place: place.to_owned(), obstacle }
}

/// The place and obstacle of an error that is about one object.
fn of_one<T: std::fmt::Debug>(done: Result<T, StoreError>) -> PassedOver {
    match done.unwrap_err() {
        StoreError::NotAnObject { place, obstacle, .. } => PassedOver { place, obstacle },
        error => panic!("{error:?}"),
    }
}

fn keys(listing: &crate::Listing) -> Vec<&str> {
    listing.entries.iter().map(|entry| entry.key.as_str()).collect()
}

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Runs a closure as a user who cannot access other users' files, on a thread of its own.
fn as_nobody<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let work = move || {
        if rustix::process::geteuid().is_root() {
            rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(65_534)).unwrap();
        }
        work()
    };
    thread::scope(|scope| scope.spawn(work).join().unwrap())
}

#[tokio::test]
async fn a_listing_has_objects_follows_no_link_and_says_what_it_passes_over() {
    let (home, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let at = |name: &str| home.path().join(name);
    fs::create_dir_all(at("packs/group")).unwrap();
    fs::write(at("packs/group/one"), "12345").unwrap();
    fs::write(at("packs/group/two#7"), "being written").unwrap();
    fs::write(at("packs/group/a\nb"), "a line break in its name").unwrap();
    fs::write(at("packs/group").join(std::ffi::OsStr::from_bytes(b"\xFF")), "not UTF-8").unwrap();
    fs::create_dir_all(at("lost+found/below")).unwrap();
    fs::create_dir(at("of mine")).unwrap();
    fs::write(at("of mine/note"), "a stranger").unwrap();
    fs::write(at("caf\u{e9}"), "another").unwrap();
    fs::write(outside.path().join("theirs"), "outside").unwrap();
    symlink(outside.path(), at("packs/elsewhere")).unwrap();
    symlink(outside.path().join("theirs"), at("packs/group/linked")).unwrap();
    symlink("itself", at("packs/itself")).unwrap();
    symlink(".", at("packs/group/round")).unwrap();
    make_pipe(&at("packs/group/pipe"));

    let store = store(home.path());
    let all = store.listing("").await.unwrap();
    assert_eq!(keys(&all), ["packs/group/one"]);
    assert_eq!(all.entries[0].size, 5);
    assert_eq!(store.list("").await.unwrap(), all.entries);
    let expected = [
        passed("caf\u{e9}", Obstacle::Name),
        passed("of mine", Obstacle::Name),
        passed("packs/elsewhere", Obstacle::Link),
        passed("packs/group/a\\nb", Obstacle::Name),
        passed("packs/group/linked", Obstacle::Link),
        passed("packs/group/pipe", Obstacle::Pipe),
        passed("packs/group/round", Obstacle::Link),
        passed("packs/group/\u{fffd}", Obstacle::Name),
        passed("packs/itself", Obstacle::Link),
    ];
    assert_eq!(all.passed_over, expected);
    for (prefix, objects, obstacles) in [
        ("packs/group", 1, 5),
        ("packs/elsewhere", 0, 1),
        ("packs/elsewhere/x", 0, 1),
        ("nothing/here", 0, 0),
    ] {
        let listing = store.listing(prefix).await.unwrap();
        assert_eq!((listing.entries.len(), listing.passed_over.len()), (objects, obstacles), "{prefix}");
    }
}

/// What an attacker does between the listing and the deletes of another host.
#[tokio::test]
async fn a_folder_that_becomes_a_link_leads_no_operation_out_of_the_repository() {
    let (home, victim) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::write(victim.path().join("object"), BYTES).unwrap();
    fs::write(victim.path().join("other#1"), BYTES).unwrap();
    let store = store(home.path());
    store.create("packs/G2/xx/object", BYTES).await.unwrap();
    let listed = store.list("").await.unwrap();
    for (place, link) in [("packs/G2/xx", ""), ("packs/G2/xx/object", "object")] {
        let here = home.path().join(place);
        fs::rename(&here, home.path().join("aside")).unwrap();
        symlink(victim.path().join(link), &here).unwrap();
        let met = passed(place, Obstacle::Link);

        let key = &listed[0].key;
        assert_eq!(of_one(store.read(key, 5).await), met);
        assert_eq!(of_one(store.read_range(key, 1..3).await), met);
        assert_eq!(of_one(store.entry(key).await), met);
        assert_eq!(of_one(store.delete(key).await), met);
        assert_eq!(of_one(store.create(key, BYTES).await), met);
        assert_eq!(of_one(store.create(key, Bytes::from_static(b"else")).await), met);
        assert_eq!(of_one(store.keeps_conditions(key, BYTES).await), met);
        if link.is_empty() {
            assert_eq!(of_one(store.create("packs/G2/xx/more", BYTES).await), met);
        }
        assert_eq!(store.sweep_staging(Duration::ZERO).await.unwrap(), Swept::default());
        assert_eq!(store.listing("").await.unwrap().gap_in("packs/G2"), Some(&met));

        fs::remove_file(&here).unwrap();
        fs::rename(home.path().join("aside"), &here).unwrap();
    }
    assert_eq!(fs::read_dir(victim.path()).unwrap().count(), 2);
    assert_eq!(store.read("packs/G2/xx/object", 5).await.unwrap(), BYTES);
}

#[tokio::test]
async fn an_error_about_a_link_says_where_it_is_and_what_to_do() {
    use lifeboat_core::{Fault as _, Kind};
    let home = TempDir::new().unwrap();
    symlink("/elsewhere", home.path().join("packs")).unwrap();
    let error = store(home.path()).create("packs/G2/object", BYTES).await.unwrap_err();
    let said = "`packs/G2/object` in store cannot be used as an object: `packs` is a symbolic link";
    assert_eq!((error.to_string().as_str(), error.kind()), (said, Kind::Refused));
    assert!(error.advice().unwrap().contains("mount --bind"), "{error:?}");
}

#[tokio::test]
async fn the_root_may_be_reached_through_links_and_stays_the_same_one() {
    let home = TempDir::new().unwrap();
    fs::create_dir(home.path().join("real")).unwrap();
    symlink("real", home.path().join("link")).unwrap();
    symlink("link/..", home.path().join("round")).unwrap();
    let store = store(&home.path().join("round/link"));
    assert_eq!(store.create("a/b", BYTES).await.unwrap(), Created::Now);
    fs::remove_file(home.path().join("link")).unwrap();
    symlink("/", home.path().join("link")).unwrap();
    assert_eq!(store.read("a/b", 5).await.unwrap(), BYTES);
    store.delete("a/b").await.unwrap();
    assert!(!home.path().join("real/a/b").exists());
}

/// Kernels and sandboxes without `openat2`.
#[test]
fn the_way_step_by_step_ends_where_the_other_one_does() {
    let home = TempDir::new().unwrap();
    fs::create_dir_all(home.path().join("a/b/c")).unwrap();
    fs::write(home.path().join("a/file"), "").unwrap();
    symlink("b", home.path().join("a/link")).unwrap();
    symlink("/", home.path().join("a/out")).unwrap();
    let folder = folder(home.path());
    for flags in [PASS, OPEN] {
        for place in ["", "a", "a/b/c"] {
            let node = |way: Result<OwnedFd, Wrong>| rustix::fs::fstat(way.unwrap()).unwrap().st_ino;
            assert_eq!(node(folder.enter(place, flags)), node(folder.walk_to(place, flags)), "{place}");
        }
        for (place, at, obstacle) in [
            ("a/link", "a/link", Obstacle::Link),
            ("a/link/c", "a/link", Obstacle::Link),
            ("a/out/etc", "a/out", Obstacle::Link),
            ("a/file", "a/file", Obstacle::File),
            ("a/file/below", "a/file", Obstacle::File),
        ] {
            for way in [folder.enter(place, flags), folder.walk_to(place, flags)] {
                let Err(Wrong::InTheWay(met)) = way else { panic!("{place}: {way:?}") };
                assert_eq!(PassedOver::from(met), passed(at, obstacle), "{place}");
            }
        }
        for way in [folder.enter("a/none/b", flags), folder.walk_to("a/none/b", flags)] {
            assert!(matches!(way, Err(Wrong::Missing)), "{way:?}");
        }
    }
}

#[tokio::test]
async fn an_odd_thing_in_the_place_of_an_object_is_named_and_neither_waited_for_nor_removed() {
    let home = TempDir::new().unwrap();
    let at = |name: &str| home.path().join(name);
    let store = store(home.path());
    make_pipe(&at("pipe"));
    let _socket = UnixListener::bind(at("socket")).unwrap();
    symlink("/dev/zero", at("device")).unwrap();
    symlink("device-not", at("nowhere")).unwrap();
    let mut odd = vec![
        ("pipe", Obstacle::Pipe),
        ("socket", Obstacle::Socket),
        ("device", Obstacle::Link),
        ("nowhere", Obstacle::Link),
    ];
    let (kind, mode) = (FileType::CharacterDevice, Mode::RUSR);
    let zero = rustix::fs::makedev(1, 5);
    // Not everyone may make devices.
    if rustix::fs::mknodat(rustix::fs::CWD, at("zero"), kind, mode, zero).is_ok() {
        odd.push(("zero", Obstacle::Device));
    }
    for (key, obstacle) in odd {
        let met = passed(key, obstacle);
        assert_eq!(of_one(store.read(key, 5).await), met);
        assert_eq!(of_one(store.read_range(key, 0..1).await), met);
        assert_eq!(of_one(store.entry(key).await), met);
        assert_eq!(of_one(store.create(key, BYTES).await), met);
        assert_eq!(of_one(store.delete(key).await), met);
        assert!(fs::symlink_metadata(at(key)).is_ok());
        assert!(store.listing("").await.unwrap().passed_over.contains(&met), "{key}");
    }
    assert_eq!(store.list("").await.unwrap(), []);
    assert_eq!(store.sweep_staging(Duration::ZERO).await.unwrap(), Swept::default());
}

#[tokio::test]
async fn folders_and_files_in_each_others_place_are_as_in_a_bucket_and_in_the_way_of_a_write() {
    let home = TempDir::new().unwrap();
    let store = store(home.path());
    store.create("file", BYTES).await.unwrap();
    store.create("folder/object", BYTES).await.unwrap();
    for key in ["folder", "file/below", "none", "none/below"] {
        assert!(matches!(store.read(key, 5).await, Err(StoreError::NotFound { .. })), "{key}");
        assert_eq!(store.entry(key).await.unwrap(), None, "{key}");
        store.delete(key).await.unwrap();
    }
    assert_eq!(of_one(store.create("folder", BYTES).await), passed("folder", Obstacle::Folder));
    assert_eq!(of_one(store.create("file/below", BYTES).await), passed("file", Obstacle::File));
    let long = "n".repeat(300);
    assert_eq!(of_one(store.create(&long, BYTES).await), passed(&long, Obstacle::TooLong));
    assert_eq!(of_one(store.read(&long, 5).await), passed(&long, Obstacle::TooLong));
    assert_eq!(store.read("file", 5).await.unwrap(), BYTES);
    assert_eq!(store.read("folder/object", 5).await.unwrap(), BYTES);
    assert_eq!(store.list("").await.unwrap().len(), 2);
}

#[test]
fn what_this_user_may_not_open_costs_nobody_the_rest() {
    let home = TempDir::new().unwrap();
    let at = |name: &str| home.path().join(name);
    let close = |name: &str| fs::set_permissions(at(name), fs::Permissions::from_mode(0o000)).unwrap();
    let open_to_all = |name: &str| fs::set_permissions(at(name), fs::Permissions::from_mode(0o777)).unwrap();
    for name in ["packs/G1", "packs/G2/xx", "packs/G2/yy"] {
        fs::create_dir_all(at(name)).unwrap();
        fs::write(at(name).join("object"), BYTES).unwrap();
    }
    open_to_all("");
    close("packs/G2/xx");
    close("packs/G2/yy/object");
    let folder = folder(home.path());
    let denied = |wrong: Wrong| match wrong {
        Wrong::InTheWay(met) => PassedOver::from(met),
        wrong => panic!("{wrong:?}"),
    };
    as_nobody(|| {
        let listing = folder.list("").unwrap();
        let mut listed = keys(&listing);
        listed.sort_unstable();
        assert_eq!(listed, ["packs/G1/object", "packs/G2/yy/object"]);
        assert_eq!(listing.passed_over, [passed("packs/G2/xx", Obstacle::Denied)]);
        assert!(listing.gap_in("packs/G2").is_some() && listing.gap_in("packs/G1").is_none());
        for (key, place) in
            [("packs/G2/yy/object", "packs/G2/yy/object"), ("packs/G2/xx/object", "packs/G2/xx/object")]
        {
            let met = denied(folder.open_object(key).unwrap_err());
            assert_eq!(met, passed(place, Obstacle::Denied));
        }
        denied(folder.look_at("packs/G2/xx/object").unwrap_err());
        denied(folder.remove("packs/G2/xx/object").unwrap_err());
        // Writing is different: this user must be allowed to.
        let wrong = folder.write("packs/G2/xx/new", &[BYTES], &object_store::PutMode::Create).unwrap_err();
        assert!(wrong.is_denied(), "{wrong:?}");
    });

    // An inaccessible root is a failure of the storage, not an empty store.
    close("");
    as_nobody(|| {
        assert!(folder.list("").unwrap_err().is_denied());
        assert!(folder.list("packs").unwrap_err().is_denied());
        assert!(folder.open_object("packs/G1/object").unwrap_err().is_denied());
    });
    open_to_all("");
    open_to_all("packs/G2/xx");
}

#[tokio::test]
async fn folders_too_deep_and_names_too_long_are_passed_over() {
    let home = TempDir::new().unwrap();
    let store = store(home.path());
    store.create("parts/object", BYTES).await.unwrap();
    let mut deep: OwnedFd = File::open(home.path().join("parts")).unwrap().into();
    let name = "d".repeat(255);
    for _ in 0..17 {
        mkdirat(&deep, &name, Mode::RWXU).unwrap();
        deep = rustix::fs::openat(&deep, &name, OPEN, Mode::empty()).unwrap();
    }
    fs::create_dir_all(home.path().join("deep/".repeat(40))).unwrap();
    let listing = store.listing("").await.unwrap();
    assert_eq!(keys(&listing), ["parts/object"]);
    assert!(listing.passed_over.iter().all(|passed| passed.obstacle == Obstacle::Name));
    assert_eq!(listing.passed_over.len(), 2);
    assert_eq!(listing.gap_in("parts"), None);
    let file = File::from(deep);
    assert_eq!(store.sweep_staging(Duration::ZERO).await.unwrap(), Swept::default());
    drop(file);
}

#[tokio::test]
async fn what_is_listed_can_be_read_and_deleted_by_its_name() {
    let home = TempDir::new().unwrap();
    let store = store(home.path());
    for name in ["a b", "caf\u{e9}", "a#1b", "%2e", "x~", "plain", "..a", "A-Z_0.9", "a%0Ab", "back\\slash"] {
        fs::create_dir(home.path().join(name)).unwrap();
        fs::write(home.path().join(name).join("object"), BYTES).unwrap();
        fs::write(home.path().join("plain").join(name), BYTES).ok();
    }
    let listing = store.listing("").await.unwrap();
    assert!(listing.entries.len() >= 3 && listing.passed_over.len() >= 7, "{listing:?}");
    for entry in listing.entries {
        assert_eq!(store.entry(&entry.key).await.unwrap().as_ref(), Some(&entry));
        assert_eq!(store.read(&entry.key, 5).await.unwrap(), BYTES);
        store.delete(&entry.key).await.unwrap();
    }
    assert_eq!(store.list("").await.unwrap(), []);
}

#[tokio::test]
async fn times_that_nothing_can_say_are_the_next_ones_that_can_be_said() {
    let home = TempDir::new().unwrap();
    let store = store(home.path());
    store.create("object", BYTES).await.unwrap();
    let mut stat = store.folder().unwrap().look_at("object").unwrap();
    for (seconds, expected) in [
        (i64::MIN, jiff::Timestamp::MIN),
        (-(1 << 62), jiff::Timestamp::MIN),
        (-377_705_116_801, jiff::Timestamp::MIN),
        (400_000_000_000, jiff::Timestamp::MAX),
        (i64::MAX, jiff::Timestamp::MAX),
    ] {
        stat.st_mtime = seconds;
        let meta = walk::meta(&stat, object_store::path::Path::default());
        let looked_up = crate::Entry::from(meta);
        let listed = walk::entry("object".to_owned(), &stat);
        let off = |entry: &crate::Entry| entry.modified.duration_since(expected).abs();
        assert!(off(&looked_up) < jiff::SignedDuration::from_secs(1), "{seconds}: {looked_up:?}");
        assert_eq!(looked_up.modified, listed.modified, "{seconds}");
    }
    // As far as this folder's file system supports it.
    let touched =
        Command::new("touch").args(["-d", "@400000000000"]).arg(home.path().join("object")).status();
    assert!(touched.unwrap().success());
    let listed = store.list("").await.unwrap();
    assert_eq!(store.entry("object").await.unwrap().as_ref(), Some(&listed[0]));
}

#[tokio::test]
async fn a_file_that_ends_while_it_is_read_is_not_waited_for() {
    use futures::TryStreamExt as _;
    use object_store::ObjectStoreExt as _;
    let home = TempDir::new().unwrap();
    let store = store(home.path());
    store.create("object", Bytes::from(vec![7; 3 << 20])).await.unwrap();
    let found = store.backend().get(&"object".into()).await.unwrap();
    let mut parts = found.into_stream();
    assert_eq!(parts.try_next().await.unwrap().unwrap().len(), 1 << 20);
    File::options().write(true).open(home.path().join("object")).unwrap().set_len(100).unwrap();
    assert_eq!(parts.try_next().await.unwrap(), None);
}

/// On file systems without hard links, objects get their name by renaming.
#[test]
fn a_renamed_staging_file_replaces_objects_only_and_leaves_nothing() {
    let home = TempDir::new().unwrap();
    let folder = folder(home.path());
    let write = |key: &str| folder.write(key, &[BYTES], &object_store::PutMode::Overwrite);
    write("a/object").unwrap();
    write("a/object").unwrap();
    symlink("object", home.path().join("a/link")).unwrap();
    let wrong = write("a/link").unwrap_err();
    assert!(matches!(&wrong, Wrong::InTheWay(met) if met.obstacle == Obstacle::Link), "{wrong:?}");
    assert!(home.path().join("a/link").is_symlink());
    assert_eq!(fs::read_dir(home.path().join("a")).unwrap().count(), 2);
}

#[tokio::test]
async fn a_root_that_is_gone_is_a_failure_to_write_and_to_sweep() {
    let home = TempDir::new().unwrap();
    let store = store(&home.path().join("root"));
    fs::remove_dir(home.path().join("root")).unwrap();
    for key in ["object", "a/object"] {
        let error = store.create(key, BYTES).await.unwrap_err();
        assert!(matches!(error, StoreError::Failed { .. }), "{error:?}");
    }
    let error = store.sweep_staging(Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, StoreError::Failed { .. }), "{error:?}");
}

const CHILD: &str = "LIFEBOAT_STORE_TEST_FOLDER";

/// The limit applies to the whole process, so the test starts itself again as a child.
#[test]
fn a_listing_needs_no_open_file_for_each_folder() {
    if let Some(path) = std::env::var_os(CHILD) {
        let limit = Rlimit { current: Some(40), maximum: Some(40) };
        setrlimit(Resource::Nofile, limit).unwrap();
        let folder = folder(Path::new(&path));
        assert_eq!(folder.list("").unwrap().entries.len(), 300);
        return;
    }
    let home = TempDir::new().unwrap();
    for number in 0..300 {
        let run = home.path().join(format!("runs/{number}"));
        fs::create_dir_all(&run).unwrap();
        fs::write(run.join("object"), BYTES).unwrap();
    }
    let name = "folder::tests::a_listing_needs_no_open_file_for_each_folder";
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--test-threads", "1"])
        .env(CHILD, home.path())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"), "{child:?}");
}
