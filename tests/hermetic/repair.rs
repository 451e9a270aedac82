//! Lost data is marked and stored again while it still exists, and then older snapshots restore whole.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lifeboat_tests::repository::TestRepository;
use lifeboat_tests::tree::noise;
use serde_json::Value;

use crate::BINARIES;

/// A repository with two snapshots whose files are in packs of their own. Returns the id of each and the data pack of
/// the second.
fn repo() -> (TestRepository, PathBuf, Vec<String>, PathBuf) {
    let repo = TestRepository::in_folder(BINARIES);
    let source = repo.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("kept"), noise(1, 80_000)).unwrap();
    let first = capture(&repo, &source);
    let before = repo.objects("packs");
    fs::write(source.join("lost"), noise(2, 120_000)).unwrap();
    let second = capture(&repo, &source);
    let new = repo.objects("packs").into_iter().filter(|pack| !before.contains(pack));
    let pack = new.max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    (repo, source, vec![first, second], pack)
}

fn capture(repo: &TestRepository, source: &Path) -> String {
    let said = repo.backup(["run", "--json", "--path", source.to_str().unwrap()]).expect_code(0);
    said.json()["snapshot"].as_str().unwrap().to_owned()
}

fn repair(repo: &TestRepository, args: &[&str], code: i32) -> Value {
    repo.backup(["repair", "--json"].iter().chain(args)).expect_code(code).json()
}

fn restored(repo: &TestRepository, id: &str, code: i32) -> PathBuf {
    let target = repo.path("target");
    let _ = fs::remove_dir_all(&target);
    repo.restore(["path", id, "--to", target.to_str().unwrap()]).expect_code(code);
    target
}

#[test]
fn a_lost_pack_is_healed_by_the_next_backup_and_the_old_snapshot_restores_whole() {
    let (repo, source, ids, pack) = repo();
    let identity = repo.path("one.key");
    let identity = identity.to_str().unwrap();
    fs::remove_file(&pack).unwrap();
    let target = restored(&repo, &ids[1], 1);
    assert!(target.join("kept").exists() && !target.join("lost").exists());

    let report = repair(&repo, &["--identity", identity], 1);
    assert_eq!(report["schema"], "lifeboat.repair/v1");
    assert_eq!(report["hurt"].as_array().unwrap().len(), 1);
    assert_eq!(report["hurt"][0]["snapshot"], ids[1].as_str());
    let files = report["hurt"][0]["files"].as_array().unwrap();
    assert_eq!((files.len(), &files[0]["path"], &files[0]["healed"]), (1, &"lost".into(), &false.into()));
    let again = repair(&repo, &["--identity", identity], 1);
    assert_eq!(again["actions"].as_array().unwrap().len(), 0);
    restored(&repo, &ids[0], 0);

    capture(&repo, &source);
    let target = restored(&repo, &ids[1], 0);
    assert_eq!(fs::read(target.join("lost")).unwrap(), noise(2, 120_000));
    repo.backup(["check", "--read-data"]).expect_code(0);
    let healed = repair(&repo, &["--identity", identity], 0);
    assert_eq!(healed["hurt"][0]["files"][0]["healed"], true);
}

#[test]
fn without_a_recovery_key_the_snapshots_are_named_and_the_files_are_not() {
    let (repo, source, ids, pack) = repo();
    fs::remove_file(&pack).unwrap();
    let before = repo.objects("");
    let report = repair(&repo, &["--dry-run"], 1);
    assert_eq!(repo.objects(""), before);
    assert_eq!(report["hurt"][0]["snapshot"], ids[1].as_str());
    assert!(report["hurt"][0].get("files").is_none());
    repair(&repo, &[], 1);
    capture(&repo, &source);
    restored(&repo, &ids[1], 0);
}

#[test]
fn what_no_longer_exists_stays_named_and_everything_else_restores() {
    let (repo, source, ids, pack) = repo();
    fs::remove_file(&pack).unwrap();
    fs::remove_file(source.join("lost")).unwrap();
    repair(&repo, &[], 1);
    capture(&repo, &source);
    let target = restored(&repo, &ids[1], 1);
    assert_eq!(fs::read(target.join("kept")).unwrap(), noise(1, 80_000));
    assert!(!target.join("lost").exists());
    restored(&repo, "latest", 0);
    repo.backup(["check"]).expect_code(1);
}

