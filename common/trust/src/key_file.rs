//! Key files: cosign's encrypted private key, and public keys, both as PEM.
//!
//! A private key file is PEM with the label `ENCRYPTED SIGSTORE PRIVATE KEY` (before 2023 `ENCRYPTED COSIGN PRIVATE
//! KEY`) around a JSON document: scrypt of the passphrase gives the key of a `NaCl` secret box around PKCS#8. Lifeboat
//! and cosign read each other's files.

use std::fmt;

use lifeboat_core::{Fault, Kind};
use pem::{EncodeConfig, LineEnding, Pem};
use serde::Deserialize;
use sigstore::crypto::signing_key::kdf;
use zeroize::Zeroizing;

use crate::key::{KeyError, VerificationKey};
use crate::private_key::PrivateKey;

/// The label of the private key files that are written.
const PRIVATE_LABEL: &str = "ENCRYPTED SIGSTORE PRIVATE KEY";

/// The labels of the private key files that are read.
const PRIVATE_LABELS: [&str; 2] = [PRIVATE_LABEL, "ENCRYPTED COSIGN PRIVATE KEY"];

/// The label of a public key (RFC 7468, section 13).
const PUBLIC_LABEL: &str = "PUBLIC KEY";

/// The start of every PEM block (RFC 7468, section 2).
const BEGIN: &[u8] = b"-----BEGIN ";

/// The passphrase of a private key file. It is never displayed.
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Takes over the bytes of a passphrase. An empty one is allowed, as in cosign.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Whether it is empty and thus protects nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

