//! Identities: certificates from the test's own authority, counted against keys and against each other.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use std::fs;

use lifeboat_tests::authority::{Certified, TestAuthority, VOUCHER};
use lifeboat_tests::command::Output;
use lifeboat_tests::log::TestLog;
use lifeboat_trust::bundle::Bundle;
use lifeboat_trust::key::SigningKey;
use lifeboat_trust::key_file::write_public;
use serde_json::{Value, json};

use super::Desk;

const CONTENT: &[u8] = b"content";
const TIME: i64 = 1_700_000_000;
const WORKFLOW: &str = "https://github.com/acme/app/.github/workflows/release.yml";
const ANY_REF: &str = "https://github.com/acme/app/.github/workflows/release.yml@.*";

struct World {
    desk: Desk,
    log: TestLog,
    authority: TestAuthority,
}

impl World {
    fn new() -> Self {
        let world = Self { desk: Desk::new(), log: TestLog::default(), authority: TestAuthority::default() };
        fs::write(world.desk.path("file"), CONTENT).unwrap();
        world.trust(&world.authority.trusted_root(&[&world.authority.root], &world.log));
        world
    }

    fn trust(&self, root: &Value) {
        fs::write(self.desk.path("root.json"), root.to_string()).unwrap();
    }

    fn store(&self, name: &str, bundle: &Value) {
        fs::write(self.desk.path(name), bundle.to_string()).unwrap();
    }

    fn sign(&self, name: &str, who: &Certified) {
        self.store(name, &who.sign(CONTENT, &self.log, TIME));
    }

    fn workflow(&self, git_ref: &str) -> Certified {
        self.authority.certify(&format!("{WORKFLOW}@{git_ref}"))
    }

    fn verify(&self, bundles: &[&str], flags: &[&str]) -> Output {
        let mut args = vec!["blob", "file", "--trusted-root", "root.json", "--insecure-ignore-sct"];
        for bundle in bundles {
            args.extend(["--bundle", bundle]);
        }
        self.desk.verify(&[&args[..], flags].concat())
    }

    fn by_pattern(&self, bundles: &[&str], flags: &[&str]) -> Output {
        let by = ["--certificate-identity-regexp", ANY_REF, "--certificate-oidc-issuer", VOUCHER];
        self.verify(bundles, &[&by[..], flags].concat())
    }
}

#[test]
fn one_workflow_on_two_branches_does_not_stand_in_for_an_auditor() {
    let world = World::new();
    world.sign("main", &world.workflow("refs/heads/main"));
    world.sign("x", &world.workflow("refs/heads/x"));
    world.by_pattern(&["main"], &[]).expect_code(0);
    let two = ["--key", "release.pub", "--threshold", "2"];
    let said = world.by_pattern(&["main", "x"], &two).expect_code(1);
    assert!(said.stdout.contains("1 of the 2 signers that must have said it did"), "{said:?}");
    world.desk.sign(&["blob", "file", "--bundle", "audit", "--key", "release.key"]).expect_code(0);
    let said = world.by_pattern(&["main", "x", "audit"], &two).expect_code(0);
    let words = said.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("counts for release.pub"), "{said:?}");
    assert!(words.contains("counts for no further signer"), "{said:?}");
    let json = world.by_pattern(&["main", "x", "audit"], &[&two[..], &["--json"]].concat()).expect_code(0);
    let report: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(report["distinct_signers"], 2);
    let slots: Vec<_> =
        report["slots"].as_array().unwrap().iter().map(|slot| slot["filled_by"].clone()).collect();
    assert_eq!(slots, [json!("audit"), json!("main")]);
    // A pattern is one signer, so a threshold of two cannot be met.
    world.by_pattern(&["main", "x"], &["--threshold", "2"]).expect_code(2);
}

#[test]
fn one_private_key_is_one_signer_in_whatever_form_it_signs() {
    let world = World::new();
    let key = SigningKey::generate();
    fs::write(world.desk.path("kk.pub"), write_public(key.verification_key())).unwrap();
    let certified = world.authority.certify_key(&format!("{WORKFLOW}@refs/heads/main"), &key);
    let signed = Bundle::sign_file(lifeboat_core::Sha256Digest::of(CONTENT), &key).unwrap();
    fs::write(world.desk.path("by-key"), signed.to_json()).unwrap();
    world.sign("by-certificate", &certified);
    let flags = ["--key", "kk.pub", "--threshold", "2"];
    world.by_pattern(&["by-key", "by-certificate"], &flags).expect_code(1);
    world.by_pattern(&["by-certificate", "by-key"], &flags).expect_code(1);
    // The very same signature, once with a certificate and once without.
    let signature = key.sign(CONTENT);
    world.store("same", &certified.bundle(CONTENT, &signature, &world.log, TIME));
    let mut bare = certified.bundle(CONTENT, &signature, &world.log, TIME);
    bare["verificationMaterial"] = json!({"publicKey": {}});
    world.store("bare", &bare);
    world.by_pattern(&["same", "bare"], &flags).expect_code(1);
    // Another key with the same identity is a second signer.
    world.sign("another", &world.workflow("refs/heads/main"));
    world.by_pattern(&["by-key", "another"], &flags).expect_code(0);
}

