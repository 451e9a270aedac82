//! Evidence that is known to be about the subject in question.

use std::collections::BTreeMap;

use lifeboat_core::Sha256Digest;
use serde_json::Value;

use super::authenticated::{By, Said};
use super::{Accepted, Wanted};
use crate::json::printable;
use crate::legacy;
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::statement::Statement;
use crate::step;

/// The claim about the subject.
#[derive(Debug)]
pub(super) enum About {
    /// A statement, with the bytes that it was parsed from, and the index of the subject among its subjects.
    Statement { payload: Vec<u8>, statement: Box<Statement>, place: usize },
    /// That this is the file.
    File,
    /// That this is the image, with annotations, and the bytes that say so.
    Image { optional: BTreeMap<String, Value> },
}

/// Evidence by a trusted signer, about the subject. Its claim is not checked yet.
#[derive(Debug)]
#[must_use = "what was said of the subject is not looked at yet"]
pub struct Bound<'p> {
    about: About,
    by: By<'p>,
}

impl<'p> Bound<'p> {
    pub(super) fn of(said: Said<'_>, mut by: By<'p>, subject: Sha256Digest) -> Result<Self, Refusal> {
        let other = |by: &By<'_>, found: String| Refusal::OtherSubject {
            signer: by.signer.name(),
            expected: subject.to_oci(),
            found,
        };
        let about = match said {
            Said::Envelope(envelope) => {
                // Parsed from the bytes that were verified.
                let payload = envelope.payload();
                drop(envelope);
                let statement = Box::new(Statement::parse(&payload)?);
                let Some(place) = statement.place_of(subject) else {
                    let found = statement.subjects.first().map(|subject| subject.digest.shown());
                    return Err(other(&by, found.unwrap_or_default()));
                };
                by.evidence.steps.extend([step::STATEMENT, step::SUBJECT]);
                About::Statement { payload, statement, place }
            }
            Said::File(file) if file == subject => About::File,
            Said::File(file) => return Err(other(&by, file.to_oci())),
            Said::LegacyPayload(payload) => {
                let legacy::Said { image, optional } = legacy::parse(payload)?;
                if image != subject.to_oci() {
                    return Err(other(&by, printable(&image)));
                }
                by.evidence.steps.push(step::LEGACY_SUBJECT);
                About::Image { optional }
            }
        };
        Ok(Self { about, by })
    }

    /// Checks that it makes the required claim, as the policy demands.
    pub fn claim(self, wanted: Wanted<'_>, policy: &'p Policy) -> Result<Accepted<'p>, Refusal> {
        Accepted::of(self.about, self.by, wanted, policy.steps().demands)
    }
}
