//! The JSON form of bundles (Sigstore protobuf specs, `sigstore_bundle.proto`). An unknown member refuses the bundle.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lifeboat_core::Sha256Digest;
use serde::{Deserialize, Serialize};

use super::{Checkpoint, Content, LogEntry, MAX_LOG_ENTRIES, MAX_TIMESTAMPS, Material, NotABundle, Version};
use crate::dsse;
use crate::json::printable;

/// How many certificates a chain may have.
const MAX_CERTIFICATES: usize = 10;

/// How many signatures an envelope in a bundle may carry; the format allows one.
const MAX_SIGNATURES: usize = 1;

/// The name of SHA-256 in the format's `HashAlgorithm`.
const SHA2_256: &str = "SHA2_256";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Json {
    #[serde(alias = "media_type")]
    pub(super) media_type: String,
    #[serde(alias = "verification_material")]
    pub(super) verification_material: JsonMaterial,
    #[serde(default, alias = "message_signature", skip_serializing_if = "Option::is_none")]
    pub(super) message_signature: Option<JsonMessage>,
    #[serde(default, alias = "dsse_envelope", skip_serializing_if = "Option::is_none")]
    pub(super) dsse_envelope: Option<JsonEnvelope>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct JsonMaterial {
    #[serde(default, alias = "public_key", skip_serializing_if = "Option::is_none")]
    pub(super) public_key: Option<JsonPublicKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) certificate: Option<JsonCertificate>,
    #[serde(default, alias = "x509_certificate_chain", skip_serializing_if = "Option::is_none")]
    pub(super) x509_certificate_chain: Option<JsonChain>,
    #[serde(default, alias = "tlog_entries", skip_serializing_if = "Option::is_none")]
    pub(super) tlog_entries: Option<Vec<JsonLogEntry>>,
    #[serde(default, alias = "timestamp_verification_data", skip_serializing_if = "Option::is_none")]
    pub(super) timestamp_verification_data: Option<JsonTimestamps>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JsonPublicKey {
    #[serde(default)]
    pub(super) hint: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct JsonCertificate {
    #[serde(alias = "raw_bytes")]
    pub(super) raw_bytes: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JsonChain {
    #[serde(default)]
    pub(super) certificates: Vec<JsonCertificate>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JsonTimestamps {
    #[serde(
        default,
        rename = "rfc3161Timestamps",
        alias = "rfc3161_timestamps",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) rfc3161: Option<Vec<JsonTimestamp>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct JsonTimestamp {
    #[serde(alias = "signed_timestamp")]
    pub(super) signed_timestamp: String,
}

/// protobuf writes 64-bit numbers as text; some writers write them as numbers.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Number {
    Text(String),
    Plain(u64),
}

impl Number {
    fn value(&self, what: &str) -> Result<u64, NotABundle> {
        match self {
            Self::Plain(number) => Ok(*number),
            Self::Text(text) => text
                .parse()
                .map_err(|_| refused(format!("its {what} is `{}`, not a natural number", printable(text)))),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct JsonLogEntry {
    #[serde(default, alias = "log_index", skip_serializing_if = "Option::is_none")]
    pub(super) log_index: Option<Number>,
    #[serde(alias = "log_id")]
    pub(super) log_id: JsonLogId,
    #[serde(alias = "kind_version")]
    pub(super) kind_version: JsonKind,
    #[serde(default, alias = "integrated_time", skip_serializing_if = "Option::is_none")]
    pub(super) integrated_time: Option<Number>,
    #[serde(default, alias = "inclusion_promise", skip_serializing_if = "Option::is_none")]
    pub(super) inclusion_promise: Option<JsonPromise>,
    #[serde(default, alias = "inclusion_proof", skip_serializing_if = "Option::is_none")]
    pub(super) inclusion_proof: Option<JsonProof>,
    #[serde(alias = "canonicalized_body")]
    pub(super) canonicalized_body: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct JsonLogId {
    #[serde(alias = "key_id")]
    pub(super) key_id: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JsonKind {
    pub(super) kind: String,
    pub(super) version: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct JsonPromise {
    #[serde(alias = "signed_entry_timestamp")]
    pub(super) signed_entry_timestamp: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct JsonProof {
    #[serde(default, alias = "log_index", skip_serializing_if = "Option::is_none")]
    pub(super) log_index: Option<Number>,
    #[serde(alias = "root_hash")]
    pub(super) root_hash: String,
    #[serde(alias = "tree_size")]
    pub(super) tree_size: Number,
    #[serde(default)]
    pub(super) hashes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) checkpoint: Option<JsonCheckpoint>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JsonCheckpoint {
    pub(super) envelope: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct JsonMessage {
    #[serde(default, alias = "message_digest", skip_serializing_if = "Option::is_none")]
    pub(super) message_digest: Option<JsonDigest>,
    pub(super) signature: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JsonDigest {
    pub(super) algorithm: String,
    pub(super) digest: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct JsonEnvelope {
    pub(super) payload: String,
    #[serde(alias = "payload_type")]
    pub(super) payload_type: String,
    pub(super) signatures: Vec<JsonSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JsonSignature {
    pub(super) sig: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) keyid: Option<String>,
}

pub(super) fn refused(reason: impl Into<String>) -> NotABundle {
    NotABundle { reason: reason.into() }
}

pub(super) fn decode(what: &str, text: &str) -> Result<Vec<u8>, NotABundle> {
    STANDARD.decode(text).map_err(|error| refused(format!("{what} is not base64: {error}")))
}

impl JsonMaterial {
    /// What the signer says can verify the signature: exactly one of the three kinds, and one that the version knows.
    pub(super) fn material(&self, version: Version) -> Result<Material, NotABundle> {
        match (&self.public_key, &self.certificate, &self.x509_certificate_chain) {
            (Some(key), None, None) => Ok(Material::PublicKey { hint: key.hint.clone() }),
            (None, Some(certificate), None) => {
                Ok(Material::Certificates(vec![decode("the certificate", &certificate.raw_bytes)?]))
            }
            (None, None, Some(_)) if version == Version::V0_3 => {
                Err(refused("it holds a certificate chain, which versions before 0.3 did"))
            }
            (None, None, Some(JsonChain { certificates }))
                if certificates.is_empty() || certificates.len() > MAX_CERTIFICATES =>
            {
                Err(refused(format!("its certificate chain has {} certificates", certificates.len())))
            }
            (None, None, Some(JsonChain { certificates })) => {
                let chain = certificates.iter().map(|c| decode("a certificate", &c.raw_bytes));
                Ok(Material::Certificates(chain.collect::<Result<_, _>>()?))
            }
            (None, None, None) => Err(refused("it names neither a key nor a certificate")),
            _ => Err(refused("it names both a key and a certificate, or a certificate twice")),
        }
    }

    pub(super) fn log_entries(&self) -> Result<Vec<LogEntry>, NotABundle> {
        let entries = self.tlog_entries.as_deref().unwrap_or_default();
        if entries.len() > MAX_LOG_ENTRIES {
            return Err(refused(format!("it has {} log entries", entries.len())));
        }
        entries.iter().map(JsonLogEntry::parse).collect()
    }

    pub(super) fn timestamps(&self) -> Result<Vec<Vec<u8>>, NotABundle> {
        let stamps = self.timestamp_verification_data.as_ref().and_then(|data| data.rfc3161.as_deref());
        let stamps = stamps.unwrap_or_default();
        if stamps.len() > MAX_TIMESTAMPS {
            return Err(refused(format!("it has {} timestamps", stamps.len())));
        }
        stamps.iter().map(|stamp| decode("a timestamp", &stamp.signed_timestamp)).collect()
    }
}

impl JsonLogEntry {
    fn parse(&self) -> Result<LogEntry, NotABundle> {
        let index = |number: &Option<Number>, what| number.as_ref().map_or(Ok(0), |n| n.value(what));
        let outer = index(&self.log_index, "log index")?;
        let integrated_time = index(&self.integrated_time, "integrated time")?;
        let promise = self.inclusion_promise.as_ref();
        let promise =
            promise.map(|one| decode("a log's promise", &one.signed_entry_timestamp)).transpose()?;
        let log = decode("the log id", &self.log_id.key_id)?;
        let is_second_generation =
            self.kind_version.kind == "hashedrekord" && self.kind_version.version == "0.0.2";
        let mut checkpoint = None;
        if let Some(proof) = &self.inclusion_proof {
            let inner = index(&proof.log_index, "proof's log index")?;
            let size = proof.tree_size.value("tree size")?;
            // A log of the first generation is several trees in a row, so that the entry has two indices; one of the
            // second is a single tree, and its two fields must agree.
            if is_second_generation && inner != outer {
                return Err(refused(format!(
                    "its log entry has the index {outer}, and {inner} in its proof"
                )));
            }
            if let Some(note) = &proof.checkpoint {
                checkpoint = Some(Checkpoint::parse(&note.envelope, size, &proof.root_hash, &log)?);
            }
        }
        Ok(LogEntry {
            log: <[u8; 32]>::try_from(log).ok().map(Sha256Digest::from_bytes),
            kind: self.kind_version.kind.clone(),
            kind_version: self.kind_version.version.clone(),
            body: decode("a log entry", &self.canonicalized_body)?,
            promise,
            integrated_time,
            index: outer,
            has_proof: self.inclusion_proof.is_some(),
            is_second_generation,
            checkpoint,
        })
    }
}

impl JsonMessage {
    pub(super) fn parse(&self) -> Result<Content, NotABundle> {
        let digest = match &self.message_digest {
            None => None,
            Some(JsonDigest { algorithm, digest }) if algorithm == SHA2_256 => {
                let bytes = decode("the file's digest", digest)?;
                let bytes =
                    bytes.try_into().map_err(|_| refused("the file's digest is not 32 bytes long"))?;
                Some(Sha256Digest::from_bytes(bytes))
            }
            Some(JsonDigest { algorithm, .. }) => {
                return Err(refused(format!("the file's digest is `{}`", printable(algorithm))));
            }
        };
        Ok(Content::Message { digest, signature: decode("the signature", &self.signature)? })
    }

    pub(super) fn new(digest: Option<Sha256Digest>, signature: &[u8]) -> Self {
        let message_digest = digest.map(|digest| JsonDigest {
            algorithm: SHA2_256.to_owned(),
            digest: STANDARD.encode(digest.as_bytes()),
        });
        Self { message_digest, signature: STANDARD.encode(signature) }
    }
}

impl JsonEnvelope {
    pub(super) fn parse(self) -> Result<Content, NotABundle> {
        if self.signatures.is_empty() || self.signatures.len() > MAX_SIGNATURES {
            return Err(refused(format!("its envelope has {} signatures", self.signatures.len())));
        }
        let signatures = self
            .signatures
            .into_iter()
            .map(|s| Ok(dsse::Signature { key_id: s.keyid, bytes: decode("the signature", &s.sig)? }))
            .collect::<Result<_, NotABundle>>()?;
        let payload = decode("the payload", &self.payload)?;
        Ok(Content::Envelope(dsse::Envelope { payload_type: self.payload_type, payload, signatures }))
    }
}

impl From<&dsse::Envelope> for JsonEnvelope {
    fn from(envelope: &dsse::Envelope) -> Self {
        let signature =
            |s: &dsse::Signature| JsonSignature { sig: STANDARD.encode(&s.bytes), keyid: s.key_id.clone() };
        Self {
            payload: STANDARD.encode(&envelope.payload),
            payload_type: envelope.payload_type.clone(),
            signatures: envelope.signatures.iter().map(signature).collect(),
        }
    }
}
