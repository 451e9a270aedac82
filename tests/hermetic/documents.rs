//! Documents for other programs: every verb prints one that matches its schema, and every schema belongs to a document.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use lifeboat_tests::command::{Output, lifeboat, run};
use lifeboat_tests::documents::{check, names};
use lifeboat_tests::layout::LayoutBuilder;
use lifeboat_tests::repository::TestRepository;
use serde_json::json;

use crate::BINARIES;

const SIGN: &str = env!("CARGO_BIN_EXE_tested-sign");
const VERIFY: &str = env!("CARGO_BIN_EXE_tested-verify");

/// The calls, one after the other, and the document that each prints. `ROOT` is the repository's id, `WRITER` its host.
const CALLS: &[(&str, &str, &str)] = &[
    (BINARIES.backup, "init --recovery-key one.key --recovery-key two.key --writer-key writer.key", "init"),
    (BINARIES.backup, "run --path source", "run"),
    (BINARIES.backup, "run --path source --tag again", "run"),
    (BINARIES.backup, "run --path nowhere", "error"),
    (BINARIES.backup, "list", "list"),
    (BINARIES.backup, "show latest", "show"),
    (BINARIES.backup, "diff latest latest --identity one.key", "snapshot-diff"),
    (BINARIES.backup, "find file --identity one.key", "find"),
    (BINARIES.backup, "stats", "stats"),
    (
        BINARIES.backup,
        "init -r elsewhere --recovery-key three.key --recovery-key four.key --writer-key other.key",
        "init",
    ),
    (BINARIES.backup, "copy elsewhere --identity one.key --writer-key other.key", "copy"),
    (BINARIES.backup, "forget --keep-last 1", "forget"),
    (BINARIES.backup, "key list", "keys"),
    (BINARIES.backup, "key add keeper keeper.key --identity one.key", "key-added"),
    (BINARIES.backup, "key add writer second.key --identity one.key", "key-added"),
    (BINARIES.backup, "key rotate --identity one.key", "rotated"),
    (BINARIES.backup, "key floor --days 0 --yes --identity one.key", "floor"),
    (BINARIES.backup, "key sheet sheet.html", "recovery-sheet"),
    (BINARIES.backup, "key export", "public-keys"),
    (BINARIES.backup, "prune --keeper-key keeper.key", "prune"),
    (BINARIES.backup, "check", "check"),
    (BINARIES.backup, "repair", "repair"),
    (BINARIES.backup, "doctor", "doctor"),
    (BINARIES.restore, "list --identity one.key", "list"),
    (BINARIES.restore, "find file --identity one.key", "find"),
    (BINARIES.restore, "ls latest --identity one.key", "ls"),
    (BINARIES.restore, "path latest --to target --identity one.key", "restore"),
    (BINARIES.restore, "diff latest target --identity one.key", "diff"),
    (BINARIES.restore, "diff latest elsewhere --identity one.key", "diff"),
    // Without an engine, no volume can be restored, and nothing can be cleared away.
    (BINARIES.restore, "volume latest shop --identity one.key", "error"),
    (BINARIES.restore, "gc", "error"),
    (BINARIES.restore, "rehearse latest --identity one.key --scratch-dir scratch", "drill"),
    (SIGN, "keygen release", "key-pair"),
    (SIGN, "image oci:app:1.0 --key release.key", "signature"),
    (
        SIGN,
        "attest oci:app:1.0 --type https://example.com/p --predicate predicate --key release.key",
        "signature",
    ),
    (SIGN, "blob source/file --bundle bundle --key release.key", "signature"),
    (SIGN, "snapshot latest --root ROOT --key release.key", "signature"),
    (VERIFY, "image oci:app:1.0 --key release.pub", "verification"),
    (VERIFY, "attestation oci:app:1.0 --type https://example.com/p --key release.pub", "verification"),
    (VERIFY, "blob source/file --bundle bundle --key release.pub --report verdict", "verification"),
    (VERIFY, "blob predicate --bundle bundle --key release.pub", "verification"),
    (VERIFY, "snapshot latest --root ROOT --key release.pub", "snapshot-verification"),
    (VERIFY, "tree oci:app:1.0 --key release.pub", "tree"),
    (VERIFY, "trusted-root check root.json", "trusted-root-check"),
    (VERIFY, "replay verdict", "replay"),
    (BINARIES.backup, "key remove WRITER --identity one.key", "key-removed"),
];

