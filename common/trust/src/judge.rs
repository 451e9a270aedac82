//! From evidence to verdict: does a bundle show that one of the policy's signers said this of that subject?
//!
//! Each candidate is judged alone, in the order: strict parse, signature with the logs, certificates and timestamps that
//! it needs, statement, subject, predicate type, and what else the policy wants. What is not covered by a signature
//! decides nothing, except that a contradiction refuses.

use std::collections::BTreeMap;

use lifeboat_core::Sha256Digest;

use crate::bundle::{Bundle, Content, Material};
use crate::certificate::Claims;
use crate::dsse::{self, EnvelopeError};
use crate::evidence::{self, Evidence, Signed};
use crate::json::printable;
use crate::key::VerificationKey;
use crate::matching::Vote;
use crate::policy::{Policy, Signer};
use crate::provenance;
use crate::refusal::Refusal;
use crate::signed_time;
use crate::statement::{PredicateType, Statement};
use crate::step::{self, Step};

/// What must have been said.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Of what: the digest that the reference was resolved to.
    pub subject: Sha256Digest,
    /// What: a plain signature, or a statement of this type. One never stands in for another.
    pub predicate_type: PredicateType,
}

/// A file whose signature is judged.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// Its digest.
    pub digest: Sha256Digest,
    /// Its content, where it is at hand: an Ed25519 key signs nothing less.
    pub content: Option<&'a [u8]>,
    /// What kind of statement about it is wanted, if one is.
    pub predicate_type: Option<&'a PredicateType>,
}

/// A signature that counts.
#[derive(Debug)]
pub struct Accepted<'p> {
    /// Which of the policy's signers it is; of several, the first.
    pub signer: &'p Signer,
    /// Which slots of the policy it can fill, and what tells it apart from other signatures.
    pub vote: Vote,
    /// What the certificate says, if there is one.
    pub certificate: Option<Claims>,
    /// What logs and timestamps show, and the steps that were taken.
    pub evidence: Evidence,
    /// What was said, word for word; nothing for the signature of a file.
    pub payload: Vec<u8>,
    /// The same, parsed, where it is a statement.
    pub statement: Option<Statement>,
}

/// Judges one bundle for `claim`.
pub fn judge<'p>(bundle: &[u8], claim: &Claim, policy: &'p Policy) -> Result<Accepted<'p>, Refusal> {
    judge_any(bundle, claim.subject, Some(&claim.predicate_type), policy)
}

/// Judges one bundle for a statement about `subject`, of whatever type unless one is wanted. What it says must be looked
/// at: a signature that is good for something is not good for everything.
pub fn judge_any<'p>(
    bundle: &[u8],
    subject: Sha256Digest,
    predicate_type: Option<&PredicateType>,
    policy: &'p Policy,
) -> Result<Accepted<'p>, Refusal> {
    let parsed = Bundle::parse(bundle)?;
    if !matches!(parsed.content, Content::Envelope(_)) {
        return Err(Refusal::NotAnEnvelope);
    }
    let accepted = judge_signature(&parsed, bundle, Signed { digest: subject, content: None }, policy)?;
    judge_statement(accepted, parsed, subject, predicate_type, policy, true)
}

/// Judges whether a bundle is a signature of the file, or of a statement about it.
pub fn judge_file<'p>(bundle: &[u8], file: File<'_>, policy: &'p Policy) -> Result<Accepted<'p>, Refusal> {
    let parsed = Bundle::parse(bundle)?;
    let what = Signed { digest: file.digest, content: file.content };
    if let Content::Message { digest: Some(stated), .. } = &parsed.content
        && *stated != file.digest
    {
        // What was signed instead can be said for certain where the signature is good for it.
        let other = Signed { digest: *stated, content: None };
        let signer = judge_signature(&parsed, bundle, other, policy)?.signer.name();
        let (expected, found) = (file.digest.to_oci(), stated.to_oci());
        return Err(Refusal::OtherSubject { signer, expected, found });
    }
    let accepted = judge_signature(&parsed, bundle, what, policy)?;
    match parsed.content {
        Content::Envelope(_) => {
            // Where any signature of the file is enough, nobody reads what the statement says besides.
            let is_read = file.predicate_type.is_some();
            judge_statement(accepted, parsed, file.digest, file.predicate_type, policy, is_read)
        }
        Content::Message { .. } => match file.predicate_type {
            Some(_) => Err(Refusal::NotAnEnvelope),
            None if !policy.annotations.is_empty() => Err(Refusal::NotAnEnvelope),
            None => judge_time(accepted, policy),
        },
    }
}

