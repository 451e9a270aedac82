//! The host that backs up cannot read its own backups.

use std::fs;
use std::path::Path;

use lifeboat_tests::repository::TestRepository;

use crate::BINARIES;

const MARKS: [&str; 3] = ["marked-folder-name", "marked-file-name", "marked file content"];

fn marked(repo: &TestRepository) -> std::path::PathBuf {
    let source = repo.path(MARKS[0]);
    fs::create_dir(&source).unwrap();
    // Too small to be worth compressing: unsealed, it would appear verbatim.
    fs::write(source.join(MARKS[1]), MARKS[2]).unwrap();
    source
}

fn files_below(folder: &Path, each: &mut impl FnMut(&Path, &[u8])) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_below(&path, each) } else { each(&path, &fs::read(&path).unwrap()) }
    }
}

#[test]
fn no_path_and_no_content_stands_in_the_repository_the_cache_or_the_state() {
    let repo = TestRepository::in_folder(BINARIES);
    let source = marked(&repo);
    repo.snapshot(&source).expect_code(0);
    repo.snapshot(&source).expect_code(0);
    let mut looked_at = 0;
    let mut look = |path: &Path, bytes: &[u8]| {
        looked_at += 1;
        for mark in MARKS {
            let found = bytes.windows(mark.len()).any(|window| window == mark.as_bytes());
            assert!(
                !found && !path.to_string_lossy().contains(mark),
                "`{mark}` stands in {}",
                path.display()
            );
        }
    };
    files_below(Path::new(&repo.location), &mut look);
    files_below(&repo.path("cache"), &mut look);
    assert!(looked_at > 10, "only {looked_at} files were there to look at");
}

#[test]
fn with_the_writer_key_alone_snapshots_are_listed_and_nothing_is_read_back() {
    let repo = TestRepository::in_folder(BINARIES);
    repo.snapshot(&marked(&repo)).expect_code(0);
    repo.backup(["list"]).expect_code(0);
    let shown = repo.backup(["show", "latest", "--json"]).expect_code(0).stdout;
    assert!(MARKS.iter().all(|mark| !shown.contains(mark)), "{shown}");

    let target = repo.path("target");
    let said = repo.restore_without_key(["path", "latest", "--to", target.to_str().unwrap()]).expect_code(2);
    assert!(said.stderr.contains("a writer key cannot read backups back"), "{}", said.stderr);
    let writer_key = repo.path("writer.key");
    let as_identity = ["ls", "latest", "--identity", writer_key.to_str().unwrap()];
    repo.restore_without_key(as_identity).expect_code(2);
    assert!(!target.exists());
}

#[test]
fn the_writer_key_file_holds_no_key_that_opens_age_files() {
    let repo = TestRepository::in_folder(BINARIES);
    let text = fs::read_to_string(repo.path("writer.key")).unwrap();
    assert!(text.contains("data_recipient = \"age1"), "{text}");
    assert!(!text.contains("AGE-SECRET-KEY"));
}
