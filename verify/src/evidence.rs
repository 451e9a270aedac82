//! Collects what is attached to an image, and judges each piece.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use futures::StreamExt as _;
use lifeboat_core::{Fault as _, Kind, Sha256Digest};
use lifeboat_registry::{
    Access, Child, Descriptor, Index, LegacyKind, LegacyLayer, NoChild, Reference, RegistryError, Repository,
    Resolved,
};
use lifeboat_report::verification::{self, RefusedBundle, Verdict, Verification};
use lifeboat_shell::{Failure, RegistryFlags};
use lifeboat_trust::bundle::MEDIA_TYPE_PREFIX;
use lifeboat_trust::judge::{Accepted, Claim, describe};
use lifeboat_trust::legacy;
use lifeboat_trust::matching::Vote;
use lifeboat_trust::policy::Policy;
use lifeboat_trust::provenance::Expectations;
use lifeboat_trust::statement::PredicateType;

use crate::findings::{self, accepted_bundle, refused_bundle};
use crate::item::{Asked, Form, Item};
use crate::question::{Question, Unjudged, Unread};
use crate::record::Record;
use crate::verdict::{self, MAX_EVIDENCE_BYTES};

/// How many bundles are fetched concurrently: small ones, and those that may be large.
const CONCURRENCY: (usize, usize) = (8, 1);

/// Bundles up to this size are small.
const SMALL_BYTES: u64 = 4 << 20;

/// An image whose reference has been resolved. From here on, it is identified by its digest.
pub(crate) struct Image {
    reference: Reference,
    repository: Repository,
    resolved: Resolved,
    /// The index that was resolved, if it was one.
    index: Option<Index>,
    /// The platform of the image that was found through the index; if `None`, the index itself is verified.
    platform: Option<String>,
}

/// In which forms evidence counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Forms {
    /// Sigstore bundles that refer to the image
    Bundle,
    /// The older tags `sha256-….sig` and `.att`
    Legacy,
    /// Both; of two that could fill one slot the bundle does
    Both,
}

/// How to search for evidence.
pub(crate) struct Search {
    /// The forms that count.
    pub(crate) forms: Forms,
    /// The largest bundle that is read.
    pub(crate) max_bundle_bytes: u64,
    /// Whether to stop as soon as the policy is met.
    pub(crate) stop_when_met: bool,
    /// The only bundle to consider, by the digest of its manifest.
    pub(crate) only: Option<Sha256Digest>,
    /// Expectations of a build, for provenance.
    pub(crate) expectations: Option<Expectations>,
}

/// A signature that counts.
pub(crate) struct Counted<'p> {
    /// Where it was found: the digest of its manifest or layer.
    place: String,
    form: Form,
    pub(crate) accepted: Accepted<'p>,
}

/// What the evidence shows.
#[derive(Default)]
pub(crate) struct Findings<'p> {
    pub(crate) accepted: Vec<Counted<'p>>,
    refused: Vec<RefusedBundle>,
    unread: Vec<RefusedBundle>,
    others: usize,
    truncated: bool,
    /// Whether signatures of the index were considered for the image.
    leans_on_index: bool,
    /// The evidence that was judged.
    record: Record,
}

impl<'p> Findings<'p> {
    /// Judges a piece of evidence.
    fn judge(&mut self, item: Item, content: &[u8], search: &Search, claim: &Claim, policy: &'p Policy) {
        let asked = Asked {
            predicate_type: Some(&claim.predicate_type),
            whole: None,
            expectations: search.expectations.as_ref(),
        };
        match item.judge(content, asked, policy) {
            Ok(accepted) => {
                let (place, form) = (item.place.clone(), item.form);
                self.accepted.push(Counted { place, form, accepted });
            }
            Err(refusal) => self.refused.push(refused_bundle(item.place.clone(), &refusal)),
        }
        self.record.add(item, content);
    }

    fn meets(&self, policy: &Policy) -> bool {
        policy.is_met_by(self.accepted.iter().map(|found| &found.accepted.vote))
    }

