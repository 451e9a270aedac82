//! Signed objects (registrations, contents, locations, parts, condemnations, losses): sealed under the group's index
//! key, signed over the sealed bytes, so that who wrote an object can be checked before anything in it is believed.

use lifeboat_trust::dsse::pre_authentication_encoding;
use lifeboat_trust::key::{SigningKey, VerificationKey};
use minicbor::{Decode, Encode};

use crate::format::pack::{compress, decompress, plain_cap};
use crate::format::seal::{Binding, Purpose, SealKey};
use crate::ids::{GroupId, RepositoryId, Signer, from_cbor, to_cbor};

const MAGIC: &[u8; 4] = b"LBSO";
/// What the signature names as the payload's type.
const PAYLOAD_TYPE: &str = "application/vnd.lifeboat.sealed-object.v0";
/// The key in a body's map under which padding stands. Readers skip it.
const PADDING_KEY: u8 = 255;

/// What a signed object holds.
pub(crate) trait Body: for<'b> Decode<'b, ()> {
    /// Checks everything that readers take for granted of what was decoded from an object of `stored` bytes. An error says
    /// why no honest signer stores it.
    fn check_stored(&self, stored: usize) -> Result<(), String>;
}

/// Who signs, and with which key.
#[derive(Clone, Copy)]
pub(crate) struct Pen<'a> {
    pub(crate) signer: Signer,
    pub(crate) key: &'a SigningKey,
}

/// Where a signed object belongs.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) purpose: Purpose,
    pub(crate) repository: &'a RepositoryId,
    pub(crate) group: GroupId,
}

/// Why a signed object is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignedObjectError {
    #[error("it does not have the form of such an object")]
    Malformed,
    #[error("it names {0}, who may not sign it by the roster")]
    UnknownSigner(Signer),
    #[error("its signature is not the one of {0}")]
    BadSignature(Signer),
    #[error("it does not open under the group's index key")]
    Unsealable,
    /// It is what its signer stored, and cannot be right.
    #[error("{0} signed it, and {1}")]
    Unsound(Signer, String),
}

/// Encodes, compresses, seals and signs `body`.
pub(crate) fn write<T: Encode<()>>(place: Place<'_>, pen: Pen<'_>, index_key: &SealKey, body: &T) -> Vec<u8> {
    seal(place, pen, index_key, &compressed(to_cbor(body)))
}

/// Compresses a body. One that compresses so well that readers would refuse what comes out is padded with bytes that do
/// not compress, under a key that readers skip.
pub(crate) fn compressed(mut body: Vec<u8>) -> Vec<u8> {
    let bytes = compress(&body);
    if body.len() <= plain_cap(bytes.len()) {
        return bytes;
    }
    let Some(members) = body.first_mut().filter(|first| (0xA0..0xB7).contains(*first)) else { return bytes };
    *members += 1;
    let mut padding = vec![0; body.len() / 7 + 1024];
    blake3::Hasher::new().update(&bytes).finalize_xof().fill(&mut padding);
    body.extend_from_slice(&[0x18, PADDING_KEY]);
    body.extend_from_slice(&to_cbor(&minicbor::bytes::ByteVec::from(padding)));
    compress(&body)
}

/// Seals and signs a body that is encoded and compressed.
pub(crate) fn seal(place: Place<'_>, pen: Pen<'_>, index_key: &SealKey, compressed: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::new();
    index_key.seal(&place.binding(), compressed, &mut sealed);
    let signature = pen.key.sign(&place.signed_bytes(pen.signer, &sealed));
    let mut bytes = Vec::with_capacity(sealed.len() + 128);
    bytes.extend_from_slice(MAGIC);
    bytes.push(crate::format::FORMAT_VERSION);
    bytes.push(place.purpose as u8);
    bytes.extend_from_slice(&pen.signer.to_bytes());
    bytes.extend_from_slice(&u16::try_from(signature.len()).expect("a signature is short").to_le_bytes());
    bytes.extend_from_slice(&signature);
    bytes.extend_from_slice(&sealed);
    bytes
}

/// Checks who signed an object, opens it, decodes it and checks what it says.
pub(crate) fn read<T: Body>(
    place: Place<'_>,
    index_key: &SealKey,
    key_of: impl Fn(Signer) -> Option<VerificationKey>,
    bytes: &[u8],
) -> Result<(Signer, T), SignedObjectError> {
    use SignedObjectError as E;
    let (signer, sealed) = verify(place, key_of, bytes)?;
    let plain = index_key.open(&place.binding(), sealed).map_err(|_| E::Unsealable)?;
    let plain = decompress(&plain, plain_cap(plain.len())).ok_or(E::Malformed)?;
    let body: T = from_cbor(&plain).map_err(|_| E::Malformed)?;
    body.check_stored(bytes.len()).map_err(|reason| E::Unsound(signer, reason))?;
    Ok((signer, body))
}

