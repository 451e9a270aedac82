//! Forgetting by rules and by id, the retention floor, and prune, through the programs and by the file system's clock.

use std::fs;

use lifeboat_tests::repository::TestRepository;
use lifeboat_tests::tree::noise;
use serde_json::json;

use crate::BINARIES;

/// The least that three forgotten snapshots of four free, in bytes: one of them may share a frame with the newest.
const FREED: u64 = 2_000_000;

/// A repository with a keeper and four snapshots. The ids are returned oldest first.
fn repo() -> (TestRepository, Vec<String>) {
    let repo = TestRepository::in_folder(BINARIES);
    repo.add_keeper();
    let source = repo.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("staying"), "as ever").unwrap();
    let ids = (0..4).map(|seed| {
        fs::write(source.join("changing"), noise(seed, 1_000_000)).unwrap();
        let taken = repo.backup(["run", "--path", source.to_str().unwrap(), "--json"]).expect_code(0).json();
        taken["snapshot"].as_str().unwrap().to_owned()
    });
    let ids = ids.collect();
    (repo, ids)
}

fn listed(repo: &TestRepository) -> Vec<String> {
    let list = repo.backup(["list", "--json"]).expect_code(0).json();
    let snapshots = list["snapshots"].as_array().unwrap();
    snapshots.iter().map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect()
}

/// Every object and its size.
fn objects(repo: &TestRepository) -> Vec<(std::path::PathBuf, u64)> {
    let of = |path: std::path::PathBuf| {
        let size = fs::metadata(&path).unwrap().len();
        (path, size)
    };
    repo.objects("").into_iter().map(of).collect()
}

fn bytes(repo: &TestRepository) -> u64 {
    objects(repo).iter().map(|(_, size)| size).sum()
}

#[test]
fn a_prune_without_grace_deletes_at_once_what_forgotten_snapshots_alone_needed() {
    let (repo, ids) = repo();
    let before = objects(&repo);
    repo.as_keeper(["forget", "--keep-last", "1", "--dry-run"]).expect_code(0);
    assert_eq!(objects(&repo), before, "a dry run changed something");
    repo.as_keeper(["forget", "--keep-last", "1"]).expect_code(0);
    assert_eq!(listed(&repo), ids[3..]);

    let asked = objects(&repo);
    let planned = repo.as_keeper(["prune", "--dry-run", "--json"]).expect_code(0).json();
    assert!(planned["condemned_bytes"].as_u64().unwrap() > FREED, "{planned}");
    assert_eq!(objects(&repo), asked, "a dry run changed something");
    let waiting = repo.as_keeper(["prune", "--json"]).expect_code(0).json();
    assert_eq!(waiting["deleted_objects"], 0, "{waiting}");
    assert!(waiting["due_at"].is_string(), "{waiting}");

    let full = bytes(&repo);
    let pruned = repo.as_keeper(["prune", "--grace", "0s", "--json"]).expect_code(0).json();
    assert!(pruned["deleted_bytes"].as_u64().unwrap() > FREED, "{pruned}");
    assert_eq!((&pruned["condemned_objects"], &pruned["held_back"]), (&json!(0), &json!([])), "{pruned}");
    assert!(bytes(&repo) + FREED < full, "{full} bytes became {}", bytes(&repo));
    let again = repo.as_keeper(["prune", "--grace", "0s", "--json"]).expect_code(0).json();
    assert_eq!((&again["deleted_objects"], &again["condemned_objects"]), (&json!(0), &json!(0)), "{again}");
    assert_eq!(repo.as_keeper(["check", "--read-data", "--json"]).expect_code(0).json()["damage"], json!([]));
    let target = repo.path("target");
    repo.restore(["path", "latest", "--to", target.to_str().unwrap()]).expect_code(0);
    let same = |name: &str| {
        fs::read(target.join(name)).unwrap() == fs::read(repo.path("source").join(name)).unwrap()
    };
    assert!(same("changing") && same("staying"));
}