/// Judges the signature alone, whatever it is about.
pub(crate) fn judge_signature<'p>(
    bundle: &Bundle,
    json: &[u8],
    what: Signed<'_>,
    policy: &'p Policy,
) -> Result<Accepted<'p>, Refusal> {
    let mut accepted = match &bundle.material {
        Material::PublicKey { hint } => {
            let (slots, signer, key) = find_key(bundle, hint, what, policy)?;
            evidence::check_hint(hint, key)?;
            let evidence = evidence::verify_key(bundle, json, key, what, policy)?;
            Accepted {
                signer,
                vote: Vote { slots, key: key.id(), signature: signature_digest(bundle), identity: None },
                certificate: None,
                evidence,
                payload: Vec::new(),
                statement: None,
            }
        }
        Material::Certificates(chain) => {
            if !policy.signers.iter().any(|signer| matches!(signer, Signer::Identity { .. })) {
                return Err(Refusal::SignedByCertificate);
            }
            let (claims, mut evidence) = evidence::verify_certificate(bundle, json, chain, what, policy)?;
            let (slots, signer) = find_identity(&claims, policy)?;
            evidence.steps.push(step::IDENTITY);
            let identity = Some((claims.identity.clone(), claims.issuer.clone()));
            let vote = Vote { slots, key: claims.key, signature: signature_digest(bundle), identity };
            Accepted {
                signer,
                vote,
                certificate: Some(claims),
                evidence,
                payload: Vec::new(),
                statement: None,
            }
        }
    };
    accepted.evidence.steps.insert(0, step::FORMAT);
    Ok(accepted)
}

/// What tells a signature apart from others.
fn signature_digest(bundle: &Bundle) -> Sha256Digest {
    match &bundle.content {
        Content::Message { signature, .. } => Sha256Digest::of(signature),
        Content::Envelope(envelope) => {
            Sha256Digest::of(envelope.signatures.first().map_or(&[], |signature| &signature.bytes))
        }
    }
}

/// Judges what a signature that is good says; `is_read` says whether its predicate counts for anything.
fn judge_statement<'p>(
    mut accepted: Accepted<'p>,
    bundle: Bundle,
    subject: Sha256Digest,
    predicate_type: Option<&PredicateType>,
    policy: &Policy,
    is_read: bool,
) -> Result<Accepted<'p>, Refusal> {
    let Content::Envelope(envelope) = bundle.content else { return Err(Refusal::NotAnEnvelope) };
    if envelope.payload_type != dsse::IN_TOTO {
        return Err(Refusal::OtherPayload { found: printable(&envelope.payload_type) });
    }
    // Parsed from the bytes that were verified.
    let statement = Statement::parse(&envelope.payload)?;
    let Some(about) = statement.about(subject) else {
        return Err(Refusal::OtherSubject {
            signer: accepted.signer.name(),
            expected: subject.to_oci(),
            found: statement.subjects.first().map(|subject| subject.digest.shown()).unwrap_or_default(),
        });
    };
    if let Some(expected) = predicate_type
        && statement.predicate_type != expected.uri()
    {
        return Err(Refusal::OtherPredicate {
            signer: accepted.signer.name(),
            expected: describe(expected.uri()),
            found: describe(&statement.predicate_type),
        });
    }
    check_annotations(&policy.annotations, |name| about.annotation(name))?;
    accepted.evidence.steps.extend([step::STATEMENT, step::SUBJECT]);
    accepted.evidence.steps.extend(predicate_type.map(|_| step::PREDICATE_TYPE));
    accepted.evidence.steps.extend(annotation_step(policy));
    if let Some(claims) = accepted.certificate.as_ref().filter(|_| is_read)
        && provenance::check_certificate(&statement, claims)?
    {
        accepted.evidence.steps.push(step::CONSISTENCY);
    }
    accepted.payload = envelope.payload;
    accepted.statement = Some(statement);
    judge_time(accepted, policy)
}

/// Compares the annotations that are signed with those that the caller wants.
pub(crate) fn check_annotations(
    wanted: &BTreeMap<String, String>,
    signed: impl Fn(&str) -> Option<String>,
) -> Result<(), Refusal> {
    for (name, expected) in wanted {
        let found = signed(name);
        if found.as_ref() != Some(expected) {
            let found = found.map(|value| printable(&value));
            return Err(Refusal::OtherAnnotation { name: name.clone(), expected: expected.clone(), found });
        }
    }
    Ok(())
}

