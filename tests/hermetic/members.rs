//! `key`: what it shows about each key, what it asks before it removes one, and new recovery keys.

use std::fs;

use lifeboat_tests::command::{Output, run};
use lifeboat_tests::repository::TestRepository;
use lifeboat_tests::terminal::run_on_terminal;

use crate::BINARIES;

fn with_snapshot() -> TestRepository {
    let repo = TestRepository::in_folder(BINARIES);
    fs::create_dir(repo.path("source")).unwrap();
    let source = repo.path("source").display().to_string();
    repo.backup(["run", "--path", &source, "--host", "web-1"]).expect_code(0);
    repo
}

fn key(repo: &TestRepository, args: &[&str]) -> Output {
    run(&mut command(repo, args))
}

fn command(repo: &TestRepository, args: &[&str]) -> std::process::Command {
    let mut command = repo.backup_command(["key"].iter().chain(args));
    command.env_remove("LIFEBOAT_WRITER_KEY").env("LIFEBOAT_IDENTITY", repo.path("one.key"));
    command
}

fn listed(repo: &TestRepository) -> serde_json::Value {
    key(repo, &["list", "--json"]).expect_code(0).json()
}

#[test]
fn each_key_is_listed_with_its_host_and_its_last_snapshot() {
    let repo = with_snapshot();
    key(&repo, &["add", "writer", repo.path("second.key").to_str().unwrap()]).expect_code(0);
    let list = listed(&repo);
    let [first, second] = &list["writers"].as_array().unwrap()[..] else { panic!("{list}") };
    assert_eq!(first["host"], "web-1", "{list}");
    let snapshots = repo.backup(["list", "--json"]).expect_code(0).json();
    assert_eq!(first["last_snapshot_at"], snapshots["snapshots"][0]["time"], "{list}");
    assert!(second.get("host").is_none(), "{list}");
    let text = key(&repo, &["list"]).expect_code(0).stdout;
    assert!(text.contains("host        web-1, last snapshot 2"), "{text}");
    assert!(text.contains("host        no snapshot that this key shows"), "{text}");
}

#[test]
fn members_have_names_that_lists_show_and_removals_take() {
    let repo = with_snapshot();
    let file = |name: &str| repo.path(name).display().to_string();
    let added = key(&repo, &["add", "writer", &file("web.key"), "--name", "Web 2"]).expect_code(0).stdout;
    assert!(added.contains("called Web 2"), "{added}");
    key(&repo, &["add", "keeper", &file("keeper.key"), "--name", "nightly"]).expect_code(0);
    key(&repo, &["add", "recovery", &file("third.key"), "--name", "bank"]).expect_code(0);
    let list = listed(&repo);
    assert_eq!(list["writers"][1]["name"], "Web 2", "{list}");
    assert_eq!(list["keepers"][0]["name"], "nightly", "{list}");
    assert_eq!(list["recipients"][2]["name"], "bank", "{list}");
    assert!(list["writers"][0].get("name").is_none(), "{list}");
    let text = key(&repo, &["list"]).expect_code(0).stdout;
    for name in ["Web 2", "nightly", "bank"] {
        assert!(text.contains(&format!("\n  called      {name}\n")), "{text}");
    }
    let sheet = repo.path("sheet.html");
    key(&repo, &["sheet", sheet.to_str().unwrap()]).expect_code(0);
    assert!(fs::read_to_string(&sheet).unwrap().contains("<strong>bank</strong>"));

    // A name is given once, and no key file is left of a refused one.
    let refused = key(&repo, &["add", "keeper", &file("other.key"), "--name", "Web 2"]).expect_code(2).stderr;
    assert!(refused.contains("`Web 2` is the name of") && refused.contains("key list"), "{refused}");
    assert!(!repo.path("other.key").exists());
    for name in ["", "two\nlines", &"x".repeat(65)] {
        let refused =
            key(&repo, &["add", "keeper", &file("other.key"), "--name", name]).expect_code(2).stderr;
        assert!(refused.contains("a name has"), "{refused}");
    }
    key(&repo, &["remove", "nightly"]).expect_code(0);
    assert_eq!(listed(&repo)["keepers"][0]["is_removed"], true);
    key(&repo, &["add", "keeper", &file("other.key"), "--name", "nightly"]).expect_code(0);
}

#[test]
fn nothing_is_removed_before_somebody_says_that_it_is_meant() {
    let repo = with_snapshot();
    let writer = listed(&repo)["writers"][0]["id"].as_str().unwrap().to_owned();
    let recipient = listed(&repo)["recipients"][1]["id"].as_str().unwrap().to_owned();
    let said = run_on_terminal(&command(&repo, &["remove", &writer]), &["no"]);
    assert!(
        said.code == Some(1) && said.stdout.contains(&format!("writer {writer} of host web-1")),
        "{said:?}"
    );
    assert!(said.stdout.contains("number 0"), "{said:?}");
    assert_eq!(listed(&repo)["writers"][0]["is_removed"], false);
    let said = run_on_terminal(&command(&repo, &["remove", &writer]), &["yes"]);
    assert!(said.code == Some(0) && said.stdout.contains("removed writer"), "{said:?}");
    assert_eq!(listed(&repo)["writers"][0]["is_removed"], true);

    // The advice about recovery keys uses existing flags and verbs.
    let said = key(&repo, &["remove", "--yes", &recipient]).expect_code(2).stderr;
    assert!(said.contains("left with 1 recovery key") && said.contains("key add recovery FILE"), "{said}");
    assert!(said.contains("--single-recipient") && !said.contains("--recovery-key"), "{said}");
    let said = key(&repo, &["remove", "--yes", "0000"]).expect_code(2).stderr;
    assert!(said.contains("key list") && !said.contains("--host"), "{said}");
}

