//! What the certificates, logs and timestamps of a bundle show, once they are verified.
//!
//! The cryptography of logs, certificates and timestamps is that of the `sigstore-verify` crate. What it lets pass is
//! refused here and beside: log entries that prove nothing or are of another log (`log`), paths that are not good as a
//! whole (`path`), timestamps that do not say what they are (`timestamp`), hints that name another key.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use sigstore_verify::types::bundle::VerificationMaterialContent;
use sigstore_verify::types::{Artifact, Bundle as Parsed, DerPublicKey, Sha256Hash};
use sigstore_verify::{
    CertificateError, Error, PublicKeyVerificationPolicy, TimestampError, TransparencyLogError,
    VerificationPolicy, VerificationResult,
};

use crate::bundle::{Bundle, Content, LogEntry, Version};
use crate::certificate::Claims;
use crate::key::VerificationKey;
use crate::log::{self, Shows};
use crate::path::{self, Purpose};
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::statement::Statement;
use crate::step::{self, Step};
use crate::timestamp;
use crate::witness::Cosignature;

/// What the certificates, logs and timestamps of one signature show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// When it was witnessed that the signature was there: by logs and by timestamp authorities.
    pub times: Vec<Timestamp>,
    /// How many log entries were shown to be in their log, by a proof under a signed checkpoint.
    pub log_entries: usize,
    /// How many log entries their logs only promised to take.
    pub log_promises: usize,
    /// How many log entries were not: those of logs that the trusted root does not know.
    pub unknown_log_entries: usize,
    /// The cosignatures of witnesses under the checkpoints of the logs that were verified.
    pub cosignatures: Vec<Cosignature>,
    /// How many other signatures stand under these checkpoints: of nobody that the policy names.
    pub unchecked_cosignatures: usize,
    /// How many timestamps were verified.
    pub timestamps: usize,
    /// The steps that were taken.
    pub steps: Vec<Step>,
}

impl Evidence {
    /// Adds what the log entries of known logs show.
    fn add_entries(&mut self, entries: &Entries<'_>, policy: &Policy) -> Result<(), Refusal> {
        self.unknown_log_entries = entries.unknown.len();
        for known in &entries.known {
            match known.shows {
                Shows::Inclusion => self.log_entries += 1,
                Shows::Promise => self.log_promises += 1,
            }
            // What witnesses signed under the checkpoint, which was verified: enough of them under each.
            let witnessed = policy.quorum.check(known.entry.checkpoint.as_ref())?;
            self.cosignatures.extend(witnessed.cosignatures);
            self.unchecked_cosignatures += witnessed.unchecked;
        }
        self.steps.extend((self.log_entries > 0).then_some(step::INCLUSION));
        self.steps.extend((self.log_promises > 0).then_some(step::PROMISE));
        self.steps.extend((!entries.known.is_empty()).then_some(step::LOG_ENTRY));
        let is_witnessed = policy.quorum.is_needed() && !entries.known.is_empty();
        self.steps.extend(is_witnessed.then_some(step::WITNESSES));
        Ok(())
    }
}

/// The log entries of a bundle, by whether the trusted root knows their logs.
struct Entries<'b> {
    known: Vec<Known<'b>>,
    /// The places of the others.
    unknown: Vec<usize>,
}

/// An entry of a log that the trusted root knows, which says the same as its checkpoint and its body.
struct Known<'b> {
    place: usize,
    entry: &'b LogEntry,
    shows: Shows,
}

