//! Sigstore bundles, versions 0.1 to 0.3 (Sigstore protobuf specs, `sigstore_bundle.proto`): a signature with what is
//! needed to verify it, as one JSON document.
//!
//! The parser is strict: an unknown member, a member that stands twice, both members of a choice, or fields that
//! contradict each other refuse the bundle. Version 0.3 is written.

mod checkpoint;
mod wire;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lifeboat_core::Sha256Digest;

pub(crate) use self::checkpoint::is_no_part_of_a_name;
pub use self::checkpoint::{Checkpoint, NoteSignature};
use self::wire::{Json, JsonCertificate, JsonEnvelope, JsonMaterial, JsonMessage, JsonPublicKey, refused};
use crate::dsse;
use crate::json::{check_object, printable};
use crate::key::{Sign, SignError, VerificationKey};

/// The media type of a bundle, and of the layer and artifact that carry it in a registry.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// What the media type of every bundle, of whatever version, begins with.
pub const MEDIA_TYPE_PREFIX: &str = "application/vnd.dev.sigstore.bundle";

/// The largest bundle that holds a plain signature, in bytes.
pub const MAX_SIGNATURE_BYTES: u64 = 1 << 20;

/// The largest bundle that holds an attestation, in bytes: an SBOM of 64 MiB in base64.
pub const MAX_ATTESTATION_BYTES: u64 = 88 << 20;

/// The largest predicate that is attested, in bytes.
pub const MAX_PREDICATE_BYTES: u64 = 64 << 20;

/// How many log entries and timestamps a bundle may carry.
const MAX_LOG_ENTRIES: usize = 16;
const MAX_TIMESTAMPS: usize = 16;

/// The version of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 0.1, whose log entries prove themselves by a promise.
    V0_1,
    /// 0.2, whose log entries come with a proof.
    V0_2,
    /// 0.3, which names one certificate in place of a chain.
    V0_3,
}

impl Version {
    fn of(media_type: &str) -> Option<Self> {
        Some(match media_type {
            "application/vnd.dev.sigstore.bundle+json;version=0.1" => Self::V0_1,
            "application/vnd.dev.sigstore.bundle+json;version=0.2" => Self::V0_2,
            // The second name is the one that came first.
            MEDIA_TYPE | "application/vnd.dev.sigstore.bundle+json;version=0.3" => Self::V0_3,
            _ => return None,
        })
    }
}

/// A bundle, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The version of the format.
    pub version: Version,
    /// What the signer says can verify the signature.
    pub material: Material,
    /// What was signed, and the signature.
    pub content: Content,
    /// The transparency log entries that it carries. What they show is not known from here.
    pub log_entries: Vec<LogEntry>,
    /// The timestamps that it carries (RFC 3161), in DER.
    pub timestamps: Vec<Vec<u8>>,
}

/// What the signer says can verify the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Material {
    /// A key that the verifier must have from elsewhere, and a hint at which; never trusted.
    PublicKey {
        /// By custom the base64 of the SHA-256 of the key's `SubjectPublicKeyInfo`.
        hint: String,
    },
    /// Certificates in DER, the signer's first; at least one.
    Certificates(Vec<Vec<u8>>),
}

/// What a log entry says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The log, by the digest of its key.
    pub log: Option<Sha256Digest>,
    /// Its kind, as the bundle presents it.
    pub kind: String,
    /// The version of that kind, likewise.
    pub kind_version: String,
    /// What the log holds: the bytes that its proofs and promises are about.
    pub body: Vec<u8>,
    /// The log's promise to take it, a signature, if there is one.
    pub promise: Option<Vec<u8>>,
    /// When the log took it, in seconds since 1970. Only the promise covers it.
    pub integrated_time: u64,
    /// Its place in the log.
    pub index: u64,
    /// Whether it carries a proof of inclusion.
    pub has_proof: bool,
    /// Whether the log is one of Rekor's second generation, which promises nothing and tells no time.
    pub is_second_generation: bool,
    /// The checkpoint in the proof of inclusion.
    pub checkpoint: Option<Checkpoint>,
}

/// What was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A typed payload, which is in the bundle.
    Envelope(dsse::Envelope),
    /// A file, which is not in the bundle.
    Message {
        /// The digest that the signer gives for it; never trusted.
        digest: Option<Sha256Digest>,
        /// The signature over the file.
        signature: Vec<u8>,
    },
}

