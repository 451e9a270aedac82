//! Signed objects (registrations, contents, locations, parts, condemnations, losses): sealed under the group's index
//! key, signed over the sealed bytes, so that the signer of an object can be checked before its contents are trusted.

use bytes::Bytes;
use lifeboat_core::Sha256Digest;
use lifeboat_trust::dsse::pre_authentication_encoding;
use lifeboat_trust::key::{SigningKey, VerificationKey};
use minicbor::{Decode, Encode};

use crate::format::compression::{OBJECT_WINDOW, compress, decompress};
use crate::format::pack::{MAX_PLAIN, plain_cap};
use crate::format::seal::{Binding, Purpose, SealKey};
use crate::ids::{GroupId, RepositoryId, Signer, from_cbor, to_cbor};

const MAGIC: &[u8; 4] = b"LBSO";
/// The payload type that the signature covers.
const PAYLOAD_TYPE: &str = "application/vnd.lifeboat.sealed-object.v0";
/// The key of padding in a body's map. Readers skip it.
const PADDING_KEY: u8 = 255;

/// The body of a signed object, and where such an object is stored.
pub(crate) trait Body: Encode<()> + for<'b> Decode<'b, ()> {
    /// The purpose with which such an object is sealed and signed.
    const PURPOSE: Purpose;
    /// The most bytes that such an object can have.
    const CAP: u64;

    /// The name of the object of `group` with this body, if `signer` signed it and its bytes have this hash.
    fn name(&self, group: GroupId, signer: Signer, hash: &Sha256Digest) -> String;

    /// Checks everything that readers rely on in the decoded body of an object of `stored` bytes. The error is the
    /// reason why no honest signer stores it.
    fn check_stored(&self, stored: usize) -> Result<(), String>;
}

/// A signer and its key.
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
    #[error("it names {0}, who may not sign it according to the roster")]
    UnknownSigner(Signer),
    #[error("its signature is not the one of {0}")]
    BadSignature(Signer),
    #[error("it does not open under the group's index key")]
    Unsealable,
    /// It is what its signer stored, but invalid.
    #[error("{0} signed it, but {1}")]
    Unsound(Signer, String),
}

/// A signed object, ready to be stored.
pub(crate) struct SignedObject {
    pub(crate) name: String,
    pub(crate) hash: Sha256Digest,
    pub(crate) bytes: Bytes,
}

/// Why an object must not be stored: nobody could read it again, and if it may not be replaced it would be in the way
/// for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unstorable {
    /// It is larger than readers accept.
    TooLarge { name: String, size: u64, most: u64 },
    /// Readers refuse its contents.
    Unsound { name: String, reason: String },
}

/// Seals and signs a body, and checks that readers accept the object.
pub(crate) fn sign<T: Body>(
    repository: &RepositoryId,
    group: GroupId,
    index_key: &SealKey,
    pen: Pen<'_>,
    body: &T,
) -> Result<SignedObject, Unstorable> {
    let place = Place { purpose: T::PURPOSE, repository, group };
    let plain = to_cbor(body);
    let plain_size = plain.len() as u64;
    let bytes = Bytes::from(seal(place, pen, index_key, &compressed(plain)));
    let hash = Sha256Digest::of(&bytes);
    let name = body.name(group, pen.signer, &hash);
    if plain_size > MAX_PLAIN as u64 {
        let folder = name.split('/').next().unwrap_or_default().to_owned();
        return Err(Unstorable::TooLarge { name: folder, size: plain_size, most: MAX_PLAIN as u64 });
    }
    let size = bytes.len() as u64;
    if size > T::CAP {
        return Err(Unstorable::TooLarge { name, size, most: T::CAP });
    }
    match body.check_stored(bytes.len()) {
        Ok(()) => Ok(SignedObject { name, hash, bytes }),
        Err(reason) => Err(Unstorable::Unsound { name, reason }),
    }
}

/// Encodes, compresses, seals and signs anything, even what readers refuse.
#[cfg(test)]
pub(crate) fn write<T: Encode<()>>(place: Place<'_>, pen: Pen<'_>, index_key: &SealKey, body: &T) -> Vec<u8> {
    seal(place, pen, index_key, &compressed(to_cbor(body)))
}

/// Compresses a body. A body that compresses so well that readers would refuse it is padded with incompressible bytes,
/// under a key that readers skip.
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

/// Seals and signs an encoded and compressed body.
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

/// Checks who signed an object, opens it, decodes it and checks its contents.
pub(crate) fn read<T: Body>(
    repository: &RepositoryId,
    group: GroupId,
    index_key: &SealKey,
    key_of: impl Fn(Signer) -> Option<VerificationKey>,
    bytes: &[u8],
) -> Result<(Signer, T), SignedObjectError> {
    use SignedObjectError as E;
    let place = Place { purpose: T::PURPOSE, repository, group };
    let (signer, sealed) = verify(place, key_of, bytes)?;
    let plain = index_key.open(&place.binding(), sealed).map_err(|_| E::Unsealable)?;
    let plain = decompress(&plain, plain_cap(plain.len()), OBJECT_WINDOW).ok_or(E::Malformed)?;
    let body: T = from_cbor(&plain).map_err(|_| E::Malformed)?;
    body.check_stored(bytes.len()).map_err(|reason| E::Unsound(signer, reason))?;
    Ok((signer, body))
}