impl<'b> Entries<'b> {
    /// Looks at each entry by itself. One of a known log that is not good refuses the bundle; one of another log says
    /// nothing.
    fn check(
        bundle: &'b Bundle,
        certificate: Option<(&[u8], &Claims)>,
        policy: &Policy,
    ) -> Result<Self, Refusal> {
        let logs = &policy.root.prepared().logs;
        let mut entries = Self { known: Vec::new(), unknown: Vec::new() };
        for (place, entry) in bundle.log_entries.iter().enumerate() {
            let is_same = |other: &LogEntry| other.log == entry.log && other.body == entry.body;
            if bundle.log_entries[..place].iter().any(is_same) {
                return Err(Refusal::unproven(step::LOG_ENTRY, "it carries one log entry twice".to_owned()));
            }
            let Some(log) = entry.log.and_then(|log| logs.get(&log)) else {
                entries.unknown.push(place);
                continue;
            };
            let proves = match bundle.version {
                Version::V0_1 => entry.promise.is_some(),
                Version::V0_2 | Version::V0_3 => entry.has_proof,
            };
            // A certificate needs the time that a promise bears, also where no log is demanded.
            let is_time = certificate.is_some() && entry.promise.is_some() && !policy.demands_log(true);
            if !proves && !is_time {
                let reason = "one of its log entries does not prove that it is in the log";
                return Err(Refusal::unproven(step::INCLUSION, reason.to_owned()));
            }
            let (leaf, claims) = certificate.unzip();
            let shows =
                log::check_entry(entry, log, leaf, claims.map(|claims| claims.not_before), policy.now)?;
            entries.known.push(Known { place, entry, shows });
        }
        if entries.known.is_empty() && policy.demands_log(certificate.is_some()) {
            let reason = match entries.unknown.len() {
                0 => "it carries no log entry".to_owned(),
                _ => format!("its log entry is not of a log that {} knows", policy.root.name()),
            };
            return Err(Refusal::unproven(step::INCLUSION, reason));
        }
        Ok(entries)
    }

    /// The places of the entries that the library is to verify: with proofs, and those that promise only.
    fn places(&self, shows: Shows) -> Vec<usize> {
        self.known.iter().filter(|known| known.shows == shows).map(|known| known.place).collect()
    }
}

/// What is signed: a file, or an envelope that the bundle holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed<'a> {
    /// The digest of the file.
    pub(crate) digest: Sha256Digest,
    /// The file itself, where it is at hand: some keys sign nothing less.
    pub(crate) content: Option<&'a [u8]>,
}

/// Verifies a bundle that was signed with a certificate, whoever is named in it.
pub(crate) fn verify_certificate(
    bundle: &Bundle,
    json: &[u8],
    chain: &[Vec<u8>],
    signed: Signed<'_>,
    policy: &Policy,
) -> Result<(Claims, Evidence), Refusal> {
    let (leaf, brought) = chain.split_first().ok_or_else(|| no_certificate("there is none"))?;
    let claims = Claims::read(leaf).map_err(|reason| no_certificate(&reason))?;
    let brought = brought_certificates(brought, policy)?;
    let entries = Entries::check(bundle, Some((leaf, &claims)), policy)?;
    let prepared = policy.root.prepared();
    let mut rules = VerificationPolicy::any_identity();
    if !policy.demands.certificate_log {
        rules = rules.skip_sct();
    }
    let mut parsed = parse(json)?;
    // Superfluous certificates must not stand in the way, and those of a path are given apart.
    if let VerificationMaterialContent::X509CertificateChain { certificates } =
        &mut parsed.verification_material.content
    {
        certificates.truncate(1);
    }
    let with_brought = if brought.is_empty() { None } else { Some(prepared.verifier_with(&brought)) };
    let with_brought = with_brought.transpose().map_err(|reason| no_certificate(&reason))?;
    let verifier = with_brought.as_ref().unwrap_or(&prepared.verifier);
    let mut times = BTreeSet::new();
    let mut sct_verified = true;
    for run in Run::all(bundle, &entries) {
        let rules = if run.proofs { rules.clone() } else { rules.clone().skip_tlog_unsafe() };
        let part = run.part(&parsed);
        let result = verifier.verify(artifact(bundle, signed), &part, &rules);
        let result = result.map_err(|error| refusal(&error))?;
        times.extend(times_of(&result));
        sct_verified &= result.sct_verified();
    }
    check_timestamps(bundle, policy)?;
    if times.is_empty() {
        return Err(no_certificate("nothing shows when it was used"));
    }
    for time in &times {
        path::validate(leaf, &prepared.certificate_authorities, &brought, *time, Purpose::CodeSigning)
            .map_err(|reason| no_certificate(&reason))?;
    }
    let mut evidence = Evidence::of(bundle, &times);
    if entries.known.iter().any(|known| known.entry.promise.is_some()) {
        evidence.steps.push(step::LOG_TIME);
    }
    evidence.steps.push(step::CERTIFICATE);
    evidence.steps.extend(sct_verified.then_some(step::CERTIFICATE_LOG));
    evidence.add_entries(&entries, policy)?;
    evidence.steps.push(signature_step(bundle));
    Ok((claims, evidence))
}

fn no_certificate(reason: &str) -> Refusal {
    Refusal::unproven(step::CERTIFICATE, format!("the certificate cannot be used: {reason}"))
}