/// Bytes that are no bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not a Sigstore bundle ({reason})")]
pub struct NotABundle {
    /// What was found instead.
    pub reason: String,
}

/// The hint that names `key` in a bundle, as cosign writes it.
fn hint(key: &VerificationKey) -> String {
    STANDARD.encode(key.id().as_bytes())
}

impl Bundle {
    /// Signs an in-toto statement.
    pub fn sign_statement(payload: Vec<u8>, key: &dyn Sign) -> Result<Self, SignError> {
        Ok(Self::of(Content::Envelope(dsse::Envelope::sign_with(dsse::IN_TOTO, payload, key)?), key))
    }

    /// Signs the file whose SHA-256 is `digest`.
    pub fn sign_file(digest: Sha256Digest, key: &dyn Sign) -> Result<Self, SignError> {
        let signature = key.sign_digest(digest)?;
        Ok(Self::of(Content::Message { digest: Some(digest), signature }, key))
    }

    fn of(content: Content, key: &dyn Sign) -> Self {
        let material = Material::PublicKey { hint: hint(key.verification_key()) };
        Self { version: Version::V0_3, material, content, log_entries: Vec::new(), timestamps: Vec::new() }
    }

    /// The same bundle with one spelling of each member, for readers that know no other and pass over the rest.
    ///
    /// # Panics
    /// Never: the form is strings and numbers only.
    pub(crate) fn one_spelling(json: &[u8]) -> Result<Vec<u8>, NotABundle> {
        let json: Json = serde_json::from_slice(json).map_err(|error| refused(error.to_string()))?;
        Ok(serde_json::to_vec(&json).expect("strings and numbers always serialise"))
    }

    /// Reads the JSON form, in both spellings of members that protocol buffers allow. The caller has capped its size.
    pub fn parse(json: &[u8]) -> Result<Self, NotABundle> {
        check_object(json).map_err(refused)?;
        let json: Json = serde_json::from_slice(json).map_err(|error| refused(error.to_string()))?;
        let version = Version::of(&json.media_type)
            .ok_or_else(|| refused(format!("its media type is `{}`", printable(&json.media_type))))?;
        let material = json.verification_material.material(version)?;
        let log_entries = json.verification_material.log_entries()?;
        let timestamps = json.verification_material.timestamps()?;
        let content = match (json.message_signature, json.dsse_envelope) {
            (Some(message), None) => message.parse()?,
            (None, Some(envelope)) => envelope.parse()?,
            (None, None) => return Err(refused("it holds no signature")),
            (Some(_), Some(_)) => return Err(refused("it holds both a file's signature and an envelope")),
        };
        Ok(Self { version, material, content, log_entries, timestamps })
    }

