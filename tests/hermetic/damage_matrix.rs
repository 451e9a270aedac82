//! Every kind of damage to every kind of object: a check finds and names it, a repair fixes what it can, the next
//! backup goes on, and no restore ever returns wrong bytes with exit code 0.
//!
//! One repository with every kind of object is created once; each case damages a copy of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use lifeboat_core::Sha256Digest;
use lifeboat_tests::command::Output;
use lifeboat_tests::repository::{TestRepository, copy_folder};
use lifeboat_tests::tree::noise;

use crate::BINARIES;

/// The files of a snapshot.
type Files = BTreeMap<String, Vec<u8>>;

/// The repository that every case copies.
struct Base {
    repo: TestRepository,
    /// The files of each snapshot, by its id.
    snapshots: Vec<(String, Files)>,
}

fn files_of(folder: &Path) -> Files {
    let entries = fs::read_dir(folder).into_iter().flatten().map(Result::unwrap);
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
}

impl Base {
    fn capture(&mut self) {
        let said =
            self.repo.backup(["run", "--json", "--path", self.source().to_str().unwrap()]).expect_code(0);
        let id = said.json()["snapshot"].as_str().unwrap().to_owned();
        self.snapshots.push((id, files_of(&self.source())));
    }

    fn source(&self) -> PathBuf {
        self.repo.path("source")
    }

    /// Keeps a copy of the present repository.
    fn keep_copy(&self, name: &str) {
        fs::create_dir(self.repo.path(name)).unwrap();
        copy_folder(Path::new(&self.repo.location), &self.repo.path(name));
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.source().join(name), bytes).unwrap();
    }

    /// A repository with a keeper, a forgotten snapshot, a condemnation, a lost frame that was replaced, and three
    /// snapshots that count.
    fn make() -> Self {
        let mut base = Self { repo: TestRepository::in_folder(BINARIES), snapshots: Vec::new() };
        let keeper = base.repo.add_keeper();
        fs::create_dir(base.source()).unwrap();
        base.write("small", b"small");
        base.write("one", &noise(1, 20_000));
        base.capture();
        base.keep_copy("early");

        let before = base.repo.objects("packs");
        base.write("two", &noise(2, 28_000));
        base.capture();
        base.keep_copy("second");
        let new = base.repo.objects("packs").into_iter().filter(|pack| !before.contains(pack));
        let data = new.max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
        fs::remove_file(data).unwrap();
        base.repo.backup(["repair", "--keeper-key", &keeper]).expect_code(1);
        base.capture();

        let first = base.snapshots.remove(0).0;
        base.repo.backup(["forget", &first, "--keeper-key", &keeper]).expect_code(0);
        base.repo.backup(["prune", "--keeper-key", &keeper]).expect_code(0);
        base.write("three", &noise(3, 24_000));
        base.write("small", b"other");
        base.capture();
        let manifest = base.repo.objects("snapshots").pop().unwrap();
        let folder = manifest.with_extension("sig");
        fs::create_dir(&folder).unwrap();
        for kind in ["a/b", "a/c"] {
            let envelope = serde_json::json!({
                "payload": "", "payloadType": kind, "signatures": [{ "sig": "AAAA" }],
            });
            let bytes = envelope.to_string();
            fs::write(folder.join(Sha256Digest::of(bytes.as_bytes()).to_string()), bytes).unwrap();
        }
        base.repo.backup(["check", "--read-data"]).expect_code(0);
        base
    }

    fn get() -> &'static Self {
        static BASE: OnceLock<Base> = OnceLock::new();
        BASE.get_or_init(Self::make)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Harm {
    Flip,
    Cut,
    Grow,
    Swap,
    Delete,
}

impl Harm {
    const ALL: [Self; 5] = [Self::Flip, Self::Cut, Self::Grow, Self::Swap, Self::Delete];