pub(crate) fn annotation_step(policy: &Policy) -> Option<Step> {
    (!policy.annotations.is_empty()).then_some(step::ANNOTATIONS)
}

/// How long a certificate is valid at most that binds the time of its signatures, in seconds.
const SHORT_LIVED: i64 = 24 * 60 * 60;

/// Judges whether it was signed after the minimum. A witness shows that a signature was there, and not since when: an old
/// one can be witnessed anew. It is as young as its certificate, and as the time that was signed with it.
pub(crate) fn judge_time<'p>(mut accepted: Accepted<'p>, policy: &Policy) -> Result<Accepted<'p>, Refusal> {
    let Some(minimum) = policy.minimum_time else { return Ok(accepted) };
    let stated = accepted.statement.as_ref().and_then(signed_time::of_statement);
    let certificate = accepted.certificate.as_ref();
    let certified = certificate.map(|claims| claims.not_before);
    let is_short = certificate
        .is_some_and(|claims| claims.not_after.as_second() - claims.not_before.as_second() <= SHORT_LIVED);
    match certified.max(stated) {
        Some(after) if after >= minimum => {
            accepted.evidence.steps.push(step::MINIMUM_TIME);
            Ok(accepted)
        }
        Some(after) if is_short || stated.is_some() => {
            Err(Refusal::Stale { time: after.to_string(), minimum: minimum.to_string() })
        }
        _ => Err(Refusal::NoTime),
    }
}

fn find_identity<'p>(claims: &Claims, policy: &'p Policy) -> Result<(Vec<usize>, &'p Signer), Refusal> {
    let names = |signer: &Signer| match signer {
        Signer::Identity { identity, issuer } => {
            identity.matches(&claims.identity) && issuer.matches(&claims.issuer)
        }
        Signer::Key { .. } => false,
    };
    slots(policy, names).ok_or_else(|| {
        let expected = policy.signers.iter().filter(|signer| matches!(signer, Signer::Identity { .. }));
        Refusal::OtherIdentity {
            identity: printable(&claims.identity),
            issuer: printable(&claims.issuer),
            expected: expected.map(Signer::name).collect::<Vec<_>>().join(" or "),
        }
    })
}

/// All the slots of such a signer, and the signer of the first.
fn slots(policy: &Policy, is_one: impl Fn(&Signer) -> bool) -> Option<(Vec<usize>, &Signer)> {
    let all = policy.signers.iter().enumerate();
    let slots: Vec<usize> = all.filter(|(_, signer)| is_one(signer)).map(|(slot, _)| slot).collect();
    let first = policy.signers.get(*slots.first()?)?;
    Some((slots, first))
}

fn find_key<'p>(
    bundle: &Bundle,
    hint: &str,
    what: Signed<'_>,
    policy: &'p Policy,
) -> Result<(Vec<usize>, &'p Signer, &'p VerificationKey), Refusal> {
    let mut blind = None;
    let mut has_keys = false;
    for signer in &policy.signers {
        let Signer::Key { key, name } = signer else { continue };
        has_keys = true;
        let verifies = match &bundle.content {
            Content::Envelope(envelope) => match envelope.verify(dsse::IN_TOTO, key) {
                Ok(_) => true,
                Err(EnvelopeError::OtherType { found, .. }) => {
                    return Err(Refusal::OtherPayload { found: printable(&found) });
                }
                Err(EnvelopeError::NotSignedBy { .. } | EnvelopeError::Malformed { .. }) => false,
            },
            Content::Message { signature, .. } => match what.content {
                _ if key.verifies_digests() => key.verify_digest(what.digest, signature).is_ok(),
                Some(content) => key.verify(content, signature).is_ok(),
                None => {
                    blind = Some(name.clone());
                    false
                }
            },
        };
        if verifies {
            let is_same = |other: &Signer| matches!(other, Signer::Key { key: own, .. } if own == key);
            let (slots, signer) = slots(policy, is_same).unwrap_or((Vec::new(), signer));
            return Ok((slots, signer, key));
        }
    }
    Err(match blind {
        _ if !has_keys => Refusal::SignedByKey { hint: readable_hint(hint) },
        Some(signer) => Refusal::DigestIsNotEnough { signer },
        None => other_signer(policy, hint),
    })
}

fn other_signer(policy: &Policy, hint: &str) -> Refusal {
    let keys = policy.signers.iter().filter(|signer| matches!(signer, Signer::Key { .. }));
    let tried = keys.map(Signer::name).collect::<Vec<_>>().join(" or ");
    Refusal::OtherSigner { tried, hint: readable_hint(hint) }
}

