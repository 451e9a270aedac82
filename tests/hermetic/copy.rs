//! Snapshots copied from one repository into another.

use std::fs;
use std::path::{Path, PathBuf};

use lifeboat_tests::command::{Output, lifeboat, run};
use lifeboat_tests::repository::TestRepository;
use lifeboat_tests::tree;
use serde_json::Value;

use crate::BINARIES;

/// Copies from one repository into the other, with only the keys that this needs.
fn copy(from: &TestRepository, into: &TestRepository, flags: &[&str]) -> Output {
    let (identity, writer) = (from.path("one.key"), into.path("writer.key"));
    let keys = ["--identity", identity.to_str().unwrap(), "--writer-key", writer.to_str().unwrap()];
    from.backup(["copy", &into.location].iter().chain(&keys).chain(flags))
}

fn listed(repo: &TestRepository) -> Vec<Value> {
    repo.backup(["list", "--json"]).expect_code(0).json()["snapshots"].as_array().unwrap().clone()
}

fn restore(repo: &TestRepository, id: &str, name: &str) -> PathBuf {
    let target = repo.path(name);
    repo.restore(["path", id, "--to", target.to_str().unwrap()]).expect_code(0);
    target
}

fn take(repo: &TestRepository, source: &Path, flags: &[&str]) {
    repo.backup(["run", "--path", source.to_str().unwrap()].iter().chain(flags)).expect_code(0);
}

#[test]
fn a_copy_keeps_everything_and_is_made_once() {
    let (repo, other) = (TestRepository::in_folder(BINARIES), TestRepository::in_folder(BINARIES));
    let source = repo.path("source");
    tree::build(&source);
    take(&repo, &source, &["--tag", "first", "--host", "ship"]);
    let before = tree::look(&source);
    fs::write(source.join("added"), b"added").unwrap();
    let after = tree::look(&source);
    take(&repo, &source, &["--tag", "second", "--host", "ship"]);

    let report = copy(&repo, &other, &["--json"]).expect_code(0).json();
    let lines = report["snapshots"].as_array().unwrap();
    assert!(lines.iter().all(|line| line["what"] == "copied"), "{report}");
    // Data in both snapshots is stored once.
    let new = |n: usize| lines[n]["new_bytes"].as_u64().unwrap();
    assert!(new(0) > 4_000_000 && new(1) < 200_000, "{report}");

    let (here, there) = (listed(&repo), listed(&other));
    assert_eq!(there.len(), 2);
    for (original, copy) in here.iter().zip(&there) {
        for same in ["time", "host", "tags", "application", "streams", "incomplete"] {
            assert_eq!(original[same], copy[same], "{same}");
        }
        assert_eq!(copy["copied_from"], original["id"]);
        assert_eq!(original["copied_from"], Value::Null);
    }
    let first = there[0]["id"].as_str().unwrap();
    assert_eq!(tree::look(&restore(&other, first, "first")), before);
    assert_eq!(tree::look(&restore(&other, "latest", "latest")), after);
    let shown = other.backup(["show", first]).expect_code(0).stdout;
    assert!(shown.contains(&format!("copy of     {}\n", here[0]["id"].as_str().unwrap())), "{shown}");

    let packs = other.objects("packs");
    let again = copy(&repo, &other, &[]).expect_code(0).stdout;
    assert!(again.contains("0 snapshots copied, 2 there already, 0 B stored"), "{again}");
    assert_eq!((other.objects("packs"), listed(&other)), (packs, there));
}

#[test]
fn copies_know_each_other_wherever_they_were_made() {
    let (a, b, c) = (
        TestRepository::in_folder(BINARIES),
        TestRepository::in_folder(BINARIES),
        TestRepository::in_folder(BINARIES),
    );
    let source = a.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), b"the same everywhere").unwrap();
    take(&a, &source, &[]);
    copy(&a, &b, &[]).expect_code(0);
    copy(&b, &c, &[]).expect_code(0);
    for (from, into) in [(&a, &c), (&c, &b), (&c, &a)] {
        let said = copy(from, into, &[]).expect_code(0).stdout;
        assert!(said.contains("0 snapshots copied, 1 there already"), "{said}");
    }
    assert_eq!(listed(&c)[0]["copied_from"], listed(&a)[0]["id"]);
}

#[test]
fn some_snapshots_are_copied_and_a_dry_run_copies_none() {
    let (repo, other) = (TestRepository::in_folder(BINARIES), TestRepository::in_folder(BINARIES));
    let source = repo.path("source");
    fs::create_dir(&source).unwrap();
    for (name, host) in [("one", "ship"), ("two", "boat"), ("three", "ship")] {
        fs::write(source.join("file"), name).unwrap();
        take(&repo, &source, &["--tag", name, "--host", host]);
    }
    let said = copy(&repo, &other, &["--dry-run"]).expect_code(0).stdout;
    assert_eq!(said.matches("would be copied").count(), 3, "{said}");
    assert!(listed(&other).is_empty());
    copy(&repo, &other, &["latest"]).expect_code(0);
    // An older one after a newer one: the newer one stays the latest.
    copy(&repo, &other, &["--tag", "one"]).expect_code(0);
    assert_eq!(listed(&other).len(), 2);
    assert_eq!(other.restore(["dump", "latest", "file"]).expect_code(0).stdout, "three");
    copy(&repo, &other, &["--host", "boat"]).expect_code(0);
    assert_eq!(other.restore(["dump", "latest", "file"]).expect_code(0).stdout, "three");
    copy(&repo, &other, &["0123abcd"]).expect_code(2);
}

