//! Signing and verification keys.
//!
//! Lifeboat signs everything (rosters, snapshots, index objects, images) with ECDSA over P-256 and SHA-256 (FIPS
//! 186-5), the algorithm that every Sigstore tool supports. Signatures of others may also be verified with the other
//! kinds of keys that they use ([`Algorithm`]).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{Digest, SHA256, SHA384};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1, EcdsaKeyPair, KeyPair, ParsedPublicKey,
    UnparsedPublicKey, VerificationAlgorithm,
};
use lifeboat_core::{Fault, Kind, Sha256Digest};
use zeroize::Zeroizing;

/// A private ECDSA P-256 key. It is never displayed: `Debug` shows only the public half.
#[derive(Clone)]
pub struct SigningKey {
    pair: Arc<EcdsaKeyPair>,
    public: VerificationKey,
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The bytes are not a P-256 private key in PKCS#8 (RFC 5958).
    #[error("this is not a P-256 private key in PKCS#8 form ({reason})")]
    NotAPrivateKey {
        /// The decoder's error.
        reason: String,
    },
    /// The bytes are not a public key of a supported kind.
    #[error("this is not a public key that can be used ({reason})")]
    NotAPublicKey {
        /// The decoder's error.
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

/// A key that signs digests, held here or elsewhere.
pub trait Sign: Send + Sync {
    /// The public half.
    fn verification_key(&self) -> &VerificationKey;

    /// Signs the message with the SHA-256 `digest`, with the key's algorithm: the result is an ASN.1 DER
    /// `ECDSA-Sig-Value` (RFC 3279), or RSASSA-PKCS1-v1_5.
    fn sign_digest(&self, digest: Sha256Digest) -> Result<Vec<u8>, SignError>;
}

impl Sign for SigningKey {
    fn verification_key(&self) -> &VerificationKey {
        SigningKey::verification_key(self)
    }

    fn sign_digest(&self, digest: Sha256Digest) -> Result<Vec<u8>, SignError> {
        Ok(SigningKey::sign_digest(self, digest))
    }
}

/// Why a key that is held elsewhere did not sign.
#[derive(Debug, thiserror::Error)]
#[error("the key did not sign: {reason}")]
pub struct SignError {
    /// Its holder's error.
    pub reason: String,
    /// What to do next.
    pub advice: String,
}

impl Fault for SignError {
    fn kind(&self) -> Kind {
        Kind::Refused
    }

    fn advice(&self) -> Option<String> {
        Some(self.advice.clone())
    }
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

    /// Parses a PKCS#8 DER document (RFC 5958) that holds a P-256 key.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der)
            .map_err(|error| KeyError::NotAPrivateKey { reason: error.to_string() })?;
        Self::from_pair(pair)
    }

    pub(crate) fn from_pair(pair: EcdsaKeyPair) -> Result<Self, KeyError> {
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

impl SigningKey {
    /// Signs the message whose SHA-256 is `digest`; the same signature as [`SigningKey::sign`] over the message.
    ///
    /// # Panics
    /// When the operating system has no randomness to give.
    pub fn sign_digest(&self, digest: Sha256Digest) -> Vec<u8> {
        let digest =
            Digest::import_less_safe(digest.as_bytes(), &SHA256).expect("a SHA-256 digest has 32 bytes");
        let signature = self.pair.sign_digest(&digest).expect("randomness for a signature");
        signature.as_ref().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.id())
    }
}

/// The supported algorithms of public keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA over P-256 with SHA-256, which Lifeboat and cosign use.
    EcdsaP256,
    /// ECDSA over P-384, with SHA-384 or, by older tools, SHA-256.
    EcdsaP384,
    /// RSASSA-PKCS1-v1_5 with SHA-256, 2048 to 8192 bits.
    Rsa,
    /// Ed25519 (RFC 8032).
    Ed25519,
}

impl Algorithm {
    /// The usual name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ECDSA P-256",
            Self::EcdsaP384 => "ECDSA P-384",
            Self::Rsa => "RSA",
            Self::Ed25519 => "Ed25519",
        }
    }

    /// The signature schemes that a key of this algorithm is tried with.
    fn schemes(self) -> &'static [&'static dyn VerificationAlgorithm] {
        match self {
            Self::EcdsaP256 => &[&signature::ECDSA_P256_SHA256_ASN1],
            Self::EcdsaP384 => &[&signature::ECDSA_P384_SHA384_ASN1, &signature::ECDSA_P384_SHA256_ASN1],
            Self::Rsa => &[&signature::RSA_PKCS1_2048_8192_SHA256],
            Self::Ed25519 => &[&signature::ED25519],
        }
    }

    /// The scheme that signs an existing SHA-256 digest, if there is one.
    fn digest_scheme(self) -> Option<&'static dyn VerificationAlgorithm> {
        match self {
            Self::EcdsaP256 => Some(&signature::ECDSA_P256_SHA256_ASN1),
            Self::EcdsaP384 => Some(&signature::ECDSA_P384_SHA256_ASN1),
            Self::Rsa => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Ed25519 => None,
        }
    }

    /// The algorithm of a `SubjectPublicKeyInfo`, by its algorithm identifier (RFC 5480, RFC 3279, RFC 8410).
    fn of_spki(der: &[u8]) -> Option<Self> {
        /// `rsaEncryption` with NULL parameters.
        const RSA: [u8; 15] =
            [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
        if der.len() == P256_SPKI_PREFIX.len() + 64 && der.starts_with(&P256_SPKI_PREFIX) {
            Some(Self::EcdsaP256)
        } else if der.len() == P384_SPKI_PREFIX.len() + 96 && der.starts_with(&P384_SPKI_PREFIX) {
            Some(Self::EcdsaP384)
        } else if der.len() == ED25519_SPKI_PREFIX.len() + 32 && der.starts_with(&ED25519_SPKI_PREFIX) {
            Some(Self::Ed25519)
        } else if der.len() > 4 + RSA.len() && der[0] == 0x30 && der[4..].starts_with(&RSA) {
            Some(Self::Rsa)
        } else {
            None
        }
    }
}

