//! cosign's older forms (Cosign, "Signature specification"): a "simple signing" payload with its signature in
//! annotations, and a bare envelope for attestations.
//!
//! Both are converted to a bundle of an older version, so that signatures, certificates and log entries are verified in
//! the same way.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lifeboat_core::Sha256Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bundle::{Bundle, Content, EntryKind, LogEntry, Material, NotABundle, Version};
use crate::enclosed::Enclosed;
use crate::json::{check_envelope, check_object, printable};
use crate::refusal::Refusal;

/// The media type of a layer that holds a signature's payload.
pub const PAYLOAD_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The media type of a layer that holds an attestation's envelope.
pub const ENVELOPE_TYPE: &str = "application/vnd.dsse.envelope.v1+json";
/// The annotation of a layer that holds the signature, in base64.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// The annotation of a layer that names an attestation's type.
pub const PREDICATE_TYPE: &str = "predicateType";

pub(crate) const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
pub(crate) const LOG_BUNDLE: &str = "dev.sigstore.cosign/bundle";
pub(crate) const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";

/// The type of every payload.
const TYPE: &str = "cosign container image signature";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    critical: Critical,
    #[serde(default)]
    optional: Option<BTreeMap<String, Value>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    #[serde(rename = "docker-reference")]
    reference: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// The payload of a plain signature of the image `digest` of the repository `name`, as cosign writes it.
///
/// # Panics
/// Never: strings always serialise.
pub fn payload(digest: Sha256Digest, name: &str, annotations: &BTreeMap<String, String>) -> Vec<u8> {
    let values = annotations.iter().map(|(name, value)| (name.clone(), value.clone().into()));
    let payload = Payload {
        critical: Critical {
            identity: Identity { reference: name.to_owned() },
            image: Image { digest: digest.to_oci() },
            kind: TYPE.to_owned(),
        },
        optional: (!annotations.is_empty()).then(|| values.collect()),
    };
    serde_json::to_vec(&payload).expect("strings always serialise")
}

/// The signature of a payload, from `annotations`.
pub(crate) fn signature(
    payload: &[u8],
    annotations: &BTreeMap<String, String>,
) -> Result<Bundle<'static>, Refusal> {
    let signature = annotations.get(SIGNATURE).ok_or_else(|| refused("it has no signature"))?;
    let signature = decode("the signature", signature)?;
    bundle(Content::Message { digest: Some(Sha256Digest::of(payload)), signature }, annotations)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BareEnvelope<'b> {
    #[serde(borrow)]
    payload: Cow<'b, str>,
    #[serde(borrow)]
    payload_type: Cow<'b, str>,
    #[serde(borrow)]
    signatures: Vec<BareSignature<'b>>,
}

#[derive(Deserialize)]
struct BareSignature<'b> {
    #[serde(borrow)]
    sig: Cow<'b, str>,
}

/// The envelope of an attestation, with its certificate and log entry, if any, from `annotations`.
pub(crate) fn attestation<'b>(
    envelope: &'b [u8],
    annotations: &BTreeMap<String, String>,
) -> Result<Bundle<'b>, Refusal> {
    check_envelope(envelope).map_err(refused)?;
    let envelope: BareEnvelope<'b> =
        serde_json::from_slice(envelope).map_err(|error| refused(error.to_string()))?;
    let [signature] = envelope.signatures.as_slice() else {
        return Err(refused(format!("its envelope has {} signatures", envelope.signatures.len())));
    };
    let signature = decode("the signature", &signature.sig)?;
    let enclosed = Enclosed::new(envelope.payload_type, envelope.payload, signature);
    let enclosed = enclosed.map_err(|error| refused(format!("the payload is not base64: {error}")))?;
    bundle(Content::Envelope(enclosed), annotations)
}

fn refused(reason: impl Into<String>) -> Refusal {
    Refusal::NotABundle(NotABundle { reason: reason.into() })
}

fn decode(what: &str, text: &str) -> Result<Vec<u8>, Refusal> {
    STANDARD.decode(text).map_err(|error| refused(format!("{what} is not base64: {error}")))
}

/// The content of a payload.
pub(crate) struct Said {
    /// The digest of the image, verbatim.
    pub(crate) image: String,
    /// The signer's additional members.
    pub(crate) optional: BTreeMap<String, Value>,
}

/// Parses a payload whose signature has been verified.
pub(crate) fn parse(payload: &[u8]) -> Result<Said, Refusal> {
    check_object(payload).map_err(refused)?;
    let parsed: Payload = serde_json::from_slice(payload).map_err(|error| refused(error.to_string()))?;
    if parsed.critical.kind != TYPE {
        return Err(refused(format!("the type of its payload is `{}`", printable(&parsed.critical.kind))));
    }
    Ok(Said { image: parsed.critical.image.digest, optional: parsed.optional.unwrap_or_default() })
}

/// The annotation of a legacy layer with the log's answer.
#[derive(Deserialize)]
struct LogBundle {
    #[serde(rename = "SignedEntryTimestamp")]
    promise: String,
    #[serde(rename = "Payload")]
    payload: LogPayload,
}

#[derive(Deserialize)]
struct LogPayload {
    body: String,
    #[serde(rename = "integratedTime")]
    integrated_time: u64,
    #[serde(rename = "logIndex")]
    log_index: u64,
    #[serde(rename = "logID")]
    log_id: String,
}

#[derive(Deserialize)]
struct LogBody {
    kind: String,
    #[serde(rename = "apiVersion")]
    version: String,
}

#[derive(Deserialize)]
struct Timestamp {
    #[serde(rename = "SignedRFC3161Timestamp")]
    signed: String,
}

