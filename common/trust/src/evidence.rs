//! What the certificates, logs and timestamps of a bundle show, once they are verified.
//!
//! The cryptography of logs, certificates and timestamps is that of the `sigstore-verify` crate. What it lets pass is
//! refused here: log entries that prove nothing, certificates with several names, hints that name another key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use sigstore_verify::types::{Artifact, Bundle as Parsed, DerPublicKey, Sha256Hash};
use sigstore_verify::{
    CertificateError, Error, PublicKeyVerificationPolicy, TimestampError, TransparencyLogError,
    VerificationPolicy, VerificationResult,
};

use crate::bundle::{Bundle, Content, LogEntry, Version};
use crate::certificate::{self, Claims};
use crate::key::VerificationKey;
use crate::policy::{Demands, Policy};
use crate::refusal::Refusal;
use crate::statement::Statement;
use crate::step::{self, Step};
use crate::witness::Cosignature;

/// What the certificates, logs and timestamps of one signature show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// When it was witnessed that the signature was there: by logs and by timestamp authorities.
    pub times: Vec<Timestamp>,
    /// How many log entries were verified.
    pub log_entries: usize,
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
    /// The times that were verified. A timestamp that is not good has refused the whole bundle.
    fn of_times(bundle: &Bundle, result: &VerificationResult) -> Self {
        let times = result.verified_timestamps().iter();
        let times = times.filter_map(|time| Timestamp::from_second(time.as_second()).ok()).collect();
        let timestamps = bundle.timestamps.len();
        let steps = if timestamps > 0 { vec![step::TIMESTAMP] } else { Vec::new() };
        Self { times, timestamps, steps, ..Self::default() }
    }

    /// Adds what witnesses signed under the checkpoints of the log entries, which were verified: enough of them under
    /// each.
    fn add_witnesses(&mut self, bundle: &Bundle, policy: &Policy) -> Result<(), Refusal> {
        for entry in &bundle.log_entries {
            let witnessed = policy.quorum.check(entry.checkpoint.as_ref())?;
            self.cosignatures.extend(witnessed.cosignatures);
            self.unchecked_cosignatures += witnessed.unchecked;
        }
        self.steps.extend(policy.quorum.is_needed().then_some(step::WITNESSES));
        Ok(())
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
    let demands = Demands { log: policy.demands.log || policy.quorum.is_needed(), ..policy.demands };
    if chain.iter().skip(1).any(|certificate| certificate::is_root(certificate)) {
        let reason = "its certificate chain brings a root of its own";
        return Err(Refusal::unproven(step::CERTIFICATE, reason.to_owned()));
    }
    let leaf = chain.first().map(Vec::as_slice).unwrap_or_default();
    let claims = Claims::read(leaf).map_err(|reason| {
        Refusal::unproven(step::CERTIFICATE, format!("the certificate cannot be used: {reason}"))
    })?;
    if demands.log {
        check_entries(bundle)?;
    }
    let mut rules = VerificationPolicy::any_identity();
    if !demands.log {
        rules = rules.skip_tlog_unsafe();
    }
    if !demands.certificate_log {
        rules = rules.skip_sct();
    }
    let parsed = parse(json)?;
    let result = policy
        .root
        .prepared()
        .verifier
        .verify(artifact(bundle, signed), &parsed, &rules)
        .map_err(|error| refusal(&error))?;
    let mut evidence = Evidence::of_times(bundle, &result);
    if bundle.log_entries.iter().any(|entry| entry.has_promise) {
        evidence.steps.push(step::LOG_TIME);
    }
    evidence.steps.push(step::CERTIFICATE);
    if result.sct_verified() {
        evidence.steps.push(step::CERTIFICATE_LOG);
    }
    if result.tlog_verified() && !bundle.log_entries.is_empty() {
        evidence.log_entries = bundle.log_entries.len();
        evidence.steps.extend([step::INCLUSION, step::LOG_ENTRY]);
        evidence.add_witnesses(bundle, policy)?;
    }
    evidence.steps.push(signature_step(bundle));
    Ok((claims, evidence))
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
    let demands_log = policy.keys_need_log();
    if bundle.log_entries.is_empty() && bundle.timestamps.is_empty() {
        if demands_log {
            return Err(Refusal::unproven(step::INCLUSION, "it carries no log entry".to_owned()));
        }
        return Ok(Evidence { steps: vec![signature_step(bundle)], ..Evidence::default() });
    }
    let prepared = policy.root.prepared();
    let is_known = |entry: &&LogEntry| entry.log.is_some_and(|log| prepared.logs.contains_key(&log));
    let known = bundle.log_entries.iter().filter(is_known).count();
    let unknown = bundle.log_entries.len() - known;
    if demands_log && (known == 0 || unknown > 0) {
        let reason = format!("its log entry is not of a log that {} knows", policy.root.name());
        return Err(Refusal::unproven(step::INCLUSION, reason));
    }
    let parsed = parse(json)?;
    let mut rules = PublicKeyVerificationPolicy::new(DerPublicKey::new(key.to_spki_der().to_vec()));
    if unknown > 0 || bundle.log_entries.is_empty() {
        rules = rules.skip_tlog_unsafe();
    } else {
        check_entries(bundle)?;
    }
    let result = prepared
        .verifier
        .verify(artifact(bundle, signed), &parsed, &rules)
        .map_err(|error| refusal(&error))?;
    let mut evidence = Evidence::of_times(bundle, &result);
    if unknown > 0 {
        evidence.unknown_log_entries = unknown;
    } else if known > 0 {
        evidence.log_entries = known;
        if bundle.log_entries.iter().any(|entry| entry.has_promise) {
            evidence.steps.push(step::LOG_TIME);
        }
        evidence.steps.extend([step::INCLUSION, step::LOG_ENTRY]);
        evidence.add_witnesses(bundle, policy)?;
    }
    evidence.steps.push(signature_step(bundle));
    Ok(evidence)
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

/// Every entry proves that it is in its log, in the way that the bundle's version wants.
fn check_entries(bundle: &Bundle) -> Result<(), Refusal> {
    if bundle.log_entries.is_empty() {
        return Err(Refusal::unproven(step::INCLUSION, "it carries no log entry".to_owned()));
    }
    for entry in &bundle.log_entries {
        let proves = match bundle.version {
            Version::V0_1 => entry.has_promise,
            Version::V0_2 | Version::V0_3 => entry.has_proof,
        };
        if !proves {
            let reason = "one of its log entries does not prove that it is in the log";
            return Err(Refusal::unproven(step::INCLUSION, reason.to_owned()));
        }
    }
    Ok(())
}

fn parse(json: &[u8]) -> Result<Parsed, Refusal> {
    let text = std::str::from_utf8(json)
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
