//! From evidence to verdict: does a bundle show that one of the policy's signers said this of that subject?
//!
//! Each candidate is judged alone, in the order: strict parse, signature, statement, subject, predicate type. What is
//! not covered by the signature decides nothing.

use lifeboat_core::Sha256Digest;

use crate::bundle::{Bundle, Content, Material, NotABundle};
use crate::dsse::{self, EnvelopeError};
use crate::key::VerificationKey;
use crate::statement::{NotAStatement, PredicateType, Statement, printable};

/// Whose word counts.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// The signers; the word of any one of them is enough.
    pub signers: Vec<Signer>,
}

/// One whose word counts.
#[derive(Debug, Clone)]
pub enum Signer {
    /// The holder of a private key.
    Key {
        /// What the user calls the key, such as its file.
        name: String,
        /// The public half.
        key: VerificationKey,
    },
}

impl Signer {
    /// What the user calls this signer.
    pub fn name(&self) -> &str {
        match self {
            Self::Key { name, .. } => name,
        }
    }

    /// The id of the signer's key.
    pub fn key_id(&self) -> Sha256Digest {
        match self {
            Self::Key { key, .. } => key.id(),
        }
    }
}

/// What must have been said.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Of what: the digest that the reference was resolved to.
    pub subject: Sha256Digest,
    /// What: a plain signature, or a statement of this type. One never stands in for another.
    pub predicate_type: PredicateType,
}

/// A bundle that shows what was asked for.
#[derive(Debug)]
pub struct Accepted<'p> {
    /// Whose word it is.
    pub signer: &'p Signer,
    /// What was said, word for word.
    pub payload: Vec<u8>,
    /// The same, parsed.
    pub statement: Statement,
    /// How many log entries came with it; a signature by a key stands without them, and they were not checked.
    pub log_entries: usize,
}

/// Why a bundle does not show what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It cannot be parsed.
    #[error(transparent)]
    NotABundle(#[from] NotABundle),
    /// It was signed with a certificate, and the policy names keys.
    #[error("it was signed with a certificate, and only keys were given to verify with")]
    SignedByCertificate,
    /// None of the policy's signers made the signature.
    #[error("it was not signed by {tried}; it says that key {hint} signed it")]
    OtherSigner {
        /// The names of the signers that were tried.
        tried: String,
        /// The hint in the bundle, which nobody vouches for.
        hint: String,
    },
    /// It holds the signature of a file instead of a statement.
    #[error("it holds the signature of a file, not a statement about an image")]
    NotAnEnvelope,
    /// It holds a statement instead of the signature of a file.
    #[error("it holds a signed statement ({predicate_type}), not the signature of a file")]
    NotAMessage {
        /// What the statement says that it is; not verified.
        predicate_type: String,
    },
    /// The envelope's payload is of another type than in-toto statements.
    #[error("its signed payload is `{found}`, not an in-toto statement")]
    OtherPayload {
        /// The payload type.
        found: String,
    },
    /// The signature is good, but what is signed is no statement.
    #[error(transparent)]
    NotAStatement(#[from] NotAStatement),
    /// The signature is good, but for something else.
    #[error("its signature by {signer} is good, but for {found}, not for {expected}")]
    OtherSubject {
        /// Who signed.
        signer: String,
        /// The digest that was asked about.
        expected: String,
        /// The first subject of the statement.
        found: String,
    },
    /// The signature is good, but says something else.
    #[error("its signature by {signer} is good, but it is {found}, not {expected}")]
    OtherPredicate {
        /// Who signed.
        signer: String,
        /// The predicate type that was asked for.
        expected: String,
        /// The predicate type that was signed.
        found: String,
    },
    /// A key of this kind signs files whole, and only a digest is at hand.
    #[error("{signer} is an Ed25519 key, which cannot verify the signature of a file by its digest")]
    DigestIsNotEnough {
        /// Whose key it is.
        signer: String,
    },
}

/// Judges one candidate for `claim`.
pub fn judge<'p>(bundle: &[u8], claim: &Claim, policy: &'p Policy) -> Result<Accepted<'p>, Refusal> {
    // 1. Strict parse.
    let bundle = Bundle::parse(bundle)?;
    let hint = key_hint(&bundle)?;
    let Content::Envelope(envelope) = bundle.content else {
        return Err(Refusal::NotAnEnvelope);
    };
    // 2. Signature, over the payload's own bytes (DSSE protocol, "Verification").
    let signer = verify_envelope(&envelope, &hint, policy)?;
    // 3. Statement: parsed from the bytes that were verified.
    let statement = Statement::parse(&envelope.payload)?;
    // 4. Subject.
    if !statement.is_about(claim.subject) {
        return Err(Refusal::OtherSubject {
            signer: signer.name().to_owned(),
            expected: claim.subject.to_oci(),
            found: statement.subjects.first().map(|subject| subject.digest.shown()).unwrap_or_default(),
        });
    }
    // 5. Predicate type.
    if statement.predicate_type != claim.predicate_type.uri() {
        return Err(Refusal::OtherPredicate {
            signer: signer.name().to_owned(),
            expected: describe(claim.predicate_type.uri()),
            found: describe(&statement.predicate_type),
        });
    }
    Ok(Accepted { signer, payload: envelope.payload, statement, log_entries: bundle.log_entries })
}

