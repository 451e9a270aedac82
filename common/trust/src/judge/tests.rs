use jiff::Timestamp;

use super::*;
use crate::bundle::{Bundle, Content, Material};
use crate::enclosed::Enclosed;
use crate::key::SigningKey;
use crate::policy::Signer;
use crate::statement::{Predicate, Statement};
use crate::step;

const IMAGE: &[u8] = b"an image";

fn policy(key: &SigningKey) -> Policy {
    let signer = Signer::Key { name: "release.pub".to_owned(), key: key.verification_key().clone() };
    Policy { signers: vec![signer], ..Policy::default() }
}

fn claim(predicate_type: PredicateType) -> Claim {
    Claim { subject: Sha256Digest::of(IMAGE), predicate_type }
}

fn file(content: &[u8]) -> File<'static> {
    File { digest: Sha256Digest::of(content), content: None, predicate_type: None }
}

fn signed(key: &SigningKey, subject: &[u8]) -> Vec<u8> {
    Bundle::sign_statement(Statement::image_signature(Sha256Digest::of(subject), &BTreeMap::new()), key)
        .unwrap()
        .to_json()
}

fn attested(key: &SigningKey, kind: &PredicateType) -> Vec<u8> {
    let document = br#"{"spdxVersion":"SPDX-2.3"}"#.to_vec();
    let predicate = Predicate::from_file(kind, document, Timestamp::UNIX_EPOCH).unwrap();
    let payload = Statement::attestation(Sha256Digest::of(IMAGE), "app", kind, &predicate, &BTreeMap::new());
    Bundle::sign_statement(payload, key).unwrap().to_json()
}

#[test]
fn a_signature_by_any_signer_of_the_policy_is_accepted() {
    let key = SigningKey::generate();
    let mut policy = policy(&SigningKey::generate());
    policy.signers.push(Signer::Key { name: "second.pub".to_owned(), key: key.verification_key().clone() });
    let bundle = signed(&key, IMAGE);
    let accepted = judge(&bundle, &claim(PredicateType::image_signature()), &policy).unwrap();
    assert_eq!(accepted.signer.name(), "second.pub");
    assert_eq!(accepted.payload, Statement::image_signature(Sha256Digest::of(IMAGE), &BTreeMap::new()));
}

#[test]
fn a_signature_by_another_key_for_another_image_or_of_another_kind_is_refused() {
    let key = SigningKey::generate();
    let spdx: PredicateType = "spdxjson".parse().unwrap();
    let image = claim(PredicateType::image_signature());
    let refusal = |bundle: &[u8], claim: &Claim| judge(bundle, claim, &policy(&key)).unwrap_err();

    let other = refusal(&signed(&SigningKey::generate(), IMAGE), &image);
    assert!(matches!(&other, Refusal::OtherSigner { tried, .. } if tried == "release.pub"), "{other}");
    insta::assert_snapshot!(refusal(&signed(&key, b"another"), &image), @"its signature by release.pub is good, but for sha256:ae448ac86c4e8e4dec645729708ef41873ae79c6dff84eff73360989487f08e5, not for sha256:a5df3fde7b200c3fa2791144c7e05c5c2bced4c6ad863d3a4cf76c972c1712f9");
    insta::assert_snapshot!(refusal(&attested(&key, &spdx), &image), @"its signature by release.pub is good, but it is an attestation `spdxjson`, not an image signature");
    insta::assert_snapshot!(refusal(&signed(&key, IMAGE), &claim(spdx.clone())), @"its signature by release.pub is good, but it is an image signature, not an attestation `spdxjson`");
    insta::assert_snapshot!(refusal(&attested(&key, &spdx), &claim("cyclonedx".parse().unwrap())), @"its signature by release.pub is good, but it is an attestation `spdxjson`, not an attestation `cyclonedx`");
    judge(&attested(&key, &spdx), &claim(spdx), &policy(&key)).unwrap();

    let file = Bundle::sign_file(Sha256Digest::of(IMAGE), &key).unwrap().to_json();
    insta::assert_snapshot!(refusal(&file, &image), @"it holds the signature of a file, not a statement about an image");
    let certified = Bundle {
        material: Material::Certificates(vec![vec![1]]),
        ..Bundle::sign_statement(Statement::image_signature(Sha256Digest::of(IMAGE), &BTreeMap::new()), &key)
            .unwrap()
    };
    insta::assert_snapshot!(refusal(&certified.to_json(), &image), @"it was signed with a certificate, and only keys were given to verify with");
    insta::assert_snapshot!(refusal(&Bundle::sign_statement(b"[]".to_vec(), &key).unwrap().to_json(), &image), @"the signed payload is not an in-toto statement (it is not a JSON object)");
    let payload = crate::dsse::Envelope::sign("text/plain", b"hello".to_vec(), &key);
    let signature = payload.signatures[0].bytes.clone();
    let text = Content::Envelope(Enclosed::new("text/plain".into(), "aGVsbG8=".into(), signature).unwrap());
    let text = Bundle { content: text, ..Bundle::sign_file(Sha256Digest::of(IMAGE), &key).unwrap() };
    insta::assert_snapshot!(refusal(&text.to_json(), &image), @"its signed payload is `text/plain`, not an in-toto statement");
}

