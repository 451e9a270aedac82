//! Captured data is restored as it was.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use lifeboat_tests::repository::TestRepository;
use lifeboat_tests::tree;

use crate::BINARIES;

fn restore(repo: &TestRepository, snapshot: &str, to: &Path) {
    repo.restore(["path", snapshot, "--to", to.to_str().unwrap()]).expect_code(0);
}

#[test]
fn a_tree_with_one_of_everything_comes_back_as_it_was() {
    let repo = TestRepository::in_folder(BINARIES);
    let (source, target) = (repo.path("source"), repo.path("target"));
    tree::build(&source);
    let before = tree::look(&source);
    repo.snapshot(&source).expect_code(0);
    assert_eq!(tree::look(&source), before, "capturing changed the source");
    restore(&repo, "latest", &target);
    let after = tree::look(&target);
    for (path, facts) in &before {
        assert_eq!(after.get(path), Some(facts), "{}", path.display());
    }
    assert_eq!(after.len(), before.len());
}

#[test]
fn an_unchanged_tree_is_no_new_data_with_or_without_the_cache() {
    let repo = TestRepository::in_folder(BINARIES);
    let source = repo.path("source");
    tree::build(&source);
    repo.snapshot(&source).expect_code(0);
    let packs = repo.objects("packs");
    assert!(repo.snapshot(&source).expect_code(0).stdout.contains("0 B new"));
    fs::remove_dir_all(repo.path("cache")).unwrap();
    assert!(repo.snapshot(&source).expect_code(0).stdout.contains("0 B new"));
    assert_eq!(repo.objects("packs"), packs);
}

#[test]
fn a_changed_file_is_captured_anew_although_its_size_and_time_are_the_same() {
    let repo = TestRepository::in_folder(BINARIES);
    let source = repo.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), b"before").unwrap();
    let time = fs::metadata(source.join("file")).unwrap().modified().unwrap();
    repo.snapshot(&source).expect_code(0);
    fs::write(source.join("file"), b"after!").unwrap();
    fs::File::options().write(true).open(source.join("file")).unwrap().set_modified(time).unwrap();
    repo.snapshot(&source).expect_code(0);
    assert_eq!(repo.restore(["dump", "latest", "file"]).expect_code(0).stdout, "after!");
}

#[test]
fn each_snapshot_gives_its_own_time_back() {
    let repo = TestRepository::in_folder(BINARIES);
    let source = repo.path("source");
    fs::create_dir(&source).unwrap();
    let mut ids = Vec::new();
    for content in ["first", "second", "third"] {
        fs::write(source.join("file"), content).unwrap();
        let said = repo.snapshot(&source).expect_code(0).stdout;
        ids.push(said.split_whitespace().nth(1).unwrap().to_owned());
    }
    for (id, content) in ids.iter().zip(["first", "second", "third"]) {
        assert_eq!(repo.restore(["dump", id, "file"]).expect_code(0).stdout, content);
    }
    let listed = repo.backup(["list"]).expect_code(0).stdout;
    assert!(ids.iter().all(|id| listed.contains(id.as_str())), "{listed}");
}

#[test]
fn paths_longer_than_the_systems_limit_come_back() {
    let repo = TestRepository::in_folder(BINARIES);
    let (source, target) = (repo.path("source"), repo.path("target"));
    fs::create_dir(&source).unwrap();
    // A path of 8,000 bytes cannot be passed as a whole: the folders are created and entered one by one.
    let bottom = tree::go_down(&source, &"d".repeat(200), 40, true);
    tree::write_in(&bottom, "bottom", b"deep");
    repo.snapshot(&source).expect_code(0);
    restore(&repo, "latest", &target);
    let bottom = tree::go_down(&target, &"d".repeat(200), 40, false);
    assert_eq!(tree::read_in(&bottom, "bottom"), b"deep");
    let same = repo.restore(["diff", "latest", target.to_str().unwrap()]);
    same.expect_code(0);
}

#[test]
fn differences_are_named_and_a_restored_tree_has_none() {
    let repo = TestRepository::in_folder(BINARIES);
    let (source, target) = (repo.path("source"), repo.path("target"));
    tree::build(&source);
    repo.snapshot(&source).expect_code(0);
    restore(&repo, "latest", &target);
    let diff = || repo.restore(["diff", "latest", target.to_str().unwrap()]);
    diff().expect_code(0);
    fs::remove_file(target.join("fifo")).unwrap();
    fs::write(target.join("added"), b"").unwrap();
    let sparse = fs::File::options().write(true).open(target.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"x", 1 << 30).unwrap();
    let mut large = fs::File::options().append(true).open(target.join("large")).unwrap();
    large.write_all(b"x").unwrap();
    let said = diff().expect_code(1).stdout;
    for line in ["missing    fifo", "extra      added", "changed    sparse (mtime, content)"] {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
    assert!(said.contains("changed    large (mtime, size)"), "{said}");
}

#[test]
fn standard_input_is_captured_as_a_file_and_several_folders_come_back_under_their_names() {
    let repo = TestRepository::in_folder(BINARIES);
    let mut command = repo.backup_command(["run", "--stdin", "dump.sql"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"select 1;\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(repo.restore(["dump", "latest", "dump.sql"]).expect_code(0).stdout, "select 1;\n");

    let (a, b) = (repo.path("a/data"), repo.path("b/data"));
    for folder in [&a, &b] {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("which"), folder.to_str().unwrap()).unwrap();
    }
    repo.backup(["run", "--path", a.to_str().unwrap(), "--path", b.to_str().unwrap()]).expect_code(0);
    let target = repo.path("target");
    restore(&repo, "latest", &target);
    assert_eq!(fs::read_to_string(target.join("data/which")).unwrap(), a.to_str().unwrap());
    assert_eq!(fs::read_to_string(target.join("data-2/which")).unwrap(), b.to_str().unwrap());
}

#[test]
fn a_run_that_is_killed_leaves_what_was_committed_and_the_next_run_goes_on() {
    let repo = TestRepository::in_folder(BINARIES);
    let source = repo.path("source");
    tree::build(&source);
    repo.snapshot(&source).expect_code(0);
    let mut command = repo.backup_command(["run", "--stdin", "endless", "--no-progress"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // More than the pipeline keeps in memory, so that packs are in the store when the process dies.
    let mut noise = vec![0; 1 << 20];
    for megabyte in 0..96_u32 {
        noise.iter_mut().zip(0_u32..).for_each(|(byte, n)| {
            *byte = (n.wrapping_add(megabyte << 20).wrapping_mul(2_654_435_761) >> 24) as u8;
        });
        input.write_all(&noise).unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(repo.backup(["list"]).expect_code(0).stdout.lines().count() == 2);
    repo.snapshot(&source).expect_code(0);
    restore(&repo, "latest", &repo.path("target"));
}
