//! Sigstore bundles, versions 0.1 to 0.3 (Sigstore protobuf specs, `sigstore_bundle.proto`): a signature with what is
//! needed to verify it, as one JSON document.
//!
//! The parser is strict: it refuses a bundle with an unknown member, a member that occurs twice, both members of a
//! choice, or fields that contradict each other. It writes version 0.3. Parts that may be large stay where they are in
//! the document ([`enclosed`](crate::enclosed)).

mod checkpoint;
mod wire;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lifeboat_core::Sha256Digest;

pub(crate) use self::checkpoint::is_no_part_of_a_name;
pub use self::checkpoint::{Checkpoint, NoteSignature};
pub(crate) use self::wire::refused;
use self::wire::{Json, JsonCertificate, JsonEnvelope, JsonMaterial, JsonMessage, JsonPublicKey};
use crate::dsse;
use crate::enclosed::Enclosed;
use crate::json::{check_closed, printable};
use crate::key::{Sign, SignError, VerificationKey};

/// The media type of a bundle, and of the layer and artifact that carry it in a registry.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// The prefix of the media type of every bundle, in any version.
pub const MEDIA_TYPE_PREFIX: &str = "application/vnd.dev.sigstore.bundle";

/// The annotation of an artifact that holds a bundle: the predicate type of its statement, as cosign writes it. Nobody
/// vouches for it.
pub const PREDICATE_TYPE: &str = "dev.sigstore.bundle.predicateType";

/// The largest bundle that holds a plain signature, in bytes.
pub const MAX_SIGNATURE_BYTES: u64 = 1 << 20;

/// The largest bundle that holds an attestation, in bytes: an SBOM of 64 MiB in base64.
pub const MAX_ATTESTATION_BYTES: u64 = 88 << 20;

/// The largest predicate that is attested, in bytes.
pub const MAX_PREDICATE_BYTES: u64 = 64 << 20;

/// How much a bundle may contain besides the payload of its envelope, in bytes. The largest known bundle has a
/// hundredth.
const MAX_BESIDE_BYTES: usize = 4 << 20;

/// How many log entries and timestamps a bundle may carry.
const MAX_LOG_ENTRIES: usize = 16;
const MAX_TIMESTAMPS: usize = 16;

/// The version of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 0.1, whose log entries come with a promise.
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
            // The second name is the older one.
            MEDIA_TYPE | "application/vnd.dev.sigstore.bundle+json;version=0.3" => Self::V0_3,
            _ => return None,
        })
    }
}

/// A parsed bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle<'b> {
    /// The version of the format.
    pub version: Version,
    /// The signer's claim about what verifies the signature.
    pub material: Material,
    /// What was signed, and the signature.
    pub content: Content<'b>,
    /// Its transparency log entries, not verified yet.
    pub log_entries: Vec<LogEntry>,
    /// Its timestamps (RFC 3161), in DER.
    pub timestamps: Vec<Vec<u8>>,
}

/// The signer's claim about what verifies the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Material {
    /// A key that the verifier must get elsewhere, with a hint at which; never trusted.
    PublicKey {
        /// By custom the base64 of the SHA-256 of the key's `SubjectPublicKeyInfo`.
        hint: String,
    },
    /// Certificates in DER, the signer's first; at least one.
    Certificates(Vec<Vec<u8>>),
}

/// The supported kinds of log entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// `hashedrekord` 0.0.1: a file.
    HashedRekord,
    /// `hashedrekord` 0.0.2, of Rekor's second generation, which gives neither a promise nor a time: a file, or an
    /// envelope.
    HashedRekordV2,
    /// `dsse` 0.0.1: an envelope.
    Dsse,
    /// `intoto` 0.0.2: an envelope.
    Intoto,
}

impl EntryKind {
    const ALL: [Self; 4] = [Self::HashedRekord, Self::HashedRekordV2, Self::Dsse, Self::Intoto];

    /// The kind of this name and version.
    pub(crate) fn of(kind: &str, version: &str) -> Result<Self, NotABundle> {
        Self::ALL.into_iter().find(|one| one.name() == (kind, version)).ok_or_else(|| {
            let (kind, version) = (printable(kind), printable(version));
            refused(format!("its log entry is of the kind {kind}/{version}, which is not read"))
        })
    }

