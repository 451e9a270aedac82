//! The scope of `check`: everything, parts, samples, and with each kind of key.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use lifeboat_tests::repository::TestRepository;
use lifeboat_tests::tree::noise;
use serde_json::Value;

use crate::BINARIES;

/// A repository with several runs.
fn repo() -> (TestRepository, PathBuf) {
    let repo = TestRepository::in_folder(BINARIES);
    let source = repo.path("source");
    fs::create_dir(&source).unwrap();
    for n in 0_u32..4 {
        fs::write(source.join(format!("file-{n}")), noise(n, 12_000)).unwrap();
        repo.snapshot(&source).expect_code(0);
    }
    (repo, source)
}

fn check(repo: &TestRepository, args: &[&str], code: i32) -> Value {
    let args = ["check", "--json"].iter().chain(args);
    repo.backup(args).expect_code(code).json()
}

#[test]
fn a_whole_repository_is_found_whole_by_every_key() {
    let (repo, _) = repo();
    let (keeper, identity) = (repo.add_keeper(), repo.path("one.key"));
    let (keeper, identity) = (keeper.as_str(), identity.to_str().unwrap());
    for (flags, key) in
        [(&[][..], "writer"), (&["--keeper-key", keeper], "keeper"), (&["--identity", identity], "recovery")]
    {
        let report = check(&repo, &[&["--read-data"], flags].concat(), 0);
        assert_eq!(report["schema"], "lifeboat.check/v1");
        assert_eq!(report["key"], key);
        assert_eq!(report["objects"], repo.objects("").len());
        assert_eq!(report["packs_read"], repo.objects("packs").len());
        assert_eq!(report["snapshots"], 4);
        assert_eq!(report["frames_opened"].as_u64().unwrap() > 0, key == "recovery");
        assert_eq!(report["damage"].as_array().unwrap().len(), 0);
    }
    let said = repo.backup(["check"]).expect_code(0);
    assert!(said.stdout.contains("no damage"), "{}", said.stdout);
}

#[test]
fn shards_cover_every_object_exactly_once() {
    let (repo, _) = repo();
    let objects = repo.objects("");
    for path in &objects {
        let bytes = fs::read(path).unwrap();
        if path.parent().unwrap().file_name() != Some("roster".as_ref()) {
            fs::write(path, [&bytes[..], b"\n"].concat()).unwrap();
        }
    }
    let named = |report: &Value| -> Vec<String> {
        let damage = report["damage"].as_array().unwrap().iter();
        damage.map(|line| line["object"].as_str().unwrap().to_owned()).collect()
    };
    let whole = check(&repo, &["--read-data"], 1);
    let mut sum = 0;
    let mut found = Vec::new();
    for shard in ["1/3", "2/3", "3/3"] {
        let report = check(&repo, &["--read-data", "--shard", shard], 1);
        assert_eq!(report["shard"], shard);
        sum += report["objects"].as_u64().unwrap();
        found.extend(named(&report));
    }
    assert_eq!(sum, objects.len() as u64);
    let distinct: BTreeSet<_> = found.iter().collect();
    assert_eq!(distinct.len(), found.len(), "an object is in two shards");
    for path in &objects {
        let key = path.strip_prefix(&repo.location).unwrap().to_str().unwrap();
        assert!(key.starts_with("roster/") || distinct.contains(&key.to_owned()), "{key} is in no shard");
    }
    assert!(named(&whole).iter().all(|key| distinct.contains(key)));
    repo.backup(["check", "--shard", "4/3"]).expect_code(2);
}

#[test]
fn a_sample_is_drawn_by_a_seed_that_the_report_records() {
    let (repo, _) = repo();
    let packs = repo.objects("packs").len() as u64;
    let first = check(&repo, &["--read-data=50%"], 0);
    assert_eq!(first["read_data"]["mode"], "sample");
    assert!(first["packs_read"].as_u64().unwrap() <= packs);
    let seed = first["read_data"]["seed"].to_string();
    let again = check(&repo, &["--read-data=50%", "--seed", &seed], 0);
    assert_eq!(again["packs_read"], first["packs_read"]);
    assert_eq!(again["read_bytes"], first["read_bytes"]);
    repo.backup(["check", "--read-data=0%"]).expect_code(2);
}

#[test]
fn without_reading_data_a_pack_that_is_cut_or_gone_is_found_and_one_that_is_flipped_is_not() {
    for (harm, code) in [("cut", 1), ("delete", 1), ("flip", 0)] {
        let (repo, _) = repo();
        let pack = repo.objects("packs").into_iter().next().unwrap();
        let mut bytes = fs::read(&pack).unwrap();
        match harm {
            "cut" => fs::write(&pack, &bytes[..bytes.len() / 2]).unwrap(),
            "delete" => fs::remove_file(&pack).unwrap(),
            _ => {
                let at = bytes.len() / 2;
                bytes[at] ^= 1;
                fs::write(&pack, bytes).unwrap();
            }
        }
        check(&repo, &[], code);
        let report = check(&repo, &["--read-data"], 1);
        let affected = report["damage"][0]["snapshots"].as_array().unwrap();
        assert!(harm == "flip" || !affected.is_empty(), "{report}");
    }
}

#[test]
fn what_a_crashed_run_left_and_what_others_put_there_is_no_damage() {
    let (repo, _) = repo();
    let location = PathBuf::from(&repo.location);
    fs::write(location.join("notes.txt"), b"not ours").unwrap();
    fs::create_dir(location.join("elsewhere")).unwrap();
    fs::write(location.join("elsewhere/file"), b"not ours").unwrap();
    // A run that was killed before its manifest: only its registration and its packs exist.
    let before = repo.objects("");
    let source = repo.path("source");
    fs::write(source.join("late"), vec![7; 10_000]).unwrap();
    repo.snapshot(&source).expect_code(0);
    for path in repo.objects("").into_iter().filter(|path| !before.contains(path)) {
        let folder = path.strip_prefix(&location).unwrap().components().next().unwrap();
        if ["snapshots", "parts", "contents", "locations"].contains(&folder.as_os_str().to_str().unwrap()) {
            fs::remove_file(path).unwrap();
        }
    }
    fs::remove_dir_all(repo.path("state")).unwrap();
    let report = check(&repo, &["--read-data"], 0);
    let notes = report["notes"].to_string();
    for part in ["notes.txt", "elsewhere/file", "a run that did not finish left them"] {
        assert!(notes.contains(part), "{notes}");
    }
}

#[test]
fn a_check_needs_a_key_and_tells_a_keeper_that_was_removed() {
    let (repo, _) = repo();
    let said = repo.restore_without_key(["list"]);
    assert_eq!(said.code, Some(2));
    let (keeper, identity) = (repo.add_keeper(), repo.path("one.key"));
    let (keeper, identity) = (keeper.as_str(), identity.to_str().unwrap());
    let text = fs::read_to_string(keeper).unwrap();
    let id =
        text.lines().find_map(|line| line.strip_prefix("keeper = ")).unwrap().trim_matches('"').to_owned();
    repo.backup(["key", "remove", "--yes", &id, "--identity", identity]).expect_code(0);
    repo.backup(["check", "--keeper-key", keeper]).expect_code(1);
}
