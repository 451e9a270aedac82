//! Verdicts as files: written with everything that they were derived from, and derived again.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use lifeboat_core::Sha256Digest;
use lifeboat_tests::authority::{TestAuthority, VOUCHER};
use lifeboat_tests::command::Output;
use lifeboat_tests::log::TestLog;
use serde_json::{Value, json};

use super::{Desk, told};

/// When the logs of these tests received their entries.
const TIME: i64 = 1_700_000_000;

impl Desk {
    /// Verifies with `--report verdict.json`, and expects the same verdict from `replay`.
    fn replayed(&self, args: &[&str], code: i32) -> Value {
        let said = self.verify(&[args, &["--report", "verdict.json"]].concat()).expect_code(code);
        let without = self.verify(args).expect_code(code);
        assert_eq!(said.stdout, without.stdout, "a file beside it changes nothing of the answer");
        self.replay().expect_code(0);
        self.verdict()
    }

    fn replay(&self) -> Output {
        self.verify(&["replay", "verdict.json"])
    }

    fn verdict(&self) -> Value {
        let file: Value = serde_json::from_slice(&fs::read(self.path("verdict.json")).unwrap()).unwrap();
        assert_eq!(file["schema"], "lifeboat.verdict/v1");
        file["verdict"].clone()
    }

    /// The verdict as it is written.
    fn verdict_text(&self) -> String {
        verdict_in(&self.path("verdict.json"))
    }

    /// Writes another verdict, with a matching digest, and derives it again.
    fn forge(&self, verdict: &str) -> Output {
        write_verdict(&self.path("verdict.json"), verdict);
        self.replay()
    }
}

/// The verdict in a file, verbatim.
pub(super) fn verdict_in(path: &Path) -> String {
    let file = fs::read_to_string(path).unwrap();
    let (_, verdict) = file.split_once(r#","verdict":"#).unwrap();
    verdict.strip_suffix("}\n").unwrap().to_owned()
}

/// Writes a verdict to a file, with a matching digest.
pub(super) fn write_verdict(path: &Path, verdict: &str) {
    let digest = Sha256Digest::of(verdict.as_bytes()).to_oci();
    let file =
        format!("{{\"schema\":\"lifeboat.verdict/v1\",\"digest\":\"{digest}\",\"verdict\":{verdict}}}\n");
    fs::write(path, file).unwrap();
}

/// The text between two others.
fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let (_, rest) = text.split_once(before).unwrap();
    rest.split_once(after).unwrap().0
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_verdict_is_derived_again_without_what_it_was_about() {
    let desk = Desk::new();
    desk.layout().image("1.0", "an image");
    desk.sign(&["image", "oci:app:1.0", "--key", "release.key"]).expect_code(0);
    let verdict = desk.replayed(&["image", "oci:app:1.0", "--key", "other.pub", "--key", "release.pub"], 0);
    assert_eq!(verdict["derivation"]["verdict"], "verified");
    assert_eq!(mode(&desk.path("verdict.json")), 0o600);
    assert!(!desk.path("verdict.json.d").exists());
    // Neither image nor keys are needed.
    fs::remove_dir_all(desk.path("app")).unwrap();
    fs::remove_file(desk.path("release.pub")).unwrap();
    let said = desk.replay().expect_code(0);
    let text = said.stdout.replace(verdict["now"].as_str().unwrap(), "…");
    insta::assert_snapshot!(told(&text), @r"
    SAME      verdict.json
    verdict   verified
    subject   oci:app:1.0
    digest    sha256:…
    time      …
    version   0.1.0
    policy    sha256:…
    root      sha256:…
    ");
    let json = desk.verify(&["replay", "verdict.json", "--json"]).expect_code(0);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&json["schema"], &json["replayed"]), (&json!("lifeboat.replay/v1"), &json!("same")));
}

#[test]
fn a_negative_verdict_is_written_and_derived_as_well() {
    let desk = Desk::new();
    desk.layout().image("1.0", "an image");
    let verdict = desk.replayed(&["image", "oci:app:1.0", "--key", "release.pub"], 1);
    assert_eq!(verdict["derivation"]["verdict"], "refused");
    desk.sign(&["image", "oci:app:1.0", "--key", "other.key"]).expect_code(0);
    let verdict = desk.replayed(&["image", "oci:app:1.0", "--key", "release.pub"], 1);
    assert_eq!(verdict["derivation"]["refused"].as_array().map(Vec::len), Some(1));
    let said = desk.replay().expect_code(0);
    assert!(said.stdout.contains("verdict   refused"), "{said:?}");
}