    /// Its name and version.
    pub const fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::HashedRekord => ("hashedrekord", "0.0.1"),
            Self::HashedRekordV2 => ("hashedrekord", "0.0.2"),
            Self::Dsse => ("dsse", "0.0.1"),
            Self::Intoto => ("intoto", "0.0.2"),
        }
    }
}

/// A log entry's claims about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The log, by the digest of its key.
    pub log: Option<Sha256Digest>,
    /// Its kind, according to the bundle.
    pub kind: EntryKind,
    /// The logged bytes, which its proofs and promises are about.
    pub body: Vec<u8>,
    /// The log's promise to include it, a signature, if there is one.
    pub promise: Option<Vec<u8>>,
    /// When the log received it, in seconds since 1970. Only the promise covers it.
    pub integrated_time: u64,
    /// Its place in the log.
    pub index: u64,
    /// The proof that it is in the log, if there is one.
    pub proof: Option<Proof>,
}

/// A proof of inclusion (RFC 6962, section 2.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The entry's place in the tree.
    pub index: u64,
    /// How many entries the tree has.
    pub size: u64,
    /// The root of the tree.
    pub root: Sha256Digest,
    /// The sibling hashes on the path from the entry to the root.
    pub hashes: Vec<Sha256Digest>,
    /// The statement of size and root, signed by the log.
    pub checkpoint: Option<Checkpoint>,
}

/// What was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<'b> {
    /// A typed payload, which is in the bundle.
    Envelope(Enclosed<'b>),
    /// A file, which is not in the bundle.
    Message {
        /// The signer's claim about its digest; never trusted.
        digest: Option<Sha256Digest>,
        /// The signature over the file.
        signature: Vec<u8>,
    },
}

impl Content<'_> {
    /// The signature's bytes.
    pub fn signature(&self) -> &[u8] {
        match self {
            Self::Envelope(envelope) => envelope.signature(),
            Self::Message { signature, .. } => signature,
        }
    }
}

/// Bytes that are not a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not a Sigstore bundle ({reason})")]
pub struct NotABundle {
    /// What was found instead.
    pub reason: String,
}

/// The hint for `key` in a bundle, as cosign writes it.
fn hint(key: &VerificationKey) -> String {
    STANDARD.encode(key.id().as_bytes())
}

impl Bundle<'static> {
    /// Signs an in-toto statement.
    pub fn sign_statement(payload: Vec<u8>, key: &dyn Sign) -> Result<Self, SignError> {
        Ok(Self::of(Content::of_envelope(&dsse::Envelope::sign_with(dsse::IN_TOTO, payload, key)?), key))
    }

    /// Signs the file whose SHA-256 is `digest`.
    pub fn sign_file(digest: Sha256Digest, key: &dyn Sign) -> Result<Self, SignError> {
        let signature = key.sign_digest(digest)?;
        Ok(Self::of(Content::Message { digest: Some(digest), signature }, key))
    }

    fn of(content: Content<'static>, key: &dyn Sign) -> Self {
        let material = Material::PublicKey { hint: hint(key.verification_key()) };
        Self { version: Version::V0_3, material, content, log_entries: Vec::new(), timestamps: Vec::new() }
    }
}

impl Content<'static> {
    /// The content made from an envelope with a signature.
    ///
    /// # Panics
    ///
    /// If the envelope has no signature.
    fn of_envelope(envelope: &dsse::Envelope) -> Self {
        let signature = envelope.signatures.first().expect("an envelope is signed").bytes.clone();
        let text = STANDARD.encode(&envelope.payload);
        let enclosed = Enclosed::new(envelope.payload_type.clone().into(), text.into(), signature);
        Self::Envelope(enclosed.expect("what was encoded is decoded"))
    }
}