impl PartialEq for Passphrase {
    fn eq(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file is not PEM, or PEM of something else.
    #[error("this is not a {expected} key file ({reason})")]
    NotAKeyFile {
        /// `private` or `public`.
        expected: &'static str,
        /// What was found instead.
        reason: String,
    },
    /// The file holds several PEM blocks, of which only one could count.
    #[error("the file holds {blocks} PEM blocks, and a key file holds one")]
    Several {
        /// How many it holds.
        blocks: usize,
    },
    /// The file holds a public key where a private one is needed.
    #[error("this is a public key, and signing needs the private one")]
    Public,
    /// The file holds a private key where a public one is needed.
    #[error("this is a private key, and verifying needs the public one")]
    Private,
    /// The file holds a private key that is not protected, or protected by another scheme.
    #[error("this private key is not in cosign's encrypted form but `{label}`")]
    Foreign {
        /// The PEM label.
        label: String,
    },
    /// The file is encrypted in a way that no cosign release writes.
    #[error("the key file is encrypted with {found}, where {expected} is expected")]
    Scheme {
        /// The parameters that cosign writes.
        expected: &'static str,
        /// The parameters in the file.
        found: String,
    },
    /// The passphrase does not open the file, or the file was changed.
    #[error("the passphrase does not open the key file")]
    WrongPassphrase,
    /// The key has an algorithm that Lifeboat does not sign with.
    #[error("the key file holds a private key of another kind than ECDSA P-256 or RSA")]
    OtherAlgorithm,
    /// The key inside the file cannot be used.
    #[error("the key in the file cannot be used")]
    Key(#[source] KeyError),
}

impl Fault for KeyFileError {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn advice(&self) -> Option<String> {
        let advice = match self {
            Self::NotAKeyFile { expected: "private", .. } => {
                "give the .key file of a pair that `lifeboat-sign keygen PREFIX` or `cosign generate-key-pair` made"
            }
            Self::NotAKeyFile { .. } => {
                "give the .pub file of a key pair: PEM that begins `-----BEGIN PUBLIC KEY-----`"
            }
            Self::Several { .. } => "give each public key a file and a `--key` of its own",
            Self::Public => "give the .key file of the pair to `--key`",
            Self::Private => {
                "give the .pub file of the pair to `--key`, and keep the private key where signing happens"
            }
            Self::Foreign { .. } => "encrypt it first: `lifeboat-sign keygen PREFIX --import FILE`",
            Self::Scheme { .. } | Self::Key(_) => "make a new pair with `lifeboat-sign keygen PREFIX`",
            Self::WrongPassphrase => {
                "check COSIGN_PASSWORD; if the passphrase is right, the file is damaged: fetch its backup"
            }
            Self::OtherAlgorithm => {
                "Lifeboat signs with ECDSA P-256 and RSA, which every verifier reads: make a pair with `lifeboat-sign keygen PREFIX`"
            }
        };
        Some(advice.to_owned())
    }
}

/// The parts of the JSON document that must be checked before a library parses it: the author of the file may have
/// chosen parameters that cost gigabytes, or lengths that the library does not check.
#[derive(Deserialize)]
struct Sealed {
    kdf: Kdf,
    cipher: Cipher,
}

#[derive(Deserialize)]
struct Kdf {
    name: String,
    params: Scrypt,
}

#[derive(Deserialize)]
struct Scrypt {
    #[serde(rename = "N")]
    n: u64,
    r: u64,
    p: u64,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

impl Sealed {
    fn check(json: &[u8]) -> Result<(), KeyFileError> {
        use base64::Engine as _;
        let sealed: Self = serde_json::from_slice(json).map_err(|error| KeyFileError::NotAKeyFile {
            expected: "private",
            reason: format!("its content is not cosign's JSON: {error}"),
        })?;
        let scheme = |expected, found: String| KeyFileError::Scheme { expected, found };
        let clean = |name: &str| name.chars().take(40).flat_map(char::escape_default).collect::<String>();
        if sealed.kdf.name != kdf::NAME_SCRYPT {
            return Err(scheme("scrypt", clean(&sealed.kdf.name)));
        }
        let Scrypt { n, r, p } = sealed.kdf.params;
        if !([kdf::SCRYPT_N_LOW, kdf::SCRYPT_N_HIGH].map(u64::from).contains(&n))
            || r != u64::from(kdf::SCRYPT_R)
            || p != u64::from(kdf::SCRYPT_P)
        {
            return Err(scheme("scrypt N=32768 or 65536, r=8, p=1", format!("N={n}, r={r}, p={p}")));
        }
        if sealed.cipher.name != kdf::NAME_SECRET_BOX {
            return Err(scheme("nacl/secretbox", clean(&sealed.cipher.name)));
        }
        let nonce =
            base64::engine::general_purpose::STANDARD.decode(&sealed.cipher.nonce).unwrap_or_default();
        if nonce.len() != kdf::BOX_NONCE_SIZE as usize {
            return Err(scheme("one of 24 bytes", format!("a nonce of {} bytes", nonce.len())));
        }
        Ok(())
    }
}

fn parse_pem(expected: &'static str, text: &[u8]) -> Result<Pem, KeyFileError> {
    pem::parse(text).map_err(|error| {
        let reason = match error {
            pem::PemError::MalformedFraming | pem::PemError::MissingBeginTag => {
                "it holds no PEM block".to_owned()
            }
            other => format!("its PEM block is damaged: {other}"),
        };
        KeyFileError::NotAKeyFile { expected, reason }
    })
}

fn write_pem(label: &str, contents: Vec<u8>) -> String {
    pem::encode_config(&Pem::new(label, contents), EncodeConfig::new().set_line_ending(LineEnding::LF))
}

/// Opens a private key file in cosign's form.
pub fn open_private(file: &[u8], passphrase: &Passphrase) -> Result<PrivateKey, KeyFileError> {
    check_private(file)?;
    let pem = parse_pem("private", file)?;
    let der = kdf::decrypt(pem.contents(), &passphrase.0).map(Zeroizing::new);
    let der = der.map_err(|_| KeyFileError::WrongPassphrase)?;
    // The box is authenticated: from here on, the content is what the key's maker wrote.
    PrivateKey::from_pkcs8_der(&der).map_err(|error| match error {
        KeyError::NotAPrivateKey { .. } => KeyFileError::OtherAlgorithm,
        other @ KeyError::NotAPublicKey { .. } => KeyFileError::Key(other),
    })
}

/// Reads an unencrypted private key, to be sealed in cosign's form: PEM of PKCS#8, SEC 1 or PKCS#1.
pub fn import_private(file: &[u8]) -> Result<PrivateKey, KeyFileError> {
    // Tools write the parameters of a curve before the key.
    let blocks = pem::parse_many(file).map_err(|error| KeyFileError::NotAKeyFile {
        expected: "private",
        reason: format!("its PEM block is damaged: {error}"),
    })?;
    let mut keys = blocks.iter().filter(|block| block.tag() != "EC PARAMETERS");
    let (Some(block), None) = (keys.next(), keys.next()) else {
        let reason = "it does not hold exactly one PEM block".to_owned();
        return Err(KeyFileError::NotAKeyFile { expected: "private", reason });
    };
    match PrivateKey::from_pem(block.tag(), block.contents()) {
        Some(key) => key.map_err(|_| KeyFileError::OtherAlgorithm),
        None if block.tag() == PUBLIC_LABEL => Err(KeyFileError::Public),
        None => Err(KeyFileError::NotAKeyFile {
            expected: "private",
            reason: format!("it holds `{}`", printable(block.tag())),
        }),
    }
}

/// Checks, without a passphrase, that the file is a private key in cosign's form.
pub fn check_private(file: &[u8]) -> Result<(), KeyFileError> {
    let pem = parse_pem("private", file)?;
    match pem.tag() {
        label if PRIVATE_LABELS.contains(&label) => Sealed::check(pem.contents()),
        PUBLIC_LABEL => Err(KeyFileError::Public),
        label if label.contains("PRIVATE KEY") => Err(KeyFileError::Foreign { label: printable(label) }),
        label => Err(KeyFileError::NotAKeyFile {
            expected: "private",
            reason: format!("it holds `{}`", printable(label)),
        }),
    }
}

/// The private key as a file in cosign's form.
///
/// # Panics
/// Never: sealing bytes in memory cannot fail.
pub fn seal_private(key: &PrivateKey, passphrase: &Passphrase) -> Result<Zeroizing<String>, KeyError> {
    let sealed =
        kdf::encrypt(&key.to_pkcs8_der()?, &passphrase.0).expect("bytes in memory can always be sealed");
    Ok(Zeroizing::new(write_pem(PRIVATE_LABEL, sealed)))
}

/// Reads a public key file of any [`Algorithm`](crate::key::Algorithm).
pub fn read_public(file: &[u8]) -> Result<VerificationKey, KeyFileError> {
    let pem = parse_pem("public", file)?;
    // A second block counts even if it cannot be parsed: the file was meant to contain more than its first block.
    let blocks = file.windows(BEGIN.len()).filter(|text| *text == BEGIN).count();
    if blocks > 1 {
        return Err(KeyFileError::Several { blocks });
    }
    match pem.tag() {
        PUBLIC_LABEL => VerificationKey::from_any_spki_der(pem.contents()).map_err(KeyFileError::Key),
        label if label.contains("PRIVATE KEY") => Err(KeyFileError::Private),
        label => Err(KeyFileError::NotAKeyFile {
            expected: "public",
            reason: format!("it holds `{}`", printable(label)),
        }),
    }
}

/// The public key as a file.
pub fn write_public(key: &VerificationKey) -> String {
    write_pem(PUBLIC_LABEL, key.to_spki_der().to_vec())
}

fn printable(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Sign as _, SigningKey};

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.as_bytes().to_vec())
    }

