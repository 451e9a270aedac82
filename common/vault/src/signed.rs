//! Index objects (contents, locations): sealed under the index key, signed by the writer over the sealed bytes, so
//! that who wrote an object can be checked before anything in it is believed.

use lifeboat_trust::dsse::pre_authentication_encoding;
use lifeboat_trust::key::{SigningKey, VerificationKey};
use minicbor::{Decode, Encode};

use crate::ids::{GroupId, RepositoryId, WriterId, from_cbor, to_cbor};
use crate::pack::{compress, decompress};
use crate::seal::{Binding, Purpose, SealKey};

const MAGIC: &[u8; 4] = b"LBSO";
/// What the signature names as the payload's type.
const PAYLOAD_TYPE: &str = "application/vnd.lifeboat.sealed-object.v0";
/// The most that an index object may hold once decompressed, in bytes.
const MAX_PLAIN: usize = 1 << 30;

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
    #[error("it does not have the form of an index object")]
    Malformed,
    #[error("it names the writer {0}, whom the roster does not know")]
    UnknownWriter(WriterId),
    #[error("its signature is not the one of writer {0}")]
    BadSignature(WriterId),
    #[error("it does not open under the group's index key")]
    Unsealable,
}

/// Encodes, compresses, seals and signs `body`.
pub(crate) fn write<T: Encode<()>>(
    place: Place<'_>,
    writer: WriterId,
    signing_key: &SigningKey,
    index_key: &SealKey,
    body: &T,
) -> Vec<u8> {
    let mut sealed = Vec::new();
    index_key.seal(&place.binding(), &compress(&to_cbor(body)), &mut sealed);
    let signature = signing_key.sign(&place.signed_bytes(writer, &sealed));
    let mut bytes = Vec::with_capacity(sealed.len() + 128);
    bytes.extend_from_slice(MAGIC);
    bytes.push(crate::FORMAT_VERSION);
    bytes.push(place.purpose as u8);
    bytes.extend_from_slice(writer.as_bytes());
    bytes.extend_from_slice(&u16::try_from(signature.len()).expect("a signature is short").to_le_bytes());
    bytes.extend_from_slice(&signature);
    bytes.extend_from_slice(&sealed);
    bytes
}

/// Checks who signed an object, opens it and decodes it.
pub(crate) fn read<T: for<'b> Decode<'b, ()>>(
    place: Place<'_>,
    index_key: &SealKey,
    key_of: impl Fn(WriterId) -> Option<VerificationKey>,
    bytes: &[u8],
) -> Result<T, SignedObjectError> {
    use SignedObjectError as E;
    let rest = bytes.strip_prefix(MAGIC).ok_or(E::Malformed)?;
    let rest = rest.strip_prefix(&[crate::FORMAT_VERSION, place.purpose as u8]).ok_or(E::Malformed)?;
    let (writer, rest) = rest.split_first_chunk::<16>().ok_or(E::Malformed)?;
    let writer = WriterId::from_bytes(*writer);
    let (length, rest) = rest.split_first_chunk::<2>().ok_or(E::Malformed)?;
    let (signature, sealed) =
        rest.split_at_checked(usize::from(u16::from_le_bytes(*length))).ok_or(E::Malformed)?;
    let key = key_of(writer).ok_or(E::UnknownWriter(writer))?;
    key.verify(&place.signed_bytes(writer, sealed), signature).map_err(|_| E::BadSignature(writer))?;
    let plain = index_key.open(&place.binding(), sealed).map_err(|_| E::Unsealable)?;
    let plain = decompress(&plain, MAX_PLAIN).ok_or(E::Malformed)?;
    from_cbor(&plain).map_err(|_| E::Malformed)
}

impl Place<'_> {
    fn binding(&self) -> Binding<'_> {
        Binding { purpose: self.purpose, repository: self.repository, context: self.group.as_bytes() }
    }

    fn signed_bytes(&self, writer: WriterId, sealed: &[u8]) -> Vec<u8> {
        let mut payload = Vec::with_capacity(1 + 32 + 16 + 16 + sealed.len());
        payload.push(self.purpose as u8);
        payload.extend_from_slice(self.repository.as_bytes());
        payload.extend_from_slice(self.group.as_bytes());
        payload.extend_from_slice(writer.as_bytes());
        payload.extend_from_slice(sealed);
        pre_authentication_encoding(PAYLOAD_TYPE, &payload)
    }
}
