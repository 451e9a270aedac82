//! Parsed evidence. Nothing in it is vouched for.

use std::collections::BTreeMap;

use lifeboat_core::Sha256Digest;

use super::{Authenticated, Signed};
use crate::bundle::{Bundle, Content};
use crate::legacy;
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::step::{self, Step};

/// Evidence that reads the same for everybody.
#[derive(Debug)]
#[must_use = "what is read is not vouched for"]
pub struct Parsed<'b> {
    bundle: Bundle<'b>,
    /// The payload of a legacy signature, which is what it covers.
    payload: Option<&'b [u8]>,
}

impl<'b> Parsed<'b> {
    /// Parses a bundle.
    pub fn bundle(document: &'b [u8]) -> Result<Self, Refusal> {
        Ok(Self { bundle: Bundle::parse(document)?, payload: None })
    }

    /// Parses a legacy signature: a payload, and the annotations of its layer.
    pub fn legacy_signature(
        payload: &'b [u8],
        annotations: &BTreeMap<String, String>,
    ) -> Result<Self, Refusal> {
        Ok(Self { bundle: legacy::signature(payload, annotations)?, payload: Some(payload) })
    }

    /// Parses a legacy attestation: an envelope, and the annotations of its layer.
    pub fn legacy_attestation(
        envelope: &'b [u8],
        annotations: &BTreeMap<String, String>,
    ) -> Result<Self, Refusal> {
        Ok(Self { bundle: legacy::attestation(envelope, annotations)?, payload: None })
    }

    /// Checks that a trusted signer signed it; `signed` is the file, if it is the signature of one.
    pub fn authenticate<'p>(
        self,
        signed: Signed<'_>,
        policy: &'p Policy,
    ) -> Result<Authenticated<'b, 'p>, Refusal> {
        let format = self.format();
        let Self { bundle, payload } = self;
        let signed = match payload {
            Some(payload) => Signed { digest: Sha256Digest::of(payload), content: Some(payload) },
            None => signed,
        };
        Authenticated::of(bundle, payload, signed, format, policy.steps().authentication)
    }

    /// Whether it is an envelope.
    pub(crate) fn is_envelope(&self) -> bool {
        matches!(self.bundle.content, Content::Envelope(_))
    }

    /// The claimed digest of the file, if it is the signature of one.
    pub(crate) fn stated_digest(&self) -> Option<Sha256Digest> {
        match &self.bundle.content {
            Content::Message { digest, .. } => *digest,
            Content::Envelope(_) => None,
        }
    }

    fn format(&self) -> Step {
        if self.payload.is_some() { step::LEGACY_FORMAT } else { step::FORMAT }
    }
}
