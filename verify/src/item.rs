//! A piece of evidence as it was found, with everything around it that affects the decision.

use std::collections::BTreeMap;

use lifeboat_core::Sha256Digest;
use lifeboat_trust::bundle::MAX_ATTESTATION_BYTES;
use lifeboat_trust::judge::{
    Accepted, File, judge_any, judge_file, judge_legacy_attestation, judge_legacy_signature,
};
use lifeboat_trust::policy::Policy;
use lifeboat_trust::provenance::Expectations;
use lifeboat_trust::refusal::Refusal;
use lifeboat_trust::statement::PredicateType;
use lifeboat_trust::step;
use lifeboat_vault::MOST_OF_A_PUBLIC_OBJECT;
use serde::{Deserialize, Serialize};

use crate::findings;

/// The form in which evidence is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Form {
    /// A bundle whose manifest refers to an image.
    Bundle,
    /// A bundle next to a file.
    FileBundle,
    /// A layer under an image's `.sig` tag.
    LegacySignature,
    /// A layer under an image's `.att` tag.
    LegacyAttestation,
    /// An object of a repository, which proves something only together with others.
    RepositoryObject,
}

impl Form {
    /// The most bytes that evidence in this form may have.
    pub(crate) const fn most_bytes(self) -> u64 {
        match self {
            Self::Bundle | Self::FileBundle | Self::LegacySignature | Self::LegacyAttestation => {
                MAX_ATTESTATION_BYTES
            }
            Self::RepositoryObject => MOST_OF_A_PUBLIC_OBJECT,
        }
    }

    /// Its name in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bundle | Self::FileBundle => "bundle",
            Self::LegacySignature | Self::LegacyAttestation => "legacy",
            Self::RepositoryObject => "object",
        }
    }
}

/// A piece of evidence.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Item {
    /// Where it was found: the digest of its manifest or layer, or its file.
    pub(crate) place: String,
    pub(crate) form: Form,
    /// What it should be about: an image, an index that names the image, or a file.
    pub(crate) subject: Sha256Digest,
    /// The digest that its manifest refers to.
    pub(crate) refers_to: Option<Sha256Digest>,
    /// The annotations of its manifest or layer.
    pub(crate) annotations: BTreeMap<String, String>,
    /// The digest of its bytes.
    pub(crate) content: Sha256Digest,
}

/// The question about each piece of evidence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'q> {
    pub(crate) predicate_type: Option<&'q PredicateType>,
    /// The complete file, if a key needs it.
    pub(crate) whole: Option<&'q [u8]>,
    pub(crate) expectations: Option<&'q Expectations>,
}

impl Item {
    /// Judges it by its bytes.
    pub(crate) fn judge<'p>(
        &self,
        content: &[u8],
        asked: Asked<'_>,
        policy: &'p Policy,
    ) -> Result<Accepted<'p>, Refusal> {
        let Asked { predicate_type, whole, expectations } = asked;
        let accepted = match self.form {
            Form::Bundle => self.judge_attached(content, predicate_type, policy),
            Form::FileBundle => {
                judge_file(content, File { digest: self.subject, content: whole, predicate_type }, policy)
            }
            // It says that an image was signed, and nothing else about it.
            Form::LegacySignature
                if predicate_type.is_some_and(|kind| *kind != PredicateType::image_signature()) =>
            {
                let reason = "it is the signature of an image, not an attestation".to_owned();
                Err(Refusal::Unproven { step: step::PREDICATE_TYPE, reason })
            }
            Form::LegacySignature => judge_legacy_signature(content, &self.annotations, self.subject, policy),
            Form::LegacyAttestation => {
                judge_legacy_attestation(content, &self.annotations, self.subject, predicate_type, policy)
            }
            Form::RepositoryObject => {
                let reason = "it is an object of a repository".to_owned();
                Err(Refusal::Unproven { step: step::FORMAT, reason })
            }
        }?;
        match expectations {
            Some(expectations) => expectations.check(accepted),
            None => Ok(accepted),
        }
    }

    /// Judges a bundle, and the manifest that holds it: the unsigned manifest must not contradict what was signed,
    /// because it would mislead a reader of the manifest alone.
    fn judge_attached<'p>(
        &self,
        content: &[u8],
        predicate_type: Option<&PredicateType>,
        policy: &'p Policy,
    ) -> Result<Accepted<'p>, Refusal> {
        let contradiction = |reason: String| Refusal::Unproven { step: step::CONSISTENCY, reason };
        if let Some(other) = self.refers_to.filter(|other| *other != self.subject) {
            return Err(contradiction(format!(
                "it is listed for {} but says that it refers to {}",
                self.subject.to_oci(),
                other.to_oci()
            )));
        }
        let accepted = judge_any(content, self.subject, predicate_type, policy)?;
        findings::check_annotations(&self.annotations, &accepted).map_err(contradiction)?;
        Ok(accepted)
    }
}