/// Judges whether a bundle is the signature of the file whose SHA-256 is `digest`, and gives the signer.
pub fn judge_file<'p>(
    bundle: &[u8],
    digest: Sha256Digest,
    policy: &'p Policy,
) -> Result<&'p Signer, Refusal> {
    let bundle = Bundle::parse(bundle)?;
    let hint = key_hint(&bundle)?;
    let (claimed, signature) = match bundle.content {
        Content::Message { digest, signature } => (digest, signature),
        Content::Envelope(envelope) => {
            let predicate_type =
                Statement::parse(&envelope.payload).map(|statement| statement.predicate_type);
            return Err(Refusal::NotAMessage {
                predicate_type: predicate_type
                    .map_or_else(|_| printable(&envelope.payload_type), |t| describe(&t)),
            });
        }
    };
    for signer in &policy.signers {
        let Signer::Key { key, .. } = signer;
        if key.verify_digest(digest, &signature).is_ok() {
            return Ok(signer);
        }
        // Which file was signed instead can be said where the bundle's own digest verifies.
        if let Some(claimed) = claimed
            && key.verify_digest(claimed, &signature).is_ok()
        {
            return Err(Refusal::OtherSubject {
                signer: signer.name().to_owned(),
                expected: digest.to_oci(),
                found: claimed.to_oci(),
            });
        }
    }
    let blind = policy.signers.iter().find(|Signer::Key { key, .. }| !key.verifies_digests());
    Err(match blind {
        Some(signer) => Refusal::DigestIsNotEnough { signer: signer.name().to_owned() },
        None => other_signer(policy, &hint),
    })
}

fn key_hint(bundle: &Bundle) -> Result<String, Refusal> {
    match &bundle.material {
        Material::PublicKey { hint } => Ok(hint.clone()),
        Material::Certificate(_) => Err(Refusal::SignedByCertificate),
    }
}

fn verify_envelope<'p>(
    envelope: &dsse::Envelope,
    hint: &str,
    policy: &'p Policy,
) -> Result<&'p Signer, Refusal> {
    for signer in &policy.signers {
        let Signer::Key { key, .. } = signer;
        match envelope.verify(dsse::IN_TOTO, key) {
            Ok(_) => return Ok(signer),
            Err(EnvelopeError::OtherType { found, .. }) => {
                return Err(Refusal::OtherPayload { found: printable(&found) });
            }
            Err(EnvelopeError::NotSignedBy { .. } | EnvelopeError::Malformed { .. }) => {}
        }
    }
    Err(other_signer(policy, hint))
}

