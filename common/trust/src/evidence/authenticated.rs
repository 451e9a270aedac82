//! Evidence that a trusted signer signed, as certificates, logs and timestamps show.

#![deny(unused_variables, dead_code)]

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use lifeboat_core::Sha256Digest;

use super::{Bound, Evidence, Signed};
use crate::bundle::{Bundle, Content, Material};
use crate::certificate::Claims;
use crate::dsse;
use crate::enclosed::{Enclosed, MAX_WHOLE_BYTES, Unsigned};
use crate::json::printable;
use crate::key::VerificationKey;
use crate::log::body::{Logged, Maker};
use crate::log::{self, Shown, Shows};
use crate::matching::Vote;
use crate::path::{self, Purpose};
use crate::policy::{Authentication, Signer};
use crate::refusal::Refusal;
use crate::step::{self, Step};
use crate::timestamp;

/// The signed content.
#[derive(Debug)]
pub(super) enum Said<'b> {
    /// A payload, in its envelope.
    Envelope(Enclosed<'b>),
    /// A file.
    File(Sha256Digest),
    /// The payload of a legacy signature.
    LegacyPayload(&'b [u8]),
}

/// The signer, with all supporting evidence. It is passed on to what is accepted.
#[derive(Debug)]
pub(super) struct By<'p> {
    pub(super) signer: &'p Signer,
    pub(super) vote: Vote,
    pub(super) certificate: Option<Claims>,
    pub(super) evidence: Evidence,
}

/// Evidence that a trusted signer signed. What it is about is not known yet.
#[derive(Debug)]
#[must_use = "a signature that is good for something is not good for everything"]
pub struct Authenticated<'b, 'p> {
    said: Said<'b>,
    by: By<'p>,
}

impl<'b, 'p> Authenticated<'b, 'p> {
    pub(super) fn of(
        bundle: Bundle<'b>,
        payload: Option<&'b [u8]>,
        signed: Signed<'_>,
        format: Step,
        rules: Authentication<'p>,
    ) -> Result<Self, Refusal> {
        let mut by = match &bundle.material {
            Material::PublicKey { hint } => by_key(&bundle, hint, signed, rules)?,
            Material::Certificates(chain) => by_certificate(&bundle, chain, signed, rules)?,
        };
        by.evidence.steps.insert(0, format);
        let said = match (bundle.content, payload) {
            (Content::Envelope(envelope), _) => Said::Envelope(envelope),
            (Content::Message { .. }, Some(payload)) => Said::LegacyPayload(payload),
            (Content::Message { .. }, None) => Said::File(signed.digest),
        };
        Ok(Self { said, by })
    }

    /// Checks that the signed content is about `subject`.
    pub fn bind(self, subject: Sha256Digest) -> Result<Bound<'p>, Refusal> {
        Bound::of(self.said, self.by, subject)
    }
}

/// Checks that the holder of one of the policy's keys signed.
///
/// A key's signature needs no logs and timestamps. Those that come with it must still be true, except for the entries
/// of logs that the trusted root does not know: these prove nothing, and are counted separately.
fn by_key<'p>(
    bundle: &Bundle<'_>,
    hint: &str,
    signed: Signed<'_>,
    rules: Authentication<'p>,
) -> Result<By<'p>, Refusal> {
    let Authentication {
        signers,
        root,
        keys_need_log,
        // Demands on certificates.
        certificates_need_log: _,
        certificate_log: _,
        quorum,
        now,
    } = rules;
    let (slots, signer, key) = find_key(bundle, hint, signed, signers)?;
    check_hint(hint, key)?;
    let rules = log::Rules { root, is_needed: keys_need_log, certified: None, now };
    let (shown, times) = witnessed(bundle, rules)?;
    let logged = Logged { content: &bundle.content, file: signed.digest, maker: Maker::Key(key) };
    logged.check(&bundle.log_entries)?;
    let mut evidence = Evidence::of(bundle, &shown, times);
    evidence.add_entries(&shown, quorum)?;
    evidence.steps.push(signature_step(&bundle.content));
    let signature = Sha256Digest::of(bundle.content.signature());
    let vote = Vote { slots, key: key.id(), signature, identity: None };
    Ok(By { signer, vote, certificate: None, evidence })
}

