//! Signing and verification keys.
//!
//! Everything that Lifeboat signs (rosters, snapshots, index objects, images) is signed with ECDSA over P-256 and
//! SHA-256 (FIPS 186-5), the algorithm that every tool around Sigstore reads.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use lifeboat_core::{Fault, Kind, Sha256Digest};
use zeroize::Zeroizing;

/// A private ECDSA P-256 key. Never shown, never cloned out; `Debug` names the public half only.
#[derive(Clone)]
pub struct SigningKey {
    pair: Arc<EcdsaKeyPair>,
    public: VerificationKey,
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The bytes are no P-256 private key in PKCS#8 (RFC 5958).
    #[error("this is not a P-256 private key in PKCS#8 form ({reason})")]
    NotAPrivateKey {
        /// What the decoder said.
        reason: String,
    },
    /// The bytes are no public key of a kind that is supported.
    #[error("this is not a public key that can be used ({reason})")]
    NotAPublicKey {
        /// What the decoder said.
        reason: String,
    },
}

impl Fault for KeyError {
    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

/// A signature that the key did not make over the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the signature was not made by key {key} over these bytes")]
pub struct BadSignature {
    /// The key that was tried: SHA-256 of its `SubjectPublicKeyInfo`.
    pub key: Sha256Digest,
}

impl SigningKey {
    /// Makes a new key.
    ///
    /// # Panics
    /// When the operating system has no randomness to give.
    pub fn generate() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("randomness for a new key");
        Self::from_pair(pair).expect("a key that was just made has a public half")
    }

    /// Reads a PKCS#8 DER document (RFC 5958) that holds a P-256 key.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der)
            .map_err(|error| KeyError::NotAPrivateKey { reason: error.to_string() })?;
        Self::from_pair(pair)
    }

    fn from_pair(pair: EcdsaKeyPair) -> Result<Self, KeyError> {
        let spki = pair.public_key().as_der().map_err(|_| KeyError::NotAPrivateKey {
            reason: "its public half cannot be derived".to_owned(),
        })?;
        let public = VerificationKey::from_spki_der(spki.as_ref())?;
        Ok(Self { pair: Arc::new(pair), public })
    }

    /// The key as a PKCS#8 DER document, to be sealed or written to a key file.
    ///
    /// # Panics
    /// Never for a key that was made by this type.
    pub fn to_pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        let document = self.pair.to_pkcs8v1().expect("a usable key can be encoded");
        Zeroizing::new(document.as_ref().to_vec())
    }

    /// The public half.
    pub fn verification_key(&self) -> &VerificationKey {
        &self.public
    }

    /// Signs `message`; the signature is an ASN.1 DER `ECDSA-Sig-Value` (RFC 3279).
    ///
    /// # Panics
    /// When the operating system has no randomness to give.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.pair.sign(&SystemRandom::new(), message).expect("randomness for a signature");
        signature.as_ref().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.id())
    }
}

/// A public ECDSA P-256 key as its `SubjectPublicKeyInfo` (RFC 5280, section 4.1).
#[derive(Clone, PartialEq, Eq)]
pub struct VerificationKey {
    spki: Vec<u8>,
}

/// The DER prefix of every P-256 `SubjectPublicKeyInfo` with an uncompressed point (RFC 5480): the algorithm
/// `id-ecPublicKey`, the curve `prime256v1`, a bit string of 65 bytes that begins with 4.
const P256_SPKI_PREFIX: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

impl VerificationKey {
    /// Reads a `SubjectPublicKeyInfo` in DER; P-256 with an uncompressed point only.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        if der.len() != P256_SPKI_PREFIX.len() + 64 || !der.starts_with(&P256_SPKI_PREFIX) {
            return Err(KeyError::NotAPublicKey { reason: "expected an ECDSA P-256 key".to_owned() });
        }
        Ok(Self { spki: der.to_vec() })
    }

    /// The `SubjectPublicKeyInfo` in DER.
    pub fn to_spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// The key's name: SHA-256 of its `SubjectPublicKeyInfo`.
    pub fn id(&self) -> Sha256Digest {
        Sha256Digest::of(&self.spki)
    }

    /// Checks an ASN.1 DER signature over `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        aws_lc_rs::signature::UnparsedPublicKey::new(
            &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1,
            &self.spki[P256_SPKI_PREFIX.len() - 1..],
        )
        .verify(message, signature)
        .map_err(|_| BadSignature { key: self.id() })
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerificationKey({})", self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_file_form_and_signs_what_its_public_half_verifies() {
        let key = SigningKey::generate();
        let again = SigningKey::from_pkcs8_der(&key.to_pkcs8_der()).unwrap();
        let public = VerificationKey::from_spki_der(key.verification_key().to_spki_der()).unwrap();
        let signature = again.sign(b"message");
        public.verify(b"message", &signature).unwrap();
        public.verify(b"Message", &signature).unwrap_err();
        SigningKey::generate().verification_key().verify(b"message", &signature).unwrap_err();
    }
}
