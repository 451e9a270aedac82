//! Damage in the repository is found, reported, and never restored as if it were data.

use std::fs;
use std::path::{Path, PathBuf};

use lifeboat_tests::repository::TestRepository;

use crate::BINARIES;

/// A repository with one snapshot of one small and one large file.
fn repo() -> (TestRepository, PathBuf) {
    let repo = TestRepository::in_folder(BINARIES);
    let source = repo.path("source");
    fs::create_dir(&source).unwrap();
    let noise: Vec<u8> = (0_u32..500_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(source.join("large"), noise).unwrap();
    fs::write(source.join("small"), b"small").unwrap();
    repo.snapshot(&source).expect_code(0);
    (repo, source)
}

fn length(path: &Path) -> usize {
    fs::read(path).unwrap().len()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

fn restore(repo: &TestRepository) -> lifeboat_tests::command::Output {
    repo.restore(["path", "latest", "--to", repo.path("target").to_str().unwrap()])
}

#[test]
fn a_flipped_byte_in_a_pack_costs_the_files_that_it_holds_and_no_other() {
    let (repo, source) = repo();
    let largest = repo.objects("packs").into_iter().max_by_key(|p| fs::metadata(p).unwrap().len()).unwrap();
    // The last part of a pack may be padding; its first half never is.
    flip(&largest, length(&largest) / 4);
    let said = restore(&repo).expect_code(1);
    assert!(said.stdout.contains("DAMAGED: "), "{}", said.stdout);
    let target = repo.path("target");
    assert!(!target.join("large").exists() || !target.join("small").exists());
    for name in ["large", "small"] {
        if target.join(name).exists() {
            assert_eq!(fs::read(target.join(name)).unwrap(), fs::read(source.join(name)).unwrap());
        }
    }
}

#[test]
fn every_kind_of_object_that_is_flipped_cut_or_missing_is_named_and_nothing_wrong_comes_back() {
    for folder in ["packs", "locations", "parts", "snapshots", "roster", "keys/data-0"] {
        for (what, damage) in [
            ("flip", (|path: &Path| flip(path, length(path) / 2)) as fn(&Path)),
            ("cut", cut),
            ("delete", |path| fs::remove_file(path).unwrap()),
        ] {
            let (repo, source) = repo();
            let objects = repo.objects(folder);
            for path in &objects {
                damage(path);
            }
            let said = restore(&repo);
            let target = repo.path("target");
            for name in ["large", "small"] {
                if target.join(name).exists() {
                    let same = fs::read(target.join(name)).unwrap() == fs::read(source.join(name)).unwrap();
                    assert!(same, "{what} of {folder} brought back wrong bytes");
                }
            }
            assert!(matches!(said.code, Some(1 | 2)), "{what} of {folder}: {said:?}");
            let told = said.stderr.clone() + &said.stdout;
            let named = objects.iter().any(|path| told.contains(path.file_name().unwrap().to_str().unwrap()))
                || told.contains("DAMAGED")
                || told.contains("no index object has the place")
                || told.contains("no snapshot `latest`")
                || told.contains("is missing, and nobody asked to forget it")
                || told.contains(folder)
                || told.contains("recovery key");
            assert!(named, "{what} of {folder} is not explained:\n{told}");
        }
    }
}

#[test]
fn a_damaged_contents_index_is_said_and_its_chunks_are_stored_again() {
    let (repo, source) = repo();
    for path in repo.objects("contents") {
        cut(&path);
    }
    let said = repo.snapshot(&source).expect_code(0);
    assert!(said.stderr.contains("what it lists is stored again"), "{}", said.stderr);
    restore(&repo).expect_code(0);
    assert_eq!(fs::read(repo.path("target/small")).unwrap(), b"small");
}

#[test]
fn another_repository_in_the_same_place_is_refused_by_both_keys() {
    let (repo, source) = repo();
    let other = TestRepository::in_folder(BINARIES);
    other.snapshot(&source).expect_code(0);
    fs::remove_dir_all(&repo.location).unwrap();
    fs::rename(&other.location, &repo.location).unwrap();
    let said = restore(&repo).expect_code(1);
    assert!(said.stderr.contains("the key belongs to repository"), "{}", said.stderr);
    repo.snapshot(&source).expect_code(1);
}
