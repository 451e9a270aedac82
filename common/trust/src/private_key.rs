//! Private keys from other tools: ECDSA P-256 and RSA, in the PEM forms that these write.

use std::fmt;

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use lifeboat_core::Sha256Digest;
use zeroize::Zeroizing;

use crate::key::{KeyError, Sign, SignError, SigningKey, VerificationKey};

/// The smallest RSA key that signs, in bits.
const MIN_RSA_BITS: usize = 2048;

/// A private key for signing. It is never displayed.
pub enum PrivateKey {
    /// ECDSA over P-256, the kind that Lifeboat makes.
    EcdsaP256(SigningKey),
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rsa {
        /// The key.
        pair: Box<RsaKeyPair>,
        /// Its public half.
        public: VerificationKey,
    },
}

impl PrivateKey {
    /// Parses a PKCS#8 DER document (RFC 5958).
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        match SigningKey::from_pkcs8_der(der) {
            Ok(key) => Ok(Self::EcdsaP256(key)),
            Err(other) => match RsaKeyPair::from_pkcs8(der) {
                Ok(pair) => Self::rsa(pair),
                Err(_) => Err(other),
            },
        }
    }

    /// Parses the content of a PEM block with `label`: PKCS#8, SEC 1 (RFC 5915) or PKCS#1 (RFC 8017); `None` for
    /// another label.
    pub fn from_pem(label: &str, der: &[u8]) -> Option<Result<Self, KeyError>> {
        let refused =
            |error: aws_lc_rs::error::KeyRejected| KeyError::NotAPrivateKey { reason: error.to_string() };
        Some(match label {
            "PRIVATE KEY" => Self::from_pkcs8_der(der),
            "EC PRIVATE KEY" => EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, der)
                .map_err(refused)
                .and_then(SigningKey::from_pair)
                .map(Self::EcdsaP256),
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(der).map_err(refused).and_then(Self::rsa),
            _ => return None,
        })
    }

    fn rsa(pair: RsaKeyPair) -> Result<Self, KeyError> {
        let refused = |reason: &str| KeyError::NotAPrivateKey { reason: reason.to_owned() };
        if pair.public_modulus_len() * 8 < MIN_RSA_BITS {
            return Err(refused("it is an RSA key of fewer than 2048 bits"));
        }
        let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())
            .map_err(|_| refused("its public half cannot be derived"))?;
        let public = VerificationKey::from_any_spki_der(spki.as_ref())?;
        Ok(Self::Rsa { pair: Box::new(pair), public })
    }

    /// The key as a PKCS#8 DER document, to be sealed.
    pub fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        match self {
            Self::EcdsaP256(key) => Ok(key.to_pkcs8_der()),
            Self::Rsa { pair, .. } => AsDer::<Pkcs8V1Der<'_>>::as_der(&**pair)
                .map(|der| Zeroizing::new(der.as_ref().to_vec()))
                .map_err(|_| KeyError::NotAPrivateKey { reason: "it cannot be encoded".to_owned() }),
        }
    }
}

impl Sign for PrivateKey {
    fn verification_key(&self) -> &VerificationKey {
        match self {
            Self::EcdsaP256(key) => key.verification_key(),
            Self::Rsa { public, .. } => public,
        }
    }

    fn sign_digest(&self, digest: Sha256Digest) -> Result<Vec<u8>, SignError> {
        match self {
            Self::EcdsaP256(key) => Ok(key.sign_digest(digest)),
            Self::Rsa { pair, .. } => {
                let digest = Digest::import_less_safe(digest.as_bytes(), &SHA256)
                    .expect("a SHA-256 digest has 32 bytes");
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign_digest(&RSA_PKCS1_SHA256, &digest, &mut signature).map_err(|_| SignError {
                    reason: "the RSA key refused the digest".to_owned(),
                    advice: "make a new pair with `lifeboat-sign keygen PREFIX`".to_owned(),
                })?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.verification_key().id())
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rsa::KeySize;

    use super::*;

    #[test]
    fn an_rsa_key_survives_its_forms_and_signs_digests() {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let key = PrivateKey::rsa(pair).unwrap();
        let again = PrivateKey::from_pkcs8_der(&key.to_pkcs8_der().unwrap()).unwrap();
        let digest = Sha256Digest::of(b"message");
        let signature = again.sign_digest(digest).unwrap();
        key.verification_key().verify(b"message", &signature).unwrap();
        key.verification_key().verify_digest(digest, &signature).unwrap();
        key.verification_key().verify(b"Message", &signature).unwrap_err();
    }

    #[test]
    fn what_is_no_private_key_is_refused() {
        for label in ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"] {
            assert!(PrivateKey::from_pem(label, b"no key").unwrap().is_err(), "{label}");
        }
        assert!(PrivateKey::from_pem("CERTIFICATE", b"").is_none());
    }
}