/// Checks that somebody signed whom a certificate names and the policy accepts.
fn by_certificate<'p>(
    bundle: &Bundle<'_>,
    chain: &[Vec<u8>],
    signed: Signed<'_>,
    rules: Authentication<'p>,
) -> Result<By<'p>, Refusal> {
    let Authentication {
        signers,
        root,
        // Demands on keys.
        keys_need_log: _,
        certificates_need_log,
        certificate_log,
        quorum,
        now,
    } = rules;
    if !signers.iter().any(|signer| matches!(signer, Signer::Identity { .. })) {
        return Err(Refusal::SignedByCertificate);
    }
    let (leaf, brought) = chain.split_first().ok_or_else(|| no_certificate("there is none"))?;
    let claims = Claims::read(leaf).map_err(|reason| no_certificate(&reason))?;
    let authorities = &root.prepared().certificate_authorities;
    let brought = brought_certificates(brought, authorities)?;
    let certified = Some(claims.not_before);
    let rules = log::Rules { root, is_needed: certificates_need_log, certified, now };
    let (shown, times) = witnessed(bundle, rules)?;
    if times.is_empty() {
        let reason = "nothing shows when its certificate was used: no log promised to take it, and no authority \
                      stamped it";
        return Err(Refusal::unproven(step::LOG_TIME, reason.to_owned()));
    }
    let mut issuer = Vec::new();
    for time in &times {
        issuer = path::validate(leaf, authorities, &brought, *time, Purpose::CodeSigning)
            .map_err(|reason| no_certificate(&reason))?;
    }
    if certificate_log {
        root.prepared().certificate_logs.check(leaf, &issuer)?;
    }
    check_signature(&bundle.content, leaf, signed)?;
    let maker = Maker::Certificate(leaf, &claims);
    Logged { content: &bundle.content, file: signed.digest, maker }.check(&bundle.log_entries)?;
    let mut evidence = Evidence::of(bundle, &shown, times);
    evidence.steps.push(step::CERTIFICATE);
    evidence.steps.extend(certificate_log.then_some(step::CERTIFICATE_LOG));
    evidence.add_entries(&shown, quorum)?;
    evidence.steps.push(signature_step(&bundle.content));
    let (slots, signer) = find_identity(&claims, signers)?;
    evidence.steps.push(step::IDENTITY);
    let identity = Some((claims.identity.clone(), claims.issuer.clone()));
    let signature = Sha256Digest::of(bundle.content.signature());
    let vote = Vote { slots, key: claims.key, signature, identity };
    Ok(By { signer, vote, certificate: Some(claims), evidence })
}

/// The findings from the log entries, and when logs and timestamp authorities saw the signature. All of them must hold.
fn witnessed<'b>(
    bundle: &'b Bundle<'_>,
    rules: log::Rules<'_>,
) -> Result<(Shown<'b>, BTreeSet<Timestamp>), Refusal> {
    let shown = Shown::of(bundle, rules)?;
    let mut times: BTreeSet<Timestamp> = shown.times.iter().copied().collect();
    let signature = bundle.content.signature();
    for token in &bundle.timestamps {
        let authorities = &rules.root.prepared().timestamp_authorities;
        times.insert(timestamp::verify(token, signature, authorities, rules.now)?);
    }
    if rules.is_needed {
        shown.check_times(&times)?;
    }
    Ok((shown, times))
}

fn no_certificate(reason: &str) -> Refusal {
    Refusal::unproven(step::CERTIFICATE, format!("the certificate cannot be used: {reason}"))
}

