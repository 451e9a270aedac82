//! cosign's older forms (Cosign, "Signature specification"): a "simple signing" payload with its signature in
//! annotations, and a bare envelope for attestations.
//!
//! Both are rewritten as a bundle of an older version, so that signatures, certificates and log entries take the one way
//! through; what they say is judged here.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lifeboat_core::Sha256Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::bundle::{Bundle, NotABundle};
use crate::dsse::Envelope;
use crate::evidence::Signed;
use crate::json::{check_envelope, check_object, printable};
use crate::judge::{self, Accepted};
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::statement::PredicateType;
use crate::step;

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

/// The largest payload of a signature that is read, in bytes.
pub const MAX_PAYLOAD_BYTES: u64 = 128 << 10;

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

/// Judges a payload whose signature stands in `annotations`.
pub fn judge_signature<'p>(
    payload: &[u8],
    annotations: &BTreeMap<String, String>,
    subject: Sha256Digest,
    policy: &'p Policy,
) -> Result<Accepted<'p>, Refusal> {
    let digest = Sha256Digest::of(payload);
    let signature = annotations.get(SIGNATURE).ok_or_else(|| refused("it has no signature"))?;
    let content = json!({
        "messageDigest": {"algorithm": "SHA2_256", "digest": STANDARD.encode(digest.as_bytes())},
        "signature": signature,
    });
    let json = rewrite("messageSignature", &content, annotations)?;
    let bundle = Bundle::parse(&json)?;
    let signed = Signed { digest, content: Some(payload) };
    let mut accepted = judge::judge_signature(&bundle, &json, signed, policy)?;
    // Parsed from the bytes that were verified.
    let payload = parse(payload)?;
    if payload.critical.image.digest != subject.to_oci() {
        return Err(Refusal::OtherSubject {
            signer: accepted.signer.name(),
            expected: subject.to_oci(),
            found: printable(&payload.critical.image.digest),
        });
    }
    let optional = payload.optional.unwrap_or_default();
    judge::check_annotations(&policy.annotations, |name| Some(optional.get(name)?.as_str()?.to_owned()))?;
    if let Some(format) = accepted.evidence.steps.first_mut() {
        *format = step::LEGACY_FORMAT;
    }
    accepted.evidence.steps.push(step::LEGACY_SUBJECT);
    accepted.evidence.steps.extend(judge::annotation_step(policy));
    judge::judge_time(accepted, policy)
}

/// Judges a bare envelope whose certificate and log entry, if it has them, stand in `annotations`.
pub fn judge_attestation<'p>(
    envelope: &[u8],
    annotations: &BTreeMap<String, String>,
    subject: Sha256Digest,
    predicate_type: Option<&PredicateType>,
    policy: &'p Policy,
) -> Result<Accepted<'p>, Refusal> {
    check_envelope(envelope).map_err(refused)?;
    let envelope = Envelope::from_json(envelope).map_err(|error| refused(error.to_string()))?;
    let signatures =
        envelope.signatures.iter().map(|signature| json!({"sig": STANDARD.encode(&signature.bytes)}));
    let content = json!({
        "payloadType": envelope.payload_type,
        "payload": STANDARD.encode(&envelope.payload),
        "signatures": signatures.collect::<Vec<_>>(),
    });
    let json = rewrite("dsseEnvelope", &content, annotations)?;
    judge::judge_any(&json, subject, predicate_type, policy)
}

fn refused(reason: impl Into<String>) -> Refusal {
    Refusal::NotABundle(NotABundle { reason: reason.into() })
}

fn parse(payload: &[u8]) -> Result<Payload, Refusal> {
    check_object(payload).map_err(refused)?;
    let parsed: Payload = serde_json::from_slice(payload).map_err(|error| refused(error.to_string()))?;
    if parsed.critical.kind != TYPE {
        return Err(refused(format!("the type of its payload is `{}`", printable(&parsed.critical.kind))));
    }
    Ok(parsed)
}

/// The annotation of a legacy layer that holds what a log answered.
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

/// The bundle that says what a legacy layer says.
fn rewrite(name: &str, content: &Value, annotations: &BTreeMap<String, String>) -> Result<Vec<u8>, Refusal> {
    let mut material = serde_json::Map::new();
    match annotations.get(CERTIFICATE) {
        None => material.insert("publicKey".to_owned(), json!({})),
        Some(text) => {
            let pem = pem::parse(text).map_err(|_| refused("its certificate is not PEM"))?;
            let certificate = json!({"rawBytes": STANDARD.encode(pem.contents())});
            material.insert("x509CertificateChain".to_owned(), json!({ "certificates": [certificate] }))
        }
    };
    if let Some(text) = annotations.get(LOG_BUNDLE) {
        check_object(text.as_bytes()).map_err(refused)?;
        let log: LogBundle = serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
        let body = STANDARD.decode(&log.payload.body).map_err(|_| refused("its log entry is not base64"))?;
        let body: LogBody = serde_json::from_slice(&body).map_err(|error| refused(error.to_string()))?;
        let id = decode_hex(&log.payload.log_id).ok_or_else(|| refused("its log id is not hexadecimal"))?;
        let entry = json!({
            "logIndex": log.payload.log_index.to_string(),
            "logId": {"keyId": STANDARD.encode(id)},
            "kindVersion": {"kind": body.kind, "version": body.version},
            "integratedTime": log.payload.integrated_time.to_string(),
            "inclusionPromise": {"signedEntryTimestamp": log.promise},
            "canonicalizedBody": log.payload.body,
        });
        material.insert("tlogEntries".to_owned(), json!([entry]));
    }
    if let Some(text) = annotations.get(TIMESTAMP) {
        let timestamp: Timestamp = serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
        let stamps = json!({"rfc3161Timestamps": [{"signedTimestamp": timestamp.signed}]});
        material.insert("timestampVerificationData".to_owned(), stamps);
    }
    // Version 0.1 demands a promise, which is all that these forms know of a log. 0.2 does without: a timestamp is enough.
    let version = if material.contains_key("tlogEntries") { "0.1" } else { "0.2" };
    let bundle = json!({
        "mediaType": format!("application/vnd.dev.sigstore.bundle+json;version={version}"),
        "verificationMaterial": material,
        name: content,
    });
    Ok(serde_json::to_vec(&bundle).expect("JSON values always serialise"))
}

fn decode_hex(text: &str) -> Option<[u8; 32]> {
    text.parse::<Sha256Digest>().ok().map(|digest| *digest.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SigningKey;
    use crate::policy::Signer;
    use crate::statement::{Predicate, Statement};

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
        judge_signature(&payload, &signed(&key, &payload), subject, &policy).unwrap();
        let other = Sha256Digest::of(b"another");
        let refusal = judge_signature(&payload, &signed(&key, &payload), other, &policy).unwrap_err();
        assert_eq!(refusal.step(), step::SUBJECT, "{refusal}");
        let stranger = signed(&SigningKey::generate(), &payload);
        let refusal = judge_signature(&payload, &stranger, subject, &policy).unwrap_err();
        assert_eq!(refusal.step(), step::SIGNATURE, "{refusal}");
        let refusal = judge_signature(&payload, &BTreeMap::new(), subject, &policy).unwrap_err();
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
            judge_signature(bad.as_bytes(), &annotations, subject, &policy).unwrap_err();
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
            judge_attestation(&envelope, &BTreeMap::new(), subject, Some(kind), &policy).map(drop)
        };
        judged(&kind).unwrap();
        let refusal = judged(&PredicateType::image_signature()).unwrap_err();
        assert_eq!(refusal.step(), step::PREDICATE_TYPE, "{refusal}");
    }
}