/// By custom the hint is the key's id in base64; people know the id as it stands in reports.
fn readable_hint(hint: &str) -> String {
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD.decode(hint).ok();
    match decoded.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
        Some(bytes) => evidence::short(Sha256Digest::from_bytes(bytes)),
        None if hint.is_empty() => "(unnamed)".to_owned(),
        None => printable(hint),
    }
}

/// A predicate type as people know it.
pub fn describe(uri: &str) -> String {
    match uri.parse::<PredicateType>() {
        Ok(kind) if kind == PredicateType::image_signature() => "an image signature".to_owned(),
        Ok(kind) => match kind.short_name() {
            Some(name) => format!("an attestation `{name}`"),
            None => format!("an attestation `{}`", printable(uri)),
        },
        Err(_) => format!("`{}`", printable(uri)),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::key::SigningKey;
    use crate::statement::Predicate;

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
        let payload =
            Statement::attestation(Sha256Digest::of(IMAGE), "app", kind, &predicate, &BTreeMap::new());
        Bundle::sign_statement(payload, key).unwrap().to_json()
    }

    #[test]
    fn a_signature_by_any_signer_of_the_policy_is_accepted() {
        let key = SigningKey::generate();
        let mut policy = policy(&SigningKey::generate());
        policy
            .signers
            .push(Signer::Key { name: "second.pub".to_owned(), key: key.verification_key().clone() });
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
            ..Bundle::sign_statement(
                Statement::image_signature(Sha256Digest::of(IMAGE), &BTreeMap::new()),
                &key,
            )
            .unwrap()
        };
        insta::assert_snapshot!(refusal(&certified.to_json(), &image), @"it was signed with a certificate, and only keys were given to verify with");
        insta::assert_snapshot!(refusal(&Bundle::sign_statement(b"[]".to_vec(), &key).unwrap().to_json(), &image), @"the signed payload is not an in-toto statement (it is not a JSON object)");
        let text = Content::Envelope(dsse::Envelope::sign("text/plain", b"hello".to_vec(), &key));
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
        let mut bundle = Bundle::sign_statement(
            Statement::image_signature(Sha256Digest::of(b"other"), &BTreeMap::new()),
            &key,
        )
        .unwrap();
        let Content::Envelope(envelope) = &mut bundle.content else { panic!("statements are in envelopes") };
        envelope.payload = Statement::image_signature(Sha256Digest::of(IMAGE), &BTreeMap::new());
        let refusal =
            judge(&bundle.to_json(), &claim(PredicateType::image_signature()), &policy(&key)).unwrap_err();
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
        let stranger =
            Bundle::sign_file(Sha256Digest::of(b"file"), &SigningKey::generate()).unwrap().to_json();
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
        let refusal =
            judge(&signed(&key, IMAGE), &claim(PredicateType::image_signature()), &policy).unwrap_err();
        assert_eq!((refusal.step(), refusal), (step::MINIMUM_TIME, Refusal::NoTime));
    }

    #[test]
    fn a_hint_that_names_another_key_is_a_contradiction() {
        let (key, other) = (SigningKey::generate(), SigningKey::generate());
        let bundle = Bundle::sign_file(Sha256Digest::of(b"file"), &other).unwrap();
        let lying = Bundle {
            material: bundle.material,
            ..Bundle::sign_file(Sha256Digest::of(b"file"), &key).unwrap()
        };
        let refusal = judge_file(&lying.to_json(), file(b"file"), &policy(&key)).unwrap_err();
        assert_eq!(refusal.step(), step::CONSISTENCY, "{refusal}");
    }

    #[test]
    fn every_flip_of_a_byte_that_changes_what_is_signed_is_refused() {
        let key = SigningKey::generate();
        let policy = policy(&key);
        let claim = claim(PredicateType::image_signature());
        let good = signed(&key, IMAGE);
        let meaning = |json: &[u8]| Bundle::parse(json).ok().map(|bundle| (bundle.material, bundle.content));
        let before = meaning(&good);
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut flipped = good.clone();
                flipped[at] ^= 1 << bit;
                let verdict = judge(&flipped, &claim, &policy);
                // A flip that is accepted left the signature and what it covers as they were.
                if verdict.is_ok() {
                    let after = meaning(&flipped).unwrap();
                    let (Some((_, before)), (_, after)) = (&before, &after) else {
                        panic!("it was read before")
                    };
                    assert_eq!(before, after, "byte {at}, bit {bit}");
                }
            }
        }
    }
}