    fn fail(&mut self, place: String, error: &RegistryError, repository: &Repository) {
        let said = RefusedBundle { bundle: place, reason: chain(error), step: None };
        // Something that a registry lists but does not serve may have been a signature. A layout is complete as it is.
        let is_lost =
            matches!((error, repository), (RegistryError::NotFound { .. }, Repository::Registry(_)));
        if is_lost || error.kind() == Kind::Undetermined {
            self.unread.push(said);
        } else {
            self.refused.push(said);
        }
    }
}

impl Image {
    /// Resolves the reference; of an index, to the image of `platform` if one is given.
    pub(crate) async fn resolve(
        reference: Reference,
        platform: Option<&str>,
        registry: &RegistryFlags,
    ) -> Result<Self, Failure> {
        let reference = reference.locate(lifeboat_shell::engine_address().as_deref()).await?;
        let access = Access::from_login(&reference, registry.allow_http, &registry.allowed_realms)?;
        let repository = Repository::open(&reference, access)?;
        let mut resolved = repository.resolve(&reference).await?;
        let index = repository.index(&resolved.descriptor).await?;
        if let Some(platform) = platform {
            let children = index.as_ref().map_or(&[][..], |index| &index.children);
            let child = choose(children, platform, &reference)?;
            // A puller would notice if something else is served in its place; better to notice it here.
            resolved.descriptor = repository.stat(child.digest).await?;
        }
        Ok(Self { reference, repository, resolved, index, platform: platform.map(str::to_owned) })
    }

    /// The claim that a predicate of this type was stated about the image.
    pub(crate) fn claim(&self, predicate_type: PredicateType) -> Claim {
        Claim { subject: self.resolved.descriptor.digest, predicate_type }
    }

    /// The digest of the image.
    pub(crate) fn digest(&self) -> Sha256Digest {
        self.resolved.descriptor.digest
    }

    /// The repository that holds the image.
    pub(crate) fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The reference as the user gave it.
    pub(crate) fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The tag that was resolved, if there was one.
    pub(crate) fn tag(&self) -> Option<&str> {
        self.resolved.tag.as_deref()
    }

    /// The index that was resolved, if it was one.
    pub(crate) fn index(&self) -> Option<&Index> {
        self.index.as_ref()
    }

    /// The index through which the image of one platform was found.
    fn index_of_image(&self) -> Option<&Index> {
        self.index.as_ref().filter(|_| self.platform.is_some())
    }