/// The bundle that is equivalent to a legacy layer.
fn bundle<'b>(content: Content<'b>, annotations: &BTreeMap<String, String>) -> Result<Bundle<'b>, Refusal> {
    let material = match annotations.get(CERTIFICATE) {
        None => Material::PublicKey { hint: String::new() },
        Some(text) => {
            let pem = pem::parse(text).map_err(|_| refused("its certificate is not PEM"))?;
            Material::Certificates(vec![pem.into_contents()])
        }
    };
    let entry = annotations.get(LOG_BUNDLE).map(|text| log_entry(text)).transpose()?;
    let mut timestamps = Vec::new();
    if let Some(text) = annotations.get(TIMESTAMP) {
        let timestamp: Timestamp = serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
        timestamps.push(decode("its timestamp", &timestamp.signed)?);
    }
    // Version 0.1 requires a promise, which is all that these forms contain from a log. 0.2 does not: a timestamp is
    // enough.
    let version = if entry.is_some() { Version::V0_1 } else { Version::V0_2 };
    Ok(Bundle { version, material, content, log_entries: entry.into_iter().collect(), timestamps })
}

fn log_entry(text: &str) -> Result<LogEntry, Refusal> {
    check_object(text.as_bytes()).map_err(refused)?;
    let LogBundle { promise, payload } =
        serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
    let LogPayload { body, integrated_time, log_index, log_id } = payload;
    if i64::try_from(integrated_time.max(log_index)).is_err() {
        return Err(refused("the time or the index of its log entry lies out of reach"));
    }
    let body = decode("its log entry", &body)?;
    let LogBody { kind, version } =
        serde_json::from_slice(&body).map_err(|error| refused(error.to_string()))?;
    Ok(LogEntry {
        log: Some(log_id.parse().map_err(|_| refused("its log id is not hexadecimal"))?),
        kind: EntryKind::of(&kind, &version)?,
        body,
        promise: Some(decode("the promise of its log entry", &promise)?),
        integrated_time,
        index: log_index,
        proof: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsse::Envelope;
    use crate::judge::{judge_legacy_attestation, judge_legacy_signature};
    use crate::key::SigningKey;
    use crate::policy::{Policy, Signer};
    use crate::statement::{Predicate, PredicateType, Statement};
    use crate::step;

    fn setting() -> (SigningKey, Policy, Sha256Digest) {
        let key = SigningKey::generate();
        let signer = Signer::Key { name: "release.pub".to_owned(), key: key.verification_key().clone() };
        let policy = Policy { signers: vec![signer], ..Policy::default() };
        (key, policy, Sha256Digest::of(b"image"))
    }

    fn signed(key: &SigningKey, payload: &[u8]) -> BTreeMap<String, String> {
        BTreeMap::from([(SIGNATURE.to_owned(), STANDARD.encode(key.sign(payload)))])
    }

    #[test]
    fn a_payload_is_the_one_that_cosign_writes_and_counts_for_its_image() {
        let (key, policy, subject) = setting();
        let payload = payload(subject, "registry.example/app", &BTreeMap::new());
        insta::assert_snapshot!(String::from_utf8_lossy(&payload), @r#"{"critical":{"identity":{"docker-reference":"registry.example/app"},"image":{"docker-manifest-digest":"sha256:6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d"},"type":"cosign container image signature"},"optional":null}"#);
        judge_legacy_signature(&payload, &signed(&key, &payload), subject, &policy).unwrap();
        let other = Sha256Digest::of(b"another");
        let refusal = judge_legacy_signature(&payload, &signed(&key, &payload), other, &policy).unwrap_err();
        assert_eq!(refusal.step(), step::SUBJECT, "{refusal}");
        let stranger = signed(&SigningKey::generate(), &payload);
        let refusal = judge_legacy_signature(&payload, &stranger, subject, &policy).unwrap_err();
        assert_eq!(refusal.step(), step::SIGNATURE, "{refusal}");
        let refusal = judge_legacy_signature(&payload, &BTreeMap::new(), subject, &policy).unwrap_err();
        assert_eq!(refusal.step(), step::FORMAT, "{refusal}");
    }

    #[test]
    fn a_signed_payload_that_says_something_else_is_refused() {
        let (key, policy, subject) = setting();
        let good = String::from_utf8(payload(subject, "app", &BTreeMap::new())).unwrap();
        for bad in [
            good.replace(TYPE, "atomic container signature"),
            good.replace(r#""optional":null"#, r#""optional":null,"optional":{}"#),
            good.replace(r#""optional":null"#, r#""more":1"#),
            "[]".to_owned(),
        ] {
            let annotations = signed(&key, bad.as_bytes());
            judge_legacy_signature(bad.as_bytes(), &annotations, subject, &policy).unwrap_err();
        }
    }

    #[test]
    fn an_attestation_is_no_signature() {
        let (key, policy, subject) = setting();
        let kind: PredicateType = "vuln".parse().unwrap();
        let predicate =
            Predicate::from_file(&kind, br#"{"scanner":{}}"#.to_vec(), jiff::Timestamp::UNIX_EPOCH);
        let statement = Statement::attestation(subject, "app", &kind, &predicate.unwrap(), &BTreeMap::new());
        let envelope = Envelope::sign(crate::dsse::IN_TOTO, statement, &key).to_json();
        let judged = |kind: &PredicateType| {
            judge_legacy_attestation(&envelope, &BTreeMap::new(), subject, Some(kind), &policy).map(drop)
        };
        judged(&kind).unwrap();
        let refusal = judged(&PredicateType::image_signature()).unwrap_err();
        assert_eq!(refusal.step(), step::PREDICATE_TYPE, "{refusal}");
    }
}