    #[test]
    fn a_private_key_opens_with_its_passphrase_alone() {
        let key = PrivateKey::EcdsaP256(SigningKey::generate());
        let file = seal_private(&key, &passphrase("correct horse")).unwrap();
        assert!(file.starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"), "{}", *file);
        let opened = open_private(file.as_bytes(), &passphrase("correct horse")).unwrap();
        assert_eq!(opened.verification_key(), key.verification_key());
        let wrong = open_private(file.as_bytes(), &passphrase("battery staple")).unwrap_err();
        assert!(matches!(wrong, KeyFileError::WrongPassphrase), "{wrong:?}");
        assert_eq!(format!("{:?}", passphrase("secret")), "Passphrase(…)");
    }

    #[test]
    fn a_public_key_survives_its_file_and_the_two_files_are_not_confused() {
        let key = PrivateKey::EcdsaP256(SigningKey::generate());
        let public = write_public(key.verification_key());
        assert_eq!(&read_public(public.as_bytes()).unwrap(), key.verification_key());
        let private = seal_private(&key, &passphrase("")).unwrap();
        assert!(matches!(read_public(private.as_bytes()), Err(KeyFileError::Private)));
        assert!(matches!(open_private(public.as_bytes(), &passphrase("")), Err(KeyFileError::Public)));
    }

    #[test]
    fn a_file_with_two_public_keys_is_refused() {
        let keys = [SigningKey::generate(), SigningKey::generate()].map(PrivateKey::EcdsaP256);
        let [one, other] = keys.each_ref().map(|key| write_public(key.verification_key()));
        let broken = other.replace("-----END", "-----ENDED");
        for second in [&other, &broken, &other[..60]] {
            let refused = read_public(format!("{one}{second}").as_bytes()).unwrap_err();
            assert!(matches!(refused, KeyFileError::Several { blocks: 2 }), "{second}: {refused}");
        }
        assert!(
            read_public(format!("# the release key\n{one}").as_bytes()).is_ok(),
            "text before the block is passed over"
        );
    }

    #[test]
    fn hostile_key_files_are_refused_before_any_work_is_done_for_them() {
        let sealed = |n: u64, name: &str, nonce: &str| {
            write_pem(
                PRIVATE_LABEL,
                format!(
                    r#"{{"kdf":{{"name":"scrypt","params":{{"N":{n},"r":8,"p":1}},"salt":"AAAA"}},"cipher":{{"name":"{name}","nonce":"{nonce}"}},"ciphertext":"AAAA"}}"#
                )
                .into_bytes(),
            )
        };
        let nonce = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let reason = |file: &str| open_private(file.as_bytes(), &passphrase("x")).unwrap_err().to_string();
        insta::assert_snapshot!(reason(&sealed(1 << 30, "nacl/secretbox", nonce)), @"the key file is encrypted with N=1073741824, r=8, p=1, where scrypt N=32768 or 65536, r=8, p=1 is expected");
        insta::assert_snapshot!(reason(&sealed(32768, "rot13", nonce)), @"the key file is encrypted with rot13, where nacl/secretbox is expected");
        insta::assert_snapshot!(reason(&sealed(32768, "nacl/secretbox", "AAAA")), @"the key file is encrypted with a nonce of 3 bytes, where one of 24 bytes is expected");
        insta::assert_snapshot!(reason(&sealed(32768, "nacl/secretbox", nonce)), @"the passphrase does not open the key file");
        insta::assert_snapshot!(reason(&write_pem("PRIVATE KEY", vec![1, 2, 3])), @"this private key is not in cosign's encrypted form but `PRIVATE KEY`");
        insta::assert_snapshot!(reason(&write_pem("CERTIFICATE", vec![1, 2, 3])), @"this is not a private key file (it holds `CERTIFICATE`)");
        insta::assert_snapshot!(reason("not a key"), @"this is not a private key file (it holds no PEM block)");
    }

    #[test]
    fn a_private_key_of_another_kind_is_named_as_such() {
        let ed25519 = aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap();
        let sealed = kdf::encrypt(ed25519.to_pkcs8v1().unwrap().as_ref(), b"x").unwrap();
        let file = write_pem(PRIVATE_LABEL, sealed);
        assert!(matches!(open_private(file.as_bytes(), &passphrase("x")), Err(KeyFileError::OtherAlgorithm)));
    }
}