#[test]
fn a_prune_without_grace_that_nothing_was_condemned_before_needs_no_second_one() {
    let (repo, _) = repo();
    repo.as_keeper(["forget", "--keep-last", "1"]).expect_code(0);
    let pruned = repo.as_keeper(["prune", "--grace", "0s", "--json"]).expect_code(0).json();
    assert!(pruned["deleted_bytes"].as_u64().unwrap() > FREED, "{pruned}");
    assert_eq!(pruned["condemned_objects"], 0, "{pruned}");
}

#[test]
fn the_floor_keeps_what_a_writer_or_keeper_asks_to_forget_and_the_root_goes_below_it() {
    let (repo, ids) = repo();
    let one = repo.path("one.key");
    let identity = ["--identity", one.to_str().unwrap()];
    repo.backup(["key", "floor", "--snapshots", "3"].into_iter().chain(identity)).expect_code(0);
    repo.backup(["forget", ids[0].as_str(), &ids[2]]);
    assert_eq!(listed(&repo), ids[1..]);
    repo.as_keeper(["forget", &ids[1], &ids[3]]);
    assert_eq!(listed(&repo), ids[1..]);
    let said = repo.backup(["forget", ids[3].as_str()].into_iter().chain(identity)).expect_code(0);
    assert!(said.stderr.contains("the retention floor keeps 1 of these"), "{said:?}");
    assert_eq!(listed(&repo), ids[1..3]);
}

#[test]
fn a_damaged_index_holds_a_prune_back_and_says_so_until_it_was_repaired() {
    let (repo, ids) = repo();
    repo.as_keeper(["forget", "--keep-last", "1"]).expect_code(0);
    for object in repo.objects("locations") {
        let mut bytes = fs::read(&object).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&object, bytes).unwrap();
    }
    let said = repo.as_keeper(["prune", "--grace", "0s"]).expect_code(1);
    assert!(said.stdout.contains("NOT PRUNED: group") && said.stdout.contains("repair"), "{}", said.stdout);
    repo.as_keeper(["repair"]).expect_code(0);
    let pruned = repo.as_keeper(["prune", "--grace", "0s", "--json"]).expect_code(0).json();
    assert!(pruned["deleted_bytes"].as_u64().unwrap() > FREED, "{pruned}");
    assert_eq!(listed(&repo), ids[3..]);
    assert_eq!(repo.as_keeper(["check", "--read-data", "--json"]).expect_code(0).json()["damage"], json!([]));
}

#[test]
fn a_new_repository_keeps_for_two_weeks_what_a_stolen_key_asks_to_forget() {
    let repo = TestRepository::without_repository(BINARIES);
    let (one, two, writer) = (repo.path("one.key"), repo.path("two.key"), repo.path("writer.key"));
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (one, two, writer) = (path(&one), path(&two), path(&writer));
    repo.backup(["init", "--recovery-key", &one, "--recovery-key", &two, "--writer-key", &writer])
        .expect_code(0);
    let identity = ["--identity", one.as_str()];
    let floor = || {
        let list = repo.backup(["key", "list", "--json"]).expect_code(0).json();
        (list["floor_days"].as_u64().unwrap(), list["floor_snapshots"].as_u64().unwrap())
    };
    assert_eq!(floor(), (14, 1));
    repo.add_keeper();
    let source = repo.path("source");
    fs::create_dir(&source).unwrap();
    for seed in 0..2 {
        fs::write(source.join("file"), noise(seed, 10_000)).unwrap();
        repo.snapshot(&source).expect_code(0);
    }
    let ids = listed(&repo);
    repo.backup(["forget", ids[0].as_str()]).expect_code(1);
    repo.as_keeper(["forget", ids[0].as_str()]).expect_code(1);
    repo.as_keeper(["forget", "--keep-last", "1"]).expect_code(0);
    assert_eq!(listed(&repo), ids);
    // Options that are not given keep their values, and giving none is a mistake.
    repo.backup(["key", "floor", "--snapshots", "2"].into_iter().chain(identity)).expect_code(0);
    assert_eq!(floor(), (14, 2));
    repo.backup(["key", "floor"].into_iter().chain(identity)).expect_code(2);
    repo.backup(["key", "floor", "--yes", "--days", "0", "--snapshots", "1"].into_iter().chain(identity))
        .expect_code(0);
    let said =
        repo.backup(["key", "add", "writer", &path(&repo.path("more.key"))].into_iter().chain(identity));
    assert!(said.expect_code(0).stderr.contains("key floor --floor-days 14"));
    repo.backup(["forget", ids[0].as_str()]).expect_code(0);
    assert_eq!(listed(&repo), ids[1..]);
}

