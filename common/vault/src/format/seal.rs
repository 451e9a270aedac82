//! Sealing: AES-256-GCM (NIST SP 800-38D) with a separate key for everything that is sealed.
//!
//! A sealed object is `id ‖ ciphertext ‖ tag`. The id is keyed BLAKE3 of the plaintext; the AEAD key is derived from
//! the sealing key, the binding (suite, purpose, repository, context) and the id. The nonce is zero: two plaintexts
//! under one key would need one id, so neither a cloned machine nor a crash can reuse a nonce for other bytes. The
//! binding is the associated data as well, and the id is checked after opening, which commits to the key.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use lifeboat_core::random::Entropy;
use zeroize::Zeroizing;

use crate::ids::RepositoryId;

/// The one suite of this format version: BLAKE3, AES-256-GCM.
const SUITE: u8 = 1;
/// How many bytes sealing adds: the id and the tag.
pub(crate) const OVERHEAD: usize = ID_LENGTH + TAG_LENGTH;
const ID_LENGTH: usize = 32;
const TAG_LENGTH: usize = 16;

/// The purpose of a sealed object; part of its binding, so that none can replace another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Purpose {
    Frame = 1,
    Trailer = 2,
    Contents = 3,
    Locations = 4,
    Part = 5,
    FileCache = 6,
    Registration = 7,
    Condemnation = 8,
    Loss = 9,
    RunEnd = 10,
}

/// A key that seals: a run key or a group's index key.
pub(crate) struct SealKey {
    key: Zeroizing<[u8; 32]>,
    id_key: Zeroizing<[u8; 32]>,
}

/// The context of a sealed object.
pub(crate) struct Binding<'a> {
    pub(crate) purpose: Purpose,
    pub(crate) repository: &'a RepositoryId,
    /// Distinguishes this object from every other under the same key: run and ordinal, or group.
    pub(crate) context: &'a [u8],
}

/// The bytes were not sealed under this key for this binding, or were changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed bytes do not open: they were changed, or sealed with another key or for another place")]
pub(crate) struct Unsealable;

impl SealKey {
    pub(crate) fn random(entropy: &dyn Entropy) -> Self {
        Self::from_bytes(&entropy.array())
    }

    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Self {
        let id_key = blake3::derive_key("lifeboat v0 sealed object id", bytes);
        Self { key: Zeroizing::new(*bytes), id_key: Zeroizing::new(id_key) }
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.key
    }

    /// A value that identifies this key without revealing it.
    pub(crate) fn commitment(&self) -> [u8; 32] {
        blake3::derive_key("lifeboat v0 key commitment", &*self.key)
    }

    /// Seals `plaintext` and appends the sealed bytes to `out`.
    pub(crate) fn seal(&self, binding: &Binding<'_>, plaintext: &[u8], out: &mut Vec<u8>) {
        let id = *blake3::keyed_hash(&self.id_key, plaintext).as_bytes();
        let aad = binding.associated_data(&id);
        let start = out.len();
        out.reserve(plaintext.len() + OVERHEAD);
        out.extend_from_slice(&id);
        out.extend_from_slice(plaintext);
        let tag = self
            .aead(&aad)
            .seal_in_place_separate_tag(zero_nonce(), Aad::from(&aad), &mut out[start + ID_LENGTH..])
            .expect("frames and index objects are far below the limit of AES-GCM");
        out.extend_from_slice(tag.as_ref());
    }

    /// Opens the result of [`SealKey::seal`].
    pub(crate) fn open(&self, binding: &Binding<'_>, sealed: &[u8]) -> Result<Vec<u8>, Unsealable> {
        let (id, ciphertext) = sealed.split_first_chunk::<ID_LENGTH>().ok_or(Unsealable)?;
        let aad = binding.associated_data(id);
        let mut bytes = ciphertext.to_vec();
        let length = self
            .aead(&aad)
            .open_in_place(zero_nonce(), Aad::from(&aad), &mut bytes)
            .map_err(|_| Unsealable)?
            .len();
        bytes.truncate(length);
        // GCM alone does not commit to its key; the keyed id does.
        let found = blake3::keyed_hash(&self.id_key, &bytes);
        if found == *id { Ok(bytes) } else { Err(Unsealable) }
    }

    fn aead(&self, aad: &[u8]) -> LessSafeKey {
        let mut hasher = blake3::Hasher::new_derive_key("lifeboat v0 sealed object key");
        hasher.update(&*self.key).update(aad);
        let key = Zeroizing::new(*hasher.finalize().as_bytes());
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*key).expect("32 bytes are a key of AES-256"))
    }
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(redacted)")
    }
}

impl Clone for SealKey {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), id_key: self.id_key.clone() }
    }
}

impl Binding<'_> {
    fn associated_data(&self, id: &[u8; ID_LENGTH]) -> Vec<u8> {
        let mut aad = Vec::with_capacity(2 + 32 + self.context.len() + ID_LENGTH);
        aad.extend_from_slice(&[SUITE, self.purpose as u8]);
        aad.extend_from_slice(self.repository.as_bytes());
        aad.extend_from_slice(self.context);
        aad.extend_from_slice(id);
        aad
    }
}

fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use lifeboat_core::Sha256Digest;
    use lifeboat_core::random::OsEntropy;

    use super::*;

    #[test]
    fn what_is_sealed_opens_only_under_its_key_and_binding_and_unchanged() {
        let (key, other_key) = (SealKey::random(&OsEntropy), SealKey::random(&OsEntropy));
        let (repository, other_repository) = (Sha256Digest::of(b"a"), Sha256Digest::of(b"b"));
        let binding = |purpose, repository, context| Binding { purpose, repository, context };
        let here = binding(Purpose::Frame, &repository, b"run 1");
        let mut sealed = Vec::new();
        key.seal(&here, b"plaintext", &mut sealed);
        assert_eq!(sealed.len(), b"plaintext".len() + OVERHEAD);
        assert_eq!(key.open(&here, &sealed).unwrap(), b"plaintext");
        assert_eq!(other_key.open(&here, &sealed), Err(Unsealable));
        assert_eq!(key.open(&binding(Purpose::Part, &repository, b"run 1"), &sealed), Err(Unsealable));
        assert_eq!(key.open(&binding(Purpose::Frame, &other_repository, b"run 1"), &sealed), Err(Unsealable));
        assert_eq!(key.open(&binding(Purpose::Frame, &repository, b"run 2"), &sealed), Err(Unsealable));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(&here, &changed), Err(Unsealable), "byte {at}");
            assert_eq!(key.open(&here, &sealed[..at]), Err(Unsealable), "cut at {at}");
        }
    }
}
