//! SHA-256 digests, which name stored bytes and OCI content.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// A SHA-256 digest (FIPS 180-4), displayed as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Digest([u8; 32]);

/// The text is not a SHA-256 digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a SHA-256 digest (64 lower-case hexadecimal digits)")]
pub struct NotADigest {
    /// The original text, cut to a printable length.
    pub text: String,
}

impl Sha256Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of everything that `reader` returns, without keeping it.
    pub fn of_reader(mut reader: impl std::io::Read) -> std::io::Result<Self> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(Self(hasher.finalize().into())),
                Ok(read) => hasher.update(&buffer[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A digest computed elsewhere.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The OCI form: `sha256:` and the hexadecimal digits.
    pub fn to_oci(self) -> String {
        format!("sha256:{self}")
    }

    /// Parses the OCI form; no other algorithm is accepted.
    pub fn from_oci(text: &str) -> Result<Self, NotADigest> {
        text.strip_prefix("sha256:").ok_or_else(|| NotADigest::new(text))?.parse()
    }
}

impl NotADigest {
    fn new(text: &str) -> Self {
        Self { text: text.chars().take(80).flat_map(char::escape_default).collect() }
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}

impl FromStr for Sha256Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let mut bytes = [0; 32];
        if !lower || hex::decode_to_slice(text, &mut bytes).is_err() {
            return Err(NotADigest::new(text));
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Sha256Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_string_has_its_published_digest() {
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Sha256Digest::of(b"").to_string(), text);
        assert_eq!(text.parse(), Ok(Sha256Digest::of(b"")));
        assert_eq!(Sha256Digest::from_oci(&format!("sha256:{text}")), Ok(Sha256Digest::of(b"")));
    }

    #[test]
    fn a_reader_has_the_digest_of_its_bytes() {
        let bytes = vec![7; 200_000];
        assert_eq!(Sha256Digest::of_reader(&bytes[..]).unwrap(), Sha256Digest::of(&bytes));
    }

    #[test]
    fn upper_case_short_and_foreign_digests_are_refused() {
        let good = Sha256Digest::of(b"x").to_string();
        for bad in [good.to_uppercase(), good[1..].to_owned(), format!("{good}00"), "sha512:00".to_owned()] {
            assert!(bad.parse::<Sha256Digest>().is_err(), "{bad}");
            assert!(Sha256Digest::from_oci(&bad).is_err(), "{bad}");
        }
    }
}
