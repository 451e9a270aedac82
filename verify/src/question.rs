//! The question, independent of where the evidence is stored: the same question about the same evidence has the same
//! answer.

use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use lifeboat_report::verification::Verdict;
use lifeboat_trust::policy::{NotAPolicy, Policy, PolicyDocument};
use lifeboat_trust::provenance::Expectations;
use lifeboat_trust::statement::PredicateType;
use lifeboat_trust::trusted_root::TrustedRoot;
use lifeboat_vault::RepositoryId;
use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::findings;
use crate::item::{Asked, Item};

/// The question.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// The URI of the required type of statement; `None` if any is accepted for a file.
    pub(crate) predicate_type: Option<String>,
    pub(crate) policy: PolicyDocument,
    /// Expectations of a build.
    pub(crate) expectations: Option<Expectations>,
    /// Whether each piece is judged by itself: nothing is counted, and all evidence must be considered.
    pub(crate) each_by_itself: bool,
    /// The snapshot in question, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<OfSnapshot>,
}

/// A question about a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfSnapshot {
    pub(crate) repository: RepositoryId,
    pub(crate) snapshot: Sha256Digest,
    /// What was seen of the repository earlier.
    pub(crate) before: Option<Checkpoint>,
}

/// Evidence that could not be judged, and cannot be considered again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unjudged {
    /// What could not be read, for example because nothing answered.
    pub(crate) unread: Vec<Unread>,
    /// What was read but is malformed, for example with another digest.
    pub(crate) damaged: Vec<Unread>,
    /// How many manifests that refer to the subject are not bundles.
    pub(crate) others: usize,
    /// Whether more manifests refer to the subject than were considered.
    pub(crate) truncated: bool,
}

/// Evidence that could not be judged, and why.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unread {
    pub(crate) place: String,
    pub(crate) reason: String,
}

/// The answer, with its derivation.
#[derive(Debug, Serialize)]
pub(crate) struct Derivation {
    pub(crate) verdict: Verdict,
    distinct_signers: usize,
    slots: Vec<lifeboat_report::verification::Slot>,
    accepted: Vec<lifeboat_report::verification::AcceptedBundle>,
    refused: Vec<lifeboat_report::verification::RefusedBundle>,
}

impl Question {
    pub(crate) fn new(
        policy: &Policy,
        predicate_type: Option<&PredicateType>,
        expectations: Option<Expectations>,
    ) -> Self {
        let predicate_type = predicate_type.map(|kind| kind.uri().to_owned());
        Self {
            predicate_type,
            policy: policy.document(),
            expectations,
            each_by_itself: false,
            snapshot: None,
        }
    }

    /// The question whether trusted signers say anything at all.
    pub(crate) fn of_each(policy: &Policy) -> Self {
        Self { each_by_itself: true, ..Self::new(policy, None, None) }
    }

    /// The question of who made a snapshot, and who vouches for it.
    pub(crate) fn of_snapshot(policy: &Policy, snapshot: OfSnapshot) -> Self {
        Self { snapshot: Some(snapshot), ..Self::new(policy, None, None) }
    }

    /// Its policy, with a trusted root and a time.
    pub(crate) fn policy(&self, root: TrustedRoot, now: Timestamp) -> Result<Policy, NotAPolicy> {
        let kind = self.predicate_type.as_deref().map(PredicateType::of_uri);
        let is_of_a_build = kind.is_some_and(|kind| kind.is_provenance());
        if self.expectations.is_some() && !is_of_a_build {
            let reason = "it expects something of a build, and asks for another type".to_owned();
            return Err(NotAPolicy { reason });
        }
        self.policy.clone().policy(root, now)
    }

    /// Answers it from evidence alone. Each item comes with its content; `whole` is the file, if a key needs it.
    pub(crate) fn answer(
        &self,
        policy: &Policy,
        items: &[(&Item, &[u8])],
        whole: Option<&[u8]>,
        unjudged: &Unjudged,
    ) -> Derivation {
        let predicate_type = self.predicate_type.as_deref().map(PredicateType::of_uri);
        let asked = Asked {
            predicate_type: predicate_type.as_ref(),
            whole,
            expectations: self.expectations.as_ref(),
        };
        let (mut accepted, mut refused, mut votes) = (Vec::new(), Vec::new(), Vec::new());
        for (item, content) in items {
            match item.judge(content, asked, policy) {
                Ok(found) => {
                    let place = item.place.clone();
                    accepted.push(findings::accepted_bundle(place, item.form.name(), &found));
                    votes.push(found.vote);
                }
                Err(refusal) => refused.push(findings::refused_bundle(item.place.clone(), &refusal)),
            }
        }
        let is_whole = unjudged.unread.is_empty() && !unjudged.truncated;
        let verdict = match self.each_by_itself {
            true if is_whole && !votes.is_empty() => Verdict::Verified,
            true if is_whole => Verdict::Refused,
            true => Verdict::Undetermined,
            false => findings::verdict(policy, &votes, is_whole),
        };
        let (slots, distinct_signers) = findings::fill_slots(policy, &votes, &mut accepted);
        Derivation { verdict, distinct_signers, slots, accepted, refused }
    }
}
