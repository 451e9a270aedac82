//! What refers to an image, collected once and judged one by one.

use lifeboat_core::{Fault as _, Kind, Sha256Digest};
use lifeboat_registry::{Access, Credentials, Reference, RegistryError, Repository, Resolved};
use lifeboat_report::verification::{AcceptedBundle, RefusedBundle, Verdict, Verification};
use lifeboat_trust::bundle::MEDIA_TYPE_PREFIX;
use lifeboat_trust::judge::{Accepted, Claim, Policy, judge};
use lifeboat_trust::statement::PredicateType;

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
    /// Whether one good bundle is enough.
    pub(crate) stop_at_first: bool,
    /// The only bundle that is looked at, by the digest of its manifest.
    pub(crate) only: Option<Sha256Digest>,
}

/// What the evidence shows.
#[derive(Default)]
pub(crate) struct Findings<'p> {
    pub(crate) accepted: Vec<(Sha256Digest, Accepted<'p>)>,
    refused: Vec<RefusedBundle>,
    unread: Vec<RefusedBundle>,
    others: usize,
    truncated: bool,
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
            let said = |reason: String| RefusedBundle { bundle: manifest.digest.to_oci(), reason };
            match self.repository.artifact(manifest, MEDIA_TYPE_PREFIX, cap).await {
                Ok(None) => findings.others += 1,
                Ok(Some(bundle)) => {
                    budget = budget.saturating_sub(bundle.len() as u64);
                    match judge(&bundle, claim, policy) {
                        Ok(accepted) => findings.accepted.push((manifest.digest, accepted)),
                        Err(refusal) => findings.refused.push(said(refusal.to_string())),
                    }
                }
                Err(error) if error.kind() == Kind::Undetermined => findings.unread.push(said(chain(&error))),
                Err(error) => findings.refused.push(said(chain(&error))),
            }
            if search.stop_at_first && !findings.accepted.is_empty() {
                break;
            }
        }
        Ok(findings)
    }

    /// The report on the findings.
    pub(crate) fn report(&self, claim: &Claim, policy: &Policy, findings: Findings<'_>) -> Verification {
        let is_plain = claim.predicate_type == PredicateType::image_signature();
        let what = match claim.predicate_type.short_name() {
            _ if is_plain => "an image signature".to_owned(),
            Some(name) => format!("an attestation {name}"),
            None => format!("an attestation {}", claim.predicate_type),
        };
        let signers: Vec<_> = policy.signers.iter().map(|signer| signer.name().to_owned()).collect();
        let verdict = match &findings {
            Findings { accepted, .. } if !accepted.is_empty() => Verdict::Verified,
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
        let accepted = findings.accepted.into_iter().map(|(bundle, accepted)| AcceptedBundle {
            bundle: bundle.to_oci(),
            signer: accepted.signer.name().to_owned(),
            key_id: accepted.signer.key_id().to_string(),
            unchecked_log_entries: accepted.log_entries,
            written_to: None,
        });
        Verification {
            verdict,
            subject: self.reference.to_string(),
            digest: claim.subject.to_oci(),
            tag: self.resolved.tag.clone(),
            claim: format!("{what} by {}", signers.join(" or ")),
            predicate_type: Some(claim.predicate_type.uri().to_owned()),
            signers,
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

/// The exit code of a verdict.
pub(crate) fn outcome(verdict: Verdict) -> lifeboat_shell::Outcome {
    match verdict {
        Verdict::Verified => lifeboat_shell::Outcome::Done,
        Verdict::Refused => lifeboat_shell::Outcome::Negative,
        Verdict::Undetermined => lifeboat_shell::Outcome::Incomplete,
    }
}