#[test]
fn attestations_files_legacy_forms_identities_and_logs_are_replayed() {
    let desk = Desk::new();
    desk.layout().image("1.0", "an image");
    fs::write(desk.path("sbom.json"), r#"{"spdxVersion":"SPDX-2.3"}"#).unwrap();
    let attest =
        ["attest", "oci:app:1.0", "--type", "spdxjson", "--predicate", "sbom.json", "--key", "release.key"];
    for form in ["bundle", "legacy"] {
        desk.sign(&[&attest[..], &["--format", form]].concat()).expect_code(0);
    }
    let verdict = desk.replayed(
        &["attestation", "oci:app:1.0", "--type", "spdxjson", "--key", "release.pub", "--annotation", "a=b"],
        1,
    );
    assert_eq!(verdict["derivation"]["refused"].as_array().map(Vec::len), Some(2));
    let verdict =
        desk.replayed(&["attestation", "oci:app:1.0", "--type", "spdxjson", "--key", "release.pub"], 0);
    assert_eq!(verdict["derivation"]["accepted"].as_array().map(Vec::len), Some(2));

    // Everything attached to it, each by itself.
    let verdict = desk.replayed(&["tree", "oci:app:1.0", "--key", "release.pub"], 0);
    assert_eq!(verdict["derivation"]["accepted"].as_array().map(Vec::len), Some(2));
    desk.replayed(&["tree", "oci:app:1.0", "--key", "other.pub"], 1);
    desk.verify(&["tree", "oci:app:1.0", "--report", "verdict.json"]).expect_code(2);

    // An identity with a certificate that expired long ago, and a log.
    let (log, authority) = (TestLog::default(), TestAuthority::default());
    let content = b"content";
    fs::write(desk.path("file"), content).unwrap();
    let root = authority.trusted_root(&[&authority.root], &log).to_string();
    fs::write(desk.path("root.json"), &root).unwrap();
    let who = authority.certify("https://ci.example/release");
    fs::write(desk.path("bundle"), who.sign(content, &log, TIME).to_string()).unwrap();
    let blob = ["blob", "file", "--bundle", "bundle", "--trusted-root", "root.json", "--insecure-ignore-sct"];
    let by = ["--certificate-identity-regexp", "https://ci.example/.*", "--certificate-oidc-issuer", VOUCHER];
    let verdict = desk.replayed(&[&blob[..], &by].concat(), 0);
    assert_eq!(verdict["trusted_root"]["digest"], json!(Sha256Digest::of(root.as_bytes()).to_string()));
    desk.replayed(&[&blob[..], &by, &["--min-time", "2023-11-15T00:00:00Z"]].concat(), 1);
    desk.replayed(&[&blob[..], &["--key", "release.pub"]].concat(), 1);
}

#[test]
fn the_signature_of_an_image_is_no_attestation_in_a_verdict_either() {
    let desk = Desk::new();
    desk.layout().image("1.0", "an image");
    for format in ["legacy", "bundle"] {
        desk.sign(&["image", "oci:app:1.0", "--key", "release.key", "--format", format]).expect_code(0);
        let verify = ["image", "oci:app:1.0", "--key", "release.pub", "--format", format];
        desk.replayed(&verify, 0);
        let text = desk.verdict_text();
        let plain = json!("https://sigstore.dev/cosign/sign/v1").to_string();
        let asked = text.replace(
            &format!("\"predicate_type\":{plain}"),
            r#""predicate_type":"https://spdx.dev/Document""#,
        );
        assert_ne!(asked, text);
        let said = desk.forge(&asked).expect_code(1);
        assert!(
            said.stdout.contains("/verdict is recorded as \"verified\", and is \"refused\""),
            "{format}: {said:?}"
        );
    }
}

#[test]
fn a_verdict_is_about_what_its_evidence_is_about() {
    let desk = Desk::new();
    desk.layout().image("1.0", "an image");
    desk.sign(&["image", "oci:app:1.0", "--key", "release.key"]).expect_code(0);
    let verdict = desk.replayed(&["image", "oci:app:1.0", "--key", "release.pub"], 0);
    let digest = verdict["subject"]["digest"].as_str().unwrap().to_owned();
    let text = desk.verdict_text();
    let subject = between(&text, r#""subject":{"#, "}").to_owned();
    let said = desk.forge(&text.replace(&subject, &subject.replace(&digest, &"e".repeat(64)))).expect_code(1);
    assert!(said.stdout.contains("is recorded for"), "{said:?}");
}

#[test]
fn the_index_of_an_image_is_part_of_its_verdict() {
    let desk = Desk::new();
    let layout = desk.layout();
    let (amd64, arm64) = (layout.image("amd64", "for amd64"), layout.image("arm64", "for arm64"));
    let other = layout.image("other", "another");
    layout.image_index("1.0", &[(amd64, "amd64"), (arm64, "arm64")]);
    desk.sign(&["image", "oci:app:1.0", "--key", "release.key"]).expect_code(0);
    let image = ["image", "oci:app:1.0", "--platform", "linux/arm64", "--key", "release.pub"];
    let verdict = desk.replayed(&image, 0);
    assert_eq!(verdict["subject"]["digest"], arm64.to_string());
    let index = verdict["subject"]["index"].as_str().unwrap().to_owned();
    assert!(verdict["contents"][&index].is_string(), "{verdict}");
    // The index names no such image.
    let text = desk.verdict_text();
    let subject = between(&text, r#""subject":{"#, "}").to_owned();
    let moved = subject.replace(&arm64.to_string(), &other.to_string());
    let said = desk.forge(&text.replace(&subject, &moved)).expect_code(1);
    assert!(said.stdout.contains("is recorded for"), "{said:?}");
    // Another image in the index is covered by the signature of the index as well.
    desk.forge(&text.replace(&subject, &subject.replace(&arm64.to_string(), &amd64.to_string())))
        .expect_code(0);

    // What is attached to an index counts for its images as well, and for no others.
    desk.sign(&["image", &format!("oci:app@{}", arm64.to_oci()), "--key", "release.key"]).expect_code(0);
    let verdict = desk.replayed(&["tree", "oci:app:1.0", "--key", "release.pub"], 0);
    assert_eq!(verdict["derivation"]["accepted"].as_array().map(Vec::len), Some(2));
    let text = desk.verdict_text();
    let subject = between(&text, r#""subject":{"#, "}").to_owned();
    let name = subject.split_once(r#""digest":""#).unwrap().1[..64].to_owned();
    let moved = subject.replacen(&name, &other.to_string(), 1);
    let said = desk.forge(&text.replace(&subject, &moved)).expect_code(1);
    assert!(said.stdout.contains("is recorded for"), "{said:?}");
    let without = subject.replace(&format!(r#","index":"{index}""#), "");
    assert_ne!(without, subject);
    desk.forge(&text.replace(&subject, &without)).expect_code(1);
}

#[test]
fn what_a_verdict_says_of_itself_draws_no_lines_of_its_own() {
    let desk = Desk::new();
    desk.layout().image("1.0", "an image");
    desk.replayed(&["image", "oci:app:1.0", "--key", "release.pub"], 1);
    let text = desk.verdict_text();
    for (from, to) in [
        ("oci:app:1.0", r"oci:app:1.0\nverdict   verified"),
        (r#""version":"0.1.0"#, r#""version":"0\nSAME  x"#),
    ] {
        let said = desk.forge(&text.replace(from, to));
        assert_eq!(said.stdout.lines().filter(|line| line.starts_with("verdict")).count(), 1, "{said:?}");
        assert_eq!(said.stdout.lines().filter(|line| line.starts_with("SAME")).count(), 1, "{said:?}");
    }
}

#[test]
fn a_verdict_is_written_to_whatever_bears_its_name() {
    let desk = Desk::new();
    desk.layout().image("1.0", "an image");
    let image = ["image", "oci:app:1.0", "--key", "release.pub", "--report"];
    symlink(desk.path("elsewhere"), desk.path("link")).unwrap();
    fs::write(desk.path("elsewhere"), "").unwrap();
    desk.verify(&[&image[..], &["link"]].concat()).expect_code(1);
    assert!(fs::symlink_metadata(desk.path("link")).unwrap().is_symlink());
    desk.verify(&["replay", "elsewhere"]).expect_code(0);
    let said = desk.verify(&[&image[..], &["/dev/stdout", "--quiet"]].concat()).expect_code(1);
    assert!(said.stdout.contains("lifeboat.verdict/v1"), "{said:?}");
    // Nothing is put next to something that is not a file.
    let document = format!(r#"{{"spdxVersion":"SPDX-2.3","x":"{}"}}"#, "x".repeat(2 << 20));
    fs::write(desk.path("sbom.json"), document).unwrap();
    let attest = ["attest", "oci:app:1.0", "--type", "spdxjson", "--predicate", "sbom.json"];
    desk.sign(&[&attest[..], &["--key", "release.key"]].concat()).expect_code(0);
    let verify = ["attestation", "oci:app:1.0", "--type", "spdxjson", "--key", "release.pub"];
    let said = desk.verify(&[&verify[..], &["--report", "/dev/null"]].concat()).expect_code(1);
    assert!(said.stderr.contains("/dev/null is not a file"), "{said:?}");
    assert!(!Path::new("/dev/null.d").exists());
}

#[test]
fn what_is_more_than_a_mebibyte_lies_beside_the_file() {
    let desk = Desk::new();
    desk.layout().image("1.0", "an image");
    let document = format!(r#"{{"spdxVersion":"SPDX-2.3","x":"{}"}}"#, "x".repeat(2 << 20));
    fs::write(desk.path("sbom.json"), document).unwrap();
    desk.sign(&[
        "attest",
        "oci:app:1.0",
        "--type",
        "spdxjson",
        "--predicate",
        "sbom.json",
        "--key",
        "release.key",
    ])
    .expect_code(0);
    let args = ["attestation", "oci:app:1.0", "--type", "spdxjson", "--key", "release.pub"];
    desk.replayed(&args, 0);
    let folder = desk.path("verdict.json.d");
    assert_eq!((mode(&folder), mode(&desk.path("verdict.json"))), (0o700, 0o600));
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    assert_eq!(mode(file), 0o600);
    assert!(fs::metadata(desk.path("verdict.json")).unwrap().len() < 2 << 20);

    // A changed byte is noticed, and so is a missing file.
    let good = fs::read(file).unwrap();
    let mut changed = good.clone();
    changed[1000] ^= 1;
    fs::write(file, changed).unwrap();
    let said = desk.replay().expect_code(1);
    assert!(said.stdout.contains("are not what they were"), "{said:?}");
    // No bundle is this large, and none is read this far.
    fs::File::create(file).unwrap().set_len(1 << 40).unwrap();
    let said = desk.replay().expect_code(1);
    assert!(said.stdout.contains("are not what they were"), "{said:?}");
    fs::remove_file(file).unwrap();
    let said = desk.replay().expect_code(3);
    assert!(said.stdout.contains("missing") && said.stdout.contains("verdict.json.d back"), "{said:?}");
    // A link in its place is not followed.
    fs::write(desk.path("elsewhere"), &good).unwrap();
    symlink(desk.path("elsewhere"), file).unwrap();
    assert_ne!(desk.replay().code, Some(0));
    fs::remove_dir_all(&folder).unwrap();
    desk.replay().expect_code(3);

    // A link in place of the folder is not followed, and the verdict is not written.
    fs::create_dir(desk.path("else")).unwrap();
    symlink(desk.path("else"), &folder).unwrap();
    desk.replay().expect_code(3);
    let before = fs::read(desk.path("verdict.json")).unwrap();
    let said = desk.verify(&[&args[..], &["--report", "verdict.json"]].concat()).expect_code(1);
    assert!(said.stderr.contains("verdict.json.d is not a folder"), "{said:?}");
    assert_eq!(fs::read_dir(desk.path("else")).unwrap().count(), 0);
    assert_eq!(fs::read(desk.path("verdict.json")).unwrap(), before);
}

#[test]
fn any_change_of_the_file_is_noticed() {
    let desk = Desk::new();
    desk.layout().image("1.0", "an image");
    desk.sign(&["image", "oci:app:1.0", "--key", "release.key"]).expect_code(0);
    desk.replayed(&["image", "oci:app:1.0", "--key", "release.pub"], 0);
    let good = fs::read(desk.path("verdict.json")).unwrap();
    // Flipped bits: a different verdict, or not a verdict at all.
    let step = (good.len() / 40).max(1);
    for place in (0..good.len()).step_by(step) {
        let mut changed = good.clone();
        changed[place] ^= 1 << (place % 8);
        fs::write(desk.path("verdict.json"), changed).unwrap();
        let said = desk.replay();
        assert!(matches!(said.code, Some(1 | 2)), "byte {place}: {said:?}");
    }
    for (bad, code) in [
        ([&good[..], b" "].concat(), 1),
        ([b" ", &good[..]].concat(), 1),
        (good[..good.len() / 2].to_vec(), 2),
        (b"{}".to_vec(), 2),
        (b"[]".to_vec(), 2),
        (Vec::new(), 2),
    ] {
        fs::write(desk.path("verdict.json"), bad).unwrap();
        desk.replay().expect_code(code);
    }
    desk.verify(&["replay", "absent.json"]).expect_code(2);
}

#[test]
fn another_verdict_than_the_evidence_leads_to_is_noticed_however_well_it_is_made() {
    let desk = Desk::new();
    desk.layout().image("1.0", "an image");
    desk.sign(&["image", "oci:app:1.0", "--key", "other.key"]).expect_code(0);
    desk.replayed(&["image", "oci:app:1.0", "--key", "release.pub"], 1);
    let refused = desk.verdict_text();
    desk.replayed(&["image", "oci:app:1.0", "--key", "other.pub"], 0);
    let accepted = desk.verdict_text();
    let part = |text: &str, name: &str, next: &str| {
        between(text, &format!("\"{name}\":"), &format!(",\"{next}\":")).to_owned()
    };
    let replace = |text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{from} in {text}");
        text.replace(from, to)
    };
    desk.forge(&accepted).expect_code(0);
    // The derivation of one with the policy of the other.
    let derivation = |text: &str| part(text, "derivation", "contents");
    let said = desk.forge(&replace(&refused, &derivation(&refused), &derivation(&accepted))).expect_code(1);
    assert!(said.stdout.contains("/verdict is recorded as \"verified\", and is \"refused\""), "{said:?}");
    // A policy other than the one whose digest is recorded.
    let policy = |text: &str| part(text, "policy_digest", "trusted_root");
    let said = desk.forge(&replace(&accepted, &policy(&accepted), &policy(&refused))).expect_code(1);
    assert!(said.stdout.contains("the policy has the digest"), "{said:?}");
    // Missing evidence, without its bytes and with them.
    let content = between(&accepted, r#""content":""#, "\"").to_owned();
    let held = between(&accepted, &format!("\"{content}\":\""), "\"").to_owned();
    let without = replace(&accepted, &part(&accepted, "evidence", "unjudged"), "[]");
    let said = desk.forge(&without).expect_code(1);
    assert!(said.stdout.contains("the file is not as it was written"), "{said:?}");
    let entry = format!("\"{content}\":\"{held}\"");
    let without = without.replace(&format!("{entry},"), "").replace(&format!(",{entry}"), "");
    let said = desk.forge(&without).expect_code(1);
    assert!(said.stdout.contains("/accepted is recorded as"), "{said:?}");
    // Another subject, which the evidence is not about.
    let digest = between(&accepted, r#"oci:app:1.0","digest":""#, "\"").to_owned();
    let said =
        desk.forge(&replace(&accepted, &digest, &Sha256Digest::of(b"another").to_string())).expect_code(1);
    assert!(said.stdout.contains("/verdict is recorded as"), "{said:?}");
    // Bytes under the digest of others.
    let said = desk.forge(&replace(&accepted, &held, "AAAA")).expect_code(1);
    assert!(said.stdout.contains("are not what they were"), "{said:?}");
    // Files that are not verdicts, and unknown members.
    for (from, to) in [
        (r#""threshold":1"#, r#""threshold":"1""#),
        (r#""unjudged":"#, r#""more":1,"unjudged":"#),
        (r#""version":"0.1.0","#, ""),
    ] {
        desk.forge(&replace(&accepted, from, to)).expect_code(2);
    }
}

#[test]
fn a_file_that_a_key_signed_whole_is_evidence_too() {
    let desk = Desk::new();
    let pair = aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap();
    let public = {
        use aws_lc_rs::encoding::AsDer as _;
        use aws_lc_rs::signature::KeyPair as _;
        pair.public_key().as_der().unwrap().as_ref().to_vec()
    };
    fs::write(desk.path("ed.pub"), pem::encode(&pem::Pem::new("PUBLIC KEY", public))).unwrap();
    fs::write(desk.path("file"), "content").unwrap();
    let signature = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(pair.sign(b"content"))
    };
    let bundle = json!({
        "mediaType": super::BUNDLE,
        "verificationMaterial": {"publicKey": {}},
        "messageSignature": {"signature": signature},
    });
    fs::write(desk.path("bundle"), bundle.to_string()).unwrap();
    desk.replayed(&["blob", "file", "--bundle", "bundle", "--key", "ed.pub"], 0);
    fs::write(desk.path("file"), "another").unwrap();
    desk.replay().expect_code(0);
}
