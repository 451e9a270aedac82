//! Why evidence does not count.

use crate::bundle::NotABundle;
use crate::statement::NotAStatement;
use crate::step::{self, Step};

/// Why a bundle does not prove the required claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It cannot be parsed.
    #[error(transparent)]
    NotABundle(#[from] NotABundle),
    /// It was signed with a certificate, and the policy names keys.
    #[error("it was signed with a certificate, and only keys were given to verify with")]
    SignedByCertificate,
    /// It was signed with a key, and the policy names identities.
    #[error("it was signed with key {hint}, and only an identity was given to verify with")]
    SignedByKey {
        /// The hint in the bundle, which nobody vouches for.
        hint: String,
    },
    /// None of the policy's signers made the signature.
    #[error("it was not signed by {tried}; it says that key {hint} signed it")]
    OtherSigner {
        /// The names of the signers that were tried.
        tried: String,
        /// The hint in the bundle, which nobody vouches for.
        hint: String,
    },
    /// The certificate is good, but names someone else.
    #[error("it was signed by {identity}, for whom {issuer} vouches, not by {expected}")]
    OtherIdentity {
        /// The identity in the certificate.
        identity: String,
        /// The issuer in the certificate.
        issuer: String,
        /// Who was expected.
        expected: String,
    },
    /// A step that certificates, logs, timestamps or consistency require failed.
    #[error("{reason}")]
    Unproven {
        /// The step.
        step: Step,
        /// Why it failed.
        reason: String,
    },
    /// It holds the signature of a file instead of a statement.
    #[error("it holds the signature of a file, not a statement about an image")]
    NotAnEnvelope,
    /// The envelope's payload is not an in-toto statement.
    #[error("its signed payload is `{found}`, not an in-toto statement")]
    OtherPayload {
        /// The payload type.
        found: String,
    },
    /// The signature is good, but the signed payload is not a statement.
    #[error(transparent)]
    NotAStatement(#[from] NotAStatement),
    /// The signature is good, but for something else.
    #[error("its signature by {signer} is good, but for {found}, not for {expected}")]
    OtherSubject {
        /// Who signed.
        signer: String,
        /// The digest in question.
        expected: String,
        /// The first subject of the statement.
        found: String,
    },
    /// The signature is good, but makes another claim.
    #[error("its signature by {signer} is good, but it is {found}, not {expected}")]
    OtherPredicate {
        /// Who signed.
        signer: String,
        /// The predicate type that was asked for.
        expected: String,
        /// The predicate type that was signed.
        found: String,
    },
    /// A key of this kind can verify only whole files, and only a digest is available.
    #[error("{signer} is an Ed25519 key, which cannot verify the signature of a file by its digest")]
    DigestIsNotEnough {
        /// Whose key it is.
        signer: String,
    },
    /// The signed content lacks an annotation that the caller requires.
    #[error("it does not bear the annotation {name}={expected}{}", found.as_ref().map_or(String::new(), |v| format!(", but {name}={v}")))]
    OtherAnnotation {
        /// The annotation's name.
        name: String,
        /// The required value.
        expected: String,
        /// The signed value, if there is one.
        found: Option<String>,
    },
    /// A minimum time is required, and nothing shows that the signature was not made before it.
    #[error(
        "nothing in it shows when it was signed, and a minimum time was given: a timestamp or a log shows that a \
         signature was there, not since when"
    )]
    NoTime,
    /// The signature may be older than the caller allows.
    #[error("it was signed at {time} or soon after, before {minimum}")]
    Stale {
        /// The signed time, or the start of its certificate's validity.
        time: String,
        /// The minimum.
        minimum: String,
    },
}

impl Refusal {
    pub(crate) fn unproven(step: Step, reason: String) -> Self {
        Self::Unproven { step, reason }
    }

    /// The step that failed.
    pub fn step(&self) -> Step {
        match self {
            Self::NotABundle(_) | Self::NotAnEnvelope => step::FORMAT,
            Self::SignedByCertificate | Self::SignedByKey { .. } | Self::OtherIdentity { .. } => {
                step::IDENTITY
            }
            Self::OtherSigner { .. } | Self::OtherPayload { .. } | Self::DigestIsNotEnough { .. } => {
                step::SIGNATURE
            }
            Self::Unproven { step, .. } => *step,
            Self::NotAStatement(_) => step::STATEMENT,
            Self::OtherSubject { .. } => step::SUBJECT,
            Self::OtherPredicate { .. } => step::PREDICATE_TYPE,
            Self::OtherAnnotation { .. } => step::ANNOTATIONS,
            Self::NoTime | Self::Stale { .. } => step::MINIMUM_TIME,
        }
    }
}
