//! Log entries that are not what they claim: another log's checkpoint, another kind, entries of unknown logs.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lifeboat_core::Sha256Digest;
use lifeboat_tests::command::Output;
use lifeboat_tests::log::TestLog;
use serde_json::{Value, json};

use super::Desk;

const CONTENT: &str = "content";
const TIME: i64 = 1_700_000_000;

impl Desk {
    /// Signs a file with these contents with `release.key`: its bytes, not a statement about it. Returns the bundle,
    /// which is in `FILE.json` as well, and the body of the entry that a log would make from it.
    pub(super) fn plain_signature(&self, file: &str, contents: &str) -> (Value, Value) {
        fs::write(self.path(file), contents).unwrap();
        let name = format!("{file}.json");
        self.sign(&["blob", file, "--plain", "--bundle", &name, "--key", "release.key"]).expect_code(0);
        let bundle: Value = serde_json::from_slice(&fs::read(self.path(&name)).unwrap()).unwrap();
        let digest = Sha256Digest::of(contents.as_bytes()).to_string();
        let body = json!({
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": {"hash": {"algorithm": "sha256", "value": digest}},
                "signature": {
                    "content": bundle["messageSignature"]["signature"],
                    "publicKey": {"content": STANDARD.encode(fs::read(self.path("release.pub")).unwrap())},
                },
            },
        });
        (bundle, body)
    }
}

/// A file that the release key signed, and the body of its log entry.
struct Signed {
    desk: Desk,
    bundle: Value,
    body: Value,
}

impl Signed {
    fn new() -> Self {
        let desk = Desk::new();
        let (bundle, body) = desk.plain_signature("app", CONTENT);
        Self { desk, bundle, body }
    }

    fn entry(log: &TestLog, body: &Value) -> Value {
        log.entry(["hashedrekord", "0.0.1"], body.to_string().as_bytes(), TIME, &[])
    }

    fn verify(&self, entries: &[Value], logs: &[&TestLog], flags: &[&str]) -> Output {
        let mut bundle = self.bundle.clone();
        bundle["verificationMaterial"]["tlogEntries"] = json!(entries);
        fs::write(self.desk.path("app.json"), bundle.to_string()).unwrap();
        let mut root = TestLog::default().trusted_root();
        let tlogs: Vec<Value> = logs.iter().map(|log| log.trusted_root()["tlogs"][0].clone()).collect();
        root["tlogs"] = json!(tlogs);
        fs::write(self.desk.path("root.json"), root.to_string()).unwrap();
        let args =
            ["blob", "app", "--bundle", "app.json", "--key", "release.pub", "--trusted-root", "root.json"];
        self.desk.verify(&[&args[..], flags].concat())
    }
}

fn note(entry: &mut Value, note: String) {
    entry["inclusionProof"]["checkpoint"]["envelope"] = note.into();
}

#[test]
fn a_checkpoint_of_another_log_or_another_origin_proves_nothing() {
    let signed = Signed::new();
    let (own, other) = (TestLog::default(), TestLog::default());
    let good = Signed::entry(&own, &signed.body);
    signed.verify(std::slice::from_ref(&good), &[&own, &other], &["--require-log"]).expect_code(0);
    let checkpoint = TestLog::checkpoint_body(signed.body.to_string().as_bytes());
    // Signed by another log of the trusted root, with a line that only has the right log's id.
    let mut foreign = good.clone();
    let garbage =
        format!("— log.example {}", STANDARD.encode([&own.id().as_bytes()[..4], &[0; 64]].concat()));
    note(
        &mut foreign,
        format!("{checkpoint}\n{garbage}\n{}\n", other.sign_checkpoint(&checkpoint, other.id())),
    );
    let said = signed.verify(&[foreign], &[&own, &other], &["--require-log"]).expect_code(1);
    assert!(said.stdout.contains("is not signed by the log that the entry names"), "{said:?}");
    // Signed by the right log, for another origin.
    let mut origin = good.clone();
    let evil = checkpoint.replace("log.example - 1", "evil-origin");
    note(&mut origin, format!("{evil}\n{}\n", own.sign_checkpoint(&evil, own.id())));
    let said = signed.verify(&[origin], &[&own, &other], &[]).expect_code(1);
    assert!(said.stdout.contains("its checkpoint is of `evil-origin`"), "{said:?}");
    // Under a name that is not the log's.
    let mut name = good;
    let evil = checkpoint.replace("log.example", "evil.example");
    let line = own.sign_checkpoint(&evil, own.id()).replace("log.example", "evil.example");
    note(&mut name, format!("{evil}\n{line}\n"));
    let said = signed.verify(&[name], &[&own, &other], &[]).expect_code(1);
    assert!(said.stdout.contains("is signed in the name of `evil.example`"), "{said:?}");
}

#[test]
fn an_entry_of_another_kind_than_it_is_presented_as_is_refused() {
    let signed = Signed::new();
    let log = TestLog::default();
    for (kind, version) in [("rekord", "0.0.1"), ("totally/other", "0.0.1"), ("hashedrekord", "0.0.2")] {
        let mut body = signed.body.clone();
        (body["kind"], body["apiVersion"]) = (kind.into(), version.into());
        let said = signed.verify(&[Signed::entry(&log, &body)], &[&log], &[]).expect_code(1);
        assert!(said.stdout.contains("is presented as hashedrekord/0.0.1"), "{said:?}");
    }
}

#[test]
fn an_entry_of_an_unknown_log_excuses_no_other() {
    let signed = Signed::new();
    let (own, unknown) = (TestLog::default(), TestLog::default());
    let good = Signed::entry(&own, &signed.body);
    let mut forged = good.clone();
    let checkpoint = TestLog::checkpoint_body(signed.body.to_string().as_bytes());
    note(&mut forged, format!("{checkpoint}\n{}\n", unknown.sign_checkpoint(&checkpoint, own.id())));
    let stranger = Signed::entry(&unknown, &signed.body);
    signed.verify(std::slice::from_ref(&forged), &[&own], &[]).expect_code(1);
    for entries in [[forged.clone(), stranger.clone()], [stranger.clone(), forged]] {
        signed.verify(&entries, &[&own], &[]).expect_code(1);
    }
    // One entry counts once, however often it is given.
    let said = signed.verify(&[good.clone(), good.clone()], &[&own], &[]).expect_code(1);
    assert!(said.stdout.contains("one log entry twice"), "{said:?}");
    for flags in [&["--json"][..], &["--json", "--require-log"]] {
        let said = signed.verify(&[good.clone(), stranger.clone()], &[&own], flags).expect_code(0);
        let report: Value = serde_json::from_str(&said.stdout).unwrap();
        let found = &report["accepted"][0];
        assert_eq!((&found["log_entries"], &found["unchecked_log_entries"]), (&json!(1), &json!(1)));
    }
    signed.verify(&[stranger], &[&own], &["--require-log"]).expect_code(1);
}
