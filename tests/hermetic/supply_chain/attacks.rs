//! Attacks on verifiers of images: each is refused for its own reason.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use std::fmt::Write as _;
use std::fs;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lifeboat_core::Sha256Digest;
use lifeboat_tests::command::Output;
use lifeboat_tests::http::{Answer, serve};
use lifeboat_trust::bundle::Bundle;
use lifeboat_trust::key::SigningKey;
use lifeboat_trust::key_file::write_public;
use serde_json::{Value, json};

use super::{BUNDLE, Desk};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn says(said: &Output, text: &str) {
    let plain: Vec<&str> = said.stdout.split_whitespace().chain(said.stderr.split_whitespace()).collect();
    assert!(plain.join(" ").contains(text), "`{text}` is not in\n{}{}", said.stdout, said.stderr);
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Sha256Digest::of(bytes).to_oci(), "size": bytes.len()})
}

fn refused(desk: &Desk, reference: &str) -> Output {
    desk.verify(&["image", reference, "--key", "release.pub"]).expect_code(1)
}

/// A layout with a signed image, and the bundle of its signature.
fn signed(desk: &Desk) -> (lifeboat_tests::layout::LayoutBuilder, Sha256Digest, Vec<u8>) {
    let layout = desk.layout();
    let image = layout.image("1.0", "an image");
    desk.sign(&["image", "oci:app:1.0", "--key", "release.key"]).expect_code(0);
    let (_, bundle) = layout.referrers(image).pop().unwrap();
    (layout, image, bundle)
}

#[test]
fn annotations_that_contradict_the_bundle() {
    let desk = Desk::new();
    let layout = desk.layout();
    let image = layout.image("1.0", "an image");
    fs::write(desk.path("sbom.json"), r#"{"spdxVersion":"SPDX-2.3"}"#).unwrap();
    let attest =
        ["attest", "oci:app:1.0", "--type", "spdxjson", "--predicate", "sbom.json", "--key", "release.key"];
    desk.sign(&attest).expect_code(0);
    let (manifest, _) = layout.referrers(image).pop().unwrap();
    let lie = |annotations: Value, subject: Sha256Digest| {
        let mut manifest = layout.read(manifest);
        manifest["annotations"] = annotations;
        manifest["subject"]["digest"] = subject.to_oci().into();
        let mut index = layout.index();
        index["manifests"].as_array_mut().unwrap().truncate(1);
        fs::write(desk.path("app/index.json"), index.to_string()).unwrap();
        layout.manifest(&manifest, None);
    };
    // It claims to be a signature, but is an SBOM: it counts as neither.
    let kind = json!({"dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1"});
    lie(kind, image);
    says(&refused(&desk, "oci:app:1.0"), "it is an attestation `spdxjson`, not an image signature");
    let attestation = ["attestation", "oci:app:1.0", "--type", "spdxjson", "--key", "release.pub"];
    says(&desk.verify(&attestation).expect_code(1), "annotations contradict the bundle");
    // Without them, it counts.
    lie(json!({}), image);
    desk.verify(&attestation).expect_code(0);
}

#[test]
fn a_bundle_that_is_listed_for_an_image_and_refers_to_another() {
    let desk = Desk::new();
    let (_, image, bundle) = signed(&desk);
    let other = Sha256Digest::of(b"another");
    let config = descriptor("application/vnd.oci.empty.v1+json", b"{}");
    let referrer = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [descriptor(BUNDLE, &bundle)],
        "subject": {"mediaType": MANIFEST, "digest": other.to_oci(), "size": 1},
    })
    .to_string();
    let manifest = fs::read(desk.path("app/blobs/sha256").join(image.to_string())).unwrap();
    let address = serve(move |_, path| match path {
        "/v2/app/manifests/1.0" => Answer::new(200, manifest.clone()).header("Content-Type", MANIFEST),
        path if path.contains("/referrers/") => {
            let list = json!({"schemaVersion": 2, "manifests": [descriptor(MANIFEST, referrer.as_bytes())]});
            Answer::new(200, list.to_string()).header("Content-Type", INDEX)
        }
        path if path.contains("/blobs/") => Answer::new(200, bundle.clone()),
        path if path.contains("/manifests/sha256:") => {
            Answer::new(200, referrer.clone()).header("Content-Type", MANIFEST)
        }
        _ => Answer::new(404, ""),
    });
    says(&refused(&desk, &format!("{address}/app:1.0")), "but says that it refers to sha256:");
}

