//! age's post-quantum hybrid, `mlkem768x25519`: what is wrapped to it stays closed as long as either ML-KEM-768 or
//! X25519 is secure.
//!
//! A stanza is `-> mlkem768x25519 ENC`, where ENC is the encapsulated key of an HPKE base mode message (RFC 9180: KEM
//! MLKEM768-X25519, which is X-Wing; HKDF-SHA256; ChaCha20-Poly1305; empty associated data), and its body is that
//! message over the file key. The reference program writes and reads the same since version 1.3.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use age::{DecryptError, EncryptError};
use age_core::format::{FILE_KEY_BYTES, FileKey, Stanza};
use age_core::primitives::{bech32_decode, bech32_encode_to_fmt};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bech32::Hrp;
use hpke_rs::hpke_types::{AeadAlgorithm, KdfAlgorithm, KemAlgorithm};
use hpke_rs::{Hpke, HpkeError, HpkePrivateKey, HpkePublicKey, Mode};
use hpke_rs_crypto::HpkeCrypto;
use hpke_rs_libcrux::HpkeLibcrux;
use lifeboat_core::random::Entropy;
use secrecy::ExposeSecret;
use zeroize::{Zeroize, Zeroizing};

/// The prefix of recipients of this kind.
pub(super) const RECIPIENT_START: &str = "age1pq1";
/// The prefix of identities of this kind.
pub(super) const IDENTITY_START: &str = "AGE-SECRET-KEY-PQ-1";

const RECIPIENT_HRP: Hrp = Hrp::parse_unchecked("age1pq");
const IDENTITY_HRP: Hrp = Hrp::parse_unchecked("age-secret-key-pq-");
const STANZA_TAG: &str = "mlkem768x25519";
const HPKE_INFO: &[u8] = b"age-encryption.org/mlkem768x25519";
/// Prevents a file from having both recipients of this kind and classical ones, which would defeat the purpose.
pub(super) const LABEL: &str = "postquantum";
const KEM: KemAlgorithm = KemAlgorithm::XWingDraft06;
const ENCAPSULATED_BYTES: usize = 1120;
const AEAD_TAG_BYTES: usize = 16;

/// The public half.
#[derive(Clone, PartialEq)]
pub(super) struct Recipient(HpkePublicKey);

/// The private half: the seed that both key pairs are derived from.
#[derive(Clone)]
pub(crate) struct Identity(Zeroizing<[u8; 32]>);

fn hpke() -> Result<Hpke<HpkeLibcrux>, HpkeError> {
    Hpke::try_new(Mode::Base, KEM, KdfAlgorithm::HkdfSha256, AeadAlgorithm::ChaCha20Poly1305)
}

impl FromStr for Recipient {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let key = bech32_decode(
            text,
            |_| "its checksum is wrong, or it has been cut",
            |hrp| if hrp == RECIPIENT_HRP { Ok(()) } else { Err("it is of another kind") },
            |_, bytes| Ok(bytes.collect::<Vec<u8>>()),
        )?;
        // The encapsulation checks the public key first; its result is discarded.
        <HpkeLibcrux>::kem_encaps_derand(KEM, &key, &[0; 64])
            .map_err(|_| "it is not an ML-KEM-768 and X25519 public key")?;
        Ok(Self(HpkePublicKey::new(key)))
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bech32_encode_to_fmt(f, RECIPIENT_HRP, self.0.as_slice())
    }
}

impl age::Recipient for Recipient {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let seal = || hpke()?.seal(&self.0, HPKE_INFO, &[], file_key.expose_secret(), None, None, None);
        let (encapsulated, body) = seal().map_err(|error| EncryptError::Io(std::io::Error::other(error)))?;
        let args = vec![STANDARD_NO_PAD.encode(encapsulated)];
        Ok((vec![Stanza { tag: STANZA_TAG.to_owned(), args, body }], HashSet::from([LABEL.to_owned()])))
    }
}

impl Identity {
    pub(crate) fn random(entropy: &dyn Entropy) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        entropy.fill(&mut *seed);
        Self(seed)
    }

    /// The identity of a seed, for tests.
    #[cfg(test)]
    pub(super) fn from_seed(seed: [u8; 32]) -> Self {
        Self(Zeroizing::new(seed))
    }

    pub(super) fn recipient(&self) -> Recipient {
        let (public, private) = <HpkeLibcrux>::kem_key_gen_derand(KEM, &*self.0)
            .expect("a key pair comes of every seed of 32 bytes");
        drop(Zeroizing::new(private));
        Recipient(HpkePublicKey::new(public))
    }

    /// The identity in age's form.
    pub(crate) fn to_text(&self) -> Zeroizing<String> {
        // Large enough that the string never reallocates and leaves a copy behind.
        let mut text = Zeroizing::new(String::with_capacity(128));
        bech32_encode_to_fmt(&mut *text, IDENTITY_HRP, &*self.0).expect("writing to a String cannot fail");
        text.make_ascii_uppercase();
        text
    }
}

impl FromStr for Identity {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        bech32_decode(
            text,
            |_| "its checksum is wrong, or it has been cut",
            |hrp| if hrp == IDENTITY_HRP { Ok(()) } else { Err("it is of another kind") },
            |_, mut bytes| {
                let mut seed = Zeroizing::new([0; 32]);
                for byte in seed.iter_mut() {
                    *byte = bytes.next().ok_or("it is too short")?;
                }
                if bytes.next().is_none() { Ok(Self(seed)) } else { Err("it is too long") }
            },
        )
    }
}

impl age::Identity for Identity {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        if stanza.tag != STANZA_TAG {
            return None;
        }
        let encapsulated = match &stanza.args[..] {
            [argument] => STANDARD_NO_PAD.decode(argument).ok(),
            _ => None,
        };
        let Some(encapsulated) = encapsulated.filter(|bytes| bytes.len() == ENCAPSULATED_BYTES) else {
            return Some(Err(DecryptError::InvalidHeader));
        };
        if stanza.body.len() != FILE_KEY_BYTES + AEAD_TAG_BYTES {
            return Some(Err(DecryptError::InvalidHeader));
        }
        let private = HpkePrivateKey::new(self.0.to_vec());
        let open = || hpke()?.open(&encapsulated, &private, HPKE_INFO, &[], &stanza.body, None, None, None);
        match open() {
            Ok(mut opened) => Some(FileKey::try_init_with_mut(|file_key| {
                let is_whole = opened.len() == file_key.len();
                if is_whole {
                    file_key.copy_from_slice(&opened);
                }
                opened.zeroize();
                if is_whole { Ok(()) } else { Err(DecryptError::DecryptionFailed) }
            })),
            // The KEM does not report a mismatch: another's stanza yields another key, and only the seal detects it.
            Err(HpkeError::OpenError) => None,
            Err(_) => Some(Err(DecryptError::DecryptionFailed)),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hybrid::Identity(redacted)")
    }
}
