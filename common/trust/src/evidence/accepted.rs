//! Evidence that makes the claim that was asked for.

#![deny(unused_variables, dead_code)]

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Evidence;
use super::authenticated::By;
use super::bound::About;
use crate::certificate::Claims;
use crate::json::printable;
use crate::matching::Vote;
use crate::policy::{ClaimDemands, Signer};
use crate::provenance;
use crate::refusal::Refusal;
use crate::signed_time;
use crate::statement::{PredicateType, Statement};
use crate::step;

/// The claim that is required about the subject.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'q> {
    /// A statement of this type; for an image also its plain signature in the older form.
    Statement(&'q PredicateType),
    /// A statement of any type. The caller must examine what it says: a signature that is good for something is not
    /// good for everything.
    AnyStatement,
    /// That it is this file: its signature, or a statement about it. Whatever else a statement says is ignored.
    File,
    /// A statement of this type about a file.
    FileStatement(&'q PredicateType),
}

impl<'q> Wanted<'q> {
    fn predicate_type(self) -> Option<&'q PredicateType> {
        match self {
            Self::Statement(kind) | Self::FileStatement(kind) => Some(kind),
            Self::AnyStatement | Self::File => None,
        }
    }

    /// Whether the plain signature of an image in the older form is required.
    fn is_legacy(self) -> bool {
        match self {
            Self::Statement(kind) => *kind == PredicateType::image_signature(),
            Self::AnyStatement => true,
            Self::File | Self::FileStatement(_) => false,
        }
    }
}

/// A signature that counts.
#[derive(Debug)]
pub struct Accepted<'p> {
    /// The policy's signer who made it; if it matches several, the first.
    pub signer: &'p Signer,
    /// The slots of the policy that it can fill, and what distinguishes it from other signatures.
    pub vote: Vote,
    /// The certificate's claims, if there is one.
    pub certificate: Option<Claims>,
    /// The findings from logs and timestamps, and the steps that were taken.
    pub evidence: Evidence,
    /// The signed payload, byte for byte; empty for the signature of a file.
    pub payload: Vec<u8>,
    /// The parsed payload, if it is a statement.
    pub statement: Option<Statement>,
    _seal: Seal,
}

/// Prevents other code from making an [`Accepted`].
#[derive(Debug)]
struct Seal;

impl<'p> Accepted<'p> {
    pub(super) fn of(
        about: About,
        by: By<'p>,
        wanted: Wanted<'_>,
        demands: ClaimDemands<'_>,
    ) -> Result<Self, Refusal> {
        let ClaimDemands { annotations, minimum_time, now } = demands;
        let By { signer, vote, certificate, evidence } = by;
        let (payload, statement) = (Vec::new(), None);
        let mut accepted = Self { signer, vote, certificate, evidence, payload, statement, _seal: Seal };
        match about {
            About::Statement { payload, statement, place } => {
                accepted.check_type(&statement, wanted)?;
                check_annotations(annotations, |name| statement.subjects.get(place)?.annotation(name))?;
                accepted.add_annotations(annotations);
                accepted.check_consistency(&statement, wanted)?;
                accepted.payload = payload;
                accepted.statement = Some(*statement);
            }
            About::Image { optional } if wanted.is_legacy() => {
                check_annotations(annotations, |name| Some(optional.get(name)?.as_str()?.to_owned()))?;
                accepted.add_annotations(annotations);
            }
            About::File if matches!(wanted, Wanted::File) && annotations.is_empty() => {}
            About::Image { .. } | About::File => return Err(Refusal::NotAnEnvelope),
        }
        accepted.check_time(minimum_time, now)?;
        Ok(accepted)
    }

    fn check_type(&mut self, statement: &Statement, wanted: Wanted<'_>) -> Result<(), Refusal> {
        let Some(expected) = wanted.predicate_type() else { return Ok(()) };
        if statement.predicate_type != expected.uri() {
            return Err(Refusal::OtherPredicate {
                signer: self.signer.name(),
                expected: describe(expected.uri()),
                found: describe(&statement.predicate_type),
            });
        }
        self.evidence.steps.push(step::PREDICATE_TYPE);
        Ok(())
    }

    fn add_annotations(&mut self, wanted: &BTreeMap<String, String>) {
        self.evidence.steps.extend((!wanted.is_empty()).then_some(step::ANNOTATIONS));
    }

    /// If a certificate describes a build as well, it must agree with the statement.
    fn check_consistency(&mut self, statement: &Statement, wanted: Wanted<'_>) -> Result<(), Refusal> {
        let is_read = !matches!(wanted, Wanted::File);
        if let Some(claims) = self.certificate.as_ref().filter(|_| is_read)
            && provenance::check_certificate(statement, claims)?
        {
            self.evidence.steps.push(step::CONSISTENCY);
        }
        Ok(())
    }

    /// Checks that it was not signed before the minimum. A witness shows that a signature existed, but not since when,
    /// because an old signature can be witnessed again. What limits its age is its certificate, or a time that was
    /// signed with it.
    fn check_time(&mut self, minimum: Option<Timestamp>, now: Timestamp) -> Result<(), Refusal> {
        let Some(minimum) = minimum else { return Ok(()) };
        let stated = self.statement.as_ref().and_then(signed_time::of_statement);
        stated.map_or(Ok(()), |stated| signed_time::check(stated, now))?;
        let certificate = self.certificate.as_ref();
        let certified = certificate.map(|claims| claims.not_before);
        let is_short = certificate.is_some_and(|claims| {
            claims.not_after.as_second() - claims.not_before.as_second() <= SHORT_LIVED
        });
        match certified.max(stated) {
            Some(after) if after >= minimum => {
                self.evidence.steps.push(step::MINIMUM_TIME);
                Ok(())
            }
            Some(after) if is_short || stated.is_some() => {
                Err(Refusal::Stale { time: after.to_string(), minimum: minimum.to_string() })
            }
            _ => Err(Refusal::NoTime),
        }
    }
}

/// The longest validity of a certificate that limits the time of its signatures, in seconds.
const SHORT_LIVED: i64 = 24 * 60 * 60;

/// Compares the signed annotations with those that the caller requires.
fn check_annotations(
    wanted: &BTreeMap<String, String>,
    signed: impl Fn(&str) -> Option<String>,
) -> Result<(), Refusal> {
    for (name, expected) in wanted {
        let found = signed(name);
        if found.as_ref() != Some(expected) {
            let found = found.map(|value| printable(&value));
            return Err(Refusal::OtherAnnotation { name: name.clone(), expected: expected.clone(), found });
        }
    }
    Ok(())
}

/// A predicate type in words.
pub fn describe(uri: &str) -> String {
    match uri.parse::<PredicateType>() {
        Ok(kind) if kind == PredicateType::image_signature() => "an image signature".to_owned(),
        Ok(kind) => match kind.short_name() {
            Some(name) => format!("an attestation `{name}`"),
            None => format!("an attestation `{}`", printable(uri)),
        },
        Err(_) => format!("`{}`", printable(uri)),
    }
}