    /// Searches everything attached to the image. An image that was found through an index is covered by a signature of
    /// that index as well, because the index contains its digest.
    pub(crate) async fn search<'p>(
        &self,
        claim: &Claim,
        policy: &'p Policy,
        search: &Search,
        record: Record,
    ) -> Result<Findings<'p>, RegistryError> {
        let mut findings = Findings { record, ..Findings::default() };
        self.search_one(claim, policy, search, &mut findings).await?;
        let is_plain = claim.predicate_type == PredicateType::image_signature();
        if let Some(index) = self.index_of_image().filter(|_| is_plain && !findings.meets(policy)) {
            let claim = Claim { subject: index.digest, predicate_type: claim.predicate_type.clone() };
            findings.leans_on_index = true;
            self.search_one(&claim, policy, search, &mut findings).await?;
        }
        Ok(findings)
    }

    async fn search_one<'p>(
        &self,
        claim: &Claim,
        policy: &'p Policy,
        search: &Search,
        findings: &mut Findings<'p>,
    ) -> Result<(), RegistryError> {
        if search.forms == Forms::Legacy {
            self.search_legacy(claim, policy, search, findings).await;
            return Ok(());
        }
        let referrers = match self.repository.referrers(claim.subject).await {
            Ok(referrers) => referrers,
            Err(error) if search.forms == Forms::Bundle => return Err(error),
            Err(error) => {
                // A registry that cannot list referrers may hold the image's signatures under the older tag.
                self.search_legacy(claim, policy, search, findings).await;
                return if findings.meets(policy) { Ok(()) } else { Err(error) };
            }
        };
        findings.truncated |= referrers.truncated;
        for (place, error) in &referrers.unread {
            findings.fail(place.clone(), error, &self.repository);
        }
        let wanted = |manifest: &&Descriptor| search.only.is_none_or(|only| only == manifest.digest);
        let fetch = |manifest: Descriptor| async move {
            let cap = search.max_bundle_bytes;
            (manifest.digest.to_oci(), self.repository.artifact(&manifest, MEDIA_TYPE_PREFIX, cap).await)
        };
        let concurrency = if search.max_bundle_bytes > SMALL_BYTES { CONCURRENCY.1 } else { CONCURRENCY.0 };
        let manifests = referrers.manifests.iter().filter(wanted).cloned().map(fetch);
        let mut fetched = futures::stream::iter(manifests).buffered(concurrency);
        let mut budget = MAX_EVIDENCE_BYTES;
        while let Some((place, found)) = fetched.next().await {
            match found {
                Ok(None) => findings.others += 1,
                Ok(Some(found)) => {
                    let Some(left) = budget.checked_sub(found.content.len() as u64) else {
                        findings.truncated = true;
                        break;
                    };
                    budget = left;
                    let item = Item {
                        place,
                        form: Form::Bundle,
                        subject: claim.subject,
                        refers_to: found.subject,
                        annotations: found.annotations,
                        content: Sha256Digest::of(&found.content),
                    };
                    findings.judge(item, &found.content, search, claim, policy);
                }
                Err(error) => findings.fail(place, &error, &self.repository),
            }
            if search.stop_when_met && findings.meets(policy) {
                return Ok(());
            }
        }
        drop(fetched);
        if search.forms == Forms::Both {
            self.search_legacy(claim, policy, search, findings).await;
        }
        Ok(())
    }

    /// Searches the layers under the legacy tag.
    async fn search_legacy<'p>(
        &self,
        claim: &Claim,
        policy: &'p Policy,
        search: &Search,
        findings: &mut Findings<'p>,
    ) {
        let is_plain = claim.predicate_type == PredicateType::image_signature();
        let kind = if is_plain { LegacyKind::Signatures } else { LegacyKind::Attestations };
        let (layers, truncated) = match self.repository.legacy(claim.subject, kind).await {
            Ok(found) => found,
            Err(error) => {
                // Whatever somebody pushed under the tag must not hide what was found elsewhere.
                findings.fail(kind.tag(claim.subject), &error, &self.repository);
                return;
            }
        };
        findings.truncated |= truncated;
        let media_type = if is_plain { legacy::PAYLOAD_TYPE } else { legacy::ENVELOPE_TYPE };
        let mut budget = MAX_EVIDENCE_BYTES;
        let mut contents: BTreeMap<Sha256Digest, Vec<u8>> = BTreeMap::new();
        for LegacyLayer { descriptor, annotations } in &layers {
            let digest = descriptor.digest;
            if search.only.is_some_and(|only| only != digest) {
                continue;
            }
            if descriptor.media_type != media_type {
                findings.others += 1;
                continue;
            }
            let cap = search.max_bundle_bytes.min(budget);
            let place = digest.to_oci();
            // Several signatures of one image are layers with the same content.
            let content = match contents.entry(digest) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place_for) => match self.repository.blob(descriptor, cap).await {
                    Ok(content) => {
                        budget = budget.saturating_sub(content.len() as u64);
                        place_for.insert(content)
                    }
                    Err(error) => {
                        findings.fail(place, &error, &self.repository);
                        continue;
                    }
                },
            };
            let item = Item {
                place,
                form: if is_plain { Form::LegacySignature } else { Form::LegacyAttestation },
                subject: claim.subject,
                refers_to: None,
                annotations: annotations.clone(),
                content: digest,
            };
            findings.judge(item, content, search, claim, policy);
            if search.stop_when_met && findings.meets(policy) {
                break;
            }
        }
    }

    /// The question about the image, and the evidence that it was judged by.
    pub(crate) fn asked<'a>(
        &'a self,
        claim: &Claim,
        policy: &'a Policy,
        search: &Search,
        findings: &mut Findings<'_>,
    ) -> (verdict::Asked<'a>, Record) {
        let unread = |all: &[RefusedBundle]| {
            all.iter()
                // Evidence that was judged names the step in which it failed.
                .filter(|one| one.step.is_none())
                .map(|one| Unread { place: one.bundle.clone(), reason: one.reason.clone() })
                .collect()
        };
        let asked = verdict::Asked {
            subject: verdict::Subject {
                name: self.reference.to_string(),
                digest: claim.subject,
                tag: self.resolved.tag.clone(),
                index: None,
            },
            index: self.index_of_image().filter(|_| findings.leans_on_index),
            question: Question::new(policy, Some(&claim.predicate_type), search.expectations.clone()),
            policy,
            whole: None,
            unjudged: Unjudged {
                unread: unread(&findings.unread),
                damaged: unread(&findings.refused),
                others: findings.others,
                truncated: findings.truncated,
            },
        };
        (asked, std::mem::take(&mut findings.record))
    }

    /// The report on the findings.
    pub(crate) fn report(&self, claim: &Claim, policy: &Policy, findings: Findings<'_>) -> Verification {
        let is_plain = claim.predicate_type == PredicateType::image_signature();
        let votes: Vec<Vote> = findings.accepted.iter().map(|found| found.accepted.vote.clone()).collect();
        let is_whole = findings.unread.is_empty() && !findings.truncated;
        let verdict = findings::verdict(policy, &votes, is_whole);
        let advice = match verdict {
            Verdict::Verified => self.advice_on_pulling(&findings),
            Verdict::Undetermined => Some("try again; until then do not use it".to_owned()),
            Verdict::Refused => Some(format!(
                "do not use it; its publisher can sign it:\n  lifeboat-sign {} {} …",
                if is_plain { "image" } else { "attest" },
                self.reference
            )),
        };
        let accepted = findings.accepted.into_iter();
        let mut accepted: Vec<_> =
            accepted.map(|found| accepted_bundle(found.place, found.form.name(), &found.accepted)).collect();
        let (slots, distinct_signers) = findings::fill_slots(policy, &votes, &mut accepted);
        Verification {
            verdict,
            subject: self.reference.to_string(),
            digest: claim.subject.to_oci(),
            tag: self.resolved.tag.clone(),
            index: self.index_report(),
            claim: findings::claim(&describe(claim.predicate_type.uri()).replace('`', ""), policy),
            predicate_type: Some(claim.predicate_type.uri().to_owned()),
            signers: policy.names(),
            threshold: policy.threshold,
            distinct_signers,
            slots,
            accepted,
            refused: findings.refused,
            unread: findings.unread,
            others: findings.others,
            truncated: findings.truncated,
            advice,
        }
    }

    /// Pulling by the index means trusting the index, which its image's signature does not cover.
    fn advice_on_pulling(&self, findings: &Findings<'_>) -> Option<String> {
        let is_by_index = self.platform.is_some() && matches!(self.reference, Reference::Registry(_));
        (is_by_index && !findings.leans_on_index).then(|| {
            let pinned = format!("{}@{}", self.reference.name(), self.digest().to_oci());
            format!("pull {pinned}: the image is what is signed, and not the index that names it")
        })
    }

    fn index_report(&self) -> Option<verification::Index> {
        let child = |child: &Child| verification::Child {
            digest: child.descriptor.digest.to_oci(),
            platform: child.platform.clone(),
        };
        let index = self.index.as_ref()?;
        Some(verification::Index {
            digest: index.digest.to_oci(),
            platform: self.platform.clone(),
            children: index.children.iter().map(child).collect(),
        })
    }
}

/// The image that every program pulls for a platform.
fn choose(children: &[Child], platform: &str, reference: &Reference) -> Result<Descriptor, Failure> {
    if children.is_empty() {
        return Err(Failure::usage(
            format!("{reference} is one image, not an index of several platforms"),
            "leave `--platform` out",
        ));
    }
    let shown = platform.escape_default();
    match lifeboat_registry::choose(children, platform) {
        Ok(child) => Ok(child.descriptor.clone()),
        Err(NoChild::Absent) => {
            let known: Vec<&str> = children.iter().filter_map(|child| child.platform.as_deref()).collect();
            Err(Failure::usage(
                format!("{reference} has no single image for `{shown}`"),
                format!("give one of {}", known.join(", ")),
            ))
        }
        Err(NoChild::Ambiguous { reason }) => Err(Failure::refused(
            format!("the image of {reference} for `{shown}` is ambiguous: {reason}"),
            format!("verify and pull the one that is meant by its digest: `{}@sha256:…`", reference.name()),
        )),
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