    /// Damages `path`; `other` is another object of its kind. Returns `false` if there is none to swap with.
    fn on(self, path: &Path, other: Option<&PathBuf>) -> bool {
        let mut bytes = fs::read(path).unwrap();
        match self {
            Self::Flip => {
                let at = bytes.len() / 3;
                bytes[at] ^= 4;
            }
            Self::Cut => bytes.truncate(bytes.len() / 2),
            Self::Grow => bytes.extend_from_slice(b"\n  \n"),
            Self::Swap => {
                let Some(other) = other else { return false };
                fs::copy(other, path).unwrap();
                fs::write(other, bytes).unwrap();
                return true;
            }
            Self::Delete => {
                fs::remove_file(path).unwrap();
                return true;
            }
        }
        fs::write(path, bytes).unwrap();
        true
    }
}

/// The expected state of the repository after a repair with every key and the next backup.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    /// No damage is left, and every snapshot restores whole.
    Whole,
    /// Whether it is repaired depends on which object it was; in no case does a restore return anything wrong.
    Told,
}

fn no_panic(said: &Output, case: &str) {
    assert!(said.code.is_some_and(|code| code <= 3) && !said.stderr.contains("internal"), "{case}: {said:?}");
}

/// Restores a snapshot. With exit code 0 everything must be there and right; with any other, whatever is there must be
/// right.
fn restore_right(repo: &TestRepository, name: &str, files: &Files, case: &str) -> bool {
    let target = repo.path("target");
    let _ = fs::remove_dir_all(&target);
    let said = repo.restore(["path", name, "--to", target.to_str().unwrap()]);
    no_panic(&said, case);
    let found = files_of(&target);
    for (name, bytes) in &found {
        let right = files.get(name).map_or(0, Vec::len);
        assert!(
            files.get(name) == Some(bytes),
            "{case}: {} bytes of {name} came back, where {right} are right\n{said:?}",
            bytes.len()
        );
    }
    if said.code == Some(0) {
        assert_eq!(found.len(), files.len(), "{case}: files are missing without a word");
    }
    said.code == Some(0)
}

/// An object to damage.
struct Object<'a> {
    path: &'a Path,
    key: &'a Path,
    repo: &'a TestRepository,
}

impl Object<'_> {
    /// Whether it existed when a copy was kept.
    fn was_in(&self, copy: &str) -> bool {
        self.repo.path(copy).join(self.key).exists()
    }
}

/// Packs with files are larger here than those with lists of files.
fn is_large(object: &Object<'_>) -> bool {
    fs::metadata(object.path).unwrap().len() > 8_000
}

fn is_countersignature(object: &Object<'_>) -> bool {
    is_signature(object.path)
}

