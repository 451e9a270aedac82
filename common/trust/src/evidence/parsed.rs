//! Evidence that is read. Nothing of it is vouched for.

use std::collections::BTreeMap;

use lifeboat_core::Sha256Digest;

use super::{Authenticated, Signed};
use crate::bundle::{Bundle, Content};
use crate::legacy;
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::step::{self, Step};

/// Evidence that everybody reads in one way.
#[derive(Debug)]
#[must_use = "what is read is not vouched for"]
pub struct Parsed<'b> {
    bundle: Bundle<'b>,
    /// The payload of a legacy signature, which is what it covers.
    payload: Option<&'b [u8]>,
}

impl<'b> Parsed<'b> {
    /// Reads a bundle.
    pub fn bundle(document: &'b [u8]) -> Result<Self, Refusal> {
        Ok(Self { bundle: Bundle::parse(document)?, payload: None })
    }

    /// Reads a legacy signature: a payload, and what the annotations of its layer say.
    pub fn legacy_signature(
        payload: &'b [u8],
        annotations: &BTreeMap<String, String>,
    ) -> Result<Self, Refusal> {
        Ok(Self { bundle: legacy::signature(payload, annotations)?, payload: Some(payload) })
    }

    /// Reads a legacy attestation: an envelope, and what the annotations of its layer say.
    pub fn legacy_attestation(
        envelope: &'b [u8],
        annotations: &BTreeMap<String, String>,
    ) -> Result<Self, Refusal> {
        Ok(Self { bundle: legacy::attestation(envelope, annotations)?, payload: None })
    }

    /// Shows that somebody whose word counts signed it; `signed` is the file, where it is the signature of one.
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

    /// The digest that it states of a file that it is the signature of.
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
