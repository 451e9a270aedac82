//! The JSON form of bundles (Sigstore protobuf specs, `sigstore_bundle.proto`). An unknown member refuses the bundle.

use std::borrow::Cow;
use std::ops::Deref;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lifeboat_core::Sha256Digest;
use serde::{Deserialize, Serialize};

use super::{
    Checkpoint, Content, EntryKind, LogEntry, MAX_LOG_ENTRIES, MAX_TIMESTAMPS, Material, NotABundle, Proof,
    Version,
};
use crate::enclosed::Enclosed;
use crate::json::printable;

/// The members that are lists, in both spellings.
pub(super) const LISTS: &[&str] = &[
    "tlogEntries",
    "tlog_entries",
    "hashes",
    "certificates",
    "rfc3161Timestamps",
    "rfc3161_timestamps",
    "signatures",
];

/// How many certificates a chain may have.
const MAX_CERTIFICATES: usize = 10;

/// The name of SHA-256 in the format's `HashAlgorithm`.
const SHA2_256: &str = "SHA2_256";

/// A text that is borrowed from the document if possible.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'b>(#[serde(borrow)] Cow<'b, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl<'b> From<&'b str> for Text<'b> {
    fn from(text: &'b str) -> Self {
        Self(text.into())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Json<'b> {
    #[serde(borrow, alias = "media_type")]
    pub(super) media_type: Text<'b>,
    #[serde(borrow, alias = "verification_material")]
    pub(super) verification_material: JsonMaterial<'b>,
    #[serde(borrow, default, alias = "message_signature", skip_serializing_if = "Option::is_none")]
    pub(super) message_signature: Option<JsonMessage<'b>>,
    #[serde(borrow, default, alias = "dsse_envelope", skip_serializing_if = "Option::is_none")]
    pub(super) dsse_envelope: Option<JsonEnvelope<'b>>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct JsonMaterial<'b> {
    #[serde(borrow, default, alias = "public_key", skip_serializing_if = "Option::is_none")]
    pub(super) public_key: Option<JsonPublicKey<'b>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) certificate: Option<JsonCertificate<'b>>,
    #[serde(borrow, default, alias = "x509_certificate_chain", skip_serializing_if = "Option::is_none")]
    pub(super) x509_certificate_chain: Option<JsonChain<'b>>,
    #[serde(borrow, default, alias = "tlog_entries", skip_serializing_if = "Option::is_none")]
    pub(super) tlog_entries: Option<Vec<JsonLogEntry<'b>>>,
    #[serde(borrow, default, alias = "timestamp_verification_data", skip_serializing_if = "Option::is_none")]
    pub(super) timestamp_verification_data: Option<JsonTimestamps<'b>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JsonPublicKey<'b> {
    #[serde(borrow, default)]
    pub(super) hint: Text<'b>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct JsonCertificate<'b> {
    #[serde(borrow, alias = "raw_bytes")]
    pub(super) raw_bytes: Text<'b>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JsonChain<'b> {
    #[serde(borrow, default)]
    pub(super) certificates: Vec<JsonCertificate<'b>>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JsonTimestamps<'b> {
    #[serde(
        default,
        rename = "rfc3161Timestamps",
        alias = "rfc3161_timestamps",
        skip_serializing_if = "Option::is_none",
        borrow
    )]
    pub(super) rfc3161: Option<Vec<JsonTimestamp<'b>>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct JsonTimestamp<'b> {
    #[serde(borrow, alias = "signed_timestamp")]
    pub(super) signed_timestamp: Text<'b>,
}

/// protobuf writes 64-bit numbers as text; some writers write them as numbers.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Number<'b> {
    #[serde(borrow)]
    Text(Text<'b>),
    Plain(u64),
}

impl Number<'_> {
    fn value(&self, what: &str) -> Result<u64, NotABundle> {
        let shown =
            |shown: &str| refused(format!("its {what} is `{}`, not a natural number", printable(shown)));
        let number = match self {
            Self::Plain(number) => *number,
            Self::Text(text) => text.parse().map_err(|_| shown(text))?,
        };
        // The format's numbers are signed.
        i64::try_from(number).map(|_| number).map_err(|_| shown(&number.to_string()))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct JsonLogEntry<'b> {
    #[serde(borrow, default, alias = "log_index", skip_serializing_if = "Option::is_none")]
    pub(super) log_index: Option<Number<'b>>,
    #[serde(borrow, alias = "log_id")]
    pub(super) log_id: JsonLogId<'b>,
    #[serde(borrow, alias = "kind_version")]
    pub(super) kind_version: JsonKind<'b>,
    #[serde(borrow, default, alias = "integrated_time", skip_serializing_if = "Option::is_none")]
    pub(super) integrated_time: Option<Number<'b>>,
    #[serde(borrow, default, alias = "inclusion_promise", skip_serializing_if = "Option::is_none")]
    pub(super) inclusion_promise: Option<JsonPromise<'b>>,
    #[serde(borrow, default, alias = "inclusion_proof", skip_serializing_if = "Option::is_none")]
    pub(super) inclusion_proof: Option<JsonProof<'b>>,
    #[serde(borrow, alias = "canonicalized_body")]
    pub(super) canonicalized_body: Text<'b>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct JsonLogId<'b> {
    #[serde(borrow, alias = "key_id")]
    pub(super) key_id: Text<'b>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JsonKind<'b> {
    #[serde(borrow)]
    pub(super) kind: Text<'b>,
    #[serde(borrow)]
    pub(super) version: Text<'b>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct JsonPromise<'b> {
    #[serde(borrow, alias = "signed_entry_timestamp")]
    pub(super) signed_entry_timestamp: Text<'b>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct JsonProof<'b> {
    #[serde(borrow, default, alias = "log_index", skip_serializing_if = "Option::is_none")]
    pub(super) log_index: Option<Number<'b>>,
    #[serde(borrow, alias = "root_hash")]
    pub(super) root_hash: Text<'b>,
    #[serde(borrow, alias = "tree_size")]
    pub(super) tree_size: Number<'b>,
    #[serde(borrow, default)]
    pub(super) hashes: Vec<Text<'b>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) checkpoint: Option<JsonCheckpoint<'b>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JsonCheckpoint<'b> {
    #[serde(borrow)]
    pub(super) envelope: Text<'b>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct JsonMessage<'b> {
    #[serde(borrow, default, alias = "message_digest", skip_serializing_if = "Option::is_none")]
    pub(super) message_digest: Option<JsonDigest<'b>>,
    #[serde(borrow)]
    pub(super) signature: Text<'b>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JsonDigest<'b> {
    #[serde(borrow)]
    pub(super) algorithm: Text<'b>,
    #[serde(borrow)]
    pub(super) digest: Text<'b>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct JsonEnvelope<'b> {
    #[serde(borrow)]
    pub(super) payload: Text<'b>,
    #[serde(borrow, alias = "payload_type")]
    pub(super) payload_type: Text<'b>,
    #[serde(borrow)]
    pub(super) signatures: Vec<JsonSignature<'b>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JsonSignature<'b> {
    #[serde(borrow)]
    pub(super) sig: Text<'b>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) keyid: Option<Text<'b>>,
}

pub(crate) fn refused(reason: impl Into<String>) -> NotABundle {
    NotABundle { reason: reason.into() }
}

pub(super) fn decode(what: &str, text: &str) -> Result<Vec<u8>, NotABundle> {
    STANDARD.decode(text).map_err(|error| refused(format!("{what} is not base64: {error}")))
}

impl JsonMaterial<'_> {
    /// The verification material: exactly one of the three kinds, and one that the version has.
    pub(super) fn material(&self, version: Version) -> Result<Material, NotABundle> {
        match (&self.public_key, &self.certificate, &self.x509_certificate_chain) {
            (Some(key), None, None) => Ok(Material::PublicKey { hint: key.hint.to_string() }),
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

    pub(super) fn log_entries(&self, version: Version) -> Result<Vec<LogEntry>, NotABundle> {
        let entries = self.tlog_entries.as_deref().unwrap_or_default();
        if entries.len() > MAX_LOG_ENTRIES {
            return Err(refused(format!("it has {} log entries", entries.len())));
        }
        let entries = entries.iter().map(JsonLogEntry::parse).collect::<Result<Vec<_>, _>>()?;
        // Version 0.1 dates from a time when logs gave only a promise.
        if version == Version::V0_1 && entries.iter().any(|entry| entry.promise.is_none()) {
            return Err(refused("its log entry has no promise, which version 0.1 demands"));
        }
        Ok(entries)
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

/// Parses a digest of 32 bytes.
fn decode_hash(what: &str, text: &str) -> Result<Sha256Digest, NotABundle> {
    let bytes = decode(what, text)?;
    let bytes = bytes.try_into().map_err(|_| refused(format!("{what} is not 32 bytes long")))?;
    Ok(Sha256Digest::from_bytes(bytes))
}

impl JsonLogEntry<'_> {
    fn parse(&self) -> Result<LogEntry, NotABundle> {
        let index = |number: &Option<Number<'_>>, what| number.as_ref().map_or(Ok(0), |n| n.value(what));
        let outer = index(&self.log_index, "log index")?;
        let integrated_time = index(&self.integrated_time, "integrated time")?;
        let promise = self.inclusion_promise.as_ref();
        let promise =
            promise.map(|one| decode("a log's promise", &one.signed_entry_timestamp)).transpose()?;
        let log = decode("the log id", &self.log_id.key_id)?;
        let kind = EntryKind::of(&self.kind_version.kind, &self.kind_version.version)?;
        let proof = self.inclusion_proof.as_ref().map(|proof| proof.parse(&log)).transpose()?;
        // A log of the first generation consists of several trees in sequence, so the entry has two indices. One of the
        // second is a single tree, and its two fields must agree.
        if let Some(inner) = proof.as_ref().map(|proof| proof.index)
            && kind == EntryKind::HashedRekordV2
            && inner != outer
        {
            return Err(refused(format!("its log entry has the index {outer}, and {inner} in its proof")));
        }
        Ok(LogEntry {
            log: <[u8; 32]>::try_from(log).ok().map(Sha256Digest::from_bytes),
            kind,
            body: decode("a log entry", &self.canonicalized_body)?,
            promise,
            integrated_time,
            index: outer,
            proof,
        })
    }
}

impl JsonProof<'_> {
    /// `log` is the id in the entry.
    fn parse(&self, log: &[u8]) -> Result<Proof, NotABundle> {
        let size = self.tree_size.value("tree size")?;
        let note = self.checkpoint.as_ref();
        let hashes = self.hashes.iter().map(|hash| decode_hash("a hash of its proof", hash));
        Ok(Proof {
            index: self.log_index.as_ref().map_or(Ok(0), |n| n.value("proof's log index"))?,
            size,
            root: decode_hash("the root of its proof", &self.root_hash)?,
            hashes: hashes.collect::<Result<_, _>>()?,
            checkpoint: note
                .map(|note| Checkpoint::parse(&note.envelope, size, &self.root_hash, log))
                .transpose()?,
        })
    }
}

impl JsonMessage<'_> {
    pub(super) fn parse(&self) -> Result<Content<'static>, NotABundle> {
        let digest = match &self.message_digest {
            None => None,
            Some(JsonDigest { algorithm, digest }) if **algorithm == *SHA2_256 => {
                Some(decode_hash("the file's digest", digest)?)
            }
            Some(JsonDigest { algorithm, .. }) => {
                return Err(refused(format!("the file's digest is `{}`", printable(algorithm))));
            }
        };
        Ok(Content::Message { digest, signature: decode("the signature", &self.signature)? })
    }

    pub(super) fn new(digest: Option<Sha256Digest>, signature: &[u8]) -> Self {
        let message_digest = digest.map(|digest| JsonDigest {
            algorithm: SHA2_256.into(),
            digest: STANDARD.encode(digest.as_bytes()).into(),
        });
        Self { message_digest, signature: STANDARD.encode(signature).into() }
    }
}

impl<'b> JsonEnvelope<'b> {
    pub(super) fn parse(self) -> Result<Content<'b>, NotABundle> {
        // The format allows one.
        let [signature] = self.signatures.as_slice() else {
            return Err(refused(format!("its envelope has {} signatures", self.signatures.len())));
        };
        let signature = decode("the signature", &signature.sig)?;
        let envelope = Enclosed::new(self.payload_type.0, self.payload.0, signature);
        Ok(Content::Envelope(
            envelope.map_err(|error| refused(format!("the payload is not base64: {error}")))?,
        ))
    }
}

impl<'e> From<&'e Enclosed<'_>> for JsonEnvelope<'e> {
    fn from(envelope: &'e Enclosed<'_>) -> Self {
        let signature = JsonSignature { sig: STANDARD.encode(envelope.signature()).into(), keyid: None };
        Self {
            payload: envelope.text().into(),
            payload_type: envelope.payload_type().into(),
            signatures: vec![signature],
        }
    }
}