#[test]
fn contents_that_a_copy_holds_are_not_read_again_for_the_next() {
    let (repo, other) = (TestRepository::in_folder(BINARIES), TestRepository::in_folder(BINARIES));
    let source = repo.path("source");
    fs::create_dir(&source).unwrap();
    let noise: Vec<u8> = (0_u32..500_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(source.join("large"), &noise).unwrap();
    take(&repo, &source, &[]);
    copy(&repo, &other, &[]).expect_code(0);
    let largest = repo.objects("packs").into_iter().max_by_key(|p| fs::metadata(p).unwrap().len()).unwrap();
    fs::write(source.join("small"), b"small").unwrap();
    take(&repo, &source, &[]);
    fs::remove_file(largest).unwrap();
    copy(&repo, &other, &[]).expect_code(0);
    let target = restore(&other, "latest", "target");
    assert_eq!(fs::read(target.join("large")).unwrap(), noise);
    assert_eq!(fs::read(target.join("small")).unwrap(), b"small");
}

#[test]
fn a_damaged_snapshot_is_not_copied_unless_asked_and_then_it_is_marked() {
    let (repo, other) = (TestRepository::in_folder(BINARIES), TestRepository::in_folder(BINARIES));
    let source = repo.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("whole"), b"whole").unwrap();
    take(&repo, &source, &[]);
    let noise: Vec<u8> = (0_u32..500_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(source.join("damaged"), noise).unwrap();
    take(&repo, &source, &[]);
    let largest = repo.objects("packs").into_iter().max_by_key(|p| fs::metadata(p).unwrap().len()).unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    let middle = bytes.len() / 4;
    bytes[middle] ^= 1;
    fs::write(&largest, bytes).unwrap();

    let said = copy(&repo, &other, &[]).expect_code(1).stdout;
    let name = largest.file_name().unwrap().to_str().unwrap();
    assert!(said.contains("NOT COPIED") && said.contains(name), "{said}");
    assert!(said.contains("1 snapshot copied, 0 there already"), "{said}");
    assert_eq!(listed(&other).len(), 1);

    let said = copy(&repo, &other, &["--keep-damaged"]).expect_code(1).stdout;
    assert!(said.contains("INCOMPLETE: 1 file of it cannot be read:\n  path damaged: "), "{said}");
    let third = TestRepository::in_folder(BINARIES);
    let said = copy(&repo, &third, &["--keep-damaged", "--json"]).expect_code(1).json();
    let line = &said["snapshots"][1];
    assert_eq!((&line["lost"][0]["stream"], &line["lost"][0]["path"]), (&"path".into(), &"damaged".into()));
    assert!(
        line["lost"][0]["reason"].as_str().unwrap().contains(name) && line.get("reason").is_none(),
        "{said}"
    );
    let there = listed(&other);
    assert_eq!((there.len(), &there[1]["incomplete"]), (2, &true.into()));
    let target = restore(&other, "latest", "target");
    assert!(!target.join("damaged").exists());
    assert_eq!(fs::read(target.join("whole")).unwrap(), b"whole");
}

#[test]
fn one_repository_under_two_names_is_refused() {
    let repo = TestRepository::in_folder(BINARIES);
    let same = format!("file://{}", repo.location);
    let said =
        repo.backup(["copy", &same, "--identity", repo.path("one.key").to_str().unwrap()]).expect_code(2);
    insta::assert_snapshot!(repo.plain(&said.stderr));
}

#[test]
fn both_keys_are_needed_and_each_for_its_own_repository() {
    let (repo, other) = (TestRepository::in_folder(BINARIES), TestRepository::in_folder(BINARIES));
    let said = repo.backup(["copy", &other.location]).expect_code(2);
    assert!(said.stderr.contains("no recovery key was given"), "{}", said.stderr);
    // The writer key of the source repository.
    let identity = repo.path("one.key");
    let said =
        repo.backup(["copy", &other.location, "--identity", identity.to_str().unwrap()]).expect_code(1);
    assert!(said.stderr.contains("the key belongs to repository"), "{}", said.stderr);
    let mut command =
        lifeboat(BINARIES.backup, &repo.path(""), ["copy", &other.location, "-r", &repo.location]);
    assert_eq!(run(&mut command).code, Some(2));
}

#[test]
fn nothing_is_decrypted_to_disk() {
    let (repo, other) = (TestRepository::in_folder(BINARIES), TestRepository::in_folder(BINARIES));
    let source = repo.path("source");
    fs::create_dir(&source).unwrap();
    let marks = ["marked-file-name", "marked file content"];
    fs::write(source.join(marks[0]), marks[1]).unwrap();
    take(&repo, &source, &[]);
    fs::remove_dir_all(&source).unwrap();
    copy(&repo, &other, &[]).expect_code(0);
    let mut looked_at = 0;
    let mut open = vec![repo.path(""), other.path("")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            looked_at += 1;
            for mark in marks {
                let is_there = bytes.windows(mark.len()).any(|window| window == mark.as_bytes());
                assert!(
                    !is_there && !path.to_string_lossy().contains(mark),
                    "`{mark}` in {}",
                    path.display()
                );
            }
        }
    }
    assert!(looked_at > 20, "only {looked_at} files were there to look at");
}
