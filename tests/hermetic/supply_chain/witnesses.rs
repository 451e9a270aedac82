//! Witnesses' cosignatures under a log's checkpoint: a file that was signed with a key and entered into a log.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use std::fs;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lifeboat_core::Sha256Digest;
use lifeboat_tests::command::Output;
use lifeboat_tests::log::TestLog;
use serde_json::{Value, json};

use super::{Desk, told};

const CONTENT: &str = "content";
const TIME: i64 = 1_700_000_000;

struct Witness {
    pair: Ed25519KeyPair,
    name: &'static str,
}

impl Witness {
    /// Creates a witness and writes its verifier key to a file with its name.
    fn new(desk: &Desk, name: &'static str) -> Self {
        let witness = Self { pair: Ed25519KeyPair::generate().unwrap(), name };
        let key = STANDARD.encode(witness.kind_and_key());
        let id = u32::from_be_bytes(witness.id());
        fs::write(desk.path(name), format!("{name}+{id:08x}+{key}\n")).unwrap();
        witness
    }

    fn kind_and_key(&self) -> Vec<u8> {
        [&[4], self.pair.public_key().as_ref()].concat()
    }

    fn id(&self) -> [u8; 4] {
        let digest = Sha256Digest::of(&[self.name.as_bytes(), b"\n", &self.kind_and_key()].concat());
        digest.as_bytes()[..4].try_into().unwrap()
    }

    /// A line under the checkpoint `body`.
    fn cosign(&self, body: &str) -> String {
        let signature = self.pair.sign(format!("cosignature/v1\ntime {TIME}\n{body}").as_bytes());
        let bytes = [&self.id()[..], &TIME.to_be_bytes(), signature.as_ref()].concat();
        format!("— {} {}", self.name, STANDARD.encode(bytes))
    }
}

/// A file that the release key signed, and its log entry without cosignatures.
struct Logged {
    desk: Desk,
    log: TestLog,
    bundle: Value,
    body: Vec<u8>,
}

impl Logged {
    fn new() -> Self {
        let (desk, log) = (Desk::new(), TestLog::default());
        fs::write(desk.path("root.json"), log.trusted_root().to_string()).unwrap();
        let (bundle, body) = desk.plain_signature("app", CONTENT);
        Self { desk, log, bundle, body: body.to_string().into_bytes() }
    }

    fn checkpoint(&self) -> String {
        TestLog::checkpoint_body(&self.body)
    }

    fn verify(&self, cosignatures: &[String], flags: &[&str]) -> Output {
        let mut bundle = self.bundle.clone();
        let entry = self.log.entry(["hashedrekord", "0.0.1"], &self.body, TIME, cosignatures);
        bundle["verificationMaterial"]["tlogEntries"] = json!([entry]);
        fs::write(self.desk.path("app.json"), bundle.to_string()).unwrap();
        self.verify_as_it_is(flags)
    }

    fn verify_as_it_is(&self, flags: &[&str]) -> Output {
        let args =
            ["blob", "app", "--bundle", "app.json", "--key", "release.pub", "--trusted-root", "root.json"];
        self.desk.verify(&[&args[..], flags].concat())
    }
}

