//! Excludes: what a run leaves out, reports and restores.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use lifeboat_tests::command::Output;
use lifeboat_tests::repository::TestRepository;
use serde_json::Value;

use crate::BINARIES;

/// A folder with files, caches and links.
fn source(repo: &TestRepository) -> std::path::PathBuf {
    let source = repo.path("source");
    for file in ["keep/a", "keep/b.tmp", "build/out", "deep/er/b.tmp", "log/one.gz", "log/two", "first/name"]
    {
        let path = source.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    fs::create_dir(source.join("cache")).unwrap();
    fs::write(source.join("cache/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55\n").unwrap();
    fs::write(source.join("cache/again"), "can be made again").unwrap();
    fs::hard_link(source.join("first/name"), source.join("second")).unwrap();
    source
}

fn run(repo: &TestRepository, source: &Path, flags: &[&str]) -> Output {
    repo.backup(["run", "--path", source.to_str().unwrap()].iter().chain(flags))
}

fn restore(repo: &TestRepository) -> std::path::PathBuf {
    let target = repo.path("target");
    repo.restore(["path", "latest", "--to", target.to_str().unwrap()]).expect_code(0);
    target
}

#[test]
fn what_is_left_out_is_counted_and_the_rest_comes_back_as_it_was() {
    let repo = TestRepository::in_folder(BINARIES);
    let source = source(&repo);
    let patterns = repo.path("patterns");
    fs::write(&patterns, "# not wanted\n\n/build\nlog/*\n!log/two\n").unwrap();
    let flags =
        ["--exclude", "*.tmp", "--exclude", "/first/name", "--exclude-from", patterns.to_str().unwrap()];
    let said = run(&repo, &source, &[&flags[..], &["--exclude-caches", "--json"]].concat()).expect_code(0);
    assert_eq!(said.stderr, "");
    let document: Value = serde_json::from_str(&said.stdout).unwrap();
    // build, log/one.gz, two .tmp files and first/name.
    assert_eq!(document["left_out"], serde_json::json!({"items": 5, "cache_folders": 1, "mount_points": 0}));
    assert_eq!(document["incomplete"], false);

    let target = restore(&repo);
    for gone in ["build", "log/one.gz", "keep/b.tmp", "deep/er/b.tmp", "first/name", "cache/again"] {
        assert!(!target.join(gone).exists(), "{gone} came back");
    }
    for kept in ["keep/a", "log/two", "cache/CACHEDIR.TAG", "second"] {
        assert_eq!(fs::read(target.join(kept)).unwrap(), fs::read(source.join(kept)).unwrap(), "{kept}");
    }
    assert!(target.join("deep/er").is_dir());
    assert_eq!(fs::metadata(target.join("second")).unwrap().nlink(), 1);
    repo.restore(["diff", "latest", target.to_str().unwrap()]).expect_code(0);

    let said = run(&repo, &source, &flags).expect_code(0).stdout;
    assert!(said.contains("left out: 5 items\n"), "{said}");
}

#[test]
fn a_pattern_that_leaves_nothing_out_is_told() {
    let repo = TestRepository::in_folder(BINARIES);
    let source = source(&repo);
    let said = run(&repo, &source, &["--exclude", "*.temp", "--exclude", "*.tmp", "--exclude", "!*.keep"]);
    let said = said.expect_code(0).stderr;
    assert_eq!(
        said,
        "warning: the pattern `*.temp` left nothing out\n\
         warning: the pattern `!*.keep` kept nothing that another one leaves out\n"
    );
}

#[test]
fn a_malformed_pattern_is_named_before_anything_is_stored() {
    let repo = TestRepository::in_folder(BINARIES);
    let source = source(&repo);
    let said = run(&repo, &source, &["--exclude", "[a-"]).expect_code(2);
    insta::assert_snapshot!(repo.plain(&said.stderr));
    let patterns = repo.path("patterns");
    fs::write(&patterns, "fine\n# comment\n{a,b\n").unwrap();
    let said = run(&repo, &source, &["--exclude-from", patterns.to_str().unwrap()]).expect_code(2);
    insta::assert_snapshot!("a_malformed_line", repo.plain(&said.stderr));
    run(&repo, &source, &["--exclude-from", repo.path("nowhere").to_str().unwrap()]).expect_code(2);
    assert!(!Path::new(&repo.location).join("runs").exists());
}

#[test]
fn other_file_systems_stay_empty_folders() {
    let repo = TestRepository::in_folder(BINARIES);
    // On every Linux system, terminals are on a file system of their own.
    let dev = Path::new("/dev");
    let pts = fs::metadata("/dev/pts").expect("/dev/pts is there");
    assert_ne!(pts.dev(), fs::metadata(dev).unwrap().dev(), "/dev/pts is not a mount point here");
    let said = run(&repo, dev, &["--one-file-system", "--json"]).expect_code(0);
    let document: Value = serde_json::from_str(&said.stdout).unwrap();
    assert!(document["left_out"]["mount_points"].as_u64().unwrap() >= 1, "{document}");
    let listed = repo.restore(["ls", "latest", "pts", "--json"]).expect_code(0).stdout;
    let document: Value = serde_json::from_str(&listed).unwrap();
    let paths: Vec<_> = document["items"].as_array().unwrap().iter().map(|item| &item["path"]).collect();
    assert_eq!(paths, ["pts"]);
}