impl<'b> Bundle<'b> {
    /// Parses the JSON form, in both spellings of members that protocol buffers allow. The caller has capped its size.
    pub fn parse(document: &'b [u8]) -> Result<Self, NotABundle> {
        check_closed(document, wire::LISTS).map_err(refused)?;
        let json: Json<'b> = serde_json::from_slice(document).map_err(|error| refused(error.to_string()))?;
        let payload = json.dsse_envelope.as_ref().map_or(0, |envelope| envelope.payload.len());
        if document.len().saturating_sub(payload) > MAX_BESIDE_BYTES {
            return Err(refused(format!("more than {MAX_BESIDE_BYTES} bytes stand beside its payload")));
        }
        let version = Version::of(&json.media_type)
            .ok_or_else(|| refused(format!("its media type is `{}`", printable(&json.media_type))))?;
        let material = json.verification_material.material(version)?;
        let log_entries = json.verification_material.log_entries(version)?;
        let timestamps = json.verification_material.timestamps()?;
        let content = match (json.message_signature, json.dsse_envelope) {
            (Some(message), None) => message.parse()?,
            (None, Some(envelope)) => envelope.parse()?,
            (None, None) => return Err(refused("it holds no signature")),
            (Some(_), Some(_)) => return Err(refused("it holds both a file's signature and an envelope")),
        };
        Ok(Self { version, material, content, log_entries, timestamps })
    }

    /// The JSON form of a bundle that was signed here with a key, without log entries and timestamps.
    ///
    /// # Panics
    /// Never: the form is strings only.
    pub fn to_json(&self) -> Vec<u8> {
        let mut material = JsonMaterial::default();
        match &self.material {
            Material::PublicKey { hint } => {
                material.public_key = Some(JsonPublicKey { hint: hint.as_str().into() });
            }
            Material::Certificates(chain) => {
                material.certificate =
                    chain.first().map(|der| JsonCertificate { raw_bytes: STANDARD.encode(der).into() });
            }
        }
        let (message_signature, dsse_envelope) = match &self.content {
            Content::Envelope(envelope) => (None, Some(JsonEnvelope::from(envelope))),
            Content::Message { digest, signature } => (Some(JsonMessage::new(*digest, signature)), None),
        };
        let json = Json {
            media_type: MEDIA_TYPE.into(),
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
        let reason = |json: &str| Bundle::parse(json.as_bytes()).map(drop).unwrap_err().reason;
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
        insta::assert_snapshot!(reason(&format!(r#"{{"mediaType":{}"#, r#"{"a":"#.repeat(1_000_000))), @"nested more than 64 deep at line 1 column 329");
        insta::assert_snapshot!(reason(&bundle(&format!(r#"{key},"tlogEntries":[{}"#, "[".repeat(1_000_000)), message)), @"no list belongs here at line 1 column 125");
        insta::assert_snapshot!(reason("<html>"), @"it is not a JSON object");
        for (object, list) in [
            (r#"{"hint":"x"}"#, "[]"),
            (r#"{"hint":"x"}"#, r#"["x"]"#),
            (r#"{"signature":"AA=="}"#, r#"["AA=="]"#),
            (r#"{"sig":"AA=="}"#, r#"["AA=="]"#),
        ] {
            for content in [message, envelope] {
                let good = bundle(key, content);
                let bad = good.replace(object, list);
                assert!(bad == good || reason(&bad).contains("no list belongs here"), "{bad}");
            }
        }
        let entry = r#""tlogEntries":[{"logId":{"keyId":"AA=="},"kindVersion":{"kind":"rekord","version":"0.0.1"},"canonicalizedBody":"AA=="}]"#;
        insta::assert_snapshot!(reason(&bundle(&format!("{key},{entry}"), message)), @"its log entry is of the kind rekord/0.0.1, which is not read");
        let old = bundle(&format!("{key},{}", entry.replace("rekord", "hashedrekord")), message);
        Bundle::parse(old.as_bytes()).unwrap();
        let old = old.replace(MEDIA_TYPE, "application/vnd.dev.sigstore.bundle+json;version=0.1");
        insta::assert_snapshot!(reason(&old), @"its log entry has no promise, which version 0.1 demands");
        let hint = format!(r#""publicKey":{{"hint":"{}"}}"#, "x".repeat(MAX_BESIDE_BYTES));
        insta::assert_snapshot!(reason(&bundle(&hint, envelope)), @"more than 4194304 bytes stand beside its payload");
        let large = envelope.replace("e30=", &"AAAA".repeat(MAX_BESIDE_BYTES / 4));
        Bundle::parse(bundle(key, &large).as_bytes()).unwrap();
    }
}