/// The certificates besides the signer's that may be part of a path. All others have no effect: those of an authority
/// whose whole chain is in the trusted root, and roots, which are trusted only if they come from there (Sigstore
/// protobuf specs, `sigstore_bundle.proto`, `VerificationMaterial`).
fn brought_certificates(
    brought: &[Vec<u8>],
    authorities: &[path::Authority],
) -> Result<Vec<Vec<u8>>, Refusal> {
    let is_root = |der: &Vec<u8>| path::Facts::read(der).is_ok_and(|facts| facts.is_self_issued);
    let before_last = brought.split_last().map_or(brought, |(_, before)| before);
    if before_last.iter().any(is_root) {
        return Err(no_certificate(
            "its chain goes on after a root, so that it is not in the order of issuing",
        ));
    }
    let is_wanted = authorities.iter().any(|one| one.chain.len() == 1);
    let kept = brought.iter().filter(|der| is_wanted && path::is_read(der) && !is_root(der));
    Ok(kept.cloned().collect())
}

/// Checks that the holder of the key in a certificate signed.
fn check_signature(content: &Content<'_>, leaf: &[u8], signed: Signed<'_>) -> Result<(), Refusal> {
    let key = crate::certificate::key_of(leaf).and_then(|key| VerificationKey::from_any_spki_der(&key).ok());
    let key = key.ok_or_else(|| no_certificate("its key is of a kind that is not read"))?;
    let wrong = |reason: &str| Refusal::unproven(step::SIGNATURE, reason.to_owned());
    match (verify(content, &key, signed)?, content) {
        (Verified::Yes, _) => Ok(()),
        (Verified::No, _) => Err(wrong("the key in its certificate did not make its signature")),
        (Verified::Blind, Content::Envelope(_)) => Err(too_large()),
        (Verified::Blind, Content::Message { .. }) => Err(wrong(
            "its certificate is for an Ed25519 key, which cannot verify the signature of a file by its digest",
        )),
    }
}

fn too_large() -> Refusal {
    Refusal::unproven(
        step::SIGNATURE,
        format!("an Ed25519 key signs payloads whole, of which at most {MAX_WHOLE_BYTES} bytes are read"),
    )
}

/// Whether a key made a signature.
enum Verified {
    Yes,
    No,
    /// It needs more than there is, or more than is read.
    Blind,
}

fn verify(content: &Content<'_>, key: &VerificationKey, signed: Signed<'_>) -> Result<Verified, Refusal> {
    let verified = match content {
        Content::Envelope(envelope) if envelope.payload_type() != dsse::IN_TOTO => {
            return Err(Refusal::OtherPayload { found: printable(envelope.payload_type()) });
        }
        Content::Envelope(envelope) => match envelope.verify(key) {
            Ok(()) => return Ok(Verified::Yes),
            Err(Unsigned::TooLarge) => return Ok(Verified::Blind),
            Err(Unsigned::ByOther) => false,
        },
        Content::Message { signature, .. } => match signed.content {
            _ if key.verifies_digests() => key.verify_digest(signed.digest, signature).is_ok(),
            Some(content) => key.verify(content, signature).is_ok(),
            None => return Ok(Verified::Blind),
        },
    };
    Ok(if verified { Verified::Yes } else { Verified::No })
}

fn signature_step(content: &Content<'_>) -> Step {
    match content {
        Content::Envelope(_) => step::ENVELOPE,
        Content::Message { .. } => step::SIGNATURE,
    }
}

impl Evidence {
    fn of(bundle: &Bundle<'_>, shown: &Shown<'_>, times: BTreeSet<Timestamp>) -> Self {
        let timestamps = bundle.timestamps.len();
        let mut steps = Vec::new();
        steps.extend((timestamps > 0).then_some(step::TIMESTAMP));
        steps.extend(shown.is_promised().then_some(step::LOG_TIME));
        Self { times: times.into_iter().collect(), timestamps, steps, ..Self::default() }
    }

