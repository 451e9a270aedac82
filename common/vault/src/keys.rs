//! Key material: what is wrapped to whom.
//!
//! age wraps keys; an AEAD seals data. Wrapping is rare and small, so recipients can be of any kind that age knows,
//! and changing them rewraps kilobytes.

use std::io::{Read, Write};
use std::iter;
use std::str::FromStr;

use lifeboat_core::Sha256Digest;
use lifeboat_core::random::Entropy;
use minicbor::{Decode, Encode};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::VaultError;
use crate::ids::{GroupId, from_cbor, to_cbor};
use crate::roster::Group;
use crate::seal::SealKey;

/// The largest secret that is unwrapped, in bytes.
const MAX_SECRET: u64 = 16 << 10;

/// Someone who can open the repository: an age recipient.
pub struct Recipient {
    text: String,
    inner: Box<dyn age::Recipient + Send + Sync>,
}

/// A private age key, or several of one file.
pub struct Identity {
    inner: Vec<Box<dyn age::Identity + Send + Sync>>,
}

/// The keys of one group of hosts that deduplicate against each other.
#[derive(Clone)]
pub(crate) struct GroupKeys {
    /// The group.
    pub(crate) id: GroupId,
    pub(crate) chunk_id_key: Zeroizing<[u8; 32]>,
    pub(crate) chunker_seed: Zeroizing<[u8; 32]>,
    pub(crate) index_key: SealKey,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct GroupKeysRecord {
    #[n(0)]
    group: GroupId,
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    chunk_id_key: [u8; 32],
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    chunker_seed: [u8; 32],
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    index_key: [u8; 32],
}

/// What a keeper is given of a group's keys.
#[derive(Encode, Decode, Zeroize, ZeroizeOnDrop)]
#[cbor(map)]
struct IndexKeyRecord {
    #[n(0)]
    #[zeroize(skip)]
    group: GroupId,
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    index_key: [u8; 32],
}

/// Reads what [`GroupKeys::index_to_cbor`] made.
pub(crate) fn index_key_from_cbor(bytes: &[u8]) -> Option<(GroupId, SealKey)> {
    let record: IndexKeyRecord = from_cbor(bytes).ok()?;
    Some((record.group, SealKey::from_bytes(&record.index_key)))
}

impl FromStr for Recipient {
    type Err = VaultError;

    /// Reads an age X25519 recipient (`age1…`) or an SSH public key (`ssh-ed25519 …`, `ssh-rsa …`).
    fn from_str(text: &str) -> Result<Self, VaultError> {
        let text = text.trim();
        let bad =
            |reason: &str| VaultError::BadRecipient { text: text.to_owned(), reason: reason.to_owned() };
        let inner: Box<dyn age::Recipient + Send + Sync> = if text.starts_with("age1") {
            Box::new(age::x25519::Recipient::from_str(text).map_err(bad)?)
        } else if text.starts_with("ssh-") {
            Box::new(
                age::ssh::Recipient::from_str(text)
                    .map_err(|_| bad("it is not an SSH key that age supports"))?,
            )
        } else {
            return Err(bad("it is of no kind that is known"));
        };
        Ok(Self { text: text.to_owned(), inner })
    }
}

impl Recipient {
    /// The recipient as age writes it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A short name for object names and listings.
    pub fn id(&self) -> String {
        Sha256Digest::of(self.text.as_bytes()).to_string()[..16].to_owned()
    }

    /// Encrypts `secret` to this recipient alone, as an age file.
    pub(crate) fn wrap(&self, secret: &[u8]) -> Result<Vec<u8>, VaultError> {
        let wrap = || -> Result<Vec<u8>, Box<dyn std::error::Error>> {
            let recipient: &dyn age::Recipient = self.inner.as_ref();
            let encryptor = age::Encryptor::with_recipients(iter::once(recipient))?;
            let mut wrapped = Vec::new();
            let mut writer = encryptor.wrap_output(&mut wrapped)?;
            writer.write_all(secret)?;
            writer.finish()?;
            Ok(wrapped)
        };
        wrap()
            .map_err(|error| VaultError::BadRecipient { text: self.text.clone(), reason: error.to_string() })
    }
}

impl std::fmt::Debug for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recipient({})", self.text)
    }
}

