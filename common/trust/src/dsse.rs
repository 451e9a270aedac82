//! DSSE envelopes (Dead Simple Signing Envelope, protocol 1.0.2): a typed payload and signatures over both.
//!
//! Signatures cover the pre-authentication encoding of the payload's own bytes, which are never re-serialised.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lifeboat_core::Sha256Digest;
use serde::{Deserialize, Serialize};

use crate::key::{BadSignature, Sign, SignError, SigningKey, VerificationKey};

/// The payload type of in-toto statements.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// How many signatures an envelope may carry before it is refused unread.
const MAX_SIGNATURES: usize = 64;

/// An envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The media type of the payload.
    pub payload_type: String,
    /// The payload's bytes as they were signed.
    pub payload: Vec<u8>,
    /// At least one signature.
    pub signatures: Vec<Signature>,
}

/// One signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// A hint at the key that made it; never trusted.
    pub key_id: Option<String>,
    /// The signature's bytes.
    pub bytes: Vec<u8>,
}

/// Why an envelope is refused.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// The bytes are not a DSSE envelope.
    #[error("this is not a DSSE envelope ({reason})")]
    Malformed {
        /// The decoder's error.
        reason: String,
    },
    /// The payload has another type than the caller asked for.
    #[error("the envelope holds `{found}` where `{expected}` was expected")]
    OtherType {
        /// The type that was asked for.
        expected: String,
        /// The type in the envelope.
        found: String,
    },
    /// The key made none of the envelope's signatures.
    #[error("no signature of the envelope was made by key {key}")]
    NotSignedBy {
        /// The key that was tried.
        key: Sha256Digest,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    payload: String,
    payload_type: String,
    signatures: Vec<JsonSignature>,
}

#[derive(Serialize, Deserialize)]
struct JsonSignature {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyid: Option<String>,
    sig: String,
}

/// The pre-authentication encoding that is signed in place of the payload (DSSE protocol, "Signature Definition").
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

impl Envelope {
    /// Signs `payload` with `key`.
    pub fn sign(payload_type: &str, payload: Vec<u8>, key: &SigningKey) -> Self {
        let bytes = key.sign(&pre_authentication_encoding(payload_type, &payload));
        let signature = Signature { key_id: None, bytes };
        Self { payload_type: payload_type.to_owned(), payload, signatures: vec![signature] }
    }

    /// Signs `payload` with a key that may be held elsewhere.
    pub fn sign_with(payload_type: &str, payload: Vec<u8>, key: &dyn Sign) -> Result<Self, SignError> {
        let digest = Sha256Digest::of(&pre_authentication_encoding(payload_type, &payload));
        let signature = Signature { key_id: None, bytes: key.sign_digest(digest)? };
        Ok(Self { payload_type: payload_type.to_owned(), payload, signatures: vec![signature] })
    }

    /// Parses the JSON form. The caller has capped its size.
    pub fn from_json(json: &[u8]) -> Result<Self, EnvelopeError> {
        let malformed = |reason: String| EnvelopeError::Malformed { reason };
        let json: Json = serde_json::from_slice(json).map_err(|error| malformed(error.to_string()))?;
        if json.signatures.is_empty() || json.signatures.len() > MAX_SIGNATURES {
            return Err(malformed(format!("{} signatures", json.signatures.len())));
        }
        let decode = |what: &str, text: &str| {
            STANDARD.decode(text).map_err(|error| malformed(format!("{what} is not base64: {error}")))
        };
        let signatures = json
            .signatures
            .iter()
            .map(|s| Ok(Signature { key_id: s.keyid.clone(), bytes: decode("a signature", &s.sig)? }))
            .collect::<Result<_, EnvelopeError>>()?;
        Ok(Self {
            payload: decode("the payload", &json.payload)?,
            payload_type: json.payload_type,
            signatures,
        })
    }

    /// The JSON form.
    ///
    /// # Panics
    /// Never: the form is strings only.
    pub fn to_json(&self) -> Vec<u8> {
        let signatures = self
            .signatures
            .iter()
            .map(|s| JsonSignature { keyid: s.key_id.clone(), sig: STANDARD.encode(&s.bytes) })
            .collect();
        let json = Json {
            payload: STANDARD.encode(&self.payload),
            payload_type: self.payload_type.clone(),
            signatures,
        };
        serde_json::to_vec(&json).expect("strings always serialise")
    }

    /// The payload, if it is of type `payload_type` and `key` made one of the signatures.
    pub fn verify(&self, payload_type: &str, key: &VerificationKey) -> Result<&[u8], EnvelopeError> {
        if self.payload_type != payload_type {
            return Err(EnvelopeError::OtherType {
                expected: payload_type.to_owned(),
                found: self.payload_type.chars().take(100).collect(),
            });
        }
        let signed = pre_authentication_encoding(&self.payload_type, &self.payload);
        let verifies = |s: &Signature| -> Result<(), BadSignature> { key.verify(&signed, &s.bytes) };
        if self.signatures.iter().any(|s| verifies(s).is_ok()) {
            Ok(&self.payload)
        } else {
            Err(EnvelopeError::NotSignedBy { key: key.id() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_the_one_of_the_protocols_own_example() {
        assert_eq!(
            pre_authentication_encoding("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn an_envelope_survives_its_json_form_and_refuses_another_key_type_or_payload() {
        let key = SigningKey::generate();
        let envelope =
            Envelope::from_json(&Envelope::sign("a/b", b"payload".to_vec(), &key).to_json()).unwrap();
        assert_eq!(envelope.verify("a/b", key.verification_key()).unwrap(), b"payload");
        envelope.verify("a/c", key.verification_key()).unwrap_err();
        envelope.verify("a/b", SigningKey::generate().verification_key()).unwrap_err();
        let changed = Envelope { payload: b"Payload".to_vec(), ..envelope };
        changed.verify("a/b", key.verification_key()).unwrap_err();
    }
}
