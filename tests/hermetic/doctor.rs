//! `doctor`: its checks, and its exit code.

use std::fs;
use std::time::{Duration, SystemTime};

use lifeboat_core::clock::{Clock as _, SystemClock};
use lifeboat_tests::command::{Output, run};
use lifeboat_tests::repository::TestRepository;
use lifeboat_tests::tree::noise;

use crate::BINARIES;

/// `doctor` on a host without an engine.
fn doctor(repo: &TestRepository, args: &[&str]) -> Output {
    let mut command = repo.backup_command(["doctor", "--json"].iter().chain(args));
    run(command.env("DOCKER_HOST", "unix:///nowhere/docker.sock"))
}

fn state(said: &Output, name: &str) -> String {
    let checks = said.json()["checks"].as_array().unwrap().clone();
    let found =
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}: {said:?}"));
    found["state"].as_str().unwrap().to_owned()
}

fn with_snapshot() -> TestRepository {
    let repo = TestRepository::in_folder(BINARIES);
    fs::create_dir(repo.path("source")).unwrap();
    repo.snapshot(&repo.path("source")).expect_code(0);
    repo
}

#[test]
fn a_snapshot_that_is_too_old_is_wrong() {
    let repo = TestRepository::in_folder(BINARIES);
    // If an engine is named and does not answer, the result is undetermined; everything else is well.
    let said = doctor(&repo, &[]).expect_code(3);
    assert_eq!((state(&said, "freshness"), state(&said, "engine")), ("ok".to_owned(), "unknown".to_owned()));
    let said = doctor(&repo, &["--max-age", "0s"]).expect_code(1);
    assert_eq!(state(&said, "freshness"), "wrong", "enrolled, and no snapshot");

    let repo = with_snapshot();
    let keeper = repo.add_keeper();
    for key in [&[][..], &["--keeper-key", &keeper], &["--identity", repo.path("one.key").to_str().unwrap()]]
    {
        let said = doctor(&repo, key).expect_code(3);
        assert_eq!(state(&said, "freshness"), "ok", "{said:?}");
        let said = doctor(&repo, &[key, &["--max-age", "0s"]].concat()).expect_code(1);
        assert_eq!(state(&said, "freshness"), "wrong", "{said:?}");
        assert!(said.stdout.contains("the newest snapshot of "), "{said:?}");
    }
    // A removed host is not missed.
    let identity = repo.path("one.key").display().to_string();
    let list = repo.backup(["key", "list", "--json"]).expect_code(0).json();
    let writer = list["writers"][0]["id"].as_str().unwrap();
    repo.backup(["key", "remove", "--yes", writer, "--identity", &identity]).expect_code(0);
    let said = doctor(&repo, &["--keeper-key", &keeper, "--max-age", "0s"]).expect_code(3);
    assert_eq!(state(&said, "freshness"), "ok", "{said:?}");
}

#[test]
fn a_snapshot_from_the_future_says_that_the_clock_is_wrong() {
    let repo = with_snapshot();
    assert_eq!(state(&doctor(&repo, &[]).expect_code(3), "clock"), "ok");
    let manifest = repo.objects("snapshots").pop().unwrap();
    let now = Duration::from_secs(SystemClock.now().as_second().try_into().unwrap());
    let later = SystemTime::UNIX_EPOCH + now + Duration::from_hours(3);
    fs::File::options().write(true).open(manifest).unwrap().set_modified(later).unwrap();
    let said = doctor(&repo, &[]).expect_code(1);
    assert_eq!(state(&said, "clock"), "wrong", "{said:?}");
    assert!(said.stdout.contains("this host's clock is behind"), "{said:?}");
}

#[test]
fn a_repository_that_is_not_there_is_wrong_and_one_out_of_reach_is_not_known() {
    let repo = with_snapshot();
    let elsewhere = repo.path("elsewhere").display().to_string();
    let said = doctor(&repo, &["-r", &elsewhere]).expect_code(1);
    assert_eq!(state(&said, "repository"), "wrong");
    let mut command = repo.backup_command(["doctor", "--json", "-r", "s3://bucket/prefix"]);
    command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:1").env("AWS_ACCESS_KEY_ID", "key");
    let said = run(command.env("AWS_SECRET_ACCESS_KEY", "secret")).expect_code(3);
    assert_eq!(state(&said, "repository"), "unknown");
    assert!(said.stdout.contains("nothing accepts connections there"), "{said:?}");
}