#[test]
fn no_signer_no_trust() {
    let key = SigningKey::generate();
    let claim = claim(PredicateType::image_signature());
    assert!(judge(&signed(&key, IMAGE), &claim, &Policy::default()).is_err());
}

#[test]
fn one_changed_byte_of_the_payload_is_refused() {
    let key = SigningKey::generate();
    let signed_for = |subject: &[u8]| {
        let payload = Statement::image_signature(Sha256Digest::of(subject), &BTreeMap::new());
        String::from_utf8(Bundle::sign_statement(payload, &key).unwrap().to_json()).unwrap()
    };
    let payload = |json: &str| {
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        json["dsseEnvelope"]["payload"].as_str().unwrap().to_owned()
    };
    let (other, own) = (signed_for(b"other"), signed_for(IMAGE));
    let bundle = other.replace(&payload(&other), &payload(&own));
    let refusal =
        judge(bundle.as_bytes(), &claim(PredicateType::image_signature()), &policy(&key)).unwrap_err();
    assert!(matches!(refusal, Refusal::OtherSigner { .. }), "{refusal}");
}

#[test]
fn a_file_is_verified_by_its_digest() {
    let key = SigningKey::generate();
    let bundle = Bundle::sign_file(Sha256Digest::of(b"file"), &key).unwrap().to_json();
    let policy = policy(&key);
    assert_eq!(judge_file(&bundle, file(b"file"), &policy).unwrap().signer.name(), "release.pub");
    insta::assert_snapshot!(judge_file(&bundle, file(b"other"), &policy).unwrap_err(), @"its signature by release.pub is good, but for sha256:3b9c358f36f0a31b6ad3e14f309c7cf198ac9246e8316f9ce543d5b19ac02b80, not for sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa");
    let statement = signed(&key, IMAGE);
    assert!(judge_file(&statement, file(IMAGE), &policy).unwrap().statement.is_some());
    let spdx: PredicateType = "spdxjson".parse().unwrap();
    let wanted = File { predicate_type: Some(&spdx), ..file(IMAGE) };
    insta::assert_snapshot!(judge_file(&statement, wanted, &policy).unwrap_err(), @"its signature by release.pub is good, but it is an image signature, not an attestation `spdxjson`");
    let wanted = File { predicate_type: Some(&spdx), ..file(b"file") };
    assert_eq!(judge_file(&bundle, wanted, &policy).unwrap_err(), Refusal::NotAnEnvelope);
    let stranger = Bundle::sign_file(Sha256Digest::of(b"file"), &SigningKey::generate()).unwrap().to_json();
    let refusal = judge_file(&stranger, file(b"file"), &policy).unwrap_err();
    assert!(matches!(refusal, Refusal::OtherSigner { .. }), "{refusal}");
}

#[test]
fn a_threshold_counts_signers_and_not_signatures() {
    let (one, two) = (SigningKey::generate(), SigningKey::generate());
    let signer = |name: &str, key: &SigningKey| Signer::Key {
        name: name.to_owned(),
        key: key.verification_key().clone(),
    };
    let signers = vec![signer("one.pub", &one), signer("copy-of-one.pub", &one), signer("two.pub", &two)];
    let policy = Policy { signers, threshold: 2, ..Policy::default() };
    assert_eq!(policy.distinct_signers(), 2);
    let claim = claim(PredicateType::image_signature());
    let vote = |key: &SigningKey| judge(&signed(key, IMAGE), &claim, &policy).unwrap().vote;
    assert!(!policy.is_met_by(&[vote(&one), vote(&one)]));
    assert!(policy.is_met_by(&[vote(&one), vote(&two)]));
    assert!(!Policy { threshold: 0, ..policy }.is_met_by(&[]));
}