#[test]
fn a_child_of_a_signed_index_that_was_exchanged() {
    let desk = Desk::new();
    let layout = desk.layout();
    let (amd64, arm64) = (layout.image("amd64", "for amd64"), layout.image("arm64", "for arm64"));
    layout.image_index("1.0", &[(amd64, "amd64"), (arm64, "arm64")]);
    desk.sign(&["image", "oci:app:1.0", "--key", "release.key"]).expect_code(0);
    let verify =
        |args: &[&str]| desk.verify(&[&["image", "oci:app:1.0", "--key", "release.pub"], args].concat());
    verify(&[]).expect_code(0);
    let json = verify(&["--json", "--platform", "linux/arm64"]).expect_code(0);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["digest"], arm64.to_oci());
    assert_eq!(json["index"]["platform"], "linux/arm64");
    verify(&["--platform", "linux/riscv64"]).expect_code(2);
    // The signature of the index does not count as the child's own, until the child is signed as well.
    let child = format!("oci:app@{}", arm64.to_oci());
    refused(&desk, &child);
    desk.sign(&["image", "oci:app:1.0", "--recursive", "--key", "release.key"]).expect_code(0);
    desk.verify(&["image", &child, "--key", "release.pub"]).expect_code(0);
    // Another image in its place.
    let evil = fs::read(layout.blob_path(layout.image("evil", "evil"))).unwrap();
    fs::write(layout.blob_path(arm64), evil).unwrap();
    says(&verify(&["--platform", "linux/arm64"]).expect_code(1), "it was damaged or exchanged");
    // Another index in place of the one that was signed.
    let evil = layout.image("evil", "evil");
    layout.image_index("1.0", &[(amd64, "amd64"), (evil, "arm64")]);
    verify(&["--platform", "linux/arm64"]).expect_code(1);
}