#[test]
fn what_the_named_witnesses_signed_verifies_and_what_they_did_not_is_refused() {
    let logged = Logged::new();
    let [one, two, other] =
        ["one.example", "two.example", "other.example"].map(|name| Witness::new(&logged.desk, name));
    let both = ["--witness", "one.example", "--witness", "two.example"];
    let by = |witness: &Witness| witness.cosign(&logged.checkpoint());

    let said = logged.verify(&[by(&other), by(&one), by(&two)], &both).expect_code(0);
    insta::assert_snapshot!(told(&said.stdout), @r"
    VERIFIED  app
    digest    sha256:…
    claim     the signature of a file by release.pub
    bundle    app.json
      signed by release.pub (key …); seen at 2023-11-14T22:13:20Z;
      its log entry is good; witnessed by one.example and two.example; one
      cosignature of another was not checked
    ");
    let json =
        logged.verify(&[by(&other), by(&one), by(&two)], &[&both[..], &["--json"]].concat()).expect_code(0);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    let found = &json["accepted"][0];
    assert_eq!(found["cosignatures"][0], json!({"witness": "one.example", "time": "2023-11-14T22:13:20Z"}));
    assert_eq!(found["unchecked_cosignatures"], 1);
    assert!(found["steps"].as_array().unwrap().iter().any(|step| step["name"] == "witnesses"));

    let said = logged.verify(&[by(&one), by(&other)], &both).expect_code(1);
    insta::assert_snapshot!(told(&said.stdout), @r"
    REFUSED   app
    digest    sha256:…
    claim     the signature of a file by release.pub
    reason    its one bundle does not show that
    bundle    app.json
      1 of the 2 witnesses that are needed signed its checkpoint
    do        do not use the file; fetch it and its bundle again from where it was published
    ");
    logged
        .verify(&[by(&one), by(&other)], &[&both[..], &["--witness-threshold", "1"]].concat())
        .expect_code(0);
    logged.verify(&[by(&other)], &[&both[..], &["--witness-threshold", "1"]].concat()).expect_code(1);
    logged.verify(&[], &both).expect_code(1);

    // A cosignature over another history, under another witness's good one.
    let forked = one.cosign(&logged.checkpoint().replace("log.example - 1\n1\n", "log.example - 1\n2\n"));
    let lax = [&both[..], &["--witness-threshold", "1"]].concat();
    let said = logged.verify(&[by(&two), forked.clone()], &lax).expect_code(1);
    assert!(said.stdout.contains("the cosignature of one.example under its checkpoint is wrong"), "{said:?}");
    // If no witness is named, it says nothing, and the output says so.
    let said = logged.verify(&[by(&two), forked], &[]).expect_code(0);
    insta::assert_snapshot!(told(&said.stdout), @r"
    VERIFIED  app
    digest    sha256:…
    claim     the signature of a file by release.pub
    bundle    app.json
      signed by release.pub (key …); seen at 2023-11-14T22:13:20Z;
      its log entry is good; 2 cosignatures of its log were not checked, for no
      witness was named
    ");
}

#[test]
fn with_a_witness_every_signature_needs_a_log_entry() {
    let logged = Logged::new();
    let one = Witness::new(&logged.desk, "one.example");
    logged.verify_as_it_is(&[]).expect_code(0);
    let said = logged.verify_as_it_is(&["--witness", "one.example"]).expect_code(1);
    assert!(said.stdout.contains("it carries no log entry"), "{said:?}");
    let mut bundle = logged.bundle.clone();
    let mut entry =
        logged.log.entry(["hashedrekord", "0.0.1"], &logged.body, TIME, &[one.cosign(&logged.checkpoint())]);
    // An unknown log, whatever its witnesses say.
    bundle["verificationMaterial"]["tlogEntries"] = json!([entry]);
    fs::write(logged.desk.path("app.json"), bundle.to_string()).unwrap();
    logged.verify_as_it_is(&["--witness", "one.example"]).expect_code(0);
    let stranger = TestLog::default();
    fs::write(logged.desk.path("root.json"), stranger.trusted_root().to_string()).unwrap();
    logged.verify_as_it_is(&[]).expect_code(0);
    logged.verify_as_it_is(&["--witness", "one.example"]).expect_code(1);
    // A promise alone has no checkpoint.
    fs::write(logged.desk.path("root.json"), logged.log.trusted_root().to_string()).unwrap();
    entry = logged.log.entry(["hashedrekord", "0.0.1"], &logged.body, TIME, &[]);
    entry.as_object_mut().unwrap().remove("inclusionProof");
    bundle["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1".into();
    bundle["verificationMaterial"]["tlogEntries"] = json!([entry]);
    fs::write(logged.desk.path("app.json"), bundle.to_string()).unwrap();
    logged.verify_as_it_is(&["--require-log"]).expect_code(0);
    let said = logged.verify_as_it_is(&["--witness", "one.example"]).expect_code(1);
    assert!(said.stdout.contains("no checkpoint"), "{said:?}");
}

#[test]
fn witnesses_that_cannot_be_used_are_a_usage_error() {
    let logged = Logged::new();
    Witness::new(&logged.desk, "one.example");
    let told_of = |flags: &[&str]| told(&logged.verify(&[], flags).expect_code(2).stderr);
    insta::assert_snapshot!(told_of(&["--witness", "release.pub"]), @r"
    error: the witness's key release.pub cannot be used
      because: this is not the key of a witness (it is more than one line)
      help: give the verifier key that the witness publishes: one line, `name+hash+key`, of the Ed25519 kind
    ");
    insta::assert_snapshot!(told_of(&["--witness", "absent"]), @r"
    error: the witness's key absent cannot be read
      because: No such file or directory (os error 2)
      help: check its name and permissions
    ");
    insta::assert_snapshot!(told_of(&["--witness", "one.example", "--witness-threshold", "2"]), @r"
    error: 2 witnesses must have signed, and the keys of 1 are given
      help: name as many witnesses as must have signed, or leave the threshold out
    ");
    insta::assert_snapshot!(told_of(&["--witness", "one.example", "--witness-threshold", "0"]), @r"
    error: a threshold of 0 witnesses would accept what none of them saw
      help: name as many witnesses as must have signed, or leave the threshold out
    ");
    let clash = told_of(&["--witness", "one.example", "--insecure-ignore-tlog"]);
    assert!(clash.contains("cannot be used with"), "{clash}");
    told_of(&["--witness-threshold", "1"]);
}
