//! Snapshots verified like images: countersigned, verified, and never rolled back unnoticed.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use lifeboat_tests::command::{Output, lifeboat, run};
use lifeboat_tests::repository::TestRepository;

use super::verdicts::{verdict_in, write_verdict};
use super::{Desk, SIGN, VERIFY};
use crate::BINARIES;

struct Case {
    repo: TestRepository,
    root: String,
}

impl Case {
    /// A repository with two snapshots of one host, and the key pairs `release` and `other` beside it.
    fn new() -> Self {
        let repo = TestRepository::in_folder(BINARIES);
        let desk = Desk::new();
        for name in ["release.key", "release.pub", "other.key", "other.pub"] {
            fs::copy(desk.path(name), repo.path(name)).unwrap();
            fs::set_permissions(repo.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::create_dir(repo.path("data")).unwrap();
        for content in ["one", "two"] {
            fs::write(repo.path("data/file"), content).unwrap();
            repo.snapshot(&repo.path("data")).expect_code(0);
        }
        let marker = fs::read(Path::new(&repo.location).join("lifeboat.json")).unwrap();
        let marker: serde_json::Value = serde_json::from_slice(&marker).unwrap();
        let root = marker["repository"].as_str().unwrap().to_owned();
        Self { repo, root }
    }

    fn call(&self, binary: &str, args: &[&str]) -> Output {
        let mut command = lifeboat(binary, &self.repo.path(""), args);
        command.current_dir(self.repo.path("")).env("COSIGN_PASSWORD", "correct horse");
        run(command.env("LIFEBOAT_REPOSITORY", &self.repo.location))
    }

    fn verify(&self, args: &[&str]) -> Output {
        self.call(VERIFY, &[&["snapshot", "latest", "--root", &self.root], args].concat())
    }

    fn sign(&self, key: &str) -> Output {
        self.call(SIGN, &["snapshot", "latest", "--root", &self.root, "--key", key])
    }

    /// The manifests, oldest first.
    fn manifests(&self) -> Vec<PathBuf> {
        let all = self.repo.objects("snapshots").into_iter();
        all.filter(|path| path.file_name().is_some_and(|name| name.len() == 10)).collect()
    }
}

#[test]
fn a_snapshot_is_verified_and_countersigned_without_a_key_to_open_it() {
    let case = Case::new();
    case.verify(&[]).expect_code(0);
    case.verify(&["--key", "release.pub"]).expect_code(1);
    let said = case.sign("release.key").expect_code(0);
    assert!(said.stdout.contains("stored    snapshots/"), "{}", said.stdout);
    case.verify(&["--key", "release.pub"]).expect_code(0);
    case.verify(&["--key", "other.pub"]).expect_code(1);
    let both = ["--key", "release.pub", "--key", "other.pub", "--threshold", "2"];
    case.verify(&both).expect_code(1);
    case.sign("other.key").expect_code(0);
    let said = case.verify(&[&both[..], &["--json"]].concat()).expect_code(0);
    let report: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(report["schema"], "lifeboat.snapshot-verification/v1");
    assert_eq!(report["distinct_signers"], 2);
    // The host's own key is a signer like any other.
    fs::write(case.repo.path("host.pub"), report["writer_key"].as_str().unwrap()).unwrap();
    case.verify(&["--key", "host.pub"]).expect_code(0);
    // The signed time determines its age, also for others who signed the same.
    for key in ["host.pub", "release.pub"] {
        case.verify(&["--key", key, "--min-time", "2020-01-01T00:00:00Z"]).expect_code(0);
        let said = case.verify(&["--key", key, "--min-time", "2100-01-01T00:00:00Z"]).expect_code(1);
        let words: Vec<&str> = said.stdout.split_whitespace().collect();
        assert!(words.join(" ").contains("before 2100"), "{}", said.stdout);
    }
    // It is in no log.
    case.verify(&["--key", "host.pub", "--require-log"]).expect_code(1);
    case.verify(&["--key", "host.pub", "--key", "release.pub", "--key", "other.pub", "--threshold", "3"])
        .expect_code(0);
    // Backups go on, and countersignatures do not count as snapshots.
    case.repo.snapshot(&case.repo.path("data")).expect_code(0);
    case.verify(&["--key", "release.pub"]).expect_code(1);
    assert_eq!(case.manifests().len(), 3);
}

/// Of several writers, the one that was not removed is used, or the one that is named.
#[test]
fn the_latest_is_that_of_the_writer_who_is_meant() {
    let case = Case::new();
    let repo = &case.repo;
    let identity = repo.path("one.key").display().to_string();
    let writers = || {
        let list = repo.backup(["key", "list", "--json", "--identity", &identity]).expect_code(0).json();
        let writers = list["writers"].as_array().unwrap().iter();
        writers.map(|writer| writer["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let old = writers().remove(0);
    let second = repo.path("second.key").display().to_string();
    repo.backup(["key", "add", "writer", &second, "--identity", &identity]).expect_code(0);
    let data = repo.path("data").display().to_string();
    repo.backup(["run", "--path", &data, "--writer-key", &second]).expect_code(0);
    let new = writers().into_iter().find(|id| *id != old).unwrap();
    let said = case.verify(&[]).expect_code(2);
    assert!(said.stderr.contains("--writer ID"), "{said:?}");
    let verified = |args: &[&str]| case.verify(&[args, &["--json"]].concat()).expect_code(0).json();
    let of = |writer: &str| verified(&["--writer", &writer[..8]])["writer"].clone();
    assert_eq!((of(&old), of(&new)), (old.clone().into(), new.clone().into()));
    repo.backup(["key", "remove", &old, "--yes", "--identity", &identity]).expect_code(0);
    assert_eq!(verified(&[])["writer"], new);
    case.sign("release.key").expect_code(0);
}

#[test]
fn without_a_root_the_repository_vouches_for_itself_and_both_programs_say_so() {
    let case = Case::new();
    for (binary, key) in [(SIGN, "release.key"), (VERIFY, "release.pub")] {
        let said = case.call(binary, &["snapshot", "latest", "--key", key]).expect_code(0);
        assert!(said.stderr.contains("no --root was given"), "{said:?}");
        let said =
            case.call(binary, &["snapshot", "latest", "--root", &case.root, "--key", key]).expect_code(0);
        assert_eq!(said.stderr, "");
        let said = case.call(binary, &["snapshot", "latest", "--root", "x", "--key", key]).expect_code(2);
        assert!(said.stderr.contains("repository"), "{said:?}");
    }
}

#[test]
fn a_damaged_countersignature_is_told_and_takes_nothing_from_the_others() {
    let case = Case::new();
    let countersigned = |key: &str| -> PathBuf {
        let before = case.repo.objects("snapshots");
        case.sign(key).expect_code(0);
        case.repo.objects("snapshots").into_iter().find(|path| !before.contains(path)).unwrap()
    };
    let (_, damaged) = (countersigned("release.key"), countersigned("other.key"));
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[20] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let said = case.verify(&["--key", "release.pub", "--json"]).expect_code(0).json();
    let refused = said["refused"].as_array().unwrap();
    assert_eq!(refused.len(), 1, "{said}");
    assert!(refused[0]["reason"].as_str().unwrap().contains("its SHA-256 is"), "{said}");
    case.verify(&["--key", "other.pub"]).expect_code(1);
}

#[test]
fn a_countersignature_of_another_snapshot_does_not_count() {
    let case = Case::new();
    case.sign("release.key").expect_code(0);
    let manifests = case.manifests();
    let folder = |manifest: &Path| PathBuf::from(format!("{}.sig", manifest.display()));
    case.repo.snapshot(&case.repo.path("data")).expect_code(0);
    let newest = case.manifests().pop().unwrap();
    fs::create_dir_all(folder(&newest)).unwrap();
    for entry in fs::read_dir(folder(manifests.last().unwrap())).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder(&newest).join(entry.file_name())).unwrap();
    }
    let said = case.verify(&["--key", "release.pub"]).expect_code(1);
    assert!(said.stdout.contains("is good, but for"), "{}", said.stdout);
}

#[test]
fn a_verdict_about_a_snapshot_is_derived_again_without_its_repository() {
    let case = Case::new();
    case.sign("release.key").expect_code(0);
    let report = ["--report", "verdict.json"];
    let replay = |args: &[&str]| case.call(VERIFY, &[&["replay", "verdict.json"], args].concat());
    let verdict = || -> serde_json::Value {
        serde_json::from_str(&verdict_in(&case.repo.path("verdict.json"))).unwrap()
    };
    let keys = ["--key", "release.pub", "--key", "other.pub"];
    case.verify(&[&keys[..2], &report, &["--checkpoint", "seen.json"]].concat()).expect_code(0);
    replay(&[]).expect_code(0);
    assert_eq!(verdict()["derivation"]["verdict"], "verified");
    assert_eq!(verdict()["question"]["snapshot"]["before"], serde_json::Value::Null);
    // The checkpoint is part of the question, and a negative verdict is a verdict.
    case.verify(&[&keys[..], &report, &["--threshold", "2", "--checkpoint", "seen.json"]].concat())
        .expect_code(1);
    replay(&[]).expect_code(0);
    assert_eq!(verdict()["derivation"]["distinct_signers"], 1);
    assert_eq!(verdict()["question"]["snapshot"]["before"]["repository"], case.root.as_str());
    // A repository that lost its newest snapshot.
    let newest = case.manifests().pop().unwrap();
    fs::remove_file(&newest).unwrap();
    case.verify(&[&report[..], &["--checkpoint", "seen.json"]].concat()).expect_code(1);
    let said = replay(&["--json"]).expect_code(0);
    assert_eq!(verdict()["derivation"]["verdict"], "refused", "{said:?}");
    // Neither the repository nor the keys are needed.
    fs::remove_dir_all(&case.repo.location).unwrap();
    replay(&[]).expect_code(0);
    let text = verdict_in(&case.repo.path("verdict.json"));
    // Values next to the objects' names and bytes have no effect, and cannot be changed.
    for (from, to) in [
        (r#""refers_to":null"#, format!(r#""refers_to":"{}""#, "e".repeat(64))),
        (r#""annotations":{}"#, r#""annotations":{"a":"b"}"#.to_owned()),
        (r#""tag":null"#, r#""tag":"1.0""#.to_owned()),
        (r#""others":0"#, r#""others":1"#.to_owned()),
        (r#""each_by_itself":false"#, r#""each_by_itself":true"#.to_owned()),
        (r#""place":"lifeboat.json""#, r#""place":"lifeboat.txt""#.to_owned()),
    ] {
        let changed = text.replacen(from, &to, 1);
        assert_ne!(changed, text, "{from}");
        write_verdict(&case.repo.path("verdict.json"), &changed);
        let said = replay(&[]);
        assert!(matches!(said.code, Some(1 | 2)), "{from}: {said:?}");
    }
    // With any other object the verdict differs.
    let changed = text.replace("\"sequence\":0", "\"sequence\":1");
    assert_ne!(changed, text);
    write_verdict(&case.repo.path("verdict.json"), &changed);
    replay(&[]).expect_code(1);
}

#[test]
fn damage_gaps_and_going_back_are_refused() {
    let case = Case::new();
    // A mistyped name is reported: nothing was compared.
    let said = case.verify(&["--checkpoint", "seen.json"]).expect_code(0);
    assert!(said.stdout.contains("seen.json was not there: compared with nothing"), "{said:?}");
    let said = case.verify(&["--checkpoint", "seen.json"]).expect_code(0);
    assert!(said.stdout.contains("remembered in seen.json"), "{said:?}");
    case.repo.snapshot(&case.repo.path("data")).expect_code(0);
    case.verify(&["--checkpoint", "seen.json"]).expect_code(0);
    let manifests = case.manifests();
    let newest = fs::read(&manifests[2]).unwrap();
    // The newest is removed.
    fs::remove_file(&manifests[2]).unwrap();
    case.verify(&[]).expect_code(0);
    let said = case.verify(&["--checkpoint", "seen.json"]).expect_code(1);
    assert!(said.stdout.contains("was seen before, and is gone"), "{}", said.stdout);
    fs::write(&manifests[2], &newest).unwrap();
    case.verify(&["--checkpoint", "seen.json"]).expect_code(0);
    // One in between is missing.
    let middle = fs::read(&manifests[1]).unwrap();
    fs::remove_file(&manifests[1]).unwrap();
    let said = case.verify(&[]).expect_code(1);
    assert!(said.stdout.contains("is missing, but later ones exist"), "{}", said.stdout);
    case.sign("release.key").expect_code(1);
    // One is exchanged.
    let mut text = String::from_utf8(middle).unwrap();
    text.replace_range(20..21, if &text[20..21] == "A" { "B" } else { "A" });
    fs::write(&manifests[1], text).unwrap();
    case.verify(&[]).expect_code(1);
    // Very many worthless requests: the text names some, and JSON all.
    let writer = manifests[0].parent().unwrap().file_name().unwrap().to_owned();
    let forget = Path::new(&case.repo.location).join("forget").join(writer);
    fs::create_dir_all(&forget).unwrap();
    for number in 100..400 {
        fs::write(forget.join(format!("{number:010}")), "junk").unwrap();
    }
    let said = case.verify(&[]).expect_code(1);
    assert!(said.stdout.lines().count() < 100, "{}", said.stdout.lines().count());
    assert!(said.stdout.contains(" more, which `--json` names"), "{said:?}");
    // Another repository under the name of this one.
    let other = "0".repeat(64);
    let said = case.call(VERIFY, &["snapshot", "latest", "--root", &other]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let compared = format!(
        "error: `--root` names repository {other}, and {} holds repository {}\n",
        case.repo.location, case.root
    );
    assert!(said.stderr.contains(&compared) && !said.stderr.contains("the key"), "{said:?}");
    case.call(VERIFY, &["snapshot", "abcd1234", "--root", &case.root]).expect_code(2);
}