/// The certificates beside the signer's that may be part of a path. All others change nothing: those of an authority of
/// which the trusted root has the whole chain, and roots, which are believed only from there (Sigstore protobuf specs,
/// `sigstore_bundle.proto`, `VerificationMaterial`).
fn brought_certificates(brought: &[Vec<u8>], policy: &Policy) -> Result<Vec<Vec<u8>>, Refusal> {
    let is_root = |der: &Vec<u8>| path::Facts::read(der).is_ok_and(|facts| facts.is_self_issued);
    let before_last = brought.split_last().map_or(brought, |(_, before)| before);
    if before_last.iter().any(is_root) {
        return Err(no_certificate(
            "its chain goes on after a root, so that it is not in the order of issuing",
        ));
    }
    let is_wanted = policy.root.prepared().certificate_authorities.iter().any(|one| one.chain.len() == 1);
    let kept = brought.iter().filter(|der| is_wanted && path::is_read(der) && !is_root(der));
    Ok(kept.cloned().collect())
}

/// Verifies the log entries and timestamps of a bundle whose signature `key` made.
///
/// A key's signature stands without them. What comes with it must be true all the same, unless it is the entry of a log
/// that the trusted root does not know: that one says nothing, and is counted apart.
pub(crate) fn verify_key(
    bundle: &Bundle,
    json: &[u8],
    key: &VerificationKey,
    signed: Signed<'_>,
    policy: &Policy,
) -> Result<Evidence, Refusal> {
    if bundle.log_entries.is_empty() && bundle.timestamps.is_empty() && !policy.demands_log(false) {
        return Ok(Evidence { steps: vec![signature_step(bundle)], ..Evidence::default() });
    }
    let entries = Entries::check(bundle, None, policy)?;
    let prepared = policy.root.prepared();
    let rules = PublicKeyVerificationPolicy::new(DerPublicKey::new(key.to_spki_der().to_vec()));
    let parsed = parse(json)?;
    let mut times = BTreeSet::new();
    let mut runs = Run::all(bundle, &entries);
    runs.retain(|run| !run.places.is_empty() || (run.timestamps && !bundle.timestamps.is_empty()));
    // Nothing is known of these logs. That an entry is about something else is seen without.
    runs.extend(
        (!entries.unknown.is_empty()).then(|| Run { places: entries.unknown.clone(), ..Run::default() }),
    );
    for run in runs {
        let rules = if run.proofs { rules.clone() } else { rules.clone().skip_tlog_unsafe() };
        let part = run.part(&parsed);
        let result = prepared.verifier.verify(artifact(bundle, signed), &part, &rules);
        let result = result.map_err(|error| refusal(&error))?;
        times.extend(times_of(&result));
    }
    check_timestamps(bundle, policy)?;
    let mut evidence = Evidence::of(bundle, &times);
    if entries.known.iter().any(|known| known.entry.promise.is_some()) {
        evidence.steps.push(step::LOG_TIME);
    }
    evidence.add_entries(&entries, policy)?;
    evidence.steps.push(signature_step(bundle));
    Ok(evidence)
}

/// The times that were verified, in the type that is used here.
fn times_of(result: &VerificationResult) -> impl Iterator<Item = Timestamp> {
    result.verified_timestamps().iter().filter_map(|time| Timestamp::from_second(time.as_second()).ok())
}

/// A part of a bundle that the library verifies in one go.
#[derive(Default)]
struct Run {
    /// The places of its log entries.
    places: Vec<usize>,
    /// Whether their proofs are verified. Otherwise only their promises are, which bear times.
    proofs: bool,
    /// Whether the timestamps belong to it.
    timestamps: bool,
}

impl Run {
    /// The parts of a bundle: what proves that it is in a log, with the timestamps, and what a log only promised.
    fn all(bundle: &Bundle, entries: &Entries<'_>) -> Vec<Self> {
        let (proven, promised) = (entries.places(Shows::Inclusion), entries.places(Shows::Promise));
        // Version 0.1 is of a time when a promise was all that a log gave; the library knows that.
        if bundle.version == Version::V0_1 {
            let places: Vec<usize> = entries.known.iter().map(|known| known.place).collect();
            return vec![Self { proofs: !places.is_empty(), places, timestamps: true }];
        }
        let mut runs = Vec::new();
        if !proven.is_empty() || promised.is_empty() || !bundle.timestamps.is_empty() {
            runs.push(Self { proofs: !proven.is_empty(), places: proven, timestamps: true });
        }
        if !promised.is_empty() {
            runs.push(Self { places: promised, ..Self::default() });
        }
        runs
    }