#[test]
fn a_leaf_in_a_chain_is_no_authority_and_a_whole_chain_takes_no_other_in() {
    let world = World::new();
    let mallory = world.authority.certify("https://mallory.example");
    let forged = mallory.certify(&format!("{WORKFLOW}@refs/tags/v1"));
    world.sign("forged", &forged);
    let chains: [&[&[u8]]; 2] = [&[&mallory.certificate, &world.authority.root], &[&mallory.certificate]];
    for chain in chains {
        world.trust(&world.authority.trusted_root(chain, &world.log));
        let said = world.by_pattern(&["forged"], &[]).expect_code(1);
        assert!(said.stdout.contains("the certificate cannot be used"), "{said:?}");
        let said = world.desk.verify(&["trusted-root", "check", "root.json"]).expect_code(1);
        assert!(said.stdout.contains("is not a certificate authority"), "{said:?}");
    }
}

#[test]
fn the_end_of_an_authority_counts_however_it_is_spelled_and_an_unknown_member_is_refused() {
    let world = World::new();
    world.sign("main", &world.workflow("refs/heads/main"));
    let root = world.authority.trusted_root(&[&world.authority.root], &world.log).to_string();
    let ended = root.replace(
        r#""validFor":{"start":"2020-01-01T00:00:00Z"}}],"#,
        r#""validFor":{"start":"2020-01-01T00:00:00Z","end":"2021-01-01T00:00:00Z"}}],"#,
    );
    assert_ne!(root, ended);
    let verify = |text: &str| {
        fs::write(world.desk.path("root.json"), text).unwrap();
        world.by_pattern(&["main"], &[])
    };
    verify(&root).expect_code(0);
    verify(&root.replace("validFor", "valid_for").replace("certChain", "cert_chain")).expect_code(0);
    verify(&ended).expect_code(1);
    verify(&ended.replace("validFor", "valid_for")).expect_code(1);
    for (from, to) in [
        ("validFor", "validfor"),
        ("\"end\"", "\"End\""),
        ("trustedroot+json;version=0.1", "trustedroot.v99+json"),
        ("\"uri\"", "\"more\":1,\"uri\""),
    ] {
        let said = verify(&ended.replace(from, to)).expect_code(2);
        assert!(said.stderr.contains("is not a Sigstore trusted root"), "{said:?}");
        world.desk.verify(&["trusted-root", "check", "root.json"]).expect_code(1);
    }
    fs::write(world.desk.path("root.json"), &root).unwrap();
    world.desk.verify(&["trusted-root", "check", "root.json"]).expect_code(0);
    world.desk.verify(&["trusted-root", "check", "absent"]).expect_code(2);
}

#[test]
fn a_stamp_of_today_makes_no_old_signature_young() {
    let world = World::new();
    world.sign("main", &world.workflow("refs/heads/main"));
    // The log saw it on the 14th, and the certificate is valid from the 1st for a month: the time of signing is
    // unknown.
    world.by_pattern(&["main"], &["--min-time", "2023-11-01T00:00:00Z"]).expect_code(0);
    let said = world.by_pattern(&["main"], &["--min-time", "2023-11-02T00:00:00Z"]).expect_code(1);
    assert!(said.stdout.contains("nothing in it shows when it was signed"), "{said:?}");
}

#[test]
fn a_promise_is_called_one_and_members_are_read_in_both_spellings() {
    let world = World::new();
    let bundle = world.workflow("refs/heads/main").sign(CONTENT, &world.log, TIME);
    let snake = [
        ("mediaType", "media_type"),
        ("verificationMaterial", "verification_material"),
        ("tlogEntries", "tlog_entries"),
        ("inclusionProof", "inclusion_proof"),
        ("messageSignature", "message_signature"),
    ];
    let spelled = snake.iter().fold(bundle.to_string(), |text, (camel, snake)| text.replace(camel, snake));
    fs::write(world.desk.path("spelled"), spelled).unwrap();
    let json = world.by_pattern(&["spelled"], &["--json"]).expect_code(0);
    let report: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        (&report["accepted"][0]["log_entries"], &report["accepted"][0]["log_promises"]),
        (&json!(1), &json!(0))
    );
    // Version 0.1 has only the promise.
    let mut old = bundle.clone();
    old["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1".into();
    let material = &mut old["verificationMaterial"];
    let certificate = material.as_object_mut().unwrap().remove("certificate").unwrap();
    material["x509CertificateChain"] = json!({"certificates": [certificate]});
    material["tlogEntries"][0].as_object_mut().unwrap().remove("inclusionProof");
    world.store("old", &old);
    let json = world.by_pattern(&["old"], &["--json"]).expect_code(0);
    let report: Value = serde_json::from_str(&json.stdout).unwrap();
    let found = &report["accepted"][0];
    assert_eq!((&found["log_entries"], &found["log_promises"]), (&json!(0), &json!(1)));
    let steps: Vec<&str> =
        found["steps"].as_array().unwrap().iter().filter_map(|step| step["name"].as_str()).collect();
    assert!(steps.contains(&"log promise") && !steps.contains(&"log inclusion"), "{steps:?}");
    let said = world.by_pattern(&["old"], &[]).expect_code(0);
    let words: Vec<&str> = said.stdout.split_whitespace().collect();
    assert!(words.join(" ").contains("a log promised to take its entry"), "{said:?}");
    // Superfluous certificates have no effect: the root, and one that issued nothing here.
    let chain = &mut old["verificationMaterial"]["x509CertificateChain"]["certificates"];
    let other = TestAuthority::default();
    for der in [&world.workflow("refs/heads/x").certificate, &other.root] {
        use base64::Engine as _;
        let der = base64::engine::general_purpose::STANDARD.encode(der);
        chain.as_array_mut().unwrap().push(json!({"rawBytes": der}));
    }
    world.store("old", &old);
    world.by_pattern(&["old"], &[]).expect_code(0);
}