/// The newest snapshot of one job hides that another job fails, unless doctor is told which job to check.
#[test]
fn each_job_has_a_line_of_its_own() {
    let repo = TestRepository::in_folder(BINARIES);
    fs::create_dir(repo.path("source")).unwrap();
    let source = repo.path("source").display().to_string();
    repo.backup(["run", "--path", &source, "--tag", "files"]).expect_code(0);
    std::thread::sleep(Duration::from_secs(3));
    repo.backup(["run", "--stdin-from-command", "names", "--tag", "names", "--", "ls", "/"]).expect_code(0);
    let one = repo.path("one.key").display().to_string();
    for key in [&[][..], &["--identity", &one]] {
        for (which, age, expected) in [
            (&["--tag", "names"][..], "1h", "ok"),
            (&["--tag", "files"], "1h", "ok"),
            (&["--tag", "files"], "2s", "wrong"),
            (&["--kind", "path"], "2s", "wrong"),
            (&["--volume", "shop_db"], "2s", "wrong"),
            (&["--host", "elsewhere"], "2s", "wrong"),
        ] {
            let said = doctor(&repo, &[key, which, &["--max-age", age]].concat());
            assert_eq!(state(&said, "freshness"), expected, "{which:?} {age} {said:?}");
            assert!(expected == "ok" || said.stdout.contains(&which.join(" ")), "{said:?}");
        }
    }
    // The paths of folders are sealed.
    let with_path = ["--identity", &one, "--path", &source];
    assert_eq!(state(&doctor(&repo, &[&with_path[..], &["--max-age", "2s"]].concat()), "freshness"), "wrong");
    assert_eq!(state(&doctor(&repo, &with_path), "freshness"), "ok");
    let said = doctor(&repo, &["--path", &source]).expect_code(2);
    assert!(said.stdout.contains("--identity FILE"), "{said:?}");
    let said = doctor(&repo, &["--before", "2026-01-31T00:00:00Z"]).expect_code(2);
    assert!(said.stdout.contains("leave it out"), "{said:?}");
}

#[test]
fn what_a_repair_marked_as_lost_is_wrong_until_it_is_stored_again() {
    let repo = with_snapshot();
    let before = repo.objects("packs");
    fs::write(repo.path("source/file"), noise(1, 200_000)).unwrap();
    let source = repo.path("source").display().to_string();
    let said = repo.backup(["run", "--json", "--path", &source]).expect_code(0).json();
    let id = &said["snapshot"].as_str().unwrap()[..12];
    for pack in repo.objects("packs").into_iter().filter(|pack| !before.contains(pack)) {
        if fs::metadata(&pack).unwrap().len() > 100_000 {
            fs::remove_file(pack).unwrap();
        }
    }
    let keeper = repo.add_keeper();
    assert_eq!(state(&doctor(&repo, &[]).expect_code(3), "damage"), "ok", "nobody knows yet");
    repo.backup(["repair"]).expect_code(1);
    for key in [&[][..], &["--keeper-key", &keeper]] {
        let said = doctor(&repo, key).expect_code(1);
        assert_eq!(state(&said, "damage"), "wrong", "{said:?}");
        assert!(said.stdout.contains(id) && said.stdout.contains("lifeboat-backup repair"), "{said:?}");
    }
    repo.snapshot(&repo.path("source")).expect_code(0);
    let said = doctor(&repo, &[]).expect_code(3);
    assert!(state(&said, "damage") == "ok" && said.stdout.contains("stored again"), "{said:?}");
    // An unreadable mark could contain anything.
    let mark = repo.objects("lost").pop().unwrap();
    fs::write(mark, "x").unwrap();
    assert_eq!(state(&doctor(&repo, &[]).expect_code(1), "damage"), "wrong");
}