/// Damages one object in each way and checks the consequences.
fn follow(folder: &str, is_of_kind: fn(&Object<'_>) -> bool, then: Then, is_seen_when_deleted: bool) {
    let base = Base::get();
    for (number, harm) in Harm::ALL.into_iter().enumerate() {
        let repo = base.repo.twin();
        let is_of_kind = |path: &PathBuf| {
            let key = path.strip_prefix(&repo.location).unwrap();
            is_of_kind(&Object { path, key, repo: &repo })
        };
        let objects: Vec<_> = repo.objects(folder).into_iter().filter(is_of_kind).collect();
        assert!(!objects.is_empty(), "the repository has nothing in {folder}");
        let path = &objects[number % objects.len()];
        let other = objects.iter().find(|other| *other != path);
        if !harm.on(path, other) {
            continue;
        }
        let key = path.strip_prefix(&repo.location).unwrap().to_str().unwrap();
        let case = format!("{harm:?} of {key}");

        // Before the repair.
        let said = repo.backup(["check", "--read-data"]);
        no_panic(&said, &case);
        if harm != Harm::Delete || is_seen_when_deleted {
            assert_eq!(said.code, Some(1), "{case} is not found\n{}{}", said.stdout, said.stderr);
            let told = said.stdout.clone() + &said.stderr;
            let (folder, name) = key.rsplit_once('/').unwrap_or(("", key));
            let start = name.split_once('-').map_or(name, |(recipient, _)| recipient);
            let is_named = told.contains(key) || (told.contains(start) && told.contains(folder));
            let is_named = is_named || (harm == Harm::Delete && told.contains(folder));
            // A roster is identified by the next one, which contains its hash.
            let is_named = is_named || (folder == "roster" && told.contains("roster/"));
            assert!(is_named || told.contains("has seen roster"), "{case} is not named\n{told}");
        }
        for (id, files) in &base.snapshots {
            restore_right(&repo, id, files, &case);
        }

        // Each key does its part: if a recovery key's own copies are damaged, the other one must do it.
        let (one, two) = (repo.path("one.key"), repo.path("two.key"));
        let (one, two) = (one.to_str().unwrap(), two.to_str().unwrap());
        no_panic(&repo.backup(["repair", "--identity", one]), &case);
        no_panic(&repo.backup(["repair", "--identity", two]), &case);
        no_panic(&repo.backup(["repair"]), &case);
        no_panic(&repo.backup(["repair", "--identity", one]), &case);
        let source = repo.path("source");
        // The files that only the first snapshots hold still exist.
        fs::write(source.join("before"), b"small").unwrap();
        let said = repo.backup(["run", "--path", source.to_str().unwrap()]);
        no_panic(&said, &case);
        let latest = (said.code == Some(0)).then(|| files_of(&source));
        let mut whole = base.snapshots.iter().all(|(id, files)| restore_right(&repo, id, files, &case));
        if let Some(files) = &latest {
            whole &= restore_right(&repo, "latest", files, &case);
        }
        let checked = repo.backup(["check", "--read-data"]);
        no_panic(&checked, &case);
        if then == Then::Whole {
            assert!(latest.is_some(), "{case}: the next backup fails\n{}", said.stderr);
            assert_eq!(checked.code, Some(0), "{case} is not repaired\n{}", checked.stdout);
            assert!(whole, "{case}: a snapshot does not restore whole after a repair and a backup");
        }
        // A second repair changes nothing.
        let again = repo.backup(["repair", "--identity", one]);
        assert!(
            !again.stdout.contains("done: "),
            "{case}: the second repair changed something\n{}",
            again.stdout
        );
    }
}

const ANY: fn(&Object<'_>) -> bool = |_| true;

fn is_signature(path: &Path) -> bool {
    path.parent().unwrap().extension().is_some()
}

#[test]
fn of_the_marker() {
    follow("", |object| object.key == Path::new("lifeboat.json"), Then::Whole, true);
}

#[test]
fn of_rosters() {
    follow("roster", ANY, Then::Told, true);
}

#[test]
fn of_sealed_root_keys() {
    follow("keys/root", ANY, Then::Whole, true);
}

#[test]
fn of_sealed_data_keys() {
    follow("keys/data-0", ANY, Then::Whole, true);
}

#[test]
fn of_sealed_group_keys() {
    follow("keys", |object| object.key.to_str().unwrap().contains("/group-"), Then::Whole, true);
}

#[test]
fn of_registrations() {
    follow("runs", ANY, Then::Whole, false);
}

#[test]
fn of_packs_of_files() {
    follow("packs", is_large, Then::Whole, true);
}

/// A backup of newer files does not create an older list of files again.
#[test]
fn of_packs_of_lists() {
    follow("packs", |object| !is_large(object), Then::Told, false);
}

/// Only the contents object that lists a lost frame shows what it held.
#[test]
fn of_contents() {
    follow("contents", |object| object.was_in("early") || !object.was_in("second"), Then::Whole, false);
}

#[test]
fn of_the_contents_of_lost_frames() {
    follow("contents", |object| !object.was_in("early") && object.was_in("second"), Then::Told, false);
}

#[test]
fn of_locations() {
    follow("locations", ANY, Then::Whole, false);
}

#[test]
fn of_parts() {
    follow("parts", |object| !object.was_in("early"), Then::Told, true);
}

#[test]
fn of_manifests() {
    follow("snapshots", |object| !is_countersignature(object) && !object.was_in("early"), Then::Told, true);
}

#[test]
fn of_countersignatures() {
    follow("snapshots", is_countersignature, Then::Whole, false);
}

#[test]
fn of_requests_to_forget() {
    follow("forget", ANY, Then::Told, false);
}

#[test]
fn of_condemnations() {
    follow("condemned", ANY, Then::Whole, false);
}

#[test]
fn of_losses() {
    follow("lost", ANY, Then::Whole, false);
}

#[test]
fn an_older_state_is_found_out_by_who_has_seen_a_newer_one() {
    let base = Base::get();
    let repo = base.repo.twin();
    fs::remove_dir_all(&repo.location).unwrap();
    fs::rename(repo.path("early"), &repo.location).unwrap();
    let said = repo.backup(["check", "--read-data"]).expect_code(1);
    assert!(said.stdout.contains("nobody asked to forget"), "{}", said.stdout);
    let target = repo.path("target");
    repo.restore(["path", "latest", "--to", target.to_str().unwrap()]).expect_code(1);
    repo.backup(["run", "--path", repo.path("source").to_str().unwrap()]).expect_code(1);
}

#[test]
fn an_older_state_is_whole_to_who_sees_it_first() {
    let base = Base::get();
    let repo = base.repo.twin();
    fs::remove_dir_all(&repo.location).unwrap();
    fs::rename(repo.path("early"), &repo.location).unwrap();
    fs::remove_dir_all(repo.path("state")).unwrap();
    repo.backup(["check", "--read-data"]).expect_code(0);
    // The cache is newer than the repository; a run reads files again and commits the right content.
    repo.backup(["run", "--path", repo.path("source").to_str().unwrap()]).expect_code(0);
    assert!(restore_right(&repo, "latest", &files_of(&repo.path("source")), "a run after a rollback"));
    repo.backup(["check", "--read-data"]).expect_code(0);
}

#[test]
fn older_rosters_and_missing_snapshots_are_told_apart_from_damage() {
    let base = Base::get();
    for folder in ["snapshots", "roster"] {
        let repo = base.repo.twin();
        let newest = repo.objects(folder).into_iter().rfind(|path| !is_signature(path)).unwrap();
        fs::remove_file(newest).unwrap();
        let said = repo.backup(["check"]).expect_code(1);
        let told = said.stdout + &said.stderr;
        assert!(told.contains("nobody asked to forget") || told.contains("has seen roster 1"), "{told}");
        for (id, files) in &base.snapshots {
            restore_right(&repo, id, files, folder);
        }
    }
}

#[test]
fn a_snapshot_that_nothing_mends_is_given_up_and_prune_goes_on() {
    let base = Base::get();
    for folder in ["snapshots", "parts"] {
        let repo = base.repo.twin();
        let keeper = repo.path("keeper.key");
        let keeper = keeper.to_str().unwrap();
        let objects = repo.objects(folder).into_iter().filter(|path| !is_signature(path));
        for path in objects.collect::<Vec<_>>() {
            Harm::Flip.on(&path, None);
        }
        repo.backup(["prune", "--keeper-key", keeper]).expect_code(1);
        repo.backup(["repair", "--forget-damaged"]).expect_code(2);
        let identity = repo.path("one.key");
        let identity = identity.to_str().unwrap();
        let before = repo.objects("");
        let said = repo.backup(["repair", "--forget-damaged", "--dry-run", "--identity", identity]);
        assert!(said.stdout.contains("would do: forget/"), "{}", said.stdout);
        assert_eq!(repo.objects(""), before, "a dry run changed something");
        repo.backup(["repair", "--forget-damaged", "--identity", identity]).expect_code(0);
        repo.backup(["check"]).expect_code(0);
        repo.backup(["prune", "--keeper-key", keeper]).expect_code(0);
        let source = repo.path("source");
        repo.backup(["run", "--path", source.to_str().unwrap()]).expect_code(0);
        assert!(restore_right(&repo, "latest", &files_of(&source), folder));
        repo.backup(["check", "--read-data"]).expect_code(0);
        repo.backup(["run", "--path", source.to_str().unwrap()]).expect_code(0);
    }
}