#[test]
fn an_index_that_is_gone_is_rebuilt_from_packs_and_backups_store_nothing_twice() {
    let (repo, source, ids, _) = repo();
    for folder in ["contents", "locations", "runs"] {
        for path in repo.objects(folder) {
            fs::remove_file(path).unwrap();
        }
    }
    restored(&repo, &ids[1], 1);
    let report = repair(&repo, &[], 0);
    assert!(report["actions"].as_array().unwrap().len() >= 4, "{report}");
    assert_eq!(repair(&repo, &[], 0)["actions"].as_array().unwrap().len(), 0);
    let target = restored(&repo, &ids[1], 0);
    assert_eq!(fs::read(target.join("lost")).unwrap(), noise(2, 120_000));
    fs::remove_dir_all(repo.path("cache")).unwrap();
    let packs = repo.objects("packs").len();
    let said = repo.backup(["run", "--json", "--path", source.to_str().unwrap()]).expect_code(0);
    let report = said.json();
    assert_eq!(report["new_bytes"], 0, "{report}");
    assert_eq!(repo.objects("packs").len(), packs);
}

#[test]
fn the_keys_of_a_group_are_sealed_again_by_its_writer() {
    let (repo, _, ids, _) = repo();
    for path in repo.objects("keys").iter().filter(|path| path.to_str().unwrap().contains("/group-")) {
        fs::remove_file(path).unwrap();
    }
    restored(&repo, &ids[1], 1);
    repo.backup(["check"]).expect_code(1);
    repair(&repo, &[], 0);
    restored(&repo, &ids[1], 0);
}

#[test]
fn nothing_is_marked_as_lost_while_something_cannot_be_read() {
    let (repo, _, _, pack) = repo();
    fs::remove_file(&pack).unwrap();
    // A folder in place of an object cannot be read, which is not damage that anything could be said about.
    let run = repo.objects("contents").into_iter().next().unwrap();
    fs::remove_file(&run).unwrap();
    fs::create_dir(&run).unwrap();
    let said = repo.backup(["repair"]);
    assert!(said.code == Some(1) || said.code == Some(3), "{said:?}");
}

/// Other verbs accept the addresses of lost files in the text of a repair, and following its advice ends the damage.
#[test]
fn lost_files_are_named_by_their_addresses_and_the_advice_is_one_that_helps() {
    let (repo, source, _, _) = repo();
    let before = repo.objects("packs");
    let odd = source.join(OsStr::from_bytes(b"odd\xff"));
    fs::write(&odd, noise(3, 120_000)).unwrap();
    let id = capture(&repo, &source);
    for pack in repo.objects("packs").into_iter().filter(|pack| !before.contains(pack)) {
        if fs::metadata(&pack).unwrap().len() > 100_000 {
            fs::remove_file(pack).unwrap();
        }
    }
    let identity = repo.path("one.key").display().to_string();
    let told = |args: &[&str], code: i32| {
        let said = repo.backup(["repair", "--identity", &identity].iter().chain(args)).expect_code(code);
        said.stdout
    };
    let address = format!(r"{}:source/odd\xff", &id[..12]);
    let planned = told(&["--dry-run"], 1);
    assert!(planned.contains(&address) && !planned.contains("The next backup"), "{planned}");
    let said = told(&[], 1);
    assert!(said.contains(&format!("  LOST: 1 file\n  {address}\n")), "{said}");
    let items = repo.restore(["ls", &address, "--json"]).expect_code(0).json();
    assert_eq!(items["items"].as_array().unwrap().len(), 1, "{items}");
    let advice = said.lines().last().unwrap();
    assert!(advice.starts_with("The next backup stores again what still exists at its source."), "{said}");

    // The file no longer exists, so the other half of the advice applies.
    fs::remove_file(&odd).unwrap();
    capture(&repo, &source);
    let said = told(&[], 1);
    let (_, command) = said.split_once("`lifeboat-backup forget ").unwrap();
    let ids: Vec<&str> = command.split('`').next().unwrap().split(' ').collect();
    assert_eq!(ids, [&id[..12]]);
    repo.backup([&["forget"][..], &ids].concat()).expect_code(0);
    let said = told(&[], 0);
    assert!(!said.contains("The next backup"), "{said}");
    repo.backup(["check"]).expect_code(0);
}
