//! From evidence to verdict: does a bundle show that one of the policy's signers made this claim about that subject?
//!
//! Each candidate is judged alone, in the steps of [`evidence`](crate::evidence). Anything that is not covered by a
//! signature has no effect, except that a contradiction refuses.

use std::collections::BTreeMap;

use lifeboat_core::Sha256Digest;

pub use crate::evidence::{Accepted, describe};
use crate::evidence::{Parsed, Signed, Wanted};
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::statement::PredicateType;

/// The required claim.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The subject: the digest that the reference was resolved to.
    pub subject: Sha256Digest,
    /// A plain signature, or a statement of this type. Neither can replace the other.
    pub predicate_type: PredicateType,
}

/// A file whose signature is judged.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// Its digest.
    pub digest: Sha256Digest,
    /// Its content, if available: an Ed25519 key can verify only the whole file.
    pub content: Option<&'a [u8]>,
    /// The required type of statement about it, if any.
    pub predicate_type: Option<&'a PredicateType>,
}

/// Judges one bundle for `claim`.
pub fn judge<'p>(bundle: &[u8], claim: &Claim, policy: &'p Policy) -> Result<Accepted<'p>, Refusal> {
    judge_any(bundle, claim.subject, Some(&claim.predicate_type), policy)
}

/// Judges one bundle for a statement about `subject`, of any type unless one is required.
pub fn judge_any<'p>(
    bundle: &[u8],
    subject: Sha256Digest,
    predicate_type: Option<&PredicateType>,
    policy: &'p Policy,
) -> Result<Accepted<'p>, Refusal> {
    judge_statement(Parsed::bundle(bundle)?, subject, predicate_type, policy)
}

/// Judges whether a bundle is a signature of the file, or of a statement about it.
pub fn judge_file<'p>(bundle: &[u8], file: File<'_>, policy: &'p Policy) -> Result<Accepted<'p>, Refusal> {
    let File { digest, content, predicate_type } = file;
    let parsed = Parsed::bundle(bundle)?;
    // What was signed instead is known for certain if the signature is good for it.
    let signed = match parsed.stated_digest().filter(|stated| *stated != digest) {
        Some(other) => Signed { digest: other, content: None },
        None => Signed { digest, content },
    };
    let wanted = predicate_type.map_or(Wanted::File, Wanted::FileStatement);
    parsed.authenticate(signed, policy)?.bind(digest)?.claim(wanted, policy)
}

/// Judges a legacy signature: a payload with its signature in `annotations`.
pub fn judge_legacy_signature<'p>(
    payload: &[u8],
    annotations: &BTreeMap<String, String>,
    subject: Sha256Digest,
    policy: &'p Policy,
) -> Result<Accepted<'p>, Refusal> {
    let parsed = Parsed::legacy_signature(payload, annotations)?;
    let signed = Signed { digest: subject, content: None };
    let wanted = PredicateType::image_signature();
    parsed.authenticate(signed, policy)?.bind(subject)?.claim(Wanted::Statement(&wanted), policy)
}

/// Judges a legacy attestation: an envelope with its certificate and log entry, if any, in `annotations`.
pub fn judge_legacy_attestation<'p>(
    envelope: &[u8],
    annotations: &BTreeMap<String, String>,
    subject: Sha256Digest,
    predicate_type: Option<&PredicateType>,
    policy: &'p Policy,
) -> Result<Accepted<'p>, Refusal> {
    judge_statement(Parsed::legacy_attestation(envelope, annotations)?, subject, predicate_type, policy)
}

fn judge_statement<'p>(
    parsed: Parsed<'_>,
    subject: Sha256Digest,
    predicate_type: Option<&PredicateType>,
    policy: &'p Policy,
) -> Result<Accepted<'p>, Refusal> {
    if !parsed.is_envelope() {
        return Err(Refusal::NotAnEnvelope);
    }
    let wanted = predicate_type.map_or(Wanted::AnyStatement, Wanted::Statement);
    parsed
        .authenticate(Signed { digest: subject, content: None }, policy)?
        .bind(subject)?
        .claim(wanted, policy)
}

#[cfg(test)]
mod tests;