#[test]
fn documents_that_say_two_things_at_once() {
    let desk = Desk::new();
    let (layout, _, bundle) = signed(&desk);
    let other = layout.image("2.0", "another image");
    let text = String::from_utf8(bundle).unwrap();
    // A second envelope, for readers that take the first, or the last.
    let twice = text.replacen(r#""dsseEnvelope":"#, r#""dsseEnvelope":null,"dsseEnvelope":"#, 1);
    layout.referrer(other, BUNDLE, twice.as_bytes());
    says(&refused(&desk, "oci:app:2.0"), "the member `dsseEnvelope` stands twice");
}

#[test]
fn a_bundle_under_another_media_type_is_no_signature() {
    let desk = Desk::new();
    let layout = desk.layout();
    let image = layout.image("1.0", "an image");
    desk.sign(&["image", "oci:app:1.0", "--key", "release.key"]).expect_code(0);
    let (_, bundle) = layout.referrers(image).pop().unwrap();
    let mut index = layout.index();
    index["manifests"].as_array_mut().unwrap().truncate(1);
    fs::write(desk.path("app/index.json"), index.to_string()).unwrap();
    layout.referrer(image, "application/octet-stream", &bundle);
    says(&refused(&desk, "oci:app:1.0"), "of the 1 that refer to it none is a bundle");
}

#[test]
fn digests_of_other_algorithms_and_forms() {
    let desk = Desk::new();
    let (_, image, _) = signed(&desk);
    let hex = image.to_string();
    for digest in
        [format!("sha512:{hex}{hex}"), format!("sha256:{}", hex.to_uppercase()), format!("sha1:{hex}")]
    {
        let reference = format!("oci:app@{digest}");
        says(
            &desk.verify(&["image", &reference, "--key", "release.pub"]).expect_code(2),
            "not `sha256:` and 64 lower-case",
        );
    }
}

#[test]
fn a_name_that_only_looks_like_another() {
    let desk = Desk::new();
    let said =
        desk.verify(&["image", "registry.example/\u{430}pp:1.0", "--key", "release.pub"]).expect_code(2);
    says(&said, "letters that look alike are not the same");
}

#[test]
fn one_signer_who_signs_twice_is_one_signer() {
    let desk = Desk::new();
    let (_, _, _) = signed(&desk);
    fs::copy(desk.path("release.pub"), desk.path("copy.pub")).unwrap();
    desk.sign(&["image", "oci:app:1.0", "--key", "release.key", "--annotation", "again=yes"]).expect_code(0);
    desk.sign(&["image", "oci:app:1.0", "--key", "release.key", "--format", "legacy"]).expect_code(0);
    let verify = |keys: &[&str]| {
        let mut args = vec!["image", "oci:app:1.0", "--threshold", "2"];
        for key in keys {
            args.extend(["--key", key]);
        }
        desk.verify(&args)
    };
    says(
        &verify(&["release.pub", "other.pub"]).expect_code(1),
        "1 of the 2 signers that must have said it did",
    );
    // No signature makes one key count as two signers.
    verify(&["release.pub", "copy.pub"]).expect_code(2);
    verify(&["release.pub", "release.pub"]).expect_code(2);
    says(&verify(&["release.pub"]).expect_code(2), "2 signers must have signed, and only 1 are named");
    desk.sign(&["image", "oci:app:1.0", "--key", "other.key", "--format", "legacy"]).expect_code(0);
    verify(&["release.pub", "other.pub"]).expect_code(0);
    verify(&["release.pub", "copy.pub"]).expect_code(2);
    desk.verify(&["image", "oci:app:1.0", "--key", "release.pub", "--threshold", "0"]).expect_code(2);
}

#[test]
fn only_the_form_that_is_asked_for_counts() {
    let desk = Desk::new();
    desk.layout().image("1.0", "an image");
    fs::write(desk.path("vex.json"), r#"{"@context": "https://openvex.dev/ns/v0.2.0", "statements": []}"#)
        .unwrap();
    let said = [
        ("sign", &["image", "oci:app:1.0"][..], &["image", "oci:app:1.0"][..]),
        (
            "attest",
            &["attest", "oci:app:1.0", "--type", "openvex", "--predicate", "vex.json"],
            &["attestation", "oci:app:1.0", "--type", "openvex"],
        ),
    ];
    for (what, sign, verify) in said {
        for (key, form) in [("release", "legacy"), ("other", "bundle")] {
            let (private, public) = (format!("{key}.key"), format!("{key}.pub"));
            desk.sign(&[sign, &["--key", &private, "--format", form]].concat()).expect_code(0);
            for wanted in ["bundle", "legacy", "both"] {
                let is_counted = [form, "both"].contains(&wanted);
                let said = desk.verify(&[verify, &["--key", &public, "--format", wanted]].concat());
                assert_eq!(said.code, Some(i32::from(!is_counted)), "{what} by {key}, {wanted}: {said:?}");
            }
        }
    }
}

#[test]
fn a_signature_that_nobody_saw_is_not_younger_than_a_minimum() {
    let desk = Desk::new();
    signed(&desk);
    let verify =
        |time: &str| desk.verify(&["image", "oci:app:1.0", "--key", "release.pub", "--min-time", time]);
    says(&verify("2020-01-01T00:00:00Z").expect_code(1), "nothing in it shows when it was signed");
    verify("yesterday").expect_code(2);
}

#[test]
fn annotations_that_were_not_signed() {
    let desk = Desk::new();
    desk.layout().image("1.0", "an image");
    for format in ["bundle", "legacy"] {
        let sign = [
            "image",
            "oci:app:1.0",
            "--key",
            "release.key",
            "--annotation",
            "stage=test",
            "--format",
            format,
        ];
        desk.sign(&sign).expect_code(0);
    }
    // The manifest under a legacy tag does not count as an image.
    desk.verify(&["image", "oci:app", "--key", "release.pub"]).expect_code(0);
    let verify = |annotation: &str| {
        desk.verify(&["image", "oci:app:1.0", "--key", "release.pub", "--annotation", annotation])
    };
    verify("stage=test").expect_code(0);
    says(&verify("stage=production").expect_code(1), "stage=production, but stage=test");
    verify("other=x").expect_code(1);
}

/// A registry with one image, and the other answers of `more`.
fn registry(image: &'static str, more: impl Fn(&str) -> Answer + Send + 'static) -> String {
    serve(move |_, path| match path {
        "/v2/app/manifests/1.0" => Answer::new(200, image).header("Content-Type", MANIFEST),
        path => more(path),
    })
}

const IMAGE: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[]}"#;

#[test]
fn ten_thousand_referrers_are_not_all_looked_at() {
    let desk = Desk::new();
    let mut entries = String::new();
    for number in 0..10_000 {
        let digest = Sha256Digest::of(format!("{number}").as_bytes()).to_oci();
        let separator = if number == 0 { "" } else { "," };
        let _ = write!(entries, r#"{separator}{{"mediaType":"{MANIFEST}","digest":"{digest}","size":1}}"#);
    }
    let address = registry(IMAGE, move |path| match path {
        path if path.contains("/referrers/") => {
            let list = format!(r#"{{"schemaVersion":2,"manifests":[{entries}]}}"#);
            Answer::new(200, list).header("Content-Type", INDEX)
        }
        _ => Answer::new(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
    });
    let began = Instant::now();
    let said = desk.verify(&["image", &format!("{address}/app:1.0"), "--key", "release.pub"]).expect_code(3);
    says(&said, "more refers to it than was looked at");
    assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
}

#[test]
fn a_bundle_of_a_gibibyte_is_not_read() {
    let desk = Desk::new();
    // One that declares its size, and one that lies.
    for size in [1_u64 << 30, 100] {
        let layer = json!({"mediaType": BUNDLE, "digest": Sha256Digest::of(b"big").to_oci(), "size": size});
        let referrer = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [layer]}).to_string();
        let address = registry(IMAGE, move |path| match path {
            path if path.contains("/referrers/") => {
                let list =
                    json!({"schemaVersion": 2, "manifests": [descriptor(MANIFEST, referrer.as_bytes())]});
                Answer::new(200, list.to_string()).header("Content-Type", INDEX)
            }
            path if path.contains("/blobs/") => {
                Answer { body: vec![b' '; 1 << 20], times: 1 << 10, ..Answer::new(200, "") }
            }
            path if path.contains("/manifests/sha256:") => {
                Answer::new(200, referrer.clone()).header("Content-Type", MANIFEST)
            }
            _ => Answer::new(404, ""),
        });
        let said =
            desk.verify(&["image", &format!("{address}/app:1.0"), "--key", "release.pub"]).expect_code(1);
        says(&said, "is larger than 1048576 bytes");
    }
}

#[test]
fn a_tag_that_moves_while_it_is_looked_at() {
    let desk = Desk::new();
    // Every request for the tag returns another image.
    let times = Mutex::new(0);
    let address = serve(move |_, path| match path {
        "/v2/app/manifests/1.0" => {
            let mut times = times.lock().unwrap();
            *times += 1;
            let image = IMAGE.replace("[]", &format!(r#"[],"annotations":{{"n":"{times}"}}"#));
            Answer::new(200, image).header("Content-Type", MANIFEST)
        }
        _ => Answer::new(404, ""),
    });
    let said = desk.verify(&["image", &format!("{address}/app:1.0"), "--key", "release.pub", "--json"]);
    let said = said.expect_code(1);
    let first = IMAGE.replace("[]", r#"[],"annotations":{"n":"1"}"#);
    let report: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(report["digest"], Sha256Digest::of(first.as_bytes()).to_oci(), "the tag was resolved once");
}

#[test]
fn a_statement_about_a_file_is_called_what_it_is() {
    let desk = Desk::new();
    let key = SigningKey::generate();
    fs::write(desk.path("ci.pub"), write_public(key.verification_key())).unwrap();
    fs::write(desk.path("file"), "content").unwrap();
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "file", "digest": {"sha256": Sha256Digest::of(b"content").to_string()}}],
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {"result": "FAILED"},
    });
    let bundle = Bundle::sign_statement(statement.to_string().into_bytes(), &key).unwrap();
    fs::write(desk.path("tested.json"), bundle.to_json()).unwrap();
    let verify = |more: &[&str]| {
        desk.verify(&[&["blob", "file", "--bundle", "tested.json", "--key", "ci.pub"], more].concat())
    };
    let said = verify(&[]).expect_code(0);
    let words = said.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!words.contains("the signature of a file"), "{words}");
    assert!(words.contains("`https://in-toto.io/attestation/test-result/v0.1` about a file"), "{words}");
    assert!(words.contains("read what it states, which was not looked at"), "{words}");
    let said = verify(&["--type", "https://in-toto.io/attestation/test-result/v0.1"]).expect_code(0);
    assert!(!said.stdout.contains("not looked at"), "who asks for a type gets it: {said:?}");
    verify(&["--type", "spdxjson"]).expect_code(1);
}