    /// Adds the findings from the log entries of known logs.
    fn add_entries(&mut self, shown: &Shown<'_>, quorum: &crate::witness::Quorum) -> Result<(), Refusal> {
        self.log_entries = shown.count(Shows::Inclusion);
        self.log_promises = shown.count(Shows::Promise);
        self.unknown_log_entries = shown.unknown;
        let log::Witnessed { cosignatures, unchecked } = shown.witnessed(quorum)?;
        self.cosignatures = cosignatures;
        self.unchecked_cosignatures = unchecked;
        self.steps.extend((self.log_entries > 0).then_some(step::INCLUSION));
        self.steps.extend((self.log_promises > 0).then_some(step::PROMISE));
        self.steps.extend(shown.is_known().then_some(step::LOG_ENTRY));
        self.steps.extend((quorum.is_needed() && shown.is_known()).then_some(step::WITNESSES));
        Ok(())
    }
}

fn find_identity<'p>(claims: &Claims, signers: &'p [Signer]) -> Result<(Vec<usize>, &'p Signer), Refusal> {
    let names = |signer: &Signer| match signer {
        Signer::Identity { identity, issuer } => {
            identity.matches(&claims.identity) && issuer.matches(&claims.issuer)
        }
        Signer::Key { .. } => false,
    };
    slots(signers, names).ok_or_else(|| {
        let expected = signers.iter().filter(|signer| matches!(signer, Signer::Identity { .. }));
        Refusal::OtherIdentity {
            identity: printable(&claims.identity),
            issuer: printable(&claims.issuer),
            expected: expected.map(Signer::name).collect::<Vec<_>>().join(" or "),
        }
    })
}

/// All slots of such a signer, and the first one's signer.
fn slots(signers: &[Signer], is_one: impl Fn(&Signer) -> bool) -> Option<(Vec<usize>, &Signer)> {
    let all = signers.iter().enumerate();
    let slots: Vec<usize> = all.filter(|(_, signer)| is_one(signer)).map(|(slot, _)| slot).collect();
    let first = signers.get(*slots.first()?)?;
    Some((slots, first))
}

fn find_key<'p>(
    bundle: &Bundle<'_>,
    hint: &str,
    signed: Signed<'_>,
    signers: &'p [Signer],
) -> Result<(Vec<usize>, &'p Signer, &'p VerificationKey), Refusal> {
    let mut blind = None;
    let mut tried = Vec::new();
    for signer in signers {
        let Signer::Key { key, name } = signer else { continue };
        tried.push(name.as_str());
        match verify(&bundle.content, key, signed)? {
            Verified::Yes => {
                let is_same = |other: &Signer| matches!(other, Signer::Key { key: own, .. } if own == key);
                let (slots, signer) = slots(signers, is_same).unwrap_or((Vec::new(), signer));
                return Ok((slots, signer, key));
            }
            Verified::Blind => blind = Some(name.clone()),
            Verified::No => {}
        }
    }
    let hint = readable_hint(hint);
    Err(match (blind, &bundle.content) {
        _ if tried.is_empty() => Refusal::SignedByKey { hint },
        (Some(_), Content::Envelope(_)) => too_large(),
        (Some(signer), Content::Message { .. }) => Refusal::DigestIsNotEnough { signer },
        (None, _) => Refusal::OtherSigner { tried: tried.join(" or "), hint },
    })
}

/// Refuses a hint in the customary form that names another key than the one that signed.
fn check_hint(hint: &str, key: &VerificationKey) -> Result<(), Refusal> {
    match named_by(hint) {
        Some(named) if named != key.id() => Err(Refusal::unproven(
            step::CONSISTENCY,
            format!("it says that key {} signed it, but key {} did", short(named), short(key.id())),
        )),
        _ => Ok(()),
    }
}

/// The key id in a hint. By custom a hint is the key's id in base64.
fn named_by(hint: &str) -> Option<Sha256Digest> {
    let bytes = STANDARD.decode(hint).ok()?;
    Some(Sha256Digest::from_bytes(bytes.try_into().ok()?))
}

/// The hint in the form in which reports show a key's id.
fn readable_hint(hint: &str) -> String {
    match named_by(hint) {
        Some(named) => short(named),
        None if hint.is_empty() => "(unnamed)".to_owned(),
        None => printable(hint),
    }
}

/// The start of a key's id, as reports show it.
fn short(id: Sha256Digest) -> String {
    id.to_string()[..16].to_owned()
}
