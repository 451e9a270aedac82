//! The roles in practice, on a real S3 server: a host whose credentials can only put and read, a keeper who prunes
//! while that host backs up, and a bare machine with a recovery file and a URL.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use lifeboat_tests::gate::trials_with;
use lifeboat_tests::repository::TestRepository;
use lifeboat_tests::s3::S3;
use lifeboat_tests::tree::noise;

use crate::BINARIES;

pub(crate) fn trials() -> Vec<Trial> {
    let s3 = S3::find("LIFEBOAT_TEST_S3");
    let test = trials_with(s3);
    vec![
        test("roles::credentials_that_put_and_read_suffice_for_a_backup", few_rights),
        test("roles::a_keeper_forgets_and_prunes_while_a_backup_runs", keeper),
        test("roles::a_recovery_file_and_the_url_restore_everything_on_a_bare_machine", bare_machine),
    ]
}

/// The objects in the bucket below a folder of the repository.
fn stored(repo: &TestRepository, server: &S3, folder: &str) -> Vec<String> {
    let prefix = repo.location.rsplit('/').next().unwrap();
    let path = format!("/{}?list-type=2&prefix={prefix}%2F{folder}", server.bucket);
    let answer = server.request("GET", &path, &[], "");
    assert_eq!(answer.status, "200", "{answer:?}");
    let keys = answer.body.split("<Key>").skip(1);
    keys.map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
}

/// Fills the captured folder with incompressible data.
fn fill(repo: &TestRepository, seed: u32) {
    let source = repo.path("source");
    fs::create_dir_all(&source).unwrap();
    fs::write(source.join("changing"), noise(seed, 3_000_000)).unwrap();
    fs::write(source.join("staying"), "as ever").unwrap();
}

/// The rights that SECURITY.md gives a host.
fn rights_of_a_host(bucket: &str, prefix: &str, writer: &str, group: &str) -> String {
    let own = [
        format!("runs/{group}"),
        format!("packs/{group}"),
        format!("contents/{group}"),
        format!("locations/{group}"),
        format!("parts/{group}"),
        format!("snapshots/{writer}"),
        format!("forget/{writer}"),
    ];
    let own = own.map(|folder| format!("arn:aws:s3:::{bucket}/{prefix}/{folder}/*"));
    serde_json::json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": own},
        {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [format!("arn:aws:s3:::{bucket}/{prefix}/*")]},
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [format!("arn:aws:s3:::{bucket}")],
         "Condition": {"StringLike": {"s3:prefix": [format!("{prefix}/*")]}}},
    ]})
    .to_string()
}

fn few_rights(server: &S3) {
    let mut repo = TestRepository::on_s3(BINARIES, server);
    repo.init().expect_code(0);
    let identity = repo.path("one.key");
    let identity = ["--identity", identity.to_str().unwrap()];
    repo.add_keeper();
    let list = repo.backup(["key", "list", "--json"]).expect_code(0).json();
    let of_writer = |field: &str| list["writers"][0][field].as_str().unwrap().to_owned();
    let prefix = repo.location.rsplit('/').next().unwrap().to_owned();
    let policy = rights_of_a_host(&server.bucket, &prefix, &of_writer("id"), &of_writer("group"));
    let all_rights = repo.variables.clone();
    repo.variables = server.variables_with(&server.keys_with_policy(&policy));

    for seed in 0..3 {
        fill(&repo, seed);
        repo.snapshot(&repo.path("source")).expect_code(0);
    }
    assert_eq!(
        repo.backup(["list", "--json"]).expect_code(0).json()["snapshots"].as_array().unwrap().len(),
        3
    );
    assert_eq!(
        repo.backup(["check", "--read-data", "--json"]).expect_code(0).json()["damage"],
        serde_json::json!([])
    );
    repo.backup(["forget", "--keep-last", "2"]).expect_code(0);
    assert_eq!(
        repo.backup(["list", "--json"]).expect_code(0).json()["snapshots"].as_array().unwrap().len(),
        2
    );

    // It may not enrol anyone or delete anything, even with the keys that would suffice for it.
    let refused = repo.backup(
        ["key", "add", "writer", repo.path("other.key").to_str().unwrap()].into_iter().chain(identity),
    );
    assert!(refused.expect_code(2).stderr.contains("these credentials"));
    let prune = ["prune", "--grace", "0s"];
    repo.as_keeper(prune).expect_code(2);
    fill(&repo, 9);
    repo.snapshot(&repo.path("source")).expect_code(0);
    repo.variables = all_rights;
    repo.as_keeper(prune).expect_code(0);
    restore_and_compare(&repo);
}