#[test]
fn a_listing_without_signers_reads_no_large_payload() {
    let desk = Desk::new();
    let layout = desk.layout();
    let image = layout.image("1.0", "an image");
    let key = SigningKey::generate();
    // The payload of each is a list, which is not a statement: the reported type shows whether it was parsed.
    for (name, items) in [("small", 10), ("large", 1 << 20)] {
        let payload = format!("[{}0]", "0,".repeat(items));
        let bundle = Bundle::sign_statement(payload.into_bytes(), &key).unwrap().to_json();
        let layer = descriptor(BUNDLE, &bundle);
        layout.blob(&bundle);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": BUNDLE,
            "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
            "layers": [layer],
            "subject": {"mediaType": MANIFEST, "digest": image.to_oci(), "size": 0},
            "annotations": {"dev.sigstore.bundle.predicateType": format!("\u{1b}[2J{name}")},
        });
        layout.manifest(&manifest, None);
    }
    let said = desk.verify(&["tree", "oci:app:1.0", "--json"]).expect_code(0).json();
    let hanging = said["hanging"].as_array().unwrap();
    let mut states: Vec<_> = hanging.iter().map(|hanging| hanging["states"].as_str()).collect();
    states.sort_unstable();
    assert_eq!(states, [None, Some(r"\u{1b}[2Jlarge")]);
}