    /// The JSON form of a bundle that was signed here, with a key; log entries and timestamps are not kept.
    ///
    /// # Panics
    /// Never: the form is strings only.
    pub fn to_json(&self) -> Vec<u8> {
        let mut material = JsonMaterial::default();
        match &self.material {
            Material::PublicKey { hint } => material.public_key = Some(JsonPublicKey { hint: hint.clone() }),
            Material::Certificates(chain) => {
                material.certificate =
                    chain.first().map(|der| JsonCertificate { raw_bytes: STANDARD.encode(der) });
            }
        }
        let (message_signature, dsse_envelope) = match &self.content {
            Content::Envelope(envelope) => (None, Some(JsonEnvelope::from(envelope))),
            Content::Message { digest, signature } => (Some(JsonMessage::new(*digest, signature)), None),
        };
        let json = Json {
            media_type: MEDIA_TYPE.to_owned(),
            verification_material: material,
            message_signature,
            dsse_envelope,
        };
        serde_json::to_vec(&json).expect("strings always serialise")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SigningKey;

    #[test]
    fn a_bundle_survives_its_json_form() {
        let key = SigningKey::generate();
        for bundle in
            [Bundle::sign_statement(b"{}".to_vec(), &key), Bundle::sign_file(Sha256Digest::of(b"file"), &key)]
                .map(Result::unwrap)
        {
            assert_eq!(Bundle::parse(&bundle.to_json()).unwrap(), bundle);
        }
    }

    #[test]
    fn what_others_put_in_is_counted_and_nulls_are_absence() {
        let json = format!(
            r#"{{"mediaType":"{MEDIA_TYPE}","verificationMaterial":{{"publicKey":{{}},"certificate":null,"tlogEntries":[{{"logIndex":"1","logId":{{"keyId":"AA=="}},"kindVersion":{{"kind":"dsse","version":"0.0.1"}},"canonicalizedBody":"AA=="}}],"timestampVerificationData":{{"rfc3161Timestamps":[{{"signedTimestamp":"AA=="}}]}}}},"messageSignature":{{"signature":"AA=="}}}}"#
        );
        let bundle = Bundle::parse(json.as_bytes()).unwrap();
        assert_eq!((bundle.log_entries.len(), bundle.timestamps.len()), (1, 1));
        assert_eq!(bundle.material, Material::PublicKey { hint: String::new() });
    }

    #[test]
    fn hostile_bundles_are_refused_with_the_reason() {
        let reason = |json: &str| Bundle::parse(json.as_bytes()).unwrap_err().reason;
        let bundle = |material: &str, content: &str| {
            format!(r#"{{"mediaType":"{MEDIA_TYPE}","verificationMaterial":{{{material}}},{content}}}"#)
        };
        let key = r#""publicKey":{"hint":"x"}"#;
        let message = r#""messageSignature":{"signature":"AA=="}"#;
        let envelope = r#""dsseEnvelope":{"payload":"e30=","payloadType":"x","signatures":[{"sig":"AA=="}]}"#;
        Bundle::parse(bundle(key, message).as_bytes()).unwrap();
        Bundle::parse(bundle(key, envelope).as_bytes()).unwrap();

        let unknown =
            bundle(key, message).replace(MEDIA_TYPE, "application/vnd.dev.sigstore.bundle+json;version=0.9");
        insta::assert_snapshot!(reason(&unknown), @"its media type is `application/vnd.dev.sigstore.bundle+json;version=0.9`");
        insta::assert_snapshot!(reason(&bundle(r#""x509CertificateChain":{}"#, message)), @"it holds a certificate chain, which versions before 0.3 did");
        insta::assert_snapshot!(reason(&bundle("", message)), @"it names neither a key nor a certificate");
        insta::assert_snapshot!(reason(&bundle(&format!(r#"{key},"certificate":{{"rawBytes":""}}"#), message)), @"it names both a key and a certificate, or a certificate twice");
        insta::assert_snapshot!(reason(&bundle(key, &format!("{message},{envelope}"))), @"it holds both a file's signature and an envelope");
        insta::assert_snapshot!(reason(&bundle(&format!("{key},{key}"), message)), @"the member `publicKey` stands twice at line 1 column 135");
        insta::assert_snapshot!(reason(&bundle(key, &format!("{message},{message}"))), @"the member `messageSignature` stands twice at line 1 column 191");
        insta::assert_snapshot!(reason(&bundle(key, &envelope.replace("e30=", "e30"))), @"the payload is not base64: Invalid padding");
        insta::assert_snapshot!(reason(&bundle(key, &envelope.replace(r#"[{"sig":"AA=="}]"#, "[]"))), @"its envelope has 0 signatures");
        insta::assert_snapshot!(reason(&bundle(key, &envelope.replace(r#"[{"sig":"AA=="}]"#, r#"[{"sig":"AA=="},{"sig":"AA=="}]"#))), @"its envelope has 2 signatures");
        insta::assert_snapshot!(reason(&bundle(key, &format!(r#""extra":1,{message}"#))), @"unknown field `extra`, expected one of `mediaType`, `media_type`, `verificationMaterial`, `verification_material`, `messageSignature`, `message_signature`, `dsseEnvelope`, `dsse_envelope` at line 1 column 118");
        insta::assert_snapshot!(reason(&bundle(key, r#""messageSignature":{"signature":"AA==","messageDigest":{"algorithm":"SHA2_512","digest":""}}"#)), @"the file's digest is `SHA2_512`");
        insta::assert_snapshot!(reason(&format!(r#"{{"mediaType":{}"#, "[".repeat(1_000_000))), @"nested more than 64 deep at line 1 column 77");
        insta::assert_snapshot!(reason(&bundle(&format!(r#"{key},"tlogEntries":[{}"#, "[".repeat(1_000_000)), message)), @"nested more than 64 deep at line 1 column 187");
        insta::assert_snapshot!(reason("<html>"), @"it is not a JSON object");
    }
}
