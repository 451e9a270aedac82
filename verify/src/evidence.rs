//! What refers to an image, collected once and judged one by one.

use std::collections::BTreeSet;

use lifeboat_core::{Fault as _, Kind, Sha256Digest};
use lifeboat_registry::{Access, Credentials, Reference, RegistryError, Repository, Resolved};
use lifeboat_report::verification::{RefusedBundle, Verdict, Verification};
use lifeboat_trust::bundle::MEDIA_TYPE_PREFIX;
use lifeboat_trust::judge::{Accepted, Claim, Policy, describe, judge};
use lifeboat_trust::statement::PredicateType;

use crate::findings::{self, accepted_bundle, refused_bundle};

/// How many bytes of bundles are read for one verification. What goes beyond is not looked at, and that is said.
const MAX_TOTAL_BYTES: u64 = 512 << 20;

/// An image whose reference has been resolved: from here on its digest is its name.
pub(crate) struct Image {
    reference: Reference,
    repository: Repository,
    resolved: Resolved,
}

/// How the evidence is gone through.
pub(crate) struct Search {
    /// The largest bundle that is read.
    pub(crate) max_bundle_bytes: u64,
    /// Whether to look no further once so many signers are found as the policy wants.
    pub(crate) stop_when_met: bool,
    /// The only bundle that is looked at, by the digest of its manifest.
    pub(crate) only: Option<Sha256Digest>,
}

/// A signature that counts.
pub(crate) struct Found<'p> {
    /// Where it was found: the digest of its manifest.
    place: String,
    format: &'static str,
    pub(crate) accepted: Accepted<'p>,
}

/// What the evidence shows.
#[derive(Default)]
pub(crate) struct Findings<'p> {
    pub(crate) accepted: Vec<Found<'p>>,
    refused: Vec<RefusedBundle>,
    unread: Vec<RefusedBundle>,
    others: usize,
    truncated: bool,
}

impl Findings<'_> {
    fn meets(&self, policy: &Policy) -> bool {
        policy.is_met_by(self.accepted.iter().map(|found| &found.accepted.author))
    }
}

impl Image {
    /// Resolves the reference.
    pub(crate) async fn resolve(reference: Reference, allow_http: bool) -> Result<Self, RegistryError> {
        let credentials = match &reference {
            Reference::Registry(registry) => Credentials::from_login(registry.registry())?,
            Reference::Layout(_) => Credentials::Anonymous,
        };
        let repository = Repository::open(&reference, Access { allow_http, credentials })?;
        let resolved = repository.resolve(&reference).await?;
        Ok(Self { reference, repository, resolved })
    }

    /// The claim that the predicate of this type was stated of the image.
    pub(crate) fn claim(&self, predicate_type: PredicateType) -> Claim {
        Claim { subject: self.resolved.descriptor.digest, predicate_type }
    }

    /// Goes through what refers to the image.
    pub(crate) async fn search<'p>(
        &self,
        claim: &Claim,
        policy: &'p Policy,
        search: &Search,
    ) -> Result<Findings<'p>, RegistryError> {
        let referrers = self.repository.referrers(claim.subject).await?;
        let mut findings = Findings { truncated: referrers.truncated, ..Findings::default() };
        let mut budget = MAX_TOTAL_BYTES;
        for manifest in &referrers.manifests {
            if search.only.is_some_and(|only| only != manifest.digest) {
                continue;
            }
            if budget == 0 {
                findings.truncated = true;
                break;
            }
            let cap = search.max_bundle_bytes.min(budget);
            let place = manifest.digest.to_oci();
            let said = |reason: String| RefusedBundle { bundle: place.clone(), reason, step: None };
            match self.repository.artifact(manifest, MEDIA_TYPE_PREFIX, cap).await {
                Ok(None) => findings.others += 1,
                Ok(Some(bundle)) => {
                    budget = budget.saturating_sub(bundle.len() as u64);
                    match judge(&bundle, claim, policy) {
                        Ok(accepted) => findings.accepted.push(Found { place, format: "bundle", accepted }),
                        Err(refusal) => findings.refused.push(refused_bundle(place, &refusal)),
                    }
                }
                Err(error) if error.kind() == Kind::Undetermined => findings.unread.push(said(chain(&error))),
                Err(error) => findings.refused.push(said(chain(&error))),
            }
            if search.stop_when_met && findings.meets(policy) {
                break;
            }
        }
        Ok(findings)
    }

    /// The report on the findings.
    pub(crate) fn report(&self, claim: &Claim, policy: &Policy, findings: Findings<'_>) -> Verification {
        let is_plain = claim.predicate_type == PredicateType::image_signature();
        let authors: BTreeSet<_> = findings.accepted.iter().map(|found| found.accepted.author.clone()).collect();
        let verdict = match &findings {
            _ if policy.is_met_by(&authors) => Verdict::Verified,
            Findings { unread, truncated, .. } if !unread.is_empty() || *truncated => Verdict::Undetermined,
            _ => Verdict::Refused,
        };
        let advice = match verdict {
            Verdict::Verified => None,
            Verdict::Undetermined => Some("try again; until then do not use it".to_owned()),
            Verdict::Refused => Some(format!(
                "do not use it; whoever made it can sign it:\n  lifeboat-sign {} {} …",
                if is_plain { "image" } else { "attest" },
                self.reference
            )),
        };
        let accepted = findings.accepted.into_iter();
        let accepted = accepted.map(|found| accepted_bundle(found.place, found.format, &found.accepted));
        Verification {
            verdict,
            subject: self.reference.to_string(),
            digest: claim.subject.to_oci(),
            tag: self.resolved.tag.clone(),
            index: None,
            claim: findings::claim(&describe(claim.predicate_type.uri()).replace('`', ""), policy),
            predicate_type: Some(claim.predicate_type.uri().to_owned()),
            signers: policy.names(),
            threshold: policy.threshold,
            distinct_signers: authors.len(),
            accepted: accepted.collect(),
            refused: findings.refused,
            unread: findings.unread,
            others: findings.others,
            truncated: findings.truncated,
            advice,
        }
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
