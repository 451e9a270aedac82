//! Error messages and exit codes, each kept as a snapshot.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use lifeboat_tests::command::Output;
use lifeboat_tests::repository::TestRepository;

use crate::BINARIES;

/// The exit code and standard error, without what differs between runs.
fn told(repo: &TestRepository, said: &Output) -> String {
    format!("exit code {:?}\n{}", said.code, repo.plain(&said.stderr))
}

/// The same with standard output, if a verb reports what it did despite the error.
fn told_in_full(repo: &TestRepository, said: &Output) -> String {
    let in_full = format!("{}\nstandard output:\n{}", told(repo, said), repo.plain(&said.stdout));
    // The last line contains the elapsed time; the position of a pack's first frame depends on the length of a sealed
    // key.
    let lines = in_full.lines().filter(|line| !line.starts_with("restored from"));
    let lines = lines.map(|line| match line.split_once("the frame at byte ") {
        Some((before, after)) => {
            format!("{before}the frame at byte N{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A repository with one snapshot of one file, restored after `damage` to every object below `folder`.
fn restored_after(folder: &str, damage: impl Fn(&Path)) -> String {
    let repo = TestRepository::in_folder(BINARIES);
    let source = repo.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), b"content").unwrap();
    repo.snapshot(&source).expect_code(0);
    for path in repo.objects(folder) {
        damage(&path);
    }
    let said = repo.restore(["path", "latest", "--to", repo.path("target").to_str().unwrap()]);
    assert!(!repo.path("target/file").exists(), "a file came back from a damaged repository");
    told_in_full(&repo, &said)
}

fn cut(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

/// Flips a bit of every byte except the first and last few, which identify a pack.
fn corrupt(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let inner = 5..bytes.len() - 4;
    bytes[inner].iter_mut().for_each(|byte| *byte ^= 1);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_corrupt_pack_is_named() {
    insta::assert_snapshot!(restored_after("packs", corrupt));
}

#[test]
fn a_corrupt_pack_of_contents_costs_the_files_in_it() {
    let repo = TestRepository::in_folder(BINARIES);
    let source = repo.path("source");
    fs::create_dir(&source).unwrap();
    let noise: Vec<u8> = (0_u32..100_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(source.join("file"), noise).unwrap();
    repo.snapshot(&source).expect_code(0);
    // The larger of the two packs holds the contents, the other one the tree.
    corrupt(&repo.objects("packs").into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap());
    let said = repo.restore(["path", "latest", "--to", repo.path("target").to_str().unwrap()]);
    assert!(!repo.path("target/file").exists());
    insta::assert_snapshot!(told_in_full(&repo, &said));
}

#[test]
fn a_truncated_index_is_named() {
    insta::assert_snapshot!(restored_after("locations", cut));
}

#[test]
fn a_missing_index_is_named() {
    insta::assert_snapshot!(restored_after("locations", remove));
}

#[test]
fn a_missing_pack_is_named() {
    insta::assert_snapshot!(restored_after("packs", remove));
}

#[test]
fn a_missing_part_is_named() {
    insta::assert_snapshot!(restored_after("parts", remove));
}

#[test]
fn a_missing_run_is_made_up_for_by_its_packs() {
    let repo = TestRepository::in_folder(BINARIES);
    let source = repo.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), b"content").unwrap();
    repo.snapshot(&source).expect_code(0);
    repo.objects("runs").iter().for_each(|path| remove(path));
    let target = repo.path("target");
    repo.restore(["path", "latest", "--to", target.to_str().unwrap()]).expect_code(0);
    assert_eq!(fs::read(target.join("file")).unwrap(), b"content");
}

#[test]
fn a_forged_manifest_is_named() {
    insta::assert_snapshot!(restored_after("snapshots", |path| {
        let text = fs::read_to_string(path).unwrap();
        // Change one letter of the payload in base64: this is still an envelope, but of something else.
        let at = text.find("\"payload\":\"").unwrap() + 40;
        let other = if &text[at..=at] == "A" { "B" } else { "A" };
        fs::write(path, [&text[..at], other, &text[at + 1..]].concat()).unwrap();
    }));
}

#[test]
fn a_second_init_is_refused() {
    let repo = TestRepository::in_folder(BINARIES);
    for key in ["one.key", "two.key", "writer.key"] {
        fs::remove_file(repo.path(key)).unwrap();
    }
    insta::assert_snapshot!(told(&repo, &repo.init()));
    assert!(!repo.path("one.key").exists(), "a key of a repository that was not made is left behind");
}

#[test]
fn key_files_are_never_overwritten() {
    let repo = TestRepository::in_folder(BINARIES);
    insta::assert_snapshot!(told(&repo, &repo.init()));
}

#[test]
fn one_recovery_key_is_not_enough() {
    let repo = TestRepository::without_repository(BINARIES);
    let (key, writer) = (repo.path("one.key"), repo.path("writer.key"));
    let args = ["init", "--recovery-key", key.to_str().unwrap(), "--writer-key", writer.to_str().unwrap()];
    insta::assert_snapshot!(told(&repo, &repo.backup(args)));
    assert!(!key.exists() && !writer.exists());
    repo.backup(args.into_iter().chain(["--single-recipient"])).expect_code(0);
}

#[test]
fn a_location_without_a_repository_is_named() {
    let repo = TestRepository::in_folder(BINARIES);
    let empty = repo.path("empty");
    fs::create_dir(&empty).unwrap();
    insta::assert_snapshot!(told(&repo, &repo.backup(["list", "-r", empty.to_str().unwrap()])));
}

#[test]
fn a_recovery_key_of_another_repository_is_refused() {
    let (repo, other) = (TestRepository::in_folder(BINARIES), TestRepository::in_folder(BINARIES));
    fs::copy(other.path("one.key"), repo.path("one.key")).unwrap();
    insta::assert_snapshot!(told(&repo, &repo.restore(["ls", "latest"])));
}

#[test]
fn a_stranger_with_the_right_repository_id_is_refused() {
    let (repo, other) = (TestRepository::in_folder(BINARIES), TestRepository::in_folder(BINARIES));
    let id = |repo: &TestRepository| {
        let text = fs::read_to_string(repo.path("one.key")).unwrap();
        text.lines().find_map(|line| line.strip_prefix("# repository id: ")).unwrap().to_owned()
    };
    let forged = fs::read_to_string(other.path("one.key")).unwrap().replace(&id(&other), &id(&repo));
    fs::write(repo.path("one.key"), forged).unwrap();
    insta::assert_snapshot!(told(&repo, &repo.restore(["ls", "latest"])));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let repo = TestRepository::in_folder(BINARIES);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(repo.path("writer.key"), mode).unwrap();
    insta::assert_snapshot!(told(&repo, &repo.backup(["list"])));
}

#[test]
fn a_key_file_that_is_garbage_is_refused_without_being_quoted() {
    let repo = TestRepository::in_folder(BINARIES);
    let text =
        fs::read_to_string(repo.path("writer.key")).unwrap().replace("chunker_seed = ", "chunker_seed ");
    fs::write(repo.path("writer.key"), &text).unwrap();
    let said = repo.backup(["list"]);
    let secret = text.lines().find_map(|line| line.strip_prefix("chunker_seed ")).unwrap();
    assert!(!said.stderr.contains(secret.trim_matches('"')), "{}", said.stderr);
    insta::assert_snapshot!(told(&repo, &said));
}

#[test]
fn an_unknown_snapshot_is_named() {
    let repo = TestRepository::in_folder(BINARIES);
    insta::assert_snapshot!(told(&repo, &repo.restore(["ls", "0123abcd"])));
    insta::assert_snapshot!("no_latest", told(&repo, &repo.restore(["ls", "latest"])));
}

#[test]
fn a_folder_that_is_not_there_is_named_before_anything_is_stored() {
    let repo = TestRepository::in_folder(BINARIES);
    insta::assert_snapshot!(told(&repo, &repo.snapshot(&repo.path("nothing"))));
    assert!(!std::path::Path::new(&repo.location).join("runs").exists());
}

#[test]
fn a_target_that_holds_something_is_left_alone() {
    let repo = TestRepository::in_folder(BINARIES);
    let (source, target) = (repo.path("source"), repo.path("target"));
    for folder in [&source, &target] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("file"), b"mine").unwrap();
    }
    repo.snapshot(&source).expect_code(0);
    let said = repo.restore(["path", "latest", "--to", target.to_str().unwrap()]);
    insta::assert_snapshot!(told(&repo, &said));
    assert_eq!(fs::read(target.join("file")).unwrap(), b"mine");
}

#[test]
fn s3_without_credentials_says_which_to_set() {
    let repo = TestRepository::in_folder(BINARIES);
    insta::assert_snapshot!(told(&repo, &repo.backup(["list", "-r", "s3://bucket/prefix"])));
}

#[test]
fn missing_credentials_are_said_within_ten_seconds_where_a_cloud_might_have_some() {
    let repo = TestRepository::in_folder(BINARIES);
    let mut command = repo.backup_command(["list", "-r", "s3://bucket/prefix"]);
    let started = Instant::now();
    // On a cloud machine its metadata service is asked first; here nothing answers, or it refuses.
    let said = lifeboat_tests::command::run(command.env_remove("AWS_EC2_METADATA_DISABLED"));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.stderr.contains("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"), "{}", said.stderr);
}

#[test]
fn s3_that_does_not_answer_is_undetermined() {
    let mut repo = TestRepository::in_folder(BINARIES);
    let variables = [
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
    ];
    repo.variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let said = repo.backup(["list", "-r", "s3://bucket/prefix"]);
    // The client reports how long it tried; only that differs.
    let text: Vec<_> =
        told(&repo, &said).lines().map(|line| line.split(" in ").next().unwrap().to_owned()).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn plain_http_to_another_machine_is_refused() {
    let mut repo = TestRepository::in_folder(BINARIES);
    repo.variables = vec![("AWS_ENDPOINT_URL".to_owned(), "http://storage.example".to_owned())];
    insta::assert_snapshot!(told(&repo, &repo.backup(["list", "-r", "s3://bucket/prefix"])));
}

#[test]
fn an_engine_that_does_not_answer_is_undetermined() {
    let repo = TestRepository::in_folder(BINARIES);
    let mut command = repo.backup_command(["run", "--volume", "data"]);
    let said = lifeboat_tests::command::run(command.env("DOCKER_HOST", "unix:///nowhere/docker.sock"));
    insta::assert_snapshot!(told(&repo, &said));
}

#[test]
fn json_failures_are_one_document() {
    let repo = TestRepository::in_folder(BINARIES);
    let said = repo.restore(["ls", "0123abcd", "--json"]).expect_code(2);
    let document: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(document["schema"], "lifeboat.error/v1");
    assert_eq!(document["kind"], "usage");
    assert_eq!(document["exit_code"], 2);
}

/// A report that cannot be written is a failure, whatever the command did; a reader that went away is not.
#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let repo = TestRepository::in_folder(BINARIES);
    let list = |options: &[&str], to: std::process::Stdio| {
        let mut command = repo.restore_command([&["list"], options].concat());
        command.stdout(to).output().unwrap()
    };
    for options in [&[][..], &["--json"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let said = list(options, full.into());
        let told = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(1), "{told}");
        assert!(told.contains("standard output cannot be written"), "{told}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(list(options, writer.into()).status.code(), Some(0));
    }
}

#[test]
fn an_init_that_fails_leaves_nothing_that_was_not_there() {
    let repo = TestRepository::without_repository(BINARIES);
    let home = repo.path("");
    fs::create_dir(home.join("empty")).unwrap();
    let (one, two, writer) = (repo.path("one.key"), repo.path("two.key"), repo.path("writer.key"));
    let [one, two, writer] = [&one, &two, &writer].map(|path| path.to_str().unwrap());
    let enough = ["--recovery-key", one, "--recovery-key", two, "--writer-key"];
    let here = || {
        let names = fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.filter(|name| name != "state" && name != "cache").collect();
        names.sort();
        names
    };
    for repository in ["new", "new/folders/below", "empty", "empty/new"] {
        let repository = home.join(repository);
        let repository = repository.to_str().unwrap();
        for wrong in [
            // A single recovery key; a key file that cannot be written; an invalid recipient.
            &["--recovery-key", one, "--writer-key", writer][..],
            &[&enough[..], &["/proc/self/writer.key"]].concat(),
            &[&enough[..], &[writer, "--recipient", "age1none"]].concat(),
        ] {
            let said = repo.backup([&["init", "-r", repository][..], wrong].concat());
            assert_ne!(said.code, Some(0), "{said:?}");
            assert_eq!(here(), ["empty"], "{repository} {wrong:?}");
            assert_eq!(fs::read_dir(home.join("empty")).unwrap().count(), 0, "{repository} {wrong:?}");
        }
    }
    // A file is in the way: what was created before that is removed.
    fs::write(home.join("empty/file"), "x").unwrap();
    let below = home.join("empty/file/repository");
    repo.backup([&["init", "-r", below.to_str().unwrap()][..], &enough, &[writer]].concat()).expect_code(2);
    assert_eq!((here(), fs::read(home.join("empty/file")).unwrap()), (vec!["empty".into()], b"x".to_vec()));
    let below = home.join("new/repository");
    repo.backup([&["init", "-r", below.to_str().unwrap()][..], &enough, &[writer]].concat()).expect_code(0);
}