/// Who an object says that it is signed by; nothing is checked.
pub(crate) fn claimed_signer(bytes: &[u8]) -> Option<Signer> {
    let rest = bytes.strip_prefix(MAGIC)?.get(2..)?;
    Signer::from_bytes(rest.first_chunk::<{ Signer::LENGTH }>()?)
}

/// Checks the form of an object and who signed it, which takes public keys only; gives the signer and what is sealed.
pub(crate) fn verify<'b>(
    place: Place<'_>,
    key_of: impl Fn(Signer) -> Option<VerificationKey>,
    bytes: &'b [u8],
) -> Result<(Signer, &'b [u8]), SignedObjectError> {
    use SignedObjectError as E;
    let rest = bytes.strip_prefix(MAGIC).ok_or(E::Malformed)?;
    let rest =
        rest.strip_prefix(&[crate::format::FORMAT_VERSION, place.purpose as u8]).ok_or(E::Malformed)?;
    let (signer, rest) = rest.split_first_chunk::<{ Signer::LENGTH }>().ok_or(E::Malformed)?;
    let signer = Signer::from_bytes(signer).ok_or(E::Malformed)?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or(E::Malformed)?;
    let (signature, sealed) =
        rest.split_at_checked(usize::from(u16::from_le_bytes(*length))).ok_or(E::Malformed)?;
    let key = key_of(signer).ok_or(E::UnknownSigner(signer))?;
    key.verify(&place.signed_bytes(signer, sealed), signature).map_err(|_| E::BadSignature(signer))?;
    Ok((signer, sealed))
}

impl Place<'_> {
    fn binding(&self) -> Binding<'_> {
        Binding { purpose: self.purpose, repository: self.repository, context: self.group.as_bytes() }
    }

    fn signed_bytes(&self, signer: Signer, sealed: &[u8]) -> Vec<u8> {
        let mut payload = Vec::with_capacity(1 + 32 + 16 + Signer::LENGTH + sealed.len());
        payload.push(self.purpose as u8);
        payload.extend_from_slice(self.repository.as_bytes());
        payload.extend_from_slice(self.group.as_bytes());
        payload.extend_from_slice(&signer.to_bytes());
        payload.extend_from_slice(sealed);
        pre_authentication_encoding(PAYLOAD_TYPE, &payload)
    }
}

#[cfg(test)]
mod tests {
    use lifeboat_core::random::OsEntropy;
    use minicbor::bytes::ByteVec;

    use super::*;
    use crate::format::condemnation::Loss;
    use crate::format::frame_set::RunFrames;
    use crate::ids::{RunId, WriterId};

    const SIGNER: Signer = Signer::Writer(WriterId::from_bytes([3; 16]));

    fn loss(bytes: Vec<u8>) -> Loss {
        Loss { frames: vec![RunFrames { run: RunId::from_bytes([1; 16]), frames: ByteVec::from(bytes) }] }
    }

    #[test]
    fn a_body_that_compresses_too_well_is_padded_and_read_and_one_that_is_not_padded_is_refused() {
        let (key, index_key) = (SigningKey::generate(), SealKey::random(&OsEntropy));
        let repository = lifeboat_core::Sha256Digest::of(b"r");
        let place =
            Place { purpose: Purpose::Loss, repository: &repository, group: GroupId::from_bytes([2; 16]) };
        let pen = Pen { signer: SIGNER, key: &key };
        let key_of = |_| Some(key.verification_key().clone());
        for length in [0, 1 << 10, 300 << 10, 4 << 20] {
            let body = loss(vec![0xFF; length]);
            let object = write(place, pen, &index_key, &body);
            let (_, read): (_, Loss) = read(place, &index_key, key_of, &object).unwrap();
            assert_eq!(read.frames[0].frames, body.frames[0].frames);
            let bare = seal(place, pen, &index_key, &compress(&to_cbor(&body)));
            let is_refused = super::read::<Loss>(place, &index_key, key_of, &bare).is_err();
            assert_eq!(is_refused, length > 256 << 10, "{length} bytes");
        }
    }

    #[test]
    fn the_signer_of_an_object_is_known_before_it_is_checked() {
        let (key, index_key) = (SigningKey::generate(), SealKey::random(&OsEntropy));
        let repository = lifeboat_core::Sha256Digest::of(b"r");
        let place =
            Place { purpose: Purpose::Loss, repository: &repository, group: GroupId::from_bytes([2; 16]) };
        let object = write(place, Pen { signer: SIGNER, key: &key }, &index_key, &loss(vec![1]));
        assert_eq!(claimed_signer(&object), Some(SIGNER));
        assert_eq!(claimed_signer(&object[..20]), None);
    }
}