impl Identity {
    /// Reads an age identity file or an unencrypted SSH private key.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        if text.starts_with(b"-----BEGIN") {
            let identity = age::ssh::Identity::from_buffer(text, None).map_err(|error| error.to_string())?;
            return match identity {
                age::ssh::Identity::Unencrypted(_) => Ok(Self { inner: vec![Box::new(identity)] }),
                age::ssh::Identity::Encrypted(_) => {
                    Err("the SSH key is encrypted; give it decrypted".to_owned())
                }
                age::ssh::Identity::Unsupported(_) => {
                    Err("age does not support this kind of SSH key".to_owned())
                }
            };
        }
        let file = age::IdentityFile::from_buffer(text).map_err(|error| error.to_string())?;
        let inner = file.into_identities().map_err(|error| error.to_string())?;
        if inner.is_empty() { Err("it holds no age identity".to_owned()) } else { Ok(Self { inner }) }
    }

    /// Decrypts an age file, or `None` if it is not for this identity or is damaged.
    pub(crate) fn unwrap(&self, wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let decryptor = age::Decryptor::new(wrapped).ok()?;
        let identities = self.inner.iter().map(|identity| -> &dyn age::Identity { &**identity });
        let reader = decryptor.decrypt(identities).ok()?;
        let mut secret = Zeroizing::new(Vec::with_capacity(1024));
        reader.take(MAX_SECRET).read_to_end(&mut secret).ok()?;
        Some(secret)
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(redacted)")
    }
}

impl GroupKeys {
    pub(crate) fn random(entropy: &dyn Entropy) -> Self {
        Self {
            id: GroupId::random(entropy),
            chunk_id_key: Zeroizing::new(entropy.array()),
            chunker_seed: Zeroizing::new(entropy.array()),
            index_key: SealKey::random(entropy),
        }
    }

    pub(crate) fn from_parts(
        id: GroupId,
        chunk_id_key: Zeroizing<[u8; 32]>,
        chunker_seed: Zeroizing<[u8; 32]>,
        index_key: &Zeroizing<[u8; 32]>,
    ) -> Self {
        Self { id, chunk_id_key, chunker_seed, index_key: SealKey::from_bytes(index_key) }
    }

    /// The form that is wrapped.
    pub(crate) fn to_cbor(&self) -> Zeroizing<Vec<u8>> {
        let mut record = GroupKeysRecord {
            group: self.id,
            chunk_id_key: *self.chunk_id_key,
            chunker_seed: *self.chunker_seed,
            index_key: *self.index_key.as_bytes(),
        };
        let bytes = Zeroizing::new(to_cbor(&record));
        record.wipe();
        bytes
    }

    /// The index key alone, as it is wrapped to a keeper.
    pub(crate) fn index_to_cbor(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(to_cbor(&IndexKeyRecord { group: self.id, index_key: *self.index_key.as_bytes() }))
    }

    pub(crate) fn from_cbor(bytes: &[u8]) -> Option<Self> {
        let mut record: GroupKeysRecord = from_cbor(bytes).ok()?;
        let keys = Self {
            id: record.group,
            chunk_id_key: Zeroizing::new(record.chunk_id_key),
            chunker_seed: Zeroizing::new(record.chunker_seed),
            index_key: SealKey::from_bytes(&record.index_key),
        };
        record.wipe();
        Some(keys)
    }

    /// The group as the roster lists it.
    pub(crate) fn listed(&self) -> Group {
        let index_commitment = Sha256Digest::from_bytes(self.index_key.commitment());
        Group { id: self.id, commitment: self.commitment(), index_commitment }
    }

    /// A value in the roster by which a reader knows the group's true keys from ones that a provider made up.
    pub(crate) fn commitment(&self) -> Sha256Digest {
        Sha256Digest::from_bytes(blake3::derive_key("lifeboat v0 group key commitment", &self.to_cbor()))
    }
}

impl GroupKeysRecord {
    fn wipe(&mut self) {
        use zeroize::Zeroize;
        self.chunk_id_key.zeroize();
        self.chunker_seed.zeroize();
        self.index_key.zeroize();
    }
}

impl std::fmt::Debug for GroupKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GroupKeys({}, redacted)", self.id)
    }
}

#[cfg(test)]
mod tests {
    use lifeboat_core::random::OsEntropy;
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn what_is_wrapped_opens_with_its_identity_and_no_other() {
        let (one, two) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
        let recipient: Recipient = one.to_public().to_string().parse().unwrap();
        let wrapped = recipient.wrap(b"secret").unwrap();
        let identity =
            |i: &age::x25519::Identity| Identity::parse(i.to_string().expose_secret().as_bytes()).unwrap();
        assert_eq!(&**identity(&one).unwrap(&wrapped).unwrap(), b"secret");
        assert!(identity(&two).unwrap(&wrapped).is_none());
        assert!(identity(&one).unwrap(&wrapped[..wrapped.len() - 1]).is_none());
    }

    #[test]
    fn group_keys_survive_their_wrapped_form_and_commit_to_themselves() {
        let keys = GroupKeys::random(&OsEntropy);
        let again = GroupKeys::from_cbor(&keys.to_cbor()).unwrap();
        assert_eq!(keys.commitment(), again.commitment());
        assert_ne!(keys.commitment(), GroupKeys::random(&OsEntropy).commitment());
        assert!(!format!("{keys:?}").contains(&hex::encode(*keys.chunk_id_key)));
    }

    #[test]
    fn recipients_that_age_does_not_know_are_refused() {
        for bad in ["", "bob", "age1qqqq", "ssh-dss AAAA"] {
            assert!(bad.parse::<Recipient>().is_err(), "{bad}");
        }
    }
}