    /// The bundle without what does not belong to this part.
    fn part(&self, whole: &Parsed) -> Parsed {
        let mut part = whole.clone();
        let material = &mut part.verification_material;
        let mut place = 0;
        material.tlog_entries.retain(|_| {
            place += 1;
            self.places.contains(&(place - 1))
        });
        if !self.timestamps {
            material.timestamp_verification_data.rfc3161_timestamps.clear();
        }
        part
    }
}

impl Evidence {
    fn of(bundle: &Bundle, times: &BTreeSet<Timestamp>) -> Self {
        let timestamps = bundle.timestamps.len();
        let steps = if timestamps > 0 { vec![step::TIMESTAMP] } else { Vec::new() };
        Self { times: times.iter().copied().collect(), timestamps, steps, ..Self::default() }
    }
}

/// Looks at the timestamps once more; the library verified their signatures.
fn check_timestamps(bundle: &Bundle, policy: &Policy) -> Result<(), Refusal> {
    for token in &bundle.timestamps {
        timestamp::check(token, &policy.root.prepared().timestamp_authorities, policy.now)?;
    }
    Ok(())
}

/// Whether the hint is of the customary form and names another key than the one that signed.
pub(crate) fn check_hint(hint: &str, key: &VerificationKey) -> Result<(), Refusal> {
    let named = STANDARD.decode(hint).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    match named.map(Sha256Digest::from_bytes) {
        Some(named) if named != key.id() => Err(Refusal::unproven(
            step::CONSISTENCY,
            format!("it says that key {} signed it, but key {} did", short(named), short(key.id())),
        )),
        _ => Ok(()),
    }
}

/// The beginning of a key's id, as reports show it.
pub(crate) fn short(id: Sha256Digest) -> String {
    id.to_string()[..16].to_owned()
}

fn signature_step(bundle: &Bundle) -> Step {
    match bundle.content {
        Content::Envelope(_) => step::ENVELOPE,
        Content::Message { .. } => step::SIGNATURE,
    }
}

fn parse(json: &[u8]) -> Result<Parsed, Refusal> {
    let json = Bundle::one_spelling(json)?;
    let text = std::str::from_utf8(&json)
        .map_err(|error| Refusal::unproven(step::FORMAT, format!("the bundle is not text: {error}")))?;
    Parsed::from_json(text)
        .map_err(|error| Refusal::unproven(step::FORMAT, format!("the bundle cannot be read: {error}")))
}

/// What the library binds the signature to. A statement is bound to a subject of its own: whether that is the one in
/// question is the judge's matter, who says it better.
fn artifact<'a>(bundle: &Bundle, signed: Signed<'a>) -> Artifact<'a> {
    let digest = match &bundle.content {
        Content::Envelope(envelope) => Statement::parse(&envelope.payload)
            .ok()
            .and_then(|statement| statement.subjects.iter().find_map(|subject| subject.digest.sha256()))
            .unwrap_or(signed.digest),
        Content::Message { .. } => match signed.content {
            Some(content) => return Artifact::from_blob(content),
            None => signed.digest,
        },
    };
    Artifact::from_digest(Sha256Hash::new(*digest.as_bytes()))
}

/// Which step failed, by what the library says.
fn refusal(error: &Error) -> Refusal {
    let step = match error {
        Error::Certificate(CertificateError::Sct(_)) => step::CERTIFICATE_LOG,
        Error::Certificate(_) => step::CERTIFICATE,
        Error::TransparencyLog(
            TransparencyLogError::EntryMismatch(_) | TransparencyLogError::MalformedEntry(_),
        ) => step::LOG_ENTRY,
        Error::Timestamp(TimestampError::NoVerifiedTimestamp(_))
        | Error::TransparencyLog(
            TransparencyLogError::InclusionPromise(_) | TransparencyLogError::IntegratedTime(_),
        ) => step::LOG_TIME,
        Error::Timestamp(_) => step::TIMESTAMP,
        Error::TransparencyLog(_) => step::INCLUSION,
        Error::SignatureInvalid(_) | Error::Crypto(_) => step::SIGNATURE,
        Error::ArtifactMismatch(_) => step::SUBJECT,
        _ => step::FORMAT,
    };
    Refusal::unproven(step, error.to_string())
}