fn other_signer(policy: &Policy, hint: &str) -> Refusal {
    use base64::Engine as _;
    // By custom the hint is the key's id in base64; people know the id as it stands in reports.
    let decoded = base64::engine::general_purpose::STANDARD.decode(hint).ok();
    let hint = match decoded.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
        Some(bytes) => Sha256Digest::from_bytes(bytes).to_string()[..16].to_owned(),
        None if hint.is_empty() => "(unnamed)".to_owned(),
        None => printable(hint),
    };
    let tried = policy.signers.iter().map(Signer::name).collect::<Vec<_>>().join(" or ");
    Refusal::OtherSigner { tried, hint }
}

/// A predicate type as people know it.
fn describe(uri: &str) -> String {
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
        Policy { signers: vec![signer] }
    }

    fn claim(predicate_type: PredicateType) -> Claim {
        Claim { subject: Sha256Digest::of(IMAGE), predicate_type }
    }

    fn signed(key: &SigningKey, subject: &[u8]) -> Vec<u8> {
        Bundle::sign_statement(Statement::image_signature(Sha256Digest::of(subject)), key).to_json()
    }

    fn attested(key: &SigningKey, kind: &PredicateType) -> Vec<u8> {
        let document = br#"{"spdxVersion":"SPDX-2.3"}"#.to_vec();
        let predicate = Predicate::from_file(kind, document, Timestamp::UNIX_EPOCH).unwrap();
        let payload = Statement::attestation(Sha256Digest::of(IMAGE), "app", kind, predicate);
        Bundle::sign_statement(payload, key).to_json()
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
        assert_eq!(accepted.payload, Statement::image_signature(Sha256Digest::of(IMAGE)));
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

        let file = Bundle::sign_file(Sha256Digest::of(IMAGE), &key).to_json();
        insta::assert_snapshot!(refusal(&file, &image), @"it holds the signature of a file, not a statement about an image");
        let certified = Bundle {
            material: Material::Certificate(vec![1]),
            ..Bundle::sign_statement(Statement::image_signature(Sha256Digest::of(IMAGE)), &key)
        };
        insta::assert_snapshot!(refusal(&certified.to_json(), &image), @"it was signed with a certificate, and only keys were given to verify with");
        insta::assert_snapshot!(refusal(&Bundle::sign_statement(b"[]".to_vec(), &key).to_json(), &image), @"the signed payload is not an in-toto statement (it is not a JSON object)");
        let text = Content::Envelope(dsse::Envelope::sign("text/plain", b"hello".to_vec(), &key));
        let text = Bundle { content: text, ..Bundle::sign_file(Sha256Digest::of(IMAGE), &key) };
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
        let mut bundle = Bundle::sign_statement(Statement::image_signature(Sha256Digest::of(b"other")), &key);
        let Content::Envelope(envelope) = &mut bundle.content else { panic!("statements are in envelopes") };
        envelope.payload = Statement::image_signature(Sha256Digest::of(IMAGE));
        let refusal =
            judge(&bundle.to_json(), &claim(PredicateType::image_signature()), &policy(&key)).unwrap_err();
        assert!(matches!(refusal, Refusal::OtherSigner { .. }), "{refusal}");
    }

    #[test]
    fn a_file_is_verified_by_its_digest() {
        let key = SigningKey::generate();
        let bundle = Bundle::sign_file(Sha256Digest::of(b"file"), &key).to_json();
        let policy = policy(&key);
        assert_eq!(judge_file(&bundle, Sha256Digest::of(b"file"), &policy).unwrap().name(), "release.pub");
        insta::assert_snapshot!(judge_file(&bundle, Sha256Digest::of(b"other"), &policy).unwrap_err(), @"its signature by release.pub is good, but for sha256:3b9c358f36f0a31b6ad3e14f309c7cf198ac9246e8316f9ce543d5b19ac02b80, not for sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa");
        insta::assert_snapshot!(judge_file(&signed(&key, IMAGE), Sha256Digest::of(IMAGE), &policy).unwrap_err(), @"it holds a signed statement (an image signature), not the signature of a file");
        let stranger = Bundle::sign_file(Sha256Digest::of(b"file"), &SigningKey::generate()).to_json();
        let refusal = judge_file(&stranger, Sha256Digest::of(b"file"), &policy).unwrap_err();
        assert!(matches!(refusal, Refusal::OtherSigner { .. }), "{refusal}");
    }
}