fn restore_and_compare(repo: &TestRepository) {
    let target = tempfile::tempdir().unwrap();
    repo.restore(["path", "latest", "--to", target.path().to_str().unwrap()]).expect_code(0);
    see_the_same(&repo.path("source"), target.path());
}

fn see_the_same(one: &Path, other: &Path) {
    for name in ["changing", "staying"] {
        assert!(fs::read(one.join(name)).unwrap() == fs::read(other.join(name)).unwrap(), "{name} differs");
    }
}

fn keeper(server: &S3) {
    let repo = TestRepository::on_s3(BINARIES, server);
    repo.init().expect_code(0);
    repo.add_keeper();
    for seed in 0..4 {
        fill(&repo, seed);
        repo.snapshot(&repo.path("source")).expect_code(0);
    }
    let before = repo.as_keeper(["stats", "--json"]).expect_code(0).json()["stored_bytes"].as_u64().unwrap();

    // A backup in progress: it has registered and waits for its input.
    let runs = stored(&repo, server, "runs").len();
    let mut backup = repo
        .backup_command(["run", "--stdin", "dump"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut dump = backup.stdin.take().unwrap();
    dump.write_all(b"half of it, ").unwrap();
    let patience = Instant::now() + Duration::from_mins(1);
    while stored(&repo, server, "runs").len() == runs {
        assert!(Instant::now() < patience, "the run never registered");
        std::thread::sleep(Duration::from_millis(50));
    }

    repo.as_keeper(["forget", "--keep-last", "1"]).expect_code(0);
    let pruned = repo.as_keeper(["prune", "--grace", "0s", "--json"]).expect_code(0).json();
    assert!(pruned["deleted_bytes"].as_u64().unwrap() > 8_000_000, "{pruned}");
    let after = repo.as_keeper(["stats", "--json"]).expect_code(0).json()["stored_bytes"].as_u64().unwrap();
    assert!(after * 2 < before, "{before} bytes became {after}");
    let unread = repo.as_keeper(["find", "changing"]);
    assert_ne!(unread.code, Some(0), "a keeper sees paths: {}", unread.stdout);

    dump.write_all(b"and the other half").unwrap();
    drop(dump);
    let backup = backup.wait_with_output().unwrap();
    assert!(backup.status.success(), "{}", String::from_utf8_lossy(&backup.stderr));
    assert_eq!(
        repo.restore(["dump", "latest", "dump"]).expect_code(0).stdout,
        "half of it, and the other half"
    );
    let list = repo.backup(["list", "--json"]).expect_code(0).json();
    let snapshots = list["snapshots"].as_array().unwrap();
    assert_eq!(snapshots.len(), 2, "{list}");
    let checked = repo.as_keeper(["check", "--read-data", "--json"]).expect_code(0).json();
    assert_eq!(checked["damage"], serde_json::json!([]), "{checked}");
}

fn bare_machine(server: &S3) {
    let host = TestRepository::on_s3(BINARIES, server);
    host.init().expect_code(0);
    let mut kept = Vec::new();
    for seed in 0..2 {
        fill(&host, seed);
        let taken = host
            .backup(["run", "--path", host.path("source").to_str().unwrap(), "--json"])
            .expect_code(0)
            .json();
        let copy = tempfile::tempdir().unwrap();
        lifeboat_tests::repository::copy_folder(&host.path("source"), copy.path());
        kept.push((taken["snapshot"].as_str().unwrap().to_owned(), copy));
    }
    let mut bare = TestRepository::without_repository(BINARIES);
    bare.location.clone_from(&host.location);
    bare.variables.clone_from(&host.variables);
    fs::copy(host.path("two.key"), bare.path("one.key")).unwrap();
    drop(host);

    let list = bare.restore(["list", "--json"]).expect_code(0).json();
    assert_eq!(list["snapshots"].as_array().unwrap().len(), 2, "{list}");
    for (snapshot, copy) in &kept {
        let target = bare.path(snapshot);
        bare.restore(["path", snapshot, "--to", target.to_str().unwrap()]).expect_code(0);
        see_the_same(copy.path(), &target);
    }
}
