//! Compares folders, files and parts with a snapshot.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use lifeboat_tests::repository::TestRepository;

use crate::BINARIES;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The lines of a comparison without the last, which counts them.
fn differences(repo: &TestRepository, args: &[&str]) -> Vec<String> {
    let said = repo.restore([&["diff"], args].concat());
    let lines: Vec<String> = said.stdout.lines().map(str::to_owned).collect();
    let (_, lines) = lines.split_last().unwrap_or_else(|| panic!("{said:?}"));
    assert_eq!(said.code, Some(i32::from(!lines.is_empty())), "{said:?}");
    lines.to_vec()
}

/// A tree with two folders of files, one of which is a set-user-ID program.
fn with_snapshot() -> TestRepository {
    let repo = TestRepository::in_folder(BINARIES);
    let source = repo.path("source");
    fs::create_dir_all(source.join("a/deep")).unwrap();
    fs::create_dir(source.join("b")).unwrap();
    for name in ["a/first", "a/deep/second", "b/other"] {
        fs::write(source.join(name), name).unwrap();
    }
    fs::hard_link(source.join("a/first"), source.join("b/linked")).unwrap();
    // Not every user may give files away.
    let _ = chown(source.join("a/first"), Some(12345), Some(12345));
    set_mode(&source.join("a/first"), 0o4755);
    repo.snapshot(&source).expect_code(0);
    repo
}

#[test]
fn owners_and_what_a_restore_without_them_leaves_out_need_not_be_compared() {
    let repo = with_snapshot();
    let to = repo.path("to");
    let target = to.to_str().unwrap();
    repo.restore(["path", "latest", "--to", target, "--no-owner"]).expect_code(0);
    let is_given_away = fs::metadata(repo.path("source/a/first")).unwrap().uid() == 12345;
    let aspects = if is_given_away { "mode, owner" } else { "mode" };
    assert_eq!(differences(&repo, &["latest", target])[0], format!("changed    a/first ({aspects})"));
    assert!(differences(&repo, &["latest", target, "--no-owner"]).is_empty());
    // Rights that were not in the snapshot still count as differences, and so does everything else.
    set_mode(&to.join("b/other"), 0o6644);
    set_mode(&to.join("a/first"), 0o711);
    fs::write(to.join("a/deep/second"), "another").unwrap();
    let found = differences(&repo, &["latest", target, "--no-owner"]);
    let expected =
        ["changed    a/deep/second (mtime, size)", "changed    a/first (mode)", "changed    b/other (mode)"];
    assert!(expected.iter().all(|line| found.iter().any(|found| found == line)), "{found:?}");
}

#[test]
fn a_part_is_compared_with_what_is_named() {
    let repo = with_snapshot();
    let source = repo.path("source");
    let at = |name: &str| source.join(name).display().to_string();
    for (part, target) in [
        ("latest:source/a", "a"),
        ("latest:source/b", "b"),
        ("latest:source/a/deep", "a/deep"),
        // A file compared with a file, whatever that is called, and with the one of its name in a folder.
        ("latest:source/a/deep/second", "a/deep/second"),
        ("latest:source/a/first", "b/linked"),
        ("latest:source/b/linked", "b"),
        ("latest:source/b/other", "b"),
    ] {
        assert_eq!(differences(&repo, &[part, &at(target)]), [""; 0], "{part}");
    }
    // `diff` compares what `path` restores.
    let to = repo.path("to").display().to_string();
    repo.restore(["path", "latest:source/b/other", "--to", &to]).expect_code(0);
    assert_eq!(differences(&repo, &["latest:source/b/other", &to]), [""; 0]);

    fs::write(source.join("a/deep/second"), "another").unwrap();
    fs::write(source.join("a/extra"), "").unwrap();
    fs::remove_file(source.join("b/other")).unwrap();
    for (part, target, expected) in [
        ("latest:source/a/deep", "a/deep", &["changed    second (mtime, size)"][..]),
        ("latest:source/a/deep/second", "a/deep", &["changed    second (mtime, size)"]),
        ("latest:source/a/deep/second", "a/deep/second", &["changed    . (mtime, size)"]),
        ("latest:source/b/other", "b", &["missing    other"]),
    ] {
        assert_eq!(differences(&repo, &[part, &at(target)]), expected, "{part} {target}");
    }
    assert!(differences(&repo, &["latest:source/a", &at("a")]).contains(&"extra      extra".to_owned()));
    let said = repo.restore(["diff", "latest:source/none", &at("a")]).expect_code(2);
    assert!(said.stderr.contains("`source/none`"), "{said:?}");
    repo.restore(["diff", "latest:source/a", &at("a"), "--with", "source"]).expect_code(2);
}
