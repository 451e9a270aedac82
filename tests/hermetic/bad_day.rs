//! Problems that users of other backup tools had on a bad day, each as a test.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lifeboat_tests::command::{Output, run};
use lifeboat_tests::repository::TestRepository;

use crate::BINARIES;

/// Runs a command with this standard input.
fn fed(command: &mut Command, input: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that refuses at once reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    Output {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A repository with a snapshot of an empty folder.
fn with_snapshot() -> TestRepository {
    let repo = TestRepository::in_folder(BINARIES);
    fs::create_dir(repo.path("source")).unwrap();
    repo.snapshot(&repo.path("source")).expect_code(0);
    repo
}

fn count(repo: &TestRepository) -> usize {
    repo.backup(["list", "--json"]).expect_code(0).json()["snapshots"].as_array().unwrap().len()
}

fn dumped(repo: &TestRepository, name: &str) -> String {
    let identity = repo.path("one.key").display().to_string();
    repo.restore(["dump", "latest", name, "--identity", &identity]).expect_code(0).stdout
}

#[test]
fn an_empty_dump_is_no_snapshot_unless_it_is_meant() {
    let repo = TestRepository::in_folder(BINARIES);
    let said = fed(&mut repo.backup_command(["run", "--stdin", "shop.sql"]), b"").expect_code(1);
    assert!(said.stderr.contains("`shop.sql` is empty") && said.stderr.contains("--allow-empty"), "{said:?}");
    assert_eq!(count(&repo), 0);
    fed(&mut repo.backup_command(["run", "--stdin", "shop.sql", "--allow-empty"]), b"").expect_code(0);
    assert_eq!(count(&repo), 1);
    fed(&mut repo.backup_command(["run", "--stdin", "shop.sql"]), b"select 1;").expect_code(0);
    assert_eq!(dumped(&repo, "shop.sql"), "select 1;");
}

#[test]
fn what_a_command_prints_is_stored_only_if_it_ends_well() {
    let repo = TestRepository::in_folder(BINARIES);
    let dump = |script: &str| repo.backup(["run", "--stdin-from-command", "d", "--", "sh", "-c", script]);
    dump("echo one; echo two").expect_code(0);
    assert_eq!(dumped(&repo, "d"), "one\ntwo\n");
    let said = dump("echo one; exit 3").expect_code(1);
    assert!(said.stderr.contains("`sh` failed (exit status: 3)"), "{said:?}");
    let said = dump("true").expect_code(1);
    assert!(said.stderr.contains("`d` is empty"), "{said:?}");
    let said = repo.backup(["run", "--stdin-from-command", "d", "--", "/no/such/program"]).expect_code(2);
    assert!(said.stderr.contains("/no/such/program"), "{said:?}");
    repo.backup(["run", "--stdin-from-command", "d"]).expect_code(2);
    assert_eq!(count(&repo), 1, "nothing of a command that failed is a snapshot");
}

/// A silent pipe, an endless one and one large file: one signal ends each.
#[test]
fn one_signal_ends_a_run_wherever_it_reads() {
    let repo = TestRepository::in_folder(BINARIES);
    fs::create_dir(repo.path("tree")).unwrap();
    let large = fs::File::create(repo.path("tree/large")).unwrap();
    let filled = Command::new("head")
        .args(["-c", "700000000", "/dev/urandom"])
        .stdout(large.try_clone().unwrap())
        .status()
        .unwrap();
    assert!(filled.success());
    // Otherwise the first flush of the repository would wait for this file's bytes as well.
    large.sync_all().unwrap();
    let tree = repo.path("tree").display().to_string();
    for (name, args) in [
        ("silent", vec!["run", "--stdin", "x"]),
        ("endless", vec!["run", "--stdin-from-command", "x", "--", "yes"]),
        ("large", vec!["run", "--path", &tree]),
    ] {
        for signal in ["INT", "TERM", "HUP"] {
            let mut command = repo.backup_command(&args);
            let mut child =
                command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            // Waiting for the process would close its input.
            let input = child.stdin.take();
            // Wait until it handles all three signals (proc(5), `SigCgt`: SIGHUP is the first bit).
            let takes_signals = || {
                let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
                let bits =
                    status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim().to_owned();
                u64::from_str_radix(&bits, 16).unwrap() & 0x4003 == 0x4003
            };
            let deadline = Instant::now() + Duration::from_secs(30);
            while !takes_signals() {
                assert!(Instant::now() < deadline, "{name}: it takes no signals");
                std::thread::sleep(Duration::from_millis(5));
            }
            let asked = Instant::now();
            let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
            assert!(sent.unwrap().success());
            let code = child.wait().unwrap().code();
            drop(input);
            assert!(asked.elapsed() < Duration::from_secs(2), "{name} {signal}: {:?}", asked.elapsed());
            assert_eq!(code, Some(130), "{name} {signal}");
        }
    }
    assert_eq!(count(&repo), 0);
}

#[test]
fn files_that_state_no_size_are_read_to_their_end() {
    let repo = TestRepository::in_folder(BINARIES);
    repo.backup(["run", "--path", "/proc/sys/kernel/random"]).expect_code(0);
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(dumped(&repo, "boot_id"), boot);
}

#[test]
fn a_folder_has_one_name_however_it_is_spelt() {
    let repo = TestRepository::in_folder(BINARIES);
    fs::create_dir_all(repo.path("a/data")).unwrap();
    fs::write(repo.path("a/data/x"), b"content").unwrap();
    let path = repo.path("a/data").display().to_string();
    for spelt in [path.clone(), format!("{path}/"), path.replace("/a/", "//a/./")] {
        repo.backup(["run", "--path", &spelt]).expect_code(0);
    }
    let twice = repo.backup(["run", "--json", "--path", &path, "--path", &format!("{path}/")]).expect_code(0);
    assert_eq!(twice.json()["streams"].as_array().map(Vec::len), Some(1));
    let identity = repo.path("one.key").display().to_string();
    repo.backup(["forget", "--keep-last", "1", "--identity", &identity]).expect_code(0);
    assert_eq!(count(&repo), 1);
}

#[test]
fn rules_that_are_mistyped_forget_nothing() {
    let repo = with_snapshot();
    let identity = repo.path("one.key").display().to_string();
    let forget = |rule: &[&str]| repo.backup([&["forget", "--identity", &identity][..], rule].concat());
    let said = forget(&["--keep-tag", "TYPO"]).expect_code(2);
    assert!(said.stderr.contains("keep no snapshot at all of path on"), "{said:?}");
    let said = forget(&["--keep-within", "6m"]).expect_code(2);
    assert!(said.stderr.contains("6min") && said.stderr.contains("months"), "{said:?}");
    forget(&["--keep-within", "6"]).expect_code(2);
    assert_eq!(count(&repo), 1);
}

#[test]
fn locations_of_other_tools_make_no_folder() {
    let repo = TestRepository::without_repository(BINARIES);
    for location in ["s3:s3.amazonaws.com/bucket", "sftp:user@host:/x", "b2:bucket", "user@host:/x"] {
        let mut command = repo.backup_command(["init", "-r", location, "--single-recipient"]);
        command.args(["--recovery-key", "r.key", "--writer-key", "w.key"]).current_dir(repo.path("."));
        let said = run(&mut command).expect_code(2);
        assert!(said.stderr.contains("s3://bucket/prefix"), "{location}: {said:?}");
    }
    assert_eq!(fs::read_dir(repo.path(".")).unwrap().count(), 0);
}

#[test]
fn the_key_that_is_named_is_the_key_that_is_used() {
    let repo = with_snapshot();
    let writer = repo.path("writer.key").display().to_string();
    let run_with = |identity: &str, args: &[&str]| {
        run(repo.backup_command(args).env("LIFEBOAT_IDENTITY", repo.path(identity)))
    };
    run_with("no-such.key", &["list", "--writer-key", &writer]).expect_code(0);
    run_with("one.key", &["list", "--writer-key", "no-such.key"]).expect_code(2);
    run_with("one.key", &["prune", "--keeper-key", "no-such.key"]).expect_code(2);
    // The floor applies to the writer key that was given, although a recovery key is in the environment.
    run_with("one.key", &["key", "floor", "--days", "14"]).expect_code(0);
    run_with("one.key", &["forget", "latest", "--writer-key", &writer]).expect_code(1);
    assert_eq!(count(&repo), 1);
}

#[test]
fn an_error_that_nobody_can_read_has_its_exit_code_all_the_same() {
    let repo = TestRepository::without_repository(BINARIES);
    let mut command = repo.backup_command(["list", "-r", "nothing-there"]);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let code = command.stderr(full).status().unwrap().code();
    assert_eq!(code, Some(2));
}

#[test]
fn the_latest_of_a_host_that_was_enrolled_again_is_its_new_writers() {
    let repo = TestRepository::in_folder(BINARIES);
    fs::create_dir(repo.path("source")).unwrap();
    let source = repo.path("source").display().to_string();
    let identity = repo.path("one.key").display().to_string();
    let take = |said: &str, writer: &str| {
        fs::write(repo.path("source/file"), said).unwrap();
        let mut command = repo.backup_command(["run", "--path", &source, "--host", "vm", "--json"]);
        run(command.env("LIFEBOAT_WRITER_KEY", repo.path(writer))).expect_code(0);
    };
    take("old", "writer.key");
    let members = repo.backup(["key", "list", "--json", "--identity", &identity]).expect_code(0).json();
    let old = members["writers"][0]["id"].as_str().unwrap().to_owned();
    let second = repo.path("second.key").display().to_string();
    repo.backup(["key", "add", "writer", &second, "--identity", &identity]).expect_code(0);
    take("new", "second.key");
    let latest = |which: &[&str]| {
        let dump = ["dump", "latest", "file", "--identity", &identity];
        repo.restore([&dump[..], which].concat()).expect_code(0)
    };
    // If two writers match, the one that stored last is used, and the program says so.
    let said = latest(&["--host", "vm"]);
    assert!(said.stdout == "new" && said.stderr.contains(&format!("not that of {old}")), "{said:?}");
    assert_eq!(latest(&["--writer", &old]).stdout, "old");
    take("newest of the old", "writer.key");
    assert_eq!(latest(&[]).stdout, "newest of the old");
    repo.backup(["key", "remove", "--yes", &old, "--identity", &identity]).expect_code(0);
    let said = latest(&["--host", "vm"]);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("new", ""));
    assert_eq!(latest(&["--writer", &old[..8]]).stdout, "newest of the old");
    // Narrowed by time and tag; with two hosts, one must be named.
    let listed = repo.backup(["list", "--json", "--identity", &identity]).expect_code(0).json();
    let last = listed["snapshots"].as_array().unwrap().last().unwrap()["time"].as_str().unwrap().to_owned();
    assert_eq!(latest(&["--writer", &old, "--before", &last]).stdout, "old");
    let list = |which: &[&str]| {
        let all = ["list", "--identity", &identity];
        repo.restore([&all[..], which].concat()).expect_code(0).stdout
    };
    assert!(list(&[]).contains(&format!("  {}  ", &old[..8])), "{}", list(&[]));
    assert_eq!(list(&["--writer", &old]).lines().count(), 3);
    assert_eq!(list(&["--writer", &old, "--before", &last]).lines().count(), 2);
    assert!(!list(&["--writer", &old]).contains(&old[..8]), "of one writer nobody needs to ask whose");
    let said = repo.restore(["ls", "latest", "--identity", &identity, "--tag", "none"]).expect_code(2);
    assert!(said.stderr.contains("latest"), "{said:?}");
    let mut command = repo.backup_command(["run", "--path", &source, "--host", "other"]);
    run(command.env("LIFEBOAT_WRITER_KEY", &second)).expect_code(0);
    let said = repo.restore(["ls", "latest", "--identity", &identity]).expect_code(2);
    assert!(said.stderr.contains("the latest of other, the latest of vm"), "{said:?}");
}

#[test]
fn a_repository_in_what_is_captured_does_not_capture_itself() {
    let repo = TestRepository::in_folder(BINARIES);
    let home = repo.path("").display().to_string();
    fs::write(repo.path("file"), "content").unwrap();
    let said = repo.backup(["run", "--path", &home]).expect_code(0);
    assert!(said.stderr.contains("the repository itself"), "{said:?}");
    let identity = repo.path("one.key").display().to_string();
    let listed = repo.restore(["ls", "latest", "--identity", &identity]).expect_code(0).stdout;
    assert!(listed.contains("file") && listed.contains("repository"), "{listed}");
    assert!(!listed.contains("repository/lifeboat.json"), "{listed}");
}

/// The repository is rolled back to an older copy: its snapshots can be restored by id, the rest is reported, and the
/// advice shows the way out.
#[test]
fn what_an_older_copy_of_the_repository_has_can_be_restored() {
    // Without and with a roster that is newer than the copy's.
    for roster_changes in [false, true] {
        let repo = TestRepository::in_folder(BINARIES);
        fs::create_dir(repo.path("source")).unwrap();
        let snapshot = |content: &str| {
            fs::write(repo.path("source/file"), content).unwrap();
            repo.snapshot(&repo.path("source")).expect_code(0);
        };
        snapshot("older");
        let copy = repo.path("copy");
        let copied = Command::new("cp").arg("-a").arg(&repo.location).arg(&copy).status().unwrap();
        assert!(copied.success());
        snapshot("newer");
        if roster_changes {
            repo.add_keeper();
        }
        // This machine has seen both.
        repo.restore(["list"]).expect_code(0);
        fs::remove_dir_all(&repo.location).unwrap();
        fs::rename(&copy, &repo.location).unwrap();

        let listed = repo.restore(["list", "--json"]);
        let list = listed.json();
        let id = list["snapshots"][0]["id"].as_str().unwrap().to_owned();
        assert_eq!(list["snapshots"].as_array().unwrap().len(), 1, "{list}");
        assert_eq!(listed.code, Some(1), "{listed:?}");
        let by_id = repo.restore(["dump", &id, "file"]).expect_code(0);
        assert_eq!(by_id.stdout, "older");
        assert!(by_id.stderr.contains("not the newest"), "{by_id:?}");
        for said in [repo.restore(["dump", "latest", "file"]), repo.snapshot(&repo.path("source"))] {
            assert!(matches!(said.code, Some(1 | 3)), "{said:?}");
            assert_eq!(said.stdout, "", "{said:?}");
            assert!(said.stderr.contains("if the older state is intended"), "{said:?}");
        }
        // Follow the advice literally.
        if roster_changes {
            let said = repo.restore(["dump", "latest", "file"]);
            let file = said.stderr.split("rm '").nth(1).unwrap().split('\'').next().unwrap().to_owned();
            fs::remove_file(file).unwrap();
        } else {
            let identity = repo.path("one.key").display().to_string();
            repo.backup(["repair", "--forget-damaged", "--identity", &identity]).expect_code(0);
        }
        assert_eq!(dumped(&repo, "file"), "older");
        snapshot("again");
        assert_eq!(dumped(&repo, "file"), "again");
    }
}

/// Attributes that no snapshot keeps are reported. Only root may set them, and not every file system supports them.
#[test]
fn what_is_immutable_is_told() {
    let repo = TestRepository::in_folder(BINARIES);
    fs::create_dir(repo.path("source")).unwrap();
    let file = repo.path("source/guarded");
    fs::write(&file, "guarded").unwrap();
    let handle = fs::File::open(&file).unwrap();
    let set = rustix::fs::ioctl_setflags(&handle, rustix::fs::IFlags::APPEND);
    let said = repo.snapshot(&repo.path("source")).expect_code(0);
    assert_eq!(
        said.stderr.contains("source/guarded is immutable or append-only"),
        set.is_ok(),
        "{said:?} {set:?}"
    );
    match set {
        Ok(()) => rustix::fs::ioctl_setflags(&handle, rustix::fs::IFlags::empty()).unwrap(),
        Err(error) => eprintln!("not shown here: {error}"),
    }
}