#[test]
fn a_recovery_key_that_is_made_later_reads_everything() {
    let repo = with_snapshot();
    let third = repo.path("third.key").display().to_string();
    let added = key(&repo, &["add", "recovery", &third]).expect_code(0).stdout;
    assert!(added.contains("added recovery key") && added.contains("third.key"), "{added}");
    assert_eq!(listed(&repo)["recipients"].as_array().unwrap().len(), 3);
    let target = repo.path("target").display().to_string();
    let mut restore = repo.restore_command(["path", "latest", "--to", &target, "--identity", &third]);
    // It contains the repository's address, like the first ones.
    run(restore.env_remove("LIFEBOAT_REPOSITORY").current_dir("/")).expect_code(0);
    let one = listed(&repo)["recipients"][0]["id"].as_str().unwrap().to_owned();
    let mut remove = repo.backup_command(["key", "remove", "--yes", &one, "--identity", &third]);
    run(remove.env_remove("LIFEBOAT_WRITER_KEY")).expect_code(0);
    // A file is never overwritten, and if it cannot be written, nobody is added.
    key(&repo, &["add", "recovery", repo.path("two.key").to_str().unwrap()]).expect_code(2);
    let mut add = command(&repo, &["add", "recovery", repo.path("no/such/folder.key").to_str().unwrap()]);
    assert_ne!(run(add.env("LIFEBOAT_IDENTITY", &third)).code, Some(0));
    let list =
        run(command(&repo, &["list", "--json"]).env("LIFEBOAT_IDENTITY", &third)).expect_code(0).json();
    assert_eq!(list["recipients"].as_array().unwrap().len(), 2, "{list}");
}

#[test]
fn the_floor_changes_as_it_is_said_and_is_lowered_only_if_that_is_meant() {
    let repo = with_snapshot();
    let floor = || {
        let list = listed(&repo);
        (list["floor_days"].as_u64().unwrap(), list["floor_snapshots"].as_u64().unwrap())
    };
    key(&repo, &["floor", "--floor-snapshots", "5"]).expect_code(0);
    key(&repo, &["floor", "--days", "30"]).expect_code(0);
    assert_eq!(floor(), (30, 5));
    let said = key(&repo, &["floor", "--floor-days", "7"]).expect_code(2).stderr;
    assert!(said.contains("from 30 days and the newest 5") && said.contains("--yes"), "{said}");
    key(&repo, &["floor", "--floor-days", "60", "--floor-snapshots", "4"]).expect_code(2);
    assert_eq!(floor(), (30, 5));
    let said = run_on_terminal(&command(&repo, &["floor", "--floor-days", "7"]), &["yes"]);
    assert_eq!((said.code, floor()), (Some(0), (7, 5)), "{said:?}");
    key(&repo, &["floor", "--floor-snapshots", "2", "--yes"]).expect_code(0);
    assert_eq!(floor(), (7, 2));
    key(&repo, &["floor"]).expect_code(2);
}

#[test]
fn the_floor_of_a_new_repository_has_the_same_flags() {
    for (flags, expected) in [
        (&["--floor-days", "3", "--floor-snapshots", "2"][..], (3, 2)),
        (&["--keep-days-at-least", "5"], (5, 1)),
        (&[], (14, 1)),
    ] {
        let repo = TestRepository::without_repository(BINARIES);
        let file = |name: &str| repo.path(name).display().to_string();
        let (one, two, writer) = (file("one.key"), file("two.key"), file("writer.key"));
        let args = ["init", "--recovery-key", &one, "--recovery-key", &two, "--writer-key", &writer];
        repo.backup(args.into_iter().chain(flags.iter().copied())).expect_code(0);
        let list = listed(&repo);
        let floor = (list["floor_days"].as_u64().unwrap(), list["floor_snapshots"].as_u64().unwrap());
        assert_eq!(floor, expected, "{flags:?}");
    }
}

#[test]
fn a_key_that_is_always_refused_is_not_offered_and_an_empty_tag_is_refused() {
    let repo = with_snapshot();
    let help = repo.backup(["prune", "--help"]).expect_code(0).stdout;
    assert!(help.contains("--keeper-key") && !help.contains("--writer-key"), "{help}");
    // The error explains why.
    let said = repo.backup(["prune"]).expect_code(2).stderr;
    assert!(said.contains("a writer key") && said.contains("--keeper-key"), "{said}");
    let source = repo.path("source").display().to_string();
    for args in [
        &["run", "--path", &source, "--tag", ""][..],
        &["list", "--tag", " "],
        &["forget", "--keep-last", "1", "--tag", ""],
        &["forget", "--keep-tag", ""],
    ] {
        let said = repo.backup(args).expect_code(2).stderr;
        assert!(said.contains("a tag has at least one letter"), "{args:?}: {said}");
    }
}
