//! Sigstore bundles, version 0.3 (Sigstore protobuf specs, `sigstore_bundle.proto`): a signature with what is needed
//! to verify it, as one JSON document.
//!
//! The parser is strict: an unknown member, a member that stands twice, or both members of a choice refuse the bundle.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lifeboat_core::Sha256Digest;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::dsse;
use crate::key::{SigningKey, VerificationKey};
use crate::statement::{is_object, printable};

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

/// How many signatures an envelope in a bundle may carry; the format allows one.
const MAX_SIGNATURES: usize = 1;

/// A bundle, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// What the signer says can verify the signature.
    pub material: Material,
    /// What was signed, and the signature.
    pub content: Content,
    /// How many transparency log entries it carries. They are not looked at here.
    pub log_entries: usize,
    /// How many timestamps it carries. They are not looked at here.
    pub timestamps: usize,
}

/// What the signer says can verify the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Material {
    /// A key that the verifier must have from elsewhere, and a hint at which; never trusted.
    PublicKey {
        /// By custom the base64 of the SHA-256 of the key's `SubjectPublicKeyInfo`.
        hint: String,
    },
    /// A certificate in DER.
    Certificate(Vec<u8>),
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

/// Bytes that are no bundle of version 0.3.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not a Sigstore bundle of version 0.3 ({reason})")]
pub struct NotABundle {
    /// What was found instead.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Json {
    media_type: String,
    verification_material: JsonMaterial,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message_signature: Option<JsonMessage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dsse_envelope: Option<JsonEnvelope>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JsonMaterial {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public_key: Option<JsonPublicKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<JsonCertificate>,
    #[serde(default, skip_serializing)]
    x509_certificate_chain: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    tlog_entries: Option<Vec<IgnoredAny>>,
    #[serde(default, skip_serializing)]
    timestamp_verification_data: Option<JsonTimestamps>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonPublicKey {
    #[serde(default)]
    hint: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JsonCertificate {
    raw_bytes: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonTimestamps {
    #[serde(default, rename = "rfc3161Timestamps", skip_serializing)]
    rfc3161: Option<Vec<IgnoredAny>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JsonMessage {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message_digest: Option<JsonDigest>,
    signature: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonDigest {
    algorithm: String,
    digest: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JsonEnvelope {
    payload: String,
    payload_type: String,
    signatures: Vec<JsonSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonSignature {
    sig: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyid: Option<String>,
}

/// The name of SHA-256 in the format's `HashAlgorithm`.
const SHA2_256: &str = "SHA2_256";

/// The hint that names `key` in a bundle, as cosign writes it.
fn hint(key: &VerificationKey) -> String {
    STANDARD.encode(key.id().as_bytes())
}

fn refused(reason: impl Into<String>) -> NotABundle {
    NotABundle { reason: reason.into() }
}

fn decode(what: &str, text: &str) -> Result<Vec<u8>, NotABundle> {
    STANDARD.decode(text).map_err(|error| refused(format!("{what} is not base64: {error}")))
}

impl Bundle {
    /// Signs an in-toto statement.
    pub fn sign_statement(payload: Vec<u8>, key: &SigningKey) -> Self {
        Self::of(Content::Envelope(dsse::Envelope::sign(dsse::IN_TOTO, payload, key)), key)
    }

    /// Signs the file whose SHA-256 is `digest`.
    pub fn sign_file(digest: Sha256Digest, key: &SigningKey) -> Self {
        Self::of(Content::Message { digest: Some(digest), signature: key.sign_digest(digest) }, key)
    }

    fn of(content: Content, key: &SigningKey) -> Self {
        let material = Material::PublicKey { hint: hint(key.verification_key()) };
        Self { material, content, log_entries: 0, timestamps: 0 }
    }

    /// Reads the JSON form. The caller has capped its size.
    pub fn parse(json: &[u8]) -> Result<Self, NotABundle> {
        if !is_object(json) {
            return Err(refused("it is not a JSON object"));
        }
        let json: Json = serde_json::from_slice(json).map_err(|error| refused(error.to_string()))?;
        if json.media_type != MEDIA_TYPE {
            return Err(refused(format!("its media type is `{}`", printable(&json.media_type))));
        }
        let material = match json.verification_material {
            JsonMaterial { x509_certificate_chain: Some(_), .. } => {
                return Err(refused("it holds a certificate chain, which versions before 0.3 did"));
            }
            JsonMaterial { public_key: Some(key), certificate: None, .. } => {
                Material::PublicKey { hint: key.hint }
            }
            JsonMaterial { public_key: None, certificate: Some(ref certificate), .. } => {
                Material::Certificate(decode("the certificate", &certificate.raw_bytes)?)
            }
            JsonMaterial { public_key: None, certificate: None, .. } => {
                return Err(refused("it names neither a key nor a certificate"));
            }
            JsonMaterial { .. } => return Err(refused("it names both a key and a certificate")),
        };
        let timestamps = json.verification_material.timestamp_verification_data.and_then(|data| data.rfc3161);
        let content = match (json.message_signature, json.dsse_envelope) {
            (Some(message), None) => message.parse()?,
            (None, Some(envelope)) => envelope.parse()?,
            (None, None) => return Err(refused("it holds no signature")),
            (Some(_), Some(_)) => return Err(refused("it holds both a file's signature and an envelope")),
        };
        Ok(Self {
            material,
            content,
            log_entries: json.verification_material.tlog_entries.map_or(0, |entries| entries.len()),
            timestamps: timestamps.map_or(0, |stamps| stamps.len()),
        })
    }

    /// The JSON form of a bundle that was signed here, with a key; log entries and timestamps are not kept.
    ///
    /// # Panics
    /// Never: the form is strings only.
    pub fn to_json(&self) -> Vec<u8> {
        let mut material = JsonMaterial::default();
        match &self.material {
            Material::PublicKey { hint } => material.public_key = Some(JsonPublicKey { hint: hint.clone() }),
            Material::Certificate(der) => {
                material.certificate = Some(JsonCertificate { raw_bytes: STANDARD.encode(der) });
            }
        }
        let (message_signature, dsse_envelope) = match &self.content {
            Content::Envelope(envelope) => (None, Some(JsonEnvelope::from(envelope))),
            Content::Message { digest, signature } => {
                let message_digest = digest.map(|digest| JsonDigest {
                    algorithm: SHA2_256.to_owned(),
                    digest: STANDARD.encode(digest.as_bytes()),
                });
                (Some(JsonMessage { message_digest, signature: STANDARD.encode(signature) }), None)
            }
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

impl JsonMessage {
    fn parse(self) -> Result<Content, NotABundle> {
        let digest = match self.message_digest {
            None => None,
            Some(JsonDigest { algorithm, digest }) if algorithm == SHA2_256 => {
                let bytes = decode("the file's digest", &digest)?;
                let bytes =
                    bytes.try_into().map_err(|_| refused("the file's digest is not 32 bytes long"))?;
                Some(Sha256Digest::from_bytes(bytes))
            }
            Some(JsonDigest { algorithm, .. }) => {
                return Err(refused(format!("the file's digest is `{}`", printable(&algorithm))));
            }
        };
        Ok(Content::Message { digest, signature: decode("the signature", &self.signature)? })
    }
}

impl JsonEnvelope {
    fn parse(self) -> Result<Content, NotABundle> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_survives_its_json_form() {
        let key = SigningKey::generate();
        for bundle in
            [Bundle::sign_statement(b"{}".to_vec(), &key), Bundle::sign_file(Sha256Digest::of(b"file"), &key)]
        {
            assert_eq!(Bundle::parse(&bundle.to_json()).unwrap(), bundle);
        }
    }

    #[test]
    fn what_others_put_in_is_counted_and_nulls_are_absence() {
        let json = format!(
            r#"{{"mediaType":"{MEDIA_TYPE}","verificationMaterial":{{"publicKey":{{}},"certificate":null,"tlogEntries":[{{"logIndex":"1"}}],"timestampVerificationData":{{"rfc3161Timestamps":[{{"signedTimestamp":"AA=="}}]}}}},"messageSignature":{{"signature":"AA=="}}}}"#
        );
        let bundle = Bundle::parse(json.as_bytes()).unwrap();
        assert_eq!((bundle.log_entries, bundle.timestamps), (1, 1));
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

        let old =
            bundle(key, message).replace(MEDIA_TYPE, "application/vnd.dev.sigstore.bundle+json;version=0.1");
        insta::assert_snapshot!(reason(&old), @"its media type is `application/vnd.dev.sigstore.bundle+json;version=0.1`");
        insta::assert_snapshot!(reason(&bundle(r#""x509CertificateChain":{}"#, message)), @"it holds a certificate chain, which versions before 0.3 did");
        insta::assert_snapshot!(reason(&bundle("", message)), @"it names neither a key nor a certificate");
        insta::assert_snapshot!(reason(&bundle(&format!(r#"{key},"certificate":{{"rawBytes":""}}"#), message)), @"it names both a key and a certificate");
        insta::assert_snapshot!(reason(&bundle(key, &format!("{message},{envelope}"))), @"it holds both a file's signature and an envelope");
        insta::assert_snapshot!(reason(&bundle(&format!("{key},{key}"), message)), @"duplicate field `publicKey` at line 1 column 121");
        insta::assert_snapshot!(reason(&bundle(key, &format!("{message},{message}"))), @"duplicate field `messageSignature` at line 1 column 169");
        insta::assert_snapshot!(reason(&bundle(key, &envelope.replace("e30=", "e30"))), @"the payload is not base64: Invalid padding");
        insta::assert_snapshot!(reason(&bundle(key, &envelope.replace(r#"[{"sig":"AA=="}]"#, "[]"))), @"its envelope has 0 signatures");
        insta::assert_snapshot!(reason(&bundle(key, &envelope.replace(r#"[{"sig":"AA=="}]"#, r#"[{"sig":"AA=="},{"sig":"AA=="}]"#))), @"its envelope has 2 signatures");
        insta::assert_snapshot!(reason(&bundle(key, &format!(r#""extra":1,{message}"#))), @"unknown field `extra`, expected one of `mediaType`, `verificationMaterial`, `messageSignature`, `dsseEnvelope` at line 1 column 118");
        insta::assert_snapshot!(reason(&bundle(key, r#""messageSignature":{"signature":"AA==","messageDigest":{"algorithm":"SHA2_512","digest":""}}"#)), @"the file's digest is `SHA2_512`");
        insta::assert_snapshot!(reason(&format!(r#"{{"mediaType":{}"#, "[".repeat(1_000_000))), @"invalid type: sequence, expected a string at line 1 column 13");
        insta::assert_snapshot!(reason(&bundle(&format!(r#"{key},"tlogEntries":[{}"#, "[".repeat(1_000_000)), message)), @"expected value at line 1 column 1000126");
        insta::assert_snapshot!(reason("<html>"), @"it is not a JSON object");
    }
}