/// A public key as its `SubjectPublicKeyInfo` (RFC 5280, section 4.1).
#[derive(Clone, PartialEq, Eq)]
pub struct VerificationKey {
    spki: Vec<u8>,
    algorithm: Algorithm,
}

/// The DER prefix of every P-256 `SubjectPublicKeyInfo` with an uncompressed point (RFC 5480): the algorithm
/// `id-ecPublicKey`, the curve `prime256v1`, a bit string of 65 bytes that starts with 4.
const P256_SPKI_PREFIX: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

/// The same for P-384: the curve `secp384r1`, a bit string of 97 bytes that starts with 4.
const P384_SPKI_PREFIX: [u8; 24] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81,
    0x04, 0x00, 0x22, 0x03, 0x62, 0x00, 0x04,
];

/// The DER prefix of every Ed25519 `SubjectPublicKeyInfo` (RFC 8410).
const ED25519_SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

impl VerificationKey {
    /// Parses a `SubjectPublicKeyInfo` in DER; only P-256 with an uncompressed point, as Lifeboat writes it.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        let key = Self::from_any_spki_der(der)?;
        if key.algorithm != Algorithm::EcdsaP256 {
            return Err(KeyError::NotAPublicKey { reason: "expected an ECDSA P-256 key".to_owned() });
        }
        Ok(key)
    }

    /// Parses a `SubjectPublicKeyInfo` in DER with any [`Algorithm`]: a key with which others sign images.
    pub fn from_any_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        let refused = |reason: &str| KeyError::NotAPublicKey { reason: reason.to_owned() };
        let algorithm = Algorithm::of_spki(der)
            .ok_or_else(|| refused("expected an ECDSA P-256 or P-384, RSA or Ed25519 key"))?;
        for scheme in algorithm.schemes() {
            ParsedPublicKey::new(*scheme, der).map_err(|_| {
                refused(&format!("it claims to be an {} key but is not valid", algorithm.name()))
            })?;
        }
        Ok(Self { spki: der.to_vec(), algorithm })
    }

    /// The key with these bytes as its raw form (RFC 8032).
    pub(crate) fn from_ed25519(raw: [u8; 32]) -> Result<Self, KeyError> {
        Self::from_any_spki_der(&[&ED25519_SPKI_PREFIX[..], &raw].concat())
    }

    /// The 32 bytes of an Ed25519 key (RFC 8032, section 5.1.5).
    pub(crate) fn to_ed25519(&self) -> Option<[u8; 32]> {
        let raw = self.to_spki_der().strip_prefix(&ED25519_SPKI_PREFIX[..])?;
        (self.algorithm == Algorithm::Ed25519).then(|| raw.try_into().ok())?
    }

    /// The key's algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The `SubjectPublicKeyInfo` in DER.
    pub fn to_spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// The key's name: SHA-256 of its `SubjectPublicKeyInfo`.
    pub fn id(&self) -> Sha256Digest {
        Sha256Digest::of(&self.spki)
    }

    /// Checks a signature over `message`. That of an ECDSA key is an ASN.1 DER `ECDSA-Sig-Value`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let verifies = |scheme: &&'static dyn VerificationAlgorithm| {
            UnparsedPublicKey::new(*scheme, &self.spki).verify(message, signature).is_ok()
        };
        if self.algorithm.schemes().iter().any(verifies) {
            Ok(())
        } else {
            Err(BadSignature { key: self.id() })
        }
    }

    /// Checks a signature over the message whose SHA-256 is `digest`.
    ///
    /// An Ed25519 signature covers the message itself, so a digest is not enough: such a key never verifies here; see
    /// [`VerificationKey::verifies_digests`].
    pub fn verify_digest(&self, digest: Sha256Digest, signature: &[u8]) -> Result<(), BadSignature> {
        let bad = || BadSignature { key: self.id() };
        let scheme = self.algorithm.digest_scheme().ok_or_else(bad)?;
        let digest = Digest::import_less_safe(digest.as_bytes(), &SHA256).map_err(|_| bad())?;
        UnparsedPublicKey::new(scheme, &self.spki).verify_digest(&digest, signature).map_err(|_| bad())
    }

    /// Checks a signature over the message with these digests. Never succeeds for a key that signs whole messages.
    pub(crate) fn verify_digests(
        &self,
        sha256: Sha256Digest,
        sha384: &[u8; 48],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        let by_sha384 = || {
            let digest = Digest::import_less_safe(sha384, &SHA384).ok()?;
            let key = UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, &self.spki);
            key.verify_digest(&digest, signature).ok()
        };
        match (self.verify_digest(sha256, signature), self.algorithm) {
            (Err(_), Algorithm::EcdsaP384) => by_sha384().ok_or(BadSignature { key: self.id() }),
            (verified, _) => verified,
        }
    }

    /// Whether [`VerificationKey::verify_digest`] can ever succeed with this key.
    pub fn verifies_digests(&self) -> bool {
        self.algorithm.digest_scheme().is_some()
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

    #[test]
    fn a_digest_signed_beforehand_is_the_message_signed() {
        let key = SigningKey::generate();
        let digest = Sha256Digest::of(b"message");
        key.verification_key().verify(b"message", &key.sign_digest(digest)).unwrap();
        key.verification_key().verify_digest(digest, &key.sign(b"message")).unwrap();
        key.verification_key().verify_digest(Sha256Digest::of(b"other"), &key.sign(b"message")).unwrap_err();
    }

    #[test]
    fn keys_of_other_algorithms_verify_but_are_not_the_houses_own() {
        use aws_lc_rs::signature as s;
        let random = SystemRandom::new();

        let p384 = EcdsaKeyPair::generate(&s::ECDSA_P384_SHA384_ASN1_SIGNING).unwrap();
        let public =
            VerificationKey::from_any_spki_der(p384.public_key().as_der().unwrap().as_ref()).unwrap();
        assert_eq!(public.algorithm(), Algorithm::EcdsaP384);
        let signature = p384.sign(&random, b"message").unwrap();
        public.verify(b"message", signature.as_ref()).unwrap();
        public.verify(b"Message", signature.as_ref()).unwrap_err();
        VerificationKey::from_spki_der(public.to_spki_der()).unwrap_err();

        let ed25519 = s::Ed25519KeyPair::generate().unwrap();
        let public =
            VerificationKey::from_any_spki_der(ed25519.public_key().as_der().unwrap().as_ref()).unwrap();
        assert_eq!(public.algorithm(), Algorithm::Ed25519);
        public.verify(b"message", ed25519.sign(b"message").as_ref()).unwrap();
        public.verify(b"Message", ed25519.sign(b"message").as_ref()).unwrap_err();
        assert!(!public.verifies_digests());

        let rsa = s::RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let public = VerificationKey::from_any_spki_der(rsa.public_key().as_der().unwrap().as_ref()).unwrap();
        assert_eq!(public.algorithm(), Algorithm::Rsa);
        let mut signature = vec![0; rsa.public_modulus_len()];
        rsa.sign(&s::RSA_PKCS1_SHA256, &random, b"message", &mut signature).unwrap();
        public.verify(b"message", &signature).unwrap();
        public.verify(b"Message", &signature).unwrap_err();
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let good = SigningKey::generate().verification_key().to_spki_der().to_vec();
        let off_the_curve = [&P256_SPKI_PREFIX[..], &[7; 64]].concat();
        for bad in [&good[1..], &good[..90], b"", &[0x30; 300], &off_the_curve] {
            VerificationKey::from_any_spki_der(bad).unwrap_err();
        }
    }
}