#[test]
fn a_request_of_a_removed_keeper_is_never_taken_for_a_snapshot_that_is_forgotten() {
    let (repo, ids) = repo();
    let one = repo.path("one.key");
    let identity = ["--identity", one.to_str().unwrap()];
    repo.as_keeper(["forget", "--keep-last", "1"]).expect_code(0);
    assert_eq!(listed(&repo), ids[3..]);
    let list = repo.backup(["key", "list", "--json"]).expect_code(0).json();
    let keeper = list["keepers"][0]["id"].as_str().unwrap().to_owned();
    repo.backup(["key", "remove", "--yes", &keeper].into_iter().chain(identity)).expect_code(0);
    assert_eq!(listed(&repo), ids, "the requests of a removed keeper count no more");
    let said = repo.backup(["forget", "--keep-last", "1"]).expect_code(1);
    assert!(said.stderr.contains("forget/") && said.stderr.contains("who was removed"), "{}", said.stderr);
    assert_eq!(listed(&repo), ids);
    fs::remove_file(repo.path("keeper.key")).unwrap();
    repo.add_keeper();
    repo.as_keeper(["forget", "--keep-last", "1"]).expect_code(0);
    assert_eq!(listed(&repo), ids[3..]);
    repo.as_keeper(["prune", "--grace", "0s"]).expect_code(0);
    assert_eq!(repo.as_keeper(["check", "--json"]).expect_code(0).json()["damage"], json!([]));
}

#[test]
fn the_table_says_what_each_snapshot_holds() {
    let repo = TestRepository::in_folder(BINARIES);
    let source = repo.path("source");
    fs::create_dir(&source).unwrap();
    let source = source.to_str().unwrap();
    for tag in ["nightly", "weekly"] {
        repo.backup(["run", "--path", source, "--tag", tag]).expect_code(0);
    }
    let said = repo.backup(["forget", "--keep-last", "1", "--dry-run"]).expect_code(0).stdout;
    let lines: Vec<&str> = said.lines().collect();
    let list = repo.backup(["list"]).expect_code(0).stdout;
    let column = |line: &str, name: &str| line.find(name).unwrap();
    let (what, fate) = (column(lines[0], "what"), column(lines[0], "fate"));
    for (line, listed, fate_is, what_is) in [
        (lines[1], list.lines().nth(1).unwrap(), "forget", "path [nightly]"),
        (lines[2], list.lines().nth(2).unwrap(), "keep", "path [weekly]  (last)"),
    ] {
        assert_eq!(line[what..], *what_is, "{said}");
        assert_eq!(line[fate..what].trim(), fate_is, "{said}");
        assert_eq!(line[..fate], listed[..fate], "{said}{list}");
    }
    let said = repo.backup(["forget", "--keep-last", "1", "--dry-run", "--json"]).expect_code(0).json();
    assert_eq!(said["snapshots"][0]["streams"][0]["kind"], "path");
    assert_eq!(
        (&said["snapshots"][0]["tags"][0], &said["snapshots"][0]["is_forgotten"]),
        (&"nightly".into(), &true.into())
    );
}