/// The signer that an object claims; nothing is checked.
pub(crate) fn claimed_signer(bytes: &[u8]) -> Option<Signer> {
    let rest = bytes.strip_prefix(MAGIC)?.get(2..)?;
    Signer::from_bytes(rest.first_chunk::<{ Signer::LENGTH }>()?)
}

/// Checks the form of an object and its signature, which requires only public keys; returns the signer and the sealed
/// bytes.
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
    use crate::format::condemnation::{Condemnation, Loss};
    use crate::format::frame_set::RunFrames;
    use crate::format::index::{Contents, FrameContents, Locations, RunContents};
    use crate::format::manifest::Part;
    use crate::format::object_name::Name;
    use crate::format::registration::Registration;
    use crate::format::run_end::RunEnd;
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
            let (_, read): (_, Loss) = read(&repository, place.group, &index_key, key_of, &object).unwrap();
            assert_eq!(read.frames[0].frames, body.frames[0].frames);
            let bare = seal(place, pen, &index_key, &compress(&to_cbor(&body)));
            let is_refused =
                super::read::<Loss>(&repository, place.group, &index_key, key_of, &bare).is_err();
            assert_eq!(is_refused, length > 256 << 10, "{length} bytes");
        }
    }

    /// Checks that names and limits of a kind are the same for writers and for those who list objects.
    fn assert_is_its_name<T: Body>(body: &T) {
        let (repository, group) = (Sha256Digest::of(b"r"), GroupId::from_bytes([2; 16]));
        let (key, index_key) = (SigningKey::generate(), SealKey::random(&OsEntropy));
        let pen = Pen { signer: Signer::Root, key: &key };
        let object = sign(&repository, group, &index_key, pen, body).unwrap();
        let name = Name::parse(&object.name).unwrap_or_else(|| panic!("{}", object.name));
        assert_eq!(name.cap(), T::CAP, "{name:?}");
        assert!(name.hash().is_none_or(|hash| *hash == Sha256Digest::of(&object.bytes)), "{name:?}");
        let key_of = |_| Some(key.verification_key().clone());
        assert!(read::<T>(&repository, group, &index_key, key_of, &object.bytes).is_ok(), "{name:?}");
    }

    #[test]
    fn every_body_has_the_name_and_the_ceiling_of_its_kind() {
        let (run, group) = (RunId::from_bytes([1; 16]), GroupId::from_bytes([2; 16]));
        assert_is_its_name(&Registration {
            format: crate::format::FORMAT_VERSION,
            repository: Sha256Digest::of(b"r"),
            group,
            writer: WriterId::from_bytes([3; 16]),
            run,
            epoch: 0,
            wrapped_key: ByteVec::from(vec![1]),
        });
        assert_is_its_name(&RunEnd { run });
        assert_is_its_name(&Contents::default());
        assert_is_its_name(&Locations { run, packs: Vec::new() });
        assert_is_its_name(&Part::of_nothing());
        assert_is_its_name(&Condemnation::default());
        assert_is_its_name(&loss(vec![1]));
    }

    #[test]
    fn what_readers_refuse_is_not_signed() {
        let (repository, group) = (Sha256Digest::of(b"r"), GroupId::from_bytes([2; 16]));
        let (key, index_key) = (SigningKey::generate(), SealKey::random(&OsEntropy));
        let pen = Pen { signer: SIGNER, key: &key };
        let frames = vec![FrameContents { ordinal: 0, chunks: Vec::new() }];
        let run = RunContents { run: RunId::from_bytes([1; 16]), frames, commitment: [0; 32] };
        let refused = sign(&repository, group, &index_key, pen, &Contents { runs: vec![run] }).err();
        assert!(matches!(refused, Some(Unstorable::Unsound { .. })), "{refused:?}");
        let mut noise = vec![0; 64 << 10];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let large = Registration {
            format: crate::format::FORMAT_VERSION,
            repository,
            group,
            writer: WriterId::from_bytes([3; 16]),
            run: RunId::from_bytes([1; 16]),
            epoch: 0,
            wrapped_key: ByteVec::from(noise),
        };
        let refused = sign(&repository, group, &index_key, pen, &large).err();
        assert!(matches!(refused, Some(Unstorable::TooLarge { .. })), "{refused:?}");
        let refused = sign(&repository, group, &index_key, pen, &loss(vec![0; MAX_PLAIN])).err();
        let Some(Unstorable::TooLarge { name, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(name, "lost", "it decompresses to too much, whatever its name would be");
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
