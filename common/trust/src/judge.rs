//! From evidence to verdict: does a bundle show that one of the policy's signers said this of that subject?
//!
//! Each candidate is judged alone, by the way that [`evidence`](crate::evidence) lays down. What is not covered by a
//! signature decides nothing, except that a contradiction refuses.

use std::collections::BTreeMap;

use lifeboat_core::Sha256Digest;

pub use crate::evidence::{Accepted, describe};
use crate::evidence::{Parsed, Signed, Wanted};
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::statement::PredicateType;

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

/// Judges one bundle for `claim`.
pub fn judge<'p>(bundle: &[u8], claim: &Claim, policy: &'p Policy) -> Result<Accepted<'p>, Refusal> {
    judge_any(bundle, claim.subject, Some(&claim.predicate_type), policy)
}

/// Judges one bundle for a statement about `subject`, of whatever type unless one is wanted.
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
    // What was signed instead can be said for certain where the signature is good for it.
    let signed = match parsed.stated_digest().filter(|stated| *stated != digest) {
        Some(other) => Signed { digest: other, content: None },
        None => Signed { digest, content },
    };
    let wanted = predicate_type.map_or(Wanted::File, Wanted::FileStatement);
    parsed.authenticate(signed, policy)?.bind(digest)?.claim(wanted, policy)
}

/// Judges a legacy signature: a payload whose signature stands in `annotations`.
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

/// Judges a legacy attestation: an envelope whose certificate and log entry, if it has them, stand in `annotations`.
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