#[test]
fn annotations_count_when_they_were_signed() {
    let key = SigningKey::generate();
    let annotations = BTreeMap::from([("stage".to_owned(), "production".to_owned())]);
    let payload = Statement::image_signature(Sha256Digest::of(IMAGE), &annotations);
    let annotated = Bundle::sign_statement(payload, &key).unwrap().to_json();
    let claim = claim(PredicateType::image_signature());
    let with = |value: &str| Policy {
        annotations: BTreeMap::from([("stage".to_owned(), value.to_owned())]),
        ..policy(&key)
    };
    judge(&annotated, &claim, &with("production")).unwrap();
    insta::assert_snapshot!(judge(&annotated, &claim, &with("test")).unwrap_err(), @"it does not bear the annotation stage=test, but stage=production");
    insta::assert_snapshot!(judge(&signed(&key, IMAGE), &claim, &with("test")).unwrap_err(), @"it does not bear the annotation stage=test");
}

#[test]
fn a_minimum_time_needs_a_witness() {
    let key = SigningKey::generate();
    let policy = Policy { minimum_time: Some(Timestamp::UNIX_EPOCH), ..policy(&key) };
    let refusal = judge(&signed(&key, IMAGE), &claim(PredicateType::image_signature()), &policy).unwrap_err();
    assert_eq!((refusal.step(), refusal), (step::MINIMUM_TIME, Refusal::NoTime));
}

#[test]
fn a_statement_that_is_dated_ahead_is_as_young_as_nothing() {
    let key = SigningKey::generate();
    let now: Timestamp = "2024-05-06T07:08:09Z".parse().unwrap();
    let policy = Policy { minimum_time: Some("2024-05-01T00:00:00Z".parse().unwrap()), now, ..policy(&key) };
    let openvex: PredicateType = "openvex".parse().unwrap();
    for (time, reason) in [
        ("2024-04-30T23:59:59Z", Some("before 2024-05-01")),
        ("2024-05-06T07:08:09Z", None),
        ("2024-05-06T07:09:09Z", None),
        ("2024-05-06T07:09:10Z", Some("it says that it was made at 2024-05-06T07:09:10Z, and now is")),
        ("2124-05-06T07:08:09Z", Some("now is")),
    ] {
        let predicate =
            format!(r#"{{"@context":"https://openvex.dev/ns/v0.2.0","statements":[],"timestamp":"{time}"}}"#);
        let predicate =
            Predicate::from_file(&openvex, predicate.into_bytes(), Timestamp::UNIX_EPOCH).unwrap();
        let payload =
            Statement::attestation(Sha256Digest::of(IMAGE), "app", &openvex, &predicate, &BTreeMap::new());
        let bundle = Bundle::sign_statement(payload, &key).unwrap().to_json();
        let refusal =
            judge(&bundle, &claim(openvex.clone()), &policy).err().map(|refusal| refusal.to_string());
        assert_eq!(refusal.is_some(), reason.is_some(), "{time}: {refusal:?}");
        assert!(
            reason.is_none_or(|reason| refusal.as_ref().unwrap().contains(reason)),
            "{time}: {refusal:?}"
        );
    }
}

#[test]
fn a_hint_that_names_another_key_is_a_contradiction() {
    let (key, other) = (SigningKey::generate(), SigningKey::generate());
    let bundle = Bundle::sign_file(Sha256Digest::of(b"file"), &other).unwrap();
    let lying =
        Bundle { material: bundle.material, ..Bundle::sign_file(Sha256Digest::of(b"file"), &key).unwrap() };
    let refusal = judge_file(&lying.to_json(), file(b"file"), &policy(&key)).unwrap_err();
    assert_eq!(refusal.step(), step::CONSISTENCY, "{refusal}");
}

#[test]
fn every_flip_of_a_byte_that_changes_what_is_signed_is_refused() {
    let key = SigningKey::generate();
    let policy = policy(&key);
    let claim = claim(PredicateType::image_signature());
    let good = signed(&key, IMAGE);
    let before = Bundle::parse(&good).unwrap().content;
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut flipped = good.clone();
            flipped[at] ^= 1 << bit;
            let verdict = judge(&flipped, &claim, &policy);
            // An accepted flip did not change the signature or the bytes that it covers.
            if verdict.is_ok() {
                let after = Bundle::parse(&flipped).unwrap().content;
                assert_eq!(before, after, "byte {at}, bit {bit}");
            }
        }
    }
}
