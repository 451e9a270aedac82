//! The ids and names of things in a repository.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use lifeboat_core::digest::NotADigest;
use lifeboat_core::random::Entropy;
use lifeboat_core::{Fault, Kind, Sha256Digest};
use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};

/// A repository's id: SHA-256 of the `SubjectPublicKeyInfo` of its root verification key.
pub type RepositoryId = Sha256Digest;

/// Not a valid id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an id (32 lower-case hexadecimal digits)")]
pub struct NotAnId(String);

/// Not a valid repository id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the repository id is malformed")]
pub struct NotARepositoryId(#[source] pub NotADigest);

impl Fault for NotARepositoryId {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn advice(&self) -> Option<String> {
        Some("give the 64 digits that are in every key file of the repository".to_owned())
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* pub struct $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Draws a new id.
            pub fn random(entropy: &dyn Entropy) -> Self {
                Self(entropy.array())
            }

            /// The 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// An id read from stored bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let mut bytes = [0; 16];
                let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
                if lower && hex::decode_to_slice(text, &mut bytes).is_ok() {
                    Ok(Self(bytes))
                } else {
                    Err(NotAnId(text.chars().take(80).flat_map(char::escape_default).collect()))
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        bytes_in_cbor!($name, 16);
    };
}

/// Encodes as a CBOR byte string of exactly `$length` bytes.
macro_rules! bytes_in_cbor {
    ($name:ident, $length:literal) => {
        impl<C> Encode<C> for $name {
            fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
                let bytes: [u8; $length] =
                    d.bytes()?.try_into().map_err(|_| DecodeError::message("an id of the wrong length"))?;
                Ok(Self(bytes))
            }
        }
    };
}

random_id! {
    /// One run of a writer: the scope of a run key and of frame ordinals.
    pub struct RunId
}
random_id! {
    /// Hosts that deduplicate against each other.
    pub struct GroupId
}
random_id! {
    /// A backup host.
    pub struct WriterId
}
random_id! {
    /// Someone who checks and prunes.
    pub struct KeeperId
}

/// The signer of an object of a repository.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Signer {
    /// A backup host.
    Writer(WriterId),
    /// A keeper.
    Keeper(KeeperId),
    /// The root key, which a recovery key opens.
    Root,
}

impl Signer {
    /// How many bytes a signer takes in a stored object: its role and its id.
    pub(crate) const LENGTH: usize = 17;

    /// The role (0 for a writer, 1 for a keeper, 2 for the root) and the id; the root's is zeros.
    pub(crate) fn to_bytes(self) -> [u8; Self::LENGTH] {
        let (role, id) = match self {
            Self::Writer(id) => (0, *id.as_bytes()),
            Self::Keeper(id) => (1, *id.as_bytes()),
            Self::Root => (2, [0; 16]),
        };
        let mut bytes = [role; Self::LENGTH];
        bytes[1..].copy_from_slice(&id);
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; Self::LENGTH]) -> Option<Self> {
        let (role, id) = bytes.split_first()?;
        let id: [u8; 16] = id.try_into().ok()?;
        match role {
            0 => Some(Self::Writer(WriterId::from_bytes(id))),
            1 => Some(Self::Keeper(KeeperId::from_bytes(id))),
            2 if id == [0; 16] => Some(Self::Root),
            _ => None,
        }
    }
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Writer(id) => write!(f, "writer {id}"),
            Self::Keeper(id) => write!(f, "keeper {id}"),
            Self::Root => f.write_str("the root key"),
        }
    }
}

/// A chunk's id: BLAKE3 of its plaintext, keyed with the group's chunk-id key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct ChunkId(pub(crate) [u8; 32]);

bytes_in_cbor!(ChunkId, 32);

/// A frame's name, which stays the same wherever the frame is stored: the run that made it and its ordinal in that run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct FrameName {
    /// The run that made the frame.
    pub(crate) run: RunId,
    /// Its place among the run's frames, from 0.
    pub(crate) ordinal: u32,
}

impl RunId {
    /// The name of one of the run's frames.
    pub(crate) const fn frame(self, ordinal: u32) -> FrameName {
        FrameName { run: self, ordinal }
    }
}

/// A stored SHA-256 as a CBOR byte string, for `#[cbor(with = …)]`.
pub(crate) mod digest_in_cbor {
    use super::{DecodeError, Decoder, EncodeError, Encoder, Sha256Digest, Write};

    pub(crate) fn encode<C, W: Write>(
        digest: &Sha256Digest,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.bytes(digest.as_bytes())?.ok()
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Sha256Digest, DecodeError> {
        let bytes: [u8; 32] =
            d.bytes()?.try_into().map_err(|_| DecodeError::message("a digest of the wrong length"))?;
        Ok(Sha256Digest::from_bytes(bytes))
    }
}

/// Decodes an array of at most `MOST` values, for `#[cbor(decode_with = …)]`: if a value takes one byte in a stored
/// array and many in memory, the limit on the stored size does not bound the allocation.
pub(crate) fn at_most<'b, const MOST: usize, C, T: Decode<'b, C>>(
    d: &mut Decoder<'b>,
    context: &mut C,
) -> Result<Vec<T>, DecodeError> {
    let mut values = Vec::new();
    for value in d.array_iter_with(context)? {
        if values.len() == MOST {
            return Err(DecodeError::message("too many values"));
        }
        values.push(value?);
    }
    Ok(values)
}

/// Decodes an array of small values into memory of exactly its size, for `#[cbor(decode_with = …)]`.
pub(crate) fn counted<'b, C, T: Decode<'b, C>>(
    d: &mut Decoder<'b>,
    context: &mut C,
) -> Result<Vec<T>, DecodeError> {
    let count = d.array()?.ok_or_else(|| DecodeError::message("an array without a length"))?;
    // A value takes at least one byte.
    let left = d.input().len() - d.position();
    let count = usize::try_from(count).ok().filter(|count| *count <= left);
    let count = count.ok_or_else(|| DecodeError::message("an array of more values than there are bytes"))?;
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        values.push(d.decode_with(context)?);
    }
    Ok(values)
}

/// Encodes a value that cannot fail to encode, because the only sink is memory.
pub(crate) fn to_cbor<T: Encode<()>>(value: &T) -> Vec<u8> {
    match minicbor::to_vec(value) {
        Ok(bytes) => bytes,
        Err(error) => {
            let _: &EncodeError<Infallible> = &error;
            unreachable!("encoding into memory does not fail")
        }
    }
}

/// Decodes a value that must fill `bytes` completely.
pub(crate) fn from_cbor<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    let value = decoder.decode()?;
    if decoder.position() == bytes.len() {
        Ok(value)
    } else {
        Err(DecodeError::message("bytes after the end"))
    }
}