/// Verbs that print pages or data, and internal ones.
const NO_DOCUMENT: [&str; 4] = ["completions", "man", "help", "dump"];

/// Documents that appear only on standard error, or only with an engine.
const ELSEWHERE: [&str; 3] = ["lifeboat.progress/v1", "lifeboat.message/v1", "lifeboat.gc/v1"];

fn call(repo: &TestRepository, program: &str, line: &str, form: &[&str]) -> Output {
    let mut command = lifeboat(program, &repo.path("."), line.split(' ').chain(form.iter().copied()));
    command.current_dir(repo.path(".")).env("COSIGN_PASSWORD", "correct horse");
    command.env("LIFEBOAT_REPOSITORY", &repo.location).env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    if program == BINARIES.backup && !line.contains("-key ") && !line.contains("--identity") {
        command.env("LIFEBOAT_WRITER_KEY", repo.path("writer.key"));
    }
    run(&mut command)
}

#[test]
fn every_verb_prints_the_document_that_its_schema_describes() {
    let repo = TestRepository::without_repository(BINARIES);
    for folder in ["source", "scratch"] {
        fs::create_dir(repo.path(folder)).unwrap();
    }
    fs::write(repo.path("source/file"), b"content").unwrap();
    fs::write(repo.path("predicate"), b"{}").unwrap();
    fs::write(repo.path("root.json"), b"{}").unwrap();
    LayoutBuilder::create(&repo.path("app")).image("1.0", "an image");
    let (mut root, mut writer) = (String::new(), String::new());
    let mut seen = BTreeSet::new();
    for (program, line, expected) in CALLS {
        let line = line.replace("ROOT", &root).replace("WRITER", &writer);
        let said = call(&repo, program, &line, &["--json"]);
        let document = said.json();
        assert_eq!(document["schema"], format!("lifeboat.{expected}/v1"), "{line}: {document:#}");
        seen.insert(format!("lifeboat.{expected}/v1"));
        match *expected {
            "init" if root.is_empty() => document["repository"].as_str().unwrap().clone_into(&mut root),
            "keys" => document["writers"][0]["id"].as_str().unwrap().clone_into(&mut writer),
            _ => {}
        }
    }
    let missed: Vec<&str> =
        names().filter(|name| !seen.contains(*name) && !ELSEWHERE.contains(name)).collect();
    assert!(missed.is_empty(), "nothing prints {missed:?}");
}

/// A new verb must be added to the calls above.
#[test]
fn no_verb_is_left_out() {
    let mut called: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (program, line, _) in CALLS {
        called.entry(program).or_default().insert(line.split(' ').next().unwrap());
    }
    let home = tempfile::tempdir().unwrap();
    for (program, called) in called {
        for verb in verbs(program, home.path(), &["--help"]) {
            assert!(
                called.contains(&*verb) || NO_DOCUMENT.contains(&&*verb),
                "{program} {verb} is not called"
            );
        }
    }
    for verb in verbs(BINARIES.backup, home.path(), &["key", "--help"]) {
        let is_called = CALLS.iter().any(|(_, line, _)| line.starts_with(&format!("key {verb}")));
        assert!(is_called || verb == "help", "key {verb} is not called");
    }
}

fn verbs(program: &str, home: &Path, args: &[&str]) -> Vec<String> {
    let help = run(&mut lifeboat(program, home, args)).expect_code(0).stdout;
    let lines =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let of_verbs = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let verbs: Vec<String> =
        of_verbs.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect();
    assert!(verbs.len() > 5, "{help}");
    verbs
}

#[test]
fn what_no_schema_describes_is_found() {
    let good = json!({"schema": "lifeboat.rotated/v1", "epoch": 1});
    assert_eq!(check(&good), "lifeboat.rotated/v1");
    for bad in [
        json!({"schema": "lifeboat.unheard-of/v1", "epoch": 1}),
        json!({"epoch": 1}),
        json!({"schema": "lifeboat.rotated/v1"}),
        json!({"schema": "lifeboat.rotated/v1", "epoch": "1"}),
        json!({"schema": "lifeboat.rotated/v1", "epoch": 1, "unheard_of": 1}),
        json!({"schema": "lifeboat.prune/v1", "due_at": "yesterday"}),
    ] {
        assert!(catch_unwind(|| check(&bad).to_owned()).is_err(), "{bad}");
    }
}
